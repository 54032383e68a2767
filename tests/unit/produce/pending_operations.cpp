// SPDX-License-Identifier: MIT

#include <kgroup/detail/produce/pending_operations.hpp>

#include <asio/io_context.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace pending_operations_tests {

namespace {

using kgroup::errc;
using kgroup::make_error_code;
using kgroup::outgoing_record;
using kgroup::detail::pending_operations;
using kgroup::detail::produce_kind;
using kgroup::detail::produce_operation;
using kgroup::detail::produce_outcome;

auto const failure = make_error_code(RD_KAFKA_RESP_ERR__MSG_TIMED_OUT);

/// Operations over a librdkafka that has room for some records, or refuses each.
class operations_of_producer {
public:
    struct given_record {
        std::string value;
        void* tag = nullptr;
    };
    /// What an operation was told, if it was.
    using outcome_place = std::shared_ptr<std::optional<produce_outcome>>;

    produce_operation& begin(produce_kind kind, outcome_place const& place,
                             std::string_view value = {}) {
        auto& begun = pending.take();
        begun.kind = kind;
        begun.done.keep<kgroup::detail::call_with_outcome>(
            [place](produce_outcome const& outcome) { *place = outcome; }, context_.get_executor());
        if (kind == produce_kind::flush) {
            pending.begin_flush(begun);
        } else if (kind == produce_kind::stop) {
            pending.begin_stop(begun);
        } else {
            outgoing_record record;
            record.topic = "orders";
            record.value = value;
            pending.begin_record(begun, record);
        }
        return begun;
    }
    bool told(outcome_place const& place) {
        context_.restart();
        context_.poll();
        return place->has_value();
    }
    /// The record that was given first is reported.
    bool report_first(std::error_code error = {}) {
        auto const reported = given.front();
        given.pop_front();
        return pending.settle(reported.tag, error, {1, error ? -1 : 7});
    }
    static outcome_place make_place() { return std::make_shared<std::optional<produce_outcome>>(); }

