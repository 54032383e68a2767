#pragma once

#include <kgroup/claim.hpp>
#include <kgroup/client.hpp>
#include <kgroup/config.hpp>
#include <kgroup/detail/asio/auto_reset_event.hpp>
#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/asio/mailbox.hpp>
#include <kgroup/detail/asio/manual_reset_event.hpp>
#include <kgroup/detail/asio/scope_exit.hpp>
#include <kgroup/detail/claim/partition_state.hpp>
#include <kgroup/detail/group/assignment_watch.hpp>
#include <kgroup/detail/group/claim_watch.hpp>
#include <kgroup/detail/group/ending_times.hpp>
#include <kgroup/detail/group/event_line.hpp>
#include <kgroup/detail/group/event_reporter.hpp>
#include <kgroup/detail/group/group_counters.hpp>
#include <kgroup/detail/group/group_driver_base.hpp>
#include <kgroup/detail/group/offset_committer.hpp>
#include <kgroup/detail/group/offset_lookup.hpp>
#include <kgroup/detail/group/outage_watch.hpp>
#include <kgroup/detail/group/paused_partitions.hpp>
#include <kgroup/detail/group/position_resets.hpp>
#include <kgroup/detail/group/session_machine.hpp>
#include <kgroup/detail/group/session_state.hpp>
#include <kgroup/detail/group/state_board.hpp>
#include <kgroup/end_reason.hpp>
#include <kgroup/error.hpp>
#include <kgroup/event.hpp>
#include <kgroup/handler.hpp>
#include <kgroup/oauth_token.hpp>
#include <kgroup/session.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/cancellation_type.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/error.hpp>
#include <asio/post.hpp>
#include <asio/strand.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

