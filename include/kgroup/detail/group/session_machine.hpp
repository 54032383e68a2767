// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/client/rebalance.hpp>
#include <kgroup/end_reason.hpp>
#include <kgroup/topic_partition.hpp>

#include <algorithm>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

namespace kgroup::detail {

/// Decides what a group does when partitions are assigned, revoked or lost, a handler ends, or the
/// run is stopped. Events go in, actions come out. It knows no executor, no clock and no Kafka
/// client. The driver performs the actions in order, before the next event, and reports their
/// outcomes as events.
///
/// Four rules of librdkafka shape it (confluentinc/librdkafka, 2.0 to 2.16):
///
/// - A rebalance may be answered late, but only once. An eager rebalance that a newer one has
///   overtaken is not answered any more: the answer to the old revocation would undo the new
///   assignment.
/// - Cooperative rebalances are deltas: apply every one. librdkafka never sends an overtaken delta
///   again, and refuses one that does not match. Two revocations are answered at once, because the
///   answer to the first would count as the answer to the second.
/// - While a rebalance is unanswered, nothing is delivered, also to the claims that stay. So an
///   answer must not take longer than the handlers need.
/// - A lost assignment may belong to others already, and a commit for it would move their offsets
///   back. The same holds for revoked partitions as soon as a newer rebalance overtakes the
///   revocation and does not give them back.
///
/// Hence three sets: assigned by the group, assigned in the client, with a claim. A rebalance
/// changes the first at once. The other two follow.
///
/// A member may own ten thousand partitions. So the differences between the sets are kept, and not
/// computed anew: an event costs as much as it changes. Only an eager rebalance and the end of a
/// session change all.
class session_machine {
public:
    struct settings {
        bool keep_others = false; // a handler that returns early leaves the other claims running
        bool once = false;        // one session, then close
    };

    // Events.

    using assigned = partitions_assigned;
    using revoked = partitions_revoked;
    /// `look_up` has found where the claims start, but for these: their handlers start when it is
    /// known.
    struct looked_up {
        partition_set delayed{};
    };
    /// The start of claims that were delayed is known now.
    struct start_found {
        partition_set partitions;
    };
    struct setup_ended {
        bool failed = false;
    };
    /// The handler of a claim has ended by itself or as it was told to; not for one that was
    /// abandoned.
    struct claim_ended {
        topic_partition where;
        bool failed = false;
    };
    struct cleanup_ended {
        bool failed = false;
    };
    struct committed {};
    /// The deadline of `arm_deadline` has passed.
    struct deadline_over {};
    struct backoff_over {};
    /// `joined`: the member is known to the group, so that leaving without having been assigned
    /// anything would leave a ghost behind.
    struct stop_requested {
        bool joined = false;
    };
    /// Something outside the handlers failed so that the run cannot go on, but the membership is
    /// intact.
    struct failed {};
    /// The membership is gone for good.
    struct fatal {};
    struct client_closed {};
    /// The time from the stop to the completion is over.
    struct close_deadline_over {};
    /// An action failed in the middle, and its effect is not known. These claims of the session are
    /// left. It is the only event that also counts after `finish`.
    struct interrupted {
        partition_set claims;
    };

    using event =
        std::variant<assigned, revoked, looked_up, setup_ended, claim_ended, cleanup_ended,
                     committed, deadline_over, backoff_over, stop_requested, failed, fatal,
                     client_closed, close_deadline_over, start_found, interrupted>;

    // Actions.

