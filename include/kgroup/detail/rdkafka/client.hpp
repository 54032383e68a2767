// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/config.hpp>
#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/claim/partition_state.hpp>
#include <kgroup/detail/client/client.hpp>
#include <kgroup/detail/config/config_check.hpp>
#include <kgroup/detail/config/internal_topics.hpp>
#include <kgroup/detail/events/event_line.hpp>
#include <kgroup/detail/rdkafka/blocking_calls.hpp>
#include <kgroup/detail/rdkafka/committed.hpp>
#include <kgroup/detail/rdkafka/debug_lines.hpp>
#include <kgroup/detail/rdkafka/error.hpp>
#include <kgroup/detail/rdkafka/event_inbox.hpp>
#include <kgroup/detail/rdkafka/event_translator.hpp>
#include <kgroup/detail/rdkafka/group_member.hpp>
#include <kgroup/detail/rdkafka/handle.hpp>
#include <kgroup/detail/rdkafka/leader_epoch.hpp>
#include <kgroup/detail/rdkafka/logs.hpp>
#include <kgroup/detail/rdkafka/reset_line.hpp>
#include <kgroup/detail/rdkafka/settings.hpp>
#include <kgroup/detail/rdkafka/source.hpp>
#include <kgroup/detail/rdkafka/token.hpp>
#include <kgroup/error.hpp>
#include <kgroup/event.hpp>
#include <kgroup/oauth_token.hpp>

#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

namespace kgroup::detail {

/// `client` over one consumer of librdkafka's. Everything comes as an event of the consumer's
/// queue; nothing is called back.
class rdkafka_client {
public:
    explicit rdkafka_client(config const& given)
        : settings_(rdkafka_settings_maker::make(given)),
          internal_topics_(given.topics),
          topics_(given.topics),
          group_id_(given.group_id),
          protocol_(given.protocol),
          is_static_(!given.group_instance_id.empty()) {}
    rdkafka_client(rdkafka_client const&) = delete;
    rdkafka_client& operator=(rdkafka_client const&) = delete;
    ~rdkafka_client() {
        if (handle_ && !handle_->process().is_this_one()) {
            return;
        }
        if (inbox_) {
            inbox_->stop();
        }
        if (handle_) {
            give_up_answer();
        }
        queue_.reset();
        for (auto const& source : sources_) {
            source.second->close();
        }
    }

    std::chrono::milliseconds max_poll_interval() const noexcept {
        return settings_.max_poll_interval;
    }
    std::chrono::milliseconds rebalance_deadline() const noexcept {
        return settings_.rebalance_deadline;
    }
    std::size_t block_bytes() const noexcept { return settings_.block_bytes; }

    void start(std::function<void()> notify) {
        inbox_ = std::make_shared<event_inbox>(std::move(notify));
        handle_ = std::make_shared<rdkafka_handle>(std::move(settings_.conf),
                                                   std::move(settings_.refill));
        rd_kafka_set_log_level(handle_->get(),
                               settings_.quiet_log_level); // below that nothing is even formatted
        rd_kafka_poll_set_consumer(handle_->get());
        queue_ = std::make_unique<rdkafka_queue>(rd_kafka_queue_get_consumer(handle_->get()));
        rd_kafka_set_log_queue(handle_->get(), queue_->get());
        for (auto const& warning : settings_.warnings) {
            inbox_->add(client_notice{
                {event_kind::unsafe_setting, severity::warning, std::nullopt, {}, warning}});
        }
        queue_->arm([](rd_kafka_t*, void* inbox) { static_cast<event_inbox*>(inbox)->notify(); },
                    inbox_.get());
        if (auto const err = subscribe_to(topics_)) {
            throw std::system_error{make_error_code(err), "subscribe"};
        }
    }

    void check_topics(std::vector<std::string> const& topics) const {
        detail::check_topics(topics, protocol_);
        internal_topics_.check(topics);
    }
    void subscribe(std::vector<std::string> topics) {
        if (!handle_) {
            topics_ = std::move(topics); // for the start
        } else {
            complain(subscribe_to(topics),
                     "subscribe"); // librdkafka keeps the old ones if it refuses these
        }
    }

