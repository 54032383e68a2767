// SPDX-License-Identifier: MIT

#include <kgroup/detail/fetch/answer_reader.hpp>
#include <kgroup/detail/fetch/wire_writer.hpp>
#include <kgroup/topic_partition.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "made_batch.hpp"
#include "support/reading_sink.hpp"
#include "table_scene.hpp"

namespace fetch_answer_reader_tests {
namespace {

using namespace kgroup::detail::fetch;
using namespace kgroup::tests;
using namespace std::chrono_literals;
using kgroup::topic_partition;
using event = fetch_event::kind;

topic_partition const first{"orders", 0};
topic_partition const second{"orders", 1};
constexpr std::int32_t correlation = 77;

/// A part of an answer to Fetch.
struct part {
    std::int32_t number = 0;
    std::string records{};
    std::int16_t error = 0;
    std::int32_t preferred_replica = -1;
};

std::string fetched(std::vector<part> const& parts, std::int16_t error = 0,
                    std::int32_t throttle = 0) {
    std::string bytes;
    wire_writer out{bytes};
    out.int32(correlation).int32(throttle).int16(error).int32(0);
    out.elements(1).text("orders").elements(parts.size());
    for (auto const& one : parts) {
        out.int32(one.number).int16(one.error);
        out.int64(1'000'000).int64(1'000'000).int64(0).elements(0);
        out.int32(one.preferred_replica).nullable_bytes(one.records);
    }
    return bytes;
}

struct scene : table_scene {
    answer_reader tested{memory, partitions};

