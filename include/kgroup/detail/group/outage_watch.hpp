// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/error.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <system_error>
#include <utility>

namespace kgroup::detail {

/// Tells records that arrived after some moment from those that were in a queue by then: a queue
/// may hold old ones for long.
class new_arrivals {
public:
    /// `held`: how many may have been taken out of the queue without having been delivered.
    new_arrivals(std::uint64_t delivered, std::size_t queued, std::size_t held) noexcept
        : old_(delivered + queued + held),
          queued_(queued) {}

    /// `drained`: the handler waits and nothing is queued. `delivered` is to be read last.
    bool seen(std::size_t queued, bool drained, std::uint64_t delivered) noexcept {
        if (queued > queued_ || delivered > old_) {
            return true;
        }
        queued_ = queued;
        if (drained) {
            old_ = delivered;
        }
        return false;
    }

private:
    std::uint64_t old_;  // of all delivered records, those up to here may be from before
    std::size_t queued_; // at the last look
};

/// Whether a broker has said this: it is not an error of librdkafka's own, as that none could be
/// reached.
inline bool is_answer_of_broker(std::error_code const& ec) noexcept {
    return !ec || (ec.category() == kafka_category() && ec.value() > 0);
}

/// An outage: no broker can be reached, or brokers refuse this member. librdkafka reports its
/// begin, but not its end. It ends when a broker has answered. While it lasts, the member asks
/// brokers.
class outage_watch {
public:
    static constexpr auto interval = std::chrono::seconds{5};

    /// false: it lasts already.
    bool begin(clock::time_point now) noexcept {
        next_question_ = lasts_ ? next_question_ : now + interval;
        return !std::exchange(lasts_, true);
    }
    bool lasts() const noexcept { return lasts_; }
    /// A broker has answered. true: that is the end.
    bool answered() noexcept { return std::exchange(lasts_, false); }
    /// Whether brokers are to be asked now.
    bool question_is_due(clock::time_point now) noexcept {
        if (!lasts_ || now < next_question_) {
            return false;
        }
        next_question_ = now + interval;
        return true;
    }

private:
    bool lasts_ = false;
    clock::time_point next_question_{};
};

} // namespace kgroup::detail
