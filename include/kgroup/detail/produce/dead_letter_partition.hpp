// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/produce/operation.hpp>

#include <librdkafka/rdkafka.h>

#include <cstddef>
#include <cstdint>

namespace kgroup::detail {

/// The partition of a dead letter: that of its record, as far as its topic has so many. What others
/// send to the topic goes by its key. A `partition_choice`, for librdkafka's threads.
inline std::int32_t dead_letter_partition(rd_kafka_topic_t const* topic, void const* key,
                                          std::size_t key_size, std::int32_t partitions, void*,
                                          void* tag) {
    if (auto const* const letter = record_tag::operation(tag); letter && letter->source_partition) {
        return *letter->source_partition % partitions;
    }
    return rd_kafka_msg_partitioner_murmur2_random(topic, key, key_size, partitions, nullptr, tag);
}

} // namespace kgroup::detail
