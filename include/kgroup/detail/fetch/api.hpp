// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/fetch/wire_reader.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>

namespace kgroup::detail::fetch {

/// What is asked of brokers, by the protocol's numbers.
enum class api : std::int16_t {
    fetch = 1,
    list_offsets = 2,
    metadata = 3,
    api_versions = 18,
    leader_epoch = 23, // OffsetForLeaderEpoch
};

/// Versions of one request, both ends included.
struct version_range {
    std::int16_t lowest = 0;
    std::int16_t highest = -1;
    friend bool operator==(version_range, version_range) = default;
};

/// The versions that are encoded here. None above is ever sent, whatever the broker offers.
constexpr version_range encoded_versions(api key) noexcept {
    switch (key) {
    case api::fetch:
        return {10, 13}; // 10: zstd. 11: racks. 12: diverging epochs. 13: ids of topics
    case api::list_offsets:
        return {1, 6}; // 4: leader epochs
    case api::metadata:
        return {1, 12}; // 4: no topics made by asking. 7: leader epochs. 10: ids of topics
    case api::api_versions:
        return {0, 3};
    case api::leader_epoch:
        return {2, 4};
    }
    return {};
}

/// The highest version that both know.
constexpr std::optional<std::int16_t> common_version(version_range ours,
                                                     version_range theirs) noexcept {
    auto const highest = (std::min)(ours.highest, theirs.highest);
    if (highest < (std::max)(ours.lowest, theirs.lowest)) {
        return std::nullopt;
    }
    return highest;
}

/// How a version of a request and its answer is encoded.
constexpr encoding encoding_of(api key, std::int16_t version) noexcept {
    std::int16_t first_compact = 0;
    switch (key) {
    case api::fetch:
        first_compact = 12;
        break;
    case api::list_offsets:
        first_compact = 6;
        break;
    case api::metadata:
        first_compact = 9;
        break;
    case api::api_versions:
        first_compact = 3;
        break;
    case api::leader_epoch:
        first_compact = 4;
        break;
    }
    return version >= first_compact ? encoding::compact : encoding::classic;
}

} // namespace kgroup::detail::fetch
