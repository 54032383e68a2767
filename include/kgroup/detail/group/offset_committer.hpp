// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/asio/manual_reset_event.hpp>
#include <kgroup/detail/claim/partition_state.hpp>
#include <kgroup/detail/client/client.hpp>
#include <kgroup/detail/group/session_state.hpp>
#include <kgroup/error.hpp>
#include <kgroup/session.hpp>
#include <kgroup/topic_partition.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

namespace kgroup::detail {

/// Somebody who awaits a commit.
struct commit_waiter {
    manual_reset_event done;
    std::vector<commit_result> results;
    std::error_code error;

    void fail(std::error_code ec) {
        error = ec;
        done.set();
    }
};

struct commit_request {
    std::uint64_t id;
    std::vector<offset_commit> offsets;
};

/// How a batch ended.
struct commit_outcome {
    std::error_code error; // the first one after which it helps to try again, or else the first one
    std::optional<topic_partition> where; // of it, if it is about one
    std::uint64_t committed = 0;          // partitions
    bool will_retry = false;
    clock::duration took{}; // since its first request was to be sent
};

/// Decides which commit is sent when, and what its answer means: requests out, answers in. It knows
/// no client and reads no clock. On the group's strand.
///
/// Commits are sent in batches, never two at a time. A batch is one request, or several that follow
/// one another, because of two habits of librdkafka's (2.0 to 2.16):
/// - It tells the error of one partition of all that were in the request. So what was refused is
///   repeated partition by partition, and these stay isolated until they are committed.
/// - It repeats and defers requests by itself, and none can be taken back. A request that is given
///   up after the timeout may still reach the broker, behind a newer one. So its partitions are in
///   doubt until it is answered, and nothing newer is sent for them. The answer does not tell what
///   is committed, whatever it is: the newest position is committed once more.
///
/// The last commit of claims comes before everything else, and is repeated while that may help. It
/// is over when none of its partitions is in doubt, or its time has passed; shortly before that, it
/// is sent for those in doubt as well. Nothing is sent for a partition that was given away.
class offset_committer {
public:
    using claim_list = std::vector<std::shared_ptr<partition_state>>;

    /// `timeout`: of a batch. `commits_at_end`: false, the last commit sends nothing, and only
    /// waits for what is in doubt.
    offset_committer(std::chrono::milliseconds timeout, bool commits_at_end)
        : timeout_(timeout),
          commits_at_end_(commits_at_end) {}

    // What is wanted.

    /// All claims of the session, for somebody who awaits it.
    void add(std::shared_ptr<commit_waiter> waiter) { waiters_.push_back(std::move(waiter)); }

    /// Of the request that was made last.
    std::uint64_t last_id() const noexcept { return last_id_; }

    /// All claims of the session, at this time.
    void schedule(clock::time_point when) { scheduled_ = when; }
    /// Whether the scheduled time has come; it has to be scheduled again then.
    bool clock_is_due(clock::time_point now) {
        if (!scheduled_ || now < *scheduled_) {
            return false;
        }
        scheduled_.reset();
        wanted_ = true;
        return true;
    }

    /// The starts of these claims, now, and again later where that may help.
    void commit_starts(clock::time_point now, claim_list const& claims) {
        for (auto const& state : claims) {
            owed_.insert_or_assign(state->where(), state);
            starting_.insert_or_assign(state->where(), start{state, now + timeout_});
            owed_after_ = now;
        }
    }
    /// Claims whose start has been committed or refused, or whose time for it has passed; each
    /// once.
    claim_list take_started() { return std::exchange(started_, {}); }

    /// The last commit of these, which are sealed.
    void finish(clock::time_point now, claim_list claims, clock::time_point until) {
        auto const reserve =
            (std::min<clock::duration>)((until - now) / 2, std::chrono::seconds{1});
        finishing_ = last_commit{std::move(claims), until, until - reserve, 0, {}};
    }
    /// A last commit that goes on lasts no longer than this.
    void end_by(clock::time_point until) {
        if (!finishing_ || until >= finishing_->until) {
            return;
        }
        auto const reserve = finishing_->until - finishing_->send_by;
        finishing_->until = until;
        finishing_->send_by = until - reserve;
        if (batch_ && batch_->last) {
            batch_->until = until;
        }
    }
    /// Whether the last commit is over; true once.
    bool take_finished() { return std::exchange(finished_, false); }

