// SPDX-License-Identifier: MIT

#include <kgroup/health.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

#include "support/latch.hpp"
#include "support/scripted_group.hpp"

// What a group says of itself to other threads: its phase, its claims, what lasts; and whether it
// is ready and alive by that.

namespace state_tests {

namespace {

using namespace kgroup::tests;
using kgroup::claim;
using kgroup::event_kind;
using kgroup::group_phase;
using kgroup::liveness;
using kgroup::make_error_code;
using kgroup::message;
using kgroup::readiness;
using kgroup::session;
using kgroup::severity;
using kgroup::topic_partition;
using request = fake_cluster::request;

bool says(kgroup::health const& judged, std::string_view words) {
    return !judged.ok && std::ranges::any_of(judged.reasons, [&](std::string const& reason) {
        return reason.find(words) != std::string::npos;
    });
}

class watched_group : public scripted_group {
public:
    kgroup::group_state state() const { return group->state(); }
    group_phase phase() const { return state().phase; }
    kgroup::health ready() const { return readiness(state()); }
    kgroup::health live() const { return liveness(state()); }
    kgroup::claim_state row(topic_partition const& where) const {
        auto const now = state();
        auto const* const found = now.find(where);
        REQUIRE(found != nullptr);
        return *found;
    }
    void pass(std::chrono::seconds length) {
        for (auto second = 0s; second < length; ++second) {
            advance(1s);
        }
    }
    void expect_healthy() const {
        for (auto const& judged : {ready(), live()}) {
            for (auto const& reason : judged.reasons) {
                FAIL_CHECK(reason);
            }
            CHECK(judged.ok);
        }
    }
};

kgroup::event outage() {
    return {event_kind::brokers_unreachable, severity::error, {}, {}, "none answers"};
}

} // namespace

TEST_CASE_FIXTURE(watched_group, "state: from before the run to after it") {
    group.emplace(context, settings);
    CHECK(phase() == group_phase::stopped);
    CHECK(state().group_id == "group");
    CHECK(says(ready(), "stopped"));
    CHECK(live().ok);
    group.reset();
    cluster.hold(request::look_up);
    run();
    CHECK(phase() == group_phase::connecting);
    CHECK(says(ready(), "connecting for 0."));
    pass(6s); // the coordinator has answered
    CHECK(phase() == group_phase::joining);
    CHECK(says(ready(), "joining for "));
    cluster.assign({t0, t1});
    settle();
    CHECK(phase() == group_phase::looking_up_offsets);
    CHECK_FALSE(ready().ok);
    CHECK_FALSE(state().last_consuming);
    latch in_setup{context};
    handler.on_setup = [&](session&) { return in_setup.wait(); };
    cluster.release(request::look_up);
    settle();
    CHECK(phase() == group_phase::setting_up);
    CHECK(state().claims.size() == 2);
    CHECK_FALSE(ready().ok);
    in_setup.open();
    settle();
    CHECK(phase() == group_phase::consuming);
    CHECK_FALSE(state().member_id.empty());
    CHECK(state().generation >= 0);
    CHECK(state().stats.sessions == 1);
    expect_healthy();
    stop();
    CHECK(phase() == group_phase::stopped);
    CHECK(state().claims.empty());
    CHECK(state().failure.empty());
    CHECK(says(ready(), "stopped"));
    CHECK(live().ok);
}

TEST_CASE_FIXTURE(watched_group, "state: the row of a claim that is marked") {
    cluster.set_committed(t0, 1);
    cluster.add_records(t0, "a", "bcd", "ef", "g");
    latch next{context};
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        auto const first = co_await claim.messages().async_receive();
        auto const second = co_await claim.messages().async_receive();
        claim.mark(*first);
        co_await next.wait();
        claim.mark(*second);
        co_await handler.mark_all(claim);
    };
    run_over({t0});
    auto held = row(t0);
    CHECK(held.position == 3);
    CHECK(held.committed == 1);
    CHECK(held.marked == 2);
    CHECK(held.log_end == 4);
    CHECK(held.lag == 1);
    CHECK(held.records_waiting == 1);
    CHECK(held.bytes_waiting == 2); // six bytes of three records were taken up
    CHECK(held.records_in_flight == 1);
    CHECK(held.records_delivered == 2);
    CHECK(held.bytes_delivered == 6);
    CHECK(held.waits_for == kgroup::handler_wait::nothing);
    CHECK_FALSE(held.acknowledges);
    CHECK_FALSE(held.paused);
    CHECK(state().stats.records_received == 2);
    CHECK(state().lag() == 1);
    pass(7s);
    held = row(t0);
    REQUIRE(held.oldest_in_flight);
    CHECK(state().at - *held.oldest_in_flight >= 6s);
    CHECK(state().at - held.last_progress >= 6s);
    CHECK(held.records_per_second < 1);
    next.open();
    settle();
    pass(1s);
    held = row(t0);
    CHECK(held.marked == 4);
    CHECK(held.lag == 0);
    CHECK(held.records_in_flight == 0);
    CHECK_FALSE(held.oldest_in_flight);
    CHECK(held.records_waiting == 0);
    CHECK(held.bytes_waiting == 0);
    CHECK(held.waits_for == kgroup::handler_wait::records);
    CHECK_FALSE(state().last_commit);
    pass(61s);
    CHECK(state().last_commit);
    CHECK(row(t0).committed == 4);
    group->pause_all();
    CHECK(row(t0).paused);
    stop();
    CHECK(state().stats.records_received == 3); // of all that were
}

