// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/async_operation.hpp>
#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/claim/partition_state.hpp>
#include <kgroup/end_reason.hpp>
#include <kgroup/message.hpp>
#include <kgroup/message_channel.hpp>

#include <asio/async_result.hpp>
#include <asio/awaitable.hpp>
#include <asio/cancellation_state.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <utility>

namespace kgroup {

namespace detail {
struct claim_access;
}

/// One partition for the time in which this member owns it: what a handler's `consume_claim` is
/// given.
///
/// *Marks.* `mark` is cumulative: everything up to the record is done. `ack` is for work that
/// finishes out of order: this record is done, and what may be committed ends where the unbroken
/// run of acknowledged records ends. The first of the two fixes which it is for this claim
/// (`session::mark_message` and `session::mark_offset` count as `mark`); the other is refused from
/// then on. A mark that does not count (wrong mode, a claim that has ended, a message of another
/// claim) is counted in `group_stats::marks_refused` and reported as `event_kind::mark_refused`; it
/// is never committed. What is marked is committed in the background
/// (`config::auto_commit_interval`) and when the claim ends.
///
/// *Thread safety.* Marks and all `const` members: safe from any thread. `messages()`: see
/// `message_channel`.
///
/// *Lifetime.* It lives until the frame of its `consume_claim` is gone; a reference must not be
/// kept beyond.
class claim {
public:
    claim(claim const&) = delete;
    claim& operator=(claim const&) = delete;

    /// The topic's name; valid for as long as the claim.
    std::string_view topic() const noexcept { return state_->topic(); }
    /// The partition's number in its topic.
    std::int32_t partition() const noexcept { return state_->partition(); }

    /// The offset at which this claim began to read: the committed one, or what `setup` made of it,
    /// or where `config::initial_offset` says. -1: it was left to librdkafka to find out, and no
    /// record has come yet.
    std::int64_t initial_offset() const noexcept { return state_->initial_offset(); }
    /// One more than the last offset in the partition's log, as far as is known from the last
    /// fetch; -1: not known yet.
    std::int64_t high_water_mark_offset() const noexcept {
        return state_->source()->known_watermarks().high;
    }
    /// The number of offsets between the last delivered record and the high water mark; -1: not
    /// known yet. Offsets without a record to deliver (control records, aborted transactions) count
    /// until the claim has reached the end of the log. Then the claim skips them, and commits an
    /// offset behind them when everything before is marked or acknowledged.
    std::int64_t lag() const noexcept {
        auto const high = high_water_mark_offset();
        auto const position = state_->position();
        return high < 0 || position < 0 ? -1 : high > position ? high - position : 0;
    }

    /// The number of delivered records that are neither marked nor acknowledged. A claim that is
    /// marked counts offsets, so gaps between offsets may make the number too large. The call takes
    /// a lock and looks at each record in flight: use it for a report, not for each record. Any
    /// thread.
    std::uint64_t undone() const noexcept { return state_->tracker().undone(state_->position()); }

    /// The metadata that was committed with the offset at which the last owner stopped; empty if
    /// there was none.
    std::string_view committed_metadata() const noexcept { return state_->committed_metadata(); }

    /// The messages.
    message_channel& messages() noexcept { return messages_; }

    /// Everything up to and with this message is done. Lock-free, allocates nothing, unless it is
    /// refused: then it is counted and reported. Lower than an earlier mark: no effect.
    void mark(message const& done) {
        auto const& record = *detail::record_access::of(done);
        report(owns(record) ? state_->tracker().mark(record.offset + 1, record.epoch)
                            : mark_result::refused_ended);
    }
    /// The same, with metadata: a text that is committed with the offset, and that the next owner
    /// can read (`committed_metadata`). Takes a lock and may allocate.
    ///
    /// @throws std::bad_alloc; then nothing was marked.
    void mark(message const& done, std::string_view metadata) {
        auto const& record = *detail::record_access::of(done);
        report(owns(record) ? state_->tracker().mark(record.offset + 1, metadata, record.epoch)
                            : mark_result::refused_ended);
    }

