// SPDX-License-Identifier: MIT

#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <vector>

namespace kgroup {

namespace detail {

/// Somebody who waits for a place under a limit.
class limit_waiter {
public:
    virtual ~limit_waiter() = default;
    /// It has a place from now on. Any thread, under the limit's lock.
    virtual void place_granted() noexcept = 0;
    /// How many it has. Any thread.
    virtual std::size_t places() const noexcept = 0;
};

} // namespace detail

/// A bound on how many attempts run at the same time, over all claims that name it
/// (`for_each_options::limit`): for a pool of connections, say. It is fair: a place that becomes
/// free goes to a claim that waits, unless each of those has as many places as the claim that it
/// comes from.
///
/// *Thread safety.* Safe from any thread, construction and destruction aside. A record takes a
/// mutex once or twice.
///
/// *Lifetime.* It outlives every `for_each` that names it.
class limit {
public:
    /// @param places at least 1.
    /// @throws std::invalid_argument for 0: nothing would ever begin.
    explicit limit(std::size_t places) : free_(places) {
        if (places == 0) {
            throw std::invalid_argument{"kgroup: a limit has at least one place"};
        }
    }
    limit(limit const&) = delete;
    limit& operator=(limit const&) = delete;

    /// For the library. Takes a place. false: none is free; `waiter` is queued behind the others,
    /// and is told once.
    bool take(std::shared_ptr<detail::limit_waiter> const& waiter) {
        std::lock_guard const lock{mutex_};
        if (free_ != 0 && waiting_.empty()) {
            --free_;
            return true;
        }
        waiting_.push_back({waiter.get(), waiter});
        return false;
    }

    /// For the library. Gives a place back. The first waiter gets it, if there is one.
    void give_back() noexcept {
        std::shared_ptr<detail::limit_waiter> next; // goes, if it does, behind the lock
        std::lock_guard const lock{mutex_};
        while (!waiting_.empty()) {
            next = waiting_.front().owner.lock();
            waiting_.erase(waiting_.begin());
            if (next) {
                return next->place_granted();
            }
        }
        ++free_;
    }

    /// For the library. An attempt that had a place has ended, and its claim has more to do. true:
    /// the claim keeps the place. false: the place has gone to a waiter that has fewer places.
    ///
    /// Each call looks at one waiter, in turn. So the cost does not depend on their number, and a
    /// waiter with fewer places is found soon.
    ///
    /// @param places how many it has, this one included.
    bool keep(std::size_t places) noexcept {
        std::shared_ptr<detail::limit_waiter> other; // as above
        std::lock_guard const lock{mutex_};
        if (waiting_.empty()) {
            return true;
        }
        looked_at_ = (looked_at_ + 1) % waiting_.size();
        other = waiting_[looked_at_].owner.lock();
        if (other && other->places() >= places) {
            return true;
        }
        waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(looked_at_));
        if (other) {
            other->place_granted();
        }
        return !other;
    }

    /// For the library. After this `waiter` is granted nothing.
    void withdraw(detail::limit_waiter const& waiter) noexcept {
        std::lock_guard const lock{mutex_};
        std::erase_if(waiting_, [&](auto const& other) { return other.waiter == &waiter; });
    }

private:
    struct one_waiting {
        detail::limit_waiter const* waiter;
        std::weak_ptr<detail::limit_waiter> owner;
    };

    std::mutex mutex_;
    std::size_t free_;
    std::vector<one_waiting> waiting_; // in the order of their turns
    std::size_t looked_at_ = 0;        // among these, by `keep`
};

} // namespace kgroup
