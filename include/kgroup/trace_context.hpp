// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/message.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace kgroup {

/// The trace that a record belongs to, as its producer has written it into the headers
/// `traceparent` and `tracestate`: W3C Trace Context, level 2. Needs no tracing library; one is
/// given `traceparent()` and `tracestate`.
struct trace_context {
    std::string trace_id{};   ///< 32 hexadecimal digits in lower case, not all 0
    std::string parent_id{};  ///< 16 of them, of the span that has produced the record
    std::uint8_t flags = 0;   ///< as given
    std::string tracestate{}; ///< as given; empty: there is none, or it breaks the rules

    /// The producer's span may have been recorded.
    bool sampled() const noexcept { return (flags & 0x01) != 0; }
    /// The trace's id is random in its last 56 bits.
    bool random() const noexcept { return (flags & 0x02) != 0; }

    /// What to write into the header `traceparent` of a record that comes of this one.
    ///
    /// @param span_id 16 hexadecimal digits, of the span that produces it; empty: `parent_id`, as
    /// of who only passes it on.
    std::string traceparent(std::string_view span_id = {}) const {
        constexpr std::string_view digits{"0123456789abcdef"};
        auto const known = static_cast<std::uint8_t>(flags & 0x03); // others are not ours to set
        std::string text{"00-"};
        text.append(trace_id).append("-");
        text.append(span_id.empty() ? std::string_view{parent_id} : span_id).append("-0");
        return text += digits[known];
    }

    friend bool operator==(trace_context const&, trace_context const&) = default;
};

namespace detail {

constexpr bool is_lower_hex(std::string_view text) noexcept {
    return std::ranges::all_of(text, [](char letter) {
        return (letter >= '0' && letter <= '9') || (letter >= 'a' && letter <= 'f');
    });
}
constexpr bool is_id(std::string_view text) noexcept {
    return is_lower_hex(text) && text.find_first_not_of('0') != text.npos;
}
constexpr std::uint8_t hex_value(char digit) noexcept {
    return static_cast<std::uint8_t>(digit <= '9' ? digit - '0' : digit - 'a' + 10);
}

/// Without blanks and tabs around it.
constexpr std::string_view without_blanks(std::string_view text) noexcept {
    auto const begin = text.find_first_not_of(" \t");
    return begin == text.npos ? std::string_view{}
                              : text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

/// A vendor's key of `tracestate`: lower-case letters, digits, `_ - * /`, 256 at most, and an `@`
/// between a tenant of 241 and a system of 14; the first is a letter or a digit.
constexpr bool is_tracestate_key(std::string_view key) noexcept {
    auto const is_letter = [](char letter) { return letter >= 'a' && letter <= 'z'; };
    auto const is_digit = [](char letter) { return letter >= '0' && letter <= '9'; };
    auto const fits = [&](std::string_view part, std::size_t longest) {
        return !part.empty() && part.size() <= longest &&
               (is_letter(part[0]) || is_digit(part[0])) &&
               std::ranges::all_of(part, [&](char letter) {
                   return is_letter(letter) || is_digit(letter) || letter == '_' || letter == '-' ||
                          letter == '*' || letter == '/';
               });
    };
    auto const at = key.find('@');
    if (at == key.npos) {
        return fits(key, 256);
    }
    return fits(key.substr(0, at), 241) && fits(key.substr(at + 1), 14);
}

/// Printable characters but `,` and `=`, 256 at most, the last of them no blank.
constexpr bool is_tracestate_value(std::string_view value) noexcept {
    return !value.empty() && value.size() <= 256 && value.back() != ' ' &&
           std::ranges::all_of(value, [](char letter) {
               return letter >= 0x20 && letter <= 0x7e && letter != ',' && letter != '=';
           });
}

constexpr bool is_tracestate(std::string_view text) noexcept {
    constexpr std::size_t most_members = 32;
    std::size_t members = 0;
    for (std::size_t begin = 0; begin <= text.size();) {
        auto const end = (std::min)(text.find(',', begin), text.size());
        auto const member = without_blanks(text.substr(begin, end - begin));
        if (!member.empty()) { // empty ones are allowed
            auto const equals = member.find('=');
            if (equals == member.npos || ++members > most_members ||
                !is_tracestate_key(member.substr(0, equals)) ||
                !is_tracestate_value(member.substr(equals + 1))) {
                return false;
            }
            for (std::size_t other = 0; other != begin;) { // each key once
                auto const stop = text.find(',', other);
                auto const before = without_blanks(text.substr(other, stop - other));
                if (before.substr(0, before.find('=')) == member.substr(0, equals)) {
                    return false;
                }
                other = stop + 1;
            }
        }
        begin = end + 1;
    }
    return members != 0;
}

} // namespace detail

/// Reads the context out of the two headers' values.
///
/// @param tracestate empty: there is none. One that breaks the rules is left out, as they demand;
/// the rest counts.
/// @return nullopt: `traceparent` breaks the rules (a wrong length, letters in upper case, an id of
/// zeros, version ff), and a new trace is to be begun. A higher version than 00 is read as far as
/// this one goes.
/// @throws std::bad_alloc.
inline std::optional<trace_context> parse_trace_context(std::string_view traceparent,
                                                        std::string_view tracestate = {}) {
    constexpr std::size_t length = 55; // 00-<32>-<16>-<2>
    if (traceparent.size() < length || traceparent[2] != '-' || traceparent[35] != '-' ||
        traceparent[52] != '-') {
        return std::nullopt;
    }
    auto const version = traceparent.substr(0, 2);
    auto const trace_id = traceparent.substr(3, 32);
    auto const parent_id = traceparent.substr(36, 16);
    auto const flags = traceparent.substr(53, 2);
    if (!detail::is_lower_hex(version) || version == "ff" || !detail::is_id(trace_id) ||
        !detail::is_id(parent_id) || !detail::is_lower_hex(flags)) {
        return std::nullopt;
    }
    if (traceparent.size() != length && (version == "00" || traceparent[length] != '-')) {
        return std::nullopt;
    }
    auto const bits = detail::hex_value(flags[0]) * 16 + detail::hex_value(flags[1]);
    trace_context context{
        std::string{trace_id}, std::string{parent_id}, static_cast<std::uint8_t>(bits), {}};
    if (detail::is_tracestate(tracestate)) {
        context.tracestate = tracestate;
    }
    return context;
}

/// Reads the context out of a record's headers. Names are compared as they are, in lower case, as
/// OpenTelemetry writes them. Several `traceparent` are as bad as none; several `tracestate` are
/// one, in their order.
///
/// @return nullopt: there is none that counts.
/// @throws std::bad_alloc.
inline std::optional<trace_context> parse_trace_context(std::span<header const> headers) {
    std::optional<std::string_view> traceparent;
    auto several = false;
    std::string tracestate;
    for (auto const& header : headers) {
        if (header.name == "traceparent" && header.value) {
            several = several || traceparent;
            traceparent = header.value;
        } else if (header.name == "tracestate" && header.value) {
            tracestate += tracestate.empty() ? "" : ",";
            tracestate += *header.value;
        }
    }
    return traceparent && !several ? parse_trace_context(*traceparent, tracestate) : std::nullopt;
}
/// The same of a record.
///
/// @throws std::system_error as `message::headers`.
inline std::optional<trace_context> parse_trace_context(message const& record) {
    return parse_trace_context(record.headers());
}

} // namespace kgroup
