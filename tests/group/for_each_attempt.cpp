// SPDX-License-Identifier: MIT

#include <kgroup/for_each.hpp>
#include <kgroup/for_each_batch.hpp>
#include <kgroup/timer.hpp>

#include <asio/awaitable.hpp>
#include <asio/cancellation_state.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/this_coro.hpp>

#include <doctest/doctest.h>
#include <support/scripted_group.hpp>

#include <atomic>
#include <chrono>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

// What a function of `for_each` and `for_each_batch` knows of its attempt, and when attempts end.

namespace for_each_attempt_tests {

namespace {

using namespace kgroup;
using namespace kgroup::tests;

/// A function that waits until it is cancelled, and says what its attempt says.
struct waiting_group : scripted_group {
    explicit waiting_group(bool in_batches) {
        handler.on_claim = [this, in_batches](session&, claim& claim) -> asio::awaitable<void> {
            auto const function = [this](auto const&,
                                         attempt const& given) -> asio::awaitable<void> {
                current = &given;
                tokens.push_back(given.token());
                kgroup::detail::scope_exit const over{[this] { current = nullptr; }};
                kgroup::timer wait{co_await asio::this_coro::executor};
                wait.expires_after(24h);
                co_await wait.async_wait();
            };
            if (in_batches) {
                co_await for_each_batch(claim, {.records = 1}, {.retry = retry}, function);
            } else {
                co_await for_each(claim, {.retry = retry}, function);
            }
        };
        cluster.add_records(t0, "a");
    }

    /// How long the attempt that runs has left.
    std::optional<std::chrono::seconds> left() const {
        REQUIRE(current);
        auto const by = current->finish_by();
        return by ? std::optional{std::chrono::round<std::chrono::seconds>(
                        *by - std::chrono::steady_clock::now())}
                  : std::nullopt;
    }

    retry_options retry{.attempts = 100, .backoff = {.initial = 1s, .jitter = 0}};
    attempt const* current = nullptr;
    std::vector<std::stop_token> tokens;
};

TEST_CASE("an attempt knows until when it has time, and each has a token of its own") {
    for (auto const in_batches : {false, true}) {
        CAPTURE(in_batches);
        waiting_group group{in_batches};
        group.retry.attempt_timeout = 60s;
        group.run_over({t0});
        CHECK(group.left() == 60s);
        group.advance(20s);
        CHECK(group.left() == 40s);
        CHECK_FALSE(group.tokens.back().stop_requested());
        group.advance(40s);
        CHECK(group.tokens.back().stop_requested());
        CHECK_FALSE(group.current);
        group.advance(1s); // the next
        REQUIRE(group.tokens.size() == 2);
        CHECK_FALSE(group.tokens.back().stop_requested());
        CHECK(group.left() == 60s);
        group.cluster.lose();
        group.settle();
        CHECK(group.tokens.back().stop_requested());
        group.stop();
    }
}

TEST_CASE("an attempt without a limit has one when its claim ends") {
    for (auto const timeout : {0s, std::chrono::seconds{24h}}) {
        for (auto const in_batches : {false, true}) {
            CAPTURE(in_batches);
            waiting_group group{in_batches};
            group.retry.attempt_timeout = timeout;
            group.run_over({t0});
            CHECK(group.left() ==
                  (timeout == 0s ? std::nullopt : std::optional<std::chrono::seconds>{timeout}));
            group.cluster.revoke();
            group.settle();
            REQUIRE(group.left());
            CHECK(*group.left() < 1h);
            CHECK(*group.left() > 0s);
            CHECK_FALSE(group.tokens.back().stop_requested());
            group.advance(*group.left());
            group.advance(1s);
            CHECK(group.tokens.back().stop_requested());
            CHECK_FALSE(group.current);
            group.stop();
        }
    }
}

TEST_CASE("an attempt knows its number, whether it is the last, and the first failure") {
    scripted_group group;
    lines said;
    group.handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        auto function = [&](message const&, attempt const& current) {
            auto line = std::to_string(current.number());
            if (current.last()) {
                line += " last";
            }
            if (auto const first = current.first_failure()) {
                line += " after " + kgroup::detail::describe_exception(first).first;
            }
            said.push_back(line);
            throw std::runtime_error{"failure " + std::to_string(current.number())};
        };
        co_await for_each(
            claim, {.retry = {.attempts = 3, .backoff = {.initial = 1s}, .give_up = give_up::skip}},
            function);
    };
    group.cluster.add_records(t0, "a");
    group.run_over({t0});
    group.advance(1s);
    group.advance(2s);
    CHECK(said == lines{"1", "2 after failure 1", "3 last after failure 1"});
    CHECK(group.count(event_kind::record_skipped) == 1);
    group.stop();
}

TEST_CASE("give_up_after: no attempt begins later than that, however many are left") {
    scripted_group group;
    int attempts = 0;
    group.handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        auto function = [&](message const&) {
            ++attempts;
            throw std::runtime_error{"again"};
        };
        co_await for_each(claim,
                          {.retry = {.attempts = 1000,
                                     .backoff = {.initial = 10s, .factor = 1, .jitter = 0},
                                     .give_up_after = 25s,
                                     .give_up = give_up::skip}},
                          function);
    };
    group.cluster.add_records(t0, "a");
    group.run_over({t0});
    group.advance(10s);
    CHECK(group.count(event_kind::record_skipped) == 0);
    group.advance(10s);
    CHECK(attempts == 3); // at 0, 10 and 20 s; the next would be at 30
    CHECK(group.count(event_kind::record_skipped) == 1);
    group.stop();
    CHECK(group.cluster.committed(t0) == 1);
}

