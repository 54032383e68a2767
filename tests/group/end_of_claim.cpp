// SPDX-License-Identifier: MIT

#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/experimental/awaitable_operators.hpp>
#include <asio/redirect_error.hpp>
#include <asio/thread_pool.hpp>
#include <asio/use_future.hpp>

#include <future>

#include "support/scripted_group.hpp"

// What a handler, and what hangs off it, is told of the end of its claim; and marks beyond the end
// of the log.

namespace {

using namespace kgroup::tests;
using kgroup::claim;
using kgroup::end_reason;
using kgroup::event_kind;
using kgroup::session;

struct end_of_claim : scripted_group {
    std::vector<std::string> told;
    std::vector<std::chrono::seconds> left;

    end_of_claim() {
        settings.rebalance_deadline = 8s;
        settings.close_timeout = 30s;
    }

    static std::string name(claim const& claim) {
        return "t" + std::to_string(claim.partition()) + " " +
               std::string{to_string(claim.end_reason())};
    }
    static std::chrono::seconds time_left(claim const& claim) {
        return std::chrono::round<std::chrono::seconds>(*claim.finish_by() -
                                                        std::chrono::steady_clock::now());
    }

    /// Tells the end of a claim from a coroutine beside its handler.
    void watch_beside() {
        handler.on_claim = [this](session&, claim& claim) -> asio::awaitable<void> {
            CHECK_FALSE(claim.finish_by());
            auto const watch = [this, &claim]() -> asio::awaitable<void> {
                co_await claim.async_wait_ended();
                told.push_back(name(claim));
                left.push_back(time_left(claim));
            };
            asio::co_spawn(co_await asio::this_coro::executor, watch, asio::detached);
            co_await handler.mark_all(claim);
            co_await claim.async_wait_ended(); // at once
        };
    }
};

TEST_CASE_FIXTURE(end_of_claim, "async_wait_ended: a claim that is taken away alone ends alone") {
    make_cooperative();
    watch_beside();
    run_over({t0, t1});
    CHECK(told.empty());
    cluster.revoke({t1});
    settle();
    CHECK(told == lines{"t1 revoked"});
    CHECK(left == std::vector{8s});
    stop();
    CHECK(told == lines{"t1 revoked", "t0 stopped"});
}

// As docs/from-sarama.md shows it.
TEST_CASE_FIXTURE(end_of_claim,
                  "async_wait_ended: a retry loop ends with its claim, and the others go on") {
    make_cooperative();
    auto const push = [this](claim& claim) -> asio::awaitable<bool> {
        using namespace asio::experimental::awaitable_operators;
        kgroup::detail::timer pause{co_await asio::this_coro::executor};
        for (;;) {
            pause.expires_after(1h);
            co_await (pause.async_wait(asio::use_awaitable) || claim.async_wait_ended());
            if (claim.messages().ended()) {
                told.push_back(name(claim));
                co_return false;
            }
        }
    };
    handler.on_claim = [&push](session&, claim& claim) -> asio::awaitable<void> {
        while (auto const message = co_await claim.messages().async_receive()) {
            bool const pushed = co_await push(claim);
            if (!pushed) {
                co_return;
            }
            claim.mark(*message);
        }
    };
    cluster.add_records(t0, "a");
    cluster.add_records(t1, "b");
    run_over({t0, t1});
    cluster.revoke({t1});
    settle();
    CHECK(told == lines{"t1 revoked"});
    CHECK(count(event_kind::handler_cancelled) == 0);
    stop();
    CHECK(told == lines{"t1 revoked", "t0 stopped"});
    CHECK_FALSE(cluster.committed(t1));
}

TEST_CASE_FIXTURE(end_of_claim, "async_wait_ended: a loss leaves no time") {
    watch_beside();
    run_over({t0});
    cluster.lose();
    settle();
    CHECK(told == lines{"t0 lost"});
    CHECK(left == std::vector{0s});
    stop();
}

TEST_CASE_FIXTURE(end_of_claim,
                  "async_wait_ended: cancelled with any type it fails, and the claim goes on") {
    asio::cancellation_signal signal;
    std::vector<std::error_code> ended;
    claim* running = nullptr;
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        running = &claim;
        co_await handler.mark_all(claim);
    };
    run_over({t0});
    for (auto const type : {asio::cancellation_type::total, asio::cancellation_type::partial,
                            asio::cancellation_type::terminal}) {
        running->async_wait_ended(asio::bind_cancellation_slot(
            signal.slot(), [&](std::error_code e) { ended.push_back(e); }));
        settle();
        signal.emit(type);
        settle();
    }
    CHECK(ended == std::vector<std::error_code>(3, asio::error::operation_aborted));
    running->async_wait_ended([&](std::error_code e) { ended.push_back(e); });
    settle();
    stop();
    CHECK(ended.size() == 4);
    CHECK_FALSE(ended.back());
}

