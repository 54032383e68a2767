// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/events/event_line.hpp>
#include <kgroup/event.hpp>
#include <kgroup/group_state.hpp>

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

namespace kgroup {

/// What a probe answers.
struct health {
    bool ok = true;
    std::vector<std::string> reasons{}; ///< why it is not ok, each in one line; empty: it is

    /// Makes the answer no, for one more reason.
    void deny(std::string reason) {
        ok = false;
        reasons.push_back(std::move(reason));
    }
};

struct readiness_options {
    /// How long a member that was consuming may do something else (a rebalance and all that belongs
    /// to it, up to `setup`, or the time between two sessions) until it is not ready any more.
    std::chrono::milliseconds rebalance_time{30'000};
    /// Conditions that are known and accepted.
    std::vector<event_kind> tolerated{};
};

struct liveness_options {
    /// How long a claim may make no progress while that is up to this member, `setup` may run, and
    /// the group's own work may wait for a thread.
    std::chrono::milliseconds no_progress{300'000};
};

namespace detail {

inline std::string describe_exception(lasting_condition const& condition) {
    auto words = std::string{to_string(condition.kind)};
    if (condition.where) {
        words += " " + to_string(*condition.where);
    }
    if (!condition.text.empty()) {
        words += ": " + condition.text;
    }
    if (condition.error) {
        words += ": " + condition.error.message();
    }
    return one_line(std::move(words));
}

} // namespace detail

/// Whether this member does its part: it has its share of the group, which may be empty, and
/// nothing lasts that keeps it from its work. What it was once counts for the time of a rebalance
/// only.
///
/// Not ready: before the first assignment, in an outage, while any lasting condition is there
/// (docs/events.md; each is a reason, with its partition), in a rebalance that takes too long, when
/// it leaves or is stopped. A reason does not say that a restart would help: that is `liveness`.
inline health readiness(group_state const& state, readiness_options const& options = {}) {
    health result;
    auto const lasts = state.at - state.phase_since;
    auto const phase = std::string{to_string(state.phase)};
    if (state.phase == group_phase::stopped) {
        result.deny(state.failure.empty() ? phase : phase + ": " + detail::one_line(state.failure));
    } else if (state.phase == group_phase::leaving || !state.last_consuming) {
        result.deny(phase + " for " + detail::seconds_text(lasts));
    } else if (auto const without = state.at - *state.last_consuming;
               without > options.rebalance_time) {
        result.deny(phase + " for " + detail::seconds_text(lasts) + ", and nothing consumed for " +
                    detail::seconds_text(without));
    }
    for (auto const& condition : state.conditions) {
        if (std::ranges::find(options.tolerated, condition.kind) == options.tolerated.end()) {
            result.deny(detail::describe_exception(condition));
        }
    }
    return result;
}

/// Whether this process works. The brokers do not count: a restart of the process does not repair
/// them.
///
/// Not live: a claim that has made no progress for `no_progress` although it has something to do
/// (its handler is stuck; under `for_each`, a call of the function has not ended in that time), a
/// `setup` that runs that long, a group whose own work has had no thread for that long (the
/// executor's threads are all blocked), a run that has ended with an error.
///
/// Live: a claim that is paused, one whose handler waits for records or for the rest of a batch,
/// and one whose records wait for what is outside: `not_now`, a retry, a dead letter that is not
/// acknowledged, a place under a `limit` that others have. So is a group that was stopped, or does
/// not run yet.
inline health liveness(group_state const& state, liveness_options const& options = {}) {
    health result;
    if (state.phase == group_phase::stopped) {
        if (!state.failure.empty()) {
            result.deny("the run has ended: " + detail::one_line(state.failure));
        }
        return result;
    }
    auto const unattended = state.at - state.looked_at;
    if (unattended > options.no_progress && state.phase != group_phase::leaving) {
        result.deny("the group's own work has had no thread for " +
                    detail::seconds_text(unattended) + ": those of its executor are blocked");
    }
    auto const in_phase = state.at - state.phase_since;
    if (state.phase == group_phase::setting_up && in_phase > options.no_progress) {
        result.deny("setup has run for " + detail::seconds_text(in_phase));
    }
    for (auto const& claim : state.claims) {
        auto const still = state.at - claim.no_progress_since.value_or(state.at);
        if (still > options.no_progress) {
            result.deny(detail::to_string(claim.where) + ": no progress for " +
                        detail::seconds_text(still) + " at offset " +
                        std::to_string(claim.position) + ", " +
                        std::to_string(claim.records_waiting) + " records wait and " +
                        std::to_string(claim.records_in_flight) + " are in flight");
        }
    }
    return result;
}

} // namespace kgroup
