// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/client/client.hpp>
#include <kgroup/detail/group/group_parts.hpp>
#include <kgroup/detail/group/offset_lookup.hpp>
#include <kgroup/detail/group/session_machine.hpp>
#include <kgroup/event.hpp>
#include <kgroup/topic_partition.hpp>

#include <string>
#include <utility>

namespace kgroup::detail {

/// Where claims start: asks the client what `offset_lookup` wants to know, and hands what is found
/// to the session and the machine.
template <client Client>
class lookup_driver {
public:
    lookup_driver(group_parts& group, Client& client) noexcept : group_(group), client_(client) {}

    void begin(partition_set const& partitions) {
        group_.session.forget_starts(partitions);
        follow(group_.lookup.begin(partitions));
    }
    /// Nobody waits for the assignment's starts any more.
    void abandon() { follow(group_.lookup.abandon()); }
    /// Nor for those of these.
    void forget(partition_set const& partitions, std::string const& reason) {
        follow(group_.lookup.forget(partitions, reason));
    }
    /// Where `setup` has chosen the start, nothing is looked up any more.
    void take_chosen_starts() {
        session_machine::start_found chosen{group_.session.take_chosen_starts()};
        if (!chosen.partitions.empty()) {
            forget(chosen.partitions, "setup has chosen the start");
            group_.feed(std::move(chosen));
        }
    }

    void on_time(clock::time_point now) {
        if (auto const due = group_.lookup.due(); due && *due <= now) {
            follow(group_.lookup.on_time(now));
        }
    }

    // The client's answers.

    void take(client_offsets const& answer) {
        if (group_.membership.look_up_shows_broker(answer.id, answer.error)) {
            group_.broker_answered();
        }
        follow(group_.lookup.answer(answer, clock::now()));
    }
    void take(client_log_offsets const& answer) {
        follow(group_.lookup.answer(answer, clock::now()));
    }

private:
    void follow(offset_lookup::outcome outcome) {
        for (auto& event : outcome.events) {
            auto const heard = event.kind == event_kind::start_delayed
                                   ? group_.words_of_log(event.where)
                                   : std::string{};
            group_.reporter.forward(std::move(event), heard);
        }
        if (outcome.failure) {
            return fail(outcome);
        }
        ask(outcome);
        keep(outcome);
        if (outcome.complete) {
            group_.feed(session_machine::looked_up{std::move(outcome.delayed)});
        }
    }

    void fail(offset_lookup::outcome const& outcome) {
        if (!outcome.where) {
            return group_.fail_fatally(outcome.failure, "committed offsets");
        }
        // The membership is intact and is given back in order.
        group_.fail(outcome.failure, to_string(*outcome.where), session_machine::failed{});
        group_.reporter.client_error(outcome.failure, "the run ends", outcome.where);
    }

    void ask(offset_lookup::outcome const& outcome) {
        if (auto const& request = outcome.committed) {
            client_.look_up(request->id, request->partitions, request->with_lower,
                            group_parts::request_timeout);
        }
        if (auto const& request = outcome.log) {
            client_.find_in_logs(request->id, request->places, request->topics,
                                 group_parts::request_timeout);
        }
    }

    void keep(offset_lookup::outcome& outcome) {
        session_machine::start_found late;
        for (auto& found : outcome.found) {
            if (found.start >= 0) {
                group_.topic_found(found.where.topic);
            }
            auto partition = found.where;
            if (group_.session.keep_start(std::move(found))) {
                late.partitions.insert(std::move(partition));
            }
        }
        if (!late.partitions.empty()) {
            group_.feed(std::move(late));
        }
    }

    group_parts& group_;
    Client& client_;
};

} // namespace kgroup::detail
