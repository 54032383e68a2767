// SPDX-License-Identifier: MIT

#pragma once

#include <algorithm>
#include <cstddef>

namespace kgroup::detail::fetch {

/// Who may have how much of the memory for answers.
///
/// Half of it is everybody's. When that is used up the memory is scarce: partitions of which
/// nothing is held still have their shares of the other half, so claims that sleep never stop
/// others.
class memory_shares {
public:
    /// Bytes to ask a broker for.
    struct byte_limits {
        std::size_t total;
        std::size_t partition;
    };

    /// @param limit the memory for answers.
    /// @param partition_max of one partition in an answer.
    /// @param answer_max of an answer.
    memory_shares(std::size_t limit, std::size_t partition_max, std::size_t answer_max) noexcept
        : limit_(limit),
          partition_max_(partition_max),
          answer_max_(answer_max) {}

    bool scarce(std::size_t used) const noexcept {
        return used + (std::min)(limit_ / 8, partition_max_) > limit_ / 2;
    }
    /// Whether a partition that holds so much may be asked about.
    bool room(std::size_t held, std::size_t partitions, bool scarce) const noexcept {
        return held == 0 || (!scarce && held < most_of(partitions));
    }
    /// For a request about `count` of so many partitions.
    byte_limits of_request(std::size_t count, std::size_t partitions, std::size_t used,
                           bool scarce) const noexcept {
        auto most = partition_max_;
        std::size_t total = 0;
        // Half of what there is: while an answer is taken apart, there may be copies of its parts.
        if (scarce) {
            most = (std::min)(most, (std::max)(limit_ / 4 / at_least_one(partitions), least));
            total = most * count;
        } else {
            total = (std::min)(most * count, (limit_ / 2 - (std::min)(used, limit_ / 2)) / 2);
        }
        total = (std::max)((std::min)(total, answer_max_), least);
        return {total, (std::min)(most, total)};
    }

private:
    static constexpr std::size_t least = 1024;

    static std::size_t at_least_one(std::size_t count) noexcept {
        return (std::max)(count, std::size_t{1});
    }
    // Two answers, and what was decompressed of one.
    std::size_t most_of(std::size_t partitions) const noexcept {
        return (std::min)(limit_ / 2 / at_least_one(partitions), 3 * partition_max_);
    }

    std::size_t limit_;
    std::size_t partition_max_;
    std::size_t answer_max_;
};

} // namespace kgroup::detail::fetch
