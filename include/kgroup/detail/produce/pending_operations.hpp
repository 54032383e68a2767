// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/delivery.hpp>
#include <kgroup/detail/produce/completion.hpp>
#include <kgroup/detail/produce/delivery_epochs.hpp>
#include <kgroup/detail/produce/operation.hpp>
#include <kgroup/detail/rdkafka/error.hpp>
#include <kgroup/error.hpp>
#include <kgroup/outgoing_record.hpp>

#include <asio/error.hpp>

#include <librdkafka/rdkafka.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

namespace kgroup::detail {

/// What those wait for who wait at a producer, and what each of them is told: records for room and
/// then for what becomes of them, flushes for the records before them, stops for the end.
///
/// Thread safety: none; the producer's lock is held around everything but `drop_all`.
class pending_operations {
public:
    /// Gives a record to librdkafka. `_QUEUE_FULL`: there is no room for it now.
    using record_taker = std::function<rd_kafka_resp_err_t(outgoing_record const&, void* tag)>;

    explicit pending_operations(record_taker hand_over) : hand_over_(std::move(hand_over)) {}

    produce_operation& take() { return operations_->take(); }
    void release(produce_operation& released) noexcept { operations_->release(released); }
    /// For librdkafka's producers, which know operations by their address.
    std::shared_ptr<produce_operations> share() const noexcept { return operations_; }

    bool any() const noexcept { return operations_->in_use() != 0; }
    std::size_t waiting_for_room() const noexcept { return waiting_.size(); }
    bool any_stop() const noexcept { return !stops_.empty(); }

    // Begin.

    /// Without an operation. nullopt: it must wait, in an operation.
    std::optional<std::error_code> try_enqueue(outgoing_record const& record) {
        if (!waiting_.empty()) {
            return std::nullopt;
        }
        auto const epoch = epochs_.add();
        auto const err = hand_over_(record, record_tag::of_epoch(epoch));
        if (err) {
            epochs_.withdraw(epoch);
        }
        if (err == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
            return std::nullopt;
        }
        return make_error_code(err);
    }
    void begin_record(produce_operation& begun, outgoing_record const& record) {
        begun.epoch = epochs_.add();
        auto const err = waiting_.empty() ? give(begun, record) : RD_KAFKA_RESP_ERR__QUEUE_FULL;
        if (err == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
            try {
                begun.stored.assign(record);
                waiting_.push_back(&begun);
                begun.stage = produce_stage::waits_for_room;
            } catch (...) {
                withdraw(begun, std::make_error_code(std::errc::not_enough_memory));
            }
        } else if (err) {
            withdraw(begun, make_error_code(err));
        }
    }
    void begin_flush(produce_operation& begun) {
        epochs_.begin(begun.flush);
        begun.stage = produce_stage::waits;
        flushes_.push_back(&begun);
        end_flushes();
    }
    void begin_stop(produce_operation& begun) {
        begun.stage = produce_stage::waits;
        stops_.push_back(&begun);
    }

    // Go on.

    /// There may be room: in the order in which they were begun.
    void admit_waiting() {
        while (!waiting_.empty()) {
            auto& first = *waiting_.front();
            auto const epoch = first.epoch; // it may be over and used again
            auto const err = give(first, first.stored.record());
            if (err == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
                break;
            }
            waiting_.pop_front();
            if (err) {
                epochs_.withdraw(epoch);
                end(first, {make_error_code(err), {}, 0});
            }
        }
    }
    /// librdkafka has reported what has become of a record. Returns whether somebody is told.
    bool settle(void* tag, std::error_code error, delivery where) {
        auto* const sent = record_tag::operation(tag);
        auto const awaited = sent && sent->done;
        epochs_.settle(record_tag::epoch(tag), awaited ? std::error_code{} : error);
        if (sent) {
            end(*sent, {error, where, 0});
        }
        return awaited;
    }

    // End.

