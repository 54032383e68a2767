// SPDX-License-Identifier: MIT

#include <stdexcept>

#include "support/latch.hpp"
#include "support/scripted_group.hpp"

// What ends a run or a session by itself: exceptions, early returns, errors of the group, of a
// partition, of a look-up.

namespace {

using namespace kgroup::tests;
using kgroup::claim;
using kgroup::claim_exit;
using kgroup::end_reason;
using kgroup::errc;
using kgroup::event_kind;
using kgroup::make_error_code;
using kgroup::session;
using request = fake_cluster::request;

TEST_CASE_FIXTURE(
    scripted_group,
    "an exception from consume_claim ends the session in order and comes out of async_run") {
    latch held{context};
    end_reason seen{};
    handler.on_claim = [&](session& session, claim& claim) -> asio::awaitable<void> {
        while (auto const next = co_await claim.messages().async_receive()) {
            if (next->value() == "boom") {
                throw std::runtime_error{"boom"};
            }
            handler.note(*next);
            if (claim.partition() == 1) {
                co_await held.wait();
                seen = session.end_reason();
            }
            claim.mark(*next);
        }
    };
    cluster.add_records(t0, "a", "boom");
    cluster.add_records(t1, "b", "c");
    run_over({t0, t1});
    CHECK_FALSE(outcome.completed); // the other one finishes what it holds
    said();
    held.open();
    settle();
    CHECK(outcome.what() == "boom");
    CHECK(seen == end_reason::handler_failed);
    CHECK(handler.received == lines{"t[0]@0 a", "t[1]@0 b"});
    CHECK(said() == lines{"commit t[0]=1 t[1]=1", "> committed", "close", "> revoked t[0] t[1]",
                          "unassign t[0] t[1]", "> closed", "shut down"});
    CHECK(handler.cleanups == 1);
    CHECK(count(event_kind::handler_failed) == 1);
    CHECK(last(event_kind::handler_failed).where == t0);
    CHECK(last(event_kind::handler_failed).text == "boom");
    CHECK(last(event_kind::session_ended).text == "handler_failed");
}

TEST_CASE_FIXTURE(scripted_group,
                  "an exception from setup: cleanup still runs, nothing is assigned") {
    handler.on_setup = [](session& session) -> asio::awaitable<void> {
        session.mark_offset(t0, 3);
        throw std::runtime_error{"boom"};
        co_return;
    };
    run_over({t0});
    CHECK(outcome.what() == "boom");
    CHECK(handler.cleanups == 1);
    CHECK(handler.claims == 0);
    CHECK(cluster.committed(t0) == 3);
    CHECK_FALSE(cluster.has_member());
}

TEST_CASE_FIXTURE(scripted_group, "an exception from cleanup: what is marked is committed") {
    handler.on_cleanup = [](session&) -> asio::awaitable<void> {
        throw std::runtime_error{"boom"};
        co_return;
    };
    cluster.add_records(t0, "a");
    run_over({t0});
    cluster.revoke();
    settle();
    CHECK(outcome.what() == "boom");
    CHECK(cluster.committed(t0) == 1);
    CHECK(std::ranges::count(said(), "unassign t[0]") == 1);
}

TEST_CASE_FIXTURE(scripted_group, "an exception from on_event ends the run in order") {
    settings.on_event = [this](kgroup::event const& event) {
        events.push_back(event);
        if (event.kind == event_kind::session_started) {
            throw std::runtime_error{"boom"};
        }
    };
    cluster.add_records(t0, "a");
    run_over({t0});
    CHECK(outcome.what() == "boom");
    CHECK(handler.setups == 1);
    CHECK(handler.cleanups == 1);
    CHECK_FALSE(cluster.has_member());
}

TEST_CASE_FIXTURE(scripted_group,
                  "the first exception is the one that comes out, of whatever type") {
    handler.on_claim = [](session&, claim&) -> asio::awaitable<void> {
        throw 42;
        co_return;
    };
    handler.on_cleanup = [](session&) -> asio::awaitable<void> {
        throw std::runtime_error{"later"};
        co_return;
    };
    run_over({t0});
    CHECK_THROWS_AS(std::rethrow_exception(outcome.failure), int);
    CHECK(count(event_kind::handler_failed) == 2);
}

TEST_CASE_FIXTURE(scripted_group,
                  "a handler that fails at its end, when it is told to end, is a failure") {
    handler.on_claim = [](session&, claim& claim) -> asio::awaitable<void> {
        while (auto const next = co_await claim.messages().async_receive()) {
        }
        throw std::runtime_error{"cannot flush"};
    };
    run_over({t0});
    cluster.revoke();
    settle();
    CHECK(outcome.what() == "cannot flush");
    CHECK(handler.cleanups == 1);
}

TEST_CASE_FIXTURE(
    scripted_group,
    "an early return: a new session over the same assignment, which costs the group nothing") {
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        auto const next = co_await claim.messages().async_receive();
        if (next) {
            handler.note(*next);
            claim.mark(*next);
        }
    };
    cluster.add_records(t0, "a", "b", "c");
    run_over({t0, t1});
    CHECK(said() == lines{"> assigned t[0] t[1]", "look up t[0] t[1]", "> offsets",
                          "assign t[0]@0 t[1]@0", "commit t[0]=1", "> committed"});
    CHECK(count(event_kind::handler_returned) == 1);
    CHECK(last(event_kind::handler_returned).where == t0);
    CHECK(last(event_kind::session_ended).text == "claim_exited");
    advance(230ms);
    CHECK(handler.setups == 1);
    advance(20ms);
    CHECK(handler.setups == 2);
    CHECK(said() == lines{"look up t[0] t[1]", "> offsets", "seek t[0]@1", "seek t[1]@0",
                          "commit t[0]=2", "> committed"});
    CHECK(handler.received == lines{"t[0]@0 a", "t[0]@1 b"});
    CHECK(cluster.assigned() == std::set{t0, t1});
    CHECK(group->stats().rebalances == 1);
    stop();
}

