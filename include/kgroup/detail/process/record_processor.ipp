// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/process/held_off_text.hpp>
#include <kgroup/detail/process/options_check.hpp>
#include <kgroup/detail/process/record_copy.hpp>
#include <kgroup/detail/process/record_processor.hpp>
#include <kgroup/error.hpp>
#include <kgroup/event.hpp>

#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_state.hpp>
#include <asio/cancellation_type.hpp>
#include <asio/co_spawn.hpp>
#include <asio/dispatch.hpp>
#include <asio/error.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <algorithm>
#include <functional>
#include <iterator>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace kgroup::detail {

KGROUP_INLINE record_processor::record_processor(claim& from, for_each_options const& options,
                                                 std::unique_ptr<processed_function> function)
    : claim_(from),
      state_(claim_access::state(from)),
      options_(options),
      policy_(options.retry),
      function_(std::move(function)),
      random_(state_->source()->seed()),
      seed_(random_()) {
    check(options_);
}

KGROUP_INLINE record_processor::~record_processor() {
    if (!options_.limit) {
        return;
    }
    // Its context may have gone with the run in the middle.
    return_granted();
    return_places();
    for (auto const* running = schedule_.running().front(); running;
         running = running->place.next) {
        if (running->has_place) {
            give_place_back();
        }
    }
}

KGROUP_INLINE void record_processor::place_granted() noexcept {
    places_.fetch_add(1);
    granted_.store(1);
    state_->notify();
}

// The driver.

KGROUP_INLINE asio::awaitable<void> record_processor::run() {
    auto const self = shared_from_this();
    // In a coroutine thread of its own: what it does to its cancellation state is not the caller's.
    co_await asio::co_spawn(state_->strand(), self->drive(), asio::use_awaitable);
}

KGROUP_INLINE asio::awaitable<void> record_processor::drive() {
    auto const self = shared_from_this();
    // Nobody but this object knows the workers that are parked, and each of them keeps it: when the
    // context goes with the run in the middle, they go with this frame.
    workers_dropped const over{*this};
    claim_access::sole_receiver const alone{claim_};
    claim_access::check_nothing_undone(claim_);
    co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
    co_await asio::this_coro::throw_if_cancelled(false);
    progress_ = clock::now();
    state_->figures().processes.set(true);
    for (;;) {
        try {
            look_around();
            start_what_may();
        } catch (...) { // no memory, say
            fail(std::current_exception());
        }
        if (ending_ != ending::none && schedule_.running_count() == 0) {
            release_workers();
            if (live_workers_ == 0) {
                break;
            }
        }
        if (obstacle_ == obstacle::turn) {
            state_->notify();
        }
        auto cancelled = false;
        try {
            armed_until_ = next_deadline();
            co_await state_->wait(armed_until_.value_or((clock::time_point::max)()),
                                  partition_state::wait_for::own_work);
        } catch (std::system_error const& error) {
            cancelled = error.code() == asio::error::operation_aborted;
            if (!cancelled) {
                fail(std::current_exception());
            }
        } catch (...) {
            fail(std::current_exception());
        }
        state_->wait_over();
        turn_left_ = turn;
        if (cancelled) {
            auto const type = (co_await asio::this_coro::cancellation_state).cancelled();
            co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
            // At the end of the claim a handler is told twice: first that it ends, with `total`.
            if ((type & asio::cancellation_type::terminal) != asio::cancellation_type::none ||
                !state_->ended()) {
                begin_ending(state_->ended() ? ending::claim : ending::cancelled);
                cancel_running();
            }
        }
    }
    state_->figures().attempt_since.set({});
    if (!state_->ended()) {
        tell_over();
    }
    if (failure_) {
        std::rethrow_exception(failure_);
    }
    if (ending_ == ending::cancelled) {
        throw std::system_error{asio::error::operation_aborted};
    }
}

// What the time and the claim have brought.
KGROUP_INLINE void record_processor::look_around() {
    auto const now = clock::now();
    if (state_->ended()) {
        begin_ending(ending::claim);
        if (is_loss(state_->why_ended())) {
            cancel_running();
        }
    }
    if (ending_deadline_ && now >= *ending_deadline_) {
        ending_deadline_.reset();
        cancel_running();
    }
    time_out_attempts(now);
    tell_stall(now);
    tell_held_letters(now);
}

