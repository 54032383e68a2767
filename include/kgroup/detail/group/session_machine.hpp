// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/end_reason.hpp>
#include <kgroup/topic_partition.hpp>

#include <algorithm>
#include <optional>
#include <set>
#include <utility>
#include <variant>
#include <vector>

namespace kgroup::detail {

using partition_set = std::set<topic_partition>;

/// What the group does when partitions are assigned, revoked or lost, a handler ends, or the run is
/// stopped: events in, actions out. It knows no executor, no clock and no Kafka client; whoever
/// drives it performs the actions in order, before the next event, and reports their outcomes as
/// events.
///
/// Four rules of librdkafka shape it (confluentinc/librdkafka, 2.0 to 2.16):
/// - A rebalance may be answered later than it arrives, but each only once. An eager one that a
/// newer one has overtaken is not
///   answered any more: the answer to the old revocation would wipe out the new assignment.
/// - Cooperative ones are differences to what is assigned already, so none may be left out: what an
/// overtaken one added is
///   never offered again, what it removed is not taken away by anything else, and an answer that
///   adds what is there already, or removes what is not, is refused. Two revocations are answered
///   at once, because the answer to the first would count as the answer to the second.
/// - While one is unanswered nothing is delivered, also to the claims that stay; so answers must
/// not wait longer than
///   handlers need.
/// - An assignment that is lost belongs to others already: a commit for it would move their offsets
/// back. So does what
///   a revocation took away, as soon as a newer rebalance overtakes it and does not give it back.
///
/// Hence three sets: what the group has given, what the client has been told, and what has a claim.
/// Rebalances change the first when they arrive; everything else brings the other two after it.
///
/// A member may own ten thousand partitions. So what one of the sets has and another has not is
/// kept, and not computed anew: an event costs as much as it changes, but for an eager rebalance
/// and the end of a session, which change all.
class session_machine {
public:
    struct settings {
        bool keep_others = false; // a handler that returns early leaves the other claims running
        bool once = false;        // one session, then close
    };

    // Events.

    struct assigned {
        partition_set partitions;
        bool cooperative = false;
    };
    struct revoked {
        partition_set partitions;
        bool cooperative = false;
        bool lost = false;
    };
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
    /// The time given by `arm_deadline` is over.
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
    /// An action could not be performed to its end, so that it is not known what was: of the
    /// session these claims are left. The only event that counts after `finish`, too.
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
    /// Make the session over these partitions and run `setup`; then `setup_ended`.
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
    /// Answer an assignment that nobody will read.
    struct accept_unread {
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
    struct drop_claims {
        partition_set claims;
    };
    struct end_session {
        end_reason why;
    };
    /// A handler has returned and its claim stays behind.
    struct report_orphan {
        topic_partition where;
    };
    /// A newer rebalance has overtaken an unanswered one.
    struct report_superseded {};
    /// Give handlers or a hook time to end; then `deadline_over`. What was armed before is void.
    struct arm_deadline {
        enum class limit { drain, grace, join } how_long;
    };
    struct disarm_deadline {};
    /// The group waits for this member from now on: what is armed is over when it would be in a
    /// rebalance, if not before.
    struct hasten_deadline {};
    struct start_backoff {};
    /// Leave the group; revocations come and are answered meanwhile; then `client_closed`.
    struct close_client {};
    /// The run is over.
    struct finish {
        bool cancelled_late = false; // with it: what was cancelled has a moment left to end
    };

    using action =
        std::variant<look_up, begin_session, start_claims, accept_unread, release_partitions,
                     end_claims, cancel, abandon, clean_up, commit, seal, drop_claims, end_session,
                     report_orphan, report_superseded, arm_deadline, disarm_deadline,
                     hasten_deadline, start_backoff, close_client, finish, start_delayed>;
    using actions = std::vector<action>;

    /// Where the machine is: what it waits for.
    enum class step {
        joining,     // no session, nothing assigned: for a rebalance
        looking_up,  // for the start offsets
        setting_up,  // for `setup`
        running,     // for a rebalance or a handler's end
        draining,    // for handlers that are to end
        cleaning_up, // for `cleanup`
        committing,  // for the commit at the end of claims
        backing_off, // for the time between two sessions over the same assignment
        leaving,     // for an assignment, to leave with: a member that waits for one sends no
                     // LeaveGroup
        closing,     // for the client
        finished,
    };

