// SPDX-License-Identifier: MIT

#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/detached.hpp>
#include <asio/post.hpp>
#include <asio/thread_pool.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/use_future.hpp>

#include <algorithm>
#include <array>
#include <future>
#include <memory>
#include <optional>
#include <stdexcept>
#include <thread>

#include "support/latch.hpp"
#include "support/scripted_group.hpp"

// Promise 11: nothing outlives the run, and stop ends it in every state; so does cancellation, at
// every suspension point.

namespace {

using namespace kgroup::tests;
using kgroup::claim;
using kgroup::end_reason;
using kgroup::event;
using kgroup::event_kind;
using kgroup::message;
using kgroup::session;
using request = fake_cluster::request;

TEST_CASE_FIXTURE(scripted_group,
                  "stopped before it ran, it completes at once and connects to nothing") {
    group.emplace(context, settings);
    group->stop();
    group->stop();
    group->async_run(handler, [this](std::exception_ptr e) { outcome = {true, e}; });
    settle();
    CHECK(outcome.completed);
    CHECK_FALSE(outcome.failure);
    CHECK(cluster.trace().empty());
    CHECK(handler.setups == 0);
}

TEST_CASE_FIXTURE(
    scripted_group,
    "what it was given to keep is let go when the run is over, whether it ran or not") {
    auto kept = std::make_shared<scripted_handler>();
    std::weak_ptr<scripted_handler> const left{kept};
    group.emplace(context, settings);
    SUBCASE("it ran") {}
    SUBCASE("it was stopped before") { group->stop(); }
    group->async_run(std::move(kept), [this](std::exception_ptr e) { outcome = {true, e}; });
    settle();
    group->stop();
    settle();
    CHECK(outcome.completed);
    CHECK(left.expired());
}

TEST_CASE_FIXTURE(
    scripted_group,
    "no function of the user's is called or kept when the run is over, whatever comes late") {
    auto const kept = std::make_shared<int>(0);
    bool told_late = false;
    settings.on_event = [this, &told_late, kept](event const& event) {
        told_late = told_late || outcome.completed;
        events.push_back(event);
    };
    settings.oauth_token_provider = [kept]() -> asio::awaitable<kgroup::oauth_token> {
        co_return kgroup::oauth_token{};
    };
    settings.properties["security.protocol"] = "sasl_ssl";
    latch held{context};
    std::optional<message> message_held;
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        message_held = co_await claim.messages().async_receive();
        auto const late = co_await claim.messages().async_receive();
        co_await held.wait_deaf();
        claim.mark(*late);
        throw std::runtime_error{"late"};
    };
    bool consumes = false;
    bool group_lives = true;
    SUBCASE("async_run, and the group lives on") {}
    SUBCASE("async_run, and the group is gone") { group_lives = false; }
    SUBCASE("async_consume") { consumes = true; }
    group.emplace(context, settings);
    auto const completed = [this](std::exception_ptr e, auto...) { outcome = {true, e}; };
    if (consumes) {
        group->async_consume(handler, completed);
    } else {
        group->async_run(handler, completed);
    }
    settings = {};
    cluster.add_records(t0, "a", "b");
    cluster.assign({t0});
    settle();
    CHECK(kept.use_count() > 1);
    group->stop();
    for (int i = 0; i != 60 && !outcome.completed; ++i) {
        advance(500ms);
    }
    CHECK(outcome.error() == kgroup::errc::handler_abandoned);
    CHECK(kept.use_count() == 1);
    CHECK(group->stats().abandoned_handlers == 1);
    if (!group_lives) {
        group.reset();
    }
    held.open();
    settle();
    if (group_lives) {
        CHECK(group->stats().abandoned_handlers == 0);
        CHECK(group->stats().late_failures == 1);
        CHECK(group->stats().marks_refused == 1);
        CHECK(group->stats().late_messages == 1);
    }
    CHECK(handler.claims_ended == 1);
    CHECK_FALSE(told_late);
    message_held.reset();
}

// What a group is in the middle of when it is stopped.
class stopped_group : public scripted_group {
public:
    latch held{context};