    // What happens.

    /// What to send now, if anything.
    std::optional<commit_request> next(clock::time_point now, session_state const* session) {
        put_last_first(now);
        if (batch_ && batch_->under_way.empty()) {
            if (auto request = send(now)) {
                return request;
            }
            if (batch_->delayed.empty()) {
                end_batch(now, {});
            }
        }
        if (batch_ || finished_) { // whose claims go before anything else is sent
            return std::nullopt;
        }
        if (finishing_) {
            return now < finishing_->not_before ? std::nullopt : begin_last(now);
        }
        if (auto request = begin_owed(now)) {
            return request;
        }
        if (!session || (!wanted_ && waiters_.empty())) {
            return std::nullopt;
        }
        wanted_ = false;
        start_batch(now, now + timeout_, claims_of(*session));
        batch_->waiters = std::exchange(waiters_, {});
        return send_first(now);
    }

    /// `session`: the one of now, whose claims an answer to an old request may concern.
    void answer(clock::time_point now, client_commit const& answer, session_state const* session) {
        if (!batch_ || batch_->under_way.empty() || answer.id != batch_->id) {
            return answer_late(answer.id, session);
        }
        auto const parts = std::exchange(batch_->under_way, {});
        auto const whole = answer.error && answer.results.empty();
        commit_errors told;
        for (auto const& result : answer.results) {
            told.insert_or_assign(result.where, result.error);
        }
        auto unclear = parts.size() > 1;
        for (auto const& sent : parts) {
            auto const& where = sent.state->where();
            auto const error = error_of(where, told, answer.error);
            if (!whole) {
                batch_->results.insert_or_assign(where, error);
            }
            unclear = unclear && is_of_one_partition(error);
            if (!error) {
                take_committed(sent);
            } else if (parts.size() == 1) {
                isolate(where, true);
            }
        }
        if (whole) {
            for (auto const& sent : parts) {
                batch_->rest.push_back({sent.state});
            }
            batch_->fail_rest(answer.error);
            return end_batch(now, answer.error);
        }
        if (unclear) {
            for (auto const& sent : parts) {
                isolate(sent.state->where(), false);
                batch_->rest.push_back({sent.state});
            }
        }
    }

    void time_out(clock::time_point now) {
        std::erase_if(starting_, [&](auto& waiting) {
            auto const over = now >= waiting.second.until || waiting.second.state->given_away();
            if (over) {
                started_.push_back(waiting.second.state);
            }
            return over;
        });
        if (!batch_) {
            return;
        }
        if (now >= batch_->until) {
            if (batch_->last && commits_at_end_ && batch_->under_way.empty() && has_unsent()) {
                return; // it is sent first
            }
            if (batch_->under_way.size() == 1) {
                isolate(batch_->under_way.front().state->where(), true);
            }
            auto const open = is_open();
            batch_->fail_rest(errc::commit_timed_out);
            give_up_request();
            end_batch(now, open ? errc::commit_timed_out : std::error_code{});
        } else if (finishing_ && !batch_->last && now >= finishing_->send_by) {
            give_up_request();
        }
    }

    /// How a batch ended; each once.
    std::optional<commit_outcome> take_outcome() {
        if (outcomes_.empty()) {
            return std::nullopt;
        }
        auto const first = outcomes_.front();
        outcomes_.pop_front();
        return first;
    }

    /// Also those of the request that is under way.
    void fail_waiters(std::error_code ec) {
        take_waiters_back();
        for (auto const& waiter : std::exchange(waiters_, {})) {
            waiter->fail(ec);
        }
    }

