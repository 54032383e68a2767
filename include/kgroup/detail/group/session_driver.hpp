// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/config.hpp>
#include <kgroup/detail/asio/backoff.hpp>
#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/claim/partition_state.hpp>
#include <kgroup/detail/client/client.hpp>
#include <kgroup/detail/group/claim_task.hpp>
#include <kgroup/detail/group/deadline_table.hpp>
#include <kgroup/detail/group/group_parts.hpp>
#include <kgroup/detail/group/hook_task.hpp>
#include <kgroup/detail/group/lookup_driver.hpp>
#include <kgroup/detail/group/rebalance_driver.hpp>
#include <kgroup/detail/group/session_machine.hpp>
#include <kgroup/detail/group/session_scope.hpp>
#include <kgroup/end_reason.hpp>
#include <kgroup/error.hpp>
#include <kgroup/handler.hpp>
#include <kgroup/topic_partition.hpp>

#include <algorithm>
#include <chrono>
#include <exception>
#include <memory>
#include <utility>
#include <variant>
#include <vector>

namespace kgroup::detail {

/// Sessions: performs what the machine decides, a function for each of its actions, and tells it
/// how handlers and hooks end.
template <client Client>
class session_driver {
public:
    session_driver(group_parts& group, Client& client, lookup_driver<Client>& lookup,
                   rebalance_driver<Client>& rebalances) noexcept
        : group_(group),
          client_(client),
          lookup_(lookup),
          rebalances_(rebalances) {}

    /// Whose `setup`, `consume_claim` and `cleanup` are called; before the first session.
    /// `once`: there is one session only.
    void use(std::shared_ptr<handler_binding> handler, session_scope::links links, bool once) {
        group_.session.use(std::move(handler), std::move(links),
                           {[this](claim_task& ended) { on_handler_ended(ended); },
                            [this](hook_task& ended) { on_hook_ended(ended); }});
        once_ = once;
    }

    void perform(session_machine::actions const& actions) {
        end_steps();
        for (auto const& action : actions) {
            std::visit([this](auto const& decided) { this->perform(decided); }, action);
        }
    }

    /// What was cancelled at the very end has until then.
    clock::time_point end_by() const noexcept { return end_by_; }

private:
    using machine = session_machine;
    using step = session_machine::step;
    using deadline = deadline_table::deadline;
    using claim_list = std::vector<std::shared_ptr<partition_state>>;

    // What lasts as long as a step of the machine's.
    void end_steps() {
        if (group_.step() != step::looking_up) {
            lookup_.abandon();
            group_.reporter.offsets_not_needed();
        }
        if (group_.step() != step::setting_up) {
            group_.reporter.setup_resumed();
        }
    }

    // A session begins.

    void perform(machine::look_up const& action) { lookup_.begin(action.partitions); }

    void perform(machine::begin_session const& action) {
        group_.session.begin(action.partitions, clock::now());
        for (auto const& claim : group_.session.state()->claims) {
            group_.board.own(claim.second, false, clock::now());
        }
        group_.session.run(hook_task::hook::setup);
    }

    void perform(machine::start_claims const& action) {
        std::vector<start_position> assignment;
        std::vector<start_position> others; // assigned before
        claim_list claims;
        auto const generation = client_.generation_id();
        for (auto const& partition : action.claims) {
            auto claim = group_.session.claim(partition);
            auto start = action.delayed.contains(partition)
                             ? start_position{partition, start_position::unknown, -1, {}}
                             : group_.session.start_of(*claim);
            claim->start(client_.open(claim), start.start, generation,
                         client_.rebalance_deadline());
            group_.board.own(claim, true, clock::now());
            (action.assignment.contains(partition) ? assignment : others)
                .push_back(std::move(start));
            claims.push_back(std::move(claim));
        }
        if (action.answers) {
            rebalances_.assign(assignment, action.cooperative);
        }
        if (!others.empty()) {
            client_.seek(others);
        }
        warn_of_many_partitions();
        for (auto const& claim : claims) {
            if (!action.delayed.contains(claim->where())) {
                begin_claim(claim);
            }
        }
    }

