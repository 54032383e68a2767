// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/auto_reset_event.hpp>
#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/asio/process_of_birth.hpp>
#include <kgroup/detail/asio/scope_exit.hpp>
#include <kgroup/detail/asio/with_cancellation.hpp>

#include <asio/awaitable.hpp>
#include <asio/cancellation_state.hpp>
#include <asio/co_spawn.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <memory>
#include <mutex>
#include <set>
#include <system_error>

namespace kgroup::detail {

/// Something that happens once and that any number of coroutines, each on an executor of its own,
/// may wait for.
class manual_reset_event {
public:
    bool happened() const {
        std::lock_guard const lock{mutex_};
        return happened_;
    }

    /// Any thread. After a waiter has gone on, this touches neither it nor its executor: the waiter
    /// may then end the executor's context.
    void set() noexcept {
        std::lock_guard const lock{mutex_}; // throughout, and a waiter goes on behind it
        happened_ = true;
        for (auto const& waiter : waiters_) {
            waiter->notify();
        }
        waiters_.clear();
    }

    /// false: the deadline is over. Throws when cancelled.
    asio::awaitable<bool> wait(clock::time_point deadline = (clock::time_point::max)()) {
        auto const self = auto_reset_event::make(co_await asio::this_coro::executor);
        // On the waiter's own strand, where it is told: nothing comes between its look and its
        // wait.
        co_await asio::co_spawn(
            self->strand(),
            with_cancellation(asio::enable_total_cancellation(), wait_at(self, deadline)),
            asio::use_awaitable);
        co_return happened();
    }

    /// The same at a place where nobody else waits, on its strand. Spawns nothing: where there is
    /// no memory it throws, while Asio 1.22 ends the process when an initiation, as that of
    /// `co_spawn`, finds none (`awaitable_frame_base::await_transform`).
    asio::awaitable<void> wait_at(std::shared_ptr<auto_reset_event> self,
                                  clock::time_point deadline) {
        {
            std::lock_guard const lock{mutex_};
            if (happened_) {
                co_return;
            }
            waiters_.insert(self);
        }
        scope_exit const gone{
            [this,
             &self] { // also when the frame is destroyed: nobody may post to its executor then
                if (process_.is_this_one()) {
                    std::lock_guard const lock{mutex_};
                    waiters_.erase(self);
                }
            }};
        try {
            while (!happened()) {
                if (!co_await self->wait(deadline)) {
                    break;
                }
            }
        } catch (std::system_error const&) {
            if (!happened()) {
                throw;
            }
        }
    }

private:
    mutable std::mutex mutex_;
    bool happened_ = false;
    std::set<std::shared_ptr<auto_reset_event>> waiters_; // there may be one a handler
    process_of_birth process_;
};

} // namespace kgroup::detail
