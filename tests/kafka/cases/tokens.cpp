// SPDX-License-Identifier: MIT

#include <kgroup/error.hpp>
#include <kgroup/oauth_token.hpp>

#include <asio/awaitable.hpp>
#include <asio/steady_timer.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "kafka.hpp"
#include "member.hpp"
#include "token_kafka.hpp"

// SASL/OAUTHBEARER against brokers that demand it, with unsecured JWTs: tokens that anybody can
// make, and that end.

namespace {

using namespace kgroup::tests;
using kgroup::event_kind;
using kgroup::oauth_token;

/// Nothing that was told shows a token.
void check_secrecy(member const& member) {
    auto const said = member.said();
    for (std::size_t shift = 0; shift != 3; ++shift) { // however it stands in what was encoded
        auto const inside = base64url(std::string(shift, 'x') + std::string{mark_of_secrecy});
        CHECK(said.find(inside.substr(4, 8)) == std::string::npos);
    }
    CHECK(said.find(mark_of_secrecy) == std::string::npos);
}

TEST_CASE("tokens: consumes while they change, and no record is lost or comes twice") {
    if (!token_kafka::is_there()) {
        return;
    }
    token_kafka brokers;
    auto const topic = brokers.create_topic();
    std::atomic<int> asked{0};
    received records;
    auto given = brokers.member_with(topic, [&]() -> asio::awaitable<oauth_token> {
        ++asked;
        auto const now = system_clock::now();
        co_return make_token(now + 8s, now + 6s); // librdkafka looks once a second whether it is
                                                  // time, and this machine may be slow
    });
    given.properties["debug"] = "security,broker,protocol"; // all that could be told is told
    member one{given, receive_into(records)};
    REQUIRE(eventually([&] { return one.claims() == 1; }));
    // Three refreshes; and no connection outlives three seconds.
    std::size_t sent = 0;
    REQUIRE(eventually([&] {
        brokers.produce_values(topic, 0, {"record"});
        ++sent;
        return asked >= 4;
    }));
    CHECK(eventually([&] { return records.count() >= sent; }));
    CHECK(records.count() == sent);
    CHECK(records.offsets(0).back() == static_cast<std::int64_t>(sent) - 1);
    // A connection that ends amid its handshake, its three seconds being over, is no refusal,
    // though librdkafka counts it as one.
    for (auto const& event : one.events()) {
        auto const refused = event.kind == event_kind::authentication_failed &&
                             event.text.find("Broker transport failure") == std::string::npos;
        CHECK_MESSAGE(!refused, event.text);
    }
    CHECK(one.count(event_kind::claims_lost) == 0);
    CHECK(one.stats().sessions == 1);
    one.stop();
    REQUIRE(one.ends_within(20s));
    CHECK_MESSAGE(!one.error(), one.what());
    check_secrecy(one);
}

TEST_CASE("tokens: one that the brokers refuse is reported, and the next one mends it") {
    if (!token_kafka::is_there()) {
        return;
    }
    token_kafka brokers;
    auto const topic = brokers.create_topic();
    brokers.produce_values(topic, 0, {"record"});
    std::atomic<int> asked{0};
    std::atomic<bool> well{false};
    received records;
    member one{brokers.member_with(topic,
                                   [&]() -> asio::awaitable<oauth_token> {
                                       ++asked;
                                       auto const now = system_clock::now();
                                       co_return well ? make_token(now + 1h)
                                                      : make_token(now - 1h, now + 2s);
                                   }),
               receive_into(records)};
    REQUIRE(eventually([&] { return one.count(event_kind::authentication_failed) == 1; }));
    auto const told = *one.last(event_kind::authentication_failed);
    CHECK(told.level == kgroup::severity::error);
    CHECK(told.error == kgroup::make_error_code(RD_KAFKA_RESP_ERR__AUTHENTICATION));
    CHECK_MESSAGE(told.text.find("invalid_token") != std::string::npos, told.text);
    CHECK(one.claims() == 0);
    CHECK_FALSE(one.has_ended());
    well = true;
    REQUIRE(eventually([&] { return records.count() == 1; }));
    CHECK(asked >= 2);
    one.stop();
    REQUIRE(one.ends_within(20s));
    CHECK_MESSAGE(!one.error(), one.what());
    check_secrecy(one);
}

TEST_CASE(
    "tokens: a provider that throws is asked again, and the group begins when it has a token") {
    if (!token_kafka::is_there()) {
        return;
    }
    token_kafka brokers;
    auto const topic = brokers.create_topic();
    brokers.produce_values(topic, 0, {"record"});
    std::atomic<int> asked{0};
    received records;
    member one{brokers.member_with(
                   topic,
                   [&]() -> asio::awaitable<oauth_token> {
                       if (++asked == 1) {
                           throw std::runtime_error{"the issuer is away"};
                       }
                       asio::steady_timer issuing{co_await asio::this_coro::executor, 50ms};
                       co_await issuing.async_wait(asio::use_awaitable);
                       co_return make_token(system_clock::now() + 1h);
                   }),
               receive_into(records)};
    REQUIRE(eventually([&] { return records.count() == 1; }));
    CHECK(asked == 2);
    REQUIRE(one.count(event_kind::authentication_failed) == 1);
    CHECK(one.last(event_kind::authentication_failed)->text ==
          "the issuer is away; oauth_token_provider is asked again in 1000 ms");
}

TEST_CASE("tokens: stopped while there is none, it ends in time") {
    if (!token_kafka::is_there()) {
        return;
    }
    token_kafka brokers;
    auto const topic = brokers.create_topic();
    std::atomic<bool> asked{false};
    std::atomic<bool> ended{false};
    received records;
    auto given = brokers.member_with(topic, [&]() -> asio::awaitable<oauth_token> {
        kgroup::detail::scope_exit const noted{[&] { ended = true; }};
        asio::steady_timer never{co_await asio::this_coro::executor, 1h};
        asked = true;
        co_await never.async_wait(asio::use_awaitable);
        co_return oauth_token{};
    });
    member one{given, receive_into(records)};
    REQUIRE(eventually([&] { return asked.load(); }));
    one.stop();
    REQUIRE(one.ends_within(given.close_timeout + 1s));
    CHECK_MESSAGE(!one.error(), one.what());
    CHECK(ended);
}

} // namespace
