// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/auto_reset_event.hpp>
#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/asio/process_of_birth.hpp>
#include <kgroup/detail/events/event_line.hpp>
#include <kgroup/detail/produce/dead_letter_partition.hpp>
#include <kgroup/detail/produce/producer_engine.hpp>
#include <kgroup/error.hpp>
#include <kgroup/print.hpp>

#include <asio/async_result.hpp>
#include <asio/awaitable.hpp>
#include <asio/execution/context.hpp>
#include <asio/execution_context.hpp>
#include <asio/query.hpp>
#include <asio/use_awaitable.hpp>

#include <chrono>
#include <utility>
#include <vector>

namespace kgroup::detail {

/// Who waits at a producer goes when the context goes, as with any other operation.
class producer_engine::all_of_context final : public asio::execution_context::service {
public:
    inline static asio::execution_context::id id;

    explicit all_of_context(asio::execution_context& context) : service(context) {}

    void add(std::weak_ptr<producer_engine> engine) {
        process_.renew();
        std::lock_guard const lock{mutex_};
        std::erase_if(engines_, [](auto const& known) { return known.expired(); });
        engines_.push_back(std::move(engine));
    }

private:
    void shutdown() override {
        if (!process_.is_this_one()) {
            return;
        }
        std::vector<std::weak_ptr<producer_engine>> all;
        {
            std::lock_guard const lock{mutex_};
            all.swap(engines_);
        }
        for (auto const& known : all) {
            if (auto const engine = known.lock()) {
                engine->abandon(true);
            }
        }
    }

