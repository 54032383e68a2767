// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/config.hpp>
#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/client/client.hpp>
#include <kgroup/detail/group/session_machine.hpp>
#include <kgroup/error.hpp>
#include <kgroup/event.hpp>
#include <kgroup/topic_partition.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace kgroup::detail {

/// Where claims start: what the client is to be asked for, and what its answers mean. Knows no
/// client and no clock.
///
/// An assignment is looked up in two steps: what is committed, and, where nothing is, where the log
/// begins or ends. A partition that cannot be answered for now (its leader is away, a transaction
/// decides its committed offset) is *delayed*: the assignment goes on without it, and it is asked
/// for again until its start is found or it is forgotten.
class offset_lookup {
public:
    struct settings {
        offset_reset initial_offset = offset_reset::earliest;
        std::optional<std::int64_t> initial_time{}; // in ms since 1970
        bool infer_new_partitions = true;

        static settings of(config const& given) {
            using namespace std::chrono;
            std::optional<std::int64_t> time;
            if (given.initial_time) { // what is earlier than 1970 means something else in the
                                      // protocol
                time = (std::max<std::int64_t>)(ceil<milliseconds>(*given.initial_time)
                                                    .time_since_epoch()
                                                    .count(),
                                                0);
            }
            return {given.initial_offset.value_or(offset_reset::earliest), time,
                    given.infer_new_partitions};
        }
    };

    struct committed_request {
        std::uint64_t id;
        std::vector<topic_partition> partitions;
        bool with_lower; // what is committed in the partitions below them, too
    };
    struct log_request {
        std::uint64_t id;
        std::vector<log_place> places;
        std::vector<std::string> topics; // how many partitions they have
    };

    /// What the driver is to do next.
    struct outcome {
        std::optional<committed_request> committed{};
        std::optional<log_request> log{};
        std::vector<start_position> found{};
        bool complete = false;   // the assignment's: each partition is found, or delayed
        partition_set delayed{}; // then
        std::vector<event> events{};
        std::error_code failure{};              // the run cannot go on
        std::optional<topic_partition> where{}; // of that, if it is one partition's
    };

    explicit offset_lookup(settings given) : settings_(given) {}

    /// An assignment. An earlier one is void; what it delayed and has a claim goes on.
    outcome begin(partition_set partitions) {
        auto result = abandon();
        assignment_ = std::move(partitions);
        for (auto const& partition : assignment_) {
            searches_[partition] = {};
        }
        ask(assignment_, result);
        return result;
    }

    /// Nobody waits for the assignment any more: what it delayed has no claim yet, and is over with
    /// it.
    outcome abandon() {
        complete_by_.reset();
        unavailable_ = false;
        return forget(std::exchange(assignment_, {}),
                      "the partition was taken away before its claim began");
    }

    /// Nothing of these is waited for any more.
    outcome forget(partition_set const& partitions, std::string const& reason) {
        outcome result;
        for (auto const& partition : partitions) {
            assignment_.erase(partition);
            if (auto const found = searches_.find(partition); found != searches_.end()) {
                if (found->second.delayed) {
                    tell(result, event_kind::start_found, severity::info, partition, {}, reason);
                }
                searches_.erase(found);
            }
        }
        return result;
    }

    outcome answer(client_offsets const& given, clock::time_point now) {
        outcome result;
        auto const found = rounds_.find(given.id);
        if (found == rounds_.end()) {
            return result;
        }
        auto asked = std::move(found->second);
        rounds_.erase(found);
        std::erase_if(asked.partitions,
                      [&](auto const& partition) { return !is_asked(partition, given.id); });
        if (asked.partitions.empty()) {
            return result; // nobody waits for it any more
        }
        if (given.error) {
            refuse(asked, given.error, now, result);
            return result;
        }
        if (std::exchange(unavailable_, false)) {
            tell(result, event_kind::offsets_found, severity::info, std::nullopt, {},
                 "the committed offsets have been read");
        }
        log_request next{given.id, {}, {}};
        read_committed(asked, given, next, now, result);
        if (result.failure) {
            return result;
        }
        if (follows_rules()) {
            std::set<std::string> topics;
            for (auto const& partition : asked.partitions) {
                topics.insert(partition.topic);
            }
            next.topics.assign(topics.begin(), topics.end());
        }
        if (!next.places.empty() || !next.topics.empty()) {
            if (!assignment_.empty()) {
                complete_by_ = now + patience;
            }
            rounds_.emplace(given.id, std::move(asked));
            result.log = std::move(next);
        }
        finish(result);
        return result;
    }

