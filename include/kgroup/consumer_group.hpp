// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/config.hpp>
#include <kgroup/detail/asio/async_operation.hpp>
#include <kgroup/detail/group/group_driver_base.hpp>
#include <kgroup/end_reason.hpp>
#include <kgroup/event.hpp>
#include <kgroup/group_state.hpp>
#include <kgroup/handler.hpp>
#include <kgroup/offset_for_time.hpp>
#include <kgroup/topic_partition.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/associated_cancellation_slot.hpp>
#include <asio/associated_executor.hpp>
#include <asio/async_result.hpp>
#include <asio/awaitable.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/bind_executor.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/cancellation_state.hpp>
#include <asio/cancellation_type.hpp>
#include <asio/co_spawn.hpp>
#include <asio/strand.hpp>
#include <asio/use_awaitable.hpp>

#include <chrono>
#include <exception>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace kgroup {

/// A member of a Kafka consumer group: joins it, gives each partition that it is assigned to the
/// handler, commits what the handler marks, and goes on like that until it is stopped. `Client`, a
/// `kgroup::client`, is the seam to Kafka; use the alias `consumer_group`. (Over another client, a
/// file that makes a group includes `kgroup/detail/group_driver.hpp` too if
/// `KGROUP_SEPARATE_COMPILATION` is defined.)
///
/// Everything runs on the executor that it is given, whatever kind that is: the handlers, each on a
/// strand of its own over it, and the group's own work; so on a strand nothing of the group runs at
/// the same time as anything else there. The group adds no thread but short-lived ones, at most one
/// at a time of each: to look up where a log begins or ends, to look up offsets for a time, and to
/// end librdkafka's consumer when the run is over.
///
/// A group runs once. When `async_run` has completed no function of the user's is called any more,
/// nor kept, but by the frames of handlers that were abandoned; what these still do is only counted
/// (`group_stats`).
///
/// *fork.* A child that is forked from a process with a running group may let go of it: destroy the
/// group, its context (after Asio's `notify_fork`), and the messages, claims and sessions in it;
/// leave them where they are and exit; or call `exec`. The group does nothing there. What is
/// librdkafka's is left as it is, which leaks it; no lock of kgroup's is taken. Anything else that
/// is called there on such a group, its sessions, claims or channels is undefined, but for `stop`,
/// which has no effect. A group that the child makes is its own; so is one that was made before the
/// fork and that it runs first.
///
/// *Thread safety.* `stop`, `pause`, `resume`, `pause_all`, `resume_all`, `subscribe`,
/// `async_offsets_for_times`, `stats` and `state`: safe from any thread. The rest is not.
///
/// *Lifetimes.* The executor's context outlives the group. The group must not be destroyed before
/// `async_run` has completed, unless the context is not run any more.
template <typename Client>
class basic_consumer_group {
public:
    using executor_type = asio::any_io_executor;

    /// A group on an executor. Connects to nothing.
    ///
    /// @throws std::system_error `errc::invalid_config` or `errc::unsupported_by_librdkafka`; its
    /// `what()` names the field or the property, and shows no secret.
    basic_consumer_group(asio::any_io_executor executor, config given)
        : driver_(detail::make_group_driver<Client>(std::move(executor), std::move(given))) {}
    /// The same on the executor of an execution context.
    template <typename Context>
    requires std::is_convertible_v<Context&, asio::execution_context&>
    basic_consumer_group(Context& context, config given)
        : basic_consumer_group(context.get_executor(), std::move(given)) {}

    /// Takes another group's place, also while that one runs: the run goes on, and belongs to this
    /// group. The other group may then only be destroyed or assigned to. No other call on the two
    /// may run at the same time.
    basic_consumer_group(basic_consumer_group&&) noexcept = default;
    /// The same; the run of the group that was here is stopped, as by its destructor.
    basic_consumer_group& operator=(basic_consumer_group&& other) noexcept {
        if (this != &other) {
            if (driver_) {
                driver_->stop();
            }
            driver_ = std::move(other.driver_);
        }
        return *this;
    }
    ~basic_consumer_group() {
        if (driver_) {
            driver_->stop();
        }
    }

    /// The executor that it was made with.
    executor_type get_executor() const noexcept { return driver_->executor(); }

