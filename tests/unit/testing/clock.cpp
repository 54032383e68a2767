// SPDX-License-Identifier: MIT

#include <kgroup/testing/clock.hpp>
#include <kgroup/timer.hpp>

#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>
#include <asio/this_coro.hpp>

#include <doctest/doctest.h>

#include <chrono>

namespace testing_clock_tests {

namespace {

using namespace std::chrono_literals;

asio::awaitable<void> wait_again_and_again(int& waits) {
    kgroup::timer pause{co_await asio::this_coro::executor};
    for (;; ++waits) {
        pause.expires_after(100ms);
        co_await pause.async_wait();
    }
}

} // namespace

TEST_CASE("advance_until: deadlines that follow one another are reached one after another") {
    asio::io_context context;
    int waits = 0;
    asio::co_spawn(context, wait_again_and_again(waits), asio::detached);
    auto const before = kgroup::timer::clock_type::now();
    CHECK(kgroup::testing::advance_until(
        context, [&] { return waits == 5; }, 1s));
    CHECK(waits == 5);
    auto const took = kgroup::timer::clock_type::now() - before;
    CHECK(took >= 500ms);
    CHECK(took < 900ms);
}

TEST_CASE("advance_until: what holds already takes no time, what never holds all of it") {
    asio::io_context context;
    int waits = 0;
    asio::co_spawn(context, wait_again_and_again(waits), asio::detached);
    CHECK(kgroup::testing::advance_until(
        context, [] { return true; }, 1h));
    CHECK(waits == 0);
    auto const before = kgroup::timer::clock_type::now();
    CHECK_FALSE(kgroup::testing::advance_until(
        context, [] { return false; }, 1500us));
    CHECK(kgroup::timer::clock_type::now() - before >= 1500us);
    CHECK_FALSE(kgroup::testing::advance_until(
        context, [] { return false; }, 0s));
    CHECK_FALSE(kgroup::testing::advance_until(
        context, [] { return false; }, 1h));
    CHECK(waits > 900); // a step of 3.6 s reaches one each
}

} // namespace testing_clock_tests
