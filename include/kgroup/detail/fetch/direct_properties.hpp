// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/fetch/fetcher_settings.hpp>
#include <kgroup/detail/rdkafka/handle.hpp>

#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <string_view>

namespace kgroup::detail::fetch {

/// What a property of librdkafka's is to a group that fetches by itself.
enum class property_way {
    honoured,
    irrelevant, // to fetching: librdkafka heeds it in all else that it does
    hands_over, // any other value than the one in the table: the whole group, at its start
};

struct property_rule {
    std::string_view name; // one that ends with a point stands for all that begin with it
    property_way way;
    std::string_view harmless{}; // hands_over: the value with which it does not
};

/// All properties of librdkafka's, up to 2.16. The first that fits counts.
inline constexpr property_rule property_rules[] = {
    {"bootstrap.servers", property_way::honoured},
    {"metadata.broker.list", property_way::honoured},
    {"client.id", property_way::honoured},
    {"client.rack", property_way::honoured},
    {"broker.address.family", property_way::honoured},
    {"fetch.wait.max.ms", property_way::honoured},
    {"fetch.min.bytes", property_way::honoured},
    {"fetch.max.bytes", property_way::honoured},
    {"fetch.error.backoff.ms", property_way::honoured},
    {"isolation.level", property_way::honoured},
    {"auto.offset.reset", property_way::honoured},
    {"receive.message.max.bytes", property_way::honoured},
    {"socket.timeout.ms", property_way::honoured},
    {"socket.connection.setup.timeout.ms", property_way::honoured},
    {"topic.metadata.refresh.interval.ms", property_way::honoured},
    {"connections.max.idle.ms", property_way::honoured},
    {"reconnect.backoff.ms", property_way::honoured},
    {"reconnect.backoff.max.ms", property_way::honoured},
    {"socket.keepalive.enable", property_way::honoured},
    {"socket.send.buffer.bytes", property_way::honoured},
    {"socket.receive.buffer.bytes", property_way::honoured},
    {"check.crcs", property_way::honoured}, // always checked, and wrong ones are reported

    {"security.protocol", property_way::hands_over, "plaintext"},
    {"client.dns.lookup", property_way::hands_over, "use_all_dns_ips"}, // the other is Kerberos's
    {"ssl.", property_way::irrelevant},                                 // without that protocol
    {"ssl_", property_way::irrelevant},
    {"enable.ssl.certificate.verification", property_way::irrelevant},
    {"sasl.", property_way::irrelevant},
    {"enable.sasl.oauthbearer.unsecure.jwt", property_way::irrelevant},
    {"enable_sasl_queue", property_way::irrelevant},
    {"oauthbearer_token_refresh_cb", property_way::irrelevant},
    {"https.ca.", property_way::irrelevant},
    {"api.version.request", property_way::hands_over, "true"}, // all is asked by its answer
    {"plugin.library.paths", property_way::hands_over, ""},    // interceptors see each record
    {"interceptors", property_way::hands_over, ""},
    {"test.mock.num.brokers", property_way::hands_over, "0"}, // whose addresses nobody knows
    {"test.mock.broker.rtt", property_way::irrelevant},
    {"socket_cb", property_way::irrelevant}, // none of these can be given by a text
    {"connect_cb", property_way::irrelevant},
    {"closesocket_cb", property_way::irrelevant},
    {"open_cb", property_way::irrelevant},
    {"resolve_cb", property_way::irrelevant},
    {"log_cb", property_way::irrelevant},
    {"error_cb", property_way::irrelevant},
    {"throttle_cb", property_way::irrelevant},
    {"stats_cb", property_way::irrelevant},
    {"background_event_cb", property_way::irrelevant},
    {"consume_cb", property_way::irrelevant},
    {"rebalance_cb", property_way::irrelevant},
    {"offset_commit_cb", property_way::irrelevant},
    {"dr_cb", property_way::irrelevant},
    {"dr_msg_cb", property_way::irrelevant},
    {"opaque", property_way::irrelevant},
    {"default_topic_conf", property_way::irrelevant},
    {"enabled_events", property_way::irrelevant},

    {"builtin.features", property_way::irrelevant},
    {"client.software.", property_way::irrelevant},
    {"message.max.bytes", property_way::irrelevant},
    {"message.copy.max.bytes", property_way::irrelevant},
    {"max.in.flight", property_way::irrelevant},
    {"max.in.flight.requests.per.connection", property_way::irrelevant},
    {"metadata.recovery.", property_way::irrelevant},
    {"metadata.request.timeout.ms", property_way::irrelevant},
    {"metadata.max.age.ms", property_way::irrelevant},
    {"topic.metadata.", property_way::irrelevant},
    {"topic.blacklist", property_way::irrelevant},
    {"debug", property_way::irrelevant},
    {"socket.blocking.max.ms", property_way::irrelevant},
    {"socket.nagle.disable", property_way::irrelevant}, // what is sent does not wait for more
    {"socket.max.fails", property_way::irrelevant},
    {"broker.address.ttl", property_way::irrelevant},
    {"enable.sparse.connections", property_way::irrelevant},
    {"reconnect.backoff.jitter.ms", property_way::irrelevant},
    {"statistics.interval.ms", property_way::irrelevant},
    {"log_level", property_way::irrelevant},
    {"log.", property_way::irrelevant},
    {"enable.random.seed", property_way::irrelevant},
    {"internal.termination.signal", property_way::irrelevant},
    {"api.version.", property_way::irrelevant},
    {"broker.version.fallback", property_way::irrelevant},
    {"allow.auto.create.topics", property_way::irrelevant},
    {"enable.metrics.push", property_way::irrelevant},
    {"group.", property_way::irrelevant},
    {"partition.assignment.strategy", property_way::irrelevant},
    {"session.timeout.ms", property_way::irrelevant},
    {"heartbeat.interval.ms", property_way::irrelevant},
    {"coordinator.query.interval.ms", property_way::irrelevant},
    {"max.poll.interval.ms", property_way::irrelevant},
    {"max.poll.records", property_way::irrelevant},
    {"share.acknowledgement.mode", property_way::irrelevant},
    {"enable.auto.commit", property_way::irrelevant},
    {"auto.commit.enable", property_way::irrelevant},
    {"auto.commit.interval.ms", property_way::irrelevant},
    {"enable.auto.offset.store", property_way::irrelevant},
    {"offset.store.", property_way::irrelevant},
    {"enable.partition.eof", property_way::irrelevant},
    {"queued.min.messages", property_way::irrelevant}, // librdkafka's queues stay empty
    {"queued.max.messages.kbytes", property_way::irrelevant},
    {"fetch.queue.backoff.ms", property_way::irrelevant},
    {"fetch.message.max.bytes", property_way::irrelevant}, // by `buffer_bytes`
    {"max.partition.fetch.bytes", property_way::irrelevant},
    {"consume.callback.max.messages", property_way::irrelevant},
    {"retry.backoff.", property_way::irrelevant},

    // A producer's.
    {"transactional.id", property_way::irrelevant},
    {"transaction.timeout.ms", property_way::irrelevant},
    {"enable.idempotence", property_way::irrelevant},
    {"enable.gapless.guarantee", property_way::irrelevant},
    {"queue.buffering.", property_way::irrelevant},
    {"linger.ms", property_way::irrelevant},
    {"message.send.max.retries", property_way::irrelevant},
    {"retries", property_way::irrelevant},
    {"compression.", property_way::irrelevant},
    {"batch.", property_way::irrelevant},
    {"delivery.report.only.error", property_way::irrelevant},
    {"sticky.partitioning.linger.ms", property_way::irrelevant},
    {"request.required.acks", property_way::irrelevant},
    {"acks", property_way::irrelevant},
    {"request.timeout.ms", property_way::irrelevant},
    {"message.timeout.ms", property_way::irrelevant},
    {"delivery.timeout.ms", property_way::irrelevant},
    {"queuing.strategy", property_way::irrelevant},
    {"produce.offset.report", property_way::irrelevant},
    {"partitioner", property_way::irrelevant},
    {"partitioner_cb", property_way::irrelevant},
    {"msg_order_cmp", property_way::irrelevant},
};

/// Null: it is not known here.
constexpr property_rule const* property_rule_of(std::string_view property) noexcept {
    for (auto const& rule : property_rules) {
        auto const prefix = rule.name.ends_with('.') || rule.name == "ssl_";
        if (prefix ? property.starts_with(rule.name) : property == rule.name) {
            return &rule;
        }
    }
    return nullptr;
}

/// As librdkafka writes it; empty: it is unset, or there is no such property.
inline std::string property_of(rd_kafka_conf_t const* conf, char const* name) {
    std::size_t size = 0;
    if (rd_kafka_conf_get(conf, name, nullptr, &size) != RD_KAFKA_CONF_OK) {
        return {};
    }
    std::string value(size, '\0');
    rd_kafka_conf_get(conf, name, value.data(), &size);
    value.resize((std::min)(value.find('\0'), value.size()));
    return value;
}

/// The property because of which librdkafka is to read for this group; empty: there is none.
///
/// @param given by the user; one of these that is not in the table counts.
inline std::string reason_to_hand_over(rd_kafka_conf_t* conf,
                                       std::map<std::string, std::string> const& given) {
    for (auto const& rule : property_rules) {
        if (rule.way == property_way::hands_over) {
            std::string name{rule.name};
            auto const value = property_of(conf, name.c_str());
            if (value != rule.harmless && (!value.empty() || given.contains(name))) {
                return name;
            }
        }
    }
    for (auto const& [name, value] : given) {
        if (!property_rule_of(name)) {
            return name;
        }
    }
    return {};
}

/// @param conf as librdkafka would be made with.
inline fetcher_settings fetcher_settings_of(rd_kafka_conf_t const* conf, std::size_t buffer_bytes) {
    using std::chrono::milliseconds;
    auto const number = [conf](char const* name) {
        auto const text = property_of(conf, name);
        std::int64_t value = 0;
        std::from_chars(text.data(), text.data() + text.size(), value);
        return value;
    };
    auto const bytes = [&](char const* name) {
        return static_cast<std::int32_t>(
            (std::min<std::int64_t>)(number(name), (std::numeric_limits<std::int32_t>::max)()));
    };
    fetcher_settings made;
    made.bootstrap_servers = property_of(conf, "bootstrap.servers");
    made.client_id = property_of(conf, "client.id");
    made.rack = property_of(conf, "client.rack");
    made.level = property_of(conf, "isolation.level") == "read_uncommitted"
                     ? isolation::read_uncommitted
                     : isolation::read_committed;
    auto const reset = property_of(conf, "auto.offset.reset");
    made.reset = reset == "error"                             ? reset_policy::none
                 : reset == "earliest" || reset == "smallest" ? reset_policy::earliest
                                                              : reset_policy::latest;
    made.fetch_wait_max = milliseconds{number("fetch.wait.max.ms")};
    made.socket_timeout = milliseconds{number("socket.timeout.ms")};
    made.connection_setup_timeout = milliseconds{number("socket.connection.setup.timeout.ms")};
    // -1 there: never.
    if (auto const refresh = number("topic.metadata.refresh.interval.ms"); refresh > 0) {
        made.metadata_refresh_interval = milliseconds{refresh};
    } else {
        made.metadata_refresh_interval = std::chrono::hours{24 * 365};
    }
    made.error_backoff = milliseconds{number("fetch.error.backoff.ms")};
    made.connections_max_idle = milliseconds{number("connections.max.idle.ms")};
    made.reconnect_backoff = milliseconds{number("reconnect.backoff.ms")};
    made.reconnect_backoff_max = milliseconds{number("reconnect.backoff.max.ms")};
    made.fetch_min_bytes = bytes("fetch.min.bytes");
    made.fetch_max_bytes = bytes("fetch.max.bytes");
    made.receive_message_max_bytes = bytes("receive.message.max.bytes");
    made.partition_max_bytes =
        static_cast<std::int32_t>(std::clamp<std::size_t>(buffer_bytes / 16, 16 << 10, 1 << 20));
    made.buffer_bytes = buffer_bytes;
    made.keepalive = property_of(conf, "socket.keepalive.enable") == "true";
    made.send_buffer_bytes = bytes("socket.send.buffer.bytes");
    made.receive_buffer_bytes = bytes("socket.receive.buffer.bytes");
    auto const family = property_of(conf, "broker.address.family");
    made.address_family = family == "v4"   ? fetcher_settings::family::v4
                          : family == "v6" ? fetcher_settings::family::v6
                                           : fetcher_settings::family::any;
    return made;
}

} // namespace kgroup::detail::fetch
