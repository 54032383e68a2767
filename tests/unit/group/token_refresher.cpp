// SPDX-License-Identifier: MIT

#include <kgroup/detail/group/token_refresher.hpp>

#include <asio/awaitable.hpp>
#include <asio/io_context.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <exception>
#include <memory>
#include <stdexcept>

using namespace std::chrono_literals;

namespace token_refresher_tests {

namespace {

using kgroup::oauth_token;
using kgroup::detail::clock;
using kgroup::detail::token_refresher;
using kgroup::detail::token_task;

constexpr auto start = clock::time_point{} + 1h;

class refreshing {
public:
    asio::io_context context;
    token_refresher tokens{[]() -> asio::awaitable<oauth_token> { co_return oauth_token{}; }};

    std::shared_ptr<token_task> begin() {
        return tokens.begin(context.get_executor(), [](token_task&) {});
    }
};

oauth_token good_token() { return {"abc", "somebody", std::chrono::system_clock::now() + 1h, {}}; }

TEST_CASE_FIXTURE(refreshing, "token_refresher: one call at a time") {
    CHECK(tokens.wanted());
    auto const call = begin();
    CHECK_FALSE(tokens.wanted());
    call->token = good_token();
    CHECK_FALSE(tokens.end(*call));
    CHECK_FALSE(tokens.succeed());
    CHECK(tokens.wanted());
    CHECK_FALSE(tokens.due());
}

TEST_CASE_FIXTURE(refreshing, "token_refresher: what is wrong with a call is told in words") {
    auto const call = begin();
    SUBCASE("it threw") {
        call->failure = std::make_exception_ptr(std::runtime_error{"the issuer is away"});
        CHECK(tokens.end(*call)->reason == "the issuer is away");
    }
    SUBCASE("it threw without words") {
        call->failure = std::make_exception_ptr(std::runtime_error{""});
        CHECK(tokens.end(*call)->reason == "oauth_token_provider has failed");
    }
    SUBCASE("its token cannot be used") {
        CHECK(tokens.end(*call)->reason == "the token cannot be used: it is empty");
    }
}

TEST_CASE_FIXTURE(refreshing, "token_refresher: after a failure it is called again, later each "
                              "time, until one succeeds") {
    for (auto const delay : {1000ms, 2000ms, 4000ms, 8000ms, 16000ms, 30000ms, 30000ms}) {
        auto const call = begin();
        CHECK_FALSE(tokens.due());
        tokens.end(*call);
        CHECK(tokens.fail(start) == delay);
        CHECK(tokens.due() == start + delay);
        CHECK_FALSE(tokens.wanted()); // it is called at that time, whoever asks
        CHECK(tokens.fails());
    }
    auto const call = begin();
    call->token = good_token();
    tokens.end(*call);
    CHECK(tokens.succeed());
    CHECK_FALSE(tokens.fails());
    CHECK_FALSE(tokens.succeed());
    CHECK(tokens.fail(start) == 1s);
}

TEST_CASE_FIXTURE(refreshing, "token_refresher: stopped, it gives up the call that is under way") {
    SUBCASE("one is") {
        auto const call = begin();
        CHECK(tokens.stop() == call);
    }
    SUBCASE("the next is due later") {
        tokens.end(*begin());
        tokens.fail(start);
        CHECK_FALSE(tokens.stop());
        CHECK_FALSE(tokens.due());
    }
    CHECK_FALSE(tokens.stop());
    tokens.forget_provider();
    CHECK_FALSE(tokens.wanted());
}

} // namespace

} // namespace token_refresher_tests
