// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/process/attempt_cancellation.hpp>
#include <kgroup/message.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <utility>

namespace kgroup::detail {

struct task;

struct task_link {
    task* next = nullptr;
    task* previous = nullptr;
};

/// A record that `for_each` has taken from its claim and that is not done.
struct task {
    std::optional<message> record;
    std::optional<std::uint64_t> lane; // none: it runs beside everything
    std::uint64_t sequence = 0;        // in the order in which records were taken
    std::uint32_t attempts = 0;        // that failed and count
    bool running = false;
    bool has_place = false;  // under the limit
    bool in_letters = false; // as a dead letter
    bool timed_out = false;  // the attempt that runs was cancelled for it
    bool key_failed = false; // its lane is not known yet
    std::exception_ptr first_failure;
    std::exception_ptr given_up; // what for; its dead letter is under way
    clock::time_point letter_began{};
    clock::time_point fetched{};     // from the client
    clock::time_point first_began{}; // the first attempt that counts
    clock::time_point time{};        // runs: when the attempt began; waits for a retry: until when
    std::size_t bytes = 0;
    attempt_cancellation* cancellation = nullptr; // of the attempt that runs
    task_link place;                              // among those that wait for the same, or run
    task_link age;                                // among all
};

/// Tasks in a row. Owns nothing; a task is in one list of each link.
template <task_link task::*Link>
class linked_tasks {
public:
    bool empty() const noexcept { return first_ == nullptr; }
    task* front() const noexcept { return first_; }
    task* back() const noexcept { return last_; }

    void push_back(task& added) noexcept {
        added.*Link = {nullptr, last_};
        (last_ ? (last_->*Link).next : first_) = &added;
        last_ = &added;
    }
    void erase(task& removed) noexcept {
        auto const link = std::exchange(removed.*Link, {});
        (link.previous ? (link.previous->*Link).next : first_) = link.next;
        (link.next ? (link.next->*Link).previous : last_) = link.previous;
    }
    task* pop_front() noexcept {
        auto* const first = first_;
        if (first) {
            erase(*first);
        }
        return first;
    }
    /// Appends all of `other`, which is empty then.
    void splice(linked_tasks& other) noexcept {
        if (other.empty()) {
            return;
        }
        (last_ ? (last_->*Link).next : first_) = other.first_;
        (other.first_->*Link).previous = last_;
        last_ = std::exchange(other.last_, nullptr);
        other.first_ = nullptr;
    }

private:
    task* first_ = nullptr;
    task* last_ = nullptr;
};

using task_list = linked_tasks<&task::place>;
using tasks_by_age = linked_tasks<&task::age>;

} // namespace kgroup::detail
