// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/process/batch_processor.hpp>
#include <kgroup/detail/process/held_off_text.hpp>
#include <kgroup/detail/process/options_check.hpp>
#include <kgroup/error.hpp>
#include <kgroup/event.hpp>
#include <kgroup/failed_at.hpp>

#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_state.hpp>
#include <asio/cancellation_type.hpp>
#include <asio/co_spawn.hpp>
#include <asio/dispatch.hpp>
#include <asio/error.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <algorithm>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace kgroup::detail {

KGROUP_INLINE batch_processor::batch_processor(claim& from, collect_limits const& limits,
                                               for_each_options const& options,
                                               std::unique_ptr<batch_function> function)
    : claim_(from),
      state_(claim_access::state(from)),
      limits_(limits),
      options_(options),
      policy_(options.retry),
      function_(std::move(function)),
      random_(state_->source()->seed()) {
    check(options_.retry);
    if (options.order != order::by_partition) {
        throw std::invalid_argument{
            "kgroup: for_each_batch works on the batches of a claim one after another, so its "
            "order is by_partition"};
    }
}

KGROUP_INLINE batch_processor::~batch_processor() {
    leave_place(); // its context has gone with the run in the middle
    return_granted();
}

KGROUP_INLINE void batch_processor::place_granted() noexcept {
    granted_.store(true);
    state_->notify();
}

KGROUP_INLINE asio::awaitable<void> batch_processor::run() {
    auto const self = shared_from_this();
    // In a coroutine thread of its own: what it does to its cancellation state is not the caller's.
    co_await asio::co_spawn(state_->strand(), self->drive(), asio::use_awaitable);
}

KGROUP_INLINE asio::awaitable<void> batch_processor::drive() {
    auto const self = shared_from_this();
    co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
    co_await asio::this_coro::throw_if_cancelled(false);
    claim_access::check_nothing_undone(claim_);
    state_->figures().processes.set(true);
    for (;;) {
        auto const has_batch = co_await collect();
        if (!has_batch) {
            break;
        }
        claim_access::sole_receiver const alone{claim_};
        while (!batch_.empty()) {
            try {
                if (co_await wait_to_start()) {
                    co_await attempt_once();
                    settle(std::exchange(attempt_failure_, nullptr));
                    co_await send_letters();
                }
            } catch (...) { // no memory, say
                fail(std::current_exception());
            }
            if (over() && !batch_.empty()) {
                state_->leave_undone();
                batch_ = {};
            }
        }
        if (over()) {
            break;
        }
    }
    batch_ = {};
    leave_place();
    if (options_.limit) {
        options_.limit->withdraw(*this);
        return_granted();
    }
    if (!state_->ended()) {
        tell_over();
    }
    if (failure_) {
        std::rethrow_exception(failure_);
    }
    if (cancelled_ && !state_->ended()) {
        throw std::system_error{asio::error::operation_aborted};
    }
}

// false: there is none any more. One that the end of the claim has cut short is not begun.
KGROUP_INLINE asio::awaitable<bool> batch_processor::collect() {
    state_->figures().attempt_since.set({});
    batch_ = co_await claim_.messages().async_collect(limits_);
    state_->figures().attempt_since.set((clock::time_point::max)());
    attempts_ = 0;
    first_failure_ = nullptr;
    first_began_ = {};
    progress_ = clock::now();
    co_return !batch_.empty() && !state_->ended();
}

// false: nothing starts any more.
KGROUP_INLINE asio::awaitable<bool> batch_processor::wait_to_start() {
    while (!over()) {
        auto const due = clock::now() >= not_before_;
        if (due && state_->open() && take_place()) {
            co_return true;
        }
        if (!state_->open()) {
            return_granted();
        }
        co_await rest(due ? (clock::time_point::max)() : not_before_);
    }
    co_return false;
}

KGROUP_INLINE asio::awaitable<void> batch_processor::attempt_once() {
    began_ = clock::now();
    state_->figures().attempts.add(1);
    state_->figures().running.set(1);
    state_->figures().attempt_since.set(began_);
    auto const number = attempts_ + 1;
    attempt const current{number,       number >= options_.retry.attempts, first_failure_,
                          state_.get(), policy_.times_out(began_),         &cancellation_.begin()};
    co_await watch(call(shared_from_this(), current), policy_.times_out(began_));
}

