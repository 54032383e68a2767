// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/failure.hpp>

#include <chrono>
#include <cstdint>
#include <exception>
#include <type_traits>

namespace kgroup {

/// How long to wait before the next attempt: `initial`, then `factor` times as long each time,
/// `max` at most. Each wait is shortened by a random part, up to `jitter` of it, so that records
/// that failed together are not tried together.
struct backoff_options {
    std::chrono::milliseconds initial{100};
    std::chrono::milliseconds max{30'000};
    double factor = 2;   ///< 1 or more
    double jitter = 0.2; ///< 0 to 1
};

/// What `for_each` does with a record whose attempts are used up, or that failed for good.
enum class give_up {
    end,  ///< The exception comes out of `for_each`, so the session ends and it comes out of
          ///< `async_run`.
    skip, ///< An event tells it (`event_kind::record_skipped`), the record counts as done.
};

/// How `for_each` repeats what failed. While a record waits, only its key waits.
struct retry_options {
    /// The number of attempts, the first one included; at least 1.
    std::uint32_t attempts = 1;
    backoff_options backoff{};
    /// The time from the begin of the first attempt that counts, after which no other begins; 0: no
    /// limit.
    std::chrono::milliseconds give_up_after{0};
    /// One attempt may take this long; then it is cancelled (`terminal`) and has failed, unless it
    /// returns normally all the same. 0: no limit.
    std::chrono::milliseconds attempt_timeout{0};
    /// Says what a failure means. A plain function: a lambda without captures converts to it. It
    /// must not throw.
    failure_class (*classify)(std::exception_ptr const& failure) = classify_failure;
    /// What happens to a record that is given up.
    kgroup::give_up give_up = kgroup::give_up::end;
};

// It is written inside `co_await` expressions, whose temporaries g++ 12 may destroy twice.
static_assert(std::is_trivially_destructible_v<retry_options>);

} // namespace kgroup
