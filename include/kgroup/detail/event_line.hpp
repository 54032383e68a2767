#pragma once

#include <kgroup/event.hpp>

#include <cstdio>
#include <string>
#include <string_view>

namespace kgroup::detail {

inline std::string name(topic_partition const& where) { return where.topic + "[" + std::to_string(where.partition) + "]"; }

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
