// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/config.hpp>
#include <kgroup/detail/asio/auto_reset_event.hpp>
#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/asio/manual_reset_event.hpp>
#include <kgroup/detail/asio/scope_exit.hpp>
#include <kgroup/detail/claim/partition_state.hpp>
#include <kgroup/detail/client/client.hpp>
#include <kgroup/detail/group/claim_reports.hpp>
#include <kgroup/detail/group/commit_driver.hpp>
#include <kgroup/detail/group/deadline_table.hpp>
#include <kgroup/detail/group/ending_times.hpp>
#include <kgroup/detail/group/group_driver_base.hpp>
#include <kgroup/detail/group/group_parts.hpp>
#include <kgroup/detail/group/lookup_driver.hpp>
#include <kgroup/detail/group/offset_committer.hpp>
#include <kgroup/detail/group/offset_queries.hpp>
#include <kgroup/detail/group/rebalance_driver.hpp>
#include <kgroup/detail/group/session_driver.hpp>
#include <kgroup/detail/group/session_machine.hpp>
#include <kgroup/detail/group/session_state.hpp>
#include <kgroup/detail/group/state_board.hpp>
#include <kgroup/detail/group/token_driver.hpp>
#include <kgroup/detail/group/watch_driver.hpp>
#include <kgroup/end_reason.hpp>
#include <kgroup/error.hpp>
#include <kgroup/handler.hpp>
#include <kgroup/session.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
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