    std::size_t room = 10;
    rd_kafka_resp_err_t refusal = RD_KAFKA_RESP_ERR_NO_ERROR;
    std::deque<given_record> given;

private:
    asio::io_context context_;

public:
    pending_operations pending{[this](outgoing_record const& record, void* tag) {
        if (given.size() == room) {
            return RD_KAFKA_RESP_ERR__QUEUE_FULL;
        }
        if (!refusal) {
            given.push_back({std::string{record.value.value_or("")}, tag});
        }
        return refusal;
    }};
};

TEST_CASE("pending_operations: who sends is told where the record stands, or what has failed") {
    operations_of_producer producer;
    auto const good = producer.make_place();
    auto const bad = producer.make_place();
    producer.begin(produce_kind::send, good);
    producer.begin(produce_kind::send, bad);
    CHECK_FALSE(producer.told(good));
    CHECK(producer.report_first());
    CHECK(producer.report_first(failure));
    REQUIRE(producer.told(good));
    REQUIRE(producer.told(bad));
    CHECK_FALSE((*good)->error);
    CHECK((*good)->where.partition == 1);
    CHECK((*good)->where.offset == 7);
    CHECK((*bad)->error == failure);
    CHECK_FALSE(producer.pending.any());
}

TEST_CASE("pending_operations: who enqueues waits for room only") {
    operations_of_producer producer;
    producer.room = 1;
    outgoing_record record;
    record.topic = "orders";
    auto const enqueued = producer.pending.try_enqueue(record);
    REQUIRE(enqueued);
    CHECK_FALSE(*enqueued);
    CHECK_FALSE(producer.pending.try_enqueue(record)); // it must wait
    auto const place = producer.make_place();
    producer.begin(produce_kind::enqueue, place);
    CHECK(producer.pending.waiting_for_room() == 1);
    CHECK_FALSE(producer.report_first());              // nobody waits for what becomes of it
    CHECK_FALSE(producer.pending.try_enqueue(record)); // nobody overtakes who waits
    producer.pending.admit_waiting();
    CHECK(producer.told(place));
    CHECK(producer.pending.waiting_for_room() == 0);
    CHECK(producer.given.size() == 1);
}

TEST_CASE("pending_operations: records that wait for room are given in the order in which they "
          "were begun") {
    operations_of_producer producer;
    producer.room = 0;
    std::vector<operations_of_producer::outcome_place> places;
    for (auto const* const value : {"first", "second", "third"}) {
        places.push_back(producer.make_place());
        producer.begin(produce_kind::send, places.back(), value);
    }
    producer.pending.admit_waiting();
    CHECK(producer.given.empty());
    producer.room = 2;
    producer.pending.admit_waiting();
    REQUIRE(producer.given.size() == 2);
    CHECK(producer.given[0].value == "first");
    CHECK(producer.given[1].value == "second");
    CHECK(producer.pending.waiting_for_room() == 1);

    producer.pending.refuse_waiting(errc::producer_stopped);
    REQUIRE(producer.told(places[2]));
    CHECK((*places[2])->error == errc::producer_stopped);
    CHECK_FALSE(producer.told(places[0])); // it is under way
}

TEST_CASE("pending_operations: a record that librdkafka refuses is told at once, or when there is "
          "room") {
    operations_of_producer producer;
    auto const at_once = producer.make_place();
    auto const later = producer.make_place();
    producer.refusal = RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
    producer.begin(produce_kind::send, at_once);
    producer.room = 0;
    producer.begin(produce_kind::send, later);
    producer.room = 1;
    producer.pending.admit_waiting();
    for (auto const& place : {at_once, later}) {
        REQUIRE(producer.told(place));
        CHECK((*place)->error == make_error_code(RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE));
    }
    auto const flush = producer.make_place();
    producer.begin(produce_kind::flush, flush);
    REQUIRE(producer.told(flush)); // nothing to wait for
    CHECK((*flush)->failed == 0);
}

TEST_CASE("pending_operations: a flush is told the failures that nobody else was told") {
    operations_of_producer producer;
    outgoing_record record;
    record.topic = "orders";
    REQUIRE(producer.pending.try_enqueue(record));
    auto const sent = producer.make_place();
    producer.begin(produce_kind::send, sent);
    auto const flush = producer.make_place();
    producer.begin(produce_kind::flush, flush);
    CHECK_FALSE(producer.report_first(failure));
    CHECK(producer.report_first(failure)); // who sent it is told
    producer.pending.end_flushes();
    REQUIRE(producer.told(flush));
    CHECK((*flush)->error == failure);
    CHECK((*flush)->failed == 1);
}

TEST_CASE("pending_operations: a record that waits is cancelled at once, one that is under way "
          "keeps its place until it is reported") {
    operations_of_producer producer;
    producer.room = 1;
    auto const under_way = producer.make_place();
    auto const waiting = producer.make_place();
    auto const flush = producer.make_place();
    auto& given = producer.begin(produce_kind::send, under_way);
    auto& waits = producer.begin(produce_kind::send, waiting);
    auto const use_of_waits = waits.use;
    producer.begin(produce_kind::flush, flush);

    producer.pending.cancel(waits, use_of_waits);
    producer.pending.cancel(waits, use_of_waits); // too late: it may be another's by now
    producer.pending.cancel(given, given.use);
    for (auto const& place : {under_way, waiting}) {
        REQUIRE(producer.told(place));
        CHECK((*place)->error == asio::error::operation_aborted);
    }
    CHECK(producer.pending.waiting_for_room() == 0);
    CHECK_FALSE(producer.told(flush));

    CHECK_FALSE(producer.report_first(failure)); // nobody is told any more, but the flush
    producer.pending.end_flushes();
    REQUIRE(producer.told(flush));
    CHECK((*flush)->failed == 1);
    CHECK_FALSE(producer.pending.any());
}

TEST_CASE("pending_operations: a flush waits no more for a record that is cancelled before there "
          "is room for it") {
    operations_of_producer producer;
    producer.room = 0;
    auto const flush = producer.make_place();
    auto& waits = producer.begin(produce_kind::send, producer.make_place());
    producer.begin(produce_kind::flush, flush);
    CHECK_FALSE(producer.told(flush));
    producer.pending.cancel(waits, waits.use);
    CHECK(producer.told(flush));
}

TEST_CASE("pending_operations: at the end of the producer, what was not reported has failed") {
    operations_of_producer producer;
    auto const sent = producer.make_place();
    auto const flush = producer.make_place();
    auto const stop = producer.make_place();
    producer.begin(produce_kind::send, sent);
    producer.begin(produce_kind::flush, flush);
    producer.begin(produce_kind::stop, stop);
    CHECK(producer.pending.any_stop());
    producer.pending.end_with_producer(1);
    REQUIRE(producer.told(sent));
    CHECK((*sent)->error == errc::producer_stopped);
    REQUIRE(producer.told(flush));
    CHECK((*flush)->error == errc::producer_stopped);
    CHECK((*flush)->failed == 1);
    CHECK_FALSE(producer.told(stop));
    producer.pending.end_stops(1);
    REQUIRE(producer.told(stop));
    CHECK_FALSE((*stop)->error);
    CHECK((*stop)->failed == 1);
    CHECK_FALSE(producer.report_first()); // late: its place was kept
    CHECK_FALSE(producer.pending.any());
}

TEST_CASE("pending_operations: who waits for a producer that goes is told, or goes as well") {
    operations_of_producer producer;
    auto const sent = producer.make_place();
    auto const stop = producer.make_place();
    producer.begin(produce_kind::send, sent);
    producer.begin(produce_kind::stop, stop);
    SUBCASE("told") {
        producer.pending.abandon_all();
        for (auto const& place : {sent, stop}) {
            REQUIRE(producer.told(place));
            CHECK((*place)->error == errc::producer_stopped);
        }
    }
    SUBCASE("with the context") {
        producer.pending.drop_all();
        CHECK_FALSE(producer.told(sent));
        CHECK_FALSE(producer.told(stop));
    }
    CHECK(sent.use_count() == 1); // the handler is destroyed
    CHECK(stop.use_count() == 1);
}

} // namespace

} // namespace pending_operations_tests
