// SPDX-License-Identifier: MIT

#include <kgroup/topic_partition.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <set>
#include <type_traits>
#include <unordered_set>
#include <vector>

using kgroup::topic_partition;

TEST_CASE("topic_partition: equal when topic and partition are") {
    CHECK(topic_partition{"orders", 3} == topic_partition{"orders", 3});
    CHECK(topic_partition{"orders", 3} != topic_partition{"orders", 4});
    CHECK(topic_partition{"orders", 3} != topic_partition{"order", 3});
    CHECK(topic_partition{} == topic_partition{"", 0});
}

TEST_CASE("topic_partition: ordered by topic, then by partition as a number") {
    std::vector<topic_partition> all{{"b", 0}, {"a", 10}, {"a", 9}, {"a", 2}, {"", 99}};
    std::sort(all.begin(), all.end());
    CHECK(all == std::vector<topic_partition>{{"", 99}, {"a", 2}, {"a", 9}, {"a", 10}, {"b", 0}});
}

TEST_CASE("topic_partition: keeps its own copy of the name") {
    std::string name = "orders";
    topic_partition const kept{name, 0};
    name = "changed";
    CHECK(kept.topic == "orders");
    static_assert(std::is_nothrow_move_constructible_v<topic_partition>);
}

TEST_CASE("topic_partition: equal ones hash alike, a topic's partitions and namesakes spread") {
    CHECK(std::hash<topic_partition>{}({"orders", 3}) ==
          std::hash<topic_partition>{}({"orders", 3}));

    std::set<std::size_t> hashes;
    std::set<std::size_t> lower_bytes;
    std::unordered_set<topic_partition> set;
    for (char const* const topic : {"orders", "payments", "order", "s", ""}) {
        for (std::int32_t partition = 0; partition != 1000; ++partition) {
            topic_partition const value{topic, partition};
            CHECK(set.insert(value).second);
            hashes.insert(std::hash<topic_partition>{}(value));
            lower_bytes.insert(std::hash<topic_partition>{}(value)&0xff);
        }
    }
    CHECK(hashes.size() == 5000);
    CHECK(lower_bytes.size() == 256);
    CHECK(set.count({"payments", 999}) == 1);
    CHECK(set.count({"payments", 1000}) == 0);
}
