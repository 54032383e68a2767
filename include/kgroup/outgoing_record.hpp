// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/message.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

namespace kgroup {

/// A record to be sent. It owns nothing: its bytes must live until the operation has begun. Bytes
/// that live until the end of the `co_await` expression live long enough.
struct outgoing_record {
    /// Its name. Required.
    std::string_view topic{};
    /// Any bytes; nullopt: null, which is not the same as empty.
    std::optional<std::string_view> key{};
    /// Any bytes; nullopt: null (in a compacted topic, a tombstone).
    std::optional<std::string_view> value{};
    /// In this order; names may repeat.
    std::span<header const> headers{};
    /// -1: by the key, as Java's producer does it (murmur2; anywhere without a key), or by the
    /// property `partitioner`.
    std::int32_t partition = -1;
    /// In milliseconds since 1970, and later than that; nullopt: when it is enqueued.
    std::optional<std::chrono::system_clock::time_point> timestamp{};
};

// It is written inside `co_await` expressions, whose temporaries g++ 12 may destroy twice.
static_assert(std::is_trivially_destructible_v<outgoing_record>);

} // namespace kgroup
