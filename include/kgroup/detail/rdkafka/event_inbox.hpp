// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/client.hpp>

#include <functional>
#include <list>
#include <mutex>
#include <optional>
#include <utility>

namespace kgroup::detail {

/// One event, made before it is needed: who adds it needs no memory.
using prepared_event = std::list<client_event>;

inline prepared_event prepare(client_event event) {
    prepared_event made;
    made.push_back(std::move(event));
    return made;
}

/// A client's events that come from elsewhere than librdkafka's queue, and who is told that
/// something came.
///
/// Thread safety: safe.
class event_inbox {
public:
    explicit event_inbox(std::function<void()> notify = nullptr) : notify_(std::move(notify)) {}

    void add(client_event event) { add(prepare(std::move(event))); }
    void add(prepared_event event) noexcept {
        {
            std::lock_guard const lock{mutex_};
            events_.splice(events_.end(), std::move(event));
        }
        notify();
    }
    /// The oldest.
    std::optional<client_event> take() {
        std::lock_guard const lock{mutex_};
        if (events_.empty()) {
            return std::nullopt;
        }
        std::optional<client_event> first{std::move(events_.front())};
        events_.pop_front();
        return first;
    }

    /// Something came here or to librdkafka's queue.
    void notify() noexcept {
        std::lock_guard const lock{mutex_};
        if (notify_) {
            notify_();
        }
    }
    /// Nobody is told any more when this has returned.
    void stop() {
        std::lock_guard const lock{mutex_};
        notify_ = nullptr;
    }

private:
    std::mutex mutex_;
    std::function<void()> notify_;
    std::list<client_event> events_;
};

} // namespace kgroup::detail
