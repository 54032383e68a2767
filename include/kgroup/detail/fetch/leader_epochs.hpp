// SPDX-License-Identifier: MIT

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace kgroup::detail::fetch {

/// The epoch of a batch, which its checksum does not cover. Who knows the leader's sends no later
/// one.
///
/// @param leader of the leader that was asked; -1: it is not known.
/// @return -1: none that can be.
constexpr std::int32_t believed_epoch(std::int32_t batch, std::int32_t leader) noexcept {
    return batch >= 0 && (leader < 0 || batch <= leader) ? batch : -1;
}

/// In which leaders' epochs the records of a log were written, as far as the log was fetched.
/// Offsets are committed with the epoch of the record before, so that the next owner of the
/// partition finds out whether that record is still in the log.
///
/// Only the newest epochs are remembered: nothing is allocated but by the constructor.
class leader_epochs {
public:
    static constexpr std::size_t most = 32;

    /// @throws std::bad_alloc
    leader_epochs() { ranges_.reserve(most); }

    /// Reading begins.
    ///
    /// @param from an offset; below 0: it is not known yet.
    /// @param epoch of the record before; -1: it is not known.
    void restart(std::int64_t from, std::int32_t epoch) noexcept {
        ranges_.clear();
        cut(from, epoch);
    }
    /// The records from `first` to before `next` are of this epoch; -1: it is not known. What was
    /// known from `first` on is replaced.
    void add(std::int64_t first, std::int64_t next, std::int32_t epoch) noexcept {
        forget_from(first);
        if (!ranges_.empty() && ranges_.back().epoch == epoch) {
            ranges_.back().next = next; // epochs ascend: there was no other between
            return;
        }
        if (ranges_.size() == most) {
            ranges_.erase(ranges_.begin());
        }
        ranges_.push_back({first, next, epoch});
    }
    /// From `end` on the log has other records than before.
    ///
    /// @param epoch of the record before `end`; -1: what was known of it stays.
    void cut(std::int64_t end, std::int32_t epoch = -1) noexcept {
        forget_from(end);
        if (end > 0 && epoch >= 0) {
            add(end - 1, end, epoch);
        }
    }

    /// The first offset that is known to have a later epoch than this. nullopt: none is.
    std::optional<std::int64_t> first_later_than(std::int32_t epoch) const noexcept {
        auto const found = std::find_if(ranges_.begin(), ranges_.end(),
                                        [=](range const& one) { return one.epoch > epoch; });
        return found == ranges_.end() ? std::nullopt : std::optional{found->first};
    }
    /// The epoch of the record before `next`; -1: it is not known.
    std::int32_t before(std::int64_t next) const noexcept {
        auto const above = std::partition_point(ranges_.begin(), ranges_.end(),
                                                [=](range const& one) { return one.first < next; });
        if (above == ranges_.begin()) {
            return -1;
        }
        auto const& last = *(above - 1);
        return next <= last.next ? (std::max)(last.epoch, -1) : -1;
    }

private:
    struct range {
        std::int64_t first;
        std::int64_t next;
        std::int32_t epoch;
    };

    void forget_from(std::int64_t offset) noexcept {
        while (!ranges_.empty() && ranges_.back().first >= offset) {
            ranges_.pop_back();
        }
        if (!ranges_.empty()) {
            ranges_.back().next = (std::min)(ranges_.back().next, offset);
        }
    }

    std::vector<range> ranges_; // ascending; what lies between two is not known
};

} // namespace kgroup::detail::fetch