    void mark_one_and_wait_on(bool in_setup, bool in_claim, bool in_cleanup) {
        handler.on_setup = [this, in_setup](session&) -> asio::awaitable<void> {
            if (in_setup) {
                co_await held.wait();
            }
        };
        handler.on_claim = [this, in_claim](session&, claim& claim) -> asio::awaitable<void> {
            while (auto const next = co_await claim.messages().async_receive()) {
                claim.mark(*next);
                if (in_claim) {
                    co_await held.wait();
                }
            }
        };
        handler.on_cleanup = [this, in_cleanup](session&) -> asio::awaitable<void> {
            if (in_cleanup) {
                co_await held.wait();
            }
        };
        cluster.add_records(t0, "a");
    }

    /// From the stop to the completion, by kgroup's clock, if nobody does anything any more.
    std::chrono::milliseconds stop_and_wait() {
        group->stop();
        settle();
        std::chrono::milliseconds passed{0};
        while (!outcome.completed && passed < 1min) {
            passed += 100ms;
            advance(100ms);
        }
        CHECK(outcome.completed);
        CHECK_FALSE(cluster.has_member());
        CHECK(handler.setups == handler.cleanups);
        CHECK(handler.claims == handler.claims_ended);
        return passed;
    }
};

TEST_CASE_FIXTURE(stopped_group, "stop in every state ends the run within close_timeout") {
    auto const close_timeout = settings.close_timeout;
    SUBCASE("joining, unknown to the group") {
        run();
        CHECK(stop_and_wait() == 0ms);
        CHECK(said() == lines{"close", "> closed", "shut down"});
    }
    SUBCASE("joining, known: it waits for an assignment to leave with, so that no ghost stays") {
        run();
        cluster.join();
        SUBCASE("that comes") {
            group->stop();
            settle();
            CHECK_FALSE(outcome.completed);
            cluster.assign({t0});
            CHECK(stop_and_wait() == 0ms);
            CHECK(said() == lines{"> assigned t[0]", "assign t[0]@end", "close", "> revoked t[0]",
                                  "unassign t[0]", "> closed", "shut down"});
        }
        SUBCASE("that does not come") {
            CHECK(stop_and_wait() <= close_timeout);
            CHECK(said() == lines{"close", "> closed", "shut down"});
        }
        CHECK(handler.setups == 0);
    }
    SUBCASE("looking up") {
        cluster.hold(request::look_up);
        run_over({t0});
        CHECK(stop_and_wait() <= close_timeout);
        CHECK(handler.setups == 0);
    }
    SUBCASE("looking up in vain") {
        cluster.fail(request::look_up, kgroup::make_error_code(RD_KAFKA_RESP_ERR__TRANSPORT), 1000);
        run_over({t0});
        CHECK(stop_and_wait() <= close_timeout);
    }
    SUBCASE("setting up") {
        mark_one_and_wait_on(true, false, false);
        run_over({t0});
        CHECK(stop_and_wait() <= close_timeout);
        CHECK(handler.claims == 0);
    }
    SUBCASE("running") {
        mark_one_and_wait_on(false, false, false);
        run_over({t0});
        CHECK(stop_and_wait() == 0ms);
        CHECK(cluster.committed(t0) == 1);
    }
    SUBCASE("in the middle of a handler") {
        mark_one_and_wait_on(false, true, false);
        run_over({t0});
        CHECK(stop_and_wait() <= close_timeout);
        CHECK(cluster.committed(t0) == 1);
        CHECK(count(event_kind::handler_cancelled) == 1);
    }
    SUBCASE("draining") {
        mark_one_and_wait_on(false, true, false);
        run_over({t0});
        cluster.revoke();
        settle();
        CHECK(stop_and_wait() <= close_timeout);
        CHECK(cluster.committed(t0) == 1);
    }
    SUBCASE("cleaning up") {
        mark_one_and_wait_on(false, false, true);
        run_over({t0});
        cluster.revoke();
        settle();
        CHECK(stop_and_wait() <= close_timeout);
        CHECK(cluster.committed(t0) == 1);
    }
    SUBCASE("in the middle of a periodic commit that is never answered") {
        mark_one_and_wait_on(false, false, false);
        run_over({t0});
        cluster.hold(request::commit);
        advance(1min);
        CHECK(stop_and_wait() <= close_timeout);
    }
    SUBCASE("in the last commit") {
        mark_one_and_wait_on(false, false, false);
        run_over({t0});
        cluster.hold(request::commit);
        cluster.revoke();
        settle();
        CHECK(stop_and_wait() <= close_timeout);
        CHECK(count(event_kind::commit_failed) == 1);
    }
    SUBCASE("backing off") {
        handler.on_claim = [](session&, claim&) -> asio::awaitable<void> { co_return; };
        run_over({t0});
        CHECK(handler.cleanups == 1);
        CHECK(stop_and_wait() == 0ms);
    }
    SUBCASE("closing") {
        mark_one_and_wait_on(false, false, false);
        run_over({t0});
        cluster.hold(request::close);
        CHECK(stop_and_wait() <= close_timeout);
        CHECK(count(event_kind::close_timed_out) == 1);
        CHECK(cluster.committed(t0) == 1);
        CHECK_FALSE(outcome.failure);
    }
    SUBCASE("ending the client") {
        run_over({t0});
        cluster.hold(request::shut_down);
        CHECK(stop_and_wait() <= close_timeout + 1s);
        cluster.release(request::shut_down);
        settle();
    }
    SUBCASE("everything at once") {
        mark_one_and_wait_on(false, true, true);
        run_over({t0});
        for (auto const kind : {request::commit, request::close, request::shut_down}) {
            cluster.hold(kind);
        }
        CHECK(stop_and_wait() <= close_timeout + 1s);
        cluster.release(request::shut_down);
        settle();
    }
    SUBCASE("with a close_timeout of its own") {
        mark_one_and_wait_on(false, true, true);
        settings.close_timeout = 2s;
        run_over({t0});
        for (auto const kind : {request::commit, request::close, request::shut_down}) {
            cluster.hold(kind);
        }
        CHECK(stop_and_wait() <= 3s);
        cluster.release(request::shut_down);
        settle();
    }
    CHECK_FALSE(outcome.failure);
}

