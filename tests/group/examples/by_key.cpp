// SPDX-License-Identifier: MIT

// The service of examples/by_key.cpp in virtual time.

#include "../../../examples/by_key.hpp"

#include <kgroup/testing/clock.hpp>
#include <kgroup/testing/fake_client.hpp>

#include <asio/io_context.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <cstddef>
#include <exception>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace by_key_example_tests {

namespace {

using namespace examples;
using namespace std::chrono_literals;
using booked_orders = std::vector<std::string>;

struct booking_test {
    kgroup::testing::fake_cluster cluster;
    slow_warehouse warehouse;
    std::size_t calls = 0;
    booking_service service{warehouse, [this] { ++calls; }};
    asio::io_context context;
    kgroup::testing::fake_group group{context,
                                      {.brokers = cluster.brokers(),
                                       .group_id = "orders",
                                       .topics = {"orders"},
                                       .initial_offset = kgroup::offset_reset::earliest}};
    kgroup::topic_partition const partition{"orders", 0};
    bool completed = false;

    booking_test() {
        group.async_run(service, [this](std::exception_ptr failure) { completed = !failure; });
        cluster.assign({partition});
        kgroup::testing::run_ready(context);
    }

    void add(std::string customer, std::string order) {
        cluster.add_records(partition, kgroup::testing::fake_cluster::record{
                                           .key = std::move(customer), .value = std::move(order)});
    }
    booked_orders const& booked(std::string const& customer) { return warehouse.booked[customer]; }
};

TEST_CASE_FIXTURE(booking_test, "examples: by key, customers are served side by side, each in the "
                                "order of his orders") {
    for (auto const* const order : {"1", "2", "3"}) {
        add("ada", order);
        add("eve", order);
    }
    kgroup::testing::advance(context, 20ms);
    CHECK(booked("ada") == booked_orders{"1"});
    CHECK(booked("eve") == booked_orders{"1"});
    kgroup::testing::advance(context, 20ms);
    kgroup::testing::advance(context, 20ms);
    CHECK(booked("ada") == booked_orders{"1", "2", "3"});
    CHECK(booked("eve") == booked_orders{"1", "2", "3"});
}

TEST_CASE_FIXTURE(booking_test, "examples: by key, while an order waits for its retry only its "
                                "customer waits") {
    add("bob", "1");
    add("bob", "2");
    add("ada", "1");
    add("ada", "2");
    kgroup::testing::advance(context, 20ms); // bob's first order is refused
    kgroup::testing::advance(context, 20ms);
    CHECK(booked("ada") == booked_orders{"1", "2"});
    CHECK(booked("bob").empty());
    REQUIRE(kgroup::testing::advance_until(
        context, [&] { return booked("bob").size() == 2; }, 10s));
    CHECK(booked("bob") == booked_orders{"1", "2"});
}

TEST_CASE_FIXTURE(booking_test, "examples: by key, at a rebalance what runs finishes, and what "
                                "waits for its retry is the next owner's") {
    add("ada", "1");
    add("bob", "1");
    add("ada", "2");
    kgroup::testing::advance(context, 20ms); // ada's second begins, bob's waits for its retry
    cluster.revoke();
    kgroup::testing::run_ready(context);
    CHECK(booked("ada") == booked_orders{"1"});
    kgroup::testing::advance(context, 20ms);
    CHECK(booked("ada") == booked_orders{"1", "2"});
    CHECK(booked("bob").empty());
    CHECK(cluster.committed(partition) == 1); // bob's order is the first that is not done

    cluster.assign({partition});
    REQUIRE(kgroup::testing::advance_until(
        context, [&] { return booked("bob").size() == 1; }, 10s));
    CHECK(booked("ada") == booked_orders{"1", "2", "2"}); // done above bob's, and so again
    group.stop();
    kgroup::testing::run_ready(context);
    CHECK(completed);
    CHECK(cluster.committed(partition) == 3);
}

} // namespace

} // namespace by_key_example_tests
