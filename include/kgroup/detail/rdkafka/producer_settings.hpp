// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/config/config_check.hpp>
#include <kgroup/detail/rdkafka/handle.hpp>
#include <kgroup/detail/rdkafka/properties.hpp>
#include <kgroup/producer_config.hpp>

#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <chrono>
#include <climits>
#include <cstddef>
#include <initializer_list>
#include <map>
#include <string>
#include <utility>

namespace kgroup::detail {

/// What can be said of a producer's configuration without librdkafka.
inline void check(producer_config const& given) {
    using namespace std::chrono_literals;
    constexpr auto security = "security.protocol";
    auto const& given_with =
        given.properties.contains(security) ? given.properties : given.connection.properties;
    check_brokers(given.connection.brokers, value_of(given_with, security));
    if (given.delivery_timeout < 0ms) {
        refuse_config("delivery_timeout: must not be negative (0: without limit)");
    }
    if (given.close_timeout <= 0ms) {
        refuse_config("close_timeout: must be positive");
    }
    check_time("delivery_timeout", given.delivery_timeout);
    check_time("close_timeout", given.close_timeout);
    for (auto const& [name, value] : given.properties) {
        auto const shared = given.connection.properties.find(name);
        if (shared != given.connection.properties.end() && shared->second != value) {
            refuse_config("properties: " + detail::quoted(name) +
                          " contradicts the properties of connection");
        }
    }
}

/// A producer's configuration in librdkafka's terms, checked as far as that goes without
/// connecting.
class producer_settings {
public:
    static producer_settings make(producer_config const& given) {
        check(given);
        auto all = given.connection.properties;
        all.insert(given.properties.begin(), given.properties.end());
        check_properties(all);
        producer_settings made;
        made.fill(given, all);
        return made;
    }

    rdkafka_conf conf;
    int log_level = 0; // what the user wants to see of librdkafka's log

private:
    static constexpr bool quietly = rdkafka_properties::quietly;

    void fill(producer_config const& given, std::map<std::string, std::string> const& users) {
        rdkafka_properties properties{users};
        properties.set("client.software.name", "kgroup", quietly);
        properties.set("reconnect.backoff.max.ms", "1000", quietly); // as a group has it
        properties.set("partitioner", "murmur2_random", !quietly);   // Java's
        properties.set_users();
        properties.set_brokers(given.connection.brokers);
        constexpr auto how = "how kgroup produces: idempotent, and acknowledged by all replicas "
                             "that are in sync";
        must(properties, {"enable.idempotence"}, "true", how);
        must(properties, {"acks", "request.required.acks"}, "-1", how);
        must(properties, {"delivery.report.only.error"}, "false",
             "how kgroup produces: each record is reported");
        properties.refuse_given("transactional.id", "how kgroup produces: without transactions");
        must(properties, {"message.timeout.ms", "delivery.timeout.ms"},
             std::to_string(given.delivery_timeout.count()), "delivery_timeout");
        set_buffer(properties, given.buffer_bytes);
        properties.set_token_provider(given.connection.oauth_token_provider != nullptr);
        properties.must("log.queue", "true", "how kgroup learns what happens");
        constexpr int debug = 7;
        log_level = properties.get("debug").empty() ? std::stoi(properties.get("log_level"))
                                                    : debug; // librdkafka's own rule
        rd_kafka_conf_set_events(properties.conf(),
                                 RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_LOG);
        conf = properties.take();
    }

    // librdkafka counts the bytes of values, and not keys, headers, nor what it keeps beside each
    // record, some 400: so the queue is limited by number, too.
    static void set_buffer(rdkafka_properties& properties, std::size_t buffer_bytes) {
        auto const largest =
            static_cast<std::size_t>(std::stol(properties.get("message.max.bytes")));
        if (buffer_bytes / 2 < largest) {
            refuse_config("buffer_bytes: must be twice 'message.max.bytes' (" +
                          std::to_string(largest) + ") at least");
        }
        must(properties, {"queue.buffering.max.kbytes"},
             std::to_string((std::min<std::size_t>)(buffer_bytes / 4 * 3 / 1024, INT_MAX / 1024)),
             "buffer_bytes");
        must(properties, {"queue.buffering.max.messages"},
             std::to_string(std::clamp<std::size_t>(buffer_bytes / 512, 16, 10'000'000)),
             "buffer_bytes");
    }

    // Of a property that has several names.
    static void must(rdkafka_properties& properties, std::initializer_list<char const*> names,
                     std::string const& value, std::string const& field) {
        auto const before = properties.get(*names.begin());
        properties.set(*names.begin(), value, !quietly);
        if (properties.get(*names.begin()) != before) {
            for (auto const* name : names) {
                properties.refuse_given(name, field);
            }
        }
    }
};

} // namespace kgroup::detail
