// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/backoff.hpp>
#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/asio/manual_reset_event.hpp>
#include <kgroup/detail/asio/timer.hpp>
#include <kgroup/detail/config/config_check.hpp>
#include <kgroup/detail/produce/dead_letter.hpp>
#include <kgroup/error.hpp>
#include <kgroup/event.hpp>

#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/cancellation_type.hpp>
#include <asio/error.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <librdkafka/rdkafka.h>

#include <chrono>
#include <cstdlib>
#include <optional>
#include <typeinfo>
#include <utility>
#include <vector>

#if __has_include(<cxxabi.h>)
#include <cxxabi.h>
#endif

namespace kgroup::detail {

/// The type of an exception, as one writes it.
KGROUP_INLINE std::string type_of(std::exception_ptr const& failure) {
    try {
        if (failure) {
            std::rethrow_exception(failure);
        }
        return {};
    } catch (std::exception const& exception) {
        std::string name{typeid(exception).name()};
#if __has_include(<cxxabi.h>)
        int failed = 0;
        if (auto* const text = abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &failed)) {
            name = text;
            std::free(text);
        }
#endif
        return name;
    } catch (...) {
        return "unknown";
    }
}

KGROUP_INLINE dead_letter::dead_letter(message const& record, std::string topic,
                                       letter_words const& why, dead_letter_headers set)
    : source_(record.topic(), record.partition()),
      offset_(record.offset()) {
    auto const type = type_of(why.failure);
    auto const text = why.failure ? describe_exception(why.failure).first : std::string{};
    auto const first = why.first_failure && why.attempts > 1
                           ? describe_exception(why.first_failure).first
                           : std::string{};
    dead_letter_reason reason{source_.topic, source_.partition, offset_};
    if (auto const time = record.timestamp()) {
        reason.timestamp =
            std::chrono::floor<std::chrono::milliseconds>(time->time_since_epoch()).count();
    }
    reason.group = why.group;
    reason.attempts = why.attempts;
    reason.exception = type;
    reason.message = text;
    reason.first_failure = first;
    std::vector<header> kept;
    try {
        kept = record.headers();
    } catch (std::system_error const&) {
        kept = {{"kgroup.headers", "malformed"}}; // in place of those that nobody can read
    }
    for (auto const whole : {true, false}) {
        dead_letter_header_set const added{set, reason, whole};
        auto all = kept;
        all.insert(all.end(), added.headers().begin(), added.headers().end());
        outgoing_record letter{.topic = topic};
        letter.key = record.has_key() ? std::optional{record.key()} : std::nullopt;
        letter.value = record.has_value() ? std::optional{record.value()} : std::nullopt;
        letter.headers = all;
        (whole ? whole_ : short_).assign(letter);
    }
}

KGROUP_INLINE std::string dead_letter::describe() const {
    return "the dead letter of offset " + std::to_string(offset_) + " for the topic " +
           detail::quoted(whole_.record().topic);
}

KGROUP_INLINE bool is_permanent(std::error_code const& error) noexcept {
    if (error.category() != kafka_category()) {
        return false;
    }
    switch (static_cast<rd_kafka_resp_err_t>(error.value())) {
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR__INVALID_ARG:
    case RD_KAFKA_RESP_ERR_INVALID_MSG:
    case RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE:
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT:
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
    case RD_KAFKA_RESP_ERR_INVALID_RECORD:
        return true;
    default:
        return false;
    }
}

/// Says that a letter cannot be delivered, now and then, and once that this is over.
class held_letter {
public:
    held_letter(producer_engine_base& through, dead_letter const& letter)
        : through_(through),
          letter_(letter) {}
    held_letter(held_letter const&) = delete;
    held_letter& operator=(held_letter const&) = delete;
    ~held_letter() {
        try {
            end("is not sent any more");
        } catch (...) { // no memory
        }
    }

    bool told() const noexcept { return told_; }
    clock::time_point next() const noexcept { return next_; }
    /// What it was refused with last.
    void note(std::error_code error) noexcept { error_ = error; }
    /// If it is time.
    void tell(clock::time_point now) {
        if (now >= next_) {
            tell_now(now);
        }
    }
    void tell_now(clock::time_point now) {
        told_ = true;
        next_ = now + std::chrono::minutes{1};
        through_.report({event_kind::dead_letter_held, severity::warning, letter_.source(), error_,
                         letter_.describe() + " cannot be delivered; its record waits"});
    }
    void end(char const* how) {
        if (std::exchange(told_, false)) {
            through_.report({event_kind::dead_letter_sent,
                             severity::info,
                             letter_.source(),
                             {},
                             letter_.describe() + " " + how});
        }
    }

private:
    producer_engine_base& through_;
    dead_letter const& letter_;
    clock::time_point next_ = clock::now() + std::chrono::seconds{10};
    std::error_code error_;
    bool told_ = false;
};

/// One delivery under way, whatever becomes of who waits for it.
struct letter_delivery {
    manual_reset_event over;
    produce_outcome outcome;
    asio::cancellation_signal signal;
};

KGROUP_INLINE asio::awaitable<std::error_code> deliver_once(producer_engine_base& through,
                                                            dead_letter const& letter, bool whole,
                                                            held_letter& held) {
    auto const under_way = std::make_shared<letter_delivery>();
    through.begin_record<call_with_outcome>(
        asio::bind_cancellation_slot(under_way->signal.slot(),
                                     [under_way](produce_outcome const& outcome) {
                                         under_way->outcome = outcome;
                                         under_way->over.set();
                                     }),
        produce_kind::send, letter.record(whole), letter.source().partition);
    std::exception_ptr cancelled;
    auto over = false;
    while (!over && !cancelled) {
        try {
            over = co_await under_way->over.wait(held.next());
        } catch (...) {
            cancelled = std::current_exception();
        }
        if (!over && !cancelled) {
            held.tell(clock::now());
        }
    }
    if (cancelled) {
        under_way->signal.emit(asio::cancellation_type::terminal);
        std::rethrow_exception(cancelled);
    }
    co_return under_way->outcome.error;
}

KGROUP_INLINE asio::awaitable<void> deliver(std::shared_ptr<producer_engine_base> through,
                                            std::unique_ptr<dead_letter> letter,
                                            when_undeliverable then) {
    using namespace std::chrono_literals;
    held_letter held{*through, *letter};
    auto whole = true;
    for (backoff waits{500ms, 30s};;) {
        auto const error = co_await deliver_once(*through, *letter, whole, held);
        if (!error) {
            held.end("was delivered");
            co_return;
        }
        held.note(error);
        if (is_permanent(error)) {
            if (std::exchange(whole, false)) {
                continue;
            }
            if (then == when_undeliverable::skip) {
                through->report(
                    {event_kind::record_skipped, severity::error, letter->source(), error,
                     letter->describe() + " cannot be delivered; the record is skipped"});
                co_return;
            }
            if (then == when_undeliverable::wait && !held.told()) {
                held.tell_now(clock::now());
            }
        }
        if ((is_permanent(error) && then == when_undeliverable::fail) ||
            error.category() != kafka_category()) { // the producer was stopped
            throw std::system_error{error, letter->describe()};
        }
        held.tell(clock::now());
        timer pause{co_await asio::this_coro::executor};
        pause.expires_after(waits.next());
        co_await pause.async_wait(asio::use_awaitable);
    }
}

} // namespace kgroup::detail