    /// Find out where these claims start, one at least; then `looked_up`. An earlier look-up is
    /// void.
    struct look_up {
        partition_set partitions;
    };
    /// Create the session over these partitions and run `setup`; then `setup_ended`.
    struct begin_session {
        partition_set partitions;
    };
    /// Answer the assignment; then start the handlers of `claims`: those of `assignment`, and
    /// others assigned before.
    struct start_claims {
        partition_set assignment;
        partition_set claims;
        bool cooperative = false;
        bool answers = true; // false: there is nothing to tell the client
        partition_set
            delayed{}; // of the claims: nothing is read, and their handlers do not start yet
    };
    /// Start the handlers of claims that were delayed.
    struct start_delayed {
        partition_set claims;
    };
    /// Answer an assignment whose records nobody will read.
    struct assign_without_reading {
        partition_set assignment;
        bool cooperative = false;
    };
    /// Answer the revocation; or, before a cooperative assignment is answered, make up for one it
    /// has overtaken.
    struct release_partitions {
        partition_set partitions;
        bool cooperative = false;
    };
    /// No more records for these; their handlers are told why. Later calls for the same claim make
    /// the reason worse.
    struct end_claims {
        partition_set claims;
        end_reason why;
        bool session = false; // nothing of the session stays
    };
    /// Cancel what still runs: handlers of these claims, or the hook (`setup`, `cleanup`) if there
    /// are none.
    struct cancel {
        partition_set claims;
    };
    /// Go on without these handlers, or without the hook; their ends are not reported any more.
    struct abandon {
        partition_set claims;
    };
    /// Run `cleanup`; then `cleanup_ended`.
    struct clean_up {};
    /// End the ownership of `claims`, so that no later mark counts; commit what is marked in
    /// `may_commit`; then `committed`.
    struct commit {
        partition_set claims;
        partition_set may_commit;
    };
    /// End the ownership of these, so that no later mark counts. Nothing is committed.
    struct seal {
        partition_set claims;
    };
    /// Nothing of these is needed any more.
    struct forget_claims {
        partition_set claims;
    };
    struct end_session {
        end_reason why;
    };
    /// A handler has returned and its claim stays behind.
    struct report_exited_claim {
        topic_partition where;
    };
    /// A newer rebalance has overtaken an unanswered one.
    struct report_superseded {};
    /// Give handlers or a hook time to end; then `deadline_over`. A deadline that was armed before
    /// is void.
    struct arm_deadline {
        enum class limit { drain, grace, join } how_long;
    };
    struct disarm_deadline {};
    /// The group waits for this member from now on: the armed deadline passes no later than it
    /// would in a rebalance.
    struct hasten_deadline {};
    struct start_backoff {};
    /// Leave the group; revocations come and are answered meanwhile; then `client_closed`.
    struct close_client {};
    /// The run is over.
    struct finish {
        bool cancelled_late = false; // with it: what was cancelled has a moment left to end
    };

    using action = std::variant<look_up, begin_session, start_claims, assign_without_reading,
                                release_partitions, end_claims, cancel, abandon, clean_up, commit,
                                seal, forget_claims, end_session, report_exited_claim,
                                report_superseded, arm_deadline, disarm_deadline, hasten_deadline,
                                start_backoff, close_client, finish, start_delayed>;
    using actions = std::vector<action>;

    /// Where the machine is: what it waits for.
    enum class step {
        joining,                   // no session, nothing assigned: for a rebalance
        looking_up,                // for the start offsets
        setting_up,                // for `setup`
        running,                   // for a rebalance or a handler's end
        draining,                  // for handlers that are to end
        cleaning_up,               // for `cleanup`
        committing,                // for the commit at the end of claims
        backing_off,               // for the time between two sessions over the same assignment
        awaiting_final_assignment, // for an assignment, to leave with: a member that waits for one
        // sends no LeaveGroup
        leaving, // for the client
        finished,
    };

    session_machine() = default;
    explicit session_machine(settings given) : settings_(given) {}

    step current_step() const noexcept { return step_; }
    bool in_session() const noexcept { return session_; }
    partition_set const& claims() const noexcept { return claims_; }

    actions handle(event const& input) {
        out_.clear();
        if (step_ != step::finished || std::holds_alternative<interrupted>(input)) {
            std::visit([this](auto const& told) { on(told); }, input);
        }
        return std::exchange(out_, {});
    }

private:
    struct rebalance {
        bool assignment;
        partition_set partitions;
        bool cooperative;
    };

    // Rebalances.

    void on(assigned const& change) {
        on_rebalance({true, change.partitions, change.cooperative}, false);
    }
    void on(revoked const& change) {
        on_rebalance({false, change.partitions, change.cooperative}, change.lost);
    }

    void on_rebalance(rebalance change, bool lost) {
        if (unanswered_) {
            out_.push_back(report_superseded{});
        }
        group_waits_ = !change.assignment && !lost;
        if (armed_ && session_end_) {
            hasten();
        }
        lose(given_away_by(change, lost), end_reason::lost);
        if (!change.cooperative) {
            to_release_ = assigned_in_client_;
            remove(assigned_by_group_, partition_set{assigned_by_group_});
        } else if (!change.assignment) {
            auto const taken = intersection(change.partitions, assigned_in_client_);
            to_release_.insert(taken.begin(), taken.end());
            remove(assigned_by_group_, change.partitions);
        }
        if (change.assignment) {
            add(assigned_by_group_, change.partitions);
        }
        // Eager rebalances replace a session; and one that is only being set up is cheap to
        // replace.
        if (session_ && (!change.cooperative || step_ == step::setting_up)) {
            auto const all_lost = claims_.empty() ? lost : all_claims_lost();
            if (!replaced_by_ || all_lost) {
                replaced_by_ = all_lost ? end_reason::lost : end_reason::revoked;
            }
        }
        unanswered_ = std::move(change);
        if (step_ == step::leaving || step_ == step::awaiting_final_assignment) {
            auto const assignment = unanswered_->assignment;
            answer_unread();
            if (assignment && step_ == step::awaiting_final_assignment) {
                disarm();
                close();
            }
            return;
        }
        on_change();
    }

