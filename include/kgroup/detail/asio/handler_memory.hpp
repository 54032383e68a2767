// SPDX-License-Identifier: MIT

#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <new>
#include <utility>

namespace kgroup::detail {

/// Memory for the few operations that something has under way again and again. Any thread.
class handler_memory {
public:
    /// Null: there is none left, or not so much.
    void* take(std::size_t size) noexcept {
        for (auto& slot : blocks_) {
            if (size <= sizeof slot.bytes &&
                !slot.taken.exchange(true, std::memory_order_acquire)) {
                return slot.bytes;
            }
        }
        return nullptr;
    }
    /// false: it is not from here.
    bool give_back(void* memory) noexcept {
        for (auto& slot : blocks_) {
            if (memory == slot.bytes) {
                slot.taken.store(false, std::memory_order_release);
                return true;
            }
        }
        return false;
    }

private:
    struct block {
        alignas(std::max_align_t) std::byte bytes[192];
        std::atomic<bool> taken{false};
    };
    std::array<block, 4> blocks_;
};

/// Gives out such memory, and other when there is none left. It owns a part in it: an operation may
/// be the last thing that is left.
template <typename T>
class reusing_allocator {
public:
    using value_type = T;

    explicit reusing_allocator(std::shared_ptr<handler_memory> memory) noexcept
        : memory_(std::move(memory)) {}
    template <typename Other>
    reusing_allocator(reusing_allocator<Other> const& other) noexcept : memory_(other.memory_) {}

    T* allocate(std::size_t count) {
        static_assert(alignof(T) <= alignof(std::max_align_t));
        auto* const reused = memory_->take(count * sizeof(T));
        return static_cast<T*>(reused ? reused : ::operator new(count * sizeof(T)));
    }
    void deallocate(T* memory, std::size_t) noexcept {
        if (!memory_->give_back(memory)) {
            ::operator delete(memory);
        }
    }

    friend bool operator==(reusing_allocator const& one, reusing_allocator const& other) noexcept {
        return one.memory_ == other.memory_;
    }

private:
    template <typename Other>
    friend class reusing_allocator;

    std::shared_ptr<handler_memory> memory_;
};

} // namespace kgroup::detail
