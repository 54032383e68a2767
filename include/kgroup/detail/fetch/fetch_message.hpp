// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/fetch/aborted_transactions.hpp>
#include <kgroup/detail/fetch/message_frame.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kgroup::detail::fetch {

/// What a consumer is shown.
enum class isolation : std::int8_t { read_uncommitted = 0, read_committed = 1 };

/// One Fetch, outside of fetch sessions.
struct fetch_request {
    struct partition {
        std::int32_t number = 0;
        std::int32_t current_leader_epoch = -1; // -1: unknown, and not checked
        std::int64_t offset = 0;
        std::int32_t last_fetched_epoch = -1; // version 12; -1: none, and not checked
        std::int32_t max_bytes = 0;
    };
    /// Topics stand by name up to version 12, by id from 13 on.
    struct topic {
        std::string_view name;
        topic_uuid id{};
        std::span<partition const> partitions;
    };
    std::int32_t max_wait_ms = 0;
    std::int32_t min_bytes = 1;
    std::int32_t max_bytes = 0;
    isolation level = isolation::read_committed;
    std::string_view rack; // version 11
    std::span<topic const> topics;
};

inline void write_fetch_request(std::string& into, std::int16_t version, std::int32_t correlation,
                                std::string_view client_id, fetch_request const& request) {
    request_frame frame{into, api::fetch, version, correlation, client_id};
    auto& body = frame.body();
    body.int32(-1).int32(request.max_wait_ms).int32(request.min_bytes).int32(request.max_bytes);
    body.int8(static_cast<std::int8_t>(request.level));
    body.int32(0).int32(-1); // no fetch session
    body.elements(request.topics.size());
    for (auto const& topic : request.topics) {
        if (version >= 13) {
            body.uuid(topic.id);
        } else {
            body.text(topic.name);
        }
        body.elements(topic.partitions.size());
        for (auto const& partition : topic.partitions) {
            body.int32(partition.number).int32(partition.current_leader_epoch);
            body.int64(partition.offset);
            if (version >= 12) {
                body.int32(partition.last_fetched_epoch);
            }
            body.int64(-1); // where a follower's log starts
            body.int32(partition.max_bytes).end_structure();
        }
        body.end_structure();
    }
    body.elements(0); // forgotten topics
    if (version >= 11) {
        body.text(request.rack);
    }
    frame.finish();
}

/// What a Fetch brought. The views point into the answer's bytes.
struct fetch_answer {
    struct epoch_end {
        std::int32_t epoch = -1;
        std::int64_t end_offset = -1;
    };
    struct leader {
        std::int32_t id = -1;
        std::int32_t epoch = -1;
    };
    struct partition {
        std::string_view topic; // empty from version 13 on
        topic_uuid topic_id{};  // all zero up to version 12
        std::int32_t number = -1;
        std::int16_t error = 0;
        std::int64_t high_watermark = -1;
        std::int64_t last_stable_offset = -1;
        std::int64_t log_start = -1;
        std::optional<epoch_end> diverging;   // version 12
        std::optional<leader> current_leader; // version 12
        std::size_t first_aborted = 0;
        std::size_t aborted_count = 0;
        std::int32_t preferred_replica = -1; // version 11; -1: the leader
        std::string_view records;
    };
    std::int32_t throttle_ms = 0;
    std::int16_t error = 0; // of the whole
    std::vector<partition> partitions;
    std::vector<aborted_transaction> aborted; // of all partitions

    std::span<aborted_transaction const> aborted_of(partition const& wanted) const noexcept {
        return std::span{aborted}.subspan(wanted.first_aborted, wanted.aborted_count);
    }
};

/// @param into is emptied; its memory is used again, and bounded by a multiple of the bytes.
/// @throws std::bad_alloc
inline read_result read_fetch_answer(std::string_view bytes, std::int16_t version,
                                     std::int32_t correlation, fetch_answer& into) {
    into.throttle_ms = 0;
    into.error = 0;
    into.partitions.clear();
    into.aborted.clear();
    answer_frame frame{bytes, api::fetch, version, correlation};
    if (frame.result != read_result::ok) {
        return frame.result;
    }
    auto& body = frame.body;
    into.throttle_ms = body.int32();
    into.error = body.int16();
    body.int32(); // the fetch session, which there is none
    for (auto topics = body.elements(3); topics != 0 && !body.failed(); --topics) {
        std::string_view name;
        topic_uuid id{};
        if (version >= 13) {
            id = body.uuid();
        } else {
            name = body.text();
        }
        for (auto left = body.elements(32); left != 0 && !body.failed(); --left) {
            auto& partition = into.partitions.emplace_back();
            partition.topic = name;
            partition.topic_id = id;
            partition.number = body.int32();
            partition.error = body.int16();
            partition.high_watermark = body.int64();
            partition.last_stable_offset = body.int64();
            partition.log_start = body.int64();
            partition.first_aborted = into.aborted.size();
            partition.aborted_count = body.elements(16);
            for (auto some = partition.aborted_count; some != 0 && !body.failed(); --some) {
                auto const producer = body.int64();
                auto const first_offset = body.int64();
                body.end_structure();
                into.aborted.push_back({producer, first_offset});
            }
            if (version >= 11) {
                partition.preferred_replica = body.int32();
            }
            partition.records = body.nullable_bytes().value_or(std::string_view{});
            body.end_structure([&](std::uint32_t tag, wire_reader& field) {
                if (tag == 0) {
                    auto const epoch = field.int32();
                    partition.diverging = {epoch, field.int64()};
                    field.end_structure();
                } else if (tag == 1) {
                    auto const leader = field.int32();
                    partition.current_leader = {leader, field.int32()};
                    field.end_structure();
                }
            });
        }
        body.end_structure();
    }
    body.end_structure();
    auto const result = frame.finish();
    if (result != read_result::ok) {
        into.partitions.clear();
        into.aborted.clear();
    }
    return result;
}

} // namespace kgroup::detail::fetch
