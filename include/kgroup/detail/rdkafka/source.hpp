// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/claim/partition_state.hpp>
#include <kgroup/detail/claim/record_writer.hpp>
#include <kgroup/detail/events/event_line.hpp>
#include <kgroup/detail/rdkafka/error.hpp>
#include <kgroup/detail/rdkafka/handle.hpp>
#include <kgroup/error.hpp>

#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace kgroup::detail {

/// The queue of one partition, taken out of the consumer's.
///
/// Records are taken many at a time where that is safe: librdkafka's call for it loses records
/// around pauses before 2.1 and fails on some errors before 2.2 (confluentinc/librdkafka #4208,
/// #4273), so there they are taken one by one. In later versions it leaves librdkafka's own
/// position wrong, from which a later pause would go on, in two cases: when an offset is lower than
/// the one before, and, before 2.13.2, when there was an error (#4844). `drain` seeks, then. And
/// the call is not for several threads at once (INTRODUCTION.md, "Note on Batch consume APIs"): a
/// claim that comes while another is at it takes one by one.
///
/// librdkafka keeps control records to itself, and moves its position behind them when they are
/// taken from the queue with what is around them; what was aborted it does not even queue. So its
/// position counts when nothing is left in the queue.
///
/// Behind a batch that it cannot read librdkafka reads on: at the next one, inside the same one,
/// or, at an offset that it took from there, wherever that leads. So nothing is taken any more
/// behind an error that ends the claim, for as long as the claim lasts.
class rdkafka_source final : public record_source {
public:
    rdkafka_source(std::shared_ptr<rdkafka_handle> handle,
                   std::shared_ptr<partition_state> const& state)
        : handle_(std::move(handle)),
          state_(*state),
          where_(state->where()),
          queue_(
              rd_kafka_queue_get_partition(handle_->get(), where_.topic.c_str(), where_.partition)),
          position_(make_partitions(1)) {
        rd_kafka_topic_partition_list_add(position_.get(), where_.topic.c_str(), where_.partition);
        // Before the partition is assigned: what arrives earlier would go to the consumer's queue.
        rd_kafka_queue_forward(queue_.get(), nullptr);
        queue_.arm(
            [](rd_kafka_t*, void* waiting) { static_cast<partition_state*>(waiting)->notify(); },
            &state_);
    }
    ~rdkafka_source() override { close(); }

    void drain(record_block& into, std::size_t byte_limit) noexcept override {
        if (over_.load(std::memory_order_relaxed)) [[unlikely]] {
            return;
        }
        auto emptied = false;
        if (takes_many() && !wrong_position_ && !ahead_.load(std::memory_order_relaxed) &&
            handle_->begin_batch()) {
            emptied = drain_many(into, byte_limit);
            handle_->end_batch();
        } else {
            emptied = drain_singly(into, byte_limit);
        }
        if (over_.load(std::memory_order_relaxed)) [[unlikely]] {
            drop_rest();
        } else if (emptied && !wrong_position_) {
            tell_position();
        }
        if (into.size() != 0 && handle_->refill()) {
            count_taken(into);
        }
    }

    void look() noexcept override {
        std::lock_guard const lock{closing_};
        if (closed_ || over_.load(std::memory_order_relaxed) ||
            ahead_.load(std::memory_order_relaxed)) {
            return;
        }
        if (auto* const message = rd_kafka_consume_queue(queue_.get(), 0)) {
            ahead_.store(message, std::memory_order_relaxed);
        } else if (!wrong_position_) {
            tell_position();
        }
    }

    std::size_t waiting() const noexcept override {
        return over_.load(std::memory_order_relaxed)
                   ? 0
                   : rd_kafka_queue_length(queue_.get()) +
                         (ahead_.load(std::memory_order_relaxed) ? 1 : 0);
    }

    /// What came for this partition elsewhere, and is not a record. Whether reading must go back to
    /// it.
    bool report_stray(rd_kafka_message_t const& message) const noexcept {
        if (is_unreadable(message.err)) {
            return true; // in its place, behind what is still to come
        }
        report(message);
        return false;
    }

