// SPDX-License-Identifier: MIT

#include <kgroup/detail/fetch/metadata_schedule.hpp>

#include <doctest/doctest.h>

#include <chrono>

namespace metadata_schedule_tests {
namespace {

using namespace kgroup::detail::fetch;
using namespace std::chrono_literals;

constexpr auto never = (time_point::max)();
constexpr time_point begin{1h};

TEST_CASE("metadata_schedule: it is asked at once when wanted, and then each interval") {
    metadata_schedule schedule{5min};
    CHECK(schedule.due() == never);
    schedule.want();
    CHECK(schedule.due() <= begin);
    schedule.asked(begin);
    CHECK(schedule.due() == never); // until there is an answer
    schedule.answered(true);
    CHECK(schedule.due() == begin + 5min);
    metadata_schedule without{-1ms};
    without.want();
    without.asked(begin);
    without.answered(true);
    CHECK(without.due() == never);
}

TEST_CASE("metadata_schedule: an interval below 100 ms is one of 100 ms") {
    metadata_schedule schedule{1ms};
    schedule.want();
    schedule.asked(begin);
    schedule.answered(true);
    CHECK(schedule.due() == begin + 100ms);
}

TEST_CASE("metadata_schedule: it is asked 100 ms apart, and less often while that does not help") {
    metadata_schedule schedule{5min};
    schedule.want();
    schedule.asked(begin);
    schedule.want();
    CHECK(schedule.due() == never);
    schedule.answered(true);
    CHECK(schedule.due() == begin + 100ms);
    auto at = begin;
    for (auto const distance : {200ms, 400ms, 800ms, 1000ms, 1000ms}) {
        at = schedule.due();
        schedule.asked(at);
        schedule.answered(false);
        CHECK(schedule.due() == at + distance);
    }
    at = schedule.due();
    schedule.asked(at);
    schedule.lost();
    CHECK(schedule.due() == at + 1000ms);
    at = schedule.due();
    schedule.asked(at);
    schedule.answered(true);
    schedule.want();
    CHECK(schedule.due() == at + 100ms);
}

TEST_CASE("metadata_schedule: another broker is asked when one did not help, and each interval") {
    metadata_schedule schedule{5min};
    schedule.want();
    CHECK_FALSE(schedule.wants_another(begin));
    schedule.asked(begin);
    schedule.answered(true);
    schedule.want();
    CHECK(schedule.wants_another(begin + 1s));
    CHECK_FALSE(schedule.wants_another(begin + 2s));
    schedule.asked(begin + 10s);
    schedule.answered(true);
    CHECK(schedule.wants_another(begin + 10s + 5min));
    schedule.asked(begin + 1h);
    schedule.lost();
    CHECK(schedule.wants_another(begin + 1h + 1s));
}

} // namespace
} // namespace metadata_schedule_tests
