// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/client/client.hpp>
#include <kgroup/detail/client/rebalance.hpp>
#include <kgroup/detail/rdkafka/error.hpp>
#include <kgroup/detail/rdkafka/handle.hpp>
#include <kgroup/detail/rdkafka/leader_epoch.hpp>
#include <kgroup/error.hpp>
#include <kgroup/topic_partition.hpp>

#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace kgroup::detail {

/// Finds what the group of a consumer has committed. Blocks: for a thread of its own.
///
/// librdkafka has two calls for it, and each has a fault of its own.
/// - `rd_kafka_committed` asks the coordinator that the member itself uses. But one offset in
///   a transaction hides all others: the request is repeated inside for as long as that is open.
///   And a member that reads uncommitted records is given what the transaction will replace.
/// - `rd_kafka_ListConsumerGroupOffsets` has an answer for each partition. But it keeps an idea of
///   its own of where the coordinator is: since 2.10 it waits for ever for a broker that was
///   discarded in an outage. And a request that times out while the coordinator is away ends the
///   process or corrupts its memory when the coordinator comes back (2.0 to 2.16). Neither happens
///   to a request that names its broker; one that is not the coordinator answers NOT_COORDINATOR.
///
/// So the first is called, for a short time, and where that gives no answer each broker is asked by
/// the second.
///
/// There is a third difference: a broker answers nothing on a connection while it holds a JoinGroup
/// of that connection back for the other members. The first call uses the connection on which the
/// member joins, the second another one.
class rdkafka_committed_finder {
public:
    /// `timeout`: of all together, about.
    rdkafka_committed_finder(rd_kafka_t* handle, std::string const& group,
                             std::chrono::milliseconds timeout)
        : handle_(handle),
          group_(group),
          until_(std::chrono::steady_clock::now() + timeout) {}

    /// @param lower Whether the other partitions of their topics, below the highest, are asked for.
    /// @throws std::bad_alloc
    client_offsets find(std::uint64_t id, partition_set const& wanted, bool lower) {
        client_offsets found{id, {}, {}, {}};
        auto const all =
            lower ? with_lower(wanted) : std::vector<topic_partition>{wanted.begin(), wanted.end()};
        for (std::size_t first = 0; first < all.size() && !found.error; first += at_once) {
            auto const list = make_partitions(at_once);
            for (auto i = first; i != (std::min)(first + at_once, all.size()); ++i) {
                rd_kafka_topic_partition_list_add(list.get(), all[i].topic.c_str(),
                                                  all[i].partition);
            }
            found.error = find(*list, wanted, found);
        }
        return found;
    }

    /// Whether the group's coordinator answers, also while it holds this member's JoinGroup back.
    /// Needs no memory.
    ///
    /// @param about some partition; the offset committed for it is asked for.
    /// @return none, or an error of a broker's (positive): it has answered. Else librdkafka's own.
    std::error_code ask_coordinator(topic_partition const& about) {
        auto const list = make_partitions(1);
        rd_kafka_topic_partition_list_add(list.get(), about.topic.c_str(), about.partition);
        auto const answer =
            ask_each_broker(*list, [](rd_kafka_topic_partition_list_t const&) noexcept {});
        return make_error_code(is_no_coordinator(answer) ? RD_KAFKA_RESP_ERR__WAIT_COORD : answer);
    }

private:
    using clock = std::chrono::steady_clock;
    using metadata =
        std::unique_ptr<rd_kafka_metadata_t const, rdkafka_deleter<rd_kafka_metadata_destroy>>;
    static constexpr std::size_t at_once = 1000; // librdkafka searches a list from its beginning
    // For so long an open transaction holds up the other partitions.
    static constexpr std::chrono::milliseconds short_time{1000};

    static std::vector<topic_partition> with_lower(partition_set const& wanted) {
        std::map<std::string, std::int32_t> highest;
        for (auto const& where : wanted) {
            highest[where.topic] = where.partition; // they are in order
        }
        std::vector<topic_partition> all;
        for (auto const& [topic, last] : highest) {
            for (std::int32_t partition = 0; partition <= last; ++partition) {
                all.emplace_back(topic, partition);
            }
        }
        return all;
    }

    std::error_code find(rd_kafka_topic_partition_list_t& list, partition_set const& wanted,
                         client_offsets& found) {
        auto failed = RD_KAFKA_RESP_ERR__TIMED_OUT;
        if (reads_committed()) {
            failed = rd_kafka_committed(handle_, &list, milliseconds_left(short_time));
            if (!failed) {
                take(list, wanted, found);
            }
        }
        if (failed == RD_KAFKA_RESP_ERR__TIMED_OUT) {
            failed = ask_each_broker(list, [&](rd_kafka_topic_partition_list_t const& answers) {
                take(answers, wanted, found);
            });
        }
        return make_error_code(failed);
    }