    outcome answer(client_log_offsets const& given, clock::time_point now) {
        outcome result;
        for (auto const& [topic, count] : given.partition_counts) {
            if (count > 0) {
                auto& fewest = partition_counts_.try_emplace(topic, count).first->second;
                fewest = (std::min)(fewest, count);
            }
        }
        auto const found = rounds_.find(given.id);
        if (found == rounds_.end()) {
            return result;
        }
        auto asked = std::move(found->second);
        rounds_.erase(found);
        log_request next{given.id, {}, {}};
        for (auto const& log_offset : given.offsets) {
            auto const position = asked.positions.find(log_offset.where);
            if (position == asked.positions.end() || !is_asked(log_offset.where, given.id)) {
                continue;
            }
            auto const from_beginning = position->second.start == start_position::log_beginning;
            if (log_offset.error && !(from_beginning && !follows_rules())) {
                delay(log_offset.where, log_offset.error,
                      asked.by_time    ? "where its log is at initial_time is not known"
                      : from_beginning ? "the beginning of its log is not known"
                                       : "the end of its log is not known",
                      now, result);
                continue;
            }
            if (!log_offset.error && log_offset.offset >= 0) {
                position->second.start = log_offset.offset;
            }
            if (settings_.initial_time && !asked.by_time) {
                next.places.push_back({log_offset.where, *settings_.initial_time});
            } else {
                choose(std::move(position->second),
                       searches_.at(log_offset.where).applies.value_or(rule::none), result);
            }
        }
        if (!next.places.empty()) {
            asked.by_time = true;
            rounds_.emplace(given.id, std::move(asked));
            result.log = std::move(next);
        }
        finish(result);
        return result;
    }

    /// Of the last request.
    std::uint64_t last_id() const noexcept { return last_id_; }

    /// When `on_time` is to be called.
    std::optional<clock::time_point> due() const noexcept {
        return retry_at_ && complete_by_ ? (std::min)(retry_at_, complete_by_)
               : retry_at_               ? retry_at_
                                         : complete_by_;
    }

    /// Whether it tells again soon that a claim cannot start, and the reason is to be looked for.
    bool tells_soon(clock::time_point now) const noexcept {
        return std::ranges::any_of(searches_, [now](auto const& entry) {
            return entry.second.delayed &&
                   now - entry.second.told >= tell_again_after - std::chrono::seconds{5};
        });
    }

    outcome on_time(clock::time_point now) {
        outcome result;
        if (retry_at_ && *retry_at_ <= now) {
            retry_at_.reset();
            retry(now, result);
        }
        if (complete_by_ && *complete_by_ <= now) {
            complete_by_.reset();
            for (auto const& partition : assignment_) {
                if (auto const found = searches_.find(partition);
                    found != searches_.end() && found->second.round != 0) {
                    auto const asking = found->second.round;
                    delay(partition, make_error_code(kafka_errc::local_timed_out),
                          "the leader of its partition has not answered yet", now, result);
                    found->second.round = asking;
                }
            }
            finish(result);
        }
        return result;
    }

private:
    // How long an assignment waits for the ends of logs before it goes on without those that are
    // missing.
    static constexpr std::chrono::seconds patience{2};
    static constexpr std::chrono::minutes tell_again_after{1};

    void retry(clock::time_point now, outcome& result) {
        using namespace std::chrono_literals;
        partition_set partitions;
        for (auto& [where, missing] : searches_) {
            if (missing.round != 0) {
                continue;
            }
            partitions.insert(where);
            if (missing.delayed && now - missing.told >= tell_again_after) {
                missing.told = now;
                tell(result, event_kind::start_delayed, severity::warning, where, missing.error,
                     "the claim still cannot start: " + missing.reason);
            }
        }
        ask(partitions, result);
    }