/// A group's run. One coroutine, on one strand, which waits for the client, for user coroutines and
/// for the nearest of its deadlines; everything else only tells it. It takes what the client tells
/// to the driver that it concerns, and events to the machine, whose decisions `session_driver`
/// performs.
template <client Client>
class group_driver final : public group_driver_base,
                           public session_services,
                           public std::enable_shared_from_this<group_driver<Client>> {
public:
    group_driver(asio::any_io_executor executor, config given)
        : group_(std::move(executor), std::move(given),
                 [this](auto const& partition) { return watches_.words_of_log(partition); }),
          client_(group_.settings) {
        group_.settings.oauth_token_provider = nullptr; // what calls it keeps it
        group_.times = ending_times{{client_.rebalance_deadline(), group_.settings.commit_timeout,
                                     group_.settings.close_timeout}};
    }

    asio::any_io_executor const& strand() const noexcept override { return strand_; }
    asio::any_io_executor const& executor() const noexcept override { return group_.executor; }

    // Any thread.

    void stop() noexcept override {
        stop_asked_ = true;
        group_.loop_wakeup->notify();
    }
    void cancel() noexcept override {
        cancelled_ = true;
        stop();
    }
    void pause(std::span<topic_partition const> partitions) override {
        group_.paused.set(partitions, true);
    }
    void resume(std::span<topic_partition const> partitions) override {
        group_.paused.set(partitions, false);
    }
    void pause(std::string_view topic) override { group_.paused.set(topic, true); }
    void resume(std::string_view topic) override { group_.paused.set(topic, false); }
    void pause_all() override { group_.paused.set_all(true); }
    void resume_all() override { group_.paused.set_all(false); }
    void subscribe(std::vector<std::string> topics) override {
        client_.check_topics(topics);
        group_.mail.tell([this, topics = std::move(topics)] {
            if (!group_.times.closing() && !stop_asked_) {
                group_.membership.subscribed(topics);
                rebalances_.subscription_changed();
                client_.subscribe(topics);
            }
        });
    }

    asio::awaitable<std::vector<offset_for_time>>
    offsets_for_times(std::vector<topic_partition> partitions,
                      std::chrono::system_clock::time_point time) override {
        return offsets_for_times(this->shared_from_this(), std::move(partitions), time);
    }

    group_stats stats() const override { return with_clients(group_.counters.snapshot()); }

    group_state state() const override {
        return group_.board.state(group_.reporter.conditions(),
                                  with_clients(group_.counters.totals()));
    }

    // The run. On the strand, once.

    asio::awaitable<kgroup::end_reason> run(std::shared_ptr<handler_binding> handler,
                                            bool once) override {
        if (started_.exchange(true)) {
            throw std::system_error{errc::already_running};
        }
        scope_exit const over{[this] { forget_user(); }};
        group_.loop_wakeup->begin_in_this_process();
        if (!stop_asked_) {
            group_.run = this->weak_from_this();
            sessions_.use(std::move(handler),
                          {this->weak_from_this(), reports_of_claims(), group_.observer}, once);
            try {
                start(once);
                co_await loop();
            } catch (...) {
                group_.outcome.fail(std::current_exception());
            }
            // It takes memory, too: what it could not do the first time it may do when much has
            // been given back.
            for (int tries = 0; tries != 3; ++tries) {
                try {
                    co_await wind_up();
                    break;
                } catch (...) {
                    group_.outcome.fail(std::current_exception());
                }
            }
        }
        close_mail();
        auto const abandoned = group_.tasks.any_abandoned();
        group_.board.end(group_.outcome.words(abandoned), clock::now());
        co_return group_.outcome.result(abandoned, cancelled_);
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
        auto const told = group_.mail.tell([this, waiter, session = std::move(session)] {
            if (group_.session.state() == session) {
                group_.committer.add(waiter);
            } else { // one that is over must not commit for the next one
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
    using step = session_machine::step;
    using deadline = deadline_table::deadline;

    // What some clients have besides.
    group_stats with_clients(group_stats counted) const noexcept {
        if constexpr (requires { client_.count(counted); }) {
            client_.count(counted);
        }
        return counted;
    }

    std::weak_ptr<claim_observer> reports_of_claims() {
        return std::shared_ptr<claim_observer>{this->shared_from_this(), &group_.reports};
    }

    // The loop.

    void start(bool once) {
        auto const keep_others = group_.settings.on_claim_exit == claim_exit::keep_others;
        group_.machine = session_machine{{keep_others, once}};
        read_mail();
        if constexpr (requires { client_.run_on(group_.executor); }) {
            client_.run_on(group_.executor);
        }
        client_.start([weak = std::weak_ptr{group_.loop_wakeup}] {
            if (auto const place = weak.lock()) {
                place->notify();
            }
        });
        client_started_ = true;
        group_.membership.without_assignment(clock::now());
        group_.board.look(clock::now());
        group_.deadlines.set(deadline::tick, clock::now());
        commits_.schedule();
    }

    asio::awaitable<void> loop() {
        while (group_.step() != step::finished) {
            if (stop_asked_ && !std::exchange(stop_seen_, true)) {
                group_.begin_closing();
                group_.feed(session_machine::stop_requested{!client_.member_id().empty()});
            }
            read_mail();
            poll_client();
            on_time();
            advance();
            commits_.send_due();
            if (group_.step() == step::finished) {
                break;
            }
            group_.board.enter(
                phase_of(group_.step(), group_.membership.progress(), group_.times.closing()),
                clock::now());
            if (group_.inbox.empty()) {
                auto const until = group_.deadlines.nearest(
                    {group_.lookup.due(), group_.tokens.due(), group_.committer.due()});
                if (co_await group_.loop_wakeup->wait(until)) {
                    group_.deadlines.notified();
                }
            }
        }
    }

    void read_mail() {
        while (auto const letter = group_.mail.take()) {
            letter->read();
        }
        if (auto const error = group_.reports.take_untold_failure()) {
            group_.fail(error, "a partition cannot be read", session_machine::failed{});
        }
    }
    void close_mail() noexcept {
        group_.mail.close();
        while (auto const letter = group_.mail.take()) {
            try {
                letter->read();
            } catch (...) {
                group_.outcome.fail(std::current_exception());
            }
        }
    }

    void advance() {
        while (!group_.inbox.empty() && group_.step() != step::finished) {
            auto const event = std::move(group_.inbox.front());
            group_.inbox.pop_front();
            advance(event);
        }
    }
    void advance(session_machine::event const& event) {
        sessions_.perform(group_.machine.handle(event));
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
            std::visit([this](auto& told) { this->take(told); }, *event);
        }
        if (left == 0) {
            group_.loop_wakeup->notify(); // the rest, when others have had their turn
        } else {
            watches_.take_moves();
        }
        if (group_.step() == step::leaving && client_.closed()) {
            group_.feed(session_machine::client_closed{});
        }
    }

    void on_time() {
        auto& deadlines = group_.deadlines;
        auto const now = clock::now();
        if (deadlines.begin_turn(now)) {
            group_.loop_wakeup->notify();
        }
        if (deadlines.take(deadline::step, now)) {
            group_.feed(session_machine::deadline_over{});
        }
        if (deadlines.take(deadline::session_backoff, now)) {
            group_.feed(session_machine::backoff_over{});
        }
        if (deadlines.take(deadline::close, now)) {
            if (group_.step() == step::leaving) {
                group_.reporter.close_timed_out();
            }
            group_.feed(session_machine::close_deadline_over{});
        }
        lookups_.on_time(now);
        tokens_.on_time(now);
        if (deadlines.take(deadline::tick, now)) {
            deadlines.set(
                deadline::tick,
                now + (std::min<clock::duration>)(client_.max_poll_interval() / 3, longest_tick));
            watches_.look(now);
        }
    }

    // What the client tells, and whom.

    void take(client_rebalance& event) { rebalances_.take(event); }
    void take(client_offsets const& answer) { lookups_.take(answer); }
    void take(client_log_offsets const& answer) { lookups_.take(answer); }
    void take(client_commit const& answer) { commits_.take(answer); }
    void take(client_ends const& answer) { watches_.take(answer); }
    void take(client_coordinator const& answer) { watches_.take(answer); }
    void take(client_position_reset const& reset) { watches_.take(reset); }
    void take(client_notice& notice) { watches_.take(notice); }
    void take(client_token_wanted const&) { tokens_.wanted(); }
    void take(client_fatal const& failure) { group_.fail_fatally(failure.error, failure.text); }
    void take(client_times& answer) {
        for (auto const& result : answer.results) {
            if (!result.error) {
                group_.topic_found(result.where.topic);
            }
        }
        queries_.give(answer);
    }

    // Offsets for times.

    static asio::awaitable<std::vector<offset_for_time>>
    offsets_for_times(std::shared_ptr<group_driver> self, std::vector<topic_partition> partitions,
                      std::chrono::system_clock::time_point time) {
        auto const caller = std::make_shared<offset_queries::answer>();
        self->group_.loop_wakeup->run(
            [self, caller, partitions = std::move(partitions), time]() mutable {
                self->ask_for_times(caller, std::move(partitions), time);
            });
        co_return co_await caller->wait();
    }

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
                                      group_parts::request_timeout);
        } catch (...) {
            queries_.fail(caller, std::current_exception());
        }
    }

    // The end.

    asio::awaitable<void> wind_up() {
        group_.begin_closing();
        read_mail();
        if (group_.session.state()) { // an exception came between
            advance(session_machine::interrupted{group_.session.claims()});
        }
        group_.committer.fail_waiters(errc::session_ended);
        auto until = (std::max)(group_.times.close_by(), sessions_.end_by());
        auto const provider = group_.tokens.stop();
        if (provider) {
            until = (std::max)(until, clock::now() + group_parts::last_grace);
            group_.tasks.abandon(*provider);
            provider->cancel();
        }
        while (group_.tasks.any_abandoned() && clock::now() < until) {
            co_await group_.loop_wakeup->wait(until);
            read_mail();
        }
        if (provider && group_.tasks.lives_on(*provider)) {
            group_.tasks.count_abandoned();
            group_.reporter.token_provider_abandoned();
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
            co_await client_gone_->wait_at(
                group_.loop_wakeup, (std::max)(until, clock::now() + group_parts::last_grace));
        }
        group_.session.forget_handler();
    }

    /// The run is over: no function of the user's is called from here on, and none is kept but by
    /// frames that live on.
    void forget_user() noexcept {
        group_.reporter.close();
        group_.session.forget_handler();
        group_.tokens.forget_provider();
        group_.observer.reset();
    }

    static constexpr auto longest_tick = std::chrono::milliseconds{500};

    group_parts group_;
    asio::any_io_executor strand_ = group_.loop_wakeup->strand();
    offset_queries queries_;
    lookup_driver<Client> lookups_{group_, client_};
    rebalance_driver<Client> rebalances_{group_, client_};
    session_driver<Client> sessions_{group_, client_, lookups_, rebalances_};
    commit_driver<Client> commits_{group_, client_};
    token_driver<Client> tokens_{group_, client_};
    watch_driver<Client> watches_{group_, client_};
    bool client_started_ = false;
    std::shared_ptr<manual_reset_event> client_gone_; // null: it has not been shut down
    bool client_ends_ = false;                        // and that will happen
    bool stop_seen_ = false;

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
