// SPDX-License-Identifier: MIT

#include <kgroup/detail/fetch/inquiry_planner.hpp>
#include <kgroup/topic_partition.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "made_batch.hpp"
#include "table_scene.hpp"

namespace fetch_inquiry_planner_tests {
namespace {

using namespace kgroup::detail::fetch;
using namespace kgroup::tests;
using namespace std::chrono_literals;
using kgroup::topic_partition;

topic_partition const first{"orders", 0};
topic_partition const second{"orders", 1};
topic_partition const third{"orders", 2};

struct scene : table_scene {
    fetcher_settings settings;
    std::optional<inquiry_planner> planner;

    scene() {
        settings.fetch_wait_max = 500ms;
        settings.partition_max_bytes = 1000;
        planner.emplace(settings, memory, partitions, metadata);
        name_brokers(2);
    }
    ~scene() { memory->forget_wake(); }
    scene(scene const&) = delete;
    scene& operator=(scene const&) = delete;

    known_broker& broker(std::int32_t id) { return *brokers.find(id); }
    void prepare() { planner->prepare(brokers, now); }
    std::optional<inquiry> poll(std::int32_t id, std::optional<time_point> other_ends = {}) {
        prepare();
        return planner->poll(broker(id), other_ends, now);
    }
    /// Answers with records for the first partition, and with nothing for the others.
    void bring(inquiry asked, std::size_t records) {
        partitions.take_back_promise(asked);
        fetch_answer const answer;
        for (auto const& [partition, question] : asked.subjects) {
            fetch_answer::partition part;
            part.high_watermark = 1'000'000;
            std::shared_ptr<answer_bytes> bytes;
            if (auto const count = std::exchange(records, 0); count != 0) {
                bytes = memory->copy(plain_batch(question.offset, count).bytes());
                part.records = bytes->view();
            }
            partition->take(question, answer, part, part.records, bytes, now);
        }
    }
    static std::vector<topic_partition> names(std::optional<inquiry> const& asked) {
        std::vector<topic_partition> result;
        if (asked) {
            for (auto const& [partition, question] : asked->subjects) {
                result.push_back(partition->name());
            }
        }
        return result;
    }
};

using names = std::vector<topic_partition>;

TEST_CASE("a broker is noted for what it is to be asked, and for nothing else") {
    scene group;
    group.start_at(1, first, 7);
    group.start_at(2, second, partition_fetch::earliest);
    group.prepare();
    CHECK(group.broker(1).has_fetches);
    CHECK(!group.broker(1).has_others);
    CHECK(!group.broker(2).has_fetches);
    CHECK(group.broker(2).has_others);
    CHECK(group.poll(1));
    group.prepare();
    CHECK(!group.broker(1).has_fetches);
}

TEST_CASE("metadata is wanted for a partition whose leader nobody knows") {
    scene group;
    group.start_at(1, first, 7);
    group.settle_metadata();
    group.prepare();
    CHECK(!group.metadata.wanted());
    group.at(first).on_metadata(-1, 6, table_scene::id_of("orders"));
    group.prepare();
    CHECK(group.metadata.wanted());
    group.settle_metadata();
    group.at(first).on_metadata(9, 7, table_scene::id_of("orders")); // no such broker
    group.prepare();
    CHECK(group.metadata.wanted());
}

TEST_CASE("a replica that is away is not waited for: the leader is asked") {
    scene group;
    group.start_at(1, first, 7);
    auto const asked = group.poll(1);
    REQUIRE(asked);
    fetch_answer::partition preferring;
    preferring.preferred_replica = 2;
    group.at(first).on_fetched(asked->subjects.at(0).question.generation, preferring, {},
                               group.now);
    group.prepare();
    CHECK(group.broker(2).has_fetches);
    group.broker(2).pauses.on_closed(100ms, 10s, 25, group.now);
    group.prepare();
    CHECK(!group.broker(2).has_fetches);
    group.now += 200ms; // as behind each failure
    group.prepare();
    CHECK(group.broker(1).has_fetches);
}

TEST_CASE("a poll is about all that may be fetched, and has memory promised to it") {
    scene group;
    CHECK(!group.poll(1));
    group.start_at(1, first, 7);
    group.start_at(2, second, 7);
    group.start_at(1, third, 7);
    auto const asked = group.poll(1);
    CHECK(scene::names(asked) == names{first, third});
    REQUIRE(asked);
    CHECK(asked->key == api::fetch);
    CHECK(asked->wait == 500ms);
    CHECK(asked->ends == group.now + 500ms);
    CHECK(asked->limits.partition == 1000);
    CHECK(asked->limits.total == 2000);
    CHECK(asked->promised == 2000);
    CHECK(!asked->scarce);
    CHECK(group.memory->used() == 2000);
    CHECK(!group.poll(1));
    CHECK(group.memory->used() == 2000);
}

TEST_CASE("the largest answer that is received has room for what stands around the records") {
    scene group;
    group.settings.partition_max_bytes = 100'000;
    group.settings.fetch_max_bytes = 100'000;
    group.settings.receive_message_max_bytes = 100'512;
    group.planner.emplace(group.settings, group.memory, group.partitions, group.metadata);
    for (std::int32_t i = 0; i != 20; ++i) {
        group.start_at(1, {"orders", i}, 7);
    }
    auto const asked = group.poll(1);
    REQUIRE(asked);
    CHECK(asked->limits.total <= 100'512 - 20 * 45);
    CHECK(asked->limits.total > 95'000);
    CHECK(asked->limits.partition == asked->limits.total);
}

TEST_CASE("however much memory there is, an answer brings no more than stays in a cache") {
    scene group;
    auto const memory = std::make_shared<answer_memory>(std::size_t{1} << 30);
    std::size_t expected = std::size_t{8} << 20;
    SUBCASE("the usual partitions") { group.settings.partition_max_bytes = 1 << 20; }
    SUBCASE("a partition may bring more") {
        group.settings.partition_max_bytes = 16 << 20;
        expected = std::size_t{16} << 20;
    }
    inquiry_planner planner{group.settings, memory, group.partitions, group.metadata};
    for (std::int32_t i = 0; i != 100; ++i) {
        group.start_at(1, {"orders", i}, 7);
    }
    planner.prepare(group.brokers, group.now);
    auto const asked = planner.poll(group.broker(1), std::nullopt, group.now);
    REQUIRE(asked);
    CHECK(asked->subjects.size() == 100);
    CHECK(asked->limits.total == expected);
}

TEST_CASE("the second poll ends no later than the first one, whose partitions it then takes over") {
    scene group;
    group.start_at(1, first, 7);
    CHECK(group.poll(1)->wait == 500ms);
    group.start_at(1, second, 7);
    auto const asked = group.poll(1, group.now + 120ms);
    REQUIRE(asked);
    CHECK(asked->wait == 120ms);
    CHECK(asked->ends == group.now + 120ms);
}

TEST_CASE("the second poll does not hold up a partition that may be asked about before it ends") {
    scene group;
    group.start_at(1, first, 7);
    group.start_at(1, second, 7);
    group.orders.want(second, group.ticket, false);
    group.carry_out();
    auto const asked = group.poll(1, group.now + 400ms);
    CHECK(scene::names(asked) == names{first});
    CHECK(asked->wait == 50ms);
}

TEST_CASE("what is asked about alone does not hold up the others for long") {
    scene group;
    group.start_at(1, first, 7);
    group.start_at(1, second, 7);
    group.at(first).on_damaged(group.at(first).generation(), 7, damage::checksum, group.now);
    group.now += 100ms;
    auto const asked = group.poll(1);
    CHECK(scene::names(asked) == names{first});
    CHECK(asked->wait == 50ms);
    CHECK(scene::names(group.poll(1, asked->ends)) == names{second});
}

TEST_CASE("an answer to the first poll that is late does not shorten the second one") {
    scene group;
    group.start_at(1, first, 7);
    CHECK(group.poll(1, group.now - 20ms)->wait == 500ms);
}

TEST_CASE("a claim that is full is not asked about") {
    scene group;
    group.start_at(1, first, 7);
    group.orders.want(first, group.ticket, false);
    group.carry_out();
    CHECK(!group.poll(1));
    CHECK(!group.broker(1).has_fetches);
}

TEST_CASE("when memory is scarce only those are asked about that hold none of it") {
    scene group;
    int releases = 0;
    group.memory->on_release([&] { ++releases; });
    group.start_at(1, first, 7);
    group.start_at(1, second, 7);
    group.bring(*group.poll(1), 1); // to the first one
    group.memory->promise(std::size_t{1} << 19);
    auto const asked = group.poll(1);
    CHECK(scene::names(asked) == names{second});
    CHECK(asked->scarce);
    CHECK(releases == 0);
    group.memory->take_back(std::size_t{1} << 19);
    CHECK(releases == 1); // the first one waits for it
    auto const others = group.poll(1);
    CHECK(scene::names(others) == names{first});
    CHECK(!others->scarce);
}

TEST_CASE("a partition that holds several answers waits until it lets go of some, and that wakes") {
    scene group;
    int releases = 0;
    group.memory->on_release([&] { ++releases; });
    auto& sink = group.start_at(1, first, 7);
    group.bring(*group.poll(1), 1000);
    CHECK(!group.poll(1));
    CHECK(releases == 0);
    sink.kept.clear();
    CHECK(releases != 0);
    CHECK(group.poll(1));
}

TEST_CASE(
    "a claim that has read all of it gets more, however much its messages hold, and that is told") {
    scene group;
    int releases = 0;
    group.memory->on_release([&] { ++releases; });
    auto& sink = group.start_at(1, first, 7);
    group.bring(*group.poll(1), 1000);
    CHECK(!group.poll(1));
    sink.kept.back().unread = {};
    CHECK(releases == 1);
    auto asked = group.poll(1);
    REQUIRE(asked);
    CHECK(!group.planner->take_over_budget()); // there is room
    group.bring(*std::move(asked), 1000);
    group.memory->promise(std::size_t{1} << 20);
    CHECK(!group.poll(1));
    sink.kept.back().unread = {};
    CHECK(releases == 2);
    asked = group.poll(1);
    REQUIRE(asked);
    CHECK(group.planner->take_over_budget() != nullptr);
    group.bring(*std::move(asked), 0);
    asked = group.poll(1);
    REQUIRE(asked);
    CHECK(!group.planner->take_over_budget()); // it was told
}

TEST_CASE("claims that decompress more than there is of memory are told once") {
    scene group;
    int wakes = 0;
    group.memory->on_release([&] { ++wakes; });
    auto const& sink = group.start_at(1, first, 7);
    group.bring(*group.poll(1), 1);
    auto const& claim = sink.kept.back().memory;
    std::vector<byte_buffer> buffers(10);
    for (auto& buffer : buffers) {
        REQUIRE(buffer.reserve(std::size_t{1} << 18));
        claim->hold_decompressed(buffer.capacity());
    }
    CHECK(wakes == 1); // also if nobody is asked
    group.prepare();
    CHECK(group.planner->take_over_budget() != nullptr);
    CHECK(!group.planner->take_over_budget());
    bool all = false;
    SUBCASE("and not again around the limit") {}
    SUBCASE("and again behind a time with much room") { all = true; }
    for (std::size_t i = 0; i != (all ? 10 : 7); ++i) {
        claim->let_go_of_decompressed(std::move(buffers[i]));
    }
    group.prepare();
    for (int i = 0; i != 10; ++i) {
        claim->hold_decompressed(std::size_t{1} << 18);
    }
    group.prepare();
    CHECK((group.planner->take_over_budget() != nullptr) == all);
}

TEST_CASE("nobody is woken by memory that nobody waits for") {
    scene group;
    int releases = 0;
    group.memory->on_release([&] { ++releases; });
    auto& sink = group.start_at(1, first, 7);
    group.bring(*group.poll(1), 1);
    CHECK(group.poll(1));
    sink.kept.clear();
    CHECK(releases == 0);
}

TEST_CASE("what must not wait behind a poll is asked by its kind") {
    scene group;
    group.start_at(1, first, partition_fetch::latest);
    group.start_at(1, second, 7, 3);
    group.broker(1).abilities = {.diverging = false}; // so that epochs are asked for
    group.prepare();
    CHECK(group.broker(1).has_others);
    CHECK(!group.broker(1).has_fetches);
    auto const offsets = group.planner->others(api::list_offsets, group.broker(1), group.now);
    CHECK(scene::names(offsets) == names{first});
    CHECK(offsets->key == api::list_offsets);
    CHECK(offsets->wait == 0ms);
    CHECK(offsets->ends == group.now);
    CHECK(offsets->promised == 0);
    auto const epochs = group.planner->others(api::leader_epoch, group.broker(1), group.now);
    CHECK(scene::names(epochs) == names{second});
    CHECK(!group.planner->others(api::leader_epoch, group.broker(1), group.now));
}

} // namespace
} // namespace fetch_inquiry_planner_tests
