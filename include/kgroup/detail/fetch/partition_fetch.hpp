// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/fetch/api.hpp>
#include <kgroup/detail/fetch/batch_walk.hpp>
#include <kgroup/detail/fetch/broker_abilities.hpp>
#include <kgroup/detail/fetch/fetch_errors.hpp>
#include <kgroup/detail/fetch/fetch_message.hpp>
#include <kgroup/detail/fetch/leader_epochs.hpp>
#include <kgroup/detail/fetch/list_offsets_message.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <utility>

namespace kgroup::detail::fetch {

using time_point = std::chrono::steady_clock::time_point;

/// Where a claim goes on when its position is in the log no more.
enum class reset_policy { earliest, latest, none };

struct fetch_settings {
    reset_policy reset = reset_policy::latest;
    /// After an error; doubled by each further one.
    std::chrono::milliseconds shortest_backoff{100};
    std::chrono::milliseconds longest_backoff{1000};
    /// How long a replica is asked that the leader prefers to itself.
    std::chrono::milliseconds replica_lifetime{300'000};
};

/// What is to be asked of a broker about one partition.
struct partition_question {
    api request = api::fetch;
    std::uint64_t generation = 0;
    std::int32_t broker = -1;
    std::int32_t current_leader_epoch = -1;
    std::int64_t offset = 0;              // fetch
    std::int32_t last_fetched_epoch = -1; // fetch
    bool alone = false;                   // fetch: in a request with no other partition
    std::int64_t timestamp = 0;           // list_offsets
    std::int32_t leader_epoch = -1;       // leader_epoch
};

/// Something to be told, or to be acted upon by the claim.
struct fetch_event {
    enum class kind {
        broker_error,   // `code`; it is repeated
        useless_answer, // bytes that do not advance the position; asked again
        position_reset, // it was outside of the log: from `from` to `to`
        truncated,      // records from `to` on were replaced by others: what was read from there on
                        // is void. The claim goes on at `to`
        topic_recreated, // the topic was made anew under its name: nothing of the old one counts
        // Those behind end the fetching.
        record_unreadable,  // at `from`, because of `wrong`
        out_of_range,       // as `position_reset`, and the policy is `none`
        truncated_no_reset, // as `truncated`
        recreated_no_reset, // as `topic_recreated`
        old_format,         // from `from` on librdkafka reads
        unsupported,        // `code`: librdkafka reads from `from` on
        failed,             // `code`
    };
    kind type;
    std::int64_t from = -1;
    std::int64_t to = -1;
    std::int16_t code = 0;
    damage wrong = damage::none;
    std::int32_t leader_epoch = -1; // truncated: of the record before `to`

    bool final() const noexcept { return type >= kind::record_unreadable; }
};

/// What follows from an answer or from an event.
struct fetch_reaction {
    bool take = false;    // the records of the answer are the claim's
    bool refresh = false; // metadata is to be asked
    std::optional<fetch_event> event;
};

/// Decides what is asked about one partition, and what the answers mean. Knows no connection and no
/// clock. At most one question is outstanding.
///
/// Each start, seek, reset and end begins a generation: what was asked and fetched before it counts
/// no more. The caller drops what it holds of older ones. (An older question may still be under way
/// when the first of a new generation is asked.) But what was fetched since the last start is read
/// later, and what is found then counts: see `on_damaged`.
class partition_fetch {
public:
    /// @throws std::bad_alloc
    explicit partition_fetch(fetch_settings const& settings) : settings_(settings) {}

    static constexpr std::int64_t latest = list_offsets_request::latest;
    static constexpr std::int64_t earliest = list_offsets_request::earliest;

    std::uint64_t generation() const noexcept { return generation_; }
    /// Where the next fetch goes on; below 0: not known yet.
    std::int64_t position() const noexcept { return position_; }
    bool running() const noexcept { return state_ != state::stopped; }
    std::int32_t leader() const noexcept { return leader_.id; }
    topic_uuid const& topic_id() const noexcept { return topic_id_; }
    bool outstanding() const noexcept { return asked_.has_value(); }
    std::int64_t high_watermark() const noexcept { return high_watermark_; }
    std::int64_t last_stable_offset() const noexcept { return last_stable_offset_; }
    std::int64_t log_start() const noexcept { return log_start_; }

