// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/message.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace kgroup {

/// Whose names the headers of a dead letter have.
enum class dead_letter_headers {
    kafka,   ///< Kafka's own, which brokers from 4.4 write (`__dlq.errors.*`); numbers in decimals
    spring,  ///< Spring's (`kafka_dlt-*`); numbers as big-endian integers
    connect, ///< Kafka Connect's (`__connect.errors.*`); numbers in decimals
};

namespace detail {

/// Where a dead letter's record comes from, and why it was given up.
struct dead_letter_reason {
    std::string_view topic;
    std::int32_t partition = 0;
    std::int64_t offset = 0;
    std::optional<std::int64_t> timestamp{}; // milliseconds since 1970
    std::string_view group{};                // empty: not known
    std::uint32_t attempts = 1;
    std::string_view exception{}; // its type
    std::string_view message{};
    std::string_view first_failure{}; // empty: it was the only one
};

/// The headers that say why a record is a dead letter.
class dead_letter_header_set {
public:
    static constexpr std::size_t longest_text = 1024;

    /// `whole`: also the texts, which may be long.
    dead_letter_header_set(dead_letter_headers set, dead_letter_reason const& reason, bool whole) {
        switch (set) {
        case dead_letter_headers::kafka:
            add("__dlq.errors.topic", reason.topic);
            add("__dlq.errors.partition", std::to_string(reason.partition));
            add("__dlq.errors.offset", std::to_string(reason.offset));
            add_known("__dlq.errors.group", reason.group);
            add("__dlq.errors.delivery.count", std::to_string(reason.attempts));
            add_text("__dlq.errors.message", reason.message, whole);
            add("kgroup.exception", reason.exception);
            add_timestamp(reason);
            break;
        case dead_letter_headers::spring:
            add("kafka_dlt-original-topic", reason.topic);
            add("kafka_dlt-original-partition", big_endian(reason.partition));
            add("kafka_dlt-original-offset", big_endian(reason.offset));
            if (reason.timestamp) {
                add("kafka_dlt-original-timestamp", big_endian(*reason.timestamp));
            }
            add_known("kafka_dlt-original-consumer-group", reason.group);
            add("kafka_dlt-exception-fqcn", reason.exception);
            add_text("kafka_dlt-exception-message", reason.message, whole);
            break;
        case dead_letter_headers::connect:
            add("__connect.errors.topic", reason.topic);
            add("__connect.errors.partition", std::to_string(reason.partition));
            add("__connect.errors.offset", std::to_string(reason.offset));
            add_known("__connect.errors.connector.name", reason.group);
            add("__connect.errors.exception.class.name", reason.exception);
            add_text("__connect.errors.exception.message", reason.message, whole);
            add_timestamp(reason);
            break;
        }
        add("kgroup.attempts", std::to_string(reason.attempts));
        if (!reason.first_failure.empty()) {
            add_text("kgroup.first.failure", reason.first_failure, whole);
        }
    }
    dead_letter_header_set(dead_letter_header_set const&) = delete;
    dead_letter_header_set& operator=(dead_letter_header_set const&) = delete;

    /// Valid as long as this.
    std::vector<header> const& headers() const noexcept { return headers_; }

    /// At most `longest_text` bytes of a text, whole characters of UTF-8.
    static std::string_view shortened(std::string_view text) noexcept {
        if (text.size() <= longest_text) {
            return text;
        }
        auto end = longest_text;
        while (end != 0 && (static_cast<unsigned char>(text[end]) & 0xc0u) == 0x80u) {
            --end;
        }
        return text.substr(0, end);
    }

private:
    template <std::signed_integral T>
    static std::string big_endian(T number) {
        std::string bytes;
        auto const bits = static_cast<std::make_unsigned_t<T>>(number);
        for (auto shift = sizeof number * 8; shift != 0; shift -= 8) {
            bytes += static_cast<char>(bits >> (shift - 8) & 0xff);
        }
        return bytes;
    }

    void add(std::string_view name, std::string_view value) {
        headers_.push_back({name, std::string_view{values_.emplace_back(value)}});
    }
    void add_known(std::string_view name, std::string_view value) {
        if (!value.empty()) {
            add(name, value);
        }
    }
    void add_text(std::string_view name, std::string_view text, bool whole) {
        if (whole) {
            add(name, shortened(text));
        }
    }
    void add_timestamp(dead_letter_reason const& reason) {
        if (reason.timestamp) {
            add("kgroup.timestamp", std::to_string(*reason.timestamp));
        }
    }

    std::deque<std::string> values_; // which stay where they are
    std::vector<header> headers_;
};

} // namespace detail

} // namespace kgroup
