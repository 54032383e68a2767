// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/process/key_lanes.hpp>
#include <kgroup/detail/process/task.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace kgroup::detail {

/// Decides which of the records taken may run now, and what the others wait for. Knows no claim, no
/// function and no executor; time is an argument. Every operation costs O(1), those of retries
/// O(log n) of them.
///
/// A task is in one of four places: behind another of its lane, ready, waiting for a retry (and
/// keeps its lane meanwhile), or running.
class task_schedule {
public:
    /// A record was taken. true: it is ready. false: it waits behind another of its lane.
    bool add(task& added) {
        if (added.lane && !lanes_.enter(added)) {
            joined(added);
            held_bytes_ += added.bytes;
            ++in_lanes_;
            return false;
        }
        joined(added);
        make_ready(added);
        return true;
    }

    bool has_ready() const noexcept { return !ready_.empty(); }

    /// The one that became ready first, which runs from now on. Not where none is.
    task& start_next(clock::time_point now) noexcept {
        auto& started = *ready_.pop_front();
        held_bytes_ -= started.bytes;
        started.time = now;
        begin_running(started);
        return started;
    }

    /// It runs and its lane is known only now. false: the lane is busy, and it waits in it instead.
    bool enter_lane(task& running) {
        stopped(running);
        auto entered = false;
        try {
            entered = lanes_.enter(running);
        } catch (...) {
            running.lane.reset();
            begin_running(running);
            throw;
        }
        if (entered) {
            begin_running(running);
        } else {
            held_bytes_ += running.bytes;
            ++in_lanes_;
        }
        return entered;
    }

    /// What runs is no attempt any more: its dead letter is under way.
    void begin_letter(task& given_up) noexcept {
        running_.erase(given_up);
        letters_.push_back(given_up);
        given_up.in_letters = true;
    }

    /// It runs no more and is done with: the next of its lane is ready.
    void finish(task& finished) noexcept {
        stopped(finished);
        by_age_.erase(finished);
        --count_;
        pass_lane(finished);
    }

    /// It runs no more and waits until `due`; its lane waits with it. Throws `std::bad_alloc`: then
    /// it runs still.
    void retry_at(task& failed, clock::time_point due) {
        retries_.push_back({due, &failed});
        std::push_heap(retries_.begin(), retries_.end());
        parked_lanes_ += failed.lane ? 1 : 0;
        stopped(failed);
        failed.time = due;
        held_bytes_ += failed.bytes;
    }

    /// It takes so many bytes.
    void set_bytes(task& changed, std::size_t bytes) noexcept {
        if (!changed.running) {
            held_bytes_ += bytes - changed.bytes;
        }
        changed.bytes = bytes;
    }

    /// Makes those ready whose time has come.
    void make_due_ready(clock::time_point now) noexcept {
        while (!retries_.empty() && retries_.front().due <= now) {
            auto& due = *retries_.front().waiting;
            std::pop_heap(retries_.begin(), retries_.end());
            retries_.pop_back();
            held_bytes_ -= due.bytes;
            parked_lanes_ -= due.lane ? 1 : 0;
            make_ready(due);
        }
    }
    std::optional<clock::time_point> next_due() const noexcept {
        return retries_.empty() ? std::nullopt : std::optional{retries_.front().due};
    }

    /// Takes out everything that does not run. What runs has no lane any more.
    task_list clear() noexcept {
        auto dropped = lanes_.clear();
        dropped.splice(ready_);
        for (auto const& waits : std::exchange(retries_, {})) {
            dropped.push_back(*waits.waiting);
        }
        for (auto* left = dropped.front(); left; left = left->place.next) {
            by_age_.erase(*left);
            --count_;
        }
        for (auto const* const under_way : {&running_, &letters_}) {
            for (auto* left = under_way->front(); left; left = left->place.next) {
                left->lane.reset();
            }
        }
        held_bytes_ = in_lanes_ = parked_lanes_ = 0;
        return dropped;
    }

    /// Attempts, in the order in which they began.
    task_list const& running() const noexcept { return running_; }
    /// Those whose dead letters are under way, in the order in which they were given up.
    task_list const& letters() const noexcept { return letters_; }
    /// All, in the order in which they were taken.
    tasks_by_age const& by_age() const noexcept { return by_age_; }

    std::size_t size() const noexcept { return count_; }
    /// Attempts and letters.
    std::size_t running_count() const noexcept { return running_count_; }
    /// Of what does not run.
    std::size_t held_bytes() const noexcept { return held_bytes_; }
    /// How many wait behind another of their key.
    std::size_t in_lanes() const noexcept { return in_lanes_; }
    std::size_t busy_lanes() const noexcept { return lanes_.size(); }
    std::size_t waiting_for_retry() const noexcept { return retries_.size(); }
    /// How many lanes wait with one of these.
    std::size_t parked_lanes() const noexcept { return parked_lanes_; }
    /// How many are in the lane that has the most, the one that runs included.
    std::size_t longest_lane() const noexcept { return lanes_.longest(); }

private:
    struct retry {
        clock::time_point due;
        task* waiting;

        // The earliest first; of the same time, the record that was taken first.
        friend bool operator<(retry const& left, retry const& right) noexcept {
            return left.due != right.due ? left.due > right.due
                                         : left.waiting->sequence > right.waiting->sequence;
        }
    };

    void joined(task& added) noexcept {
        by_age_.push_back(added);
        ++count_;
    }
    void make_ready(task& next) noexcept {
        held_bytes_ += next.bytes;
        ready_.push_back(next);
    }
    void begin_running(task& started) noexcept {
        started.running = true;
        running_.push_back(started);
        ++running_count_;
    }
    void stopped(task& ended) noexcept {
        ended.running = false;
        (std::exchange(ended.in_letters, false) ? letters_ : running_).erase(ended);
        --running_count_;
    }
    void pass_lane(task const& from) noexcept {
        if (!from.lane) {
            return;
        }
        if (auto* const next = lanes_.leave(*from.lane)) {
            --in_lanes_;
            ready_.push_back(*next);
        }
    }

    key_lanes lanes_;
    task_list ready_;
    task_list running_;
    task_list letters_; // run, too, in their way
    tasks_by_age by_age_;
    std::vector<retry> retries_; // a heap
    std::size_t count_ = 0;
    std::size_t running_count_ = 0;
    std::size_t held_bytes_ = 0;
    std::size_t in_lanes_ = 0;
    std::size_t parked_lanes_ = 0;
};

} // namespace kgroup::detail
