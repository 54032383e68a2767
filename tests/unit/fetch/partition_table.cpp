// SPDX-License-Identifier: MIT

#include <kgroup/detail/fetch/partition_table.hpp>
#include <kgroup/topic_partition.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "support/reading_sink.hpp"
#include "table_scene.hpp"

namespace fetch_partition_table_tests {
namespace {

using namespace kgroup::detail::fetch;
using namespace kgroup::tests;
using namespace std::chrono_literals;
using kgroup::topic_partition;
using event = fetch_event::kind;

topic_partition const first{"orders", 0};
topic_partition const second{"orders", 1};

/// An answer about one topic.
metadata_answer told(std::vector<metadata_answer::partition> partitions, std::int16_t error = 0) {
    metadata_answer result;
    result.topics.push_back({error, "orders", table_scene::id_of("orders"), 0, partitions.size()});
    result.partitions = std::move(partitions);
    return result;
}

TEST_CASE("what is started waits for metadata, and is asked about when its leader is known") {
    table_scene scene;
    scene.settle_metadata();
    scene.start(first, 7);
    CHECK(scene.metadata.wanted());
    CHECK(scene.ask(api::fetch, 1).subjects.empty());
    scene.name_brokers(1);
    scene.metadata.asked(scene.now);
    scene.partitions.on_metadata(told({{0, 0, 1, 5}}), scene.brokers);
    auto const asked = scene.ask(api::fetch, 1);
    REQUIRE(asked.subjects.size() == 1);
    CHECK(asked.subjects[0].partition->name() == first);
    CHECK(asked.subjects[0].question.offset == 7);
    CHECK(!scene.metadata.wanted());
}

TEST_CASE("a seek needs no metadata") {
    table_scene scene;
    scene.start_at(1, first, 7);
    scene.settle_metadata();
    scene.start(first, 3);
    CHECK(!scene.metadata.wanted());
    CHECK(scene.ask(api::fetch, 1).subjects.at(0).question.offset == 3);
}

TEST_CASE("a stop ends the fetching, and lets go of the sink") {
    table_scene scene;
    scene.start_at(1, first, 7);
    scene.start_at(1, second, 7);
    scene.orders.stop(first);
    scene.carry_out();
    CHECK(scene.partitions.size() == 1);
    CHECK(scene.sinks.at(first).use_count() == 1);
    auto const asked = scene.ask(api::fetch, 1);
    REQUIRE(asked.subjects.size() == 1);
    CHECK(asked.subjects[0].partition->name() == second);
    scene.orders.stop(second);
    scene.carry_out();
    CHECK(scene.partitions.empty());
}

TEST_CASE("a stop and a start that come together begin anew") {
    table_scene scene;
    scene.start_at(1, first, 7);
    auto const asked = scene.ask(api::fetch, 1);
    auto const before = scene.sinks.at(first);
    scene.orders.stop(first);
    scene.start(first, 3);
    CHECK(before.use_count() == 1);
    CHECK(scene.partitions.size() == 1);
    CHECK(scene.at(first).position() == 3);
    CHECK(scene.at(first).leader() == -1);
    CHECK(&scene.at(first) != asked.subjects[0].partition.get());
}

TEST_CASE("a claim says whether it has room") {
    table_scene scene;
    scene.start_at(1, first, 7);
    CHECK(scene.at(first).claim_wants());
    scene.orders.want(first, scene.ticket, false);
    scene.carry_out();
    CHECK(!scene.at(first).claim_wants());
    scene.start(first, 3);
    CHECK(scene.at(first).claim_wants());
}

TEST_CASE("what a reader finds is acted upon: damage is fetched again, an old format ends it") {
    table_scene scene;
    auto const& sink = scene.start_at(1, first, 7);
    scene.orders.found(first, scene.ticket, {scene.at(first).generation(), 8, damage::checksum});
    scene.carry_out();
    CHECK(scene.at(first).position() == 8);
    scene.now += 1s;
    CHECK(scene.ask(api::fetch, 1).subjects.at(0).question.alone);
    CHECK(sink.events.empty());
    scene.orders.found(first, scene.ticket, {scene.at(first).generation(), 8, damage::none});
    scene.carry_out();
    REQUIRE(sink.events.size() == 1);
    CHECK(sink.events[0].type == event::old_format);
    CHECK(!scene.at(first).running());
}

TEST_CASE("what a reader found and awaits no more is not acted upon") {
    table_scene scene;
    auto& sink = scene.start_at(1, first, 7);
    sink.awaits = false;
    auto const generation = scene.at(first).generation();
    for (auto const wrong : {damage::checksum, damage::none}) {
        scene.orders.found(first, scene.ticket, {generation, 8, wrong});
        scene.carry_out();
        CHECK(scene.at(first).generation() == generation);
        CHECK(scene.at(first).position() == 7);
    }
    CHECK(sink.events.empty());
}

TEST_CASE("a question without an answer is asked again, its memory is free, and metadata wanted") {
    table_scene scene;
    scene.start_at(1, first, 7);
    scene.settle_metadata();
    auto asked = scene.ask_with_promise(1, 1000);
    CHECK(scene.memory->used() == 1000);
    scene.partitions.lose(asked, scene.now);
    CHECK(scene.memory->used() == 0);
    CHECK(scene.metadata.wanted());
    CHECK(asked.subjects.empty());
    CHECK(scene.ask(api::fetch, 1).subjects.empty()); // not at once
    scene.now += 100ms;
    CHECK(scene.ask(api::fetch, 1).subjects.size() == 1);
    scene.partitions.lose(asked, scene.now); // a second time
    CHECK(scene.memory->used() == 0);
}

TEST_CASE("metadata that gets no answer, or an error, is asked again") {
    table_scene scene;
    inquiry about_cluster{api::metadata};
    scene.metadata.asked(scene.now);
    CHECK(scene.metadata.due() == table_scene::never);
    scene.partitions.lose(about_cluster, scene.now);
    CHECK(scene.metadata.due() == scene.now + 100ms);
    scene.metadata.asked(scene.now);
    scene.partitions.refuse(about_cluster, 35, scene.now);
    CHECK(scene.metadata.due() == scene.now + 100ms);
}

TEST_CASE("an answer above all limits is asked for once more, alone, and then is unreadable") {
    table_scene scene;
    auto const& sink = scene.start_at(1, first, 7);
    for (int i = 0; i != 2; ++i) {
        CHECK(sink.events.empty());
        auto asked = scene.ask_with_promise(1, 1000);
        REQUIRE(asked.subjects.size() == 1);
        CHECK(asked.subjects[0].question.alone == (i == 1));
        scene.partitions.lose_too_large(asked, scene.now);
        CHECK(scene.memory->used() == 0);
        scene.now += 1s;
    }
    REQUIRE(sink.events.size() == 1);
    CHECK(sink.events[0].type == event::record_unreadable);
    CHECK(sink.events[0].wrong == damage::too_large);
}

TEST_CASE("what is no fetch cannot be too large for good: it is lost") {
    table_scene scene;
    auto const& sink = scene.start_at(1, first, partition_fetch::earliest);
    for (int i = 0; i != 3; ++i) {
        auto asked = scene.ask(api::list_offsets, 1);
        REQUIRE(asked.subjects.size() == 1);
        scene.partitions.lose_too_large(asked, scene.now);
        scene.now += 1s;
    }
    CHECK(sink.events.empty());
}

TEST_CASE("a request that is refused is so for each partition, and its memory is free") {
    table_scene scene;
    auto const& one = scene.start_at(1, first, 7);
    auto const& other = scene.start_at(1, second, 8);
    auto asked = scene.ask_with_promise(1, 1000);
    scene.partitions.refuse(asked, 35, scene.now);
    CHECK(scene.memory->used() == 0);
    for (auto const* sink : {&one, &other}) {
        REQUIRE(sink->events.size() == 1);
        CHECK(sink->events[0].type == event::unsupported);
    }
}

TEST_CASE("a replica that is away is not asked any more, but the leader") {
    table_scene scene;
    scene.start_at(1, first, 7);
    auto const asked = scene.ask(api::fetch, 1);
    fetch_answer::partition preferring;
    preferring.preferred_replica = 2;
    scene.at(first).on_fetched(asked.subjects.at(0).question.generation, preferring, {}, scene.now);
    CHECK(scene.at(first).target(scene.now) == 2);
    scene.settle_metadata();
    scene.partitions.on_away(1, scene.now);
    CHECK(scene.at(first).target(scene.now) == 2);
    CHECK(!scene.metadata.wanted());
    scene.partitions.on_away(2, scene.now);
    CHECK(scene.at(first).target(scene.now) == 1);
    CHECK(scene.metadata.wanted());
}

TEST_CASE("metadata that has all is asked next in its interval") {
    table_scene scene;
    scene.name_brokers(2);
    scene.start(first, 7);
    scene.start(second, 7);
    scene.metadata.asked(scene.now);
    scene.partitions.on_metadata(told({{0, 0, 1, 5}, {0, 1, 2, 5}, {0, 2, 2, 5}}), scene.brokers);
    CHECK(scene.at(first).leader() == 1);
    CHECK(scene.at(second).leader() == 2);
    CHECK(scene.metadata.due() == scene.now + 5min);
}

TEST_CASE(
    "metadata that lacks a partition, or whose leader it does not name, is asked again soon") {
    for (auto const leader : std::vector<std::int32_t>{-1, 2}) { // 2: not among the brokers
        CAPTURE(leader);
        table_scene scene;
        scene.name_brokers(1);
        scene.start(first, 7);
        scene.metadata.asked(scene.now);
        scene.partitions.on_metadata(told({{0, 0, leader, 5}}), scene.brokers);
        CHECK(scene.at(first).leader() == -1);
        CHECK(scene.metadata.due() == scene.now + 200ms);
    }
    table_scene scene;
    scene.name_brokers(1);
    scene.start(first, 7);
    scene.start(second, 7);
    scene.metadata.asked(scene.now);
    scene.partitions.on_metadata(told({{0, 0, 1, 5}}), scene.brokers);
    CHECK(scene.at(first).leader() == 1);
    CHECK(scene.metadata.due() == scene.now + 200ms);
}

TEST_CASE("an error of a topic is each partition's, and told once while it lasts") {
    for (bool const names_partitions : {true, false}) {
        CAPTURE(names_partitions);
        table_scene scene;
        scene.name_brokers(1);
        auto const& one = scene.start(first, 7);
        auto const& other = scene.start(second, 7);
        auto const& bystander = scene.start({"payments", 0}, 7);
        std::vector<metadata_answer::partition> named;
        if (names_partitions) {
            named = {{0, 0, -1, -1}, {0, 1, -1, -1}};
        }
        auto const missing = told(named, 3);
        for (int i = 0; i != 2; ++i) {
            scene.metadata.asked(scene.now);
            scene.partitions.on_metadata(missing, scene.brokers);
        }
        for (auto const* sink : {&one, &other}) {
            REQUIRE(sink->events.size() == 1);
            CHECK(sink->events[0].type == event::broker_error);
            CHECK(sink->events[0].code == 3);
        }
        CHECK(bystander.events.empty());
    }
}

TEST_CASE("behind the end nothing is fetched, and no sink is kept") {
    table_scene scene;
    scene.start_at(1, first, 7);
    auto asked = scene.ask_with_promise(1, 1000);
    scene.partitions.clear();
    CHECK(scene.partitions.empty());
    CHECK(scene.ask(api::fetch, 1).subjects.empty());
    asked.subjects.clear();
    CHECK(scene.sinks.at(first).use_count() == 1);
}

} // namespace
} // namespace fetch_partition_table_tests
