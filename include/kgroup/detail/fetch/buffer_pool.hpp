// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/fetch/byte_buffer.hpp>

#include <cstddef>
#include <mutex>
#include <utility>
#include <vector>

namespace kgroup::detail::fetch {

/// Buffers that nobody uses, for whoever needs one next: their pages are there already. It never
/// holds more than a few, and not more bytes than it is allowed.
///
/// *Thread safety.* Safe.
class buffer_pool {
public:
    /// @param most_bytes that it holds.
    /// @throws std::bad_alloc
    explicit buffer_pool(std::size_t most_bytes) : most_bytes_(most_bytes) {
        idle_.reserve(most_idle);
    }

    /// The smallest that has so much room and not far too much; an empty one: there is none.
    byte_buffer take(std::size_t size) noexcept {
        byte_buffer result;
        if (2 * rounded(size) < smallest) {
            return result;
        }
        std::lock_guard const lock{mutex_};
        auto best = idle_.end();
        for (auto it = idle_.begin(); it != idle_.end(); ++it) {
            if (it->capacity() >= size && it->capacity() <= 2 * rounded(size) &&
                (best == idle_.end() || it->capacity() < best->capacity())) {
                best = it;
            }
        }
        if (best != idle_.end()) {
            result = std::move(*best);
            bytes_ -= result.capacity();
            *best = std::move(idle_.back());
            idle_.pop_back();
        } else if (idle_.size() == most_idle) { // sizes that are not asked for any more
            bytes_ -= idle_.front().capacity();
            idle_.erase(idle_.begin());
        }
        return result;
    }
    void give_back(byte_buffer&& buffer) noexcept {
        byte_buffer surplus = std::move(buffer); // freed behind the lock
        surplus.clear();
        auto const size = surplus.capacity();
        if (size < smallest) {
            return;
        }
        std::lock_guard const lock{mutex_};
        if (idle_.size() != most_idle && bytes_ + size <= most_bytes_) {
            bytes_ += size;
            idle_.push_back(std::move(surplus));
        }
    }
    /// Bytes that it holds.
    std::size_t bytes() const noexcept {
        std::lock_guard const lock{mutex_};
        return bytes_;
    }

    /// So much is to be allocated for a buffer that is used again.
    static std::size_t rounded(std::size_t size) noexcept {
        std::size_t const step = size < smallest ? 256 : size < 64 << 10 ? 4 << 10 : 64 << 10;
        return (size + step - 1) / step * step;
    }

private:
    static constexpr std::size_t most_idle = 16;
    static constexpr std::size_t smallest = 4 << 10; // others are cheap to make

    std::size_t const most_bytes_;
    mutable std::mutex mutex_; // of what follows
    std::vector<byte_buffer> idle_;
    std::size_t bytes_ = 0;
};

} // namespace kgroup::detail::fetch