TEST_CASE_FIXTURE(scripted_group, "the backoff between such sessions grows, to half a minute") {
    handler.on_claim = [](session&, claim&) -> asio::awaitable<void> { co_return; };
    run_over({t0});
    std::vector<std::chrono::milliseconds> waits;
    while (waits.size() != 9) {
        auto const before = handler.setups;
        std::chrono::milliseconds waited{0};
        while (handler.setups == before && waited < 2min) {
            advance(250ms);
            waited += 250ms;
        }
        waits.push_back(waited);
    }
    CHECK(waits ==
          std::vector<std::chrono::milliseconds>{250ms, 500ms, 1s, 2s, 4s, 8s, 16s, 30s, 30s});
    SUBCASE("and a session that lasted begins it anew") {
        handler.on_claim = nullptr;
        advance(30s);
        auto const before = handler.setups;
        advance(61s);
        CHECK(handler.setups == before);
        handler.on_claim = [](session&, claim&) -> asio::awaitable<void> { co_return; };
        cluster.revoke();
        cluster.assign({t0});
        settle();
        CHECK(handler.setups == before + 1);
    }
    stop();
}

TEST_CASE_FIXTURE(scripted_group, "a rebalance during the backoff does not wait for it") {
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        if (handler.claims > 1) {
            co_await handler.mark_all(claim);
        }
    };
    run_over({t0});
    CHECK(handler.cleanups == 1);
    SUBCASE("a revocation") {
        cluster.revoke();
        settle();
        CHECK(said().back() == "unassign t[0]");
        advance(1min);
        CHECK(handler.setups == 1);
    }
    SUBCASE("an assignment") {
        cluster.assign({t1});
        settle();
        CHECK(handler.setups == 2);
        CHECK(cluster.assigned() == std::set{t1});
        advance(1min);
        CHECK(handler.setups == 2);
    }
    stop();
}

TEST_CASE_FIXTURE(
    scripted_group,
    "an early return under keep_others: the others go on, and the orphan is reported each minute") {
    settings.on_claim_exit = claim_exit::keep_others;
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        if (claim.partition() == 0) {
            auto const next = co_await claim.messages().async_receive();
            claim.mark(*next);
            co_return;
        }
        co_await handler.mark_all(claim);
    };
    cluster.add_records(t0, "a", "b");
    cluster.add_records(t1, "c");
    run_over({t0, t1});
    CHECK(count(event_kind::handler_returned) == 1);
    CHECK(handler.cleanups == 0);
    cluster.add_records(t1, "d");
    settle();
    CHECK(handler.received == lines{"t[1]@0 c", "t[1]@1 d"});
    advance(59s);
    CHECK(count(event_kind::handler_returned) == 1);
    advance(2s);
    CHECK(count(event_kind::handler_returned) == 2);
    CHECK(last(event_kind::handler_returned).where == t0);
    for (int i = 0; i != 3; ++i) {
        advance(1min);
    }
    CHECK(count(event_kind::handler_returned) == 5);
    cluster.revoke();
    settle();
    CHECK(cluster.committed(t0) == 1);
    CHECK(cluster.committed(t1) == 2);
    advance(10min); // it is nobody's orphan any more
    CHECK(count(event_kind::handler_returned) == 5);
    stop();
}

TEST_CASE_FIXTURE(scripted_group, "under keep_others, a session all of whose handlers have "
                                  "returned still commits and cleans up") {
    settings.on_claim_exit = claim_exit::keep_others;
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        auto const next = co_await claim.messages().async_receive();
        claim.mark(*next);
    };
    cluster.add_records(t0, "a");
    run_over({t0});
    CHECK(handler.claims_ended == 1);
    stop();
    CHECK(cluster.committed(t0) == 1);
    CHECK(handler.cleanups == 1);
}

