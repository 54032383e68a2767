// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/group/group_counters.hpp>
#include <kgroup/detail/group/group_mail.hpp>
#include <kgroup/detail/group/user_task.hpp>

#include <asio/awaitable.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/co_spawn.hpp>

#include <exception>
#include <memory>
#include <set>
#include <utility>

namespace kgroup::detail {

/// Runs the user's coroutines, and knows those that the group has gone on without. On the group's
/// strand.
class user_tasks {
public:
    user_tasks(group_mail& mail, group_counters& counters) noexcept
        : mail_(mail),
          counters_(counters) {}

    /// Runs it. How it ends, it tells the group itself; after the run only the counters are told.
    ///
    /// `owner`: of this; it lives as long as the coroutine.
    void start(std::shared_ptr<void const> owner, std::shared_ptr<user_task> const& task) {
        try {
            auto const& place = task->place();
            // Asio looks at the slot once more when the coroutine has ended and the task may be
            // gone, so its place lives until then.
            asio::co_spawn(
                place->strand(), carry(std::move(owner), *this, task),
                asio::bind_cancellation_slot(place->slot(), [place](std::exception_ptr const&) {}));
        } catch (...) {
            if (!task->began) { // no memory to begin it: that is how it ends
                task->failure = std::current_exception();
                mail_.send(task);
            }
        }
    }

    /// The group goes on without it.
    void abandon(user_task& task) {
        task.abandoned = true;
        abandoned_.insert(&task);
    }
    /// How many live on is to be seen from now on.
    void count_abandoned() noexcept { counters_.set_abandoned(abandoned_.size()); }
    /// It has ended. true: the group has gone on without it.
    bool end(user_task const& task) noexcept {
        if (task.abandoned) {
            abandoned_.erase(&task);
            count_abandoned();
        }
        return task.abandoned;
    }

    bool any_abandoned() const noexcept { return !abandoned_.empty(); }
    bool lives_on(user_task const& task) const { return abandoned_.contains(&task); }

private:
    static asio::awaitable<void> carry(std::shared_ptr<void const> /* lives as long as this */,
                                       user_tasks& self, std::shared_ptr<user_task> task) {
        task->began = true;
        try {
            co_await task->call();
        } catch (...) {
            task->failure = std::current_exception();
        }
        task->leave();
        if (!self.mail_.send(task)) {
            self.counters_.ended_late(task->abandoned, task->failed(), task->late_messages);
        }
    }

    group_mail& mail_;
    group_counters& counters_;
    std::set<user_task const*> abandoned_; // that live on
};

} // namespace kgroup::detail