// The dead letters of what was given up. A record is done when its letter is acknowledged.
KGROUP_INLINE asio::awaitable<void> batch_processor::send_letters() {
    auto const failure = std::exchange(given_up_for_, nullptr);
    auto const first_failure = first_failure_;
    auto const attempts = attempts_;
    for (auto left = std::exchange(given_up_, 0); left != 0; --left) {
        if (over()) {
            co_return;
        }
        letter_began_ = clock::now();
        tell_held_letter(*letter_began_);
        co_await watch(letter(shared_from_this(), failure, attempts, first_failure),
                       (clock::time_point::max)());
        letter_began_.reset();
        tell_held_letter(clock::now());
        if (auto const failed = std::exchange(attempt_failure_, nullptr)) {
            if (!over()) { // otherwise it is undone
                failure_ = failed;
            }
            co_return;
        }
        state_->figures().dead_letters.add(1);
        done(1);
    }
}

// Until the work has ended: cancelled when its time is over, and when nothing counts any more.
KGROUP_INLINE asio::awaitable<void> batch_processor::watch(asio::awaitable<void> work,
                                                           clock::time_point until) {
    timed_out_ = false;
    running_ = true;
    asio::co_spawn(
        state_->strand(), std::move(work),
        asio::bind_cancellation_slot(cancellation_.slot(),
                                     [self = shared_from_this()](std::exception_ptr failure) {
                                         self->attempt_failure_ = std::move(failure);
                                         self->running_ = false;
                                         self->state_->notify();
                                     }));
    auto told_end = false;
    while (running_) {
        co_await rest(timed_out_ || told_end ? (clock::time_point::max)() : until);
        if (!running_ || told_end) {
            continue;
        }
        told_end = cancelled_ || (state_->ended() && is_loss(state_->why_ended()));
        auto const times_out = !told_end && !timed_out_ && clock::now() >= until;
        timed_out_ = timed_out_ || times_out;
        if (told_end || times_out) {
            cancellation_.cancel();
        }
    }
}

KGROUP_INLINE asio::awaitable<void> batch_processor::letter(std::shared_ptr<batch_processor> self,
                                                            std::exception_ptr failure,
                                                            std::uint32_t attempts,
                                                            std::exception_ptr first_failure) {
    co_await self->options_.dead_letters->send(self->batch_[0], failure, attempts, first_failure);
}

KGROUP_INLINE asio::awaitable<void> batch_processor::call(std::shared_ptr<batch_processor> self,
                                                          attempt current) {
    std::exception_ptr failure;
    try {
        if (self->function_->waits()) {
            co_await self->function_->start(self->batch_, current, self->elsewhere_);
        } else {
            self->function_->call(self->batch_, current);
        }
    } catch (...) {
        failure = std::current_exception();
    }
    if (!self->state_->on_strand()) { // the function has ended elsewhere
        co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
        co_await asio::this_coro::throw_if_cancelled(false);
        co_await asio::dispatch(self->state_->strand(), asio::use_awaitable);
    }
    if (failure) {
        std::rethrow_exception(failure);
    }
}

// Until something has happened, or the time.
KGROUP_INLINE asio::awaitable<void> batch_processor::rest(clock::time_point until) {
    auto cancelled = false;
    try {
        until = (std::min)(until, held_letter_.next_look().value_or(until));
        co_await state_->wait((std::min)(until, progress_ + stall_after),
                              partition_state::wait_for::own_work);
    } catch (std::system_error const& error) {
        cancelled = error.code() == asio::error::operation_aborted;
        if (!cancelled) { // no memory
            fail(std::current_exception());
        }
    } catch (...) {
        fail(std::current_exception());
    }
    state_->wait_over();
    if (cancelled) {
        auto const type = (co_await asio::this_coro::cancellation_state).cancelled();
        co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
        // At the end of the claim a handler is told twice: first that it ends, with `total`.
        cancelled_ = cancelled_ || !state_->ended() ||
                     (type & asio::cancellation_type::terminal) != asio::cancellation_type::none;
    }
    try {
        tell_stall(clock::now());
        tell_held_letter(clock::now());
    } catch (...) {
        fail(std::current_exception());
    }
}

