// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/claim/partition_state.hpp>
#include <kgroup/detail/claim/record_writer.hpp>
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
#include <limits>
#include <optional>
#include <system_error>
#include <type_traits>
#include <utility>

namespace kgroup {

KGROUP_INLINE message_channel::outstanding_receive::outstanding_receive(message_channel& receiver)
    : channel(receiver) {
    if (channel.receiving_) {
        throw std::system_error{errc::receive_in_progress};
    }
    channel.receiving_ = true;
}

// Takes up to `max` records at hand, in the form of `Result`; for `async_wait`, none. Does not
// recheck the gate: a receive that saw it open completes.
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

// All receives share one frame size. With the wait's frame that makes two, which is what Asio
// caches, so neither is allocated. What is taken is taken before anything else can happen on the
// strand, whatever other threads do to the gate.
template <typename Result>
asio::awaitable<Result> message_channel::receive(detail::clock::time_point deadline,
                                                 std::size_t max) {
    using enum detail::partition_state::wait_for;
    if (has_next() && !receiving_) {
        co_return take<Result>(max);
    }
    outstanding_receive const under_way{*this};
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
            if (!state_.ended()) { // a receive that is cancelled at the end gives the end
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
    return receive<std::optional<message>>(detail::clock::after(limit), 1);
}

KGROUP_INLINE asio::awaitable<message_batch>
message_channel::async_receive_available(std::size_t max) {
    return receive<message_batch>((detail::clock::time_point::max)(),
                                  (std::max<std::size_t>)(max, 1));
}

KGROUP_INLINE asio::awaitable<message_batch> message_channel::async_collect(collect_limits limits) {
    return collect(limits);
}

// Collected records stay at hand until the batch is complete. So a cancelled call loses none.
KGROUP_INLINE asio::awaitable<message_batch> message_channel::collect(collect_limits limits) {
    using enum detail::partition_state::wait_for;
    using time_point = detail::clock::time_point;
    if (limits.within.count() < 0 ||
        (limits.records == 0 && limits.bytes == 0 && limits.within.count() == 0)) {
        throw std::system_error{errc::invalid_limits};
    }
    collecting const under_way{*this};
    collected so_far;
    auto deadline = (time_point::max)();
    while (!state_.ended()) {
        auto const lacks = what_it_lacks(so_far, limits);
        if (lacks == nothing) {
            co_return take<message_batch>(so_far.records);
        }
        if (so_far.records != 0 && deadline == (time_point::max)() && limits.within.count() != 0) {
            deadline = detail::clock::after(limits.within);
        }
        auto const state = co_await asio::this_coro::cancellation_state;
        if (state.cancelled() != asio::cancellation_type::none) {
            throw std::system_error{asio::error::operation_aborted};
        }
        // A complete batch that may not be delivered now needs no deadline.
        auto const until = lacks == records && !so_far.complete ? deadline : (time_point::max)();
        try {
            co_await state_.wait(until, lacks);
        } catch (std::system_error const&) {
            if (!state_.ended()) { // a receive that is cancelled at the end gives the end
                throw;
            }
        }
        allowance_ = turn;
        so_far.complete = so_far.complete || detail::clock::now() >= deadline;
    }
    state_.end_told();
    if (so_far.records != 0 && !detail::is_loss(state_.why_ended())) {
        co_return take<message_batch>(so_far.records);
    }
    drop_rest();
    co_return message_batch{};
}

// `nothing`: what is collected is a batch.
KGROUP_INLINE detail::partition_state::wait_for
message_channel::what_it_lacks(collected& so_far, collect_limits const& limits) {
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
    auto const most = static_cast<std::size_t>(state_.tracker().room(
        limits.records == 0 ? largest_batch : (std::min)(limits.records, largest_batch)));
    count(so_far, limits, most);
    while (!so_far.complete && fill_up(most - so_far.records)) {
        count(so_far, limits, most);
    }
    if (holding()) {
        state_.collected_until(filled_[-1].offset + 1);
    }
    return so_far.complete ? nothing : records;
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

// Takes the records that wait in the partition's queue into a block of their own; null: there were
// none. `expected`: the next offset.
KGROUP_INLINE detail::record_block* message_channel::drain(std::size_t capacity,
                                                           std::int64_t expected) {
    auto& block = state_.take_block(capacity, expected);
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
        return nullptr;
    }
    block.set_fetched(detail::clock::now());
    state_.take(block);
    return &block;
}

// Blocks have few sizes, so that they can be used again.
KGROUP_INLINE std::size_t message_channel::next_fill() const noexcept {
    return std::clamp(std::bit_ceil(last_fill_ * 4), detail::partition_state::smallest_block,
                      detail::partition_state::largest_block);
}

KGROUP_INLINE void message_channel::fill() {
    leave_block();
    state_.all_taken_delivered();
    auto* const block = drain(next_fill(), state_.position());
    if (!block) {
        return;
    }
    block_ = block;
    next_ = &(*block)[0];
    filled_ = next_ + block->size();
    state_.lend(*block);
    if (block->gaps()) {
        state_.explain_gaps(*block); // may throw: the records are at hand by now
    }
}

// Adds at most `most` records behind those at hand, in one block, because a batch is a run of one
// block. Nothing is delivered by that, so the next receive gets all of them.
KGROUP_INLINE bool message_channel::fill_up(std::size_t most) {
    if (!holding()) {
        fill();
        return holding();
    }
    auto const wanted = (std::min)(most, next_fill());
    auto const at_hand = static_cast<std::size_t>(filled_ - next_);
    auto const expected = filled_[-1].offset + 1;
    if (next_ != &(*block_)[0] || block_->room() < wanted) {
        auto& longer = state_.take_block((std::min)(std::bit_ceil(at_hand + wanted), largest_batch),
                                         next_->offset);
        longer.take_over(*block_, next_);
        state_.lend(longer);
        std::exchange(block_, &longer)->end_before(next_);
        next_ = &longer[0];
        filled_ = next_ + at_hand;
    }
    auto* const added = drain(wanted, expected);
    if (!added) {
        return false;
    }
    block_->take_over(*added, &(*added)[0]);
    filled_ = next_ + block_->size();
    state_.lend(*block_);
    auto const gaps = added->gaps();
    if (gaps) {
        state_.explain_gaps(*added, expected);
    }
    state_.give_back(*added);
    return true;
}

KGROUP_INLINE void message_channel::count(collected& so_far, collect_limits const& limits,
                                          std::size_t most) const noexcept {
    auto const at_hand = static_cast<std::size_t>(filled_ - next_);
    auto const bytes = limits.bytes != 0     ? limits.bytes
                       : limits.records != 0 ? (std::numeric_limits<std::size_t>::max)()
                                             : 8 * block_bytes_; // of the claim's share
    so_far.complete = so_far.complete || (so_far.records != 0 && so_far.records >= most);
    while (!so_far.complete && so_far.records != at_hand) {
        auto const& record = next_[so_far.records];
        auto const with_it = so_far.bytes + record.key_size + record.value_size;
        if (so_far.records != 0 && with_it > bytes) {
            so_far.complete = true;
            return;
        }
        so_far.bytes = with_it;
        ++so_far.records;
        so_far.complete = so_far.records >= most || with_it >= bytes;
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
