// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/config.hpp>
#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/claim/partition_state.hpp>
#include <kgroup/detail/events/lasting_conditions.hpp>
#include <kgroup/detail/group/claim_progress.hpp>
#include <kgroup/detail/group/session_machine.hpp>
#include <kgroup/event.hpp>
#include <kgroup/group_state.hpp>
#include <kgroup/topic_partition.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace kgroup::detail {

/// What a member without an assignment waits for, as far as it knows.
enum class join_progress { no_broker, no_coordinator, joining, joined };

/// The phase of a machine at this step. `joined`: no assignment is awaited.
constexpr group_phase phase_of(session_machine::step at, join_progress progress,
                               bool closing) noexcept {
    using step = session_machine::step;
    switch (at) {
    case step::joining:
        switch (progress) {
        case join_progress::no_broker:
            return group_phase::connecting;
        case join_progress::no_coordinator:
            return group_phase::finding_coordinator;
        case join_progress::joining:
            return group_phase::joining;
        case join_progress::joined:
            return group_phase::consuming;
        }
        break;
    case step::looking_up:
        return group_phase::looking_up_offsets;
    case step::setting_up:
        return group_phase::setting_up;
    case step::running:
        return group_phase::consuming;
    case step::draining:
    case step::cleaning_up:
    case step::committing:
        return closing ? group_phase::leaving : group_phase::rebalancing;
    case step::backing_off:
        return group_phase::backing_off;
    case step::awaiting_final_assignment:
    case step::leaving:
        return group_phase::leaving;
    case step::finished:
        break;
    }
    return group_phase::stopped;
}

/// The group writes its state here, and other threads read it (`state`). Each claim keeps its own
/// counters. Readers take them under the lock of the board, which only the group's strand and
/// readers take. So no reader keeps a claim alive, and none delays a record.
///
/// Thread safety: `state`: any thread. Everything else: the group's strand.
class state_board {
public:
    state_board(std::string group_id, group_protocol protocol)
        : group_id_(std::move(group_id)),
          protocol_(protocol) {}

    void enter(group_phase phase, clock::time_point now) noexcept {
        if (phase == phase_) { // which is written on this strand only
            return;
        }
        std::lock_guard const lock{mutex_};
        if (phase_ == group_phase::consuming) {
            last_consuming_ = now;
        }
        phase_ = phase;
        phase_since_ = now;
    }
    group_phase phase() const noexcept { return phase_; }

    /// It is over; `failure`: by what, in words, or empty.
    void end(std::string failure, clock::time_point now) noexcept {
        enter(group_phase::stopped, now);
        std::map<topic_partition, owned_claim> rows; // let go behind the lock
        std::lock_guard const lock{mutex_};
        failure_ = std::move(failure);
        for (auto const& [where, row] : rows_) {
            keep_counts(*row.claim);
        }
        rows_.swap(rows);
    }

    void join(std::string member_id, std::int32_t generation) noexcept {
        std::lock_guard const lock{mutex_};
        member_id_ = std::move(member_id);
        generation_ = generation;
    }

    /// `error`: none, it was confirmed whole.
    void committed(std::error_code error, clock::duration took, clock::time_point now) noexcept {
        std::lock_guard const lock{mutex_};
        committing_.add(took);
        if (error) {
            last_commit_failure_ = now;
            last_commit_error_ = error;
        } else {
            last_commit_ = now;
        }
    }

    /// A rebalance was answered.
    void rebalanced(clock::duration took) noexcept {
        std::lock_guard const lock{mutex_};
        rebalancing_.add(took);
    }

    /// A claim is owned; `started`: it knows where its records come from, from now on.
    void own(std::shared_ptr<partition_state> const& claim, bool started, clock::time_point now) {
        std::lock_guard const lock{mutex_};
        auto& row = rows_.try_emplace(claim->where(), claim, now).first->second;
        if (row.claim != claim) { // of the session before
            keep_counts(*row.claim);
            row = owned_claim{claim, now};
        }
        row.started = started;
    }
    void disown(topic_partition const& where) noexcept {
        std::shared_ptr<partition_state> claim; // let go behind the lock
        std::lock_guard const lock{mutex_};
        if (auto const found = rows_.find(where); found != rows_.end()) {
            claim = std::move(found->second.claim);
            rows_.erase(found);
            keep_counts(*claim);
        }
    }