    /// Joins the group and consumes, session after session, until the group is stopped, a handler
    /// throws, or the membership is gone for good. Then, in this order: the claims end, the
    /// handlers finish what they hold (for as long as `config::close_timeout` says, then they are
    /// cancelled), `cleanup`, what is marked is committed, the group is left, and the operation
    /// completes: `config::close_timeout` after `stop()` at the latest, by a second or so.
    ///
    /// @param handler models `kgroup::handler`; by reference, it outlives the operation, and where
    /// `errc::handler_abandoned` is possible, the abandoned frame; a `std::shared_ptr` or an rvalue
    /// is kept alive by the library for as long as a frame of it lives.
    ///
    /// Completion signature: `void(std::exception_ptr)`: null when it was stopped.
    ///
    /// Errors:
    /// - what a handler (or `config::on_event`) threw,
    /// - `std::system_error` with `errc::handler_abandoned`: a handler, or
    ///   `config::oauth_token_provider`, did not end in time; its frame lives on and owns what it
    ///   touches,
    /// - `errc::no_committed_offset`, `errc::offset_out_of_range`, `errc::record_unreadable`,
    ///   `errc::invalid_config` (what only librdkafka could find wrong), or the category `kafka`
    ///   for a fatal error of the group (fenced, not authorised, …),
    /// - `errc::already_running`: this group runs or has run,
    /// - `asio::error::operation_aborted`: it was cancelled.
    ///
    /// Cancellation: any type stops it in order, as `stop()` does (partial).
    template <typename Handler, asio::completion_token_for<void(std::exception_ptr)>
                                    CompletionToken = asio::use_awaitable_t<>>
    auto async_run(Handler&& handler, CompletionToken&& token = CompletionToken{}) {
        return asio::async_initiate<CompletionToken, void(std::exception_ptr)>(
            [](auto&& completion, std::shared_ptr<detail::group_driver_base> self,
               std::shared_ptr<detail::handler_binding> binding) {
                start(std::move(self), std::move(binding), false,
                      std::forward<decltype(completion)>(completion),
                      [](auto& completion_handler, std::exception_ptr e, end_reason) {
                          std::move(completion_handler)(std::move(e));
                      });
            },
            token, driver_, bind(std::forward<Handler>(handler)));
    }

    /// The same for exactly one session: it is over when everything is revoked or lost, or a
    /// handler has returned. Then the group is left.
    ///
    /// Completion signature: `void(std::exception_ptr, kgroup::end_reason)`: as `async_run`'s, and,
    /// where that is null, why the session ended; `stopped` if there was none.
    /// Errors: as for `async_run`.
    /// Cancellation: as for `async_run`.
    /// Lifetime: of the handler, as for `async_run`.
    template <typename Handler, asio::completion_token_for<void(std::exception_ptr, end_reason)>
                                    CompletionToken = asio::use_awaitable_t<>>
    auto async_consume(Handler&& handler, CompletionToken&& token = CompletionToken{}) {
        return asio::async_initiate<CompletionToken, void(std::exception_ptr, end_reason)>(
            [](auto&& completion, std::shared_ptr<detail::group_driver_base> self,
               std::shared_ptr<detail::handler_binding> binding) {
                start(std::move(self), std::move(binding), true,
                      std::forward<decltype(completion)>(completion),
                      [](auto& completion_handler, std::exception_ptr e, end_reason why) {
                          std::move(completion_handler)(std::move(e), why);
                      });
            },
            token, driver_, bind(std::forward<Handler>(handler)));
    }

    /// Ends the run in order. Any thread, any time, also from a handler; returns at once. Sticky: a
    /// group that was stopped before it ran completes at once without having connected.
    void stop() noexcept { driver_->stop(); }

    /// Closes the gate of these partitions' channels: no receive that begins after this returned
    /// delivers a message. Nothing is lost or fetched twice; what is fetched already stays. Any
    /// thread, any time.
    ///
    /// A pause lasts until `resume` or as long as this member owns the partition, also when a
    /// session ends and another begins over it, and before its handler has started: from
    /// `event_kind::claims_added` on. What a cooperative rebalance leaves here stays paused; what
    /// is revoked or lost and comes back is not. Partitions that are not owned are passed over, and
    /// what is assigned later is not paused, whatever the form of the call.
    void pause(std::span<topic_partition const> partitions) { driver_->pause(partitions); }
    /// The same for partitions that are written where it is called: `pause({{"orders", 0}})`.
    void pause(std::initializer_list<topic_partition> partitions) {
        pause(std::span{partitions.begin(), partitions.size()});
    }
    /// Opens them again.
    void resume(std::span<topic_partition const> partitions) { driver_->resume(partitions); }
    /// The same for partitions that are written where it is called.
    void resume(std::initializer_list<topic_partition> partitions) {
        resume(std::span{partitions.begin(), partitions.size()});
    }
    /// `pause` for the partitions of this topic that are owned now.
    void pause(std::string_view topic) { driver_->pause(topic); }
    /// `resume` for the partitions of this topic that are owned now.
    void resume(std::string_view topic) { driver_->resume(topic); }
    /// `pause` for everything that is owned now.
    void pause_all() { driver_->pause_all(); }
    /// `resume` for everything that is owned now.
    void resume_all() { driver_->resume_all(); }

    /// Subscribes to these topics instead of the ones before: names, or regular expressions that
    /// begin with `^`, as `config::topics`. The group rebalances: under an eager protocol this
    /// session ends in order (`end_reason::revoked`) and a new one begins; under a cooperative one,
    /// claims of topics that stay go on. Returns at once; the subscription has changed when the
    /// rebalance says so
    /// (`event_kind::claims_revoked`, `claims_added`). Before the run it replaces `config::topics`;
    /// once the group is being stopped it has no effect.
    ///
    /// @throws std::system_error `errc::invalid_config`, naming the topic and what is wrong; then
    /// nothing has changed. (What is wrong with a regular expression under
    /// `group_protocol::consumer` is for the broker to say: an event.)
    void subscribe(std::vector<std::string> topics) { driver_->subscribe(std::move(topics)); }

