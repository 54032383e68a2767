// SPDX-License-Identifier: MIT

#include <kgroup/error.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <set>
#include <string>
#include <system_error>
#include <vector>

#include "kafka.hpp"
#include "member.hpp"

// What a group reads changes while it runs.

namespace {

using namespace kgroup::tests;
using kgroup::event_kind;

std::set<std::string> topics_of(received const& records) {
    std::set<std::string> all;
    for (auto const& result : records.all()) {
        all.insert(result.topic);
    }
    return all;
}

kgroup::config subscriber(kafka const& brokers, std::vector<std::string> topics) {
    auto given = brokers.member_of(unique("group"), std::move(topics));
    given.properties["topic.metadata.refresh.interval.ms"] = "300"; // how soon a new topic is seen
    return given;
}

TEST_CASE(
    "subscription: a topic is added, one is taken away, and what was marked in it is committed") {
    kafka brokers;
    auto const first = brokers.create_topic(2);
    auto const second = brokers.create_topic(2);
    brokers.produce_values(first, 0, {"1", "2"});
    brokers.produce_values(second, 1, {"3"});
    auto const given = subscriber(brokers, {first});
    received records;
    member one{given, receive_into(records)};
    REQUIRE(eventually([&] { return records.count() == 2; }));
    one.group().subscribe({first, second});
    REQUIRE(eventually([&] { return one.claims() == 4; }));
    REQUIRE(eventually([&] { return records.count() >= 3; }));
    CHECK(topics_of(records) == std::set{first, second});
    one.group().subscribe({second});
    REQUIRE(eventually([&] { return one.claims() == 2; }));
    CHECK(brokers.committed(given.group_id, first, 0) == 2);
    auto const before = records.count();
    brokers.produce_values(first, 0, {"not read"});
    brokers.produce_values(second, 0, {"read"});
    REQUIRE(eventually([&] { return records.count() > before; }));
    for (auto const& result : records.all()) {
        CHECK(result.value != "not read");
    }
    one.stop();
    REQUIRE(one.ends_within(20s));
    CHECK_MESSAGE(!one.error(), one.what());
    CHECK(records.count() == 4);
    CHECK(brokers.committed(given.group_id, second, 0) == 1);
    CHECK(brokers.committed(given.group_id, second, 1) == 1);
    CHECK(one.count(event_kind::claims_lost) == 0);
}

TEST_CASE("subscription: claims that stay go on under a cooperative protocol") {
    if (rd_kafka_version() < 0x020a0000) {
        return skip("cooperative_sticky needs librdkafka 2.10");
    }
    if (!kafka::is_there()) {
        return;
    }
    kafka brokers{kafka::kind::real};
    auto const first = brokers.create_topic();
    auto const second = brokers.create_topic();
    auto given = subscriber(brokers, {first});
    given.assignors = {kgroup::assignor::cooperative_sticky};
    received records;
    member one{given, receive_into(records)};
    REQUIRE(eventually([&] { return one.claims() == 1; }));
    one.group().subscribe({first, second});
    REQUIRE(eventually([&] { return one.claims() == 2; }));
    brokers.produce_values(first, 0, {"1"});
    brokers.produce_values(second, 0, {"2"});
    REQUIRE(eventually([&] { return records.count() == 2; }));
    CHECK(one.stats().sessions == 1);
    one.group().subscribe({second});
    REQUIRE(eventually([&] { return one.claims() == 1; }));
    CHECK(one.stats().sessions == 1);
    CHECK(brokers.committed(given.group_id, first, 0) == 1);
}

TEST_CASE("subscription: divided by the broker, also by a regular expression of its kind") {
    if (rd_kafka_version() < 0x020c0000) {
        return skip("group_protocol::consumer needs librdkafka 2.12");
    }
    if (!kafka::is_there()) {
        return;
    }
    kafka brokers{kafka::kind::real};
    auto const name = unique("regex");
    auto const first = brokers.create_topic(name + ".first", 1);
    brokers.create_topic(name + ".second", 1);
    auto given = subscriber(brokers, {first});
    given.protocol = kgroup::group_protocol::consumer;
    given.properties = {{"topic.metadata.refresh.interval.ms", "300"}};
    received records;
    member one{given, receive_into(records)};
    REQUIRE(eventually([&] { return one.claims() == 1; }));
    one.group().subscribe({"^" + name + "\\.(first|second)"});
    REQUIRE(eventually([&] { return one.claims() == 2; },
                       60s)); // until the broker has resolved it, there may be none
}

TEST_CASE("subscription: a new topic that matches a regular expression is picked up, one that does "
          "not is not") {
    kafka brokers;
    auto const name = unique("regex");
    auto const first = brokers.create_topic(name + ".first", 1);
    received records;
    member one{subscriber(brokers, {first}), receive_into(records)};
    REQUIRE(eventually([&] { return one.claims() == 1; }));
    one.group().subscribe({"^" + name + "\\.(first|second)$"});
    auto const second = brokers.create_topic(name + ".second", 1);
    auto const third = brokers.create_topic(name + ".second.not", 1);
    for (auto const& topic : {first, second, third}) {
        brokers.produce_values(topic, 0, {topic});
    }
    REQUIRE(eventually([&] { return records.count() >= 2; }));
    CHECK(topics_of(records) == std::set{first, second});
    CHECK(one.claims() == 2);
}

TEST_CASE("subscription: changes that come fast, from another thread, end with the last one") {
    kafka brokers;
    std::vector<std::string> topics;
    for (int i = 0; i != 3; ++i) {
        topics.push_back(brokers.create_topic());
        brokers.produce_values(topics.back(), 0, std::vector<std::string>(50, "record"));
    }
    received records;
    member one{subscriber(brokers, topics), receive_into(records)};
    for (int i = 0; i != 20; ++i) {
        one.group().subscribe({topics[static_cast<std::size_t>(i % 3)]});
        CHECK_FALSE(one.ends_within(5ms));
    }
    one.group().subscribe(topics);
    REQUIRE(eventually([&] { return one.claims() == 3 && records.count() >= 150; }, 60s));
    one.stop();
    REQUIRE(one.ends_within(20s));
    CHECK_MESSAGE(!one.error(), one.what());
}

} // namespace