    void close() noexcept override {
        if (!handle_->process().is_this_one()) {
            return;
        }
        std::lock_guard const lock{closing_};
        closed_ = true;
        if (auto* const message = ahead_.exchange(nullptr, std::memory_order_relaxed)) {
            rd_kafka_message_destroy(message);
        }
        if (retired_) {
            return;
        }
        queue_.disarm();
        drop_waiting();
    }

    /// What stays in the queue pins its memory, and up to 2.6.0 keeps `rd_kafka_destroy` waiting
    /// for ever (confluentinc/librdkafka #4674): so at the very end once more, since something may
    /// come behind the answer to a revocation. Nobody else's queue then.
    /// Returns how many of what stayed there were records.
    std::size_t drop_waiting() noexcept {
        std::size_t records = 0;
        while (auto* const message = rd_kafka_consume_queue(queue_.get(), 0)) {
            records += message->err == RD_KAFKA_RESP_ERR_NO_ERROR ? 1 : 0;
            rd_kafka_message_destroy(message);
        }
        return records;
    }

    /// For the last time: after the partition was unassigned, or before it is opened anew.
    /// librdkafka has one queue for a partition however often it is owned, and from here on it is
    /// the next owner's, whoever still holds this one.
    void retire() noexcept {
        close();
        std::lock_guard const lock{closing_};
        retired_ = true;
    }
    /// For who retires it.
    bool retired() const noexcept { return retired_; }

    void free_records(record* first, std::size_t count) noexcept override {
        if (!handle_->process().is_this_one()) {
            return;
        }
        for (std::size_t i = 0; i != count; ++i) {
            rd_kafka_message_destroy(static_cast<rd_kafka_message_t*>(first[i].native));
        }
    }

    std::int64_t timestamp(void* native) const noexcept override {
        auto type = RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        auto const time =
            rd_kafka_message_timestamp(static_cast<rd_kafka_message_t*>(native), &type);
        return type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE ? -1 : time;
    }

    void headers(void* native, header_sink const& sink) const override {
        rd_kafka_headers_t* found = nullptr;
        auto const err = rd_kafka_message_headers(static_cast<rd_kafka_message_t*>(native), &found);
        if (err == RD_KAFKA_RESP_ERR__NOENT) {
            return;
        }
        if (err) {
            throw std::system_error{make_error_code(err), "headers of " + to_string(where_)};
        }
        char const* name = nullptr;
        void const* value = nullptr;
        std::size_t size = 0;
        for (std::size_t i = 0; !rd_kafka_header_get_all(found, i, &name, &value, &size); ++i) {
            sink(name, value
                           ? std::optional{std::string_view{static_cast<char const*>(value), size}}
                           : std::nullopt);
        }
    }

    watermarks known_watermarks() const noexcept override {
        watermarks known;
        if (rd_kafka_get_watermark_offsets(handle_->get(), where_.topic.c_str(), where_.partition,
                                           &known.low, &known.high)) {
            return {};
        }
        return {(std::max<std::int64_t>)(known.low, -1), (std::max<std::int64_t>)(known.high, -1)};
    }

private:
    // What librdkafka keeps beside the bytes of each record, about.
    static constexpr std::size_t record_overhead = 450;

    static bool takes_many() noexcept {
        static bool const safe = rd_kafka_version() >= 0x02020000;
        return safe;
    }
    static bool errors_move_the_position() noexcept { return rd_kafka_version() < 0x020d0200; }

    // A record that was handed over. When librdkafka pauses a partition for a rebalance between
    // handing over records and noting that it did, it fetches again what one call gave.
    struct fingerprint {
        std::int64_t offset = -1;
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
        return {message.offset, rd_kafka_message_timestamp(&message, &type), message.key_len,
                message.len,
                hash(value.substr(0, end)) * 31 +
                    hash(value.substr(value.size() - (std::min)(value.size(), end)))};
    }
    static fingerprint fingerprint_of(record const& record) noexcept {
        return fingerprint_of(*static_cast<rd_kafka_message_t const*>(record.native));
    }

