// SPDX-License-Identifier: MIT

#include <kgroup/detail/group/told_ownership.hpp>

#include <doctest/doctest.h>

namespace told_ownership_tests {

namespace {

using kgroup::topic_partition;
using kgroup::detail::partition_set;
using kgroup::detail::told_ownership;

topic_partition const t0{"t", 0};
topic_partition const t1{"t", 1};

TEST_CASE("told_ownership: what the client revokes is told, also when it is nothing") {
    told_ownership told;
    told.added({t0, t1});
    CHECK(told.revoked({t0, t1}, false) == partition_set{t0, t1});
    CHECK(told.revoked({}, false) == partition_set{});
}

TEST_CASE("told_ownership: what the run gives back is told once") {
    told_ownership told;
    told.added({t0});
    CHECK(told.given_back({t0, t1}) == partition_set{t0});
    CHECK(told.given_back({t0}).empty());
    SUBCASE("and not again when it is revoked") {
        CHECK_FALSE(told.revoked({t0}, false));
        CHECK(told.revoked({t0}, false) == partition_set{t0});
    }
    SUBCASE("but when it turns out to be lost") {
        CHECK(told.revoked({t0}, true) == partition_set{t0});
    }
    SUBCASE("beside others") { CHECK(told.revoked({t0, t1}, false) == partition_set{t1}); }
    SUBCASE("or added anew") {
        told.added({t0});
        CHECK(told.revoked({t0}, false) == partition_set{t0});
    }
}

} // namespace

} // namespace told_ownership_tests
