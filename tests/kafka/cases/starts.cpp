// SPDX-License-Identifier: MIT

#include <kgroup/error.hpp>
#include <kgroup/event.hpp>
#include <kgroup/testing/embedded_cluster.hpp>

#include <doctest/doctest.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "kafka.hpp"
#include "member.hpp"

// Where claims start when it is not simply what is committed, over librdkafka: partitions that were
// added, open transactions, leaders that are away.

namespace {

using namespace kgroup::tests;
using kgroup::event_kind;
using kgroup::offset_reset;
using kgroup::testing::embedded_cluster;

/// Adds partitions to a topic of a real Kafka, and returns when they can be written to.
void add_partitions(kafka& brokers, std::string const& topic, std::size_t count) {
    std::array<char, 256> text{};
    auto* const conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", brokers.brokers().c_str(), text.data(),
                      text.size());
    std::unique_ptr<rd_kafka_t, decltype(&rd_kafka_destroy)> const client{
        rd_kafka_new(RD_KAFKA_PRODUCER, conf, text.data(), text.size()), rd_kafka_destroy};
    std::unique_ptr<rd_kafka_queue_t, decltype(&rd_kafka_queue_destroy)> const queue{
        rd_kafka_queue_new(client.get()), rd_kafka_queue_destroy};
    auto* added = rd_kafka_NewPartitions_new(topic.c_str(), count, text.data(), text.size());
    rd_kafka_CreatePartitions(client.get(), &added, 1, nullptr, queue.get());
    rd_kafka_NewPartitions_destroy(added);
    auto* const answer = rd_kafka_queue_poll(queue.get(), 20000);
    REQUIRE(answer);
    CHECK(rd_kafka_event_error(answer) == RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_event_destroy(answer);
}

/// A producer learns of partitions that were added in its own time: a new one knows them.
void produce_to_added(std::string const& topic, std::int32_t partition,
                      std::vector<std::string> const& values) {
    for (auto const& value : values) {
        REQUIRE(eventually([&] {
            try {
                kafka{kafka::kind::real}.produce_values(topic, partition, {value});
                return true;
            } catch (std::system_error const&) {
                return false;
            }
        }));
    }
}

/// A handler that notes where each claim starts, and everything that it receives.
struct start_notes {
    received records;
    std::mutex mutex;
    std::map<std::int32_t, std::int64_t> starts;

