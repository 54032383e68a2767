// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/error.hpp>

#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace examples {

/// What an example asks of Kafka that is not consuming, on librdkafka's C interface. Every call
/// blocks until it is answered, for half a minute at most, and throws `std::system_error` when it
/// fails. One thread at a time.
class kafka {
public:
    /// A partition of a topic at some moment; `log_end` is the offset of the next record.
    struct partition_state {
        std::int32_t leader;
        std::int64_t log_end;
    };

    explicit kafka(std::string brokers)
        : brokers_(std::move(brokers)),
          producer_(make(RD_KAFKA_PRODUCER, {{"message.timeout.ms", std::to_string(limit_ms)}})) {}

    /// The topic's partitions in order; none: there is no such topic.
    std::vector<partition_state> partitions(std::string const& topic) const {
        auto found = leaders(topic);
        if (!found.empty()) {
            auto const ends = list(topic, found.size(), RD_KAFKA_OFFSET_END);
            insist("log ends of " + topic, [&] {
                return rd_kafka_offsets_for_times(producer_.get(), ends.get(), limit_ms);
            });
            for (std::size_t i = 0; i != found.size(); ++i) {
                check(ends->elems[i].err, "log ends of " + topic);
                found[i].log_end = ends->elems[i].offset;
            }
        }
        return found;
    }

    /// Makes a topic, replicated as the brokers do by default, and returns when each partition has
    /// a leader.
    void create_topic(std::string const& topic, int partition_count) {
        owned<rd_kafka_NewTopic_t, rd_kafka_NewTopic_destroy> const wanted{
            rd_kafka_NewTopic_new(topic.c_str(), partition_count, -1, nullptr, 0)};
        owned<rd_kafka_queue_t, rd_kafka_queue_destroy> const answers{
            rd_kafka_queue_new(producer_.get())};
        auto* request = wanted.get();
        rd_kafka_CreateTopics(producer_.get(), &request, 1, nullptr, answers.get());
        owned<rd_kafka_event_t, rd_kafka_event_destroy> const answer{
            rd_kafka_queue_poll(answers.get(), limit_ms)};
        check(answer ? rd_kafka_event_error(answer.get()) : RD_KAFKA_RESP_ERR__TIMED_OUT,
              "creating " + topic);
        std::size_t size = 0;
        auto const* const* const results = rd_kafka_CreateTopics_result_topics(
            rd_kafka_event_CreateTopics_result(answer.get()), &size);
        check(rd_kafka_topic_result_error(results[0]), "creating " + topic);

        insist("leaders of " + topic, [&] {
            auto const made = leaders(topic);
            auto const led = [](auto const& partition) { return partition.leader >= 0; };
            return !made.empty() && std::all_of(made.begin(), made.end(), led)
                       ? RD_KAFKA_RESP_ERR_NO_ERROR
                       : RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
        });
    }

    /// Appends records to a partition and returns when Kafka has them.
    void produce(std::string const& topic, std::int32_t partition,
                 std::vector<std::string> const& values) {
        rd_kafka_resp_err_t failure = RD_KAFKA_RESP_ERR_NO_ERROR;
        for (auto const& value : values) {
            std::array<rd_kafka_vu_t, 5> fields{};
            fields[0].vtype = RD_KAFKA_VTYPE_TOPIC;
            fields[0].u.cstr = topic.c_str();
            fields[1].vtype = RD_KAFKA_VTYPE_PARTITION;
            fields[1].u.i32 = partition;
            fields[2].vtype = RD_KAFKA_VTYPE_VALUE;
            fields[2].u.mem = {const_cast<char*>(value.data()), value.size()};
            fields[3].vtype = RD_KAFKA_VTYPE_MSGFLAGS;
            fields[3].u.i = RD_KAFKA_MSG_F_COPY;
            fields[4].vtype = RD_KAFKA_VTYPE_OPAQUE;
            fields[4].u.ptr = &failure;
            owned<rd_kafka_error_t, rd_kafka_error_destroy> const refused{
                rd_kafka_produceva(producer_.get(), fields.data(), fields.size())};
            check(refused ? rd_kafka_error_code(refused.get()) : RD_KAFKA_RESP_ERR_NO_ERROR,
                  "producing to " + topic);
        }
        // Reports every record, those that the time limit has overtaken too.
        while (rd_kafka_flush(producer_.get(), limit_ms) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        }
        check(failure, "producing to " + topic);
    }

