// SPDX-License-Identifier: MIT

// Work on a backlog, many records at a time. --mode for_each | lane_map, --order key | unordered.
//
// for_each  kgroup::for_each with its default bounds, in_flight over all claims by a kgroup::limit.
// lane_map  what one writes by hand on async_receive and ack: a queue a key, a coroutine for each
//           key that has something to do, a semaphore, and a bound on what is held.
//
// A record's work is to suspend --suspends times and to wait for --wait-us. It ends with the topic
// or after --window-ms.
#include <kgroup/for_each.hpp>
#include <kgroup/kgroup.hpp>
#include <kgroup/timer.hpp>

#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/redirect_error.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <librdkafka/rdkafka.h>

#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <string>
#include <string_view>
#include <system_error>
#include <unordered_map>
#include <utility>
#include <vector>

#include "arm.h"

namespace {

using namespace std::chrono_literals;

// What was handled, within the window. Says when a key's order is broken.
class ledger {
public:
    ledger(arm_options const& options, bool ordered)
        : tally_(arm_tally_for(&options, 1)),
          window_ns_(options.window_ms * 1'000'000),
          ordered_(ordered) {}

    void begin(kgroup::message const& record) {
        if (tally_.first_ns == 0)
            tally_.first_ns = wall_clock_ns();
        if (!ordered_)
            return;
        auto& key = key_of(record);
        if (key.runs || record.offset() <= key.last)
            arm_fail("not in its key's order", std::string{record.key()}.c_str());
        key = {record.offset(), true};
    }
    void end(kgroup::message const& record) {
        if (ordered_)
            key_of(record).runs = false;
        auto const now = wall_clock_ns();
        if (now - tally_.first_ns <= window_ns_) {
            ++tally_.messages;
            tally_.bytes += static_cast<std::int64_t>(record.value().size());
            tally_.last_ns = now;
        }
    }

    bool is_over() const {
        return tally_.messages == tally_.finish ||
               (tally_.first_ns != 0 && wall_clock_ns() - tally_.first_ns > window_ns_);
    }
    arm_tally const& tally() const { return tally_; }

private:
    struct key_note {
        std::int64_t last = -1;
        bool runs = false;
    };
    key_note& key_of(kgroup::message const& record) {
        std::size_t number = 0;
        std::from_chars(record.key().data(), record.key().data() + record.key().size(), number);
        if (number >= keys_.size())
            keys_.resize(number + 1);
        return keys_[number];
    }

    arm_tally tally_;
    std::int64_t window_ns_;
    bool ordered_;
    std::vector<key_note> keys_;
};

// The work on a record.
class work {
public:
    work(arm_options const& options, bool ordered)
        : done_(options, ordered),
          wait_(options.wait_us),
          suspends_(options.suspends) {}

    asio::awaitable<void> on(kgroup::message const& record) {
        done_.begin(record);
        for (std::int64_t i = 0; i != suspends_; ++i) {
            auto const executor = co_await asio::this_coro::executor;
            co_await asio::post(executor, asio::use_awaitable);
        }
        if (wait_ != 0us) {
            kgroup::timer wait{co_await asio::this_coro::executor};
            wait.expires_after(wait_);
            co_await wait.async_wait();
        }
        done_.end(record);
    }
    ledger const& done() const { return done_; }

private:
    ledger done_;
    std::chrono::microseconds wait_;
    std::int64_t suspends_;
};

class handler {
public:
    explicit handler(arm_options const& options)
        : ordered_(std::string_view{options.order} == "key"),
          in_flight_(static_cast<std::size_t>(options.in_flight)),
          work_(options, ordered_) {}

    asio::awaitable<void> setup(kgroup::session& session) {
        arm_print_assigned(session.claims().size());
        co_return;
    }
    ledger const& done() const { return work_.done(); }

protected:
    bool const ordered_;
    std::size_t const in_flight_;
    work work_;
};

class for_each_handler : public handler {
public:
    explicit for_each_handler(arm_options const& options) : handler(options), limit_(in_flight_) {}

    asio::awaitable<void> consume_claim(kgroup::session&, kgroup::claim& claim) {
        auto function = [this](kgroup::message const& record) { return work_.on(record); };
        co_await kgroup::for_each(
            claim,
            {.order = ordered_ ? kgroup::order::by_key : kgroup::order::unordered,
             .in_flight = in_flight_,
             .limit = &limit_},
            function);
    }

private:
    kgroup::limit limit_;
};

class lane_map_handler : public handler {
public:
    explicit lane_map_handler(arm_options const& options) : handler(options), places_(in_flight_) {}

