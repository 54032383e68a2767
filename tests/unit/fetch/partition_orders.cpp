// SPDX-License-Identifier: MIT

#include <kgroup/detail/fetch/partition_orders.hpp>

#include <doctest/doctest.h>

#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "support/reading_sink.hpp"

namespace partition_orders_tests {
namespace {

using namespace kgroup::detail::fetch;
using kgroup::topic_partition;
using kgroup::tests::reading_sink;

topic_partition const first{"t", 0};
topic_partition const second{"t", 1};

std::vector<partition_orders::order> take(partition_orders& from) {
    std::vector<partition_orders::order> result;
    from.take([&](auto& order) { result.push_back(std::move(order)); });
    return result;
}

TEST_CASE("partition_orders: what is newer overrides what is older") {
    partition_orders orders;
    auto const old_sink = std::make_shared<reading_sink>();
    orders.start(first, {1, 10, -1, old_sink});
    orders.want(first, 1, false);
    orders.start(first, {2, 20, 7, std::make_shared<reading_sink>()});
    CHECK(old_sink.use_count() == 1);
    orders.want(first, 1, false); // of the old start
    auto taken = take(orders);
    REQUIRE(taken.size() == 1);
    CHECK(*taken[0].partition == first);
    CHECK_FALSE(taken[0].stop);
    REQUIRE(taken[0].start);
    CHECK(taken[0].start->ticket == 2);
    CHECK(taken[0].start->from == 20);
    CHECK(taken[0].start->leader_epoch == 7);
    CHECK(taken[0].more);
    CHECK(take(orders).empty());
    orders.want(first, 2, false);
    orders.found(first, 2, {5, 30, damage::checksum});
    taken = take(orders);
    REQUIRE(taken.size() == 1);
    CHECK_FALSE(taken[0].start);
    CHECK_FALSE(taken[0].more);
    REQUIRE(taken[0].found);
    CHECK(taken[0].found->at == 30);
}

TEST_CASE("partition_orders: a stop, and a start behind it") {
    partition_orders orders;
    auto const sink = std::make_shared<reading_sink>();
    orders.stop(first); // never started
    CHECK(take(orders).empty());
    orders.start(first, {1, 0, -1, sink});
    orders.stop(first);
    orders.want(first, 1, true); // too late
    CHECK(sink.use_count() == 1);
    auto taken = take(orders);
    REQUIRE(taken.size() == 1);
    CHECK(taken[0].stop);
    CHECK_FALSE(taken[0].start);
    orders.start(first, {2, 0, -1, sink});
    CHECK(take(orders).size() == 1);
    orders.stop(first);
    orders.start(first, {3, 0, -1, sink});
    orders.start(second, {4, 0, -1, sink});
    taken = take(orders);
    REQUIRE(taken.size() == 2);
    CHECK(*taken[1].partition == first);
    CHECK(taken[1].stop);
    REQUIRE(taken[1].start);
    CHECK(taken[1].start->ticket == 3);
}

TEST_CASE("partition_orders: what could not be carried out is repeated, unless there is newer") {
    partition_orders orders;
    auto const sink = std::make_shared<reading_sink>();
    auto const fail = [](auto&) { throw std::bad_alloc{}; };
    orders.start(first, {1, 0, -1, sink});
    CHECK_THROWS_AS(orders.take(fail), std::bad_alloc);
    auto taken = take(orders);
    REQUIRE(taken.size() == 1);
    REQUIRE(taken[0].start);
    CHECK(taken[0].start->ticket == 1);
    orders.start(first, {2, 0, -1, sink});
    CHECK_THROWS_AS(orders.take([&](auto&) {
        orders.stop(first);
        throw std::bad_alloc{};
    }),
                    std::bad_alloc);
    taken = take(orders);
    REQUIRE(taken.size() == 1);
    CHECK(taken[0].stop);
    CHECK_FALSE(taken[0].start);
}

} // namespace
} // namespace partition_orders_tests