    hooks handler() {
        auto result = receive_into(records);
        result.consume_claim = [this, receive = result.consume_claim](
                                   auto& session, auto& claim) -> asio::awaitable<void> {
            {
                std::lock_guard const lock{mutex};
                starts[claim.partition()] = claim.initial_offset();
            }
            co_await receive(session, claim);
        };
        return result;
    }
    std::size_t count() {
        std::lock_guard const lock{mutex};
        return starts.size();
    }
    std::int64_t of(std::int32_t partition) {
        std::lock_guard const lock{mutex};
        auto const found = starts.find(partition);
        return found == starts.end() ? -1 : found->second;
    }
};

TEST_CASE("starts: partitions that are added while a group runs, and while it is away, begin at "
          "their beginning") {
    if (!kafka::is_there()) {
        return;
    }
    kafka brokers{kafka::kind::real};
    auto const topic = brokers.create_topic();
    brokers.produce_values(topic, 0, {"old", "old"});
    auto given = brokers.member_of_new_group(topic);
    given.initial_offset = offset_reset::latest;
    given.properties["topic.metadata.refresh.interval.ms"] = "1000";
    {
        start_notes notes;
        member one{given, notes.handler()};
        REQUIRE(eventually([&] { return notes.count() == 1; }));
        CHECK(notes.of(0) == 2);
        add_partitions(brokers, topic, 2);
        produce_to_added(topic, 1, {"a", "b"});
        REQUIRE(eventually([&] { return notes.records.offsets(1).size() == 2; }));
        CHECK(notes.of(1) == 0);
        CHECK(one.last(event_kind::start_chosen)->where == kgroup::topic_partition{topic, 1});
        one.stop();
        REQUIRE(one.ends_within(20s));
    }
    CHECK(brokers.committed(given.group_id, topic, 1) == 2);
    add_partitions(brokers, topic, 4);
    produce_to_added(topic, 2, {"c"});
    for (auto const infer : {false, true}) {
        auto other = given;
        other.infer_new_partitions = infer;
        other.commit_at_end = false; // the second is to find what the first found
        other.auto_commit_interval = 0ms;
        if (!infer) {
            other.group_id = unique("group"); // nothing is committed there: it is a new group
        }
        start_notes notes;
        member one{other, notes.handler()};
        REQUIRE(eventually([&] { return notes.count() == 4; }));
        CHECK(notes.of(0) == 2);
        CHECK(notes.of(1) == 2);
        CHECK(notes.of(2) == (infer ? 0 : 1));
        CHECK(notes.of(3) == 0);
    }
}

TEST_CASE("starts: an open transaction that commits an offset delays its partition only") {
    if (!kafka::is_there()) {
        return;
    }
    kafka brokers{kafka::kind::real};
    auto const topic = brokers.create_topic(2);
    brokers.produce_values(topic, 0, {"a", "b"});
    brokers.produce_values(topic, 1, {"a", "b"});
    auto const given = brokers.member_of_new_group(topic);
    std::array<char, 256> text{};
    auto* const conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", brokers.brokers().c_str(), text.data(),
                      text.size());
    rd_kafka_conf_set(conf, "transactional.id", unique("transaction").c_str(), text.data(),
                      text.size());
    std::unique_ptr<rd_kafka_t, decltype(&rd_kafka_destroy)> const producer{
        rd_kafka_new(RD_KAFKA_PRODUCER, conf, text.data(), text.size()), rd_kafka_destroy};
    auto const succeeds = [](rd_kafka_error_t* error) {
        auto const code = rd_kafka_error_code(error);
        rd_kafka_error_destroy(error);
        return code == RD_KAFKA_RESP_ERR_NO_ERROR;
    };
    REQUIRE(succeeds(rd_kafka_init_transactions(producer.get(), 20000)));
    REQUIRE(succeeds(rd_kafka_begin_transaction(producer.get())));
    std::unique_ptr<rd_kafka_consumer_group_metadata_t,
                    decltype(&rd_kafka_consumer_group_metadata_destroy)> const group{
        rd_kafka_consumer_group_metadata_new(given.group_id.c_str()),
        rd_kafka_consumer_group_metadata_destroy};
    std::unique_ptr<rd_kafka_topic_partition_list_t,
                    decltype(&rd_kafka_topic_partition_list_destroy)> const offsets{
        rd_kafka_topic_partition_list_new(1), rd_kafka_topic_partition_list_destroy};
    rd_kafka_topic_partition_list_add(offsets.get(), topic.c_str(), 1)->offset = 1;
    REQUIRE(succeeds(
        rd_kafka_send_offsets_to_transaction(producer.get(), offsets.get(), group.get(), 20000)));

    start_notes notes;
    member one{given, notes.handler()};
    REQUIRE(eventually([&] { return notes.records.offsets(0).size() == 2; }));
    REQUIRE(eventually([&] { return one.count(event_kind::start_delayed) == 1; }));
    CHECK(one.last(event_kind::start_delayed)->where == kgroup::topic_partition{topic, 1});
    CHECK(one.last(event_kind::start_delayed)->error ==
          kgroup::make_error_code(RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT));
    CHECK(one.claims() == 2);
    CHECK(notes.count() == 1);
    SUBCASE("it is committed") {
        REQUIRE(succeeds(rd_kafka_commit_transaction(producer.get(), 20000)));
        REQUIRE(eventually([&] { return notes.records.offsets(1).size() == 1; }));
        CHECK(notes.of(1) == 1);
        CHECK(one.count(event_kind::start_found) == 1);
    }
    SUBCASE("it is aborted") {
        REQUIRE(succeeds(rd_kafka_abort_transaction(producer.get(), 20000)));
        REQUIRE(eventually([&] { return notes.records.offsets(1).size() == 2; }));
        CHECK(notes.of(1) == 0);
    }
    SUBCASE("the member is stopped before") {}
    one.stop();
    REQUIRE(one.ends_within(20s));
    CHECK_MESSAGE(!one.error(), one.what());
}