    std::optional<client_event> poll() {
        if (auto found = inbox_->take()) {
            return found;
        }
        if (!unsought_.empty() && clock::now() >= seek_again_at_) {
            seek_held();
        }
        // A poll that gives nothing may have served something of librdkafka's own.
        for (int tries = 0; tries != 16 && queue_; ++tries) {
            rdkafka_event const event{rd_kafka_queue_poll(queue_->get(), 0)};
            if (event) {
                if (auto found = translate(event.get())) {
                    return found;
                }
                tries = 0;
            } else if (rd_kafka_queue_length(queue_->get()) == 0) {
                break;
            }
        }
        return std::nullopt;
    }

    void look_up(std::uint64_t id, std::vector<topic_partition> const& partitions, bool lower,
                 std::chrono::milliseconds timeout) {
        auto unasked =
            prepare(client_offsets{id, std::make_error_code(std::errc::not_enough_memory), {}, {}});
        try {
            lookups_->add([id, answer = unasked,
                           wanted = partition_set{partitions.begin(), partitions.end()}, lower,
                           timeout, group = group_id_, handle = handle_, inbox = inbox_]() mutable {
                try {
                    std::get<client_offsets>(answer.front()) =
                        rdkafka_committed_finder{handle->get(), group, timeout}.find(id, wanted,
                                                                                     lower);
                } catch (...) { // out of memory, on a thread that has nobody to tell
                }
                handle.reset(); // before the answer: who gets it may wait for the last of them
                inbox->add(std::move(answer));
            });
        } catch (...) { // no thread, or no memory for one
            inbox_->add(std::move(unasked));
        }
    }

    // Only a blocking call tells (before librdkafka 2.3), and only one that blocks knows how many
    // partitions a topic has.
    void find_in_logs(std::uint64_t id, std::vector<log_place> places,
                      std::vector<std::string> topics, std::chrono::milliseconds timeout) {
        client_log_offsets nothing_found{id, {}, {}};
        for (auto const& place : places) {
            nothing_found.offsets.push_back(
                {place.where, -1, make_error_code(RD_KAFKA_RESP_ERR__FAIL)});
        }
        auto unasked = prepare(std::move(nothing_found));
        try {
            log_questions_->add([id, answer = unasked, places = std::move(places),
                                 topics = std::move(topics), timeout, handle = handle_,
                                 inbox = inbox_]() mutable {
                try {
                    std::get<client_log_offsets>(answer.front()) =
                        rdkafka_log_finder{handle->get(), timeout}.find(id, places, topics);
                } catch (...) { // out of memory, on a thread that has nobody to tell: then nothing
                                // was found
                }
                handle.reset(); // before the answer: who gets it may wait for the last of them
                inbox->add(std::move(answer));
            });
        } catch (...) { // no thread, or no memory for one
            inbox_->add(std::move(unasked));
        }
    }

    void assign(std::vector<start_position> const& positions, bool cooperative) {
        pending_answer_ = pending_answer_kind::nothing;
        auto const list = make_partitions(positions.size());
        std::vector<topic_partition> held;
        for (auto const& position : positions) {
            auto const known = position.start != start_position::unknown;
            // Any offset, so that librdkafka asks nobody for it: what is paused is not read.
            rd_kafka_topic_partition_list_add(list.get(), position.where.topic.c_str(),
                                              position.where.partition)
                ->offset = known ? position.start : 0;
            if (!known) {
                held.push_back(position.where);
            }
        }
        if (!cooperative) { // it replaces the one before
            leave_paused({held_back_.begin(), held_back_.end()});
        }
        hold_back(held);
        release(positions);
        if (cooperative) {
            complain(rdkafka_error{rd_kafka_incremental_assign(handle_->get(), list.get())},
                     "incremental_assign");
        } else {
            complain(rd_kafka_assign(handle_->get(), list.get()), "assign");
        }
    }

