// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/fetch/buffer_pool.hpp>
#include <kgroup/detail/fetch/byte_buffer.hpp>

#include <atomic>
#include <cstddef>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <string_view>
#include <utility>

namespace kgroup::detail::fetch {

class answer_memory;

/// The bytes of an answer, or of a part of it. They count as long as it lives.
class answer_bytes {
public:
    answer_bytes(std::shared_ptr<answer_memory> from, byte_buffer bytes) noexcept
        : from_(std::move(from)),
          bytes_(std::move(bytes)) {}
    answer_bytes(answer_bytes const&) = delete;
    answer_bytes& operator=(answer_bytes const&) = delete;
    ~answer_bytes();

    byte_buffer& buffer() noexcept { return bytes_; }
    std::string_view view() const noexcept { return bytes_.view(); }
    std::size_t counted() const noexcept { return bytes_.capacity(); }

private:
    std::shared_ptr<answer_memory> from_;
    byte_buffer bytes_;
};

/// The memory for answers, of all connections together: it counts what is promised to requests and
/// what answers hold, and uses buffers again.
///
/// *Thread safety.* Any thread may release, and has the pool; the rest is one thread's.
class answer_memory : public std::enable_shared_from_this<answer_memory> {
public:
    explicit answer_memory(std::size_t limit) : limit_(limit), buffers_(limit / 8) {}

    std::size_t limit() const noexcept { return limit_; }
    /// What is promised and what is held.
    std::size_t used() const noexcept { return used_.load(std::memory_order_relaxed); }
    /// Buffers of answers that are over, and of what was decompressed. They do not count.
    buffer_pool& buffers() noexcept { return buffers_; }

    /// For an answer that was asked for.
    void promise(std::size_t bytes) noexcept { used_.fetch_add(bytes, std::memory_order_relaxed); }
    /// It came, or will not come.
    void take_back(std::size_t bytes) noexcept { release(bytes); }

    /// A buffer with room for so many bytes. Null: there is no memory. What is used may exceed the
    /// limit: what a broker sends is as large as it is.
    std::shared_ptr<answer_bytes> take(std::size_t size) noexcept {
        auto buffer = buffers_.take(size);
        if (!buffer.reserve(buffer_pool::rounded(size))) {
            return nullptr;
        }
        auto const counted = buffer.capacity();
        used_.fetch_add(counted, std::memory_order_relaxed);
        try {
            return std::make_shared<answer_bytes>(shared_from_this(), std::move(buffer));
        } catch (std::bad_alloc const&) {
            used_.fetch_sub(counted, std::memory_order_relaxed);
            return nullptr;
        }
    }
    /// A copy. Null: there is no memory.
    std::shared_ptr<answer_bytes> copy(std::string_view bytes) noexcept {
        auto result = take(bytes.size());
        if (result && !bytes.empty()) {
            std::memcpy(result->buffer().free_begin(), bytes.data(), bytes.size());
            result->buffer().grow(bytes.size());
        }
        return result;
    }

    /// What was decompressed, which nobody asked for room for before. That it exceeds the limit
    /// wakes, once until `forget_exceeded`.
    void hold_decompressed(std::size_t bytes) noexcept {
        auto const before = used_.fetch_add(bytes, std::memory_order_relaxed);
        if (before <= limit_ && before + bytes > limit_ &&
            !exceeded_.exchange(true, std::memory_order_relaxed)) {
            call_wake();
        }
    }
    /// Whether it did.
    bool exceeded() const noexcept { return exceeded_.load(std::memory_order_relaxed); }
    void forget_exceeded() noexcept { exceeded_.store(false, std::memory_order_relaxed); }

    void give_back(byte_buffer&& buffer) noexcept {
        auto const size = buffer.capacity();
        buffers_.give_back(std::move(buffer));
        release(size);
    }
    /// Somebody waits for less to be held, here or by a partition: `wake` is called by the next
    /// release, on its thread; unless nobody does any more.
    void await_release() noexcept { awaited_.store(true, std::memory_order_seq_cst); }
    void forget_release() noexcept { awaited_.store(false, std::memory_order_relaxed); }
    void released() noexcept {
        if (awaited_.load(std::memory_order_seq_cst) &&
            awaited_.exchange(false, std::memory_order_seq_cst)) {
            call_wake();
        }
    }
    void on_release(std::function<void()> wake) { wake_ = std::move(wake); }
    /// `wake` is not running and will not be called any more.
    void forget_wake() noexcept {
        std::lock_guard const lock{wake_mutex_};
        wake_ = nullptr;
    }

private:
    void call_wake() noexcept {
        std::lock_guard const lock{wake_mutex_};
        if (wake_) {
            wake_();
        }
    }
    void release(std::size_t bytes) noexcept {
        used_.fetch_sub(bytes, std::memory_order_relaxed);
        released();
    }

