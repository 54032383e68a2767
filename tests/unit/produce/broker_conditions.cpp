// SPDX-License-Identifier: MIT

#include <kgroup/detail/produce/broker_conditions.hpp>

#include <doctest/doctest.h>

#include <ostream>

namespace broker_conditions_tests {

namespace {

using kgroup::event_kind;
using kgroup::severity;
using kgroup::detail::broker_conditions;

TEST_CASE("broker_conditions: an outage is told once, until a broker has answered") {
    broker_conditions brokers;
    CHECK_FALSE(brokers.reached()); // none lasts
    auto const begin = brokers.note(RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN);
    REQUIRE(begin);
    CHECK(begin->kind == event_kind::brokers_unreachable);
    CHECK(begin->level == severity::error);
    CHECK_FALSE(brokers.note(RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN));
    CHECK(brokers.reached());
    CHECK_FALSE(brokers.reached());
    CHECK(brokers.note(RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN));
}

TEST_CASE("broker_conditions: each refusal is told, and its end once a record was acknowledged") {
    broker_conditions brokers;
    CHECK_FALSE(brokers.accepted());
    for (auto count = 0; count != 2; ++count) {
        auto const refusal = brokers.note(RD_KAFKA_RESP_ERR__AUTHENTICATION);
        REQUIRE(refusal);
        CHECK(refusal->kind == event_kind::authentication_failed);
        CHECK(refusal->level == severity::error);
    }
    CHECK(brokers.refused());
    CHECK_FALSE(brokers.reached()); // that is no outage
    CHECK(brokers.accepted());
    CHECK_FALSE(brokers.refused());
    CHECK_FALSE(brokers.accepted());
}

TEST_CASE("broker_conditions: other errors are told as they come, and begin nothing") {
    broker_conditions brokers;
    auto const transport = brokers.note(RD_KAFKA_RESP_ERR__TRANSPORT);
    REQUIRE(transport);
    CHECK(transport->kind == event_kind::client_error);
    CHECK(transport->level == severity::warning);
    auto const tls = brokers.note(RD_KAFKA_RESP_ERR__SSL);
    REQUIRE(tls);
    CHECK(tls->kind == event_kind::client_error);
    CHECK(tls->level == severity::error);
    CHECK_FALSE(brokers.reached());
    CHECK_FALSE(brokers.accepted());
}

} // namespace

} // namespace broker_conditions_tests
