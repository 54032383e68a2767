#pragma once

#include <kgroup/client.hpp>
#include <kgroup/detail/clock.hpp>
#include <kgroup/detail/notification.hpp>
#include <kgroup/detail/partition_state.hpp>
#include <kgroup/detail/session_state.hpp>
#include <kgroup/error.hpp>
#include <kgroup/session.hpp>
#include <kgroup/topic_partition.hpp>

#include <algorithm>
#include <chrono>
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
    notification done;
    std::vector<commit_result> results;
    std::error_code error;

    void fail(std::error_code ec) {
        error = ec;
        done.happen();
    }
};

struct commit_request {
    std::uint64_t id;
    std::vector<offset_commit> offsets;
};

/// How a round ended.
struct commit_outcome {
    std::error_code error;                  // the first one, if there is none after which it helps to try again
    std::optional<topic_partition> where;   // of it, if it is about one
    std::uint64_t committed = 0;            // partitions
    bool will_retry = false;
};

/// Which commits are asked for, and the one that is under way: never two. Knows no client and no clock; on the group's strand.
class commit_rounds {
public:
    void add(std::shared_ptr<commit_waiter> waiter) { waiters_.push_back(std::move(waiter)); }

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

    /// The last commit of these, which are sealed: repeated while that may help and there is time.
    void finish(std::vector<std::shared_ptr<partition_state>> states, clock::time_point until) {
        finishing_ = last_commit{std::move(states), until, 0, {}};
    }
    /// A last commit that goes on lasts no longer than this.
    void end_by(clock::time_point until) {
        if (finishing_) {
            finishing_->until = (std::min)(finishing_->until, until);
        }
        if (round_ && round_->last) {
            round_->until = (std::min)(round_->until, until);
        }
    }
    /// Whether the last commit is over; true once.
    bool take_finished() { return std::exchange(finished_, false); }

    /// What to send now, if anything.
    std::optional<commit_request> next(session_state const* session, std::chrono::milliseconds timeout) {
        if (round_ && round_->under_way.empty()) {
            if (auto request = send()) {
                return request;
            }
            end_round({});
        }
        if (round_ || finished_) { // whose claims go before anything else is sent
            return std::nullopt;
        }
        auto const now = clock::now();
        if (finishing_) {
            if (now < finishing_->not_before) {
                return std::nullopt;
            }
            auto request = begin(finishing_->states, finishing_->until);
            if (!request) {
                finishing_.reset();
                finished_ = true;
            } else {
                round_->last = true;
            }
            return request;
        }
        if (!session || (!wanted_ && waiters_.empty())) {
            return std::nullopt;
        }
        wanted_ = false;
        std::vector<std::shared_ptr<partition_state>> states;
        {
            std::lock_guard const lock{session->mutex};
            for (auto const& each : session->claims) {
                states.push_back(each.second);
            }
        }
        auto request = begin(states, now + timeout);
        if (request) {
            round_->waiters = std::exchange(waiters_, {});
        } else {
            satisfy(std::exchange(waiters_, {}), states, {}, {});
        }
        return request;
    }

    void answer(client_commit const& what) {
        if (!round_ || what.id != last_id_) {
            return; // to a request that was given up
        }
        for (auto const& each : what.results) {
            round_->results.insert_or_assign(each.where, each.error);
        }
        auto const parts = std::exchange(round_->under_way, {});
        auto unclear = parts.size() > 1;
        for (auto const& each : parts) {
            auto const& where = each.state->where();
            auto const found = round_->results.find(where);
            auto const error = found == round_->results.end() ? what.error : found->second;
            unclear = unclear && is_of_one_partition(error);
            if (!error) {
                each.state->tracker().committed(each.next);
                each.state->topic_gone(false);
                ++round_->committed;
                apart_.erase(where);
            } else if (parts.size() == 1) {
                set_apart(where, true);
            }
        }
        if (unclear) {
            for (auto const& each : parts) {
                set_apart(each.state->where(), false);
                round_->rest.push_back({each.state});
            }
        }
        if (finishing_ && !round_->last && !round_->rest.empty()) { // the last commit goes first; what is left of this one follows
            std::ranges::move(std::exchange(round_->waiters, {}), std::back_inserter(waiters_));
            for (auto const& request : std::exchange(round_->rest, {})) {
                for (auto const& state : request) {
                    round_->results.erase(state->where());
                }
            }
            end_round(what.results.empty() ? what.error : std::error_code{});
        } else if (round_->rest.empty() || what.results.empty()) {
            end_round(what.error);
        }
    }