// It cannot go on; what runs is cancelled, and awaited.
KGROUP_INLINE void batch_processor::fail(std::exception_ptr failure) {
    if (!failure_) {
        failure_ = std::move(failure);
    }
    cancelled_ = true;
}

KGROUP_INLINE bool batch_processor::take_place() {
    if (!options_.limit) {
        return true;
    }
    if (granted_.exchange(false)) {
        asked_for_place_ = false;
        return has_place_ = true;
    }
    if (!asked_for_place_) {
        has_place_ = options_.limit->take(shared_from_this());
        asked_for_place_ = !has_place_;
    }
    return has_place_;
}

KGROUP_INLINE void batch_processor::leave_place() noexcept {
    if (std::exchange(has_place_, false)) {
        options_.limit->give_back();
    }
}

// It may not begin now.
KGROUP_INLINE void batch_processor::return_granted() noexcept {
    if (granted_.exchange(false)) {
        asked_for_place_ = false;
        options_.limit->give_back();
    }
}

// What becomes of the batch after an attempt.
KGROUP_INLINE void batch_processor::settle(std::exception_ptr failure) {
    leave_place();
    if (!batch_access::in_place(batch_)) {
        return fail(std::make_exception_ptr(
            std::logic_error{"kgroup: the function of for_each_batch has moved messages of its "
                             "batch; what of them is done cannot be told"}));
    }
    observe(failure);
    if (!failure) {
        return passed();
    }
    auto concerned = batch_.size(); // nobody says which
    try {
        std::rethrow_exception(failure);
    } catch (failed_at const& told) {
        if (told.index() < batch_.size()) {
            done(told.index());
            concerned = 1;
            failure = told.cause() ? told.cause() : failure;
        }
    } catch (...) {
    }
    if (!over()) { // otherwise it is not counted, and undone
        failed(std::move(failure), concerned);
    }
}

// An attempt has ended.
KGROUP_INLINE void batch_processor::observe(std::exception_ptr failure) {
    auto const took = clock::now() - began_;
    auto& shown = state_->figures();
    shown.running.set(0);
    shown.attempt_since.set((clock::time_point::max)()); // until the next begins
    shown.handling.add(took);
    shown.attempts_failed.add(failure ? 1 : 0);
    if (state_->observed().hears_handled()) {
        if (failure && timed_out_) {
            failure = std::make_exception_ptr(std::system_error{errc::attempt_timed_out});
        }
        state_->observed().handled({batch_[0], batch_.size(), took, failure, attempts_ + 1});
    }
}

KGROUP_INLINE void batch_processor::passed() {
    if (std::exchange(held_off_, 0) != 0) {
        report(event_kind::processing_resumed, severity::info, {}, "an attempt has passed");
    }
    done(batch_.size());
}

KGROUP_INLINE void batch_processor::failed(std::exception_ptr failure, std::size_t concerned) {
    if (timed_out_) {
        failure = std::make_exception_ptr(std::system_error{errc::attempt_timed_out});
    }
    auto const meaning = timed_out_ ? failure_class::retry : options_.retry.classify(failure);
    if (meaning == failure_class::not_now) {
        return hold_off(failure);
    }
    if (attempts_++ == 0) {
        first_failure_ = failure;
        first_began_ = began_;
    }
    auto const due = meaning == failure_class::give_up
                         ? std::nullopt
                         : policy_.next_attempt(attempts_, first_began_, clock::now(), random());
    if (due) {
        not_before_ = *due;
    } else {
        give_up_on(concerned, std::move(failure));
    }
}

KGROUP_INLINE void batch_processor::hold_off(std::exception_ptr const& failure) {
    auto [reason, code] = describe_exception(failure);
    if (++held_off_ == 1 || held_off_reason_ != reason) {
        report(event_kind::processing_held, severity::warning, code,
               held_off_text(batch_[0].offset(), reason));
    }
    held_off_reason_ = std::move(reason);
    not_before_ = clock::now() + policy_.wait(held_off_, random());
}