TEST_CASE_FIXTURE(
    scripted_group,
    "the end of the membership: handlers are told, nothing is committed, the run fails") {
    auto const fenced = make_error_code(RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID);
    end_reason seen{};
    latch work{context};
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        while (auto const next = co_await claim.messages().async_receive()) {
            claim.mark(*next);
            try {
                co_await work.wait();
            } catch (...) {
                seen = claim.end_reason();
                throw;
            }
        }
    };
    cluster.add_records(t0, "a");
    SUBCASE("in a session") {
        run_over({t0});
        said();
        cluster.expel(fenced, "fenced by another");
        settle();
        CHECK(seen == end_reason::group_failed);
        CHECK(handler.cleanups == 1);
        CHECK(last(event_kind::session_ended).text == "group_failed");
        CHECK(said() == lines{"> expelled", "shut down"});
    }
    SUBCASE("in a session whose handler is stuck") {
        handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
            auto const held = co_await claim.messages().async_receive();
            co_await work.wait_deaf();
        };
        run_over({t0});
        cluster.expel(fenced, "fenced by another");
        settle();
        advance(10s);
        advance(1s);
        CHECK(count(event_kind::handler_abandoned) == 1);
        work.open();
        settle();
    }
    SUBCASE("while joining") {
        run();
        cluster.expel(fenced, "fenced by another");
        settle();
    }
    SUBCASE("while looking up") {
        cluster.hold(request::look_up);
        run_over({t0});
        cluster.expel(fenced, "fenced by another");
        settle();
    }
    SUBCASE("while leaving") {
        run_over({t0});
        cluster.hold(request::close);
        work.open();
        group->stop();
        settle();
        cluster.expel(fenced, "fenced by another");
        settle();
        CHECK(cluster.committed(t0) == 1);
        cluster.set_committed(t0, 0);
    }
    CHECK(outcome.completed);
    CHECK(outcome.error() == fenced);
    CHECK(outcome.what().starts_with("fenced by another"));
    CHECK(cluster.committed(t0).value_or(0) == 0);
    CHECK_FALSE(cluster.has_member());
}

TEST_CASE_FIXTURE(scripted_group,
                  "offsets that cannot be looked up yet are looked up again, and it is said once") {
    cluster.fail(request::look_up, make_error_code(RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS),
                 5);
    run_over({t0});
    for (int i = 0; i != 4; ++i) {
        CHECK(handler.setups == 0);
        advance(500ms);
    }
    advance(500ms);
    CHECK(handler.setups == 1);
    CHECK(count(event_kind::offsets_unavailable) == 1);
    CHECK(group->stats().events_dropped == 4);
    stop();
}

TEST_CASE_FIXTURE(scripted_group, "a look-up that is refused for good ends the run") {
    auto const error = make_error_code(RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED);
    cluster.fail(request::look_up, error);
    run_over({t0});
    CHECK(outcome.error() == error);
}

TEST_CASE_FIXTURE(scripted_group, "an assignment of nothing is one, too") {
    run_over({});
    CHECK(said() == lines{"> assigned", "assign"});
    SUBCASE("and then something") {
        cluster.assign({t0});
        settle();
        CHECK(handler.claims == 1);
    }
    SUBCASE("and then its revocation") {
        cluster.revoke();
        settle();
    }
    SUBCASE("and then the end, which waits for no other") {
        group->stop();
        settle();
        CHECK(outcome.completed);
        CHECK(said() == lines{"close", "> closed", "shut down"});
    }
    stop();
}

TEST_CASE_FIXTURE(scripted_group,
                  "a partition that cannot be read at the moment is reported, and goes on") {
    run_over({t0});
    cluster.fail_partition(t0, make_error_code(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART),
                           "gone for now");
    cluster.fail_partition(t0, make_error_code(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART),
                           "gone for now");
    settle();
    CHECK(count(event_kind::partition_error) == 1);
    CHECK(last(event_kind::partition_error).where == t0);
    cluster.add_records(t0, "a");
    settle();
    CHECK(handler.received.size() == 1);
    stop();
}

TEST_CASE_FIXTURE(scripted_group,
                  "a record that cannot be read ends the run in order, in front of it") {
    cluster.add_records(t0, "a");
    run_over({t0});
    cluster.fail_partition(t0, errc::record_unreadable, "damaged");
    cluster.add_records(t0, "b");
    settle();
    CHECK(outcome.error() == errc::record_unreadable);
    CHECK(outcome.what().starts_with("t[0]: damaged"));
    CHECK(handler.cleanups == 1);
    CHECK(std::ranges::count(said(), "unassign t[0]") == 1);
    CHECK(cluster.committed(t0) == static_cast<std::int64_t>(handler.received.size()));
}

TEST_CASE_FIXTURE(scripted_group,
                  "with offset_reset::none a position that is not in the log ends the run") {
    settings.initial_offset = kgroup::offset_reset::none;
    cluster.set_committed(t0, 5);
    run_over({t0});
    CHECK(outcome.error() == errc::offset_out_of_range);
    CHECK(cluster.committed(t0) == 5);
}

} // namespace
