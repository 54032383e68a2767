// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/producer_state.hpp>

#include <chrono>
#include <cstddef>
#include <optional>
#include <utility>

namespace kgroup::detail {

/// Until when each step of a producer's stop may last: records are acknowledged until its time is
/// over, what is left then is purged, and what is not reported soon after never will be. Knows no
/// client and no clock.
class stop_schedule {
public:
    producer_phase phase() const noexcept { return phase_; }
    bool running() const noexcept { return phase_ == producer_phase::running; }
    bool stopped() const noexcept { return phase_ == producer_phase::stopped; }

    /// `stop_by`: until when records may be acknowledged.
    void begin(clock::time_point stop_by) noexcept {
        phase_ = producer_phase::stopping;
        stop_by_ = stop_by;
    }
    /// Whether the records that are left are to be purged now; that is said once.
    bool purge(clock::time_point now, std::size_t left) noexcept {
        return phase_ == producer_phase::stopping && left != 0 && now >= stop_by_ &&
               !std::exchange(purged_, true);
    }
    /// Whether the producer is stopped from now on; that is said once.
    bool finish(clock::time_point now, std::size_t left) noexcept {
        if (phase_ != producer_phase::stopping ||
            (left != 0 && !(purged_ && now >= stop_by_ + time_of_purge))) {
            return false;
        }
        phase_ = producer_phase::stopped;
        return true;
    }
    /// Whether callers that wait for the stop are told. `handles`: librdkafka's producers that are
    /// not destroyed yet; that may take longer than a caller wants to wait.
    bool is_over(clock::time_point now, std::size_t handles) const noexcept {
        return stopped() && (handles == 0 || now >= stop_by_ + time_of_destruction);
    }

    /// When the next step is due, whatever happens until then. `awaited`: somebody waits for it.
    std::optional<clock::time_point> due(bool awaited) const noexcept {
        switch (phase_) {
        case producer_phase::running:
            break;
        case producer_phase::stopping:
            return purged_ ? stop_by_ + time_of_purge : stop_by_;
        case producer_phase::stopped:
            if (awaited) {
                return stop_by_ + time_of_destruction;
            }
            break;
        }
        return std::nullopt;
    }

private:
    // Both from the end of the stop's own time.
    static constexpr std::chrono::seconds time_of_purge{1};
    static constexpr std::chrono::seconds time_of_destruction{2};

    producer_phase phase_ = producer_phase::running;
    clock::time_point stop_by_{};
    bool purged_ = false;
};

} // namespace kgroup::detail