TEST_CASE_FIXTURE(watched_group, "state: the row of a claim that is acknowledged out of order") {
    cluster.add_records(t0, "a", "b", "c");
    latch next{context};
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        auto const first = co_await claim.messages().async_receive();
        auto const second = co_await claim.messages().async_receive();
        claim.ack(*second);
        co_await next.wait();
        claim.ack(*first);
        while (auto const other = co_await claim.messages().async_receive()) {
            claim.ack(*other);
        }
    };
    run_over({t0});
    pass(3s);
    CHECK(row(t0).acknowledges);
    CHECK(row(t0).records_in_flight == 2); // from the oldest that is not done on
    CHECK(row(t0).marked == -1);
    REQUIRE(row(t0).oldest_in_flight);
    CHECK(state().at - *row(t0).oldest_in_flight >= 2s);
    next.open();
    settle();
    pass(1s);
    CHECK(row(t0).records_in_flight == 0);
    CHECK(row(t0).marked == 3); // before it is committed
    CHECK_FALSE(row(t0).oldest_in_flight);
    stop();
}

TEST_CASE_FIXTURE(watched_group,
                  "state: what a handler leaves at hand when it ends waits no more") {
    cluster.add_records(t0, "a", "b", "c");
    settings.on_claim_exit = kgroup::claim_exit::keep_others;
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        claim.mark(*co_await claim.messages().async_receive());
    };
    run_over({t0});
    CHECK(row(t0).records_waiting == 0);
    CHECK(row(t0).records_delivered == 1);
    stop();
}

TEST_CASE_FIXTURE(watched_group, "state: as text, with a line for each condition and claim") {
    cluster.add_records(t0, "a");
    run_over({t0, t1});
    cluster.report(outage());
    settle();
    std::ostringstream out;
    out << state();
    auto const text = out.str();
    CHECK(text.starts_with("group: consuming for 0."));
    CHECK(text.find(", 2 claims, lag 0, no broker for 0.") != text.npos);
    CHECK(text.find("\n  brokers_unreachable for 0.") != text.npos);
    CHECK(text.find("\n  t[0]: position 1, committed ") != text.npos);
    CHECK(text.find("\n  t[1]: position ") != text.npos);
    stop();
}

TEST_CASE_FIXTURE(watched_group, "health: no broker, and back") {
    run();
    SUBCASE("before the first assignment") {
        cluster.report(outage());
        settle();
        CHECK(phase() == group_phase::connecting);
        CHECK(state().outage_since);
        CHECK(says(ready(), "brokers_unreachable: none answers"));
        CHECK(live().ok);
        pass(12s);
        CHECK(says(ready(), "no_assignment: no assignment for 10 s: no broker has answered"));
    }
    SUBCASE("while it consumes") {
        cluster.assign({t0});
        settle();
        expect_healthy();
        cluster.report(outage());
        settle();
        CHECK(phase() == group_phase::consuming);
        CHECK(says(ready(), "brokers_unreachable"));
        CHECK(live().ok);
    }
    SUBCASE("for long: a restart mends nothing") {
        cluster.assign({t0});
        settle();
        cluster.report(outage());
        pass(400s);
        CHECK(says(ready(), "brokers_unreachable"));
        CHECK(live().ok);
    }
    cluster.end_outage();
    if (cluster.assigned().empty()) {
        cluster.assign({t0});
    }
    pass(11s);
    CHECK_FALSE(state().outage_since);
    expect_healthy();
    stop();
}

TEST_CASE_FIXTURE(watched_group, "health: no coordinator, and back") {
    cluster.fail(request::ask_coordinator, make_error_code(RD_KAFKA_RESP_ERR__TIMED_OUT), 20);
    run();
    pass(12s);
    CHECK(phase() == group_phase::finding_coordinator);
    CHECK(says(ready(), "finding_coordinator for "));
    CHECK(says(ready(), "the group's coordinator does not answer"));
    CHECK(live().ok);
    cluster.assign({t0});
    settle();
    expect_healthy();
    stop();
}

