// SPDX-License-Identifier: MIT

#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace kgroup {

/// A partition of a topic, by name and number: a value, ordered by topic, then partition, and
/// hashable.
///
/// Thread safety: distinct objects: safe. Shared objects: unsafe.
struct topic_partition {
    /// The topic's name.
    std::string topic{};

    /// The partition's number within the topic, from 0.
    std::int32_t partition = 0;

    /// Partition 0 of a topic without a name: a place to assign to.
    topic_partition() = default;

    /// Copies `name`. Throws `std::bad_alloc`.
    topic_partition(std::string_view name, std::int32_t number) : topic{name}, partition{number} {}

    friend bool operator==(topic_partition const&, topic_partition const&) = default;
    friend std::strong_ordering operator<=>(topic_partition const&,
                                            topic_partition const&) = default;
};

} // namespace kgroup

/// Makes `topic_partition` a key of the unordered containers.
template <>
struct std::hash<kgroup::topic_partition> {
    std::size_t operator()(kgroup::topic_partition const& value) const noexcept {
        std::size_t const topic = std::hash<std::string>{}(value.topic);
        std::size_t const partition = std::hash<std::int32_t>{}(value.partition);
        // Standard libraries hash a number to itself: without the multiplication, neighbouring
        // partitions would differ in their lowest bits only.
        return topic ^ (partition + 1) * static_cast<std::size_t>(0x9e3779b97f4a7c15ULL);
    }
};