// Nothing starts any more, and what has not begun is given up undone.
KGROUP_INLINE void record_processor::begin_ending(ending why) {
    if (ending_ != ending::none) {
        return;
    }
    ending_ = why;
    auto dropped = schedule_.clear();
    while (auto* const undone = dropped.pop_front()) {
        state_->leave_undone();
        release(*undone);
    }
    if (options_.limit) {
        options_.limit->withdraw(*this);
        return_granted();
    }
}

// It cannot go on, and is over as soon as its workers are.
KGROUP_INLINE void record_processor::fail(std::exception_ptr failure) {
    if (!failure_) {
        failure_ = std::move(failure);
    }
    begin_ending(ending::failure);
    cancel_running();
}

// The claim goes on without it: what it has begun to tell is over.
KGROUP_INLINE void record_processor::tell_over() {
    auto const text = "for_each has ended";
    if (hold_off_) {
        report(event_kind::processing_resumed, severity::info, {}, text);
    }
    if (stalled_) {
        report(event_kind::claim_resumed, severity::info, {}, text);
    }
    if (held_letters_.held()) {
        report(event_kind::dead_letter_sent, severity::info, {}, text);
    }
}

KGROUP_INLINE void record_processor::cancel_running() {
    if (std::exchange(cancelled_running_, true)) {
        return;
    }
    for (auto const* const under_way : {&schedule_.running(), &schedule_.letters()}) {
        for (auto* running = under_way->front(); running; running = running->place.next) {
            running->cancellation->cancel();
        }
    }
}

KGROUP_INLINE void record_processor::start_what_may() {
    while (auto* const started = next(clock::now())) {
        give(*started);
    }
}

KGROUP_INLINE void record_processor::release_workers() {
    while (!idle_workers_.empty()) {
        auto& idle = *idle_workers_.back();
        idle_workers_.pop_back();
        idle.parked.resume({}, true);
    }
}

KGROUP_INLINE void record_processor::drop_idle_workers() {
    for (auto* const idle : std::exchange(idle_workers_, {})) {
        idle->parked.drop();
    }
}

KGROUP_INLINE std::optional<clock::time_point> record_processor::next_deadline() const {
    std::optional<clock::time_point> nearest;
    auto const consider = [&](std::optional<clock::time_point> time) {
        if (time && (!nearest || *time < *nearest)) {
            nearest = time;
        }
    };
    // Nothing that is over already and still cannot go on: the driver would not come to rest.
    if (hold_off_ && !hold_off_->probe && obstacle_ == obstacle::held_off) {
        consider(hold_off_->until);
    }
    if (schedule_.running_count() < options_.in_flight) {
        consider(schedule_.next_due());
    }
    if (!cancelled_running_) {
        for (auto const* running = schedule_.running().front(); running;
             running = running->place.next) {
            if (!running->timed_out) { // those before were cancelled already
                consider(policy_.times_out(running->time));
                break;
            }
        }
    }
    consider(ending_deadline_);
    consider(held_letters_.next_look());
    if (schedule_.size() != 0 && ending_ == ending::none) {
        consider(progress_ + stall_after);
    }
    return nearest;
}

KGROUP_INLINE void record_processor::time_out_attempts(clock::time_point now) {
    if (cancelled_running_) {
        return;
    }
    // They began in this order, and all have the same time.
    for (auto* running = schedule_.running().front();
         running && policy_.times_out(running->time) <= now; running = running->place.next) {
        if (!std::exchange(running->timed_out, true)) {
            running->cancellation->cancel();
        }
    }
}

// A handler that makes no progress is told by the group; here it is known what holds it up.
KGROUP_INLINE void record_processor::tell_stall(clock::time_point now) {
    auto const* const oldest = schedule_.by_age().front();
    if (finished_ != finished_before_ || !oldest || !state_->open()) {
        finished_before_ = finished_;
        progress_ = now;
        if (std::exchange(stalled_, false)) {
            report(event_kind::claim_resumed, severity::info, {}, "records are done again");
        }
    } else if (now - progress_ >= stall_after) {
        progress_ = now;
        stalled_ = true;
        report(event_kind::claim_stalled, severity::warning, {}, describe(*oldest, now));
    }
}

