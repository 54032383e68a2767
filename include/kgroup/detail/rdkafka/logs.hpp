// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/client/client.hpp>
#include <kgroup/detail/rdkafka/error.hpp>
#include <kgroup/detail/rdkafka/handle.hpp>
#include <kgroup/error.hpp>

#include <librdkafka/rdkafka.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace kgroup::detail {

/// Finds places in logs. Blocks: for its own thread, not for an executor.
///
/// librdkafka gives one call for many partitions, and its answer is all or nothing: one leader that
/// does not answer, or one error of a partition that a broker named last, hides the offsets of all
/// others. Where it fails, the rest is asked for apart: by leader where one did not answer,
/// otherwise by halves.
class rdkafka_log_finder {
public:
    /// `timeout`: of all together, about.
    rdkafka_log_finder(rd_kafka_t* handle, std::chrono::milliseconds timeout)
        : handle_(handle),
          timeout_(static_cast<int>(timeout.count() / 4)) {}

    client_log_offsets find(std::uint64_t id, std::vector<log_place> const& places,
                            std::vector<std::string> const& topics) {
        client_log_offsets found{id, {}, {}};
        for (auto const& place : places) {
            found.offsets.push_back({place.where, -1, {}});
        }
        std::vector<std::size_t> all(places.size());
        for (std::size_t i = 0; i != all.size(); ++i) {
            all[i] = i;
        }
        if (!all.empty()) {
            ask(places, all, found.offsets, true);
        }
        if (!topics.empty()) {
            if (leaders_.empty()) {
                read_metadata(topics);
            }
            found.partition_counts = std::move(partition_counts_);
        }
        return found;
    }

private:
    void ask(std::vector<log_place> const& places, std::span<std::size_t const> indices,
             std::vector<log_offset>& offsets, bool by_leader) {
        auto const list = make_partitions(indices.size());
        for (auto const index : indices) {
            auto const& place = places[index];
            rd_kafka_topic_partition_list_add(list.get(), place.where.topic.c_str(),
                                              place.where.partition)
                ->offset = place.at;
        }
        auto const failed = rd_kafka_offsets_for_times(handle_, list.get(), timeout_);
        auto const divisible =
            failed && failed != RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION && indices.size() > 1;
        if (divisible && !is_silence(failed)) {
            auto const half = indices.size() / 2;
            ask(places, indices.first(half), offsets, by_leader);
            return ask(places, indices.subspan(half), offsets, by_leader);
        }
        if (divisible && by_leader && ask_by_leader(places, indices, offsets)) {
            return;
        }
        for (std::size_t i = 0; i != indices.size(); ++i) {
            auto const& answer = list->elems[i];
            auto& result = offsets[indices[i]];
            result.error = make_error_code(answer.err ? answer.err : failed);
            result.offset = result.error ? -1 : answer.offset;
        }
    }

    // No answer has come, perhaps from one leader only.
    static bool is_silence(rd_kafka_resp_err_t err) noexcept {
        return err == RD_KAFKA_RESP_ERR__TIMED_OUT || err == RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE ||
               err == RD_KAFKA_RESP_ERR__TRANSPORT || err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN ||
               err == RD_KAFKA_RESP_ERR__RESOLVE || err == RD_KAFKA_RESP_ERR__WAIT_CACHE;
    }

    // false: they have the same, or it is not known.
    bool ask_by_leader(std::vector<log_place> const& places, std::span<std::size_t const> indices,
                       std::vector<log_offset>& offsets) {
        std::vector<std::string> topics;
        for (auto const index : indices) {
            if (topics.empty() || topics.back() != places[index].where.topic) {
                topics.push_back(places[index].where.topic);
            }
        }
        read_metadata(topics);
        std::map<std::int32_t, std::vector<std::size_t>> parts;
        for (auto const index : indices) {
            auto const leader = leaders_.find(places[index].where);
            parts[leader == leaders_.end() ? -1 : leader->second].push_back(index);
        }
        if (parts.size() < 2) {
            return false;
        }
        for (auto const& [leader, share] : parts) {
            ask(places, share, offsets, false);
        }
        return true;
    }

    // One request for all topics: they are asked for because they are known, and known because
    // somebody holds them.
    void read_metadata(std::vector<std::string> const& topics) {
        std::vector<std::unique_ptr<rd_kafka_topic_t, rdkafka_deleter<rd_kafka_topic_destroy>>>
            held;
        held.reserve(topics.size()); // so that none is made that cannot be kept
        for (auto const& topic : topics) {
            held.emplace_back(rd_kafka_topic_new(handle_, topic.c_str(), nullptr));
        }
        rd_kafka_metadata_t const* given = nullptr;
        if (rd_kafka_metadata(handle_, 0, nullptr, &given, timeout_)) {
            return;
        }
        std::unique_ptr<rd_kafka_metadata_t const, rdkafka_deleter<rd_kafka_metadata_destroy>> const
            metadata{given};
        for (int i = 0; i != metadata->topic_cnt; ++i) {
            auto const& topic = metadata->topics[i];
            if (topic.err) {
                continue;
            }
            partition_counts_[topic.topic] = topic.partition_cnt;
            for (int p = 0; p != topic.partition_cnt; ++p) {
                leaders_[{topic.topic, topic.partitions[p].id}] = topic.partitions[p].leader;
            }
        }
    }

    rd_kafka_t* handle_;
    int timeout_;
    std::map<std::string, std::int32_t> partition_counts_;
    std::map<topic_partition, std::int32_t> leaders_;
};

} // namespace kgroup::detail