    void perform(machine::start_delayed const& action) {
        claim_list claims;
        std::vector<start_position> starts;
        for (auto const& partition : action.claims) {
            auto const& claim = claims.emplace_back(group_.session.find(partition));
            starts.push_back(group_.session.start_of(*claim));
            claim->start(starts.back().start);
        }
        client_.seek(starts);
        for (auto const& claim : claims) {
            begin_claim(claim);
        }
    }

    void begin_claim(std::shared_ptr<partition_state> const& claim) {
        group_.watchdog.forget_left(claim->where());
        if (!group_.session.begin_claim(claim, client_.block_bytes())) {
            group_.committer.commit_starts(clock::now(), {claim});
        }
    }

    void warn_of_many_partitions() {
        auto const expected = group_.settings.expected_partitions;
        if (auto const owned = group_.session.state()->claims.size();
            owned > expected && !claims_share_buffer()) {
            group_.reporter.too_many_partitions(owned, expected);
        }
    }
    bool claims_share_buffer() const noexcept {
        if constexpr (requires { client_.shares_buffer(); }) {
            return client_.shares_buffer();
        } else {
            return false;
        }
    }

    // Rebalances.

    void perform(machine::assign_without_reading const& action) {
        std::vector<start_position> positions;
        for (auto const& partition : action.assignment) {
            positions.push_back({partition, start_position::log_end, -1, {}});
        }
        rebalances_.assign(positions, action.cooperative);
    }

    void perform(machine::release_partitions const& action) {
        rebalances_.release(action.partitions, action.cooperative);
    }

    void perform(machine::report_superseded const&) {
        group_.counters.add(&group_stats::superseded_rebalances);
    }

    // Claims and the session end.

    void perform(machine::end_claims const& action) {
        auto const unstarted = group_.session.end_claims(action.claims, action.why, action.session,
                                                         group_.times.handlers(clock::now()));
        for (auto const& partition : unstarted) {
            group_.feed(machine::claim_ended{partition, false}); // there is nothing to wait for
        }
        if (action.session) {
            auto const next_session = action.why == end_reason::claim_exited && !once_;
            rebalances_.given_back(action.claims, action.why, next_session);
        }
    }

    void perform(machine::cancel const& action) {
        group_.session.cancel(action.claims);
        if (action.claims.empty() && group_.session.hook()) {
            group_.session.cancel_hook();
        }
    }

    void perform(machine::abandon const& action) {
        group_.session.abandon(action.claims);
        if (action.claims.empty() && group_.session.hook()) {
            lookup_.take_chosen_starts();
            group_.session.abandon_hook();
        }
    }

    void perform(machine::clean_up const&) { group_.session.run(hook_task::hook::cleanup); }

    void perform(machine::commit const& action) {
        auto claims = group_.session.seal(action.claims);
        std::erase_if(
            claims, [&](auto const& claim) { return !action.may_commit.contains(claim->where()); });
        group_.look_for_missing_topics();
        auto const now = clock::now();
        group_.committer.finish(now, std::move(claims), group_.times.commit(now));
    }

    void perform(machine::seal const& action) { group_.session.seal(action.claims); }

    void perform(machine::forget_claims const& action) {
        group_.times.over();
        auto const dropped = group_.session.drop(action.claims);
        lookup_.forget(action.claims, "the partition is not owned any more");
        for (auto const& claim : dropped) {
            group_.board.disown(claim->where());
            group_.watchdog.forget_left(claim->where());
            group_.reporter.end_all_of(claim->where(), "the claim has ended");
            group_.resets.forget(claim->where());
        }
    }

    void perform(machine::end_session const& action) {
        group_.times.over();
        group_.outcome.session_ended(action.why);
        group_.commits.session_ended();
        group_.reporter.session_ended(action.why);
        group_.committer.fail_waiters(errc::session_ended);
        group_.session.end(action.why);
    }

