// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/auto_reset_event.hpp>
#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/asio/process_of_birth.hpp>
#include <kgroup/detail/asio/timer.hpp>
#include <kgroup/detail/asio/typed_strand.hpp>
#include <kgroup/detail/group/event_filter.hpp>
#include <kgroup/detail/group/lasting_conditions.hpp>
#include <kgroup/detail/group/token_schedule.hpp>
#include <kgroup/detail/produce/completion.hpp>
#include <kgroup/detail/produce/delivery_epochs.hpp>
#include <kgroup/detail/produce/operation.hpp>
#include <kgroup/detail/rdkafka/broker_enquiry.hpp>
#include <kgroup/detail/rdkafka/producer_handle.hpp>
#include <kgroup/detail/separate_compilation.hpp>
#include <kgroup/error.hpp>
#include <kgroup/event.hpp>
#include <kgroup/oauth_token.hpp>
#include <kgroup/outgoing_record.hpp>
#include <kgroup/producer_config.hpp>
#include <kgroup/producer_state.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/associated_cancellation_slot.hpp>
#include <asio/awaitable.hpp>
#include <asio/cancellation_type.hpp>

#include <librdkafka/rdkafka.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace kgroup::detail {

/// What a producer is. Records are given to librdkafka by whoever calls, under a lock; what
/// librdkafka has to say is taken on a strand, by `serve`, in runs: one post wakes it for as much
/// as has come.
///
/// A record that nobody waits for is known to librdkafka by the number of its epoch only; one that
/// is awaited, by its operation.
class producer_engine : public std::enable_shared_from_this<producer_engine> {
public:
    /// Throws `std::system_error` `errc::invalid_config`.
    static std::shared_ptr<producer_engine> make(asio::any_io_executor executor,
                                                 producer_config given);

    producer_engine(asio::any_io_executor executor, producer_config given);
    producer_engine(producer_engine const&) = delete;
    producer_engine& operator=(producer_engine const&) = delete;
    ~producer_engine();

    // Any thread.

    struct enqueued {
        std::error_code error;
        bool turn_is_over = false; // who enqueues in a loop lets others on his executor run
    };
    /// Enqueues a record if that need not wait. nullopt: it must wait.
    std::optional<enqueued> try_enqueue(outgoing_record const& record);

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
        auto& begun = take<Call>(std::move(handler), kind);
        begun.source_partition = source_partition;
        begin(begun, &record);
    }
    /// A flush or a stop.
    template <typename Call, typename Handler>
    void begin_wait(Handler handler, produce_kind kind) {
        if (!process_.is_this_one()) {
            return refuse<Call>(std::move(handler));
        }
        begin(take<Call>(std::move(handler), kind), nullptr);
    }

    void stop();
    /// Nothing is waited for any more. `drop`: the context goes, handlers are destroyed uncalled.
    void abandon(bool drop) noexcept;

    producer_stats stats() const;
    producer_state state() const;
    /// Tells something as an event of the producer's.
    void report(event told);
    asio::any_io_executor const& executor() const noexcept { return executor_; }