    void unassign(std::vector<topic_partition> const& partitions, bool cooperative) {
        // It may also make up for one that a newer assignment has overtaken.
        if (pending_answer_ == pending_answer_kind::revocation) {
            pending_answer_ = pending_answer_kind::nothing;
        }
        if (cooperative) {
            auto const list = make_partitions(partitions.size());
            for (auto const& partition : partitions) {
                rd_kafka_topic_partition_list_add(list.get(), partition.topic.c_str(),
                                                  partition.partition);
            }
            complain(rdkafka_error{rd_kafka_incremental_unassign(handle_->get(), list.get())},
                     "incremental_unassign");
            for (auto const& partition : partitions) {
                retire(partition);
            }
            leave_paused(partitions);
        } else {
            complain(rd_kafka_assign(handle_->get(), nullptr), "assign");
            for (auto const& source : sources_) {
                source.second->retire();
            }
            leave_paused({held_back_.begin(), held_back_.end()});
        }
    }

    std::shared_ptr<rdkafka_source> open(std::shared_ptr<partition_state> const& state) {
        if (auto const before = sources_.find(state->where()); before != sources_.end()) {
            before->second->retire();
        }
        auto source = std::make_shared<rdkafka_source>(handle_, state);
        sources_[state->where()] = source;
        return source;
    }

    void seek(std::vector<start_position> const& positions) {
        auto const list = make_partitions(positions.size());
        std::vector<topic_partition> held;
        for (auto const& position : positions) {
            if (position.start == start_position::unknown) {
                held.push_back(position.where);
            } else if (held_back_.contains(position.where)) {
                unsought_[position.where] = position.start;
            } else {
                rd_kafka_topic_partition_list_add(list.get(), position.where.topic.c_str(),
                                                  position.where.partition)
                    ->offset = position.start;
            }
        }
        hold_back(held);
        if (list->cnt != 0) {
            complain(rdkafka_error{rd_kafka_seek_partitions(handle_->get(), list.get(), 0)},
                     "seek");
        }
        seek_held();
    }

    void commit(std::uint64_t id, std::vector<offset_commit> const& offsets) {
        auto const list = make_partitions(offsets.size());
        for (auto const& offset : offsets) {
            auto* const added = rd_kafka_topic_partition_list_add(
                list.get(), offset.where.topic.c_str(), offset.where.partition);
            added->offset = offset.offset;
            set_leader_epoch(*added, commits_epochs_ ? offset.leader_epoch : -1);
            if (!offset.metadata.empty()) {
                added->metadata = std::malloc(offset.metadata.size()); // freed with the list
                if (!added->metadata) {
                    throw std::bad_alloc{};
                }
                std::memcpy(added->metadata, offset.metadata.data(), offset.metadata.size());
                added->metadata_size = offset.metadata.size();
            }
        }
        if (auto const err = rd_kafka_commit_queue(handle_->get(), list.get(), queue_->get(),
                                                   nullptr, as_opaque(id))) {
            inbox_->add(client_commit{id, make_error_code(err), {}});
        }
    }