    /// Takes an answer; what it was is freed, but for what is kept of it.
    answer_reader::outcome take(inquiry& asked, std::string const& answer,
                                std::int16_t version = 11) {
        return tested.take(asked, version, correlation, memory->copy(answer), now);
    }
};

TEST_CASE("each part of a fetch's answer is its partition's, and the promise of memory is over") {
    scene group;
    auto const& one = group.start_at(1, first, 7);
    auto const& other = group.start_at(1, second, 20);
    auto asked = group.ask_with_promise(1, 50'000);
    auto const records = plain_batch(7, 3).bytes();
    auto const more = plain_batch(20, 2).bytes();
    auto const outcome = group.take(asked, fetched({{1, more}, {0, records}}));
    CHECK(outcome.read);
    CHECK(outcome.throttle == 0ms);
    CHECK(outcome.strays == 0);
    CHECK(!outcome.empty_poll);
    CHECK(!outcome.over_budget);
    REQUIRE(one.kept.size() == 1);
    CHECK(one.kept[0].bytes == records);
    REQUIRE(other.kept.size() == 1);
    CHECK(other.kept[0].bytes == more);
    CHECK(group.at(first).position() == 10);
    CHECK(group.at(second).position() == 22);
    CHECK(group.memory->used() < 50'000);
}

TEST_CASE("who got records is asked about behind those who got none") {
    scene group;
    group.start_at(1, first, 7);
    group.start_at(1, second, 20);
    auto asked = group.ask(api::fetch, 1);
    group.take(asked, fetched({{0, plain_batch(7, 3).bytes()}, {1, ""}}));
    auto const next = group.ask(api::fetch, 1);
    REQUIRE(next.subjects.size() == 2);
    CHECK(next.subjects[0].partition->name() == second);
}

TEST_CASE("what an answer leaves out is lost, and what nobody asked for is counted") {
    scene group;
    group.start_at(1, first, 7);
    auto const& other = group.start_at(1, second, 20);
    group.settle_metadata();
    auto asked = group.ask(api::fetch, 1);
    auto const records = plain_batch(20, 2).bytes();
    auto const outcome = group.take(asked, fetched({{1, records}, {1, records}, {5, records}}));
    CHECK(outcome.read);
    CHECK(outcome.strays == 2);
    CHECK(other.kept.size() == 1);
    CHECK(!group.at(first).outstanding());
    CHECK(group.at(first).held_back_until(group.now));
    CHECK(group.metadata.wanted());
}

TEST_CASE("a poll is empty if it brought neither records nor anything else") {
    for (auto const& [brought, empty] :
         std::vector<std::pair<part, bool>>{{{}, true},
                                            {{.records = plain_batch(7, 1).bytes()}, false},
                                            {{.error = 6}, false},
                                            {{.preferred_replica = 2}, false}}) {
        scene group;
        group.start_at(1, first, 7);
        auto asked = group.ask(api::fetch, 1);
        CHECK(group.take(asked, fetched({brought})).empty_poll == empty);
    }
}

TEST_CASE("an error of the whole answer is each partition's") {
    scene group;
    auto const& one = group.start_at(1, first, 7);
    auto const& other = group.start_at(1, second, 20);
    auto asked = group.ask_with_promise(1, 50'000);
    auto const outcome = group.take(asked, fetched({}, 35, 250));
    CHECK(outcome.read);
    CHECK(outcome.throttle == 250ms);
    CHECK(!outcome.empty_poll);
    CHECK(group.memory->used() == 0);
    for (auto const* sink : {&one, &other}) {
        REQUIRE(sink->events.size() == 1);
        CHECK(sink->events[0].type == event::unsupported);
    }
}

TEST_CASE("nothing is taken of an answer that cannot be read") {
    scene group;
    auto const& sink = group.start_at(1, first, 7);
    auto asked = group.ask_with_promise(1, 50'000);
    auto bytes = fetched({{0, plain_batch(7, 3).bytes()}});
    bytes.pop_back();
    CHECK(!group.take(asked, bytes).read);
    CHECK(sink.takes == 0);
    CHECK(group.at(first).outstanding());
    CHECK(asked.promised == 50'000);
    bytes = fetched({});
    bytes[3] = 1; // another request's
    CHECK(!group.take(asked, bytes).read);

    group.start(first, partition_fetch::earliest);
    auto others = group.ask(api::list_offsets, 1);
    CHECK(!group.take(others, "short", 1).read);
    inquiry about_cluster{api::metadata};
    CHECK(!group.take(about_cluster, "short", 1).read);
}

TEST_CASE("a small part does not keep a large answer") {
    scene group;
    auto& one = group.start_at(1, first, 7);
    auto& other = group.start_at(1, second, 20);
    auto asked = group.ask(api::fetch, 1);
    auto const small = plain_batch(7, 1).bytes();
    auto const large = plain_batch(20, 5000).bytes();
    group.take(asked, fetched({{0, small}, {1, large}}));
    REQUIRE(one.kept.size() == 1);
    REQUIRE(other.kept.size() == 1);
    CHECK(one.kept[0].bytes == small);
    other.kept.clear();
    CHECK(group.memory->used() < 10 * small.size());
    one.kept.clear();
    CHECK(group.memory->used() == 0);
}

TEST_CASE("when memory is scarce parts do not keep each other's, and one alone is not copied") {
    for (bool const scarce : {true, false}) {
        CAPTURE(scarce);
        scene group;
        auto& one = group.start_at(1, first, 7);
        group.start_at(1, second, 20);
        auto asked = group.ask(api::fetch, 1);
        asked.scarce = scarce;
        auto const records = plain_batch(7, 2000).bytes();
        group.take(asked, fetched({{0, records}, {1, plain_batch(20, 2000).bytes()}}));
        one.kept.clear();
        CHECK((group.memory->used() < 2 * records.size()) == scarce);
    }
    scene group;
    group.start_at(1, first, 7);
    auto asked = group.ask(api::fetch, 1);
    asked.scarce = true;
    auto const bytes = group.memory->copy(fetched({{0, plain_batch(7, 1).bytes()}}));
    group.tested.take(asked, 11, correlation, bytes, group.now);
    CHECK(bytes.use_count() > 1);
}

TEST_CASE("an answer above what is left of memory is told, once until there is room again") {
    scene group;
    auto& sink = group.start_at(1, first, 0);
    std::int64_t offset = 0;
    auto const take = [&](std::size_t promised) {
        auto asked = group.ask_with_promise(1, promised);
        auto const records = plain_batch(std::exchange(offset, offset + 1000), 1000).bytes();
        return group.take(asked, fetched({{0, records}})).over_budget;
    };
    CHECK(!take(100));
    group.memory->promise(std::size_t{1} << 20); // by others
    CHECK(!take(100'000));                       // as was asked for
    CHECK(take(100));
    CHECK(!take(100));
    group.memory->take_back(std::size_t{1} << 20);
    CHECK(!take(100));
    group.memory->promise(std::size_t{1} << 20);
    CHECK(take(100));
    CHECK(sink.kept.size() == 6);
}

TEST_CASE("an end of the log is where its partition begins, and the claim is told") {
    scene group;
    auto const& sink = group.start_at(1, first, partition_fetch::latest);
    group.start_at(1, second, partition_fetch::latest);
    auto asked = group.ask(api::list_offsets, 1);
    REQUIRE(asked.subjects.size() == 2);
    std::string bytes;
    wire_writer out{bytes};
    out.int32(correlation).int32(40).elements(1).text("orders").elements(1);
    out.int32(0).int16(0).int64(-1).int64(42);
    auto const outcome = group.take(asked, bytes, 2);
    CHECK(outcome.read);
    CHECK(outcome.throttle == 40ms);
    CHECK(!outcome.empty_poll);
    CHECK(group.at(first).position() == 42);
    CHECK(sink.starts == std::vector<std::int64_t>{42});
    CHECK(!group.at(second).outstanding()); // it is asked again
    CHECK(group.at(second).position() == partition_fetch::latest);
}

TEST_CASE("the end of an epoch says whether the log is still the one that was read") {
    for (std::int64_t const end : {70, 40}) {
        CAPTURE(end);
        scene group;
        auto const& sink = group.start_at(1, first, 50, 3);
        auto asked = group.ask(api::leader_epoch, 1, {.diverging = false});
        REQUIRE(asked.subjects.size() == 1);
        std::string bytes;
        wire_writer out{bytes};
        out.int32(correlation).int32(60).elements(1).text("orders").elements(1);
        out.int16(0).int32(0).int32(3).int64(end);
        auto const outcome = group.take(asked, bytes, 2);
        CHECK(outcome.read);
        CHECK(outcome.throttle == 60ms);
        CHECK(group.at(first).position() == (std::min<std::int64_t>)(end, 50));
        CHECK(group.ask(api::fetch, 1, {.diverging = false}).subjects.size() == 1);
        REQUIRE(sink.events.size() == (end == 40 ? 1 : 0));
        if (end == 40) {
            CHECK(sink.events[0].type == event::truncated);
            CHECK(sink.events[0].to == 40);
        }
    }
}

TEST_CASE("what metadata says waits for who knows the brokers") {
    scene group;
    group.start(first, 7);
    inquiry asked{api::metadata};
    std::string bytes;
    wire_writer out{bytes};
    out.int32(correlation).elements(1).int32(1).text("host").int32(9092).nullable_text({});
    out.int32(1).elements(1).int16(0).text("orders").boolean(false).elements(1);
    out.int16(0).int32(0).int32(1).elements(0).elements(0);
    auto const kept = group.memory->copy(bytes);
    CHECK(group.tested.take(asked, 1, correlation, kept, group.now).read);
    CHECK(group.at(first).leader() == -1);
    auto const& cluster = group.tested.cluster();
    REQUIRE(cluster.brokers.size() == 1);
    CHECK(cluster.brokers[0].host == "host");
    REQUIRE(cluster.partitions.size() == 1);
    CHECK(cluster.partitions[0].leader == 1);
}

} // namespace
} // namespace fetch_answer_reader_tests
