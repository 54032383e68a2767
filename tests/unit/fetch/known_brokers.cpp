// SPDX-License-Identifier: MIT

#include <kgroup/detail/fetch/known_brokers.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

namespace fetch_known_brokers_tests {
namespace {

using namespace kgroup::detail::fetch;
using namespace std::chrono_literals;
using named = metadata_answer::broker;

constexpr time_point now{1h};

struct scene {
    known_brokers brokers{"first:1,second:2"};
    std::vector<std::string> left; // addresses

    void take(std::vector<named> const& told) {
        brokers.take(told, [&](known_broker& one) { left.push_back(to_string(one.address)); });
    }
    void drop_gone() {
        brokers.drop_gone([&](known_broker& one) { left.push_back(to_string(one.address)); });
    }
    std::vector<std::string> all() {
        std::vector<std::string> result;
        for (std::size_t i = 0; i != brokers.size(); ++i) {
            result.push_back(to_string(brokers.at(i).address));
        }
        return result;
    }
};

using texts = std::vector<std::string>;

TEST_CASE(
    "first the addresses of the configuration are known, and then those that are named, too") {
    scene cluster;
    CHECK(cluster.all() == texts{"first:1", "second:2"});
    CHECK(cluster.brokers.at(0).id == -1);
    CHECK(cluster.brokers.named().empty());
    CHECK(cluster.brokers.find(-1) == nullptr);

    cluster.take({{7, "seven", 9092}, {3, "three", 9093}});
    CHECK(cluster.all() == texts{"three:9093", "seven:9092", "first:1", "second:2"});
    CHECK(cluster.brokers.contains(7));
    CHECK(!cluster.brokers.contains(4));
    REQUIRE(cluster.brokers.find(7) != nullptr);
    CHECK(cluster.brokers.find(7)->id == 7);
    std::size_t count = 0;
    cluster.brokers.for_each([&](known_broker&) { ++count; });
    CHECK(count == 4);
    CHECK(cluster.left.empty());
}

TEST_CASE("what cannot be a broker is passed over") {
    scene cluster;
    cluster.take(
        {{-1, "a", 1}, {1, "", 1}, {2, "a", 0}, {3, "a", 65536}, {4, "a", -1}, {5, "a", 65535}});
    CHECK(cluster.brokers.named().size() == 1);
    CHECK(cluster.brokers.contains(5));
}

TEST_CASE("a broker that is not named any more is left when it is dropped, and not before") {
    scene cluster;
    cluster.take({{1, "one", 1}, {2, "two", 2}});
    auto* const one = cluster.brokers.find(1);
    cluster.take({{2, "two", 2}});
    CHECK(cluster.brokers.find(1) == one);
    CHECK(one->gone);
    CHECK(!cluster.brokers.contains(1)); // nobody is to be led by it
    CHECK(cluster.left.empty());
    cluster.take({{1, "one", 1}, {2, "two", 2}}); // it is back in time
    CHECK(cluster.brokers.contains(1));
    cluster.drop_gone();
    CHECK(cluster.left.empty());
    cluster.take({{2, "two", 2}});
    cluster.drop_gone();
    CHECK(cluster.left == texts{"one:1"});
    CHECK(cluster.brokers.find(1) == nullptr);
    CHECK(cluster.brokers.contains(2));
}

TEST_CASE("an answer without brokers does not end those that are known") {
    scene cluster;
    cluster.take({{1, "one", 1}});
    cluster.take({});
    cluster.drop_gone();
    CHECK(cluster.brokers.contains(1));
}

TEST_CASE("a broker at another address is left at the old one, and not paused at the new one") {
    scene cluster;
    cluster.take({{1, "one", 1}});
    auto& one = *cluster.brokers.find(1);
    one.pauses.on_closed(100ms, 10s, 25, now);
    cluster.take({{1, "one", 1}});
    CHECK(cluster.left.empty());
    CHECK(!one.pauses.may_connect(now));
    cluster.take({{1, "one", 2}});
    CHECK(cluster.left == texts{"one:1"});
    CHECK(to_string(one.address) == "one:2");
    CHECK(one.pauses.may_connect(now));
    cluster.take({{1, "elsewhere", 2}});
    CHECK(cluster.left == texts{"one:1", "one:2"});
}

TEST_CASE("nothing is known behind the end") {
    scene cluster;
    cluster.take({{1, "one", 1}});
    cluster.brokers.clear();
    CHECK(cluster.brokers.size() == 0);
}

} // namespace
} // namespace fetch_known_brokers_tests
