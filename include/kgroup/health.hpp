// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/group/event_line.hpp>
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
    /// How long a claim may make no progress while there is something to do, `setup` may run, and
    /// the group's own work may wait for a thread.
    std::chrono::milliseconds no_progress{300'000};
};

namespace detail {

/// Whether a claim has something to do and does not do it: it makes no progress although it is open
/// and records wait or are in flight. A handler that waits for records holds none back, whatever it
/// has marked, unless it acknowledges record by record: then others work for it.
inline bool is_stuck(claim_state const& claim) noexcept {
    auto const something = claim.records_waiting != 0 || claim.records_in_flight != 0;
    return !claim.paused && something &&
           (claim.waits_for != handler_wait::records || claim.records_waiting != 0 ||
            (claim.acknowledges && claim.records_in_flight != 0));
}

inline std::string words_of(lasting_condition const& condition) {
    auto words = std::string{to_string(condition.kind)};
    if (condition.where) {
        words += " " + name(*condition.where);
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
            result.deny(detail::words_of(condition));
        }
    }
    return result;
}

/// Whether this process works: not whether the brokers do, of which a restart mends nothing.
///
/// Not live: a claim that has something to do, is not paused and has made no progress for
/// `no_progress` (its handler is stuck), a `setup` that runs that long, a group whose own work has
/// had no thread for that long (the executor's threads are all blocked), a run that has ended with
/// an error. A group that was stopped, or does not run yet, is live.
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
        auto const still = state.at - claim.last_progress;
        if (detail::is_stuck(claim) && still > options.no_progress) {
            result.deny(detail::name(claim.where) + ": no progress for " +
                        detail::seconds_text(still) + " at offset " +
                        std::to_string(claim.position) + ", " +
                        std::to_string(claim.records_waiting) + " records wait and " +
                        std::to_string(claim.records_in_flight) + " are in flight");
        }
    }
    return result;
}

} // namespace kgroup