    session_machine() = default;
    explicit session_machine(settings given) : settings_(given) {}

    step at() const noexcept { return step_; }
    bool in_session() const noexcept { return session_; }
    partition_set const& claims() const noexcept { return claims_; }

    actions handle(event const& what) {
        out_.clear();
        if (step_ != step::finished || std::holds_alternative<interrupted>(what)) {
            std::visit([this](auto const& each) { on(each); }, what);
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

    void on(assigned const& what) { arrive({true, what.partitions, what.cooperative}, false); }
    void on(revoked const& what) { arrive({false, what.partitions, what.cooperative}, what.lost); }

    void arrive(rebalance what, bool lost) {
        if (unanswered_) {
            out_.push_back(report_superseded{});
        }
        group_waits_ = !what.assignment && !lost;
        if (armed_ && whole_) {
            hasten();
        }
        lose(given_away_by(what, lost), end_reason::lost);
        if (!what.cooperative) {
            replaced_ = owned_;
            remove(given_, partition_set{given_});
        } else if (!what.assignment) {
            auto const taken = intersection(what.partitions, owned_);
            replaced_.insert(taken.begin(), taken.end());
            remove(given_, what.partitions);
        }
        if (what.assignment) {
            add(given_, what.partitions);
        }
        // Eager rebalances replace a session; and one that is only being set up is cheap to
        // replace.
        if (session_ && (!what.cooperative || step_ == step::setting_up)) {
            auto const all_lost = claims_.empty() ? lost : all_claims_lost();
            if (!taken_ || all_lost) {
                taken_ = all_lost ? end_reason::lost : end_reason::revoked;
            }
        }
        unanswered_ = std::move(what);
        if (step_ == step::closing || step_ == step::leaving) {
            auto const assignment = unanswered_->assignment;
            answer_unread();
            if (assignment && step_ == step::leaving) {
                disarm();
                close();
            }
            return;
        }
        reconsider();
    }

    // The claims that others may have from now on.
    partition_set given_away_by(rebalance const& what, bool lost) const {
        if (what.cooperative) {
            auto gone = what.assignment ? difference(revoked_, what.partitions) : revoked_;
            if (lost) {
                gone.merge(intersection(what.partitions, claims_));
            }
            return gone;
        }
        return what.assignment ? difference(claims_, what.partitions) : lost ? claims_ : revoked_;
    }

    // Where ending goes on already, the handlers learn of it now, and the rest follows in its turn.
    // Elsewhere it begins.
    void lose(partition_set gone, end_reason why) {
        gone = difference(gone, lost_);
        lost_.insert(gone.begin(), gone.end());
        if (gone.empty() || (step_ != step::draining && step_ != step::cleaning_up &&
                             step_ != step::committing && !whole_)) {
            return;
        }
        auto const all = all_claims_lost();
        if (whole_ && all) {
            whole_ = why;
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
            replaced_.clear();
            remove(owned_, partition_set{owned_});
            add(owned_, given_);
            return owned_;
        }
        auto added = untold_;
        add(owned_, added);
        may_leave_ = may_leave_ || !owned_.empty();
        return added;
    }

    void release(bool cooperative) {
        remove(owned_, replaced_);
        may_leave_ = !owned_.empty();
        out_.push_back(release_partitions{std::exchange(replaced_, {}), cooperative});
    }

    void answer_unread() {
        if (unanswered_->assignment) {
            auto assignment = take_over();
            out_.push_back(accept_unread{std::move(assignment), unanswered_->cooperative});
        } else {
            release(unanswered_->cooperative);
        }
        unanswered_.reset();
    }

    // What next?

    // Something has changed, perhaps in the middle of something else.
    void reconsider() {
        switch (step_) {
        case step::joining:
        case step::looking_up:
        case step::running:
        case step::backing_off:
            return settle();
        case step::setting_up:
        case step::draining:
            if (!whole_ && (must_end() || taken_claims() != ending_)) {
                settle();
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
        if (!why || whole_ || rest_ended_) {
            return;
        }
        if (auto rest = difference(difference(claims_, ending_), lost_); !rest.empty()) {
            rest_ended_ = why;
            out_.push_back(end_claims{std::move(rest), *why, true});
        }
    }

    // A step is done. The one place that decides what follows.
    void settle() {
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
            !replaced_.empty()) {
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
        if (taken_) {
            return taken_;
        }
        if (!claims_.empty() && replaced_.size() >= claims_.size() &&
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

    partition_set taken_claims() const { return intersection(claims_, replaced_); }

    // The start of claims.

    void look_for_start(partition_set partitions) {
        starting_ = std::move(partitions);
        if (starting_.empty()) {
            return found_start();
        }
        step_ = step::looking_up;
        out_.push_back(look_up{starting_});
    }

    void on(looked_up const& what) {
        if (step_ == step::looking_up) {
            auto const delayed = intersection(starting_, what.delayed);
            delayed_.insert(delayed.begin(), delayed.end());
            found_start();
        }
    }

    // Before the claims start, it only makes these start with the others. What is to end does not
    // start any more.
    void on(start_found const& what) {
        auto found = intersection(delayed_, what.partitions);
        delayed_ = difference(delayed_, found);
        if (step_ == step::setting_up || whole_ || must_end()) {
            return;
        }
        found = difference(difference(difference(found, ending_), replaced_), lost_);
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

    void on(setup_ended const& what) {
        if (step_ != step::setting_up) {
            return;
        }
        disarm();
        failed_ = failed_ || what.failed;
        if (whole_) {
            return drained();
        }
        step_ = step::running;
        if (failed_) {
            return settle();
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
        settle();
    }

    // The end of claims.

    void drain(partition_set claims, end_reason why, bool whole) {
        ending_ = std::move(claims);
        if (whole) {
            whole_ = why;
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

    void on(claim_ended const& what) {
        if (handlers_.erase(what.where) == 0) {
            return;
        }
        cancelled_.erase(what.where);
        awaited_.erase(what.where);
        failed_ = failed_ || what.failed;
        if (step_ == step::draining && awaited_.empty()) {
            disarm();
            return drained();
        }
        auto const told = whole_ || taken_ || rest_ended_ || replaced_.contains(what.where) ||
                          lost_.contains(what.where);
        if (!what.failed) {
            if (told) {
                return; // nothing else has changed
            }
            if (settings_.keep_others) {
                out_.push_back(report_orphan{what.where});
                return;
            }
            exited_ = true;
        }
        reconsider();
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
            for (auto const& each : awaited_) {
                handlers_.erase(each);
                cancelled_.erase(each);
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
        case step::leaving:
            return close();
        default:
            return;
        }
    }

    void drained() {
        if (!whole_) {
            return commit_ending();
        }
        step_ = step::cleaning_up;
        hook_cancelled_ = false;
        out_.push_back(clean_up{});
        arm(arm_deadline::limit::drain);
    }

    void on(cleanup_ended const& what) {
        if (step_ != step::cleaning_up) {
            return;
        }
        disarm();
        failed_ = failed_ || what.failed;
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
            out_.push_back(drop_claims{ending_});
            dropped();
        }
    }

    void dropped() {
        remove(claims_, ending_);
        for (auto const& each : std::exchange(ending_, {})) {
            lost_.erase(each);
            delayed_.erase(each);
        }
        if (whole_) {
            session_ = false;
            over_ = settings_.once;
            taken_.reset();
            out_.push_back(end_session{*std::exchange(whole_, std::nullopt)});
        }
        settle();
    }

    // Between sessions, and the end.

    void on(backoff_over) {
        if (step_ == step::backing_off) {
            look_for_start(given_);
        }
    }

    void on(stop_requested const& what) {
        if (!stopping_) {
            stopping_ = true;
            joined_ = what.joined;
            reconsider();
        }
    }

    void on(failed) {
        failed_ = true;
        reconsider();
    }

    void on(fatal) {
        fatal_ = true;
        if (step_ == step::leaving || step_ == step::closing) {
            return finish_now();
        }
        lose(claims_, end_reason::group_failed);
        reconsider();
    }

    void leave() {
        if (joined_ && !may_leave_ && !over_ && !failed_) {
            step_ = step::leaving;
            return arm(arm_deadline::limit::join);
        }
        close();
    }

    void close() {
        step_ = step::closing;
        out_.push_back(close_client{});
    }

    void on(client_closed) {
        if (step_ == step::closing) {
            finish_now();
        }
    }

    void on(close_deadline_over) {
        give_up(step_ == step::setting_up || step_ == step::cleaning_up);
    }

    void on(interrupted const& what) {
        session_ = true;
        claims_ = what.claims;
        handlers_ = what.claims; // as far as it is known
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
            out_.push_back(drop_claims{std::exchange(claims_, {})});
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
    void add(partition_set& to, partition_set const& partitions) {
        for (auto const& each : partitions) {
            to.insert(each);
            compare(each);
        }
    }
    void remove(partition_set& from, partition_set const& partitions) {
        for (auto const& each : partitions) {
            from.erase(each);
            compare(each);
        }
    }
    void compare(topic_partition const& where) {
        auto const given = given_.contains(where);
        auto const claimed = claims_.contains(where);
        include(untold_, where, given && !owned_.contains(where));
        include(unclaimed_, where, given && !claimed);
        include(revoked_, where, claimed && !given);
    }
    static void include(partition_set& in, topic_partition const& where, bool belongs) {
        if (belongs) {
            in.insert(where);
        } else {
            in.erase(where);
        }
    }

    bool all_lost(partition_set const& claims) const {
        return std::ranges::all_of(claims,
                                   [this](auto const& each) { return lost_.contains(each); });
    }

    static partition_set intersection(partition_set const& left, partition_set const& right) {
        if (right.size() < left.size()) {
            return intersection(right, left);
        }
        partition_set both;
        for (auto const& each : left) {
            if (right.contains(each)) {
                both.insert(both.end(), each);
            }
        }
        return both;
    }
    static partition_set difference(partition_set const& left, partition_set const& right) {
        partition_set rest;
        for (auto const& each : left) {
            if (!right.contains(each)) {
                rest.insert(rest.end(), each);
            }
        }
        return rest;
    }

    settings settings_{};
    step step_ = step::joining;
    actions out_;
    std::optional<rebalance> unanswered_; // the newest
    bool group_waits_ = false;            // for its answer: it is a revocation, and not lost
    partition_set given_;                 // by the group, after the newest rebalance
    partition_set owned_;                 // what the client believes to be assigned
    partition_set replaced_;              // of what is owned: revoked since, or assigned anew
    partition_set claims_;                // with a claim in the session
    partition_set untold_;                // given and not owned
    partition_set unclaimed_;             // given and without a claim
    partition_set revoked_;               // with a claim and not given
    partition_set handlers_;              // whose handler runs
    partition_set delayed_;   // of the claims: their start is not known yet, and no handler runs
    partition_set cancelled_; // of the handlers
    partition_set starting_;  // looked up now, or claims whose handlers start after `setup`
    partition_set ending_;    // drained, cleaned up or committed now
    partition_set awaited_;   // of these, in `draining`: whose handler runs
    partition_set lost_;      // of the claims: others may have them
    std::optional<end_reason> whole_;      // the session ends with `ending_`
    std::optional<end_reason> taken_;      // an eager rebalance ends the session
    std::optional<end_reason> rest_ended_; // while `ending_` is committed, the other claims were
                                           // told that the session ends
    bool session_ = false;
    bool armed_ = false; // the deadline
    bool hook_cancelled_ = false;
    bool exited_ = false; // a handler returned early; holds until the next session
    bool stopping_ = false;
    bool joined_ = false;    // when stopped: the group knows this member
    bool may_leave_ = false; // something is owned, or an eager assignment of nothing: a cooperative
                             // one's LeaveGroup is not sent
    bool failed_ = false;
    bool fatal_ = false;
    bool over_ = false; // the one session has been
};

} // namespace kgroup::detail
