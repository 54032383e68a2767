// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/process_of_birth.hpp>
#include <kgroup/error.hpp>

#include <librdkafka/rdkafka.h>

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

namespace kgroup::detail {

template <auto Destroy>
struct rdkafka_deleter {
    template <typename T>
    void operator()(T* object) const noexcept {
        Destroy(object);
    }
};

using rdkafka_conf = std::unique_ptr<rd_kafka_conf_t, rdkafka_deleter<rd_kafka_conf_destroy>>;
using rdkafka_event = std::unique_ptr<rd_kafka_event_t, rdkafka_deleter<rd_kafka_event_destroy>>;
using rdkafka_error = std::unique_ptr<rd_kafka_error_t, rdkafka_deleter<rd_kafka_error_destroy>>;
using rdkafka_partitions = std::unique_ptr<rd_kafka_topic_partition_list_t,
                                           rdkafka_deleter<rd_kafka_topic_partition_list_destroy>>;
using rdkafka_group_metadata =
    std::unique_ptr<rd_kafka_consumer_group_metadata_t,
                    rdkafka_deleter<rd_kafka_consumer_group_metadata_destroy>>;

inline rdkafka_partitions make_partitions(std::size_t size) {
    return rdkafka_partitions{rd_kafka_topic_partition_list_new(static_cast<int>(size))};
}

/// A queue of librdkafka's whose arrivals call a function, on librdkafka's threads and under the
/// queue's lock.
class rdkafka_queue {
public:
    rdkafka_queue() noexcept = default;
    explicit rdkafka_queue(rd_kafka_queue_t* queue) noexcept : queue_(queue) {}
    rdkafka_queue(rdkafka_queue const&) = delete;
    rdkafka_queue& operator=(rdkafka_queue const&) = delete;
    ~rdkafka_queue() {
        if (queue_ && process_.is_this_one()) {
            disarm();
            rd_kafka_queue_destroy(queue_);
        }
    }

    rd_kafka_queue_t* get() const noexcept { return queue_; }

    /// `callback` must do nothing but post: any call of librdkafka's would wait for the lock it is
    /// called under.
    void arm(void (*callback)(rd_kafka_t*, void*), void* context) noexcept {
        armed_ = true;
        rd_kafka_queue_cb_event_enable(queue_, callback, context);
    }
    /// Returns when no callback of this one's runs and none will. Touches the queue once: another
    /// may have armed it since.
    void disarm() noexcept {
        if (std::exchange(armed_, false) && process_.is_this_one()) {
            rd_kafka_queue_cb_event_enable(queue_, nullptr, nullptr);
        }
    }

private:
    rd_kafka_queue_t* queue_ = nullptr;
    bool armed_ = false;
    process_of_birth process_;
};

/// How librdkafka learns that a partition's queue that was full has room again. Before 2.2 it looks
/// once a second, which a claim spends waiting, unless something wakes its threads. Setting the
/// credentials to what they are does, and touches nothing else: no connection, no request.
struct refill_notice {
    std::size_t after_bytes; // taken from one queue: half of what it holds
    std::size_t after_records;
    std::string username;
    std::string password;
};

/// One consumer or producer of librdkafka's. Shared by the client and by everything that came from
/// it; the last one ends it, on a thread of its own, because `rd_kafka_destroy` may wait for a
/// resolver and must not run on librdkafka's threads. In a process that was forked since, nothing
/// that came from it is touched: librdkafka's threads are not there to let go of it.
class rdkafka_handle {
public:
    rdkafka_handle(rdkafka_conf conf, std::optional<refill_notice> refill,
                   rd_kafka_type_t type = RD_KAFKA_CONSUMER)
        : refill_(std::move(refill)) {
        char text[512];
        handle_ = rd_kafka_new(type, conf.get(), text, sizeof text);
        if (!handle_) {
            throw std::system_error{errc::invalid_config, text};
        }
        static_cast<void>(conf.release()); // the handle has taken it
    }
    rdkafka_handle(rdkafka_handle const&) = delete;
    rdkafka_handle& operator=(rdkafka_handle const&) = delete;
    ~rdkafka_handle() {
        if (!process_.is_this_one()) {
            return;
        }
        auto end = [handle = handle_, done = std::move(on_destroyed_)] {
            // The group has been left by now, or cannot be: no second attempt.
            rd_kafka_destroy_flags(handle, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
            if (done) {
                done();
            }
        };
        try {
            std::thread{end}.detach();
        } catch (...) { // no thread, or no memory for one
            end();
        }
    }

    rd_kafka_t* get() const noexcept { return handle_; }
    process_of_birth const& process() const noexcept { return process_; }

    /// Whether many records may be taken by one call now. If so, the caller must call `end_batch`.
    /// Any thread.
    bool begin_batch() noexcept { return !in_batch_.test_and_set(std::memory_order_acquire); }
    void end_batch() noexcept { in_batch_.clear(std::memory_order_release); }

    /// Unset: librdkafka finds out in time.
    std::optional<refill_notice> const& refill() const noexcept { return refill_; }
    /// Any thread.
    void notify_refill() const noexcept {
        rdkafka_error const ignored{rd_kafka_sasl_set_credentials(
            handle_, refill_->username.c_str(), refill_->password.c_str())};
    }

    /// Called when the handle is gone, on a thread of its own; must not throw.
    void when_destroyed(std::function<void()> done) noexcept { on_destroyed_ = std::move(done); }

private:
    rd_kafka_t* handle_;
    std::optional<refill_notice> refill_;
    std::atomic_flag in_batch_;
    std::function<void()> on_destroyed_;
    process_of_birth process_;
};

} // namespace kgroup::detail
