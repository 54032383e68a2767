// SPDX-License-Identifier: MIT

#include <kgroup/detail/process/attempt_cancellation.hpp>

#include <asio/cancellation_type.hpp>

#include <doctest/doctest.h>

namespace attempt_cancellation_tests {

namespace {

using kgroup::detail::attempt_cancellation;

TEST_CASE("attempt_cancellation: both hear of it, and the next attempt begins afresh") {
    attempt_cancellation attempts;
    auto emitted = asio::cancellation_type::none;
    attempts.slot().assign([&](asio::cancellation_type type) { emitted = type; });
    auto const first = attempts.begin().get_token();
    auto const same = attempts.begin().get_token();
    CHECK(first == same); // nothing is made for what was not cancelled
    CHECK_FALSE(first.stop_requested());
    attempts.cancel();
    CHECK(first.stop_requested());
    CHECK(emitted == asio::cancellation_type::terminal);
    auto const next = attempts.begin().get_token();
    CHECK_FALSE(next.stop_requested());
    CHECK(first.stop_requested());
    attempts.cancel();
    CHECK(next.stop_requested());
}

} // namespace

} // namespace attempt_cancellation_tests
