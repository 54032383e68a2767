// SPDX-License-Identifier: MIT

#include <kgroup/detail/group/deadline_table.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <optional>

using namespace std::chrono_literals;

namespace deadline_table_tests {

namespace {

using kgroup::detail::clock;
using kgroup::detail::deadline_table;
using deadline = deadline_table::deadline;

constexpr auto start = clock::time_point{} + 1h;

TEST_CASE("deadline_table: the nearest is what the loop waits for, whoever keeps it") {
    deadline_table deadlines;
    CHECK(deadlines.nearest({}) == (clock::time_point::max)());
    deadlines.set(deadline::tick, start + 3s);
    deadlines.set(deadline::close, start + 5s);
    CHECK(deadlines.nearest({}) == start + 3s);
    CHECK(deadlines.nearest({std::nullopt, start + 4s}) == start + 3s);
    CHECK(deadlines.nearest({start + 1s, std::nullopt}) == start + 1s);
    deadlines.clear(deadline::tick);
    CHECK(deadlines.nearest({}) == start + 5s);
}

TEST_CASE("deadline_table: one that is over is taken once") {
    deadline_table deadlines;
    deadlines.set(deadline::session_backoff, start + 1s);
    CHECK_FALSE(deadlines.begin_turn(start));
    CHECK_FALSE(deadlines.take(deadline::session_backoff, start));
    CHECK(deadlines.take(deadline::session_backoff, start + 1s));
    CHECK_FALSE(deadlines.take(deadline::session_backoff, start + 2s));
    CHECK(deadlines.nearest({}) == (clock::time_point::max)());
}

TEST_CASE("deadline_table: a limit makes it no later, and sets none") {
    deadline_table deadlines;
    deadlines.limit(deadline::step, start);
    CHECK(deadlines.nearest({}) == (clock::time_point::max)());
    deadlines.set(deadline::step, start + 2s);
    deadlines.limit(deadline::step, start + 3s);
    CHECK(deadlines.nearest({}) == start + 2s);
    deadlines.limit(deadline::step, start + 1s);
    CHECK(deadlines.nearest({}) == start + 1s);
}

TEST_CASE("deadline_table: when a time of the user's is over, two notifications come first") {
    for (auto const which : {deadline::step, deadline::close}) {
        deadline_table deadlines;
        deadlines.set(which, start);
        deadlines.set(deadline::tick, start + 1min);
        CHECK(deadlines.begin_turn(start));
        CHECK_FALSE(deadlines.take(which, start));
        CHECK(deadlines.nearest({}) == start + 1min); // the notification is on its way
        deadlines.notified();
        CHECK(deadlines.begin_turn(start));
        CHECK_FALSE(deadlines.take(which, start));
        deadlines.notified();
        CHECK_FALSE(deadlines.begin_turn(start));
        CHECK(deadlines.take(which, start));
        CHECK_FALSE(deadlines.begin_turn(start));
        CHECK_FALSE(deadlines.take(which, start));
    }
}

TEST_CASE("deadline_table: a turn without a notification is not counted") {
    deadline_table deadlines;
    deadlines.set(deadline::step, start);
    for (int turn = 0; turn != 5; ++turn) {
        CHECK(deadlines.begin_turn(start));
        CHECK_FALSE(deadlines.take(deadline::step, start));
    }
}

TEST_CASE("deadline_table: what is set anew is heard for anew") {
    deadline_table deadlines;
    deadlines.set(deadline::step, start);
    CHECK(deadlines.begin_turn(start));
    deadlines.notified();
    deadlines.set(deadline::step, start + 1s); // the next step's
    deadlines.notified();
    CHECK(deadlines.begin_turn(start + 1s));
    deadlines.notified();
    CHECK(deadlines.begin_turn(start + 1s));
    deadlines.notified();
    CHECK_FALSE(deadlines.begin_turn(start + 1s));
    CHECK(deadlines.take(deadline::step, start + 1s));
}

TEST_CASE("deadline_table: nobody is waited for when nothing is over any more") {
    deadline_table deadlines;
    deadlines.set(deadline::step, start);
    CHECK(deadlines.begin_turn(start));
    deadlines.clear(deadline::step);
    deadlines.set(deadline::close, start + 1s);
    CHECK_FALSE(deadlines.begin_turn(start));
    CHECK(deadlines.nearest({}) == start + 1s);
}

} // namespace

} // namespace deadline_table_tests