    /// Once in a while, in any phase.
    void look(clock::time_point now) noexcept {
        std::lock_guard const lock{mutex_};
        looked_ = now;
        for (auto& [where, row] : rows_) {
            if (row.started) {
                row.claim->tracker().look();
                auto seen = look_at(*row.claim);
                seen.rests = !has_work(*row.claim, in_flight(*row.claim, seen));
                row.progress.look(seen, now);
            }
        }
    }

    /// `counted`: by the group itself; what its claims count is added here.
    group_state state(lasting_conditions const& conditions, group_stats const& counted) const {
        auto const now = clock::now();
        group_state state;
        state.at = std::chrono::system_clock::now();
        auto const shown = [&](clock::time_point when) {
            return state.at - std::chrono::duration_cast<std::chrono::system_clock::duration>(
                                  (std::max)(now - when, clock::duration{0}));
        };
        auto const shown_if = [&](std::optional<clock::time_point> const& when) {
            return when ? std::optional{shown(*when)} : std::nullopt;
        };
        state.group_id = group_id_;
        state.protocol = protocol_;
        state.stats = counted;
        {
            std::lock_guard const lock{mutex_};
            state.phase = phase_;
            state.phase_since = shown(phase_since_);
            state.last_consuming =
                phase_ == group_phase::consuming ? state.at : shown_if(last_consuming_);
            state.looked_at = shown(looked_);
            state.failure = failure_;
            state.member_id = member_id_;
            state.generation = generation_;
            state.last_commit = shown_if(last_commit_);
            state.last_commit_failure = shown_if(last_commit_failure_);
            state.last_commit_error = last_commit_error_;
            state.stats.claims = rows_.size();
            // Not less than in the snapshot before, whatever ends meanwhile.
            state.stats.records_received = records_before_;
            state.handling = handling_before_;
            state.residence = residence_before_;
            state.committing = committing_;
            state.rebalancing = rebalancing_;
            state.claims.reserve(rows_.size());
            for (auto const& [where, row] : rows_) {
                state.stats.records_received +=
                    state.claims.emplace_back(claim_of(row, shown)).records_delivered;
                state.handling.add(row.claim->figures().handling.read());
                state.residence.add(row.claim->figures().residence.read());
            }
        }
        if (state.phase != group_phase::stopped) { // nothing is known of what lasts, then
            for (auto& lasting : conditions.all()) {
                auto& told = lasting.newest;
                auto text = one_line(words_beside(told.error, std::move(told.text)));
                if (told.kind == event_kind::brokers_unreachable) {
                    state.outage_since = shown(lasting.since);
                }
                state.conditions.push_back({told.kind, std::move(told.where), told.error,
                                            shown(lasting.since), std::move(text)});
            }
        }
        mark_stalled(state);
        return state;
    }

private:
    struct owned_claim {
        owned_claim(std::shared_ptr<partition_state> state, clock::time_point now) noexcept
            : claim(std::move(state)),
              since(now),
              progress(now) {}

        std::shared_ptr<partition_state> claim;
        clock::time_point since;
        claim_progress progress;
        bool started = false;
    };

    static claim_progress::look_at look_at(partition_state& claim) noexcept {
        auto& tracker = claim.tracker();
        if (auto const done = tracker.done_until()) {
            auto const delivered = tracker.delivered(); // after the other: it is not less
            return {delivered, static_cast<std::int64_t>(delivered),
                    static_cast<std::int64_t>(*done), true};
        }
        auto const done = (std::max)(tracker.marked(), claim.initial_offset());
        return {tracker.delivered(), claim.position(), done, false};
    }

    static std::uint64_t in_flight(partition_state const& claim,
                                   claim_progress::look_at const& seen) noexcept {
        // Offsets may have gaps, and what was not delivered is not in flight.
        auto const beyond =
            static_cast<std::uint64_t>((std::max<std::int64_t>)(seen.reached - seen.done, 0));
        return (std::min)(seen.by_number ? claim.tracker().in_flight() : beyond, seen.delivered);
    }

    // Whether the member has something to do in a claim: records wait or are in flight, and neither
    // a pause nor something outside holds them. A handler that waits for records holds none back,
    // whatever it has marked. But if it acknowledges record by record, others work for it, and may
    // hold records. Records that it collects are no batch yet.
    static bool has_work(partition_state const& claim, std::uint64_t records_in_flight) noexcept {
        auto const& figures = claim.figures();
        if (claim.paused() || figures.attempt_since.get() == (clock::time_point::max)()) {
            return false;
        }
        auto const waits = claim.source()->waiting() != 0;
        return claim.waiting() && !claim.waits_for_acks()
                   ? waits || (claim.tracker().done_until() && records_in_flight != 0)
                   : waits || claim.records_at_hand() != 0 || records_in_flight != 0;
    }