    /// When there is something to do without anything having happened.
    std::optional<clock::time_point> due() const {
        auto nearest = scheduled_;
        auto const consider = [&](clock::time_point when) {
            if (!nearest || when < *nearest) {
                nearest = when;
            }
        };
        if (batch_) {
            consider(batch_->until);
            if (finishing_ && (!batch_->last || has_unsent())) {
                consider(finishing_->send_by);
            }
        } else if (finishing_) {
            consider(finishing_->not_before);
        } else if (std::ranges::any_of(
                       owed_, [this](auto const& owed) { return !in_doubt(owed.first); })) {
            consider(owed_after_);
        }
        for (auto const& waiting : starting_) {
            consider(waiting.second.until);
        }
        return nearest;
    }

private:
    using commit_errors = std::map<topic_partition, std::error_code>; // none: it was committed

    struct part {
        std::shared_ptr<partition_state> state;
        std::int64_t next;
        bool doubtful = false; // meanwhile an older request has been answered
    };
    // Of a partition in doubt.
    struct delayed_commit {
        std::shared_ptr<partition_state> state;
        bool sent; // all the same
    };
    // One request, or several that follow one another.
    struct batch {
        clock::time_point began;
        clock::time_point until;
        claim_list claims;             // of which it tells
        std::deque<claim_list> rest{}; // requests to come
        std::vector<delayed_commit> delayed{};
        std::uint64_t id = 0;
        std::vector<part> under_way{}; // the request of this id; empty: none
        commit_errors results{};
        std::uint64_t committed = 0;
        std::vector<std::shared_ptr<commit_waiter>> waiters{};
        bool last = false;
        bool owed = false;

        void fail_rest(std::error_code why) {
            if (results.empty()) {
                return; // nothing is known of any
            }
            for (auto const& sent : under_way) {
                results.insert_or_assign(sent.state->where(), why);
            }
            for (auto const& claims_to_come : rest) {
                for (auto const& state : claims_to_come) {
                    results.insert_or_assign(state->where(), why);
                }
            }
            for (auto const& commit : delayed) {
                if (commit.state->tracker().pending()) {
                    results.insert_or_assign(commit.state->where(), why);
                }
            }
        }
        void forget_rest() {
            for (auto const& claims_to_come : std::exchange(rest, {})) {
                for (auto const& state : claims_to_come) {
                    results.erase(state->where());
                }
            }
            delayed.clear();
        }
    };
    struct last_commit {
        claim_list claims;
        clock::time_point until;
        clock::time_point send_by; // from then on also what is in doubt is sent
        int tries;
        clock::time_point not_before;
    };
    struct start {
        std::shared_ptr<partition_state> state;
        clock::time_point until;
    };

    static claim_list claims_of(session_state const& session) {
        claim_list claims;
        std::lock_guard const lock{session.mutex};
        for (auto const& claim : session.claims) {
            claims.push_back(claim.second);
        }
        return claims;
    }

    // Batches.

    void start_batch(clock::time_point now, clock::time_point until, claim_list claims) {
        batch_ = batch{now, until, std::move(claims)};
        claim_list together;
        claim_list failed;
        for (auto const& state : batch_->claims) {
            if (auto const found = isolated_.find(state->where()); found == isolated_.end()) {
                together.push_back(state);
            } else if (found->second) {
                failed.push_back(state);
            } else {
                batch_->rest.push_back({state});
            }
        }
        batch_->rest.push_front(std::move(together));
        for (auto& state : failed) { // which may take all the time there is
            batch_->rest.push_back({std::move(state)});
        }
    }

    std::optional<commit_request> send_first(clock::time_point now) {
        auto request = send(now);
        if (!request && batch_->delayed.empty()) {
            end_batch(now, {});
        }
        return request;
    }

    std::optional<commit_request> begin_last(clock::time_point now) {
        start_batch(now, finishing_->until, finishing_->claims);
        batch_->last = true;
        return send_first(now);
    }

    // Starts, and positions that are committed once more.
    std::optional<commit_request> begin_owed(clock::time_point now) {
        std::erase_if(owed_, [](auto const& owed) { return owed.second->given_away(); });
        if (now < owed_after_) {
            return std::nullopt;
        }
        claim_list claims;
        for (auto const& [where, state] : owed_) {
            if (!in_doubt(where)) {
                claims.push_back(state);
            }
        }
        if (claims.empty()) {
            return std::nullopt;
        }
        start_batch(now, now + timeout_, std::move(claims));
        batch_->owed = true;
        return send_first(now);
    }

