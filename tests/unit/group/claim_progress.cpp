// SPDX-License-Identifier: MIT

#include <kgroup/detail/group/claim_progress.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>

using namespace std::chrono_literals;
using kgroup::detail::claim_progress;

namespace claim_progress_tests {

namespace {

using time_point = kgroup::detail::clock::time_point;
constexpr auto first_moment = time_point{} + 1h;

claim_progress::look_at offsets(std::uint64_t delivered, std::int64_t reached, std::int64_t done) {
    return {delivered, reached, done, false};
}

} // namespace

TEST_CASE("claim_progress: the oldest in flight is that of the first look that was beyond it") {
    claim_progress progress{first_moment};
    progress.look(offsets(0, 100, 100), first_moment);
    CHECK_FALSE(progress.oldest_in_flight());
    progress.look(offsets(10, 110, 100), first_moment + 1s);
    progress.look(offsets(20, 120, 105), first_moment + 2s);
    CHECK(progress.oldest_in_flight() == first_moment + 1s); // 105 was delivered by then
    progress.look(offsets(30, 130, 110), first_moment + 3s);
    CHECK(progress.oldest_in_flight() == first_moment + 2s);
    progress.look(offsets(30, 130, 130), first_moment + 4s);
    CHECK_FALSE(progress.oldest_in_flight());
}

TEST_CASE("claim_progress: what has been in flight long is known to a tenth") {
    claim_progress progress{first_moment};
    auto now = first_moment;
    std::int64_t reached = 0;
    for (auto looks = 0; looks != 2000; ++looks) { // all but the first hundred are done in time
        now += 500ms;
        ++reached;
        auto const done = reached < 100 ? 0 : reached - 100; // 50 s behind
        progress.look(offsets(static_cast<std::uint64_t>(reached), reached, done), now);
        if (reached > 200) {
            REQUIRE(progress.oldest_in_flight());
            auto const age = now - *progress.oldest_in_flight();
            REQUIRE(age <= 50s);
            REQUIRE(age >= 40s);
        }
    }
}

TEST_CASE("claim_progress: nothing is done, and the age grows with the time") {
    claim_progress progress{first_moment};
    for (auto second = 1; second != 1000; ++second) {
        auto const now = first_moment + std::chrono::seconds{second};
        progress.look(offsets(static_cast<std::uint64_t>(second), second, 0), now);
        REQUIRE(progress.oldest_in_flight() == first_moment + 1s);
    }
}

TEST_CASE("claim_progress: it moves when something is delivered or done") {
    claim_progress progress{first_moment};
    progress.look(offsets(5, 5, 0), first_moment + 1s);
    progress.look(offsets(5, 5, 0), first_moment + 2s);
    CHECK(progress.moved() == first_moment + 1s);
    progress.look(offsets(5, 5, 3), first_moment + 3s);
    CHECK(progress.moved() == first_moment + 3s);
}

TEST_CASE("claim_progress: another scale, or a log that went back, begins anew") {
    claim_progress progress{first_moment};
    progress.look(offsets(10, 1010, 1000), first_moment + 1s);
    progress.look({10, 10, 4, true}, first_moment + 2s);
    CHECK(progress.oldest_in_flight() == first_moment + 2s);
    progress.look({12, 5, 4, true}, first_moment + 3s);
    CHECK(progress.oldest_in_flight() == first_moment + 3s);
}

TEST_CASE("claim_progress: the rate follows what is delivered within some ten seconds") {
    claim_progress progress{first_moment};
    auto now = first_moment;
    std::uint64_t delivered = 0;
    for (auto looks = 0; looks != 100; ++looks) {
        now += 500ms;
        delivered += 50;
        progress.look(offsets(delivered, 0, 0), now);
    }
    CHECK(progress.rate() > 95);
    CHECK(progress.rate() <= 100);
    for (auto looks = 0; looks != 100; ++looks) {
        now += 500ms;
        progress.look(offsets(delivered, 0, 0), now);
    }
    CHECK(progress.rate() < 1);
}

TEST_CASE("claim_progress: it stands from when there is something to do, and nothing moves") {
    claim_progress progress{first_moment};
    auto resting = offsets(0, 100, 100);
    resting.rests = true;
    progress.look(resting, first_moment);
    progress.look(resting, first_moment + 10min);
    CHECK(progress.stands_since() == first_moment + 10min);
    CHECK(progress.moved() == first_moment);
    progress.look(offsets(0, 100, 100), first_moment + 11min); // something waits
    CHECK(progress.stands_since() == first_moment + 10min);
    progress.look(offsets(1, 101, 100), first_moment + 12min);
    CHECK(progress.stands_since() == first_moment + 12min);
    progress.look(offsets(1, 101, 100), first_moment + 13min);
    CHECK(progress.stands_since() == first_moment + 12min);
}

} // namespace claim_progress_tests
