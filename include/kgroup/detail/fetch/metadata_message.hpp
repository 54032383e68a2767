// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/fetch/message_frame.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kgroup::detail::fetch {

/// Who leads which partition. The views point into the answer's bytes.
struct metadata_answer {
    struct broker {
        std::int32_t id = -1;
        std::string_view host;
        std::int32_t port = 0;
    };
    struct partition {
        std::int16_t error = 0;
        std::int32_t number = -1;
        std::int32_t leader = -1;       // -1: none
        std::int32_t leader_epoch = -1; // -1: the version has none
    };
    struct topic {
        std::int16_t error = 0;
        std::string_view name; // empty: null
        topic_uuid id{};       // all zero: the version has none
        std::size_t first = 0; // of its partitions
        std::size_t count = 0;
    };
    std::int32_t throttle_ms = 0;
    std::vector<broker> brokers;
    std::vector<topic> topics;
    std::vector<partition> partitions; // of all topics, one topic's behind the other's

    std::span<partition const> partitions_of(topic const& wanted) const noexcept {
        return std::span{partitions}.subspan(wanted.first, wanted.count);
    }
};

/// Asks for these topics; none is made by asking, from version 4 on.
inline void write_metadata_request(std::string& into, std::int16_t version,
                                   std::int32_t correlation, std::string_view client_id,
                                   std::span<std::string_view const> topics) {
    request_frame frame{into, api::metadata, version, correlation, client_id};
    auto& body = frame.body();
    body.elements(topics.size());
    for (auto const topic : topics) {
        if (version >= 10) {
            body.uuid({});
        }
        body.text(topic).end_structure();
    }
    if (version >= 4) {
        body.boolean(false);
    }
    if (version >= 8) {
        if (version <= 10) {
            body.boolean(false); // the operations allowed on the cluster
        }
        body.boolean(false); // and on topics
    }
    frame.finish();
}

/// @param into is emptied; its memory is used again, and bounded by a multiple of the bytes.
/// @throws std::bad_alloc
inline read_result read_metadata_answer(std::string_view bytes, std::int16_t version,
                                        std::int32_t correlation, metadata_answer& into) {
    into.throttle_ms = 0;
    into.brokers.clear();
    into.topics.clear();
    into.partitions.clear();
    answer_frame frame{bytes, api::metadata, version, correlation};
    if (frame.result != read_result::ok) {
        return frame.result;
    }
    auto& body = frame.body;
    auto const skip_numbers = [&body] { body.view(4 * body.elements(4)); };
    if (version >= 3) {
        into.throttle_ms = body.int32();
    }
    for (auto brokers = body.elements(9); brokers != 0 && !body.failed(); --brokers) {
        auto& broker = into.brokers.emplace_back();
        broker.id = body.int32();
        broker.host = body.text();
        broker.port = body.int32();
        body.nullable_text(); // rack
        body.end_structure();
    }
    if (version >= 2) {
        body.nullable_text(); // the cluster's id
    }
    body.int32(); // controller
    for (auto topics = body.elements(5); topics != 0 && !body.failed(); --topics) {
        auto& topic = into.topics.emplace_back();
        topic.error = body.int16();
        topic.name =
            version >= 12 ? body.nullable_text().value_or(std::string_view{}) : body.text();
        if (version >= 10) {
            topic.id = body.uuid();
        }
        body.boolean(); // internal
        topic.first = into.partitions.size();
        topic.count = body.elements(12);
        for (auto left = topic.count; left != 0 && !body.failed(); --left) {
            auto& partition = into.partitions.emplace_back();
            partition.error = body.int16();
            partition.number = body.int32();
            partition.leader = body.int32();
            if (version >= 7) {
                partition.leader_epoch = body.int32();
            }
            skip_numbers(); // replicas
            skip_numbers(); // those in sync
            if (version >= 5) {
                skip_numbers(); // those that are offline
            }
            body.end_structure();
        }
        if (version >= 8) {
            body.int32(); // operations
        }
        body.end_structure();
    }
    if (version >= 8 && version <= 10) {
        body.int32(); // operations
    }
    body.end_structure();
    auto const result = frame.finish();
    if (result != read_result::ok) {
        into.brokers.clear();
        into.topics.clear();
        into.partitions.clear();
    }
    return result;
}

} // namespace kgroup::detail::fetch
