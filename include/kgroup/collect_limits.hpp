// SPDX-License-Identifier: MIT

#pragma once

#include <chrono>
#include <cstddef>
#include <type_traits>

namespace kgroup {

/// When a batch of `message_channel::async_collect` is complete: whichever comes first. 0: no such
/// limit; one of them at least is given.
struct collect_limits {
    /// Messages; what is above 65,535 counts as that.
    std::size_t records = 0;

    /// Bytes of keys and values together. A message that is larger comes alone.
    std::size_t bytes = 0;

    /// Time since the first message of the batch was there.
    std::chrono::nanoseconds within{0};
};

// It is written inside `co_await` expressions, whose temporaries g++ 12 may destroy twice.
static_assert(std::is_trivially_destructible_v<collect_limits>);

} // namespace kgroup
