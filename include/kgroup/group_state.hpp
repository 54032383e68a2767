// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/config.hpp>
#include <kgroup/detail/events/event_line.hpp>
#include <kgroup/duration_histogram.hpp>
#include <kgroup/event.hpp>
#include <kgroup/topic_partition.hpp>

#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace kgroup {

/// What a group waits for or does.
enum class group_phase {
    stopped,             ///< it does not run: not yet, or no longer
    connecting,          ///< no broker has answered as one
    finding_coordinator, ///< brokers answer, and the group's coordinator does not
    joining,             ///< for an assignment: on the coordinator and the other members
    looking_up_offsets,  ///< for the offsets at which its claims start
    setting_up,          ///< `setup` runs
    consuming,           ///< claims run, or this member's share is empty: a standby
    rebalancing,         ///< claims end in order, for a rebalance
    backing_off,         ///< a handler has returned; the next session, or the next run, is to begin
    leaving,             ///< claims end in order and the group is left, for good
};

/// All phases, in the order in which they are declared.
inline constexpr group_phase group_phases[] = {
    group_phase::stopped,   group_phase::connecting,         group_phase::finding_coordinator,
    group_phase::joining,   group_phase::looking_up_offsets, group_phase::setting_up,
    group_phase::consuming, group_phase::rebalancing,        group_phase::backing_off,
    group_phase::leaving,
};

/// The name of a phase, as in its enumerator.
constexpr std::string_view to_string(group_phase phase) noexcept {
    switch (phase) {
    case group_phase::stopped:
        return "stopped";
    case group_phase::connecting:
        return "connecting";
    case group_phase::finding_coordinator:
        return "finding_coordinator";
    case group_phase::joining:
        return "joining";
    case group_phase::looking_up_offsets:
        return "looking_up_offsets";
    case group_phase::setting_up:
        return "setting_up";
    case group_phase::consuming:
        return "consuming";
    case group_phase::rebalancing:
        return "rebalancing";
    case group_phase::backing_off:
        return "backing_off";
    case group_phase::leaving:
        return "leaving";
    }
    return "unknown";
}

/// A condition that has begun and not ended. docs/events.md says for each kind what begins it, what
/// ends it, and what to do.
struct lasting_condition {
    event_kind kind{};                      ///< of the event that began it
    std::optional<topic_partition> where{}; ///< if it is about one; partition -1: the whole topic
    std::error_code error{};                ///< the cause, if there is one
    std::chrono::system_clock::time_point since{};
    std::string text{}; ///< in words, as newest told
};

namespace detail {

inline lasting_condition const*
find_condition(std::vector<lasting_condition> const& conditions, event_kind kind,
               std::optional<topic_partition> const& where = {}) noexcept {
    for (auto const& condition : conditions) {
        if (condition.kind == kind && (!where || condition.where == where)) {
            return &condition;
        }
    }
    return nullptr;
}

} // namespace detail

/// What a handler waits for, as far as its channel knows.
enum class handler_wait {
    nothing,          ///< it works, or waits for something else
    records,          ///< for the next record
    acknowledgements, ///< of records that were delivered long ago (`claim::ack`)
};

/// The work of `for_each` or `for_each_batch` in a claim: waiting, running and done.
struct processing_state {
    std::uint64_t running = 0;           ///< attempts that are under way
    std::uint64_t busy_lanes = 0;        ///< keys of which a record runs or waits (`order::by_key`)
    std::uint64_t parked_keys = 0;       ///< those of them that wait for a retry
    std::uint64_t waiting_for_retry = 0; ///< records
    /// The share of the key with the most records, of all records that are taken and not done: 0 to
    /// 1. Near 1, more attempts at a time would not help.
    double hottest_key_share = 0;
    std::uint64_t attempts = 0; ///< begun
    std::uint64_t attempts_failed = 0;
    std::uint64_t dead_letters =
        0; ///< of which the broker has confirmed each, or which were skipped
};

/// A partition that this member owns.
struct claim_state {
    topic_partition where{};
    std::chrono::system_clock::time_point since{}; ///< owned in this session