    void offsets_for_times(std::uint64_t id, std::vector<topic_partition> partitions,
                           std::chrono::system_clock::time_point time,
                           std::chrono::milliseconds timeout) {
        client_times asked{id, {}};
        std::map<topic_partition, int>
            known; // in the list, which librdkafka would search from its beginning
        std::vector<int> places;
        for (auto& partition : partitions) {
            places.push_back(
                known.try_emplace(partition, static_cast<int>(known.size())).first->second);
            asked.results.push_back({std::move(partition), std::nullopt, {}});
        }
        questions_->add([answer = prepare(std::move(asked)), places = std::move(places), time,
                         timeout, handle = handle_, inbox = inbox_]() mutable {
            auto& results = std::get<client_times>(answer.front()).results;
            auto const list = make_partitions(results.size());
            for (std::size_t i = 0; i != results.size(); ++i) {
                if (places[i] == list->cnt) {
                    auto const& where = results[i].where;
                    rd_kafka_topic_partition_list_add(list.get(), where.topic.c_str(),
                                                      where.partition)
                        ->offset = as_timestamp(time);
                }
            }
            auto const err = rd_kafka_offsets_for_times(handle->get(), list.get(),
                                                        static_cast<int>(timeout.count()));
            for (std::size_t i = 0; i != results.size(); ++i) {
                auto const& found = list->elems[places[i]];
                results[i].error = make_error_code(found.err ? found.err : err);
                results[i].offset = results[i].error || found.offset < 0
                                        ? std::nullopt
                                        : std::optional{found.offset};
            }
            handle.reset(); // before the answer: who gets it may wait for the last of them
            inbox->add(std::move(answer));
        });
    }

    void find_ends(std::uint64_t id, std::vector<topic_partition> partitions,
                   std::chrono::milliseconds timeout) {
        client_ends asked{id, {}};
        for (auto& partition : partitions) {
            asked.ends.push_back({std::move(partition), std::nullopt, {}});
        }
        looks_->add([answer = prepare(std::move(asked)), timeout, handle = handle_,
                     inbox = inbox_]() mutable {
            auto& ends = std::get<client_ends>(answer.front()).ends;
            try {
                std::vector<log_place> places;
                places.reserve(ends.size());
                for (auto const& end : ends) {
                    places.push_back({end.where, start_position::log_end});
                }
                // One leader that does not answer hides no other's answer.
                auto const found =
                    rdkafka_log_finder{handle->get(), timeout}.find(0, places, {}).offsets;
                for (std::size_t i = 0; i != ends.size(); ++i) {
                    ends[i].error = found[i].error;
                    ends[i].offset = found[i].error || found[i].offset < 0
                                         ? std::nullopt
                                         : std::optional{found[i].offset};
                }
            } catch (std::bad_alloc const&) { // on a thread of its own
                for (auto& end : ends) {
                    end.error = std::make_error_code(std::errc::not_enough_memory);
                }
            }
            handle.reset(); // before the answer: who gets it may wait for the last of them
            inbox->add(std::move(answer));
        });
    }

    void ask_coordinator(std::uint64_t id, topic_partition about,
                         std::chrono::milliseconds timeout) {
        looks_->add([answer = prepare(client_coordinator{id, {}}), about = std::move(about),
                     timeout, group = group_id_, may_be_joining = may_be_joining(),
                     handle = handle_, inbox = inbox_]() mutable {
            auto const error =
                may_be_joining
                    ? rdkafka_committed_finder{handle->get(), group, timeout}.ask_coordinator(about)
                    : ask_own_coordinator(handle->get(), about, timeout);
            auto* const cluster = rd_kafka_clusterid(handle->get(), 0);
            if (cluster) {
                rd_kafka_mem_free(handle->get(), cluster);
            }
            auto& found = std::get<client_coordinator>(answer.front());
            found.error = error;
            found.broker_known = cluster != nullptr;
            handle.reset(); // as above
            inbox->add(std::move(answer));
        });
    }

    void listen(bool on) {
        heard_.clear();
        listening_ = on;
        rd_kafka_set_log_level(handle_->get(), on ? debug_level : settings_.quiet_log_level);
    }
    std::string heard(std::optional<topic_partition> const& where) const {
        return heard_.about(where);
    }

    std::error_code set_token(oauth_token const& token) {
        return detail::set_token(handle_->get(), token);
    }

    void close() {
        closing_ = true;
        if (rdkafka_error const error{
                rd_kafka_consumer_close_queue(handle_->get(), queue_->get())}) {
            closing_failed_ = true; // after a fatal error there is nothing to close
        }
    }
    bool closed() const {
        return closing_ && (closing_failed_ || rd_kafka_consumer_closed(handle_->get()) != 0);
    }