    enum class rule { none, end, added_since, added_before, again };

    // A partition whose start is not known.
    struct search {
        std::uint64_t round = 0; // in which it is asked for; 0: none
        bool delayed = false;
        std::optional<rule> applies{}; // if it has no committed offset
        clock::time_point told{};
        std::error_code error{};
        std::string reason{};
    };
    // A question, in its two or three steps.
    struct round {
        partition_set partitions{};
        std::map<topic_partition, start_position>
            positions{}; // of those that have nothing committed
        bool by_time = false;
    };

    // Where `latest` and `none` are not taken literally: what was written while the group existed
    // is not to be skipped.
    bool follows_rules() const noexcept {
        return settings_.initial_offset != offset_reset::earliest && !settings_.initial_time;
    }

    bool is_asked(topic_partition const& where, std::uint64_t id) const {
        auto const found = searches_.find(where);
        return found != searches_.end() && found->second.round == id;
    }

    void ask(partition_set const& partitions, outcome& result) {
        if (partitions.empty()) {
            return;
        }
        auto const id = ++last_id_;
        for (auto const& partition : partitions) {
            searches_[partition].round = id;
        }
        rounds_[id].partitions = partitions;
        result.committed =
            committed_request{id, {partitions.begin(), partitions.end()}, follows_rules()};
    }

    // The request failed as a whole.
    void refuse(round const& asked, std::error_code const& error, clock::time_point now,
                outcome& result) {
        if (effect_of(error) == error_effect::ends_application) {
            result.failure = error;
            return;
        }
        for (auto const& partition : asked.partitions) {
            searches_[partition].round = 0;
            if (!searches_[partition].delayed) {
                unavailable_ = true;
            }
        }
        retry_after(now);
        if (unavailable_) {
            tell(result, event_kind::offsets_unavailable, severity::warning, std::nullopt, error,
                 "the committed offsets cannot be read yet");
        }
    }

    void read_committed(round& asked, client_offsets const& given, log_request& next,
                        clock::time_point now, outcome& result) {
        auto const topics = topics_of(given);
        for (auto const& committed : given.offsets) {
            if (!is_asked(committed.where, given.id)) {
                continue;
            }
            // By the first answer: later ones show what this member itself has committed meanwhile
            // in the partitions that did not wait.
            auto& applies = searches_.at(committed.where).applies;
            if (!applies) {
                applies = follows_rules() ? rule_for(committed.where, topics) : rule::none;
            }
            if (committed.error) {
                delay(committed.where, committed.error,
                      committed.error == make_error_code(kafka_errc::unstable_offset_commit)
                          ? "its committed offset is part of a transaction that is not decided yet"
                          : "its committed offset cannot be read",
                      now, result);
                continue;
            }
            start_position position{committed.where, committed.offset, committed.offset,
                                    committed.metadata, committed.leader_epoch};
            if (committed.offset >= 0) {
                begun_.erase(committed.where);
                find(std::move(position), result);
                continue;
            }
            position.committed = position.leader_epoch = -1;
            if (applies == rule::again) {
                position.start = begun_.at(committed.where);
                choose(std::move(position), *applies, result);
                continue;
            }
            if (applies == rule::end && settings_.initial_offset == offset_reset::none) {
                result.failure = errc::no_committed_offset;
                result.where = committed.where;
                return;
            }
            position.start = applies == rule::end || settings_.initial_time
                                 ? start_position::log_end
                                 : start_position::log_beginning;
            next.places.push_back({committed.where, position.start});
            asked.positions.emplace(committed.where, std::move(position));
        }
    }

    // Of each topic, the lowest partition that has no committed offset.
    using first_without = std::map<std::string, std::int32_t>;

    static first_without topics_of(client_offsets const& given) {
        first_without topics;
        for (auto const* const all : {&given.offsets, &given.lower}) {
            for (auto const& committed : *all) {
                auto& without = topics
                                    .try_emplace(committed.where.topic,
                                                 (std::numeric_limits<std::int32_t>::max)())
                                    .first->second;
                if (committed.offset < 0 &&
                    (!committed.error ||
                     committed.error == make_error_code(kafka_errc::unknown_topic_or_partition))) {
                    without = (std::min)(without, committed.where.partition);
                }
            }
        }
        return topics;
    }

