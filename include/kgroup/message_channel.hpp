#pragma once

#include <kgroup/detail/clock.hpp>
#include <kgroup/detail/heed_cancellation.hpp>
#include <kgroup/detail/on_exit.hpp>
#include <kgroup/detail/partition_state.hpp>
#include <kgroup/error.hpp>
#include <kgroup/message.hpp>

#include <asio/awaitable.hpp>
#include <asio/cancellation_state.hpp>
#include <asio/cancellation_type.hpp>
#include <asio/co_spawn.hpp>
#include <asio/error.hpp>
#include <asio/this_coro.hpp>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstddef>
#include <iterator>
#include <optional>
#include <system_error>
#include <type_traits>
#include <utility>

namespace kgroup {

/// Some messages of one claim, in order: what `message_channel::async_receive_batch` delivers.
///
/// A move-only range of `message&`; a message may be moved out of it. Those that are left are released together when the
/// batch is destroyed, at the cost of one. Its storage belongs to the claim and is used again.
///
/// *Lifetime* and *thread safety*: as `message`.
class message_batch {
public:
    class iterator {
    public:
        using value_type = message;
        using reference = message&;
        using pointer = message*;
        using difference_type = std::ptrdiff_t;
        using iterator_category = std::forward_iterator_tag;

        iterator() noexcept = default;
        reference operator*() const noexcept { return detail::record_access::lent(*record_); }
        pointer operator->() const noexcept { return &**this; }
        iterator& operator++() noexcept {
            ++record_;
            return *this;
        }
        iterator operator++(int) noexcept {
            auto const before = *this;
            ++record_;
            return before;
        }
        friend bool operator==(iterator, iterator) noexcept = default;

    private:
        friend class message_batch;
        explicit iterator(detail::record* record) noexcept : record_(record) {}
        detail::record* record_ = nullptr;
    };

    /// An empty batch.
    message_batch() noexcept = default;
    message_batch(message_batch&& other) noexcept
        : first_(std::exchange(other.first_, nullptr)), size_(std::exchange(other.size_, 0)) {}
    message_batch& operator=(message_batch&& other) noexcept {
        if (this != &other) {
            drop();
            first_ = std::exchange(other.first_, nullptr);
            size_ = std::exchange(other.size_, 0);
        }
        return *this;
    }
    message_batch(message_batch const&) = delete;
    message_batch& operator=(message_batch const&) = delete;
    ~message_batch() { drop(); }

    iterator begin() const noexcept { return iterator{first_}; }
    iterator end() const noexcept { return iterator{first_ + size_}; }
    std::size_t size() const noexcept { return size_; }
    /// Whether there is no message in it. A batch that was received is empty only when its claim has ended.
    bool empty() const noexcept { return size_ == 0; }
    /// The last message, which is the one to mark when all are done; not when the batch is empty.
    message& back() const noexcept { return detail::record_access::lent(first_[size_ - 1]); }

private:
    friend class message_channel;
    message_batch(detail::record* first, std::size_t size) noexcept : first_(first), size_(size) {}

    void drop() noexcept {
        std::uint32_t left = 0;
        for (std::size_t i = 0; i != size_; ++i) {
            left += detail::record_access::is_lent(first_[i]) ? 1u : 0u;
        }
        if (left != 0) {
            first_->block->release(left);
        }
    }

    detail::record* first_ = nullptr;
    std::size_t size_ = 0;
};

/// The messages of one claim, in the order of their offsets: what a handler awaits.
///
/// The channel pulls. When the handler asks and nothing is at hand, the channel takes what waits in the partition's
/// queue; not asking is the backpressure, and no message is ever shed. It ends (`std::nullopt`, an empty batch) when the
/// partition is revoked or lost, when the session ends and when the group is stopped; then the handler
/// finishes what it holds, and returns.
///
/// *Cancellation.* Every asynchronous operation here is total: cancelled with any type, it fails with
/// `asio::error::operation_aborted` and no message has been taken. (A coroutine passes on only `terminal` unless it says
/// otherwise: see `asio::this_coro::reset_cancellation_state`.) But a message that *was* delivered belongs to the
/// receiver: combining `async_receive() || timer` discards the loser's result, and if both were ready that is a message.
/// Put `async_wait()` beside a timer instead, or use `async_receive_for`.
///
/// *Thread safety.* Unsafe: it is used from the coroutine that `consume_claim` is, on its strand. The forms that take a
/// completion token start on that strand by themselves and may be called from any thread. One operation at a time: a second
/// one fails with `errc::receive_in_progress`.
///
/// *Lifetime.* It belongs to the claim.
class message_channel {
public:
    message_channel(message_channel const&) = delete;
    message_channel& operator=(message_channel const&) = delete;

