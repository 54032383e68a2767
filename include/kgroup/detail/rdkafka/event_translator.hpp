// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/client/client.hpp>
#include <kgroup/detail/client/rebalance.hpp>
#include <kgroup/detail/config/config_check.hpp>
#include <kgroup/detail/events/event_line.hpp>
#include <kgroup/detail/rdkafka/error.hpp>
#include <kgroup/error.hpp>
#include <kgroup/event.hpp>
#include <kgroup/topic_partition.hpp>

#include <librdkafka/rdkafka.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace kgroup::detail {

// What librdkafka's events mean, as far as they need nothing else.

inline void* as_opaque(std::uint64_t id) noexcept {
    return reinterpret_cast<void*>(static_cast<std::uintptr_t>(id));
}
inline std::uint64_t as_id(void* opaque) noexcept {
    return static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(opaque));
}

inline partition_set partitions_of(rd_kafka_event_t* event) {
    partition_set partitions;
    if (auto const* const list = rd_kafka_event_topic_partition_list(event)) {
        for (int i = 0; i != list->cnt; ++i) {
            partitions.emplace(list->elems[i].topic, list->elems[i].partition);
        }
    }
    return partitions;
}

inline client_commit commit_answer(rd_kafka_event_t* event) {
    client_commit answer{
        as_id(rd_kafka_event_opaque(event)), make_error_code(rd_kafka_event_error(event)), {}};
    if (auto const* const list = rd_kafka_event_topic_partition_list(event)) {
        for (int i = 0; i != list->cnt; ++i) {
            answer.results.push_back({{list->elems[i].topic, list->elems[i].partition},
                                      make_error_code(list->elems[i].err)});
        }
    }
    return answer;
}

/// The topic that an error is about. librdkafka names it in words only: "Subscribed topic not
/// available: TOPIC: WHY". Others of its errors name none, as "ConsumerGroupHeartbeat failed: WHY".
inline std::optional<topic_partition> missing_topic(std::string_view text) {
    constexpr std::string_view begin{"Subscribed topic not available: "};
    auto const end = text.starts_with(begin) ? text.find(": ", begin.size()) : text.npos;
    if (end == text.npos) {
        return std::nullopt;
    }
    auto const topic = text.substr(begin.size(), end - begin.size());
    return is_legal_name(topic) ? std::optional{topic_partition{std::string{topic}, -1}}
                                : std::nullopt;
}

/// An error of the consumer's that is not fatal to it; nullopt: it is nothing to tell.
inline std::optional<client_event> consumer_error(rd_kafka_resp_err_t err,
                                                  std::string const& text) {
    auto const code = make_error_code(err);
    if (effect_of(code) ==
        error_effect::ends_application) { // what librdkafka would repeat for ever
        return client_fatal{code, text};
    }
    auto const notice = [&](event_kind kind, severity level) {
        return client_notice{{kind, level, std::nullopt, code,
                              with_remedy(words_beside(code, text), remedy_of(code))}};
    };
    switch (err) {
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
        return notice(event_kind::brokers_unreachable, severity::error);
    case RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED:
        return notice(event_kind::poll_interval_exceeded, severity::error);
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
        return client_notice{
            {event_kind::topic_missing, severity::warning, missing_topic(text), code, text}};
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
        return client_notice{
            {event_kind::partition_error, severity::error, missing_topic(text), code, text}};
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
        return notice(event_kind::authentication_failed, severity::error);
    case RD_KAFKA_RESP_ERR__SSL:
        return notice(event_kind::client_error, severity::error);
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
        return std::nullopt;
    default:
        return notice(event_kind::client_error, severity::warning);
    }
}

/// A line of librdkafka's log, of a level of syslog's.
inline client_notice log_line(std::string_view facility, std::string_view text, int level) {
    auto const importance = level <= 3   ? severity::error
                            : level == 4 ? severity::warning
                            : level <= 6 ? severity::info
                                         : severity::debug;
    return {{event_kind::client_log,
             importance,
             std::nullopt,
             {},
             std::string{facility}.append(": ").append(text)}};
}

} // namespace kgroup::detail
