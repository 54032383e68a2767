// SPDX-License-Identifier: MIT

#include <kgroup/detail/group/position_resets.hpp>

#include <doctest/doctest.h>

namespace position_resets_tests {

namespace {

kgroup::topic_partition const one{"t", 0};
kgroup::topic_partition const other{"t", 1};

} // namespace

TEST_CASE("position_resets: what only records show is news each time") {
    kgroup::detail::position_resets resets;
    CHECK(resets.is_news(one, 5));
    CHECK(resets.is_news(one, 5));
}

TEST_CASE("position_resets: what the client has told is no news with the next record, once and in "
          "its partition") {
    kgroup::detail::position_resets resets;
    resets.told(one, 5);
    CHECK(resets.is_news(other, 5));
    CHECK_FALSE(resets.is_news(one, 5));
    CHECK(resets.is_news(one, 5));
}

TEST_CASE("position_resets: the client had fetched more than was delivered") {
    kgroup::detail::position_resets resets;
    resets.told(one, 100);
    CHECK_FALSE(resets.is_news(one, 40));
}

TEST_CASE("position_resets: a reset that showed in no record hides no later one") {
    kgroup::detail::position_resets resets;
    resets.told(one, 5); // to the end of the log, which was there
    CHECK(resets.is_news(one, 6));
    CHECK(resets.is_news(one, 4));
}

TEST_CASE("position_resets: the next owner's are the next owner's") {
    kgroup::detail::position_resets resets;
    resets.told(one, 5);
    resets.forget(one);
    CHECK(resets.is_news(one, 5));
}

} // namespace position_resets_tests