// What handlers have from the stop on, in every state in which some run, or are going to.
class timed_stop : public scripted_group {
public:
    latch work{context};
    latch hook{context};
    claim* stuck = nullptr;

    timed_stop() {
        make_cooperative();
        handler.on_claim = [this](session&, claim& claim) -> asio::awaitable<void> {
            auto const next = co_await claim.messages().async_receive();
            if (!next) { // of its partition there is none
                co_return;
            }
            claim.mark(*next);
            if (claim.partition() == 0) {
                stuck = &claim;
                co_await work.wait();
            } else {
                co_await handler.mark_all(claim);
            }
        };
        cluster.add_records(t0, "a");
        cluster.add_records(t1, "b");
    }

    std::chrono::seconds time_left() const {
        return std::chrono::round<std::chrono::seconds>(*stuck->finish_by() -
                                                        std::chrono::steady_clock::now());
    }

    /// What is stuck is cancelled then and not before, and all the rest is done within
    /// close_timeout.
    void expect_cancelled_after(std::chrono::milliseconds time) {
        group->stop();
        settle();
        advance(time - 500ms);
        CHECK(count(event_kind::handler_cancelled) == 0);
        advance(500ms);
        CHECK(count(event_kind::handler_cancelled) == 1);
        CHECK(count(event_kind::handler_abandoned) == 0);
        if (!outcome.completed) {
            cluster.assign({}); // to leave with
            settle();
        }
        CHECK(outcome.completed);
        CHECK_FALSE(outcome.failure);
        CHECK(said().back() == "shut down");
        CHECK(count(event_kind::close_timed_out) == 0);
        CHECK(count(event_kind::commit_failed) == 0);
    }
};

TEST_CASE("stop gives handlers all of close_timeout but a share, and no less than a rebalance "
          "where that fits") {
    struct sample {
        std::chrono::milliseconds close_timeout, commit_timeout, rebalance_deadline, handlers;
    };
    for (auto const& times :
         {sample{15s, 5s, 10s, 11250ms}, sample{9s, 5s, 10s, 6750ms}, sample{60s, 5s, 10s, 54s},
          sample{12s, 5s, 10s, 10s}, sample{2s, 5s, 10s, 1500ms}, sample{9s, 5s, 1s, 6750ms}}) {
        CAPTURE(times.close_timeout.count());
        timed_stop it;
        it.settings.close_timeout = times.close_timeout;
        it.settings.commit_timeout = times.commit_timeout;
        it.settings.rebalance_deadline = times.rebalance_deadline;
        it.run_over({t0, t1});
        it.expect_cancelled_after(times.handlers);
        CHECK(it.cluster.committed(t0) == 1);
        CHECK(it.cluster.committed(t1) == 1);
    }
}