    std::mutex mutex_;
    std::vector<std::weak_ptr<producer_engine>> engines_;
    process_of_birth process_;
};

KGROUP_INLINE asio::awaitable<produce_outcome>
producer_engine_base::record(produce_kind kind, outgoing_record given,
                             std::optional<std::int32_t> source_partition) {
    return asio::async_initiate<decltype(asio::use_awaitable), void(produce_outcome)>(
        [self = shared_from_this(), kind, given, source_partition](auto handler) {
            self->begin_record<call_with_outcome>(std::move(handler), kind, given,
                                                  source_partition);
        },
        asio::use_awaitable);
}

KGROUP_INLINE asio::awaitable<produce_outcome> producer_engine_base::wait(produce_kind kind) {
    return asio::async_initiate<decltype(asio::use_awaitable), void(produce_outcome)>(
        [self = shared_from_this(), kind](auto handler) {
            self->begin_wait<call_with_outcome>(std::move(handler), kind);
        },
        asio::use_awaitable);
}

KGROUP_INLINE std::shared_ptr<producer_engine_base>
make_producer_engine(asio::any_io_executor executor, producer_config given) {
    return producer_engine::make(std::move(executor), std::move(given));
}

KGROUP_INLINE std::shared_ptr<producer_engine> producer_engine::make(asio::any_io_executor executor,
                                                                     producer_config given) {
    auto made = std::make_shared<producer_engine>(std::move(executor), std::move(given));
    made->wakeup_->engine = made.get();
    asio::use_service<all_of_context>(asio::query(made->executor(), asio::execution::context))
        .add(made);
    auto first = made->make_native();
    std::lock_guard const lock{made->mutex_};
    made->natives_.use(std::move(first));
    return made;
}

KGROUP_INLINE producer_engine::producer_engine(asio::any_io_executor executor,
                                               producer_config given)
    : producer_engine_base(std::move(executor)),
      config_(std::move(given)),
      strand_(this->executor()),
      timer_(this->executor()) {}

KGROUP_INLINE producer_engine::~producer_engine() {
    if (process().is_this_one()) {
        std::lock_guard const lock{wakeup_->mutex}; // who wakes it may be about to
        wakeup_->engine = nullptr;
    }
}

KGROUP_INLINE void producer_engine::wakeup::wake() noexcept {
    std::lock_guard const lock{mutex};
    if (engine) {
        engine->notify();
    }
}

// Any thread.

KGROUP_INLINE std::optional<producer_engine::enqueued>
producer_engine::try_enqueue(outgoing_record const& record) {
    constexpr std::uint32_t turn = 256;
    if (!process().is_this_one()) {
        return enqueued{errc::producer_stopped};
    }
    std::lock_guard const lock{mutex_};
    auto const turn_is_over = ++enqueued_in_turn_ % turn == 0;
    if (auto const refused = refusal()) {
        return enqueued{refused, turn_is_over};
    }
    if (auto const error = pending_.try_enqueue(record)) {
        return enqueued{*error, turn_is_over};
    }
    return std::nullopt;
}

KGROUP_INLINE produce_operation&
producer_engine::take(std::function<void(produce_operation&)> const& prepare) {
    std::lock_guard const lock{mutex_};
    auto& taken = pending_.take();
    try {
        prepare(taken);
    } catch (...) {
        pending_.release(taken);
        throw;
    }
    return taken;
}

KGROUP_INLINE void producer_engine::begin(produce_operation& begun, outgoing_record const* record) {
    auto const kind = begun.kind; // it may be over before the lock is left
    auto pends = false;
    {
        std::lock_guard const lock{mutex_};
        if (kind == produce_kind::flush) {
            pending_.begin_flush(begun);
        } else if (kind == produce_kind::stop) {
            pending_.begin_stop(begun);
        } else if (auto const refused = refusal()) {
            pending_.end(begun, {refused, {}, 0});
        } else {
            pending_.begin_record(begun, *record);
        }
        pends = pending_.any() && !std::exchange(watched_, true);
    }
    if (kind == produce_kind::stop) {
        stop();
    } else if (pends) {
        notify();
    }
}

KGROUP_INLINE void producer_engine::cancel(produce_operation& cancelled, std::uint64_t use) {
    std::lock_guard const lock{mutex_};
    if (!gone_) {
        pending_.cancel(cancelled, use);
    }
}

KGROUP_INLINE void producer_engine::stop() {
    if (!process().is_this_one()) {
        return;
    }
    {
        std::lock_guard const lock{mutex_};
        if (stop_.running()) {
            stop_.begin(clock::now() + config_.close_timeout);
            pending_.refuse_waiting(errc::producer_stopped);
        }
    }
    notify();
}

KGROUP_INLINE void producer_engine::abandon(bool drop) noexcept {
    if (!process().is_this_one()) {
        return;
    }
    native_producers ended; // destroyed without the lock
    std::shared_ptr<auto_reset_event> token_place;
    std::size_t lost = 0;
    {
        std::lock_guard const lock{mutex_};
        if (std::exchange(gone_, true)) {
            return;
        }
        lost = natives_.outstanding();
        token_place = std::move(token_place_);
        enquiry_.reset();
        if (!serving_) { // else the strand does that
            ended = std::exchange(natives_, {});
        }
        if (!drop) {
            pending_.abandon_all();
        }
    }
    if (drop) {
        pending_.drop_all();
    } else {
        if (token_place) {
            token_place->cancel(asio::cancellation_type::terminal);
        }
        notify();
    }
    if (lost != 0) {
        try {
            print(producer_events::lost_at_destruction(lost));
        } catch (...) { // no memory
        }
    }
}

KGROUP_INLINE producer_stats producer_engine::stats() const {
    std::lock_guard const lock{mutex_};
    auto result = stats_;
    result.unacknowledged = natives_.outstanding();
    result.waiting = pending_.waiting_for_room();
    return result;
}

KGROUP_INLINE producer_state producer_engine::state() const {
    producer_state state;
    auto const now = clock::now();
    state.at = std::chrono::system_clock::now();
    auto const shown = [&](clock::time_point when) {
        return state.at -
               std::chrono::duration_cast<std::chrono::system_clock::duration>(now - when);
    };
    {
        std::lock_guard const lock{mutex_};
        state.phase = stop_.phase();
        state.stats = stats_;
        state.stats.unacknowledged = natives_.outstanding();
        state.stats.waiting = pending_.waiting_for_room();
        state.bytes_unacknowledged = natives_.bytes();
        state.last_error = last_error_;
        if (last_error_) {
            state.last_error_at = shown(last_error_at_);
        }
    }
    for (auto& lasting : conditions_.all()) {
        auto& told = lasting.newest;
        if (told.kind == event_kind::brokers_unreachable) {
            state.outage_since = shown(lasting.since);
        }
        state.conditions.push_back({told.kind, std::move(told.where), told.error,
                                    shown(lasting.since), one_line(std::move(told.text))});
    }
    return state;
}

KGROUP_INLINE void producer_engine::report(event told) {
    strand_.post_outside([self = self(), told = std::move(told)]() mutable {
        auto& engine = *self;
        engine.strand_.dispatch([self = std::move(self), told = std::move(told)]() mutable {
            producer_events one;
            one.add(std::move(told));
            self->tell(one);
        });
    });
}

KGROUP_INLINE void producer_engine::notify() noexcept {
    if (notified_.exchange(true, std::memory_order_acq_rel)) {
        return;
    }
    try {
        if (auto self = engine_of(weak_from_this())) {
            strand_.post_outside([self = std::move(self)]() mutable {
                auto& engine = *self;
                engine.strand_.dispatch([self = std::move(self)] { self->serve(); });
            });
        }
    } catch (...) { // no memory: the look each second makes up for it
        notified_.store(false, std::memory_order_release);
    }
}

// Under the lock.

KGROUP_INLINE std::error_code producer_engine::refusal() const noexcept {
    return gone_ || !stop_.running() ? make_error_code(errc::producer_stopped) : std::error_code{};
}

// `_QUEUE_FULL`: there is no room now, or no producer of librdkafka's.
KGROUP_INLINE rd_kafka_resp_err_t producer_engine::hand_over(outgoing_record const& record,
                                                             void* tag) {
    auto const& current = natives_.current();
    if (!current) {
        return RD_KAFKA_RESP_ERR__QUEUE_FULL;
    }
    auto const* const awaiting = record_tag::operation(tag);
    auto const dead_letter = awaiting && awaiting->source_partition;
    auto const err =
        current->handle->produce(record, tag, dead_letter ? &dead_letter_partition : nullptr);
    if (err == RD_KAFKA_RESP_ERR__FATAL) { // which is about to be told
        notify();
        return RD_KAFKA_RESP_ERR__QUEUE_FULL;
    }
    if (!err) {
        ++current->outstanding;
        current->bytes += record.key.value_or("").size() + record.value.value_or("").size();
    }
    return delivery_error(err);
}

KGROUP_INLINE void producer_engine::note_error(std::error_code error) {
    last_error_ = error;
    last_error_at_ = clock::now();
}

} // namespace kgroup::detail