    /// Finds, for each of these partitions, the first record whose timestamp is not earlier than
    /// `time`. They need not be owned. Timestamps are what producers or brokers wrote, in
    /// milliseconds; times before 1970 are taken for 1970.
    ///
    /// Completion signature: `void(std::error_code, std::vector<offset_for_time>)`: one result for
    /// each, in this order; a partition that does not exist, or whose leader did not answer within
    /// 10 seconds, has its error there.
    /// Errors: `errc::not_running` before the run and when it is over.
    /// Cancellation: total; the answer is not waited for any more.
    asio::awaitable<std::vector<offset_for_time>>
    async_offsets_for_times(std::span<topic_partition const> partitions,
                            std::chrono::system_clock::time_point time) {
        return driver_->offsets_for_times({partitions.begin(), partitions.end()}, time);
    }

    /// The same with a completion token.
    template <asio::completion_token_for<void(std::error_code, std::vector<offset_for_time>)>
                  CompletionToken>
    auto async_offsets_for_times(std::span<topic_partition const> partitions,
                                 std::chrono::system_clock::time_point time,
                                 CompletionToken&& token) {
        return detail::async_operation(
            asio::make_strand(driver_->executor()), asio::enable_total_cancellation(),
            async_offsets_for_times(partitions, time), std::forward<CompletionToken>(token));
    }

    /// The same for partitions that are written where it is called.
    asio::awaitable<std::vector<offset_for_time>>
    async_offsets_for_times(std::initializer_list<topic_partition> partitions,
                            std::chrono::system_clock::time_point time) {
        return async_offsets_for_times(std::span{partitions.begin(), partitions.size()}, time);
    }

    /// Counters and gauges, a snapshot.
    group_stats stats() const { return driver_->stats(); }

    /// What the group does, waits for, and how far behind it is: a snapshot. Any thread, any time,
    /// also before the run and after it; takes no lock that the way of a record takes, and asks no
    /// broker. `readiness` and `liveness` judge it.
    ///
    /// @throws std::bad_alloc.
    group_state state() const { return driver_->state(); }

private:
    template <typename Handler>
    static std::shared_ptr<detail::handler_binding> bind(Handler& handler) {
        static_assert(detail::explain_handler<Handler>());
        return std::make_shared<detail::bound_handler<Handler, Handler*>>(&handler);
    }
    template <typename Handler>
    static std::shared_ptr<detail::handler_binding> bind(std::shared_ptr<Handler> handler) {
        static_assert(detail::explain_handler<Handler>());
        return std::make_shared<detail::bound_handler<Handler, std::shared_ptr<Handler>>>(
            std::move(handler));
    }
    template <typename Handler>
    requires(!std::is_lvalue_reference_v<Handler>) static std::shared_ptr<
        detail::handler_binding> bind(Handler&& handler) {
        return bind(std::make_shared<Handler>(std::forward<Handler>(handler)));
    }

    template <typename Completion, typename Complete>
    static void start(std::shared_ptr<detail::group_driver_base> self,
                      std::shared_ptr<detail::handler_binding> binding, bool once,
                      Completion&& completion, Complete complete) {
        // Cancelling is stopping: the slot must not reach into the middle of the run.
        if (auto slot = asio::get_associated_cancellation_slot(completion); slot.is_connected()) {
            slot.assign(
                [weak = std::weak_ptr<detail::group_driver_base>{self}](asio::cancellation_type) {
                    if (auto const running = weak.lock()) {
                        running->cancel();
                    }
                });
        }
        auto& running = *self;
        auto const executor = asio::get_associated_executor(completion, running.strand());
        asio::co_spawn(running.strand(), keep(std::move(self), std::move(binding), once),
                       asio::bind_cancellation_slot(
                           asio::cancellation_slot{},
                           asio::bind_executor(
                               executor, [completion_handler = std::forward<Completion>(completion),
                                          complete](std::exception_ptr e, end_reason why) mutable {
                                   complete(completion_handler, std::move(e), why);
                               })));
    }

    static asio::awaitable<end_reason> keep(std::shared_ptr<detail::group_driver_base> self,
                                            std::shared_ptr<detail::handler_binding> binding,
                                            bool once) {
        co_return co_await self->run(std::move(binding), once);
    }

    std::shared_ptr<detail::group_driver_base> driver_;
};

/// A member of a consumer group on librdkafka.
using consumer_group = basic_consumer_group<detail::rdkafka_client>;

} // namespace kgroup

#ifndef KGROUP_SEPARATE_COMPILATION
#include <kgroup/detail/group/group_driver.hpp>
#include <kgroup/detail/rdkafka/client.hpp>
#endif
