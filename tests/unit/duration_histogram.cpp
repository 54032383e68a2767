// SPDX-License-Identifier: MIT

#include <kgroup/duration_histogram.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>

using namespace std::chrono_literals;
using kgroup::duration_histogram;

namespace duration_histogram_tests {

TEST_CASE("duration_histogram: a bound belongs to its bucket, and the last bucket has none") {
    CHECK(std::ranges::is_sorted(duration_histogram::bounds));
    CHECK(duration_histogram::bucket_of(0ns) == 0);
    CHECK(duration_histogram::bucket_of(-5ns) == 0);
    CHECK(duration_histogram::bucket_of(100us) == 0);
    CHECK(duration_histogram::bucket_of(100'001ns) == 1);
    CHECK(duration_histogram::bucket_of(1ms) == 2);
    CHECK(duration_histogram::bucket_of(300s) == duration_histogram::buckets - 2);
    CHECK(duration_histogram::bucket_of(301s) == duration_histogram::buckets - 1);
}

TEST_CASE("duration_histogram: what was counted apart may be added") {
    duration_histogram first;
    first.add(3ms);
    first.add(400s);
    duration_histogram second;
    second.add(4ms);
    first.add(second);
    CHECK(first.count() == 3);
    CHECK(first.sum == 400s + 7ms);
    CHECK(first.counts[duration_histogram::bucket_of(5ms)] == 2);
    CHECK(first.counts.back() == 1);
}

} // namespace duration_histogram_tests