TEST_CASE("starts: a leader that is away delays its partition only") {
    kafka brokers{kafka::kind::embedded};
    auto const topic = brokers.create_topic(2);
    brokers.produce_values(topic, 0, {"a"});
    brokers.produce_values(topic, 1, {"a"});
    auto given = brokers.member_of_new_group(topic);
    given.initial_offset = offset_reset::latest;
    brokers.embedded().move_leader(topic, 1, -1);
    start_notes notes;
    member one{given, notes.handler()};
    REQUIRE(eventually([&] { return notes.count() == 1; }));
    CHECK(notes.of(0) == 1);
    REQUIRE(eventually([&] { return one.count(event_kind::start_delayed) == 1; }));
    CHECK(one.last(event_kind::start_delayed)->where == kgroup::topic_partition{topic, 1});
    brokers.produce_values(topic, 0, {"b"});
    REQUIRE(eventually([&] { return notes.records.offsets(0) == std::vector<std::int64_t>{1}; }));
    brokers.embedded().move_leader(topic, 1, 1);
    REQUIRE(eventually([&] { return notes.count() == 2; }));
    CHECK(notes.of(1) == 1);
    brokers.produce_values(topic, 1, {"b"});
    REQUIRE(eventually([&] { return notes.records.offsets(1) == std::vector<std::int64_t>{1}; }));
    CHECK(one.count(event_kind::start_found) == 1);
}

TEST_CASE("starts: a coordinator that is slow to say what is committed, and a broker that is not "
          "the coordinator") {
    embedded_cluster cluster{2};
    cluster.create_topic("orders", 2);
    cluster.produce("orders", 0, "a", "b", "c");
    cluster.produce("orders", 1, "a");
    for (std::int32_t const coordinator : {1, 2}) {
        kgroup::config const given{.brokers = cluster.brokers(),
                                   .group_id = unique("group"),
                                   .topics = {"orders"},
                                   .initial_offset = offset_reset::earliest,
                                   .properties = {{"session.timeout.ms", "6000"}}};
        cluster.move_coordinator(given.group_id, coordinator);
        {
            received records;
            member one{given, receive_into(records)};
            REQUIRE(eventually([&] { return records.count() == 4; }));
        }
        REQUIRE(cluster.committed(given.group_id, "orders", 0) == 3);
        for (auto const isolation : {"read_committed", "read_uncommitted"}) {
            auto slow = given;
            slow.properties["isolation.level"] = isolation;
            cluster.delay(coordinator, embedded_cluster::request::offset_fetch, 2s);
            start_notes notes;
            member one{slow, notes.handler()};
            REQUIRE(eventually([&] { return notes.count() == 2; }));
            CHECK(notes.of(0) == 3);
            CHECK(notes.of(1) == 1);
            CHECK(one.count(event_kind::offsets_unavailable) == 0);
        }
    }
}

TEST_CASE("starts: an outage while the committed offsets are looked up") {
    embedded_cluster cluster;
    cluster.create_topic("orders", 2);
    cluster.produce("orders", 0, "a");
    kgroup::config const given{.brokers = cluster.brokers(),
                               .group_id = unique("group"),
                               .topics = {"orders"},
                               .initial_offset = offset_reset::earliest,
                               .properties = {{"session.timeout.ms", "30000"}}};
    cluster.set_round_trip_time(1s); // or the answer is there before the outage
    start_notes notes;
    member one{given, notes.handler()};
    REQUIRE(eventually([&] { return one.count(event_kind::claims_added) == 1; }));
    cluster.take_down();
    cluster.set_round_trip_time(0ms);
    REQUIRE(eventually([&] { return one.count(event_kind::offsets_unavailable) == 1; }));
    CHECK(notes.count() == 0);
    cluster.bring_up();
    REQUIRE(eventually([&] { return notes.count() == 2; }));
    REQUIRE(eventually([&] { return notes.records.count() == 1; }));
    CHECK(one.count(event_kind::offsets_found) == 1);
}

} // namespace
