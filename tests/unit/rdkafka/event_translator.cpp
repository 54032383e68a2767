// SPDX-License-Identifier: MIT

#include <kgroup/detail/rdkafka/event_translator.hpp>

#include <doctest/doctest.h>

#include <optional>
#include <string>
#include <variant>

namespace event_translator_tests {

namespace {

using kgroup::event_kind;
using kgroup::severity;
using kgroup::topic_partition;
using kgroup::detail::client_fatal;
using kgroup::detail::client_notice;
using kgroup::detail::consumer_error;
using kgroup::detail::log_line;
using kgroup::detail::missing_topic;

client_notice notice_of(rd_kafka_resp_err_t err, std::string const& text = {}) {
    auto const told = consumer_error(err, text);
    REQUIRE(told);
    return std::get<client_notice>(*told);
}

TEST_CASE("event_translator: the topic is what stands between librdkafka's words") {
    CHECK(missing_topic("Subscribed topic not available: orders: Broker: Unknown topic") ==
          topic_partition{"orders", -1});
    CHECK_FALSE(missing_topic("Subscribed topic not available: orders"));
    CHECK_FALSE(missing_topic("Subscribed topic not available: no topic!: why"));
    CHECK_FALSE(missing_topic("ConsumerGroupHeartbeat failed: Broker: Unknown topic"));
}

TEST_CASE("event_translator: an error has the kind and the weight of what it means") {
    CHECK(notice_of(RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN).event.kind ==
          event_kind::brokers_unreachable);
    CHECK(notice_of(RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN).event.level == severity::error);
    CHECK(notice_of(RD_KAFKA_RESP_ERR__AUTHENTICATION).event.kind ==
          event_kind::authentication_failed);
    CHECK(notice_of(RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED).event.kind ==
          event_kind::poll_interval_exceeded);
    auto const other = notice_of(RD_KAFKA_RESP_ERR__TRANSPORT, "b1: Connect failed");
    CHECK(other.event.kind == event_kind::client_error);
    CHECK(other.event.level == severity::warning);
    CHECK(other.event.text == "b1: Connect failed");
    CHECK_FALSE(consumer_error(RD_KAFKA_RESP_ERR__PARTITION_EOF, ""));
}

TEST_CASE("event_translator: a topic that is missing or closed to this member is named") {
    std::string const text{"Subscribed topic not available: orders: why"};
    auto const missing = notice_of(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, text);
    CHECK(missing.event.kind == event_kind::topic_missing);
    CHECK(missing.event.where == topic_partition{"orders", -1});
    auto const closed = notice_of(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, text);
    CHECK(closed.event.kind == event_kind::partition_error);
    CHECK(closed.event.where == topic_partition{"orders", -1});
}

TEST_CASE("event_translator: what no repetition mends is fatal") {
    auto const told = consumer_error(RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, "refused");
    REQUIRE(told);
    CHECK(std::get<client_fatal>(*told).text == "refused");
}

TEST_CASE("event_translator: syslog's levels are four of kgroup's") {
    CHECK(log_line("FAIL", "b1: Connect failed", 3).event.text == "FAIL: b1: Connect failed");
    CHECK(log_line("F", "", 0).event.level == severity::error);
    CHECK(log_line("F", "", 3).event.level == severity::error);
    CHECK(log_line("F", "", 4).event.level == severity::warning);
    CHECK(log_line("F", "", 5).event.level == severity::info);
    CHECK(log_line("F", "", 6).event.level == severity::info);
    CHECK(log_line("F", "", 7).event.level == severity::debug);
}

} // namespace

} // namespace event_translator_tests