    bool shut_down(std::function<void()> done) {
        if (inbox_) { // it had begun to start
            inbox_->stop();
        }
        questions_->drop_rest();
        looks_->drop_rest();
        lookups_->drop_rest();
        log_questions_->drop_rest();
        if (!handle_) {
            done();
            return true;
        }
        handle_->when_destroyed(std::move(done));
        give_up_answer();
        for (auto const& source : sources_) {
            source.second->close();
            source.second->drop_waiting();
        }
        sources_.clear();
        queue_.reset();
        std::weak_ptr const left{handle_};
        handle_.reset();
        return left.expired();
    }

    std::string member_id() const { return member().id; }
    std::int32_t generation_id() const { return member().generation; }

private:
    static constexpr int debug_level = 7;

    rd_kafka_resp_err_t subscribe_to(std::vector<std::string> const& topics) {
        auto const names = make_partitions(topics.size());
        for (auto const& topic : topics) {
            rd_kafka_topic_partition_list_add(names.get(), topic.c_str(), RD_KAFKA_PARTITION_UA);
        }
        return rd_kafka_subscribe(handle_->get(), names.get());
    }

    // Whether a JoinGroup of this member's may be under way. Until it is answered, the broker
    // answers nothing else on the member's connection to the coordinator, and what is asked there
    // times out: that says nothing of the coordinator, and tears the connection down at last. A
    // dynamic member has been given its id before it joins.
    bool may_be_joining() const {
        return protocol_ == group_protocol::classic && (is_static_ || !member_id().empty());
    }

    // By the member's connection: whether librdkafka has found the coordinator is asked with it.
    static std::error_code ask_own_coordinator(rd_kafka_t* handle, topic_partition const& about,
                                               std::chrono::milliseconds timeout) {
        auto const list = make_partitions(1);
        rd_kafka_topic_partition_list_add(list.get(), about.topic.c_str(), about.partition);
        return make_error_code(
            rd_kafka_committed(handle, list.get(), static_cast<int>(timeout.count())));
    }

    // Partitions whose start is not known: paused in librdkafka, whose flag outlasts an assignment
    // and has to be taken back.
    //
    // The two calls for it wait without a limit for an answer of librdkafka's main thread, and
    // librdkafka drops the answer if that thread stops or pauses the partition at that moment. So
    // the flag stays when a partition goes away, and is taken back before it is assigned again.
    void hold_back(std::vector<topic_partition> const& partitions) {
        if (!partitions.empty()) {
            for (auto const& partition : partitions) {
                left_paused_.erase(partition);
                held_back_.insert(partition);
            }
            auto const list = as_list_of_known(partitions);
            complain(rd_kafka_pause_partitions(handle_->get(), list.get()), "pause");
            complain_of_each(*list, "pause");
        }
    }
    void leave_paused(std::vector<topic_partition> const& partitions) {
        for (auto const& partition : partitions) {
            unsought_.erase(partition);
            if (held_back_.erase(partition) != 0) {
                left_paused_.insert(partition);
            }
        }
    }
    // Before they are assigned.
    void release(std::vector<start_position> const& positions) {
        std::vector<topic_partition> paused;
        for (auto const& position : positions) {
            if (position.start != start_position::unknown &&
                left_paused_.erase(position.where) != 0) {
                paused.push_back(position.where);
            }
        }
        resume(paused);
    }
    void resume(std::vector<topic_partition> const& partitions) {
        if (!partitions.empty()) {
            auto const list = as_list_of_known(partitions);
            complain(rd_kafka_resume_partitions(handle_->get(), list.get()), "resume");
            complain_of_each(*list, "resume");
        }
    }

