// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/clock.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>

namespace kgroup::detail {

class partition_state;
class record_block;
class record_owner;

/// The library's data about one record. Its size is a cache line, because each record is written
/// once and read once or twice.
struct alignas(64) record {
    void* native;      // what the client knows it by; handed back to `record_source::free_records`
    char const* key;   // null: a null key
    char const* value; // null: a null value
    std::uint32_t key_size; // the protocol's own are of 31 bits
    std::uint32_t value_size;
    std::int64_t offset;
    record_block* block;
    alignas(void*) std::byte
        lent[sizeof(void*)];      // the record's place in a batch: a `message`, at first its own
    std::uint32_t epoch;          // of the offset tracker, when it was delivered
    std::atomic<bool> acked;      // tells a second ack of the same record
    std::atomic<bool> given_up;   // tells a second destruction of its message,
    std::atomic<bool> batch_over; // and of the batch that begins with it
    bool alone; // delivered by itself: its message releases the record and its place
};

/// Two things hold a record: its message, wherever that was moved to, and the batch that has its
/// place, whatever message is in the place. A block counts both in one word.
struct holds {
    std::uint16_t messages = 0;
    std::uint16_t places = 0;

    constexpr std::uint32_t word() const noexcept {
        return (std::uint32_t{places} << 16) | messages;
    }
};

/// Room for a record.
struct record_room {
    alignas(record) std::byte bytes[sizeof(record)];
};

/// Records that were drained together and are freed together: the allocator sees the frees of a
/// block in one run, which with glibc is what makes them cheap. To deliver a record takes no atomic
/// operation. To release it takes one only on another thread than the claim's strand, or when the
/// claim is at a later block.
class record_block {
public:
    /// @param capacity at most 65,535: see `holds`.
    explicit record_block(std::size_t capacity)
        : own_(static_cast<record*>(
              ::operator new (capacity * sizeof(record), std::align_val_t{alignof(record)}))),
          records_(own_.get()),
          capacity_(capacity),
          limit_(capacity) {}
    /// For one record, which has its place elsewhere.
    ///
    /// @param place outlives the block.
    explicit record_block(record_room& place) noexcept
        : records_(reinterpret_cast<record*>(place.bytes)),
          capacity_(1),
          limit_(1) {}
    record_block(record_block const&) = delete;
    record_block& operator=(record_block const&) = delete;

    std::size_t capacity() const noexcept { return capacity_; }
    std::size_t size() const noexcept { return size_; }
    bool full() const noexcept { return size_ == limit_; }
    /// How many more are to be put into it.
    std::size_t room() const noexcept { return limit_ - size_; }
    record& operator[](std::size_t index) noexcept { return records_[index]; }
    partition_state& state() const noexcept { return *state_; }
    void belongs_to(partition_state& state) noexcept { state_ = &state; }
    /// The source of the records. To be called while some are held.
    record_owner const& from() const noexcept { return *from_; }
    std::shared_ptr<partition_state> const& owner() const noexcept { return owner_; }

    class writer; // record_writer.hpp

    std::size_t bytes() const noexcept { return bytes_; }
    /// When the first of these records was taken from the client.
    clock::time_point fetched() const noexcept { return fetched_; }
    void set_fetched(clock::time_point when) noexcept { fetched_ = when; }
    /// Whether some offset does not follow the one before, or the first is not the one that was
    /// expected.
    bool gaps() const noexcept { return gaps_; }
    /// To be filled anew. `expected`: the first record's offset, if nothing unusual happens.
    void clear(std::int64_t expected) noexcept { clear(expected, capacity_); }
    /// The same with `limit` records at most.
    void clear(std::int64_t expected, std::size_t limit) noexcept {
        limit_ = limit;
        size_ = 0;
        bytes_ = 0;
        gaps_ = false;
        next_offset_ = expected;
    }

