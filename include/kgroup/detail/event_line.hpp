#pragma once

#include <kgroup/event.hpp>

#include <algorithm>
#include <cstdio>
#include <string>
#include <string_view>

namespace kgroup::detail {

inline std::string name(topic_partition const& where) { return where.topic + "[" + std::to_string(where.partition) + "]"; }

/// Names and texts come from peers: no control characters in anybody's log.
inline std::string one_line(std::string text) {
    std::ranges::replace_if(text, [](unsigned char each) { return each < 0x20 || each == 0x7f; }, ' ');
    return text;
}

/// Where events go that nobody listens to: a line on standard error.
inline void print(std::string_view group_id, event const& what) {
    std::string line{"kgroup "};
    line.append(group_id).append(": ").append(to_string(what.kind));
    if (what.where) {
        line += " " + name(*what.where);
    }
    line += ": " + what.text;
    if (what.suppressed != 0) {
        line += " (" + std::to_string(what.suppressed) + " more)";
    }
    line += '\n';
    std::fputs(line.c_str(), stderr);
}

} // namespace kgroup::detail