    // Where it fails, as while librdkafka still stops what was read before, they stay paused and it
    // is done again: read from where they were put, records would be repeated. Waits for
    // librdkafka's main thread, like `assign`.
    void seek_held() {
        if (unsought_.empty()) {
            return;
        }
        seek_again_at_ = clock::now() + std::chrono::milliseconds{100};
        auto const list = make_partitions(unsought_.size());
        for (auto const& [where, start] : unsought_) {
            rd_kafka_topic_partition_list_add(list.get(), where.topic.c_str(), where.partition)
                ->offset = start;
        }
        rdkafka_error const failed{rd_kafka_seek_partitions(handle_->get(), list.get(), 1000)};
        std::vector<topic_partition> sought;
        for (int i = 0; i != list->cnt; ++i) {
            if (!list->elems[i].err) {
                sought.emplace_back(list->elems[i].topic, list->elems[i].partition);
            }
        }
        for (auto const& partition : sought) {
            unsought_.erase(partition);
            held_back_.erase(partition);
        }
        resume(sought);
    }

    static rdkafka_partitions as_list(std::vector<topic_partition> const& partitions) {
        auto list = make_partitions(partitions.size());
        for (auto const& partition : partitions) {
            rd_kafka_topic_partition_list_add(list.get(), partition.topic.c_str(),
                                              partition.partition);
        }
        return list;
    }
    // One that librdkafka does not know is neither paused nor resumed.
    rdkafka_partitions as_list_of_known(std::vector<topic_partition> const& partitions) const {
        for (auto const& partition : partitions) {
            rdkafka_queue const known{rd_kafka_queue_get_partition(
                handle_->get(), partition.topic.c_str(), partition.partition)};
        }
        return as_list(partitions);
    }
    void complain_of_each(rd_kafka_topic_partition_list_t const& list, char const* call) {
        for (int i = 0; i != list.cnt; ++i) {
            complain(list.elems[i].err, call);
        }
    }

    // `rd_kafka_destroy` waits for ever for the answer to a cooperative rebalance, which may not
    // have been seen yet; not to an eager one.
    void give_up_answer() {
        auto const none = make_partitions(0);
        for (int answers = 0; answers != 4 && cooperative();
             ++answers) { // an assignment may follow a revocation at once
            while (rdkafka_event const event{queue_ ? rd_kafka_queue_poll(queue_->get(), 0)
                                                    : nullptr}) {
                if (rd_kafka_event_type(event.get()) == RD_KAFKA_EVENT_REBALANCE) {
                    pending_answer_ = answer_to(event.get());
                }
            }
            auto const answer = std::exchange(pending_answer_, pending_answer_kind::nothing);
            if (answer == pending_answer_kind::nothing) {
                break;
            }
            rdkafka_error const ignored{
                answer == pending_answer_kind::assignment
                    ? rd_kafka_incremental_assign(handle_->get(), none.get())
                    : rd_kafka_incremental_unassign(handle_->get(), none.get())};
        }
    }

    enum class pending_answer_kind { nothing, assignment, revocation };
    static pending_answer_kind answer_to(rd_kafka_event_t* rebalance) {
        return rd_kafka_event_error(rebalance) == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS
                   ? pending_answer_kind::assignment
                   : pending_answer_kind::revocation;
    }
    bool cooperative() const {
        auto const* const protocol = rd_kafka_rebalance_protocol(handle_->get());
        return protocol && std::string_view{protocol} == "COOPERATIVE";
    }

    // As the protocol has it: milliseconds since 1970; what is earlier means something else there.
    static std::int64_t as_timestamp(std::chrono::system_clock::time_point time) noexcept {
        return (std::max<std::int64_t>)(std::chrono::ceil<std::chrono::milliseconds>(time)
                                            .time_since_epoch()
                                            .count(),
                                        0);
    }

    std::optional<client_event> translate(rd_kafka_event_t* event) {
        switch (rd_kafka_event_type(event)) {
        case RD_KAFKA_EVENT_REBALANCE:
            return rebalance(event);
        case RD_KAFKA_EVENT_OFFSET_COMMIT:
            if (commit_without_epochs(event)) {
                return std::nullopt;
            }
            return commit_answer(event);
        case RD_KAFKA_EVENT_ERROR:
            return error(event);
        case RD_KAFKA_EVENT_LOG:
            return log(event);
        case RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH:
            return client_token_wanted{};
        case RD_KAFKA_EVENT_FETCH:
            return stray(event);
        default:
            return std::nullopt;
        }
    }