    // The claims that others may have from now on.
    partition_set given_away_by(rebalance const& change, bool lost) const {
        if (change.cooperative) {
            auto gone = change.assignment ? difference(revoked_, change.partitions) : revoked_;
            if (lost) {
                gone.merge(intersection(change.partitions, claims_));
            }
            return gone;
        }
        return change.assignment ? difference(claims_, change.partitions)
               : lost            ? claims_
                                 : revoked_;
    }

    // Where ending goes on already, the handlers learn of it now, and the rest follows in its turn.
    // Elsewhere it begins.
    void lose(partition_set gone, end_reason why) {
        gone = difference(gone, lost_);
        lost_.insert(gone.begin(), gone.end());
        if (gone.empty() || (step_ != step::draining && step_ != step::cleaning_up &&
                             step_ != step::committing && !session_end_)) {
            return;
        }
        auto const all = all_claims_lost();
        if (session_end_ && all) {
            session_end_ = why;
        }
        out_.push_back(end_claims{gone, why, all});
        if (cancel_those(gone) && step_ == step::draining) {
            arm(arm_deadline::limit::drain);
        }
    }

    bool cancel_those(partition_set const& claims) {
        auto const late = difference(intersection(claims, handlers_), cancelled_);
        if (late.empty()) {
            return false;
        }
        cancelled_.insert(late.begin(), late.end());
        out_.push_back(cancel{late});
        return true;
    }

    bool all_claims_lost() const { return lost_.size() == claims_.size(); } // only claims are lost

    // What the client is to be told to assign.
    partition_set take_over() {
        if (unanswered_ && !unanswered_->cooperative) {
            may_leave_ = true;
            to_release_.clear();
            remove(assigned_in_client_, partition_set{assigned_in_client_});
            add(assigned_in_client_, assigned_by_group_);
            return assigned_in_client_;
        }
        auto added = untold_;
        add(assigned_in_client_, added);
        may_leave_ = may_leave_ || !assigned_in_client_.empty();
        return added;
    }

    void release(bool cooperative) {
        remove(assigned_in_client_, to_release_);
        may_leave_ = !assigned_in_client_.empty();
        out_.push_back(release_partitions{std::exchange(to_release_, {}), cooperative});
    }

    void answer_unread() {
        if (unanswered_->assignment) {
            auto assignment = take_over();
            out_.push_back(assign_without_reading{std::move(assignment), unanswered_->cooperative});
        } else {
            release(unanswered_->cooperative);
        }
        unanswered_.reset();
    }

    // What next?

    // Something has changed, perhaps in the middle of something else.
    void on_change() {
        switch (step_) {
        case step::joining:
        case step::looking_up:
        case step::running:
        case step::backing_off:
            return decide_next();
        case step::setting_up:
        case step::draining:
            if (!session_end_ && (must_end() || taken_claims() != ending_)) {
                decide_next();
            }
            return;
        case step::committing:
            return end_rest();
        default:
            return; // in its turn
        }
    }

    // The session is to end, and the last commit of some of its claims is under way: the handlers
    // of the others need not wait for the answer to learn of it.
    void end_rest() {
        auto const why = must_end();
        if (!why || session_end_ || rest_ended_) {
            return;
        }
        if (auto rest = difference(difference(claims_, ending_), lost_); !rest.empty()) {
            rest_ended_ = why;
            out_.push_back(end_claims{std::move(rest), *why, true});
        }
    }

