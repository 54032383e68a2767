// SPDX-License-Identifier: MIT

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <system_error>
#include <vector>

namespace kgroup::detail {

/// Which records a flush waits for, and which failures it tells. Counts only: a record is known by
/// the number of its epoch, and each flush ends one.
class delivery_epochs {
public:
    using number = std::uint64_t;

    struct failures {
        std::size_t count = 0;
        std::error_code first{};

        void add(std::error_code failure) noexcept {
            if (count++ == 0) {
                first = failure;
            }
        }
    };
    /// A flush that waits.
    struct flush {
        number last = 0; // the epoch up to which all must be settled
        failures found{};
    };

    /// A record was given in; returns its epoch.
    number add() noexcept {
        ++open_.back();
        return current();
    }
    /// It was acknowledged, or has failed.
    void settle(number epoch, std::error_code failure) noexcept {
        withdraw(epoch);
        if (!failure) {
            return;
        }
        auto told = false;
        for (auto* const waiting : flushes_) {
            if (waiting->last >= epoch) {
                waiting->found.add(failure);
                told = true;
            }
        }
        if (!told) {
            untold_.add(failure);
        }
    }
    /// It was not taken after all.
    void withdraw(number epoch) noexcept {
        --open_[static_cast<std::size_t>(epoch - first_)];
        while (open_.size() > 1 && open_.front() == 0) {
            open_.pop_front();
            ++first_;
        }
    }

    /// Begins a flush over everything that was given in, which gets the failures that no other has
    /// told; it must live until `end`.
    void begin(flush& begun) {
        flushes_.push_back(&begun);
        if (open_.back() == 0) {
            begun.last = current() - 1;
        } else {
            begun.last = current();
            open_.push_back(0);
        }
        begun.found = untold_;
        untold_ = {};
    }
    bool is_over(flush const& waiting) const noexcept { return first_ > waiting.last; }
    /// `told`: whether what it found was told.
    void end(flush& ended, bool told) noexcept {
        std::erase(flushes_, &ended);
        if (!told && ended.found.count != 0) {
            untold_ = {untold_.count + ended.found.count, ended.found.first};
        }
    }

private:
    number current() const noexcept { return first_ + open_.size() - 1; }

    number first_ = 1;
    std::deque<std::size_t> open_{0}; // records that are not settled, of each epoch
    failures untold_;
    std::vector<flush*> flushes_;
};

} // namespace kgroup::detail