TEST_CASE_FIXTURE(timed_stop, "stop in every state gives the same time") {
    settings.close_timeout = 20s;
    constexpr auto handlers = 15s;
    SUBCASE("during setup") {
        handler.on_setup = [this](session&) { return hook.wait(); };
        run_over({t0});
        expect_cancelled_after(handlers);
    }
    SUBCASE("during the look-up for an addition") {
        run_over({t0});
        cluster.hold(request::look_up);
        cluster.assign({t1});
        settle();
        expect_cancelled_after(handlers);
    }
    SUBCASE("while a part is committed: the others learn of it at once") {
        run_over({t1, t2});
        cluster.hold(request::commit);
        cluster.revoke({t1});
        settle();
        CHECK(handler.claims_ended == 1);
        group->stop();
        settle();
        CHECK(handler.claims_ended == 2);
        cluster.release(request::commit);
        settle();
        CHECK(outcome.completed);
    }
    SUBCASE("while a part drains, the group waits: as in a rebalance") {
        run_over({t0, t1});
        cluster.revoke({t0});
        settle();
        expect_cancelled_after(10s);
    }
    SUBCASE("and so it does when a revocation comes later") {
        run_over({t0, t1});
        group->stop();
        settle();
        CHECK(time_left() == 15s);
        advance(1s);
        cluster.revoke({t0});
        settle();
        CHECK(time_left() == 10s);
        advance(9500ms);
        CHECK(count(event_kind::handler_cancelled) == 0);
        advance(500ms);
        CHECK(count(event_kind::handler_cancelled) == 1);
    }
    SUBCASE("cleanup has what handlers leave") {
        handler.on_cleanup = [this](session&) { return hook.wait(); };
        run_over({t1});
        expect_cancelled_after(handlers);
        CHECK(cluster.committed(t1) == 1);
    }
    SUBCASE("cleanup of what was revoked before") {
        settings.close_timeout = 8s;
        handler.on_cleanup = [this](session&) { return hook.wait(); };
        run_over({t1});
        cluster.revoke();
        settle();
        expect_cancelled_after(6s);
        CHECK(cluster.committed(t1) == 1);
    }
    SUBCASE("handlers of what was revoked before") {
        settings.close_timeout = 8s;
        run_over({t0});
        cluster.revoke();
        settle();
        CHECK(time_left() == 10s);
        group->stop();
        settle();
        CHECK(time_left() == 6s);
        expect_cancelled_after(6s);
        CHECK(cluster.committed(t0) == 1);
    }
    stop();
}

TEST_CASE_FIXTURE(timed_stop, "whoever takes all of its time leaves some to those behind it") {
    settings.close_timeout = 8s;
    handler.on_cleanup = [this](session&) { return hook.wait_deaf(); };
    handler.on_claim = [this](session&, claim& claim) -> asio::awaitable<void> {
        claim.mark(*co_await claim.messages().async_receive());
        if (claim.partition() == 0) {
            co_await work.wait_deaf();
        }
    };
    run_over({t0, t1});
    SUBCASE("the last commit is taken") {}
    SUBCASE("nor does the last commit keep the group from being left") {
        cluster.hold(request::commit);
    }
    SUBCASE("and one that was on its way at the stop") {
        cluster.hold(request::commit);
        cluster.revoke({t1});
        settle();
    }
    group->stop();
    settle();
    for (int i = 0; i != 79; ++i) {
        advance(100ms);
    }
    CHECK(count(event_kind::handler_abandoned) == 2);
    CHECK(std::ranges::count(cluster.trace(), "close") == 1);
    CHECK(std::ranges::count(cluster.trace(), "> closed") == 1);
    advance(1s);
    CHECK(outcome.error() == kgroup::errc::handler_abandoned);
    work.open();
    hook.open();
    settle();
}