    void perform(machine::report_exited_claim const& action) {
        group_.watchdog.claim_left(action.where, clock::now());
    }

    // Times.

    void perform(machine::arm_deadline const& action) {
        using limit = machine::arm_deadline::limit;
        auto& times = group_.times;
        auto const now = clock::now();
        if (group_.session.is_lost()) {
            times.hasten(now); // there is nothing to finish: handlers are cancelled already
        }
        switch (action.how_long) {
        case limit::drain:
            return group_.deadlines.set(deadline::step, group_.step() == step::cleaning_up
                                                            ? times.cleanup(now)
                                                            : times.drain(now));
        case limit::grace:
            return group_.deadlines.set(deadline::step, times.grace(now));
        case limit::join:
            return group_.deadlines.set(deadline::step, times.join(now));
        }
    }
    void perform(machine::hasten_deadline const&) {
        group_.limit_step(group_.times.hasten(clock::now()));
    }
    void perform(machine::disarm_deadline const&) { group_.deadlines.clear(deadline::step); }

    void perform(machine::start_backoff const&) {
        auto const now = clock::now();
        if (now - group_.session.began() > long_session) {
            backoff_.reset();
        }
        group_.deadlines.set(deadline::session_backoff, now + backoff_.next());
    }

    // The run ends.

    void perform(machine::close_client const&) {
        group_.begin_closing();
        client_.close();
        group_.loop_wakeup->notify(); // there may be nothing to wait for
    }

    void perform(machine::finish const& action) {
        if (action.cancelled_late) {
            end_by_ = clock::now() + group_parts::last_grace;
        }
    }

    // Handlers and hooks have ended.

    void on_handler_ended(claim_task& task) {
        auto const& partition = task.state->where();
        auto const failed = task.failed();
        if (!group_.tasks.end(task)) {
            group_.session.handler_ended(partition);
            if (failed) {
                group_.outcome.fail(task.failure);
                group_.begin_closing();
            }
            group_.feed(machine::claim_ended{partition, failed});
        }
        if (task.late_messages != 0) {
            group_.counters.add(&group_stats::late_messages, task.late_messages);
            group_.reporter.late_messages(partition, task.late_messages);
        }
        if (failed) {
            report_failure(task.failure, &partition);
        } else if (!task.abandoned && !task.state->ended() &&
                   group_.settings.on_claim_exit == claim_exit::end_session) {
            group_.reporter.claim_exited(partition);
        }
    }

    void on_hook_ended(hook_task& task) {
        auto const failed = task.failed();
        auto const is_setup = task.called() == hook_task::hook::setup;
        if (!group_.tasks.end(task)) {
            group_.session.hook_ended();
            if (failed) {
                group_.outcome.fail(task.failure);
                group_.begin_closing();
            }
            lookup_.take_chosen_starts();
            group_.feed(is_setup ? machine::event{machine::setup_ended{failed}}
                                 : machine::event{machine::cleanup_ended{failed}});
        }
        if (failed) {
            report_failure(task.failure, nullptr);
        } else if (!task.abandoned && group_.session.state() && is_setup) {
            group_.reporter.session_started(group_.session.state()->claims.size());
        }
    }

    // `partition`: null for a hook.
    void report_failure(std::exception_ptr const& failure, topic_partition const* partition) {
        if (group_.reporter.closed()) {
            group_.counters.add(&group_stats::late_failures);
        } else if (partition) {
            group_.reporter.handler_failed(*partition, failure);
        } else {
            group_.reporter.hook_failed(failure);
        }
    }

    static constexpr auto longest_backoff = std::chrono::seconds{30};
    // After a session that lasted so long, the next one begins soon.
    static constexpr auto long_session = std::chrono::minutes{1};

    group_parts& group_;
    Client& client_;
    lookup_driver<Client>& lookup_;
    rebalance_driver<Client>& rebalances_;
    bool once_ = false;
    backoff backoff_{std::chrono::milliseconds{250}, longest_backoff};
    clock::time_point end_by_{};
};

} // namespace kgroup::detail
