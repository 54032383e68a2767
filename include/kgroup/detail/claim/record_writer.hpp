// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/claim/record_block.hpp>
#include <kgroup/message.hpp>

#include <cstddef>
#include <cstdint>
#include <new>

namespace kgroup::detail {

/// Fills a block. Counts in members of its own and stores them in the destructor. Updates of the
/// block for each record would serialise.
class record_block::writer {
public:
    explicit writer(record_block& into) noexcept
        : block_(into),
          next_(into.records_ + into.size_),
          end_(into.records_ + into.limit_),
          bytes_(into.bytes_),
          next_offset_(into.next_offset_),
          gaps_(into.gaps_) {}
    writer(writer const&) = delete;
    writer& operator=(writer const&) = delete;
    ~writer() {
        block_.size_ = size();
        block_.bytes_ = bytes_;
        block_.next_offset_ = next_offset_;
        block_.gaps_ = gaps_;
    }

    std::size_t size() const noexcept { return static_cast<std::size_t>(next_ - block_.records_); }
    bool full() const noexcept { return next_ == end_; }
    /// How many more fit.
    std::size_t room() const noexcept { return static_cast<std::size_t>(end_ - next_); }
    std::size_t bytes() const noexcept { return bytes_; }
    record const& operator[](std::size_t index) const noexcept { return block_.records_[index]; }

    /// Adds a record; not when the block is full.
    void append(void* native, char const* key, std::size_t key_size, char const* value,
                std::size_t value_size, std::int64_t offset) noexcept {
        bytes_ += key_size + value_size;
        gaps_ |= offset != next_offset_;
        next_offset_ = offset + 1;
        auto* const added =
            ::new (static_cast<void*>(next_++)) record{native,
                                                       key,
                                                       value,
                                                       static_cast<std::uint32_t>(key_size),
                                                       static_cast<std::uint32_t>(value_size),
                                                       offset,
                                                       &block_,
                                                       {},
                                                       0,
                                                       {false},
                                                       {false},
                                                       {false},
                                                       false};
        record_access::lend(*added);
    }

private:
    record_block& block_;
    record* next_;
    record* end_;
    std::size_t bytes_;
    std::int64_t next_offset_;
    bool gaps_;
};

inline void record_block::take_over(record_block& block, record* first) noexcept {
    if (size_ == 0) {
        fetched_ = block.fetched_;
    }
    writer into{*this};
    for (auto* taken = first; taken != block.records_ + block.size_; ++taken) {
        into.append(taken->native, taken->key, taken->key_size, taken->value, taken->value_size,
                    taken->offset);
    }
}

} // namespace kgroup::detail
