// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/auto_reset_event.hpp>
#include <kgroup/detail/asio/manual_reset_event.hpp>
#include <kgroup/detail/claim/partition_state.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/cancellation_type.hpp>

#include <atomic>
#include <cstdint>
#include <memory>
#include <random>
#include <utility>

namespace kgroup::detail {

KGROUP_INLINE std::uint32_t record_source::seed() const { return std::random_device{}(); }

KGROUP_INLINE
partition_state::partition_state(topic_partition where, asio::any_io_executor const& executor,
                                 tracked_offset committed, std::weak_ptr<claim_observer> observer)
    : where_(std::move(where)),
      waiting_place_(auto_reset_event::make(executor)),
      observer_(std::move(observer)),
      committed_before_(committed.next),
      metadata_(committed.metadata),
      tracker_(default_ack_window, std::move(committed)) {}

KGROUP_INLINE asio::any_io_executor const& partition_state::strand() const noexcept {
    return waiting_place_->strand();
}

KGROUP_INLINE bool partition_state::on_strand() const noexcept {
    return waiting_place_->on_strand();
}

KGROUP_INLINE void partition_state::notify() noexcept { waiting_place_->notify(); }

KGROUP_INLINE void partition_state::end_told() noexcept { waiting_place_->told(); }

KGROUP_INLINE void partition_state::begin_receive() noexcept { waiting_place_->begin_operation(); }

KGROUP_INLINE void partition_state::end_receive() noexcept { waiting_place_->end_operation(); }

KGROUP_INLINE void partition_state::tell_kept() noexcept { waiting_place_->tell_kept(); }

KGROUP_INLINE void partition_state::cancel(asio::cancellation_type type) noexcept {
    waiting_place_->cancel(type);
}

KGROUP_INLINE bool partition_state::cancel_pending() const noexcept {
    return waiting_place_->cancel_pending();
}

KGROUP_INLINE asio::awaitable<bool> partition_state::wait(clock::time_point deadline,
                                                          wait_for cause) {
    waits_for_.store(cause, std::memory_order_relaxed);
    return waiting_place_->wait(deadline);
}

KGROUP_INLINE asio::awaitable<void>
partition_state::wait_ended(std::shared_ptr<partition_state> state) {
    co_await state->ended_.wait();
}

} // namespace kgroup::detail
