// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/clock.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <initializer_list>
#include <optional>
#include <utility>

namespace kgroup::detail {

/// The deadlines that a group's loop waits for. Knows no clock.
///
/// Two of them are times that the user's coroutines have: `step` (handlers, or a hook) and `close`
/// (the run). When such a time is over, those who ended in it are heard first: a handler may have
/// ended, or have been told to, while the group's strand or the executor was busy. What was ready
/// then has had its turn when a notification has gone through both; the first one may have been on
/// its way before.
class deadline_table {
public:
    enum class deadline : std::size_t { step, close, session_backoff, tick };

    void set(deadline which, clock::time_point when) noexcept {
        at(which) = when;
        if (which == deadline::step) {
            hearing_ = false;
        }
    }
    void clear(deadline which) noexcept { at(which).reset(); }
    /// Not later than this, if it is set.
    void limit(deadline which, clock::time_point latest) noexcept {
        if (auto& when = at(which)) {
            when = (std::min)(*when, latest);
        }
    }

    /// Begins a turn of the loop. true: a notification is to be sent.
    bool begin_turn(clock::time_point now) noexcept {
        heard_ = false;
        if (!is_over(deadline::step, now) && !is_over(deadline::close, now)) {
            hearing_ = false;
            rounds_left_ = 0;
            return false;
        }
        if (!std::exchange(hearing_, true)) {
            rounds_left_ = 2;
        }
        if (rounds_left_ != 0) {
            return true;
        }
        hearing_ = false;
        heard_ = true;
        return false;
    }
    /// A notification has come.
    void notified() noexcept { rounds_left_ -= rounds_left_ != 0 ? 1 : 0; }

    /// Whether it is over, in this turn; then it is not set any more.
    bool take(deadline which, clock::time_point now) noexcept {
        if (!is_over(which, now) || (is_patient(which) && !heard_)) {
            return false;
        }
        clear(which);
        return true;
    }

    /// What the loop waits for at most. `others`: deadlines that parts keep themselves.
    clock::time_point
    nearest(std::initializer_list<std::optional<clock::time_point>> others) const noexcept {
        auto result = (clock::time_point::max)();
        for (auto const& when : others) {
            result = (std::min)(result, when.value_or(result));
        }
        for (auto const which :
             {deadline::step, deadline::close, deadline::session_backoff, deadline::tick}) {
            if (!is_patient(which) || rounds_left_ == 0) { // otherwise a notification is on its way
                result = (std::min)(result, at(which).value_or(result));
            }
        }
        return result;
    }

private:
    static constexpr bool is_patient(deadline which) noexcept {
        return which == deadline::step || which == deadline::close;
    }
    bool is_over(deadline which, clock::time_point now) const noexcept {
        return at(which) && *at(which) <= now;
    }
    std::optional<clock::time_point>& at(deadline which) noexcept {
        return deadlines_[static_cast<std::size_t>(which)];
    }
    std::optional<clock::time_point> const& at(deadline which) const noexcept {
        return deadlines_[static_cast<std::size_t>(which)];
    }

    std::array<std::optional<clock::time_point>, 4> deadlines_;
    bool hearing_ = false; // a patient one is over, and who ended before it is heard first
    bool heard_ = false;   // and they have been, in this turn
    int rounds_left_ = 0;  // of that
};

} // namespace kgroup::detail
