// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/clock.hpp>

#include <chrono>
#include <cstdint>
#include <exception>
#include <optional>
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

    /// Whether the record is given up if this attempt fails.
    bool last() const noexcept { return last_; }

    /// What the first attempt at this record failed with; null: none has failed.
    std::exception_ptr first_failure() const noexcept { return first_failure_; }

    /// The generation of the group in which this claim began. With the record's offset it is a
    /// fencing token: whoever owns the partition later has a higher one. -1: not known.
    std::int32_t generation() const noexcept { return generation_; }

    /// For the library.
    attempt(std::uint32_t number, bool last, std::exception_ptr first_failure,
            std::int32_t generation) noexcept
        : first_failure_(std::move(first_failure)),
          number_(number),
          generation_(generation),
          last_(last) {}

private:
    std::exception_ptr first_failure_;
    std::uint32_t number_;
    std::int32_t generation_;
    bool last_;
};

} // namespace kgroup
