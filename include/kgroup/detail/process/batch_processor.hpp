// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/attempt.hpp>
#include <kgroup/claim.hpp>
#include <kgroup/collect_limits.hpp>
#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/process/attempt_cancellation.hpp>
#include <kgroup/detail/process/held_letter_watch.hpp>
#include <kgroup/detail/process/other_executor.hpp>
#include <kgroup/detail/process/processed_function.hpp>
#include <kgroup/detail/process/retry_policy.hpp>
#include <kgroup/detail/separate_compilation.hpp>
#include <kgroup/for_each_options.hpp>
#include <kgroup/limit.hpp>
#include <kgroup/message_channel.hpp>

#include <asio/awaitable.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <random>
#include <string>

namespace kgroup::detail {

using batch_function = basic_processed_function<message_batch>;

/// What `for_each_batch` is while it runs: one batch after another, one attempt after another. On
/// the claim's strand, but for `place_granted`.
class batch_processor final : public limit_waiter,
                              public std::enable_shared_from_this<batch_processor> {
public:
    batch_processor(claim& from, collect_limits const& limits, for_each_options const& options,
                    std::unique_ptr<batch_function> function);
    ~batch_processor() override;

    /// Until the claim has ended, or a failure that is not repeated; throws that.
    asio::awaitable<void> run();

    void place_granted() noexcept override;
    std::size_t places() const noexcept override { return 0; } // while it waits

private:
    asio::awaitable<void> drive();
    asio::awaitable<bool> collect();
    asio::awaitable<bool> wait_to_start();
    asio::awaitable<void> attempt_once();
    asio::awaitable<void> send_letters();
    asio::awaitable<void> watch(asio::awaitable<void> work, clock::time_point until);
    static asio::awaitable<void> call(std::shared_ptr<batch_processor> self, attempt current);
    static asio::awaitable<void> letter(std::shared_ptr<batch_processor> self,
                                        std::exception_ptr failure, std::uint32_t attempts,
                                        std::exception_ptr first_failure);
    asio::awaitable<void> rest(clock::time_point until);

    bool over() const noexcept { return cancelled_ || failure_ || state_->ended(); }
    bool take_place();
    void leave_place() noexcept;
    void return_granted() noexcept;
    void settle(std::exception_ptr failure);
    void observe(std::exception_ptr failure);
    void passed();
    void failed(std::exception_ptr failure, std::size_t concerned);
    void hold_off(std::exception_ptr const& failure);
    void give_up_on(std::size_t concerned, std::exception_ptr failure);
    void done(std::size_t count);
    void goes_on(char const* reason);
    void fail(std::exception_ptr failure);
    void tell_over();
    void tell_stall(clock::time_point now);
    std::string describe() const;
    void tell_held_letter(clock::time_point now);
    double random() { return std::uniform_real_distribution<double>{}(random_); }
    void report(event_kind kind, severity level, std::error_code error, std::string text);

    claim& claim_;
    std::shared_ptr<partition_state> state_; // also while a frame is abandoned
    collect_limits limits_;
    for_each_options options_;
    retry_policy policy_;
    std::unique_ptr<batch_function> function_;
    std::shared_ptr<other_executor> elsewhere_; // where the function runs, if not here
    message_batch batch_;                       // what is not done of the one at hand

    // Of its first record.
    std::uint32_t attempts_ = 0; // that failed and count
    std::exception_ptr first_failure_;
    clock::time_point first_began_{};
    clock::time_point not_before_{}; // the next attempt

    // Dead letters to send, from the first record on.
    std::size_t given_up_ = 0;
    std::exception_ptr given_up_for_;

    // Of the attempt, or the letter, that is under way.
    attempt_cancellation cancellation_;
    bool running_ = false;
    bool timed_out_ = false;
    clock::time_point began_{};
    std::exception_ptr attempt_failure_;

    std::uint32_t held_off_ = 0;  // attempts in a row that said `not_now`
    std::string held_off_reason_; // in words
    bool cancelled_ = false;
    std::exception_ptr failure_; // of a record that is given up
    clock::time_point progress_{};
    bool stalled_ = false;
    std::optional<clock::time_point> letter_began_; // of the one that is under way
    held_letter_watch held_letter_;
    std::atomic<bool> granted_{false};
    bool asked_for_place_ = false;
    bool has_place_ = false;
    std::minstd_rand random_;

    static constexpr auto stall_after = std::chrono::seconds{30};
};

} // namespace kgroup::detail

#ifndef KGROUP_SEPARATE_COMPILATION
#include <kgroup/detail/process/batch_processor.ipp>
#endif
