// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/config.hpp>
#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/claim/partition_state.hpp>
#include <kgroup/detail/client/client.hpp>
#include <kgroup/detail/group/claim_task.hpp>
#include <kgroup/detail/group/event_reporter.hpp>
#include <kgroup/detail/group/group_counters.hpp>
#include <kgroup/detail/group/hook_task.hpp>
#include <kgroup/detail/group/paused_partitions.hpp>
#include <kgroup/detail/group/session_machine.hpp>
#include <kgroup/detail/group/session_state.hpp>
#include <kgroup/detail/group/user_tasks.hpp>
#include <kgroup/end_reason.hpp>
#include <kgroup/handler.hpp>
#include <kgroup/observer.hpp>
#include <kgroup/session.hpp>
#include <kgroup/topic_partition.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/cancellation_type.hpp>
#include <asio/strand.hpp>

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace kgroup::detail {

/// The session that is under way: its claims, the starts that were found for them, their handlers,
/// and the hooks. The driver passes on what the client must know of it. On the group's strand.
class session_scope {
public:
    struct settings {
        /// A start that nothing is committed for would be found again by the next session.
        bool finds_starts_again = true;
        /// kgroup commits by itself, and not the program alone.
        bool commits = true;

        static settings of(config const& given) {
            return {given.initial_offset.value_or(offset_reset::earliest) ==
                            offset_reset::earliest ||
                        given.initial_time.has_value(),
                    given.commit_at_end || given.auto_commit_interval.count() != 0};
        }
    };
    /// What a session and its claims call.
    struct links {
        std::weak_ptr<session_services> services; // of whoever owns this
        std::weak_ptr<claim_observer> observer;
        std::weak_ptr<observer_binding> hooks{};
    };
    struct end_handlers {
        claim_task::end_handler on_handler_ended;
        hook_task::end_handler on_hook_ended;
    };

    session_scope(settings given, asio::any_io_executor executor, user_tasks& tasks,
                  paused_partitions& paused, event_reporter& reporter, group_counters& counters)
        : settings_(given),
          executor_(std::move(executor)),
          tasks_(tasks),
          paused_(paused),
          reporter_(reporter),
          counters_(counters) {}

    /// Whose `setup`, `consume_claim` and `cleanup` are called, and who is told that they have
    /// ended; before the first session.
    void use(std::shared_ptr<handler_binding> handler, links given, end_handlers on_end) {
        handler_ = std::move(handler);
        links_ = std::move(given);
        on_end_ = std::move(on_end);
    }
    void forget_handler() noexcept { handler_.reset(); }

    // The session.

    void begin(partition_set const& claims, clock::time_point now) {
        auto state = std::make_shared<session_state>();
        for (auto const& partition : claims) {
            state->claims.emplace(partition, make_claim(partition));
        }
        state_ = state;
        counters_.session_begins(state);
        session_ =
            std::make_shared<kgroup::session>(state, links_.services, links_.observer, executor_);
        strand_.emplace(asio::make_strand(executor_));
        began_ = now;
    }
    void end(end_reason reason) {
        state_->why = reason;
        state_->stopping.set();
        counters_.session_ends();
        state_.reset();
        session_.reset();
    }
    /// Null: there is none.
    std::shared_ptr<session_state> const& state() const noexcept { return state_; }
    partition_set claims() const {
        partition_set claims;
        for (auto const& claim : state_->claims) {
            claims.insert(claims.end(), claim.first);
        }
        return claims;
    }
    std::shared_ptr<partition_state> find(topic_partition const& partition) const {
        return state_ ? state_->find(partition) : nullptr;
    }
    bool is_lost() const noexcept { return state_ && is_loss(state_->why); }
    clock::time_point began() const noexcept { return began_; }

    // Where claims start.

    void forget_starts(partition_set const& partitions) {
        for (auto const& partition : partitions) {
            starts_.erase(partition);
        }
    }
    /// true: it has a claim already, which waits for that.
    bool keep_start(start_position found) {
        auto const claim = find(found.where);
        if (claim) {
            claim->adopt({found.committed, found.metadata});
        }
        auto partition = found.where;
        starts_.insert_or_assign(std::move(partition), std::move(found));
        return claim != nullptr;
    }
    /// `setup` may have moved it.
    start_position start_of(partition_state& claim) {
        auto start = starts_[claim.where()];
        start.where = claim.where();
        if (auto const marked = claim.tracker().marked(); marked >= 0) {
            start.leader_epoch = marked == start.start ? start.leader_epoch : -1;
            start.start = marked;
        } else if (start.start >= 0 && !settings_.finds_starts_again) {
            // The log's end is a start only once: what comes until the first mark would be passed
            // over by the next session.
            static_cast<void>(claim.tracker().mark(start.start, claim.tracker().epoch()));
        }
        return start;
    }
    /// `setup` has ended, or is not waited for: the starts that it has chosen. Once a session.
    partition_set take_chosen_starts() {
        std::lock_guard const lock{state_->mutex};
        return std::exchange(state_->setting_up, false) ? state_->chosen_starts : partition_set{};
    }

    // Claims and their handlers.

    /// The claim of a partition; it is made if there is none.
    std::shared_ptr<partition_state> claim(topic_partition const& partition) {
        auto claim = state_->find(partition);
        if (!claim) {
            claim = make_claim(partition);
            std::lock_guard const lock{state_->mutex};
            state_->claims.emplace(partition, claim);
        }
        return claim;
    }
    /// Starts the handler. false: not yet, its start is to be committed first, since it would be
    /// another one the next time; then `start_committed`.
    bool begin_claim(std::shared_ptr<partition_state> const& claim, std::size_t block_bytes) {
        if (claim->committed_before() >= 0 || claim->tracker().marked() < 0 ||
            settings_.finds_starts_again || !settings_.commits) {
            start_handler(claim, block_bytes);
            return true;
        }
        unstarted_.insert_or_assign(claim->where(), claim);
        return false;
    }
    void start_committed(std::shared_ptr<partition_state> const& claim, std::size_t block_bytes) {
        if (auto const found = unstarted_.find(claim->where());
            found != unstarted_.end() && found->second == claim) {
            unstarted_.erase(found);
            start_handler(claim, block_bytes);
        }
    }
    /// It has ended by itself, or as it was told to.
    void handler_ended(topic_partition const& partition) { running_.erase(partition); }
    running_claims const& running() const noexcept { return running_; }

    /// No more records for these; `whole`: the session ends with them. Returns those that had no
    /// handler yet.
    partition_set end_claims(partition_set const& claims, end_reason reason, bool whole,
                             clock::time_point finish_by) {
        if (whole && state_ && (state_->why == end_reason::running || is_loss(reason))) {
            state_->why = reason;
            state_->stopping.set();
        }
        partition_set unstarted;
        for (auto const& partition : claims) {
            if (auto const claim = find(partition)) {
                claim->end(reason, finish_by);
                if (is_loss(reason)) {
                    claim->tracker().seal(); // now, and not with the last commit: somebody else's
                                             // offset is not to be overwritten
                }
            }
            if (auto const found = running_.find(partition); found != running_.end()) {
                found->second->state->cancel(asio::cancellation_type::total);
            }
            if (unstarted_.erase(partition) != 0) {
                unstarted.insert(partition);
            }
        }
        return unstarted;
    }
    /// Handlers that were told of a later end are told of this one, if they ask.
    void finish_no_later_than(clock::time_point until) noexcept {
        for (auto const& claim : running_) {
            claim.second->state->finish_no_later_than(until);
        }
    }
    void cancel(partition_set const& claims) {
        for (auto const& partition : claims) {
            if (auto const found = running_.find(partition); found != running_.end()) {
                if (!is_loss(found->second->state->why_ended())) {
                    reporter_.handler_cancelled(partition);
                }
                found->second->cancel();
            }
        }
    }
    void abandon(partition_set const& claims) {
        for (auto const& partition : claims) {
            if (auto const found = running_.find(partition); found != running_.end()) {
                tasks_.abandon(*found->second);
                running_.erase(found);
                report_abandoned(partition);
            }
        }
    }
    /// Ends the ownership: no later mark counts. Returns the claims themselves.
    std::vector<std::shared_ptr<partition_state>> seal(partition_set const& claims) {
        std::vector<std::shared_ptr<partition_state>> sealed;
        for (auto const& partition : claims) {
            if (auto claim = find(partition)) {
                claim->tracker().seal();
                sealed.push_back(std::move(claim));
            }
        }
        return sealed;
    }
    /// Nothing of these is needed any more.
    std::vector<std::shared_ptr<partition_state>> drop(partition_set const& claims) {
        auto dropped = counters_.retire(claims);
        for (auto const& claim : dropped) {
            claim->end(end_reason::revoked);
            claim->give_away();
            if (auto* const source = claim->source()) {
                source->close();
            }
            starts_.erase(claim->where());
        }
        return dropped;
    }

    // The hooks.

    void run(hook_task::hook called) {
        hook_ = std::make_shared<hook_task>(called, handler_, session_, *strand_,
                                            on_end_.on_hook_ended);
        tasks_.start(links_.services.lock(), hook_);
    }
    void hook_ended() noexcept { hook_.reset(); }
    /// Null: none runs.
    hook_task* hook() const noexcept { return hook_.get(); }
    void cancel_hook() {
        reporter_.hook_cancelled();
        hook_->cancel();
    }
    void abandon_hook() {
        tasks_.abandon(*std::exchange(hook_, nullptr));
        report_abandoned(std::nullopt);
    }

private:
    std::shared_ptr<partition_state> make_claim(topic_partition const& partition) {
        auto const& start = starts_[partition];
        auto claim = std::make_shared<partition_state>(
            partition, executor_, tracked_offset{start.committed, start.metadata}, links_.observer);
        claim->observe(observed_claim{links_.hooks.lock()});
        paused_.attach(claim);
        return claim;
    }

    void start_handler(std::shared_ptr<partition_state> const& claim, std::size_t block_bytes) {
        auto const task = std::make_shared<claim_task>(handler_, session_, claim, block_bytes,
                                                       on_end_.on_handler_ended);
        running_[claim->where()] = task;
        tasks_.start(links_.services.lock(), task);
    }

    void report_abandoned(std::optional<topic_partition> partition) {
        counters_.add(&group_stats::handlers_abandoned);
        tasks_.count_abandoned();
        reporter_.handler_abandoned(std::move(partition));
    }

    settings settings_;
    asio::any_io_executor executor_;
    user_tasks& tasks_;
    paused_partitions& paused_;
    event_reporter& reporter_;
    group_counters& counters_;
    std::shared_ptr<handler_binding> handler_;
    links links_;
    end_handlers on_end_;
    std::shared_ptr<session_state> state_;
    std::shared_ptr<kgroup::session> session_;
    std::optional<asio::strand<asio::any_io_executor>> strand_; // of the hooks
    clock::time_point began_{};
    std::map<topic_partition, start_position> starts_; // that were found
    std::map<topic_partition, std::shared_ptr<partition_state>>
        unstarted_; // their starts are committed first
    running_claims running_;
    std::shared_ptr<hook_task> hook_;
};

} // namespace kgroup::detail
