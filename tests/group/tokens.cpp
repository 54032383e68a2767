// SPDX-License-Identifier: MIT

#include <chrono>
#include <functional>
#include <stdexcept>
#include <string>
#include <utility>

#include "support/latch.hpp"
#include "support/scripted_group.hpp"

// config::oauth_token_provider: when it is called, what becomes of its tokens and its failures, and
// how its calls end.

namespace {

using namespace kgroup::tests;
using kgroup::event_kind;
using kgroup::oauth_token;
using kgroup::testing::fake_cluster;
using request = fake_cluster::request;

class token_group : public scripted_group {
public:
    int asked = 0;
    std::function<asio::awaitable<oauth_token>()> provide = [this] { return fresh(); };

    token_group() {
        settings.oauth_token_provider = [this] {
            ++asked;
            return provide();
        };
    }

    static oauth_token token(std::string value) {
        return {.value = std::move(value),
                .principal = "me",
                .expiry = std::chrono::system_clock::now() + 1h,
                .extensions = {{"tier", "one"}}};
    }
    asio::awaitable<oauth_token> fresh() { co_return token("token-" + std::to_string(asked)); }

    void want_token() {
        cluster.want_token();
        settle();
    }
    std::string value() const { return cluster.token() ? cluster.token()->value : "none"; }
};

TEST_CASE_FIXTURE(
    token_group,
    "a token is asked for before the member is known, while it runs, and while it leaves") {
    run();
    CHECK(asked == 0);
    want_token();
    CHECK(value() == "token-1");
    CHECK(cluster.token()->principal == "me");
    CHECK(cluster.token()->extensions.at("tier") == "one");
    cluster.assign({t0});
    settle();
    want_token();
    CHECK(value() == "token-2");
    cluster.hold(request::close);
    group->stop();
    settle();
    CHECK_FALSE(outcome.completed);
    want_token();
    CHECK(value() == "token-3");
    cluster.release(request::close);
    settle();
    CHECK(outcome.completed);
    CHECK_FALSE(outcome.failure);
    CHECK(count(event_kind::authentication_failed) == 0);
}

TEST_CASE_FIXTURE(
    token_group,
    "a provider that throws is reported and asked again, later each time, until it gives a token") {
    provide = [this]() -> asio::awaitable<oauth_token> {
        if (asked < 4) {
            throw std::runtime_error{"the issuer is away"};
        }
        return fresh();
    };
    run();
    want_token();
    CHECK(asked == 1);
    CHECK(last(event_kind::authentication_failed).text ==
          "the issuer is away; oauth_token_provider is asked again in 1000 ms");
    CHECK(last(event_kind::authentication_failed).level == kgroup::severity::error);
    advance(900ms);
    want_token(); // it is not asked twice for the same
    CHECK(asked == 1);
    advance(200ms);
    CHECK(asked == 2);
    advance(1900ms);
    CHECK(asked == 2);
    advance(200ms);
    CHECK(asked == 3);
    advance(4100ms);
    CHECK(asked == 4);
    CHECK(value() == "token-4");
    advance(1min);
    CHECK(asked == 4);
    // What succeeded begins anew.
    provide = []() -> asio::awaitable<oauth_token> { throw std::runtime_error{"away again"}; };
    want_token();
    CHECK(last(event_kind::authentication_failed).text ==
          "away again; oauth_token_provider is asked again in 1000 ms");
    CHECK(value() == "token-4");
    stop();
}

TEST_CASE_FIXTURE(token_group,
                  "a token that cannot be used is refused with its reason, and never shown") {
    oauth_token given = token("hunter2-swordfish");
    std::string reason;
    std::error_code error;
    SUBCASE("empty") {
        given.value.clear();
        reason = "it is empty";
    }
    SUBCASE("characters") {
        given.value += '\n';
        reason = "it has characters other than visible ASCII";
    }
    SUBCASE("expired") {
        given.expiry = std::chrono::system_clock::now() - 1s;
        reason = "it has expired";
    }
    SUBCASE("never set to expire") {
        given.expiry = {};
        reason = "it has expired";
    }
    SUBCASE("an extension's name") {
        given.extensions = {{"auth", "hunter2-swordfish"}};
        reason = "the name of an extension is not made of letters only, or is 'auth'";
    }
    SUBCASE("an extension's value") {
        given.extensions = {{"tier", "hunter2-swordfish\x01"}};
        reason = "the value of extension 'tier' has characters";
    }
    SUBCASE("by the client") {
        cluster.fail(request::token, kgroup::make_error_code(RD_KAFKA_RESP_ERR__STATE));
        error = kgroup::make_error_code(RD_KAFKA_RESP_ERR__STATE); // whose message says the rest
    }
    provide = [&]() -> asio::awaitable<oauth_token> {
        co_return asked == 1 ? given : token("token-2");
    };
    run();
    want_token();
    CHECK(value() == "none");
    auto const text = last(event_kind::authentication_failed).text;
    CHECK_MESSAGE(
        text.find("the token cannot be used" + (reason.empty() ? "" : ": " + reason)) == 0, text);
    CHECK(last(event_kind::authentication_failed).error == error);
    for (auto const& event : events) {
        CHECK(event.text.find("hunter2") == std::string::npos);
    }
    for (auto const& line : cluster.trace()) {
        CHECK(line.find("hunter2") == std::string::npos);
    }
    advance(1100ms);
    CHECK(value() == "token-2");
    stop();
}

TEST_CASE_FIXTURE(
    token_group,
    "one call at a time, on a strand of its own: handlers and the run go on meanwhile") {
    latch issued{context};
    provide = [&]() -> asio::awaitable<oauth_token> {
        co_await issued.wait();
        co_return token("late");
    };
    run();
    want_token();
    want_token();
    cluster.add_records(t0, "one");
    cluster.assign({t0});
    settle();
    CHECK(handler.received == lines{"t[0]@0 one"});
    CHECK(asked == 1);
    issued.open();
    settle();
    CHECK(value() == "late");
    CHECK(asked == 1);
    stop();
}

TEST_CASE_FIXTURE(token_group, "a call that is under way when the group has been left is "
                               "cancelled, and the run waits for its end") {
    latch never{context};
    bool ended = false;
    provide = [&]() -> asio::awaitable<oauth_token> {
        kgroup::detail::scope_exit const noted{[&] { ended = true; }};
        co_await never.wait();
        co_return token("too late");
    };
    run();
    want_token();
    SUBCASE("before anything was assigned") {}
    SUBCASE("with claims") {
        cluster.assign({t0});
        settle();
    }
    stop();
    CHECK(ended);
    CHECK(value() == "none");
}

TEST_CASE_FIXTURE(
    token_group,
    "a call that ignores its cancellation: handler_abandoned, and it can do no harm when it ends") {
    latch issued{context};
    provide = [&]() -> asio::awaitable<oauth_token> {
        co_await issued.wait_deaf();
        co_return token("too late");
    };
    run_over({t0});
    want_token();
    group->stop();
    settle();
    CHECK_FALSE(outcome.completed);
    advance(20s);
    REQUIRE(outcome.completed);
    CHECK(outcome.error() == kgroup::errc::handler_abandoned);
    CHECK(last(event_kind::handler_abandoned).text ==
          "oauth_token_provider did not end after its cancellation");
    CHECK(group->stats().abandoned_handlers == 1);
    SUBCASE("it ends") {
        issued.open();
        settle();
        CHECK(group->stats().abandoned_handlers == 0);
    }
    SUBCASE("the group goes first") {
        group.reset();
        issued.open();
        settle();
    }
    SUBCASE("the context goes with it") {}
}

TEST_CASE_FIXTURE(scripted_group, "without a provider a wish for a token is passed over") {
    run_over({t0});
    cluster.want_token();
    settle();
    CHECK(count(event_kind::authentication_failed) == 0);
    stop();
}

} // namespace
