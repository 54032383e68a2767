// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/events/event_line.hpp>
#include <kgroup/event.hpp>

#include <cstdio>
#include <string>
#include <string_view>

namespace kgroup {

/// An event in one line, without an end of line: kind, topic and partition, text, the error's
/// message, how many were suppressed.
inline std::string line_of(event const& event) {
    std::string line{to_string(event.kind)};
    if (event.where) {
        line += " " + detail::to_string(*event.where);
    }
    if (auto const text = detail::words_beside(event.error, event.text); !text.empty()) {
        line += ": " + text;
    }
    if (event.error) {
        line += ": " + event.error.message();
    }
    if (event.suppressed != 0) {
        line += " (" + std::to_string(event.suppressed) + " more)";
    }
    return detail::one_line(std::move(line));
}

/// What is done with events when `config::on_event` is unset: warnings, errors and librdkafka's log
/// go to standard error, a line each, and the rest nowhere. An `on_event` that adds to that calls
/// it:
///
///     .on_event = [&](kgroup::event const& event) {
///         kgroup::print(event, "billing");
///         failures += event.level == kgroup::severity::error;
///     }
///
/// @param group_id begins the line, if it is not empty.
/// *Thread safety.* Safe: a line is written by one call.
inline void print(event const& event, std::string_view group_id = {}) {
    if (event.level < severity::warning && event.kind != event_kind::client_log) {
        return;
    }
    auto const line =
        "kgroup" +
        (group_id.empty() ? std::string{} : " " + detail::one_line(std::string{group_id})) + ": " +
        line_of(event) + "\n";
    std::fputs(line.c_str(), stderr);
}

} // namespace kgroup