    // The last commit goes first; what is left of another batch follows.
    void put_last_first(clock::time_point now) {
        if (!finishing_) {
            return;
        }
        if (std::ranges::all_of(finishing_->claims,
                                [](auto const& state) { return state->given_away(); })) {
            if (batch_ && batch_->last) { // nobody waits for the answer
                give_up_request();
                batch_.reset();
            }
            finishing_.reset();
            finished_ = true;
        } else if (batch_ && !batch_->last && batch_->under_way.empty()) {
            batch_->forget_rest();
            take_waiters_back();
            end_batch(now, {});
        }
    }

    void take_waiters_back() {
        if (batch_) {
            std::ranges::move(std::exchange(batch_->waiters, {}), std::back_inserter(waiters_));
        }
    }

    // The next request of the batch that has something to commit.
    std::optional<commit_request> send(clock::time_point now) {
        do {
            while (!batch_->rest.empty()) {
                auto const claims = std::move(batch_->rest.front());
                batch_->rest.pop_front();
                if (auto request = make_request(now, claims)) {
                    return request;
                }
            }
        } while (take_delayed(now));
        return std::nullopt;
    }

    std::optional<commit_request> make_request(clock::time_point now, claim_list const& claims) {
        commit_request request{last_id_ + 1, {}};
        for (auto const& state : claims) {
            auto const& where = state->where();
            if (state->given_away()) {
                batch_->results.erase(where);
                continue;
            }
            auto pending = state->tracker().pending();
            if (in_doubt(where)) {
                auto const sent = is_last_chance(now);
                if (batch_->last || (pending && !batch_->waiters.empty())) {
                    batch_->delayed.push_back({state, sent});
                }
                if (!sent) {
                    continue;
                }
            }
            if (!pending || (batch_->last && !commits_at_end_)) {
                continue;
            }
            if (batch_->last && state->topic_missing()) {
                batch_->results.insert_or_assign(
                    where, make_error_code(kafka_errc::unknown_topic_or_partition));
                continue;
            }
            if (state->is_void(pending->next)) {
                batch_->results.insert_or_assign(where, make_error_code(errc::offset_out_of_range));
                continue;
            }
            batch_->under_way.push_back({state, pending->next});
            auto const* const source = state->source();
            request.offsets.push_back({where, pending->next, std::move(pending->metadata),
                                       source ? source->leader_epoch_before(pending->next) : -1});
        }
        if (request.offsets.empty()) {
            return std::nullopt;
        }
        batch_->id = ++last_id_;
        return request;
    }

    bool is_last_chance(clock::time_point now) const {
        return batch_->last && now >= finishing_->send_by;
    }

    // Whether there is more to send: partitions that are not in doubt any more, or for which there
    // is no more time to wait.
    bool take_delayed(clock::time_point now) {
        claim_list ready;
        std::erase_if(batch_->delayed, [&](delayed_commit const& commit) {
            auto const wait =
                in_doubt(commit.state->where()) && (commit.sent || !is_last_chance(now));
            if (!wait) {
                ready.push_back(commit.state);
            }
            return !wait || commit.state->given_away();
        });
        claim_list together;
        for (auto const& state : ready) {
            if (isolated_.contains(state->where())) {
                batch_->rest.push_back({state});
            } else {
                together.push_back(state);
            }
        }
        if (!together.empty()) {
            batch_->rest.push_front(std::move(together));
        }
        return !ready.empty();
    }

    // Whether something that it is to commit is not committed.
    bool is_open() const {
        auto const may_send = !batch_->last || commits_at_end_;
        return !batch_->under_way.empty() || !batch_->rest.empty() ||
               (may_send && std::ranges::any_of(batch_->delayed, [](delayed_commit const& commit) {
                    return commit.state->tracker().pending().has_value();
                }));
    }

    bool has_unsent() const {
        return std::ranges::any_of(batch_->delayed,
                                   [](delayed_commit const& commit) { return !commit.sent; });
    }

