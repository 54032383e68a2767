// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/events/event_filter.hpp>
#include <kgroup/detail/events/event_line.hpp>
#include <kgroup/detail/events/lasting_conditions.hpp>
#include <kgroup/detail/group/group_counters.hpp>
#include <kgroup/event.hpp>
#include <kgroup/print.hpp>
#include <kgroup/topic_partition.hpp>

#include <chrono>
#include <exception>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kgroup::detail {

/// The way of an event to `config::on_event`, or to standard error: repeated ones are limited, and
/// the end of a condition is told when its begin was. On the group's strand.
class event_sink {
public:
    using receiver = std::function<void(event const&)>;
    using failure_handler = std::function<void(std::exception_ptr)>;

    /// `on_failure` is called with what the receiver throws, and when there is no memory to report.
    event_sink(receiver on_event, std::string group_id, group_counters& counters,
               failure_handler on_failure)
        : on_event_(std::move(on_event)),
          group_id_(std::move(group_id)),
          counters_(counters),
          on_failure_(std::move(on_failure)) {}

    void report(event told) {
        if (closed_) {
            return;
        }
        try {
            if (ends(told.kind)) {
                for (auto& end : conditions_.end(told)) {
                    publish(std::move(end));
                }
                return;
            }
            auto const now = clock::now();
            auto const passes = filter_.passes(told, now);
            if (ended_by(told.kind)) {
                conditions_.note(told, passes, now);
            }
            if (!passes) {
                return counters_.add(&group_stats::events_dropped);
            }
            publish(std::move(told));
        } catch (...) {
            on_failure_(std::current_exception());
        }
    }

    /// What lasts, for any thread to read.
    lasting_conditions const& conditions() const noexcept { return conditions_; }
    bool lasts(event_kind begin) const { return conditions_.lasts(begin); }
    std::vector<lasting_conditions::condition> lasting(event_kind begin) const {
        return conditions_.of(begin);
    }
    /// Nothing lasts any more that concerns a partition, which is not owned any more.
    void end_all_of(topic_partition const& partition, std::string const& text) {
        publish_all(conditions_.end_of(partition, text));
    }
    /// See `lasting_conditions::end_without_place`.
    void end_without_place(event_kind begin, clock::time_point silent_since,
                           std::string_view text) {
        publish_all(conditions_.end_without_place(begin, silent_since, text));
    }
    /// Tells conditions whose begin was kept back, and that last all the same.
    void report_kept_back(clock::time_point now) {
        for (auto& begin : conditions_.kept_back(now, std::chrono::seconds{10})) {
            report(std::move(begin));
        }
    }

    /// Nothing is told from now on, and the receiver is not kept.
    void close() noexcept {
        closed_ = true;
        on_event_ = nullptr;
    }
    bool closed() const noexcept { return closed_; }

private:
    void publish_all(std::vector<event> events) {
        for (auto& told : events) {
            publish(std::move(told));
        }
    }

    void publish(event told) {
        if (closed_) {
            return;
        }
        try {
            told.text = one_line(words_beside(told.error, std::move(told.text)));
            if (on_event_) {
                on_event_(told);
            } else {
                print(told, group_id_);
            }
        } catch (...) {
            on_failure_(std::current_exception());
        }
    }

    receiver on_event_;
    std::string group_id_;
    group_counters& counters_;
    failure_handler on_failure_;
    event_filter filter_;
    lasting_conditions conditions_;
    bool closed_ = false;
};

} // namespace kgroup::detail
