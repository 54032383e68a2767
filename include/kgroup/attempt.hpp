// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/claim/partition_state.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <exception>
#include <optional>
#include <stop_token>
#include <utility>

namespace kgroup {

/// One attempt at one record, for a function of `for_each` that asks for it.
///
/// *Thread safety.* All members: safe from any thread while the attempt runs.
///
/// *Lifetime.* As the call of the function.
class attempt {
public:
    /// From 1. An attempt that ended with `not_now`, or that the end of the claim cut short, does
    /// not count.
    std::uint32_t number() const noexcept { return number_; }

    /// Whether `retry_options::attempts` allows no other: if it fails, the record is given up. (It
    /// may be after another, too: see `give_up_after` and `permanent_failure`.)
    bool last() const noexcept { return last_; }

    /// What the first attempt at this record failed with; null: none has failed.
    std::exception_ptr first_failure() const noexcept { return first_failure_; }

    /// The generation of the group in which this claim began. With the record's offset it is a
    /// fencing token: a later owner of the partition has a higher generation. -1: not known.
    std::int32_t generation() const noexcept { return generation_; }

    /// When the attempt is cancelled unless it has ended: when `retry_options::attempt_timeout` is
    /// over, or at the claim's `finish_by` once the claim has ended, whichever comes first.
    /// nullopt: it has no limit so far; a rebalance may give it one at any time.
    ///
    /// By the steady clock, so that a timeout of what is called can be set to it. In a test that
    /// moves the clock (`testing::advance`) each call says what is left from then on.
    std::optional<std::chrono::steady_clock::time_point> finish_by() const noexcept {
        auto by = until_;
        if (claim_) {
            by = (std::min)(by, claim_->finish_by().value_or(by));
        }
        return by == (detail::clock::time_point::max)() ? std::nullopt
                                                        : std::optional{detail::clock::steady(by)};
    }

    /// Says whether the attempt is cancelled. It is for work that blocks: check `stop_requested()`
    /// now and then, or pass the token on. Work that awaits is cancelled (`terminal`) at the same
    /// moment. A `std::stop_callback` runs on the claim's strand. It says nothing any more when the
    /// call has ended.
    std::stop_token token() const noexcept {
        return stop_ ? stop_->get_token() : std::stop_token{};
    }

    /// For the library. What is pointed to outlives it.
    attempt(std::uint32_t number, bool last, std::exception_ptr first_failure,
            detail::partition_state const* claim, detail::clock::time_point until,
            std::stop_source const* stop) noexcept
        : first_failure_(std::move(first_failure)),
          claim_(claim),
          stop_(stop),
          until_(until),
          number_(number),
          generation_(claim ? claim->generation() : -1),
          last_(last) {}

private:
    std::exception_ptr first_failure_;
    detail::partition_state const* claim_;
    std::stop_source const* stop_;
    detail::clock::time_point until_;
    std::uint32_t number_;
    std::int32_t generation_;
    bool last_;
};

} // namespace kgroup
