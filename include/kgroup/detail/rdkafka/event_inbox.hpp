// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/client/client.hpp>

#include <functional>
#include <list>
#include <mutex>
#include <optional>
#include <utility>

namespace kgroup::detail {

/// One event, made before it is needed: who adds it needs no memory.
template <typename Event>
using prepared = std::list<Event>;
using prepared_event = prepared<client_event>;

inline prepared_event prepare(client_event event) {
    prepared_event made;
    made.push_back(std::move(event));
    return made;
}

/// What comes to a client from elsewhere than librdkafka's queue, and who is told that something
/// came.
///
/// Thread safety: safe.
template <typename Event>
class basic_event_inbox {
public:
    explicit basic_event_inbox(std::function<void()> notify = nullptr)
        : notify_(std::move(notify)) {}

    /// @throws std::bad_alloc
    void add(Event event) {
        prepared<Event> made;
        made.push_back(std::move(event));
        add(std::move(made));
    }
    void add(prepared<Event> event) noexcept {
        {
            std::lock_guard const lock{mutex_};
            events_.splice(events_.end(), std::move(event));
        }
        notify();
    }
    /// The oldest.
    std::optional<Event> take() {
        std::lock_guard const lock{mutex_};
        if (events_.empty()) {
            return std::nullopt;
        }
        std::optional<Event> first{std::move(events_.front())};
        events_.pop_front();
        return first;
    }

    /// Who is told from here on.
    void begin(std::function<void()> notify) {
        std::lock_guard const lock{mutex_};
        notify_ = std::move(notify);
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
    std::list<Event> events_;
};

/// Of events that are the client's as they come.
using event_inbox = basic_event_inbox<client_event>;

} // namespace kgroup::detail
