// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/fetch/partition_fetch.hpp>

#include <algorithm>
#include <chrono>

namespace kgroup::detail::fetch {

/// When metadata is asked: when something asks for it, and now and then; never more often than each
/// 100 ms, and less often while asking does not help.
class metadata_schedule {
public:
    /// @param refresh_interval not above 0: there is none.
    explicit metadata_schedule(std::chrono::milliseconds refresh_interval) noexcept
        : interval_(refresh_interval.count() > 0 ? (std::max)(refresh_interval, shortest)
                                                 : refresh_interval) {}

    /// Something of it is missing or outdated.
    void want() noexcept { wanted_ = true; }
    bool wanted() const noexcept { return wanted_; }

    /// When it is to be asked; in the past: now. `time_point::max()`: never.
    time_point due() const noexcept {
        if (under_way_) {
            return (time_point::max)();
        }
        auto const regular =
            interval_.count() > 0 && asked_once_ ? last_ + interval_ : (time_point::max)();
        return wanted_ ? (asked_once_ ? (std::min)(regular, last_ + distance_) : time_point{})
                       : regular;
    }
    /// Whether another broker is to be asked than the last time: because it is time to hear another
    /// one, or because what the last one said did not help.
    bool wants_another(time_point now) const noexcept {
        return asked_once_ && (!wanted_ || now < last_ + helpful);
    }
    void asked(time_point now) noexcept {
        under_way_ = asked_once_ = true;
        wanted_ = false;
        last_ = now;
    }
    /// @param complete whether all that is needed was in it.
    void answered(bool complete) noexcept {
        under_way_ = false;
        if (complete) {
            distance_ = shortest;
        } else {
            distance_ = (std::min)(2 * distance_, longest);
            wanted_ = true;
        }
    }
    /// The request got no answer: another broker is asked.
    void lost() noexcept {
        under_way_ = false;
        wanted_ = true;
    }

private:
    static constexpr std::chrono::milliseconds shortest{100};
    static constexpr std::chrono::milliseconds longest{1000};
    static constexpr std::chrono::seconds helpful{2}; // what is wanted later has another cause

    std::chrono::milliseconds interval_;
    std::chrono::milliseconds distance_ = shortest;
    time_point last_{};
    bool asked_once_ = false;
    bool under_way_ = false;
    bool wanted_ = false;
};

} // namespace kgroup::detail::fetch