// The producer reports the letter and why it is not delivered. The claim reports that it waits for
// one.
KGROUP_INLINE void record_processor::tell_held_letters(clock::time_point now) {
    auto const* const oldest = schedule_.letters().front();
    switch (held_letters_.look(oldest ? std::optional{oldest->letter_began} : std::nullopt, now)) {
    case held_letter_watch::news::held: {
        auto const trouble = options_.dead_letters->trouble(now - oldest->letter_began);
        return report(event_kind::dead_letter_held, severity::warning, trouble.error,
                      held_letter_text(oldest->record->offset(), trouble));
    }
    case held_letter_watch::news::over:
        return report(event_kind::dead_letter_sent, severity::info, {},
                      "no dead letter of the claim is held any more");
    case held_letter_watch::news::none:
        break;
    }
}

// Workers.

KGROUP_INLINE void record_processor::give(task& started) {
    if (!idle_workers_.empty()) {
        auto& idle = *idle_workers_.back();
        idle_workers_.pop_back();
        idle.current = &started;
        started.cancellation = &idle.cancellation;
        return idle.parked.resume(
            {}, true); // comes back when its attempt waits, or there is nothing to do
    }
    try {
        auto& added = *workers_.emplace_back(std::make_unique<worker>());
        added.current = &started;
        started.cancellation = &added.cancellation;
        asio::co_spawn(state_->strand(), work(shared_from_this(), added),
                       asio::bind_cancellation_slot(
                           added.cancellation.slot(),
                           [self = shared_from_this(), &added](std::exception_ptr failure) {
                               self->worker_ended(added, failure);
                           }));
    } catch (...) { // no memory, and so nobody to work on it
        give_up_undone(started);
        throw;
    }
}

KGROUP_INLINE asio::awaitable<void> record_processor::work(std::shared_ptr<record_processor> self,
                                                           worker& me) {
    ++self->live_workers_;
    while (me.current) {
        auto& current = *me.current;
        std::exception_ptr failure;
        auto may_start = true;
        try {
            may_start = !current.key_failed || self->enter_lane(current);
            if (may_start) {
                auto const attempt = self->attempt_at(current, me);
                if (self->function_->waits()) {
                    co_await self->function_->start(*current.record, attempt, me.elsewhere);
                } else {
                    self->function_->call(*current.record, attempt);
                }
            }
        } catch (...) {
            failure = std::current_exception();
        }
        if (!self->state_->on_strand()) { // the function has ended elsewhere
            co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
            co_await asio::this_coro::throw_if_cancelled(false);
            co_await asio::dispatch(self->state_->strand(), asio::use_awaitable);
        }
        // Each attempt begins with a fresh state, and the function may have changed it.
        co_await asio::this_coro::reset_cancellation_state(asio::enable_terminal_cancellation());
        co_await asio::this_coro::throw_if_cancelled(true);
        auto before = self->obstacle_;
        auto now = clock::now(); // when this attempt has ended, and the next one begins
        if (may_start) {
            self->settle(current, failure, now);
        } else {
            self->leave(current); // it waits in its lane
        }
        if (current.given_up) {
            failure = nullptr;
            self->return_places();
            self->state_->notify(); // what it held up goes on meanwhile
            try {
                co_await self->options_.dead_letters->send(*current.record, current.given_up,
                                                           current.attempts, current.first_failure);
            } catch (...) {
                failure = std::current_exception();
            }
            co_await asio::this_coro::reset_cancellation_state(
                asio::enable_terminal_cancellation());
            before = self->obstacle_;
            now = clock::now();
            self->letter_over(current, failure, now);
            if (self->held_letters_.held()) {
                self->tell_held_letters(now);
            }
        }
        me.current = nullptr; // it is settled
        me.current = self->next(now);
        self->return_places();
        if (self->concerns_driver(before)) {
            self->state_->notify();
        }
        if (me.current) {
            me.current->cancellation = &me.cancellation;
        } else {
            co_await self->park(me);
        }
    }
}

