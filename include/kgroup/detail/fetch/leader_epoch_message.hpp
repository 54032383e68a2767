// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/fetch/message_frame.hpp>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kgroup::detail::fetch {

/// Where the records of a leader epoch end in the leader's log (OffsetForLeaderEpoch).
struct leader_epoch_request {
    struct partition {
        std::int32_t number = 0;
        std::int32_t current_leader_epoch = -1; // -1: unknown, and not checked
        std::int32_t leader_epoch = 0;          // the one that is asked about
    };
    struct topic {
        std::string_view name;
        std::span<partition const> partitions;
    };
    std::span<topic const> topics;
};

inline void write_leader_epoch_request(std::string& into, std::int16_t version,
                                       std::int32_t correlation, std::string_view client_id,
                                       leader_epoch_request const& request) {
    request_frame frame{into, api::leader_epoch, version, correlation, client_id};
    auto& body = frame.body();
    if (version >= 3) {
        body.int32(-1);
    }
    body.elements(request.topics.size());
    for (auto const& topic : request.topics) {
        body.text(topic.name).elements(topic.partitions.size());
        for (auto const& partition : topic.partitions) {
            body.int32(partition.number).int32(partition.current_leader_epoch);
            body.int32(partition.leader_epoch).end_structure();
        }
        body.end_structure();
    }
    frame.finish();
}

/// The views point into the answer's bytes.
struct leader_epoch_answer {
    struct partition {
        std::string_view topic;
        std::int32_t number = -1;
        std::int16_t error = 0;
        std::int32_t leader_epoch = -1; // the greatest that is not above the one asked about
        std::int64_t end_offset = -1;   // -1: the broker does not know
    };
    std::int32_t throttle_ms = 0;
    std::vector<partition> partitions;
};

/// @param into is emptied; its memory is used again, and bounded by a multiple of the bytes.
/// @throws std::bad_alloc
inline read_result read_leader_epoch_answer(std::string_view bytes, std::int16_t version,
                                            std::int32_t correlation, leader_epoch_answer& into) {
    into.throttle_ms = 0;
    into.partitions.clear();
    answer_frame frame{bytes, api::leader_epoch, version, correlation};
    if (frame.result != read_result::ok) {
        return frame.result;
    }
    auto& body = frame.body;
    into.throttle_ms = body.int32();
    for (auto topics = body.elements(3); topics != 0 && !body.failed(); --topics) {
        auto const name = body.text();
        for (auto left = body.elements(18); left != 0 && !body.failed(); --left) {
            auto& partition = into.partitions.emplace_back();
            partition.topic = name;
            partition.error = body.int16();
            partition.number = body.int32();
            partition.leader_epoch = body.int32();
            partition.end_offset = body.int64();
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
