// SPDX-License-Identifier: MIT

#pragma once

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/cancellation_state.hpp>
#include <asio/redirect_error.hpp>
#include <asio/steady_timer.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <system_error>
#include <utility> // before Asio: see clock.hpp

namespace kgroup::tests {

/// What handlers in tests wait for: opened once, by the test. One thread.
class latch {
public:
    template <typename Context>
    explicit latch(Context& context) : timer_(context, asio::steady_timer::time_point::max()) {}

    void open() {
        open_ = true;
        timer_.cancel();
    }

    /// Throws when cancelled, as an ordinary operation does.
    asio::awaitable<void> wait() {
        if (open_) {
            co_return;
        }
        std::error_code ec;
        co_await timer_.async_wait(asio::redirect_error(asio::use_awaitable, ec));
        if (!open_) {
            throw std::system_error{ec};
        }
    }

    /// Knows nothing of cancellation, as an operation of a library that has none; nor does the
    /// coroutine from here on.
    asio::awaitable<void> wait_deaf() {
        co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
        co_await wait();
    }

private:
    asio::steady_timer timer_;
    bool open_ = false;
};

} // namespace kgroup::tests
