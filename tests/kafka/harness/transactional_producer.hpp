// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/rdkafka/handle.hpp>

#include <doctest/doctest.h>
#include <librdkafka/rdkafka.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "kafka.hpp"

namespace kgroup::tests {

/// Writes records in transactions. Of a real Kafka.
class transactional_producer {
public:
    explicit transactional_producer(std::string const& brokers) {
        kgroup::detail::rdkafka_conf conf{rd_kafka_conf_new()};
        for (auto const& [name, value] : {std::pair{"bootstrap.servers", brokers},
                                          std::pair{"transactional.id", unique("id")}}) {
            REQUIRE(rd_kafka_conf_set(conf.get(), name, value.c_str(), nullptr, 0) ==
                    RD_KAFKA_CONF_OK);
        }
        rd_kafka_conf_set_log_cb(conf.get(), nullptr);
        handle_.reset(rd_kafka_new(RD_KAFKA_PRODUCER, conf.get(), nullptr, 0));
        REQUIRE(handle_);
        static_cast<void>(conf.release());
        check(rd_kafka_init_transactions(handle_.get(), 30000));
    }

    void begin() { check(rd_kafka_begin_transaction(handle_.get())); }
    void produce(std::string const& topic, std::int32_t partition, std::size_t count) {
        std::string value{"value"};
        for (std::size_t i = 0; i != count; ++i) {
            REQUIRE(rd_kafka_producev(handle_.get(), RD_KAFKA_V_TOPIC(topic.c_str()),
                                      RD_KAFKA_V_PARTITION(partition),
                                      RD_KAFKA_V_VALUE(value.data(), value.size()),
                                      RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                                      RD_KAFKA_V_END) == RD_KAFKA_RESP_ERR_NO_ERROR);
        }
        REQUIRE(rd_kafka_flush(handle_.get(), 30000) == RD_KAFKA_RESP_ERR_NO_ERROR);
    }
    void commit() { check(rd_kafka_commit_transaction(handle_.get(), 30000)); }
    void abort() { check(rd_kafka_abort_transaction(handle_.get(), 30000)); }

    void write(std::string const& topic, std::size_t count, bool commits) {
        begin();
        produce(topic, 0, count);
        commits ? commit() : abort();
    }

private:
    static void check(rd_kafka_error_t* failed) {
        if (kgroup::detail::rdkafka_error const error{failed}) {
            throw std::runtime_error{rd_kafka_error_string(error.get())};
        }
    }

    std::unique_ptr<rd_kafka_t, kgroup::detail::rdkafka_deleter<rd_kafka_destroy>> handle_;
};

} // namespace kgroup::tests
