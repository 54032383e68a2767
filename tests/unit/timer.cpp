// SPDX-License-Identifier: MIT

#include <kgroup/testing/clock.hpp>
#include <kgroup/timer.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/error.hpp>
#include <asio/io_context.hpp>
#include <asio/this_coro.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <system_error>
#include <utility>
#include <vector>

namespace timer_tests {

namespace {

using namespace std::chrono_literals;
using kgroup::testing::run_ready;

} // namespace

TEST_CASE("timer: a wait ends when the test has moved kgroup's clock so far") {
    asio::io_context context;
    int waits = 0;
    asio::co_spawn(
        context,
        [&]() -> asio::awaitable<void> {
            kgroup::timer pause{co_await asio::this_coro::executor};
            for (; waits != 2; ++waits) {
                pause.expires_after(1h);
                co_await pause.async_wait();
            }
        },
        asio::detached);
    kgroup::testing::advance(context, 59min);
    CHECK(waits == 0);
    kgroup::testing::advance(context, 1min);
    CHECK(waits == 1);
    kgroup::testing::advance(context, 1h);
    CHECK(waits == 2);
}

TEST_CASE("timer: made from a context or an executor, moved, set to a time, and cancelled") {
    asio::io_context context;
    std::vector<std::error_code> ends;
    auto const note = [&](std::error_code ec) { ends.push_back(ec); };
    kgroup::timer first{context};
    kgroup::timer second{asio::any_io_executor{context.get_executor()}, 1h};
    auto third = std::move(first);
    third.expires_at(kgroup::timer::clock_type::now() + 2h);
    third.async_wait(note);
    asio::cancellation_signal signal;
    second.async_wait(asio::bind_cancellation_slot(signal.slot(), note));
    run_ready(context);
    CHECK(ends.empty());
    signal.emit(asio::cancellation_type::total);
    run_ready(context);
    CHECK(ends == std::vector{make_error_code(asio::error::operation_aborted)});
    CHECK(third.cancel() == 1);
    run_ready(context);
    CHECK(ends.size() == 2);
    CHECK(ends.back() == asio::error::operation_aborted);
    third.expires_after(1h);
    third.async_wait(note);
    kgroup::testing::advance(context, 1h);
    CHECK(ends.size() == 3);
    CHECK_FALSE(ends.back());
    CHECK(third.expiry() <= kgroup::timer::clock_type::now());
}

} // namespace timer_tests