    /// Begins at an offset, or at one end of the log.
    ///
    /// @param leader_epoch of the record before, as it was committed; -1: unknown. The log is
    /// checked not to have been replaced since.
    void start(std::int64_t from, std::int32_t leader_epoch = -1) noexcept {
        begin_generation();
        started_with_ = generation_;
        made_again_ = false;
        position_ = from;
        last_epoch_ = leader_epoch;
        epochs_.restart(from, leader_epoch);
        unchecked_ = true;
        damaged_at_.reset();
        refused_at_.reset();
        alone_ = false;
        reset_from_.reset();
        forget_failures();
        state_ = from < 0 ? state::finding_start : state::fetching;
    }
    void stop() noexcept {
        begin_generation();
        started_with_ = generation_ + 1;
        state_ = state::stopped;
    }
    /// Whether there is room for more records. Only fetching heeds it.
    void want(bool more) noexcept { wanted_ = more; }

    /// What metadata says of the partition.
    ///
    /// @param leader -1: nobody. Then metadata is to be asked again, in its time.
    /// @param id of the topic; all zero: the broker knows none.
    /// @param newest whether it was asked after all that has asked for a refresh.
    fetch_reaction on_metadata(std::int32_t leader, std::int32_t leader_epoch, topic_uuid const& id,
                               bool newest = true) noexcept {
        fetch_reaction result;
        if (id != topic_uuid{} && id == former_id_ && is_behind()) {
            result.refresh = running();
            return result;
        }
        if (id != topic_uuid{} && id != topic_id_) {
            bool const other = topic_id_ != topic_uuid{};
            former_id_ = std::exchange(topic_id_, id);
            if (other) { // epochs count within a topic
                leader_ = {};
                result = recreated();
            }
        }
        // Without ids it may also be of another topic.
        if (leader_epoch >= 0 && leader_epoch < leader_.epoch &&
            (topic_id_ != topic_uuid{} || is_behind())) {
            result.refresh = state_ == state::awaiting_topic;
            return result; // from a broker that is behind
        }
        former_named_ = 0;
        if (state_ == state::awaiting_topic && leader >= 0 && newest) { // it is the same one
            result = truncate(cut_.epoch, cut_.end_offset);
        }
        lead(leader, leader_epoch);
        result.refresh = (leader < 0 && running()) || state_ == state::awaiting_topic;
        return result;
    }

    /// What is to be asked now. nullopt: nothing, or nobody to ask.
    ///
    /// @param abilities those of the broker that `target` names.
    std::optional<partition_question> next(time_point now,
                                           broker_abilities abilities) const noexcept {
        auto const broker = target(now);
        if (broker < 0 || !ready(now)) {
            return std::nullopt;
        }
        partition_question question;
        question.generation = generation_;
        question.broker = broker;
        question.current_leader_epoch = leader_.epoch;
        switch (auto const asking = next_state(abilities)) {
        case state::fetching:
        case state::confirming_range:
            question.request = api::fetch;
            question.offset = position_;
            // With the epoch a broker says "out of range" also when it knows nothing of the epoch.
            if (asking == state::fetching && leader_.epoch >= 0 && broker == leader_.id) {
                question.last_fetched_epoch = last_epoch_;
            }
            question.alone = asking == state::confirming_range || alone_;
            break;
        case state::finding_start:
            question.request = api::list_offsets;
            question.timestamp = position_;
            break;
        case state::finding_first:
            question.request = api::list_offsets;
            question.timestamp = earliest;
            break;
        case state::finding_end:
            question.request = api::list_offsets;
            question.timestamp = latest;
            break;
        case state::checking_epoch:
        case state::checking_above_end:
            question.request = api::leader_epoch;
            question.leader_epoch = last_epoch_;
            break;
        case state::stopped:
        case state::awaiting_reader:
        case state::awaiting_topic:
            return std::nullopt;
        }
        return question;
    }
    /// The same; and it is outstanding then, until one of the following is called with its
    /// generation, or another generation begins.
    std::optional<partition_question> ask(time_point now, broker_abilities abilities) noexcept {
        auto const question = next(now, abilities);
        if (question) {
            asked_ = question;
            state_ = next_state(abilities);
            abilities_ = abilities;
        }
        return question;
    }
    /// Whom `next` asks; -1: nobody, for metadata is missing.
    std::int32_t target(time_point now) const noexcept {
        bool const fetches = state_ == state::fetching && !(unchecked_ && last_epoch_ >= 0);
        if (fetches && replica_ >= 0 && now < replica_until_ && !alone_) {
            return replica_;
        }
        return leader_.id;
    }
    /// Whether `next` has a question, if a broker is known.
    bool ready(time_point now) const noexcept {
        return !asked_ && state_ != state::stopped && state_ != state::awaiting_reader &&
               state_ != state::awaiting_topic && now >= not_before_ &&
               (wanted_ || state_ != state::fetching);
    }
    /// Until when an error keeps it from asking. nullopt: none does.
    std::optional<time_point> held_back_until(time_point now) const noexcept {
        if (state_ == state::stopped || now >= not_before_) {
            return std::nullopt;
        }
        return not_before_;
    }

