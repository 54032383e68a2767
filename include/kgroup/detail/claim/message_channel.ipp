#pragma once

#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/asio/scope_exit.hpp>
#include <kgroup/detail/claim/partition_state.hpp>
#include <kgroup/error.hpp>
#include <kgroup/message.hpp>
#include <kgroup/message_channel.hpp>

#include <asio/awaitable.hpp>
#include <asio/cancellation_state.hpp>
#include <asio/cancellation_type.hpp>
#include <asio/error.hpp>
#include <asio/this_coro.hpp>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <system_error>
#include <type_traits>
#include <utility>

namespace kgroup {

// Up to `max` of what is at hand, in the form in which it is received; for `async_wait`, nothing.
// Without a look at the gate: it may close at any moment, and whoever has seen it open has his
// record.
template <typename Result>
Result message_channel::take([[maybe_unused]] std::size_t max) {
    if constexpr (std::is_same_v<Result, message_batch>) {
        auto const size =
            state_.deliver(next_, (std::min)(max, static_cast<std::size_t>(filled_ - next_)));
        allowance_ -= static_cast<std::uint32_t>(std::min<std::size_t>(allowance_, size));
        return {std::exchange(next_, next_ + size), size};
    } else if constexpr (!std::is_void_v<Result>) {
        state_.deliver(next_, 1);
        --allowance_;
        return detail::record_access::take(*next_++);
    }
}

// Every form of receiving, in one frame: that one and the wait's are as many as Asio keeps for the
// next time, so that neither is allocated. What is taken is taken before anything else can happen
// on the strand, whatever other threads do to the gate.
template <typename Result>
asio::awaitable<Result> message_channel::receive(detail::clock::time_point deadline,
                                                 std::size_t max) {
    using enum detail::partition_state::wait_for;
    if (has_next()) {
        co_return take<Result>(max);
    }
    if (receiving_) {
        throw std::system_error{errc::receive_in_progress};
    }
    receiving_ = true;
    detail::scope_exit const done{[this] {
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
        auto in_time = true;
        try {
            in_time = co_await state_.wait(
                lacks == its_turn ? (detail::clock::time_point::max)() : deadline, lacks);
        } catch (std::system_error const&) {
            if (!state_.ended()) { // the end is given also to whoever is cancelled for it
                throw;
            }
        }
        allowance_ = turn;
        if (!in_time && !state_.ended()) {
            co_return Result();
        }
    }
    drop_rest();
    state_.end_told();
    co_return Result();
}

KGROUP_INLINE asio::awaitable<std::optional<message>> message_channel::async_receive() {
    return receive<std::optional<message>>((detail::clock::time_point::max)(), 1);
}

KGROUP_INLINE asio::awaitable<std::optional<message>>
message_channel::async_receive_for(std::chrono::nanoseconds limit) {
    using time_point = detail::clock::time_point;
    auto const now = detail::clock::now();
    auto const deadline = limit < (time_point::max)() - now
                              ? std::chrono::time_point_cast<detail::clock::duration>(now + limit)
                              : (time_point::max)();
    return receive<std::optional<message>>(deadline, 1);
}

KGROUP_INLINE asio::awaitable<message_batch>
message_channel::async_receive_available(std::size_t max) {
    return receive<message_batch>((detail::clock::time_point::max)(),
                                  (std::max<std::size_t>)(max, 1));
}

KGROUP_INLINE asio::awaitable<void> message_channel::async_wait() {
    return receive<void>((detail::clock::time_point::max)(), 0);
}

KGROUP_INLINE std::optional<message> message_channel::try_receive() {
    if (!holding() && state_.open() && !state_.tracker().window_full()) {
        fill();
    }
    allowance_ = turn;
    return has_next() ? take<std::optional<message>>(1) : std::nullopt;
}

// `nothing`: there is a message to take.
KGROUP_INLINE detail::partition_state::wait_for message_channel::what_it_lacks() {
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

KGROUP_INLINE void message_channel::fill() {
    leave_block();
    // In few sizes: a block is used again for whatever needs no larger one.
    auto& block = state_.take_block(std::clamp(std::bit_ceil(last_fill_ * 4),
                                               detail::partition_state::smallest_block,
                                               detail::partition_state::largest_block));
    // A queue that gives nothing is not always empty: what was popped may have been outdated, or a
    // notice.
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
    block_ = &block;
    next_ = &block[0];
    filled_ = next_ + block.size();
    state_.lend(block);
    state_.take(block);
    if (block.gaps()) {
        state_.explain_gaps(block); // may throw: the records are at hand by now
    }
}

KGROUP_INLINE void message_channel::leave_block() noexcept {
    if (auto* const left = std::exchange(block_, nullptr)) {
        left->settle();
    }
}

KGROUP_INLINE void message_channel::drop_rest() noexcept {
    if (holding()) {
        auto const left = static_cast<std::uint16_t>(filled_ - std::exchange(next_, filled_));
        state_.drop(left);
        block_->release({.messages = left, .places = left});
    }
    leave_block();
}

} // namespace kgroup
