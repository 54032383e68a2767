// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/failure.hpp>
#include <kgroup/retry_options.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <exception>
#include <optional>

namespace kgroup::detail {

/// What follows a failed attempt: how long to wait, or that it was the last. Knows no record.
class retry_policy {
public:
    explicit retry_policy(retry_options const& options) noexcept : options_(options) {}

    retry_options const& options() const noexcept { return options_; }

    /// When to try again after the `attempts`-th failure; nullopt: the record is given up.
    /// `first_began`: the first of these attempts. `random`: from 0 to 1.
    std::optional<clock::time_point> next_attempt(std::uint32_t attempts,
                                                  clock::time_point first_began,
                                                  clock::time_point now,
                                                  double random) const noexcept {
        if (attempts >= options_.attempts) {
            return std::nullopt;
        }
        auto const next = now + wait(attempts, random);
        if (options_.give_up_after.count() > 0 &&
            next > clock::after(first_began, options_.give_up_after)) {
            return std::nullopt;
        }
        return next;
    }

    /// When an attempt that began at this time is cancelled for it.
    clock::time_point times_out(clock::time_point began) const noexcept {
        auto const limit = options_.attempt_timeout;
        return limit.count() > 0 ? clock::after(began, limit) : (clock::time_point::max)();
    }

    /// The wait after so many failures in a row.
    clock::duration wait(std::uint32_t failures, double random) const noexcept {
        auto const& backoff = options_.backoff;
        auto const longest = static_cast<double>((std::min)(backoff.max, for_ever).count());
        auto const whole =
            (std::min)(longest, static_cast<double>(backoff.initial.count()) *
                                    std::pow(backoff.factor, static_cast<double>(failures - 1)));
        return std::chrono::duration_cast<clock::duration>(
            std::chrono::duration<double, std::milli>{whole * (1 - backoff.jitter * random)});
    }

private:
    // A century: what is longer is not a time of the clock's any more.
    static constexpr std::chrono::milliseconds for_ever = std::chrono::hours{876'000};

    retry_options options_;
};

} // namespace kgroup::detail