    /// What a group has committed in the first partitions of a topic; nullopt: nothing.
    std::vector<std::optional<std::int64_t>> committed(std::string const& group,
                                                       std::string const& topic,
                                                       std::size_t partition_count) const {
        auto const member = make(RD_KAFKA_CONSUMER, {{"group.id", group}}); // which joins nothing
        auto const offsets = list(topic, partition_count, RD_KAFKA_OFFSET_INVALID);
        insist("offsets of " + group,
               [&] { return rd_kafka_committed(member.get(), offsets.get(), limit_ms); });
        std::vector<std::optional<std::int64_t>> found;
        for (std::size_t i = 0; i != partition_count; ++i) {
            auto const& offset = offsets->elems[i];
            check(offset.err, "offsets of " + group);
            found.push_back(offset.offset < 0 ? std::nullopt : std::optional{offset.offset});
        }
        return found;
    }

private:
    template <auto Destroy>
    struct deleter {
        template <typename T>
        void operator()(T* owned) const noexcept {
            Destroy(owned);
        }
    };
    template <typename T, auto Destroy>
    using owned = std::unique_ptr<T, deleter<Destroy>>;
    using handle = owned<rd_kafka_t, rd_kafka_destroy>;
    using partition_list =
        owned<rd_kafka_topic_partition_list_t, rd_kafka_topic_partition_list_destroy>;

    static constexpr int limit_ms = 30000;

    static void check(rd_kafka_resp_err_t error, std::string const& subject) {
        if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
            throw std::system_error{kgroup::make_error_code(error), subject};
        }
    }

    // What has just been made may not be there for every broker yet.
    template <typename Ask>
    static void insist(std::string const& subject, Ask ask) {
        auto const deadline =
            std::chrono::steady_clock::now() + std::chrono::milliseconds{limit_ms};
        for (;;) {
            auto const error = ask();
            if (!kgroup::is_retriable(kgroup::make_error_code(error)) ||
                std::chrono::steady_clock::now() > deadline) {
                return check(error, subject);
            }
            std::this_thread::sleep_for(std::chrono::milliseconds{50});
        }
    }

    static partition_list list(std::string const& topic, std::size_t size, std::int64_t offset) {
        partition_list made{rd_kafka_topic_partition_list_new(static_cast<int>(size))};
        for (std::size_t i = 0; i != size; ++i) {
            rd_kafka_topic_partition_list_add(made.get(), topic.c_str(),
                                              static_cast<std::int32_t>(i))
                ->offset = offset;
        }
        return made;
    }

    handle make(rd_kafka_type_t type,
                std::vector<std::pair<char const*, std::string>> properties) const {
        owned<rd_kafka_conf_t, rd_kafka_conf_destroy> conf{rd_kafka_conf_new()};
        properties.emplace_back("bootstrap.servers", brokers_);
        properties.emplace_back("socket.timeout.ms", std::to_string(limit_ms));
        char text[512];
        for (auto const& [name, value] : properties) {
            if (rd_kafka_conf_set(conf.get(), name, value.c_str(), text, sizeof text) !=
                RD_KAFKA_CONF_OK) {
                throw std::system_error{kgroup::make_error_code(RD_KAFKA_RESP_ERR__INVALID_ARG),
                                        text};
            }
        }
        if (type == RD_KAFKA_PRODUCER) {
            rd_kafka_conf_set_dr_msg_cb(
                conf.get(), [](rd_kafka_t*, rd_kafka_message_t const* report, void*) {
                    if (report->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
                        *static_cast<rd_kafka_resp_err_t*>(report->_private) = report->err;
                    }
                });
        }
        handle made{rd_kafka_new(type, conf.get(), text, sizeof text)};
        if (!made) {
            throw std::system_error{kgroup::make_error_code(rd_kafka_last_error()), text};
        }
        static_cast<void>(conf.release()); // the handle has taken it
        return made;
    }

    // Leader -1: none at the moment.
    std::vector<partition_state> leaders(std::string const& topic) const {
        struct rd_kafka_metadata const* known =
            nullptr; // of all topics: to ask for one by its name may make it
        check(rd_kafka_metadata(producer_.get(), 1, nullptr, &known, limit_ms),
              "topics of " + brokers_);
        owned<struct rd_kafka_metadata const, rd_kafka_metadata_destroy> const release{known};
        std::vector<partition_state> found;
        for (int i = 0; i != known->topic_cnt; ++i) {
            auto const& described = known->topics[i];
            if (described.topic == topic) {
                check(described.err == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE
                          ? RD_KAFKA_RESP_ERR_NO_ERROR
                          : described.err,
                      topic);
                found.resize(static_cast<std::size_t>(described.partition_cnt));
                for (int p = 0; p != described.partition_cnt; ++p) {
                    found[static_cast<std::size_t>(described.partitions[p].id)] = {
                        described.partitions[p].leader, 0};
                }
            }
        }
        return found;
    }

    std::string brokers_;
    handle producer_;
};

} // namespace examples
