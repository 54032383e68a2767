// SPDX-License-Identifier: MIT

#include <kgroup/kgroup.hpp>
#include <kgroup/testing/embedded_cluster.hpp>

#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "kafka.hpp"
#include "member.hpp"
#include "raw_producer.hpp"
#include "transactional_producer.hpp"

// Whatever makes no progress is told, with its reason, and so is its end.

namespace {

using namespace kgroup::tests;
using kgroup::event_kind;
using kgroup::testing::embedded_cluster;
using request = embedded_cluster::request;

constexpr std::size_t every_time = 100000;

kgroup::config member_of(std::string const& brokers, std::string const& topic) {
    return {.brokers = brokers,
            .group_id = unique("group"),
            .topics = {topic},
            .initial_offset = kgroup::offset_reset::earliest,
            .properties = {{"session.timeout.ms", "6000"}}};
}

bool tells(member const& member, event_kind kind, std::string const& words,
           std::chrono::milliseconds limit = 14s) {
    return eventually(
        [&] {
            auto const told = member.last(kind);
            return told && told->text.find(words) != std::string::npos;
        },
        limit);
}

bool shows_no_debug_log(member const& member) {
    return std::ranges::none_of(member.events(), [](kgroup::event const& event) {
        return event.kind == event_kind::client_log && event.level == kgroup::severity::debug;
    });
}

bool has_all(received const& records, std::size_t count) {
    return eventually([&] { return records.count() == count; }, 40s);
}

} // namespace

TEST_CASE("silence: a coordinator that cannot be found") {
    embedded_cluster cluster;
    cluster.create_topic("orders", 2);
    cluster.produce("orders", 0, "a");
    cluster.fail(request::find_coordinator, RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE,
                 every_time);
    received records;
    member one{member_of(cluster.brokers(), "orders"), receive_into(records)};
    CHECK(tells(one, event_kind::no_assignment, "coordinator does not answer"));
    CHECK(tells(one, event_kind::no_assignment, "CGRPCOORD: "));
    CHECK(shows_no_debug_log(one));
    CHECK(one.count(event_kind::brokers_unreachable) == 0);
    cluster.stop_failing(request::find_coordinator);
    CHECK(has_all(records, 1));
    CHECK(one.count(event_kind::assignment_received) == 1);
}

TEST_CASE("silence: joins and their answers that repeat") {
    embedded_cluster cluster;
    cluster.create_topic("orders", 2);
    cluster.produce("orders", 0, "a");
    auto which = request::join_group;
    std::string step = "has not let this member join";
    auto error = RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS;
    SUBCASE("join") {}
    SUBCASE("sync") {
        which = request::sync_group;
        error = RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS;
        step = "has joined, and waits for the other members";
    }
    cluster.fail(which, error, every_time);
    received records;
    member one{member_of(cluster.brokers(), "orders"), receive_into(records)};
    CHECK(tells(one, event_kind::no_assignment, step));
    CHECK(tells(one, event_kind::no_assignment, "REJOIN: "));
    cluster.stop_failing(which);
    CHECK(has_all(records, 1));
    CHECK(one.count(event_kind::assignment_received) == 1);
}

TEST_CASE("silence: a rebalance that another member holds up") {
    if (!kafka::is_there()) {
        return;
    }
    kafka brokers{kafka::kind::real};
    auto const topic = brokers.create_topic(2);
    auto given = brokers.member_of_new_group(topic);
    given.rebalance_deadline = 60s;
    std::atomic<bool> held_up{true};
    received records;
    auto holding = receive_into(records);
    holding.consume_claim = [&held_up](kgroup::session&,
                                       kgroup::claim& claim) -> asio::awaitable<void> {
        co_await claim.async_wait_ended();
        while (held_up) {
            co_await pause_for(50ms);
        }
    };
    member first{given, holding};
    REQUIRE(eventually([&] { return first.claims() == 2; }));
    SUBCASE("a dynamic member waits") {}
    SUBCASE("a static member waits, which has no id yet") { given.group_instance_id = "second"; }
    member second{given, receive_into(records)};
    auto const expected = given.group_instance_id.empty()
                              ? "this member has joined, and waits for the other members"
                              : "has not let this member join";
    CHECK(tells(second, event_kind::no_assignment, expected));
    held_up = false;
    CHECK(eventually([&] { return first.claims() == 1 && second.claims() == 1; }));
}

