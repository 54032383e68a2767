// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/asio/timer.hpp>

#include <asio/io_context.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <system_error>

namespace kgroup::testing {

/// Runs everything that is ready on `context`, and what that makes ready, until nothing is:
/// afterwards all wait for an event or for their time. A context that had run out of work is
/// started again.
///
/// A coroutine that never suspends keeps it for ever.
///
/// @return how many handlers were run.
///
/// *Thread safety.* Only where nobody else runs the context.
inline std::size_t run_ready(asio::io_context& context) {
    context.restart();
    return context.poll();
}

/// Runs what is ready, moves kgroup's clock ahead, and runs what is ready then: what should have
/// happened in this time happens now, all at once. So a deadline that only begins when another is
/// over is reached by a second call.
///
/// All of kgroup's own times go by this clock: deadlines, intervals, timeouts, the limit of
/// `async_receive_for`; and every `kgroup::timer`. Other timers of the handler's own do not. The
/// clock is one for the process, and goes on by itself, too.
///
/// *Thread safety.* As `run_ready`.
inline void advance(asio::io_context& context, std::chrono::nanoseconds how_far) {
    run_ready(context); // what begins before this time has passed
    detail::clock::lead += std::chrono::duration_cast<detail::clock::duration>(how_far).count();
    // The context looks at its timers when one is set that comes before all others.
    detail::timer look{context, (detail::clock::time_point::min)()};
    bool looked = false;
    look.async_wait([&looked](std::error_code) { looked = true; });
    while (!looked) {
        run_ready(context);
    }
    run_ready(context);
}

/// Runs what is ready and moves kgroup's clock ahead, step by step, until `condition` holds. For
/// what takes several deadlines one after another, retries say: each begins when the one before is
/// over, as it would without a test.
///
/// A step is a thousandth of `at_most`, and a millisecond at least: two things that are less apart
/// may happen in the same step.
///
/// @param condition called after each step: `bool()`.
/// @param at_most how far the clock is moved, in all.
/// @return whether the condition holds. false: `at_most` has passed without it.
///
/// *Thread safety.* As `run_ready`.
template <typename Condition>
[[nodiscard]] bool advance_until(asio::io_context& context, Condition condition,
                                 std::chrono::nanoseconds at_most) {
    run_ready(context);
    auto const step = (std::max)(at_most / 1000, std::chrono::nanoseconds{1'000'000});
    auto left = at_most;
    while (!condition()) {
        if (left.count() <= 0) {
            return false;
        }
        advance(context, (std::min)(step, left));
        left -= step;
    }
    return true;
}

} // namespace kgroup::testing