// The clock goes on while a handler keeps the executor to itself.
TEST_CASE_FIXTURE(
    scripted_group,
    "a handler that ends in its time is not cancelled, however busy the executor was then") {
    handler.on_claim = [this](session&, claim& claim) -> asio::awaitable<void> {
        co_await handler.mark_all(claim);
        if (claim.partition() == 0) {
            kgroup::detail::clock::lead += std::chrono::nanoseconds{20s}.count();
        } else {
            co_await asio::post(asio::use_awaitable);
            co_await asio::post(asio::use_awaitable);
        }
    };
    cluster.add_records(t0, "a");
    cluster.add_records(t1, "b");
    cluster.add_records(t2, "c");
    SUBCASE("revoked") {
        run_over({t0, t1, t2});
        cluster.revoke();
        settle();
    }
    SUBCASE("stopped: both deadlines are over at once") {
        run_over({t0, t1, t2});
        group->stop();
        settle();
        CHECK(outcome.completed);
        CHECK_FALSE(outcome.failure);
    }
    CHECK(handler.claims_ended == 3);
    CHECK(count(event_kind::handler_cancelled) == 0);
    CHECK(count(event_kind::handler_abandoned) == 0);
    CHECK(cluster.committed(t2) == 1);
    stop();
}

TEST_CASE_FIXTURE(scripted_group, "stop from inside a handler: it finishes what it holds") {
    handler.on_claim = [this](session& session, claim& claim) -> asio::awaitable<void> {
        while (auto const next = co_await claim.messages().async_receive()) {
            handler.note(*next);
            if (next->value() == "b") {
                group->stop();
                co_await session.async_wait_stopping();
            }
            claim.mark(*next);
        }
    };
    cluster.add_records(t0, "a", "b", "c");
    run_over({t0});
    CHECK(outcome.completed);
    CHECK_FALSE(outcome.failure);
    CHECK(handler.received == lines{"t[0]@0 a", "t[0]@1 b"});
    CHECK(cluster.committed(t0) == 2);
}

TEST_CASE_FIXTURE(scripted_group, "stop from another thread, while the context runs") {
    cluster.add_records(t0, "a");
    cluster.assign({t0});
    group.emplace(context, settings);
    std::promise<void> marked;
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        auto const next = co_await claim.messages().async_receive();
        claim.mark(*next);
        marked.set_value();
        co_await claim.messages().async_receive();
    };
    group->async_run(handler, [this](std::exception_ptr e) { outcome = {true, e}; });
    std::thread other{[&] {
        marked.get_future().wait();
        group->stop();
    }};
    context.run(); // returns when there is nothing left to do: the run has completed
    other.join();
    CHECK(outcome.completed);
    CHECK_FALSE(outcome.failure);
    CHECK(cluster.committed(t0) == 1);
}

TEST_CASE_FIXTURE(scripted_group, "a group runs once") {
    run_over({t0});
    run_outcome second;
    group->async_run(handler, [&](std::exception_ptr e) { second = {true, e}; });
    settle();
    CHECK(second.error() == kgroup::errc::already_running);
    CHECK_FALSE(outcome.completed);
    stop();
    second = {};
    group->async_run(handler, [&](std::exception_ptr e) { second = {true, e}; });
    settle();
    CHECK(second.error() == kgroup::errc::already_running);
}

TEST_CASE_FIXTURE(scripted_group, "async_consume is one session") {
    std::exception_ptr failure;
    std::optional<end_reason> why;
    group.emplace(context, settings);
    group->async_consume(handler, [&](std::exception_ptr e, end_reason reason) {
        outcome = {true, e};
        why = reason;
    });
    settle();
    SUBCASE("that is revoked") {
        cluster.add_records(t0, "a");
        cluster.assign({t0});
        settle();
        cluster.revoke();
        settle();
        CHECK(why == end_reason::revoked);
        CHECK(cluster.committed(t0) == 1);
    }
    SUBCASE("that is lost") {
        cluster.assign({t0});
        settle();
        cluster.lose();
        settle();
        CHECK(why == end_reason::lost);
    }
    SUBCASE("whose handler returns") {
        handler.on_claim = [](session&, claim&) -> asio::awaitable<void> { co_return; };
        cluster.assign({t0});
        settle();
        CHECK(why == end_reason::claim_exited);
        CHECK(handler.setups == 1);
    }
    SUBCASE("that is stopped") {
        cluster.assign({t0});
        settle();
        group->stop();
        settle();
        CHECK(why == end_reason::stopped);
    }
    SUBCASE("that never came") {
        group->stop();
        settle();
        CHECK(why == end_reason::stopped);
    }
    CHECK_FALSE(outcome.failure);
}

// Every suspension point: a short life with two claims, driven so many steps and no further.
class stepped_group : public scripted_group {
public:
    asio::cancellation_signal signal;
    std::map<int, std::int64_t> marked;

