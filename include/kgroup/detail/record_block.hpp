#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace kgroup::detail {

class partition_state;
class record_block;

/// What the library keeps about one record: where its bytes are, and its place in the order of delivery.
struct record {
    void* native;                 // what the client knows it by; handed back to `record_source::free_records`
    char const* key;              // null: a null key
    char const* value;            // null: a null value
    std::uint32_t key_size;       // the protocol's own are of 31 bits
    std::uint32_t value_size;
    std::int64_t offset;
    std::uint64_t sequence;       // order of delivery in the claim; set when it is delivered
    record_block* block;
    std::uint32_t epoch;          // of the offset tracker, when it was delivered
    std::atomic<bool> acked;      // tells a second ack of the same record
    alignas(void*) std::byte lent[sizeof(void*)]; // where a batch keeps the `message` of this record
};

/// Records that were drained together and are freed together. One atomic operation a message, none to deliver one,
/// and the allocator sees the frees of a block in one run: with glibc that is what makes them cheap.
class record_block {
public:
    explicit record_block(std::size_t capacity)
        : records_(static_cast<record*>(::operator new(capacity * sizeof(record), std::align_val_t{alignof(record)}))),
          capacity_(capacity) {}
    record_block(record_block const&) = delete;
    record_block& operator=(record_block const&) = delete;
    ~record_block() { ::operator delete(records_, std::align_val_t{alignof(record)}); }

    std::size_t capacity() const noexcept { return capacity_; }
    std::size_t size() const noexcept { return size_; }
    bool full() const noexcept { return size_ == capacity_; }
    record& operator[](std::size_t index) noexcept { return records_[index]; }
    partition_state& state() const noexcept { return *state_; }

    /// Adds a record; only while the block is being filled, and not when it is full.
    record& append(void* native, char const* key, std::size_t key_size, char const* value, std::size_t value_size,
                   std::int64_t offset) noexcept {
        bytes_ += key_size + value_size;
        gaps_ = gaps_ || (size_ != 0 && offset != records_[size_ - 1].offset + 1);
        return *::new (static_cast<void*>(records_ + size_++))
            record{native, key, value, static_cast<std::uint32_t>(key_size), static_cast<std::uint32_t>(value_size),
                   offset, 0, this, 0, {false}, {}};
    }
    std::size_t bytes() const noexcept { return bytes_; }
    /// Whether some offset does not follow the one before.
    bool gaps() const noexcept { return gaps_; }

    /// From here on each record counts as held once, by whoever has it.
    void lend(std::shared_ptr<partition_state> owner) noexcept {
        owner_ = std::move(owner);
        held_.store(static_cast<std::uint32_t>(size_), std::memory_order_relaxed);
    }
    std::uint32_t held() const noexcept { return held_.load(std::memory_order_relaxed); }

    /// Gives up `count` records; the last one frees them all. Any thread.
    void release(std::uint32_t count = 1) noexcept {
        // acq_rel: whoever frees sees all that others did with their records before they gave them up
        if (held_.fetch_sub(count, std::memory_order_acq_rel) == count) {
            free_records();
        }
    }

private:
    friend class partition_state;
    void free_records() noexcept; // defined with partition_state

    record* records_;
    std::size_t capacity_;
    std::size_t size_ = 0;
    std::size_t bytes_ = 0;
    bool gaps_ = false;
    partition_state* state_ = nullptr;
    std::shared_ptr<partition_state> owner_;  // set while records are held: they outlive the claim if they must
    record_block* next_free_ = nullptr;
    // how many records of this block are held by the channel, by messages or by batches
    std::atomic<std::uint32_t> held_{0};
};

} // namespace kgroup::detail
