// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/claim.hpp>
#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/claim/partition_state.hpp>
#include <kgroup/detail/client/client.hpp>
#include <kgroup/detail/client/token_schedule.hpp>
#include <kgroup/detail/events/event_line.hpp>
#include <kgroup/detail/group/claim_watch.hpp>
#include <kgroup/detail/group/event_sink.hpp>
#include <kgroup/detail/group/session_machine.hpp>
#include <kgroup/end_reason.hpp>
#include <kgroup/error.hpp>
#include <kgroup/event.hpp>
#include <kgroup/topic_partition.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace kgroup::detail {

/// What a group tells, a function for each event: the words stand here, and nowhere else.
///
/// `heard`: what the client's log says of the reason; may be empty.
class event_reporter : public event_sink {
public:
    using event_sink::event_sink;

    // The client.

    /// The client's own events, and those of an algorithm over a claim.
    void forward(event told, std::string_view heard = {}) {
        told.text += from_log(heard);
        report(std::move(told));
    }
    void client_error(std::error_code error, std::string text,
                      std::optional<topic_partition> partition = {}) {
        report({event_kind::client_error, severity::error, std::move(partition), error,
                std::move(text)});
    }
    void brokers_reachable() {
        recovered(event_kind::brokers_reachable, {}, "the brokers can be reached again");
    }
    void authentication_failed(std::error_code error, std::string const& reason,
                               std::chrono::milliseconds retry_in) {
        report({event_kind::authentication_failed, severity::error, std::nullopt, error,
                words_of_retry(reason, retry_in)});
    }
    void member_accepted() {
        recovered(event_kind::authentication_recovered, {}, "the brokers accept this member");
    }
    void token_given() {
        recovered(event_kind::authentication_recovered, {}, "a token has been given");
    }
    void topic_found(std::string const& topic) {
        if (lasts(event_kind::topic_missing)) {
            recovered(event_kind::topic_found, topic_partition{topic, -1}, "the topic exists");
        }
        if (lasts(event_kind::partition_error)) {
            recovered(event_kind::partition_recovered, topic_partition{topic, -1},
                      "the topic can be read");
        }
    }
    void close_timed_out() {
        warn(event_kind::close_timed_out, {},
             "the group was not left in time; its coordinator removes this member after the "
             "session timeout");
    }

    // The membership.

    void no_assignment(std::error_code error, clock::duration waited, std::string const& reason,
                       std::string_view heard) {
        auto text = "no assignment for " + in_seconds(waited) + ": " + reason;
        report({event_kind::no_assignment, severity::warning, std::nullopt, error,
                text.append(from_log(heard))});
    }
    void assignment_received(std::string text) {
        if (lasts(event_kind::no_assignment)) {
            recovered(event_kind::assignment_received, {}, std::move(text));
        }
    }
    void claims_added(partition_set const& partitions) {
        tell(event_kind::claims_added, {}, list(partitions));
    }
    void claims_revoked(partition_set const& partitions) {
        tell(event_kind::claims_revoked, {}, list(partitions));
    }
    void claims_lost(partition_set const& partitions) {
        warn(event_kind::claims_lost, {}, list(partitions));
    }
    void too_many_partitions(std::size_t owned, std::size_t expected) {
        warn(event_kind::too_many_partitions, {},
             std::to_string(owned) + " partitions are owned and " + std::to_string(expected) +
                 " were expected");
    }

    // The session.

    void session_started(std::size_t claims) {
        tell(event_kind::session_started, {}, std::to_string(claims) + " claims");
    }
    void session_ended(end_reason reason) {
        recovered(event_kind::commit_recovered, {}, "the session ends; nothing is left to commit");
        tell(event_kind::session_ended, {}, std::string{to_string(reason)});
    }
    void setup_stalled(clock::duration told_every) {
        warn(event_kind::setup_stalled, {},
             "setup has not ended in " + in_seconds(told_every) +
                 "; until it does nothing is read, and the group waits for this member in a "
                 "rebalance");
    }
    void setup_resumed() {
        if (lasts(event_kind::setup_stalled)) {
            recovered(event_kind::setup_resumed, {}, "setup is over");
        }
    }
    void offsets_not_needed() {
        if (lasts(event_kind::offsets_unavailable)) {
            recovered(event_kind::offsets_found, {},
                      "the committed offsets are not needed any more");
        }
    }
    void commit_failed(std::optional<topic_partition> partition, std::error_code error) {
        report({event_kind::commit_failed, severity::warning, std::move(partition), error,
                "what is marked is not committed"});
    }
    void commit_recovered() {
        recovered(event_kind::commit_recovered, {}, "commits succeed again");
    }

    // The user's coroutines.

    void claim_left(topic_partition const& partition) {
        warn(event_kind::handler_returned, partition,
             "the handler has returned and nobody reads this claim");
    }
    void claim_exited(topic_partition const& partition) {
        warn(event_kind::handler_returned, partition,
             "the handler has returned while its claim is live; the session ends");
    }
    void handler_failed(topic_partition const& partition, std::exception_ptr const& failure) {
        user_failed(partition, failure, "consume_claim has failed");
    }
    void hook_failed(std::exception_ptr const& failure) {
        user_failed({}, failure, "setup or cleanup has failed");
    }
    void handler_cancelled(topic_partition const& partition) {
        warn(event_kind::handler_cancelled, partition,
             "the handler did not end within the deadline");
    }
    void hook_cancelled() {
        warn(event_kind::handler_cancelled, {}, "setup or cleanup did not end within the deadline");
    }
    /// No partition: a hook.
    void handler_abandoned(std::optional<topic_partition> partition) {
        abandoned(std::move(partition), "the handler did not end after its cancellation; the "
                                        "group goes on without it");
    }
    void token_provider_abandoned() {
        abandoned({}, "oauth_token_provider did not end after its cancellation");
    }