    /// The answer to a fetch.
    ///
    /// @param scan of its records, from the position that was asked for.
    fetch_reaction on_fetched(std::uint64_t generation, fetch_answer::partition const& answer,
                              batch_scan const& scan, time_point now) noexcept {
        if (!takes_answer(generation, api::fetch)) {
            return {};
        }
        auto const question = *std::exchange(asked_, std::nullopt);
        bool const of_leader = question.broker == leader_.id;
        if (answer.current_leader && answer.current_leader->epoch > leader_.epoch) {
            lead(answer.current_leader->id, answer.current_leader->epoch);
        }
        if (answer.error == 1) {
            return question.last_fetched_epoch >= 0 && is_of_another_log(question)
                       ? recreated()
                       : out_of_range(question, of_leader, now);
        }
        if (answer.error != 0) {
            replica_ = -1;
            return error(answer.error, now);
        }
        alone_ = false;
        if (answer.diverging) {
            unchecked_ = false;
            return diverged(answer.diverging->epoch, answer.diverging->end_offset, now);
        }
        former_named_ = 0;
        high_watermark_ = answer.high_watermark;
        last_stable_offset_ = answer.last_stable_offset;
        log_start_ = answer.log_start;
        if (question.current_leader_epoch == leader_.epoch) {
            unchecked_ = false; // or it would have been told
        }
        state_ = state::fetching;
        if (answer.preferred_replica >= 0 && answer.preferred_replica != leader_.id && of_leader) {
            replica_ = answer.preferred_replica;
            replica_until_ = now + settings_.replica_lifetime;
        }
        if (scan.next_offset > position_) {
            position_ = scan.next_offset;
            note_epochs(answer, scan, question.current_leader_epoch);
            last_epoch_ = epochs_.before(position_);
            forget_failures();
            if (scan.ended_by != found_batch::kind::nothing) {
                state_ = state::awaiting_reader;
            }
            return {.take = true, .refresh = false, .event = std::nullopt};
        }
        if (scan.ended_by != found_batch::kind::nothing) { // the reader says what it is, and where
            state_ = state::awaiting_reader;
            return {.take = true, .refresh = false, .event = std::nullopt};
        }
        if (!answer.records.empty()) {
            auto result = back_off(now, std::nullopt);
            if (!std::exchange(told_useless_, true)) {
                result.event =
                    fetch_event{.type = fetch_event::kind::useless_answer, .from = position_};
            }
            return result;
        }
        refused_at_.reset(); // the broker can read its log there
        forget_failures();
        return {};
    }