KGROUP_INLINE asio::awaitable<bool> record_processor::park(worker& me) {
    idle_workers_.push_back(&me);
    return asio::async_initiate<decltype(asio::use_awaitable), void(std::error_code, bool)>(
        [&me](auto handler) { me.parked.keep(std::move(handler)); }, asio::use_awaitable);
}

KGROUP_INLINE void record_processor::worker_ended(worker& ended, std::exception_ptr failure) {
    --live_workers_;
    if (failure) { // no memory, say: in the function it would be the function's failure
        if (auto* const unsettled = std::exchange(ended.current, nullptr)) {
            give_up_undone(*unsettled);
        }
        return_places();
        fail(std::move(failure));
    }
    state_->notify();
}

// Records.

KGROUP_INLINE task* record_processor::next(clock::time_point now) {
    schedule_.make_due_ready(now);
    obstacle_ = find_next();
    if (obstacle_ != obstacle::none) {
        if (obstacle_ != obstacle::place && obstacle_ != obstacle::turn) {
            return_granted();
        }
        show_figures();
        return nullptr;
    }
    --turn_left_;
    auto& started = schedule_.start_next(now);
    started.has_place = options_.limit != nullptr;
    if (hold_off_) {
        hold_off_->probe = &started;
    }
    state_->figures().attempts.add(1);
    show_figures();
    return &started;
}

KGROUP_INLINE void record_processor::show_figures() noexcept {
    auto& shown = state_->figures();
    shown.running.set(schedule_.running_count());
    shown.busy_lanes.set(schedule_.busy_lanes());
    shown.parked_keys.set(schedule_.parked_lanes());
    shown.waiting_for_retry.set(schedule_.waiting_for_retry());
    shown.hottest_key_share.set(schedule_.size() == 0
                                    ? 0
                                    : static_cast<double>(schedule_.longest_lane()) /
                                          static_cast<double>(schedule_.size()));
    shown.attempt_since.set(attempt_since());
}

// See `claim_figures`.
KGROUP_INLINE clock::time_point record_processor::attempt_since() const noexcept {
    if (auto const* const oldest = schedule_.running().front()) {
        return oldest->time;
    }
    auto const waits_outside = hold_off_ || asked_for_place_ || !schedule_.letters().empty() ||
                               schedule_.waiting_for_retry() != 0;
    return waits_outside ? (clock::time_point::max)() : clock::time_point{};
}

KGROUP_INLINE record_processor::obstacle record_processor::find_next() {
    if (ending_ != ending::none) {
        return obstacle::ending;
    }
    if (!state_->open()) {
        return obstacle::no_record;
    }
    if (schedule_.running_count() >= options_.in_flight) {
        return obstacle::in_flight;
    }
    if (turn_left_ == 0) {
        return obstacle::turn;
    }
    if (hold_off_ && (hold_off_->probe || clock::now() < hold_off_->until)) {
        return obstacle::held_off;
    }
    if (!schedule_.has_ready()) {
        if (options_.order == order::by_partition && schedule_.size() != 0) {
            return obstacle::in_flight; // the one before runs, or waits for a retry
        }
        if (auto const why = take_record(); why != obstacle::none) {
            return why;
        }
    }
    return options_.limit && !take_place() ? obstacle::place : obstacle::none;
}

// Takes records until one may start.
KGROUP_INLINE record_processor::obstacle record_processor::take_record() {
    for (;;) {
        auto const held = schedule_.held_bytes();
        if (held != 0 && held >= options_.held_bytes) {
            return obstacle::held_bytes;
        }
        auto const* const oldest = schedule_.by_age().front();
        if (oldest && taken_ - oldest->sequence >= options_.replay) {
            return obstacle::replay;
        }
        if (!claim_access::holds_records(claim_)) {
            copy_what_waits();
        }
        auto& taken = new_task();
        taken.record = claim_.messages().try_receive();
        if (!taken.record) {
            release(taken);
            return obstacle::no_record;
        }
        taken.sequence = taken_++;
        taken.fetched = record_access::of(*taken.record)->block->fetched();
        taken.bytes = taken.record->key().size() + taken.record->value().size() + task_overhead;
        if (options_.order == order::by_key) {
            try {
                find_lane(taken);
            } catch (...) {
                taken.key_failed = true; // told as the failure of its first attempt
            }
        }
        if (schedule_.add(taken)) {
            return obstacle::none;
        }
    }
}

