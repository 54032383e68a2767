// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/config.hpp>
#include <kgroup/detail/asio/auto_reset_event.hpp>
#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/events/error_table.hpp>
#include <kgroup/detail/events/event_line.hpp>
#include <kgroup/detail/group/claim_reports.hpp>
#include <kgroup/detail/group/claim_watchdog.hpp>
#include <kgroup/detail/group/commit_reports.hpp>
#include <kgroup/detail/group/deadline_table.hpp>
#include <kgroup/detail/group/ending_times.hpp>
#include <kgroup/detail/group/event_reporter.hpp>
#include <kgroup/detail/group/group_counters.hpp>
#include <kgroup/detail/group/group_mail.hpp>
#include <kgroup/detail/group/membership_watch.hpp>
#include <kgroup/detail/group/missing_topics.hpp>
#include <kgroup/detail/group/offset_committer.hpp>
#include <kgroup/detail/group/offset_lookup.hpp>
#include <kgroup/detail/group/paused_partitions.hpp>
#include <kgroup/detail/group/position_resets.hpp>
#include <kgroup/detail/group/run_outcome.hpp>
#include <kgroup/detail/group/session_machine.hpp>
#include <kgroup/detail/group/session_scope.hpp>
#include <kgroup/detail/group/state_board.hpp>
#include <kgroup/detail/group/token_refresher.hpp>
#include <kgroup/detail/group/user_tasks.hpp>
#include <kgroup/error.hpp>
#include <kgroup/event.hpp>
#include <kgroup/observer.hpp>
#include <kgroup/topic_partition.hpp>

#include <asio/any_io_executor.hpp>

#include <chrono>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace kgroup::detail {

/// The parts of a run that several of its drivers work with, and the steps that take more than one
/// part and no client. On the group's strand, but for what is safe by itself.
struct group_parts {
    /// What the client's log says of trouble with a partition, or with the membership.
    using log_words = std::function<std::string(std::optional<topic_partition> const&)>;

    group_parts(asio::any_io_executor runs_on, config given, log_words heard)
        : settings(std::move(given)),
          executor(std::move(runs_on)),
          words_of_log(std::move(heard)) {}
    group_parts(group_parts const&) = delete;
    group_parts& operator=(group_parts const&) = delete;

    /// How long the client may take for an answer that the group, or its program, waits for.
    static constexpr auto request_timeout = std::chrono::milliseconds{10000};
    /// The time of cancelled coroutines, and of a client that shuts down, after the time to close
    /// is over.
    static constexpr auto last_grace = std::chrono::milliseconds{500};

    config settings; // without the functions, which the parts keep that call them
    asio::any_io_executor executor;
    log_words words_of_log;

    std::shared_ptr<auto_reset_event> loop_wakeup = auto_reset_event::make(executor);
    group_mail mail{loop_wakeup};
    session_machine machine{{settings.on_claim_exit == claim_exit::keep_others, false}};
    std::deque<session_machine::event> inbox; // of the machine
    run_outcome outcome;

    std::shared_ptr<observer_binding> observer = observer_access::take(settings.observer);
    group_counters counters;
    event_reporter reporter{
        std::exchange(settings.on_event, nullptr), settings.group_id, counters,
        [this](std::exception_ptr failure) { on_report_failed(std::move(failure)); }};
    state_board board{settings.group_id, settings.protocol};
    commit_reports commits{reporter, counters, board, observer};

    std::weak_ptr<void const> run; // what owns this: user coroutines keep it
    user_tasks tasks{mail, counters};
    paused_partitions paused;
    session_scope session{
        session_scope::settings::of(settings), executor, tasks, paused, reporter, counters};
    token_refresher tokens{settings.oauth_token_provider};

    deadline_table deadlines;
    ending_times times;
    offset_lookup lookup{offset_lookup::settings::of(settings)};
    offset_committer committer{settings.commit_timeout, settings.commit_at_end};

    membership_watch membership{reporter, settings.protocol, settings.topics};
    missing_topics topics_missing;
    position_resets resets;
    claim_watchdog watchdog{
        reporter, counters, [this] { broker_answered(); },
        [this](topic_partition const& partition) { return words_of_log(partition); }};
    claim_reports reports{
        mail, counters, reporter,
        [this](topic_partition const& partition, std::error_code error, std::string const& text) {
            partition_failed(partition, error, text);
        }};

    // The machine.

    void feed(session_machine::event event) { inbox.push_back(std::move(event)); }
    session_machine::step step() const noexcept { return machine.current_step(); }

    // The end.

    /// The run is to close. Work under way gets no more time than the close leaves. Only the first
    /// call counts.
    void begin_closing() {
        if (!times.closing()) {
            times.close(clock::now());
            deadlines.set(deadline_table::deadline::close, times.close_by());
            limit_step(times.handlers_until());
            committer.end_by(times.handlers_until());
        }
    }
    /// Handlers that were told of a later end are told of this one, if they ask.
    void limit_step(clock::time_point until) {
        deadlines.limit(deadline_table::deadline::step, until);
        session.finish_no_later_than(until);
    }

    /// The run fails. `event`: how the machine is told.
    void fail(std::error_code error, std::string const& text, session_machine::event event) {
        auto const words = words_beside(error, text);
        outcome.fail(std::make_exception_ptr(words.empty() ? std::system_error{error}
                                                           : std::system_error{error, words}));
        begin_closing();
        feed(std::move(event));
    }
    /// The run fails, and its membership is gone.
    void fail_fatally(std::error_code error, std::string const& text) {
        std::string remedy{remedy_of(error)};
        if (error == make_error_code(kafka_errc::invalid_regular_expression)) {
            for (auto const& topic : membership.topics()) {
                remedy += topic.starts_with('^') ? " '" + topic + "'" : "";
            }
        }
        auto const words = with_remedy(words_beside(error, text), remedy);
        fail(error, words, session_machine::fatal{});
        reporter.client_error(error, words);
    }

    // What is learnt of brokers, topics and partitions.

    void broker_answered() { membership.answered(clock::now(), tokens.fails()); }

    /// The topic was seen to exist.
    void topic_found(std::string const& topic) {
        topics_missing.find(topic, session.state().get());
        reporter.topic_found(topic);
    }
    void look_for_missing_topics() {
        for (auto const& topic : topics_missing.read_again(session.state().get())) {
            topic_found(topic);
        }
    }

    /// Ends conditions that name no partition and were not reported again since then.
    void end_conditions_without_place(clock::time_point silent_since, std::string_view text) {
        for (auto const kind : {event_kind::partition_error, event_kind::topic_missing}) {
            reporter.end_without_place(kind, silent_since, text);
        }
    }

    void partition_failed(topic_partition const& partition, std::error_code error,
                          std::string const& text) {
        if (!session.find(partition)) {
            return; // it concerns nobody any more
        }
        watchdog.partition_failed(session.running(), partition, error, clock::now());
        auto const ends_run = effect_of(error) == error_effect::ends_application;
        reporter.partition_error(partition, error, text, ends_run);
        if (ends_run) {
            fail(error, to_string(partition) + ": " + text, session_machine::failed{});
        }
    }

private:
    void on_report_failed(std::exception_ptr failure) {
        if (!outcome.failed()) {
            outcome.fail(std::move(failure));
            begin_closing();
            feed(session_machine::failed{});
        }
    }
};

} // namespace kgroup::detail
