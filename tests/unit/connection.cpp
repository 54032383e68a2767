// SPDX-License-Identifier: MIT

#include <kgroup/config.hpp>
#include <kgroup/connection.hpp>

#include <doctest/doctest.h>

#include <map>
#include <ostream>
#include <string>

namespace connection_tests {

namespace {

TEST_CASE("connection: a group has the brokers, properties and tokens that it shares") {
    kgroup::connection const shared{
        .brokers = "kafka:9092",
        .properties = {{"security.protocol", "sasl_ssl"}, {"client.id", "shared"}},
        .oauth_token_provider = []() -> asio::awaitable<kgroup::oauth_token> {
            co_return kgroup::oauth_token{};
        }};
    auto const given = kgroup::connected(
        shared, {.group_id = "billing",
                 .topics = {"orders"},
                 .initial_offset = kgroup::offset_reset::earliest,
                 .properties = {{"session.timeout.ms", "6000"}, {"client.id", "own"}}});
    CHECK(given.brokers == "kafka:9092");
    CHECK(given.group_id == "billing");
    CHECK(given.properties == std::map<std::string, std::string>{{"security.protocol", "sasl_ssl"},
                                                                 {"client.id", "own"},
                                                                 {"session.timeout.ms", "6000"}});
    CHECK(given.oauth_token_provider);
}

TEST_CASE("connection: a producer has the brokers, credentials and tokens of a group") {
    auto const given = kgroup::connection_of(
        {.brokers = "kafka:9092",
         .group_id = "billing",
         .topics = {"orders"},
         .initial_offset = kgroup::offset_reset::earliest,
         .properties = {{"security.protocol", "sasl_ssl"},
                        {"sasl.username", "ada"},
                        {"ssl.ca.location", "/ca.pem"},
                        {"client.id", "billing"},
                        {"session.timeout.ms", "6000"},
                        {"fetch.wait.max.ms", "100"}},
         .oauth_token_provider = []() -> asio::awaitable<kgroup::oauth_token> {
             co_return kgroup::oauth_token{};
         }});
    CHECK(given.brokers == "kafka:9092");
    CHECK(given.properties == std::map<std::string, std::string>{{"security.protocol", "sasl_ssl"},
                                                                 {"sasl.username", "ada"},
                                                                 {"ssl.ca.location", "/ca.pem"},
                                                                 {"client.id", "billing"}});
    CHECK(given.oauth_token_provider);
}

} // namespace

} // namespace connection_tests
