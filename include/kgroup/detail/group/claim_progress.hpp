// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/clock.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace kgroup::detail {

/// The progress of a claim, sampled in intervals: when it moved last, how fast, and how long its
/// oldest record has been in flight. It needs no clock for each record, and its memory does not
/// grow.
///
/// Each sample keeps the position of delivery at its time. The oldest record that is not done was
/// delivered before the first sample beyond it. When there are many samples, every second one is
/// dropped, and the distance between samples grows.
class claim_progress {
public:
    /// A sample of a claim. `reached` and `done` have one scale: offsets, or numbers in the order
    /// of delivery.
    struct look_at {
        std::uint64_t delivered = 0;
        std::int64_t reached = 0; // everything below has been delivered
        std::int64_t done = 0;    // everything below is done
        bool by_number = false;   // the scale
        bool rests = false;       // there is nothing to do, or only what others have to do
    };

    explicit claim_progress(clock::time_point now) noexcept
        : looked_(now),
          moved_(now),
          rested_(now) {}

    void look(look_at const& seen, clock::time_point now) noexcept {
        if (seen.by_number != last_.by_number || seen.reached < last_.reached) {
            size_ = 0; // another scale, or the log went back
        }
        if (seen.delivered != last_.delivered || seen.done != last_.done) {
            moved_ = now;
            rested_ = now;
        }
        if (seen.rests) {
            rested_ = now;
        }
        forget_done(seen.done);
        if (seen.reached > seen.done && (size_ == 0 || looks_[size_ - 1].reached < seen.reached)) {
            keep({now, seen.reached});
        }
        auto const elapsed = std::chrono::duration<double>(now - looked_).count();
        if (elapsed > 0) {
            auto const current = static_cast<double>(seen.delivered - last_.delivered) / elapsed;
            rate_ += (current - rate_) * (1 - std::exp(-elapsed / rate_window));
        }
        looked_ = now;
        last_ = seen;
    }

    clock::time_point moved() const noexcept { return moved_; }
    /// Since when there has been something to do, and nothing moved.
    clock::time_point stands_since() const noexcept { return rested_; }
    /// nullopt: nothing was in flight when last looked at.
    std::optional<clock::time_point> oldest_in_flight() const noexcept {
        return size_ == 0 ? std::nullopt : std::optional{looks_[0].when};
    }
    /// Records a second.
    double rate() const noexcept { return rate_; }

private:
    struct kept_look {
        clock::time_point when{};
        std::int64_t reached = 0;
    };
    static constexpr double rate_window = 10; // seconds

    void forget_done(std::int64_t done) noexcept {
        std::size_t over = 0;
        while (over != size_ && looks_[over].reached <= done) {
            ++over;
        }
        std::copy(looks_.begin() + over, looks_.begin() + size_, looks_.begin());
        size_ -= over;
    }
    // In distances of a tenth of what they span, about.
    void keep(kept_look const& look) noexcept {
        if (size_ < looks_.size() / 4) {
            distance_ /= 2;
        }
        if (size_ != 0 && look.when - looks_[size_ - 1].when < distance_) {
            return;
        }
        if (size_ == looks_.size()) {
            for (std::size_t i = 1; i != size_ / 2; ++i) {
                looks_[i] = looks_[2 * i];
            }
            size_ /= 2;
            distance_ = (std::max)(2 * distance_, 2 * (look.when - looks_[0].when) /
                                                      static_cast<clock::rep>(looks_.size()));
        }
        looks_[size_++] = look;
    }

    std::array<kept_look, 40> looks_{};
    std::size_t size_ = 0;
    clock::duration distance_{}; // of two looks that are kept
    look_at last_{};
    clock::time_point looked_;
    clock::time_point moved_;
    clock::time_point rested_; // or moved
    double rate_ = 0;
};

} // namespace kgroup::detail
