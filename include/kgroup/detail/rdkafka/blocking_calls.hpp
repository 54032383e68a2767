// SPDX-License-Identifier: MIT

#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

namespace kgroup::detail {

/// Calls that block, one after another, on a thread that lives as long as there are some.
///
/// Thread safety: safe.
class blocking_calls : public std::enable_shared_from_this<blocking_calls> {
public:
    /// `call` must not throw: on its thread there is nobody to tell. Throws when there is no thread
    /// or no memory for it.
    void add(std::function<void()> call) {
        std::lock_guard const lock{mutex_};
        if (!running_) {
            std::thread{[self = shared_from_this()] {
                self->run();
            }}.detach(); // waits for the lock
            running_ = true;
        }
        waiting_.push_back(std::move(call));
    }
    /// What has not begun is not called any more.
    void drop_rest() {
        std::lock_guard const lock{mutex_};
        waiting_.clear();
    }

private:
    void run() {
        for (;;) {
            std::function<void()> next;
            {
                std::lock_guard const lock{mutex_};
                if (waiting_.empty()) {
                    running_ = false;
                    return;
                }
                next = std::move(waiting_.front());
                waiting_.pop_front();
            }
            next();
        }
    }

    std::mutex mutex_;
    std::deque<std::function<void()>> waiting_;
    bool running_ = false;
};

} // namespace kgroup::detail
