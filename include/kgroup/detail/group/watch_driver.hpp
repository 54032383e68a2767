// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/client/client.hpp>
#include <kgroup/detail/group/group_parts.hpp>
#include <kgroup/detail/group/hook_task.hpp>
#include <kgroup/detail/group/membership_watch.hpp>
#include <kgroup/detail/group/outage_watch.hpp>
#include <kgroup/detail/group/session_machine.hpp>
#include <kgroup/event.hpp>
#include <kgroup/topic_partition.hpp>

#include <chrono>
#include <optional>
#include <string>
#include <utility>

namespace kgroup::detail {

/// The watches: looks once a tick whether claims, hooks, the membership and the brokers make
/// progress, asks the brokers what the watches want to know, and takes what the client notices.
template <client Client>
class watch_driver {
public:
    watch_driver(group_parts& group, Client& client) noexcept : group_(group), client_(client) {}

    /// Once a tick.
    void look(clock::time_point now) {
        group_.board.look(now);
        group_.look_for_missing_topics();
        // While it is, something else is the reason that nothing comes.
        auto const undisturbed = group_.step() == step::running && !group_.membership.outage();
        group_.watchdog.look(group_.session.running(), now, undisturbed);
        look_at_hook(now);
        group_.watchdog.look_at_left(now);
        look_at_assignment(now);
        if (!group_.times.closing()) {
            ask_brokers(now);
            listen(now, undisturbed);
            group_.end_conditions_without_place(now - silence, "it has not been told again");
        }
        group_.reporter.report_kept_back(now);
    }

    /// What the client's log says of trouble with a partition, or with the membership; empty while
    /// nobody listens.
    std::string words_of_log(std::optional<topic_partition> const& partition) const {
        return listening_ ? client_.heard(partition) : std::string{};
    }

    // From the client.

    void take(client_ends const& answer) {
        if (!group_.membership.take(answer)) {
            return;
        }
        auto const now = clock::now();
        for (auto const& end : answer.ends) {
            if (!end.error) {
                group_.broker_answered();
                group_.topic_found(end.where.topic);
            }
            group_.watchdog.log_end(group_.session.running(), end, now);
        }
    }

    void take(client_coordinator const& answer) {
        if (group_.membership.take(answer) && is_answer_of_broker(answer.error)) {
            group_.broker_answered();
        }
    }

    void take(client_position_reset const& reset) {
        group_.resets.told(reset.where, reset.from);
        group_.reporter.position_reset(reset);
    }

    void take(client_notice& notice) {
        auto& event = notice.event;
        if (event.kind == event_kind::brokers_unreachable) {
            if (!group_.membership.unreachable(clock::now(), group_.committer.last_id(),
                                               group_.lookup.last_id())) {
                return;
            }
            group_.watchdog.outage_began(group_.session.running());
        }
        if (event.kind == event_kind::authentication_failed) {
            group_.membership.refused(clock::now());
        }
        if (event.kind == event_kind::topic_missing && event.where) {
            group_.topics_missing.miss(event.where->topic, notice.log_ends,
                                       group_.session.state().get());
        }
        group_.reporter.forward(std::move(event));
    }

    /// Positions that showed in records to be others than the next. When all that the client has
    /// told is taken: what it told of them itself is no news.
    void take_moves() {
        for (auto const& move : group_.reports.take_moves()) {
            if (group_.resets.is_news(move.where, move.from)) {
                group_.reporter.position_reset(move);
            }
        }
    }

private:
    using step = session_machine::step;

    void look_at_hook(clock::time_point now) {
        if (auto* const hook = group_.session.hook()) {
            hook->remind();
            if (group_.step() == step::setting_up && hook->telling_is_due(now)) {
                group_.reporter.setup_stalled(hook_task::told_every);
            }
        }
    }

    void look_at_assignment(clock::time_point now) {
        // Else none is awaited, or not yet: what there was is being given back.
        if (!group_.times.closing() && group_.step() == step::joining) {
            group_.membership.look(now, client_.member_id(), client_.generation_id(),
                                   [this] { return words_of_log(std::nullopt); });
        }
    }

    // The client's debug log is followed for some seconds before something is told, for its words.
    void listen(clock::time_point now, bool undisturbed) {
        auto const wanted =
            group_.membership.tells_soon(now) || group_.lookup.tells_soon(now) ||
            (undisturbed && claim_watchdog::tells_soon(group_.session.running(), now));
        if (wanted != std::exchange(listening_, wanted)) {
            client_.listen(wanted);
        }
    }

    // Whether they are there, and what there is to read.
    void ask_brokers(clock::time_point now) {
        auto const& running = group_.session.running();
        try {
            auto due = group_.membership.questions_due(
                now, running.empty() ? nullptr : &running.begin()->first,
                [&](bool outage) { return group_.watchdog.claims_to_ask(running, now, outage); });
            for (auto& request : due) {
                if (request.kind == membership_watch::question::coordinator) {
                    client_.ask_coordinator(request.id, request.partitions.front(),
                                            question_timeout);
                } else {
                    client_.find_ends(request.id, std::move(request.partitions), question_timeout);
                }
            }
        } catch (...) { // out of memory or threads: again at the next time
            group_.membership.forget_questions();
        }
    }

    // What nobody has told again for so long is taken to be over, where nobody tells its end.
    static constexpr auto silence = std::chrono::seconds{30};
    static constexpr auto question_timeout = std::chrono::milliseconds{4000};

    group_parts& group_;
    Client& client_;
    bool listening_ = false; // to the client's debug log
};

} // namespace kgroup::detail
