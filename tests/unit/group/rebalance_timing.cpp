// SPDX-License-Identifier: MIT

#include <kgroup/detail/group/rebalance_timing.hpp>

#include <doctest/doctest.h>

#include <chrono>

using namespace std::chrono_literals;
using kgroup::detail::partition_set;
using kgroup::detail::rebalance_timing;
using kgroup::detail::session_machine;

namespace rebalance_timing_tests {

namespace {

kgroup::detail::clock::time_point const start{1h};
partition_set const two{{"orders", 0}, {"orders", 1}};

} // namespace

TEST_CASE("rebalance_timing: from when it is heard of to its answer, once") {
    rebalance_timing timing;
    CHECK_FALSE(timing.answer(start));
    session_machine::assigned assigned{};
    assigned.partitions = two;
    timing.begin(assigned, start);
    auto const answered = timing.answer(start + 3s);
    REQUIRE(answered);
    CHECK(answered->what == rebalance_timing::kind::assigned);
    CHECK(answered->took == 3s);
    CHECK(answered->partitions == two);
    CHECK_FALSE(timing.answer(start + 4s));
}

TEST_CASE(
    "rebalance_timing: a newer one counts from itself, and a loss is told from a revocation") {
    rebalance_timing timing;
    session_machine::assigned assigned{};
    assigned.partitions = two;
    timing.begin(assigned, start);
    session_machine::revoked revoked{};
    revoked.partitions = two;
    timing.begin(revoked, start + 5s);
    auto answered = timing.answer(start + 6s);
    REQUIRE(answered);
    CHECK(answered->what == rebalance_timing::kind::revoked);
    CHECK(answered->took == 1s);
    revoked.lost = true;
    timing.begin(revoked, start);
    answered = timing.answer(start);
    REQUIRE(answered);
    CHECK(answered->what == rebalance_timing::kind::lost);
}

} // namespace rebalance_timing_tests
