// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/duration_histogram.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace kgroup::detail {

/// A figure that one strand writes and any thread reads: no more than a load and a store.
template <typename T>
class figure {
public:
    void set(T value) noexcept { value_.store(value, std::memory_order_relaxed); }
    void add(T value) noexcept { set(get() + value); }
    T get() const noexcept { return value_.load(std::memory_order_relaxed); }

private:
    std::atomic<T> value_{};
};

/// A `duration_histogram` that one strand writes and any thread reads, without a lock. A reader may
/// see a duration in a bucket and not yet in the sum.
class written_histogram {
public:
    void add(std::chrono::nanoseconds length, std::uint64_t times = 1) noexcept {
        counts_[duration_histogram::bucket_of(length)].add(times);
        sum_.add(length.count() * static_cast<std::int64_t>(times));
    }
    duration_histogram read() const noexcept {
        duration_histogram result;
        for (std::size_t i = 0; i != counts_.size(); ++i) {
            result.counts[i] = counts_[i].get();
        }
        result.sum = std::chrono::nanoseconds{sum_.get()};
        return result;
    }

private:
    std::array<figure<std::uint64_t>, duration_histogram::buckets> counts_;
    figure<std::int64_t> sum_;
};

/// The counters of `for_each` and `for_each_batch` for a claim. The claim's strand writes them; any
/// thread may read.
struct claim_figures {
    written_histogram handling;  // of each attempt
    written_histogram residence; // of each record that is done: since it was fetched

    figure<bool> processes; // one of them has begun
    /// When the oldest running attempt began. While none runs, it is the maximum if the records
    /// wait for something outside (a retry, an end of `not_now`, a dead letter, a place under a
    /// limit), and the minimum if nothing is known of them.
    figure<clock::time_point> attempt_since;
    figure<std::uint64_t> running;
    figure<std::uint64_t> busy_lanes;
    figure<std::uint64_t> parked_keys;
    figure<std::uint64_t> waiting_for_retry;
    figure<double> hottest_key_share;
    figure<std::uint64_t> attempts;
    figure<std::uint64_t> attempts_failed;
    figure<std::uint64_t> dead_letters;
};

} // namespace kgroup::detail