private:
    class all_of_context;

    /// How librdkafka's threads reach the strand, for as long as there is one.
    struct wakeup {
        std::mutex mutex;
        producer_engine* engine = nullptr;
        std::atomic<std::size_t> handles{0}; // of librdkafka's that are not destroyed yet

        void wake() noexcept;
    };
    /// One of librdkafka's producers. After a fatal error there is another.
    struct producing {
        std::unique_ptr<producer_handle> handle;
        std::uint64_t number = 0;
        std::size_t outstanding = 0; // records that it has
        std::size_t bytes = 0;       // of their keys and values
        std::error_code cause;       // of its end
    };
    using told_events = std::vector<event>;
    /// Failures of records that nobody waits for, told together while they are alike.
    struct failed_deliveries {
        rd_kafka_topic_t const* topic = nullptr;
        std::int32_t partition = -1;
        std::error_code error;
        std::size_t count = 0;
    };
    enum class running { yes, stopping, stopped };

    // In a process that was forked since, whose locks may be held for ever.
    template <typename Call, typename Handler>
    void refuse(Handler handler) {
        completion refused;
        refused.keep<Call>(std::move(handler), executor_);
        refused.complete({errc::producer_stopped, {}, 0});
    }

    template <typename Call, typename Handler>
    produce_operation& take(Handler handler, produce_kind kind) {
        auto slot = asio::get_associated_cancellation_slot(handler);
        std::lock_guard const lock{mutex_};
        auto& taken = operations_->take();
        try {
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
        } catch (...) {
            operations_->release(taken);
            throw;
        }
        return taken;
    }

    // Any thread, under the lock.
    void begin(produce_operation& begun, outgoing_record const* record);
    void cancel(produce_operation& cancelled, std::uint64_t use);
    std::error_code why_refused() const noexcept;
    rd_kafka_resp_err_t hand_over(outgoing_record const& record, void* opaque, bool dead_letter);
    rd_kafka_resp_err_t give(produce_operation& given, outgoing_record const& record);
    void end(produce_operation& ended, produce_outcome const& outcome);
    void refuse_waiting(std::error_code why);
    void admit_waiting();
    void end_flushes();
    void settle(rd_kafka_message_t const& message, producing& by, told_events& told,
                failed_deliveries& failed);
    void note_error(std::error_code error);
    static void tell_failed(failed_deliveries& failed, told_events& told);
    std::size_t outstanding() const noexcept;
    void finish_stop();
    std::optional<clock::time_point> next_deadline(clock::time_point now);

    // On the strand.
    void notify() noexcept;
    void serve();
    bool poll(producing& from, told_events& told);
    void take_deliveries(rd_kafka_event_t* event, producing& from, told_events& told);
    void take_error(rd_kafka_event_t* event, producing& from, told_events& told);
    void take_log(rd_kafka_event_t* event, told_events& told);
    void replace(producing& failed, std::error_code cause, std::string why, told_events& told);
    void look_around(told_events& told);
    void look_at_stop(clock::time_point now, told_events& told);
    void try_replacement(clock::time_point now, told_events& told);
    void ask_for_token();
    void take_token(std::exception_ptr failure, oauth_token const& token);
    void arm(std::optional<clock::time_point> deadline);
    void tell(told_events& told);
    void acknowledged_by(producing const& from, told_events& told);
    void ask_brokers(producing const& from) noexcept;
    void end_outage(told_events& told);
    static event about(event_kind kind, severity level, std::string text,
                       std::error_code error = {});
    std::shared_ptr<producing> make_producing();
    static std::int32_t choose_partition(rd_kafka_topic_t const* topic, void const* key,
                                         std::size_t key_size, std::int32_t partitions, void*,
                                         void* of_record);

    asio::any_io_executor executor_;
    producer_config config_;
    typed_strand strand_;
    process_of_birth process_;
    std::shared_ptr<wakeup> wakeup_ = std::make_shared<wakeup>();
    std::atomic<bool> notified_{false};

    mutable std::mutex mutex_; // of what follows
    std::shared_ptr<produce_operations> operations_ = std::make_shared<produce_operations>();
    std::deque<produce_operation*> waiting_; // for room, in the order in which they were begun
    std::vector<produce_operation*> flushes_;
    std::vector<produce_operation*> stops_;
    delivery_epochs epochs_;
    std::uint32_t enqueued_in_turn_ = 0;
    std::shared_ptr<producing> current_;
    std::vector<std::shared_ptr<producing>> retiring_;
    running running_ = running::yes;
    bool gone_ = false;    // nobody is told anything any more
    bool serving_ = false; // the strand is at work, and cleans up if it is to
    bool watched_ = false; // the strand looks after those who wait
    clock::time_point stop_by_{};
    bool purged_ = false;
    std::size_t lost_at_stop_ = 0; // records that were not acknowledged
    producer_stats stats_;
    std::error_code last_error_;
    clock::time_point last_error_at_{};
    std::shared_ptr<auto_reset_event> token_place_; // where the provider runs
    std::unique_ptr<broker_enquiry> enquiry_;       // while an outage lasts

    // On the strand.
    timer timer_;
    std::optional<clock::time_point> armed_;
    event_filter filter_;
    lasting_conditions conditions_; // may be read by any thread
    int log_level_ = 0;
    std::uint64_t handles_made_ = 0;
    std::optional<clock::time_point> replace_at_;
    std::chrono::milliseconds backoff_{0}; // before the next replacement
    bool fails_ = false;                   // since a fatal error no record was acknowledged
    bool outage_ = false;
    bool refused_ = false; // by the brokers
    token_schedule tokens_;
};

} // namespace kgroup::detail

#ifndef KGROUP_SEPARATE_COMPILATION
#include <kgroup/detail/produce/producer_engine.ipp>
#endif
