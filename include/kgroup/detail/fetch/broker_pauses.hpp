// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/fetch/partition_fetch.hpp>
#include <kgroup/detail/fetch/reconnect_delay.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <utility>

namespace kgroup::detail::fetch {

/// Until when a broker is left alone: it is not connected to for a while behind the end of a
/// connection, not asked while it throttles, and not polled again at once when it does not wait.
/// And what of it was told.
class broker_pauses {
public:
    bool may_connect(time_point now) const noexcept { return now >= connect_from_; }
    bool may_ask(time_point now) const noexcept { return now >= ask_from_; }
    bool may_poll(time_point now) const noexcept { return now >= poll_from_; }
    /// Whether it failed, and is not tried again yet.
    bool failing(time_point now) const noexcept { return failures_ != 0 && !may_connect(now); }
    /// The end of the pause that ends first; nullopt: there is none.
    std::optional<time_point> next_time(time_point now) const noexcept {
        std::optional<time_point> result;
        for (auto const end : {connect_from_, ask_from_, poll_from_}) {
            if (end > now && (!result || end < *result)) {
                result = end;
            }
        }
        return result;
    }

    /// A connection ended, or there was none to be had.
    ///
    /// @param first and `longest`, `random`: of `reconnect_delay`.
    void on_closed(std::chrono::milliseconds first, std::chrono::milliseconds longest,
                   std::uint32_t random, time_point now) noexcept {
        connect_from_ = now + reconnect_delay(first, longest, failures_, random);
        failures_ = (std::min)(failures_ + 1, 30);
    }
    /// It gave an answer that can be read.
    void on_answer() noexcept {
        failures_ = 0;
        told_ = false;
    }
    /// It is at another address.
    void on_moved() noexcept {
        failures_ = 0;
        connect_from_ = {};
    }
    /// @param time for which it answers nothing, as it says.
    void on_throttled(std::chrono::milliseconds time, time_point now) noexcept {
        ask_from_ = (std::max)(ask_from_, now + time);
    }
    /// A poll brought nothing.
    ///
    /// @param end until when the broker was to wait. If it does not, it is not asked without end.
    void on_empty_poll(time_point end, time_point now) noexcept {
        if (now + std::chrono::milliseconds{5} < end) {
            poll_from_ = (std::min)(end, now + std::chrono::milliseconds{50});
        }
    }

    /// Whether its failure is to be told: the first one since it was of use.
    bool tell_failure() noexcept { return !std::exchange(told_, true); }
    /// Not before it is of use again.
    void tell_nothing() noexcept { told_ = true; }
    /// Whether it is to be told that an answer to a fetch has parts that nobody asked for: the
    /// first one, since one had none.
    bool tell_strays(bool has_some) noexcept {
        return !std::exchange(told_strays_, has_some) && has_some;
    }
    /// Whether it is to be told that it does not know a request: once.
    bool tell_unsupported() noexcept { return !std::exchange(told_unsupported_, true); }

private:
    int failures_ = 0; // since it was of use
    time_point connect_from_{};
    time_point ask_from_{};
    time_point poll_from_{};
    bool told_ = false;
    bool told_strays_ = false;
    bool told_unsupported_ = false;
};

} // namespace kgroup::detail::fetch