    bool reads_committed() const {
        char value[32] = "";
        std::size_t size = sizeof value;
        return rd_kafka_conf_get(rd_kafka_conf(handle_), "isolation.level", value, &size) ==
                   RD_KAFKA_CONF_OK &&
               std::string_view{value} == "read_committed";
    }

    // What a broker says that is not the group's coordinator, or knows of none.
    static bool is_no_coordinator(rd_kafka_resp_err_t error) noexcept {
        return error == RD_KAFKA_RESP_ERR_NOT_COORDINATOR ||
               error == RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE;
    }

    template <typename Take>
    rd_kafka_resp_err_t ask_each_broker(rd_kafka_topic_partition_list_t const& list,
                                        Take const& taken) {
        rd_kafka_metadata_t const* given = nullptr;
        if (auto const failed =
                rd_kafka_metadata(handle_, 0, nullptr, &given, milliseconds_left())) {
            return failed;
        }
        metadata const cluster{given};
        rdkafka_queue const queue{rd_kafka_queue_new(handle_)};
        for (int i = 0; i != cluster->broker_cnt; ++i) {
            ask(cluster->brokers[i].id, list, queue.get());
        }
        auto result = RD_KAFKA_RESP_ERR__TIMED_OUT;
        for (int answers = 0; answers != cluster->broker_cnt; ++answers) {
            rdkafka_event const event{rd_kafka_queue_poll(queue.get(), milliseconds_left())};
            if (!event) {
                return RD_KAFKA_RESP_ERR__TIMED_OUT;
            }
            auto const failed = rd_kafka_event_error(event.get());
            if (!failed) {
                return read(event.get(), taken);
            }
            if (failed > 0) {
                result = failed; // what a broker says
            }
            if (failed > 0 && !is_no_coordinator(failed)) {
                break;
            }
        }
        return result;
    }

    void ask(std::int32_t broker, rd_kafka_topic_partition_list_t const& list,
             rd_kafka_queue_t* answers) {
        std::unique_ptr<rd_kafka_AdminOptions_t,
                        rdkafka_deleter<rd_kafka_AdminOptions_destroy>> const options{
            rd_kafka_AdminOptions_new(handle_, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS)};
        char text[256];
        rd_kafka_AdminOptions_set_broker(options.get(), broker, text, sizeof text);
        rd_kafka_AdminOptions_set_request_timeout(options.get(), (std::max)(1, milliseconds_left()),
                                                  text, sizeof text);
        // Offsets of a transaction that is not decided yet: wait rather than start too early.
        rdkafka_error const ignored{
            rd_kafka_AdminOptions_set_require_stable_offsets(options.get(), 1)};
        auto* request = rd_kafka_ListConsumerGroupOffsets_new(group_.c_str(), &list);
        rd_kafka_ListConsumerGroupOffsets(handle_, &request, 1, options.get(), answers);
        rd_kafka_ListConsumerGroupOffsets_destroy(request);
    }

    template <typename Take>
    static rd_kafka_resp_err_t read(rd_kafka_event_t* event, Take const& taken) {
        std::size_t groups = 0;
        auto const* const answer = rd_kafka_event_ListConsumerGroupOffsets_result(event);
        auto const* const* const results =
            answer ? rd_kafka_ListConsumerGroupOffsets_result_groups(answer, &groups) : nullptr;
        if (groups != 1) {
            return RD_KAFKA_RESP_ERR__BAD_MSG;
        }
        if (auto const* const failed = rd_kafka_group_result_error(results[0])) {
            return rd_kafka_error_code(failed);
        }
        taken(*rd_kafka_group_result_partitions(results[0]));
        return RD_KAFKA_RESP_ERR_NO_ERROR;
    }

    static void take(rd_kafka_topic_partition_list_t const& list, partition_set const& wanted,
                     client_offsets& found) {
        for (int i = 0; i != list.cnt; ++i) {
            auto const& answer = list.elems[i];
            committed_offset one{
                {answer.topic, answer.partition}, -1, {}, make_error_code(answer.err)};
            if (!answer.err && answer.offset >= 0) {
                one.offset = answer.offset;
                one.leader_epoch = leader_epoch_of(answer);
                if (answer.metadata) {
                    one.metadata.assign(static_cast<char const*>(answer.metadata),
                                        answer.metadata_size);
                }
            }
            (wanted.contains(one.where) ? found.offsets : found.lower).push_back(std::move(one));
        }
    }

    int milliseconds_left(std::chrono::milliseconds at_most = std::chrono::minutes{1}) const {
        auto const left =
            std::chrono::duration_cast<std::chrono::milliseconds>(until_ - clock::now());
        return static_cast<int>(std::clamp(left, std::chrono::milliseconds{0}, at_most).count());
    }

    rd_kafka_t* handle_;
    std::string const& group_;
    clock::time_point until_;
};

} // namespace kgroup::detail