TEST_CASE_FIXTURE(watched_group, "health: a join that hangs, the first or a later one, and back") {
    run();
    SUBCASE("the first") {}
    SUBCASE("a later one: joined once is not ready for ever") {
        cluster.assign({t0});
        settle();
        expect_healthy();
        cluster.revoke();
        settle();
        CHECK(phase() == group_phase::joining);
        CHECK(ready().ok); // for the time of a rebalance
        cluster.join();
    }
    cluster.join();
    pass(12s);
    CHECK(phase() == group_phase::joining);
    CHECK(says(ready(), "no_assignment: no assignment for 10 s: this member has joined, and waits "
                        "for the other members"));
    CHECK(live().ok);
    cluster.assign({t0});
    settle();
    expect_healthy();
    stop();
}

TEST_CASE_FIXTURE(watched_group, "health: a standby without claims is ready") {
    SUBCASE("classic: its assignment is empty") { run_over({}); }
    SUBCASE("consumer: no assignment comes, and it has an epoch") {
        settings.protocol = kgroup::group_protocol::consumer;
        run();
        CHECK_FALSE(ready().ok);
        cluster.join();
        pass(1s);
    }
    CHECK(phase() == group_phase::consuming);
    CHECK(state().claims.empty());
    pass(400s);
    expect_healthy();
    stop();
}

TEST_CASE_FIXTURE(watched_group, "health: a setup that hangs, and back") {
    latch held{context};
    auto sessions = 0;
    handler.on_setup = [&](session&) -> asio::awaitable<void> {
        if (++sessions == 2) {
            co_await held.wait();
        }
    };
    run_over({t0});
    expect_healthy();
    cluster.revoke();
    cluster.assign({t0});
    settle();
    CHECK(phase() == group_phase::setting_up);
    CHECK(ready().ok); // a rebalance
    pass(32s);
    CHECK(says(ready(), "setting_up for 3"));
    CHECK(says(ready(), "setup_stalled"));
    CHECK(live().ok);
    pass(300s);
    CHECK(says(live(), "setup has run for 3"));
    held.open();
    settle();
    expect_healthy();
    stop();
}

TEST_CASE_FIXTURE(watched_group, "health: a handler that is stuck, with its partition, and back") {
    latch held{context};
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        if (claim.partition() == 0) {
            auto const first = co_await claim.messages().async_receive();
            co_await held.wait();
            claim.mark(*first);
        }
        co_await handler.mark_all(claim);
    };
    cluster.add_records(t0, "a");
    cluster.add_records(t1, "c");
    run_over({t0, t1});
    expect_healthy();
    auto others = false;
    SUBCASE("others wait") {
        others = true;
        cluster.add_records(t0, "b");
    }
    SUBCASE("it holds the only one") {}
    pass(35s);
    CHECK(says(ready(), "claim_stalled t[0]: records wait and the handler has not asked") ==
          others);
    if (others) {
        auto const stalled = row(t0);
        REQUIRE(stalled.stalled_since);
        CHECK(stalled.stalled_why.find("the next offset is") != std::string::npos);
        CHECK_FALSE(row(t1).stalled_since);
    }
    CHECK(live().ok);
    pass(300s);
    CHECK(says(live(), "t[0]: no progress for 3"));
    CHECK_FALSE(says(live(), "t[1]"));
    SUBCASE("it is paused: that is meant") {
        group->pause_all();
        CHECK(live().ok);
        group->resume_all();
    }
    held.open();
    settle();
    pass(1s);
    CHECK(row(t0).records_in_flight == 0);
    expect_healthy();
    stop();
}

TEST_CASE_FIXTURE(watched_group,
                  "health: others hold what a receiving handler has given them, and let it go") {
    cluster.add_records(t0, "a", "b");
    latch held{context};
    std::optional<message> left;
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        if (claim.partition() == 1) {
            co_return co_await handler.mark_all(claim);
        }
        left = co_await claim.messages().async_receive();
        claim.ack(*co_await claim.messages().async_receive()); // it acknowledges, and receives on
        while (auto const next = co_await claim.messages().async_receive()) {
            claim.ack(*next);
        }
        left.reset();
    };
    run_over({t0});
    CHECK(row(t0).waits_for == kgroup::handler_wait::records);
    pass(310s);
    CHECK(says(live(), "t[0]: no progress for "));
    CHECK(says(live(), "0 records wait and 2 are in flight"));
    left.reset(); // given up, and never acknowledged: it stays in flight
    pass(1s);
    CHECK_FALSE(live().ok);
    cluster.revoke();
    cluster.assign({t1});
    settle();
    expect_healthy();
    stop();
}

