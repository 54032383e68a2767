// SPDX-License-Identifier: MIT

#include <algorithm>
#include <map>
#include <string>
#include <system_error>
#include <vector>

#include "support/scripted_group.hpp"

// Where claims start when it is not simply what is committed: partitions that were added, starts
// that are not known yet, starts that `setup` chooses.

namespace {

using namespace kgroup::tests;
using kgroup::errc;
using kgroup::event_kind;
using kgroup::offset_reset;
using kgroup::topic_partition;
using request = fake_cluster::request;

std::error_code const unstable = kgroup::make_error_code(RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT);
std::error_code const no_leader = kgroup::make_error_code(RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE);

class starts_group : public scripted_group {
public:
    std::map<topic_partition, std::int64_t> starts{};

    starts_group() {
        handler.on_claim = [this](auto&, kgroup::claim& claim) -> asio::awaitable<void> {
            starts[{claim.topic(), claim.partition()}] = claim.initial_offset();
            co_await handler.mark_all(claim);
        };
    }
    void restart() {
        stop();
        group.reset();
        outcome = {};
        starts.clear();
        handler.received.clear();
        events.clear();
        cluster.clear_trace();
    }
    std::vector<topic_partition> told(event_kind kind) const {
        std::vector<topic_partition> all;
        for (auto const& event : events) {
            if (event.kind == kind) {
                all.push_back(event.where.value_or(topic_partition{"none", -1}));
            }
        }
        return all;
    }
};

using partitions = std::vector<topic_partition>;

// Partitions that are added.

TEST_CASE_FIXTURE(starts_group, "a partition that is added while the group runs begins at its "
                                "beginning, with latest and with none") {
    cluster.add_records(t0, "old", "old");
    SUBCASE("latest") { settings.initial_offset = offset_reset::latest; }
    SUBCASE("none") {
        settings.initial_offset = offset_reset::none;
        cluster.set_committed(t0, 2);
    }
    SUBCASE("latest, by what this member has seen itself") {
        settings.initial_offset = offset_reset::latest;
        settings.infer_new_partitions = false;
    }
    SUBCASE("latest, cooperative") {
        settings.initial_offset = offset_reset::latest;
        make_cooperative();
    }
    run_over({t0});
    CHECK(starts.at(t0) == 2);
    events.clear();
    cluster.add_records(t1, "a", "b");
    if (settings.assignors.front() == kgroup::assignor::cooperative_sticky) {
        cluster.assign({t1});
    } else {
        cluster.revoke();
        settle();
        cluster.assign({t0, t1});
    }
    settle();
    CHECK(starts.at(t0) == 2);
    CHECK(starts.at(t1) == 0);
    CHECK(handler.received == lines{"t[1]@0 a", "t[1]@1 b"});
    CHECK(told(event_kind::start_chosen) == partitions{t1});
    stop();
    CHECK(cluster.committed(t1) == 2);
}

TEST_CASE_FIXTURE(starts_group, "a partition that is added while the group is away begins at its "
                                "beginning, unless that is turned off") {
    settings.initial_offset = offset_reset::latest;
    cluster.add_records(t0, "old", "old");
    run_over({t0});
    restart();
    REQUIRE(cluster.committed(t0) == 2);
    cluster.add_records(t0, "c");
    cluster.add_records(t1, "a", "b");
    SUBCASE("on") {
        SUBCASE("beside the others") { run_over({t0, t1}); }
        SUBCASE("alone") { run_over({t1}); }
        CHECK(starts.at(t1) == 0);
        CHECK(last(event_kind::start_chosen).text.find("beginning") != std::string::npos);
    }
    SUBCASE("off") {
        settings.infer_new_partitions = false;
        run_over({t0, t1});
        CHECK(starts.at(t1) == 2);
        CHECK(last(event_kind::start_chosen).text.find("end of the log, offset 2") !=
              std::string::npos);
    }
    CHECK(told(event_kind::start_chosen) == partitions{t1});
    stop();
}

TEST_CASE_FIXTURE(starts_group, "none: a partition that is not new still ends the run") {
    settings.initial_offset = offset_reset::none;
    cluster.set_committed(t1, 5);
    run_over({t0, t1});
    CHECK(outcome.error() == errc::no_committed_offset);
    CHECK(outcome.what().starts_with("t[0]"));
}

TEST_CASE_FIXTURE(starts_group, "latest: what could not be committed begins again where it began, "
                                "and not at the end of today") {
    settings.initial_offset = offset_reset::latest;
    settings.infer_new_partitions = false;
    settings.commit_at_end = false;
    settings.auto_commit_interval = 0ms;
    cluster.fail(request::commit,
                 kgroup::make_error_code(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED), 1000);
    cluster.add_records(t0, "old");
    run_over({t0});
    CHECK(starts.at(t0) == 1);
    cluster.add_records(t0, "a");
    settle();
    cluster.revoke();
    settle();
    cluster.assign({t0});
    settle();
    CHECK(starts.at(t0) == 1);
    CHECK(handler.received == lines{"t[0]@1 a", "t[0]@1 a"});
    stop();
}

// Starts that are not known yet.

TEST_CASE_FIXTURE(
    starts_group,
    "a claim that cannot start yet does not hold up the others, and starts when it can") {
    cluster.add_records(t0, "a");
    cluster.add_records(t1, "b", "c");
    settings.initial_offset = offset_reset::latest;
    cluster.set_committed(t0, 0);
    SUBCASE("a transaction decides its committed offset") {
        cluster.fail_look_ups_of(t1, unstable, 3);
        cluster.set_committed(t1, 1, "text");
    }
    SUBCASE("the leader of its log is away") { cluster.fail_logs_of(t1, no_leader, 3); }
    run_over({t0, t1});
    CHECK(handler.received == lines{"t[0]@0 a"});
    CHECK(starts.size() == 1);
    CHECK(group->stats().claims == 2);
    CHECK(told(event_kind::start_delayed) == partitions{t1});
    CHECK(last(event_kind::start_delayed).error);
    auto const trace = said();
    CHECK(std::ranges::find(trace, "assign t[0]@0 t[1]@later") != trace.end());
    advance(500ms);
    advance(500ms);
    CHECK(told(event_kind::start_found).empty());
    CHECK(starts.size() == 1);
    advance(500ms);
    CHECK(told(event_kind::start_found) == partitions{t1});
    CHECK(told(event_kind::start_delayed).size() == 1);
    REQUIRE(starts.contains(t1));
    CHECK(handler.received.size() == (starts.at(t1) == 1 ? 2 : 3));
    CHECK(handler.received.back() == "t[1]@1 c");
    stop();
    CHECK(cluster.committed(t1) == 2);
}

TEST_CASE_FIXTURE(starts_group, "a claim that cannot start yet is told of each minute, and one "
                                "that has waited in vain is let go") {
    cluster.fail_look_ups_of(t1, unstable, 1000);
    SUBCASE("revoked") {
        run_over({t0, t1});
        for (int i = 0; i != 121; ++i) {
            advance(500ms);
        }
        CHECK(told(event_kind::start_delayed) == partitions{t1, t1});
        cluster.revoke();
    }
    SUBCASE("lost") {
        run_over({t0, t1});
        cluster.lose();
    }
    SUBCASE("removed from a cooperative member") {
        make_cooperative();
        run_over({t0, t1});
        cluster.revoke({t1});
        settle();
        CHECK(handler.claims_ended == 0);
    }
    settle();
    CHECK(told(event_kind::start_found) == partitions{t1});
    advance(500ms);
    advance(500ms);
    CHECK_FALSE(starts.contains(t1));
    stop();
    CHECK(handler.claims == 1);
    CHECK_FALSE(cluster.committed(t1).has_value());
}

TEST_CASE_FIXTURE(
    starts_group,
    "a claim that cannot start yet: stopped at once, and fatal errors end it like any other") {
    cluster.fail_look_ups_of(t0, unstable, 1000);
    run_over({t0});
    CHECK(handler.setups == 1);
    SUBCASE("stop") { stop(); }
    SUBCASE("expelled") {
        cluster.expel(kgroup::make_error_code(RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID), "fenced");
        settle();
    }
    CHECK(outcome.completed);
    CHECK(handler.claims == 0);
    CHECK(handler.cleanups == 1);
}

TEST_CASE_FIXTURE(starts_group,
                  "setup runs also when no claim can start, and can end what they wait for") {
    cluster.fail_look_ups_of(t0, unstable, 1);
    cluster.fail_look_ups_of(t1, unstable, 2);
    cluster.add_records(t0, "a", "b");
    handler.on_setup = [&](kgroup::session& session) -> asio::awaitable<void> {
        CHECK(session.claims() == partitions{t0, t1});
        cluster.set_committed(t0, 1); // as when it aborts a transaction
        session.mark_offset(t1, 4);   // below what turns out to be committed
        co_return;
    };
    cluster.set_committed(t1, 7);
    run_over({t0, t1});
    CHECK(handler.setups == 1);
    CHECK(handler.claims == 0);
    advance(500ms);
    CHECK(starts == std::map<topic_partition, std::int64_t>{{t0, 1}});
    advance(500ms);
    CHECK(starts.at(t1) == 7);
    CHECK(handler.received == lines{"t[0]@1 b"});
    stop();
    CHECK(cluster.committed(t1) == 7);
}

TEST_CASE_FIXTURE(starts_group,
                  "a claim whose start is found while setup runs starts with the others") {
    cluster.fail_look_ups_of(t1, unstable, 1);
    cluster.add_records(t1, "a");
    cluster.hold(request::commit);
    handler.on_setup = [&](kgroup::session& session) -> asio::awaitable<void> {
        session.mark_offset(t0, 1);
        co_await session.async_commit();
    };
    run_over({t0, t1});
    CHECK(told(event_kind::start_delayed) == partitions{t1});
    advance(500ms);
    CHECK(told(event_kind::start_found) == partitions{t1});
    CHECK(handler.claims == 0);
    cluster.release(request::commit);
    settle();
    CHECK(handler.received == lines{"t[1]@0 a"});
    auto const trace = said();
    CHECK(std::ranges::find(trace, "assign t[0]@1 t[1]@0") != trace.end());
    stop();
}

TEST_CASE_FIXTURE(starts_group,
                  "cooperative: an addition that cannot start yet leaves the rest alone") {
    make_cooperative();
    run_over({t0});
    cluster.fail_look_ups_of(t1, unstable, 2);
    cluster.add_records(t1, "a");
    cluster.assign({t1});
    settle();
    cluster.add_records(t0, "b");
    settle();
    CHECK(handler.received == lines{"t[0]@0 b"});
    cluster.add_records(t2, "c");
    cluster.assign({t2});
    settle();
    CHECK(handler.received.back() == "t[2]@0 c");
    advance(500ms);
    advance(500ms);
    CHECK(handler.received.back() == "t[1]@0 a");
    stop();
}

TEST_CASE_FIXTURE(starts_group, "a new session over the same assignment: what was read before and "
                                "cannot start now is held back") {
    cluster.add_records(t1, "a");
    bool leaves = false;
    handler.on_claim = [&](auto&, kgroup::claim& claim) -> asio::awaitable<void> {
        while (auto const next = co_await claim.messages().async_receive()) {
            handler.note(*next);
            claim.mark(*next);
            if (leaves) {
                co_return;
            }
        }
    };
    run_over({t0, t1});
    CHECK(handler.received == lines{"t[1]@0 a"});
    leaves = true;
    cluster.fail_look_ups_of(t1, unstable, 1);
    cluster.add_records(t0, "b");
    settle();
    leaves = false;
    cluster.add_records(t1, "c");
    advance(250ms);
    CHECK(told(event_kind::start_delayed) == partitions{t1});
    CHECK(handler.received == lines{"t[1]@0 a", "t[0]@0 b"});
    advance(500ms);
    CHECK(handler.received == lines{"t[1]@0 a", "t[0]@0 b", "t[1]@1 c"});
    stop();
}

// Starts that setup chooses.

TEST_CASE_FIXTURE(starts_group, "start_at: a claim begins exactly there, forward and backward") {
    for (int i = 0; i != 6; ++i) {
        cluster.add_records(t0, std::to_string(i));
        cluster.add_records(t1, std::to_string(i));
        cluster.add_records(t2, std::to_string(i));
    }
    cluster.set_committed(t0, 3, "text");
    cluster.set_committed(t1, 3, "text");
    handler.on_setup = [&](kgroup::session& session) -> asio::awaitable<void> {
        session.mark_offset(t0, 6);
        session.start_at(t0, 5);
        session.start_at(t1, 1);
        session.start_at(t1, 2);
        session.start_at(t2, 4);
        co_return;
    };
    handler.on_claim = [this](auto&, kgroup::claim& claim) -> asio::awaitable<void> {
        starts[{claim.topic(), claim.partition()}] = claim.initial_offset();
        while (auto const next = co_await claim.messages().async_receive()) {
            handler.note(*next);
        }
    };
    run_over({t0, t1, t2});
    CHECK(starts == std::map<topic_partition, std::int64_t>{{t0, 5}, {t1, 2}, {t2, 4}});
    CHECK(handler.received.size() == 1 + 4 + 2);
    stop();
    CHECK(cluster.committed(t0) == 5);
    CHECK(cluster.committed(t1) == 2);
    CHECK(cluster.committed(t2) == 4);
}

TEST_CASE_FIXTURE(starts_group, "start_at: a claim whose start is not known waits no longer") {
    cluster.fail_look_ups_of(t0, unstable, 1000);
    cluster.fail_look_ups_of(t1, unstable, 1000);
    cluster.add_records(t0, "a", "b", "c");
    handler.on_setup = [&](kgroup::session& session) -> asio::awaitable<void> {
        session.start_at(t0, 1);
        co_return;
    };
    run_over({t0, t1});
    CHECK(handler.received == lines{"t[0]@1 b", "t[0]@2 c"});
    CHECK(told(event_kind::start_delayed) == partitions{t0, t1});
    CHECK(told(event_kind::start_found) == partitions{t0});
    stop();
    CHECK(cluster.committed(t0) == 3);
}

TEST_CASE_FIXTURE(
    starts_group,
    "start_at outside setup throws, and what is not claimed or no offset is refused and told") {
    kgroup::session* first_session = nullptr;
    handler.on_setup = [&](kgroup::session& session) -> asio::awaitable<void> {
        first_session = &session;
        session.start_at(t2, 1);
        session.start_at(t0, -1);
        co_return;
    };
    std::error_code caught;
    auto const attempt = [&](kgroup::session& session) {
        try {
            session.start_at(t0, 1);
        } catch (std::system_error const& e) {
            caught = e.code();
        }
    };
    handler.on_claim = [&](kgroup::session& session,
                           kgroup::claim& claim) -> asio::awaitable<void> {
        attempt(session);
        co_await handler.mark_all(claim);
    };
    run_over({t0});
    CHECK(group->stats().marks_refused == 2);
    CHECK(count(event_kind::mark_refused) == 2);
    CHECK(caught == errc::not_in_setup);
    caught.clear();
    handler.on_cleanup = [&](kgroup::session& session) -> asio::awaitable<void> {
        attempt(session);
        co_return;
    };
    stop();
    CHECK(caught == errc::not_in_setup);
    CHECK_FALSE(cluster.committed(t0).has_value());
}

TEST_CASE_FIXTURE(scripted_group, "a start that is delayed when its assignment is overtaken, "
                                  "before there are claims, is told to be over") {
    settings.initial_offset = offset_reset::latest;
    cluster.fail_look_ups_of(t0, kgroup::make_error_code(RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT));
    cluster.hold_next(fake_cluster::request::look_up);
    run_over({t0, t1});
    cluster.release(fake_cluster::request::look_up);
    cluster.revoke(); // before the end of t1 is known
    settle();
    CHECK(count(event_kind::start_delayed) == 1);
    CHECK(count(event_kind::start_found) == 1);
    advance(2min);
    CHECK(count(event_kind::start_delayed) == 1);
    cluster.assign({t0});
    settle();
    CHECK(count(event_kind::start_found) == 1);
    CHECK(handler.claims == 1);
    stop();
}

} // namespace
