// SPDX-License-Identifier: MIT

#pragma once

#include <algorithm>
#include <chrono>
#include <map>
#include <string>
#include <string_view>

namespace kgroup {

/// What a member shows to brokers that demand SASL/OAUTHBEARER (RFC 7628). It holds a secret:
/// kgroup shows `value` and `extensions` to the brokers and to nobody else.
struct oauth_token {
    /// The token, as its issuer made it; mostly a JWT in its compact form. Required; visible ASCII
    /// characters.
    std::string value{};
    /// Whom it stands for. Brokers take that from the token; here it is for librdkafka's messages.
    /// May be empty.
    std::string principal{};
    /// When it ends. Another is asked for when four fifths of its time are over.
    std::chrono::system_clock::time_point expiry{};
    /// SASL extensions, by name (letters only, and not `auth`); their values are visible ASCII
    /// characters and white space.
    std::map<std::string, std::string> extensions{};
};

namespace detail {

/// Why librdkafka would not take a token, in words that show nothing of it (librdkafka's own do);
/// empty: it would.
inline std::string flaw_of(oauth_token const& token) {
    auto const visible = [](char c) { return c > 0x20 && c < 0x7f; };
    auto const letter = [](char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); };
    if (token.value.empty()) {
        return "it is empty";
    }
    if (!std::all_of(token.value.begin(), token.value.end(), visible)) {
        return "it has characters other than visible ASCII";
    }
    if (token.principal.find('\0') != std::string::npos) {
        return "its principal has a null character";
    }
    if (token.expiry <= std::chrono::system_clock::now()) {
        return "it has expired";
    }
    for (auto const& [name, value] : token.extensions) {
        if (name.empty() || name == "auth" || !std::all_of(name.begin(), name.end(), letter)) {
            return "the name of an extension is not made of letters only, or is 'auth'";
        }
        if (!std::all_of(value.begin(), value.end(), [&](char c) {
                return visible(c) || std::string_view{" \t\r\n"}.find(c) != std::string_view::npos;
            })) {
            return "the value of extension '" + name +
                   "' has characters other than visible ASCII and white space";
        }
    }
    return {};
}

} // namespace detail

} // namespace kgroup
