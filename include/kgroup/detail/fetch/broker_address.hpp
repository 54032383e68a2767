// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/config/bootstrap_server.hpp>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kgroup::detail::fetch {

struct broker_address {
    std::string host; // a name, or an address without brackets
    std::uint16_t port = 0;
    friend bool operator==(broker_address const&, broker_address const&) = default;
};

inline std::string to_string(broker_address const& address) {
    bool const bare = address.host.find(':') != std::string::npos;
    return (bare ? "[" + address.host + "]" : address.host) + ":" + std::to_string(address.port);
}

/// Reads `bootstrap.servers`: `bootstrap_server`s, separated by commas. What is none is left out.
///
/// @throws std::bad_alloc
inline std::vector<broker_address> parse_bootstrap_servers(std::string_view list) {
    constexpr std::string_view blank = " \t\r\n";
    std::vector<broker_address> result;
    while (!list.empty()) {
        auto const comma = (std::min)(list.find(','), list.size());
        auto one = list.substr(0, comma);
        list.remove_prefix((std::min)(comma + 1, list.size()));
        one.remove_prefix((std::min)(one.find_first_not_of(blank), one.size()));
        one = one.substr(0, one.find_last_not_of(blank) + 1);
        if (one.empty()) {
            continue;
        }
        auto const server = bootstrap_server_reader::read(one);
        broker_address address{std::string{server.host}, server.port};
        if (server.flaw.empty() &&
            std::find(result.begin(), result.end(), address) == result.end()) {
            result.push_back(std::move(address));
        }
    }
    return result;
}

} // namespace kgroup::detail::fetch