KGROUP_INLINE void record_processor::find_lane(task& taken) {
    auto const& record = *taken.record;
    auto const key = options_.key       ? options_.key(record)
                     : record.has_key() ? std::optional{record.key()}
                                        : std::nullopt;
    if (key) {
        taken.lane = std::hash<std::string_view>{}(*key) ^ seed_;
    } else if (options_.null_keys == null_keys::one_lane) {
        taken.lane = seed_;
    }
}

KGROUP_INLINE bool record_processor::enter_lane(task& running) {
    find_lane(running);
    running.key_failed = false;
    return !running.lane || schedule_.enter_lane(running);
}

KGROUP_INLINE bool record_processor::take_place() {
    if (left_places_ != 0) {
        --left_places_;
        if (options_.limit->keep(places_.load())) {
            return true;
        }
        places_.fetch_sub(1);
    }
    if (granted_.exchange(0) != 0) {
        asked_for_place_ = false;
        return true;
    }
    if (asked_for_place_) {
        return false;
    }
    asked_for_place_ = !options_.limit->take(shared_from_this());
    places_.fetch_add(asked_for_place_ ? 0 : 1);
    return !asked_for_place_;
}

KGROUP_INLINE void record_processor::give_place_back() noexcept {
    places_.fetch_sub(1);
    options_.limit->give_back();
}

// What it was asked for has begun in another place meanwhile, or may not begin now.
KGROUP_INLINE void record_processor::return_granted() noexcept {
    if (granted_.exchange(0) != 0) {
        asked_for_place_ = false;
        give_place_back();
    }
}

// What has stopped leaves its place to what starts next, and nothing has.
KGROUP_INLINE void record_processor::return_places() noexcept {
    for (; left_places_ != 0; --left_places_) {
        give_place_back();
    }
}

// It runs no more, whatever becomes of it.
KGROUP_INLINE void record_processor::leave(task& stopped) noexcept {
    left_places_ += std::exchange(stopped.has_place, false) ? 1 : 0;
    if (hold_off_ && hold_off_->probe == &stopped) {
        hold_off_->probe = nullptr;
    }
}

KGROUP_INLINE void record_processor::settle(task& ended, std::exception_ptr failure,
                                            clock::time_point now) {
    leave(ended);
    observe(ended, failure, now);
    if (failure) {
        failed(ended, std::move(failure));
    } else {
        done(ended, now);
    }
    ended.timed_out = false;
}

// An attempt has ended.
KGROUP_INLINE void record_processor::observe(task const& ended, std::exception_ptr failure,
                                             clock::time_point now) {
    auto& shown = state_->figures();
    shown.handling.add(now - ended.time);
    shown.attempts_failed.add(failure ? 1 : 0);
    if (state_->observed().hears_handled()) {
        if (failure && ended.timed_out) {
            failure = std::make_exception_ptr(std::system_error{errc::attempt_timed_out});
        }
        state_->observed().handled(
            {*ended.record, 1, now - ended.time, failure, ended.attempts + 1});
    }
}

KGROUP_INLINE void record_processor::done(task& finished, clock::time_point now) {
    if (hold_off_ && finished.time >= hold_off_->since) {
        hold_off_.reset();
        report(event_kind::processing_resumed, severity::info, {}, "an attempt has passed");
    }
    if (!is_loss(state_->why_ended())) {
        acknowledge(finished, now);
    }
    finish(finished);
}