    static std::size_t room(record_block::writer const& writer, std::size_t byte_limit) noexcept {
        auto const held = writer.bytes() + writer.size() * record_overhead;
        return held < byte_limit ? byte_limit - held : 0;
    }
    static void append(rd_kafka_message_t* message, record_block::writer& writer) noexcept {
        writer.append(message, static_cast<char const*>(message->key), message->key_len,
                      static_cast<char const*>(message->payload), message->len, message->offset);
    }

    // Whether nothing is left.
    bool drain_singly(record_block& block, std::size_t byte_limit) noexcept {
        record_block::writer into{block};
        auto const wrong_before = wrong_position_;
        auto emptied = false;
        while (!into.full() && room(into, byte_limit) != 0 &&
               !over_.load(std::memory_order_relaxed)) {
            auto* message = ahead_.load(std::memory_order_relaxed)
                                ? ahead_.exchange(nullptr, std::memory_order_relaxed)
                                : nullptr;
            if (!message) {
                message = rd_kafka_consume_queue(queue_.get(), 0);
            }
            if (!message) {
                emptied = true;
                break;
            }
            if (into.size() != 0 && message->offset < next_offset_) [[unlikely]] {
                call_began_ = fingerprint_of(into[into.size() - 1]);
            }
            if (is_next(*message)) {
                append(message, into);
            } else {
                rd_kafka_message_destroy(message);
            }
        }
        if (into.size() != 0) {
            call_began_ = fingerprint_of(into[into.size() - 1]);
        }
        wrong_position_ =
            into.size() == 0 && wrong_before; // each record sets it, and here errors leave it alone
        return emptied;
    }

    // Whether nothing is left.
    bool drain_many(record_block& block, std::size_t byte_limit) noexcept {
        record_block::writer into{block};
        while (!into.full() && room(into, byte_limit) != 0) {
            std::array<rd_kafka_message_t*, partition_state::largest_block> messages;
            auto const fit =
                (std::max<std::size_t>)(room(into, byte_limit) / (usual_size_ + record_overhead),
                                        1);
            auto const most = (std::min)({fit, into.room(), messages.size()});
            auto const given = rd_kafka_consume_batch_queue(queue_.get(), 0, messages.data(), most);
            auto const count = static_cast<std::size_t>(std::max<std::ptrdiff_t>(given, 0));
            auto const begin = into.size();
            auto const bytes = into.bytes();
            for (std::size_t i = 0; i != count; ++i) {
                if (is_next(*messages[i])) {
                    append(messages[i], into);
                } else {
                    rd_kafka_message_destroy(messages[i]);
                }
            }
            if (into.size() != begin) {
                call_began_ = fingerprint_of(into[begin]);
                usual_size_ = (into.bytes() - bytes) / (into.size() - begin);
            }
            if (over_.load(std::memory_order_relaxed)) {
                break;
            }
            if (wrong_position_) {
                seek();
                break;
            }
            if (count < most) {
                return true;
            }
        }
        return false;
    }

    // Whether it is a record to deliver.
    bool is_next(rd_kafka_message_t const& message) noexcept {
        if (message.err) [[unlikely]] {
            if (over_.load(std::memory_order_relaxed)) {
                return false;
            }
            if (report(message)) {
                over_.store(true, std::memory_order_relaxed);
                next_offset_ = (std::numeric_limits<std::int64_t>::max)(); // so that the look below
                                                                           // sees all that comes
            } else if (errors_move_the_position()) {
                wrong_position_ = true;
                next_offset_ = next_offset_ < 0 ? message.offset : next_offset_;
            }
            return false;
        }
        if (message.offset < next_offset_) [[unlikely]] {
            if (over_.load(std::memory_order_relaxed) || is_repeated(message)) {
                return false;
            }
            wrong_position_ = true; // the log was reset
        }
        next_offset_ = message.offset + 1;
        repeated_ = -1;
        return true;
    }

