// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/delivery.hpp>
#include <kgroup/detail/config/config_check.hpp>
#include <kgroup/detail/produce/completion.hpp>
#include <kgroup/detail/produce/operation.hpp>
#include <kgroup/detail/produce/producer_engine_base.hpp>
#include <kgroup/outgoing_record.hpp>
#include <kgroup/producer_config.hpp>
#include <kgroup/producer_state.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/async_result.hpp>
#include <asio/awaitable.hpp>
#include <asio/execution_context.hpp>
#include <asio/post.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>

namespace kgroup {

/// Sends records: the output of a service that consumes, and dead letters.
///
///     kgroup::producer out{context, {.connection = {.brokers = "kafka:9092"}}};
///     co_await out.async_enqueue({.topic = "bills", .key = order, .value = bill});
///     auto const where = co_await out.async_send({.topic = "bills", .value = bill});
///
/// Idempotent, and acknowledged by all replicas that are in sync: a record that is acknowledged
/// stands in the log once, whatever was retried. Records stand in a partition in the order in which
/// they were given to the producer, also if they had to wait for room. With `co_await` that is the
/// order of the awaits. (An `asio::awaitable` begins when it is awaited.)
///
/// *A fatal error* of librdkafka's (the cluster has forgotten the producer, a sequence is broken)
/// fails the operations under way, whose records may have been delivered. kgroup replaces
/// librdkafka's producer; later operations use the new one. Events: `producer_failed`, and
/// `producer_recovered` at the next acknowledgement.
///
/// *Errors* of single records have the category `kafka`: `MSG_SIZE_TOO_LARGE` (at once),
/// `_UNKNOWN_TOPIC` (30 seconds after a topic that the brokers neither have nor make was first
/// named), `_UNKNOWN_PARTITION`, `TOPIC_AUTHORIZATION_FAILED`, `_MSG_TIMED_OUT` (after
/// `producer_config::delivery_timeout`), …; or they are `errc::producer_stopped`.
///
/// *Thread safety.* All members but construction and destruction: safe from any thread. No function
/// of the user's runs on a thread of librdkafka's; events come on the executor.
///
/// *Lifetime.* The executor's context outlives it. Destroyed, it does not wait: what is awaited
/// fails with `errc::producer_stopped`, and what was not acknowledged is lost, which a line on
/// standard error says; `async_flush` or `async_stop` before that. `on_event` may be running on
/// another thread when it is destroyed, unless `async_stop` has completed. A producer with nothing
/// to await gives its context no work.
///
/// *fork.* In a child that is forked, operations fail with `errc::producer_stopped`, and destroying
/// it leaves what is librdkafka's as it is. A child makes one of its own.
class producer {
public:
    using executor_type = asio::any_io_executor;

    /// A producer on an executor. It begins to connect.
    ///
    /// @throws std::system_error `errc::invalid_config`; its `what()` names the field or the
    /// property, and shows no secret.
    producer(asio::any_io_executor executor, producer_config given)
        : engine_(detail::make_producer_engine(std::move(executor), std::move(given))) {}
    /// The same on the executor of an execution context.
    template <typename Context>
    requires std::is_convertible_v<Context&, asio::execution_context&>
    producer(Context& context, producer_config given)
        : producer(context.get_executor(), std::move(given)) {}
    /// The other producer can then only be destroyed or assigned to.
    producer(producer&&) noexcept = default;
    producer& operator=(producer&& other) noexcept {
        auto const before = std::exchange(engine_, std::exchange(other.engine_, nullptr));
        if (before && before != engine_) {
            before->abandon(false);
        }
        return *this;
    }
    ~producer() {
        if (engine_) {
            engine_->abandon(false);
        }
    }

    /// Takes a record into the producer's queue; its bytes are copied. While the queue is full
    /// (`producer_config::buffer_bytes`) it waits, first come, first served. Completes at once,
    /// without going through the executor, when there is room; every 256 records others on the
    /// executor get a turn.
    ///
    /// `async_flush`, or an `event_kind::delivery_failed`, tells what becomes of the record.
    ///
    /// @throws std::system_error as above; its `what()` names the topic.
    ///
    /// Cancellation: total; the record is not taken.
    asio::awaitable<void> async_enqueue(outgoing_record record) {
        std::error_code error;
        if (auto const taken = engine_->try_enqueue(record)) {
            error = taken->error;
            if (taken->turn_is_over) { // no cancellation may come between: the record is taken
                auto const throws = co_await asio::this_coro::throw_if_cancelled();
                co_await asio::this_coro::throw_if_cancelled(false);
                co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable);
                co_await asio::this_coro::throw_if_cancelled(throws);
            }
        } else {
            auto const outcome =
                co_await engine_->record(detail::produce_kind::enqueue, record, std::nullopt);
            error = outcome.error;
        }
        throw_if(error, record);
    }

    /// The same with a completion token. Completion signature: `void(std::error_code)`. The
    /// record's bytes are copied before it returns.
    template <asio::completion_token_for<void(std::error_code)> CompletionToken>
    auto async_enqueue(outgoing_record record, CompletionToken&& token) {
        return asio::async_initiate<CompletionToken, void(std::error_code)>(
            [](auto handler, std::shared_ptr<detail::producer_engine_base> engine,
               outgoing_record const& given) {
                engine->begin_record<detail::call_with_error>(std::move(handler),
                                                              detail::produce_kind::enqueue, given);
            },
            token, engine_, record);
    }

