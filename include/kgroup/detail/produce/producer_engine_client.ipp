// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/auto_reset_event.hpp>
#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/produce/producer_engine.hpp>
#include <kgroup/detail/rdkafka/broker_enquiry.hpp>
#include <kgroup/detail/rdkafka/error.hpp>
#include <kgroup/detail/rdkafka/handle.hpp>
#include <kgroup/detail/rdkafka/producer_handle.hpp>
#include <kgroup/detail/rdkafka/producer_settings.hpp>
#include <kgroup/detail/rdkafka/token.hpp>
#include <kgroup/error.hpp>

#include <asio/awaitable.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/co_spawn.hpp>

#include <librdkafka/rdkafka.h>

#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <utility>

namespace kgroup::detail {

// What librdkafka tells, and how one that has failed is replaced. On the strand.

KGROUP_INLINE std::shared_ptr<native_producer> producer_engine::make_native() {
    auto settings = producer_settings::make(config_);
    log_level_ = settings.log_level;
    auto made = std::make_shared<native_producer>();
    made->number = ++natives_made_;
    auto const arrived = [](rd_kafka_t*, void* woken) { static_cast<wakeup*>(woken)->wake(); };
    // What librdkafka knows by its address lives as long as librdkafka's producer.
    auto destroyed = [wakeup = wakeup_, operations = pending_.share()] {
        --wakeup->handles;
        wakeup->wake();
    };
    made->handle = std::make_unique<producer_handle>(std::move(settings.conf), arrived,
                                                     wakeup_.get(), std::move(destroyed));
    ++wakeup_->handles;
    return made;
}

// Returns whether there may be more.
KGROUP_INLINE bool producer_engine::poll(native_producer& from, producer_events& told) {
    constexpr int turn = 64;
    auto* const queue = from.handle->queue();
    auto empty_looks = 0;
    for (auto taken = 0; taken != turn;) {
        rdkafka_event const event{rd_kafka_queue_poll(queue, 0)};
        if (!event) { // it may have served something of librdkafka's own
            if (rd_kafka_queue_length(queue) == 0 || ++empty_looks == 16) {
                return false;
            }
            continue;
        }
        ++taken;
        switch (rd_kafka_event_type(event.get())) {
        case RD_KAFKA_EVENT_DR:
            take_deliveries(event.get(), from, told);
            break;
        case RD_KAFKA_EVENT_ERROR:
            take_error(event.get(), from, told);
            break;
        case RD_KAFKA_EVENT_LOG:
            take_log(event.get(), told);
            break;
        case RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH:
            if (config_.connection.oauth_token_provider && tokens_.wanted()) {
                ask_for_token();
            }
            break;
        default:
            break;
        }
    }
    return true;
}

KGROUP_INLINE void producer_engine::take_deliveries(rd_kafka_event_t* event, native_producer& from,
                                                    producer_events& told) {
    auto acknowledged = false;
    {
        failed_deliveries failed;
        std::lock_guard const lock{mutex_};
        while (auto const* const message = rd_kafka_event_message_next(event)) {
            acknowledged = acknowledged || !message->err;
            settle(*message, from, told, failed);
        }
        failed.tell(told);
    }
    if (acknowledged) {
        acknowledged_by(from, told);
    }
}

// Under the lock.
KGROUP_INLINE void producer_engine::settle(rd_kafka_message_t const& message, native_producer& by,
                                           producer_events& told, failed_deliveries& failed) {
    auto error = make_error_code(delivery_error(message.err));
    if (error && by.cause) {
        error = by.cause;
    }
    --by.outstanding;
    by.bytes -= message.len + message.key_len;
    ++(error ? stats_.failed : stats_.acknowledged);
    auto const awaited =
        pending_.settle(message._private, error, {message.partition, error ? -1 : message.offset});
    if (!error) {
        return;
    }
    note_error(error);
    if (error == errc::producer_stopped) {
        ++lost_at_stop_; // told together
    } else if (!awaited) {
        failed.add(message.rkt ? rd_kafka_topic_name(message.rkt) : "", message.partition, error,
                   told);
    }
}

KGROUP_INLINE void producer_engine::acknowledged_by(native_producer const& from,
                                                    producer_events& told) {
    end_outage(told);
    if (brokers_.accepted() && !tokens_.fails()) {
        told.accepted_by_brokers();
    }
    if (from.number == natives_made_ && replacement_.succeed()) {
        told.recovered();
    }
}

KGROUP_INLINE void producer_engine::take_error(rd_kafka_event_t* event, native_producer& from,
                                               producer_events& told) {
    auto const err = rd_kafka_event_error(event);
    auto const* const words = rd_kafka_event_error_string(event);
    std::string text{words ? words : ""};
    if (err == RD_KAFKA_RESP_ERR__FATAL || rd_kafka_event_error_is_fatal(event)) {
        char reason[512];
        auto const cause = rd_kafka_fatal_error(from.handle->get(), reason, sizeof reason);
        return cause ? replace(from, make_error_code(cause), reason, told)
                     : replace(from, make_error_code(err), std::move(text), told);
    }
    if (auto const report = brokers_.note(err)) {
        if (report->kind == event_kind::brokers_unreachable) {
            ask_brokers(from);
        }
        told.client_error(report->kind, report->level, make_error_code(err), std::move(text));
    }
}

KGROUP_INLINE void producer_engine::take_log(rd_kafka_event_t* event, producer_events& told) {
    char const* facility = nullptr;
    char const* text = nullptr;
    int level = 0;
    if (rd_kafka_event_log(event, &facility, &text, &level) != 0 || level > log_level_) {
        return;
    }
    told.client_log(level, facility, text);
}

KGROUP_INLINE void producer_engine::replace(native_producer& failed, std::error_code cause,
                                            std::string reason, producer_events& told) {
    {
        std::lock_guard const lock{mutex_};
        if (natives_.current().get() != &failed || !stop_.running()) {
            return; // as of one that is replaced already
        }
        natives_.retire_current(cause);
    }
    failed.handle->purge();
    auto const replaced_in = replacement_.fail(clock::now());
    told.failed(cause, std::move(reason), replaced_in);
}

KGROUP_INLINE void producer_engine::ask_brokers(native_producer const& from) noexcept {
    try {
        auto asked = std::make_unique<broker_enquiry>(from.handle->share(),
                                                      [wakeup = wakeup_] { wakeup->wake(); });
        std::lock_guard const lock{mutex_};
        if (!gone_ && !stop_.stopped()) {
            enquiry_ = std::move(asked);
        }
    } catch (...) { // no thread, or no memory: then the next acknowledgement ends the outage
    }
}

KGROUP_INLINE void producer_engine::end_outage(producer_events& told) {
    if (brokers_.reached()) {
        told.brokers_reachable();
        std::lock_guard const lock{mutex_};
        enquiry_.reset();
    }
}

KGROUP_INLINE void producer_engine::ask_for_token() {
    tokens_.begin();
    struct asking {
        // Owns the function: it may outlive the producer.
        static asio::awaitable<oauth_token>
        ask(std::function<asio::awaitable<oauth_token>()> provider) {
            co_return co_await provider();
        }
    };
    auto place = auto_reset_event::make(executor());
    {
        std::lock_guard const lock{mutex_};
        token_place_ = place;
    }
    asio::co_spawn(
        place->strand(), asking::ask(config_.connection.oauth_token_provider),
        asio::bind_cancellation_slot(
            place->slot(),
            // Asio looks at the slot once more when the coroutine has ended.
            [weak = weak_from_this(), place](std::exception_ptr failure, oauth_token token) {
                if (auto const self = engine_of(weak)) {
                    self->strand_.dispatch([self, failure, token = std::move(token)] {
                        self->take_token(failure, token);
                    });
                }
            }));
}

KGROUP_INLINE void producer_engine::take_token(std::exception_ptr failure,
                                               oauth_token const& token) {
    std::shared_ptr<native_producer> receiver;
    {
        std::lock_guard const lock{mutex_};
        if (gone_ || stop_.stopped()) {
            return;
        }
        receiver = natives_.current();
    }
    auto flaw = flaw_of_call(failure, token);
    if (!flaw && receiver) {
        if (auto const error = set_token(receiver->handle->get(), token)) {
            flaw = refused_token(error);
        }
    }
    producer_events told;
    if (flaw) {
        auto const retry_in = tokens_.fail(clock::now());
        told.no_token(flaw->error, words_of_retry(flaw->reason, retry_in));
    } else if (tokens_.succeed() && !brokers_.refused()) {
        told.token_given();
    }
    arm(tokens_.due());
    tell(told);
}

} // namespace kgroup::detail
