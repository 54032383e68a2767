// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/rdkafka/handle.hpp>
#include <kgroup/event.hpp>
#include <kgroup/producer.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>

#include <librdkafka/rdkafka.h>

#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace kgroup::tests {

/// A producer on this thread, with what it tells.
class producing {
public:
    explicit producing(producer_config given) {
        given.on_event = [this](event const& told) { events.push_back(told); };
        out.emplace(context, std::move(given));
    }
    explicit producing(std::string const& brokers)
        : producing(producer_config{.connection = {.brokers = brokers}}) {}

    /// Runs a coroutine to its end. Throws what it throws; false: it does not end in time.
    bool run(asio::awaitable<void> work,
             std::chrono::milliseconds limit = std::chrono::seconds{60}) {
        auto const end = std::make_shared<std::optional<std::exception_ptr>>(); // it may be late
        auto& outcome = *end;
        asio::co_spawn(context, std::move(work),
                       [end](std::exception_ptr failure) { *end = std::move(failure); });
        auto const until = std::chrono::steady_clock::now() + limit;
        context.restart();
        while (!outcome && std::chrono::steady_clock::now() < until) {
            context.run_one_for(std::chrono::milliseconds{100});
            context.restart();
        }
        if (outcome && *outcome) {
            std::rethrow_exception(*outcome);
        }
        return outcome.has_value();
    }
    /// The error that a coroutine ends with, and its words.
    std::system_error failure_of(asio::awaitable<void> work) {
        try {
            static_cast<void>(run(std::move(work)));
        } catch (std::system_error const& failure) {
            return failure;
        }
        return std::system_error{std::error_code{}};
    }
    /// Lets things happen until a condition holds.
    template <typename Condition>
    bool run_until(Condition const& holds,
                   std::chrono::milliseconds limit = std::chrono::seconds{30}) {
        auto const until = std::chrono::steady_clock::now() + limit;
        while (!holds()) {
            if (std::chrono::steady_clock::now() > until) {
                return false;
            }
            context.restart();
            context.run_for(std::chrono::milliseconds{10});
        }
        return true;
    }
    event const* last(event_kind kind) const {
        event const* found = nullptr;
        for (auto const& event : events) {
            found = event.kind == kind ? &event : found;
        }
        return found;
    }

    std::vector<event> events;
    asio::io_context context;
    std::optional<producer> out;
};

/// A record as it stands in a log.
struct stored_record {
    std::int32_t partition = 0;
    std::int64_t offset = 0;
    std::optional<std::string> key;
    std::optional<std::string> value;
    std::int64_t timestamp = 0;
    std::vector<std::pair<std::string, std::optional<std::string>>> headers;
};

/// Reads so many records of a partition from its beginning; fewer when they do not come.
inline std::vector<stored_record>
read_partition(std::string const& brokers, std::string const& topic, std::int32_t partition,
               std::size_t count, std::chrono::milliseconds limit = std::chrono::seconds{20}) {
    char text[512];
    auto* const conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", brokers.c_str(), text, sizeof text);
    rd_kafka_conf_set(conf, "group.id", "reader", text, sizeof text);
    rd_kafka_conf_set(conf, "enable.auto.commit", "false", text, sizeof text);
    rd_kafka_conf_set(conf, "log_level", "0", text, sizeof text);
    auto* const consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
    auto const where = detail::make_partitions(1);
    rd_kafka_topic_partition_list_add(where.get(), topic.c_str(), partition)->offset =
        RD_KAFKA_OFFSET_BEGINNING;
    rd_kafka_assign(consumer, where.get());
    std::vector<stored_record> found;
    auto const until = std::chrono::steady_clock::now() + limit;
    auto const copy = [](void const* data, std::size_t size) {
        return data ? std::optional{std::string{static_cast<char const*>(data), size}}
                    : std::nullopt;
    };
    while (found.size() != count && std::chrono::steady_clock::now() < until) {
        std::unique_ptr<rd_kafka_message_t, detail::rdkafka_deleter<rd_kafka_message_destroy>> const
            message{rd_kafka_consumer_poll(consumer, 100)};
        if (!message || message->err) {
            continue;
        }
        rd_kafka_timestamp_type_t type{};
        auto& added =
            found.emplace_back(stored_record{message->partition,
                                             message->offset,
                                             copy(message->key, message->key_len),
                                             copy(message->payload, message->len),
                                             rd_kafka_message_timestamp(message.get(), &type),
                                             {}});
        rd_kafka_headers_t* headers = nullptr;
        if (rd_kafka_message_headers(message.get(), &headers) == RD_KAFKA_RESP_ERR_NO_ERROR) {
            char const* name = nullptr;
            void const* value = nullptr;
            std::size_t size = 0;
            for (std::size_t i = 0; rd_kafka_header_get_all(headers, i, &name, &value, &size) == 0;
                 ++i) {
                added.headers.emplace_back(name, copy(value, size));
            }
        }
    }
    rd_kafka_consumer_close(consumer);
    rd_kafka_destroy(consumer);
    return found;
}

} // namespace kgroup::tests
