// SPDX-License-Identifier: MIT

// Many records at a time, those of one customer in their order: while a record of a customer waits
// for its next attempt, only that customer waits.
//
// Books some orders on a Kafka embedded in this process; the warehouse is slow, and fails at times.
// tests/group/examples/by_key.cpp tests the service in virtual time.

#include "by_key.hpp"

#include <kgroup/testing/embedded_cluster.hpp>

#include <asio/io_context.hpp>

#include <cstddef>
#include <exception>
#include <iostream>
#include <string>

int main() try {
    constexpr std::size_t orders = 60;
    kgroup::testing::embedded_cluster cluster;
    cluster.create_topic("orders", 1);
    for (std::size_t i = 0; i != orders; ++i) {
        auto const* const customer = i % 3 == 0 ? "ada" : i % 3 == 1 ? "bob" : "eve";
        cluster.produce(
            "orders", 0,
            kgroup::testing::embedded_cluster::record{.key = customer, .value = std::to_string(i)});
    }
    asio::io_context context;
    kgroup::consumer_group group{context,
                                 {.brokers = cluster.brokers(),
                                  .group_id = "orders",
                                  .topics = {"orders"},
                                  .initial_offset = kgroup::offset_reset::earliest}};
    examples::slow_warehouse warehouse;
    std::size_t left = orders;
    examples::booking_service service{warehouse, [&] {
                                          if (--left == 0) {
                                              group.stop();
                                          }
                                      }};
    std::exception_ptr failure;
    group.async_run(service, [&](std::exception_ptr error) { failure = error; });
    context.run();
    if (failure) {
        std::rethrow_exception(failure);
    }
    for (auto const& [customer, booked] : warehouse.booked) {
        std::cout << customer << ":";
        for (auto const& order : booked) {
            std::cout << ' ' << order;
        }
        std::cout << '\n';
    }
} catch (std::exception const& error) {
    std::cerr << error.what() << '\n';
    return 1;
}
