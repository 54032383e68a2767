#pragma once

#include <kgroup/end_reason.hpp>
#include <kgroup/topic_partition.hpp>

#include <algorithm>
#include <iterator>
#include <optional>
#include <set>
#include <utility>
#include <variant>
#include <vector>

namespace kgroup::detail {

using partition_set = std::set<topic_partition>;

/// What the group does when partitions are assigned, revoked or lost, a handler ends, or the run is stopped: events in,
/// actions out. It knows no executor, no clock and no Kafka client; whoever drives it performs the actions in
/// order, before the next event, and reports their outcomes as events.
///
/// Four rules of librdkafka shape it (confluentinc/librdkafka, 2.0 to 2.16):
/// - A rebalance may be answered later than it arrives, but each only once. An eager one that a newer one has overtaken is not
///   answered any more: the answer to the old revocation would wipe out the new assignment.
/// - Cooperative ones are differences to what is assigned already, so none may be left out: what an overtaken one added is
///   never offered again, what it removed is not taken away by anything else, and an answer that adds what is there
///   already, or removes what is not, is refused. Two revocations are answered at once, because the answer to the first
///   would count as the answer to the second.
/// - While one is unanswered nothing is delivered, also to the claims that stay; so answers must not wait longer than
///   handlers need.
/// - An assignment that is lost belongs to others already: a commit for it would move their offsets back. So does what
///   a revocation took away, as soon as a newer rebalance overtakes it and does not give it back.
///
/// Hence three sets: what the group has given, what the client has been told, and what has a claim. Rebalances change the
/// first when they arrive; everything else brings the other two after it.
class session_machine {
public:
    struct settings {
        bool keep_others = false;  // a handler that returns early leaves the other claims running
        bool once = false;         // one session, then close
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
    /// `look_up` has found where the claims start.
    struct looked_up {};
    struct setup_ended {
        bool failed = false;
    };
    /// The handler of a claim has ended by itself or as it was told to; not for one that was abandoned.
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
    /// `joined`: the member is known to the group, so that leaving without having been assigned anything would leave
    /// a ghost behind.
    struct stop_requested {
        bool joined = false;
    };
    /// Something outside the handlers failed so that the run cannot go on, but the membership is intact.
    struct failed {};
    /// The membership is gone for good.
    struct fatal {};
    struct client_closed {};
    /// The time from the stop to the completion is over.
    struct close_deadline_over {};

    using event = std::variant<assigned, revoked, looked_up, setup_ended, claim_ended, cleanup_ended, committed, deadline_over,
                               backoff_over, stop_requested, failed, fatal, client_closed, close_deadline_over>;

    // Actions.

    /// Find out where these claims start, one at least; then `looked_up`. An earlier look-up is void.
    struct look_up {
        partition_set partitions;
    };
    /// Make the session over these partitions and run `setup`; then `setup_ended`.
    struct begin_session {
        partition_set partitions;
    };
    /// Answer the assignment; then start the handlers of `claims`: those of `assignment`, and others assigned before.
    struct start_claims {
        partition_set assignment;
        partition_set claims;
        bool cooperative = false;
        bool answers = true;  // false: there is nothing to tell the client
    };
    /// Answer an assignment that nobody will read.
    struct accept_unread {
        partition_set assignment;
        bool cooperative = false;
    };
    /// Answer the revocation; or, before a cooperative assignment is answered, make up for one it has overtaken.
    struct release_partitions {
        partition_set partitions;
        bool cooperative = false;
    };
    /// No more records for these; their handlers are told why. Later calls for the same claim make the reason worse.
    struct end_claims {
        partition_set claims;
        end_reason why;
        bool session = false;  // nothing of the session stays
    };
    /// Cancel what still runs: handlers of these claims, or the hook (`setup`, `cleanup`) if there are none.
    struct cancel {
        partition_set claims;
    };
    /// Go on without these handlers, or without the hook; their ends are not reported any more.
    struct abandon {
        partition_set claims;
    };
    /// Run `cleanup`; then `cleanup_ended`.
    struct clean_up {};
    /// End the ownership of `claims`, so that no later mark counts; commit what is marked in `may_commit`; then `committed`.
    struct commit {
        partition_set claims;
        partition_set may_commit;
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
    struct start_backoff {};
    /// Leave the group; revocations come and are answered meanwhile; then `client_closed`.
    struct close_client {};
    /// The run is over. Something may be left only if the time was: whoever drives ends it without commit.
    struct finish {};

    using action = std::variant<look_up, begin_session, start_claims, accept_unread, release_partitions, end_claims, cancel, abandon,
                                clean_up, commit, drop_claims, end_session, report_orphan, report_superseded, arm_deadline,
                                disarm_deadline, start_backoff, close_client, finish>;
    using actions = std::vector<action>;

