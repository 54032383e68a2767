// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/for_each_options.hpp>
#include <kgroup/retry_options.hpp>

#include <chrono>
#include <cmath>
#include <stdexcept>
#include <string>
#include <string_view>

namespace kgroup::detail {

/// Refuses what cannot be meant, before a record is taken.
///
/// @throws std::invalid_argument names the field.
inline void check(retry_options const& options) {
    auto const require = [](bool holds, std::string_view words) {
        if (!holds) {
            throw std::invalid_argument{"kgroup: retry_options::" + std::string{words}};
        }
    };
    auto const& backoff = options.backoff;
    auto const zero = std::chrono::milliseconds::zero();
    require(options.attempts != 0, "attempts is 0; it counts the first one, too");
    require(backoff.initial >= zero, "backoff.initial is negative");
    require(backoff.max >= zero, "backoff.max is negative");
    require(std::isfinite(backoff.factor) && backoff.factor >= 1, "backoff.factor is less than 1");
    require(backoff.jitter >= 0 && backoff.jitter <= 1, "backoff.jitter is not from 0 to 1");
    require(options.give_up_after >= zero, "give_up_after is negative; 0 is no limit");
    require(options.attempt_timeout >= zero, "attempt_timeout is negative; 0 is no limit");
    require(options.classify != nullptr, "classify is null; its default is classify_failure");
}

inline void check(for_each_options const& options) {
    if (options.in_flight == 0) {
        throw std::invalid_argument{
            "kgroup: for_each_options::in_flight is 0; at least one attempt runs at a time"};
    }
    check(options.retry);
}

} // namespace kgroup::detail