KGROUP_INLINE void record_processor::failed(task& ended, std::exception_ptr failure) {
    if (ending_ != ending::none || state_->ended()) { // not counted
        tell_failure(ended, failure);
        return give_up_undone(ended);
    }
    if (ended.timed_out) {
        failure = std::make_exception_ptr(std::system_error{errc::attempt_timed_out});
    }
    auto const meaning = ended.timed_out ? failure_class::retry : options_.retry.classify(failure);
    if (meaning == failure_class::not_now) {
        return hold_off_after(ended, failure);
    }
    if (ended.attempts++ == 0) {
        ended.first_failure = failure;
        ended.first_began = ended.time;
    }
    auto const now = clock::now();
    auto const due = meaning == failure_class::give_up
                         ? std::nullopt
                         : policy_.next_attempt(ended.attempts, ended.first_began, now, random());
    if (due) {
        retry(ended, *due);
    } else {
        give_up_on(ended, std::move(failure));
    }
}

KGROUP_INLINE void record_processor::hold_off_after(task& ended,
                                                    std::exception_ptr const& failure) {
    auto const now = clock::now();
    auto [reason, code] = describe_exception(failure);
    if (!hold_off_ || hold_off_->reason != reason) {
        report(event_kind::processing_held, severity::warning, code,
               held_off_text(ended.record->offset(), reason));
    }
    if (!hold_off_) {
        hold_off_ = hold_off{now, now + policy_.wait(1, random()), {}};
    } else if (ended.time >= hold_off_->until) { // a probe
        hold_off_->until = now + policy_.wait(++hold_off_->failures, random());
    }
    hold_off_->reason = std::move(reason);
    retry(ended, hold_off_->until);
}

KGROUP_INLINE void record_processor::give_up_on(task& ended, std::exception_ptr failure) {
    if (options_.dead_letters) {
        ended.given_up = std::move(failure); // the worker goes on with it
        ended.letter_began = clock::now();
        schedule_.begin_letter(ended);
        return copy(ended); // for as long as it takes
    }
    if (options_.retry.give_up == give_up::skip) {
        auto const [text, code] = describe_exception(failure);
        report(event_kind::record_skipped, severity::error, code,
               "offset " + std::to_string(ended.record->offset()) + " is given up after " +
                   std::to_string(ended.attempts) + " attempts: " + text);
        acknowledge(ended, clock::now());
        return finish(ended);
    }
    end_with(ended, std::move(failure));
}

KGROUP_INLINE void record_processor::end_with(task& ended, std::exception_ptr failure) {
    failure_ = std::move(failure);
    begin_ending(ending::failure);
    ending_deadline_ = clock::now() + state_->rebalance_deadline();
    give_up_undone(ended);
}

// The first failure comes out; of one that follows while what runs finishes, only this is heard. It
// may be one that would have been repeated.
KGROUP_INLINE void record_processor::tell_failure(task const& undone,
                                                  std::exception_ptr const& failure) {
    if (ending_ == ending::failure && !cancelled_running_) {
        auto const [text, code] = describe_exception(failure);
        report(event_kind::handler_failed, severity::warning, code,
               "offset " + std::to_string(undone.record->offset()) +
                   " failed while for_each was ending, and is undone: " + text);
    }
}

// The dead letter of a record was acknowledged, or was not sent.
KGROUP_INLINE void record_processor::letter_over(task& ended, std::exception_ptr failure,
                                                 clock::time_point now) {
    if (!failure) {
        state_->figures().dead_letters.add(1);
        if (!is_loss(state_->why_ended())) {
            acknowledge(ended, now);
        }
        finish(ended);
    } else if (ending_ != ending::none || state_->ended()) {
        tell_failure(ended, failure);
        give_up_undone(ended);
    } else {
        end_with(ended, std::move(failure));
    }
}

KGROUP_INLINE void record_processor::retry(task& ended, clock::time_point due) {
    schedule_.retry_at(ended, due);
    if (ended.sequence < block_begin_) {
        copy(ended);
    }
}

KGROUP_INLINE void record_processor::acknowledge(task& finished, clock::time_point now) {
    state_->figures().residence.add(now - finished.fetched);
    if (options_.order == order::by_partition) {
        claim_.mark(*finished.record);
    } else {
        claim_.ack(*finished.record);
    }
}

// It has run, and is not done.
KGROUP_INLINE void record_processor::give_up_undone(task& ended) noexcept {
    state_->leave_undone();
    leave(ended);
    return_places();
    finish(ended);
}

