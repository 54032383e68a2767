// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/duration_histogram.hpp>
#include <kgroup/event.hpp>
#include <kgroup/group_state.hpp>
#include <kgroup/health.hpp>
#include <kgroup/producer_config.hpp>
#include <kgroup/producer_state.hpp>

#include <nlohmann/json.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

namespace kgroup {

namespace detail {

/// RFC 3339, in UTC and to a millisecond: `2026-11-29T02:15:00.000Z`.
inline std::string json_time(std::chrono::system_clock::time_point when) {
    auto const second = std::chrono::floor<std::chrono::seconds>(when);
    auto const whole = std::chrono::system_clock::to_time_t(second);
    auto const milliseconds =
        std::chrono::duration_cast<std::chrono::milliseconds>(when - second).count();
    std::tm parts{};
    gmtime_r(&whole, &parts);
    char text[64];
    auto const length = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S.", &parts);
    std::string result{text, length};
    auto const fraction = std::to_string(1000 + milliseconds);
    return result.append(fraction, 1).append("Z");
}

inline nlohmann::json json_if(std::optional<std::chrono::system_clock::time_point> const& when) {
    return when ? nlohmann::json(json_time(*when)) : nlohmann::json{};
}

inline nlohmann::json json_error(std::error_code const& error) {
    return error ? nlohmann::json(error.message()) : nlohmann::json{};
}

inline nlohmann::json json_offset(std::int64_t offset) {
    return offset < 0 ? nlohmann::json{} : nlohmann::json(offset);
}

/// In seconds.
inline nlohmann::json json_histogram(duration_histogram const& counted) {
    auto buckets = nlohmann::json::array();
    for (std::size_t i = 0; i != duration_histogram::buckets; ++i) {
        auto const last = i == duration_histogram::bounds.size();
        buckets.push_back(
            {{"up_to",
              last ? nlohmann::json{}
                   : nlohmann::json(
                         std::chrono::duration<double>(duration_histogram::bounds[i]).count())},
             {"count", counted.counts[i]}});
    }
    return {{"buckets", std::move(buckets)},
            {"count", counted.count()},
            {"sum", std::chrono::duration<double>(counted.sum).count()}};
}

} // namespace detail

/// As of a claim.
inline void to_json(nlohmann::json& json, processing_state const& processing) {
    json = {{"running", processing.running},
            {"busy_lanes", processing.busy_lanes},
            {"parked_keys", processing.parked_keys},
            {"waiting_for_retry", processing.waiting_for_retry},
            {"hottest_key_share", processing.hottest_key_share},
            {"attempts", processing.attempts},
            {"attempts_failed", processing.attempts_failed},
            {"dead_letters", processing.dead_letters}};
}

/// A state as JSON, for logs and debug pages: names as in `group_state`, times by RFC 3339, null
/// for what is not known. To be written by `dump` with
/// `nlohmann::json::error_handler_t::replace`, since names and texts may come from others.
inline void to_json(nlohmann::json& json, claim_state const& claim) {
    auto const waits_for = claim.waits_for == handler_wait::records            ? "records"
                           : claim.waits_for == handler_wait::acknowledgements ? "acknowledgements"
                                                                               : "nothing";
    json = {
        {"topic", claim.where.topic},
        {"partition", claim.where.partition},
        {"since", detail::json_time(claim.since)},
        {"position", detail::json_offset(claim.position)},
        {"committed", detail::json_offset(claim.committed)},
        {"marked", detail::json_offset(claim.marked)},
        {"log_end", detail::json_offset(claim.log_end)},
        {"lag", detail::json_offset(claim.lag)},
        {"records_waiting", claim.records_waiting},
        {"bytes_waiting", claim.bytes_waiting},
        {"records_in_flight", claim.records_in_flight},
        {"oldest_in_flight", detail::json_if(claim.oldest_in_flight)},
        {"paused", claim.paused},
        {"acknowledges", claim.acknowledges},
        {"waits_for", waits_for},
        {"last_progress", detail::json_time(claim.last_progress)},
        {"no_progress_since", detail::json_if(claim.no_progress_since)},
        {"stalled_since", detail::json_if(claim.stalled_since)},
        {"stalled_why", claim.stalled_why},
        {"records_delivered", claim.records_delivered},
        {"bytes_delivered", claim.bytes_delivered},
        {"records_per_second", claim.records_per_second},
        {"processing", claim.processing ? nlohmann::json(*claim.processing) : nlohmann::json{}}};
}

/// As of a claim.
inline void to_json(nlohmann::json& json, lasting_condition const& condition) {
    json = {{"kind", to_string(condition.kind)},
            {"since", detail::json_time(condition.since)},
            {"text", condition.text},
            {"error", detail::json_error(condition.error)}};
    if (condition.where) {
        json["topic"] = condition.where->topic;
        json["partition"] = condition.where->partition;
    }
}

/// What `readiness` or `liveness` says.
inline void to_json(nlohmann::json& json, health const& judged) {
    json = {{"ok", judged.ok}, {"reasons", judged.reasons}};
}
/// A group's counters, by the names of their members.
inline void to_json(nlohmann::json& json, group_stats const& stats) {
    json = {{"sessions", stats.sessions},
            {"rebalances", stats.rebalances},
            {"superseded_rebalances", stats.superseded_rebalances},
            {"records_received", stats.records_received},
            {"records_direct", stats.records_direct},
            {"records_handed_over", stats.records_handed_over},
            {"commits", stats.commits},
            {"commits_failed", stats.commits_failed},
            {"offsets_committed", stats.offsets_committed},
            {"marks_refused", stats.marks_refused},
            {"late_messages", stats.late_messages},
            {"wakeups_healed", stats.wakeups_healed},
            {"handlers_abandoned", stats.handlers_abandoned},
            {"abandoned_handlers", stats.abandoned_handlers},
            {"late_failures", stats.late_failures},
            {"events_dropped", stats.events_dropped}};
}
/// A producer's counters, by the names of their members.
inline void to_json(nlohmann::json& json, producer_stats const& stats) {
    json = {{"unacknowledged", stats.unacknowledged}, {"waiting", stats.waiting},
            {"acknowledged", stats.acknowledged},     {"failed", stats.failed},
            {"replacements", stats.replacements},     {"events_dropped", stats.events_dropped}};
}
/// A producer's state, with its counters as `stats`.
inline void to_json(nlohmann::json& json, producer_state const& state) {
    json = {{"at", detail::json_time(state.at)},
            {"phase", to_string(state.phase)},
            {"bytes_unacknowledged", state.bytes_unacknowledged},
            {"outage_since", detail::json_if(state.outage_since)},
            {"last_error", detail::json_error(state.last_error)},
            {"last_error_at", detail::json_if(state.last_error_at)},
            {"conditions", state.conditions},
            {"stats", state.stats}};
}
/// A group's state, with its claims, their `lag` in all, and its counters as `stats`.
inline void to_json(nlohmann::json& json, group_state const& state) {
    json = {{"group_id", state.group_id},
            {"protocol", state.protocol == group_protocol::consumer ? "consumer" : "classic"},
            {"at", detail::json_time(state.at)},
            {"looked_at", detail::json_time(state.looked_at)},
            {"phase", to_string(state.phase)},
            {"phase_since", detail::json_time(state.phase_since)},
            {"last_consuming", detail::json_if(state.last_consuming)},
            {"failure", state.failure},
            {"member_id", state.member_id},
            {"generation", detail::json_offset(state.generation)},
            {"outage_since", detail::json_if(state.outage_since)},
            {"last_commit", detail::json_if(state.last_commit)},
            {"last_commit_failure", detail::json_if(state.last_commit_failure)},
            {"last_commit_error", detail::json_error(state.last_commit_error)},
            {"conditions", state.conditions},
            {"claims", state.claims},
            {"lag", state.lag()},
            {"stats", state.stats},
            {"handling", detail::json_histogram(state.handling)},
            {"residence", detail::json_histogram(state.residence)},
            {"committing", detail::json_histogram(state.committing)},
            {"rebalancing", detail::json_histogram(state.rebalancing)}};
}

} // namespace kgroup
