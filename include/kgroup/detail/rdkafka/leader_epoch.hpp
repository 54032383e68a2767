// SPDX-License-Identifier: MIT

#pragma once

#include <librdkafka/rdkafka.h>

#include <cstdint>

#if RD_KAFKA_VERSION < 0x020100ff && __has_include(<dlfcn.h>)
#include <dlfcn.h>
#define KGROUP_FINDS_LEADER_EPOCH
#endif

namespace kgroup::detail {

/// The leader epoch beside an offset came with librdkafka 2.1. The library may be newer than the
/// header, as that of a distribution: then the functions are looked up in it, once.
struct leader_epoch_functions {
    std::int32_t (*get)(rd_kafka_topic_partition_t const*) = nullptr; // null: there is none
    void (*set)(rd_kafka_topic_partition_t*, std::int32_t) = nullptr;

    static leader_epoch_functions const& of_library() noexcept {
        static leader_epoch_functions const found = find();
        return found;
    }

private:
    static leader_epoch_functions find() noexcept {
        leader_epoch_functions found;
#if RD_KAFKA_VERSION >= 0x020100ff
        found.get = &rd_kafka_topic_partition_get_leader_epoch;
        found.set = &rd_kafka_topic_partition_set_leader_epoch;
#elif defined KGROUP_FINDS_LEADER_EPOCH
        found.get = reinterpret_cast<decltype(found.get)>(
            dlsym(RTLD_DEFAULT, "rd_kafka_topic_partition_get_leader_epoch"));
        found.set = reinterpret_cast<decltype(found.set)>(
            dlsym(RTLD_DEFAULT, "rd_kafka_topic_partition_set_leader_epoch"));
#endif
        return found;
    }
};
#undef KGROUP_FINDS_LEADER_EPOCH

/// -1: there is none, or librdkafka knows of none.
inline std::int32_t leader_epoch_of(rd_kafka_topic_partition_t const& partition) noexcept {
    auto const get = leader_epoch_functions::of_library().get;
    return get ? get(&partition) : -1;
}
/// -1: none. Does nothing where librdkafka knows of none.
inline void set_leader_epoch(rd_kafka_topic_partition_t& partition, std::int32_t epoch) noexcept {
    auto const set = leader_epoch_functions::of_library().set;
    if (set) {
        set(&partition, epoch);
    }
}

} // namespace kgroup::detail