    void time_out(clock::time_point now) {
        if (!round_ || now < round_->until) {
            return;
        }
        if (round_->under_way.size() == 1) {
            set_apart(round_->under_way.front().state->where(), true);
        }
        round_->give_up(errc::commit_timed_out);
        end_round(errc::commit_timed_out);
    }

    /// How a round ended; each once.
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
        auto waiters = std::exchange(waiters_, {});
        if (round_) {
            std::ranges::move(std::exchange(round_->waiters, {}), std::back_inserter(waiters));
        }
        for (auto const& each : waiters) {
            each->fail(ec);
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
        if (round_) {
            consider(round_->until);
        } else if (finishing_) {
            consider(finishing_->not_before);
        }
        return nearest;
    }

private:
    using commit_errors = std::map<topic_partition, std::error_code>; // none: it was committed

    struct part {
        std::shared_ptr<partition_state> state;
        std::int64_t next;
    };
    // One request, or several that follow one another.
    struct round {
        clock::time_point until;
        std::vector<std::shared_ptr<partition_state>> states;             // of whom it tells
        std::deque<std::vector<std::shared_ptr<partition_state>>> rest{}; // requests to come
        std::vector<part> under_way{};
        commit_errors results{};
        std::uint64_t committed = 0;
        std::vector<std::shared_ptr<commit_waiter>> waiters{};
        bool last = false;

        void give_up(std::error_code why) {
            if (results.empty()) {
                return; // nothing is known of any
            }
            for (auto const& each : std::exchange(under_way, {})) {
                results.insert_or_assign(each.state->where(), why);
            }
            for (auto const& request : std::exchange(rest, {})) {
                for (auto const& state : request) {
                    results.insert_or_assign(state->where(), why);
                }
            }
        }
    };
    struct last_commit {
        std::vector<std::shared_ptr<partition_state>> states;
        clock::time_point until;
        int tries;
        clock::time_point not_before;
    };

    std::optional<commit_request> begin(std::vector<std::shared_ptr<partition_state>> const& states, clock::time_point until) {
        round_ = round{until, states};
        std::vector<std::shared_ptr<partition_state>> together;
        std::vector<std::shared_ptr<partition_state>> failed;
        for (auto const& state : states) {
            if (auto const found = apart_.find(state->where()); found == apart_.end()) {
                together.push_back(state);
            } else if (found->second) {
                failed.push_back(state);
            } else {
                round_->rest.push_back({state});
            }
        }
        round_->rest.push_front(std::move(together));
        for (auto& state : failed) { // which may take all the time there is
            round_->rest.push_back({std::move(state)});
        }
        auto request = send();
        if (!request) {
            round_.reset();
        }
        return request;
    }

    // The next request of the round that has something to commit.
    std::optional<commit_request> send() {
        while (!round_->rest.empty()) {
            auto const states = std::move(round_->rest.front());
            round_->rest.pop_front();
            commit_request request{last_id_ + 1, {}};
            for (auto const& state : states) {
                if (is_loss(state->why_ended())) {
                    round_->results.erase(state->where());
                    continue; // it is somebody else's
                }
                if (auto pending = state->tracker().pending()) {
                    round_->under_way.push_back({state, pending->next});
                    request.offsets.push_back({state->where(), pending->next, std::move(pending->metadata)});
                }
            }
            if (!request.offsets.empty()) {
                ++last_id_;
                return request;
            }
        }
        return std::nullopt;
    }