TEST_CASE_FIXTURE(end_of_claim, "async_wait_ended: on another executor, and beyond the handler") {
    asio::thread_pool pool{1};
    std::future<void> beside;
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        beside = asio::co_spawn(pool, claim.async_wait_ended(), asio::use_future);
        co_return; // the claim is gone, its ownership is not
    };
    settings.on_claim_exit = kgroup::claim_exit::keep_others;
    run_over({t0});
    CHECK(beside.wait_for(0s) == std::future_status::timeout);
    cluster.revoke();
    settle();
    beside.get();
    stop();
    pool.join();
}

TEST_CASE_FIXTURE(end_of_claim,
                  "finish_by: at that time the handler is cancelled, and not before") {
    std::optional<std::chrono::milliseconds> promised;
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        CHECK_FALSE(claim.finish_by());
        co_await claim.async_wait_ended();
        promised = std::chrono::round<std::chrono::milliseconds>(*claim.finish_by() -
                                                                 std::chrono::steady_clock::now());
        kgroup::detail::timer forever{co_await asio::this_coro::executor,
                                      kgroup::detail::clock::time_point::max()};
        co_await forever.async_wait(asio::use_awaitable);
    };
    auto const run_and = [&](auto&& action) {
        run_over({t0});
        action();
        settle();
        REQUIRE(promised);
    };
    SUBCASE("a revocation") {
        run_and([&] { cluster.revoke(); });
        CHECK(*promised > 7s);
        CHECK(*promised <= 8s);
    }
    SUBCASE("a stop") {
        run_and([&] { group->stop(); });
        CHECK(*promised > 7s);
        CHECK(*promised <= settings.close_timeout);
    }
    SUBCASE("a stop with less time than a rebalance has") {
        settings.close_timeout = 6s;
        run_and([&] { group->stop(); });
        CHECK(*promised > 2s);
        CHECK(*promised <= 6s);
    }
    advance(*promised - 1s);
    CHECK(count(event_kind::handler_cancelled) == 0);
    advance(1s);
    CHECK(count(event_kind::handler_cancelled) == 1);
}

TEST_CASE_FIXTURE(end_of_claim, "finish_by: a revocation that turns into a loss leaves no time any "
                                "more, and says so as often as asked") {
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        kgroup::detail::timer forever{co_await asio::this_coro::executor,
                                      kgroup::detail::clock::time_point::max()};
        std::error_code cancelled;
        co_await claim.async_wait_ended();
        left.push_back(time_left(claim));
        co_await forever.async_wait(asio::redirect_error(asio::use_awaitable, cancelled));
        CHECK(cancelled == asio::error::operation_aborted);
        CHECK(claim.end_reason() == end_reason::lost);
        left.push_back(time_left(claim));
    };
    run_over({t0});
    cluster.revoke();
    settle();
    advance(2s);
    cluster.lose();
    settle();
    CHECK(left == std::vector{8s, 0s});
    stop();
}

TEST_CASE_FIXTURE(scripted_group,
                  "a mark beyond the known end of the log counts, and is told with both offsets") {
    handler.on_setup = [&](session& session) -> asio::awaitable<void> {
        session.mark_offset(t0, 1); // nothing is known of the end yet
        co_return;
    };
    handler.on_claim = [&](session& session, claim& claim) -> asio::awaitable<void> {
        auto const second = co_await claim.messages().async_receive();
        CHECK(second->value() == "b");
        session.mark_offset(t0, 2); // the end
        CHECK(claim.high_water_mark_offset() == 2);
        session.mark_offset(t0, 3);
        co_await handler.mark_all(claim);
    };
    cluster.add_records(t0, "a", "b");
    run_over({t0});
    REQUIRE(count(event_kind::mark_beyond_end) == 1);
    CHECK(last(event_kind::mark_beyond_end).where == t0);
    CHECK(last(event_kind::mark_beyond_end).text.find("marked is 3") != std::string::npos);
    CHECK(last(event_kind::mark_beyond_end).text.find("end at 2") != std::string::npos);
    CHECK(group->stats().marks_refused == 0);
    stop();
    CHECK(cluster.committed(t0) == 3);
}

} // namespace