    void end_batch(clock::time_point now, std::error_code whole) {
        auto const ended = *std::exchange(batch_, std::nullopt);
        auto const owned = std::ranges::any_of(
            ended.claims, [](auto const& state) { return !state->given_away(); });
        commit_outcome outcome{owned ? whole : std::error_code{}, std::nullopt, ended.committed,
                               false, now - ended.began};
        for (auto const& state : ended.claims) {
            auto const found = ended.results.find(state->where());
            if (found == ended.results.end() || !found->second || state->given_away()) {
                continue;
            }
            if (!outcome.where || (may_help(found->second) && !may_help(outcome.error))) {
                outcome.where = state->where();
                outcome.error = found->second;
            }
        }
        complete(ended.waiters, ended.claims, ended.results, whole);
        if (ended.owed) {
            settle_owed(now, ended, whole);
        }
        if (ended.last) {
            outcome.will_retry = repeats_last(now, outcome.error);
        }
        if (outcome.error || outcome.committed != 0) {
            outcomes_.push_back(std::move(outcome));
        }
    }

    // Whether the last commit is sent again; it is over otherwise.
    bool repeats_last(clock::time_point now, std::error_code error) {
        using namespace std::chrono_literals;
        if (may_help(error) && now + 100ms < finishing_->until &&
            (is_between_generations(error) || ++finishing_->tries < 4)) {
            finishing_->not_before = now + 100ms;
            return true;
        }
        finishing_.reset();
        finished_ = true;
        return false;
    }

    void settle_owed(clock::time_point now, batch const& ended, std::error_code whole) {
        for (auto const& state : ended.claims) {
            auto const found = ended.results.find(state->where());
            auto const error = found == ended.results.end() ? whole : found->second;
            auto const committed = !error && !state->tracker().pending();
            if (!error && !committed) {
                continue; // the batch gave way before its turn came
            }
            if (committed || !(may_help(error) || error == errc::commit_timed_out)) {
                owed_.erase(state->where());
            } else {
                owed_after_ = now + std::chrono::seconds{1};
            }
            if (starting_.erase(state->where()) != 0) {
                started_.push_back(state);
            }
        }
    }

    // Answers.

    static std::error_code error_of(topic_partition const& where, commit_errors const& told,
                                    std::error_code whole) {
        auto const found = told.find(where);
        if (found != told.end() && found->second) {
            return found->second;
        }
        if (!whole && found == told.end()) {
            return make_error_code(kafka_errc::local_bad_message); // the answer says nothing of it
        }
        return whole;
    }

    void take_committed(part const& sent) {
        auto& tracker = sent.state->tracker();
        tracker.committed(sent.next);
        ++batch_->committed;
        isolated_.erase(sent.state->where());
        if (sent.doubtful) {
            tracker.forget_committed();
            batch_->rest.push_back({sent.state});
        }
    }

    void give_up_request() {
        if (batch_ && !batch_->under_way.empty()) {
            auto& partitions = given_up_[batch_->id];
            for (auto const& sent : std::exchange(batch_->under_way, {})) {
                partitions.emplace(sent.state->where(), sent.next);
                ++doubts_[sent.state->where()];
            }
        }
    }

    bool in_doubt(topic_partition const& where) const { return doubts_.contains(where); }

    void answer_late(std::uint64_t id, session_state const* session) {
        auto const answered = given_up_.extract(id);
        if (!answered) {
            return;
        }
        for (auto const& [where, next] : answered.mapped()) {
            if (auto const doubt = doubts_.find(where); --doubt->second == 0) {
                doubts_.erase(doubt);
            }
            if (auto const state = session ? session->find(where) : nullptr;
                state && !state->given_away()) {
                commit_once_more(state, next);
            }
        }
        if (batch_) {
            for (auto& sent : batch_->under_way) {
                sent.doubtful = sent.doubtful || answered.mapped().contains(sent.state->where());
            }
        }
    }

    // What is newer than the request goes with the next commit that the clock, or only the user,
    // asks for.
    void commit_once_more(std::shared_ptr<partition_state> const& state, std::int64_t answered) {
        auto const before = state->tracker().pending();
        auto const newer = before && before->next != answered;
        state->tracker().forget_committed();
        if (state->tracker().pending() && (!newer || (!scheduled_ && commits_at_end_))) {
            owed_.insert_or_assign(state->where(), state);
        }
    }

