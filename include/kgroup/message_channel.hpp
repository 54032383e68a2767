// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/collect_limits.hpp>
#include <kgroup/detail/asio/async_operation.hpp>
#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/claim/partition_state.hpp>
#include <kgroup/detail/separate_compilation.hpp>
#include <kgroup/message.hpp>

#include <asio/async_result.hpp>
#include <asio/awaitable.hpp>
#include <asio/cancellation_state.hpp>

#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <utility>

namespace kgroup {

namespace detail {
struct claim_access;
struct batch_access;
} // namespace detail

/// Messages of one claim, in order. `message_channel::async_receive_available` and `async_collect`
/// deliver them.
///
/// A move-only range of `message&`, with random access. A message may be moved out of the batch or
/// into it, or swapped with any other message, also of another claim. It remains the message of its
/// record wherever it is. The destructor releases the remaining messages in one operation; those
/// that were moved in, one by one. The storage belongs to the claim and is used again.
///
/// *Lifetime* and *thread safety*: as `message`. A batch pins its records also when all its
/// messages were moved out.
class message_batch {
public:
    class iterator {
    public:
        using value_type = message;
        using reference = message&;
        using pointer = message*;
        using difference_type = std::ptrdiff_t;
        using iterator_category = std::random_access_iterator_tag;

        iterator() noexcept = default;
        reference operator*() const noexcept { return detail::record_access::lent(*record_); }
        pointer operator->() const noexcept { return &**this; }
        reference operator[](difference_type distance) const noexcept {
            return *(*this + distance);
        }
        iterator& operator++() noexcept { return *this += 1; }
        iterator& operator--() noexcept { return *this -= 1; }
        iterator operator++(int) noexcept { return std::exchange(*this, *this + 1); }
        iterator operator--(int) noexcept { return std::exchange(*this, *this - 1); }
        iterator& operator+=(difference_type distance) noexcept {
            record_ += distance;
            return *this;
        }
        iterator& operator-=(difference_type distance) noexcept { return *this += -distance; }
        friend iterator operator+(iterator from, difference_type distance) noexcept {
            return from += distance;
        }
        friend iterator operator+(difference_type distance, iterator from) noexcept {
            return from += distance;
        }
        friend iterator operator-(iterator from, difference_type distance) noexcept {
            return from -= distance;
        }
        friend difference_type operator-(iterator to, iterator from) noexcept {
            return to.record_ - from.record_;
        }
        friend auto operator<=>(iterator, iterator) noexcept = default;

    private:
        friend class message_batch;
        explicit iterator(detail::record* record) noexcept : record_(record) {}
        detail::record* record_ = nullptr;
    };

    /// An empty batch.
    message_batch() noexcept = default;
    /// Takes another's messages; the other is empty then.
    message_batch(message_batch&& other) noexcept
        : first_(std::exchange(other.first_, nullptr)),
          size_(std::exchange(other.size_, 0)) {}
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

    message& operator[](std::size_t index) const noexcept {
        return detail::record_access::lent(first_[index]);
    }
    /// The first message's place.
    iterator begin() const noexcept { return iterator{first_}; }
    /// The place behind the last message.
    iterator end() const noexcept { return iterator{first_ + size_}; }
    /// How many messages it has.
    std::size_t size() const noexcept { return size_; }
    /// Whether there is no message in it. A batch that was received is empty only when its claim
    /// has ended.
    bool empty() const noexcept { return size_ == 0; }
    /// Whether there is a message in it.
    explicit operator bool() const noexcept { return size_ != 0; }
    /// The last message, which as long as none was moved is the one to mark when all are done; not
    /// when the batch is empty.
    message& back() const noexcept { return (*this)[size_ - 1]; }

private:
    friend class message_channel;
    friend struct detail::batch_access;
    message_batch(detail::record* first, std::size_t size) noexcept : first_(first), size_(size) {}

    void drop() noexcept {
        if (size_ == 0 || !first_->block->end_once(first_->batch_over)) {
            return;
        }
        unsigned own = 0;
        for (auto* place = first_; place != first_ + size_; ++place) {
            own += detail::record_access::leave_own(*place) ? 1u : 0u;
        }
        first_->block->release({.messages = static_cast<std::uint16_t>(own),
                                .places = static_cast<std::uint16_t>(size_)});
    }