    // A claim.

    void mark_refused(topic_partition const& partition, mark_result reason) {
        warn(event_kind::mark_refused, partition,
             reason == mark_result::refused_ended ? "the claim is not owned any more"
             : reason == mark_result::refused_mode
                 ? "the claim is acknowledged record by record and this was a mark, or the other "
                   "way round"
                 : "the offset is out of range");
    }
    void mark_beyond_end(topic_partition const& partition, std::int64_t next, std::int64_t end) {
        warn(event_kind::mark_beyond_end, partition,
             "marked is " + std::to_string(next) + ", and the log was last seen to end at " +
                 std::to_string(end) +
                 "; the mark counts, and what comes before it is passed over");
    }
    void message_released_twice(topic_partition const& partition) {
        report({event_kind::message_released_twice,
                severity::error,
                partition,
                {},
                "a message or a batch was released more often than it was delivered, and may have "
                "been read after it was freed; g++ 12 makes such a program of a co_await inside "
                "?:, && or ||"});
    }
    void late_messages(topic_partition const& partition, std::size_t number) {
        warn(event_kind::late_message, partition,
             std::to_string(number) + " messages are still held after the handler has ended");
    }
    void position_reset(client_position_reset const& reset) {
        auto const position = reset.to == start_position::log_end ? "the end of the log"
                              : reset.to == start_position::log_beginning
                                  ? "the beginning of the log"
                                  : std::to_string(reset.to);
        warn(event_kind::position_reset, reset.where,
             "offset " + std::to_string(reset.from) + " is not in the log; reading goes on at " +
                 position);
    }
    void partition_error(topic_partition const& partition, std::error_code error, std::string text,
                         bool ends_run) {
        report({event_kind::partition_error, ends_run ? severity::error : severity::warning,
                partition, error, std::move(text)});
    }
    void partition_recovered(topic_partition const& partition) {
        recovered(event_kind::partition_recovered, partition, "the partition is read again");
    }
    void missed_wakeup(topic_partition const& partition) {
        warn(event_kind::wakeup_healed, partition, "records waited without a wake-up");
    }
    void claim_stalled(topic_partition const& partition, claim_look const& look) {
        static_assert(partition_state::default_ack_window == 65'536);
        auto const reason =
            look.waits
                ? "65,536 delivered records are not acknowledged, the first of them at offset " +
                      std::to_string(look.first_undone) + " or next behind it"
                : "records wait and the handler has not asked for one in " +
                      in_seconds(claim_watch::stalls_after);
        warn(event_kind::claim_stalled, partition,
             reason + "; the next offset is " + std::to_string(look.position));
    }
    void claim_resumed(topic_partition const& partition, bool open) {
        recovered(event_kind::claim_resumed, partition,
                  open ? "the handler has taken what waited" : "the claim is paused");
    }
    void nothing_comes(topic_partition const& partition, clock::duration quiet,
                       std::string const& reason, std::string_view heard) {
        auto text = "nothing has come for " + in_seconds(quiet) + ": " + reason;
        warn(event_kind::nothing_comes, partition, text.append(from_log(heard)));
    }
    void records_come(topic_partition const& partition, bool open) {
        recovered(event_kind::records_come, partition,
                  open ? "records come again, or there are none to come" : "the claim is paused");
    }

    static std::string list(partition_set const& partitions) {
        std::string text;
        for (auto const& partition : partitions) {
            text += (text.empty() ? "" : " ") + to_string(partition);
        }
        return text.empty() ? "none" : text;
    }

private:
    void tell(event_kind kind, std::optional<topic_partition> partition, std::string text) {
        report({kind, severity::info, std::move(partition), {}, std::move(text)});
    }
    void warn(event_kind kind, std::optional<topic_partition> partition, std::string text) {
        report({kind, severity::warning, std::move(partition), {}, std::move(text)});
    }
    /// The end of a condition; told only if that was.
    void recovered(event_kind kind, std::optional<topic_partition> partition, std::string text) {
        tell(kind, std::move(partition), std::move(text));
    }
    void abandoned(std::optional<topic_partition> partition, std::string text) {
        report({event_kind::handler_abandoned, severity::error, std::move(partition),
                errc::handler_abandoned, std::move(text)});
    }
    void user_failed(std::optional<topic_partition> partition, std::exception_ptr const& failure,
                     std::string otherwise) {
        auto const [text, code] = describe_exception(failure);
        auto words = words_beside(code, text);
        report({event_kind::handler_failed, severity::error, std::move(partition), code,
                words.empty() ? std::move(otherwise) : std::move(words)});
    }

    static std::string from_log(std::string_view heard) {
        return heard.empty() ? std::string{} : std::string{"; the client's log: "}.append(heard);
    }
    static std::string in_seconds(clock::duration time) {
        return std::to_string(std::chrono::duration_cast<std::chrono::seconds>(time).count()) +
               " s";
    }
};

} // namespace kgroup::detail
