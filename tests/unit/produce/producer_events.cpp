// SPDX-License-Identifier: MIT

#include <kgroup/detail/produce/producer_events.hpp>
#include <kgroup/detail/rdkafka/error.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <ostream>

using namespace std::chrono_literals;

namespace producer_events_tests {

namespace {

using kgroup::event_kind;
using kgroup::make_error_code;
using kgroup::severity;
using kgroup::detail::producer_events;

TEST_CASE("producer_events: a failure says when the producer is replaced, and does not repeat its "
          "error") {
    producer_events told;
    auto const cause = make_error_code(RD_KAFKA_RESP_ERR__FENCED);
    told.failed(cause, cause.message() + ": another has its place", 0ms);
    told.failed(cause, "", 2s);
    REQUIRE(told.all().size() == 2);
    CHECK(told.all()[0].kind == event_kind::producer_failed);
    CHECK(told.all()[0].level == severity::error);
    CHECK(told.all()[0].error == cause);
    CHECK(told.all()[0].text == "another has its place; what was under way has failed and may have "
                                "been delivered; the producer is replaced");
    CHECK(told.all()[1].text.ends_with("the producer is replaced in 2000 ms"));
}

TEST_CASE("producer_events: the level of a line of librdkafka's log is that of syslog") {
    producer_events told;
    for (auto const level : {3, 4, 6, 7}) {
        told.client_log(level, "CONNECT", "connected");
    }
    REQUIRE(told.all().size() == 4);
    CHECK(told.all()[0].level == severity::error);
    CHECK(told.all()[1].level == severity::warning);
    CHECK(told.all()[2].level == severity::info);
    CHECK(told.all()[3].level == severity::debug);
    CHECK(told.all()[0].kind == event_kind::client_log);
    CHECK(told.all()[0].text == "CONNECT: connected");
}

TEST_CASE("producer_events: they are told in the order in which they came about") {
    producer_events told;
    told.brokers_reachable();
    told.recovered();
    told.lost_at_stop(4);
    REQUIRE(told.all().size() == 3);
    CHECK(told.all()[0].kind == event_kind::brokers_reachable);
    CHECK(told.all()[1].kind == event_kind::producer_recovered);
    CHECK(told.all()[2].kind == event_kind::delivery_failed);
    CHECK(told.all()[2].error == kgroup::errc::producer_stopped);
    CHECK(told.all()[2].text.starts_with("4 records were not acknowledged"));
}

} // namespace

} // namespace producer_events_tests
