// SPDX-License-Identifier: MIT

#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <random>

namespace kgroup::tests {

/// How long something is given, so that it is about as often too late as in time, however fast the
/// machine is: what happened in one race sets the limit of the next.
class even_race {
public:
    std::chrono::microseconds limit() {
        return std::chrono::microseconds{random_() % (2 * typical_ + 1)};
    }
    void in_time() {
        ++won_;
        typical_ -= std::min(typical_, typical_ / 16 + 1);
    }
    void too_late() {
        ++lost_;
        typical_ = std::min<std::size_t>(typical_ + typical_ / 16 + 1, 100'000);
    }
    std::size_t won() const noexcept { return won_; }
    std::size_t lost() const noexcept { return lost_; }

private:
    std::mt19937 random_{1};
    std::size_t typical_ = 50;
    std::size_t won_ = 0;
    std::size_t lost_ = 0;
};

} // namespace kgroup::tests