    /// Waits for the next message. Completes at once, without going through the executor, when one is at hand; every
    /// 256 messages it lets others on the executor run.
    ///
    /// @return the message, or nullopt: the claim has ended.
    asio::awaitable<std::optional<message>> async_receive() {
        return receive<std::optional<message>>(detail::clock::time_point::max(), 1);
    }

    /// The same with a completion token. Completion signature: `void(std::exception_ptr, std::optional<message>)`.
    template <typename CompletionToken>
    auto async_receive(CompletionToken&& token) {
        return asio::co_spawn(state_.strand(), detail::heed_cancellation(asio::enable_total_cancellation(), async_receive()),
                              std::forward<CompletionToken>(token));
    }

    /// Waits for the next message, for as long as `limit` at most. A message that arrives at the limit is delivered or
    /// stays in the channel; it is not lost.
    ///
    /// @return the message; nullopt: the limit is over, or the claim has ended (`ended()` tells which).
    asio::awaitable<std::optional<message>> async_receive_for(std::chrono::nanoseconds limit) {
        return receive<std::optional<message>>(deadline_after(limit), 1);
    }

    /// The same with a completion token. Completion signature: `void(std::exception_ptr, std::optional<message>)`.
    template <typename CompletionToken>
    auto async_receive_for(std::chrono::nanoseconds limit, CompletionToken&& token) {
        return asio::co_spawn(state_.strand(), detail::heed_cancellation(asio::enable_total_cancellation(), async_receive_for(limit)),
                              std::forward<CompletionToken>(token));
    }

    /// Waits until there is a message, and takes those that are at hand, `max` at most (512 at most whatever is asked).
    /// It does not wait for the batch to fill.
    ///
    /// @return the messages; empty: the claim has ended.
    asio::awaitable<message_batch> async_receive_batch(std::size_t max) {
        return receive<message_batch>(detail::clock::time_point::max(), std::max<std::size_t>(max, 1));
    }

    /// The same with a completion token. Completion signature: `void(std::exception_ptr, message_batch)`.
    template <typename CompletionToken>
    auto async_receive_batch(std::size_t max, CompletionToken&& token) {
        return asio::co_spawn(state_.strand(), detail::heed_cancellation(asio::enable_total_cancellation(), async_receive_batch(max)),
                              std::forward<CompletionToken>(token));
    }

    /// The next message if one is at hand or waits in the partition's queue; otherwise nullopt, also when the claim has
    /// ended or is paused. Never waits.
    std::optional<message> try_receive() {
        if (!holding() && state_.open() && !state_.tracker().window_full()) {
            fill();
        }
        allowance_ = turn;
        return has_next() ? take<std::optional<message>>(1) : std::nullopt;
    }

    /// Waits until there is a message to take or the claim has ended; takes nothing. The thing to put beside a timer.
    asio::awaitable<void> async_wait() {
        return receive<void>(detail::clock::time_point::max(), 0);
    }

    /// The same with a completion token. Completion signature: `void(std::exception_ptr)`.
    template <typename CompletionToken>
    auto async_wait(CompletionToken&& token) {
        return asio::co_spawn(state_.strand(), detail::heed_cancellation(asio::enable_total_cancellation(), async_wait()),
                              std::forward<CompletionToken>(token));
    }

    /// Whether the claim has ended: nothing will be delivered any more. Any thread.
    bool ended() const noexcept { return state_.ended(); }

    /// For the library: the channel over a partition that is owned; blocks are filled up to `block_bytes` bytes.
    message_channel(detail::partition_state& state, std::size_t block_bytes) noexcept
        : state_(state), block_bytes_(block_bytes) {}
    ~message_channel() { drop_rest(); }

    /// For the library: gives up what is at hand and was not delivered. On the strand.
    void drop_rest() noexcept {
        if (holding()) {
            block_->release(static_cast<std::uint32_t>(filled_ - std::exchange(next_, filled_)));
        }
        leave_block();
    }

private:
    // How many messages are delivered in a row before others on the executor get a turn.
    static constexpr std::uint32_t turn = 256;

