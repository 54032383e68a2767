// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/clock.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/basic_waitable_timer.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/wait_traits.hpp>

namespace kgroup {

/// A timer on kgroup's clock. It is like `asio::steady_timer`, but a test can move its time
/// (`testing::advance`). Use it for the handler's own retries, limits and intervals.
///
///     kgroup::timer pause{co_await asio::this_coro::executor};
///     pause.expires_after(50ms);
///     co_await pause.async_wait();
///
/// All members are those of `asio::basic_waitable_timer`: made from an executor or a context,
/// `expires_after`, `expires_at`, `expiry`, `cancel`, `async_wait`. The completion token of
/// `async_wait` is `asio::use_awaitable` where none is given; completion signature:
/// `void(std::error_code)`.
///
/// Its clock is `kgroup::timer::clock_type`, the steady one outside of tests. A time of the steady
/// clock is turned into a duration: `expires_after(*claim.finish_by() -
/// std::chrono::steady_clock::now())`.
///
/// *Cancellation* of a wait: total; it fails with `asio::error::operation_aborted`, as it does when
/// the timer is cancelled, set anew or destroyed.
///
/// *Thread safety.* Distinct timers: safe. One timer: unsafe.
using timer = asio::use_awaitable_t<>::as_default_on_t<asio::basic_waitable_timer<detail::clock>>;

} // namespace kgroup
