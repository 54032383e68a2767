// SPDX-License-Identifier: MIT

#pragma once

#include <algorithm>
#include <chrono>
#include <utility>

namespace kgroup::detail {

/// How long to wait before something is tried again: twice as long after each failure, up to a
/// limit.
class backoff {
public:
    constexpr backoff(std::chrono::milliseconds first, std::chrono::milliseconds longest) noexcept
        : first_(first),
          longest_(longest),
          next_(first) {}

    /// It has failed.
    constexpr std::chrono::milliseconds next() noexcept {
        return std::exchange(next_, (std::min)(next_ * 2, longest_));
    }
    /// It has not.
    constexpr void reset() noexcept { next_ = first_; }

private:
    std::chrono::milliseconds first_;
    std::chrono::milliseconds longest_;
    std::chrono::milliseconds next_;
};

} // namespace kgroup::detail