    detail::record* first_ = nullptr;
    std::size_t size_ = 0;
};

namespace detail {

/// The one door between batches and the algorithms over them.
struct batch_access {
    /// Whether each message is that of its place still.
    static bool in_place(message_batch const& batch) noexcept {
        for (auto* place = batch.first_; place != batch.first_ + batch.size_; ++place) {
            if (record_access::of(record_access::lent(*place)) != place) {
                return false;
            }
        }
        return true;
    }
    /// The first so many are destroyed together; the rest stays.
    static void drop_front(message_batch& batch, std::size_t count) noexcept {
        message_batch const front{batch.first_, count};
        batch.first_ += count;
        batch.size_ -= count;
    }
};

} // namespace detail

/// The messages of one claim, in the order of their offsets. A handler awaits them.
///
/// The channel pulls. When the handler asks and no message is at hand, the channel takes records
/// from the partition's queue. Not asking is the backpressure; no message is ever dropped. It ends
/// (`std::nullopt`, an empty batch) when the partition is revoked or lost, when the session ends
/// and when the group is stopped; then the handler finishes what it holds, and returns.
///
/// *Errors.* `errc::receive_in_progress`: another operation of this channel is under way. Lack of
/// memory: no message has been taken.
///
/// *Cancellation.* Every asynchronous operation here is total: cancelled with any type, it fails
/// with `asio::error::operation_aborted` and no message has been taken; when the claim has ended by
/// then, it gives the end instead. (A coroutine passes on only `terminal` unless it says otherwise:
/// see `asio::this_coro::reset_cancellation_state`.) But a message that *was* delivered belongs to
/// the receiver: combining `async_receive() || timer` discards the loser's result, and if both were
/// ready that is a message. Combine `async_wait()` with the timer instead, or use
/// `async_receive_for`.
///
/// *Thread safety.* Unsafe: it is used from the coroutine that `consume_claim` is, on its strand.
/// The forms that take a completion token start on that strand by themselves and may be called from
/// any thread. One operation at a time: a second one fails with `errc::receive_in_progress`.
///
/// *Lifetime.* It belongs to the claim.
class message_channel {
public:
    message_channel(message_channel const&) = delete;
    message_channel& operator=(message_channel const&) = delete;

    /// Waits for the next message. Completes at once, without going through the executor, when one
    /// is at hand; every 256 messages it lets others on the executor run.
    ///
    /// @return the message, or nullopt: the claim has ended.
    asio::awaitable<std::optional<message>> async_receive();

    /// The same with a completion token. Completion signature: `void(std::error_code,
    /// std::optional<message>)`.
    template <
        asio::completion_token_for<void(std::error_code, std::optional<message>)> CompletionToken>
    auto async_receive(CompletionToken&& token) {
        return spawn(async_receive(), std::forward<CompletionToken>(token));
    }

    /// Waits for the next message, for as long as `limit` at most. A message that arrives at the
    /// limit is delivered or stays in the channel; it is not lost.
    ///
    /// @return the message; nullopt: the limit is over, or the claim has ended (`ended()` tells
    /// which).
    asio::awaitable<std::optional<message>> async_receive_for(std::chrono::nanoseconds limit);

    /// The same with a completion token. Completion signature: `void(std::error_code,
    /// std::optional<message>)`.
    template <
        asio::completion_token_for<void(std::error_code, std::optional<message>)> CompletionToken>
    auto async_receive_for(std::chrono::nanoseconds limit, CompletionToken&& token) {
        return spawn(async_receive_for(limit), std::forward<CompletionToken>(token));
    }

    /// Waits until there is a message, and takes the messages at hand: at most `max`, and never
    /// more than 512. 0 means 1. It does not wait for the batch to fill.
    ///
    /// @return the messages; empty: the claim has ended.
    asio::awaitable<message_batch> async_receive_available(std::size_t max);

    /// The same with a completion token. Completion signature: `void(std::error_code,
    /// message_batch)`.
    template <asio::completion_token_for<void(std::error_code, message_batch)> CompletionToken>
    auto async_receive_available(std::size_t max, CompletionToken&& token) {
        return spawn(async_receive_available(max), std::forward<CompletionToken>(token));
    }

    /// Waits until a batch is complete, and takes it: so many messages, so many bytes, or so long
    /// after its first message, whichever comes first.
    ///
    ///     while (auto batch = co_await claim.messages().async_collect(
    ///                {.records = 500, .bytes = 64 << 10, .within = 200ms})) {
    ///
    /// The batch may be smaller: when the claim can deliver no more before something is
    /// acknowledged (`claim::ack`), when an offset does not ascend, and, where neither `records`
    /// nor `bytes` is given, when it holds as many bytes as this claim has for its share of
    /// `config::buffer_bytes`. When the claim ends in order, what was collected comes at once, and
    /// then the end; after a loss the end. While the claim is paused, nothing comes.
    ///
    /// `within` goes by kgroup's clock. Several batches may be held at the same time. A cancelled
    /// call has taken nothing: the next receive, of any kind, gives the same messages.
    ///
    /// @return the messages; empty: the claim has ended.
    /// @throws std::system_error `errc::invalid_limits` when no limit is given, or a negative time.
    asio::awaitable<message_batch> async_collect(collect_limits limits);

