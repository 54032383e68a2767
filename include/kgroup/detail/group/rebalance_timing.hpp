// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/group/session_machine.hpp>
#include <kgroup/observer.hpp>

#include <optional>
#include <utility>

namespace kgroup::detail {

/// How long a rebalance takes, from the client's report to the answer. A rebalance that a newer one
/// replaces is not counted.
class rebalance_timing {
public:
    using kind = rebalance_observation::kind;

    struct answered_rebalance {
        kind what;
        clock::duration took;
        partition_set partitions;
    };

    void begin(session_machine::assigned const& change, clock::time_point now) {
        under_way_ = {kind::assigned, now, change.partitions};
    }
    void begin(session_machine::revoked const& change, clock::time_point now) {
        under_way_ = {change.lost ? kind::lost : kind::revoked, now, change.partitions};
    }
    /// nullopt: there was none.
    std::optional<answered_rebalance> answer(clock::time_point now) {
        auto const ended = std::exchange(under_way_, std::nullopt);
        return ended ? std::optional{answered_rebalance{ended->what, now - ended->began,
                                                        ended->partitions}}
                     : std::nullopt;
    }

private:
    struct rebalance {
        kind what;
        clock::time_point began;
        partition_set partitions;
    };

    std::optional<rebalance> under_way_;
};

} // namespace kgroup::detail