    // Offsets; -1: not known yet, or none.
    std::int64_t position = -1;  ///< the next to deliver
    std::int64_t committed = -1; ///< what the broker has confirmed
    std::int64_t marked = -1;    ///< what is done, and goes with the next commit
    std::int64_t log_end = -1;   ///< the high water mark, as last fetched
    std::int64_t lag = -1;       ///< from the position to the log's end, as `claim::lag`

    // What is here.
    std::size_t records_waiting = 0; ///< fetched and not delivered
    std::size_t bytes_waiting = 0;   ///< about: by the mean size of the records that were delivered
    std::uint64_t records_in_flight =
        0; ///< delivered and not done, or a few more: see docs/observability.md
    /// When the oldest of these was delivered, to half a second and to a tenth of its age; it may
    /// be older. nullopt: there is none.
    std::optional<std::chrono::system_clock::time_point> oldest_in_flight{};

    // How it goes.
    bool paused = false;
    bool acknowledges = false; ///< the handler acknowledges record by record (`claim::ack`)
    handler_wait waits_for = handler_wait::nothing;
    /// When the position or the marks moved last, to half a second. In a claim that has not moved:
    /// when it began.
    std::chrono::system_clock::time_point last_progress{};
    /// Since when this claim has not moved although its member has something to do, to half a
    /// second. With `for_each` it is not before the begin of the oldest running attempt. nullopt:
    /// there is nothing to do, the claim is paused, or its records wait for something outside (see
    /// `liveness`).
    std::optional<std::chrono::system_clock::time_point> no_progress_since{};
    std::optional<std::chrono::system_clock::time_point>
        stalled_since{};       ///< since when a lasting condition concerns it
    std::string stalled_why{}; ///< and in words, which

    // What it has had.
    std::uint64_t records_delivered = 0;
    std::uint64_t bytes_delivered =
        0;                         ///< keys and values; counted when a block of records is taken up
    double records_per_second = 0; ///< delivered, over some ten seconds

    std::optional<processing_state> processing{}; ///< nullopt: the handler does it by itself
};

/// What a group does, waits for, and how far behind it is: a snapshot. `readiness` and `liveness`
/// judge it, `prometheus_text` and (in `kgroup::app`) `to_json` write it down, `operator<<` too.
///
/// Times are of the system clock, for people and pages. The difference of two times in a snapshot
/// is that of the steady clock, also if the system clock was set meanwhile.
struct group_state {
    std::string group_id{};
    group_protocol protocol = group_protocol::classic;
    std::chrono::system_clock::time_point at{}; ///< when the snapshot was taken
    /// When the group last did its own periodic work. It does so twice a second, unless all threads
    /// of its executor are blocked, or it is stopped.
    std::chrono::system_clock::time_point looked_at{};

    group_phase phase = group_phase::stopped;
    std::chrono::system_clock::time_point phase_since{};
    std::optional<std::chrono::system_clock::time_point>
        last_consuming{};  ///< when it was consuming last: now, if it is
    std::string failure{}; ///< when it is stopped: what ended it, in words; empty: nothing did

    std::string member_id{};      ///< as of the last assignment; empty: none yet
    std::int32_t generation = -1; ///< as of the last assignment; -1: none yet

    std::optional<std::chrono::system_clock::time_point>
        outage_since{}; ///< no broker can be reached
    std::optional<std::chrono::system_clock::time_point>
        last_commit{}; ///< that the broker confirmed, whole
    std::optional<std::chrono::system_clock::time_point>
        last_commit_failure{};           ///< older than `last_commit`: it is over
    std::error_code last_commit_error{}; ///< the one of that failure

    std::vector<lasting_condition> conditions{}; ///< by kind and place
    std::vector<claim_state> claims{};           ///< by topic and partition
    group_stats stats{};

    // How long it takes, since the group was made.
    duration_histogram handling{};    ///< each attempt of `for_each` and `for_each_batch`
    duration_histogram residence{};   ///< each record that is done by these: since it was fetched
    duration_histogram committing{};  ///< each commit, whatever came of it
    duration_histogram rebalancing{}; ///< each rebalance that was answered: since it was heard of