// The one place where records are given up: so many, from the first one on.
KGROUP_INLINE void batch_processor::give_up_on(std::size_t concerned, std::exception_ptr failure) {
    if (options_.dead_letters) {
        given_up_ = concerned;
        given_up_for_ = std::move(failure);
        return;
    }
    if (options_.retry.give_up == give_up::end) {
        failure_ = std::move(failure);
        return;
    }
    auto const [text, code] = describe_exception(failure);
    for (std::size_t i = 0; i != concerned; ++i) {
        report(event_kind::record_skipped, severity::error, code,
               "offset " + std::to_string(batch_[i].offset()) + " is given up after " +
                   std::to_string(attempts_) + " attempts: " + text);
    }
    done(concerned);
}

// So many from the first one on; what is left begins anew.
KGROUP_INLINE void batch_processor::done(std::size_t count) {
    if (count == 0) {
        return;
    }
    state_->figures().residence.add(clock::now() - record_access::of(batch_[0])->block->fetched(),
                                    count);
    if (!is_loss(state_->why_ended())) {
        claim_.mark(batch_[count - 1]);
    }
    batch_access::drop_front(batch_, count);
    attempts_ = 0;
    first_failure_ = nullptr;
    first_began_ = {};
    not_before_ = {};
    goes_on("records are done again");
}

// The claim goes on without it: what it has begun to tell is over.
KGROUP_INLINE void batch_processor::tell_over() {
    auto const text = "for_each_batch has ended";
    if (held_off_ != 0) {
        report(event_kind::processing_resumed, severity::info, {}, text);
    }
    if (stalled_) {
        report(event_kind::claim_resumed, severity::info, {}, text);
    }
}

KGROUP_INLINE void batch_processor::goes_on(char const* reason) {
    progress_ = clock::now();
    if (std::exchange(stalled_, false)) {
        report(event_kind::claim_resumed, severity::info, {}, reason);
    }
}

// A handler that makes no progress is told by the group; here it is known what holds it up.
KGROUP_INLINE void batch_processor::tell_stall(clock::time_point now) {
    if (!state_->open()) {
        goes_on("the claim is paused, or has ended");
    } else if (now - progress_ >= stall_after) {
        progress_ = now;
        stalled_ = true;
        report(event_kind::claim_stalled, severity::warning, {}, describe());
    }
}

KGROUP_INLINE std::string batch_processor::describe() const {
    auto text = "no record was done in 30 s; the oldest undone one is offset " +
                std::to_string(batch_[0].offset()) + ", the first of " +
                std::to_string(batch_.size()) + " in its batch, ";
    if (letter_began_) {
        text += "whose dead letter is under way";
    } else if (running_) {
        text += "attempt " + std::to_string(attempts_ + 1) + " runs";
    } else {
        text += "which waits after " + std::to_string(attempts_) + " failed attempts";
    }
    if (asked_for_place_) {
        text += "; it waits for a place under the limit";
    }
    if (held_off_ != 0) {
        text += "; the function said not_now: " + held_off_reason_;
    }
    return text;
}

KGROUP_INLINE void batch_processor::tell_held_letter(clock::time_point now) {
    switch (held_letter_.look(letter_began_, now)) {
    case held_letter_watch::news::held: {
        auto const trouble = options_.dead_letters->trouble(now - *letter_began_);
        return report(event_kind::dead_letter_held, severity::warning, trouble.error,
                      held_letter_text(batch_[0].offset(), trouble));
    }
    case held_letter_watch::news::over:
        return report(event_kind::dead_letter_sent, severity::info, {},
                      "no dead letter of the claim is held any more");
    case held_letter_watch::news::none:
        break;
    }
}

KGROUP_INLINE void batch_processor::report(event_kind kind, severity level, std::error_code error,
                                           std::string text) {
    state_->report({kind, level, state_->where(), error, std::move(text)});
}

} // namespace kgroup::detail