    /// The same with a completion token. Completion signature: `void(std::error_code,
    /// message_batch)`.
    template <asio::completion_token_for<void(std::error_code, message_batch)> CompletionToken>
    auto async_collect(collect_limits limits, CompletionToken&& token) {
        return spawn(async_collect(limits), std::forward<CompletionToken>(token));
    }

    /// The next message if one is at hand or waits in the partition's queue; otherwise nullopt,
    /// also when the claim has ended, is paused, or waits for an acknowledgement (`claim::ack`).
    /// Never waits.
    std::optional<message> try_receive();

    /// Waits until there is a message to take or the claim has ended; takes nothing. Combine it
    /// with a timer.
    asio::awaitable<void> async_wait();

    /// The same with a completion token. Completion signature: `void(std::error_code)`.
    template <asio::completion_token_for<void(std::error_code)> CompletionToken>
    auto async_wait(CompletionToken&& token) {
        return spawn(async_wait(), std::forward<CompletionToken>(token));
    }

    /// Whether the claim has ended: nothing will be delivered any more. Any thread.
    bool ended() const noexcept { return state_.ended(); }

    /// For the library: the channel over a partition that is owned; blocks are filled up to
    /// `block_bytes` bytes.
    message_channel(detail::partition_state& state, std::size_t block_bytes) noexcept
        : state_(state),
          block_bytes_(block_bytes) {}
    ~message_channel() { drop_rest(); }

    /// For the library: gives up what is at hand and was not delivered. On the strand.
    void drop_rest() noexcept;

private:
    friend struct detail::claim_access;
    // How many messages are delivered in a row before others on the executor get a turn.
    static constexpr std::uint32_t turn = 256;
    // A block counts its records in 16 bits.
    static constexpr std::size_t largest_batch = 65535;

    bool holding() const noexcept { return next_ != filled_; }
    bool has_next() const noexcept { return holding() && allowance_ != 0 && state_.open(); }
    template <typename Result>
    Result take(std::size_t max);
    template <typename Result>
    asio::awaitable<Result> receive(detail::clock::time_point deadline, std::size_t max);
    detail::partition_state::wait_for what_it_lacks();
    void leave_block() noexcept;
    detail::record_block* drain(std::size_t capacity, std::int64_t expected);
    std::size_t next_fill() const noexcept;
    void fill();

    // While a receive runs by itself, for a completion handler.
    class spawned_receive {
    public:
        explicit spawned_receive(detail::partition_state& state)
            : state_(state.shared_from_this()) {
            state_->begin_receive();
        }
        spawned_receive(spawned_receive&&) noexcept = default;
        ~spawned_receive() {
            if (state_) {
                state_->end_receive();
            }
        }
        void let_go() noexcept {
            if (auto const state = std::exchange(state_, nullptr)) {
                state->end_receive();
                state->tell_kept();
            }
        }

    private:
        std::shared_ptr<detail::partition_state> state_;
    };
    template <typename Result, typename CompletionToken>
    auto spawn(asio::awaitable<Result> receiving, CompletionToken&& token) {
        return detail::async_operation(state_.strand(), asio::enable_total_cancellation(),
                                       std::move(receiving), std::forward<CompletionToken>(token),
                                       [this] { return spawned_receive{state_}; });
    }

    // While somebody receives: nobody else does. (Of a lambda in a coroutine that is compiled
    // apart, g++ 12 warns.)
    struct outstanding_receive {
        explicit outstanding_receive(
            message_channel& receiver); // throws where somebody does already
        outstanding_receive(outstanding_receive const&) = delete;
        outstanding_receive& operator=(outstanding_receive const&) = delete;
        ~outstanding_receive() {
            channel.receiving_ = false;
            channel.state_.wait_over();
        }

        message_channel& channel;
    };
    // While a batch is collected.
    struct collecting : outstanding_receive {
        using outstanding_receive::outstanding_receive;
        ~collecting() { channel.state_.collected_until(-1); }
    };

    /// How much of what is at hand makes a batch.
    struct collected {
        std::size_t records = 0;
        std::size_t bytes = 0;
        bool complete = false;
    };
    asio::awaitable<message_batch> collect(collect_limits limits);
    detail::partition_state::wait_for what_it_lacks(collected& so_far,
                                                    collect_limits const& limits);
    void count(collected& so_far, collect_limits const& limits, std::size_t most) const noexcept;
    bool fill_up(std::size_t most);

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

#ifndef KGROUP_SEPARATE_COMPILATION
#include <kgroup/detail/claim/message_channel.ipp>
#endif
