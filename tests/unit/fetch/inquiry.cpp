// SPDX-License-Identifier: MIT

#include <kgroup/detail/fetch/fetch_message.hpp>
#include <kgroup/detail/fetch/inquiry.hpp>
#include <kgroup/detail/fetch/list_offsets_message.hpp>
#include <kgroup/topic_partition.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace fetch_inquiry_tests {
namespace {

using namespace kgroup::detail::fetch;
using namespace std::chrono_literals;
using kgroup::topic_partition;

constexpr topic_uuid orders_id{1};
constexpr topic_uuid payments_id{2};

struct scene {
    std::shared_ptr<answer_memory> memory = std::make_shared<answer_memory>(1 << 20);
    std::vector<std::shared_ptr<fetched_partition>> partitions;
    std::vector<fetch_turns::turn> taken;
    time_point now{1h};

    /// Takes a partition's turn.
    void take(topic_partition const& name, topic_uuid const& id,
              std::int64_t from = partition_fetch::earliest) {
        auto const& added = partitions.emplace_back(
            std::make_shared<fetched_partition>(name, fetch_settings{}, memory));
        added->on_metadata(1, 5, id);
        added->begin(1, from, -1, nullptr);
        taken.push_back({added.get(), added->ask(now, {}).value()});
    }
    static std::vector<topic_partition> names(inquiry const& asked) {
        std::vector<topic_partition> result;
        for (auto const& [partition, question] : asked.subjects) {
            result.push_back(partition->name());
        }
        return result;
    }
    static std::vector<topic_partition> unanswered(inquiry const& asked) {
        std::vector<topic_partition> result;
        asked.for_each_unanswered(
            [&](inquiry::subject const& lost) { result.push_back(lost.partition->name()); });
        return result;
    }
};

using names = std::vector<topic_partition>;

TEST_CASE("a fetch asks in the order of the turns, other requests by topic") {
    scene in_turn;
    in_turn.take({"payments", 0}, payments_id, 7);
    in_turn.take({"orders", 3}, orders_id, 8);
    in_turn.take({"payments", 1}, payments_id, 9);
    inquiry const fetch{api::fetch, in_turn.taken};
    CHECK(scene::names(fetch) == names{{"payments", 0}, {"orders", 3}, {"payments", 1}});
    CHECK(fetch.subjects[1].question.offset == 8);

    scene by_topic;
    by_topic.take({"payments", 0}, payments_id);
    by_topic.take({"orders", 3}, orders_id);
    by_topic.take({"payments", 1}, payments_id, partition_fetch::latest);
    inquiry const others{api::list_offsets, by_topic.taken};
    CHECK(others.subjects.size() == 3);
    for (auto const& [partition, question] : others.subjects) {
        bool const last = partition->name() == topic_partition{"payments", 1};
        CHECK(question.timestamp == (last ? partition_fetch::latest : partition_fetch::earliest));
    }
    CHECK(others.subjects[0].partition->name() == topic_partition{"orders", 3});
    CHECK(others.subjects[1].partition->name().topic == "payments");
    CHECK(others.subjects[2].partition->name().topic == "payments");
}

TEST_CASE("a part of an answer finds whom it is about, once") {
    scene group;
    group.take({"payments", 0}, payments_id);
    group.take({"orders", 0}, orders_id);
    group.take({"orders", 1}, orders_id);
    inquiry asked{api::list_offsets, group.taken};
    auto const take = [&](std::string const& topic, std::int32_t number) {
        list_offsets_answer::partition part;
        part.topic = topic;
        part.number = number;
        auto const* const subject = asked.take(part);
        return subject ? subject->partition->name() : topic_partition{};
    };
    CHECK(take("payments", 0) == topic_partition{"payments", 0});
    CHECK(take("orders", 1) == topic_partition{"orders", 1});
    CHECK(take("orders", 1) == topic_partition{}); // a second time
    CHECK(take("orders", 2) == topic_partition{}); // not asked
    CHECK(take("refunds", 0) == topic_partition{});
    CHECK(scene::unanswered(asked) == names{{"orders", 0}});
}

TEST_CASE("parts of an answer to a fetch are found by the topics' ids") {
    scene group;
    group.take({"payments", 0}, payments_id, 0);
    group.take({"orders", 0}, orders_id, 0);
    inquiry asked{api::fetch, group.taken};
    CHECK(asked.knows_ids());
    fetch_answer::partition part;
    part.number = 0;
    CHECK(asked.take(part) == nullptr); // with no id
    part.topic_id = orders_id;
    auto const* const subject = asked.take(part);
    REQUIRE(subject != nullptr);
    CHECK(subject->partition->name() == topic_partition{"orders", 0});
    CHECK(scene::unanswered(asked) == names{{"payments", 0}});
}

TEST_CASE("topics are asked by their ids if all are known") {
    scene group;
    group.take({"orders", 0}, orders_id, 0);
    CHECK(inquiry{api::fetch, group.taken}.knows_ids());
    group.take({"payments", 0}, {}, 0);
    CHECK(!inquiry{api::fetch, group.taken}.knows_ids());
}

TEST_CASE("what is asked about the cluster is about no partition") {
    inquiry asked{api::metadata};
    CHECK(asked.key == api::metadata);
    CHECK(asked.subjects.empty());
    CHECK(scene::unanswered(asked).empty());
    CHECK(asked.take(list_offsets_answer::partition{}) == nullptr);
}

TEST_CASE("a request under way keeps the partitions that it asks about, wherever it goes") {
    scene group;
    group.take({"orders", 0}, orders_id);
    inquiry first{api::list_offsets, group.taken};
    std::weak_ptr<fetched_partition> const asked_about = group.partitions.front();
    group.partitions.clear();
    inquiry moved = std::move(first);
    CHECK(!asked_about.expired());
    list_offsets_answer::partition part;
    part.topic = "orders";
    part.number = 0;
    CHECK(moved.take(part) == &moved.subjects.front());
}

} // namespace
} // namespace fetch_inquiry_tests