    // What one call gave begins with the very record that that call began with, and goes on with
    // higher offsets.
    bool is_repeated(rd_kafka_message_t const& message) noexcept {
        auto const repeated = repeated_ != -1 && repeated_ < message.offset;
        if (!repeated &&
            !(message.offset == call_began_.offset && fingerprint_of(message) == call_began_)) {
            return false;
        }
        repeated_ = message.offset;
        return true;
    }

    // Waits for librdkafka's main thread, which is rare. Where it fails, records taken one by one
    // set the position.
    void seek() noexcept {
        if (next_offset_ < 0) {
            return;
        }
        auto const list = make_partitions(1);
        rd_kafka_topic_partition_list_add(list.get(), where_.topic.c_str(), where_.partition)
            ->offset = next_offset_;
        rdkafka_error const failed{rd_kafka_seek_partitions(handle_->get(), list.get(), 1000)};
        wrong_position_ = failed || list->elems[0].err;
    }

    // The claim is over, and so is what librdkafka keeps for it; nothing wakes it any more.
    void drop_rest() noexcept {
        std::lock_guard const lock{closing_};
        if (!retired_) {
            queue_.disarm();
            drop_waiting();
        }
    }

    // Under one lock, without a request. -1001 before anything was taken, and after a seek.
    void tell_position() noexcept {
        if (rd_kafka_position(handle_->get(), position_.get())) {
            return;
        }
        if (auto const next = position_->elems[0].offset; next > next_offset_) {
            state_.drained(next_offset_, next);
            next_offset_ = next;
        }
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

    static bool is_unreadable(rd_kafka_resp_err_t err) noexcept {
        return err == RD_KAFKA_RESP_ERR__BAD_MSG || err == RD_KAFKA_RESP_ERR__BAD_COMPRESSION ||
               err == RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED;
    }

    // Whether it is the end of the claim.
    bool report(rd_kafka_message_t const& message) const noexcept {
        if (message.err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
            return false;
        }
        auto const* const words = rd_kafka_message_errstr(&message);
        if (is_unreadable(message.err)) {
            fail_unreadable(message.offset, words);
            return true;
        }
        auto const code =
            message.err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET // only with offset_reset::none
                ? make_error_code(errc::offset_out_of_range)
                : make_error_code(message.err);
        state_.fail(code, words);
        return effect_of(code) == error_effect::ends_application;
    }

    // The error names the batch's first offset, and reading may have begun in the middle of the
    // batch.
    void fail_unreadable(std::int64_t batch, char const* words) const noexcept {
        auto const next = (std::max)({batch, next_offset_, state_.position()});
        char text[600];
        std::snprintf(text, sizeof text, "offset %lld cannot be read, and nothing behind it is: %s",
                      static_cast<long long>(next), words);
        state_.fail(errc::record_unreadable, text);
    }

    std::shared_ptr<rdkafka_handle> handle_;
    partition_state& state_; // which closes this before it goes
    topic_partition where_;
    rdkafka_queue queue_;
    rdkafka_partitions position_;   // this partition, for librdkafka to write its position to
    std::atomic<bool> over_{false}; // set on the claim's strand: nothing is taken any more
    std::atomic<rd_kafka_message_t*> ahead_{
        nullptr}; // taken by `look`, and first in the next drain; freed by `close`
    std::int64_t next_offset_ =
        -1; // behind what was taken, and what is not delivered there; -1: nothing was
    fingerprint call_began_;           // the first record of librdkafka's last call that gave any
    std::int64_t repeated_ = -1;       // the last of those that it gave again
    std::size_t usual_size_ = 1 << 20; // of a record, by the last call
    bool wrong_position_ = false;      // librdkafka's
    std::size_t bytes_taken_ = 0;      // since librdkafka was last told that there is room
    std::size_t records_taken_ = 0;
    std::mutex closing_; // the two below, and who else takes from the queue than `drain`
    bool closed_ = false;
    bool retired_ = false;
};

} // namespace kgroup::detail
