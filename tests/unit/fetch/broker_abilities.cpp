// SPDX-License-Identifier: MIT

#include <kgroup/detail/fetch/broker_abilities.hpp>

#include <doctest/doctest.h>

namespace fetch_broker_abilities_tests {
namespace {

using namespace kgroup::detail::fetch;

TEST_CASE("a broker's abilities follow from the versions that both know") {
    api_versions versions;
    auto none = abilities_of(versions);
    CHECK(!none.leader_epochs);
    CHECK(!none.diverging);
    CHECK(!none.topic_ids);

    versions.leader_epoch = {0, 2};
    versions.fetch = {0, 11};
    auto const old = abilities_of(versions);
    CHECK(old.leader_epochs);
    CHECK(!old.diverging);
    CHECK(!old.topic_ids);

    versions.fetch.highest = 12;
    CHECK(abilities_of(versions).diverging);
    CHECK(!abilities_of(versions).topic_ids);

    versions.fetch = {4, 17};
    CHECK(abilities_of(versions).diverging);
    CHECK(abilities_of(versions).topic_ids);

    versions.leader_epoch = {0, 1}; // older than any that is encoded here
    versions.fetch = {14, 17};      // newer than any
    none = abilities_of(versions);
    CHECK(!none.leader_epochs);
    CHECK(!none.diverging);
    CHECK(!none.topic_ids);
}

} // namespace
} // namespace fetch_broker_abilities_tests
