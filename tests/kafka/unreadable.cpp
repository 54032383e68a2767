// SPDX-License-Identifier: MIT

#include <kgroup/error.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <string>
#include <vector>

#include "kafka.hpp"
#include "member.hpp"
#include "raw_producer.hpp"

// Batches that librdkafka cannot read, in a log of the embedded cluster, which keeps them as they
// come.

using namespace kgroup::tests;
using kgroup::errc;
using kgroup::event_kind;

namespace {

std::vector<std::string> ten() { return std::vector<std::string>(10, "value"); }

struct damage {
    char const* name;
    raw_batch batch;
    std::map<std::string, std::string> properties{};
};

std::vector<damage> damages() {
    return {{"lz4", {.values = ten(), .codec = 3}},
            {"gzip", {.values = ten(), .codec = 1}},
            {"snappy", {.values = ten(), .codec = 2}},
            {"a codec that is none", {.values = ten(), .codec = 7}},
            {"a checksum", {.values = ten(), .crc_error = 0xffff}, {{"check.crcs", "true"}}}};
}

/// What is received is marked; the end of the claim is what it returns at.
hooks mark_into(received& records) { return receive_into(records); }

} // namespace

TEST_CASE("unreadable: the run ends with the place, and neither delivers nor commits what lies "
          "behind it") {
    for (auto const& each : damages()) {
        CAPTURE(each.name);
        kafka brokers{kafka::kind::embedded};
        auto const topic = brokers.create_topic();
        brokers.produce_values(topic, 0, ten());
        raw_producer{brokers.brokers()}.produce(topic, 0, {each.batch});
        brokers.produce_values(topic, 0, ten());
        auto given = brokers.member_of_new_group(topic);
        given.properties.insert(each.properties.begin(), each.properties.end());
        received records;
        member one{given, mark_into(records)};
        REQUIRE(one.ends_within(30s));
        CHECK(one.error() == errc::record_unreadable);
        CHECK_MESSAGE(one.what().find(topic + "[0]: offset 10 cannot be read") != std::string::npos,
                      one.what());
        CHECK(records.count() == 10);
        CHECK(brokers.committed(given.group_id, topic, 0) == 10);
        CHECK(one.count(event_kind::partition_error) == 1);
        CHECK(one.last(event_kind::partition_error)->error == errc::record_unreadable);
        CHECK(one.count(event_kind::unsafe_setting) == each.properties.size());
    }
}

TEST_CASE("unreadable: a format that is not known, in one answer with good batches before and "
          "behind it") {
    if (direct) {
        return skip("the end of the mock's log is behind the first batch");
    }
    kafka brokers{kafka::kind::embedded};
    auto const topic = brokers.create_topic();
    raw_producer{brokers.brokers()}.produce(topic, 0,
                                            {{.values = ten()},
                                             {.values = ten(), .base_offset = 10, .magic = 9},
                                             {.values = ten(), .base_offset = 20}});
    auto const given = brokers.member_of_new_group(topic);
    received records;
    member one{given, mark_into(records)};
    REQUIRE(one.ends_within(30s));
    CHECK(one.error() == errc::record_unreadable);
    CHECK_MESSAGE(one.what().find(topic + "[0]: offset 10 cannot be read") != std::string::npos,
                  one.what());
    CHECK(records.count() == 10);
    CHECK(brokers.committed(given.group_id, topic, 0) == 10);
}

TEST_CASE(
    "unreadable: reading begins in the middle of the batch, and the place is where it begins") {
    kafka brokers{kafka::kind::embedded};
    auto const topic = brokers.create_topic();
    brokers.produce_values(topic, 0, ten());
    raw_producer{brokers.brokers()}.produce(topic, 0, {{.values = ten(), .codec = 3}});
    auto const given = brokers.member_of_new_group(topic);
    received records;
    auto handler = mark_into(records);
    handler.setup = [&](kgroup::session& in) -> asio::awaitable<void> {
        in.mark_offset({topic, 0}, 15);
        co_return;
    };
    member one{given, handler};
    REQUIRE(one.ends_within(30s));
    CHECK(one.error() == errc::record_unreadable);
    CHECK_MESSAGE(one.what().find(topic + "[0]: offset 15 cannot be read") != std::string::npos,
                  one.what());
    CHECK(records.count() == 0);
    CHECK(brokers.committed(given.group_id, topic, 0) == 15);
}

TEST_CASE("unreadable: a handler that is slow to end is given nothing that librdkafka finds behind "
          "the damage") {
    kafka brokers{kafka::kind::embedded};
    auto const topic = brokers.create_topic();
    brokers.produce_values(topic, 0, ten());
    raw_producer{brokers.brokers()}.produce(topic, 0, {{.values = ten(), .crc_error = 1}});
    brokers.produce_values(topic, 0, ten());
    auto given = brokers.member_of_new_group(topic);
    given.initial_offset =
        kgroup::offset_reset::latest; // where librdkafka goes when it has read nonsense
    given.properties["check.crcs"] = "true";
    std::atomic<int> turns{0};
    std::atomic<std::int64_t> highest{-1};
    member one{
        given,
        {.consume_claim = [&](kgroup::session& in, kgroup::claim& claim) -> asio::awaitable<void> {
             while (!in.stopping()) { // it is: the error comes with one of these
                 while (auto const next = claim.messages().try_receive()) {
                     highest = next->offset();
                     claim.mark(*next);
                 }
                 co_await pause_for(10ms);
             }
             brokers.produce_values(topic, 0, ten());
             for (; turns != 100; ++turns) {
                 while (auto const next = claim.messages().try_receive()) {
                     highest = next->offset();
                     claim.mark(*next);
                 }
                 co_await pause_for(10ms);
             }
         },
         .setup = [&](kgroup::session& in) -> asio::awaitable<void> {
             in.mark_offset({topic, 0}, 0);
             co_return;
         }}};
    REQUIRE(one.ends_within(30s));
    CHECK(turns == 100);
    CHECK(one.error() == errc::record_unreadable);
    CHECK(highest == 9);
    CHECK(brokers.committed(given.group_id, topic, 0) == 10);
}
