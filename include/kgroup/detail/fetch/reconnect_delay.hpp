// SPDX-License-Identifier: MIT

#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace kgroup::detail::fetch {

/// How long to wait before the next connection to a broker: as librdkafka does it, twice as long
/// after each failure, and between three quarters of that and half as much again. Where it is
/// configured not to wait, only the first connection is made at once: who does not listen is not
/// tried as fast as he refuses.
///
/// @param failures in a row so far, without this one.
/// @param random any number, each as likely as any other.
constexpr std::chrono::milliseconds reconnect_delay(std::chrono::milliseconds first,
                                                    std::chrono::milliseconds longest, int failures,
                                                    std::uint32_t random) noexcept {
    constexpr std::chrono::milliseconds shortest_again{10};
    if (failures != 0) {
        first = (std::max)(first, shortest_again);
        longest = (std::max)(longest, shortest_again);
    }
    auto delay = first;
    for (int i = 0; i != failures && delay < longest; ++i) {
        delay *= 2;
    }
    delay = delay * (75 + static_cast<int>(random % 76)) / 100;
    return (std::min)(delay, longest);
}

} // namespace kgroup::detail::fetch
