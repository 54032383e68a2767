// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/fetch/fetch_message.hpp>
#include <kgroup/detail/fetch/message_frame.hpp>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kgroup::detail::fetch {

/// Where a partition begins and ends, or where a time stands in it.
struct list_offsets_request {
    static constexpr std::int64_t latest = -1;
    static constexpr std::int64_t earliest = -2;

    struct partition {
        std::int32_t number = 0;
        std::int32_t current_leader_epoch = -1; // version 4; -1: unknown, and not checked
        std::int64_t timestamp = latest;        // milliseconds since the epoch, or one of the above
    };
    struct topic {
        std::string_view name;
        std::span<partition const> partitions;
    };
    isolation level = isolation::read_committed; // version 2: the end is the last stable offset
    std::span<topic const> topics;
};

inline void write_list_offsets_request(std::string& into, std::int16_t version,
                                       std::int32_t correlation, std::string_view client_id,
                                       list_offsets_request const& request) {
    request_frame frame{into, api::list_offsets, version, correlation, client_id};
    auto& body = frame.body();
    body.int32(-1);
    if (version >= 2) {
        body.int8(static_cast<std::int8_t>(request.level));
    }
    body.elements(request.topics.size());
    for (auto const& topic : request.topics) {
        body.text(topic.name).elements(topic.partitions.size());
        for (auto const& partition : topic.partitions) {
            body.int32(partition.number);
            if (version >= 4) {
                body.int32(partition.current_leader_epoch);
            }
            body.int64(partition.timestamp).end_structure();
        }
        body.end_structure();
    }
    frame.finish();
}

/// The views point into the answer's bytes.
struct list_offsets_answer {
    struct partition {
        std::string_view topic;
        std::int32_t number = -1;
        std::int16_t error = 0;
        std::int64_t offset = -1;       // -1: the log holds nothing so late
        std::int32_t leader_epoch = -1; // version 4; of the record there
    };
    std::int32_t throttle_ms = 0;
    std::vector<partition> partitions;
};

/// @param into is emptied; its memory is used again, and bounded by a multiple of the bytes.
/// @throws std::bad_alloc
inline read_result read_list_offsets_answer(std::string_view bytes, std::int16_t version,
                                            std::int32_t correlation, list_offsets_answer& into) {
    into.throttle_ms = 0;
    into.partitions.clear();
    answer_frame frame{bytes, api::list_offsets, version, correlation};
    if (frame.result != read_result::ok) {
        return frame.result;
    }
    auto& body = frame.body;
    if (version >= 2) {
        into.throttle_ms = body.int32();
    }
    for (auto topics = body.elements(3); topics != 0 && !body.failed(); --topics) {
        auto const name = body.text();
        for (auto left = body.elements(22); left != 0 && !body.failed(); --left) {
            auto& partition = into.partitions.emplace_back();
            partition.topic = name;
            partition.number = body.int32();
            partition.error = body.int16();
            body.int64(); // timestamp
            partition.offset = body.int64();
            if (version >= 4) {
                partition.leader_epoch = body.int32();
            }
            body.end_structure();
        }
        body.end_structure();
    }
    body.end_structure();
    auto const result = frame.finish();
    if (result != read_result::ok) {
        into.partitions.clear();
    }
    return result;
}

} // namespace kgroup::detail::fetch
