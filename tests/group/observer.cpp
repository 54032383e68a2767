// SPDX-License-Identifier: MIT

#include <kgroup/for_each.hpp>
#include <kgroup/for_each_batch.hpp>

#include <doctest/doctest.h>
#include <support/latch.hpp>
#include <support/scripted_group.hpp>

#include <chrono>
#include <exception>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

// What an observer is told, on which thread it is, and what a state counts of the same.

namespace observer_tests {

namespace {

using namespace kgroup::tests;
using kgroup::claim;
using kgroup::message;
using kgroup::session;
using kind = kgroup::rebalance_observation::kind;

struct watcher {
    lines told;
    std::function<bool()> on_executor;
    bool elsewhere = false;

    void note(std::string line) {
        told.push_back(std::move(line));
        elsewhere = elsewhere || !on_executor();
    }
    static std::string place(kgroup::topic_partition const& where) {
        return where.topic + "/" + std::to_string(where.partition);
    }

    void fetched(kgroup::fetched_records const& now) noexcept {
        note("fetched " + place(now.where) + " " + std::to_string(now.records) + " of " +
             std::to_string(now.bytes) + " bytes");
    }
    void delivered(kgroup::delivered_records const& now) noexcept {
        note("delivered " + place(now.where) + " " + std::to_string(now.first_offset) + "-" +
             std::to_string(now.last_offset) + ", " + std::to_string(now.records));
    }
    void handled(kgroup::handled_records const& now) noexcept {
        note(
            "handled " + std::string{now.first.value()} + " and " +
            std::to_string(now.records - 1) + " in " +
            std::to_string(std::chrono::duration_cast<std::chrono::seconds>(now.duration).count()) +
            " s, attempt " + std::to_string(now.attempts) + (now.failure ? ", failed" : ""));
    }
    void committed(kgroup::commit_observation const& now) noexcept {
        note("committed " + std::to_string(now.partitions) +
             (now.error ? ": " + now.error.message() : ""));
    }
    void rebalance(kgroup::rebalance_observation const& now) noexcept {
        note(
            std::string{now.what == kind::assigned  ? "assigned "
                        : now.what == kind::revoked ? "revoked "
                                                    : "lost "} +
            std::to_string(now.partitions.size()) + " in " +
            std::to_string(std::chrono::duration_cast<std::chrono::seconds>(now.duration).count()) +
            " s");
    }
};

struct observed_group : scripted_group {
    std::shared_ptr<watcher> const observer = std::make_shared<watcher>();

    observed_group() {
        settings.observer = observer;
        observer->on_executor = [this] { return context.get_executor().running_in_this_thread(); };
    }
    ~observed_group() { CHECK_FALSE(observer->elsewhere); }

    lines told() { return std::exchange(observer->told, {}); }
};

// Shown in docs/observability.md.
struct slow_attempts {
    void handled(kgroup::handled_records const& attempt) noexcept {
        if (attempt.duration > std::chrono::seconds{1}) {
            std::cerr << "offset " << attempt.first.offset() << ", attempt " << attempt.attempts
                      << '\n';
        }
    }
};

struct only_commits {
    int commits = 0;
    void committed(kgroup::commit_observation const&) noexcept { ++commits; }
};

} // namespace

TEST_CASE_FIXTURE(observed_group, "observer: a claim's life, in its order") {
    cluster.add_records(t0, "a", "bcd", "ef");
    latch in_setup{context};
    handler.on_setup = [&](session&) { return in_setup.wait(); };
    run_over({t0});
    CHECK(told().empty());
    advance(3s);
    in_setup.open();
    settle();
    CHECK(told() == lines{"assigned 1 in 3 s", "fetched t/0 3 of 6 bytes", "delivered t/0 0-0, 1",
                          "delivered t/0 1-1, 1", "delivered t/0 2-2, 1"});
    advance(1min);
    CHECK(told() == lines{"committed 1"});
    auto const state = group->state();
    CHECK(state.committing.count() == 1);
    CHECK(state.rebalancing.count() == 1);
    CHECK(state.rebalancing.sum >= 3s);
    CHECK(state.handling.count() == 0);
    CHECK_FALSE(state.claims.at(0).processing);
    cluster.revoke();
    settle();
    CHECK(told() == lines{"revoked 1 in 0 s"});
    CHECK(group->state().rebalancing.count() == 2);
    stop();
}

TEST_CASE_FIXTURE(observed_group, "observer: a batch is told as one, and a commit with its error") {
    cluster.add_records(t0, "a", "b", "c");
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        auto const batch = co_await claim.messages().async_receive_available(10);
        claim.mark(batch[batch.size() - 1]);
        co_await claim.async_wait_ended();
    };
    run_over({t0});
    CHECK(told() == lines{"assigned 1 in 0 s", "fetched t/0 3 of 3 bytes", "delivered t/0 0-2, 3"});
    cluster.fail(fake_cluster::request::commit,
                 kgroup::make_error_code(kgroup::kafka_errc::group_authorization_failed));
    advance(1min);
    auto const lines_told = told();
    REQUIRE(lines_told.size() == 1);
    CHECK(lines_told[0].starts_with("committed 0: "));
    CHECK(group->state().committing.count() == 1);
    stop();
}