    // Kafka keeps the leader epoch of an offset as it is. A coordinator that compares it with that
    // of the leader of now, as a mock cluster's, refuses offsets of records that were written
    // before an election: it is given no epochs from then on. true: the commit is sent again.
    bool commit_without_epochs(rd_kafka_event_t* refused) {
        auto* const list = rd_kafka_event_topic_partition_list(refused);
        auto const is_refusal = [](rd_kafka_topic_partition_t const& answer) {
            return answer.err == RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH ||
                   answer.err == RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH;
        };
        if (!commits_epochs_ || !list ||
            std::none_of(list->elems, list->elems + list->cnt, is_refusal)) {
            return false;
        }
        commits_epochs_ = false;
        rdkafka_partitions const again{rd_kafka_topic_partition_list_copy(list)};
        for (int i = 0; i != again->cnt; ++i) {
            again->elems[i].err = RD_KAFKA_RESP_ERR_NO_ERROR;
            set_leader_epoch(again->elems[i], -1);
        }
        return !rd_kafka_commit_queue(handle_->get(), again.get(), queue_->get(), nullptr,
                                      rd_kafka_event_opaque(refused));
    }

    std::optional<client_event> rebalance(rd_kafka_event_t* event) {
        pending_answer_ = answer_to(event);
        auto partitions = partitions_of(event);
        if (pending_answer_ == pending_answer_kind::assignment) {
            return client_rebalance{partitions_assigned{std::move(partitions), cooperative()}};
        }
        return client_rebalance{partitions_revoked{std::move(partitions), cooperative(),
                                                   rd_kafka_assignment_lost(handle_->get()) != 0}};
    }

    std::optional<client_event> error(rd_kafka_event_t* event) const {
        auto const err = rd_kafka_event_error(event);
        auto const* const words = rd_kafka_event_error_string(event);
        std::string const text{words ? words : ""};
        if (err == RD_KAFKA_RESP_ERR__FATAL || rd_kafka_event_error_is_fatal(event)) {
            char why[512];
            auto const cause = rd_kafka_fatal_error(handle_->get(), why, sizeof why);
            return cause ? client_fatal{make_error_code(cause), why}
                         : client_fatal{make_error_code(err), text};
        }
        auto told = consumer_error(err, text);
        if (auto* const notice = told ? std::get_if<client_notice>(&*told) : nullptr;
            notice && notice->event.kind == event_kind::topic_missing && notice->event.where) {
            add_log_ends(*notice);
        }
        return told;
    }

    // Of the partitions of a topic that is missing.
    void add_log_ends(client_notice& notice) const {
        auto const& topic = notice.event.where->topic;
        for (auto known = sources_.lower_bound({topic, 0});
             known != sources_.end() && known->first.topic == topic; ++known) {
            notice.log_ends.emplace(known->first, known->second->known_watermarks().high);
        }
    }

    // Lines that the user did not ask for are not shown; those that tell of a reset are an event of
    // their own, and first.
    std::optional<client_event> log(rd_kafka_event_t* event) {
        char const* facility = nullptr;
        char const* text = nullptr;
        int level = 0;
        if (rd_kafka_event_log(event, &facility, &text, &level) != 0) {
            return std::nullopt;
        }
        if (level == debug_level && !hear(event, facility, text)) {
            return std::nullopt;
        }
        if (std::string_view{facility} == "OFFSET" && level == 4) {
            if (auto reset = reset_line::read(text)) {
                inbox_->add(std::move(*reset));
            }
        }
        if (level > settings_.log_level) {
            return std::nullopt;
        }
        return log_line(facility, text, level);
    }

