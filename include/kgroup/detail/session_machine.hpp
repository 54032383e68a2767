#pragma once

#include <kgroup/end_reason.hpp>
#include <kgroup/topic_partition.hpp>

#include <deque>
#include <optional>
#include <set>
#include <utility>
#include <variant>
#include <vector>

namespace kgroup::detail {

using partition_set = std::set<topic_partition>;

/// What the group does when partitions are assigned, revoked or lost, a handler ends, or the run is stopped: events in,
/// actions out. It knows no executor, no clock and no Kafka client; whoever drives it performs the actions in
/// order and reports their outcomes as events.
///
/// Three rules of librdkafka shape it (confluentinc/librdkafka, 2.0 to 2.16):
/// - A rebalance may be answered later than it arrives, but each only once, and only the newest: an answer to one that a newer
///   one has overtaken would wipe out the newer assignment.
/// - While one is unanswered nothing is delivered, also to the claims that stay; so answers must not wait longer than
///   handlers need.
/// - An assignment that is lost belongs to others already: a commit for it would move their offsets back.
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
    /// The handler of a claim has ended by itself or as it was told to.
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

    /// Find out where these claims start; then `looked_up`. An earlier look-up is void.
    struct look_up {
        partition_set partitions;
    };
    /// Make the session over these partitions and run `setup`; then `setup_ended`.
    struct begin_session {
        partition_set partitions;
    };
    /// Answer the assignment; then start the handlers of `claims` (all of them assigned now, some perhaps before).
    struct start_claims {
        partition_set assignment;
        partition_set claims;
        bool cooperative = false;
        bool answers = true;  // false: nothing was assigned now, there is nothing to answer
    };
    /// Answer an assignment that nobody will read.
    struct accept_unread {
        partition_set assignment;
        bool cooperative = false;
    };
    /// Answer the revocation.
    struct release_partitions {
        partition_set partitions;
        bool cooperative = false;
    };
    /// No more records for these; their handlers are told why. Later calls for the same claim make the reason worse.
    struct end_claims {
        partition_set claims;
        end_reason why;
        bool session = false;  // they are all there are
    };
    /// Cancel what still runs: handlers of these claims, or the hook (`setup`, `cleanup`) if there are none.
    struct cancel {
        partition_set claims;
    };
    /// Go on without these handlers, or without the hook.
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
    /// The run is over.
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
        leaving,      // for a first assignment, to leave with: a member without one sends no LeaveGroup
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
        bool lost;
    };

    // Rebalances.

    void on(assigned const& what) { arrive({true, what.partitions, what.cooperative, false}); }
    void on(revoked const& what) { arrive({false, what.partitions, what.cooperative, what.lost}); }

    void arrive(rebalance what) {
        switch (step_) {
        case step::closing:
            answer(what);
            return;
        case step::leaving:
            answer(what);
            if (what.assignment) {
                out_.push_back(disarm_deadline{});
                close();
            }
            return;
        default: break;
        }
        if (step_ == step::joining || step_ == step::running || step_ == step::backing_off) {
            waiting_ = std::move(what);
            return settle();
        }
        if (what.lost) {
            lose(affected_by(what), end_reason::lost);
        }
        if (waiting_) {
            out_.push_back(report_superseded{}); // it was not begun, so it had no effect
        }
        waiting_ = std::move(what);
        if (step_ == step::looking_up) {
            supersede();
        } else if (step_ == step::setting_up) {
            out_.push_back(arm_deadline{arm_deadline::limit::drain});
        }
    }

    partition_set affected_by(rebalance const& what) const {
        return what.cooperative ? intersection(claims_, what.partitions) : claims_;
    }

    void supersede() {
        out_.push_back(report_superseded{});
        settle();
    }

    // Nobody reads what this answer assigns.
    void answer(rebalance const& what) {
        if (what.assignment) {
            if (!what.cooperative) {
                owned_.clear();
            }
            owned_.insert(what.partitions.begin(), what.partitions.end());
            out_.push_back(accept_unread{what.partitions, what.cooperative});
        } else {
            release(what);
        }
    }

    void release(rebalance const& what) {
        if (what.cooperative) {
            for (auto const& each : what.partitions) {
                owned_.erase(each);
            }
        } else {
            owned_.clear();
        }
        out_.push_back(release_partitions{what.partitions, what.cooperative});
    }

    // A step is done: what next? The one place that decides it.
    void settle() {
        current_.reset();
        if (fatal_) {
            return session_ ? drain(claims_, end_reason::group_failed, true) : finish_now();
        }
        if (waiting_) {
            current_ = std::exchange(waiting_, std::nullopt);
            return begin(*current_);
        }
        if (session_ && failed_) {
            return drain(claims_, end_reason::handler_failed, true);
        }
        if (session_ && stopping_) {
            return drain(claims_, end_reason::stopped, true);
        }
        if (session_ && exited_) {
            return drain(claims_, end_reason::claim_exited, true);
        }
        if (session_) {
            step_ = step::running;
            return;
        }
        if (stopping_ || failed_ || over_) {
            return leave();
        }
        if (!owned_.empty()) {
            step_ = step::backing_off;
            out_.push_back(start_backoff{});
            return;
        }
        step_ = step::joining;
    }

    void begin(rebalance const& what) {
        if (!what.assignment) {
            if (session_) {
                auto const affected = affected_by(what);
                return drain(affected, what.lost ? end_reason::lost : end_reason::revoked,
                             affected.size() == claims_.size() && (!what.cooperative || !affected.empty()));
            }
            release(what);
            return settle();
        }
        if (session_ && !what.cooperative) {
            return drain(claims_, end_reason::revoked, true); // an eager assignment replaces everything
        }
        if (!session_ && (stopping_ || failed_ || over_)) {
            answer(what);
            return settle();
        }
        start_over(what.partitions);
    }

    // Start claims over what is new and over what is owned without a claim.
    void start_over(partition_set partitions) {
        if (!current_ || current_->cooperative) {
            for (auto const& each : owned_) {
                if (!claims_.contains(each)) {
                    partitions.insert(each);
                }
            }
        }
        starting_ = std::move(partitions);
        step_ = step::looking_up;
        out_.push_back(look_up{starting_});
    }

    void on(looked_up) {
        if (step_ != step::looking_up) {
            return;
        }
        if (session_) {
            return start();
        }
        session_ = true;
        cancelled_ = false;
        step_ = step::setting_up;
        out_.push_back(begin_session{starting_});
    }

    void on(setup_ended const& what) {
        if (step_ != step::setting_up) {
            return;
        }
        out_.push_back(disarm_deadline{});
        failed_ = failed_ || what.failed;
        if (failed_) {
            return drain({}, end_reason::handler_failed, true);
        }
        if (fatal_) {
            return drain({}, end_reason::group_failed, true);
        }
        if (waiting_) {
            return drain({}, waiting_->lost ? end_reason::lost : end_reason::revoked, true);
        }
        if (stopping_) {
            return drain({}, end_reason::stopped, true);
        }
        start();
    }

    void start() {
        auto const assignment = current_ ? current_->partitions : partition_set{};
        auto const cooperative = current_ && current_->cooperative;
        if (current_ && !cooperative) {
            owned_.clear();
        }
        owned_.insert(starting_.begin(), starting_.end());
        claims_.insert(starting_.begin(), starting_.end());
        handlers_.insert(starting_.begin(), starting_.end());
        if (current_) {
            out_.push_back(start_claims{assignment, std::move(starting_), cooperative});
        } else {
            out_.push_back(start_claims{{}, std::move(starting_), false, false});
        }
        starting_.clear();
        settle();
    }

    // The end of claims.

    void drain(partition_set const& affected, end_reason why, bool whole) {
        ending_ = affected;
        whole_ = whole ? std::optional{why} : std::nullopt;
        cancelled_ = false;
        out_.push_back(end_claims{ending_, why, whole});
        if (why == end_reason::lost || why == end_reason::group_failed) {
            lost_.insert(ending_.begin(), ending_.end());
            if (auto const still = intersection(ending_, handlers_); !still.empty()) {
                out_.push_back(cancel{still});
            }
            cancelled_ = true;
        }
        if (intersection(ending_, handlers_).empty()) {
            return drained();
        }
        step_ = step::draining;
        out_.push_back(arm_deadline{arm_deadline::limit::drain});
    }

    // Told while something else goes on: the handlers learn of it now, the rest follows in its turn.
    void lose(partition_set const& claims, end_reason why) {
        lost_.insert(claims.begin(), claims.end());
        if (auto const still = intersection(claims, handlers_); !still.empty()) {
            out_.push_back(end_claims{claims, why, claims.size() == claims_.size()});
            out_.push_back(cancel{still});
        }
        if (whole_) {
            whole_ = why;
        }
    }

    void on(claim_ended const& what) {
        if (handlers_.erase(what.where) == 0) {
            return; // abandoned before
        }
        failed_ = failed_ || what.failed;
        if (step_ == step::draining && ending_.contains(what.where)) {
            if (intersection(ending_, handlers_).empty()) {
                out_.push_back(disarm_deadline{});
                drained();
            }
            return;
        }
        if (!what.failed) {
            if (settings_.keep_others || lost_.contains(what.where)) {
                if (!lost_.contains(what.where)) {
                    out_.push_back(report_orphan{what.where});
                }
                return;
            }
            exited_ = true;
        }
        if (step_ == step::running) {
            settle();
        }
    }

    void on(deadline_over) {
        switch (step_) {
        case step::draining: {
            auto const late = intersection(ending_, handlers_);
            if (!cancelled_) {
                cancelled_ = true;
                out_.push_back(cancel{late});
                out_.push_back(arm_deadline{arm_deadline::limit::grace});
                return;
            }
            for (auto const& each : late) {
                handlers_.erase(each);
            }
            out_.push_back(abandon{late});
            return drained();
        }
        case step::setting_up:
        case step::cleaning_up:
            if (!cancelled_) {
                cancelled_ = true;
                out_.push_back(cancel{});
                out_.push_back(arm_deadline{arm_deadline::limit::grace});
                return;
            }
            out_.push_back(abandon{});
            return step_ == step::setting_up ? on(setup_ended{}) : on(cleanup_ended{});
        case step::leaving: return close();
        default: return;
        }
    }

    void drained() {
        if (whole_) {
            step_ = step::cleaning_up;
            cancelled_ = false;
            out_.push_back(clean_up{});
            out_.push_back(arm_deadline{arm_deadline::limit::drain});
            return;
        }
        commit_ending();
    }

    void on(cleanup_ended const& what) {
        if (step_ != step::cleaning_up) {
            return;
        }
        out_.push_back(disarm_deadline{});
        failed_ = failed_ || what.failed;
        commit_ending();
    }

    void commit_ending() {
        partition_set allowed;
        if (!fatal_) {
            for (auto const& each : ending_) {
                if (!lost_.contains(each) && still_ours(each)) {
                    allowed.insert(each);
                }
            }
        }
        step_ = step::committing;
        out_.push_back(commit{ending_, std::move(allowed)});
    }

    // After an eager rebalance has overtaken another, only the newest assignment says what is ours: others may have begun
    // from the committed offsets of the rest.
    bool still_ours(topic_partition const& where) const {
        auto const& newest = waiting_ ? waiting_ : current_;
        if (!newest || newest->cooperative) {
            return true;
        }
        if (newest->assignment) {
            return newest->partitions.contains(where);
        }
        return !waiting_ || !current_ || current_->assignment;
    }

    void on(committed) {
        if (step_ != step::committing) {
            return;
        }
        out_.push_back(drop_claims{ending_});
        for (auto const& each : ending_) {
            claims_.erase(each);
            lost_.erase(each);
        }
        ending_.clear();
        if (whole_) {
            session_ = false;
            exited_ = false;
            over_ = settings_.once;
            out_.push_back(end_session{*whole_});
        }
        if (!current_) {
            return settle();
        }
        if (waiting_) {
            return supersede();
        }
        if (!current_->assignment) {
            release(*current_);
            return settle();
        }
        // an assignment that was not started: because a session was in its way, or because its own could not begin
        if (stopping_ || failed_ || fatal_ || over_) {
            answer(*current_);
            return settle();
        }
        start_over(current_->partitions);
    }

    // Between sessions, and the end.

    void on(backoff_over) {
        if (step_ == step::backing_off) {
            current_.reset();
            start_over({});
        }
    }

    void on(stop_requested const& what) {
        if (stopping_) {
            return;
        }
        stopping_ = true;
        joined_ = what.joined;
        interrupt();
    }

    void on(failed) {
        failed_ = true;
        interrupt();
    }

    void on(fatal) {
        fatal_ = true;
        lose(claims_, end_reason::group_failed);
        if (step_ == step::leaving || step_ == step::closing) {
            return finish_now();
        }
        interrupt();
    }

    void interrupt() {
        switch (step_) {
        case step::looking_up:
            if (current_ && !fatal_) {
                answer(*current_);
            }
            return settle();
        case step::setting_up: out_.push_back(arm_deadline{arm_deadline::limit::drain}); return;
        case step::joining:
        case step::running:
        case step::backing_off: return settle();
        default: return;
        }
    }

    void leave() {
        if (joined_ && owned_.empty() && !over_ && !failed_) {
            step_ = step::leaving;
            out_.push_back(arm_deadline{arm_deadline::limit::join});
            return;
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

    static partition_set intersection(partition_set const& left, partition_set const& right) {
        partition_set both;
        for (auto const& each : left) {
            if (right.contains(each)) {
                both.insert(each);
            }
        }
        return both;
    }

    settings settings_{};
    step step_ = step::joining;
    actions out_;
    std::optional<rebalance> current_;  // begun, not answered
    std::optional<rebalance> waiting_;  // arrived, not begun; a newer one replaces it
    partition_set owned_;               // what the client believes to be assigned
    partition_set claims_;              // with a claim in the session
    partition_set handlers_;            // whose handler runs
    partition_set starting_;            // looked up or set up now
    partition_set ending_;              // drained, cleaned up or committed now
    partition_set lost_;                // of the claims: not ours any more
    std::optional<end_reason> whole_;   // the session ends with `ending_`
    bool session_ = false;
    bool cancelled_ = false;            // what is waited for has been cancelled
    bool exited_ = false;               // a handler returned early
    bool stopping_ = false;
    bool joined_ = false;               // when stopped: the group knows this member
    bool failed_ = false;
    bool fatal_ = false;
    bool over_ = false;                 // the one session has been
};

} // namespace kgroup::detail
