// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/fetch/batch_header.hpp>
#include <kgroup/detail/fetch/fetch_errors.hpp>
#include <kgroup/detail/fetch/partition_fetch.hpp>

#include <string>

namespace kgroup::detail::fetch {

/// What users are told of it.
inline std::string to_text(fetch_event const& event) {
    using kind = fetch_event::kind;
    auto const from = std::to_string(event.from);
    auto const to = std::to_string(event.to);
    switch (event.type) {
    case kind::record_unreadable:
        return "offset " + from +
               " cannot be read, and nothing behind it is: " + std::string{to_string(event.wrong)} +
               (event.wrong == damage::too_large ? " (receive.message.max.bytes)" : "");
    case kind::out_of_range:
        return "offset " + from + " is not in the log";
    case kind::truncated:
    case kind::truncated_no_reset:
        return "records from offset " + to +
               " on were replaced by others; reading had got to offset " + from;
    case kind::topic_recreated:
    case kind::recreated_no_reset:
        return "the topic was made again; reading had got to offset " + from + " of the one before";
    case kind::old_format:
        return "from offset " + from + " on records are in a format before Kafka 0.11";
    case kind::useless_answer:
        return "an answer brought nothing from offset " + from + " on; it is asked again";
    case kind::unsupported:
        return "the broker answers " + std::string{rule_of(event.code).name};
    default:
        return {};
    }
}

} // namespace kgroup::detail::fetch
