#include "support/latch.hpp"
#include "support/scripted_group.hpp"

// Promises 9 and 10: the watch over claims, and how what it sees is told.

namespace {

using namespace kgroup::tests;
using kgroup::claim;
using kgroup::event;
using kgroup::event_kind;
using kgroup::make_error_code;
using kgroup::session;
using kgroup::severity;

TEST_CASE_FIXTURE(scripted_group, "no silent stall: a missed wake-up heals itself, and is counted") {
    run_over({t0});
    cluster.drop_wake_ups(t0);
    cluster.add_records(t0, "a");
    settle();
    CHECK(handler.received.empty());
    cluster.add_records(t0, "b"); // the queue is not empty: no wake-up either
    settle();
    CHECK(handler.received.empty());
    advance(500ms);
    advance(500ms);
    CHECK(handler.received.size() == 2);
    CHECK(group->stats().wakeups_healed == 1);
    CHECK(last(event_kind::wakeup_healed).where == t0);
    cluster.add_records(t0, "c");
    settle();
    CHECK(handler.received.size() == 3);
    CHECK(group->stats().wakeups_healed == 1);
    stop();
}

TEST_CASE_FIXTURE(scripted_group, "no silent stall: a setup that does not end is reported, and not cancelled") {
    latch held{context};
    handler.on_setup = [&](session&) { return held.wait(); };
    run_over({t0});
    advance(29s);
    CHECK(count(event_kind::setup_stalled) == 0);
    advance(2s);
    CHECK(count(event_kind::setup_stalled) == 1);
    for (int i = 0; i != 3; ++i) {
        advance(31s);
    }
    CHECK(count(event_kind::setup_stalled) == 4);
    held.open();
    settle();
    CHECK(handler.claims == 1);
    advance(31s);
    CHECK(count(event_kind::setup_stalled) == 4);
    stop();
}

TEST_CASE_FIXTURE(scripted_group, "no silent stall: a handler that takes nothing is reported, with its claim") {
    latch held{context};
    handler.on_claim = [&](session&, claim& of) -> asio::awaitable<void> {
        if (of.partition() == 0) {
            co_await of.messages().async_receive();
            co_await held.wait();
        }
        co_await handler.mark_all(of);
    };
    std::vector<fake_cluster::record> const many(100);
    cluster.add_records(t0, many);
    run_over({t0, t1});
    advance(1s); // the watch has seen the first record taken
    advance(29s);
    CHECK(count(event_kind::claim_stalled) == 0);
    advance(2s);
    CHECK(count(event_kind::claim_stalled) == 1);
    CHECK(last(event_kind::claim_stalled).where == t0);
    CHECK(last(event_kind::claim_stalled).text.ends_with("the next offset is 1"));
    for (int i = 0; i != 3; ++i) {
        advance(31s);
    }
    CHECK(count(event_kind::claim_stalled) == 4);
    held.open();
    settle();
    for (int i = 0; i != 3; ++i) {
        advance(31s);
    }
    CHECK(count(event_kind::claim_stalled) == 4); // nothing waits: no stall
    stop();
}

TEST_CASE_FIXTURE(scripted_group, "a paused claim, and one that has nothing to read, do not stall") {
    run_over({t0, t1});
    group->pause_all();
    cluster.add_records(t0, "a");
    for (int i = 0; i != 5; ++i) {
        advance(31s);
    }
    CHECK(count(event_kind::claim_stalled) == 0);
    CHECK(count(event_kind::wakeup_healed) == 0);
    group->resume_all();
    settle();
    CHECK(handler.received.size() == 1);
    stop();
}

TEST_CASE_FIXTURE(scripted_group, "a claim whose window is full says what it waits for") {
    std::optional<kgroup::message> oldest;
    handler.on_claim = [&](session&, claim& of) -> asio::awaitable<void> {
        oldest = co_await of.messages().async_receive();
        while (auto const next = co_await of.messages().async_receive()) {
            of.ack(*next);
        }
        oldest.reset();
    };
    std::vector<fake_cluster::record> const many(70000);
    cluster.add_records(t0, many);
    run_over({t0});
    for (int i = 0; i != 32; ++i) {
        advance(1s);
    }
    CHECK(count(event_kind::claim_stalled) == 1);
    CHECK(last(event_kind::claim_stalled).text.find("not acknowledged") != std::string::npos);
    CHECK(count(event_kind::wakeup_healed) == 0);
    stop();
}

TEST_CASE_FIXTURE(scripted_group, "a slow handler does not cost the membership: the client is served all the time") {
    latch hour{context};
    settings.properties["max.poll.interval.ms"] = "6000";
    handler.on_claim = [&](session&, claim& of) -> asio::awaitable<void> {
        auto const next = co_await of.messages().async_receive();
        co_await hour.wait();
        of.mark(*next);
        co_await handler.mark_all(of);
    };
    cluster.add_records(t0, "a");
    run_over({t0});
    for (int i = 0; i != 3600; ++i) {
        auto const before = cluster.polls();
        advance(1s);
        REQUIRE(cluster.polls() > before);
    }
    hour.open();
    settle();
    CHECK(handler.setups == 1);
    stop();
    CHECK(cluster.committed(t0) == 1);
}

TEST_CASE_FIXTURE(scripted_group, "what repeats is told once in ten seconds, with the number of those left out") {
    run_over({t0});
    event const broken{event_kind::client_error, severity::warning, std::nullopt, make_error_code(RD_KAFKA_RESP_ERR__SSL), "broken"};
    for (int i = 0; i != 10; ++i) {
        cluster.report(broken);
    }
    settle();
    CHECK(count(event_kind::client_error) == 1);
    CHECK(group->stats().events_dropped == 9);
    cluster.report({event_kind::client_error, severity::warning, std::nullopt, make_error_code(RD_KAFKA_RESP_ERR__RESOLVE), ""});
    settle();
    CHECK(count(event_kind::client_error) == 2); // another cause
    advance(10s);
    cluster.report(broken);
    settle();
    CHECK(count(event_kind::client_error) == 3);
    CHECK(last(event_kind::client_error).suppressed == 9);
    advance(10s);
    cluster.report(broken);
    settle();
    CHECK(last(event_kind::client_error).suppressed == 0);
    stop();
}

TEST_CASE_FIXTURE(scripted_group, "an outage is told at its begin and at its end") {
    run_over({t0});
    event const outage{event_kind::brokers_unreachable, severity::error, std::nullopt,
                       make_error_code(RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN), "no broker"};
    cluster.report(outage);
    advance(1min);
    cluster.report(outage);
    advance(1min);
    cluster.report(outage);
    settle();
    CHECK(count(event_kind::brokers_unreachable) == 1);
    CHECK(count(event_kind::brokers_reachable) == 0);
    SUBCASE("by a record") {
        cluster.add_records(t0, "a");
        settle();
        advance(1s); // the watch sees it
    }
    SUBCASE("by a rebalance") {
        cluster.revoke();
        settle();
    }
    CHECK(count(event_kind::brokers_reachable) == 1);
    cluster.report(outage);
    settle();
    CHECK(count(event_kind::brokers_unreachable) == 2);
    stop();
}

TEST_CASE_FIXTURE(scripted_group, "more partitions than expected are an event") {
    settings.expected_partitions = 1;
    settings.buffer_bytes = 1 << 20;
    run_over({t0});
    CHECK(count(event_kind::too_many_partitions) == 0);
    cluster.revoke();
    cluster.assign({t0, t1});
    settle();
    CHECK(count(event_kind::too_many_partitions) == 1);
    stop();
}

TEST_CASE_FIXTURE(scripted_group, "texts of peers have no control characters in anybody's log") {
    run();
    cluster.report({event_kind::client_log, severity::info, std::nullopt, {}, "a\x1b[31mb\nc\x7f"});
    settle();
    CHECK(last(event_kind::client_log).text == "a [31mb c ");
    stop();
}

TEST_CASE_FIXTURE(scripted_group, "the events of an ordinary life") {
    run_over({t0, t1});
    cluster.revoke();
    settle();
    lines kinds;
    for (auto const& each : events) {
        kinds.push_back(std::string{to_string(each.kind)} + ": " + each.text);
    }
    CHECK(kinds == lines{"claims_added: t[0] t[1]", "session_started: 2 claims", "claims_revoked: t[0] t[1]",
                         "session_ended: revoked"});
    stop();
}

} // namespace