    /// The answer to ListOffsets.
    fetch_reaction on_listed(std::uint64_t generation, std::int16_t code, std::int64_t offset,
                             std::int32_t leader_epoch, time_point now) noexcept {
        if (!takes_answer(generation, api::list_offsets)) {
            return {};
        }
        asked_.reset();
        if (code != 0) {
            return error(code == 1 ? std::int16_t{-1} : code, now);
        }
        if (offset < 0) { // it knows no end of its log
            return error(-1, now);
        }
        switch (state_) {
        case state::finding_start: {
            position_ = offset;
            last_epoch_ = leader_epoch >= 0 && leader_epoch <= leader_.epoch ? leader_epoch : -1;
            epochs_.restart(offset, -1); // no record need have that one
            unchecked_ = false;
            state_ = state::fetching;
            fetch_reaction result;
            if (reset_from_) {
                result.event = fetch_event{.type = fetch_event::kind::position_reset,
                                           .from = *std::exchange(reset_from_, std::nullopt),
                                           .to = offset};
            }
            return result;
        }
        case state::finding_first:
            if (position_ < offset) {
                return reset(now);
            }
            state_ = state::finding_end;
            return {};
        case state::finding_end:
            if (position_ <= offset) { // it was out of range, and is not any more
                return not_believed(now);
            }
            if (abilities_.leader_epochs && last_epoch_ >= 0 && leader_.epoch >= 0) {
                state_ =
                    state::checking_above_end; // the log may have been cut off and written anew
                return {};
            }
            return reset(now);
        default:
            return {};
        }
    }

    /// The answer to OffsetForLeaderEpoch.
    fetch_reaction on_epoch_end(std::uint64_t generation, std::int16_t code,
                                std::int32_t leader_epoch, std::int64_t end_offset,
                                time_point now) noexcept {
        if (!takes_answer(generation, api::leader_epoch)) {
            return {};
        }
        auto const question = *std::exchange(asked_, std::nullopt);
        if (code != 0) {
            return error(code, now);
        }
        bool const knows_epoch = leader_epoch >= 0 && end_offset >= 0;
        if (!knows_epoch && is_of_another_log(question)) {
            return recreated();
        }
        unchecked_ = false;
        bool const above_end = state_ == state::checking_above_end;
        if (!knows_epoch) {
            return above_end ? reset(now) : check_range();
        }
        state_ = state::fetching;
        if (auto const end = common_end(leader_epoch, end_offset); end < position_) {
            return cut_off(leader_epoch, end, now);
        }
        return above_end ? reset(now) : fetch_reaction{};
    }

    /// The question got no answer: the connection ended, or was too slow, or the answer was none.
    fetch_reaction on_lost(std::uint64_t generation, time_point now) noexcept {
        if (generation != generation_ || !asked_) {
            return {};
        }
        asked_.reset();
        replica_ = -1;
        auto result = back_off(now, std::nullopt);
        result.refresh = true;
        return result;
    }

    /// `target` cannot be asked. If that is a replica, the leader is asked instead; after a while,
    /// for it may name the same one again.
    fetch_reaction on_target_away(time_point now) noexcept {
        if (std::exchange(replica_, -1) < 0 || asked_ || state_ == state::stopped) {
            return {};
        }
        auto result = back_off(now, std::nullopt);
        result.refresh = true;
        return result;
    }

    /// The answer was larger than any that is received. It is asked once more, alone: another
    /// partition's records may have been those.
    fetch_reaction on_too_large(std::uint64_t generation, time_point now) noexcept {
        if (!takes_answer(generation, api::fetch)) {
            return on_lost(generation, now);
        }
        if (asked_->alone) {
            return end({.type = fetch_event::kind::record_unreadable,
                        .from = position_,
                        .wrong = damage::too_large});
        }
        refused_at_ = position_;
        alone_ = true;
        return on_lost(generation, now);
    }

    /// Whether what is found in the generation counts: it was fetched since the last start.
    bool counts(std::uint64_t generation) const noexcept {
        return generation >= started_with_ && generation <= generation_;
    }
    /// The reader found damage. Whatever became of the partition since, what stands behind the
    /// place was not read: fetching goes on there, also if it has ended.
    ///
    /// @param generation in which it was fetched.
    /// @param at `partition_reader::position`.
    fetch_reaction on_damaged(std::uint64_t generation, std::int64_t at, damage wrong,
                              time_point now) noexcept {
        if (!counts(generation)) {
            return {};
        }
        if (made_again_) {
            return begin_anew();
        }
        if (wrong == damage::no_memory) {
            begin_generation();
            fetch_from(at);
            return back_off(now, std::nullopt);
        }
        // What the reader finds stands before what the broker refuses, and both may last.
        auto& before = wrong == damage::broker ? refused_at_ : damaged_at_;
        if (before == at) {
            return end({.type = fetch_event::kind::record_unreadable, .from = at, .wrong = wrong});
        }
        // Once more, from the leader, in a request of its own.
        begin_generation();
        fetch_from(at);
        before = at;
        alone_ = true;
        return back_off(now, std::nullopt);
    }

