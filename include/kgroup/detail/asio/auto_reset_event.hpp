// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/asio/handler_memory.hpp>
#include <kgroup/detail/asio/process_of_birth.hpp>
#include <kgroup/detail/asio/timer.hpp>
#include <kgroup/detail/asio/typed_strand.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/associated_cancellation_slot.hpp>
#include <asio/async_result.hpp>
#include <asio/awaitable.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/cancellation_type.hpp>
#include <asio/error.hpp>
#include <asio/execution/context.hpp>
#include <asio/execution_context.hpp>
#include <asio/query.hpp>
#include <asio/use_awaitable.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

namespace kgroup::detail {

/// The handler of a wait, kept in place: it is resumed by what runs on its strand already, without
/// a way through the executor.
class suspended_handler {
public:
    suspended_handler() noexcept = default;
    suspended_handler(suspended_handler const&) = delete;
    suspended_handler& operator=(suspended_handler const&) = delete;
    ~suspended_handler() { drop(); }

    explicit operator bool() const noexcept { return take_ != nullptr; }

    template <typename Handler>
    void keep(Handler handler) noexcept {
        static_assert(sizeof(Handler) <= sizeof place_ && alignof(Handler) <= alignof(void*));
        static_assert(std::is_nothrow_move_constructible_v<Handler>);
        ::new (static_cast<void*>(place_)) Handler(std::move(handler));
        take_ = [](void* place, bool resumes, std::error_code ec, bool notified) {
            auto& kept = *static_cast<Handler*>(place);
            Handler taken{std::move(kept)};
            kept.~Handler(); // NOLINT(bugprone-use-after-move)
            if (resumes) {
                std::move(taken)(ec, notified);
            }
        };
    }
    void resume(std::error_code ec, bool notified) {
        if (auto* const take = std::exchange(take_, nullptr)) {
            take(place_, true, ec, notified);
        }
    }
    void drop() {
        if (auto* const take = std::exchange(take_, nullptr)) {
            take(place_, false, {}, false);
        }
    }

private:
    alignas(void*) std::byte place_[8 * sizeof(void*)];
    void (*take_)(void* place, bool resumes, std::error_code ec, bool notified) = nullptr;
};

/// A strand, where a coroutine on it waits to be told that there is something to do, and how what
/// runs on it is cancelled. Neither waiting nor telling allocates, over Asio's own executors.
class auto_reset_event : public std::enable_shared_from_this<auto_reset_event> {
public:
    static std::shared_ptr<auto_reset_event> make(asio::any_io_executor const& on) {
        auto made = std::make_shared<auto_reset_event>(on);
        asio::use_service<all_of_context>(asio::query(on, asio::execution::context)).add(made);
        return made;
    }

    explicit auto_reset_event(asio::any_io_executor const& on) : strand_(on), timer_(on) {}
    auto_reset_event(auto_reset_event const&) = delete;
    auto_reset_event& operator=(auto_reset_event const&) = delete;

    asio::any_io_executor const& strand() const noexcept { return strand_.executor(); }
    bool on_strand() const noexcept { return strand_.running_in_this_thread(); }

    /// Wakes the waiter: there may be something to do. Any thread, also on the strand. Calls close
    /// together cost as much as one. Work that was posted to the executor before runs first.
    void notify() noexcept {
        if (notified_.exchange(true, std::memory_order_acq_rel) || !process_.is_this_one()) {
            return;
        }
        try {
            // Not into the strand, which may be running: Asio allocates when a strand has work left
            // at the end of its turn.
            strand_.post_outside(
                operation{shared_from_this(),
                          [](auto_reset_event& self, std::uint64_t) { self.resume_notified(); }});
        } catch (...) {
            notified_.store(false, std::memory_order_release); // the periodic look makes up for it
        }
    }

    /// Runs a function on the strand. Any thread.
    template <typename Function>
    void run(Function function) {
        // Not into the strand: when Asio finds no memory to begin its turn, it stays locked for
        // ever.
        strand_.post_outside([self = shared_from_this(), function = std::move(function)]() mutable {
            self->strand_.dispatch(std::move(function));
        });
    }

    /// In a process that was forked after its construction nothing wakes it, unless that process
    /// calls this first.
    void begin_in_this_process() noexcept { process_.renew(); }

    /// What runs on the strand is spawned with it.
    asio::cancellation_slot slot() noexcept { return signal_.slot(); }

    /// Cancels what was spawned with `slot`, on the strand. The last of several calls includes the
    /// others. Any thread. If there is no memory to deliver it, `cancel_pending` is true, and the
    /// next `notify` delivers it.
    void cancel(asio::cancellation_type type) noexcept {
        cancel_asked_.fetch_or(static_cast<unsigned>(type), std::memory_order_release);
        notify();
    }
    bool cancel_pending() const noexcept {
        return cancel_asked_.load(std::memory_order_relaxed) != 0;
    }

    /// The coroutine here learns of its end in another way, so no `total` cancellation follows. On
    /// the strand.
    void told() noexcept { told_ = true; }

    /// An operation runs here by itself, and its waiter will learn of the end from it. Until it is
    /// over, a `total` cancellation is kept back. Any thread.
    void begin_operation() noexcept { operations_.fetch_add(1); }
    void end_operation() noexcept { operations_.fetch_sub(1); }
    /// Delivers a cancellation that was kept back, if the waiter has not learned of the end.
    void tell_kept() noexcept {
        if (cancel_asked_.load() != 0) {
            notify();
        }
    }

