// SPDX-License-Identifier: MIT

#pragma once

#include <cassert>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <utility>

namespace kgroup {

namespace detail {

/// Somebody who waits for a place under a limit.
class limit_waiter {
public:
    virtual ~limit_waiter() = default;
    /// It has a place from now on. Any thread, under the limit's lock.
    virtual void place_granted() noexcept = 0;
};

} // namespace detail

/// A bound on how many attempts run at the same time, over all claims that name it
/// (`for_each_options::limit`): for a pool of connections, say. Claims that wait take turns.
///
/// *Thread safety.* Safe from any thread, construction and destruction aside. A record takes a
/// mutex twice.
///
/// *Lifetime.* It outlives every `for_each` that names it.
class limit {
public:
    /// @param places at least 1.
    explicit limit(std::size_t places) noexcept : free_(places) { assert(places != 0); }
    limit(limit const&) = delete;
    limit& operator=(limit const&) = delete;

    /// For the library. Takes a place. false: none is free; `waiter` has its turn behind those who
    /// wait already, and is told once.
    bool take(std::shared_ptr<detail::limit_waiter> const& waiter) {
        std::lock_guard const lock{mutex_};
        if (free_ != 0 && waiting_.empty()) {
            --free_;
            return true;
        }
        waiting_.push_back(waiter);
        return false;
    }

    /// For the library. Gives a place back: to the first who waits, if anybody does.
    void give_back() noexcept {
        std::lock_guard const lock{mutex_};
        while (!waiting_.empty()) {
            auto const next = waiting_.front().lock();
            waiting_.pop_front();
            if (next) {
                return next->place_granted();
            }
        }
        ++free_;
    }

    /// For the library. After this `waiter` is granted nothing.
    void withdraw(detail::limit_waiter const& waiter) noexcept {
        std::lock_guard const lock{mutex_};
        std::erase_if(waiting_, [&](auto const& other) { return other.lock().get() == &waiter; });
    }

private:
    std::mutex mutex_;
    std::size_t free_;
    std::deque<std::weak_ptr<detail::limit_waiter>> waiting_;
};

} // namespace kgroup
