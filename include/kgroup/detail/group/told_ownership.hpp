// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/group/session_machine.hpp>

#include <optional>

namespace kgroup::detail {

/// Which partitions the user has been told to own, so that the end of each is told once. A run that
/// ends gives its claims back by itself: that is told when they begin to end, as with a revocation,
/// and not once more when the client revokes them at last.
class told_ownership {
public:
    void added(partition_set const& partitions) {
        owned_.insert(partitions.begin(), partitions.end());
        for (auto const& partition : partitions) {
            given_back_.erase(partition);
        }
    }

    /// The client has revoked these. Those to tell; nullopt: it is told already.
    std::optional<partition_set> revoked(partition_set const& partitions, bool lost) {
        partition_set untold;
        for (auto const& partition : partitions) {
            owned_.erase(partition);
            if (given_back_.erase(partition) == 0 || lost) {
                untold.insert(partition);
            }
        }
        if (untold.empty() && !partitions.empty()) {
            return std::nullopt;
        }
        return untold;
    }

    /// The run gives these back. Those to tell.
    partition_set given_back(partition_set const& partitions) {
        partition_set untold;
        for (auto const& partition : partitions) {
            if (owned_.erase(partition) != 0) {
                untold.insert(partition);
            }
        }
        given_back_.insert(untold.begin(), untold.end());
        return untold;
    }

private:
    partition_set owned_;      // and their end is not told yet
    partition_set given_back_; // the client has not revoked them yet
};

} // namespace kgroup::detail