    static detail::clock::time_point deadline_after(std::chrono::nanoseconds limit) noexcept {
        using time_point = detail::clock::time_point;
        auto const now = detail::clock::now();
        return limit < time_point::max() - now ? std::chrono::time_point_cast<detail::clock::duration>(now + limit) : time_point::max();
    }

    bool holding() const noexcept { return next_ != filled_; }
    bool has_next() const noexcept { return holding() && allowance_ != 0 && state_.open(); }

    // Up to `max` of what is at hand, in the form in which it is received; for `async_wait`, nothing. Without a look at the gate: it
    // may close at any moment, and whoever has seen it open has his record.
    template <typename Result>
    Result take([[maybe_unused]] std::size_t max) {
        if constexpr (std::is_same_v<Result, message_batch>) {
            auto const size = state_.deliver(next_, std::min(max, static_cast<std::size_t>(filled_ - next_)));
            for (std::size_t i = 0; i != size; ++i) {
                detail::record_access::lend(next_[i]);
            }
            allowance_ -= static_cast<std::uint32_t>(std::min<std::size_t>(allowance_, size));
            return {std::exchange(next_, next_ + size), size};
        } else if constexpr (!std::is_void_v<Result>) {
            state_.deliver(next_, 1);
            --allowance_;
            return detail::record_access::make(next_++);
        }
    }

    // Every form of receiving, in one frame: that one and the wait's are as many as Asio keeps for the next time, so that
    // neither is allocated. What is taken is taken before anything else can happen on the strand, whatever other threads do to
    // the gate.
    template <typename Result>
    asio::awaitable<Result> receive(detail::clock::time_point deadline, std::size_t max) {
        using enum detail::partition_state::wait_for;
        if (has_next()) {
            co_return take<Result>(max);
        }
        if (receiving_) {
            throw std::system_error{errc::receive_in_progress};
        }
        receiving_ = true;
        detail::on_exit const done{[this] {
            receiving_ = false;
            state_.wait_over();
        }};
        while (!state_.ended()) {
            auto const lacks = what_it_lacks();
            if (lacks == nothing) {
                co_return take<Result>(max);
            }
            // A wake-up may have overtaken a cancellation; it must not make it forgotten.
            auto const state = co_await asio::this_coro::cancellation_state;
            if (state.cancelled() != asio::cancellation_type::none) {
                throw std::system_error{asio::error::operation_aborted};
            }
            auto const in_time = co_await state_.wait(lacks == its_turn ? detail::clock::time_point::max() : deadline, lacks);
            allowance_ = turn;
            if (!in_time) {
                co_return Result();
            }
        }
        drop_rest();
        co_return Result();
    }

    // `nothing`: there is a message to take.
    detail::partition_state::wait_for what_it_lacks() {
        using enum detail::partition_state::wait_for;
        if (allowance_ == 0) {
            state_.notify();
            return its_turn;
        }
        if (state_.tracker().window_full()) {
            return acks;
        }
        if (!state_.open()) {
            return records;
        }
        if (!holding()) {
            fill();
        }
        return holding() ? nothing : records;
    }

    void leave_block() noexcept {
        if (auto* const left = std::exchange(block_, nullptr)) {
            left->settle();
        }
    }

    void fill() {
        leave_block();
        // In few sizes: a block is used again for whatever needs no larger one.
        auto& block = state_.take_block(std::clamp(std::bit_ceil(last_fill_ * 4), detail::partition_state::smallest_block,
                                                   detail::partition_state::largest_block));
        // A queue that gives nothing is not always empty: what was popped may have been outdated, or a notice.
        for (int tries = 0; tries != 16; ++tries) {
            state_.source()->drain(block, block_bytes_);
            if (block.size() != 0 || state_.source()->waiting() == 0) {
                break;
            }
        }
        last_fill_ = block.size();
        if (block.size() == 0) {
            state_.give_back(block);
            return;
        }
        if (block.gaps()) {
            state_.explain_gaps(block);
        }
        block_ = &block;
        next_ = &block[0];
        filled_ = next_ + block.size();
        state_.lend(block);
    }

    detail::partition_state& state_;
    std::size_t block_bytes_;
    detail::record_block* block_ = nullptr; // the block at hand
    detail::record* next_ = nullptr;        // what is not delivered yet of it
    detail::record* filled_ = nullptr;      // and where it ends
    std::size_t last_fill_ = 0;
    std::uint32_t allowance_ = turn;
    bool receiving_ = false;
};

} // namespace kgroup
