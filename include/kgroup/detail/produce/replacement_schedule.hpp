// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/clock.hpp>

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

namespace kgroup::detail {

/// When a producer of librdkafka's that has failed is replaced: the first at once, each after it
/// later, until records are acknowledged again. Knows no client and no clock.
class replacement_schedule {
public:
    /// The newest one has failed. Returns after which time it is replaced.
    std::chrono::milliseconds fail(clock::time_point now) noexcept {
        fails_ = true;
        due_ = now + delay_;
        return std::exchange(delay_, std::clamp(delay_ * 2, shortest, longest));
    }
    std::optional<clock::time_point> due() const noexcept { return due_; }
    /// Whether another one is to be made now.
    bool begin(clock::time_point now) noexcept {
        if (!due_ || now < *due_) {
            return false;
        }
        due_.reset();
        return true;
    }
    /// It could not be made.
    void retry(clock::time_point now) noexcept { due_ = now + (std::max)(delay_, shortest); }
    /// A record of the newest one was acknowledged. true: the one before had failed.
    bool succeed() noexcept {
        if (fails_) {
            delay_ = {};
        }
        return std::exchange(fails_, false);
    }

private:
    static constexpr std::chrono::milliseconds shortest{1000};
    static constexpr std::chrono::milliseconds longest{30'000};

    std::optional<clock::time_point> due_;
    std::chrono::milliseconds delay_{0}; // before the next replacement
    bool fails_ = false;                 // since then no record was acknowledged
};

} // namespace kgroup::detail
