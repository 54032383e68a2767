// SPDX-License-Identifier: MIT

#include <kgroup/detail/client/token_schedule.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <exception>
#include <stdexcept>
#include <system_error>

using namespace std::chrono_literals;

namespace token_schedule_tests {

namespace {

using kgroup::oauth_token;
using kgroup::detail::flaw_of_call;
using kgroup::detail::token_schedule;

constexpr auto start = kgroup::detail::clock::time_point{} + 1h;

TEST_CASE("token_schedule: one call at a time, and after one without a token another a while "
          "later") {
    token_schedule schedule;
    CHECK(schedule.wanted());
    schedule.begin();
    CHECK_FALSE(schedule.wanted());
    CHECK(schedule.fail(start) == 1s);
    CHECK(schedule.fails());
    CHECK(schedule.due() == start + 1s);
    CHECK_FALSE(schedule.wanted()); // it is called when it is due
    schedule.begin();
    CHECK_FALSE(schedule.due());
    CHECK(schedule.fail(start) == 2s);
    schedule.begin();
    CHECK(schedule.succeed());
    CHECK_FALSE(schedule.fails());
    CHECK(schedule.wanted());
    schedule.begin();
    CHECK_FALSE(schedule.succeed()); // nothing had failed
    schedule.begin();
    CHECK(schedule.fail(start) == 1s);
    schedule.stop();
    CHECK_FALSE(schedule.due());
}

TEST_CASE("token_schedule: what is wrong with a call is said in words") {
    oauth_token const good{"abc", "somebody", std::chrono::system_clock::now() + 1h, {}};
    CHECK_FALSE(flaw_of_call(nullptr, good));
    CHECK(flaw_of_call(nullptr, {})->reason.starts_with("the token cannot be used: "));
    CHECK(flaw_of_call(std::make_exception_ptr(std::runtime_error{"away"}), good)->reason ==
          "away");
    CHECK(flaw_of_call(std::make_exception_ptr(std::runtime_error{""}), good)->reason ==
          "oauth_token_provider has failed");
    auto const refused = std::make_error_code(std::errc::connection_refused);
    CHECK(flaw_of_call(std::make_exception_ptr(std::system_error{refused}), good)->error ==
          refused);
    CHECK(kgroup::detail::words_of_retry("away", 1500ms) ==
          "away; oauth_token_provider is asked again in 1500 ms");
}

} // namespace

} // namespace token_schedule_tests
