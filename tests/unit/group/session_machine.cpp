// SPDX-License-Identifier: MIT

#include <kgroup/detail/group/session_machine.hpp>

#include <doctest/doctest.h>

#include <initializer_list>
#include <map>
#include <source_location>
#include <vector>

#include "support/session_machine_words.hpp"

namespace session_machine_tests {

namespace {

// Events in the words of the scenarios.

machine::event assigned(std::initializer_list<int> numbers) {
    return machine::assigned{set_of(numbers), false};
}
machine::event revoked(std::initializer_list<int> numbers) {
    return machine::revoked{set_of(numbers), false, false};
}
machine::event lost(std::initializer_list<int> numbers) {
    return machine::revoked{set_of(numbers), false, true};
}
machine::event added(std::initializer_list<int> numbers) {
    return machine::assigned{set_of(numbers), true};
}
machine::event removed(std::initializer_list<int> numbers) {
    return machine::revoked{set_of(numbers), true, false};
}
machine::event removed_lost(std::initializer_list<int> numbers) {
    return machine::revoked{set_of(numbers), true, true};
}
machine::event ended(int number) { return machine::claim_ended{{"t", number}, false}; }
machine::event failed(int number) { return machine::claim_ended{{"t", number}, true}; }
machine::event looked_up_but(std::initializer_list<int> numbers) {
    return machine::looked_up{set_of(numbers)};
}
machine::event interrupted(std::initializer_list<int> numbers) {
    return machine::interrupted{set_of(numbers)};
}
machine::event found(std::initializer_list<int> numbers) {
    return machine::start_found{set_of(numbers)};
}
machine::looked_up const looked_up{};
constexpr machine::setup_ended setup_ended{};
constexpr machine::setup_ended setup_failed{true};
constexpr machine::cleanup_ended cleanup_ended{};
constexpr machine::cleanup_ended cleanup_failed{true};
constexpr machine::committed committed{};
constexpr machine::deadline_over deadline_over{};
constexpr machine::backoff_over backoff_over{};
constexpr machine::stop_requested stop{};
constexpr machine::stop_requested stop_joined{true};
constexpr machine::failed run_failed{};
constexpr machine::fatal fatal{};
constexpr machine::client_closed client_closed{};
constexpr machine::close_deadline_over close_deadline_over{};

/// A machine that is told one event after the other.
class story {
public:
    explicit story(machine::settings given = {}) : machine_{given} {}

    /// What an event leads to, and where.
    void operator()(machine::event const& event, lines const& expected, step at,
                    std::source_location where = std::source_location::current()) {
        lines const seen = to_text(machine_.handle(event));
        bool const as_expected = seen == expected && machine_.current_step() == at;
        if (!as_expected) {
            DOCTEST_ADD_FAIL_CHECK_AT(where.file_name(), static_cast<int>(where.line()),
                                      to_text(event)
                                          << "\n  expected: " << joined(expected) << " -> "
                                          << to_text(at) << "\n  seen:     " << joined(seen)
                                          << " -> " << to_text(machine_.current_step()));
        }
        CHECK(as_expected);
    }

    /// The way to where a scenario begins; others show it step by step.
    story& after(std::vector<machine::event> const& events) {
        for (machine::event const& event : events) {
            machine_.handle(event);
        }
        return *this;
    }

