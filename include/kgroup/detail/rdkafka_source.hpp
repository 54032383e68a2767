#pragma once

#include <kgroup/detail/partition_state.hpp>
#include <kgroup/detail/rdkafka_handle.hpp>
#include <kgroup/error.hpp>

#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>

namespace kgroup::detail {

/// The queue of one partition, taken out of the consumer's.
///
/// Records are taken one at a time: librdkafka's batch call loses records around pauses before 2.1, and moves the position
/// wrongly after a reset in all later versions (confluentinc/librdkafka #4208, #4844).
class rdkafka_source final : public record_source {
public:
    rdkafka_source(std::shared_ptr<rdkafka_handle> handle, std::shared_ptr<partition_state> const& state)
        : handle_(std::move(handle)), state_(state), where_(state->where()),
          queue_(rd_kafka_queue_get_partition(handle_->get(), where_.topic.c_str(), where_.partition)) {
        // Before the partition is assigned: what arrives earlier would go to the consumer's queue.
        rd_kafka_queue_forward(queue_.get(), nullptr);
        queue_.arm(
            [](rd_kafka_t*, void* self) {
                if (auto const waiting = static_cast<rdkafka_source*>(self)->state_.lock()) {
                    waiting->notify();
                }
            },
            this);
    }
    ~rdkafka_source() override { close(); }

    void drain(record_block& into, std::size_t byte_limit) noexcept override {
        while (!into.full() && into.bytes() + into.size() * record_overhead < byte_limit) {
            auto* const message = rd_kafka_consume_queue(queue_.get(), 0);
            if (!message) {
                break;
            }
            if (message->err) [[unlikely]] {
                report(*message);
                rd_kafka_message_destroy(message);
                continue;
            }
            if (message->offset == last_offset_ && is_repeated(*message, into)) [[unlikely]] {
                rd_kafka_message_destroy(message);
                continue;
            }
            last_offset_ = message->offset;
            into.append(message, static_cast<char const*>(message->key), message->key_len,
                        static_cast<char const*>(message->payload), message->len, message->offset);
        }
        if (into.size() != 0) {
            last_ = fingerprint_of(*native_of(into[into.size() - 1]));
            if (handle_->refill()) {
                count_taken(into);
            }
        }
    }

    std::size_t waiting() const noexcept override { return rd_kafka_queue_length(queue_.get()); }

    void close() noexcept override {
        if (!closed_.exchange(true)) {
            queue_.disarm();
        }
        empty();
    }

    /// Drops what waits. Once more after the partition was unassigned: what stays in the queue pins its memory, and up to 2.6.0
    /// keeps `rd_kafka_destroy` waiting for ever (confluentinc/librdkafka #4674).
    void empty() noexcept {
        while (auto* const message = rd_kafka_consume_queue(queue_.get(), 0)) {
            rd_kafka_message_destroy(message);
        }
    }

    void free_records(record* first, std::size_t count) noexcept override {
        for (std::size_t i = 0; i != count; ++i) {
            rd_kafka_message_destroy(static_cast<rd_kafka_message_t*>(first[i].native));
        }
    }

    std::int64_t timestamp(void* native) const noexcept override {
        auto type = RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        auto const time = rd_kafka_message_timestamp(static_cast<rd_kafka_message_t*>(native), &type);
        return type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE ? -1 : time;
    }

    void headers(void* native, header_sink const& sink) const override {
        rd_kafka_headers_t* found = nullptr;
        auto const err = rd_kafka_message_headers(static_cast<rd_kafka_message_t*>(native), &found);
        if (err == RD_KAFKA_RESP_ERR__NOENT) {
            return;
        }
        if (err) {
            throw std::system_error{make_error_code(err), "headers of " + where_.topic + "[" + std::to_string(where_.partition) + "]"};
        }
        char const* name = nullptr;
        void const* value = nullptr;
        std::size_t size = 0;
        for (std::size_t i = 0; !rd_kafka_header_get_all(found, i, &name, &value, &size); ++i) {
            sink(name, value ? std::optional{std::string_view{static_cast<char const*>(value), size}} : std::nullopt);
        }
    }

    watermarks known_watermarks() const noexcept override {
        watermarks known;
        if (rd_kafka_get_watermark_offsets(handle_->get(), where_.topic.c_str(), where_.partition, &known.low, &known.high)) {
            return {};
        }
        return {std::max<std::int64_t>(known.low, -1), std::max<std::int64_t>(known.high, -1)};
    }

private:
    // What librdkafka keeps beside the bytes of each record, about.
    static constexpr std::size_t record_overhead = 450;

    // The last record drained. When librdkafka pauses a partition for a rebalance between handing over a record and noting
    // that it did, it fetches that record again.
    struct fingerprint {
        std::int64_t timestamp = -1;
        std::size_t key_size = 0;
        std::size_t value_size = 0;
        std::size_t ends = 0;

        friend bool operator==(fingerprint const&, fingerprint const&) = default;
    };

    static fingerprint fingerprint_of(rd_kafka_message_t const& message) noexcept {
        constexpr std::size_t end = 64;
        auto type = RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        std::string_view const value{static_cast<char const*>(message.payload), message.len};
        auto const hash = std::hash<std::string_view>{};
        return {rd_kafka_message_timestamp(&message, &type), message.key_len, message.len,
                hash(value.substr(0, end)) * 31 + hash(value.substr(value.size() - std::min(value.size(), end)))};
    }

    static rd_kafka_message_t const* native_of(record const& from) noexcept {
        return static_cast<rd_kafka_message_t const*>(from.native);
    }

    // Only the very record that was drained last: any other step backward is a log that was reset, and must be read again.
    bool is_repeated(rd_kafka_message_t const& message, record_block& into) const noexcept {
        return fingerprint_of(message) == (into.size() == 0 ? last_ : fingerprint_of(*native_of(into[into.size() - 1])));
    }

    void count_taken(record_block const& records) noexcept {
        auto const& notice = *handle_->refill();
        bytes_taken_ += records.bytes();
        records_taken_ += records.size();
        if (bytes_taken_ >= notice.after_bytes || records_taken_ >= notice.after_records) {
            bytes_taken_ = records_taken_ = 0;
            handle_->notify_refill();
        }
    }

    void report(rd_kafka_message_t const& message) const noexcept {
        if (message.err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
            return;
        }
        if (auto const state = state_.lock()) {
            switch (message.err) {
            case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET: // only with offset_reset::none
                return state->fail(errc::offset_out_of_range, rd_kafka_message_errstr(&message));
            case RD_KAFKA_RESP_ERR__BAD_MSG: // the fetcher goes on behind it, and a later mark would commit over it
                return state->fail(errc::record_unreadable, rd_kafka_message_errstr(&message));
            default: return state->fail(make_error_code(message.err), rd_kafka_message_errstr(&message));
            }
        }
    }

    std::shared_ptr<rdkafka_handle> handle_;
    std::weak_ptr<partition_state> state_;
    topic_partition where_;
    rdkafka_queue queue_;
    std::int64_t last_offset_ = -1;
    fingerprint last_;
    std::size_t bytes_taken_ = 0;   // since librdkafka was last told that there is room
    std::size_t records_taken_ = 0;
    std::atomic<bool> closed_{false};
};

} // namespace kgroup::detail
