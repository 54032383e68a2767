// SPDX-License-Identifier: MIT

#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <numeric>

namespace kgroup {

/// How long something took, counted in fixed buckets: the same for every histogram and every
/// process, so that they may be added.
struct duration_histogram {
    /// The upper bounds of the buckets, which belong to them; the last one has none.
    static constexpr std::array<std::chrono::microseconds, 18> bounds{{
        std::chrono::microseconds{100},
        std::chrono::microseconds{500},
        std::chrono::milliseconds{1},
        std::chrono::microseconds{2500},
        std::chrono::milliseconds{5},
        std::chrono::milliseconds{10},
        std::chrono::milliseconds{25},
        std::chrono::milliseconds{50},
        std::chrono::milliseconds{100},
        std::chrono::milliseconds{250},
        std::chrono::milliseconds{500},
        std::chrono::seconds{1},
        std::chrono::milliseconds{2500},
        std::chrono::seconds{5},
        std::chrono::seconds{10},
        std::chrono::seconds{30},
        std::chrono::seconds{60},
        std::chrono::seconds{300},
    }};
    static constexpr std::size_t buckets = bounds.size() + 1;

    std::array<std::uint64_t, buckets> counts{}; ///< of each bucket alone
    std::chrono::nanoseconds sum{};

    /// The bucket of a duration.
    static constexpr std::size_t bucket_of(std::chrono::nanoseconds length) noexcept {
        return static_cast<std::size_t>(std::lower_bound(bounds.begin(), bounds.end(), length) -
                                        bounds.begin());
    }

    /// Counts a duration.
    void add(std::chrono::nanoseconds length) noexcept {
        ++counts[bucket_of(length)];
        sum += length;
    }
    /// Counts all durations of another histogram.
    void add(duration_histogram const& other) noexcept {
        for (std::size_t i = 0; i != buckets; ++i) {
            counts[i] += other.counts[i];
        }
        sum += other.sum;
    }
    /// How many durations have been added.
    std::uint64_t count() const noexcept {
        return std::accumulate(counts.begin(), counts.end(), std::uint64_t{0});
    }
};

} // namespace kgroup