    // A step is done. The one place that decides what follows.
    void decide_next() {
        if (session_) {
            if (auto const why = must_end()) {
                return drain(claims_, *why, true);
            }
            if (auto const taken = taken_claims(); !taken.empty()) {
                return drain(taken, all_lost(taken) ? end_reason::lost : end_reason::revoked,
                             false);
            }
        } else if (fatal_) {
            return finish_now();
        }
        auto const unread = !session_ && (stopping_ || failed_ || over_);
        if (unanswered_ && unanswered_->cooperative && unanswered_->assignment &&
            !to_release_.empty()) {
            release(true); // a revocation it has overtaken
        }
        if (unanswered_ && (unread || !unanswered_->assignment)) {
            answer_unread();
        }
        if (unread) {
            return leave();
        }
        if (unanswered_ || (!unclaimed_.empty() && !exited_)) {
            return look_for_start(unclaimed_);
        }
        if (session_) {
            step_ = step::running;
        } else if (!unclaimed_.empty()) {
            step_ = step::backing_off;
            out_.push_back(start_backoff{});
        } else {
            step_ = step::joining;
        }
    }

    // Why the session as a whole cannot go on.
    std::optional<end_reason> must_end() const {
        if (fatal_) {
            return end_reason::group_failed;
        }
        if (failed_) {
            return end_reason::handler_failed;
        }
        if (replaced_by_) {
            return replaced_by_;
        }
        if (!claims_.empty() && to_release_.size() >= claims_.size() &&
            taken_claims().size() == claims_.size()) {
            return all_claims_lost() ? end_reason::lost : end_reason::revoked;
        }
        if (stopping_) {
            return end_reason::stopped;
        }
        if (exited_) {
            return end_reason::claim_exited;
        }
        return std::nullopt;
    }

    partition_set taken_claims() const { return intersection(claims_, to_release_); }

    // The start of claims.

    void look_for_start(partition_set partitions) {
        starting_ = std::move(partitions);
        if (starting_.empty()) {
            return found_start();
        }
        step_ = step::looking_up;
        out_.push_back(look_up{starting_});
    }

    void on(looked_up const& outcome) {
        if (step_ == step::looking_up) {
            auto const delayed = intersection(starting_, outcome.delayed);
            delayed_.insert(delayed.begin(), delayed.end());
            found_start();
        }
    }

    // Before the claims start, it only makes these start with the others. What is to end does not
    // start any more.
    void on(start_found const& outcome) {
        auto found = intersection(delayed_, outcome.partitions);
        delayed_ = difference(delayed_, found);
        if (step_ == step::setting_up || session_end_ || must_end()) {
            return;
        }
        found = difference(difference(difference(found, ending_), to_release_), lost_);
        if (!found.empty()) {
            handlers_.insert(found.begin(), found.end());
            out_.push_back(start_delayed{std::move(found)});
        }
    }

    void found_start() {
        if (session_) {
            return start();
        }
        session_ = true;
        exited_ = false;
        add(claims_, starting_);
        step_ = step::setting_up;
        hook_cancelled_ = false;
        out_.push_back(begin_session{starting_});
    }

    void on(setup_ended const& outcome) {
        if (step_ != step::setting_up) {
            return;
        }
        disarm();
        failed_ = failed_ || outcome.failed;
        if (session_end_) {
            return drained();
        }
        step_ = step::running;
        if (failed_) {
            return decide_next();
        }
        start();
    }

    void start() {
        auto assignment = take_over();
        auto const answers = unanswered_ || !assignment.empty();
        auto const cooperative = !unanswered_ || unanswered_->cooperative;
        unanswered_.reset();
        add(claims_, starting_);
        auto delayed = intersection(starting_, delayed_);
        auto const ready = difference(starting_, delayed);
        handlers_.insert(ready.begin(), ready.end());
        out_.push_back(start_claims{std::move(assignment), std::exchange(starting_, {}),
                                    cooperative, answers, std::move(delayed)});
        decide_next();
    }

    // The end of claims.

    void drain(partition_set claims, end_reason why, bool whole) {
        ending_ = std::move(claims);
        if (whole) {
            session_end_ = why;
        }
        if (std::exchange(rest_ended_, std::nullopt) != why) {
            out_.push_back(end_claims{ending_, why, whole});
        }
        auto const gone = intersection(ending_, lost_);
        if (!gone.empty() && why != end_reason::lost && !fatal_) {
            out_.push_back(end_claims{gone, end_reason::lost, false});
        }
        if (step_ == step::setting_up) {
            return arm_drain(); // `setup` has to end first
        }
        cancel_those(gone);
        awaited_ = intersection(ending_, handlers_);
        if (awaited_.empty()) {
            return drained();
        }
        step_ = step::draining;
        arm_drain();
    }

