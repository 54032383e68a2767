// SPDX-License-Identifier: MIT

#include <kgroup/error.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <system_error>

#include "kafka.hpp"
#include "member.hpp"

// What brokers refuse: what no repetition mends ends the run with the field named, what heals is
// told and tried again.

namespace {

using namespace kgroup::tests;
using kgroup::event_kind;
using kgroup::make_error_code;

TEST_CASE("errors: a session timeout that the brokers do not allow ends the run, and the property "
          "is named") {
    if (!kafka::is_there()) {
        return;
    }
    kafka brokers{kafka::kind::real};
    auto given = brokers.member_of_new_group(brokers.create_topic());
    given.properties = {{"session.timeout.ms", "3000000"},
                        {"max.poll.interval.ms", "3000000"}}; // beyond group.max.session.timeout.ms
    received none;
    member one{given, receive_into(none)};
    REQUIRE(one.ends_within(30s));
    CHECK(one.error() == make_error_code(RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT));
    CHECK_MESSAGE(one.what().find("properties: 'session.timeout.ms': ") != std::string::npos,
                  one.what());
    CHECK(one.last(event_kind::client_error)->text.find("Invalid session timeout") ==
          std::string::npos);
}

TEST_CASE("errors: members that have no assignor in common: the second is told, and joins when the "
          "first has left") {
    if (!kafka::is_there()) {
        return;
    }
    kafka brokers{kafka::kind::real};
    auto given = brokers.member_of_new_group(brokers.create_topic());
    given.assignors = {kgroup::assignor::range};
    received records;
    member first{given, receive_into(records)};
    REQUIRE(eventually([&] { return first.claims() == 1; }));
    given.assignors = {kgroup::assignor::roundrobin};
    member second{given, receive_into(records)};
    auto const code = make_error_code(RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL);
    REQUIRE(eventually([&] {
        return std::ranges::any_of(second.events(),
                                   [&](kgroup::event const& event) { return event.error == code; });
    }));
    CHECK_FALSE(second.has_ended());
    first.stop();
    CHECK(eventually([&] { return second.claims() == 1; }));
}

} // namespace