    stepped_group() {
        make_cooperative();
        settings.close_timeout = 3s;
        // The handler writes the script as it goes, so that all comes of steps: t[1] comes, commits
        // happen, t[1] goes.
        handler.on_claim = [this](session& session, claim& claim) -> asio::awaitable<void> {
            while (auto const next = co_await claim.messages().async_receive()) {
                claim.mark(*next);
                marked[claim.partition()] = next->offset() + 1;
                if (next->value() == "more") {
                    cluster.assign({t1});
                } else if (next->value() == "commit") {
                    co_await session.async_commit();
                } else if (next->value() == "less") {
                    cluster.revoke({t1});
                }
            }
        };
        cluster.add_records(t0, "a", "more", "b");
        cluster.add_records(t1, "c", "commit", "less");
        cluster.assign({t0});
        group.emplace(context, settings);
        group->async_run(handler,
                         asio::bind_cancellation_slot(signal.slot(), [this](std::exception_ptr e) {
                             outcome = {true, e};
                         }));
    }

    /// false: there was less to do than that.
    bool take_steps(int how_many) {
        for (int i = 0; i != how_many; ++i) {
            if (context.poll_one() == 0) {
                return false;
            }
        }
        return true;
    }

    void expect_order() {
        CHECK(handler.setups == handler.cleanups);
        CHECK(handler.claims == handler.claims_ended);
        CHECK_FALSE(cluster.has_member());
        for (auto const& [partition, next] : marked) {
            CHECK(cluster.committed({"t", partition}) == next);
        }
    }
};

TEST_CASE("cancellation of async_run at each suspension point is a stop in order") {
    constexpr std::array types{asio::cancellation_type::terminal, asio::cancellation_type::partial,
                               asio::cancellation_type::total};
    for (int steps = 0;; ++steps) {
        stepped_group it;
        CAPTURE(steps);
        auto const further = it.take_steps(steps);
        it.signal.emit(types[static_cast<std::size_t>(steps) % types.size()]);
        it.settle();
        if (!it.outcome.completed) { // it waits for an assignment to leave with
            it.advance(2s);
        }
        REQUIRE(it.outcome.completed);
        CHECK(it.outcome.error() == asio::error::operation_aborted);
        it.expect_order();
        if (!further) {
            CHECK(it.marked ==
                  std::map<int, std::int64_t>{{0, 3}, {1, 3}}); // that was the whole life
            MESSAGE("suspension points: " << steps);
            break;
        }
    }
}

TEST_CASE("stop at each suspension point") {
    for (int steps = 0;; ++steps) {
        stepped_group it;
        CAPTURE(steps);
        auto const further = it.take_steps(steps);
        it.group->stop();
        it.settle();
        if (!it.outcome.completed) {
            it.advance(2s);
        }
        REQUIRE(it.outcome.completed);
        CHECK_FALSE(it.outcome.failure);
        it.expect_order();
        if (!further) {
            break;
        }
    }
}

TEST_CASE("the context may go at each suspension point, before and during the end") {
    for (bool const stopping : {false, true}) {
        for (int steps = 0;; ++steps) {
            stepped_group it;
            if (stopping) {
                it.settle();
                it.group->stop();
            }
            if (!it.take_steps(steps)) {
                break;
            }
        }
    }
}

TEST_CASE("the context may go while the client ends, and the client end later") {
    fake_cluster cluster;
    cluster.hold(request::shut_down);
    {
        scripted_group it;
        it.settings.brokers = cluster.brokers();
        it.run();
        it.group->stop();
        it.settle();
        CHECK_FALSE(it.outcome.completed);
    }
    cluster.release(request::shut_down);
}

TEST_CASE_FIXTURE(
    scripted_group,
    "a handler that does not end, and its context, gone in the middle of each rung of the ladder") {
    latch stuck{context};
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        auto const held = co_await claim.messages().async_receive();
        co_await stuck.wait_deaf();
    };
    cluster.add_records(t0, "a");
    run_over({t0});
    SUBCASE("running") {}
    SUBCASE("draining") { group->stop(); }
    SUBCASE("cancelled") {
        group->stop();
        settle();
        advance(11250ms);
    }
    SUBCASE("abandoned") {
        group->stop();
        settle();
        advance(11250ms);
        advance(1s);
    }
    settle();
    CHECK(cluster.records_held() != 0);
}