    // A line of the debug log. false: the user has not asked for lines of these contexts.
    bool hear(rd_kafka_event_t* event, std::string_view facility, std::string_view text) {
        char contexts[512] = "";
        rd_kafka_event_debug_contexts(event, contexts, sizeof contexts);
        auto const of_group = share_name(contexts, "cgrp");
        if (listening_ && (of_group || share_name(contexts, "topic"))) {
            heard_.add(facility, text, of_group);
        }
        return !settings_.debug.empty() &&
               (!*contexts || share_name(contexts, settings_.debug)); // some have no name
    }

    // Records on the consumer's queue: of a partition that nobody reads, or that came before its
    // queue was taken out. The latter must not be passed over: their partition is read again from
    // there, as it is from a batch that cannot be read.
    std::optional<client_event> stray(rd_kafka_event_t* event) {
        std::optional<start_position> position;
        while (auto const* const message = rd_kafka_event_message_next(event)) {
            if (position || !message->rkt) {
                continue;
            }
            topic_partition const where{rd_kafka_topic_name(message->rkt), message->partition};
            auto const source = sources_.find(where);
            if (source == sources_.end() || source->second->retired()) {
                continue;
            }
            if (!message->err || source->second->report_stray(*message)) {
                position.emplace();
                position->where = where;
                position->start = message->offset;
            }
        }
        if (!position) {
            return std::nullopt;
        }
        if (held_back_.contains(position->where)) {
            hold_back({position->where}); // the pause was lost
        } else {
            seek({*position});
        }
        return client_notice{{event_kind::client_error,
                              severity::warning,
                              position->where,
                              {},
                              "a record came outside its partition's "
                              "queue; the partition is read again from offset " +
                                  std::to_string(position->start)}};
    }

    void retire(topic_partition const& where) {
        if (auto const found = sources_.find(where); found != sources_.end()) {
            found->second->retire();
        }
    }

    void complain(rd_kafka_resp_err_t err, char const* call) {
        if (err) {
            complain(make_error_code(err), call, rd_kafka_err2str(err));
        }
    }
    void complain(rdkafka_error const& error, char const* call) {
        if (error) {
            complain(make_error_code(rd_kafka_error_code(error.get())), call,
                     rd_kafka_error_string(error.get()));
        }
    }
    void complain(std::error_code ec, char const* call, char const* why) {
        inbox_->add(client_notice{{event_kind::client_error, severity::error, std::nullopt, ec,
                                   std::string{call} + ": " + why}});
    }

    group_member member() const { return handle_ ? member_of(handle_->get()) : group_member{}; }

    rdkafka_settings settings_;
    internal_topics internal_topics_;
    std::vector<std::string> topics_;
    std::string group_id_;
    group_protocol protocol_;
    bool is_static_;
    std::shared_ptr<event_inbox> inbox_;
    std::shared_ptr<rdkafka_handle> handle_;
    std::unique_ptr<rdkafka_queue> queue_;
    std::shared_ptr<blocking_calls> questions_ = std::make_shared<blocking_calls>();
    std::shared_ptr<blocking_calls> looks_ =
        std::make_shared<blocking_calls>(); // of kgroup's own: they hold up nobody else's
    // Claims' starts wait for these two, and for nobody's questions.
    std::shared_ptr<blocking_calls> lookups_ = std::make_shared<blocking_calls>();
    std::shared_ptr<blocking_calls> log_questions_ = std::make_shared<blocking_calls>();
    partition_set held_back_;   // paused, because it is not known where they begin
    partition_set left_paused_; // so they were when they went away
    std::map<topic_partition, std::int64_t> unsought_; // of these: known, and to be read from there
    clock::time_point seek_again_at_{};
    std::map<topic_partition, std::shared_ptr<rdkafka_source>>
        sources_; // the last of each partition, retired or not
    debug_lines heard_;
    bool listening_ = false;
    bool commits_epochs_ = true; // no coordinator has refused one
    pending_answer_kind pending_answer_ = pending_answer_kind::nothing;
    bool closing_ = false;
    bool closing_failed_ = false;
};

static_assert(client<rdkafka_client>);

} // namespace kgroup::detail
