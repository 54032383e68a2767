// SPDX-License-Identifier: MIT

#pragma once

// The standard library first: with Asio 1.22 and libstdc++ it depends on that how Asio allocates,
// and all files of a program must agree.
#include <atomic>
#include <chrono>

namespace kgroup::detail {

/// The steady clock, with a lead that tests may advance: every deadline of kgroup's is kept by it,
/// so that a test of a deadline does not wait for it.
struct clock {
    using duration = std::chrono::steady_clock::duration;
    using rep = duration::rep;
    using period = duration::period;
    using time_point = std::chrono::time_point<clock>;
    static constexpr bool is_steady = true;

    static time_point now() noexcept {
        return time_point{std::chrono::steady_clock::now().time_since_epoch() +
                          duration{lead.load(std::memory_order_relaxed)}};
    }

    /// The end of a time that begins now, however long that is.
    static time_point after(std::chrono::nanoseconds limit) noexcept { return after(now(), limit); }

    /// So long after another time; the last there is, where that is further than any.
    template <typename Limit>
    static time_point after(time_point begin, Limit limit) noexcept {
        return limit < std::chrono::duration_cast<Limit>((time_point::max)() - begin)
                   ? std::chrono::time_point_cast<duration>(begin + limit)
                   : (time_point::max)();
    }

    /// When the steady clock will show what this one shows at `when`, if nobody advances this one
    /// any further.
    static std::chrono::steady_clock::time_point steady(time_point when) noexcept {
        return std::chrono::steady_clock::time_point{
            when.time_since_epoch() - duration{lead.load(std::memory_order_relaxed)}};
    }

    inline static std::atomic<rep> lead{0};
};

} // namespace kgroup::detail