    machine const& told() const { return machine_; }

private:
    machine machine_;
};

// How a machine comes to each of its steps, over partitions 0 and 1.
std::map<step, std::vector<machine::event>> const& ways() {
    static std::map<step, std::vector<machine::event>> const all = [] {
        std::vector<machine::event> const looking{assigned({0, 1})};
        auto const then = [](std::vector<machine::event> before,
                             std::initializer_list<machine::event> more) {
            before.insert(before.end(), more.begin(), more.end());
            return before;
        };
        auto const setting = then(looking, {looked_up});
        auto const running = then(setting, {setup_ended});
        auto const draining = then(running, {revoked({0, 1})});
        auto const cleaning = then(draining, {ended(0), ended(1)});
        auto const committing = then(cleaning, {cleanup_ended});
        auto const exited = then(running, {ended(0), ended(1), cleanup_ended, committed});
        return std::map<step, std::vector<machine::event>>{
            {step::joining, {}},
            {step::looking_up, looking},
            {step::setting_up, setting},
            {step::running, running},
            {step::draining, draining},
            {step::cleaning_up, cleaning},
            {step::committing, committing},
            {step::backing_off, exited},
            {step::awaiting_final_assignment, {stop_joined}},
            {step::leaving, {stop}},
        };
    }();
    return all;
}

story at(step where, machine::settings given = {}) { return story{given}.after(ways().at(where)); }

/// A cooperative group's session over 0 and 1.
story cooperative(machine::settings given = {}) {
    return story{given}.after({added({0, 1}), looked_up, setup_ended});
}

} // namespace

TEST_CASE("session_machine: the way to each step leads there") {
    for (auto const& way : ways()) {
        CHECK(to_text(at(way.first).told().current_step()) == to_text(way.first));
    }
}

// One session.

TEST_CASE("session_machine: a session, from its assignment to its revocation, and the next one") {
    story tell;
    CHECK(tell.told().claims().empty());
    // The starts are looked up first.
    tell(assigned({0, 1}), {"look up 0 1"}, step::looking_up);
    CHECK_FALSE(tell.told().in_session());
    // The session is made; setup may move the starts, so that nothing is assigned yet.
    tell(looked_up, {"begin session over 0 1"}, step::setting_up);
    CHECK(tell.told().in_session());
    CHECK(tell.told().claims() == set_of({0, 1}));
    // The assignment is answered, then the handlers start.
    tell(setup_ended, {"assign 0 1, start 0 1"}, step::running);
    // They are told to finish what they hold.
    tell(revoked({0, 1}), {"end 0 1 and session: revoked", "arm drain"}, step::draining);
    // One is ready before the other.
    tell(ended(1), {}, step::draining);
    // The last one releases the rest at once.
    tell(ended(0), {"disarm", "clean up", "arm drain"}, step::cleaning_up);
    // What is marked is committed before the partitions go.
    tell(cleanup_ended, {"disarm", "seal 0 1, commit 0 1"}, step::committing);
    // Only now is the revocation answered.
    tell(committed, {"drop 0 1", "end session: revoked", "release 0 1"}, step::joining);
    CHECK_FALSE(tell.told().in_session());
    CHECK(tell.told().claims().empty());
    // The next generation is the next session.
    tell(assigned({1, 2}), {"look up 1 2"}, step::looking_up);
    tell(looked_up, {"begin session over 1 2"}, step::setting_up);
    tell(setup_ended, {"assign 1 2, start 1 2"}, step::running);
}

// Claims whose start is not known yet.

TEST_CASE(
    "session_machine: a claim whose start is not known yet starts later, and the others now") {
    story tell;
    tell(assigned({0, 1}), {"look up 0 1"}, step::looking_up);
    // It belongs to the session all the same, and is answered with the rest.
    tell(looked_up_but({1}), {"begin session over 0 1"}, step::setting_up);
    tell(setup_ended, {"assign 0 1, start 0 1, later 1"}, step::running);
    CHECK(tell.told().claims() == set_of({0, 1}));
    tell(found({1}), {"start later 1"}, step::running);
    // Once.
    tell(found({1}), {}, step::running);
    tell(revoked({0, 1}), {"end 0 1 and session: revoked", "arm drain"}, step::draining);
    tell(ended(0), {}, step::draining);
    tell(ended(1), {"disarm", "clean up", "arm drain"}, step::cleaning_up);
}

TEST_CASE("session_machine: setup runs also if no start is known, and what it finds starts with "
          "the rest") {
    story tell = story{}.after({assigned({0, 1})});
    tell(looked_up_but({0, 1}), {"begin session over 0 1"}, step::setting_up);
    tell(found({0}), {}, step::setting_up);
    tell(setup_ended, {"assign 0 1, start 0 1, later 1"}, step::running);
    tell(found({0, 1}), {"start later 1"}, step::running);
}

TEST_CASE("session_machine: a claim that ends before its start is known does not start, and nobody "
          "waits for it") {
    SUBCASE("revoked, as the only one") {
        story tell = story{}.after({assigned({0}), looked_up_but({0}), setup_ended});
        tell(revoked({0}), {"end 0 and session: revoked", "clean up", "arm drain"},
             step::cleaning_up);
        tell(found({0}), {}, step::cleaning_up);
        tell(cleanup_ended, {"disarm", "seal 0, commit 0"}, step::committing);
        tell(committed, {"drop 0", "end session: revoked", "release 0"}, step::joining);
        tell(found({0}), {}, step::joining);
    }
    SUBCASE("lost, beside one that runs") {
        story tell = story{}.after({assigned({0, 1}), looked_up_but({1}), setup_ended});
        tell(lost({0, 1}), {"end 0 1 and session: lost", "cancel 0", "arm drain"}, step::draining);
        tell(found({1}), {}, step::draining);
        tell(ended(0), {"disarm", "clean up", "arm drain"}, step::cleaning_up);
    }
    SUBCASE("stopped") {
        story tell = story{}.after({assigned({0, 1}), looked_up_but({0, 1}), setup_ended});
        tell(stop, {"end 0 1 and session: stopped", "clean up", "arm drain"}, step::cleaning_up);
        tell(found({0, 1}), {}, step::cleaning_up);
    }
    SUBCASE("during setup") {
        story tell = story{}.after({assigned({0, 1}), looked_up_but({1}), revoked({0, 1})});
        tell(found({1}), {}, step::setting_up);
        tell(setup_ended, {"disarm", "clean up", "arm drain"}, step::cleaning_up);
    }
    SUBCASE("removed, while another one finishes") {
        story tell = story{}.after({added({0, 1, 2}), looked_up_but({1, 2}), setup_ended});
        tell(removed({0, 1}), {"end 0 1: revoked", "arm drain"}, step::draining);
        // The one that stays may start meanwhile.
        tell(found({1, 2}), {"start later 2"}, step::draining);
        tell(ended(0), {"disarm", "seal 0 1, commit 0 1"}, step::committing);
        tell(committed, {"drop 0 1", "remove 0 1"}, step::running);
    }
}

TEST_CASE("session_machine: an addition whose start is not known yet, and another one behind it") {
    story tell = cooperative();
    tell(added({2}), {"look up 2"}, step::looking_up);
    tell(looked_up_but({2}), {"add 2, start 2, later 2"}, step::running);
    tell(added({3}), {"look up 3"}, step::looking_up);
    tell(found({2}), {"start later 2"}, step::looking_up);
    tell(looked_up, {"add 3, start 3"}, step::running);
    // Taken away and given again, it is looked up anew.
    tell(removed({2}), {"end 2: revoked", "arm drain"}, step::draining);
}

TEST_CASE(
    "session_machine: a partition that is taken away before its start is known, and given again") {
    story tell = story{}.after({added({0, 1}), looked_up_but({1}), setup_ended});
    tell(removed({1}), {"end 1: revoked", "seal 1, commit 1"}, step::committing);
    tell(added({1}), {"superseded"}, step::committing);
    tell(committed, {"drop 1", "remove 1", "look up 1"}, step::looking_up);
    tell(found({1}), {}, step::looking_up);
    tell(looked_up, {"add 1, start 1"}, step::running);
}

TEST_CASE("session_machine: a member without partitions has a session, too") {
    story tell;
    // There is nothing to look up.
    tell(assigned({}), {"begin session over none"}, step::setting_up);
    tell(setup_ended, {"assign none, start none"}, step::running);
    // There is nobody to wait for.
    tell(revoked({}), {"end none and session: revoked", "clean up", "arm drain"},
         step::cleaning_up);
    // There is nothing to commit.
    tell(cleanup_ended, {"disarm", "end session: revoked", "release none"}, step::joining);
}

TEST_CASE("session_machine: what is lost is not committed, and its handlers are told to stop now") {
    story tell = at(step::running);
    tell(lost({0, 1}), {"end 0 1 and session: lost", "cancel 0 1", "arm drain"}, step::draining);
    tell(ended(0), {}, step::draining);
    tell(ended(1), {"disarm", "clean up", "arm drain"}, step::cleaning_up);
    tell(cleanup_ended, {"disarm", "seal 0 1, commit none"}, step::committing);
    // The member rejoins only after the answer.
    tell(committed, {"drop 0 1", "end session: lost", "release 0 1"}, step::joining);
}

TEST_CASE("session_machine: lost while it is being revoked") {
    SUBCASE("while handlers finish") {
        story tell = at(step::draining);
        // The one that is ready already marked in time, but nobody may commit it any more.
        tell(ended(0), {}, step::draining);
        tell(lost({0, 1}), {"superseded", "end 0 1 and session: lost", "cancel 1", "arm drain"},
             step::draining);
        tell(ended(1), {"disarm", "clean up", "arm drain"}, step::cleaning_up);
        tell(cleanup_ended, {"disarm", "seal 0 1, commit none"}, step::committing);
        // One answer for both.
        tell(committed, {"drop 0 1", "end session: lost", "release 0 1"}, step::joining);
    }
    SUBCASE("while cleanup runs") {
        story tell = at(step::cleaning_up);
        // It can read in the session that nothing will be committed.
        tell(lost({0, 1}), {"superseded", "end 0 1 and session: lost"}, step::cleaning_up);
        tell(cleanup_ended, {"disarm", "seal 0 1, commit none"}, step::committing);
        tell(committed, {"drop 0 1", "end session: lost", "release 0 1"}, step::joining);
    }
    SUBCASE("while the commit is under way") {
        story tell = at(step::committing);
        // It is not repeated: its partitions are somebody else's.
        tell(lost({0, 1}), {"superseded", "end 0 1 and session: lost"}, step::committing);
        tell(committed, {"drop 0 1", "end session: lost", "release 0 1"}, step::joining);
    }
}

TEST_CASE("session_machine: lost before anything began") {
    SUBCASE("without a session") {
        story tell;
        tell(lost({0}), {"release none"}, step::joining);
    }
    SUBCASE("while the starts are looked up") {
        story tell = at(step::looking_up);
        tell(lost({0, 1}), {"superseded", "release none"}, step::joining);
        // The answer of the look-up comes too late.
        tell(looked_up, {}, step::joining);
    }
    SUBCASE("during setup") {
        story tell = at(step::setting_up);
        tell(lost({0, 1}), {"superseded", "end 0 1 and session: lost", "arm drain"},
             step::setting_up);
        tell(setup_ended, {"disarm", "clean up", "arm drain"}, step::cleaning_up);
        // What setup has marked must not be committed either.
        tell(cleanup_ended, {"disarm", "seal 0 1, commit none"}, step::committing);
        tell(committed, {"drop 0 1", "end session: lost", "release none"}, step::joining);
    }
}

// Handlers and hooks that do not end.

TEST_CASE("session_machine: a handler that does not finish is cancelled, then abandoned") {
    story tell = at(step::draining);
    tell(ended(0), {}, step::draining);
    // The time is over.
    tell(deadline_over, {"cancel 1", "arm grace"}, step::draining);
    // So is the grace: the group goes on without it. What it marked before counts.
    tell(deadline_over, {"abandon 1", "clean up", "arm drain"}, step::cleaning_up);
    tell(cleanup_ended, {"disarm", "seal 0 1, commit 0 1"}, step::committing);
    tell(committed, {"drop 0 1", "end session: revoked", "release 0 1"}, step::joining);
    // It may wake up whenever it likes.
    tell(ended(1), {}, step::joining);
}

TEST_CASE("session_machine: a handler that ends when it is cancelled") {
    story tell = at(step::draining);
    tell(deadline_over, {"cancel 0 1", "arm grace"}, step::draining);
    tell(ended(1), {}, step::draining);
    tell(ended(0), {"disarm", "clean up", "arm drain"}, step::cleaning_up);
}

TEST_CASE("session_machine: a handler that ignores a loss has no second grace") {
    story tell = at(step::running).after({lost({0, 1})});
    tell(deadline_over, {"abandon 0 1", "clean up", "arm drain"}, step::cleaning_up);
}

TEST_CASE(
    "session_machine: a handler that was cancelled in time is not cancelled again for the loss") {
    story tell = at(step::draining);
    tell(deadline_over, {"cancel 0 1", "arm grace"}, step::draining);
    tell(lost({0, 1}), {"superseded", "end 0 1 and session: lost"}, step::draining);
    tell(deadline_over, {"abandon 0 1", "clean up", "arm drain"}, step::cleaning_up);
    tell(cleanup_ended, {"disarm", "seal 0 1, commit none"}, step::committing);
}

TEST_CASE("session_machine: setup that does not end holds a rebalance up for its time only") {
    story tell = at(step::setting_up);
    // It learns of the revocation through the session.
    tell(revoked({0, 1}), {"superseded", "end 0 1 and session: revoked", "arm drain"},
         step::setting_up);
    // A second one does not start the time anew.
    tell(assigned({1, 2}), {"superseded", "end 0: lost"}, step::setting_up);
    tell(deadline_over, {"cancel hook", "arm grace"}, step::setting_up);
    tell(deadline_over, {"abandon hook", "clean up", "arm drain"}, step::cleaning_up);
    tell(cleanup_ended, {"disarm", "seal 0 1, commit 1"}, step::committing);
    tell(committed, {"drop 0 1", "end session: revoked", "look up 1 2"}, step::looking_up);
}

TEST_CASE("session_machine: cleanup that does not end is cancelled, then abandoned") {
    story tell = at(step::cleaning_up);
    tell(deadline_over, {"cancel hook", "arm grace"}, step::cleaning_up);
    tell(deadline_over, {"abandon hook", "seal 0 1, commit 0 1"}, step::committing);
    tell(committed, {"drop 0 1", "end session: revoked", "release 0 1"}, step::joining);
}

TEST_CASE("session_machine: cleanup has its own time after setup was cancelled") {
    story tell = at(step::setting_up).after({revoked({0, 1}), deadline_over});
    tell(setup_ended, {"disarm", "clean up", "arm drain"}, step::cleaning_up);
    tell(deadline_over, {"cancel hook", "arm grace"}, step::cleaning_up);
}

TEST_CASE("session_machine: a time that is not running is not over") {
    for (auto const& way : ways()) {
        story tell = at(way.first);
        bool const limited = way.first == step::draining || way.first == step::cleaning_up ||
                             way.first == step::awaiting_final_assignment;
        if (!limited) {
            tell(deadline_over, {}, way.first);
        }
    }
}

// An eager rebalance that overtakes another.

TEST_CASE("session_machine: a revocation overtaken by an assignment is not answered") {
    SUBCASE("while handlers finish") {
        story tell = at(step::draining);
        // Partition 0 may have an owner already: its handler is told to stop. 1 has come back, for
        // the next session.
        tell(assigned({1, 2}), {"superseded", "end 0: lost", "cancel 0", "arm drain"},
             step::draining);
        tell(ended(0), {}, step::draining);
        tell(ended(1), {"disarm", "clean up", "arm drain"}, step::cleaning_up);
        // Others may have begun from the committed offset of 0.
        tell(cleanup_ended, {"disarm", "seal 0 1, commit 1"}, step::committing);
        // An answer to the revocation would wipe out the assignment.
        tell(committed, {"drop 0 1", "end session: revoked", "look up 1 2"}, step::looking_up);
        tell(looked_up, {"begin session over 1 2"}, step::setting_up);
        tell(setup_ended, {"assign 1 2, start 1 2"}, step::running);
    }
    SUBCASE("while cleanup runs") {
        story tell = at(step::cleaning_up);
        tell(assigned({1, 2}), {"superseded", "end 0: lost"}, step::cleaning_up);
        tell(cleanup_ended, {"disarm", "seal 0 1, commit 1"}, step::committing);
        tell(committed, {"drop 0 1", "end session: revoked", "look up 1 2"}, step::looking_up);
    }
    SUBCASE("while the commit is under way") {
        story tell = at(step::committing);
        tell(assigned({1, 2}), {"superseded", "end 0: lost"}, step::committing);
        tell(committed, {"drop 0 1", "end session: revoked", "look up 1 2"}, step::looking_up);
    }
    SUBCASE("by one that is empty") {
        story tell = at(step::cleaning_up);
        tell(assigned({}), {"superseded", "end 0 1 and session: lost"}, step::cleaning_up);
        tell(cleanup_ended, {"disarm", "seal 0 1, commit none"}, step::committing);
        tell(committed, {"drop 0 1", "end session: lost", "begin session over none"},
             step::setting_up);
        tell(setup_ended, {"assign none, start none"}, step::running);
    }
}

TEST_CASE("session_machine: a revocation, an assignment and a revocation have one answer") {
    story tell = at(step::draining);
    tell(assigned({1, 2}), {"superseded", "end 0: lost", "cancel 0", "arm drain"}, step::draining);
    // 1 was this member's all the time: until the answer nobody else can have it.
    tell(revoked({1, 2}), {"superseded"}, step::draining);
    tell(ended(0), {}, step::draining);
    tell(ended(1), {"disarm", "clean up", "arm drain"}, step::cleaning_up);
    tell(cleanup_ended, {"disarm", "seal 0 1, commit 1"}, step::committing);
    tell(committed, {"drop 0 1", "end session: revoked", "release 0 1"}, step::joining);
}

TEST_CASE("session_machine: what an assignment has passed over stays lost when the next one gives "
          "it back") {
    story tell = at(step::draining);
    tell(assigned({1}), {"superseded", "end 0: lost", "cancel 0", "arm drain"}, step::draining);
    // Whoever had 0 in between may have committed.
    tell(assigned({0, 1}), {"superseded"}, step::draining);
    tell(ended(0), {}, step::draining);
    tell(ended(1), {"disarm", "clean up", "arm drain"}, step::cleaning_up);
    tell(cleanup_ended, {"disarm", "seal 0 1, commit 1"}, step::committing);
    tell(committed, {"drop 0 1", "end session: revoked", "look up 0 1"}, step::looking_up);
}

TEST_CASE("session_machine: two revocations in a row leave nothing to commit") {
    story tell = at(step::draining);
    tell(revoked({}), {"superseded", "end 0 1 and session: lost", "cancel 0 1", "arm drain"},
         step::draining);
    tell(ended(0), {}, step::draining);
    tell(ended(1), {"disarm", "clean up", "arm drain"}, step::cleaning_up);
    tell(cleanup_ended, {"disarm", "seal 0 1, commit none"}, step::committing);
    tell(committed, {"drop 0 1", "end session: lost", "release 0 1"}, step::joining);
}

TEST_CASE("session_machine: an assignment overtaken while its starts are looked up") {
    SUBCASE("by an assignment") {
        story tell = at(step::looking_up);
        tell(assigned({2}), {"superseded", "look up 2"}, step::looking_up);
        tell(looked_up, {"begin session over 2"}, step::setting_up);
        tell(setup_ended, {"assign 2, start 2"}, step::running);
    }
    SUBCASE("by a revocation, which is answered") {
        story tell = at(step::looking_up);
        tell(revoked({0, 1}), {"superseded", "release none"}, step::joining);
        tell(assigned({0, 1}), {"look up 0 1"}, step::looking_up);
    }
}

TEST_CASE("session_machine: an assignment overtaken during setup ends that session, and is not "
          "answered") {
    SUBCASE("by an assignment") {
        story tell = at(step::setting_up);
        tell(assigned({1, 2}),
             {"superseded", "end 0 1 and session: revoked", "end 0: lost", "arm drain"},
             step::setting_up);
        tell(setup_ended, {"disarm", "clean up", "arm drain"}, step::cleaning_up);
        // Setup may have marked.
        tell(cleanup_ended, {"disarm", "seal 0 1, commit 1"}, step::committing);
        tell(committed, {"drop 0 1", "end session: revoked", "look up 1 2"}, step::looking_up);
    }
    SUBCASE("by a revocation") {
        story tell = at(step::setting_up);
        tell(revoked({0, 1}), {"superseded", "end 0 1 and session: revoked", "arm drain"},
             step::setting_up);
        tell(setup_ended, {"disarm", "clean up", "arm drain"}, step::cleaning_up);
        tell(cleanup_ended, {"disarm", "seal 0 1, commit 0 1"}, step::committing);
        tell(committed, {"drop 0 1", "end session: revoked", "release none"}, step::joining);
    }
}

TEST_CASE("session_machine: an assignment over a live session replaces it") {
    story tell = at(step::running);
    tell(assigned({1, 2}), {"end 0 1 and session: revoked", "end 0: lost", "cancel 0", "arm drain"},
         step::draining);
    tell(ended(0), {}, step::draining);
    tell(ended(1), {"disarm", "clean up", "arm drain"}, step::cleaning_up);
    tell(cleanup_ended, {"disarm", "seal 0 1, commit 1"}, step::committing);
    tell(committed, {"drop 0 1", "end session: revoked", "look up 1 2"}, step::looking_up);
    tell(looked_up, {"begin session over 1 2"}, step::setting_up);
    // It was not overtaken, so this is its answer.
    tell(setup_ended, {"assign 1 2, start 1 2"}, step::running);
}

// Cooperative groups.

TEST_CASE(
    "session_machine: partitions come to a session, and some of them go, while the others run on") {
    story tell;
    tell(added({0, 1}), {"look up 0 1"}, step::looking_up);
    tell(looked_up, {"begin session over 0 1"}, step::setting_up);
    tell(setup_ended, {"add 0 1, start 0 1"}, step::running);
    // Setup runs once a session.
    tell(added({2}), {"look up 2"}, step::looking_up);
    tell(looked_up, {"add 2, start 2"}, step::running);
    // A part goes: no cleanup, and 1 is not disturbed.
    tell(removed({0, 2}), {"end 0 2: revoked", "arm drain"}, step::draining);
    tell(ended(2), {}, step::draining);
    tell(ended(0), {"disarm", "seal 0 2, commit 0 2"}, step::committing);
    tell(committed, {"drop 0 2", "remove 0 2"}, step::running);
    CHECK(tell.told().claims() == set_of({1}));
    // What follows a removal is often empty, and wants its answer.
    tell(added({}), {"add none, start none"}, step::running);
    // The last one goes, and with it the session.
    tell(removed({1}), {"end 1 and session: revoked", "arm drain"}, step::draining);
    tell(ended(1), {"disarm", "clean up", "arm drain"}, step::cleaning_up);
    tell(cleanup_ended, {"disarm", "seal 1, commit 1"}, step::committing);
    tell(committed, {"drop 1", "end session: revoked", "remove 1"}, step::joining);
}

TEST_CASE("session_machine: what was removed can come back") {
    story tell = cooperative().after({removed({0}), ended(0), committed, added({})});
    tell(added({0}), {"look up 0"}, step::looking_up);
    tell(looked_up, {"add 0, start 0"}, step::running);
    CHECK(tell.told().claims() == set_of({0, 1}));
}

TEST_CASE("session_machine: a session that began without partitions") {
    story tell;
    tell(added({}), {"begin session over none"}, step::setting_up);
    tell(setup_ended, {"add none, start none"}, step::running);
    // Nothing is taken from it.
    tell(removed({}), {"remove none"}, step::running);
    tell(added({1}), {"look up 1"}, step::looking_up);
    tell(looked_up, {"add 1, start 1"}, step::running);
    tell(removed({1}), {"end 1 and session: revoked", "arm drain"}, step::draining);
}

TEST_CASE("session_machine: a part is lost") {
    story tell = cooperative();
    tell(removed_lost({0}), {"end 0: lost", "cancel 0", "arm drain"}, step::draining);
    tell(ended(0), {"disarm", "seal 0, commit none"}, step::committing);
    tell(committed, {"drop 0", "remove 0"}, step::running);
}

TEST_CASE("session_machine: all is lost, part by part") {
    story tell = cooperative();
    tell(removed({0}), {"end 0: revoked", "arm drain"}, step::draining);
    tell(removed_lost({1}),
         {"superseded", "end 0 1 and session: lost", "cancel 0 1", "arm drain",
          "end 0 1 and session: lost", "arm drain"},
         step::draining);
    tell(ended(1), {}, step::draining);
    tell(ended(0), {"disarm", "clean up", "arm drain"}, step::cleaning_up);
    tell(cleanup_ended, {"disarm", "seal 0 1, commit none"}, step::committing);
    tell(committed, {"drop 0 1", "end session: lost", "remove 0 1"}, step::joining);
}

TEST_CASE("session_machine: an addition overtaken by another is answered with it") {
    SUBCASE("without a session") {
        story tell;
        tell(added({0}), {"look up 0"}, step::looking_up);
        // The group never offers 0 again.
        tell(added({1}), {"superseded", "look up 0 1"}, step::looking_up);
        tell(looked_up, {"begin session over 0 1"}, step::setting_up);
        tell(setup_ended, {"add 0 1, start 0 1"}, step::running);
    }
    SUBCASE("in a session") {
        story tell = cooperative();
        tell(added({2}), {"look up 2"}, step::looking_up);
        tell(added({3}), {"superseded", "look up 2 3"}, step::looking_up);
        tell(looked_up, {"add 2 3, start 2 3"}, step::running);
    }
    SUBCASE("during setup, which is for the session that begins with both") {
        story tell;
        tell.after({added({0}), looked_up});
        tell(added({1}), {"superseded", "end 0 and session: revoked", "arm drain"},
             step::setting_up);
        tell(setup_ended, {"disarm", "clean up", "arm drain"}, step::cleaning_up);
        tell(cleanup_ended, {"disarm", "seal 0, commit 0"}, step::committing);
        tell(committed, {"drop 0", "end session: revoked", "look up 0 1"}, step::looking_up);
        tell(looked_up, {"begin session over 0 1"}, step::setting_up);
        tell(setup_ended, {"add 0 1, start 0 1"}, step::running);
    }
}

TEST_CASE("session_machine: a removal overtaken by an addition is made up for before it") {
    SUBCASE("of others") {
        story tell = cooperative();
        tell(removed({0}), {"end 0: revoked", "arm drain"}, step::draining);
        // The group has made a generation meanwhile, and 0 is not in what it gave this member.
        tell(added({2}), {"superseded", "end 0: lost", "cancel 0", "arm drain"}, step::draining);
        tell(ended(0), {"disarm", "seal 0, commit none"}, step::committing);
        tell(committed, {"drop 0", "remove 0", "look up 2"}, step::looking_up);
        tell(looked_up, {"add 2, start 2"}, step::running);
        CHECK(tell.told().claims() == set_of({1, 2}));
    }
    SUBCASE("that gives it back") {
        story tell = cooperative();
        tell(removed({0}), {"end 0: revoked", "arm drain"}, step::draining);
        // It was not given to anyone else.
        tell(added({0, 2}), {"superseded"}, step::draining);
        tell(ended(0), {"disarm", "seal 0, commit 0"}, step::committing);
        // The client refuses to add what it has.
        tell(committed, {"drop 0", "remove 0", "look up 0 2"}, step::looking_up);
        tell(looked_up, {"add 0 2, start 0 2"}, step::running);
    }
    SUBCASE("that is empty, while its commit is under way") {
        story tell = cooperative().after({removed({0}), ended(0)});
        tell(added({}), {"superseded", "end 0: lost"}, step::committing);
        tell(committed, {"drop 0", "remove 0", "add none, start none"}, step::running);
    }
    SUBCASE("of the whole session") {
        story tell = cooperative().after({removed({0, 1}), ended(0), ended(1)});
        tell(added({1}), {"superseded", "end 0: lost"}, step::cleaning_up);
        tell(cleanup_ended, {"disarm", "seal 0 1, commit 1"}, step::committing);
        tell(committed, {"drop 0 1", "end session: revoked", "remove 0 1", "look up 1"},
             step::looking_up);
        tell(looked_up, {"begin session over 1"}, step::setting_up);
        tell(setup_ended, {"add 1, start 1"}, step::running);
    }
}

TEST_CASE("session_machine: a removal overtaken by another is answered with it") {
    story tell = story{}.after({added({0, 1, 2}), looked_up, setup_ended});
    tell(removed({0}), {"end 0: revoked", "arm drain"}, step::draining);
    // Both have to end before the one answer; an answer for 0 alone would count for 1.
    tell(removed({1}),
         {"superseded", "end 0: lost", "cancel 0", "arm drain", "end 0 1: revoked", "end 0: lost",
          "arm drain"},
         step::draining);
    tell(ended(0), {}, step::draining);
    tell(ended(1), {"disarm", "seal 0 1, commit 1"}, step::committing);
    tell(committed, {"drop 0 1", "remove 0 1"}, step::running);
    CHECK(tell.told().claims() == set_of({2}));
}

TEST_CASE(
    "session_machine: a removal that comes while another is being committed waits for its turn") {
    story tell = story{}.after({added({0, 1, 2}), looked_up, setup_ended, removed({0}), ended(0)});
    tell(removed({1}), {"superseded", "end 0: lost"}, step::committing);
    tell(committed, {"drop 0", "end 1: revoked", "arm drain"}, step::draining);
    tell(ended(1), {"disarm", "seal 1, commit 1"}, step::committing);
    tell(committed, {"drop 1", "remove 0 1"}, step::running);
}

TEST_CASE("session_machine: an addition overtaken by a removal") {
    SUBCASE("of it: the client is asked to remove nothing that it has not") {
        story tell = cooperative();
        tell(added({2}), {"look up 2"}, step::looking_up);
        tell(removed({2}), {"superseded", "remove none"}, step::running);
        tell(looked_up, {}, step::running);
    }
    SUBCASE("of something else: it is added afterwards, unasked") {
        story tell = cooperative();
        tell(added({2}), {"look up 2"}, step::looking_up);
        tell(removed({0}), {"superseded", "end 0: revoked", "arm drain"}, step::draining);
        tell(ended(0), {"disarm", "seal 0, commit 0"}, step::committing);
        tell(committed, {"drop 0", "remove 0", "look up 2"}, step::looking_up);
        tell(looked_up, {"add 2, start 2"}, step::running);
    }
    SUBCASE("of the whole session: it is added in the next one, at once") {
        story tell = cooperative();
        tell(added({2}), {"look up 2"}, step::looking_up);
        tell(removed({0, 1}), {"superseded", "end 0 1 and session: revoked", "arm drain"},
             step::draining);
        tell(ended(0), {}, step::draining);
        tell(ended(1), {"disarm", "clean up", "arm drain"}, step::cleaning_up);
        tell(cleanup_ended, {"disarm", "seal 0 1, commit 0 1"}, step::committing);
        tell(committed, {"drop 0 1", "end session: revoked", "remove 0 1", "look up 2"},
             step::looking_up);
        tell(looked_up, {"begin session over 2"}, step::setting_up);
        tell(setup_ended, {"add 2, start 2"}, step::running);
    }
    SUBCASE("of all, during setup") {
        story tell;
        tell.after({added({0, 1}), looked_up});
        tell(removed_lost({0, 1}), {"superseded", "end 0 1 and session: lost", "arm drain"},
             step::setting_up);
        tell(setup_ended, {"disarm", "clean up", "arm drain"}, step::cleaning_up);
        tell(cleanup_ended, {"disarm", "seal 0 1, commit none"}, step::committing);
        tell(committed, {"drop 0 1", "end session: lost", "remove none"}, step::joining);
    }
}

TEST_CASE("session_machine: a handler that is stuck over what was removed is abandoned, and its "
          "partition can come back") {
    story tell = cooperative().after({removed({0}), deadline_over});
    tell(deadline_over, {"abandon 0", "seal 0, commit 0"}, step::committing);
    tell(committed, {"drop 0", "remove 0"}, step::running);
    tell(added({0}), {"look up 0"}, step::looking_up);
    // A new handler, beside the old one.
    tell(looked_up, {"add 0, start 0"}, step::running);
    tell(ended(0), {"end 0 1 and session: claim_exited", "arm drain"}, step::draining);
}

TEST_CASE("session_machine: nobody waits for a handler that was abandoned") {
    story tell = cooperative().after(
        {removed({0}), deadline_over, deadline_over, added({2}), committed, looked_up});
    tell(stop, {"end 1 2 and session: stopped", "arm drain"}, step::draining);
    tell(ended(1), {}, step::draining);
    tell(ended(2), {"disarm", "clean up", "arm drain"}, step::cleaning_up);
}

TEST_CASE("session_machine: nothing of an earlier claim sticks to its partition") {
    story tell = cooperative();
    SUBCASE("which was lost") { tell.after({removed_lost({0}), ended(0), committed}); }
    SUBCASE("whose handler was cancelled") {
        tell.after({removed({0}), deadline_over, ended(0), committed});
    }
    SUBCASE("whose handler was abandoned") {
        tell.after({removed({0}), deadline_over, deadline_over, committed});
    }
    tell.after({added({0}), looked_up});
    tell(removed({0}), {"end 0: revoked", "arm drain"}, step::draining);
    tell(deadline_over, {"cancel 0", "arm grace"}, step::draining);
    tell(ended(0), {"disarm", "seal 0, commit 0"}, step::committing);
}

TEST_CASE("session_machine: nothing of an earlier session's hooks sticks to the next") {
    story tell =
        at(step::cleaning_up)
            .after({deadline_over, deadline_over, committed, assigned({0}), looked_up, stop});
    tell(deadline_over, {"cancel hook", "arm grace"}, step::setting_up);
}

// Stop.

TEST_CASE("session_machine: stop while joining") {
    SUBCASE("before the group knows the member") {
        story tell;
        tell(stop, {"close"}, step::leaving);
        tell(client_closed, {"finish"}, step::finished);
        tell(assigned({0}), {}, step::finished);
    }
    SUBCASE("a known member waits for its first assignment: without one, it would leave a ghost") {
        story tell;
        tell(stop_joined, {"arm join"}, step::awaiting_final_assignment);
        tell(assigned({0, 1}), {"assign unread 0 1", "disarm", "close"}, step::leaving);
        tell(revoked({0, 1}), {"release 0 1"}, step::leaving);
        tell(client_closed, {"finish"}, step::finished);
    }
    SUBCASE("a cooperative one") {
        story tell;
        tell(stop_joined, {"arm join"}, step::awaiting_final_assignment);
        tell(added({0, 1}), {"add unread 0 1", "disarm", "close"}, step::leaving);
        tell(removed({0, 1}), {"remove 0 1"}, step::leaving);
        tell(client_closed, {"finish"}, step::finished);
    }
    SUBCASE("one that was assigned nothing has its assignment") {
        story tell;
        tell(assigned({}), {"begin session over none"}, step::setting_up);
        tell(setup_ended, {"assign none, start none"}, step::running);
        tell(stop_joined, {"end none and session: stopped", "clean up", "arm drain"},
             step::cleaning_up);
        tell(cleanup_ended, {"disarm", "end session: stopped", "close"}, step::leaving);
    }
    SUBCASE("but a cooperative one has not: it would leave a ghost") {
        story tell;
        tell(added({}), {"begin session over none"}, step::setting_up);
        tell(setup_ended, {"add none, start none"}, step::running);
        tell(stop_joined, {"end none and session: stopped", "clean up", "arm drain"},
             step::cleaning_up);
        tell(cleanup_ended, {"disarm", "end session: stopped", "arm join"},
             step::awaiting_final_assignment);
    }
    SUBCASE("one whose assignment of nothing was taken back waits for the next") {
        story tell;
        tell(assigned({}), {"begin session over none"}, step::setting_up);
        tell(setup_ended, {"assign none, start none"}, step::running);
        tell(revoked({}), {"end none and session: revoked", "clean up", "arm drain"},
             step::cleaning_up);
        tell(cleanup_ended, {"disarm", "end session: revoked", "release none"}, step::joining);
        tell(stop_joined, {"arm join"}, step::awaiting_final_assignment);
    }
    SUBCASE("it does not wait for ever") {
        story tell;
        tell(stop_joined, {"arm join"}, step::awaiting_final_assignment);
        tell(revoked({}), {"release none"}, step::awaiting_final_assignment);
        tell(deadline_over, {"close"}, step::leaving);
    }
}

TEST_CASE("session_machine: stop while the starts are looked up") {
    story tell = at(step::looking_up);
    // The assignment is answered: unanswered, the group could not be left.
    tell(stop, {"assign unread 0 1", "close"}, step::leaving);
    tell(looked_up, {}, step::leaving);
    tell(revoked({0, 1}), {"release 0 1"}, step::leaving);
    tell(client_closed, {"finish"}, step::finished);
}

TEST_CASE("session_machine: stop while the starts of an addition are looked up") {
    story tell = cooperative().after({added({2})});
    tell(stop, {"end 0 1 and session: stopped", "arm drain"}, step::draining);
    tell(looked_up, {}, step::draining);
    tell(ended(0), {}, step::draining);
    tell(ended(1), {"disarm", "clean up", "arm drain"}, step::cleaning_up);
    tell(cleanup_ended, {"disarm", "seal 0 1, commit 0 1"}, step::committing);
    tell(committed, {"drop 0 1", "end session: stopped", "add unread 2", "close"}, step::leaving);
    tell(removed({0, 1, 2}), {"remove 0 1 2"}, step::leaving);
}

TEST_CASE("session_machine: stop during setup") {
    story tell = at(step::setting_up);
    tell(stop, {"end 0 1 and session: stopped", "arm drain"}, step::setting_up);
    SUBCASE("which ends") {
        tell(setup_ended, {"disarm", "clean up", "arm drain"}, step::cleaning_up);
    }
    SUBCASE("which does not") {
        tell(deadline_over, {"cancel hook", "arm grace"}, step::setting_up);
        tell(deadline_over, {"abandon hook", "clean up", "arm drain"}, step::cleaning_up);
    }
    SUBCASE("which fails") {
        tell(setup_failed, {"disarm", "clean up", "arm drain"}, step::cleaning_up);
    }
    tell(cleanup_ended, {"disarm", "seal 0 1, commit 0 1"}, step::committing);
    tell(committed, {"drop 0 1", "end session: stopped", "assign unread 0 1", "close"},
         step::leaving);
}

TEST_CASE("session_machine: stop while running: drain, clean up, commit, leave") {
    story tell = at(step::running);
    tell(stop_joined, {"end 0 1 and session: stopped", "arm drain"}, step::draining);
    // A second one changes nothing.
    tell(stop, {}, step::draining);
    tell(ended(0), {}, step::draining);
    tell(ended(1), {"disarm", "clean up", "arm drain"}, step::cleaning_up);
    tell(cleanup_ended, {"disarm", "seal 0 1, commit 0 1"}, step::committing);
    // It owns something to leave with.
    tell(committed, {"drop 0 1", "end session: stopped", "close"}, step::leaving);
    // The client gives back what is assigned, and nobody reads it.
    tell(revoked({0, 1}), {"release 0 1"}, step::leaving);
    tell(client_closed, {"finish"}, step::finished);
}

TEST_CASE("session_machine: stop while a revoked session ends") {
    for (step const where : {step::draining, step::cleaning_up, step::committing}) {
        story tell = at(where);
        // It ends anyway.
        tell(stop, {}, where);
        if (where == step::draining) {
            tell.after({ended(0), ended(1)});
        }
        if (where != step::committing) {
            tell(cleanup_ended, {"disarm", "seal 0 1, commit 0 1"}, step::committing);
        }
        tell(committed, {"drop 0 1", "end session: revoked", "release 0 1", "close"},
             step::leaving);
    }
}

TEST_CASE("session_machine: stop while a revoked session of a known member ends") {
    story tell = at(step::committing);
    tell(stop_joined, {}, step::committing);
    // Nothing is owned, and the member is about to join again.
    tell(committed, {"drop 0 1", "end session: revoked", "release 0 1", "arm join"},
         step::awaiting_final_assignment);
}

TEST_CASE("session_machine: stop while a part of the session ends does not wait for that part") {
    story tell = cooperative().after({removed({0})});
    tell(stop, {"end 0 1 and session: stopped", "arm drain", "hasten"},
         step::draining); // the group waits for 0
    tell(ended(1), {}, step::draining);
    tell(ended(0), {"disarm", "clean up", "arm drain"}, step::cleaning_up);
    tell(cleanup_ended, {"disarm", "seal 0 1, commit 0 1"}, step::committing);
    tell(committed, {"drop 0 1", "end session: stopped", "remove 0", "close"}, step::leaving);
}

TEST_CASE(
    "session_machine: stop while a part of the session is committed: the others are told at once") {
    story tell = cooperative().after({removed({0}), ended(0)});
    tell(stop, {"end 1 and session: stopped"}, step::committing);
    SUBCASE("and end after the commit") {
        tell(committed, {"drop 0", "arm drain", "hasten"}, step::draining);
        tell(ended(1), {"disarm", "clean up", "arm drain"}, step::cleaning_up);
    }
    SUBCASE("and end before it is answered") {
        tell(ended(1), {}, step::committing); // as it was told to, so it is no reason of its own
        tell(committed, {"drop 0", "clean up", "arm drain"}, step::cleaning_up);
    }
    SUBCASE("and are told of what is worse") {
        // Nobody gives 0 back either: its commit is not repeated.
        tell(removed_lost({1}), {"superseded", "end 0 1 and session: lost", "cancel 1"},
             step::committing);
        tell(committed, {"drop 0", "end 1 and session: lost", "arm drain"}, step::draining);
        return;
    }
    tell(cleanup_ended, {"disarm", "seal 1, commit 1"}, step::committing);
    tell(committed, {"drop 1", "end session: stopped", "remove 0", "close"}, step::leaving);
    tell(removed({1}), {"remove 1"}, step::leaving);
}

TEST_CASE("session_machine: stop between two sessions") {
    story tell = at(step::backing_off);
    tell(stop_joined, {"close"}, step::leaving);
    tell(backoff_over, {}, step::leaving);
}

TEST_CASE("session_machine: stop while awaiting_final_assignment and leaving changes nothing") {
    for (step const where : {step::awaiting_final_assignment, step::leaving}) {
        story tell = at(where);
        tell(stop_joined, {}, where);
    }
}

TEST_CASE("session_machine: rebalances during a stop") {
    SUBCASE("revoked") {
        story tell = at(step::running).after({stop});
        // The session ends as stopped; the answer comes after its commit.
        tell(revoked({0, 1}), {"hasten"}, step::draining);
        tell.after({ended(0), ended(1), cleanup_ended});
        tell(committed, {"drop 0 1", "end session: stopped", "release 0 1", "close"},
             step::leaving);
    }
    SUBCASE("revoked during cleanup") {
        story tell = at(step::running).after({stop, ended(0), ended(1)});
        tell(revoked({0, 1}), {"hasten"}, step::cleaning_up);
    }
    SUBCASE("revoked, and nobody who is to end runs") {
        story tell = at(step::running).after({stop, ended(0), ended(1), cleanup_ended});
        tell(revoked({0, 1}), {}, step::committing);
    }
    SUBCASE("lost") {
        story tell = at(step::running).after({stop});
        tell(lost({0, 1}), {"end 0 1 and session: lost", "cancel 0 1", "arm drain"},
             step::draining);
        tell.after({ended(0), ended(1)});
        tell(cleanup_ended, {"disarm", "seal 0 1, commit none"}, step::committing);
        tell(committed, {"drop 0 1", "end session: lost", "release 0 1", "close"}, step::leaving);
    }
    SUBCASE("revoked and assigned") {
        story tell =
            at(step::running).after({stop, revoked({0, 1}), assigned({1}), ended(0), ended(1)});
        tell(cleanup_ended, {"disarm", "seal 0 1, commit 1"}, step::committing);
        tell(committed, {"drop 0 1", "end session: stopped", "assign unread 1", "close"},
             step::leaving);
    }
    SUBCASE("while leaving") {
        story tell = at(step::leaving);
        tell(assigned({0}), {"assign unread 0"}, step::leaving);
        tell(assigned({1}), {"assign unread 1"}, step::leaving);
        tell(revoked({1}), {"release 1"}, step::leaving);
    }
}

// The time to close is over.

TEST_CASE("session_machine: the close deadline ends the run in every step") {
    std::map<step, lines> const expected{
        {step::setting_up,
         {"seal 0 1", "end 0 1 and session: stopped", "cancel hook", "abandon hook", "drop 0 1",
          "end session: stopped", "finish, a moment later"}},
        {step::running,
         {"seal 0 1", "end 0 1 and session: stopped", "cancel 0 1", "abandon 0 1", "drop 0 1",
          "end session: stopped", "finish, a moment later"}},
        {step::draining,
         {"seal 0 1", "end 0 1 and session: stopped", "cancel 0 1", "abandon 0 1", "drop 0 1",
          "end session: stopped", "finish, a moment later"}},
        {step::cleaning_up,
         {"seal 0 1", "end 0 1 and session: stopped", "cancel hook", "abandon hook", "drop 0 1",
          "end session: stopped", "finish, a moment later"}},
        {step::committing,
         {"seal 0 1", "end 0 1 and session: stopped", "drop 0 1", "end session: stopped",
          "finish"}},
    };
    for (auto const& way : ways()) {
        story tell = at(way.first);
        auto const found = expected.find(way.first);
        tell(close_deadline_over, found == expected.end() ? lines{"finish"} : found->second,
             step::finished);
        CHECK_FALSE(tell.told().in_session());
        CHECK(tell.told().claims().empty());
        // Nothing happens any more.
        for (machine::event const& late :
             {assigned({0}), revoked({0}), machine::event{looked_up}, machine::event{committed},
              machine::event{deadline_over}, ended(0), machine::event{stop}, machine::event{fatal},
              machine::event{client_closed}}) {
            tell(late, {}, step::finished);
        }
    }
}

TEST_CASE("session_machine: a commit that is never answered ends with the close deadline") {
    story tell = at(step::committing).after({stop});
    tell(deadline_over, {}, step::committing);
    tell(close_deadline_over,
         {"seal 0 1", "end 0 1 and session: stopped", "drop 0 1", "end session: stopped", "finish"},
         step::finished);
}

TEST_CASE("session_machine: what was cancelled before has had its moment at the close deadline") {
    SUBCASE("a handler; the other one has ended") {
        story tell = at(step::draining).after({ended(0), deadline_over});
        tell(close_deadline_over,
             {"seal 0 1", "end 0 1 and session: stopped", "abandon 1", "drop 0 1",
              "end session: stopped", "finish"},
             step::finished);
    }
    SUBCASE("a hook") {
        story tell = at(step::cleaning_up).after({deadline_over});
        tell(close_deadline_over,
             {"seal 0 1", "end 0 1 and session: stopped", "abandon hook", "drop 0 1",
              "end session: stopped", "finish"},
             step::finished);
    }
}

TEST_CASE(
    "session_machine: a run that was interrupted ends what is left, as often as it is tried") {
    // Which action failed is not known: the session may be there or not, whatever the machine
    // believes.
    for (auto const& way : ways()) {
        story tell = at(way.first);
        tell.after({interrupted({0, 1})});
        CHECK(to_text(tell.told().current_step()) == to_text(step::finished));
        tell(interrupted({0, 1}),
             {"seal 0 1", "end 0 1 and session: stopped", "abandon 0 1", "abandon hook", "drop 0 1",
              "end session: stopped", "finish"},
             step::finished);
    }
    story tell = at(step::running);
    tell(interrupted({0, 1}),
         {"seal 0 1", "end 0 1 and session: stopped", "cancel 0 1", "cancel hook", "abandon 0 1",
          "abandon hook", "drop 0 1", "end session: stopped", "finish, a moment later"},
         step::finished);
}

TEST_CASE("session_machine: an answer that comes too late has no effect") {
    for (auto const& way : ways()) {
        step const where = way.first;
        story tell = at(where);
        if (where != step::looking_up) {
            tell(looked_up, {}, where);
        }
        if (where != step::setting_up) {
            tell(setup_ended, {}, where);
        }
        if (where != step::cleaning_up) {
            tell(cleanup_ended, {}, where);
        }
        if (where != step::committing) {
            tell(committed, {}, where);
        }
        if (where != step::backing_off) {
            tell(backoff_over, {}, where);
        }
        if (where != step::leaving) {
            tell(client_closed, {}, where);
        }
        tell(ended(3), {}, where);
    }
}

// Failures.

TEST_CASE("session_machine: a handler throws: the session ends in order, then the run") {
    story tell = at(step::running);
    tell(failed(0), {"end 0 1 and session: handler_failed", "arm drain"}, step::draining);
    tell(ended(1), {"disarm", "clean up", "arm drain"}, step::cleaning_up);
    // What the others have marked, and what it had marked before, is committed.
    tell(cleanup_ended, {"disarm", "seal 0 1, commit 0 1"}, step::committing);
    tell(committed, {"drop 0 1", "end session: handler_failed", "close"}, step::leaving);
    tell(revoked({0, 1}), {"release 0 1"}, step::leaving);
    tell(client_closed, {"finish"}, step::finished);
}

TEST_CASE("session_machine: a handler throws while it is to end") {
    story tell = at(step::draining);
    tell(failed(0), {}, step::draining);
    tell(ended(1), {"disarm", "clean up", "arm drain"}, step::cleaning_up);
    tell(cleanup_ended, {"disarm", "seal 0 1, commit 0 1"}, step::committing);
    // The revocation is answered all the same.
    tell(committed, {"drop 0 1", "end session: revoked", "release 0 1", "close"}, step::leaving);
}

TEST_CASE("session_machine: a handler throws while another one's partition goes") {
    SUBCASE("while that one finishes") {
        story tell = cooperative().after({removed({0})});
        tell(failed(1), {"end 0 1 and session: handler_failed", "arm drain", "hasten"},
             step::draining);
        tell(ended(0), {"disarm", "clean up", "arm drain"}, step::cleaning_up);
        tell(cleanup_ended, {"disarm", "seal 0 1, commit 0 1"}, step::committing);
        tell(committed, {"drop 0 1", "end session: handler_failed", "remove 0", "close"},
             step::leaving);
    }
    SUBCASE("while that one is committed") {
        story tell = cooperative().after({removed({0}), ended(0)});
        tell(failed(1), {"end 1 and session: handler_failed"}, step::committing);
        tell(committed, {"drop 0", "clean up", "arm drain"}, step::cleaning_up);
    }
    SUBCASE("while the starts of a third are looked up") {
        story tell = cooperative().after({added({2})});
        tell(failed(1), {"end 0 1 and session: handler_failed", "arm drain"}, step::draining);
        tell.after({ended(0), cleanup_ended});
        tell(committed, {"drop 0 1", "end session: handler_failed", "add unread 2", "close"},
             step::leaving);
    }
    SUBCASE("and it is the one that goes") {
        story tell = cooperative().after({removed({0})});
        tell(failed(0), {"disarm", "seal 0, commit 0"}, step::committing);
        tell(committed, {"drop 0", "end 1 and session: handler_failed", "arm drain", "hasten"},
             step::draining);
    }
}

TEST_CASE("session_machine: setup fails: cleanup runs, what it marked is committed, the assignment "
          "is answered") {
    story tell = at(step::setting_up);
    tell(setup_failed, {"end 0 1 and session: handler_failed", "clean up", "arm drain"},
         step::cleaning_up);
    tell(cleanup_ended, {"disarm", "seal 0 1, commit 0 1"}, step::committing);
    tell(committed, {"drop 0 1", "end session: handler_failed", "assign unread 0 1", "close"},
         step::leaving);
    tell(revoked({0, 1}), {"release 0 1"}, step::leaving);
    tell(client_closed, {"finish"}, step::finished);
}

TEST_CASE("session_machine: setup fails after its assignment was overtaken") {
    story tell = at(step::setting_up).after({revoked({0, 1})});
    tell(setup_failed, {"disarm", "clean up", "arm drain"}, step::cleaning_up);
    tell(cleanup_ended, {"disarm", "seal 0 1, commit 0 1"}, step::committing);
    tell(committed, {"drop 0 1", "end session: revoked", "release none", "close"}, step::leaving);
}

TEST_CASE("session_machine: cleanup fails: the commit happens, then the run ends") {
    story tell = at(step::cleaning_up);
    tell(cleanup_failed, {"disarm", "seal 0 1, commit 0 1"}, step::committing);
    tell(committed, {"drop 0 1", "end session: revoked", "release 0 1", "close"}, step::leaving);
}

TEST_CASE("session_machine: something else fails") {
    std::map<step, lines> const leads_to{
        {step::joining, {"close"}},
        {step::looking_up, {"assign unread 0 1", "close"}},
        {step::setting_up, {"end 0 1 and session: handler_failed", "arm drain"}},
        {step::running, {"end 0 1 and session: handler_failed", "arm drain"}},
        {step::draining, {}},
        {step::cleaning_up, {}},
        {step::committing, {}},
        {step::backing_off, {"close"}},
        {step::awaiting_final_assignment, {}},
        {step::leaving, {}},
    };
    std::map<step, step> const moves_to{{step::joining, step::leaving},
                                        {step::looking_up, step::leaving},
                                        {step::running, step::draining},
                                        {step::backing_off, step::leaving}};
    for (auto const& [begin, end] : leads_to) {
        auto const moved = moves_to.find(begin);
        story tell = at(begin);
        tell(run_failed, end, moved == moves_to.end() ? begin : moved->second);
    }
}

// A fatal error.

TEST_CASE("session_machine: a fatal error in a session: handlers are told to stop now, nothing is "
          "committed or answered") {
    story tell = at(step::running);
    tell(fatal, {"end 0 1 and session: group_failed", "cancel 0 1", "arm drain"}, step::draining);
    tell(ended(0), {}, step::draining);
    tell(ended(1), {"disarm", "clean up", "arm drain"}, step::cleaning_up);
    tell(cleanup_ended, {"disarm", "seal 0 1, commit none"}, step::committing);
    // There is no membership to leave.
    tell(committed, {"drop 0 1", "end session: group_failed", "finish"}, step::finished);
}

TEST_CASE("session_machine: a fatal error while something else goes on") {
    SUBCASE("without a session") {
        for (step const where : {step::joining, step::looking_up, step::backing_off,
                                 step::awaiting_final_assignment, step::leaving}) {
            story tell = at(where);
            tell(fatal, {"finish"}, step::finished);
        }
    }
    SUBCASE("during setup") {
        story tell = at(step::setting_up);
        tell(fatal, {"end 0 1 and session: group_failed", "arm drain"}, step::setting_up);
        tell(setup_ended, {"disarm", "clean up", "arm drain"}, step::cleaning_up);
        tell(cleanup_ended, {"disarm", "seal 0 1, commit none"}, step::committing);
        tell(committed, {"drop 0 1", "end session: group_failed", "finish"}, step::finished);
    }
    SUBCASE("during setup that is to end already") {
        story tell = at(step::setting_up).after({stop});
        tell(fatal, {"end 0 1 and session: group_failed"}, step::setting_up);
        tell(setup_ended, {"disarm", "clean up", "arm drain"}, step::cleaning_up);
        tell(cleanup_ended, {"disarm", "seal 0 1, commit none"}, step::committing);
    }
    SUBCASE("while handlers finish") {
        story tell = at(step::draining);
        tell(fatal, {"end 0 1 and session: group_failed", "cancel 0 1", "arm drain"},
             step::draining);
        tell(deadline_over, {"abandon 0 1", "clean up", "arm drain"}, step::cleaning_up);
        tell(cleanup_ended, {"disarm", "seal 0 1, commit none"}, step::committing);
        // The revocation is not answered.
        tell(committed, {"drop 0 1", "end session: group_failed", "finish"}, step::finished);
    }
    SUBCASE("while cleanup runs") {
        story tell = at(step::cleaning_up);
        tell(fatal, {"end 0 1 and session: group_failed"}, step::cleaning_up);
        tell(cleanup_ended, {"disarm", "seal 0 1, commit none"}, step::committing);
        tell(committed, {"drop 0 1", "end session: group_failed", "finish"}, step::finished);
    }
    SUBCASE("while the commit is under way") {
        story tell = at(step::committing);
        tell(fatal, {"end 0 1 and session: group_failed"}, step::committing);
        tell(committed, {"drop 0 1", "end session: group_failed", "finish"}, step::finished);
    }
    SUBCASE("while a part of the session is committed") {
        story tell = cooperative().after({removed({0}), ended(0)});
        tell(fatal, {"end 0 1 and session: group_failed", "cancel 1"}, step::committing);
        tell(committed, {"drop 0", "end 1 and session: group_failed", "arm drain"}, step::draining);
        tell(ended(1), {"disarm", "clean up", "arm drain"}, step::cleaning_up);
        tell(cleanup_ended, {"disarm", "seal 1, commit none"}, step::committing);
        tell(committed, {"drop 1", "end session: group_failed", "finish"}, step::finished);
    }
}

// A handler returns while its claim is live.

TEST_CASE("session_machine: a claim exits: the session ends in order, and a new one starts over "
          "the same assignment") {
    story tell = at(step::running);
    tell(ended(0), {"end 0 1 and session: claim_exited", "arm drain"}, step::draining);
    tell(ended(1), {"disarm", "clean up", "arm drain"}, step::cleaning_up);
    tell(cleanup_ended, {"disarm", "seal 0 1, commit 0 1"}, step::committing);
    // Not at once: it may happen again.
    tell(committed, {"drop 0 1", "end session: claim_exited", "back off"}, step::backing_off);
    tell(backoff_over, {"look up 0 1"}, step::looking_up);
    tell(looked_up, {"begin session over 0 1"}, step::setting_up);
    // The group and the client notice nothing.
    tell(setup_ended, {"start 0 1"}, step::running);
    tell(revoked({0, 1}), {"end 0 1 and session: revoked", "arm drain"}, step::draining);
}

TEST_CASE("session_machine: rebalances between two sessions") {
    SUBCASE("revoked") {
        story tell = at(step::backing_off);
        tell(revoked({0, 1}), {"release 0 1"}, step::joining);
        tell(backoff_over, {}, step::joining);
    }
    SUBCASE("assigned") {
        story tell = at(step::backing_off);
        tell(assigned({1, 2}), {"look up 1 2"}, step::looking_up);
        tell(looked_up, {"begin session over 1 2"}, step::setting_up);
        tell(setup_ended, {"assign 1 2, start 1 2"}, step::running);
    }
    SUBCASE("removed in part") {
        story tell = cooperative().after({ended(0), ended(1), cleanup_ended, committed});
        tell(removed({0}), {"remove 0", "back off"}, step::backing_off);
        tell(backoff_over, {"look up 1"}, step::looking_up);
        tell(looked_up, {"begin session over 1"}, step::setting_up);
        tell(setup_ended, {"start 1"}, step::running);
    }
    SUBCASE("added") {
        story tell = cooperative().after({ended(0), ended(1), cleanup_ended, committed});
        // One look-up for all, one answer for what is new.
        tell(added({2}), {"look up 0 1 2"}, step::looking_up);
        tell(looked_up, {"begin session over 0 1 2"}, step::setting_up);
        tell(setup_ended, {"add 2, start 0 1 2"}, step::running);
    }
    SUBCASE("revoked while the next one is being set up") {
        story tell = at(step::backing_off).after({backoff_over, looked_up});
        tell(revoked({0, 1}), {"end 0 1 and session: revoked", "arm drain"}, step::setting_up);
        tell(setup_ended, {"disarm", "clean up", "arm drain"}, step::cleaning_up);
        tell(cleanup_ended, {"disarm", "seal 0 1, commit 0 1"}, step::committing);
        tell(committed, {"drop 0 1", "end session: revoked", "release 0 1"}, step::joining);
    }
    SUBCASE("revoked while a claim has exited and the session still ends") {
        story tell = at(step::running).after({ended(0)});
        tell(revoked({0, 1}), {}, step::draining);
        tell(ended(1), {"disarm", "clean up", "arm drain"}, step::cleaning_up);
        tell(cleanup_ended, {"disarm", "seal 0 1, commit 0 1"}, step::committing);
        tell(committed, {"drop 0 1", "end session: claim_exited", "release 0 1"}, step::joining);
    }
}

TEST_CASE("session_machine: a claim exits while another one's partition goes") {
    story tell = cooperative().after({removed({0})});
    tell(ended(1), {"end 0 1 and session: claim_exited", "arm drain"}, step::draining);
    tell(ended(0), {"disarm", "clean up", "arm drain"}, step::cleaning_up);
    tell(cleanup_ended, {"disarm", "seal 0 1, commit 0 1"}, step::committing);
    tell(committed, {"drop 0 1", "end session: claim_exited", "remove 0", "back off"},
         step::backing_off);
    tell(backoff_over, {"look up 1"}, step::looking_up);
}

TEST_CASE("session_machine: a claim that is about to go may exit by itself") {
    story tell = story{}.after(
        {added({0, 1, 2}), looked_up, setup_ended, removed({0}), ended(0), removed({1})});
    tell(ended(1), {}, step::committing);
    tell(committed, {"drop 0", "end 1: revoked", "seal 1, commit 1"}, step::committing);
    tell(committed, {"drop 1", "remove 0 1"}, step::running);
}

TEST_CASE("session_machine: with keep_others the others go on") {
    machine::settings const keep_others{true, false};
    SUBCASE("until the revocation") {
        story tell = at(step::running, keep_others);
        tell(ended(0), {"orphan 0"}, step::running);
        // It is still a claim: what it marked is committed when it goes.
        tell(revoked({0, 1}), {"end 0 1 and session: revoked", "arm drain"}, step::draining);
        tell(ended(1), {"disarm", "clean up", "arm drain"}, step::cleaning_up);
        tell(cleanup_ended, {"disarm", "seal 0 1, commit 0 1"}, step::committing);
    }
    SUBCASE("also when none is left") {
        story tell = at(step::running, keep_others);
        tell(ended(0), {"orphan 0"}, step::running);
        tell(ended(1), {"orphan 1"}, step::running);
        tell(revoked({0, 1}), {"end 0 1 and session: revoked", "clean up", "arm drain"},
             step::cleaning_up);
    }
    SUBCASE("a handler that throws still ends the session") {
        story tell = at(step::running, keep_others);
        tell(failed(0), {"end 0 1 and session: handler_failed", "arm drain"}, step::draining);
    }
    SUBCASE("one that ends because it was told to is no orphan") {
        story revoked_one = at(step::draining, keep_others);
        revoked_one(ended(0), {}, step::draining);
        story stopped_one = at(step::running, keep_others).after({stop});
        stopped_one(ended(0), {}, step::draining);
    }
    SUBCASE("while something goes on") {
        story tell = cooperative(keep_others).after({removed({0})});
        tell(ended(1), {"orphan 1"}, step::draining);
        tell(ended(0), {"disarm", "seal 0, commit 0"}, step::committing);
        tell(committed, {"drop 0", "remove 0"}, step::running);
    }
}

// One session only.

TEST_CASE("session_machine: once: one session, then the group is left") {
    machine::settings const once{false, true};
    SUBCASE("revoked") {
        story tell = at(step::committing, once);
        tell(committed, {"drop 0 1", "end session: revoked", "release 0 1", "close"},
             step::leaving);
        tell(client_closed, {"finish"}, step::finished);
    }
    SUBCASE("a claim has exited") {
        story tell = at(step::running, once).after({ended(0), ended(1), cleanup_ended});
        tell(committed, {"drop 0 1", "end session: claim_exited", "close"}, step::leaving);
    }
    SUBCASE("overtaken by an assignment, which is answered") {
        story tell = at(step::committing, once).after({assigned({1, 2})});
        tell(committed, {"drop 0 1", "end session: revoked", "assign unread 1 2", "close"},
             step::leaving);
    }
    SUBCASE("a removal overtaken by an addition") {
        story tell = cooperative(once).after(
            {removed({0, 1}), ended(0), ended(1), added({1, 2}), cleanup_ended});
        tell(committed,
             {"drop 0 1", "end session: revoked", "remove 0 1", "add unread 1 2", "close"},
             step::leaving);
    }
}

} // namespace session_machine_tests