    void on(claim_ended const& outcome) {
        if (handlers_.erase(outcome.where) == 0) {
            return;
        }
        cancelled_.erase(outcome.where);
        awaited_.erase(outcome.where);
        failed_ = failed_ || outcome.failed;
        if (step_ == step::draining && awaited_.empty()) {
            disarm();
            return drained();
        }
        auto const told = session_end_ || replaced_by_ || rest_ended_ ||
                          to_release_.contains(outcome.where) || lost_.contains(outcome.where);
        if (!outcome.failed) {
            if (told) {
                return; // nothing else has changed
            }
            if (settings_.keep_others) {
                out_.push_back(report_exited_claim{outcome.where});
                return;
            }
            exited_ = true;
        }
        on_change();
    }

    void on(deadline_over) {
        if (!std::exchange(armed_, false)) {
            return;
        }
        switch (step_) {
        case step::draining: {
            if (cancel_those(awaited_)) {
                return arm(arm_deadline::limit::grace);
            }
            for (auto const& partition : awaited_) {
                handlers_.erase(partition);
                cancelled_.erase(partition);
            }
            out_.push_back(abandon{std::exchange(awaited_, {})});
            return drained();
        }
        case step::setting_up:
        case step::cleaning_up:
            if (!std::exchange(hook_cancelled_, true)) {
                out_.push_back(cancel{});
                return arm(arm_deadline::limit::grace);
            }
            out_.push_back(abandon{});
            return step_ == step::setting_up ? drained() : commit_ending();
        case step::awaiting_final_assignment:
            return close();
        default:
            return;
        }
    }

    void drained() {
        if (!session_end_) {
            return commit_ending();
        }
        step_ = step::cleaning_up;
        hook_cancelled_ = false;
        out_.push_back(clean_up{});
        arm(arm_deadline::limit::drain);
    }

    void on(cleanup_ended const& outcome) {
        if (step_ != step::cleaning_up) {
            return;
        }
        disarm();
        failed_ = failed_ || outcome.failed;
        commit_ending();
    }

    void commit_ending() {
        if (ending_.empty()) {
            return dropped();
        }
        step_ = step::committing;
        out_.push_back(commit{ending_, difference(ending_, lost_)});
    }

    void on(committed) {
        if (step_ == step::committing) {
            out_.push_back(forget_claims{ending_});
            dropped();
        }
    }

    void dropped() {
        remove(claims_, ending_);
        for (auto const& partition : std::exchange(ending_, {})) {
            lost_.erase(partition);
            delayed_.erase(partition);
        }
        if (session_end_) {
            session_ = false;
            over_ = settings_.once;
            replaced_by_.reset();
            out_.push_back(end_session{*std::exchange(session_end_, std::nullopt)});
        }
        decide_next();
    }

    // Between sessions, and the end.

    void on(backoff_over) {
        if (step_ == step::backing_off) {
            look_for_start(assigned_by_group_);
        }
    }

    void on(stop_requested const& request) {
        if (!stopping_) {
            stopping_ = true;
            joined_ = request.joined;
            on_change();
        }
    }

    void on(failed) {
        failed_ = true;
        on_change();
    }

    void on(fatal) {
        fatal_ = true;
        if (step_ == step::awaiting_final_assignment || step_ == step::leaving) {
            return finish_now();
        }
        lose(claims_, end_reason::group_failed);
        on_change();
    }

    void leave() {
        if (joined_ && !may_leave_ && !over_ && !failed_) {
            step_ = step::awaiting_final_assignment;
            return arm(arm_deadline::limit::join);
        }
        close();
    }

    void close() {
        step_ = step::leaving;
        out_.push_back(close_client{});
    }

    void on(client_closed) {
        if (step_ == step::leaving) {
            finish_now();
        }
    }

    void on(close_deadline_over) {
        give_up(step_ == step::setting_up || step_ == step::cleaning_up);
    }

    void on(interrupted const& rest) {
        session_ = true;
        claims_ = rest.claims;
        handlers_ = rest.claims; // as far as it is known
        give_up(true);
    }

    // In the middle of something: nothing of it may do harm any more.
    void give_up(bool in_hook) {
        bool cancels = false;
        if (session_) {
            out_.push_back(seal{claims_});
            out_.push_back(end_claims{claims_, end_reason::stopped, true});
            cancels = cancel_those(handlers_);
            if (in_hook && !std::exchange(hook_cancelled_, true)) {
                cancels = true;
                out_.push_back(cancel{});
            }
            if (!handlers_.empty()) {
                out_.push_back(abandon{handlers_});
            }
            if (in_hook) {
                out_.push_back(abandon{});
            }
            out_.push_back(forget_claims{std::exchange(claims_, {})});
            out_.push_back(end_session{end_reason::stopped});
            session_ = false;
        }
        finish_now(cancels);
    }

