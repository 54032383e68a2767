// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/event.hpp>

#include <algorithm>
#include <string>
#include <string_view>
#include <system_error>

namespace kgroup::detail {

/// A negative partition: of the topic as a whole.
inline std::string to_string(topic_partition const& where) {
    return where.partition < 0 ? where.topic
                               : where.topic + "[" + std::to_string(where.partition) + "]";
}

/// Names and texts come from peers: no control characters in anybody's log.
inline std::string one_line(std::string text) {
    std::ranges::replace_if(
        text, [](unsigned char character) { return character < 0x20 || character == 0x7f; }, ' ');
    return text;
}

/// Takes every occurrence of `part` out of a text, with the colon or the brackets that joined it to
/// the rest.
inline std::string without(std::string text, std::string_view part) {
    for (auto at = part.empty() ? text.npos : text.find(part); at != text.npos;
         at = text.find(part, at)) {
        auto const end = at + part.size();
        auto const before = std::string_view{text}.substr(0, at);
        auto const after = std::string_view{text}.substr(end);
        if (before.ends_with(" (") && after.starts_with(")")) {
            text.erase(at - 2, part.size() + 3);
            at -= 2;
        } else if (before.ends_with(": ")) {
            text.erase(at - 2, part.size() + 2);
            at -= 2;
        } else if (before.empty() && (after.starts_with(": ") || after.starts_with("; "))) {
            text.erase(at, part.size() + 2);
        } else {
            text.erase(at, part.size());
        }
    }
    return text;
}

/// A text without the message of the error that goes with it. `error.message()` says that part, and
/// librdkafka's texts often repeat it.
inline std::string words_beside(std::error_code const& error, std::string text) {
    if (!error) {
        return text;
    }
    auto const message = error.message();
    text = without(std::move(text), message);
    // "Broker: Unknown topic or partition (UNKNOWN_TOPIC_OR_PART)": librdkafka's own texts have the
    // sentence only.
    if (auto const code = message.rfind(" ("); code != message.npos && message.ends_with(")")) {
        text = without(std::move(text), std::string_view{message}.substr(0, code));
    }
    return text;
}

/// What was said, and what to do.
inline std::string with_remedy(std::string words, std::string_view remedy) {
    if (remedy.empty() || words.empty()) {
        return words.empty() ? std::string{remedy} : words;
    }
    return words.append(" (").append(remedy).append(")");
}

} // namespace kgroup::detail
