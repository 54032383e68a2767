// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/auto_reset_event.hpp>
#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/asio/timer.hpp>
#include <kgroup/detail/asio/typed_strand.hpp>
#include <kgroup/detail/client/token_schedule.hpp>
#include <kgroup/detail/events/event_filter.hpp>
#include <kgroup/detail/events/lasting_conditions.hpp>
#include <kgroup/detail/produce/broker_conditions.hpp>
#include <kgroup/detail/produce/failed_deliveries.hpp>
#include <kgroup/detail/produce/native_producer.hpp>
#include <kgroup/detail/produce/operation.hpp>
#include <kgroup/detail/produce/pending_operations.hpp>
#include <kgroup/detail/produce/producer_engine_base.hpp>
#include <kgroup/detail/produce/producer_events.hpp>
#include <kgroup/detail/produce/replacement_schedule.hpp>
#include <kgroup/detail/produce/stop_schedule.hpp>
#include <kgroup/detail/rdkafka/broker_enquiry.hpp>
#include <kgroup/error.hpp>
#include <kgroup/event.hpp>
#include <kgroup/oauth_token.hpp>
#include <kgroup/outgoing_record.hpp>
#include <kgroup/producer_config.hpp>
#include <kgroup/producer_state.hpp>

#include <asio/any_io_executor.hpp>

#include <librdkafka/rdkafka.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

namespace kgroup::detail {

/// The implementation of a producer. The calling thread gives records to librdkafka, under a lock.
/// `serve` takes librdkafka's events on a strand; one post wakes it for all that have arrived.
///
/// Its members stand in three files: what any thread calls, in `producer_engine.ipp`; what the
/// strand does whenever it is woken, in `producer_engine_rounds.ipp`; what librdkafka tells it, in
/// `producer_engine_client.ipp`.
class producer_engine final : public producer_engine_base {
public:
    /// @throws std::system_error `errc::invalid_config`
    static std::shared_ptr<producer_engine> make(asio::any_io_executor executor,
                                                 producer_config given);

    producer_engine(asio::any_io_executor executor, producer_config given);
    ~producer_engine() override;

    std::optional<enqueued> try_enqueue(outgoing_record const& record) override;
    void stop() override;
    void abandon(bool drop) noexcept override;
    producer_stats stats() const override;
    producer_state state() const override;
    void report(event told) override;

private:
    class all_of_context;

    /// How librdkafka's threads reach the strand, for as long as there is one.
    struct wakeup {
        std::mutex mutex;
        producer_engine* engine = nullptr;
        std::atomic<std::size_t> handles{0}; // of librdkafka's that are not destroyed yet

        void wake() noexcept;
    };

    std::shared_ptr<producer_engine> self() {
        return std::static_pointer_cast<producer_engine>(shared_from_this());
    }
    /// Null: it is being destroyed.
    static std::shared_ptr<producer_engine>
    engine_of(std::weak_ptr<producer_engine_base> const& engine) noexcept {
        return std::static_pointer_cast<producer_engine>(engine.lock());
    }

    // Any thread.
    produce_operation& take(std::function<void(produce_operation&)> const& prepare) override;
    void begin(produce_operation& begun, outgoing_record const* record) override;
    void cancel(produce_operation& cancelled, std::uint64_t use) override;
    void notify() noexcept;

    // Under the lock.
    std::error_code refusal() const noexcept;
    rd_kafka_resp_err_t hand_over(outgoing_record const& record, void* tag);
    void note_error(std::error_code error);

    // On the strand: its rounds.
    void serve();
    void look_around(producer_events& told);
    void try_replacement(clock::time_point now, producer_events& told);
    void look_at_stop(clock::time_point now, producer_events& told);
    std::optional<clock::time_point> next_deadline(clock::time_point now) const;
    void arm(std::optional<clock::time_point> deadline);
    void tell(producer_events& told);

    // On the strand: what librdkafka tells.
    std::shared_ptr<native_producer> make_native();
    bool poll(native_producer& from, producer_events& told);
    void take_deliveries(rd_kafka_event_t* event, native_producer& from, producer_events& told);
    void settle(rd_kafka_message_t const& message, native_producer& by, producer_events& told,
                failed_deliveries& failed);
    void acknowledged_by(native_producer const& from, producer_events& told);
    void take_error(rd_kafka_event_t* event, native_producer& from, producer_events& told);
    void take_log(rd_kafka_event_t* event, producer_events& told);
    void replace(native_producer& failed, std::error_code cause, std::string reason,
                 producer_events& told);
    void ask_brokers(native_producer const& from) noexcept;
    void end_outage(producer_events& told);
    void ask_for_token();
    void take_token(std::exception_ptr failure, oauth_token const& token);

    producer_config config_;
    typed_strand strand_;
    std::shared_ptr<wakeup> wakeup_ = std::make_shared<wakeup>();
    std::atomic<bool> notified_{false};

    mutable std::mutex mutex_; // of what follows
    pending_operations pending_{
        [this](outgoing_record const& record, void* tag) { return hand_over(record, tag); }};
    native_producers natives_;
    stop_schedule stop_;
    std::size_t lost_at_stop_ = 0; // records that were not acknowledged
    bool gone_ = false;            // nobody is told anything any more
    bool serving_ = false;         // the strand is at work, and cleans up if it is to
    bool watched_ = false;         // the strand looks after those who wait
    std::uint32_t enqueued_in_turn_ = 0;
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
    std::uint64_t natives_made_ = 0;
    replacement_schedule replacement_;
    broker_conditions brokers_;
    token_schedule tokens_;
};

} // namespace kgroup::detail
