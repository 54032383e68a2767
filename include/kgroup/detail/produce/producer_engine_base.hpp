// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/process_of_birth.hpp>
#include <kgroup/detail/produce/completion.hpp>
#include <kgroup/detail/produce/operation.hpp>
#include <kgroup/detail/separate_compilation.hpp>
#include <kgroup/error.hpp>
#include <kgroup/event.hpp>
#include <kgroup/outgoing_record.hpp>
#include <kgroup/producer_config.hpp>
#include <kgroup/producer_state.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/associated_cancellation_slot.hpp>
#include <asio/awaitable.hpp>
#include <asio/cancellation_type.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

namespace kgroup::detail {

/// What a producer asks of its engine; without librdkafka's header. The contracts are `producer`'s.
///
/// *Thread safety.* Safe from any thread.
class producer_engine_base : public std::enable_shared_from_this<producer_engine_base> {
public:
    producer_engine_base(producer_engine_base const&) = delete;
    producer_engine_base& operator=(producer_engine_base const&) = delete;
    virtual ~producer_engine_base() = default;

    asio::any_io_executor const& executor() const noexcept { return executor_; }

    struct enqueued {
        std::error_code error;
        bool turn_is_over = false; // who enqueues in a loop lets others on his executor run
    };
    /// Enqueues a record if that need not wait. nullopt: it must wait.
    virtual std::optional<enqueued> try_enqueue(outgoing_record const& record) = 0;

    /// `source_partition`: of a dead letter; for it no time is too long.
    asio::awaitable<produce_outcome> record(produce_kind kind, outgoing_record given,
                                            std::optional<std::int32_t> source_partition);
    asio::awaitable<produce_outcome> wait(produce_kind kind);

    // The same for any handler.

    template <typename Call, typename Handler>
    void begin_record(Handler handler, produce_kind kind, outgoing_record const& record,
                      std::optional<std::int32_t> source_partition = std::nullopt) {
        if (!process_.is_this_one()) {
            return refuse<Call>(std::move(handler));
        }
        auto& begun = take_operation<Call>(std::move(handler), kind);
        begun.source_partition = source_partition;
        begin(begun, &record);
    }
    /// A flush or a stop.
    template <typename Call, typename Handler>
    void begin_wait(Handler handler, produce_kind kind) {
        if (!process_.is_this_one()) {
            return refuse<Call>(std::move(handler));
        }
        begin(take_operation<Call>(std::move(handler), kind), nullptr);
    }

    virtual void stop() = 0;
    /// Nothing is waited for any more. `drop`: the context goes, handlers are destroyed uncalled.
    virtual void abandon(bool drop) noexcept = 0;

    virtual producer_stats stats() const = 0;
    virtual producer_state state() const = 0;
    /// Tells something as an event of the producer's.
    virtual void report(event told) = 0;

protected:
    explicit producer_engine_base(asio::any_io_executor executor)
        : executor_(std::move(executor)) {}

    process_of_birth const& process() const noexcept { return process_; }

private:
    /// An operation that nobody uses, once `prepare` has been called with it, under the lock; if
    /// that throws, none.
    virtual produce_operation& take(std::function<void(produce_operation&)> const& prepare) = 0;
    virtual void begin(produce_operation& begun, outgoing_record const* record) = 0;
    virtual void cancel(produce_operation& cancelled, std::uint64_t use) = 0;

    // In a process that was forked since, whose locks may be held for ever.
    template <typename Call, typename Handler>
    void refuse(Handler handler) {
        completion refused;
        refused.keep<Call>(std::move(handler), executor_);
        refused.complete({errc::producer_stopped, {}, 0});
    }

    template <typename Call, typename Handler>
    produce_operation& take_operation(Handler handler, produce_kind kind) {
        auto prepare = [&](produce_operation& taken) {
            auto slot = asio::get_associated_cancellation_slot(handler);
            if (slot.is_connected()) {
                slot.assign(
                    [self = weak_from_this(), &taken, use = taken.use](asio::cancellation_type) {
                        if (auto const engine = self.lock()) {
                            engine->cancel(taken, use);
                        }
                    });
            }
            taken.kind = kind;
            taken.done.template keep<Call>(std::move(handler), executor_);
        };
        return take(std::ref(prepare));
    }

    asio::any_io_executor executor_;
    process_of_birth process_;
};

/// Defined with `producer_engine`.
///
/// @throws std::system_error `errc::invalid_config`
std::shared_ptr<producer_engine_base> make_producer_engine(asio::any_io_executor executor,
                                                           producer_config given);

} // namespace kgroup::detail
