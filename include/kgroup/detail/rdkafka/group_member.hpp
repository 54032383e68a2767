// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/rdkafka/handle.hpp>

#include <librdkafka/rdkafka.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

namespace kgroup::detail {

/// A member, as its group knows it.
struct group_member {
    std::string id{};
    std::int32_t generation = -1; // -1: not known
};

/// Reads librdkafka's serialised group metadata: the accessor for the generation came with 2.8.
inline group_member read_group_metadata(std::string_view bytes) {
    constexpr std::string_view magic{"CGMDv2:"};
    group_member member;
    if (bytes.size() < magic.size() + sizeof member.generation || !bytes.starts_with(magic)) {
        return member;
    }
    std::memcpy(&member.generation, bytes.data() + magic.size(), sizeof member.generation);
    auto const names = bytes.substr(magic.size() + sizeof member.generation);
    if (auto const group_end = names.find('\0'); group_end != names.npos) {
        auto const id = names.substr(group_end + 1);
        member.id = id.substr(0, id.find('\0'));
    }
    return member;
}

inline group_member member_of(rd_kafka_t* consumer) {
    rdkafka_group_metadata const metadata{rd_kafka_consumer_group_metadata(consumer)};
    if (!metadata) {
        return {};
    }
    void* buffer = nullptr;
    std::size_t size = 0;
    rdkafka_error const error{
        rd_kafka_consumer_group_metadata_write(metadata.get(), &buffer, &size)};
    std::unique_ptr<void, rdkafka_deleter<std::free>> const owner{buffer};
    return error ? group_member{} : read_group_metadata({static_cast<char const*>(buffer), size});
}

} // namespace kgroup::detail
