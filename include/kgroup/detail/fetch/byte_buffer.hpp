// SPDX-License-Identifier: MIT

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <string_view>
#include <utility>

namespace kgroup::detail::fetch {

/// Bytes that are written once and handed on. Unlike std::string it does not fill what it reserves,
/// and it says that there is no memory with a value.
class byte_buffer {
public:
    byte_buffer() = default;
    byte_buffer(byte_buffer&& other) noexcept
        : data_(std::exchange(other.data_, nullptr)),
          size_(std::exchange(other.size_, 0)),
          capacity_(std::exchange(other.capacity_, 0)) {}
    byte_buffer& operator=(byte_buffer&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        std::swap(capacity_, other.capacity_);
        return *this;
    }
    byte_buffer(byte_buffer const&) = delete;
    byte_buffer& operator=(byte_buffer const&) = delete;
    ~byte_buffer() { std::free(data_); }

    std::string_view view() const noexcept { return {data_, size_}; }
    std::size_t size() const noexcept { return size_; }
    std::size_t capacity() const noexcept { return capacity_; }
    /// The free part: written there, then `grow`n by what was written.
    char* free_begin() noexcept { return data_ + size_; }
    std::size_t free_size() const noexcept { return capacity_ - size_; }
    void grow(std::size_t written) noexcept { size_ += written; }
    /// Forgets the bytes and keeps the memory.
    void clear() noexcept { size_ = 0; }

    /// false: there is no memory for that; nothing has changed. Moves the bytes.
    bool reserve(std::size_t capacity) noexcept {
        if (capacity <= capacity_) {
            return true;
        }
        auto* const larger = static_cast<char*>(std::realloc(data_, capacity));
        if (!larger) {
            return false;
        }
        data_ = larger;
        capacity_ = capacity;
        return true;
    }

private:
    char* data_ = nullptr;
    std::size_t size_ = 0;
    std::size_t capacity_ = 0;
};

} // namespace kgroup::detail::fetch
