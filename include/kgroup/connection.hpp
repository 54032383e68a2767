// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/oauth_token.hpp>

#include <asio/awaitable.hpp>

#include <functional>
#include <map>
#include <string>

namespace kgroup {

/// How a cluster is reached; a group and a producer can share it. A producer has one as
/// `producer_config::connection`; a group's `config` has fields of the same names, which
/// `connected` fills.
///
///     kgroup::connection const cluster{.brokers = "kafka:9092"};
///     kgroup::consumer_group group{context,
///                                  kgroup::connected(cluster, {.group_id = "orders", …})};
///     kgroup::producer producer{context, {.connection = cluster}};
struct connection {
    /// Brokers to start from, comma separated: `host:port,host:port`. Required. As
    /// `config::brokers`.
    std::string brokers{};
    /// Properties of librdkafka that concern the connection, by their own names:
    /// `security.protocol`, `sasl.mechanism`, `ssl.ca.location`, …
    std::map<std::string, std::string> properties{};
    /// Where tokens come from, for brokers that demand SASL/OAUTHBEARER: as
    /// `config::oauth_token_provider`. Where a group and a producer have the same, it may be called
    /// by both at the same time.
    std::function<asio::awaitable<oauth_token>()> oauth_token_provider{};
};

} // namespace kgroup
