// SPDX-License-Identifier: MIT

#pragma once

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
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

/// Reads `bootstrap.servers` as librdkafka does: names or addresses, `[v6]` too, with or without
/// `protocol://` and `:port`, separated by commas. What is no address is left out.
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
        if (auto const protocol = one.find("://"); protocol != one.npos) {
            one.remove_prefix(protocol + 3);
        }
        broker_address address{{}, 9092};
        std::string_view port;
        if (one.starts_with('[')) {
            auto const end = one.find(']');
            if (end == one.npos) {
                continue;
            }
            address.host = one.substr(1, end - 1);
            if (end + 1 != one.size()) {
                if (one[end + 1] != ':') {
                    continue;
                }
                port = one.substr(end + 2);
            }
        } else {
            // Several colons and no brackets: the last one is that of the port.
            auto const colon = one.rfind(':');
            address.host = one.substr(0, colon);
            if (colon != one.npos) {
                port = one.substr(colon + 1);
            }
        }
        if (!port.empty()) {
            auto const* const end = port.data() + port.size();
            auto const [read, error] = std::from_chars(port.data(), end, address.port);
            if (error != std::errc{} || read != end || address.port == 0) {
                continue;
            }
        }
        if (!address.host.empty() &&
            std::find(result.begin(), result.end(), address) == result.end()) {
            result.push_back(std::move(address));
        }
    }
    return result;
}

} // namespace kgroup::detail::fetch
