// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/group/event_reporter.hpp>
#include <kgroup/detail/group/group_counters.hpp>
#include <kgroup/detail/group/rebalance_timing.hpp>
#include <kgroup/detail/group/session_machine.hpp>
#include <kgroup/detail/group/state_board.hpp>
#include <kgroup/detail/group/told_ownership.hpp>
#include <kgroup/end_reason.hpp>
#include <kgroup/observer.hpp>

#include <memory>

namespace kgroup::detail {

/// Tells of rebalances: by events which partitions come and go, and the counters, the board and the
/// observer when one is answered.
class rebalance_reports {
public:
    /// `observer`: may be null, and may become it.
    rebalance_reports(event_reporter& reporter, group_counters& counters, state_board& board,
                      std::shared_ptr<observer_binding> const& observer) noexcept
        : reporter_(reporter),
          counters_(counters),
          board_(board),
          observer_(observer) {}

    void began(session_machine::assigned const& change, clock::time_point now) {
        timing_.begin(change, now);
        told_.added(change.partitions);
        reporter_.claims_added(change.partitions);
    }
    void began(session_machine::revoked const& change, clock::time_point now) {
        timing_.begin(change, now);
        if (auto const untold = told_.revoked(change.partitions, change.lost)) {
            tell_end(*untold, change.lost);
        }
    }

    /// A session ends, and these are given back without a rebalance. `next_session`: another one
    /// follows over the same assignment.
    void given_back(partition_set const& claims, end_reason reason, bool next_session) {
        auto const by_group = reason == end_reason::lost || reason == end_reason::revoked;
        if (by_group || next_session) { // told when the client revokes them
            return;
        }
        if (auto const untold = told_.given_back(claims); !untold.empty()) {
            tell_end(untold, reason == end_reason::group_failed);
        }
    }

    /// The client has been given the answer.
    void answered(clock::time_point now) {
        counters_.add(&group_stats::rebalances);
        if (auto const rebalance = timing_.answer(now)) {
            board_.rebalanced(rebalance->took);
            if (observer_) {
                observer_->rebalance({rebalance->what, rebalance->took, rebalance->partitions});
            }
        }
    }

private:
    void tell_end(partition_set const& partitions, bool lost) {
        if (lost) {
            reporter_.claims_lost(partitions);
        } else {
            reporter_.claims_revoked(partitions);
        }
    }

    event_reporter& reporter_;
    group_counters& counters_;
    state_board& board_;
    std::shared_ptr<observer_binding> const& observer_;
    rebalance_timing timing_;
    told_ownership told_;
};

} // namespace kgroup::detail
