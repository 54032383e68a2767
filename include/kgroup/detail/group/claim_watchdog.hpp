// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/claim/partition_state.hpp>
#include <kgroup/detail/group/claim_task.hpp>
#include <kgroup/detail/group/claim_watch.hpp>
#include <kgroup/detail/group/event_reporter.hpp>
#include <kgroup/detail/group/group_counters.hpp>
#include <kgroup/error.hpp>
#include <kgroup/event.hpp>
#include <kgroup/offset_for_time.hpp>
#include <kgroup/topic_partition.hpp>

#include <asio/post.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace kgroup::detail {

/// Checks all running claims once a tick. It reports claims without progress, and wakes claims that
/// have missed a wake-up. It allocates nothing while all is well. On the group's strand.
class claim_watchdog {
public:
    using arrival_handler = std::function<void()>;
    using listener = std::function<std::string(topic_partition const&)>;

    /// `on_arrival`: records have come, so that a broker has answered. `heard`: what the client's
    /// log says of trouble with a partition.
    claim_watchdog(event_reporter& reporter, group_counters& counters, arrival_handler on_arrival,
                   listener heard)
        : reporter_(reporter),
          counters_(counters),
          on_arrival_(std::move(on_arrival)),
          heard_(std::move(heard)) {}

    /// `undisturbed`: nothing larger is the reason when nothing comes.
    void look(running_claims const& running, clock::time_point now, bool undisturbed) {
        for (auto const& claim : running) {
            auto& task = *claim.second;
            look_past_nothing(task);
            auto& state = *task.state;
            if ((state.waiting() && state.ended()) || state.cancel_pending()) {
                state.notify(); // told when there was no memory to tell it
                continue;
            }
            auto const seen = look_at(state);
            follow(task, seen, task.watch.look(seen, now, undisturbed), now);
        }
    }

    /// The partition was said not to be readable.
    void partition_failed(running_claims const& running, topic_partition const& partition,
                          std::error_code error, clock::time_point now) {
        if (auto const found = running.find(partition); found != running.end()) {
            // Who may not read may still be told where a log ends.
            auto const leader_knows =
                error != make_error_code(kafka_errc::topic_authorization_failed);
            found->second->watch.failed(look_at(*found->second->state), now, leader_knows);
        }
    }
    void outage_began(running_claims const& running) {
        for (auto const& claim : running) {
            claim.second->watch.outage_began(look_at(*claim.second->state));
        }
    }

    /// The claims whose logs' ends are to be asked for now. `outage`: any of them, to hear whether
    /// a broker is there.
    std::vector<topic_partition> claims_to_ask(running_claims const& running, clock::time_point now,
                                               bool outage) {
        std::vector<topic_partition> asked;
        auto const in_turn = now >= next_turn_;
        for (auto const& [partition, task] : running) {
            auto const due = in_turn || !task->watch.asked();
            auto const wanted = outage
                                    ? asked.size() < most_in_outage
                                    : due && task->watch.wants_log_end(look_at(*task->state), now);
            if (wanted) {
                asked.push_back(partition);
                task->watch.log_end_asked();
            }
        }
        if (!asked.empty() && in_turn) {
            next_turn_ = now + claim_watch::ask_after;
        }
        return asked;
    }
    /// The answer to that, for one of them.
    void log_end(running_claims const& running, offset_for_time const& end, clock::time_point now) {
        auto const found = running.find(end.where);
        if (found == running.end() || !found->second->state->source()) {
            return;
        }
        auto& task = *found->second;
        auto const known = task.state->source()->known_watermarks();
        auto const seen = look_at(*task.state);
        follow(task, seen,
               task.watch.log_end({end.error, end.offset.value_or(-1), known.low, known.high}, seen,
                                  now),
               now);
    }

    /// Whether something is to be told soon, for which a reason is to be looked for.
    static bool tells_soon(running_claims const& running, clock::time_point now) {
        return std::any_of(running.begin(), running.end(), [now](auto const& claim) {
            return claim.second->watch.tells_soon(now);
        });
    }

    // Claims whose handler has returned, while they are owned.

    void claim_left(topic_partition const& partition, clock::time_point now) {
        left_[partition] = now;
        reporter_.claim_left(partition);
    }
    /// It is read again, or not owned any more.
    void forget_left(topic_partition const& partition) { left_.erase(partition); }
    void look_at_left(clock::time_point now) {
        for (auto& [partition, told] : left_) {
            if (now - told >= tell_left_after) {
                told = now;
                reporter_.claim_left(partition);
            }
        }
    }

    static claim_look look_at(partition_state const& state) {
        claim_look seen{state.open() && !state.has_own_work(),
                        state.waiting(),
                        state.waits_for_acks(),
                        state.source()->waiting(),
                        state.next_to_come(),
                        0,
                        state.first_undone()};
        seen.delivered = state.delivered(); // last
        return seen;
    }

private:
    static constexpr auto tell_left_after = std::chrono::minutes{1};
    static constexpr std::size_t most_in_outage = 100; // of one broker at least

    // What waits may be nothing that is delivered.
    static void look_past_nothing(claim_task& task) {
        auto const delivered = task.state->delivered();
        auto const rests = std::exchange(task.delivered, delivered) == delivered;
        if (rests && !task.state->waiting() && task.state->source()->waiting() != 0) {
            asio::post(task.state->strand(), [state = task.state] {
                if (state->open()) {
                    state->source()->look();
                }
            });
        }
    }

    void follow(claim_task& task, claim_look const& seen, claim_watch::findings const& found,
                clock::time_point now) {
        auto const& partition = task.state->where();
        if (found.arrived) {
            on_arrival_();
        }
        if (found.recovered) {
            reporter_.partition_recovered(partition);
        }
        if (found.wake_up_missed) {
            counters_.add(&group_stats::wakeups_healed);
            reporter_.missed_wakeup(partition);
            task.state->notify();
        }
        if (found.resumed) {
            reporter_.claim_resumed(partition, seen.open);
        }
        if (found.stalled) {
            reporter_.claim_stalled(partition, seen);
        }
        if (found.records_come) {
            reporter_.records_come(partition, seen.open);
        }
        if (found.nothing_comes) {
            reporter_.nothing_comes(partition, now - task.watch.quiet_since(), task.watch.reason(),
                                    heard_(partition));
        }
    }

    event_reporter& reporter_;
    group_counters& counters_;
    arrival_handler on_arrival_;
    listener heard_;
    clock::time_point next_turn_{};
    std::map<topic_partition, clock::time_point> left_; // and when that was told last
};

} // namespace kgroup::detail