    void finish_now(bool cancelled_late = false) {
        step_ = step::finished;
        out_.push_back(finish{cancelled_late});
    }

    void arm(arm_deadline::limit how_long) {
        armed_ = true;
        out_.push_back(arm_deadline{how_long});
    }

    void arm_drain() {
        arm(arm_deadline::limit::drain);
        if (unanswered_) {
            hasten();
        }
    }

    // A member that is to close has another time for that.
    void hasten() {
        if (group_waits_ && (stopping_ || failed_)) {
            out_.push_back(hasten_deadline{});
        }
    }

    void disarm() {
        if (std::exchange(armed_, false)) {
            out_.push_back(disarm_deadline{});
        }
    }

    // One of the three sets is another: so are their differences.
    void add(partition_set& set, partition_set const& partitions) {
        for (auto const& partition : partitions) {
            set.insert(partition);
            compare(partition);
        }
    }
    void remove(partition_set& set, partition_set const& partitions) {
        for (auto const& partition : partitions) {
            set.erase(partition);
            compare(partition);
        }
    }
    void compare(topic_partition const& where) {
        auto const given = assigned_by_group_.contains(where);
        auto const claimed = claims_.contains(where);
        include(untold_, where, given && !assigned_in_client_.contains(where));
        include(unclaimed_, where, given && !claimed);
        include(revoked_, where, claimed && !given);
    }
    static void include(partition_set& set, topic_partition const& where, bool belongs) {
        if (belongs) {
            set.insert(where);
        } else {
            set.erase(where);
        }
    }

    bool all_lost(partition_set const& claims) const {
        return std::ranges::all_of(
            claims, [this](auto const& partition) { return lost_.contains(partition); });
    }

    static partition_set intersection(partition_set const& left, partition_set const& right) {
        if (right.size() < left.size()) {
            return intersection(right, left);
        }
        partition_set both;
        for (auto const& partition : left) {
            if (right.contains(partition)) {
                both.insert(both.end(), partition);
            }
        }
        return both;
    }
    static partition_set difference(partition_set const& left, partition_set const& right) {
        partition_set rest;
        for (auto const& partition : left) {
            if (!right.contains(partition)) {
                rest.insert(rest.end(), partition);
            }
        }
        return rest;
    }

    settings settings_{};
    step step_ = step::joining;
    actions out_;
    std::optional<rebalance> unanswered_; // the newest
    bool group_waits_ = false;            // for its answer: it is a revocation, and not lost
    partition_set assigned_by_group_;     // after the newest rebalance
    partition_set assigned_in_client_;
    partition_set to_release_; // assigned in the client, and revoked or assigned anew since
    partition_set claims_;     // with a claim in the session
    partition_set untold_;     // assigned by the group, not in the client
    partition_set unclaimed_;  // assigned by the group, without a claim
    partition_set revoked_;    // with a claim, not assigned by the group any more
    partition_set handlers_;   // whose handler runs
    partition_set delayed_;    // of the claims: their start is not known yet, and no handler runs
    partition_set cancelled_;  // of the handlers
    partition_set starting_;   // looked up now, or claims whose handlers start after `setup`
    partition_set ending_;     // drained, cleaned up or committed now
    partition_set awaited_;    // of these, in `draining`: whose handler runs
    partition_set lost_;       // of the claims: others may have them
    std::optional<end_reason> session_end_; // the session ends with `ending_`
    std::optional<end_reason> replaced_by_; // an eager rebalance ends the session
    std::optional<end_reason> rest_ended_;  // while `ending_` is committed, the other claims were
                                            // told that the session ends
    bool session_ = false;
    bool armed_ = false; // the deadline
    bool hook_cancelled_ = false;
    bool exited_ = false; // a handler returned early; holds until the next session
    bool stopping_ = false;
    bool joined_ = false;    // when stopped: the group knows this member
    bool may_leave_ = false; // something is assigned in the client, or an eager assignment of
                             // nothing: a cooperative one's LeaveGroup is not sent
    bool failed_ = false;
    bool fatal_ = false;
    bool over_ = false; // the one session has been
};

} // namespace kgroup::detail