    asio::awaitable<void> consume_claim(kgroup::session&, kgroup::claim& claim) {
        constexpr std::size_t most_held = 50'000;
        auto const executor = co_await asio::this_coro::executor;
        held state{executor};
        while (auto message = co_await claim.messages().async_receive()) {
            while (state.records == most_held)
                co_await wait_for(state.changed);
            ++state.records;
            if (!ordered_) {
                asio::co_spawn(executor, run_alone(claim, state, std::move(*message)),
                               asio::detached);
                continue;
            }
            std::string const key{message->key()};
            auto& lane = state.lanes[key];
            lane.push_back(std::move(*message));
            if (lane.size() == 1)
                asio::co_spawn(executor, run_lane(claim, state, key), asio::detached);
        }
        state.ended = true;
        while (state.records != 0)
            co_await wait_for(state.changed);
    }

private:
    struct held {
        explicit held(asio::any_io_executor const& executor) : changed(executor) {}

        std::unordered_map<std::string, std::deque<kgroup::message>> lanes{};
        std::size_t records = 0;
        bool ended = false;
        kgroup::timer changed;
    };

    static asio::awaitable<void> wait_for(kgroup::timer& event) {
        event.expires_at((kgroup::timer::time_point::max)());
        std::error_code ignored;
        co_await event.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    }

    asio::awaitable<void> run_alone(kgroup::claim& claim, held& state, kgroup::message record) {
        co_await handle(claim, state, record);
        forget_one(state);
    }
    asio::awaitable<void> run_lane(kgroup::claim& claim, held& state, std::string key) {
        auto& lane = state.lanes[key]; // references to its elements stay
        while (!lane.empty()) {
            co_await handle(claim, state, lane.front());
            lane.pop_front();
            forget_one(state);
        }
        state.lanes.erase(key);
    }

    asio::awaitable<void> handle(kgroup::claim& claim, held const& state,
                                 kgroup::message const& record) {
        co_await take_place();
        if (!state.ended) {
            co_await work_.on(record);
            claim.ack(record);
        }
        give_place_back();
    }
    static void forget_one(held& state) {
        --state.records;
        state.changed.cancel();
    }

    asio::awaitable<void> take_place() {
        if (places_ != 0) {
            --places_;
            co_return;
        }
        kgroup::timer turn{co_await asio::this_coro::executor};
        waiting_.push_back(&turn);
        co_await wait_for(turn); // who gives a place back leaves it to this one
    }
    void give_place_back() {
        if (waiting_.empty()) {
            ++places_;
            return;
        }
        waiting_.front()->cancel();
        waiting_.pop_front();
    }

    std::size_t places_;
    std::deque<kgroup::timer*> waiting_{};
};

template <typename Handler>
void run(arm_options const& options) {
    asio::io_context context{1};
    Handler handler{options};
    kgroup::config config{.brokers = options.brokers,
                          .group_id = options.group,
                          .topics = {options.topic},
                          .initial_offset = kgroup::offset_reset::earliest};
    for (std::size_t index = 0; index < options.property_count; ++index) {
        std::string_view const name = options.properties[index].name;
        if (name == "buffer_bytes")
            config.buffer_bytes = std::stoull(options.properties[index].value);
        else
            config.properties[std::string{name}] = options.properties[index].value;
    }
    kgroup::consumer_group group{context, std::move(config)};
    asio::co_spawn(context, group.async_run(handler), [](std::exception_ptr failure) {
        if (failure)
            std::rethrow_exception(failure);
    });
    auto const watch = [&]() -> asio::awaitable<void> {
        kgroup::timer pause{context};
        while (!handler.done().is_over()) {
            pause.expires_after(5ms);
            co_await pause.async_wait();
        }
        group.stop();
    };
    asio::co_spawn(context, watch(), asio::detached);
    context.run();
    std::string const client =
        std::string{"kgroup " KGROUP_VERSION_STRING ", librdkafka "} + rd_kafka_version_str();
    arm_print_result(client.c_str(), &handler.done().tally(), 1);
}

} // namespace

int main(int argc, char** argv) {
    arm_options const options = arm_parse(argc, argv);
    std::string_view const mode = options.mode;
    if (mode == "for_each")
        run<for_each_handler>(options);
    else if (mode == "lane_map")
        run<lane_map_handler>(options);
    else
        arm_fail("unknown --mode", options.mode);
    return 0;
}
