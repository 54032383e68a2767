// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/fetch/answer_memory.hpp>
#include <kgroup/detail/fetch/byte_buffer.hpp>
#include <kgroup/detail/fetch/record_reader.hpp>

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <utility>

namespace kgroup::detail::fetch {

/// Where a record stands: the number of its batch among the `kept_batches`, and its place in there.
/// Fits into a pointer, which it never equals one of an object: these are even.
class record_place {
public:
    record_place(std::uint32_t batch, std::size_t begin) noexcept
        : word_{std::uint64_t{batch} << 32 | static_cast<std::uint32_t>(begin << 1) | 1} {}
    explicit record_place(void* native) noexcept
        : word_{static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(native))} {}

    static bool is_one(void* native) noexcept {
        return (reinterpret_cast<std::uintptr_t>(native) & 1) != 0;
    }
    void* native() const noexcept {
        static_assert(sizeof(void*) == sizeof(std::uint64_t), "needs pointers of 64 bits");
        return reinterpret_cast<void*>(static_cast<std::uintptr_t>(word_));
    }
    std::uint32_t batch() const noexcept { return static_cast<std::uint32_t>(word_ >> 32); }
    std::size_t begin() const noexcept { return static_cast<std::uint32_t>(word_) >> 1; }

private:
    std::uint64_t word_;
};

/// The batches of a claim whose records are in use: what their bytes are kept alive by, and their
/// times. A record names its batch by a number, so that it costs nothing to have one.
///
/// A batch is held by whoever reads it and by each record. Records are counted many at a time.
///
/// *Thread safety.* `keep`: one thread. `hold`, `release`, and what is asked about records that are
/// held: any thread.
class kept_batches {
public:
    kept_batches() = default;
    kept_batches(kept_batches const&) = delete;
    kept_batches& operator=(kept_batches const&) = delete;

    /// A batch, held once, by the reader. nullopt: there is no memory for it.
    ///
    /// @param first where its records begin, in the answer or in what was decompressed.
    /// @param answer keeps the bytes alive, if they were not decompressed.
    /// @param memory where they count, if they were.
    std::optional<std::uint32_t> keep(batch_header const& header, char const* first,
                                      std::shared_ptr<void const> answer, byte_buffer decompressed,
                                      std::shared_ptr<partition_memory> memory) noexcept {
        auto const number = take_free();
        if (!number) {
            return std::nullopt;
        }
        auto& kept = at(*number);
        kept.times = batch_times{header};
        kept.first = first;
        kept.answer = std::move(answer);
        kept.decompressed = std::move(decompressed);
        kept.memory = std::move(memory);
        if (kept.memory) {
            kept.memory->hold_decompressed(kept.decompressed.capacity());
        }
        kept.held.store(1, std::memory_order_relaxed);
        return number;
    }

    void hold(std::uint32_t number, std::uint32_t times) noexcept {
        at(number).held.fetch_add(times, std::memory_order_relaxed);
    }
    void release(std::uint32_t number, std::uint32_t times) noexcept {
        auto& kept = at(number);
        // acq_rel: whoever frees sees what others did with their records before
        if (kept.held.fetch_sub(times, std::memory_order_acq_rel) != times) {
            return;
        }
        kept.answer = nullptr;
        byte_buffer decompressed = std::move(kept.decompressed);
        if (auto const memory = std::exchange(kept.memory, nullptr)) {
            memory->let_go_of_decompressed(std::move(decompressed));
        }
        std::lock_guard const lock{mutex_};
        kept.next_free = first_free_;
        first_free_ = number;
    }

    char const* first(std::uint32_t number) const noexcept { return at(number).first; }
    std::int64_t timestamp(record_place record) const noexcept {
        auto const& kept = at(record.batch());
        return timestamp_of(kept.first + record.begin(), kept.times);
    }
    record_headers headers(record_place record) const noexcept {
        return headers_of(at(record.batch()).first + record.begin());
    }

private:
    struct batch {
        std::shared_ptr<void const> answer;
        byte_buffer decompressed;
        std::shared_ptr<partition_memory> memory; // of what was decompressed
        char const* first = nullptr;
        batch_times times;
        std::atomic<std::uint32_t> held{0};
        std::uint32_t next_free = none;
    };

    static constexpr std::uint32_t none = ~std::uint32_t{0};
    static constexpr std::uint32_t first_size = 16;

    // Each segment is as large as all before it together, and none moves: so numbers are looked up
    // without a lock.
    batch& at(std::uint32_t number) const noexcept {
        auto const segment = std::bit_width(number / first_size);
        auto const begin = segment == 0 ? 0 : first_size << (segment - 1);
        return segments_[static_cast<std::size_t>(segment)][number - begin];
    }

    std::optional<std::uint32_t> take_free() noexcept {
        std::lock_guard const lock{mutex_};
        if (first_free_ == none && !add_segment()) {
            return std::nullopt;
        }
        auto const number = first_free_;
        first_free_ = at(number).next_free;
        return number;
    }
    bool add_segment() noexcept {
        auto const segment = std::bit_width(size_ / first_size);
        auto const more = segment == 0 ? first_size : size_;
        if (static_cast<std::size_t>(segment) == segments_.size()) {
            return false;
        }
        auto& added = segments_[static_cast<std::size_t>(segment)];
        try {
            added = std::make_unique<batch[]>(more);
        } catch (std::bad_alloc const&) {
            return false;
        }
        for (auto number = size_ + more; number != size_; --number) {
            added[number - 1 - size_].next_free = first_free_;
            first_free_ = number - 1;
        }
        size_ += more;
        return true;
    }

    std::array<std::unique_ptr<batch[]>, 24> segments_;
    std::mutex mutex_; // of what follows, and of `next_free`
    std::uint32_t size_ = 0;
    std::uint32_t first_free_ = none;
};

} // namespace kgroup::detail::fetch