    void end(produce_operation& ended, produce_outcome const& outcome) {
        ended.done.complete(outcome);
        operations_->release(ended);
    }
    void end_flushes() {
        std::erase_if(flushes_, [this](produce_operation* waiting) {
            if (!epochs_.is_over(waiting->flush)) {
                return false;
            }
            auto const found = waiting->flush.found;
            epochs_.end(waiting->flush, true);
            end(*waiting, {found.first, {}, found.count});
            return true;
        });
    }
    /// `use`: of the object, when it was begun.
    void cancel(produce_operation& cancelled, std::uint64_t use) {
        if (cancelled.use != use || !cancelled.done) {
            return;
        }
        produce_outcome const aborted{asio::error::operation_aborted, {}, 0};
        switch (cancelled.stage) {
        case produce_stage::waits_for_room:
            std::erase(waiting_, &cancelled);
            epochs_.withdraw(cancelled.epoch);
            end(cancelled, aborted);
            end_flushes();
            break;
        case produce_stage::under_way: // librdkafka knows it until the record is reported
            cancelled.done.complete(aborted);
            break;
        case produce_stage::waits:
            if (std::erase(flushes_, &cancelled) != 0) {
                epochs_.end(cancelled.flush, false);
            } else {
                std::erase(stops_, &cancelled);
            }
            end(cancelled, aborted);
            break;
        case produce_stage::spare:
        case produce_stage::beginning:
            break;
        }
    }
    /// The producer takes no more records.
    void refuse_waiting(std::error_code reason) {
        for (auto* const waiting : std::exchange(waiting_, {})) {
            withdraw(*waiting, reason);
        }
        end_flushes();
    }
    /// `unreported`: records; what was not reported will not be.
    void end_with_producer(std::size_t unreported) {
        for (auto const& operation : operations_->all()) {
            if (operation->stage == produce_stage::under_way) {
                operation->done.complete({errc::producer_stopped, {}, 0}); // its place stays
            }
        }
        for (auto* const flush : std::exchange(flushes_, {})) {
            epochs_.end(flush->flush, true);
            end(*flush, {errc::producer_stopped, {}, flush->flush.found.count + unreported});
        }
    }
    /// `lost`: records that were not acknowledged.
    void end_stops(std::size_t lost) {
        for (auto* const stop : std::exchange(stops_, {})) {
            end(*stop, {{}, {}, lost});
        }
    }

    /// Nobody waits any more; places stay.
    void abandon_all() noexcept {
        for (auto const& operation : operations_->all()) {
            try {
                operation->done.complete({errc::producer_stopped, {}, 0});
            } catch (...) { // no memory: the handler is destroyed
                operation->done.drop();
            }
        }
    }
    /// Without the lock: a coroutine that goes may own the producer.
    void drop_all() noexcept {
        for (auto const& operation : operations_->all()) {
            operation->done.drop();
        }
    }

private:
    // `_QUEUE_FULL`: it begins or goes on later. It has its epoch.
    rd_kafka_resp_err_t give(produce_operation& given, outgoing_record const& record) {
        auto const is_awaited = given.kind == produce_kind::send;
        auto const err =
            hand_over_(record, is_awaited ? &given : record_tag::of_epoch(given.epoch));
        if (!err) {
            if (is_awaited) {
                given.stage = produce_stage::under_way;
            } else {
                end(given, {});
            }
        }
        return err;
    }
    void withdraw(produce_operation& withdrawn, std::error_code reason) {
        epochs_.withdraw(withdrawn.epoch);
        end(withdrawn, {reason, {}, 0});
    }

    record_taker hand_over_;
    std::shared_ptr<produce_operations> operations_ = std::make_shared<produce_operations>();
    std::deque<produce_operation*> waiting_; // for room, in the order in which they were begun
    std::vector<produce_operation*> flushes_;
    std::vector<produce_operation*> stops_;
    delivery_epochs epochs_;
};

} // namespace kgroup::detail
