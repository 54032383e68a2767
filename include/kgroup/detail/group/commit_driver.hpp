// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/client/client.hpp>
#include <kgroup/detail/group/group_parts.hpp>
#include <kgroup/detail/group/session_machine.hpp>

namespace kgroup::detail {

/// Commits: sends what `offset_committer` wants to be sent, and hands out what came of it.
template <client Client>
class commit_driver {
public:
    commit_driver(group_parts& group, Client& client) noexcept : group_(group), client_(client) {}

    /// The next automatic commit, if there are any.
    void schedule() {
        if (auto const interval = group_.settings.auto_commit_interval; interval.count() != 0) {
            group_.committer.schedule(clock::now() + interval);
        }
    }

    /// Once a turn of the loop.
    void send_due() {
        auto& committer = group_.committer;
        auto const now = clock::now();
        committer.time_out(now);
        if (committer.clock_is_due(now)) {
            schedule();
        }
        if (auto const request = committer.next(now, group_.session.state().get())) {
            client_.commit(request->id, request->offsets);
        }
        for (auto const& claim : committer.take_started()) {
            group_.session.start_committed(claim, client_.block_bytes());
        }
        while (auto const outcome = committer.take_outcome()) {
            group_.commits.ended(*outcome, clock::now());
        }
        if (committer.take_finished()) {
            group_.feed(session_machine::committed{});
        }
    }

    void take(client_commit const& answer) {
        if (group_.membership.commit_shows_broker(answer.id, answer.error)) {
            group_.broker_answered();
        }
        group_.committer.answer(clock::now(), answer, group_.session.state().get());
        for (auto const& result : answer.results) {
            if (!answer.error && !result.error) {
                group_.topic_found(result.where.topic);
            }
        }
    }

private:
    group_parts& group_;
    Client& client_;
};

} // namespace kgroup::detail
