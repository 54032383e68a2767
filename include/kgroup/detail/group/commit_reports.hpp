// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/group/event_reporter.hpp>
#include <kgroup/detail/group/group_counters.hpp>
#include <kgroup/detail/group/offset_committer.hpp>
#include <kgroup/detail/group/state_board.hpp>
#include <kgroup/observer.hpp>

#include <memory>
#include <utility>

namespace kgroup::detail {

/// Tells how commits end: the counters, the board, the observer, and by events a failure and the
/// first success after it. A failure is an event only when nothing repeats the commit.
class commit_reports {
public:
    /// `observer`: may be null, and may become it.
    commit_reports(event_reporter& reporter, group_counters& counters, state_board& board,
                   std::shared_ptr<observer_binding> const& observer) noexcept
        : reporter_(reporter),
          counters_(counters),
          board_(board),
          observer_(observer) {}

    void ended(commit_outcome const& outcome, clock::time_point now) {
        counters_.add(&group_stats::offsets_committed, outcome.committed);
        board_.committed(outcome.error, outcome.took, now);
        if (observer_) {
            observer_->committed({outcome.took, outcome.error, outcome.committed});
        }
        if (outcome.error) {
            counters_.add(&group_stats::commits_failed);
            if (!outcome.will_retry) {
                failing_ = true;
                reporter_.commit_failed(outcome.where, outcome.error);
            }
            return;
        }
        counters_.add(&group_stats::commits);
        if (std::exchange(failing_, false)) {
            reporter_.commit_recovered();
        }
    }

    /// The next session's commits are about other claims.
    void session_ended() noexcept { failing_ = false; }

private:
    event_reporter& reporter_;
    group_counters& counters_;
    state_board& board_;
    std::shared_ptr<observer_binding> const& observer_;
    bool failing_ = false;
};

} // namespace kgroup::detail