    // A partition without a committed offset. Where all below some index have one, it was added
    // later, or nothing was to be read in it: then its beginning repeats records and loses none.
    rule rule_for(topic_partition const& where, first_without const& topics) const {
        if (begun_.contains(where)) {
            return rule::again;
        }
        if (auto const count = partition_counts_.find(where.topic);
            count != partition_counts_.end() && where.partition >= count->second) {
            return rule::added_since;
        }
        auto const is_above = (std::min)(topics.at(where.topic), where.partition) > 0;
        return settings_.infer_new_partitions && is_above ? rule::added_before : rule::end;
    }

    void choose(start_position position, rule applies, outcome& result) {
        auto const offset = std::to_string(position.start);
        auto const say = [&](std::string const& text) {
            tell(result, event_kind::start_chosen, severity::info, position.where, {},
                 "no offset is committed" + text);
        };
        switch (applies) {
        case rule::none:
            break;
        case rule::end:
            say(": the claim begins at the end of the log, offset " + offset);
            break;
        case rule::added_since:
            say(" and the partition was added while this member ran: the claim begins at the "
                "beginning of the log, offset " +
                offset);
            break;
        case rule::added_before:
            say(", but in the partitions below: it is taken for an added one, and the claim begins "
                "at the beginning of the log, offset " +
                offset);
            break;
        case rule::again:
            say(" since this member began to read: the claim begins there again, offset " + offset);
            break;
        }
        if (applies != rule::none) {
            begun_.insert_or_assign(position.where, position.start);
        }
        find(std::move(position), result);
    }

    void find(start_position position, outcome& result) {
        auto const found = searches_.find(position.where);
        if (found->second.delayed) {
            tell(result, event_kind::start_found, severity::info, position.where, {},
                 "the claim can start" +
                     (position.start < 0 ? "" : ", at offset " + std::to_string(position.start)));
        }
        searches_.erase(found);
        result.found.push_back(std::move(position));
    }

    void delay(topic_partition const& where, std::error_code const& error, std::string reason,
               clock::time_point now, outcome& result) {
        auto& missing = searches_.at(where);
        missing.round = 0;
        missing.error = error;
        missing.reason = std::move(reason);
        retry_after(now);
        if (!std::exchange(missing.delayed, true)) {
            missing.told = now;
            tell(result, event_kind::start_delayed, severity::warning, where, error,
                 "the claim starts later: " + missing.reason);
        }
    }

    void retry_after(clock::time_point now) {
        using namespace std::chrono_literals;
        if (!retry_at_) {
            retry_at_ = now + 500ms;
        }
    }

    void finish(outcome& result) {
        if (assignment_.empty()) {
            return;
        }
        for (auto const& partition : assignment_) {
            if (auto const found = searches_.find(partition); found != searches_.end()) {
                if (!found->second.delayed) {
                    result.delayed.clear();
                    return;
                }
                result.delayed.insert(partition);
            }
        }
        assignment_.clear();
        complete_by_.reset();
        result.complete = true;
    }

    static void tell(outcome& result, event_kind kind, severity level,
                     std::optional<topic_partition> where, std::error_code error,
                     std::string text) {
        result.events.push_back({kind, level, std::move(where), error, std::move(text)});
    }

    settings settings_;
    std::uint64_t last_id_ = 0;
    partition_set assignment_; // whose look-up is not complete
    std::map<topic_partition, search> searches_;
    std::map<std::uint64_t, round> rounds_;
    std::map<std::string, std::int32_t> partition_counts_; // the fewest that this run has seen
    std::map<topic_partition, std::int64_t>
        begun_; // by a rule, in this run; nothing was committed since
    bool unavailable_ = false;
    std::optional<clock::time_point> retry_at_;
    std::optional<clock::time_point> complete_by_;
};

} // namespace kgroup::detail