KGROUP_INLINE void record_processor::finish(task& ended) noexcept {
    ++finished_;
    schedule_.finish(ended);
    release(ended);
}

KGROUP_INLINE void record_processor::release(task& ended) noexcept {
    ended = task{};
    spare_tasks_.push_back(ended);
}

KGROUP_INLINE task& record_processor::new_task() {
    auto* const spare = spare_tasks_.back(); // whose memory is warm
    if (!spare) {
        return tasks_.emplace_back();
    }
    spare_tasks_.erase(*spare);
    return *spare;
}

// The channel is about to give its block back, so waiting records are copied out of it.
KGROUP_INLINE void record_processor::copy_what_waits() noexcept {
    for (auto* taken = schedule_.by_age().back(); taken && taken->sequence >= block_begin_;
         taken = taken->age.previous) {
        if (!taken->running) {
            copy(*taken);
        }
    }
    block_begin_ = taken_;
}

KGROUP_INLINE void record_processor::copy(task& waiting) noexcept {
    if (record_copy::is_copy(*waiting.record)) {
        return;
    }
    try {
        waiting.record = record_copy::make(*waiting.record);
        schedule_.set_bytes(waiting,
                            waiting.bytes + record_copy::bytes_of_headers(*waiting.record));
    } catch (...) { // no memory, or malformed headers: then it keeps its block
    }
}

KGROUP_INLINE attempt record_processor::attempt_at(task const& started, worker& by) const {
    auto const number = started.attempts + 1;
    return {number,       number >= options_.retry.attempts, started.first_failure,
            state_.get(), policy_.times_out(started.time),   &by.cancellation.begin()};
}

// Whether there is something to do that a worker does not do: it has taken one record for the one
// that is done, but more may start where a bound has opened. And nobody waits for the next retry
// but the driver, which may wait for something later: for what came before that retry, or because
// all places were taken then.
KGROUP_INLINE bool record_processor::concerns_driver(obstacle before) const noexcept {
    auto const opened =
        obstacle_ == obstacle::none && (before == obstacle::held_bytes ||
                                        before == obstacle::replay || before == obstacle::held_off);
    auto const retry =
        schedule_.running_count() < options_.in_flight ? schedule_.next_due() : std::nullopt;
    auto const waits_too_long = retry && (!armed_until_ || *retry < *armed_until_);
    return opened || waits_too_long || stalled_ || obstacle_ == obstacle::turn ||
           obstacle_ == obstacle::ending || state_->ended();
}

KGROUP_INLINE void record_processor::report(event_kind kind, severity level, std::error_code error,
                                            std::string text) {
    state_->report({kind, level, state_->where(), error, std::move(text)});
}

KGROUP_INLINE std::string record_processor::describe(task const& oldest,
                                                     clock::time_point now) const {
    auto const seconds = [&](clock::time_point since) {
        return std::to_string(
                   std::chrono::duration_cast<std::chrono::seconds>(now - since).count()) +
               " s";
    };
    std::string text = "no record was done in 30 s; the oldest undone one is offset " +
                       std::to_string(oldest.record->offset());
    if (oldest.record->has_key()) {
        text += " with key \"" + std::string{oldest.record->key().substr(0, 64)} + '"';
    }
    if (oldest.given_up) {
        text += ", whose dead letter is under way";
    } else if (oldest.running) {
        text += ", attempt " + std::to_string(oldest.attempts + 1) + " runs since " +
                seconds(oldest.time);
    } else {
        text += ", which waits after " + std::to_string(oldest.attempts) + " failed attempts";
    }
    text += "; " + std::to_string(schedule_.running_count()) + " attempts run, " +
            std::to_string(schedule_.in_lanes()) + " records wait behind their keys and " +
            std::to_string(schedule_.waiting_for_retry()) + " for a retry";
    if (asked_for_place_) {
        text += "; what is to begin next waits for a place under the limit";
    }
    if (hold_off_) {
        text += "; the function said not_now: " + hold_off_->reason;
    }
    return text;
}

} // namespace kgroup::detail