TEST_CASE_FIXTURE(watched_group, "health: who only reads, and has read all, is alive") {
    cluster.add_records(t0, "a", "b");
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        while (co_await claim.messages().async_receive()) {
        }
    };
    run_over({t0});
    CHECK(row(t0).records_in_flight == 2);
    pass(400s);
    expect_healthy();
    stop();
}

TEST_CASE_FIXTURE(watched_group, "health: commits that are refused, and back") {
    cluster.add_records(t0, "a");
    settings.auto_commit_interval = 5s;
    auto const refused = make_error_code(RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED);
    cluster.fail(request::commit, refused, 3);
    run_over({t0});
    pass(6s);
    CHECK(says(ready(), "commit_failed"));
    CHECK(says(ready(), refused.message()));
    CHECK(state().last_commit_error == refused);
    CHECK(state().last_commit_failure);
    CHECK_FALSE(state().last_commit);
    CHECK(live().ok);
    pass(20s);
    CHECK(state().last_commit);
    CHECK(*state().last_commit > *state().last_commit_failure);
    expect_healthy();
    stop();
}

TEST_CASE_FIXTURE(watched_group, "health: a token that is refused, and back") {
    auto asked = 0;
    settings.oauth_token_provider = [&]() -> asio::awaitable<kgroup::oauth_token> {
        if (++asked < 3) {
            throw std::runtime_error{"the issuer is away"};
        }
        co_return kgroup::oauth_token{
            .value = "secret", .principal = "me", .expiry = std::chrono::system_clock::now() + 1h};
    };
    run_over({t0});
    cluster.want_token();
    settle();
    CHECK(says(ready(), "authentication_failed: the issuer is away"));
    CHECK(live().ok);
    pass(4s);
    expect_healthy();
    stop();
}

TEST_CASE_FIXTURE(watched_group,
                  "health: a partition that cannot be read, and one that is accepted") {
    run_over({t0, t1});
    cluster.fail_partition(t1, make_error_code(RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE),
                           "no leader");
    settle();
    CHECK(says(ready(), "partition_error t[1]: no leader"));
    CHECK(row(t1).stalled_since);
    CHECK(readiness(state(), {.tolerated = {event_kind::partition_error}}).ok);
    cluster.add_records(t1, "a");
    pass(1s);
    expect_healthy();
    stop();
}

TEST_CASE_FIXTURE(watched_group, "health: a rebalance is no outage, unless it takes too long") {
    latch held{context};
    handler.on_cleanup = [&](session&) { return held.wait(); };
    settings.rebalance_deadline = 100s;
    run_over({t0});
    cluster.revoke();
    settle();
    CHECK(phase() == group_phase::rebalancing);
    CHECK(ready().ok);
    pass(31s);
    CHECK(says(ready(), "rebalancing for 3"));
    CHECK(says(ready(), "nothing consumed for 3"));
    CHECK(readiness(state(), {.rebalance_time = 2min}).ok);
    held.open();
    cluster.assign({t0});
    settle();
    expect_healthy();
    stop();
}

TEST_CASE_FIXTURE(watched_group, "health: an executor without a free thread") {
    run_over({t0});
    expect_healthy();
    auto const lead = 301s; // in which nothing of the context runs
    kgroup::detail::clock::lead +=
        std::chrono::duration_cast<kgroup::detail::clock::duration>(lead).count();
    CHECK(says(live(), "the group's own work has had no thread for 301"));
    advance(1s);
    expect_healthy();
    stop();
}

TEST_CASE_FIXTURE(watched_group, "health: a run that has failed is neither, and says why") {
    handler.on_claim = [](session&, claim&) -> asio::awaitable<void> {
        throw std::runtime_error{"the database\nis away"};
        co_return;
    };
    run_over({t0});
    CHECK(outcome.completed);
    CHECK(phase() == group_phase::stopped);
    CHECK(state().failure == "the database\nis away");
    CHECK(says(ready(), "stopped: the database is away"));
    CHECK(says(live(), "the run has ended: the database is away"));
}

TEST_CASE_FIXTURE(watched_group, "health: a member that leaves is not ready, and alive") {
    cluster.hold(request::close);
    run_over({t0});
    group->stop();
    settle();
    CHECK(phase() == group_phase::leaving);
    CHECK(says(ready(), "leaving for 0."));
    CHECK(live().ok);
    cluster.release(request::close);
    settle();
    CHECK(outcome.completed);
}

} // namespace state_tests
