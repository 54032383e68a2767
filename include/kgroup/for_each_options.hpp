// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/process/dead_letter_sender.hpp>
#include <kgroup/limit.hpp>
#include <kgroup/message.hpp>
#include <kgroup/order.hpp>
#include <kgroup/retry_options.hpp>

#include <cstddef>
#include <optional>
#include <string_view>
#include <type_traits>

namespace kgroup {

/// How `order::by_key` takes records whose key is null. An empty key is a key like any other.
enum class null_keys {
    side_by_side, ///< each by itself
    one_lane,     ///< one after another, as if they had one key
};

/// How `for_each` works on the records of a claim. All bounds are for one claim, but for `limit`.
struct for_each_options {
    kgroup::order order = kgroup::order::by_partition;

    /// How many attempts run at the same time; at least 1. One, in effect, with `by_partition`.
    std::size_t in_flight = 100;

    /// A bound over all claims that name it; null: none. It outlives the call.
    kgroup::limit* limit = nullptr;

    /// How many bytes of records may wait, behind a busy key or for a retry; then nothing more is
    /// taken from the claim. A record that waits long is copied, so that it does not pin the
    /// records that were fetched with it.
    std::size_t held_bytes = std::size_t{16} << 20;

    /// How far delivery may run ahead of the oldest record that is not done, in records. After a
    /// rebalance or a restart, the records above it are done again.
    std::size_t replay = 1'000'000;

    /// Which failures are repeated, how often, and what follows.
    retry_options retry{};

    /// A `kgroup::dead_letters`, to which records go that are given up; null: none. It comes before
    /// `retry_options::give_up`: the record is done when the broker has acknowledged its letter.
    /// Until then its key waits. It outlives the call.
    detail::dead_letter_sender* dead_letters = nullptr;

    /// Replaces the record's key for `by_key`; null: the record's own. A plain function: a lambda
    /// without captures converts to it. It reads only the record, its result lives as long as the
    /// record; nullopt is a null key. If it throws, an attempt at the record has failed.
    std::optional<std::string_view> (*key)(message const& record) = nullptr;

    kgroup::null_keys null_keys = kgroup::null_keys::side_by_side;
};

// It is written inside `co_await` expressions, whose temporaries g++ 12 may destroy twice.
static_assert(std::is_trivially_destructible_v<for_each_options>);

} // namespace kgroup
