// SPDX-License-Identifier: MIT

#include <kgroup/detail/produce/replacement_schedule.hpp>

#include <doctest/doctest.h>

#include <chrono>

using namespace std::chrono_literals;

namespace replacement_schedule_tests {

namespace {

using kgroup::detail::replacement_schedule;

constexpr auto start = kgroup::detail::clock::time_point{} + 1h;

TEST_CASE("replacement_schedule: nothing is replaced that has not failed") {
    replacement_schedule schedule;
    CHECK_FALSE(schedule.due());
    CHECK_FALSE(schedule.begin(start));
    CHECK_FALSE(schedule.succeed());
}

TEST_CASE("replacement_schedule: the first is replaced at once, each after it later, up to a "
          "limit") {
    replacement_schedule schedule;
    CHECK(schedule.fail(start) == 0ms);
    CHECK(schedule.due() == start);
    CHECK(schedule.begin(start));
    CHECK_FALSE(schedule.begin(start)); // once

    CHECK(schedule.fail(start) == 1s);
    CHECK(schedule.due() == start + 1s);
    CHECK_FALSE(schedule.begin(start + 999ms));
    CHECK(schedule.begin(start + 1s));

    for (auto const delay : {2s, 4s, 8s, 16s, 30s, 30s}) {
        CHECK(schedule.fail(start) == delay);
        CHECK(schedule.begin(start + delay));
    }
}

TEST_CASE("replacement_schedule: when records are acknowledged again, the next failure is the "
          "first") {
    replacement_schedule schedule;
    schedule.fail(start);
    CHECK(schedule.begin(start));
    schedule.fail(start);
    CHECK(schedule.begin(start + 1s));
    CHECK(schedule.succeed());
    CHECK_FALSE(schedule.succeed()); // said once
    CHECK(schedule.fail(start) == 0ms);
}

TEST_CASE("replacement_schedule: one that could not be made is tried again a second later, or as "
          "late as the next one would be") {
    replacement_schedule schedule;
    schedule.fail(start);
    REQUIRE(schedule.begin(start));
    schedule.retry(start);
    CHECK(schedule.due() == start + 1s);
    REQUIRE(schedule.begin(start + 1s));
    schedule.fail(start); // a second
    REQUIRE(schedule.begin(start + 1s));
    schedule.retry(start + 1s);
    CHECK(schedule.due() == start + 3s);
}

} // namespace

} // namespace replacement_schedule_tests