    /// Marks only this record as done; earlier ones may still be open. Lock-free, unless it is
    /// refused or the channel waits for it; allocates only when more records are in flight than
    /// ever before. A second one for the same message: no effect. When 65,536 delivered records are
    /// not acknowledged, the channel waits until one of them is.
    ///
    /// @throws std::bad_alloc; then nothing was acknowledged.
    void ack(message const& done) {
        auto& record = *detail::record_access::of(done);
        if (!owns(record)) {
            return report(mark_result::refused_ended);
        }
        if (record.acked.exchange(true, std::memory_order_relaxed)) {
            return;
        }
        auto result = mark_result::ignored;
        try {
            result = state_->tracker().ack(record.offset, record.block->sequence_of(record),
                                           record.epoch);
        } catch (...) {
            record.acked.store(false, std::memory_order_relaxed); // it may be tried again
            throw;
        }
        report(result);
        if (result == mark_result::accepted && state_->tracker().window_opened()) {
            state_->notify();
        }
    }

    /// Why the claim has ended: `revoked` and most others leave time to finish what is held
    /// (`config::rebalance_deadline`); `lost` and `group_failed` do not: nothing more will be
    /// committed.
    kgroup::end_reason end_reason() const noexcept { return state_->why_ended(); }

    /// Until when the handler has time to finish what it holds: the deadline of the revocation or
    /// of the stop (`config::rebalance_deadline`, `config::close_timeout`), at which it is
    /// cancelled. Stays as it is when it is over. nullopt: the claim has not ended. After a loss
    /// there is no time: now.
    ///
    /// By the steady clock, so that a timer can be set to it. In a test that moves the clock
    /// (`testing::advance`) each call says what is left from then on.
    std::optional<std::chrono::steady_clock::time_point> finish_by() const noexcept {
        auto const by = state_->finish_by();
        return by ? std::optional{detail::clock::steady(*by)} : std::nullopt;
    }

    /// Waits until the claim has ended: until the partition is revoked or lost, the session ends,
    /// or the group is stopped; completes at once if it has. Use it where something must stop with
    /// the claim: a retry loop, a timer, work on a pool. `end_reason` and `finish_by` then say why,
    /// and how much time is left.
    ///
    /// Completes on the executor of the coroutine that awaits it.
    ///
    /// Errors: `asio::error::operation_aborted` when it is cancelled; otherwise only lack of
    /// memory.
    /// Cancellation: total.
    /// Thread safety: any number of coroutines may wait, on any executors and threads.
    /// Lifetime: begun while the claim lives, it may outlast it, and completes when the ownership
    /// ends.
    asio::awaitable<void> async_wait_ended() { return detail::partition_state::wait_ended(state_); }

    /// The same with a completion token, on the claim's strand. Completion signature:
    /// `void(std::error_code)`.
    template <asio::completion_token_for<void(std::error_code)> CompletionToken>
    auto async_wait_ended(CompletionToken&& token) {
        return detail::async_operation(state_->strand(), asio::enable_total_cancellation(),
                                       async_wait_ended(), std::forward<CompletionToken>(token));
    }

    /// For the library: the claim over a partition that is owned.
    claim(std::shared_ptr<detail::partition_state> state, std::size_t block_bytes)
        : state_(std::move(state)),
          messages_(*state_, block_bytes) {}

private:
    friend struct detail::claim_access;
    bool owns(detail::record const& record) const noexcept {
        return &record.block->state() == state_.get();
    }

    void report(mark_result result) const {
        if (result >= mark_result::refused_ended) [[unlikely]] {
            state_->refuse(result);
        }
    }

    std::shared_ptr<detail::partition_state> state_;
    message_channel messages_;
};

namespace detail {

/// The one door between claims and the algorithms over them.
struct claim_access {
    static std::shared_ptr<partition_state> const& state(claim const& claim) noexcept {
        return claim.state_;
    }
    /// While it lives nobody else receives from the claim: `errc::receive_in_progress`, which it
    /// throws itself where somebody does already. Claim's strand.
    class sole_receiver {
    public:
        explicit sole_receiver(claim& from) : under_way_(from.messages_) {}

    private:
        message_channel::outstanding_receive under_way_;
    };
    /// @throws std::logic_error where an algorithm has left records undone: what comes behind them
    /// would be committed over them.
    static void check_nothing_undone(claim const& claim) {
        if (claim.state_->left_undone()) {
            throw std::logic_error{
                "kgroup: an earlier for_each of this claim has ended with records undone; none can "
                "go on behind them"};
        }
    }
    /// Whether the channel has records at hand, so that `try_receive` takes no new block.
    static bool holds_records(claim const& claim) noexcept { return claim.messages_.holding(); }
};

} // namespace detail

} // namespace kgroup