    /// Sends a record, and waits until it is acknowledged. While the queue is full it waits for
    /// room, as `async_enqueue`.
    ///
    /// @return where it stands.
    /// @throws std::system_error as above; its `what()` names the topic.
    ///
    /// Cancellation (any type): it completes soon; the record may be delivered, unless it waited
    /// for room.
    asio::awaitable<delivery> async_send(outgoing_record record) {
        auto const engine = engine_;
        auto const outcome =
            co_await engine->record(detail::produce_kind::send, record, std::nullopt);
        throw_if(outcome.error, record);
        co_return outcome.where;
    }

    /// The same with a completion token. Completion signature: `void(std::error_code, delivery)`.
    /// The record's bytes are copied before it returns.
    template <asio::completion_token_for<void(std::error_code, delivery)> CompletionToken>
    auto async_send(outgoing_record record, CompletionToken&& token) {
        return asio::async_initiate<CompletionToken, void(std::error_code, delivery)>(
            [](auto handler, std::shared_ptr<detail::producer_engine_base> engine,
               outgoing_record const& given) {
                engine->begin_record<detail::call_with_delivery>(std::move(handler),
                                                                 detail::produce_kind::send, given);
            },
            token, engine_, record);
    }

    /// Waits until every record that was given to the producer before is acknowledged or has
    /// failed.
    ///
    /// A failure is told to the flushes that wait for its record, or else to the next one. The
    /// failure of a record of `async_send` is told only there: await `async_send` to learn of one
    /// record where others use the producer, too.
    ///
    /// @throws std::system_error the first failure; its `what()` says how many there were.
    ///
    /// Cancellation: total.
    asio::awaitable<void> async_flush() {
        auto const engine = engine_;
        auto const outcome = co_await engine->wait(detail::produce_kind::flush);
        if (outcome.error && outcome.failed != 0) {
            throw std::system_error{outcome.error, std::to_string(outcome.failed) +
                                                       " records were not delivered; the first"};
        }
        if (outcome.error) {
            throw std::system_error{outcome.error, "flush"};
        }
    }

    /// The same with a completion token. Completion signature: `void(std::error_code,
    /// std::size_t)`: the first failure, and how many there were.
    template <asio::completion_token_for<void(std::error_code, std::size_t)> CompletionToken>
    auto async_flush(CompletionToken&& token) {
        return asio::async_initiate<CompletionToken, void(std::error_code, std::size_t)>(
            [](auto handler, std::shared_ptr<detail::producer_engine_base> engine) {
                engine->begin_wait<detail::call_with_count>(std::move(handler),
                                                            detail::produce_kind::flush);
            },
            token, engine_);
    }

    /// Takes no more records: `errc::producer_stopped`, also for operations that wait for room.
    /// Records that were enqueued have `producer_config::close_timeout` to be acknowledged. The
    /// others are counted and reported, as an `event_kind::delivery_failed`. Returns at once;
    /// sticky.
    void stop() { engine_->stop(); }

    /// The same, and waits for it: for `close_timeout` and two seconds at most.
    ///
    /// @return how many records were not acknowledged; they may have been delivered.
    /// @throws std::system_error `asio::error::operation_aborted` when it is cancelled; as above in
    /// a child that is forked.
    ///
    /// Cancellation: total; it is stopped all the same.
    asio::awaitable<std::size_t> async_stop() {
        auto const engine = engine_;
        auto const outcome = co_await engine->wait(detail::produce_kind::stop);
        if (outcome.error) {
            throw std::system_error{outcome.error, "stop"};
        }
        co_return outcome.failed;
    }

    /// The same with a completion token. Completion signature: `void(std::error_code,
    /// std::size_t)`.
    template <asio::completion_token_for<void(std::error_code, std::size_t)> CompletionToken>
    auto async_stop(CompletionToken&& token) {
        return asio::async_initiate<CompletionToken, void(std::error_code, std::size_t)>(
            [](auto handler, std::shared_ptr<detail::producer_engine_base> engine) {
                engine->begin_wait<detail::call_with_count>(std::move(handler),
                                                            detail::produce_kind::stop);
            },
            token, engine_);
    }

    /// Counters and gauges, a snapshot. Any thread.
    producer_stats stats() const { return engine_->stats(); }
    /// What it does and has to do, what lasts, and the last error: a snapshot. Any thread.
    ///
    /// @throws std::bad_alloc.
    producer_state state() const { return engine_->state(); }
    /// The executor that it was made with.
    executor_type get_executor() const noexcept { return engine_->executor(); }

private:
    friend class dead_letters; // which goes on with the engine when this has gone

    static void throw_if(std::error_code error, outgoing_record const& record) {
        if (error) {
            throw std::system_error{error, detail::quoted(record.topic)};
        }
    }

    std::shared_ptr<detail::producer_engine_base> engine_;
};

} // namespace kgroup

#ifndef KGROUP_SEPARATE_COMPILATION
#include <kgroup/detail/produce/producer_engine.ipp>
#include <kgroup/detail/produce/producer_engine_client.ipp>
#include <kgroup/detail/produce/producer_engine_rounds.ipp>
#endif