    /// The reader found records of an old format.
    fetch_reaction on_old_format(std::uint64_t generation, std::int64_t at) noexcept {
        if (!counts(generation)) {
            return {};
        }
        if (made_again_) {
            return begin_anew();
        }
        return end({.type = fetch_event::kind::old_format, .from = at});
    }

private:
    enum class state {
        stopped,
        finding_start,  // `position_` names an end of the log
        checking_epoch, // has the log been replaced since `last_epoch_`?
        fetching,
        confirming_range,   // "out of range": once more, without `last_epoch_`
        finding_first,      // is it below the log,
        finding_end,        // or above,
        checking_above_end, // because the log was cut off?
        awaiting_reader,    // what was fetched last ends with something that only it understands
        awaiting_topic,     // the log ends before the position, or is that of another topic
    };

    /// Whether the log was replaced is to be known before the next fetch, if that does not tell.
    state next_state(broker_abilities abilities) const noexcept {
        bool const checks = state_ == state::fetching && unchecked_ && !abilities.diverging &&
                            abilities.leader_epochs && last_epoch_ >= 0 && leader_.epoch >= 0;
        return checks ? state::checking_epoch : state_;
    }
    /// The leader knows nothing of the last epoch, which is later than its own, in which it has
    /// answered: so the topic was made again meanwhile, and epochs count anew.
    bool is_of_another_log(partition_question const& answered) const noexcept {
        return unchecked_ && answered.broker == leader_.id && answered.current_leader_epoch >= 0 &&
               answered.current_leader_epoch == leader_.epoch && last_epoch_ > leader_.epoch;
    }
    /// Who names a topic of before, by its id or by an epoch, has not heard of the one that is
    /// read. Unless nothing is to be had of this one, and nobody names it any more: then this one
    /// is the former.
    bool is_behind() noexcept {
        constexpr int most = 10;
        former_named_ = (std::min)(former_named_ + 1, most);
        return former_named_ != most;
    }
    void begin_generation() noexcept {
        ++generation_;
        asked_.reset();
    }
    bool takes_answer(std::uint64_t generation, api key) const noexcept {
        return generation == generation_ && asked_ && asked_->request == key;
    }
    void fetch_from(std::int64_t position) noexcept {
        position_ = position;
        epochs_.cut(position);
        last_epoch_ = epochs_.before(position);
        state_ = state::fetching;
    }
    void note_epochs(fetch_answer::partition const& answer, batch_scan const& scan,
                     std::int32_t leader_epoch) noexcept {
        if (scan.one_epoch) {
            epochs_.add(scan.first_offset, scan.next_offset,
                        believed_epoch(scan.leader_epoch, leader_epoch));
            return;
        }
        batch_walk walk{answer.records, answer.high_watermark};
        for (auto found = walk.next(); found.state == found_batch::kind::whole;
             found = walk.next()) {
            epochs_.add(found.header.base_offset, found.header.next_offset(),
                        believed_epoch(found.header.leader_epoch, leader_epoch));
        }
    }
    void lead(std::int32_t id, std::int32_t epoch) noexcept {
        if (id != leader_.id || epoch != leader_.epoch) {
            replica_ = -1;
            unchecked_ = unchecked_ || epoch != leader_.epoch;
        }
        leader_ = {id, epoch};
    }

