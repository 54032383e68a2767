// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/topic_partition.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

namespace kgroup {

/// How much attention an event asks for.
enum class severity { debug, info, warning, error };

/// What an event reports.
enum class event_kind {
    session_started, ///< an assignment has arrived and `setup` has run
    session_ended,   ///< everything was revoked or lost, or the run ends; `text` names the reason
    claims_added,    ///< partitions were assigned; `text` lists them
    claims_revoked,  ///< partitions are to be given back; handlers finish what they hold
    claims_lost, ///< the group has already given the partitions away; handlers are told to stop now
    handler_returned,  ///< `consume_claim` returned while its claim was live; repeated each minute
                       ///< under `keep_others`
    handler_failed,    ///< `setup`, `consume_claim`, `cleanup` or `on_event` threw
    handler_cancelled, ///< a handler had not ended at the deadline and was cancelled
    handler_abandoned, ///< a handler did not end after its cancellation either; its claim went on
                       ///< without it
    claim_stalled, ///< records wait and the handler has taken none for a while; `text` says what it
                   ///< waits for
    setup_stalled, ///< `setup` has not ended for a while; its partitions are not read, and it holds
                   ///< up the group's next rebalance
    mark_refused,  ///< a mark or ack did not count: the claim has ended, its mode is the other one,
                   ///< or it is out of range
    late_message,  ///< messages were still held when `consume_claim` had returned
    wakeup_healed, ///< records waited without a wake-up having come; the periodic look found them
    commit_failed, ///< offsets were not committed; while the claim is owned they stay marked and go
                   ///< with the next commit
    commit_recovered,    ///< commits succeed again
    offsets_unavailable, ///< the committed offsets of an assignment could not be read yet; the
                         ///< look-up is repeated
    position_reset,  ///< the log does not hold the position; reading goes on where `initial_offset`
                     ///< says. Told when it happens
    partition_error, ///< a partition cannot be read at the moment
    authentication_failed,  ///< no token was to be had (`config::oauth_token_provider`), or the
                            ///< brokers refuse this member; repeated until it works
    topic_missing,          ///< a subscribed topic does not exist; the group waits for it
    brokers_unreachable,    ///< no broker can be reached; reported once an outage
    brokers_reachable,      ///< the outage is over
    poll_interval_exceeded, ///< all threads of the executor were blocked for max.poll.interval.ms;
                            ///< the membership is lost
    too_many_partitions,    ///< more partitions are assigned than `expected_partitions`:
                            ///< `buffer_bytes` is exceeded
    close_timed_out,        ///< librdkafka had not left the group when `close_timeout` was over
    run_restarted, ///< a run of an application ended with an error; `text` says when the next one
                   ///< begins
    authentication_recovered, ///< the brokers accept this member again; ends
                              ///< `authentication_failed`
    topic_found,              ///< the topic exists; ends `topic_missing`
    partition_recovered,      ///< the partition is read again; ends `partition_error`
    offsets_found,            ///< the committed offsets have been read; ends `offsets_unavailable`
    claim_resumed,            ///< the handler has taken records again; ends `claim_stalled`
    setup_resumed,            ///< `setup` has ended; ends `setup_stalled`
    no_assignment, ///< no assignment yet; `text` says since when and at which step. Repeated each
                   ///< minute
    assignment_received, ///< an assignment has arrived; ends `no_assignment`
    nothing_comes,       ///< records exist and do not come, or nobody says so; `text`: the reason.
                         ///< Repeated each minute
    records_come,        ///< records come again, or there are none to come; ends `nothing_comes`
    start_delayed,       ///< one partition cannot start yet; the others have started
    start_found,         ///< the partition has started; ends `start_delayed`
    start_chosen, ///< a partition without a committed offset was started where a rule says; `text`
                  ///< names the rule
    mark_beyond_end, ///< a mark lies beyond the end of the log that is known
    unsafe_setting,  ///< a setting that is known to lose records or to crash, or that looks like a
                     ///< mistake; `text` names it
    message_released_twice, ///< a message or a batch was destroyed more often than it was
                            ///< delivered; memory may be damaged. `text`: how that comes
    record_skipped,  ///< a record was given up and counts as done (`give_up::skip`); `text` names
                     ///< its offset and why
    processing_held, ///< the function of `for_each` said `not_now`; the claim starts nothing new.
                     ///< `text`: the words of the exception
    processing_resumed, ///< an attempt has passed; ends `processing_held`
    delivery_failed,    ///< records of a producer were not delivered, and nobody waited for them
    producer_failed, ///< a fatal error of a producer: what was under way has failed, though it may
                     ///< have been delivered; librdkafka's producer is replaced
    producer_recovered, ///< a record was acknowledged again; ends `producer_failed`
    dead_letter_held,   ///< a dead letter cannot be delivered; its record waits and is not done.
                        ///< Repeated each minute
    dead_letter_sent,   ///< it was delivered, or is not sent any more; ends `dead_letter_held`
    log_truncated,   ///< the log lost records that were fetched: others stand in their places, and
                     ///< reading went back to them
    topic_recreated, ///< the topic was made again under its name; reading begins at its beginning
    handed_over,     ///< a `direct_consumer_group`, or one claim of it, reads by librdkafka; `text`
                     ///< says why
    client_error,    ///< any other error that librdkafka reported
    client_log,      ///< a line of librdkafka's log
};

/// The name of an event kind, as in its enumerator.
constexpr std::string_view to_string(event_kind kind) noexcept {
    switch (kind) {
    case event_kind::session_started:
        return "session_started";
    case event_kind::session_ended:
        return "session_ended";
    case event_kind::claims_added:
        return "claims_added";
    case event_kind::claims_revoked:
        return "claims_revoked";
    case event_kind::claims_lost:
        return "claims_lost";
    case event_kind::handler_returned:
        return "handler_returned";
    case event_kind::handler_failed:
        return "handler_failed";
    case event_kind::handler_cancelled:
        return "handler_cancelled";
    case event_kind::handler_abandoned:
        return "handler_abandoned";
    case event_kind::claim_stalled:
        return "claim_stalled";
    case event_kind::setup_stalled:
        return "setup_stalled";
    case event_kind::mark_refused:
        return "mark_refused";
    case event_kind::late_message:
        return "late_message";
    case event_kind::wakeup_healed:
        return "wakeup_healed";
    case event_kind::commit_failed:
        return "commit_failed";
    case event_kind::commit_recovered:
        return "commit_recovered";
    case event_kind::offsets_unavailable:
        return "offsets_unavailable";
    case event_kind::position_reset:
        return "position_reset";
    case event_kind::partition_error:
        return "partition_error";
    case event_kind::authentication_failed:
        return "authentication_failed";
    case event_kind::topic_missing:
        return "topic_missing";
    case event_kind::brokers_unreachable:
        return "brokers_unreachable";
    case event_kind::brokers_reachable:
        return "brokers_reachable";
    case event_kind::poll_interval_exceeded:
        return "poll_interval_exceeded";
    case event_kind::too_many_partitions:
        return "too_many_partitions";
    case event_kind::close_timed_out:
        return "close_timed_out";
    case event_kind::run_restarted:
        return "run_restarted";
    case event_kind::authentication_recovered:
        return "authentication_recovered";
    case event_kind::topic_found:
        return "topic_found";
    case event_kind::partition_recovered:
        return "partition_recovered";
    case event_kind::offsets_found:
        return "offsets_found";
    case event_kind::claim_resumed:
        return "claim_resumed";
    case event_kind::setup_resumed:
        return "setup_resumed";
    case event_kind::no_assignment:
        return "no_assignment";
    case event_kind::assignment_received:
        return "assignment_received";
    case event_kind::nothing_comes:
        return "nothing_comes";
    case event_kind::records_come:
        return "records_come";
    case event_kind::start_delayed:
        return "start_delayed";
    case event_kind::start_found:
        return "start_found";
    case event_kind::start_chosen:
        return "start_chosen";
    case event_kind::mark_beyond_end:
        return "mark_beyond_end";
    case event_kind::unsafe_setting:
        return "unsafe_setting";
    case event_kind::message_released_twice:
        return "message_released_twice";
    case event_kind::record_skipped:
        return "record_skipped";
    case event_kind::processing_held:
        return "processing_held";
    case event_kind::processing_resumed:
        return "processing_resumed";
    case event_kind::delivery_failed:
        return "delivery_failed";
    case event_kind::producer_failed:
        return "producer_failed";
    case event_kind::producer_recovered:
        return "producer_recovered";
    case event_kind::dead_letter_held:
        return "dead_letter_held";
    case event_kind::dead_letter_sent:
        return "dead_letter_sent";
    case event_kind::log_truncated:
        return "log_truncated";
    case event_kind::topic_recreated:
        return "topic_recreated";
    case event_kind::handed_over:
        return "handed_over";
    case event_kind::client_error:
        return "client_error";
    case event_kind::client_log:
        return "client_log";
    }
    return "unknown";
}

/// The kind that ends the lasting condition which `kind` begins; nullopt: it begins none.
///
/// A health check needs no more than this: what has begun and not ended lasts. The same condition
/// of another partition is another one. docs/events.md says of each what begins it, what ends it,
/// and what to do.
constexpr std::optional<event_kind> ended_by(event_kind kind) noexcept {
    switch (kind) {
    case event_kind::brokers_unreachable:
        return event_kind::brokers_reachable;
    case event_kind::commit_failed:
        return event_kind::commit_recovered;
    case event_kind::claim_stalled:
        return event_kind::claim_resumed;
    case event_kind::setup_stalled:
        return event_kind::setup_resumed;
    case event_kind::topic_missing:
        return event_kind::topic_found;
    case event_kind::authentication_failed:
        return event_kind::authentication_recovered;
    case event_kind::partition_error:
        return event_kind::partition_recovered;
    case event_kind::offsets_unavailable:
        return event_kind::offsets_found;
    case event_kind::no_assignment:
        return event_kind::assignment_received;
    case event_kind::nothing_comes:
        return event_kind::records_come;
    case event_kind::start_delayed:
        return event_kind::start_found;
    case event_kind::producer_failed:
        return event_kind::producer_recovered;
    case event_kind::dead_letter_held:
        return event_kind::dead_letter_sent;
    case event_kind::processing_held:
        return event_kind::processing_resumed;
    default:
        return std::nullopt;
    }
}

/// The kind that begins the lasting condition which `kind` ends; nullopt: it ends none.
constexpr std::optional<event_kind> ends(event_kind kind) noexcept {
    for (auto begin = 0; begin <= static_cast<int>(event_kind::client_log); ++begin) {
        if (ended_by(static_cast<event_kind>(begin)) == kind) {
            return static_cast<event_kind>(begin);
        }
    }
    return std::nullopt;
}

/// Something that happened, other than the arrival of records. It owns all that it holds.
struct event {
    event_kind kind;
    severity level;
    std::optional<topic_partition>
        where{}; ///< the topic and partition, if it is about one; partition -1: the whole topic
    std::error_code error{}; ///< the cause, if there is one
    std::string text{};      ///< one line, in words; blanks stand for control characters
    std::uint64_t suppressed =
        0; ///< how many of the same kind, place and cause were dropped since the last one; in
           ///< a flood from thousands of places also those of other places
};

/// Counters since the group was made, and gauges of the moment.
struct group_stats {
    // gauges
    std::size_t claims = 0; ///< partitions owned now
    std::size_t abandoned_handlers =
        0; ///< frames of handlers that did not end in time and still live
    // counters
    std::uint64_t sessions = 0;   ///< sessions begun
    std::uint64_t rebalances = 0; ///< assignments and revocations answered
    std::uint64_t superseded_rebalances =
        0;                              ///< of those that arrived, how many a newer one made void
    std::uint64_t records_received = 0; ///< delivered by all claims, ended or live
    std::uint64_t records_direct = 0;   ///< of a `direct_consumer_group`: fetched by kgroup itself
    std::uint64_t records_handed_over = 0; ///< of a `direct_consumer_group`: fetched by librdkafka
    std::uint64_t commits = 0;             ///< commits that the broker confirmed, whole
    std::uint64_t commits_failed = 0;      ///< commits that failed, in part or whole, or timed out
    std::uint64_t offsets_committed = 0; ///< partitions whose offset was confirmed, in all commits
    std::uint64_t marks_refused = 0;     ///< marks and acks that did not count
    std::uint64_t late_messages =
        0; ///< messages still held when their `consume_claim` had returned
    std::uint64_t wakeups_healed = 0;     ///< wake-ups that the periodic look had to make up for
    std::uint64_t handlers_abandoned = 0; ///< handlers that did not end in time
    std::uint64_t late_failures =
        0; ///< of those, how many threw when the run was over: nobody else is told
    std::uint64_t events_dropped = 0; ///< events that were not reported because of their rate
};

} // namespace kgroup
