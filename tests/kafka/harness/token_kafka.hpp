// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/config.hpp>
#include <kgroup/oauth_token.hpp>

#include <asio/awaitable.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "kafka.hpp"

namespace kgroup::tests {

using std::chrono::system_clock;

/// Part of each token.
inline constexpr std::string_view mark_of_secrecy{"c3dvcmRmaXNo"};

inline std::string base64url(std::string_view bytes) {
    constexpr std::string_view letters{
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"};
    std::string text;
    std::uint32_t held = 0;
    int bits = 0;
    for (auto const character : bytes) {
        held = (held << 8 | static_cast<unsigned char>(character)) & 0xffffu;
        for (bits += 8; bits >= 6;) {
            bits -= 6;
            text += letters[held >> bits & 63];
        }
    }
    if (bits != 0) {
        text += letters[held << (6 - bits) & 63];
    }
    return text;
}

/// A token that says it ends then; its holder may believe something else.
inline oauth_token make_token(system_clock::time_point end,
                              std::optional<system_clock::time_point> believed_end = {}) {
    auto const seconds = [](system_clock::time_point time) {
        return std::to_string(std::chrono::duration<double>(time.time_since_epoch()).count());
    };
    auto const value =
        base64url(R"({"alg":"none"})") + "." +
        base64url(R"({"sub":"reader","jti":")" + std::string{mark_of_secrecy} + R"(","iat":)" +
                  seconds(system_clock::now() - 60s) + R"(,"exp":)" + seconds(end) + "}") +
        ".";
    return {.value = value, .principal = "reader", .expiry = believed_end.value_or(end)};
}

/// The listener of a real Kafka that demands tokens: unsecured JWTs, which anybody can make.
class token_kafka : public kafka {
public:
    std::string const brokers_for_tokens = token_brokers();

    token_kafka() : kafka(kind::real) {}

    /// false: the test is skipped.
    static bool is_there() {
        if (!kafka::is_there()) {
            return false;
        }
        auto const listens = !token_kafka{}.brokers_for_tokens.empty();
        if (!listens) {
            skip("the Kafka of KGROUP_TEST_BROKERS has no listener TOKENS");
        }
        return listens;
    }

    config member_with(std::string const& topic,
                       std::function<asio::awaitable<oauth_token>()> provider) const {
        auto given = member_of_new_group(topic);
        given.brokers = brokers_for_tokens;
        given.properties["security.protocol"] = "sasl_plaintext";
        given.oauth_token_provider = std::move(provider);
        return given;
    }
};

} // namespace kgroup::tests
