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

// Regular expressions and Kafka's own topics, whose names begin with two underscores.

using namespace kgroup::tests;
using kgroup::group_protocol;

namespace {

/// Topics whose names differ in what they begin with, and whose records are their names.
struct topics {
    kafka brokers;
    std::string tail = unique("topic");

    std::string make(std::string const& begin) {
        auto const made = brokers.create_topic(begin + tail, 1);
        brokers.produce_values(made, 0, {begin});
        return made;
    }
    kgroup::config reader(std::vector<std::string> names, group_protocol protocol) {
        auto given = brokers.member_of(unique("group"), std::move(names));
        given.protocol = protocol;
        if (protocol == group_protocol::consumer) {
            given.properties.clear(); // the broker's to say
        }
        given.properties["topic.metadata.refresh.interval.ms"] = "300";
        return given;
    }
    std::vector<group_protocol> protocols() const {
        std::vector all{group_protocol::classic};
        if (brokers.is_real() && rd_kafka_version() >= 0x020c0000) {
            all.push_back(group_protocol::consumer);
        }
        return all;
    }
};

std::set<std::string> values(received const& records) {
    std::set<std::string> all;
    for (auto const& result : records.all()) {
        all.insert(result.value.value_or(""));
    }
    return all;
}

} // namespace

TEST_CASE("internal topics: an expression does not match them unless it says so, now or when they "
          "come into being") {
    topics with;
    with.make("a-");
    with.make("_b-");
    with.make("__c-");
    for (auto const protocol : with.protocols()) {
        CAPTURE(static_cast<int>(protocol));
        received records;
        member one{with.reader({"^.*" + with.tail + "$"}, protocol), receive_into(records)};
        REQUIRE(eventually([&] { return records.count() >= 2; }));
        auto const late = (protocol == group_protocol::classic ? "__d" : "__e") + std::string{"-"};
        with.make(late);
        with.brokers.produce_values("a-" + with.tail, 0, {"once more"});
        REQUIRE(eventually([&] { return values(records).contains("once more"); }));
        CHECK_FALSE(eventually(
            [&] { return values(records).contains("__c-") || values(records).contains(late); },
            3s));
        CHECK(values(records) == std::set<std::string>{"a-", "_b-", "once more"});
        CHECK(one.claims() == 2);
        // Nor when it changes its mind.
        CHECK_THROWS_AS(one.group().subscribe({"__c-" + with.tail}), std::system_error);
        one.group().subscribe({"^_.*" + with.tail + "$"});
        REQUIRE(eventually([&] { return one.claims() == 1; }));
        one.stop();
        REQUIRE(one.ends_within(20s));
        with.brokers.produce_values("a-" + with.tail, 0, {"a-"});
    }
}

TEST_CASE(
    "internal topics: read by name, and by an expression that begins with their underscores") {
    topics with;
    auto const named = with.make("__c-");
    with.make("a-");
    for (auto const protocol : with.protocols()) {
        for (auto const& name : {named, "^__.*" + with.tail + "$"}) {
            CAPTURE(name);
            received records;
            member one{with.reader({name}, protocol), receive_into(records)};
            REQUIRE(eventually([&] { return records.count() == 1; }));
            CHECK(values(records) == std::set<std::string>{"__c-"});
        }
    }
}

TEST_CASE("internal topics: what the user hides stays hidden beside them") {
    topics with;
    with.make("a-");
    with.make("hidden-");
    with.make("secret-");
    with.make("__c-");
    auto given = with.reader({"^.*" + with.tail + "$"}, group_protocol::classic);
    given.properties["topic.blacklist"] = "^hidden,^secret";
    received records;
    member one{given, receive_into(records)};
    REQUIRE(eventually([&] { return records.count() == 1; }));
    CHECK_FALSE(eventually([&] { return records.count() > 1; }, 2s));
    CHECK(values(records) == std::set<std::string>{"a-"});
}
