// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/attempt.hpp>
#include <kgroup/claim.hpp>
#include <kgroup/detail/asio/auto_reset_event.hpp>
#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/process/attempt_cancellation.hpp>
#include <kgroup/detail/process/held_letter_watch.hpp>
#include <kgroup/detail/process/other_executor.hpp>
#include <kgroup/detail/process/processed_function.hpp>
#include <kgroup/detail/process/retry_policy.hpp>
#include <kgroup/detail/process/task.hpp>
#include <kgroup/detail/process/task_schedule.hpp>
#include <kgroup/detail/separate_compilation.hpp>
#include <kgroup/for_each_options.hpp>

#include <asio/awaitable.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace kgroup::detail {

/// What `for_each` is while it runs: takes records from a claim, has workers call the function, and
/// settles what becomes of each record. On the claim's strand, but for `place_granted`.
///
/// A worker is a coroutine that calls the function for one record after another and takes the next
/// record by itself. There are as many as attempts were ever under way together. One coroutine, the
/// driver, waits for what no worker waits for: records, due retries, the ends of attempts and of
/// the claim.
class record_processor final : public limit_waiter,
                               public std::enable_shared_from_this<record_processor> {
public:
    record_processor(claim& from, for_each_options const& options,
                     std::unique_ptr<processed_function> function);
    ~record_processor() override;

    /// Until the claim has ended, or a failure that is not repeated; throws that.
    asio::awaitable<void> run();

    void place_granted() noexcept override;
    std::size_t places() const noexcept override { return places_.load(); }

private:
    /// Why there is no record to start now.
    enum class obstacle {
        none,
        no_record,  // the channel has none, or is closed for a while
        in_flight,  // as many run as may
        held_bytes, // as much waits as may
        replay,     // the oldest is too far behind
        place,      // others have all places of the limit
        turn,       // others on the executor are to have theirs
        held_off,   // what the function depends on is away
        ending,
    };
    enum class ending { none, claim, failure, cancelled };

    struct worker {
        attempt_cancellation cancellation;
        suspended_handler parked;
        task* current = nullptr;
        std::shared_ptr<other_executor> elsewhere; // where the function runs, if not here
    };
    /// Nothing new starts, because the last attempt said `not_now`.
    struct hold_off {
        clock::time_point since;
        clock::time_point until;
        std::string reason; // the function's words
        std::uint32_t failures = 1;
        task const* probe = nullptr;
    };

    // The driver.
    asio::awaitable<void> drive();
    void look_around();
    void begin_ending(ending why);
    void fail(std::exception_ptr failure);
    void tell_over();
    void cancel_running();
    void start_what_may();
    void release_workers();
    void drop_idle_workers();
    // At the end of its scope. (Of a lambda in a coroutine that is compiled apart, g++ 12 warns.)
    struct workers_dropped {
        record_processor& processor;
        ~workers_dropped() { processor.drop_idle_workers(); }
    };
    std::optional<clock::time_point> next_deadline() const;
    void time_out_attempts(clock::time_point now);
    void tell_stall(clock::time_point now);
    void tell_held_letters(clock::time_point now);

    // Workers.
    void give(task& started);
    static asio::awaitable<void> work(std::shared_ptr<record_processor> self, worker& me);
    asio::awaitable<bool> park(worker& me);
    bool concerns_driver(obstacle before) const noexcept;
    void worker_ended(worker& ended, std::exception_ptr failure);

    // Records.
    task* next(clock::time_point now);
    obstacle find_next();
    obstacle take_record();
    void find_lane(task& taken);
    bool enter_lane(task& running);
    bool take_place();
    void leave(task& stopped) noexcept;
    void give_place_back() noexcept;
    void return_places() noexcept;
    void return_granted() noexcept;
    void settle(task& ended, std::exception_ptr failure, clock::time_point now);
    void observe(task const& ended, std::exception_ptr failure, clock::time_point now);
    void show_figures() noexcept;
    clock::time_point attempt_since() const noexcept;
    void done(task& finished, clock::time_point now);
    void failed(task& ended, std::exception_ptr failure);
    void hold_off_after(task& ended, std::exception_ptr const& failure);
    void give_up_on(task& ended, std::exception_ptr failure);
    void end_with(task& ended, std::exception_ptr failure);
    void tell_failure(task const& undone, std::exception_ptr const& failure);
    void give_up_undone(task& ended) noexcept;
    void letter_over(task& ended, std::exception_ptr failure, clock::time_point now);
    void retry(task& ended, clock::time_point due);
    void acknowledge(task& finished, clock::time_point now);
    void finish(task& ended) noexcept;
    void release(task& ended) noexcept;
    void copy_what_waits() noexcept;
    void copy(task& waiting) noexcept;
    task& new_task();
    attempt attempt_at(task const& started, worker& by) const;
    double random() { return std::uniform_real_distribution<double>{}(random_); }
    void report(event_kind kind, severity level, std::error_code error, std::string text);
    std::string describe(task const& oldest, clock::time_point now) const;

    claim& claim_;
    std::shared_ptr<partition_state> state_; // also while a frame is abandoned
    for_each_options options_;
    retry_policy policy_;
    std::unique_ptr<processed_function> function_;
    task_schedule schedule_;
    std::deque<task> tasks_; // all that there ever were together
    task_list spare_tasks_;
    std::vector<std::unique_ptr<worker>> workers_;
    std::vector<worker*> idle_workers_;
    std::size_t live_workers_ = 0;
    std::minstd_rand random_;
    std::uint64_t seed_;
    std::uint64_t taken_ = 0;
    std::uint64_t block_begin_ = 0; // the sequence of the first record of the block at hand
    obstacle obstacle_ = obstacle::none;
    ending ending_ = ending::none;
    bool cancelled_running_ = false;
    std::exception_ptr failure_;
    std::optional<clock::time_point> ending_deadline_;
    std::optional<hold_off> hold_off_;
    std::uint32_t turn_left_ = turn;
    std::uint64_t finished_ = 0; // records, for the watch over progress
    std::uint64_t finished_before_ = 0;
    clock::time_point progress_{};
    bool stalled_ = false;
    held_letter_watch held_letters_;
    std::optional<clock::time_point> armed_until_; // the driver's wait
    std::atomic<std::size_t> places_{0};           // under the limit, all of them
    std::atomic<std::size_t> granted_{0};
    bool asked_for_place_ = false;
    std::size_t left_places_ = 0; // by what has stopped, for what starts next in the same step

    static constexpr std::uint32_t turn = 256;
    static constexpr std::size_t task_overhead = 512; // of a copy, and a task
    static constexpr auto stall_after = std::chrono::seconds{30};
};

} // namespace kgroup::detail

#ifndef KGROUP_SEPARATE_COMPILATION
#include <kgroup/detail/process/record_processor.ipp>
#endif