    /// The condition of this kind and place, or the first of this kind; null: there is none.
    lasting_condition const* find(event_kind kind,
                                  std::optional<topic_partition> const& where = {}) const noexcept {
        return detail::find_condition(conditions, kind, where);
    }
    /// Of this partition; null: it is not owned.
    claim_state const* find(topic_partition const& where) const noexcept {
        for (auto const& claim : claims) {
            if (claim.where == where) {
                return &claim;
            }
        }
        return nullptr;
    }
    /// Of all claims whose lag is known.
    std::int64_t lag() const noexcept {
        std::int64_t sum = 0;
        for (auto const& claim : claims) {
            sum += claim.lag > 0 ? claim.lag : 0;
        }
        return sum;
    }
};

namespace detail {

/// "12.3 s".
inline std::string seconds_text(std::chrono::system_clock::duration length) {
    auto const tenths =
        std::chrono::duration_cast<std::chrono::duration<std::int64_t, std::deci>>(length).count();
    return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " s";
}

/// A line for logs, without its end; `at`: when the state was taken.
inline void print(std::ostream& out, lasting_condition const& condition,
                  std::chrono::system_clock::time_point at) {
    out << "  " << to_string(condition.kind);
    if (condition.where) {
        out << ' ' << to_string(*condition.where);
    }
    out << " for " << seconds_text(at - condition.since);
    if (!condition.text.empty()) {
        out << ": " << condition.text;
    }
}

} // namespace detail

/// For logs and debug pages: a line for the group, one for each condition, one for each claim.
inline std::ostream& operator<<(std::ostream& out, group_state const& state) {
    auto const ago = [&state](std::chrono::system_clock::time_point when) {
        return detail::seconds_text(state.at - when);
    };
    out << detail::one_line(state.group_id) << ": " << to_string(state.phase) << " for "
        << ago(state.phase_since);
    if (!state.failure.empty()) {
        out << " (" << detail::one_line(state.failure) << ")";
    }
    if (!state.member_id.empty()) {
        out << ", member " << detail::one_line(state.member_id) << ", generation "
            << state.generation;
    }
    out << ", " << state.claims.size() << " claims, lag " << state.lag();
    if (state.outage_since) {
        out << ", no broker for " << ago(*state.outage_since);
    }
    if (state.last_commit) {
        out << ", last commit " << ago(*state.last_commit) << " ago";
    }
    if (state.last_commit_failure &&
        (!state.last_commit || *state.last_commit < *state.last_commit_failure)) {
        out << ", commits fail: " << state.last_commit_error.message();
    }
    out << '\n';
    for (auto const& condition : state.conditions) {
        detail::print(out, condition, state.at);
        if (condition.error) {
            out << ": " << condition.error.message();
        }
        out << '\n';
    }
    for (auto const& claim : state.claims) {
        out << "  " << detail::to_string(claim.where) << ": position " << claim.position
            << ", committed " << claim.committed << ", marked " << claim.marked << ", log end "
            << claim.log_end << ", lag " << claim.lag << ", waiting " << claim.records_waiting
            << ", in flight " << claim.records_in_flight;
        if (claim.oldest_in_flight) {
            out << " (for " << ago(*claim.oldest_in_flight) << ")";
        }
        out << ", " << std::llround(claim.records_per_second) << " records/s"
            << (claim.paused ? ", paused" : "");
        if (auto const& processing = claim.processing) {
            out << ", " << processing->running << " attempts run, " << processing->busy_lanes
                << " lanes, " << processing->parked_keys << " keys parked, "
                << processing->waiting_for_retry << " wait for a retry, "
                << processing->attempts_failed << " of " << processing->attempts
                << " attempts failed, " << processing->dead_letters << " dead letters";
        }
        if (claim.stalled_since) {
            out << ", stalled for " << ago(*claim.stalled_since) << ": " << claim.stalled_why;
        }
        out << '\n';
    }
    return out;
}

} // namespace kgroup