    /// Waits for `notify`. false: the deadline is over. Throws when cancelled. On the strand, one
    /// at a time; nothing can slip in between the caller's last look and the wait, because
    /// notifications arrive on the strand too.
    asio::awaitable<bool> wait(clock::time_point deadline = (clock::time_point::max)()) {
        return asio::async_initiate<decltype(asio::use_awaitable), void(std::error_code, bool)>(
            [this, deadline](auto handler) { suspend(std::move(handler), deadline); },
            asio::use_awaitable);
    }

private:
    /// What is suspended in a context goes when the context goes, as with any other operation.
    class all_of_context final : public asio::execution_context::service {
    public:
        inline static asio::execution_context::id id;

        explicit all_of_context(asio::execution_context& context) : service(context) {}

        void add(std::weak_ptr<auto_reset_event> place) {
            process_.renew();
            std::lock_guard const lock{mutex_};
            if (places_.size() >= look_at_) { // not at each: their number does not grow
                std::erase_if(places_, [](auto const& reference) { return reference.expired(); });
                look_at_ = (std::max<std::size_t>)(2 * places_.size(), 16);
            }
            places_.push_back(std::move(place));
        }

    private:
        void shutdown() override {
            if (!process_.is_this_one()) {
                return;
            }
            std::vector<std::weak_ptr<auto_reset_event>> all;
            {
                std::lock_guard const lock{mutex_};
                all.swap(places_);
            }
            for (auto const& reference : all) {
                if (auto const place = reference.lock()) {
                    place->waiter_.drop();
                }
            }
        }

        std::mutex mutex_;
        std::vector<std::weak_ptr<auto_reset_event>> places_;
        std::size_t look_at_ = 16; // their number at which those that have gone are looked for
        process_of_birth process_;
    };

    struct operation {
        using allocator_type = reusing_allocator<std::byte>;
        using action = void (*)(auto_reset_event&, std::uint64_t);

        operation(std::shared_ptr<auto_reset_event> at, action done,
                  std::uint64_t wait = 0) noexcept
            : place(std::move(at)),
              step(done),
              number(wait),
              memory(&place->memory_) {}

        // Also of one that was moved from: Asio asks it where the memory goes that it had taken
        // before something threw.
        allocator_type get_allocator() const noexcept { return allocator_type{{place, memory}}; }
        void operator()() const { step(*place, number); }
        void operator()(std::error_code ec) const {
            if (!ec) {
                step(*place, number);
            }
        }

        std::shared_ptr<auto_reset_event> place;
        action step;
        std::uint64_t number;
        handler_memory* memory;
    };

    // An initiation must not throw: Asio 1.22 ends the process then.
    template <typename Handler>
    void suspend(Handler handler, clock::time_point deadline) noexcept {
        outcome_ = {};
        timed_ = false;
        auto slot = asio::get_associated_cancellation_slot(handler);
        waiter_.keep(std::move(handler));
        try {
            if (slot.is_connected()) {
                slot.assign([this](asio::cancellation_type) {
                    outcome_ = asio::error::operation_aborted;
                    notify();
                });
            }
            if (deadline != (clock::time_point::max)()) {
                set_timer(deadline);
            }
        } catch (...) {
            outcome_ = std::make_error_code(std::errc::not_enough_memory);
            notify();
        }
    }

    void set_timer(clock::time_point deadline) {
        timer_.expires_at(deadline);
        // It ends on the executor and not on the strand, where Asio's timers would have to
        // allocate.
        timer_.async_wait(operation{shared_from_this(),
                                    [](auto_reset_event& self, std::uint64_t wait) {
                                        self.strand_.dispatch(operation{
                                            self.shared_from_this(),
                                            [](auto_reset_event& place, std::uint64_t number) {
                                                if (number == place.waits_) {
                                                    place.resume(false);
                                                }
                                            },
                                            wait});
                                    },
                                    waits_});
        timed_ = true;
    }

    void resume_notified() {
        try {
            strand_.dispatch(operation{
                shared_from_this(), [](auto_reset_event& self, std::uint64_t) {
                    // Clear the flag first, so that later notifications are delivered. Exchange,
                    // not store: the reads below must not move above it.
                    self.notified_.exchange(false, std::memory_order_acq_rel);
                    auto const asked = self.cancel_asked_.exchange(0, std::memory_order_acquire);
                    // First: the waiter learns by that what an earlier cancellation would say.
                    self.resume(true);
                    self.emit(static_cast<asio::cancellation_type>(asked));
                }});
        } catch (...) { // out of memory, or what came out of a completion handler: the executor's
                        // run throws it
            notified_.store(false, std::memory_order_release);
            throw;
        }
    }

    void emit(asio::cancellation_type type) {
        using enum asio::cancellation_type;
        if (told_) {
            type &= ~total;
        } else if ((type & total) != none && operations_.load() != 0) {
            type &= ~total;
            cancel_asked_.fetch_or(static_cast<unsigned>(total));
            if (operations_.load() == 0) { // it may not have seen what was kept
                notify();
            }
        }
        if (type != none) {
            signal_.emit(type);
        }
    }

    void resume(bool notified) {
        if (!waiter_ || !process_.is_this_one()) {
            return;
        }
        ++waits_;
        if (timed_) {
            timer_.cancel();
        }
        waiter_.resume(outcome_, notified);
    }

    typed_strand strand_;
    timer timer_;
    handler_memory memory_;
    std::atomic<bool> notified_{false}; // a notification is on its way to the strand
    suspended_handler waiter_;          // on the strand, like the rest
    std::uint64_t waits_ = 0;           // that are over
    bool timed_ = false;
    std::error_code
        outcome_; // of the wait: set when it was cancelled, or there was no memory for it
    asio::cancellation_signal signal_;
    std::atomic<unsigned> cancel_asked_{0}; // types that are on their way to the strand
    std::atomic<unsigned> operations_{0};   // that run here by themselves
    bool told_ = false;
    process_of_birth process_;
};

} // namespace kgroup::detail
