// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/client.hpp>
#include <kgroup/config.hpp>
#include <kgroup/detail/asio/auto_reset_event.hpp>
#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/asio/manual_reset_event.hpp>
#include <kgroup/detail/asio/scope_exit.hpp>
#include <kgroup/detail/claim/partition_state.hpp>
#include <kgroup/detail/group/backoff.hpp>
#include <kgroup/detail/group/claim_reports.hpp>
#include <kgroup/detail/group/claim_task.hpp>
#include <kgroup/detail/group/claim_watchdog.hpp>
#include <kgroup/detail/group/deadline_table.hpp>
#include <kgroup/detail/group/ending_times.hpp>
#include <kgroup/detail/group/event_line.hpp>
#include <kgroup/detail/group/event_reporter.hpp>
#include <kgroup/detail/group/group_counters.hpp>
#include <kgroup/detail/group/group_driver_base.hpp>
#include <kgroup/detail/group/group_mail.hpp>
#include <kgroup/detail/group/hook_task.hpp>
#include <kgroup/detail/group/membership_watch.hpp>
#include <kgroup/detail/group/missing_topics.hpp>
#include <kgroup/detail/group/offset_committer.hpp>
#include <kgroup/detail/group/offset_lookup.hpp>
#include <kgroup/detail/group/offset_queries.hpp>
#include <kgroup/detail/group/outage_watch.hpp>
#include <kgroup/detail/group/paused_partitions.hpp>
#include <kgroup/detail/group/position_resets.hpp>
#include <kgroup/detail/group/rebalance_timing.hpp>
#include <kgroup/detail/group/session_machine.hpp>
#include <kgroup/detail/group/session_scope.hpp>
#include <kgroup/detail/group/session_state.hpp>
#include <kgroup/detail/group/state_board.hpp>
#include <kgroup/detail/group/token_refresher.hpp>
#include <kgroup/detail/group/token_schedule.hpp>
#include <kgroup/detail/group/told_ownership.hpp>
#include <kgroup/detail/group/user_tasks.hpp>
#include <kgroup/end_reason.hpp>
#include <kgroup/error.hpp>
#include <kgroup/event.hpp>
#include <kgroup/handler.hpp>
#include <kgroup/observer.hpp>
#include <kgroup/session.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/error.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

