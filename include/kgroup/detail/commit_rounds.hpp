#pragma once

#include <kgroup/client.hpp>
#include <kgroup/detail/clock.hpp>
#include <kgroup/detail/notification.hpp>
#include <kgroup/detail/partition_state.hpp>
#include <kgroup/detail/session_state.hpp>
#include <kgroup/error.hpp>
#include <kgroup/session.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <iterator>
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

/// How a request ended.
struct commit_outcome {
    std::error_code error;                  // the first one
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
    /// Whether that is over; true once.
    bool take_finished() { return std::exchange(finished_, false); }

    /// What to send now, if anything.
    std::optional<commit_request> next(session_state const* session, std::chrono::milliseconds timeout) {
        if (round_) {
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
            round_->states = std::move(states);
            round_->waiters = std::exchange(waiters_, {});
        } else {
            satisfy(std::exchange(waiters_, {}), states, {}, {});
        }
        return request;
    }

    /// nullopt: the answer to a request that was given up.
    std::optional<commit_outcome> answer(client_commit const& what) {
        if (!round_ || what.id != round_->id) {
            return std::nullopt;
        }
        commit_outcome outcome{what.error, std::nullopt, 0, false};
        for (auto const& each : round_->parts) {
            auto const found = std::find_if(what.results.begin(), what.results.end(),
                                            [&](auto const& result) { return result.where == each.state->where(); });
            auto const error = found == what.results.end() ? what.error : found->error;
            if (error) {
                if (!outcome.where) {
                    outcome.error = error;
                    outcome.where = each.state->where();
                }
            } else {
                each.state->tracker().committed(each.next);
                each.state->topic_gone(false);
                ++outcome.committed;
            }
        }
        end_round(outcome, what.results);
        return outcome;
    }

    std::optional<commit_outcome> time_out(clock::time_point now) {
        if (!round_ || now < round_->until) {
            return std::nullopt;
        }
        commit_outcome outcome{errc::commit_timed_out, std::nullopt, 0, false};
        end_round(outcome, {});
        return outcome;
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
    struct part {
        std::shared_ptr<partition_state> state;
        std::int64_t next;
    };
    struct round {
        std::uint64_t id;
        clock::time_point until;
        std::vector<part> parts;
        std::vector<std::shared_ptr<partition_state>> states; // of the session
        std::vector<std::shared_ptr<commit_waiter>> waiters;
        bool last = false;
    };
    struct last_commit {
        std::vector<std::shared_ptr<partition_state>> states;
        clock::time_point until;
        int tries;
        clock::time_point not_before;
    };

    std::optional<commit_request> begin(std::vector<std::shared_ptr<partition_state>> const& states, clock::time_point until) {
        commit_request request{last_id_ + 1, {}};
        std::vector<part> parts;
        for (auto const& state : states) {
            if (is_loss(state->why_ended())) {
                continue; // it is somebody else's
            }
            if (auto pending = state->tracker().pending()) {
                parts.push_back({state, pending->next});
                request.offsets.push_back({state->where(), pending->next, std::move(pending->metadata)});
            }
        }
        if (parts.empty()) {
            return std::nullopt;
        }
        ++last_id_;
        round_ = round{last_id_, until, std::move(parts), {}, {}, false};
        return request;
    }

    void end_round(commit_outcome& outcome, std::vector<client_commit::result> const& results) {
        auto const ended = *std::exchange(round_, std::nullopt);
        satisfy(ended.waiters, ended.states, results, outcome.error);
        if (!ended.last || !outcome.error) {
            return;
        }
        using namespace std::chrono_literals;
        auto const now = clock::now();
        auto const again = is_between_generations(outcome.error) || (is_passing(outcome.error) && ++finishing_->tries < 4);
        if (again && now + 100ms < finishing_->until) {
            finishing_->not_before = now + 100ms;
            outcome.will_retry = true;
        } else {
            finishing_.reset();
            finished_ = true;
        }
    }

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
                        std::vector<client_commit::result> const& results, std::error_code whole) {
        for (auto const& waiter : waiters) {
            if (whole && results.empty()) {
                waiter->fail(whole);
                continue;
            }
            for (auto const& state : states) {
                auto const committed = state->tracker().committed();
                auto const marked = state->tracker().marked();
                auto const found = std::find_if(results.begin(), results.end(),
                                                [&](auto const& result) { return result.where == state->where(); });
                if (found != results.end() && found->error) {
                    auto const status = is_loss(state->why_ended()) ? commit_status::lost : status_of(found->error);
                    waiter->results.push_back({state->where(), marked, status, found->error});
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
    std::optional<last_commit> finishing_;   // of claims that end; before everything else
    bool finished_ = false;
    bool wanted_ = false;                    // the clock asked for one
    std::optional<clock::time_point> scheduled_;
    std::vector<std::shared_ptr<commit_waiter>> waiters_;
};

} // namespace kgroup::detail