TEST_CASE_FIXTURE(observed_group, "observer: each attempt of for_each, and what a state counts") {
    cluster.add_records(t0, "a", "b");
    int calls = 0;
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        auto function = [&](message const& taken) {
            if (taken.value() == "a" && ++calls < 3) {
                throw std::runtime_error{"refused"};
            }
        };
        co_await kgroup::for_each(
            claim,
            {.order = kgroup::order::by_key,
             .retry = {.attempts = 3, .backoff = {.initial = 5s, .factor = 1, .jitter = 0}}},
            function);
    };
    run_over({t0});
    CHECK(told() == lines{"assigned 1 in 0 s", "fetched t/0 2 of 2 bytes", "delivered t/0 0-0, 1",
                          "handled a and 0 in 0 s, attempt 1, failed", "delivered t/0 1-1, 1",
                          "handled b and 0 in 0 s, attempt 1"});
    auto row = group->state().claims.at(0);
    REQUIRE(row.processing);
    CHECK(row.processing->attempts == 2);
    CHECK(row.processing->attempts_failed == 1);
    CHECK(row.processing->waiting_for_retry == 1);
    CHECK(row.processing->dead_letters == 0);
    advance(5s);
    advance(5s);
    CHECK(told() ==
          lines{"handled a and 0 in 0 s, attempt 2, failed", "handled a and 0 in 0 s, attempt 3"});
    auto const state = group->state();
    CHECK(state.handling.count() == 4);
    CHECK(state.residence.count() == 2);
    CHECK(state.residence.sum >= 10s);
    CHECK(state.residence.sum < 20s);
    CHECK(state.claims.at(0).processing->waiting_for_retry == 0);
    stop();
    CHECK(group->state().handling.count() == 4); // what was counted stays
    CHECK(group->state().residence.count() == 2);
}

TEST_CASE_FIXTURE(observed_group,
                  "observer: each attempt of for_each_batch is one of all its records") {
    cluster.add_records(t0, "a", "b", "c");
    latch goes_on{context};
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        auto function = [&](kgroup::message_batch const&) { return goes_on.wait(); };
        co_await kgroup::for_each_batch(claim, {.records = 3}, {}, function);
    };
    run_over({t0});
    static_cast<void>(told());
    CHECK(group->state().claims.at(0).processing->running == 1);
    advance(4s);
    goes_on.open();
    settle();
    CHECK(told() == lines{"handled a and 2 in 4 s, attempt 1"});
    auto const state = group->state();
    CHECK(state.handling.count() == 1);
    CHECK(state.residence.count() == 3);
    CHECK(state.claims.at(0).processing->running == 0);
    stop();
}

TEST_CASE_FIXTURE(observed_group, "observer: how the keys of a claim are busy") {
    using record = fake_cluster::record;
    for (auto const* key : {"hot", "hot", "hot", "cold"}) {
        cluster.add_records(t0, record{.key = key, .value = "v"});
    }
    latch goes_on{context};
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        auto function = [&](message const&) { return goes_on.wait(); };
        co_await kgroup::for_each(claim, {.order = kgroup::order::by_key, .in_flight = 3},
                                  function);
    };
    run_over({t0});
    auto const busy = group->state().claims.at(0).processing;
    REQUIRE(busy);
    CHECK(busy->running == 2);
    CHECK(busy->busy_lanes == 2);
    CHECK(busy->hottest_key_share == 0.75);
    CHECK(busy->parked_keys == 0);
    goes_on.open();
    settle();
    auto const idle = group->state().claims.at(0).processing;
    CHECK(idle->running == 0);
    CHECK(idle->busy_lanes == 0);
    CHECK(idle->hottest_key_share == 0);
    CHECK(idle->attempts == 4);
    stop();
}

TEST_CASE_FIXTURE(observed_group,
                  "observer: let go when the run is over, whatever holds its claims") {
    cluster.add_records(t0, "a");
    std::optional<message> held;
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        held = co_await claim.messages().async_receive();
        co_await claim.async_wait_ended();
    };
    run_over({t0});
    settings.observer = {};
    CHECK(observer.use_count() == 2);
    stop();
    CHECK(observer.use_count() == 1);
    held.reset();
}

TEST_CASE_FIXTURE(scripted_group, "observer: the page's tells of slow attempts") {
    std::ostringstream said_aloud;
    auto* const before = std::cerr.rdbuf(said_aloud.rdbuf());
    kgroup::detail::scope_exit const restored{[&] { std::cerr.rdbuf(before); }};
    auto& given = settings;
    given.observer = std::make_shared<slow_attempts>();
    cluster.add_records(t0, "a");
    latch goes_on{context};
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        auto function = [&](message const&) { return goes_on.wait(); };
        co_await kgroup::for_each(claim, {}, function);
    };
    run_over({t0});
    advance(2s);
    goes_on.open();
    settle();
    CHECK(said_aloud.str() == "offset 0, attempt 1\n");
    stop();
}

TEST_CASE_FIXTURE(scripted_group, "observer: one hook is enough") {
    auto const observer = std::make_shared<only_commits>();
    settings.observer = observer;
    cluster.add_records(t0, "a");
    run_over({t0});
    advance(1min);
    CHECK(observer->commits == 1);
    stop();
}

} // namespace observer_tests