    // Failures.

    void isolate(topic_partition const& where, bool failed_alone) {
        auto& failed = isolated_.try_emplace(where, false).first->second;
        failed = failed || failed_alone;
    }

    // What a broker says of single partitions. librdkafka tells it of all that were in the request,
    // also of those that were committed (confluentinc/librdkafka,
    // rd_kafka_cgrp_update_committed_offsets).
    static bool is_of_one_partition(std::error_code const& ec) {
        return ec == make_error_code(kafka_errc::unknown_topic_or_partition) ||
               ec == make_error_code(kafka_errc::topic_authorization_failed) ||
               ec == make_error_code(kafka_errc::offset_metadata_too_large) ||
               ec == make_error_code(kafka_errc::invalid_commit_offset_size);
    }

    // Whether a commit that failed may be taken if it is repeated.
    static bool may_help(std::error_code const& ec) {
        return is_between_generations(ec) || is_transient(ec);
    }

    // Errors after which the very same commit may be taken shortly. Not that there is no such
    // topic: if there is one again, it is another, and its records would be passed over.
    static bool is_transient(std::error_code const& ec) {
        return is_retriable(ec) && ec != make_error_code(errc::commit_timed_out) &&
               ec != make_error_code(kafka_errc::unknown_topic_or_partition);
    }

    // A cooperative member commits while a rebalance is under way, in which librdkafka learns of
    // its new generation a little later than the coordinator; the same commit is taken then. A
    // member that the group has removed is told otherwise.
    static bool is_between_generations(std::error_code const& ec) {
        return is_stale(ec) && ec != make_error_code(kafka_errc::unknown_member_id);
    }

    static void complete(std::vector<std::shared_ptr<commit_waiter>> const& waiters,
                         claim_list const& claims, commit_errors const& results,
                         std::error_code whole) {
        for (auto const& waiter : waiters) {
            if (whole && results.empty()) {
                waiter->fail(whole);
                continue;
            }
            for (auto const& state : claims) {
                auto const committed = state->tracker().committed();
                auto const marked = state->tracker().marked();
                auto const found = results.find(state->where());
                if (found != results.end() && found->second) {
                    auto const status = is_loss(state->why_ended()) ? commit_status::lost
                                                                    : status_of(found->second);
                    waiter->results.push_back({state->where(), marked, status, found->second});
                } else if (is_loss(state->why_ended()) && marked != committed) {
                    waiter->results.push_back({state->where(), marked, commit_status::lost, {}});
                } else if (committed != state->committed_before()) {
                    waiter->results.push_back(
                        {state->where(), committed, commit_status::committed, {}});
                }
            }
            waiter->done.set();
        }
    }

    static commit_status status_of(std::error_code const& ec) {
        return is_stale(ec)       ? commit_status::stale_generation
               : is_retriable(ec) ? commit_status::retriable
                                  : commit_status::failed;
    }

    std::chrono::milliseconds timeout_;
    bool commits_at_end_;
    std::uint64_t last_id_ = 0;
    std::optional<batch> batch_;
    // Not to be committed together with others; true: a commit of it alone has failed, too.
    std::map<topic_partition, bool> isolated_;
    // Requests that were given up and are not answered, by id; and in how many of them a partition
    // is.
    std::map<std::uint64_t, std::map<topic_partition, std::int64_t>> given_up_;
    std::map<topic_partition, std::size_t> doubts_;
    std::deque<commit_outcome> outcomes_;
    std::optional<last_commit> finishing_; // of claims that end; before everything else
    bool finished_ = false;
    // Committed without being asked for.
    std::map<topic_partition, std::shared_ptr<partition_state>> owed_;
    clock::time_point owed_after_{};
    std::map<topic_partition, start> starting_;
    claim_list started_;
    bool wanted_ = false; // the clock asked for one
    std::optional<clock::time_point> scheduled_;
    std::vector<std::shared_ptr<commit_waiter>> waiters_;
};

} // namespace kgroup::detail