    template <typename Shown>
    static claim_state claim_of(owned_claim const& owned, Shown const& shown) {
        auto& claim = *owned.claim;
        claim_state state;
        state.where = claim.where();
        state.since = shown(owned.since);
        state.last_progress = shown(owned.progress.moved());
        state.committed = claim.tracker().committed();
        state.marked = claim.tracker().marked();
        state.paused = claim.paused();
        if (!owned.started) {
            return state;
        }
        auto const seen = look_at(claim);
        state.log_end = claim.source()->known_watermarks().high;
        state.position = claim.position(); // behind the log's end, which may lie behind it by now
        state.lag = state.log_end < 0 || state.position < 0
                        ? -1
                        : (std::max<std::int64_t>)(state.log_end - state.position, 0);
        state.records_delivered = seen.delivered;
        state.bytes_delivered = claim.bytes_taken();
        state.records_waiting = claim.source()->waiting() + claim.records_at_hand();
        if (auto const taken = claim.records_taken()) {
            state.bytes_waiting = static_cast<std::size_t>(
                static_cast<double>(state.bytes_delivered) / static_cast<double>(taken) *
                static_cast<double>(state.records_waiting));
        }
        state.records_in_flight = in_flight(claim, seen);
        if (state.records_in_flight != 0) {
            auto const oldest = owned.progress.oldest_in_flight();
            state.oldest_in_flight = oldest ? std::optional{shown(*oldest)} : std::nullopt;
        }
        if (has_work(claim, state.records_in_flight)) {
            state.no_progress_since = shown(
                (std::max)(owned.progress.stands_since(), claim.figures().attempt_since.get()));
        }
        state.acknowledges = seen.by_number;
        state.waits_for = claim.waits_for_acks() ? handler_wait::acknowledgements
                          : claim.waiting()      ? handler_wait::records
                                                 : handler_wait::nothing;
        state.records_per_second = owned.progress.rate();
        state.processing = processing_of(claim.figures());
        return state;
    }

    static std::optional<processing_state> processing_of(claim_figures const& figures) noexcept {
        if (!figures.processes.get()) {
            return std::nullopt;
        }
        processing_state state;
        state.running = figures.running.get();
        state.busy_lanes = figures.busy_lanes.get();
        state.parked_keys = figures.parked_keys.get();
        state.waiting_for_retry = figures.waiting_for_retry.get();
        state.hottest_key_share = figures.hottest_key_share.get();
        state.attempts_failed = figures.attempts_failed.get(); // first: it is not more than these
        state.attempts = figures.attempts.get();
        state.dead_letters = figures.dead_letters.get();
        return state;
    }

    // What a claim has counted stays when it goes.
    void keep_counts(partition_state& ended) noexcept {
        records_before_ += ended.delivered();
        handling_before_.add(ended.figures().handling.read());
        residence_before_.add(ended.figures().residence.read());
    }

    // A claim is stalled by what concerns it alone; the longest comes first.
    static void mark_stalled(group_state& state) {
        std::map<topic_partition, claim_state*> claims;
        if (!state.conditions.empty()) {
            for (auto& claim : state.claims) {
                claims.emplace(claim.where, &claim);
            }
        }
        for (auto const& condition : state.conditions) {
            auto const found = condition.where ? claims.find(*condition.where) : claims.end();
            if (found != claims.end() && (!found->second->stalled_since ||
                                          condition.since < *found->second->stalled_since)) {
                found->second->stalled_since = condition.since;
                found->second->stalled_why = condition.text;
            }
        }
    }

    std::string const group_id_;
    group_protocol const protocol_;

    mutable std::mutex mutex_; // of all below; what is written on the strand is read there without
    group_phase phase_ = group_phase::stopped;
    clock::time_point phase_since_ = clock::now();
    std::optional<clock::time_point> last_consuming_;
    clock::time_point looked_ = clock::now();
    std::string failure_;
    std::string member_id_;
    std::int32_t generation_ = -1;
    std::optional<clock::time_point> last_commit_;
    std::optional<clock::time_point> last_commit_failure_;
    std::error_code last_commit_error_;
    std::map<topic_partition, owned_claim> rows_;
    std::uint64_t records_before_ = 0; // delivered by claims that are not owned any more
    duration_histogram handling_before_;
    duration_histogram residence_before_;
    duration_histogram committing_;
    duration_histogram rebalancing_;
};

} // namespace kgroup::detail