    /// From here on each record is held twice, see `holds`. `sequence`: the first one's number in
    /// the order of delivery in the claim. Claim's strand.
    void lend(std::shared_ptr<partition_state> owner, record_owner& lender,
              std::uint64_t sequence) noexcept {
        owner_ = std::move(owner);
        from_ = &lender;
        first_sequence_ = sequence;
        held_.store(all(), std::memory_order_relaxed);
        at_hand_ = true;
    }
    std::uint64_t sequence_of(record const& record) const noexcept {
        return first_sequence_ + static_cast<std::uint64_t>(&record - records_);
    }

    /// Takes over the records of another block from `first` on, which nobody holds: none was
    /// delivered, or lent. They stand behind those that are here, where there is room. Claim's
    /// strand.
    void take_over(record_block& block, record* first) noexcept; // record_writer.hpp
    /// For a block that was lent, and ends before `first` now: gives up what was behind. The claim
    /// goes on to another block. Claim's strand.
    void end_before(record* first) noexcept {
        auto const left = static_cast<std::uint16_t>(records_ + size_ - first);
        settle();
        size_ -= left; // first: the last release frees so many
        release_for_all(holds{left, left}.word());
    }

    /// Gives up so many holds; the last one frees all records. Any thread.
    void release(holds given_up) noexcept; // defined with partition_state
    /// The message of a record of this block is destroyed. Any thread.
    void give_up(record& record) noexcept; // defined with partition_state
    /// Notes the end of a message or of a batch of this block. false: it has ended before. That is
    /// reported, and the caller must release nothing.
    bool end_once(std::atomic<bool>& over) noexcept; // defined with partition_state

    /// The claim goes on to another block: the releases of the strand so far become visible to all
    /// threads. Claim's strand.
    void settle() noexcept {
        at_hand_ = false;
        if (auto const word = std::exchange(given_up_, 0)) {
            release_for_all(word);
        }
    }
    /// The number of records held by messages or by batches, the larger of the two. Claim's strand.
    std::size_t held() const noexcept {
        auto const word = held_.load(std::memory_order_relaxed) - given_up_;
        return (std::max)(word & 0xffff, word >> 16);
    }

private:
    friend class partition_state;
    std::uint32_t all() const noexcept {
        return holds{static_cast<std::uint16_t>(size_), static_cast<std::uint16_t>(size_)}.word();
    }
    void free_records() noexcept; // defined with partition_state
    void release_for_all(std::uint32_t word) noexcept {
        // acq_rel: the thread that frees sees everything that others did with their records before
        // they released them
        if (auto const before = held_.fetch_sub(word, std::memory_order_acq_rel); before == word) {
            free_records();
        } else if ((before & 0xffff) < (word & 0xffff) || before < word) [[unlikely]] {
            held_.fetch_add(word, std::memory_order_relaxed);
            tell_released_twice();
        }
    }
    void tell_released_twice() noexcept; // defined with partition_state

    struct aligned_delete {
        void operator()(record* records) const noexcept {
            ::operator delete (records, std::align_val_t{alignof(record)});
        }
    };

    std::unique_ptr<record, aligned_delete> own_; // null: they have their place elsewhere
    record* records_;
    std::size_t capacity_;
    std::size_t limit_; // of records in it
    std::size_t size_ = 0;
    std::size_t bytes_ = 0;
    clock::time_point fetched_{};
    bool gaps_ = false;
    std::int64_t next_offset_ = -1;
    partition_state* state_ = nullptr;
    std::shared_ptr<partition_state>
        owner_; // set while records are held: they outlive the claim if they must
    record_owner* from_ = nullptr;
    record_block* next_free_ = nullptr;
    std::uint64_t first_sequence_ = 0;
    bool at_hand_ = false; // on the claim's strand, from `lend` to `settle`
    // Words of `holds`.
    std::uint32_t given_up_ = 0;         // by the strand meanwhile, and not in `held_` yet
    std::atomic<std::uint32_t> held_{0}; // by the channel, by messages and by batches
};

} // namespace kgroup::detail