    /// Where the machine is: what it waits for.
    enum class step {
        joining,      // no session, nothing assigned: for a rebalance
        looking_up,   // for the start offsets
        setting_up,   // for `setup`
        running,      // for a rebalance or a handler's end
        draining,     // for handlers that are to end
        cleaning_up,  // for `cleanup`
        committing,   // for the commit at the end of claims
        backing_off,  // for the time between two sessions over the same assignment
        leaving,      // for an assignment, to leave with: a member that waits for one sends no LeaveGroup
        closing,      // for the client
        finished,
    };

    session_machine() = default;
    explicit session_machine(settings given) : settings_(given) {}

    step at() const noexcept { return step_; }
    bool in_session() const noexcept { return session_; }
    partition_set const& claims() const noexcept { return claims_; }

    actions handle(event const& what) {
        out_.clear();
        if (step_ != step::finished) {
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
        lose(given_away_by(what, lost), end_reason::lost);
        if (!what.cooperative) {
            replaced_ = owned_;
            given_ = what.assignment ? what.partitions : partition_set{};
        } else if (what.assignment) {
            given_.insert(what.partitions.begin(), what.partitions.end());
        } else {
            auto const taken = intersection(what.partitions, owned_);
            replaced_.insert(taken.begin(), taken.end());
            given_ = difference(given_, what.partitions);
        }
        // Eager rebalances replace a session; and one that is only being set up is cheap to replace.
        if (session_ && (!what.cooperative || step_ == step::setting_up)) {
            auto const all_lost = claims_.empty() ? lost : includes(lost_, claims_);
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
        partition_set gone;
        for (auto const& each : claims_) {
            auto const named = what.partitions.contains(each);
            auto const revoked_before = !given_.contains(each);
            auto const kept = what.assignment ? named || (what.cooperative && !revoked_before)
                                              : !revoked_before && !(lost && (named || !what.cooperative));
            if (!kept) {
                gone.insert(each);
            }
        }
        return gone;
    }

    // Where ending goes on already, the handlers learn of it now, and the rest follows in its turn. Elsewhere it begins.
    void lose(partition_set gone, end_reason why) {
        gone = difference(gone, lost_);
        if (step_ == step::committing) {
            gone = difference(gone, ending_); // the commit is under way
        }
        lost_.insert(gone.begin(), gone.end());
        if (gone.empty() || (step_ != step::draining && step_ != step::cleaning_up && step_ != step::committing && !whole_)) {
            return;
        }
        auto const all = includes(lost_, claims_);
        if (whole_ && all) {
            whole_ = why;
        }
        out_.push_back(end_claims{gone, why, all});
        if (cancel_lost() && step_ == step::draining) {
            arm(arm_deadline::limit::drain);
        }
    }

    bool cancel_lost() {
        auto const late = difference(intersection(lost_, handlers_), cancelled_);
        if (late.empty()) {
            return false;
        }
        cancelled_.insert(late.begin(), late.end());
        out_.push_back(cancel{late});
        return true;
    }

    // What the client is to be told to assign.
    partition_set take_over() {
        if (unanswered_ && !unanswered_->cooperative) {
            may_leave_ = true;
            replaced_.clear();
            owned_ = given_;
            return owned_;
        }
        auto added = difference(given_, owned_);
        owned_.insert(added.begin(), added.end());
        may_leave_ = may_leave_ || !owned_.empty();
        return added;
    }

    void release(bool cooperative) {
        owned_ = difference(owned_, replaced_);
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
        case step::backing_off: return settle();
        case step::setting_up:
        case step::draining:
            if (!whole_ && (must_end() || taken_claims() != ending_)) {
                settle();
            }
            return;
        default: return; // in its turn
        }
    }

    // A step is done. The one place that decides what follows.
    void settle() {
        if (session_) {
            if (auto const why = must_end()) {
                return drain(claims_, *why, true);
            }
            if (auto const taken = taken_claims(); !taken.empty()) {
                return drain(taken, includes(lost_, taken) ? end_reason::lost : end_reason::revoked, false);
            }
        } else if (fatal_) {
            return finish_now();
        }
        auto const unread = !session_ && (stopping_ || failed_ || over_);
        if (unanswered_ && unanswered_->cooperative && unanswered_->assignment && !replaced_.empty()) {
            release(true); // a revocation it has overtaken
        }
        if (unanswered_ && (unread || !unanswered_->assignment)) {
            answer_unread();
        }
        if (unread) {
            return leave();
        }
        auto unclaimed = difference(given_, claims_);
        if (unanswered_ || (!unclaimed.empty() && !exited_)) {
            return look_for_start(std::move(unclaimed));
        }
        if (session_) {
            step_ = step::running;
        } else if (!unclaimed.empty()) {
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
        if (!claims_.empty() && includes(replaced_, claims_)) {
            return includes(lost_, claims_) ? end_reason::lost : end_reason::revoked;
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

    void on(looked_up) {
        if (step_ == step::looking_up) {
            found_start();
        }
    }

    void found_start() {
        if (session_) {
            return start();
        }
        session_ = true;
        exited_ = false;
        claims_ = starting_;
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
        claims_.insert(starting_.begin(), starting_.end());
        handlers_.insert(starting_.begin(), starting_.end());
        out_.push_back(start_claims{std::move(assignment), std::exchange(starting_, {}), cooperative, answers});
        settle();
    }

    // The end of claims.

    void drain(partition_set claims, end_reason why, bool whole) {
        ending_ = std::move(claims);
        if (whole) {
            whole_ = why;
        }
        out_.push_back(end_claims{ending_, why, whole});
        if (auto const gone = intersection(ending_, lost_); !gone.empty() && why != end_reason::lost && !fatal_) {
            out_.push_back(end_claims{gone, end_reason::lost, false});
        }
        if (step_ == step::setting_up) {
            return arm(arm_deadline::limit::drain); // `setup` has to end first
        }
        cancel_lost();
        if (intersection(ending_, handlers_).empty()) {
            return drained();
        }
        step_ = step::draining;
        arm(arm_deadline::limit::drain);
    }

    void on(claim_ended const& what) {
        if (handlers_.erase(what.where) == 0) {
            return;
        }
        cancelled_.erase(what.where);
        failed_ = failed_ || what.failed;
        if (step_ == step::draining && intersection(ending_, handlers_).empty()) {
            disarm();
            return drained();
        }
        auto const told = whole_ || taken_ || replaced_.contains(what.where) || lost_.contains(what.where);
        if (!what.failed && !told) {
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
            auto const late = intersection(ending_, handlers_);
            if (auto const patient = difference(late, cancelled_); !patient.empty()) {
                cancelled_.insert(patient.begin(), patient.end());
                out_.push_back(cancel{patient});
                return arm(arm_deadline::limit::grace);
            }
            handlers_ = difference(handlers_, late);
            cancelled_ = difference(cancelled_, late);
            out_.push_back(abandon{late});
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
        case step::leaving: return close();
        default: return;
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
        claims_ = difference(claims_, ending_);
        lost_ = difference(lost_, ending_);
        ending_.clear();
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

    void on(close_deadline_over) { finish_now(); }

    void finish_now() {
        step_ = step::finished;
        out_.push_back(finish{});
    }

    void arm(arm_deadline::limit how_long) {
        armed_ = true;
        out_.push_back(arm_deadline{how_long});
    }

    void disarm() {
        if (std::exchange(armed_, false)) {
            out_.push_back(disarm_deadline{});
        }
    }

    static partition_set intersection(partition_set const& left, partition_set const& right) {
        partition_set both;
        std::set_intersection(left.begin(), left.end(), right.begin(), right.end(), std::inserter(both, both.end()));
        return both;
    }
    static partition_set difference(partition_set const& left, partition_set const& right) {
        partition_set rest;
        std::set_difference(left.begin(), left.end(), right.begin(), right.end(), std::inserter(rest, rest.end()));
        return rest;
    }
    static bool includes(partition_set const& all, partition_set const& some) {
        return std::includes(all.begin(), all.end(), some.begin(), some.end());
    }

    settings settings_{};
    step step_ = step::joining;
    actions out_;
    std::optional<rebalance> unanswered_; // the newest
    partition_set given_;                 // by the group, after the newest rebalance
    partition_set owned_;                 // what the client believes to be assigned
    partition_set replaced_;              // of what is owned: revoked since, or assigned anew
    partition_set claims_;                // with a claim in the session
    partition_set handlers_;              // whose handler runs
    partition_set cancelled_;             // of the handlers
    partition_set starting_;              // looked up now, or claims whose handlers start after `setup`
    partition_set ending_;                // drained, cleaned up or committed now
    partition_set lost_;                  // of the claims: others may have them
    std::optional<end_reason> whole_;     // the session ends with `ending_`
    std::optional<end_reason> taken_;     // an eager rebalance ends the session
    bool session_ = false;
    bool armed_ = false;                  // the deadline
    bool hook_cancelled_ = false;
    bool exited_ = false;                 // a handler returned early; holds until the next session
    bool stopping_ = false;
    bool joined_ = false;                 // when stopped: the group knows this member
    bool may_leave_ = false;              // something is owned, or an eager assignment of nothing: a cooperative one's LeaveGroup is not sent
    bool failed_ = false;
    bool fatal_ = false;
    bool over_ = false;                   // the one session has been
};

} // namespace kgroup::detail
