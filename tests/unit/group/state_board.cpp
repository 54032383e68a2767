// SPDX-License-Identifier: MIT

#include <kgroup/detail/group/state_board.hpp>
#include <kgroup/error.hpp>

#include <asio/io_context.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <memory>
#include <optional>

using namespace std::chrono_literals;
using kgroup::event_kind;
using kgroup::group_phase;
using kgroup::severity;
using kgroup::topic_partition;
using kgroup::detail::join_progress;
using kgroup::detail::lasting_conditions;
using kgroup::detail::phase_of;
using kgroup::detail::state_board;

namespace state_board_tests {

using step = kgroup::detail::session_machine::step;

namespace {

topic_partition const here{"orders", 0};
topic_partition const there{"orders", 1};

struct fixture {
    asio::io_context context;
    lasting_conditions conditions;
    state_board board{"billing", kgroup::group_protocol::classic};
    kgroup::detail::clock::time_point const now = kgroup::detail::clock::now();

    kgroup::group_state state() const { return board.state(conditions, {}); }
    auto claim(topic_partition const& where) {
        return std::make_shared<kgroup::detail::partition_state>(
            where, context.get_executor(), kgroup::tracked_offset{42, "as text"},
            std::weak_ptr<kgroup::detail::claim_observer>{});
    }
    void begin(event_kind kind, std::optional<topic_partition> where, std::chrono::seconds ago) {
        conditions.note({kind, severity::warning, std::move(where), {}, "so it is"}, true,
                        now - ago);
    }
};

} // namespace

TEST_CASE("state_board: the phase is what the machine waits for") {
    auto const joined = join_progress::joined;
    CHECK(phase_of(step::joining, join_progress::no_broker, false) == group_phase::connecting);
    CHECK(phase_of(step::joining, join_progress::no_coordinator, false) ==
          group_phase::finding_coordinator);
    CHECK(phase_of(step::joining, join_progress::joining, false) == group_phase::joining);
    CHECK(phase_of(step::joining, joined, false) == group_phase::consuming); // its share is empty
    CHECK(phase_of(step::looking_up, joined, false) == group_phase::looking_up_offsets);
    CHECK(phase_of(step::setting_up, joined, false) == group_phase::setting_up);
    CHECK(phase_of(step::running, joined, false) == group_phase::consuming);
    for (auto const at : {step::draining, step::cleaning_up, step::committing}) {
        CHECK(phase_of(at, joined, false) == group_phase::rebalancing);
        CHECK(phase_of(at, joined, true) == group_phase::leaving);
    }
    CHECK(phase_of(step::backing_off, joined, false) == group_phase::backing_off);
    CHECK(phase_of(step::awaiting_final_assignment, joined, true) == group_phase::leaving);
    CHECK(phase_of(step::leaving, joined, true) == group_phase::leaving);
    CHECK(phase_of(step::finished, joined, true) == group_phase::stopped);
}

TEST_CASE("state_board: a phase lasts from when it began, and consuming is remembered") {
    fixture with;
    CHECK(with.state().phase == group_phase::stopped);
    with.board.enter(group_phase::joining, with.now - 9s);
    with.board.enter(group_phase::joining, with.now - 5s);
    auto state = with.state();
    CHECK(state.at - state.phase_since >= 9s);
    CHECK(state.at - state.phase_since < 20s);
    CHECK_FALSE(state.last_consuming);
    with.board.enter(group_phase::consuming, with.now - 4s);
    state = with.state();
    CHECK(state.last_consuming == state.at);
    with.board.enter(group_phase::rebalancing, with.now - 3s);
    state = with.state();
    REQUIRE(state.last_consuming);
    CHECK(state.at - *state.last_consuming >= 3s);
}

TEST_CASE("state_board: the last commit, and the last one that failed") {
    fixture with;
    with.board.committed(kgroup::errc::commit_timed_out, 20ms, with.now - 3s);
    auto state = with.state();
    CHECK_FALSE(state.last_commit);
    REQUIRE(state.last_commit_failure);
    CHECK(state.last_commit_error == kgroup::errc::commit_timed_out);
    with.board.committed({}, 20ms, with.now - 1s);
    state = with.state();
    REQUIRE(state.last_commit);
    CHECK(*state.last_commit > *state.last_commit_failure);
}

TEST_CASE("state_board: claims have rows from when they are owned, figures from when they start") {
    fixture with;
    auto const claim = with.claim(here);
    with.board.own(claim, false, with.now - 7s);
    with.board.own(with.claim(there), false, with.now);
    with.board.look(with.now);
    auto state = with.state();
    REQUIRE(state.claims.size() == 2);
    CHECK(state.stats.claims == 2);
    auto const& row = state.claims[0];
    CHECK(row.where == here);
    CHECK(state.at - row.since >= 7s);
    CHECK(row.committed == 42);
    CHECK(row.marked == 42);
    CHECK(row.position == -1);
    CHECK(row.lag == -1);
    with.board.disown(here);
    CHECK(with.state().find(here) == nullptr);
    CHECK(with.state().find(there) != nullptr);
}

TEST_CASE("state_board: what lasts is there, and its claim is stalled by it") {
    fixture with;
    with.board.enter(group_phase::consuming, with.now);
    with.board.own(with.claim(here), false, with.now);
    with.board.own(with.claim(there), false, with.now);
    with.begin(event_kind::brokers_unreachable, std::nullopt, 20s);
    with.begin(event_kind::nothing_comes, here, 10s);
    with.begin(event_kind::start_delayed, here, 15s);
    auto state = with.state();
    CHECK(state.conditions.size() == 3);
    REQUIRE(state.outage_since);
    CHECK(state.at - *state.outage_since >= 20s);
    auto const* const row = state.find(here);
    REQUIRE(row != nullptr);
    REQUIRE(row->stalled_since);
    CHECK(state.at - *row->stalled_since >= 15s); // the longest
    CHECK(row->stalled_why == "so it is");
    CHECK_FALSE(state.find(there)->stalled_since);

    with.conditions.end({event_kind::brokers_reachable, severity::info, {}, {}, {}});
    with.conditions.end_of(here, "over");
    state = with.state();
    CHECK(state.conditions.empty());
    CHECK_FALSE(state.outage_since);
    CHECK_FALSE(state.find(here)->stalled_since);
}

TEST_CASE("state_board: of a run that is over nothing lasts but how it ended") {
    fixture with;
    with.board.enter(group_phase::consuming, with.now);
    with.board.own(with.claim(here), false, with.now);
    with.begin(event_kind::nothing_comes, here, 10s);
    with.board.end("fenced", with.now);
    auto const state = with.state();
    CHECK(state.phase == group_phase::stopped);
    CHECK(state.failure == "fenced");
    CHECK(state.claims.empty());
    CHECK(state.conditions.empty());
}

TEST_CASE("state_board: a claim that has been read lets no reader keep it alive") {
    fixture with;
    auto claim = with.claim(here);
    std::weak_ptr const left{claim};
    with.board.own(claim, false, with.now);
    auto const state = with.state();
    claim.reset();
    with.board.disown(here);
    CHECK(left.expired());
    CHECK(state.claims.size() == 1);
}

} // namespace state_board_tests
