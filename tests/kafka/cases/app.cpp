// SPDX-License-Identifier: MIT

#include <kgroup/app.hpp>

#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstddef>
#include <exception>
#include <future>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include "kafka.hpp"
#include "member.hpp"
#include "support/failing_allocation.hpp"
#include "token_kafka.hpp"

// consumer_app as a program has it: a context of its own, signals, groups of its own.

namespace {

using namespace kgroup::tests;
using kgroup::app_config;
using kgroup::consumer_app;
using kgroup::event;
using kgroup::event_kind;

struct noting_handler {
    received* to;
    asio::awaitable<void> consume_claim(kgroup::session&, kgroup::claim& claim) {
        while (auto const one = co_await claim.messages().async_receive()) {
            to->add(*one);
            claim.mark(*one);
        }
    }
};

/// An application that runs on a thread of its own.
class running_app {
public:
    received records;

    explicit running_app(app_config given)
        : app_(reporting(std::move(given)), noting_handler{&records}) {
        result_ = std::async(std::launch::async, [this] { return app_.run(); });
    }
    ~running_app() { app_.stop(); }
    running_app(running_app const&) = delete;
    running_app& operator=(running_app const&) = delete;

    void stop() { app_.stop(); }
    std::string const& group_id() const { return app_.group_id(); }
    /// What `run` returned; -1: it has not within the limit.
    int result(std::chrono::milliseconds limit = 30s) {
        return result_.wait_for(limit) == std::future_status::ready ? result_.get() : -1;
    }
    bool told(event_kind kind, std::string const& words) const {
        std::lock_guard const lock{mutex_};
        return std::ranges::any_of(events_, [&](event const& event) {
            return event.kind == kind && event.text.find(words) != std::string::npos;
        });
    }

private:
    app_config reporting(app_config given) {
        given.group.on_event = [this](event const& event) {
            std::lock_guard const lock{mutex_};
            events_.push_back(event);
        };
        return given;
    }

    mutable std::mutex mutex_;
    std::vector<event> events_;
    consumer_app<noting_handler> app_;
    std::future<int> result_;
};

TEST_CASE("app: SIGTERM ends it in order, what is marked is committed, and run gives 0") {
    kafka brokers;
    auto const topic = brokers.create_topic();
    brokers.produce_values(topic, 0, {"1", "2", "3"});
    app_config const given{.group = brokers.member_of_new_group(topic)};
    running_app app{given};
    REQUIRE(eventually([&] { return app.records.count() == 3; }));
    ::kill(::getpid(), SIGTERM);
    CHECK(app.result() == 0);
    CHECK(brokers.committed(given.group.group_id, topic, 0) == 3);
}

TEST_CASE("app: what another run cannot mend ends it, and run gives 1") {
    kafka brokers;
    app_config given{.group = brokers.member_of_new_group(brokers.create_topic())};
    given.group.initial_offset = kgroup::offset_reset::none;
    running_app app{given};
    CHECK(app.result() == 1);
    CHECK_FALSE(app.told(event_kind::run_restarted, ""));
}

// The thread that deletes the group has nobody to tell but the application.
TEST_CASE("app: the group is not deleted for lack of memory, which is told, and run goes on") {
    kafka brokers{kafka::kind::embedded};
    auto failed = true;
    for (std::size_t which = 1; failed && which != 100; ++which) {
        CAPTURE(which);
        received records;
        std::vector<event> told;
        app_config given{.group = brokers.member_of_new_group("t")};
        given.group_id_consistent = false;
        given.group.on_event = [&](event const& one) { told.push_back(one); };
        consumer_app app{given, noting_handler{&records}};
        app.stop();
        failing_elsewhere const failing{which};
        CHECK(app.run() == 0);
        failed = failing.has_failed();
        REQUIRE(told.size() == 1);
        CHECK(told.front().text.find("the group was not deleted") != std::string::npos);
        CHECK(told.front().error); // of the embedded cluster, where there is memory
    }
    CHECK_FALSE(failed);
}

/// Two instances with groups of their own see everything, each, and leave no group behind.
void broadcast(kafka& brokers, app_config given, std::string const& topic) {
    given.group_id_consistent = false;
    running_app one{given};
    running_app other{given};
    CHECK(one.group_id() != other.group_id());
    brokers.produce_values(topic, 0, {"1", "2", "3"});
    REQUIRE(eventually([&] { return one.records.count() == 3 && other.records.count() == 3; }));
    if (brokers.is_real()) {
        CHECK(brokers.knows_group(one.group_id()));
    }
    one.stop();
    other.stop();
    CHECK(one.result() == 0);
    CHECK(other.result() == 0);
    for (auto const* const member : {&one, &other}) {
        if (brokers.is_real()) {
            CHECK_FALSE(brokers.knows_group(member->group_id()));
            CHECK_FALSE(member->told(event_kind::client_error, "the group was not deleted"));
        } else { // the embedded one does not know how
            CHECK(member->told(event_kind::client_error, "the group was not deleted"));
        }
    }
}

TEST_CASE(
    "app: with groups of their own all instances see everything, and the groups go with them") {
    kafka brokers;
    auto const topic = brokers.create_topic();
    broadcast(brokers, {.group = brokers.member_of_new_group(topic)}, topic);
}

TEST_CASE("app: a group of its own goes also when the application is cancelled") {
    kafka brokers;
    auto const topic = brokers.create_topic();
    received records;
    std::atomic<bool> not_deleted{false};
    app_config given{.group = brokers.member_of_new_group(topic)};
    given.group_id_consistent = false;
    given.group.on_event = [&](event const& event) {
        not_deleted =
            not_deleted || event.text.find("the group was not deleted") != std::string::npos;
    };
    consumer_app app{given, noting_handler{&records}};
    asio::io_context context;
    asio::cancellation_signal cancel;
    std::error_code outcome;
    asio::co_spawn(context, app.async_run(),
                   asio::bind_cancellation_slot(cancel.slot(), [&](std::exception_ptr e) {
                       try {
                           std::rethrow_exception(e);
                       } catch (std::system_error const& error) {
                           outcome = error.code();
                       }
                   }));
    std::thread running{[&] { context.run(); }};
    brokers.produce_values(topic, 0, {"1"});
    CHECK(eventually([&] { return records.count() == 1; }));
    asio::post(context, [&] { cancel.emit(asio::cancellation_type::terminal); });
    running.join();
    CHECK(outcome == asio::error::operation_aborted);
    CHECK(not_deleted != brokers.is_real()); // the embedded one does not know how
    if (brokers.is_real()) {
        CHECK_FALSE(brokers.knows_group(app.group_id()));
    }
}

TEST_CASE("app: groups of their own go also where brokers demand tokens") {
    if (!token_kafka::is_there()) {
        return;
    }
    token_kafka brokers;
    auto const topic = brokers.create_topic();
    broadcast(brokers,
              {.group = brokers.member_with(topic,
                                            []() -> asio::awaitable<kgroup::oauth_token> {
                                                co_return make_token(system_clock::now() + 1h);
                                            })},
              topic);
}

} // namespace
