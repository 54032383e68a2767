// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/duration_histogram.hpp>
#include <kgroup/event.hpp>
#include <kgroup/group_state.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string_view>

// The families of metrics that a state has, each once: what writes them down, for whatever reader,
// goes through these tables. docs/observability.md lists them.

namespace kgroup::detail {

enum class metric_type { gauge, counter };

/// A whole number, or thousandths of a second or of a ratio.
struct metric_value {
    std::uint64_t count;
    bool thousandths = false;
};

/// nullopt: not known, so no sample.
using metric_reading = std::optional<metric_value>;

constexpr metric_reading whole(std::uint64_t count) noexcept { return metric_value{count}; }
/// An offset, a lag or a generation; negative: not known.
constexpr metric_reading if_known(std::int64_t count) noexcept {
    return count < 0 ? std::nullopt : whole(static_cast<std::uint64_t>(count));
}
inline metric_reading in_seconds(std::chrono::system_clock::duration length) noexcept {
    using std::chrono::milliseconds;
    auto const count = std::chrono::duration_cast<milliseconds>(length).count();
    return metric_value{static_cast<std::uint64_t>((std::max<std::int64_t>)(count, 0)), true};
}
inline metric_reading in_seconds(std::chrono::system_clock::time_point when) noexcept {
    return in_seconds(when.time_since_epoch());
}
inline metric_reading
in_seconds(std::optional<std::chrono::system_clock::time_point> const& when) noexcept {
    return when ? in_seconds(*when) : std::nullopt;
}
/// `share`: 0 to 1.
inline metric_reading ratio(double share) noexcept {
    return metric_value{static_cast<std::uint64_t>(std::clamp(share * 1000 + 0.5, 0.0, 1000.0)),
                        true};
}

/// A sample a group, with the label `group`. Names are without the `_total` that samples of
/// counters end in.
struct group_family {
    std::string_view name;
    metric_type type;
    std::string_view meaning;
    metric_reading (*value)(group_state const&);
};

template <auto Counter>
metric_reading counted(group_state const& group) noexcept {
    return whole(group.stats.*Counter);
}

inline constexpr group_family group_families[] = {
    {"kgroup_phase_start_timestamp_seconds", metric_type::gauge, "When it has entered its phase.",
     [](group_state const& group) { return in_seconds(group.phase_since); }},
    {"kgroup_last_look_timestamp_seconds", metric_type::gauge,
     "When the group had a thread for its own work last.",
     [](group_state const& group) { return in_seconds(group.looked_at); }},
    {"kgroup_generation", metric_type::gauge, "The generation of the membership.",
     [](group_state const& group) { return if_known(group.generation); }},
    {"kgroup_claims", metric_type::gauge, "Partitions that this member owns.",
     [](group_state const& group) { return whole(group.claims.size()); }},
    {"kgroup_abandoned_handlers", metric_type::gauge,
     "Frames of handlers that did not end in time and still live.",
     [](group_state const& group) { return whole(group.stats.abandoned_handlers); }},
    {"kgroup_last_commit_timestamp_seconds", metric_type::gauge,
     "When a commit was confirmed last, whole.",
     [](group_state const& group) { return in_seconds(group.last_commit); }},
    {"kgroup_last_commit_failure_timestamp_seconds", metric_type::gauge,
     "When a commit failed last.",
     [](group_state const& group) { return in_seconds(group.last_commit_failure); }},
    {"kgroup_sessions", metric_type::counter, "Sessions begun.", counted<&group_stats::sessions>},
    {"kgroup_rebalances", metric_type::counter, "Assignments and revocations answered.",
     counted<&group_stats::rebalances>},
    {"kgroup_rebalances_superseded", metric_type::counter, "Rebalances that a newer one made void.",
     counted<&group_stats::superseded_rebalances>},
    {"kgroup_records_delivered", metric_type::counter, "Records delivered to handlers.",
     counted<&group_stats::records_received>},
    {"kgroup_records_direct", metric_type::counter, "Records that kgroup fetched itself.",
     counted<&group_stats::records_direct>},
    {"kgroup_records_handed_over", metric_type::counter,
     "Records that librdkafka fetched for a direct group.",
     counted<&group_stats::records_handed_over>},
    {"kgroup_commits", metric_type::counter, "Commits that the broker confirmed, whole.",
     counted<&group_stats::commits>},
    {"kgroup_commits_failed", metric_type::counter,
     "Commits that failed, in part or whole, or timed out.", counted<&group_stats::commits_failed>},
    {"kgroup_offsets_committed", metric_type::counter,
     "Offsets of partitions that the broker confirmed.", counted<&group_stats::offsets_committed>},
    {"kgroup_marks_refused", metric_type::counter, "Marks and acknowledgements that did not count.",
     counted<&group_stats::marks_refused>},
    {"kgroup_messages_late", metric_type::counter,
     "Messages still held when their handler had returned.", counted<&group_stats::late_messages>},
    {"kgroup_wakeups_healed", metric_type::counter,
     "Wake-ups that the periodic look had to make up for.", counted<&group_stats::wakeups_healed>},
    {"kgroup_handlers_abandoned", metric_type::counter, "Handlers that did not end in time.",
     counted<&group_stats::handlers_abandoned>},
    {"kgroup_handler_failures_late", metric_type::counter,
     "Abandoned handlers that threw when the run was over.", counted<&group_stats::late_failures>},
    {"kgroup_events_dropped", metric_type::counter,
     "Events that were not told because of their rate.", counted<&group_stats::events_dropped>},
};

/// Samples of a group that one label more tells apart.
struct divided_family {
    std::string_view name;
    std::string_view meaning;
    std::string_view label;
    std::size_t parts;
    std::string_view (*part)(std::size_t);
    metric_reading (*value)(group_state const&, std::size_t);
};

inline constexpr divided_family divided_families[] = {
    {"kgroup_phase", "1: the phase that the group is in.", "phase", std::size(group_phases),
     [](std::size_t part) { return to_string(group_phases[part]); },
     [](group_state const& group, std::size_t part) {
         return whole(group.phase == group_phases[part]);
     }},
    {"kgroup_conditions", "Lasting conditions of this kind, by their places.", "kind",
     static_cast<std::size_t>(event_kind::client_log) + 1,
     [](std::size_t part) { return to_string(static_cast<event_kind>(part)); },
     [](group_state const& group, std::size_t part) -> metric_reading {
         auto const kind = static_cast<event_kind>(part);
         if (!ended_by(kind)) {
             return std::nullopt; // it does not last
         }
         return whole(static_cast<std::uint64_t>(
             std::ranges::count(group.conditions, kind, &lasting_condition::kind)));
     }},
};

/// A sample a claim, with the labels `topic` and `partition`, too.
struct claim_family {
    std::string_view name;
    metric_type type;
    std::string_view meaning;
    metric_reading (*value)(claim_state const&, group_state const&);
};

/// Of a claim that `for_each` works on; of others there is none.
template <auto Figure>
metric_reading of_processing(claim_state const& claim, group_state const&) noexcept {
    return claim.processing ? whole(*claim.processing.*Figure) : std::nullopt;
}

inline constexpr claim_family claim_families[] = {
    {"kgroup_claim_position", metric_type::gauge, "The next offset to deliver.",
     [](claim_state const& claim, group_state const&) { return if_known(claim.position); }},
    {"kgroup_claim_committed", metric_type::gauge, "The offset that the broker has confirmed.",
     [](claim_state const& claim, group_state const&) { return if_known(claim.committed); }},
    {"kgroup_claim_marked", metric_type::gauge, "The offset up to which all is done.",
     [](claim_state const& claim, group_state const&) { return if_known(claim.marked); }},
    {"kgroup_claim_log_end", metric_type::gauge, "The high watermark, as last fetched.",
     [](claim_state const& claim, group_state const&) { return if_known(claim.log_end); }},
    {"kgroup_claim_lag_records", metric_type::gauge, "Offsets from the position to the log's end.",
     [](claim_state const& claim, group_state const&) { return if_known(claim.lag); }},
    {"kgroup_claim_waiting_records", metric_type::gauge, "Records fetched and not delivered.",
     [](claim_state const& claim, group_state const&) { return whole(claim.records_waiting); }},
    {"kgroup_claim_waiting_bytes", metric_type::gauge,
     "About their size, by the mean of what was delivered.",
     [](claim_state const& claim, group_state const&) { return whole(claim.bytes_waiting); }},
    {"kgroup_claim_in_flight_records", metric_type::gauge,
     "Records from the oldest that is delivered and not done on.",
     [](claim_state const& claim, group_state const&) { return whole(claim.records_in_flight); }},
    {"kgroup_claim_oldest_in_flight_seconds", metric_type::gauge,
     "For how long the oldest of these has been delivered; 0 if there is none.",
     [](claim_state const& claim, group_state const& group) {
         return claim.oldest_in_flight ? in_seconds(group.at - *claim.oldest_in_flight)
                                       : in_seconds(std::chrono::system_clock::duration::zero());
     }},
    {"kgroup_claim_last_progress_timestamp_seconds", metric_type::gauge,
     "When the position or what is done moved last.",
     [](claim_state const& claim, group_state const&) { return in_seconds(claim.last_progress); }},
    {"kgroup_claim_paused", metric_type::gauge, "1: it is paused.",
     [](claim_state const& claim, group_state const&) { return whole(claim.paused); }},
    {"kgroup_claim_stalled", metric_type::gauge, "1: a lasting condition concerns it.",
     [](claim_state const& claim, group_state const&) {
         return whole(claim.stalled_since.has_value());
     }},
    {"kgroup_claim_records_delivered", metric_type::counter, "Records delivered by this claim.",
     [](claim_state const& claim, group_state const&) { return whole(claim.records_delivered); }},
    {"kgroup_claim_bytes_delivered", metric_type::counter,
     "Keys and values delivered by this claim.",
     [](claim_state const& claim, group_state const&) { return whole(claim.bytes_delivered); }},
    {"kgroup_claim_running_attempts", metric_type::gauge,
     "Attempts of for_each that are under way.", of_processing<&processing_state::running>},
    {"kgroup_claim_busy_lanes", metric_type::gauge, "Keys of which a record runs or waits.",
     of_processing<&processing_state::busy_lanes>},
    {"kgroup_claim_parked_keys", metric_type::gauge, "Keys that wait for a retry.",
     of_processing<&processing_state::parked_keys>},
    {"kgroup_claim_retrying_records", metric_type::gauge, "Records that wait for a retry.",
     of_processing<&processing_state::waiting_for_retry>},
    {"kgroup_claim_hottest_key_ratio", metric_type::gauge,
     "What the key with the most holds of the records that are taken and not done.",
     [](claim_state const& claim, group_state const&) {
         return claim.processing ? ratio(claim.processing->hottest_key_share) : std::nullopt;
     }},
    {"kgroup_claim_attempts", metric_type::counter, "Attempts of for_each begun.",
     of_processing<&processing_state::attempts>},
    {"kgroup_claim_attempts_failed", metric_type::counter, "Attempts of for_each that failed.",
     of_processing<&processing_state::attempts_failed>},
    {"kgroup_claim_dead_letters", metric_type::counter, "Dead letters of records given up.",
     of_processing<&processing_state::dead_letters>},
};

/// In seconds, with the label `group`.
struct histogram_family {
    std::string_view name;
    std::string_view meaning;
    duration_histogram group_state::*value;
};

inline constexpr histogram_family histogram_families[] = {
    {"kgroup_handling_seconds", "How long each attempt of for_each took.", &group_state::handling},
    {"kgroup_residence_seconds", "From when a record was fetched until for_each had done it.",
     &group_state::residence},
    {"kgroup_commit_seconds", "How long each commit took, whatever came of it.",
     &group_state::committing},
    {"kgroup_rebalance_seconds", "From when a rebalance was heard of until it was answered.",
     &group_state::rebalancing},
};

} // namespace kgroup::detail
