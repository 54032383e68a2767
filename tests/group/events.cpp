// SPDX-License-Identifier: MIT

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

TEST_CASE_FIXTURE(scripted_group,
                  "no silent stall: a missed wake-up heals itself, and is counted") {
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

TEST_CASE_FIXTURE(scripted_group,
                  "no silent stall: a setup that does not end is reported, and not cancelled") {
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

TEST_CASE_FIXTURE(scripted_group,
                  "no silent stall: a handler that takes nothing is reported, with its claim") {
    latch held{context};
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        if (claim.partition() == 0) {
            co_await claim.messages().async_receive();
            co_await held.wait();
        }
        co_await handler.mark_all(claim);
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

TEST_CASE_FIXTURE(scripted_group,
                  "a paused claim, and one that has nothing to read, do not stall") {
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
    std::vector<kgroup::message> held;
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        claim.ack(*co_await claim.messages().async_receive());
        while (auto next = co_await claim.messages().async_receive()) {
            held.push_back(std::move(*next));
        }
        held.clear();
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

TEST_CASE_FIXTURE(
    scripted_group,
    "a slow handler does not cost the membership: the client is served all the time") {
    latch hour{context};
    settings.properties["max.poll.interval.ms"] = "6000";
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        auto const next = co_await claim.messages().async_receive();
        co_await hour.wait();
        claim.mark(*next);
        co_await handler.mark_all(claim);
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

TEST_CASE_FIXTURE(scripted_group,
                  "what repeats is told once in ten seconds, with the number of those left out") {
    run_over({t0});
    event const broken{event_kind::client_error, severity::warning, std::nullopt,
                       make_error_code(RD_KAFKA_RESP_ERR__SSL), "broken"};
    for (int i = 0; i != 10; ++i) {
        cluster.report(broken);
    }
    settle();
    CHECK(count(event_kind::client_error) == 1);
    CHECK(group->stats().events_dropped == 9);
    cluster.report({event_kind::client_error, severity::warning, std::nullopt,
                    make_error_code(RD_KAFKA_RESP_ERR__RESOLVE), ""});
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

// Conditions that last: each begin has one end.

event outage() {
    return {event_kind::brokers_unreachable, severity::error, std::nullopt,
            make_error_code(RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN), "no broker"};
}

TEST_CASE_FIXTURE(
    scripted_group,
    "an outage is not over because of records that were there before, nor of a loss") {
    latch held{context};
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        co_await held.wait();
        co_await handler.mark_all(claim);
    };
    std::vector<fake_cluster::record> const many(100);
    cluster.add_records(t0, many);
    run_over({t0});
    cluster.report(outage());
    settle();
    held.open();
    settle();
    CHECK(handler.received.size() == 100);
    advance(1s);
    advance(1s);
    CHECK(count(event_kind::brokers_reachable) == 0);
    cluster.lose();
    settle();
    advance(30s);
    CHECK(count(event_kind::brokers_reachable) == 0);
    CHECK(count(event_kind::brokers_unreachable) == 1);
    cluster.assign({t0});
    settle();
    CHECK(count(event_kind::brokers_reachable) == 1);
    stop();
    CHECK(count(event_kind::brokers_reachable) == 1);
}

TEST_CASE_FIXTURE(scripted_group, "a member with nothing to read asks every five seconds while "
                                  "there is an outage, and tells its end and the next one") {
    run_over({t0});
    for (std::size_t outages = 1; outages != 3; ++outages) {
        auto const asked = cluster.coordinator_requests();
        cluster.report(outage());
        for (int seconds = 0; seconds != 30; ++seconds) {
            advance(1s);
        }
        CHECK(cluster.coordinator_requests() - asked >= 5);
        CHECK(cluster.coordinator_requests() - asked <= 7);
        CHECK(count(event_kind::brokers_unreachable) == outages);
        CHECK(count(event_kind::brokers_reachable) == outages - 1);
        cluster.end_outage();
        for (int seconds = 0; seconds != 6; ++seconds) {
            advance(1s);
        }
        CHECK(count(event_kind::brokers_reachable) == outages);
    }
    stop();
}

TEST_CASE_FIXTURE(
    scripted_group,
    "an outage is over when a broker answers a commit, and not when librdkafka does") {
    run_over({t0});
    cluster.add_records(t0, "a");
    settle();
    cluster.report(outage());
    settle();
    std::size_t expected = 1;
    SUBCASE("taken") {}
    SUBCASE("refused") {
        cluster.fail(fake_cluster::request::commit,
                     make_error_code(RD_KAFKA_RESP_ERR_NOT_COORDINATOR));
    }
    SUBCASE("given up by librdkafka") {
        cluster.fail(fake_cluster::request::commit, make_error_code(RD_KAFKA_RESP_ERR__TRANSPORT));
        expected = 0;
    }
    advance(61s);
    CHECK(count(event_kind::brokers_reachable) == expected);
    stop();
}

TEST_CASE_FIXTURE(
    scripted_group,
    "no assignment for ten seconds is told, with the step, then each minute, and its end") {
    run();
    auto expected = std::string{"has not let this member join"};
    SUBCASE("no broker") {
        cluster.report(outage());
        expected = "no broker has answered";
    }
    SUBCASE("no coordinator") {
        cluster.fail(fake_cluster::request::ask_coordinator,
                     make_error_code(RD_KAFKA_RESP_ERR__TIMED_OUT), 20);
        expected = "coordinator does not answer";
    }
    SUBCASE("joined") {
        cluster.join();
        expected = "waits for the other members";
    }
    SUBCASE("the topic is missing") {
        cluster.report({event_kind::topic_missing, severity::warning,
                        kgroup::topic_partition{"t", -1},
                        make_error_code(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART), "no t"});
        expected = "there is no topic t";
    }
    SUBCASE("joining") {}
    for (int seconds = 0; seconds != 9; ++seconds) {
        advance(1s);
    }
    CHECK(count(event_kind::no_assignment) == 0);
    advance(2s);
    advance(1s);
    REQUIRE(count(event_kind::no_assignment) == 1);
    CHECK(last(event_kind::no_assignment).level == severity::warning);
    CHECK(last(event_kind::no_assignment).text.find(expected) != std::string::npos);
    for (int seconds = 0; seconds != 60; ++seconds) {
        advance(1s);
    }
    CHECK(count(event_kind::no_assignment) == 2);
    cluster.assign({t0});
    settle();
    CHECK(count(event_kind::assignment_received) == 1);
    advance(5min);
    CHECK(count(event_kind::no_assignment) == 2);
    cluster.lose();
    settle();
    for (int seconds = 0; seconds != 12; ++seconds) {
        advance(1s);
    }
    CHECK(count(event_kind::no_assignment) == 3);
    cluster.assign({});
    settle();
    CHECK(count(event_kind::assignment_received) == 2);
    advance(5min);
    CHECK(count(event_kind::no_assignment) == 3);
    stop();
}

TEST_CASE_FIXTURE(
    scripted_group,
    "the client's debug log is listened to before something is told, and its words are shown") {
    cluster.set_debug_log(std::nullopt, "JOINGROUP: refused\n");
    cluster.set_debug_log(t0, "OFFSET: no leader");
    std::optional<event_kind> kind;
    auto const told = [&] { return kind && count(*kind) != 0; };
    std::string words;
    SUBCASE("no assignment") {
        kind = event_kind::no_assignment;
        words = "; the client's log: JOINGROUP: refused ";
        run();
    }
    SUBCASE("nothing comes") {
        kind = event_kind::nothing_comes;
        words = "; the client's log: OFFSET: no leader";
        run_over({t0, t1});
        cluster.withhold(t0);
        cluster.add_records(t0, "a");
    }
    SUBCASE("health") { run_over({t0, t1}); }
    int heard_for = 0;
    for (int repeats = 1; repeats != 3; ++repeats) {
        heard_for = 0;
        for (int half_seconds = 0;
             half_seconds != 130 && !(kind && count(*kind) == static_cast<std::size_t>(repeats));
             ++half_seconds) {
            heard_for += cluster.listening() ? 1 : 0;
            advance(500ms);
        }
        CHECK(told() == kind.has_value());
        CHECK(heard_for <= 12);
        CHECK((heard_for >= 3) == kind.has_value());
        if (kind) {
            CHECK(last(*kind).text.ends_with(words));
        }
        advance(500ms);
        CHECK_FALSE(cluster.listening());
    }
    stop();
}

TEST_CASE_FIXTURE(scripted_group,
                  "a claim to which nothing comes is told, with the reason, and its end") {
    run_over({t0, t1});
    cluster.withhold(t0);
    cluster.add_records(t0, "a", "b");
    auto const told_and_over = [&](std::string const& reason, std::size_t claims) {
        for (int seconds = 0; seconds != 12; ++seconds) {
            advance(1s);
        }
        CHECK(count(event_kind::nothing_comes) == claims);
        CHECK(last(event_kind::nothing_comes).level == severity::warning);
        CHECK(last(event_kind::nothing_comes).text.find(reason) != std::string::npos);
        for (int seconds = 0; seconds != 61; ++seconds) {
            advance(1s);
        }
        CHECK(count(event_kind::nothing_comes) == 2 * claims);
        CHECK(count(event_kind::records_come) == 0);
        SUBCASE("by a record") {
            cluster.hand_over(t0);
            advance(1s);
            CHECK(last(event_kind::records_come).where == t0);
            CHECK(last(event_kind::records_come).text.find("records come") != std::string::npos);
        }
        SUBCASE("with the claim, before the session") {
            cluster.revoke();
            settle();
            CHECK(last(event_kind::records_come).text == "the claim has ended");
            CHECK(events.back().kind == event_kind::session_ended);
        }
        stop();
        CHECK(count(event_kind::records_come) == claims);
    };
    SUBCASE("the log holds more") { told_and_over("the log goes up to offset 2", 1); }
    SUBCASE("there is no leader") {
        cluster.fail(fake_cluster::request::find_ends,
                     make_error_code(RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE), 100);
        told_and_over("LEADER_NOT_AVAILABLE", 2);
    }
}

TEST_CASE_FIXTURE(
    scripted_group,
    "idle partitions are silent, and cost one request a period however many they are") {
    std::vector<kgroup::topic_partition> many;
    for (std::int32_t partition = 0; partition != 1000; ++partition) {
        many.emplace_back("t", partition);
    }
    settings.expected_partitions = 1000;
    run_over(many);
    events.clear();
    for (int seconds = 0; seconds != 60; ++seconds) {
        advance(1s);
    }
    CHECK(events.empty());
    CHECK(cluster.end_requests() >= 5);
    CHECK(cluster.end_requests() <= 13);
    CHECK(cluster.coordinator_requests() == 0);
    stop();
}

TEST_CASE_FIXTURE(scripted_group, "a partition that is read again after an error is told so") {
    run_over({t0});
    cluster.fail_partition(t0, make_error_code(RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR), "no disk");
    settle();
    CHECK(count(event_kind::partition_error) == 1);
    SUBCASE("by a record") {
        cluster.add_records(t0, "a");
        advance(1s);
        CHECK(count(event_kind::partition_recovered) == 1);
    }
    SUBCASE("by its leader") {
        for (int seconds = 0; seconds != 9; ++seconds) {
            advance(1s);
        }
        CHECK(count(event_kind::partition_recovered) == 0);
        for (int seconds = 0; seconds != 7; ++seconds) {
            advance(1s);
        }
        CHECK(count(event_kind::partition_recovered) == 1);
    }
    SUBCASE("with its claim") {
        cluster.revoke();
        settle();
        CHECK(count(event_kind::partition_recovered) == 1);
        CHECK(events.back().kind == event_kind::session_ended);
    }
    CHECK(last(event_kind::partition_recovered).where == t0);
    stop();
    CHECK(count(event_kind::partition_recovered) == 1);
}

TEST_CASE_FIXTURE(scripted_group,
                  "a condition that comes back within ten seconds is told when it lasts") {
    run_over({t0});
    auto const fail = [&] {
        cluster.fail_partition(t0, make_error_code(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED),
                               "not allowed");
        settle();
        advance(1s);
    };
    cluster.fail(fake_cluster::request::find_ends,
                 make_error_code(RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE), 100);
    fail();
    cluster.add_records(t0, "a");
    advance(1s);
    CHECK(count(event_kind::partition_recovered) == 1);
    fail();
    CHECK(count(event_kind::partition_error) == 1);
    advance(5s);
    CHECK(count(event_kind::partition_error) == 1);
    advance(10s);
    CHECK(count(event_kind::partition_error) == 2);
    stop();
    CHECK(count(event_kind::partition_recovered) == 2);
}

TEST_CASE_FIXTURE(scripted_group, "a topic that may not be read is told until it may") {
    run();
    cluster.report({event_kind::partition_error, severity::error, kgroup::topic_partition{"t", -1},
                    make_error_code(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED), "not allowed"});
    settle();
    CHECK(count(event_kind::partition_recovered) == 0);
    cluster.assign({t0});
    settle();
    CHECK(count(event_kind::partition_recovered) == 1);
    CHECK(last(event_kind::partition_recovered).where == kgroup::topic_partition{"t", -1});
    stop();
}

TEST_CASE_FIXTURE(scripted_group, "what may not be read, and nobody says where, is over when it is "
                                  "not said again, or with an assignment") {
    event const refused{event_kind::partition_error, severity::error, std::nullopt,
                        make_error_code(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED),
                        "not allowed"};
    run();
    cluster.report(refused);
    settle();
    SUBCASE("an assignment") {
        cluster.assign({t0});
        settle();
        CHECK(count(event_kind::partition_recovered) == 1);
    }
    SUBCASE("silence") {
        cluster.assign({t0});
        settle();
        cluster.report(refused);
        for (int seconds = 0; seconds != 60; ++seconds) {
            advance(1s);
            if (seconds % 15 == 0) {
                cluster.report(refused);
            }
            CHECK(count(event_kind::partition_recovered) == 1);
        }
        for (int seconds = 0; seconds != 31; ++seconds) {
            advance(1s);
        }
        CHECK(count(event_kind::partition_recovered) == 2);
    }
    CHECK_FALSE(last(event_kind::partition_recovered).where);
    auto const ends = count(event_kind::partition_recovered);
    stop();
    CHECK(count(event_kind::partition_recovered) == ends);
}

TEST_CASE_FIXTURE(scripted_group, "under the new protocol a member with an epoch and no partitions "
                                  "is not in trouble, and one that is never answered is") {
    settings.protocol = kgroup::group_protocol::consumer;
    run();
    auto const wait = [&] {
        for (int seconds = 0; seconds != 12; ++seconds) {
            advance(1s);
        }
    };
    SUBCASE("answered") {
        cluster.join();
        wait();
        CHECK(count(event_kind::no_assignment) == 0);
    }
    SUBCASE("answered late") {
        wait();
        CHECK(count(event_kind::no_assignment) == 1);
        CHECK(last(event_kind::no_assignment).text.find("has not let this member join") !=
              std::string::npos);
        cluster.join();
        wait();
        CHECK(count(event_kind::assignment_received) == 1);
    }
    advance(5min);
    CHECK(count(event_kind::no_assignment) == count(event_kind::assignment_received));
    stop();
}

TEST_CASE_FIXTURE(scripted_group,
                  "a stalled claim and a stalled setup are told when they go on, or end") {
    latch in_setup{context};
    latch in_claim{context};
    handler.on_setup = [&](session&) { return in_setup.wait(); };
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        co_await in_claim.wait();
        co_await handler.mark_all(claim);
    };
    cluster.add_records(t0, "a");
    run_over({t0});
    advance(31s);
    CHECK(count(event_kind::setup_stalled) == 1);
    CHECK(count(event_kind::setup_resumed) == 0);
    in_setup.open();
    settle();
    CHECK(count(event_kind::setup_resumed) == 1);
    advance(31s);
    CHECK(count(event_kind::claim_stalled) == 1);
    CHECK(count(event_kind::claim_resumed) == 0);
    SUBCASE("it goes on") {
        in_claim.open();
        advance(1s);
        CHECK(count(event_kind::claim_resumed) == 1);
        cluster.revoke();
        settle();
    }
    SUBCASE("it ends") {
        cluster.revoke();
        settle();
        in_claim.open();
        settle();
    }
    CHECK(count(event_kind::claim_resumed) == 1);
    CHECK(events.back().kind == event_kind::session_ended);
    stop();
    CHECK(count(event_kind::setup_resumed) == 1);
}

TEST_CASE_FIXTURE(
    scripted_group,
    "committed offsets that could be read at last, and a topic that is there, end what was told") {
    cluster.fail(fake_cluster::request::look_up,
                 make_error_code(RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS));
    run();
    cluster.report({event_kind::topic_missing, severity::warning, kgroup::topic_partition{"t", -1},
                    make_error_code(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART), "no t"});
    cluster.assign({t0});
    settle();
    CHECK(count(event_kind::topic_found) == 1);
    CHECK(count(event_kind::offsets_unavailable) == 1);
    CHECK(count(event_kind::offsets_found) == 0);
    SUBCASE("read") {
        advance(1s);
        CHECK(handler.claims == 1);
    }
    SUBCASE("not needed any more") {
        cluster.revoke();
        settle();
        CHECK(handler.claims == 0);
    }
    CHECK(count(event_kind::offsets_found) == 1);
    stop();
    CHECK(count(event_kind::offsets_found) == 1);
    CHECK(count(event_kind::topic_found) == 1);
}

TEST_CASE_FIXTURE(scripted_group,
                  "a login that works again is told when no broker has refused it for a while") {
    run_over({t0});
    event const refused{event_kind::authentication_failed, severity::error, std::nullopt,
                        make_error_code(RD_KAFKA_RESP_ERR__AUTHENTICATION), "host:9092/1: refused"};
    cluster.report(refused);
    advance(4s);
    cluster.report(refused);
    advance(2s);
    CHECK(count(event_kind::authentication_recovered) == 0); // another broker has answered
    for (int seconds = 0; seconds != 8; ++seconds) {
        advance(1s);
    }
    CHECK(count(event_kind::authentication_recovered) == 1);
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
    for (auto const& event : events) {
        kinds.push_back(std::string{to_string(event.kind)} + ": " + event.text);
    }
    CHECK(kinds == lines{"claims_added: t[0] t[1]", "session_started: 2 claims",
                         "claims_revoked: t[0] t[1]", "session_ended: revoked"});
    stop();
}

} // namespace
