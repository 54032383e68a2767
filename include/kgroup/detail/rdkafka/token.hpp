// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/rdkafka/error.hpp>
#include <kgroup/error.hpp>
#include <kgroup/oauth_token.hpp>

#include <librdkafka/rdkafka.h>

#include <chrono>
#include <system_error>
#include <vector>

namespace kgroup::detail {

/// Gives a token to librdkafka, for its connections from now on.
inline std::error_code set_token(rd_kafka_t* client, oauth_token const& token) {
    std::vector<char const*> extensions;
    for (auto const& [name, value] : token.extensions) {
        extensions.push_back(name.c_str());
        extensions.push_back(value.c_str());
    }
    auto const expiry = std::chrono::time_point_cast<std::chrono::milliseconds>(token.expiry)
                            .time_since_epoch()
                            .count();
    char text[512]; // why not; it may hold the token
    return make_error_code(
        rd_kafka_oauthbearer_set_token(client, token.value.c_str(), expiry, token.principal.c_str(),
                                       extensions.data(), extensions.size(), text, sizeof text));
}

} // namespace kgroup::detail
