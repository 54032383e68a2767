// SPDX-License-Identifier: MIT

#include <kgroup/detail/produce/stop_schedule.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <ostream>

using namespace std::chrono_literals;

namespace stop_schedule_tests {

namespace {

using kgroup::producer_phase;
using kgroup::detail::stop_schedule;

constexpr auto stop_by = kgroup::detail::clock::time_point{} + 1h;

TEST_CASE("stop_schedule: a producer that runs has no deadline, and nothing of it ends") {
    stop_schedule stop;
    CHECK(stop.running());
    CHECK_FALSE(stop.due(true));
    CHECK_FALSE(stop.purge(stop_by, 1));
    CHECK_FALSE(stop.finish(stop_by, 0));
    CHECK_FALSE(stop.is_over(stop_by, 0));
}

TEST_CASE("stop_schedule: when nothing is left it is stopped at once, and nothing is purged") {
    stop_schedule stop;
    stop.begin(stop_by);
    CHECK(stop.phase() == producer_phase::stopping);
    CHECK(stop.due(true) == stop_by);
    CHECK_FALSE(stop.purge(stop_by - 1s, 0));
    CHECK_FALSE(stop.purge(stop_by, 0));
    CHECK(stop.finish(stop_by - 1s, 0));
    CHECK(stop.stopped());
    CHECK_FALSE(stop.finish(stop_by, 0)); // said once
}

TEST_CASE("stop_schedule: what is left when its time is over is purged, and given up a second "
          "later") {
    stop_schedule stop;
    stop.begin(stop_by);
    CHECK_FALSE(stop.purge(stop_by - 1ms, 3));
    CHECK_FALSE(stop.finish(stop_by - 1ms, 3));
    CHECK(stop.purge(stop_by, 3));
    CHECK_FALSE(stop.purge(stop_by, 3)); // said once
    CHECK_FALSE(stop.finish(stop_by, 3));
    CHECK(stop.due(false) == stop_by + 1s);

    SUBCASE("unless it is reported until then") { CHECK(stop.finish(stop_by + 1ms, 0)); }
    SUBCASE("and then whatever is left") {
        CHECK_FALSE(stop.finish(stop_by + 999ms, 3));
        CHECK(stop.finish(stop_by + 1s, 3));
    }
    CHECK(stop.stopped());
}

TEST_CASE("stop_schedule: a look that comes late purges and gives up") {
    stop_schedule stop;
    stop.begin(stop_by);
    CHECK_FALSE(stop.finish(stop_by + 10s, 1)); // not before it was purged
    CHECK(stop.purge(stop_by + 10s, 1));
    CHECK(stop.finish(stop_by + 10s, 1));
}

TEST_CASE("stop_schedule: who waits is told when librdkafka's producers are destroyed, and does "
          "not wait for long") {
    stop_schedule stop;
    stop.begin(stop_by);
    REQUIRE(stop.finish(stop_by - 1s, 0));
    CHECK(stop.is_over(stop_by - 1s, 0));
    CHECK_FALSE(stop.is_over(stop_by + 1999ms, 1));
    CHECK(stop.is_over(stop_by + 2s, 1));
    CHECK(stop.due(true) == stop_by + 2s);
    CHECK_FALSE(stop.due(false)); // nobody waits
}

} // namespace

} // namespace stop_schedule_tests
