// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/group/event_line.hpp>
#include <kgroup/event.hpp>

#include <cstdio>
#include <string>
#include <string_view>

namespace kgroup {

/// An event in one line, without an end of line: kind, topic and partition, text, the error's
/// message, how many were suppressed.
inline std::string line_of(event const& what) {
    std::string line{to_string(what.kind)};
    if (what.where) {
        line += " " + detail::name(*what.where);
    }
    if (auto const text = detail::words_beside(what.error, what.text); !text.empty()) {
        line += ": " + text;
    }
    if (what.error) {
        line += ": " + what.error.message();
    }
    if (what.suppressed != 0) {
        line += " (" + std::to_string(what.suppressed) + " more)";
    }
    return detail::one_line(std::move(line));
}

/// What is done with events when `config::on_event` is unset: warnings, errors and librdkafka's log
/// go to standard error, a line each, and the rest nowhere. An `on_event` that adds to that calls
/// it:
///
///     .on_event = [&](kgroup::event const& event) { kgroup::print(event, "billing"); failures +=
///     event.level == kgroup::severity::error; }
///
/// @param group_id begins the line, if it is not empty.
/// *Thread safety.* Safe: a line is written by one call.
inline void print(event const& what, std::string_view group_id = {}) {
    if (what.level < severity::warning && what.kind != event_kind::client_log) {
        return;
    }
    auto const line =
        "kgroup" +
        (group_id.empty() ? std::string{} : " " + detail::one_line(std::string{group_id})) + ": " +
        line_of(what) + "\n";
    std::fputs(line.c_str(), stderr);
}

} // namespace kgroup
