// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/client/client.hpp>
#include <kgroup/detail/group/event_reporter.hpp>
#include <kgroup/detail/group/group_parts.hpp>
#include <kgroup/detail/group/rebalance_reports.hpp>
#include <kgroup/detail/group/session_machine.hpp>
#include <kgroup/event.hpp>
#include <kgroup/topic_partition.hpp>

#include <utility>
#include <variant>
#include <vector>

namespace kgroup::detail {

/// Rebalances: hands them from the client to the machine, and the machine's answers back.
template <client Client>
class rebalance_driver {
public:
    rebalance_driver(group_parts& group, Client& client) noexcept
        : group_(group),
          client_(client) {}

    void take(client_rebalance& event) {
        std::visit(
            [this](auto& rebalance) {
                own(rebalance); // first: on_event may pause new partitions
                note(rebalance);
                reports_.began(rebalance, clock::now());
                group_.feed(std::move(rebalance));
            },
            event.change);
    }

    /// The next revocation may be librdkafka's own.
    void subscription_changed() noexcept { subscription_changed_ = true; }

    // Answers.

    void assign(std::vector<start_position> const& starts, bool cooperative) {
        client_.assign(starts, cooperative);
        reports_.answered(clock::now());
    }
    void release(partition_set const& partitions, bool cooperative) {
        client_.unassign({partitions.begin(), partitions.end()}, cooperative);
        reports_.answered(clock::now());
    }

    /// A session ends with these claims. `next_session`: another one follows over the same
    /// assignment.
    void given_back(partition_set const& claims, end_reason reason, bool next_session) {
        reports_.given_back(claims, reason, next_session);
    }

private:
    using assigned = session_machine::assigned;
    using revoked = session_machine::revoked;

    void own(assigned const& change) {
        if (!change.cooperative) {
            group_.paused.remove_all();
        }
        group_.paused.add(change.partitions);
    }
    void own(revoked const& change) {
        if (change.cooperative) {
            group_.paused.remove(change.partitions);
        } else {
            group_.paused.remove_all();
        }
    }

    void note(assigned const& change) {
        group_.broker_answered();
        subscription_changed_ = false;
        group_.membership.assigned(event_reporter::list(change.partitions));
        group_.board.join(client_.member_id(), client_.generation_id());
        group_.end_conditions_without_place((clock::time_point::max)(),
                                            "an assignment has arrived");
        if (group_.reporter.lasts(event_kind::topic_missing) ||
            group_.reporter.lasts(event_kind::partition_error)) {
            for (auto const& partition : change.partitions) {
                group_.topic_found(partition.topic);
            }
        }
    }
    void note(revoked const& change) {
        // librdkafka does some of its own: after a session timeout, when it leaves, and when the
        // subscription has changed.
        auto const by_broker =
            !change.lost && !group_.times.closing() && !std::exchange(subscription_changed_, false);
        if (by_broker) {
            group_.broker_answered();
        }
        if (change.lost || !change.cooperative) { // after others no assignment need follow
            group_.membership.without_assignment(clock::now());
        }
    }

    group_parts& group_;
    Client& client_;
    rebalance_reports reports_{group_.reporter, group_.counters, group_.board, group_.observer};
    bool subscription_changed_ = false; // since the last rebalance
};

} // namespace kgroup::detail
