// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/clock.hpp>

#include <algorithm>
#include <chrono>
#include <optional>

namespace kgroup::detail {

/// Until when each step of an ending may last: of claims that are revoked, of a session, and, once
/// it is to close, of the run. Knows no clock.
///
/// In a rebalance handlers, or `setup`, have the rebalance deadline, and `cleanup` has what they
/// leave of it, a quarter at least. When the run closes, all steps together have the time to close,
/// and handlers and `cleanup` all of it but the share that is kept for the commit and the leave:
/// `handlers_share`. What comes after its time, since others took more than theirs, has a quarter
/// of what is left then, so that each step has some.
class ending_times {
public:
    struct settings {
        clock::duration rebalance_deadline{};
        clock::duration commit_timeout{};
        clock::duration close_timeout{};
    };

    ending_times() = default;
    explicit ending_times(settings given) : settings_(given) {}

    /// What `config::close_timeout` says of handlers.
    static clock::duration handlers_share(settings const& limits) {
        auto const all = limits.close_timeout;
        auto const kept =
            (std::min<clock::duration>)(all / 4, limits.commit_timeout + std::chrono::seconds{1});
        auto const share = all - kept;
        return limits.rebalance_deadline > share && limits.rebalance_deadline <= all / 10 * 9
                   ? limits.rebalance_deadline
                   : share;
    }

    /// The run is to close. Only the first call counts.
    void close(clock::time_point now) {
        if (!closing_since_) {
            closing_since_ = now;
            drain_until_ = (std::min)(drain_until_, handlers_until());
        }
    }
    bool closing() const noexcept { return closing_since_.has_value(); }
    /// While `closing`.
    clock::time_point close_by() const { return *closing_since_ + settings_.close_timeout; }

    /// While `closing`: what had a time before has no more than this.
    clock::time_point handlers_until() const { return *closing_since_ + handlers_share(settings_); }

    /// What handlers, or `setup`, have that are told to end now.
    clock::time_point handlers(clock::time_point now) const {
        auto const usual = now + settings_.rebalance_deadline;
        return closing() ? (std::min)((std::max)(handlers_until(), now + left(now) / 4),
                                      group_waits_until_)
                         : usual;
    }
    /// They are told.
    clock::time_point drain(clock::time_point now) { return drain_until_ = handlers(now); }
    /// From now on the group waits for this member, or there is nothing to finish: no step of
    /// handlers or of `cleanup` that has begun lasts longer than this.
    clock::time_point hasten(clock::time_point now) {
        group_waits_until_ = now + settings_.rebalance_deadline;
        drain_until_ = (std::min)(drain_until_, group_waits_until_);
        return group_waits_until_;
    }
    /// Handlers, or a hook, that were cancelled now.
    clock::time_point grace(clock::time_point now) const {
        using namespace std::chrono_literals;
        auto const usual =
            (std::min<clock::duration>)(settings_.rebalance_deadline / 10 + 10ms, 1s);
        return now + (closing() ? (std::min)(usual, left(now) / 4) : usual);
    }
    /// `cleanup`, which begins now.
    clock::time_point cleanup(clock::time_point now) {
        if (drain_until_ == nothing_drains) {
            return drain(now);
        }
        return (std::max)(drain_until_,
                          now + (closing() ? left(now) : settings_.rebalance_deadline) / 4);
    }
    /// The last commit. The leave has a quarter of what is left then, a second at most.
    clock::time_point commit(clock::time_point now) const {
        auto const until = now + settings_.commit_timeout;
        return closing()
                   ? (std::min)(until,
                                close_by() - (std::min<clock::duration>)(left(now) / 4,
                                                                         std::chrono::seconds{1}))
                   : until;
    }
    /// The assignment that a member needs to leave with. There may be none, and without it the
    /// client takes its time to close.
    clock::time_point join(clock::time_point now) const { return now + left(now) / 2; }
    /// The claims that were to end are gone.
    void over() {
        drain_until_ = nothing_drains;
        group_waits_until_ = (clock::time_point::max)();
    }

private:
    clock::duration left(clock::time_point now) const {
        return (std::max)(close_by() - now, clock::duration{0});
    }

    settings settings_;
    std::optional<clock::time_point> closing_since_;
    static constexpr auto nothing_drains = (clock::time_point::min)();
    clock::time_point drain_until_ =
        nothing_drains; // of claims that end: handlers and `cleanup` together
    clock::time_point group_waits_until_ = (clock::time_point::max)();
};

} // namespace kgroup::detail