TEST_CASE("silence: what listens is not a broker") {
    asio::io_context context;
    asio::ip::tcp::acceptor mute{
        context, {asio::ip::make_address("127.0.0.1"), 0}}; // connects, and says nothing
    received records;
    member one{member_of("127.0.0.1:" + std::to_string(mute.local_endpoint().port()), "orders"),
               receive_into(records)};
    CHECK(tells(one, event_kind::no_assignment, "no broker has answered"));
}

TEST_CASE("silence: the topic does not exist") {
    embedded_cluster cluster;
    cluster.create_topic("orders", 1);
    cluster.produce("orders", 0, "a");
    cluster.fail_topic("orders", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    received records;
    member one{member_of(cluster.brokers(), "orders"), receive_into(records)};
    CHECK(tells(one, event_kind::topic_missing, "orders"));
    CHECK(tells(one, event_kind::no_assignment, "there is no topic orders"));
    cluster.fail_topic("orders", RD_KAFKA_RESP_ERR_NO_ERROR);
    CHECK(has_all(records, 1));
    CHECK(one.count(event_kind::topic_found) == 1);
    CHECK(one.count(event_kind::assignment_received) == 1);
}

TEST_CASE("silence: fetches that are refused, and a partition that loses its leader") {
    embedded_cluster cluster;
    cluster.create_topic("orders", 2);
    received records;
    member one{member_of(cluster.brokers(), "orders"), receive_into(records)};
    cluster.produce("orders", 0, "a");
    REQUIRE(has_all(records, 1));
    SUBCASE("fetches") {
        cluster.fail(request::fetch, RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR, every_time);
        cluster.produce("orders", 0, "b");
        CHECK(tells(one, event_kind::nothing_comes, "the log goes up to offset 2", 13s));
        if (!direct) {
            CHECK(tells(one, event_kind::nothing_comes, "; the client's log: "));
        }
        CHECK(shows_no_debug_log(one));
        CHECK(one.count(event_kind::nothing_comes) == 1); // the other is at its end
        cluster.stop_failing(request::fetch);
        CHECK(has_all(records, 2));
        CHECK(eventually([&] { return one.count(event_kind::records_come) == 1; }, 12s));
    }
    SUBCASE("leader") {
        if (rd_kafka_version() >= 0x02050000) {
            return skip("the embedded cluster of librdkafka since 2.5 does not survive a fetch "
                        "from a partition that has lost its leader");
        }
        cluster.move_leader("orders", 0, -1);
        CHECK(tells(one, event_kind::nothing_comes, "the partition's leader has not said", 13s));
        cluster.move_leader("orders", 0, 1);
        CHECK(eventually([&] { return one.count(event_kind::records_come) != 0; }, 12s));
    }
}

TEST_CASE("silence: a partition without a leader from the start") {
    embedded_cluster cluster;
    cluster.create_topic("orders", 2);
    cluster.produce("orders", 0, "a");
    cluster.move_leader("orders", 0, -1);
    received records;
    auto given = member_of(cluster.brokers(), "orders");
    auto begin = event_kind::nothing_comes;
    SUBCASE("from the beginning") {}
    SUBCASE("from the end") {
        given.initial_offset = kgroup::offset_reset::latest;
        begin = event_kind::start_delayed;
    }
    member one{given, receive_into(records)};
    REQUIRE(eventually([&] { return one.claims() == 2; }));
    CHECK(tells(one, begin, "", 12s));
    CHECK(one.last(begin)->where == kgroup::topic_partition{"orders", 0});
    if (begin == event_kind::nothing_comes) {
        CHECK(tells(one, begin, "Leader -1"));
    }
    CHECK(one.count(begin) == 1);
    cluster.move_leader("orders", 0, 1);
    CHECK(eventually([&] { return one.count(*kgroup::ended_by(begin)) == 1; }, 12s));
    CHECK(has_all(records, begin == event_kind::nothing_comes ? 1 : 0));
}

TEST_CASE("silence: a record whose length is damaged") {
    embedded_cluster cluster;
    cluster.create_topic("orders", 1);
    cluster.produce("orders", 0, "a");
    raw_producer{cluster.brokers()}.produce("orders", 0,
                                            {{.values = {"b", "c"}, .length_error = 1000}});
    auto const given = member_of(cluster.brokers(), "orders");
    received records;
    member one{given, receive_into(records)};
    REQUIRE(has_all(records, 1));
    if (direct) { // what reads it by itself knows it
        REQUIRE(one.ends_within(30s));
        CHECK(one.error() == kgroup::errc::record_unreadable);
        CHECK_MESSAGE(one.what().find("orders[0]: offset 1 cannot be read") != std::string::npos,
                      one.what());
    } else {
        CHECK(tells(one, event_kind::nothing_comes, "a damaged record is a possible reason", 12s));
        CHECK(one.last(event_kind::nothing_comes)->where == kgroup::topic_partition{"orders", 0});
    }
    CHECK(records.count() == 1);
    CHECK(cluster.committed(given.group_id, "orders", 0).value_or(1) == 1);
}

TEST_CASE("silence: an answer that is larger than this member takes") {
    embedded_cluster cluster;
    cluster.create_topic("orders", 1);
    cluster.produce("orders", 0, std::string(20'000, 'x'));
    auto given = member_of(cluster.brokers(), "orders");
    given.properties.insert({{"message.max.bytes", "1000"},
                             {"fetch.max.bytes", "1000"},
                             {"receive.message.max.bytes", "4000"}});
    received records;
    member one{given, receive_into(records)};
    CHECK(tells(one, event_kind::client_error, "receive.message.max.bytes"));
    if (direct) { // it knows that this never fits
        REQUIRE(one.ends_within(30s));
        CHECK(one.error() == kgroup::errc::record_unreadable);
        CHECK_MESSAGE(one.what().find("receive.message.max.bytes") != std::string::npos,
                      one.what());
    } else {
        CHECK(tells(one, event_kind::client_error, "increase receive.message.max.bytes"));
        CHECK(tells(one, event_kind::nothing_comes, "nothing comes from 0 on", 40s));
        CHECK(one.last(event_kind::nothing_comes)->where == kgroup::topic_partition{"orders", 0});
    }
    CHECK(records.count() == 0);
    CHECK(cluster.committed(given.group_id, "orders", 0).value_or(0) == 0);
}

TEST_CASE("silence: a broker whose name nobody knows") {
    received records;
    member one{member_of("broker.invalid:9092", "orders"), receive_into(records)};
    CHECK(tells(one, event_kind::no_assignment, "no broker"));
    CHECK(records.count() == 0);
}

TEST_CASE("silence: an open transaction") {
    if (!kafka::is_there()) {
        return;
    }
    kafka brokers{kafka::kind::real};
    auto const topic = brokers.create_topic();
    received records;
    member one{brokers.member_of_new_group(topic), receive_into(records)};
    REQUIRE(eventually([&] { return one.claims() == 1; }));
    transactional_producer writer{brokers.brokers()};
    writer.begin();
    writer.produce(topic, 0, 3);
    CHECK(tells(one, event_kind::nothing_comes, "a transaction is open", 12s));
    SUBCASE("is committed") {
        writer.commit();
        CHECK(has_all(records, 3));
    }
    SUBCASE("is aborted") { writer.abort(); }
    CHECK(eventually([&] { return one.count(event_kind::records_come) == 1; }, 12s));
    CHECK(one.count(event_kind::nothing_comes) == 1);
}

TEST_CASE("silence: a controller is no broker") {
    if (!kafka::is_there()) {
        return;
    }
    kafka brokers{kafka::kind::real};
    received records;
    auto const address = brokers.controller();
    REQUIRE_FALSE(address.empty());
    member one{member_of(address, "orders"), receive_into(records)};
    CHECK(tells(one, event_kind::no_assignment, "no broker has answered", 12s));
}

TEST_CASE("silence: a member that has nothing to do is in no trouble") {
    if (!kafka::is_there()) {
        return;
    }
    kafka brokers{kafka::kind::real};
    auto const topic = brokers.create_topic();
    auto given = brokers.member_of_new_group(topic);
    SUBCASE("classic") {}
    SUBCASE("consumer") {
        if (rd_kafka_version() < 0x020c0000) {
            return skip("the protocol of KIP-848 needs librdkafka 2.12");
        }
        given.protocol = kgroup::group_protocol::consumer;
        given.properties.clear(); // the broker's settings hold
    }
    received records;
    auto first = std::make_unique<member>(given, receive_into(records));
    REQUIRE(eventually([&] { return first->claims() == 1; }));
    member second{given, receive_into(records)};
    CHECK_FALSE(tells(second, event_kind::no_assignment, "", 13s));
    CHECK(first->count(event_kind::no_assignment) == 0);
    first.reset();
    CHECK(eventually([&] { return second.claims() == 1; }));
    CHECK(second.count(event_kind::no_assignment) == 0);
}

TEST_CASE("silence: under the new protocol, a member that is never answered") {
    if (rd_kafka_version() < 0x020c0000) {
        return skip("the protocol of KIP-848 needs librdkafka 2.12");
    }
    embedded_cluster cluster;
    cluster.create_topic("orders", 1);
    auto const heartbeat = static_cast<request>(68); // ConsumerGroupHeartbeat
    cluster.fail(heartbeat, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, every_time);
    auto given = member_of(cluster.brokers(), "orders");
    given.protocol = kgroup::group_protocol::consumer;
    given.properties.clear();
    received records;
    member one{given, receive_into(records)};
    CHECK(tells(one, event_kind::no_assignment, "has not let this member join", 12s));
    cluster.stop_failing(heartbeat);
    CHECK(eventually([&] { return one.count(event_kind::assignment_received) == 1; }));
}

TEST_CASE(
    "silence: the debug log is shown to those who asked for it, and only what they asked for") {
    embedded_cluster cluster;
    cluster.create_topic("orders", 1);
    auto given = member_of(cluster.brokers(), "orders");
    SUBCASE("all") { given.properties["debug"] = "all"; }
    SUBCASE("some") { given.properties["debug"] = "metadata"; }
    SUBCASE("none") {}
    SUBCASE("errors") { given.properties["log_level"] = "3"; }
    received records;
    member one{given, receive_into(records)};
    REQUIRE(eventually([&] { return one.claims() == 1; }));
    auto const said = one.said();
    CHECK((said.find("JOINGROUP: ") != std::string::npos) == (given.properties["debug"] == "all"));
    CHECK((said.find("METADATA: ") != std::string::npos) == !given.properties["debug"].empty());
    CHECK(shows_no_debug_log(one) == given.properties["debug"].empty());
}

TEST_CASE("silence: an outage is told until a broker has answered, and the next one too") {
    embedded_cluster cluster;
    cluster.create_topic("orders", 2);
    received records;
    member one{member_of(cluster.brokers(), "orders"), receive_into(records)};
    REQUIRE(eventually([&] { return one.claims() == 2; }));
    for (std::size_t outage = 1; outage != 3; ++outage) {
        auto const losses = one.count(event_kind::claims_lost);
        cluster.take_down();
        REQUIRE(eventually([&] { return one.count(event_kind::brokers_unreachable) == outage; }));
        REQUIRE(eventually([&] { return one.count(event_kind::claims_lost) > losses; }));
        CHECK(one.count(event_kind::brokers_reachable) == outage - 1);
        cluster.bring_up();
        CHECK(eventually([&] { return one.count(event_kind::brokers_reachable) == outage; }));
        REQUIRE(eventually([&] { return one.claims() == 2; }));
    }
}
