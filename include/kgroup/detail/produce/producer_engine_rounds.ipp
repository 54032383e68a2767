// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/auto_reset_event.hpp>
#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/asio/scope_exit.hpp>
#include <kgroup/detail/events/event_line.hpp>
#include <kgroup/detail/produce/producer_engine.hpp>
#include <kgroup/error.hpp>
#include <kgroup/print.hpp>

#include <asio/cancellation_type.hpp>

#include <chrono>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

namespace kgroup::detail {

// What the strand does whenever it is woken, and when a deadline is over.

KGROUP_INLINE void producer_engine::serve() {
    if (!process().is_this_one()) {
        return;
    }
    // Before the look: what comes from here on is told again.
    notified_.exchange(false, std::memory_order_acq_rel);
    std::vector<std::shared_ptr<native_producer>> all;
    {
        std::lock_guard const lock{mutex_};
        if (gone_) {
            timer_.cancel();
            return;
        }
        all = natives_.all();
        serving_ = true;
    }
    producer_events told;
    auto more = false;
    std::optional<clock::time_point> deadline;
    {
        scope_exit const left{[&] {
            all.clear();
            native_producers ended; // destroyed without the lock
            std::lock_guard const lock{mutex_};
            serving_ = false;
            if (gone_) { // meanwhile
                ended = std::exchange(natives_, {});
            }
        }};
        for (auto const& native : all) {
            more = poll(*native, told) || more;
        }
        all.clear();
        look_around(told);
        std::lock_guard const lock{mutex_};
        if (!gone_) {
            pending_.admit_waiting();
            pending_.end_flushes();
            deadline = next_deadline(clock::now());
            watched_ = deadline.has_value();
        }
    }
    arm(deadline);
    if (more) {
        notify();
    }
    tell(told);
}

KGROUP_INLINE void producer_engine::look_around(producer_events& told) {
    auto const now = clock::now();
    try_replacement(now, told);
    std::vector<std::shared_ptr<native_producer>> settled; // destroyed without the lock
    {
        std::lock_guard const lock{mutex_};
        settled = natives_.take_settled();
    }
    if (auto const due = tokens_.due(); due && *due <= now) {
        ask_for_token();
    }
    auto answered = false;
    {
        std::lock_guard const lock{mutex_};
        answered = enquiry_ && enquiry_->answered();
    }
    if (answered) {
        end_outage(told);
    }
    look_at_stop(now, told);
}

KGROUP_INLINE void producer_engine::try_replacement(clock::time_point now, producer_events& told) {
    if (!replacement_.begin(now)) {
        return;
    }
    try {
        auto made = make_native();
        std::lock_guard const lock{mutex_};
        if (stop_.running()) {
            natives_.use(std::move(made));
            ++stats_.replacements;
        }
    } catch (std::exception const& failure) { // no thread, or no memory
        replacement_.retry(now);
        told.cannot_be_replaced(failure.what());
    }
}

KGROUP_INLINE void producer_engine::look_at_stop(clock::time_point now, producer_events& told) {
    native_producers ended; // destroyed without the lock
    std::shared_ptr<auto_reset_event> token_place;
    std::lock_guard const lock{mutex_};
    auto const left = natives_.outstanding();
    if (stop_.purge(now, left)) {
        natives_.give_up(errc::producer_stopped);
    }
    if (stop_.finish(now, left)) {
        lost_at_stop_ += left; // what was not reported will not be
        stats_.failed += left;
        pending_.end_with_producer(left);
        if (lost_at_stop_ != 0) {
            told.lost_at_stop(lost_at_stop_);
        }
        ended = std::exchange(natives_, {});
        enquiry_.reset();
        if ((token_place = std::move(token_place_))) {
            token_place->cancel(asio::cancellation_type::terminal);
        }
    }
    if (stop_.is_over(now, wakeup_->handles)) {
        pending_.end_stops(lost_at_stop_);
    }
}

// Under the lock.
KGROUP_INLINE std::optional<clock::time_point>
producer_engine::next_deadline(clock::time_point now) const {
    using namespace std::chrono_literals;
    auto nearest = stop_.due(pending_.any_stop());
    auto const consider = [&](std::optional<clock::time_point> time) {
        if (time && (!nearest || *time < *nearest)) {
            nearest = time;
        }
    };
    if (stop_.running()) {
        consider(replacement_.due());
    }
    if (!stop_.stopped()) {
        consider(tokens_.due());
        if (pending_.any() || natives_.any_retiring()) {
            consider(now + 1s); // makes up for a wake-up that was lost
        }
    }
    return nearest;
}

KGROUP_INLINE void producer_engine::arm(std::optional<clock::time_point> deadline) {
    if (!deadline) {
        if (std::exchange(armed_, std::nullopt)) {
            timer_.cancel();
        }
        return;
    }
    if (armed_ && *armed_ <= *deadline) {
        return; // it looks again then
    }
    armed_ = deadline;
    timer_.expires_at(*deadline);
    timer_.async_wait([weak = weak_from_this()](std::error_code ec) {
        auto self = engine_of(weak);
        if (ec || !self) {
            return;
        }
        auto& engine = *self;
        engine.strand_.dispatch([self = std::move(self)] {
            self->armed_.reset();
            self->serve();
        });
    });
}

KGROUP_INLINE void producer_engine::tell(producer_events& told) {
    for (auto& event : told.all()) {
        auto const now = clock::now();
        auto const passes = filter_.passes(event, now);
        if (ended_by(event.kind)) {
            conditions_.note(event, passes, now);
        } else if (ends(event.kind)) {
            conditions_.end(event);
        }
        {
            std::lock_guard const lock{mutex_};
            if (event.error) {
                note_error(event.error);
            }
            if (gone_) {
                return;
            }
            stats_.events_dropped += passes ? 0 : 1;
        }
        if (!passes) {
            continue;
        }
        event.text = one_line(std::move(event.text));
        if (config_.on_event) {
            config_.on_event(event);
        } else {
            print(event, "producer");
        }
    }
}

} // namespace kgroup::detail