    void end_round(std::error_code whole) {
        auto const ended = *std::exchange(round_, std::nullopt);
        commit_outcome outcome{whole, std::nullopt, ended.committed, false};
        for (auto const& [where, error] : ended.results) {
            if (error && (!outcome.where || (may_help(error) && !may_help(outcome.error)))) {
                outcome.where = where;
                outcome.error = error;
            }
        }
        satisfy(ended.waiters, ended.states, ended.results, outcome.error);
        if (ended.last && outcome.error) {
            using namespace std::chrono_literals;
            auto const now = clock::now();
            auto const again = is_between_generations(outcome.error) || ++finishing_->tries < 4;
            if (may_help(outcome.error) && again && now + 100ms < finishing_->until) {
                finishing_->not_before = now + 100ms;
                outcome.will_retry = true;
            } else {
                finishing_.reset();
                finished_ = true;
            }
        }
        if (outcome.error || outcome.committed != 0) {
            outcomes_.push_back(std::move(outcome));
        }
    }

    void set_apart(topic_partition const& where, bool failed_alone) {
        auto& failed = apart_.try_emplace(where, false).first->second;
        failed = failed || failed_alone;
    }

    // What a broker says of single partitions. librdkafka tells it of all that were in the request, also of those that were committed
    // (confluentinc/librdkafka, rd_kafka_cgrp_update_committed_offsets), so these are committed one by one from then on.
    static bool is_of_one_partition(std::error_code const& ec) {
        return ec == make_error_code(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) ||
               ec == make_error_code(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED) ||
               ec == make_error_code(RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE) ||
               ec == make_error_code(RD_KAFKA_RESP_ERR_INVALID_COMMIT_OFFSET_SIZE);
    }

    // Whether a commit that failed may be taken if it is repeated.
    static bool may_help(std::error_code const& ec) { return is_between_generations(ec) || is_passing(ec); }

    // Errors after which the very same commit may be taken shortly. Not that there is no such topic: if there is one again, it is
    // another, and its records would be passed over.
    static bool is_passing(std::error_code const& ec) {
        return is_retriable(ec) && ec != make_error_code(errc::commit_timed_out) &&
               ec != make_error_code(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    }

    // A cooperative member commits while a rebalance is under way, in which librdkafka learns of its new generation a little later than
    // the coordinator; the same commit is taken then. A member that the group has removed is told otherwise.
    static bool is_between_generations(std::error_code const& ec) {
        return is_stale(ec) && ec != make_error_code(RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID);
    }

    static void satisfy(std::vector<std::shared_ptr<commit_waiter>> const& waiters,
                        std::vector<std::shared_ptr<partition_state>> const& states,
                        commit_errors const& results, std::error_code whole) {
        for (auto const& waiter : waiters) {
            if (whole && results.empty()) {
                waiter->fail(whole);
                continue;
            }
            for (auto const& state : states) {
                auto const committed = state->tracker().committed();
                auto const marked = state->tracker().marked();
                auto const found = results.find(state->where());
                if (found != results.end() && found->second) {
                    auto const status = is_loss(state->why_ended()) ? commit_status::lost : status_of(found->second);
                    waiter->results.push_back({state->where(), marked, status, found->second});
                } else if (is_loss(state->why_ended()) && marked != committed) {
                    waiter->results.push_back({state->where(), marked, commit_status::lost, {}});
                } else if (committed != state->committed_before()) {
                    waiter->results.push_back({state->where(), committed, commit_status::committed, {}});
                }
            }
            waiter->done.happen();
        }
    }

    static commit_status status_of(std::error_code const& ec) {
        return is_stale(ec) ? commit_status::stale_generation : is_retriable(ec) ? commit_status::retriable : commit_status::failed;
    }

    std::uint64_t last_id_ = 0;
    std::optional<round> round_;             // under way
    std::map<topic_partition, bool> apart_;  // not to be committed together with others; true: failed so, too
    std::deque<commit_outcome> outcomes_;
    std::optional<last_commit> finishing_;   // of claims that end; before everything else
    bool finished_ = false;
    bool wanted_ = false;                    // the clock asked for one
    std::optional<clock::time_point> scheduled_;
    std::vector<std::shared_ptr<commit_waiter>> waiters_;
};

} // namespace kgroup::detail
