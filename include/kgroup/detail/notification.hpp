#pragma once

#include <kgroup/detail/clock.hpp>
#include <kgroup/detail/heed_cancellation.hpp>
#include <kgroup/detail/on_exit.hpp>
#include <kgroup/detail/timer.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/cancellation_state.hpp>
#include <asio/co_spawn.hpp>
#include <asio/post.hpp>
#include <asio/redirect_error.hpp>
#include <asio/strand.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <memory>
#include <mutex>
#include <set>
#include <system_error>

namespace kgroup::detail {

/// Something that happens once and that any number of coroutines, each on an executor of its own, may wait for.
class notification {
public:
    bool happened() const {
        std::lock_guard const lock{mutex_};
        return happened_;
    }

    /// Any thread. It touches no waiter, and nothing of its executor's, after the waiter has gone on: whoever was waiting may end
    /// the executor's context then.
    void happen() noexcept {
        std::lock_guard const lock{mutex_}; // throughout, and a waiter goes on behind it
        happened_ = true;
        for (auto const& each : waiters_) {
            try {
                asio::post(each->strand, [each] { each->until.cancel(); });
            } catch (...) { // out of memory: this one waits for its deadline, or for its cancellation
            }
        }
        waiters_.clear();
    }

    /// false: the deadline is over. Throws when cancelled.
    asio::awaitable<bool> wait(clock::time_point deadline = (clock::time_point::max)()) {
        auto const self = std::make_shared<waiter>(co_await asio::this_coro::executor, deadline);
        // On the waiter's own strand, where `happen` cuts it short: the two cannot meet.
        co_await asio::co_spawn(self->strand, heed_cancellation(asio::enable_total_cancellation(), wait_on_strand(self)),
                                asio::use_awaitable);
        co_return happened();
    }

private:
    struct waiter {
        waiter(asio::any_io_executor executor, clock::time_point deadline)
            : strand(std::move(executor)), until(strand, deadline) {}
        asio::strand<asio::any_io_executor> strand;
        timer until;
    };

    asio::awaitable<void> wait_on_strand(std::shared_ptr<waiter> self) {
        {
            std::lock_guard const lock{mutex_};
            if (happened_) {
                co_return;
            }
            waiters_.insert(self);
        }
        on_exit const gone{[this, &self] { // also when the frame is destroyed: nobody may post to its executor then
            std::lock_guard const lock{mutex_};
            waiters_.erase(self);
        }};
        std::error_code ec;
        co_await self->until.async_wait(asio::redirect_error(asio::use_awaitable, ec));
        if (ec && !happened()) {
            throw std::system_error{ec};
        }
    }

    mutable std::mutex mutex_;
    bool happened_ = false;
    std::set<std::shared_ptr<waiter>> waiters_; // there may be one a handler
};

} // namespace kgroup::detail
