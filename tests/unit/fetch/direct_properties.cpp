// SPDX-License-Identifier: MIT

#include <kgroup/config.hpp>
#include <kgroup/detail/fetch/direct_properties.hpp>
#include <kgroup/detail/rdkafka/settings.hpp>

#include <doctest/doctest.h>
#include <librdkafka/rdkafka.h>

#include <chrono>
#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <utility>

namespace direct_properties_tests {
namespace {

using namespace kgroup::detail;
using namespace kgroup::detail::fetch;
using properties = std::map<std::string, std::string>;

kgroup::config with(properties given) {
    kgroup::config made;
    made.brokers = "127.0.0.1:1";
    made.group_id = "g";
    made.topics = {"t"};
    made.initial_offset = kgroup::offset_reset::earliest;
    made.properties = std::move(given);
    return made;
}
std::string reason(properties given) {
    auto const made = rdkafka_settings_maker::make(with(given));
    return reason_to_hand_over(made.conf.get(), given);
}
fetcher_settings settings(properties given) {
    auto const made = rdkafka_settings_maker::make(with(std::move(given)));
    return fetcher_settings_of(made.conf.get(), 64 << 20);
}

TEST_CASE("direct_properties: each property of this librdkafka has its place in the table") {
    rdkafka_conf const conf{rd_kafka_conf_new()};
    std::size_t size = 0;
    auto** const dumped = rd_kafka_conf_dump(conf.get(), &size);
    REQUIRE(size > 150);
    for (std::size_t i = 0; i < size; i += 2) {
        CAPTURE(dumped[i]);
        CHECK(property_rule_of(dumped[i]));
    }
    rd_kafka_conf_dump_free(dumped, size);
    auto* const topic_conf = rd_kafka_topic_conf_new();
    auto** const of_topics = rd_kafka_topic_conf_dump(topic_conf, &size);
    REQUIRE(size > 10);
    for (std::size_t i = 0; i < size; i += 2) {
        CAPTURE(of_topics[i]);
        CHECK(property_rule_of(of_topics[i]));
    }
    rd_kafka_conf_dump_free(of_topics, size);
    rd_kafka_topic_conf_destroy(topic_conf);
}

TEST_CASE("direct_properties: no property hands a plain group over") {
    CHECK(reason({}).empty());
    CHECK(reason({{"client.id", "c"}, {"fetch.wait.max.ms", "10"}, {"debug", "cgrp"}}).empty());
    CHECK(reason({{"security.protocol", "plaintext"}}).empty());
}

TEST_CASE("direct_properties: the one that hands a group over is named") {
    CHECK(reason({{"security.protocol", "ssl"}}) == "security.protocol");
    CHECK(reason({{"security.protocol", "sasl_plaintext"},
                  {"sasl.mechanism", "PLAIN"},
                  {"sasl.username", "u"},
                  {"sasl.password", "p"}}) == "security.protocol");
    CHECK(reason({{"test.mock.num.brokers", "1"}}) == "test.mock.num.brokers");
    CHECK(reason({{"api.version.request", "false"}}) == "api.version.request");
    CHECK(reason({{"api.version.request", "true"}}).empty());
    CHECK(reason({{"api.version.request.timeout.ms", "1000"}}).empty());
    if (rd_kafka_version() >= 0x02020000) {
        CHECK(reason({{"client.dns.lookup", "use_all_dns_ips"}}).empty());
        CHECK(reason({{"client.dns.lookup", "resolve_canonical_bootstrap_servers_only"}}) ==
              "client.dns.lookup");
    }
}

TEST_CASE("direct_properties: one that is not known here hands over, too") {
    rdkafka_conf const conf{rd_kafka_conf_new()};
    CHECK(reason_to_hand_over(conf.get(), {{"fetch.by.pigeon", "true"}}) == "fetch.by.pigeon");
}

TEST_CASE("direct_properties: what is honoured") {
    using namespace std::chrono_literals;
    auto const plain = settings({});
    CHECK(plain.bootstrap_servers == "127.0.0.1:1");
    CHECK(plain.client_id == "rdkafka");
    CHECK(plain.level == isolation::read_committed);
    CHECK(plain.reset == reset_policy::earliest);
    CHECK(plain.address_family == fetcher_settings::family::any);
    CHECK(plain.buffer_bytes == 64 << 20);
    CHECK(plain.socket_timeout == 60s);
    CHECK(plain.connections_max_idle == 0ms);
    CHECK_FALSE(plain.keepalive);
    CHECK(plain.send_buffer_bytes == 0);
    CHECK(plain.receive_buffer_bytes == 0);
    auto const chosen = settings({{"client.id", "c"},
                                  {"client.rack", "r"},
                                  {"isolation.level", "read_uncommitted"},
                                  {"fetch.wait.max.ms", "123"},
                                  {"fetch.min.bytes", "7"},
                                  {"fetch.max.bytes", "2000000"},
                                  {"fetch.error.backoff.ms", "40"},
                                  {"receive.message.max.bytes", "3000000"},
                                  {"socket.timeout.ms", "5000"},
                                  {"socket.connection.setup.timeout.ms", "2000"},
                                  {"topic.metadata.refresh.interval.ms", "60000"},
                                  {"connections.max.idle.ms", "240000"},
                                  {"reconnect.backoff.ms", "20"},
                                  {"reconnect.backoff.max.ms", "300"},
                                  {"socket.keepalive.enable", "true"},
                                  {"socket.send.buffer.bytes", "70000"},
                                  {"socket.receive.buffer.bytes", "90000"},
                                  {"broker.address.family", "v4"}});
    CHECK(chosen.client_id == "c");
    CHECK(chosen.rack == "r");
    CHECK(chosen.level == isolation::read_uncommitted);
    CHECK(chosen.fetch_wait_max == 123ms);
    CHECK(chosen.fetch_min_bytes == 7);
    CHECK(chosen.fetch_max_bytes == 2000000);
    CHECK(chosen.error_backoff == 40ms);
    CHECK(chosen.receive_message_max_bytes == 3000000);
    CHECK(chosen.socket_timeout == 5s);
    CHECK(chosen.connection_setup_timeout == 2s);
    CHECK(chosen.metadata_refresh_interval == 1min);
    CHECK(chosen.connections_max_idle == 4min);
    CHECK(chosen.reconnect_backoff == 20ms);
    CHECK(chosen.reconnect_backoff_max == 300ms);
    CHECK(chosen.keepalive);
    CHECK(chosen.send_buffer_bytes == 70000);
    CHECK(chosen.receive_buffer_bytes == 90000);
    CHECK(chosen.address_family == fetcher_settings::family::v4);
    CHECK(settings({{"topic.metadata.refresh.interval.ms", "-1"}}).metadata_refresh_interval > 24h);
}

TEST_CASE("direct properties: pauses of a partition go by what was chosen, and are never none") {
    using namespace std::chrono_literals;
    auto const plain = settings_of_partition(settings({}));
    CHECK(plain.shortest_backoff == 100ms);
    CHECK(plain.longest_backoff == 1s);
    auto const shorter = settings_of_partition(settings({{"fetch.error.backoff.ms", "40"}}));
    CHECK(shorter.shortest_backoff == 80ms);
    CHECK(shorter.longest_backoff == 80ms);
    auto const none = settings_of_partition(settings({{"fetch.error.backoff.ms", "0"}}));
    CHECK(none.shortest_backoff == 10ms);
    CHECK(none.longest_backoff == 10ms);
}

} // namespace
} // namespace direct_properties_tests