TEST_CASE_FIXTURE(
    scripted_group,
    "handlers come by reference, shared or to keep, and moved ones need not be copyable") {
    struct moved {
        std::unique_ptr<int> only_one = std::make_unique<int>(1);
        std::vector<std::string>* to;
        asio::awaitable<void> consume_claim(session&, claim& claim) {
            while (auto const next = co_await claim.messages().async_receive()) {
                to->push_back(std::string{next->value()} + std::to_string(*only_one));
            }
        }
    };
    std::vector<std::string> received;
    cluster.add_records(t0, "a");
    cluster.assign({t0});
    group.emplace(context, settings);
    std::weak_ptr<moved> kept;
    auto const done = [this](std::exception_ptr e) { outcome = {true, e}; };
    SUBCASE("rvalue") { group->async_run(moved{.to = &received}, done); }
    SUBCASE("shared") {
        auto shared = std::make_shared<moved>(moved{.to = &received});
        kept = shared;
        group->async_run(std::move(shared), done);
        CHECK_FALSE(kept.expired());
    }
    SUBCASE("rvalue, one session") {
        group->async_consume(moved{.to = &received}, [this](std::exception_ptr e, end_reason) {
            outcome = {true, e};
        });
    }
    settle();
    CHECK(received == lines{"a1"});
    stop();
    CHECK(kept.expired());
}

TEST_CASE_FIXTURE(scripted_group,
                  "completion: a callback on its own executor, a coroutine, a future") {
    cluster.add_records(t0, "a");
    cluster.assign({t0});
    group.emplace(context, settings);
    SUBCASE("a callback") {
        asio::io_context other;
        std::thread::id on;
        group->async_run(handler,
                         asio::bind_executor(other.get_executor(), [&](std::exception_ptr e) {
                             outcome = {true, e};
                             on = std::this_thread::get_id();
                         }));
        settle();
        group->stop();
        settle();
        CHECK_FALSE(outcome.completed);
        other.run();
        CHECK(outcome.completed);
    }
    SUBCASE("a coroutine, with the default token") {
        asio::co_spawn(
            context,
            [this]() -> asio::awaitable<void> {
                co_await group->async_run(handler);
                outcome.completed = true;
            },
            asio::detached);
        settle();
        stop();
    }
    SUBCASE("a coroutine, one session") {
        asio::co_spawn(
            context,
            [this]() -> asio::awaitable<void> {
                auto const why = co_await group->async_consume(handler);
                CHECK(why == end_reason::revoked);
                outcome.completed = true;
            },
            asio::detached);
        settle();
        cluster.revoke();
        settle();
    }
    SUBCASE("a future") {
        auto future = group->async_run(handler, asio::use_future);
        settle();
        group->stop();
        settle();
        CHECK(future.wait_for(0s) == std::future_status::ready);
        future.get();
        outcome.completed = true;
    }
    SUBCASE("a future that throws") {
        handler.on_setup = [](session&) -> asio::awaitable<void> {
            throw std::runtime_error{"boom"};
            co_return;
        };
        auto future = group->async_run(handler, asio::use_future);
        settle();
        CHECK_THROWS_WITH(future.get(), "boom");
        outcome.completed = true;
    }
    SUBCASE("detached") {
        group->async_run(handler, asio::detached);
        settle();
        group->stop();
        settle();
        CHECK_FALSE(cluster.has_member());
        outcome.completed = true;
    }
    CHECK(outcome.completed);
}

TEST_CASE("on a thread pool") {
    fake_cluster cluster;
    cluster.add_records(t0, "a", "b");
    cluster.assign({t0, t1});
    scripted_handler handler;
    std::promise<void> both;
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        while (auto const next = co_await claim.messages().async_receive()) {
            claim.mark(*next);
            if (next->value() == "b") {
                both.set_value();
            }
        }
    };
    asio::thread_pool pool{4};
    fake_group group{pool,
                     {.brokers = cluster.brokers(),
                      .group_id = "group",
                      .topics = {"t"},
                      .initial_offset = kgroup::offset_reset::earliest,
                      .on_event = [](kgroup::event const&) {}}};
    auto done = group.async_run(handler, asio::use_future);
    both.get_future().wait();
    group.stop();
    done.get();
    CHECK(cluster.committed(t0) == 2);
    CHECK(cluster.complaints().empty());
    pool.join();
}

} // namespace