    std::size_t limit_;
    std::atomic<std::size_t> used_{0};
    std::atomic<bool> awaited_{false};
    std::atomic<bool> exceeded_{false};
    buffer_pool buffers_;
    std::mutex wake_mutex_;
    std::function<void()> wake_;
};

inline answer_bytes::~answer_bytes() { from_->give_back(std::move(bytes_)); }

/// What a partition holds of the memory: parts of answers, and what was decompressed of them.
///
/// *Thread safety.* Safe.
class partition_memory {
public:
    explicit partition_memory(std::shared_ptr<answer_memory> all) noexcept : all_(std::move(all)) {}
    partition_memory(partition_memory const&) = delete;
    partition_memory& operator=(partition_memory const&) = delete;

    std::size_t held() const noexcept { return held_.load(std::memory_order_seq_cst); }
    /// Of that, what the claim has not read yet. The rest is in its messages.
    std::size_t unread() const noexcept { return unread_.load(std::memory_order_seq_cst); }

    /// Of an answer, which counts by itself.
    void hold_part(std::size_t bytes) noexcept {
        held_.fetch_add(bytes, std::memory_order_relaxed);
    }
    void let_go_of_part(std::size_t bytes) noexcept {
        held_.fetch_sub(bytes, std::memory_order_seq_cst);
        all_->released();
    }

    void hold_unread(std::size_t bytes) noexcept {
        unread_.fetch_add(bytes, std::memory_order_relaxed);
    }
    void let_go_of_unread(std::size_t bytes) noexcept {
        unread_.fetch_sub(bytes, std::memory_order_seq_cst);
        all_->released();
    }

    void hold_decompressed(std::size_t bytes) noexcept {
        all_->hold_decompressed(bytes);
        held_.fetch_add(bytes, std::memory_order_relaxed);
    }
    /// @param buffer in which they are.
    void let_go_of_decompressed(byte_buffer&& buffer) noexcept {
        held_.fetch_sub(buffer.capacity(), std::memory_order_seq_cst);
        all_->give_back(std::move(buffer));
    }
    /// For what is to be decompressed.
    buffer_pool& buffers() const noexcept { return all_->buffers(); }

private:
    std::shared_ptr<answer_memory> const all_;
    std::atomic<std::size_t> held_{0};
    std::atomic<std::size_t> unread_{0};
};

/// Bytes that the claim has not read yet, as long as it lives.
class unread_bytes {
public:
    unread_bytes() = default;
    unread_bytes(std::shared_ptr<partition_memory> partition, std::size_t size) noexcept
        : partition_(std::move(partition)),
          size_(size) {
        partition_->hold_unread(size_);
    }
    unread_bytes(unread_bytes&&) noexcept = default;
    unread_bytes& operator=(unread_bytes&& other) noexcept {
        std::swap(partition_, other.partition_);
        std::swap(size_, other.size_);
        return *this;
    }
    ~unread_bytes() {
        if (partition_) {
            partition_->let_go_of_unread(size_);
        }
    }

private:
    std::shared_ptr<partition_memory> partition_;
    std::size_t size_ = 0;
};

/// A partition's part of an answer.
class held_records {
public:
    held_records(std::shared_ptr<partition_memory> partition, std::shared_ptr<answer_bytes> bytes,
                 std::size_t size) noexcept
        : partition_(std::move(partition)),
          bytes_(std::move(bytes)),
          size_(size) {
        partition_->hold_part(size_);
    }
    held_records(held_records const&) = delete;
    held_records& operator=(held_records const&) = delete;
    ~held_records() {
        bytes_.reset();
        partition_->let_go_of_part(size_);
    }

private:
    std::shared_ptr<partition_memory> partition_;
    std::shared_ptr<answer_bytes> bytes_;
    std::size_t size_;
};

} // namespace kgroup::detail::fetch