namespace kgroup::detail {

/// A group's run: performs what the session machine decides. One coroutine, on one strand, which
/// waits for the client, for handlers and for the nearest of its deadlines; everything else only
/// tells it.
template <client Client>
class group_driver final : public group_driver_base,
                           public claim_observer,
                           public session_services,
                           public std::enable_shared_from_this<group_driver<Client>> {
public:
    group_driver(asio::any_io_executor executor, config given)
        : config_(std::move(given)),
          executor_(std::move(executor)),
          waiting_place_(auto_reset_event::make(executor_)),
          strand_(waiting_place_->strand()),
          machine_({config_.on_claim_exit == claim_exit::keep_others, false}),
          reporter_(std::exchange(config_.on_event, nullptr), config_.group_id, counters_,
                    [this](std::exception_ptr failure) { on_report_failed(std::move(failure)); }),
          lookup_(offset_lookup::settings::of(config_)),
          committer_(config_.commit_timeout, config_.commit_at_end),
          client_(config_) {
        times_ = ending_times{
            {client_.rebalance_deadline(), config_.commit_timeout, config_.close_timeout}};
    }

    asio::any_io_executor const& strand() const noexcept override { return strand_; }

    // Any thread.

    void stop() noexcept override {
        stop_asked_ = true;
        waiting_place_->notify();
    }
    void cancel() noexcept override {
        cancelled_ = true;
        stop();
    }
    void pause(std::span<topic_partition const> which) override { paused_.set(which, true); }
    void resume(std::span<topic_partition const> which) override { paused_.set(which, false); }
    void pause(std::string_view topic) override { paused_.set(topic, true); }
    void resume(std::string_view topic) override { paused_.set(topic, false); }
    void pause_all() override { paused_.set_all(true); }
    void resume_all() override { paused_.set_all(false); }
    void subscribe(std::vector<std::string> topics) override {
        client_.check_topics(topics);
        tell([topics = std::move(topics)](group_driver& self) {
            if (!self.times_.closing() && !self.stop_asked_) {
                self.topics_ = topics;
                self.subscription_changed_ = true;
                self.client_.subscribe(topics);
            }
        });
    }

    asio::any_io_executor const& executor() const noexcept override { return executor_; }

    asio::awaitable<std::vector<offset_for_time>>
    offsets_for_times(std::vector<topic_partition> of,
                      std::chrono::system_clock::time_point time) override {
        return offsets_for_times(this->shared_from_this(), std::move(of), time);
    }

    group_stats stats() const override { return counters_.snapshot(); }

    group_state state() const override {
        return board_.state(reporter_.conditions(), counters_.totals());
    }

    // The run. On the strand, once.

    asio::awaitable<kgroup::end_reason> run(std::shared_ptr<handler_binding> handler,
                                            bool once) override {
        if (started_.exchange(true)) {
            throw std::system_error{errc::already_running};
        }
        scope_exit const over{[this] { forget_user(); }};
        waiting_place_->begin_in_this_process();
        if (!stop_asked_) {
            handler_ = std::move(handler);
            once_ = once;
            try {
                machine_ =
                    session_machine{{config_.on_claim_exit == claim_exit::keep_others, once}};
                read_mail();
                client_.start([weak = std::weak_ptr{waiting_place_}] {
                    if (auto const place = weak.lock()) {
                        place->notify();
                    }
                });
                client_started_ = true;
                assignment_.begin(clock::now());
                board_.look(clock::now());
                next_tick_ = clock::now();
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
        if (!abandoned_.empty()) {
            throw std::system_error{errc::handler_abandoned};
        }
        if (cancelled_) {
            throw std::system_error{asio::error::operation_aborted};
        }
        co_return last_end_ == end_reason::running ? end_reason::stopped : last_end_;
    }

    // claim_observer. Any thread.

    void mark_refused(topic_partition const& where, mark_result why) noexcept override {
        counters_.add(&group_stats::marks_refused);
        tell_in_passing([&] {
            tell([where, why](group_driver& self) { self.reporter_.mark_refused(where, why); });
        });
    }

    void partition_failed(topic_partition const& where, std::error_code ec,
                          std::string_view what) noexcept override {
        auto const told = tell_in_passing([&] {
            tell([where, ec, text = std::string{what}](group_driver& self) {
                self.on_partition_error(where, ec, text);
            });
        });
        if (!told && is_fatal(ec)) {
            std::lock_guard const lock{untold_mutex_};
            untold_failure_ = ec;
        }
    }

    void mark_beyond_end(topic_partition const& where, std::int64_t next,
                         std::int64_t end) noexcept override {
        tell_in_passing([&] {
            tell([where, next, end](group_driver& self) {
                self.reporter_.mark_beyond_end(where, next, end);
            });
        });
    }

    void released_twice(topic_partition const& where) noexcept override {
        tell_in_passing([&] {
            tell([where](group_driver& self) { self.reporter_.message_released_twice(where); });
        });
    }

    void report_of_claim(event told) noexcept override {
        tell_in_passing([&] {
            tell([told = std::move(told)](group_driver& self) mutable {
                self.reporter_.forward(std::move(told));
            });
        });
    }

    void position_moved(topic_partition const& where, std::int64_t from,
                        std::int64_t to) noexcept override {
        // What the client has to tell of it is in its queue by now: looked at first.
        tell_in_passing([&] {
            tell([where, from, to](group_driver& self) {
                self.moves_.push_back({where, from, to});
            });
        });
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
    commit_marked(std::shared_ptr<session_state const> of) override {
        auto const self = this->shared_from_this();
        auto const waiter = std::make_shared<commit_waiter>();
        auto const told = tell([waiter, of = std::move(of)](group_driver& group) {
            if (group.session_state_ ==
                of) { // a session that is over must not commit for the next one
                group.committer_.add(waiter);
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

    /// Somebody who awaits offsets for a time.
    struct times_waiter {
        manual_reset_event done;
        std::vector<offset_for_time> results;
        std::exception_ptr failure;

        void fail(std::exception_ptr e) {
            failure = std::move(e);
            done.set();
        }
    };
    /// Something of the user's that runs, and what it may touch, for as long as it lives. When it
    /// has ended it is a letter to the group itself, so that its end is told also when there is no
    /// memory for telling it.
    struct user_frame : mailbox<group_driver>::letter {
        std::exception_ptr failure; // what it ended with
        std::size_t late_messages = 0;
        bool began = false;
        bool cancelled = false; // group's strand, like the next
        bool abandoned = false;

        /// Whether it has failed, and not only given way to its cancellation.
        virtual bool failed() const { return failure && !(cancelled && is_abort(failure)); }
        /// In the coroutine that the next one is called in, when it is over.
        virtual void leave() noexcept {}
        virtual asio::awaitable<void> call() = 0;
    };
    /// A call of `config::oauth_token_provider`.
    struct token_frame final : user_frame {
        token_frame(std::function<asio::awaitable<oauth_token>()> by,
                    asio::any_io_executor const& on)
            : provider(std::move(by)),
              place(auto_reset_event::make(on)) {}

        std::function<asio::awaitable<oauth_token>()> provider;
        std::shared_ptr<auto_reset_event> place;
        oauth_token token{};

        asio::awaitable<void> call() override { token = co_await provider(); }
        void read(group_driver& by) override { by.on_token(*this); }
    };
    /// A handler's coroutine.
    struct claim_frame final : user_frame {
        claim_frame(std::shared_ptr<handler_binding> by, std::shared_ptr<kgroup::session> in,
                    std::shared_ptr<partition_state> of, std::size_t block_bytes)
            : handler(std::move(by)),
              session(std::move(in)),
              state(of),
              claim(std::move(of), block_bytes) {}

        std::shared_ptr<handler_binding> handler;
        std::shared_ptr<kgroup::session> session;
        std::shared_ptr<partition_state> state;
        kgroup::claim claim;
        claim_watch watch{clock::now()}; // group's strand
        std::uint64_t delivered = 0;     // at the last tick

        bool failed() const override {
            return this->failure &&
                   !((this->cancelled || state->ended()) && is_abort(this->failure));
        }
        void leave() noexcept override {
            claim.messages().drop_rest();
            this->late_messages = state->records_held();
        }
        asio::awaitable<void> call() override { return handler->consume_claim(*session, claim); }
        void read(group_driver& by) override { by.on_handler_ended(*this); }
    };
    /// `setup` or `cleanup`.
    struct hook_frame final : user_frame {
        using hook = asio::awaitable<void> (handler_binding::*)(kgroup::session&);
        using outcome = machine::event (*)(bool failed);

        hook_frame(std::shared_ptr<handler_binding> by, std::shared_ptr<kgroup::session> in,
                   asio::any_io_executor const& on, hook called, outcome end)
            : handler(std::move(by)),
              session(std::move(in)),
              place(auto_reset_event::make(on)),
              which(called),
              ended(end) {}

        std::shared_ptr<handler_binding> handler;
        std::shared_ptr<kgroup::session> session;
        std::shared_ptr<auto_reset_event> place;
        hook which;
        outcome ended;
        clock::time_point told = clock::now(); // began, or was last said to take long

        asio::awaitable<void> call() override { return (*handler.*which)(*session); }
        void read(group_driver& by) override { by.on_hook_ended(*this); }
    };

    static asio::awaitable<std::vector<offset_for_time>>
    offsets_for_times(std::shared_ptr<group_driver> self, std::vector<topic_partition> of,
                      std::chrono::system_clock::time_point time) {
        auto const waiter = std::make_shared<times_waiter>();
        self->waiting_place_->run([self, waiter, of = std::move(of), time]() mutable {
            self->ask_for_times(waiter, std::move(of), time);
        });
        co_await waiter->done.wait();
        if (waiter->failure) {
            std::rethrow_exception(waiter->failure);
        }
        co_return std::move(waiter->results);
    }

    /// Has the loop do something. false: the run is over. Any thread.
    template <typename Action>
    bool tell(Action action) {
        struct telling final : mailbox<group_driver>::letter {
            explicit telling(Action what) : action(std::move(what)) {}
            void read(group_driver& by) override { action(by); }
            Action action;
        };
        return send(std::make_shared<telling>(std::move(action)));
    }
    bool send(std::shared_ptr<typename mailbox<group_driver>::letter> letter) noexcept {
        auto const added = mail_.add(std::move(letter));
        if (added) {
            waiting_place_->notify();
        }
        return added;
    }
    /// false: there is no memory to tell it, which is counted.
    template <typename Telling>
    bool tell_in_passing(Telling telling) noexcept {
        try {
            telling();
            return true;
        } catch (...) {
            counters_.add(&group_stats::events_dropped);
            return false;
        }
    }

    void read_mail() {
        while (auto const letter = mail_.take()) {
            letter->read(*this);
        }
        if (auto const ec = take_untold()) {
            fail(ec, "a partition cannot be read", machine::failed{});
        }
    }
    std::error_code take_untold() noexcept {
        std::lock_guard const lock{untold_mutex_};
        return std::exchange(untold_failure_, {});
    }

    void close_mail() noexcept {
        mail_.close();
        while (auto const letter = mail_.take()) {
            try {
                letter->read(*this);
            } catch (...) {
                keep_failure(std::current_exception());
            }
        }
    }

    // What is the user's.

    /// Runs it. How it ends, its frame tells.
    template <typename Frame>
    void spawn(std::shared_ptr<Frame> const& frame, asio::any_io_executor const& on,
               asio::cancellation_slot slot) {
        try {
            asio::co_spawn(on, carry(this->shared_from_this(), frame),
                           asio::bind_cancellation_slot(slot, asio::detached));
        } catch (...) {
            if (!frame->began) { // no memory to begin it: that is how it ends
                frame->failure = std::current_exception();
                send(frame);
            }
        }
    }

    static asio::awaitable<void> carry(std::shared_ptr<group_driver> self,
                                       std::shared_ptr<user_frame> frame) {
        frame->began = true;
        try {
            co_await frame->call();
        } catch (...) {
            frame->failure = std::current_exception();
        }
        frame->leave();
        if (!self->send(frame)) {
            // The run is over, and only the counters are left to tell it to.
            self->counters_.ended_late(frame->abandoned, frame->failed(), frame->late_messages);
        }
    }

    // The loop.

    asio::awaitable<void> loop() {
        while (machine_.at() != step::finished) {
            if (stop_asked_ && !std::exchange(stop_seen_, true)) {
                close_within();
                feed(machine::stop_requested{!client_.member_id().empty()});
            }
            read_mail();
            poll_client();
            on_time();
            advance();
            commit_if_due();
            if (machine_.at() == step::finished) {
                break;
            }
            board_.enter(phase_of(machine_.at(), join_progress_now(), times_.closing()),
                         clock::now());
            if (inbox_.empty()) {
                auto const notified = co_await waiting_place_->wait(next_deadline());
                if (notified && rounds_left_ != 0) {
                    --rounds_left_;
                }
            }
        }
    }

    void feed(machine::event what) { inbox_.push_back(std::move(what)); }

    void advance() {
        while (!inbox_.empty() && machine_.at() != step::finished) {
            auto const what = std::move(inbox_.front());
            inbox_.pop_front();
            auto const actions = machine_.handle(what);
            end_steps();
            for (auto const& action : actions) {
                std::visit([this](auto const& each) { this->perform(each); }, action);
            }
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
            std::visit([this](auto& each) { this->on_client(each); }, *event);
        }
        if (left == 0) {
            waiting_place_->notify(); // the rest, when others have had their turn
        } else {
            for (auto const& each : std::exchange(moves_, {})) {
                if (resets_.is_news(each.where, each.from)) {
                    reporter_.position_reset(each);
                }
            }
        }
        if (machine_.at() == step::closing && client_.closed()) {
            feed(machine::client_closed{});
        }
    }

    clock::time_point next_deadline() const {
        auto nearest = next_tick_;
        for (auto const& each : {backoff_until_, lookup_.due(), token_at_, committer_.due()}) {
            if (each && *each < nearest) {
                nearest = *each;
            }
        }
        for (auto const& each : {deadline_, close_by_}) {
            if (each && *each < nearest &&
                rounds_left_ == 0) { // otherwise a notification is on its way
                nearest = *each;
            }
        }
        return nearest;
    }

    // Whether a time that handlers had is over, and all have been heard who ended in it: a handler
    // may have ended, or have been told to, while this strand or the executor was busy. What was
    // ready then has had its turn when a notification has gone through both; the first one may have
    // been on its way before.
    bool patience_is_over(clock::time_point now) {
        auto const over = (deadline_ && *deadline_ <= now) || (close_by_ && *close_by_ <= now);
        if (!over) {
            waits_on_ = false;
            rounds_left_ = 0;
            return false;
        }
        if (!std::exchange(waits_on_, true)) {
            rounds_left_ = 2;
        }
        if (rounds_left_ != 0) {
            waiting_place_->notify();
            return false;
        }
        waits_on_ = false;
        return true;
    }

    void on_time() {
        auto const now = clock::now();
        auto const over = [now](std::optional<clock::time_point>& when) {
            return when && *when <= now ? (when.reset(), true) : false;
        };
        auto const patient = !patience_is_over(now);
        if (!patient && over(deadline_)) {
            feed(machine::deadline_over{});
        }
        if (over(backoff_until_)) {
            feed(machine::backoff_over{});
        }
        if (!patient && over(close_by_)) {
            if (machine_.at() == step::closing) {
                reporter_.close_timed_out();
            }
            feed(machine::close_deadline_over{});
        }
        if (auto const due = lookup_.due(); due && *due <= now) {
            follow(lookup_.on_time(now));
        }
        if (over(token_at_)) {
            ask_for_token();
        }
        if (next_tick_ <= now) {
            next_tick_ = now + (std::min<clock::duration>)(client_.max_poll_interval() / 3,
                                                           std::chrono::milliseconds{500});
            watch(now);
        }
    }

    // From the client.

    void on_client(client_rebalance& what) {
        std::visit(
            [this](auto& each) {
                own(each); // first: whoever is told may pause what has come
                note(each);
                describe(each);
                feed(std::move(each));
            },
            what.what);
    }

    void own(machine::assigned const& what) {
        if (!what.cooperative) {
            paused_.remove_all();
        }
        paused_.add(what.partitions);
    }
    void own(machine::revoked const& what) {
        if (what.cooperative) {
            paused_.remove(what.partitions);
        } else {
            paused_.remove_all();
        }
    }

    void note(machine::assigned const& what) {
        answered();
        subscription_changed_ = false;
        end_wait_for_assignment(event_reporter::list(what.partitions));
        has_joined_ = true;
        board_.join(client_.member_id(), client_.generation_id());
        end_what_names_no_place((clock::time_point::max)(), "an assignment has arrived");
        if (reporter_.lasts(event_kind::topic_missing) ||
            reporter_.lasts(event_kind::partition_error)) {
            for (auto const& where : what.partitions) {
                found_topic(where.topic);
            }
        }
    }
    void note(machine::revoked const& what) {
        // librdkafka does some of its own: after a session timeout, when it leaves, and when the
        // subscription has changed.
        auto const of_broker =
            !what.lost && !times_.closing() && !std::exchange(subscription_changed_, false);
        if (of_broker) {
            answered();
        }
        if (what.lost || !what.cooperative) { // after others no assignment need follow
            assignment_.begin(clock::now());
        }
    }

    void describe(machine::assigned const& what) {
        told_added_.insert(what.partitions.begin(), what.partitions.end());
        for (auto const& each : what.partitions) {
            told_given_back_.erase(each);
        }
        reporter_.claims_added(what.partitions);
    }
    void describe(machine::revoked const& what) {
        partition_set untold;
        for (auto const& each : what.partitions) {
            told_added_.erase(each);
            if (told_given_back_.erase(each) == 0 || what.lost) {
                untold.insert(each);
            }
        }
        if (!untold.empty() || what.partitions.empty()) {
            tell_end_of(untold, what.lost);
        }
    }

    void tell_end_of(partition_set const& partitions, bool lost) {
        if (lost) {
            reporter_.claims_lost(partitions);
        } else {
            reporter_.claims_revoked(partitions);
        }
    }

    /// A run that ends gives its claims back by itself: it is told when they begin to end, as with
    /// a revocation, and not once more when the client revokes them at last.
    void give_back(partition_set const& claims, end_reason why) {
        if (why == end_reason::lost || why == end_reason::revoked ||
            (why == end_reason::claim_exited && !once_)) {
            return;
        }
        partition_set untold;
        for (auto const& each : claims) {
            if (told_added_.erase(each) != 0) {
                untold.insert(each);
            }
        }
        if (!untold.empty()) {
            tell_end_of(untold, why == end_reason::group_failed);
            told_given_back_.merge(untold);
        }
    }

    void on_client(client_offsets& what) {
        if (what.id > before_outage_.look_up && is_answer_of_broker(what.error)) {
            answered();
        }
        follow(lookup_.answer(what, clock::now()));
    }

    void on_client(client_log_offsets& what) { follow(lookup_.answer(what, clock::now())); }

    void follow(offset_lookup::outcome what) {
        for (auto& each : what.events) {
            auto const heard =
                each.kind == event_kind::start_delayed ? hear(each.where) : std::string{};
            reporter_.forward(std::move(each), heard);
        }
        if (what.failure && what.where) {
            fail(what.failure, name(*what.where),
                 machine::failed{}); // the membership is intact and is given back in order
            return reporter_.client_error(what.failure, "the run ends", what.where);
        }
        if (what.failure) {
            return fail_fatally(what.failure, "committed offsets");
        }
        if (what.committed) {
            client_.look_up(what.committed->id, what.committed->partitions,
                            what.committed->with_lower, std::chrono::milliseconds{10000});
        }
        if (what.log) {
            client_.find_in_logs(what.log->id, what.log->places, what.log->topics,
                                 std::chrono::milliseconds{10000});
        }
        machine::start_found late;
        for (auto& each : what.found) {
            if (each.start >= 0) {
                found_topic(each.where.topic);
            }
            auto where = each.where;
            if (auto const state = session_state_ ? session_state_->find(where) : nullptr) {
                state->adopt({each.committed, each.metadata});
                late.partitions.insert(where);
            }
            positions_.insert_or_assign(std::move(where), std::move(each));
        }
        if (!late.partitions.empty()) {
            feed(std::move(late));
        }
        if (what.complete) {
            feed(machine::looked_up{std::move(what.delayed)});
        }
    }

    void on_client(client_commit& what) {
        if (what.id > before_outage_.commit && is_answer_of_broker(what.error)) {
            answered();
        }
        committer_.answer(clock::now(), what, session_state_.get());
        for (auto const& result : what.results) {
            if (!what.error && !result.error) {
                found_topic(result.where.topic);
            }
        }
    }

    void on_client(client_times& what) {
        for (auto const& result : what.results) {
            if (!result.error) {
                found_topic(result.where.topic);
            }
        }
        if (auto const found = times_waiters_.find(what.id); found != times_waiters_.end()) {
            found->second->results = std::move(what.results);
            found->second->done.set();
            times_waiters_.erase(found);
        }
    }

    void on_client(client_ends& what) {
        if (what.id == ends_question_) {
            ends_question_ = 0;
        } else if (what.id == topics_question_) {
            topics_question_ = 0;
        } else {
            return;
        }
        auto const now = clock::now();
        for (auto const& end : what.ends) {
            if (!end.error) {
                answered();
                found_topic(end.where.topic);
            }
            if (auto const found = running_.find(end.where);
                found != running_.end() && found->second->state->source()) {
                auto const known = found->second->state->source()->known_watermarks();
                auto const at = look_at(*found->second->state);
                on_findings(
                    *found->second, at,
                    found->second->watch.log_end(
                        {end.error, end.offset.value_or(-1), known.low, known.high}, at, now));
            }
        }
    }

    void on_client(client_coordinator& what) {
        if (what.id != coordinator_question_) {
            return;
        }
        coordinator_question_ = 0;
        coordinator_ = what;
        if (is_answer_of_broker(what.error)) {
            answered();
        }
    }

    void on_client(client_token_wanted&) {
        if (!token_ && !token_at_ && config_.oauth_token_provider) {
            ask_for_token();
        }
    }

    void on_client(client_position_reset& what) {
        resets_.told(what.where, what.from);
        reporter_.position_reset(what);
    }

    void on_client(client_notice& what) {
        if (what.what.kind == event_kind::brokers_unreachable) {
            if (!outage_.begin(clock::now())) {
                return;
            }
            before_outage_ = {last_commit_, lookup_.last_id()};
            coordinator_question_ = ends_question_ = topics_question_ =
                0; // their answers may be older
            for (auto const& [where, frame] : running_) {
                frame->watch.outage_began(look_at(*frame->state));
            }
        }
        if (what.what.kind == event_kind::authentication_failed) {
            refusal_.begin(clock::now());
            refused_at_ = clock::now();
        }
        if (what.what.kind == event_kind::topic_missing && what.what.where) {
            topic_missing(what.what.where->topic, what.log_ends);
        }
        reporter_.forward(std::move(what.what));
    }

    // The last commit keeps away from a topic that is missing: see partition_state::miss_topic.
    void topic_missing(std::string const& topic,
                       std::map<topic_partition, std::int64_t> const& log_ends) {
        missing_topics_.insert(topic);
        for_each_state([&](partition_state& state) {
            if (state.topic() == topic) {
                auto const end = log_ends.find(state.where());
                state.miss_topic(end == log_ends.end() ? -1 : end->second);
            }
        });
    }

    void look_for_missing_topics() {
        if (missing_topics_.empty()) {
            return;
        }
        std::set<std::string> found;
        for_each_state([&](partition_state& state) {
            if (state.topic_missing() && state.has_newer_record()) {
                found.emplace(state.topic());
            }
        });
        for (auto const& topic : found) {
            found_topic(topic);
        }
    }

    template <typename Function>
    void for_each_state(Function function) {
        if (session_state_) {
            std::lock_guard const lock{session_state_->mutex};
            for (auto const& claim : session_state_->claims) {
                function(*claim.second);
            }
        }
    }

    void on_client(client_fatal& what) { fail_fatally(what.error, what.text); }

    void fail_fatally(std::error_code ec, std::string const& text) {
        std::string remedy{remedy_of(ec)};
        if (ec == make_error_code(kafka_errc::invalid_regular_expression)) {
            for (auto const& each : topics_) {
                remedy += each.starts_with('^') ? " '" + each + "'" : "";
            }
        }
        auto const words = with_remedy(words_beside(ec, text), remedy);
        fail(ec, words, machine::fatal{});
        reporter_.client_error(ec, words);
    }

    void on_partition_error(topic_partition const& where, std::error_code ec,
                            std::string const& text) {
        if (!session_state_ || !session_state_->find(where)) {
            return; // it concerns nobody any more
        }
        if (auto const found = running_.find(where); found != running_.end()) {
            // Who may not read may still be told where a log ends.
            auto const leader_knows = ec != make_error_code(kafka_errc::topic_authorization_failed);
            found->second->watch.failed(look_at(*found->second->state), clock::now(), leader_knows);
        }
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
    void answered() {
        if (outage_.answered()) {
            reporter_.brokers_reachable();
        }
        // Another broker may refuse this member still: then it says so again, at each attempt.
        if (refusal_.lasts() && clock::now() - refused_at_ >= std::chrono::seconds{5}) {
            refusal_.answered();
            if (!token_fails_) {
                reporter_.member_accepted();
            }
        }
    }

    // Something shows that there is such a topic.
    void found_topic(std::string const& topic) {
        if (missing_topics_.erase(topic) != 0) {
            for_each_state([&](partition_state& state) {
                if (state.topic() == topic) {
                    state.find_topic();
                }
            });
        }
        reporter_.topic_found(topic);
    }

    // What lasts as long as a step of the machine's.
    void end_steps() {
        if (machine_.at() != step::looking_up) {
            follow(lookup_.abandon());
        }
        if (machine_.at() != step::looking_up) {
            reporter_.offsets_not_needed();
        }
        if (machine_.at() != step::setting_up) {
            reporter_.setup_resumed();
        }
    }

    // What the machine decides.

    void perform(machine::look_up const& what) {
        for (auto const& each : what.partitions) {
            positions_.erase(each);
        }
        follow(lookup_.begin(what.partitions));
    }

    void perform(machine::begin_session const& what) {
        auto state = std::make_shared<session_state>();
        for (auto const& each : what.partitions) {
            auto const& claim = state->claims.emplace(each, make_state(each)).first->second;
            board_.own(claim, false, clock::now());
        }
        session_state_ = state;
        counters_.session_begins(state);
        session_ = std::make_shared<kgroup::session>(state, this->weak_from_this(),
                                                     this->weak_from_this(), executor_);
        session_strand_.emplace(asio::make_strand(executor_));
        session_began_ = clock::now();
        run_hook(&handler_binding::setup,
                 [](bool failed) { return machine::event{machine::setup_ended{failed}}; });
    }

    std::shared_ptr<partition_state> make_state(topic_partition const& where) {
        auto const& position = positions_[where];
        auto state = std::make_shared<partition_state>(
            where, executor_, tracked_offset{position.committed, position.metadata},
            this->weak_from_this());
        paused_.attach(state);
        return state;
    }

    void perform(machine::start_claims const& what) {
        std::vector<start_position> assignment;
        std::vector<start_position> others; // assigned before
        std::vector<std::shared_ptr<partition_state>> states;
        auto const generation = client_.generation_id();
        for (auto const& each : what.claims) {
            auto state = session_state_->find(each);
            if (!state) {
                state = make_state(each);
                std::lock_guard const lock{session_state_->mutex};
                session_state_->claims.emplace(each, state);
            }
            auto position = what.delayed.contains(each)
                                ? start_position{each, start_position::unknown, -1, {}}
                                : start_of(*state);
            state->start(client_.open(state), position.start, generation,
                         client_.rebalance_deadline());
            board_.own(state, true, clock::now());
            (what.assignment.contains(each) ? assignment : others).push_back(std::move(position));
            states.push_back(std::move(state));
        }
        if (what.answers) {
            client_.assign(assignment, what.cooperative);
            counters_.add(&group_stats::rebalances);
        }
        if (!others.empty()) {
            client_.seek(others);
        }
        if (session_state_->claims.size() > config_.expected_partitions) {
            reporter_.too_many_partitions(session_state_->claims.size(),
                                          config_.expected_partitions);
        }
        for (auto& state : states) {
            if (!what.delayed.contains(state->where())) {
                begin_claim(std::move(state));
            }
        }
    }

    // The handler runs when a start is committed that would be another one the next time.
    void begin_claim(std::shared_ptr<partition_state> state) {
        auto const found_again =
            *config_.initial_offset == offset_reset::earliest || config_.initial_time;
        auto const commits = config_.commit_at_end ||
                             config_.auto_commit_interval.count() != 0; // not the program alone
        if (state->committed_before() >= 0 || state->tracker().marked() < 0 || found_again ||
            !commits) {
            return start_handler(std::move(state));
        }
        committer_.commit_starts(clock::now(), {state});
        unstarted_.insert_or_assign(state->where(), std::move(state));
    }

    // `setup` may have moved it.
    start_position start_of(partition_state& state) {
        auto position = positions_[state.where()];
        position.where = state.where();
        if (auto const marked = state.tracker().marked(); marked >= 0) {
            position.start = marked;
        } else if (position.start >= 0 && *config_.initial_offset != offset_reset::earliest &&
                   !config_.initial_time) {
            // The log's end is a start only once: what comes until the first mark would be passed
            // over by the next session.
            static_cast<void>(state.tracker().mark(position.start, state.tracker().epoch()));
        }
        return position;
    }

    void perform(machine::start_delayed const& what) {
        std::vector<std::shared_ptr<partition_state>> states;
        std::vector<start_position> starts;
        for (auto const& each : what.claims) {
            auto const& state = states.emplace_back(session_state_->find(each));
            starts.push_back(start_of(*state));
            state->start(starts.back().start);
        }
        client_.seek(starts);
        for (auto& state : states) {
            begin_claim(std::move(state));
        }
    }

    // `setup` has ended: where it has chosen the start, nothing is looked up any more.
    void take_chosen_starts() {
        machine::start_found chosen;
        {
            std::lock_guard const lock{session_state_->mutex};
            if (std::exchange(session_state_->setting_up, false)) {
                chosen.partitions = session_state_->chosen_starts;
            }
        }
        if (!chosen.partitions.empty()) {
            follow(lookup_.forget(chosen.partitions, "setup has chosen the start"));
            feed(std::move(chosen));
        }
    }

    void perform(machine::accept_unread const& what) {
        std::vector<start_position> positions;
        for (auto const& each : what.assignment) {
            positions.push_back({each, start_position::log_end, -1, {}});
        }
        client_.assign(positions, what.cooperative);
        counters_.add(&group_stats::rebalances);
    }

    void perform(machine::release_partitions const& what) {
        client_.unassign({what.partitions.begin(), what.partitions.end()}, what.cooperative);
        counters_.add(&group_stats::rebalances);
    }

    void perform(machine::end_claims const& what) {
        if (what.session && session_state_ &&
            (session_state_->why == end_reason::running || is_loss(what.why))) {
            session_state_->why = what.why;
            session_state_->stopping.set();
        }
        for (auto const& each : what.claims) {
            if (auto const state = session_state_ ? session_state_->find(each) : nullptr) {
                state->end(what.why, times_.handlers(clock::now()));
                if (is_loss(what.why)) {
                    state->tracker().seal(); // now, and not with the last commit: somebody else's
                                             // offset is not to be overwritten
                }
            }
            if (auto const found = running_.find(each); found != running_.end()) {
                found->second->state->cancel(asio::cancellation_type::total);
            }
            if (unstarted_.erase(each) != 0) {
                feed(machine::claim_ended{each, false}); // there is nothing to wait for
            }
        }
        if (what.session) {
            give_back(what.claims, what.why);
        }
    }

    void perform(machine::cancel const& what) {
        for (auto const& each : what.claims) {
            if (auto const found = running_.find(each); found != running_.end()) {
                auto const& frame = found->second;
                frame->cancelled = true;
                if (!is_loss(frame->state->why_ended())) {
                    reporter_.handler_cancelled(each);
                }
                frame->state->cancel(asio::cancellation_type::terminal);
            }
        }
        if (what.claims.empty() && hook_) {
            hook_->cancelled = true;
            reporter_.hook_cancelled();
            hook_->place->cancel(asio::cancellation_type::terminal);
        }
    }

    void perform(machine::abandon const& what) {
        for (auto const& each : what.claims) {
            abandon_claim(each);
        }
        if (what.claims.empty() && hook_) {
            hook_->abandoned = true;
            abandoned_.insert(hook_.get());
            hook_.reset();
            take_chosen_starts();
            report_abandoned(std::nullopt);
        }
    }

    void abandon_claim(topic_partition const& where) {
        auto const found = running_.find(where);
        if (found == running_.end()) {
            return;
        }
        found->second->abandoned = true;
        abandoned_.insert(found->second.get());
        running_.erase(found);
        report_abandoned(where);
    }

    void report_abandoned(std::optional<topic_partition> where) {
        counters_.add(&group_stats::handlers_abandoned);
        set_abandoned();
        reporter_.handler_abandoned(std::move(where));
    }

    void perform(machine::clean_up const&) {
        run_hook(&handler_binding::cleanup,
                 [](bool failed) { return machine::event{machine::cleanup_ended{failed}}; });
    }

    void perform(machine::commit const& what) {
        std::vector<std::shared_ptr<partition_state>> states;
        for (auto const& each : what.claims) {
            if (auto const state = session_state_->find(each)) {
                state->tracker().seal();
                if (what.may_commit.contains(each)) {
                    states.push_back(state);
                }
            }
        }
        look_for_missing_topics();
        auto const now = clock::now();
        committer_.finish(now, std::move(states), times_.commit(now));
    }

    void perform(machine::drop_claims const& what) {
        times_.over();
        auto const dropped = counters_.retire(what.claims);
        follow(lookup_.forget(what.claims, "the partition is not owned any more"));
        for (auto const& each : dropped) {
            each->end(end_reason::revoked);
            each->give_away();
            if (auto* const source = each->source()) {
                source->close();
            }
            board_.disown(each->where());
            orphans_.erase(each->where());
            positions_.erase(each->where());
            reporter_.end_all_of(each->where(), "the claim has ended");
            resets_.forget(each->where());
        }
    }

    void perform(machine::end_session const& what) {
        times_.over();
        last_end_ = what.why;
        commit_trouble_ = false;
        reporter_.session_ended(what.why);
        committer_.fail_waiters(errc::session_ended);
        session_state_->why = what.why;
        session_state_->stopping.set();
        counters_.session_ends();
        session_state_.reset();
        session_.reset();
    }

    void perform(machine::report_orphan const& what) {
        orphans_[what.where] = clock::now();
        reporter_.claim_left(what.where);
    }

    void perform(machine::report_superseded const&) {
        counters_.add(&group_stats::superseded_rebalances);
    }

    void perform(machine::arm_deadline const& what) {
        using limit = machine::arm_deadline::limit;
        auto const now = clock::now();
        waits_on_ = false;
        if (session_state_ && is_loss(session_state_->why)) {
            times_.hasten(now); // there is nothing to finish: handlers are cancelled already
        }
        switch (what.how_long) {
        case limit::drain:
            deadline_ =
                machine_.at() == step::cleaning_up ? times_.cleanup(now) : times_.drain(now);
            break;
        case limit::grace:
            deadline_ = times_.grace(now);
            break;
        case limit::join:
            deadline_ = times_.join(now);
            break;
        }
    }
    void perform(machine::hasten_deadline const&) { limit_deadline(times_.hasten(clock::now())); }

    // Handlers that were told of a later end are told of this one, if they ask.
    void limit_deadline(clock::time_point until) {
        if (deadline_) {
            deadline_ = (std::min)(*deadline_, until);
        }
        for (auto const& each : running_) {
            each.second->state->finish_no_later_than(until);
        }
    }
    void perform(machine::disarm_deadline const&) { deadline_.reset(); }

    void perform(machine::start_backoff const&) {
        using namespace std::chrono_literals;
        auto const now = clock::now();
        if (now - session_began_ > 1min) {
            backoff_ = 250ms;
        }
        backoff_until_ = now + backoff_;
        backoff_ = (std::min<std::chrono::milliseconds>)(backoff_ * 2, 30s);
    }

    void perform(machine::close_client const&) {
        close_within();
        client_.close();
        waiting_place_->notify(); // there may be nothing to wait for
    }

    void perform(machine::finish const&) {}

    void close_within() {
        if (!times_.closing()) {
            times_.close(clock::now());
            close_by_ = times_.close_by();
            limit_deadline(times_.handlers_until());
            committer_.end_by(times_.handlers_until());
        }
    }

    // Handlers.

    void start_handler(std::shared_ptr<partition_state> state) {
        auto const where = state->where();
        auto const frame =
            std::make_shared<claim_frame>(handler_, session_, state, client_.block_bytes());
        running_[where] = frame;
        orphans_.erase(where);
        spawn(frame, state->strand(), state->cancellation_slot());
    }

    void on_handler_ended(claim_frame& frame) {
        auto const& where = frame.state->where();
        auto const failed = frame.failed();
        if (frame.abandoned) {
            abandoned_.erase(&frame);
            set_abandoned();
        } else {
            running_.erase(where);
            if (failed) {
                keep_failure(frame.failure);
                close_within();
            }
            feed(machine::claim_ended{where, failed});
        }
        if (frame.late_messages != 0) {
            counters_.add(&group_stats::late_messages, frame.late_messages);
            reporter_.late_messages(where, frame.late_messages);
        }
        if (failed) {
            report_failure(frame.failure, &where);
        } else if (!frame.abandoned && !frame.state->ended() &&
                   config_.on_claim_exit == claim_exit::end_session) {
            reporter_.claim_exited(where);
        }
    }

    void run_hook(typename hook_frame::hook hook, typename hook_frame::outcome outcome) {
        hook_ = std::make_shared<hook_frame>(handler_, session_, *session_strand_, hook, outcome);
        spawn(hook_, hook_->place->strand(), hook_->place->slot());
    }

    void on_hook_ended(hook_frame& frame) {
        auto const failed = frame.failed();
        if (frame.abandoned) {
            abandoned_.erase(&frame);
            set_abandoned();
        } else {
            hook_.reset();
            if (failed) {
                keep_failure(frame.failure);
                close_within();
            }
            take_chosen_starts();
            feed(frame.ended(failed));
        }
        if (failed) {
            report_failure(frame.failure, nullptr);
        } else if (!frame.abandoned && session_state_ && frame.which == &handler_binding::setup) {
            reporter_.session_started(session_state_->claims.size());
        }
    }

    static bool is_abort(std::exception_ptr const& e) {
        try {
            std::rethrow_exception(e);
        } catch (std::system_error const& error) {
            return error.code() == asio::error::operation_aborted;
        } catch (...) {
            return false;
        }
    }

    // What the run ends with, in words.
    std::string words_of_end() const noexcept {
        try {
            return failure_             ? words_of(failure_).first
                   : abandoned_.empty() ? std::string{}
                                        : make_error_code(errc::handler_abandoned).message();
        } catch (...) { // no memory for words
            return {};
        }
    }

    void keep_failure(std::exception_ptr e) {
        if (!failure_) {
            failure_ = std::move(e);
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
        token_at_.reset();
        token_ = std::make_shared<token_frame>(config_.oauth_token_provider, executor_);
        spawn(token_, token_->place->strand(), token_->place->slot());
    }

    void on_token(token_frame const& frame) {
        using namespace std::chrono_literals;
        auto const& token = frame.token;
        if (frame.abandoned) {
            abandoned_.erase(&frame);
            set_abandoned();
            return;
        }
        token_.reset();
        std::string why;
        std::error_code code;
        if (frame.failure) {
            std::tie(why, code) = words_of(frame.failure);
            why = words_beside(code, std::move(why));
            why = why.empty() ? "oauth_token_provider has failed" : why;
        } else if (why = flaw_of(token); !why.empty()) {
            why = "the token cannot be used: " + why;
        } else if (code = client_.set_token(token); code) {
            why = "the token cannot be used";
        } else {
            token_backoff_ = 1s;
            if (std::exchange(token_fails_, false) && !refusal_.lasts()) {
                reporter_.token_given();
            }
            return;
        }
        token_fails_ = true;
        token_at_ = clock::now() + token_backoff_;
        reporter_.authentication_failed(code, why, token_backoff_);
        token_backoff_ = (std::min<std::chrono::milliseconds>)(token_backoff_ * 2, 30s);
    }

    // Offsets for times.

    void ask_for_times(std::shared_ptr<times_waiter> waiter, std::vector<topic_partition> of,
                       std::chrono::system_clock::time_point time) {
        if (!client_started_) {
            return waiter->fail(std::make_exception_ptr(std::system_error{errc::not_running}));
        }
        if (of.empty()) {
            return waiter->done.set();
        }
        try {
            client_.offsets_for_times(++times_id_, std::move(of), time,
                                      std::chrono::milliseconds{10000});
            times_waiters_.emplace(times_id_, waiter);
        } catch (...) {
            waiter->fail(std::current_exception());
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
        if (auto const request = committer_.next(now, session_state_.get())) {
            last_commit_ = request->id;
            client_.commit(request->id, request->offsets);
        }
        for (auto& state : committer_.take_started()) {
            if (auto const found = unstarted_.find(state->where());
                found != unstarted_.end() && found->second == state) {
                unstarted_.erase(found);
                start_handler(std::move(state));
            }
        }
        while (auto const outcome = committer_.take_outcome()) {
            on_commit(*outcome);
        }
        if (committer_.take_finished()) {
            feed(machine::committed{});
        }
    }

    void on_commit(commit_outcome const& what) {
        counters_.add(&group_stats::offsets_committed, what.committed);
        board_.committed(what.error, clock::now());
        if (what.error) {
            counters_.add(&group_stats::commits_failed);
            if (!what.will_retry) {
                commit_trouble_ = true;
                reporter_.commit_failed(what.where, what.error);
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
        using namespace std::chrono_literals;
        board_.look(now);
        look_for_missing_topics();
        // While it is, something else is the reason that nothing comes.
        auto const undisturbed = machine_.at() == step::running && !outage_.lasts();
        for (auto const& [where, frame] : running_) {
            auto const delivered = frame->state->delivered();
            auto const rests = std::exchange(frame->delivered, delivered) == delivered;
            if (rests && !frame->state->waiting() &&
                frame->state->source()->waiting() != 0) { // it may be nothing that is delivered
                asio::post(frame->state->strand(), [state = frame->state] {
                    if (state->open()) {
                        state->source()->look();
                    }
                });
            }
            if ((frame->state->waiting() && frame->state->ended()) ||
                frame->state->cancel_pending()) {
                frame->state->notify(); // told when there was no memory to tell it
                continue;
            }
            auto const at = look_at(*frame->state);
            on_findings(*frame, at, frame->watch.look(at, now, undisturbed));
        }
        if (hook_ && hook_->place->cancel_pending()) {
            hook_->place->notify();
        }
        if (hook_ && machine_.at() == step::setting_up && now - hook_->told >= setup_told_every) {
            hook_->told = now;
            reporter_.setup_stalled(setup_told_every);
        }
        for (auto& [where, told] : orphans_) {
            if (now - told >= 1min) {
                told = now;
                reporter_.claim_left(where);
            }
        }
        watch_assignment(now);
        if (!times_.closing()) {
            ask_brokers(now);
            listen(now, undisturbed);
            end_what_names_no_place(now - 30s, "it has not been told again");
        }
        reporter_.report_kept_back(now);
    }

    // The client's debug log is followed for some seconds before something is told, for its words.
    void listen(clock::time_point now, bool undisturbed) {
        auto wanted = assignment_.tells_soon(now) || lookup_.tells_soon(now);
        for (auto each = running_.begin(); undisturbed && !wanted && each != running_.end();
             ++each) {
            wanted = each->second->watch.tells_soon(now);
        }
        if (wanted != std::exchange(listening_, wanted)) {
            client_.listen(wanted);
        }
    }

    // What the client's log says of trouble with a partition, or with the membership.
    std::string hear(std::optional<topic_partition> const& partition) const {
        return listening_ ? client_.heard(partition) : std::string{};
    }

    void end_what_names_no_place(clock::time_point silent_since, std::string_view text) {
        for (auto const kind : {event_kind::partition_error, event_kind::topic_missing}) {
            reporter_.end_without_place(kind, silent_since, text);
        }
    }

    static claim_look look_at(partition_state const& state) {
        claim_look at{state.open() && !state.has_own_work(),
                      state.waiting(),
                      state.waits_for_acks(),
                      state.source()->waiting(),
                      state.next_to_come(),
                      0,
                      state.first_undone()};
        at.delivered = state.delivered(); // last
        return at;
    }

    void on_findings(claim_frame& frame, claim_look const& at, claim_watch::findings const& found) {
        auto const& where = frame.state->where();
        if (found.arrived) {
            answered();
        }
        if (found.recovered) {
            reporter_.partition_recovered(where);
        }
        if (found.wake_up_missed) {
            counters_.add(&group_stats::wakeups_healed);
            reporter_.missed_wakeup(where);
            frame.state->notify();
        }
        if (found.resumed) {
            reporter_.claim_resumed(where, at.open);
        }
        if (found.stalled) {
            reporter_.claim_stalled(where, at);
        }
        if (found.records_come) {
            reporter_.records_come(where, at.open);
        }
        if (found.nothing_comes) {
            reporter_.nothing_comes(where, clock::now() - frame.watch.quiet_since(),
                                    frame.watch.reason(), hear(where));
        }
    }

    void watch_assignment(clock::time_point now) {
        if (times_.closing() || machine_.at() != step::joining) {
            return; // it is not awaited, or not yet: what there was is being given back
        }
        if (config_.protocol == group_protocol::consumer) {
            // Who has an epoch has been answered: its share is empty, of which librdkafka does not
            // tell. Nor does it tell that such a member has to join again.
            if (client_.generation_id() > 0) {
                end_wait_for_assignment("this member's share is empty");
            } else {
                assignment_.begin(now);
            }
        } else if (!has_joined_) {
            has_joined_ = !client_.member_id().empty(); // which the coordinator has given it
        }
        if (assignment_.telling_is_due(now)) {
            reporter_.no_assignment(coordinator_ ? coordinator_->error : std::error_code{},
                                    now - *assignment_.since(), waits_for(), hear(std::nullopt));
        }
    }

    void end_wait_for_assignment(std::string const& text) {
        assignment_.end();
        reporter_.assignment_received(text);
    }

    join_progress join_progress_now() const {
        if (!assignment_.since()) {
            return join_progress::joined;
        }
        if (outage_.lasts() || (coordinator_ && !coordinator_->broker_known)) {
            return join_progress::no_broker;
        }
        if (coordinator_ && !is_answer_of_broker(coordinator_->error)) {
            return join_progress::no_coordinator;
        }
        return coordinator_ || has_joined_ ? join_progress::joining : join_progress::no_broker;
    }

    // What a member without an assignment waits for.
    std::string waits_for() {
        std::string text;
        if (outage_.lasts() || (coordinator_ && !coordinator_->broker_known)) {
            text = "no broker has answered as one";
        } else if (coordinator_ && !is_answer_of_broker(coordinator_->error)) {
            text = "the group's coordinator does not answer: " + coordinator_->error.message();
        } else if (coordinator_ && coordinator_->error) {
            text = "the group's coordinator answers: " + coordinator_->error.message();
        } else if (config_.protocol == group_protocol::consumer || client_.member_id().empty()) {
            text = "the group's coordinator is there and has not let this member join";
        } else {
            text = "this member has joined, and waits for the other members";
        }
        for (auto const& missing : reporter_.lasting(event_kind::topic_missing)) {
            text += missing.newest.where ? "; there is no topic " + missing.newest.where->topic
                                         : "; a topic is missing";
        }
        return text;
    }

    // Whether they are there, and what there is to read.
    void ask_brokers(clock::time_point now) {
        using namespace std::chrono_literals;
        constexpr auto limit = 4000ms;
        auto const of_outage = outage_.question_is_due(now);
        auto const of_refusal = refusal_.question_is_due(now);
        auto const of_assignment = assignment_.question_is_due(now);
        try {
            if (coordinator_question_ == 0 && (of_outage || of_refusal || of_assignment)) {
                coordinator_question_ = ++question_id_;
                client_.ask_coordinator(question_id_, some_partition(), limit);
            }
            if (ends_question_ == 0) {
                std::vector<topic_partition> quiet;
                auto const in_turn = now >= next_ends_;
                for (auto const& [where, frame] : running_) {
                    auto const due = in_turn || !frame->watch.asked();
                    auto const wanted =
                        of_outage ? quiet.size() < 100 // of one broker at least
                                  : due && frame->watch.wants_log_end(look_at(*frame->state), now);
                    if (wanted) {
                        quiet.push_back(where);
                        frame->watch.log_end_asked();
                    }
                }
                if (!quiet.empty()) {
                    ends_question_ = ++question_id_;
                    next_ends_ = in_turn ? now + claim_watch::ask_after : next_ends_;
                    client_.find_ends(question_id_, std::move(quiet), limit);
                }
            }
            if (topics_question_ == 0 && now >= next_topics_) {
                std::vector<topic_partition> missing;
                for (auto const kind : {event_kind::topic_missing, event_kind::partition_error}) {
                    for (auto const& known : reporter_.lasting(kind)) {
                        if (known.newest.where && known.newest.where->partition < 0) {
                            missing.emplace_back(known.newest.where->topic, 0);
                        }
                    }
                }
                next_topics_ = now + 10s;
                if (!missing.empty()) {
                    topics_question_ = ++question_id_;
                    client_.find_ends(question_id_, std::move(missing), limit);
                }
            }
        } catch (...) { // out of memory or threads: again at the next time
            coordinator_question_ = ends_question_ = topics_question_ = 0;
        }
    }

    topic_partition some_partition() const {
        if (!running_.empty()) {
            return running_.begin()->first;
        }
        for (auto const& topic : topics_) {
            if (!topic.starts_with('^')) {
                return {topic, 0};
            }
        }
        return {"__consumer_offsets", 0};
    }

    // The end.

    asio::awaitable<void> wind_up() {
        close_within();
        read_mail();
        auto until = times_.close_by();
        // Out of time, in the middle of something: nothing of it may do harm any more.
        if (session_state_) {
            partition_set left;
            for (auto const& each : session_state_->claims) {
                each.second->tracker().seal();
                left.insert(each.first);
            }
            perform(machine::end_claims{left, end_reason::stopped, true});
            if (cancel_rest()) {
                until = (std::max)(until, clock::now() + std::chrono::milliseconds{500});
            }
            for (auto const& each : left) {
                abandon_claim(each);
            }
            if (hook_) {
                perform(machine::abandon{});
            }
            perform(machine::drop_claims{left});
            perform(machine::end_session{end_reason::stopped});
        }
        committer_.fail_waiters(errc::session_ended);
        token_at_.reset();
        auto const provider = std::exchange(token_, nullptr);
        if (provider) {
            until = (std::max)(until, clock::now() + std::chrono::milliseconds{500});
            provider->abandoned = true;
            abandoned_.insert(provider.get());
            provider->place->cancel(asio::cancellation_type::terminal);
        }
        while (!abandoned_.empty() && clock::now() < until) {
            co_await waiting_place_->wait(until);
            read_mail();
        }
        if (provider && abandoned_.contains(provider.get())) {
            set_abandoned();
            reporter_.token_provider_abandoned();
        }
        client_started_ = false;
        for (auto const& each : std::exchange(times_waiters_, {})) {
            each.second->fail(std::make_exception_ptr(std::system_error{errc::not_running}));
        }
        if (!client_gone_) { // once, however often the end is tried
            auto const gone = std::make_shared<manual_reset_event>();
            std::function<void()> const tell_gone = [gone] { gone->set(); };
            std::lock_guard const lock{client_mutex_};
            client_ends_ = client_.shut_down(tell_gone);
            client_gone_ = gone;
        }
        if (client_ends_) {
            co_await client_gone_->wait_at(
                waiting_place_, (std::max)(until, clock::now() + std::chrono::milliseconds{500}));
        }
        handler_.reset();
    }

    /// The run is over: no function of the user's is called from here on, and none is kept but by
    /// frames that live on.
    void forget_user() noexcept {
        reporter_.close();
        handler_.reset();
        config_.oauth_token_provider = nullptr;
    }

    /// false: everything that runs has been cancelled before.
    bool cancel_rest() {
        partition_set rest;
        for (auto const& [where, frame] : running_) {
            if (!frame->cancelled) {
                rest.insert(where);
            }
        }
        auto const hook = hook_ && !hook_->cancelled;
        if (!rest.empty()) {
            perform(machine::cancel{rest});
        }
        if (hook) {
            perform(machine::cancel{});
        }
        return hook || !rest.empty();
    }

    void on_report_failed(std::exception_ptr failure) {
        if (!failure_) {
            failure_ = std::move(failure);
            close_within();
            feed(machine::failed{});
        }
    }

    void set_abandoned() noexcept { counters_.set_abandoned(abandoned_.size()); }

    // How often it is told that `setup` takes long.
    static constexpr auto setup_told_every = std::chrono::seconds{30};

    config config_;
    asio::any_io_executor executor_;
    std::shared_ptr<auto_reset_event> waiting_place_;
    asio::any_io_executor strand_;
    session_machine machine_;
    group_counters counters_;
    event_reporter reporter_;
    std::deque<machine::event> inbox_;
    partition_set told_added_;      // and their end not yet
    partition_set told_given_back_; // by the end of the run; the client has not revoked them yet
    std::shared_ptr<handler_binding> handler_;
    std::map<topic_partition, std::shared_ptr<claim_frame>> running_;
    std::map<topic_partition, std::shared_ptr<partition_state>>
        unstarted_;                   // their starts are committed first
    std::set<void const*> abandoned_; // frames that live on
    std::shared_ptr<hook_frame> hook_;
    std::optional<asio::strand<asio::any_io_executor>> session_strand_;
    std::shared_ptr<kgroup::session> session_;
    paused_partitions paused_;
    std::map<topic_partition, start_position> positions_;
    std::map<topic_partition, clock::time_point> orphans_;
    offset_lookup lookup_;
    std::map<std::uint64_t, std::shared_ptr<times_waiter>> times_waiters_;
    std::uint64_t times_id_ = 0;
    std::shared_ptr<token_frame> token_; // the provider runs
    std::chrono::milliseconds token_backoff_{1000};
    offset_committer committer_;
    std::set<std::string> missing_topics_;
    position_resets resets_;
    std::vector<client_position_reset> moves_; // that showed in records, and are not compared yet
    state_board board_{config_.group_id, config_.protocol};
    std::vector<std::string> topics_ = config_.topics;
    assignment_watch assignment_;
    bool has_joined_ = false; // the coordinator has let it, some time
    bool listening_ = false;  // to the client's debug log
    outage_watch outage_;
    outage_watch refusal_; // brokers that refuse this member
    clock::time_point refused_at_{};
    bool token_fails_ = false;
    bool subscription_changed_ = false; // since the last rebalance
    struct {
        std::uint64_t commit = 0;
        std::uint64_t look_up = 0;
    } before_outage_; // what was asked last before it began: the answer may be older, too
    std::uint64_t last_commit_ = 0;
    std::optional<client_coordinator> coordinator_; // its last answer
    std::uint64_t question_id_ = 0;
    std::uint64_t coordinator_question_ = 0; // under way; 0: none, as below
    std::uint64_t ends_question_ = 0;
    std::uint64_t topics_question_ = 0;
    clock::time_point next_ends_{};
    clock::time_point next_topics_{};
    std::exception_ptr failure_;
    end_reason last_end_ = end_reason::running;
    bool client_started_ = false;
    std::shared_ptr<manual_reset_event> client_gone_; // null: it has not been shut down
    bool client_ends_ = false;                        // and that will happen
    bool once_ = false;
    bool stop_seen_ = false;
    bool commit_trouble_ = false;
    std::chrono::milliseconds backoff_{250};
    clock::time_point session_began_{};
    clock::time_point next_tick_{};
    std::optional<clock::time_point> deadline_;
    std::optional<clock::time_point> backoff_until_;
    std::optional<clock::time_point> token_at_;
    ending_times times_;
    std::optional<clock::time_point> close_by_;
    bool waits_on_ = false; // a deadline is over, and who ended before it is heard first
    int rounds_left_ = 0;   // of that

    std::atomic<bool> stop_asked_{false};
    std::atomic<bool> cancelled_{false};
    std::atomic<bool> started_{false};
    mailbox<group_driver> mail_;
    std::mutex client_mutex_; // member_id and generation_id against shut_down
    std::mutex untold_mutex_;
    std::error_code untold_failure_; // a partition's, when there was no memory to tell it
    std::shared_ptr<session_state> session_state_;

    Client client_; // goes first: while it does, it may still call what wakes the rest
};

template <typename Client>
std::shared_ptr<group_driver_base> make_group_driver(asio::any_io_executor executor, config given) {
    return std::make_shared<group_driver<Client>>(std::move(executor), std::move(given));
}

} // namespace kgroup::detail
