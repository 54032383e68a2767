// SPDX-License-Identifier: MIT

// What a direct group does that another does not. The lane runs the tests of tests/kafka/cases,
// too; each member checks at its end that no record came by librdkafka.

#include <kgroup/direct.hpp>
#include <kgroup/error.hpp>
#include <kgroup/event.hpp>
#include <kgroup/testing/embedded_cluster.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kafka.hpp"
#include "member.hpp"

namespace direct_tests {
namespace {

using namespace kgroup::tests;
using kgroup::event_kind;

std::vector<std::int64_t> ascending(std::int64_t first, std::int64_t end) {
    std::vector<std::int64_t> result;
    for (auto next = first; next != end; ++next) {
        result.push_back(next);
    }
    return result;
}

void goes_on_where_it_stopped(kgroup::config given, kafka& brokers, std::string const& topic) {
    constexpr std::int32_t partitions = 6;
    std::vector<std::string> const values(100, "value");
    for (std::int32_t partition = 0; partition != partitions; ++partition) {
        brokers.produce_values(topic, partition, values);
    }
    {
        received records;
        member one{given, receive_into(records)};
        REQUIRE(eventually([&] { return records.count() == 600; }));
        for (std::int32_t partition = 0; partition != partitions; ++partition) {
            CHECK(records.offsets(partition) == ascending(0, 100));
        }
        CHECK(one.stats().records_direct == 600);
        one.stop();
        REQUIRE(one.ends_within(20s));
        CHECK_FALSE(one.error());
    }
    for (std::int32_t partition = 0; partition != partitions; ++partition) {
        CHECK(brokers.committed(given.group_id, topic, partition) == 100);
        brokers.produce_values(topic, partition, values);
    }
    received records;
    member first{given, receive_into(records)};
    member second{given, receive_into(records)};
    REQUIRE(eventually([&] { return first.claims() == 3 && second.claims() == 3; }));
    REQUIRE(eventually([&] { return records.count() >= 600; }));
    for (std::int32_t partition = 0; partition != partitions; ++partition) {
        brokers.produce_values(topic, partition, {"last"});
    }
    REQUIRE(eventually([&] { return records.count() >= 606; }));
    CHECK(first.count(event_kind::client_error) == 0); // no pause was lost
    CHECK(second.count(event_kind::client_error) == 0);
}

TEST_CASE("direct: every protocol divides, commits and goes on where it stopped") {
    if (!kafka::is_there()) {
        return;
    }
    kafka brokers{kafka::kind::real};
    auto const topic = brokers.create_topic(6);
    auto given = brokers.member_of_new_group(topic);
    SUBCASE("range") {}
    SUBCASE("cooperative-sticky") {
        if (rd_kafka_version() < 0x020a0000) {
            return;
        }
        given.assignors = {kgroup::assignor::cooperative_sticky};
    }
    SUBCASE("consumer") {
        if (rd_kafka_version() < 0x020c0000) {
            return;
        }
        given.protocol = kgroup::group_protocol::consumer;
        given.properties.erase("session.timeout.ms");
        given.properties.erase("heartbeat.interval.ms");
    }
    goes_on_where_it_stopped(given, brokers, topic);
}

/// Whether a topic made again can be told from the old one; says that the test is skipped if not.
bool has_topic_ids(kafka& brokers) {
    bool const has = brokers.has_topic_ids();
    if (!has) {
        skip("topics have ids from Kafka 2.8 on");
    }
    return has;
}

TEST_CASE(
    "direct: offsets are committed with the epoch of the leader, where librdkafka can, and the "
    "next start is checked by it") {
    if (!kafka::is_there()) {
        return;
    }
    kafka brokers{kafka::kind::real};
    auto const topic = brokers.create_topic();
    auto const given = brokers.member_of_new_group(topic);
    received records;
    for (std::int64_t begin : {0, 10}) {
        brokers.produce_values(topic, 0, std::vector<std::string>(10, "value"));
        member one{given, receive_into(records)};
        REQUIRE(
            eventually([&] { return records.count() == static_cast<std::size_t>(begin) + 10; }));
        one.stop();
        REQUIRE(one.ends_within(20s));
        CHECK_MESSAGE(one.count(event_kind::log_truncated) == 0, one.said());
        CHECK(brokers.committed(given.group_id, topic, 0) == begin + 10);
        CHECK(brokers.committed_epoch(given.group_id, topic, 0) ==
              (rd_kafka_version() >= 0x02010000 ? 0 : -1));
    }
    CHECK(records.offsets(0) == ascending(0, 20));
}

TEST_CASE("direct: a topic that is made again while it is read goes on at its new beginning") {
    if (!kafka::is_there()) {
        return;
    }
    kafka brokers{kafka::kind::real};
    if (!has_topic_ids(brokers)) {
        return;
    }
    auto const topic = brokers.create_topic();
    auto given = brokers.member_of_new_group(topic);
    SUBCASE("earliest") {}
    SUBCASE("latest") {
        received first;
        member one{given, receive_into(first)}; // so that there is something committed
        brokers.produce_values(topic, 0, {"first"});
        REQUIRE(eventually([&] { return first.count() == 1; }));
        given.initial_offset = kgroup::offset_reset::latest;
    }
    brokers.produce_values(topic, 0, std::vector<std::string>(5, "old"));
    std::atomic<int> old_marks{0};
    received records;
    member one{given,
               {.consume_claim = [&](kgroup::session&, kgroup::claim& of) -> asio::awaitable<void> {
                   std::optional<kgroup::message> old;
                   while (auto next = co_await of.messages().async_receive()) {
                       records.add(*next);
                       of.mark(*next);
                       if (next->value() == "old") {
                           old = std::move(next);
                       } else if (old) {
                           of.mark(*old); // which would be above all that is new
                           ++old_marks;
                       }
                   }
               }}};
    REQUIRE(eventually([&] { return records.count() == 5; }));
    brokers.make_again(topic, 1);
    brokers.produce_values(topic, 0, {"new", "new", "new"});
    REQUIRE_MESSAGE(eventually([&] { return records.count() == 8; }), one.said());
    auto const all = records.offsets(0);
    CHECK(std::vector(all.begin() + 5, all.end()) == ascending(0, 3));
    CHECK(old_marks == 3);
    CHECK(one.count(event_kind::topic_recreated) == 1);
    one.stop();
    REQUIRE(one.ends_within(20s));
    CHECK_MESSAGE(!one.error(), one.what());
    CHECK(brokers.committed(given.group_id, topic, 0) == 3);
}

TEST_CASE("direct: with offset_reset::none a topic that is made again ends the group") {
    if (!kafka::is_there()) {
        return;
    }
    kafka brokers{kafka::kind::real};
    if (!has_topic_ids(brokers)) {
        return;
    }
    auto const topic = brokers.create_topic();
    brokers.produce_values(topic, 0, {"old"});
    auto given = brokers.member_of_new_group(topic);
    received records;
    {
        member one{given, receive_into(records)};
        REQUIRE(eventually([&] { return records.count() == 1; }));
    }
    given.initial_offset = kgroup::offset_reset::none;
    member one{given, receive_into(records)};
    brokers.produce_values(topic, 0, {"old"});
    REQUIRE(eventually([&] { return records.count() == 2; }));
    brokers.make_again(topic, 1);
    brokers.produce_values(topic, 0, {"new"});
    REQUIRE(one.ends_within(30s));
    CHECK(one.error() == kgroup::errc::offset_out_of_range);
    CHECK_MESSAGE(one.what().find("was made again") != std::string::npos, one.what());
    CHECK(records.count() == 2);
}

TEST_CASE("direct: a group is handed over at its start by a property, which is named") {
    kafka brokers{kafka::kind::embedded};
    auto const topic = brokers.create_topic(1);
    brokers.produce_values(topic, 0, {"a", "b"});
    auto given = brokers.member_of_new_group(topic);
    given.properties["test.mock.num.brokers"] = "1"; // which has none of the topics
    received records;
    member one{given, receive_into(records)};
    one.may_be_handed_over();
    REQUIRE(eventually([&] { return one.count(event_kind::handed_over) == 1; }));
    auto const told = one.last(event_kind::handed_over);
    CHECK(told->text.find("test.mock.num.brokers") != std::string::npos);
    CHECK_FALSE(told->where);
}

TEST_CASE("direct: a claim is handed over in the middle of its log, and no record is lost or comes "
          "twice") {
    constexpr std::int32_t partitions = 6;
    constexpr std::int32_t other = 5; // alone with its broker
    constexpr std::int64_t before = 2000;
    kgroup::testing::embedded_cluster cluster{2};
    cluster.create_topic("orders", partitions);
    auto const produce = [&](std::int32_t partition, std::int64_t count) {
        std::vector<kafka_record> const batch(20, kafka_record{.value = "value"});
        for (; count != 0; count -= 20) {
            cluster.produce("orders", partition, batch);
        }
    };
    for (std::int32_t partition = 0; partition != partitions; ++partition) {
        cluster.move_leader("orders", partition, partition == other ? 2 : 1);
        produce(partition, before);
    }
    kgroup::config given{.brokers = cluster.brokers(),
                         .group_id = unique("group"),
                         .topics = {"orders"},
                         .initial_offset = kgroup::offset_reset::earliest,
                         .properties = {{"session.timeout.ms", "6000"}}};
    received records;
    std::atomic<std::int64_t> others{0};
    member one{given,
               {.consume_claim = [&](kgroup::session&, kgroup::claim& of) -> asio::awaitable<void> {
                   while (auto const next = co_await of.messages().async_receive()) {
                       records.add(*next);
                       of.mark(*next);
                       if (of.partition() == other && ++others == before / 4) {
                           cluster.fail(kgroup::testing::embedded_cluster::request::fetch,
                                        RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE, 1, 2);
                       }
                   }
               }}};
    one.may_be_handed_over();
    REQUIRE(eventually([&] { return records.count() == partitions * before; }));
    for (std::int32_t partition = 0; partition != partitions; ++partition) {
        produce(partition, 100);
    }
    REQUIRE(eventually([&] { return records.count() >= partitions * (before + 100); }));
    for (std::int32_t partition = 0; partition != partitions; ++partition) {
        CHECK(records.offsets(partition) == ascending(0, before + 100));
    }
    REQUIRE_MESSAGE(one.count(event_kind::handed_over) == 1, one.said());
    CHECK(one.last(event_kind::handed_over)->where == kgroup::topic_partition{"orders", other});
    auto const way = one.stats();
    CHECK(way.records_direct + way.records_handed_over == partitions * (before + 100));
    CHECK(way.records_handed_over > 100); // so that it was in the middle
    CHECK(way.records_handed_over <= before * 3 / 4 + 100);
    one.stop();
    REQUIRE(one.ends_within(20s));
    for (std::int32_t partition = 0; partition != partitions; ++partition) {
        CHECK(cluster.committed(given.group_id, "orders", partition) == before + 100);
    }
}

TEST_CASE("direct: a broker that says 'out of range' of an offset in its log is not believed") {
    kafka brokers{kafka::kind::embedded};
    auto const topic = brokers.create_topic();
    brokers.produce_values(topic, 0, {"one", "two"});
    received records;
    member one{brokers.member_of_new_group(topic), receive_into(records)};
    REQUIRE(eventually([&] { return records.count() == 2; }));
    brokers.embedded().fail(kgroup::testing::embedded_cluster::request::fetch,
                            RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE, 3);
    brokers.produce_values(topic, 0, {"three"});
    REQUIRE(eventually([&] { return records.count() == 3; }));
    CHECK(records.offsets(0) == ascending(0, 3));
    CHECK_MESSAGE(one.count(event_kind::position_reset) == 0, one.said());
}

TEST_CASE("direct: a handler that keeps more messages than buffer_bytes holds gets those behind") {
    kafka brokers{kafka::kind::embedded};
    auto const topic = brokers.create_topic(1);
    constexpr std::size_t count = 300;
    for (std::size_t produced = 0; produced != count; produced += 20) {
        brokers.produce_values(topic, 0, std::vector<std::string>(20, std::string(10'000, 'x')));
    }
    auto given = brokers.member_of_new_group(topic);
    given.buffer_bytes = 1 << 20;
    given.expected_partitions = 1;
    std::atomic<bool> got_all{false};
    member one{given,
               {.consume_claim = [&](kgroup::session&, kgroup::claim& of) -> asio::awaitable<void> {
                   std::vector<kgroup::message> kept;
                   while (auto next = co_await of.messages().async_receive()) {
                       kept.push_back(std::move(*next));
                       if (kept.size() == count) {
                           got_all = true;
                           of.mark(kept.back());
                           kept.clear();
                       }
                   }
               }}};
    REQUIRE(eventually([&] { return got_all.load(); }));
}

TEST_CASE("direct: too many partitions are none") {
    kafka brokers{kafka::kind::embedded};
    auto const topic = brokers.create_topic(4);
    auto given = brokers.member_of_new_group(topic);
    given.expected_partitions = 1;
    received records;
    member one{given, receive_into(records)};
    REQUIRE(eventually([&] { return one.claims() == 4; }));
    brokers.produce_values(topic, 3, {"a"});
    REQUIRE(eventually([&] { return records.count() == 1; }));
    CHECK(one.count(event_kind::too_many_partitions) == 0);
}

TEST_CASE("direct: a paused claim goes on where it was") {
    kafka brokers{kafka::kind::embedded};
    auto const topic = brokers.create_topic(1);
    received records;
    member one{brokers.member_of_new_group(topic), receive_into(records)};
    brokers.produce_values(topic, 0, {"a"});
    REQUIRE(eventually([&] { return records.count() == 1; }));
    one.pause_all();
    brokers.produce_values(topic, 0, {"b", "c"});
    one.resume_all();
    REQUIRE(eventually([&] { return records.count() == 3; }));
    CHECK(records.offsets(0) == ascending(0, 3));
}

} // namespace
} // namespace direct_tests
