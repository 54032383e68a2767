// SPDX-License-Identifier: MIT

// A member of a group that works on numbered records with `for_each` and dead letters, and tells it
// on standard output, a JSON object a line, for system tests. SIGTERM ends it in order, with status
// 0.
//
//     letter{partition,offset}          its dead letter is acknowledged
//     done{partition,offset}            the function has returned
//     event{kind,text}                  of the group or of the producer

#include <kgroup/dead_letters.hpp>
#include <kgroup/for_each.hpp>
#include <kgroup/kgroup.hpp>
#include <kgroup/producer.hpp>

#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/signal_set.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <iostream>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace {

using json = nlohmann::ordered_json;
using namespace std::chrono_literals;

struct options {
    kgroup::config group;
    std::string letters_brokers;
    std::string letters_topic;
    std::uint64_t poison_every = 1000;
    std::string dies; // at which step
};

void tell(std::string_view name, json line) {
    line["name"] = name;
    std::cout << line.dump(-1, ' ', false, json::error_handler_t::replace) << std::endl;
}

void tell(std::string_view name, kgroup::message const& record) {
    tell(name, {{"partition", record.partition()}, {"offset", record.offset()}});
}

void tell(kgroup::event const& told) {
    tell("event", {{"kind", kgroup::to_string(told.kind)}, {"text", told.text}});
}

/// The number that a record's value begins with.
std::string_view number_of(kgroup::message const& record) {
    return record.value().substr(0, record.value().find(' '));
}

/// A hundred keys: the last two digits.
std::optional<std::string_view> key_of(kgroup::message const& record) {
    auto const number = number_of(record);
    return number.substr(number.size() < 2 ? 0 : number.size() - 2);
}

/// The one thread does it: `std::raise` would let others go on for a moment.
void die() { ::kill(::getpid(), SIGKILL); }

/// Its dead letters, and the steps of them at which it may die.
class told_letters final : public kgroup::detail::dead_letter_sender {
public:
    told_letters(kgroup::dead_letters& through, std::string const& dies)
        : through_(through),
          dies_(dies) {}

    asio::awaitable<void> send(kgroup::message const& record, std::exception_ptr failure,
                               std::uint32_t attempts, std::exception_ptr first_failure) override {
        if (dies_ == "enqueuing") {
            asio::co_spawn(co_await asio::this_coro::executor,
                           through_.send(record, failure, attempts, first_failure), asio::detached);
            co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable);
            die();
        }
        co_await through_.send(record, failure, attempts, first_failure);
        if (dies_ == "acknowledging") {
            die();
        }
        tell("letter", record);
        sent_ = true;
    }

    bool sent() const noexcept { return sent_; }

private:
    kgroup::dead_letters& through_;
    std::string const& dies_;
    bool sent_ = false;
};

class handler {
public:
    handler(options const& given, told_letters& letters) : given_(given), letters_(letters) {}

    asio::awaitable<void> consume_claim(kgroup::session& session, kgroup::claim& claim) {
        auto const function = [&](kgroup::message const& record) { return work(session, record); };
        co_await kgroup::for_each(
            claim,
            {.order = kgroup::order::by_key,
             .retry = {.attempts = 3, .backoff = {.initial = 1ms, .max = 10ms}},
             .dead_letters = &letters_,
             .key = key_of},
            function);
    }

private:
    asio::awaitable<void> work(kgroup::session& session, kgroup::message const& record) {
        auto const poison = std::stoull(std::string{number_of(record)}) % given_.poison_every == 7;
        if (poison) {
            if (given_.dies == "failing") {
                die();
            }
            throw std::runtime_error{"poison"};
        }
        if (given_.dies == "committing" && letters_.sent()) {
            asio::co_spawn(co_await asio::this_coro::executor, commit(session), asio::detached);
            co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable);
            die();
        }
        kgroup::timer pause{co_await asio::this_coro::executor};
        pause.expires_after(1ms);
        co_await pause.async_wait(asio::use_awaitable);
        tell("done", record);
    }
    static asio::awaitable<void> commit(kgroup::session& session) {
        co_await session.async_commit();
    }

    options const& given_;
    told_letters& letters_;
};

void run(options given) {
    given.group.on_event = [](kgroup::event const& told) { tell(told); };
    asio::io_context context;
    kgroup::producer out{context,
                         {.connection = {.brokers = given.letters_brokers},
                          .on_event = [](kgroup::event const& told) { tell(told); }}};
    kgroup::dead_letters letters{
        out, {.topic = [&](kgroup::message const&) { return given.letters_topic; }}};
    told_letters told{letters, given.dies};
    kgroup::consumer_group group{context, given.group};
    handler handles{given, told};
    asio::signal_set signals{context, SIGTERM};
    signals.async_wait([&](std::error_code, int) { group.stop(); });
    std::exception_ptr failure;
    group.async_run(handles, [&](std::exception_ptr error) {
        failure = error;
        context.stop();
    });
    context.run();
    if (failure) {
        std::rethrow_exception(failure);
    }
}

} // namespace

int main(int argc, char** argv) {
    options given;
    std::string topic;
    CLI::App app{"A member of a group that works with for_each and dead letters"};
    app.add_option("--bootstrap-server", given.group.brokers, "HOST:PORT,...")->required();
    app.add_option("--topic", topic, "what to work on")->required();
    app.add_option("--group-id", given.group.group_id, "the group to join")->required();
    app.add_option("--letters-server", given.letters_brokers, "where letters go")->required();
    app.add_option("--letters-topic", given.letters_topic, "which topic they go to")->required();
    app.add_option("--poison-every", given.poison_every,
                   "each of so many numbers fails always, beginning with 7")
        ->capture_default_str();
    app.add_option("--die-at", given.dies, "the first time that it gets so far, it is gone")
        ->check(CLI::IsMember({"failing", "enqueuing", "acknowledging", "committing"}));
    try {
        app.parse(argc, argv);
    } catch (CLI::ParseError const& error) {
        return app.exit(error);
    }
    given.group.topics = {topic};
    given.group.initial_offset = kgroup::offset_reset::earliest;
    given.group.properties = {{"session.timeout.ms", "6000"}, {"heartbeat.interval.ms", "500"}};
    try {
        run(std::move(given));
    } catch (std::exception const& error) {
        std::cerr << error.what() << '\n';
        return 1;
    }
}