    void forget_failures() noexcept {
        failures_ = 0;
        not_before_ = (time_point::min)();
        told_ = {};
        told_useless_ = false;
        moved_ = false;
    }
    fetch_reaction back_off(time_point now, std::optional<fetch_event> event) noexcept {
        auto delay = settings_.shortest_backoff;
        for (int i = 0; i != failures_ && delay < settings_.longest_backoff; ++i) {
            delay *= 2;
        }
        failures_ = (std::min)(failures_ + 1, 30);
        not_before_ = now + (std::min)(delay, settings_.longest_backoff);
        return {.take = false, .refresh = false, .event = event};
    }
    /// From an error of the broker's. It is told once in a row, if it is to be told.
    fetch_reaction back_off_from(std::int16_t code, bool tells, time_point now) noexcept {
        auto result = back_off(now, std::nullopt);
        if (tells && tells_first(code)) {
            result.event = fetch_event{
                .type = fetch_event::kind::broker_error, .from = position_, .code = code};
        }
        return result;
    }
    /// Whether the error was not told yet since the last answer of use. A broker that has ever
    /// others is not listened to for long.
    bool tells_first(std::int16_t code) noexcept {
        auto const known = std::find_if(told_.begin(), told_.end(), [code](std::int16_t one) {
            return one == code || one == 0;
        });
        return known != told_.end() && std::exchange(*known, code) == 0;
    }
    /// The position moves: at once, but not a second time before something was fetched.
    void slow_down(time_point now) noexcept {
        if (std::exchange(moved_, true)) {
            back_off(now, std::nullopt);
        }
    }
    fetch_reaction error(std::int16_t code, time_point now) noexcept {
        auto const rule = rule_of(code);
        switch (rule.way) {
        case error_way::hand_over:
            return end({.type = fetch_event::kind::unsupported, .from = position_, .code = code});
        case error_way::fail:
            return end({.type = fetch_event::kind::failed, .from = position_, .code = code});
        case error_way::damaged:
            if (position_ >= 0) {
                auto result = on_damaged(generation_, position_, damage::broker, now);
                if (!result.event) {
                    result.event = fetch_event{
                        .type = fetch_event::kind::broker_error, .from = position_, .code = code};
                }
                return result;
            }
            break;
        default:
            break;
        }
        if (state_ == state::confirming_range) { // the whole of it again, when it is over
            state_ = state::fetching;
        }
        auto result = back_off_from(code, rule.tell, now);
        result.refresh = rule.refresh;
        return result;
    }
    fetch_reaction end(fetch_event event) noexcept {
        begin_generation();
        state_ = state::stopped;
        return {.take = false, .refresh = false, .event = event};
    }