namespace kgroup::detail {

/// A group's run: performs what the session machine decides. One coroutine, on one strand, which
/// waits for the client, for handlers and for the nearest of its deadlines; everything else only
/// tells it.
template <client Client>
class group_driver final : public group_driver_base,
                           public session_services,
                           public std::enable_shared_from_this<group_driver<Client>> {
public:
    group_driver(asio::any_io_executor executor, config given)
        : config_(std::move(given)),
          executor_(std::move(executor)),
          loop_wakeup_(auto_reset_event::make(executor_)),
          strand_(loop_wakeup_->strand()),
          machine_({config_.on_claim_exit == claim_exit::keep_others, false}),
          reporter_(std::exchange(config_.on_event, nullptr), config_.group_id, counters_,
                    [this](std::exception_ptr failure) { on_report_failed(std::move(failure)); }),
          claim_reports_(mail_, counters_, reporter_,
                         [this](auto const& partition, std::error_code error, auto const& text) {
                             on_partition_error(partition, error, text);
                         }),
          watchdog_(
              reporter_, counters_, [this] { answered(); },
              [this](topic_partition const& partition) { return log_words(partition); }),
          session_(session_scope::settings::of(config_), executor_, tasks_, paused_, reporter_,
                   counters_,
                   {[this](claim_task& ended) { on_handler_ended(ended); },
                    [this](hook_task& ended) { on_hook_ended(ended); }}),
          lookup_(offset_lookup::settings::of(config_)),
          tokens_(config_.oauth_token_provider),
          committer_(config_.commit_timeout, config_.commit_at_end),
          client_(config_) {
        config_.oauth_token_provider = nullptr; // what calls it keeps it
        times_ = ending_times{
            {client_.rebalance_deadline(), config_.commit_timeout, config_.close_timeout}};
    }

    asio::any_io_executor const& strand() const noexcept override { return strand_; }

    // Any thread.

    void stop() noexcept override {
        stop_asked_ = true;
        loop_wakeup_->notify();
    }
    void cancel() noexcept override {
        cancelled_ = true;
        stop();
    }
    void pause(std::span<topic_partition const> partitions) override {
        paused_.set(partitions, true);
    }
    void resume(std::span<topic_partition const> partitions) override {
        paused_.set(partitions, false);
    }
    void pause(std::string_view topic) override { paused_.set(topic, true); }
    void resume(std::string_view topic) override { paused_.set(topic, false); }
    void pause_all() override { paused_.set_all(true); }
    void resume_all() override { paused_.set_all(false); }
    void subscribe(std::vector<std::string> topics) override {
        client_.check_topics(topics);
        mail_.tell([this, topics = std::move(topics)] {
            if (!times_.closing() && !stop_asked_) {
                membership_.subscribed(topics);
                subscription_changed_ = true;
                client_.subscribe(topics);
            }
        });
    }

    asio::any_io_executor const& executor() const noexcept override { return executor_; }

    asio::awaitable<std::vector<offset_for_time>>
    offsets_for_times(std::vector<topic_partition> partitions,
                      std::chrono::system_clock::time_point time) override {
        return offsets_for_times(this->shared_from_this(), std::move(partitions), time);
    }

    group_stats stats() const override { return with_clients(counters_.snapshot()); }

    group_state state() const override {
        return board_.state(reporter_.conditions(), with_clients(counters_.totals()));
    }

    // The run. On the strand, once.

    asio::awaitable<kgroup::end_reason> run(std::shared_ptr<handler_binding> handler,
                                            bool once) override {
        if (started_.exchange(true)) {
            throw std::system_error{errc::already_running};
        }
        scope_exit const over{[this] { forget_user(); }};
        loop_wakeup_->begin_in_this_process();
        if (!stop_asked_) {
            session_.use(std::move(handler),
                         {this->weak_from_this(), claim_observer_of_this(), observer_});
            once_ = once;
            try {
                machine_ =
                    session_machine{{config_.on_claim_exit == claim_exit::keep_others, once}};
                read_mail();
                if constexpr (requires { client_.run_on(executor_); }) {
                    client_.run_on(executor_);
                }
                client_.start([weak = std::weak_ptr{loop_wakeup_}] {
                    if (auto const place = weak.lock()) {
                        place->notify();
                    }
                });
                client_started_ = true;
                membership_.without_assignment(clock::now());
                board_.look(clock::now());
                deadlines_.set(deadline::tick, clock::now());
                schedule_commit();
                co_await loop();
            } catch (...) {
                keep_failure(std::current_exception());
            }
            // It takes memory, too: what it could not do the first time it may do when much has
            // been given back.
            for (int tries = 0; tries != 3; ++tries) {
                try {
                    co_await wind_up();
                    break;
                } catch (...) {
                    keep_failure(std::current_exception());
                }
            }
        }
        close_mail();
        board_.end(words_of_end(), clock::now());
        if (failure_) {
            std::rethrow_exception(failure_);
        }
        if (tasks_.any_abandoned()) {
            throw std::system_error{errc::handler_abandoned};
        }
        if (cancelled_) {
            throw std::system_error{asio::error::operation_aborted};
        }
        co_return last_end_ == end_reason::running ? end_reason::stopped : last_end_;
    }

    // session_services. Any executor.

    std::string member_id() override {
        std::lock_guard const lock{client_mutex_};
        return client_.member_id();
    }
    std::int32_t generation_id() override {
        std::lock_guard const lock{client_mutex_};
        return client_.generation_id();
    }
    asio::awaitable<std::vector<commit_result>>
    commit_marked(std::shared_ptr<session_state const> session) override {
        auto const self = this->shared_from_this();
        auto const waiter = std::make_shared<commit_waiter>();
        auto const told = mail_.tell([this, waiter, session = std::move(session)] {
            if (session_.state() == session) { // one that is over must not commit for the next one
                committer_.add(waiter);
            } else {
                waiter->fail(errc::session_ended);
            }
        });
        if (!told) {
            throw std::system_error{errc::session_ended};
        }
        co_await waiter->done.wait();
        if (waiter->error) {
            throw std::system_error{waiter->error};
        }
        co_return std::move(waiter->results);
    }

private:
    using machine = session_machine;
    using step = session_machine::step;
    using deadline = deadline_table::deadline;
    using question = membership_watch::question;

    static asio::awaitable<std::vector<offset_for_time>>
    offsets_for_times(std::shared_ptr<group_driver> self, std::vector<topic_partition> partitions,
                      std::chrono::system_clock::time_point time) {
        auto const caller = std::make_shared<offset_queries::answer>();
        self->loop_wakeup_->run([self, caller, partitions = std::move(partitions), time]() mutable {
            self->ask_for_times(caller, std::move(partitions), time);
        });
        co_return co_await caller->wait();
    }

    // What some clients have besides.
    group_stats with_clients(group_stats counted) const noexcept {
        if constexpr (requires { client_.count(counted); }) {
            client_.count(counted);
        }
        return counted;
    }
    bool claims_share_buffer() const noexcept {
        if constexpr (requires { client_.shares_buffer(); }) {
            return client_.shares_buffer();
        } else {
            return false;
        }
    }

    void read_mail() {
        while (auto const letter = mail_.take()) {
            letter->read();
        }
        if (auto const ec = claim_reports_.take_untold_failure()) {
            fail(ec, "a partition cannot be read", machine::failed{});
        }
    }
    void close_mail() noexcept {
        mail_.close();
        while (auto const letter = mail_.take()) {
            try {
                letter->read();
            } catch (...) {
                keep_failure(std::current_exception());
            }
        }
    }

    // The loop.

    asio::awaitable<void> loop() {
        while (machine_.current_step() != step::finished) {
            if (stop_asked_ && !std::exchange(stop_seen_, true)) {
                close_within();
                feed(machine::stop_requested{!client_.member_id().empty()});
            }
            read_mail();
            poll_client();
            on_time();
            advance();
            commit_if_due();
            if (machine_.current_step() == step::finished) {
                break;
            }
            board_.enter(
                phase_of(machine_.current_step(), membership_.progress(), times_.closing()),
                clock::now());
            if (inbox_.empty()) {
                auto const until =
                    deadlines_.nearest({lookup_.due(), tokens_.due(), committer_.due()});
                if (co_await loop_wakeup_->wait(until)) {
                    deadlines_.notified();
                }
            }
        }
    }

    void feed(machine::event event) { inbox_.push_back(std::move(event)); }

    void advance() {
        while (!inbox_.empty() && machine_.current_step() != step::finished) {
            auto const event = std::move(inbox_.front());
            inbox_.pop_front();
            advance(event);
        }
    }
    void advance(machine::event const& event) {
        auto const actions = machine_.handle(event);
        end_steps();
        for (auto const& action : actions) {
            std::visit([this](auto const& decided) { this->perform(decided); }, action);
        }
    }

    void poll_client() {
        // Bounded, so that a flood of notices cannot keep the deadlines waiting.
        auto left = 1000;
        for (; left != 0; --left) {
            advance(); // all that came before: a rebalance must not be answered once a newer one
                       // has been seen
            auto event = client_.poll();
            if (!event) {
                break;
            }
            std::visit([this](auto& told) { this->on_client(told); }, *event);
        }
        if (left == 0) {
            loop_wakeup_->notify(); // the rest, when others have had their turn
        } else {
            for (auto const& move : claim_reports_.take_moves()) {
                if (resets_.is_news(move.where, move.from)) {
                    reporter_.position_reset(move);
                }
            }
        }
        if (machine_.current_step() == step::leaving && client_.closed()) {
            feed(machine::client_closed{});
        }
    }

    void on_time() {
        auto const now = clock::now();
        if (deadlines_.begin_turn(now)) {
            loop_wakeup_->notify();
        }
        if (deadlines_.take(deadline::step, now)) {
            feed(machine::deadline_over{});
        }
        if (deadlines_.take(deadline::session_backoff, now)) {
            feed(machine::backoff_over{});
        }
        if (deadlines_.take(deadline::close, now)) {
            if (machine_.current_step() == step::leaving) {
                reporter_.close_timed_out();
            }
            feed(machine::close_deadline_over{});
        }
        if (auto const due = lookup_.due(); due && *due <= now) {
            follow(lookup_.on_time(now));
        }
        if (auto const due = tokens_.due(); due && *due <= now) {
            ask_for_token();
        }
        if (deadlines_.take(deadline::tick, now)) {
            deadlines_.set(
                deadline::tick,
                now + (std::min<clock::duration>)(client_.max_poll_interval() / 3, longest_tick));
            watch(now);
        }
    }

    // From the client.

    void on_client(client_rebalance& change) {
        std::visit(
            [this](auto& rebalance) {
                own(rebalance); // first: whoever is told may pause what has come
                note(rebalance);
                rebalance_timing_.begin(rebalance, clock::now());
                describe(rebalance);
                feed(std::move(rebalance));
            },
            change.what);
    }

    void own(machine::assigned const& rebalance) {
        if (!rebalance.cooperative) {
            paused_.remove_all();
        }
        paused_.add(rebalance.partitions);
    }
    void own(machine::revoked const& rebalance) {
        if (rebalance.cooperative) {
            paused_.remove(rebalance.partitions);
        } else {
            paused_.remove_all();
        }
    }

    void note(machine::assigned const& rebalance) {
        answered();
        subscription_changed_ = false;
        membership_.assigned(event_reporter::list(rebalance.partitions));
        board_.join(client_.member_id(), client_.generation_id());
        end_what_names_no_place((clock::time_point::max)(), "an assignment has arrived");
        if (reporter_.lasts(event_kind::topic_missing) ||
            reporter_.lasts(event_kind::partition_error)) {
            for (auto const& partition : rebalance.partitions) {
                found_topic(partition.topic);
            }
        }
    }
    void note(machine::revoked const& rebalance) {
        // librdkafka does some of its own: after a session timeout, when it leaves, and when the
        // subscription has changed.
        auto const of_broker =
            !rebalance.lost && !times_.closing() && !std::exchange(subscription_changed_, false);
        if (of_broker) {
            answered();
        }
        if (rebalance.lost || !rebalance.cooperative) { // after others no assignment need follow
            membership_.without_assignment(clock::now());
        }
    }

    void describe(machine::assigned const& rebalance) {
        told_.added(rebalance.partitions);
        reporter_.claims_added(rebalance.partitions);
    }
    void describe(machine::revoked const& rebalance) {
        if (auto const untold = told_.revoked(rebalance.partitions, rebalance.lost)) {
            report_end_of(*untold, rebalance.lost);
        }
    }

    void report_end_of(partition_set const& partitions, bool lost) {
        if (lost) {
            reporter_.claims_lost(partitions);
        } else {
            reporter_.claims_revoked(partitions);
        }
    }

    /// Partitions that the group takes away are told when the client revokes them.
    void give_back(partition_set const& claims, end_reason why) {
        if (why == end_reason::lost || why == end_reason::revoked ||
            (why == end_reason::claim_exited && !once_)) {
            return;
        }
        if (auto const untold = told_.given_back(claims); !untold.empty()) {
            report_end_of(untold, why == end_reason::group_failed);
        }
    }

    void on_client(client_offsets& answer) {
        if (membership_.look_up_shows_broker(answer.id, answer.error)) {
            answered();
        }
        follow(lookup_.answer(answer, clock::now()));
    }

    void on_client(client_log_offsets& answer) { follow(lookup_.answer(answer, clock::now())); }

    void follow(offset_lookup::outcome outcome) {
        for (auto& event : outcome.events) {
            auto const heard =
                event.kind == event_kind::start_delayed ? log_words(event.where) : std::string{};
            reporter_.forward(std::move(event), heard);
        }
        if (outcome.failure && outcome.where) {
            fail(outcome.failure, name(*outcome.where),
                 machine::failed{}); // the membership is intact and is given back in order
            return reporter_.client_error(outcome.failure, "the run ends", outcome.where);
        }
        if (outcome.failure) {
            return fail_fatally(outcome.failure, "committed offsets");
        }
        if (outcome.committed) {
            client_.look_up(outcome.committed->id, outcome.committed->partitions,
                            outcome.committed->with_lower, request_timeout);
        }
        if (outcome.log) {
            client_.find_in_logs(outcome.log->id, outcome.log->places, outcome.log->topics,
                                 request_timeout);
        }
        machine::start_found late;
        for (auto& found : outcome.found) {
            if (found.start >= 0) {
                found_topic(found.where.topic);
            }
            auto partition = found.where;
            if (session_.keep_start(std::move(found))) {
                late.partitions.insert(std::move(partition));
            }
        }
        if (!late.partitions.empty()) {
            feed(std::move(late));
        }
        if (outcome.complete) {
            feed(machine::looked_up{std::move(outcome.delayed)});
        }
    }

    void on_client(client_commit& answer) {
        if (membership_.commit_shows_broker(answer.id, answer.error)) {
            answered();
        }
        committer_.answer(clock::now(), answer, session_.state().get());
        for (auto const& result : answer.results) {
            if (!answer.error && !result.error) {
                found_topic(result.where.topic);
            }
        }
    }

    void on_client(client_times& answer) {
        for (auto const& result : answer.results) {
            if (!result.error) {
                found_topic(result.where.topic);
            }
        }
        queries_.give(answer);
    }

    void on_client(client_ends& answer) {
        if (!membership_.take(answer)) {
            return;
        }
        auto const now = clock::now();
        for (auto const& end : answer.ends) {
            if (!end.error) {
                answered();
                found_topic(end.where.topic);
            }
            watchdog_.log_end(session_.running(), end, now);
        }
    }

    void on_client(client_coordinator& answer) {
        if (membership_.take(answer) && is_answer_of_broker(answer.error)) {
            answered();
        }
    }

    void on_client(client_token_wanted&) {
        if (tokens_.wanted()) {
            ask_for_token();
        }
    }

    void on_client(client_position_reset& reset) {
        resets_.told(reset.where, reset.from);
        reporter_.position_reset(reset);
    }

    void on_client(client_notice& notice) {
        if (notice.what.kind == event_kind::brokers_unreachable) {
            if (!membership_.unreachable(clock::now(), last_commit_, lookup_.last_id())) {
                return;
            }
            watchdog_.outage_began(session_.running());
        }
        if (notice.what.kind == event_kind::authentication_failed) {
            membership_.refused(clock::now());
        }
        if (notice.what.kind == event_kind::topic_missing && notice.what.where) {
            missing_topics_.miss(notice.what.where->topic, notice.log_ends, session_.state().get());
        }
        reporter_.forward(std::move(notice.what));
    }

    void look_for_missing_topics() {
        for (auto const& topic : missing_topics_.read_again(session_.state().get())) {
            found_topic(topic);
        }
    }

    void on_client(client_fatal& failure) { fail_fatally(failure.error, failure.text); }

    void fail_fatally(std::error_code ec, std::string const& text) {
        std::string remedy{remedy_of(ec)};
        if (ec == make_error_code(kafka_errc::invalid_regular_expression)) {
            for (auto const& topic : membership_.topics()) {
                remedy += topic.starts_with('^') ? " '" + topic + "'" : "";
            }
        }
        auto const words = with_remedy(words_beside(ec, text), remedy);
        fail(ec, words, machine::fatal{});
        reporter_.client_error(ec, words);
    }

    void on_partition_error(topic_partition const& where, std::error_code ec,
                            std::string const& text) {
        if (!session_.find(where)) {
            return; // it concerns nobody any more
        }
        watchdog_.partition_failed(session_.running(), where, ec, clock::now());
        auto const over = effect_of(ec) == error_effect::ends_application;
        reporter_.partition_error(where, ec, text, over);
        if (over) {
            fail(ec, name(where) + ": " + text, machine::failed{});
        }
    }

    void fail(std::error_code ec, std::string const& text, machine::event how) {
        auto const words = words_beside(ec, text);
        keep_failure(std::make_exception_ptr(words.empty() ? std::system_error{ec}
                                                           : std::system_error{ec, words}));
        close_within();
        feed(std::move(how));
    }

    // A broker has answered.
    void answered() { membership_.answered(clock::now(), tokens_.fails()); }

    // Something shows that there is such a topic.
    void found_topic(std::string const& topic) {
        missing_topics_.find(topic, session_.state().get());
        reporter_.topic_found(topic);
    }

    // What lasts as long as a step of the machine's.
    void end_steps() {
        if (machine_.current_step() != step::looking_up) {
            follow(lookup_.abandon());
        }
        if (machine_.current_step() != step::looking_up) {
            reporter_.offsets_not_needed();
        }
        if (machine_.current_step() != step::setting_up) {
            reporter_.setup_resumed();
        }
    }

    // What the machine decides.

    void perform(machine::look_up const& action) {
        session_.forget_starts(action.partitions);
        follow(lookup_.begin(action.partitions));
    }

    void perform(machine::begin_session const& action) {
        session_.begin(action.partitions, clock::now());
        for (auto const& claim : session_.state()->claims) {
            board_.own(claim.second, false, clock::now());
        }
        session_.run(hook_task::hook::setup);
    }

    std::weak_ptr<claim_observer> claim_observer_of_this() {
        return std::shared_ptr<claim_observer>{this->shared_from_this(), &claim_reports_};
    }

    void perform(machine::start_claims const& action) {
        std::vector<start_position> assignment;
        std::vector<start_position> others; // assigned before
        std::vector<std::shared_ptr<partition_state>> claims;
        auto const generation = client_.generation_id();
        for (auto const& partition : action.claims) {
            auto claim = session_.claim(partition);
            auto start = action.delayed.contains(partition)
                             ? start_position{partition, start_position::unknown, -1, {}}
                             : session_.start_of(*claim);
            claim->start(client_.open(claim), start.start, generation,
                         client_.rebalance_deadline());
            board_.own(claim, true, clock::now());
            (action.assignment.contains(partition) ? assignment : others)
                .push_back(std::move(start));
            claims.push_back(std::move(claim));
        }
        if (action.answers) {
            client_.assign(assignment, action.cooperative);
            rebalance_answered();
        }
        if (!others.empty()) {
            client_.seek(others);
        }
        if (auto const owned = session_.state()->claims.size();
            owned > config_.expected_partitions && !claims_share_buffer()) {
            reporter_.too_many_partitions(owned, config_.expected_partitions);
        }
        for (auto const& claim : claims) {
            if (!action.delayed.contains(claim->where())) {
                begin_claim(claim);
            }
        }
    }

    void begin_claim(std::shared_ptr<partition_state> const& claim) {
        watchdog_.forget_left(claim->where());
        if (!session_.begin_claim(claim, client_.block_bytes())) {
            committer_.commit_starts(clock::now(), {claim});
        }
    }

    void perform(machine::start_delayed const& action) {
        std::vector<std::shared_ptr<partition_state>> claims;
        std::vector<start_position> starts;
        for (auto const& partition : action.claims) {
            auto const& claim = claims.emplace_back(session_.find(partition));
            starts.push_back(session_.start_of(*claim));
            claim->start(starts.back().start);
        }
        client_.seek(starts);
        for (auto const& claim : claims) {
            begin_claim(claim);
        }
    }

    // Where `setup` has chosen the start, nothing is looked up any more.
    void take_chosen_starts() {
        machine::start_found chosen{session_.take_chosen_starts()};
        if (!chosen.partitions.empty()) {
            follow(lookup_.forget(chosen.partitions, "setup has chosen the start"));
            feed(std::move(chosen));
        }
    }

    void perform(machine::assign_without_reading const& action) {
        std::vector<start_position> positions;
        for (auto const& partition : action.assignment) {
            positions.push_back({partition, start_position::log_end, -1, {}});
        }
        client_.assign(positions, action.cooperative);
        rebalance_answered();
    }

    void perform(machine::release_partitions const& action) {
        client_.unassign({action.partitions.begin(), action.partitions.end()}, action.cooperative);
        rebalance_answered();
    }

    void rebalance_answered() {
        counters_.add(&group_stats::rebalances);
        if (auto const answered_now = rebalance_timing_.answer(clock::now())) {
            board_.rebalanced(answered_now->took);
            if (observer_) {
                observer_->rebalance(
                    {answered_now->what, answered_now->took, answered_now->partitions});
            }
        }
    }

    void perform(machine::end_claims const& action) {
        auto const unstarted = session_.end_claims(action.claims, action.why, action.session,
                                                   times_.handlers(clock::now()));
        for (auto const& partition : unstarted) {
            feed(machine::claim_ended{partition, false}); // there is nothing to wait for
        }
        if (action.session) {
            give_back(action.claims, action.why);
        }
    }

    void perform(machine::cancel const& action) {
        session_.cancel(action.claims);
        if (action.claims.empty() && session_.hook()) {
            session_.cancel_hook();
        }
    }

    void perform(machine::abandon const& action) {
        session_.abandon(action.claims);
        if (action.claims.empty() && session_.hook()) {
            take_chosen_starts();
            session_.abandon_hook();
        }
    }

    void perform(machine::clean_up const&) { session_.run(hook_task::hook::cleanup); }

    void perform(machine::commit const& action) {
        auto claims = session_.seal(action.claims);
        std::erase_if(
            claims, [&](auto const& claim) { return !action.may_commit.contains(claim->where()); });
        look_for_missing_topics();
        auto const now = clock::now();
        committer_.finish(now, std::move(claims), times_.commit(now));
    }

    void perform(machine::seal const& action) { session_.seal(action.claims); }

    void perform(machine::forget_claims const& action) {
        times_.over();
        auto const dropped = session_.drop(action.claims);
        follow(lookup_.forget(action.claims, "the partition is not owned any more"));
        for (auto const& claim : dropped) {
            board_.disown(claim->where());
            watchdog_.forget_left(claim->where());
            reporter_.end_all_of(claim->where(), "the claim has ended");
            resets_.forget(claim->where());
        }
    }

    void perform(machine::end_session const& action) {
        times_.over();
        last_end_ = action.why;
        commit_trouble_ = false;
        reporter_.session_ended(action.why);
        committer_.fail_waiters(errc::session_ended);
        session_.end(action.why);
    }

    void perform(machine::report_exited_claim const& action) {
        watchdog_.claim_left(action.where, clock::now());
    }

    void perform(machine::report_superseded const&) {
        counters_.add(&group_stats::superseded_rebalances);
    }

    void perform(machine::arm_deadline const& action) {
        using limit = machine::arm_deadline::limit;
        auto const now = clock::now();
        if (session_.is_lost()) {
            times_.hasten(now); // there is nothing to finish: handlers are cancelled already
        }
        switch (action.how_long) {
        case limit::drain:
            return deadlines_.set(deadline::step, machine_.current_step() == step::cleaning_up
                                                      ? times_.cleanup(now)
                                                      : times_.drain(now));
        case limit::grace:
            return deadlines_.set(deadline::step, times_.grace(now));
        case limit::join:
            return deadlines_.set(deadline::step, times_.join(now));
        }
    }
    void perform(machine::hasten_deadline const&) { limit_deadline(times_.hasten(clock::now())); }

    // Handlers that were told of a later end are told of this one, if they ask.
    void limit_deadline(clock::time_point until) {
        deadlines_.limit(deadline::step, until);
        session_.finish_no_later_than(until);
    }
    void perform(machine::disarm_deadline const&) { deadlines_.clear(deadline::step); }

    void perform(machine::start_backoff const&) {
        auto const now = clock::now();
        if (now - session_.began() > long_session) {
            session_backoff_.reset();
        }
        deadlines_.set(deadline::session_backoff, now + session_backoff_.next());
    }

    void perform(machine::close_client const&) {
        close_within();
        client_.close();
        loop_wakeup_->notify(); // there may be nothing to wait for
    }

    void perform(machine::finish const& action) {
        if (action.cancelled_late) {
            end_by_ = clock::now() + last_grace;
        }
    }

    void close_within() {
        if (!times_.closing()) {
            times_.close(clock::now());
            deadlines_.set(deadline::close, times_.close_by());
            limit_deadline(times_.handlers_until());
            committer_.end_by(times_.handlers_until());
        }
    }

    // Handlers.

    void on_handler_ended(claim_task& task) {
        auto const& where = task.state->where();
        auto const failed = task.failed();
        if (!tasks_.end(task)) {
            session_.handler_ended(where);
            if (failed) {
                keep_failure(task.failure);
                close_within();
            }
            feed(machine::claim_ended{where, failed});
        }
        if (task.late_messages != 0) {
            counters_.add(&group_stats::late_messages, task.late_messages);
            reporter_.late_messages(where, task.late_messages);
        }
        if (failed) {
            report_failure(task.failure, &where);
        } else if (!task.abandoned && !task.state->ended() &&
                   config_.on_claim_exit == claim_exit::end_session) {
            reporter_.claim_exited(where);
        }
    }

    void on_hook_ended(hook_task& task) {
        auto const failed = task.failed();
        auto const is_setup = task.called() == hook_task::hook::setup;
        if (!tasks_.end(task)) {
            session_.hook_ended();
            if (failed) {
                keep_failure(task.failure);
                close_within();
            }
            take_chosen_starts();
            feed(is_setup ? machine::event{machine::setup_ended{failed}}
                          : machine::event{machine::cleanup_ended{failed}});
        }
        if (failed) {
            report_failure(task.failure, nullptr);
        } else if (!task.abandoned && session_.state() && is_setup) {
            reporter_.session_started(session_.state()->claims.size());
        }
    }

    // What the run ends with, in words.
    std::string words_of_end() const noexcept {
        try {
            return failure_                  ? words_of(failure_).first
                   : !tasks_.any_abandoned() ? std::string{}
                                             : make_error_code(errc::handler_abandoned).message();
        } catch (...) { // no memory for words
            return {};
        }
    }

    void keep_failure(std::exception_ptr failure) {
        if (!failure_) {
            failure_ = std::move(failure);
        }
    }

    // Null: a hook's.
    void report_failure(std::exception_ptr const& failure, topic_partition const* partition) {
        if (reporter_.closed()) {
            counters_.add(&group_stats::late_failures);
        } else if (partition) {
            reporter_.handler_failed(*partition, failure);
        } else {
            reporter_.hook_failed(failure);
        }
    }

    // Tokens.

    void ask_for_token() {
        tasks_.start(this->shared_from_this(),
                     tokens_.begin(executor_, [this](token_task& call) { on_token(call); }));
    }

    void on_token(token_task const& call) {
        if (tasks_.end(call)) {
            return;
        }
        auto flaw = tokens_.end(call);
        if (!flaw) {
            if (auto const error = client_.set_token(call.token)) {
                flaw = refused_token(error);
            }
        }
        if (flaw) {
            auto const retry_in = tokens_.fail(clock::now());
            reporter_.authentication_failed(flaw->error, flaw->reason, retry_in);
        } else if (tokens_.succeed() && !membership_.refusal()) {
            reporter_.token_given();
        }
    }

    // Offsets for times.

    void ask_for_times(std::shared_ptr<offset_queries::answer> const& caller,
                       std::vector<topic_partition> partitions,
                       std::chrono::system_clock::time_point time) {
        if (!client_started_) {
            return caller->fail(std::make_exception_ptr(std::system_error{errc::not_running}));
        }
        if (partitions.empty()) {
            return caller->give({});
        }
        try {
            client_.offsets_for_times(queries_.add(caller), std::move(partitions), time,
                                      request_timeout);
        } catch (...) {
            queries_.fail(caller, std::current_exception());
        }
    }

    // Commits.

    void schedule_commit() {
        if (config_.auto_commit_interval.count() != 0) {
            committer_.schedule(clock::now() + config_.auto_commit_interval);
        }
    }

    void commit_if_due() {
        if (!client_started_) {
            return;
        }
        auto const now = clock::now();
        committer_.time_out(now);
        if (committer_.clock_is_due(now)) {
            schedule_commit();
        }
        if (auto const request = committer_.next(now, session_.state().get())) {
            last_commit_ = request->id;
            client_.commit(request->id, request->offsets);
        }
        for (auto const& claim : committer_.take_started()) {
            session_.start_committed(claim, client_.block_bytes());
        }
        while (auto const outcome = committer_.take_outcome()) {
            on_commit(*outcome);
        }
        if (committer_.take_finished()) {
            feed(machine::committed{});
        }
    }

    void on_commit(commit_outcome const& outcome) {
        counters_.add(&group_stats::offsets_committed, outcome.committed);
        board_.committed(outcome.error, outcome.took, clock::now());
        if (observer_) {
            observer_->committed({outcome.took, outcome.error, outcome.committed});
        }
        if (outcome.error) {
            counters_.add(&group_stats::commits_failed);
            if (!outcome.will_retry) {
                commit_trouble_ = true;
                reporter_.commit_failed(outcome.where, outcome.error);
            }
            return;
        }
        counters_.add(&group_stats::commits);
        if (std::exchange(commit_trouble_, false)) {
            reporter_.commit_recovered();
        }
    }

    // The watches: once a tick.

    void watch(clock::time_point now) {
        board_.look(now);
        look_for_missing_topics();
        // While it is, something else is the reason that nothing comes.
        auto const undisturbed = machine_.current_step() == step::running && !membership_.outage();
        watchdog_.look(session_.running(), now, undisturbed);
        if (auto* const hook = session_.hook()) {
            hook->remind();
            if (machine_.current_step() == step::setting_up && hook->telling_is_due(now)) {
                reporter_.setup_stalled(hook_task::told_every);
            }
        }
        watchdog_.look_at_left(now);
        watch_assignment(now);
        if (!times_.closing()) {
            ask_brokers(now);
            listen(now, undisturbed);
            end_what_names_no_place(now - silence, "it has not been told again");
        }
        reporter_.report_kept_back(now);
    }

    // The client's debug log is followed for some seconds before something is told, for its words.
    void listen(clock::time_point now, bool undisturbed) {
        auto const wanted = membership_.tells_soon(now) || lookup_.tells_soon(now) ||
                            (undisturbed && watchdog_.tells_soon(session_.running(), now));
        if (wanted != std::exchange(listening_, wanted)) {
            client_.listen(wanted);
        }
    }

    // What the client's log says of trouble with a partition, or with the membership.
    std::string log_words(std::optional<topic_partition> const& partition) const {
        return listening_ ? client_.heard(partition) : std::string{};
    }

    void end_what_names_no_place(clock::time_point silent_since, std::string_view text) {
        for (auto const kind : {event_kind::partition_error, event_kind::topic_missing}) {
            reporter_.end_without_place(kind, silent_since, text);
        }
    }

    void watch_assignment(clock::time_point now) {
        // Else none is awaited, or not yet: what there was is being given back.
        if (!times_.closing() && machine_.current_step() == step::joining) {
            membership_.look(now, client_.member_id(), client_.generation_id(),
                             [this] { return log_words(std::nullopt); });
        }
    }

    // Whether they are there, and what there is to read.
    void ask_brokers(clock::time_point now) {
        auto const& running = session_.running();
        try {
            auto due = membership_.questions_due(
                now, running.empty() ? nullptr : &running.begin()->first,
                [&](bool outage) { return watchdog_.claims_to_ask(running, now, outage); });
            for (auto& request : due) {
                if (request.kind == question::coordinator) {
                    client_.ask_coordinator(request.id, request.partitions.front(),
                                            question_timeout);
                } else {
                    client_.find_ends(request.id, std::move(request.partitions), question_timeout);
                }
            }
        } catch (...) { // out of memory or threads: again at the next time
            membership_.forget_questions();
        }
    }

    // The end.

    asio::awaitable<void> wind_up() {
        close_within();
        read_mail();
        if (session_.state()) { // an exception came between
            advance(machine::interrupted{session_.claims()});
        }
        committer_.fail_waiters(errc::session_ended);
        auto until = (std::max)(times_.close_by(), end_by_);
        auto const provider = tokens_.stop();
        if (provider) {
            until = (std::max)(until, clock::now() + last_grace);
            tasks_.abandon(*provider);
            provider->cancel();
        }
        while (tasks_.any_abandoned() && clock::now() < until) {
            co_await loop_wakeup_->wait(until);
            read_mail();
        }
        if (provider && tasks_.lives_on(*provider)) {
            tasks_.count_abandoned();
            reporter_.token_provider_abandoned();
        }
        client_started_ = false;
        queries_.fail_all(std::make_exception_ptr(std::system_error{errc::not_running}));
        if (!client_gone_) { // once, however often the end is tried
            auto const gone = std::make_shared<manual_reset_event>();
            std::function<void()> const tell_gone = [gone] { gone->set(); };
            std::lock_guard const lock{client_mutex_};
            client_ends_ = client_.shut_down(tell_gone);
            client_gone_ = gone;
        }
        if (client_ends_) {
            co_await client_gone_->wait_at(loop_wakeup_,
                                           (std::max)(until, clock::now() + last_grace));
        }
        session_.forget_handler();
    }

    /// The run is over: no function of the user's is called from here on, and none is kept but by
    /// frames that live on.
    void forget_user() noexcept {
        reporter_.close();
        session_.forget_handler();
        tokens_.forget_provider();
        observer_.reset();
    }

    void on_report_failed(std::exception_ptr failure) {
        if (!failure_) {
            failure_ = std::move(failure);
            close_within();
            feed(machine::failed{});
        }
    }

    static constexpr auto longest_tick = std::chrono::milliseconds{500};
    static constexpr auto longest_backoff = std::chrono::seconds{30};
    // After a session that lasted so long, the next one begins soon.
    static constexpr auto long_session = std::chrono::minutes{1};
    // What cancelled coroutines have, and a client that shuts down, when the time to close is over.
    static constexpr auto last_grace = std::chrono::milliseconds{500};
    // What nobody has told again for so long is taken to be over, where nobody tells its end.
    static constexpr auto silence = std::chrono::seconds{30};
    static constexpr auto question_timeout = std::chrono::milliseconds{4000};
    static constexpr auto request_timeout = std::chrono::milliseconds{10000};

    config config_;
    asio::any_io_executor executor_;
    std::shared_ptr<auto_reset_event> loop_wakeup_;
    asio::any_io_executor strand_;
    session_machine machine_;
    std::shared_ptr<observer_binding> observer_ = observer_access::take(config_.observer);
    rebalance_timing rebalance_timing_;
    group_counters counters_;
    event_reporter reporter_;
    group_mail mail_{loop_wakeup_};
    user_tasks tasks_{mail_, counters_};
    claim_reports claim_reports_;
    claim_watchdog watchdog_;
    paused_partitions paused_;
    session_scope session_;
    std::deque<machine::event> inbox_;
    told_ownership told_;
    offset_lookup lookup_;
    offset_queries queries_;
    token_refresher tokens_;
    offset_committer committer_;
    missing_topics missing_topics_;
    position_resets resets_;
    state_board board_{config_.group_id, config_.protocol};
    membership_watch membership_{reporter_, config_.protocol, config_.topics};
    bool listening_ = false;            // to the client's debug log
    bool subscription_changed_ = false; // since the last rebalance
    std::uint64_t last_commit_ = 0;
    std::exception_ptr failure_;
    end_reason last_end_ = end_reason::running;
    bool client_started_ = false;
    std::shared_ptr<manual_reset_event> client_gone_; // null: it has not been shut down
    bool client_ends_ = false;                        // and that will happen
    bool once_ = false;
    bool stop_seen_ = false;
    bool commit_trouble_ = false;
    deadline_table deadlines_;
    backoff session_backoff_{std::chrono::milliseconds{250}, longest_backoff};
    ending_times times_;
    clock::time_point end_by_{}; // what was cancelled at the very end has until then

    std::atomic<bool> stop_asked_{false};
    std::atomic<bool> cancelled_{false};
    std::atomic<bool> started_{false};
    std::mutex client_mutex_; // member_id and generation_id against shut_down

    Client client_; // goes first: while it does, it may still call what wakes the rest
};

template <typename Client>
std::shared_ptr<group_driver_base> make_group_driver(asio::any_io_executor executor, config given) {
    return std::make_shared<group_driver<Client>>(std::move(executor), std::move(given));
}

} // namespace kgroup::detail
