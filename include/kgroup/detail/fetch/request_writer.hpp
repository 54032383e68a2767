// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/fetch/fetch_message.hpp>
#include <kgroup/detail/fetch/fetcher_settings.hpp>
#include <kgroup/detail/fetch/inquiry.hpp>
#include <kgroup/detail/fetch/leader_epoch_message.hpp>
#include <kgroup/detail/fetch/list_offsets_message.hpp>
#include <kgroup/detail/fetch/memory_shares.hpp>
#include <kgroup/detail/fetch/metadata_message.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace kgroup::detail::fetch {

/// Puts what is to be asked into the bytes of a request. A frame lives until the next one is
/// written: its memory, and that of what it is put together of, is used again and again.
///
/// Every request: `version` as `versions` of the connection, `correlation` as the connection
/// counts. Throws `std::bad_alloc`.
class request_writer {
public:
    explicit request_writer(fetcher_settings const& settings)
        : client_id_(settings.client_id),
          rack_(settings.rack),
          level_(settings.level),
          min_bytes_(settings.fetch_min_bytes) {}

    struct written_request {
        std::string_view frame;
        std::int16_t version;
    };
    /// Whatever is asked.
    ///
    /// @param all about whose topics metadata is asked.
    /// @param newest version that the broker and the messages here have in common.
    written_request write(inquiry const& asked, fetched_partitions const& all, std::int16_t newest,
                          std::int32_t correlation) {
        switch (asked.key) {
        case api::fetch: {
            auto const version = fetch_version(newest, asked);
            return {fetch(asked, version, correlation, asked.wait, asked.limits), version};
        }
        case api::list_offsets:
            return {list_offsets(asked, newest, correlation), newest};
        case api::leader_epoch:
            return {leader_epochs(asked, newest, correlation), newest};
        case api::metadata:
            return {metadata(all, newest, correlation), newest};
        case api::api_versions: // the connection's own
            break;
        }
        return {};
    }

    /// From version 13 on topics stand by their ids: all have to be known.
    ///
    /// @param newest that the broker and the messages here have in common.
    static std::int16_t fetch_version(std::int16_t newest, inquiry const& asked) noexcept {
        return asked.knows_ids() ? newest : (std::min)(newest, newest_by_name);
    }
    /// @param version of `fetch_version`.
    /// @param wait how long the broker may wait for records.
    std::string_view fetch(inquiry const& asked, std::int16_t version, std::int32_t correlation,
                           std::chrono::milliseconds wait, memory_shares::byte_limits limits) {
        fetches_.fill(asked, [&](std::int32_t number, partition_question const& question) {
            fetch_request::partition partition;
            partition.number = number;
            partition.current_leader_epoch = question.current_leader_epoch;
            partition.offset = question.offset;
            partition.last_fetched_epoch = question.last_fetched_epoch;
            partition.max_bytes = static_cast<std::int32_t>(limits.partition);
            return partition;
        });
        fetch_request request;
        request.max_wait_ms = static_cast<std::int32_t>(wait.count());
        request.min_bytes = min_bytes_;
        request.max_bytes = static_cast<std::int32_t>(limits.total);
        request.level = level_;
        // Who knows the rack names a replica instead of answering.
        bool const of_leader = !asked.subjects.empty() && asked.subjects.front().question.alone;
        request.rack = of_leader ? std::string_view{} : rack_;
        request.topics = fetches_.topics;
        write_fetch_request(frame_, version, correlation, client_id_, request);
        return frame_;
    }
    std::string_view list_offsets(inquiry const& asked, std::int16_t version,
                                  std::int32_t correlation) {
        offsets_.fill(asked, [](std::int32_t number, partition_question const& question) {
            return list_offsets_request::partition{number, question.current_leader_epoch,
                                                   question.timestamp};
        });
        write_list_offsets_request(frame_, version, correlation, client_id_,
                                   {level_, offsets_.topics});
        return frame_;
    }
    std::string_view leader_epochs(inquiry const& asked, std::int16_t version,
                                   std::int32_t correlation) {
        epochs_.fill(asked, [](std::int32_t number, partition_question const& question) {
            return leader_epoch_request::partition{number, question.current_leader_epoch,
                                                   question.leader_epoch};
        });
        write_leader_epoch_request(frame_, version, correlation, client_id_, {epochs_.topics});
        return frame_;
    }
    /// About the topics of these partitions.
    std::string_view metadata(fetched_partitions const& partitions, std::int16_t version,
                              std::int32_t correlation) {
        topics_.clear();
        for (auto const& [name, partition] : partitions) { // a topic's stand together
            if (topics_.empty() || topics_.back() != name.topic) {
                topics_.push_back(name.topic);
            }
        }
        write_metadata_request(frame_, version, correlation, client_id_, topics_);
        return frame_;
    }

private:
    static constexpr std::int16_t newest_by_name = 12;

    /// The partitions of a request, by topic.
    template <typename Request>
    struct grouped {
        /// Neighbours of the same topic stand together.
        template <typename MakePartition>
        void fill(inquiry const& asked, MakePartition make) {
            partitions.clear();
            topics.clear();
            partitions.reserve(asked.subjects.size()); // the spans point there
            for (auto const& [partition, question] : asked.subjects) {
                auto const& name = partition->name();
                partitions.push_back(make(name.partition, question));
                if (topics.empty() || topics.back().name != name.topic) {
                    auto& added = topics.emplace_back();
                    added.name = name.topic;
                    if constexpr (requires { added.id; }) {
                        added.id = partition->topic_id();
                    }
                    added.partitions = {&partitions.back(), 1};
                } else {
                    auto& last = topics.back();
                    last.partitions = {last.partitions.data(), last.partitions.size() + 1};
                }
            }
        }

        std::vector<typename Request::partition> partitions;
        std::vector<typename Request::topic> topics;
    };

    std::string client_id_;
    std::string rack_;
    isolation level_;
    std::int32_t min_bytes_;

    std::string frame_;
    grouped<fetch_request> fetches_;
    grouped<list_offsets_request> offsets_;
    grouped<leader_epoch_request> epochs_;
    std::vector<std::string_view> topics_; // of metadata
};

} // namespace kgroup::detail::fetch