TEST_CASE("each attempt begins with a fresh cancellation state, and the caller's is as before") {
    scripted_group group;
    lines said;
    group.handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        auto function = [&](message const& taken) -> asio::awaitable<void> {
            if (taken.value() == "hides") {
                co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
                co_await asio::this_coro::throw_if_cancelled(false);
                co_return;
            }
            kgroup::timer wait{co_await asio::this_coro::executor};
            wait.expires_after(24h);
            co_await wait.async_wait();
        };
        co_await for_each(claim, {.retry = {.attempt_timeout = 10s, .give_up = give_up::skip}},
                          function);
        said.push_back(co_await asio::this_coro::throw_if_cancelled() ? "throws" : "hides");
    };
    group.cluster.add_records(t0, "hides", "waits");
    group.run_over({t0});
    group.advance(10s);
    CHECK(group.last(event_kind::record_skipped).text.find("offset 1") != std::string::npos);
    group.stop();
    CHECK(said == lines{"throws"});
}

TEST_CASE("work that blocks on another executor hears of its cancellation by the token") {
    scripted_group group;
    asio::io_context elsewhere;
    auto const guard = asio::make_work_guard(elsewhere);
    std::thread pool{[&] { elsewhere.run(); }};
    std::atomic<int> begun{0};
    std::atomic<int> heard{0};
    group.handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        auto const function = [&](message const&, attempt const& current) {
            auto const token = current.token();
            ++begun;
            while (!token.stop_requested()) {
                std::this_thread::yield();
            }
            ++heard;
            throw std::runtime_error{"given up in the middle"};
        };
        co_await for_each(claim, elsewhere.get_executor(), {.retry = {.attempts = 100}}, function);
    };
    group.cluster.add_records(t0, "a");
    group.run_over({t0});
    while (begun == 0) {
        group.settle();
    }
    group.cluster.lose();
    while (group.handler.claims_ended == 0) {
        group.settle();
    }
    CHECK(heard == 1);
    CHECK_FALSE(group.cluster.committed(t0).has_value());
    group.stop();
    elsewhere.stop();
    pool.join();
}

} // namespace

} // namespace for_each_attempt_tests