    fetch_reaction out_of_range(partition_question const& question, bool of_leader,
                                time_point now) noexcept {
        replica_ = -1;
        if (!of_leader) { // a follower may be behind: the leader has the say
            state_ = state::fetching;
            return back_off(now, std::nullopt); // for it may name the same follower again
        }
        if (question.last_fetched_epoch >= 0 || question.current_leader_epoch != leader_.epoch) {
            state_ = state::confirming_range;
        } else {
            state_ = state::finding_first;
        }
        return {};
    }
    /// The broker knows nothing of the last epoch. Nor is it asked about it again.
    fetch_reaction check_range() noexcept {
        last_epoch_ = -1;
        state_ = state::finding_first;
        return {};
    }
    /// The broker says so of a position that is in its log. It is told when it says so again.
    fetch_reaction not_believed(time_point now) noexcept {
        constexpr std::int16_t code = 1;
        state_ = state::fetching;
        return back_off_from(code, failures_ != 0, now);
    }
    /// The position is outside of the log, for certain.
    fetch_reaction reset(time_point now) noexcept {
        slow_down(now);
        auto const from = position_;
        if (settings_.reset == reset_policy::none) {
            return end({.type = fetch_event::kind::out_of_range, .from = from});
        }
        begin_generation();
        reset_from_ = from;
        position_ = settings_.reset == reset_policy::earliest ? earliest : latest;
        last_epoch_ = -1;
        state_ = state::finding_start;
        return {};
    }
    fetch_reaction diverged(std::int32_t epoch, std::int64_t end_offset, time_point now) noexcept {
        if (epoch < 0 || end_offset < 0) {
            return check_range();
        }
        if (auto const end = common_end(epoch, end_offset); end < position_) {
            return cut_off(epoch, end, now);
        }
        last_epoch_ = epoch; // what diverges there is not below the position
        return back_off(now, std::nullopt);
    }
    /// Where the leader's log and what was fetched part, if `epoch` is the last one up to the last
    /// fetched that the leader has, and ends there. What was fetched of later ones is not its
    /// log's.
    std::int64_t common_end(std::int32_t epoch, std::int64_t end_offset) const noexcept {
        return (std::min)(end_offset, epochs_.first_later_than(epoch).value_or(end_offset));
    }
    /// Who was asked by the topic's name may have answered for one that was made again.
    fetch_reaction cut_off(std::int32_t epoch, std::int64_t end_offset, time_point now) noexcept {
        slow_down(now);
        if (abilities_.topic_ids || topic_id_ == topic_uuid{}) {
            return truncate(epoch, end_offset);
        }
        cut_ = {epoch, end_offset};
        state_ = state::awaiting_topic;
        return {.take = false, .refresh = true, .event = std::nullopt};
    }
    fetch_reaction truncate(std::int32_t epoch, std::int64_t end_offset) noexcept {
        auto const from = position_;
        if (settings_.reset == reset_policy::none) {
            return end(
                {.type = fetch_event::kind::truncated_no_reset, .from = from, .to = end_offset});
        }
        damaged_at_.reset(); // what stands there now is another record
        refused_at_.reset();
        begin_generation();
        fetch_from(end_offset);
        if (last_epoch_ < 0) {
            last_epoch_ = epoch;
        }
        // The leader need not have what stands before.
        unchecked_ = unchecked_ || last_epoch_ != epoch;
        return {.take = false,
                .refresh = false,
                .event = fetch_event{.type = fetch_event::kind::truncated,
                                     .from = from,
                                     .to = end_offset,
                                     .leader_epoch = last_epoch_}};
    }
    fetch_reaction recreated() noexcept {
        if (state_ == state::stopped) {
            made_again_ = true;
            return {};
        }
        return begin_anew();
    }
    fetch_reaction begin_anew() noexcept {
        auto const from = position_;
        if (settings_.reset == reset_policy::none) {
            made_again_ = true;
            return end({.type = fetch_event::kind::recreated_no_reset, .from = from});
        }
        // From the beginning, whatever the policy: all in the new topic is new.
        start(earliest);
        return {.take = false,
                .refresh = false,
                .event = fetch_event{.type = fetch_event::kind::topic_recreated, .from = from}};
    }

    fetch_settings settings_;
    state state_ = state::stopped;
    std::uint64_t generation_ = 0;
    std::uint64_t started_with_ = 1; // the generation of the last start; or of the next
    bool made_again_ = false;        // the topic, since the fetching ended
    std::int64_t position_ = -1;
    std::int32_t last_epoch_ = -1; // of the batch before the position
    leader_epochs epochs_;         // of what was fetched
    bool unchecked_ = false;       // the leader's epoch is another than when that was checked
    bool wanted_ = true;
    fetch_answer::leader leader_;
    topic_uuid topic_id_{};
    topic_uuid former_id_{};
    int former_named_ = 0;      // how often in a row, without an answer of use between
    std::int32_t replica_ = -1; // asked instead of the leader
    time_point replica_until_{};
    std::optional<partition_question> asked_;
    broker_abilities abilities_;         // of who was asked last
    int failures_ = 0;                   // since the last answer of use
    std::array<std::int16_t, 8> told_{}; // the errors that were told, while they last; 0: none
    bool told_useless_ = false;          // that answers brought nothing, while they do not
    bool moved_ = false; // the position, without a fetch, since the last answer of use
    time_point not_before_ = (time_point::min)();
    std::optional<std::int64_t> damaged_at_; // to the reader: it was fetched once more from there
    std::optional<std::int64_t> refused_at_; // by the broker, or for its size: the same
    bool alone_ = false; // because of either, and of the leader, until an answer is right
    std::optional<std::int64_t> reset_from_;
    struct {
        std::int32_t epoch = -1;
        std::int64_t end_offset = -1;
    } cut_; // awaiting_topic: where the log ends that was answered for
    std::int64_t high_watermark_ = -1;
    std::int64_t last_stable_offset_ = -1;
    std::int64_t log_start_ = -1;
};

} // namespace kgroup::detail::fetch
