// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/process_of_birth.hpp>
#include <kgroup/detail/config/config_check.hpp>
#include <kgroup/detail/rdkafka/handle.hpp>
#include <kgroup/message.hpp>
#include <kgroup/outgoing_record.hpp>

#include <librdkafka/rdkafka.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace kgroup::detail {

/// Chooses the partition of a record that names none: for librdkafka, on whose threads it is
/// called. Must not block or throw.
using partition_choice = std::int32_t (*)(rd_kafka_topic_t const* topic, void const* key,
                                          std::size_t key_size, std::int32_t partitions,
                                          void* of_topic, void* of_record);

/// One producer of librdkafka's, its topics, and the queue of its events.
class producer_handle {
public:
    /// `arrived` is called on librdkafka's threads and must do nothing but post; `destroyed`, when
    /// librdkafka's producer is gone, on a thread of its own.
    producer_handle(rdkafka_conf conf, void (*arrived)(rd_kafka_t*, void*), void* context,
                    std::function<void()> destroyed)
        : handle_(
              std::make_shared<rdkafka_handle>(std::move(conf), std::nullopt, RD_KAFKA_PRODUCER)) {
        handle_->when_destroyed(std::move(destroyed));
        queue_ = std::make_unique<rdkafka_queue>(rd_kafka_queue_get_main(handle_->get()));
        rd_kafka_set_log_queue(handle_->get(), queue_->get());
        queue_->arm(arrived, context);
    }
    producer_handle(producer_handle const&) = delete;
    producer_handle& operator=(producer_handle const&) = delete;
    ~producer_handle() {
        if (!process_.is_this_one()) {
            for (auto& [name, topic] : topics_) {
                static_cast<void>(topic.release());
            }
        }
    }

    rd_kafka_t* get() const noexcept { return handle_->get(); }
    std::shared_ptr<rdkafka_handle> share() const noexcept { return handle_; }
    rd_kafka_queue_t* queue() const noexcept { return queue_->get(); }

    /// Copies a record into the producer's queue; does not wait. `choice`: of the partition; only
    /// the first of a topic counts, and for its records no time is too long. One call at a time.
    rd_kafka_resp_err_t produce(outgoing_record const& record, void* opaque,
                                partition_choice choice) {
        if (record.partition < RD_KAFKA_PARTITION_UA) {
            return RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION;
        }
        auto* topic = last_ && last_->first == record.topic ? last_->second.get() : nullptr;
        if (!topic) {
            if (record.topic.empty() || !is_legal_name(record.topic)) {
                return RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION;
            }
            topic = find(record.topic, choice);
            if (!topic) {
                return rd_kafka_last_error();
            }
        }
        return record.timestamp || !record.headers.empty() ? produce_whole(topic, record, opaque)
                                                           : produce_plain(topic, record, opaque);
    }

    /// Whatever is under way fails, and may have been delivered. Does not wait.
    void purge() noexcept {
        rd_kafka_purge(get(), RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT |
                                  RD_KAFKA_PURGE_F_NON_BLOCKING);
    }

private:
    using topic_owner = std::unique_ptr<rd_kafka_topic_t, rdkafka_deleter<rd_kafka_topic_destroy>>;

    rd_kafka_topic_t* find(std::string_view name, partition_choice choice) {
        auto found = topics_.find(name);
        if (found == topics_.end()) {
            std::string const text{name};
            rd_kafka_topic_conf_t* conf = nullptr;
            if (choice) {
                conf = rd_kafka_default_topic_conf_dup(get());
                char why[256];
                rd_kafka_topic_conf_set(conf, "message.timeout.ms", "0", why, sizeof why);
                rd_kafka_topic_conf_set_partitioner_cb(conf, choice);
            }
            topic_owner made{rd_kafka_topic_new(get(), text.c_str(), conf)};
            if (!made) {
                return nullptr;
            }
            found = topics_.emplace(text, std::move(made)).first;
        }
        last_ = &*found;
        return last_->second.get();
    }

    rd_kafka_resp_err_t produce_plain(rd_kafka_topic_t* topic, outgoing_record const& record,
                                      void* opaque) noexcept {
        auto const value = bytes(record.value);
        auto const key = bytes(record.key);
        return rd_kafka_produce(topic, record.partition, RD_KAFKA_MSG_F_COPY, value.first,
                                value.second, key.first, key.second, opaque) == 0
                   ? RD_KAFKA_RESP_ERR_NO_ERROR
                   : rd_kafka_last_error();
    }

    rd_kafka_resp_err_t produce_whole(rd_kafka_topic_t* topic, outgoing_record const& record,
                                      void* opaque) {
        rd_kafka_vu_t fields[8];
        std::size_t count = 0;
        auto const add = [&](rd_kafka_vtype_t type) -> auto& {
            fields[count].vtype = type;
            return fields[count++].u;
        };
        auto const value = bytes(record.value);
        auto const key = bytes(record.key);
        add(RD_KAFKA_VTYPE_RKT).rkt = topic;
        add(RD_KAFKA_VTYPE_PARTITION).i32 = record.partition;
        add(RD_KAFKA_VTYPE_MSGFLAGS).i = RD_KAFKA_MSG_F_COPY;
        add(RD_KAFKA_VTYPE_OPAQUE).ptr = opaque;
        add(RD_KAFKA_VTYPE_VALUE).mem = {value.first, value.second};
        add(RD_KAFKA_VTYPE_KEY).mem = {key.first, key.second};
        if (record.timestamp) {
            auto const time =
                std::chrono::floor<std::chrono::milliseconds>(record.timestamp->time_since_epoch());
            if (time.count() <= 0) { // to librdkafka 0 is none
                return RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP;
            }
            add(RD_KAFKA_VTYPE_TIMESTAMP).i64 = time.count();
        }
        std::unique_ptr<rd_kafka_headers_t, rdkafka_deleter<rd_kafka_headers_destroy>> headers;
        if (!record.headers.empty()) {
            headers.reset(rd_kafka_headers_new(record.headers.size()));
            for (auto const& header : record.headers) {
                auto const content = bytes(header.value);
                if (auto const err = rd_kafka_header_add(
                        headers.get(), header.name.empty() ? "" : header.name.data(),
                        static_cast<ssize_t>(header.name.size()), content.first,
                        static_cast<ssize_t>(content.second))) {
                    return err;
                }
            }
            add(RD_KAFKA_VTYPE_HEADERS).headers = headers.get();
        }
        rdkafka_error const error{rd_kafka_produceva(get(), fields, count)};
        if (error) {
            return rd_kafka_error_code(error.get());
        }
        static_cast<void>(headers.release()); // the record has taken them
        return RD_KAFKA_RESP_ERR_NO_ERROR;
    }

    // Null is not empty.
    static std::pair<void*, std::size_t> bytes(std::optional<std::string_view> field) noexcept {
        static char nothing = 0;
        if (!field) {
            return {nullptr, 0};
        }
        return {field->empty() ? &nothing : const_cast<char*>(field->data()), field->size()};
    }

    std::shared_ptr<rdkafka_handle> handle_;
    std::unique_ptr<rdkafka_queue> queue_;
    std::map<std::string, topic_owner, std::less<>> topics_;
    std::pair<std::string const, topic_owner> const* last_ = nullptr; // that was produced to
    process_of_birth process_;
};

} // namespace kgroup::detail
