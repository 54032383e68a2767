// SPDX-License-Identifier: MIT

// Several workers share the records of a claim, and each has a connection of its own. Records are
// done in another order than they came in, so each is acknowledged by itself: what is committed
// never passes one that is not done. Where workers have nothing of their own, for_each does this.
//
// Prints some labels on a Kafka embedded in this process.
// tests/group/examples/workers.cpp tests the handler in virtual time.

#include "workers.hpp"

#include <kgroup/testing/embedded_cluster.hpp>

#include <asio/io_context.hpp>

#include <exception>
#include <iostream>

int main() try {
    kgroup::testing::embedded_cluster cluster;
    cluster.create_topic("labels", 1);
    for (auto const* const label : {"Constantinople", "Rome", "Alexandria", "Ur", "Jerusalem"}) {
        cluster.produce("labels", 0, label);
    }
    asio::io_context context;
    kgroup::consumer_group group{context,
                                 {.brokers = cluster.brokers(),
                                  .group_id = "printers",
                                  .topics = {"labels"},
                                  .initial_offset = kgroup::offset_reset::earliest}};
    examples::label_printer handler;
    std::exception_ptr failure;
    group.async_run(handler, [&](std::exception_ptr error) { failure = error; });
    while (handler.printed.size() != 5 && context.run_one() != 0) {
    }
    group.stop();
    context.run();
    if (failure) {
        std::rethrow_exception(failure);
    }
    for (auto const& label : handler.printed) {
        std::cout << label << '\n';
    }
    std::cout << "committed: " << *cluster.committed("printers", "labels", 0) << '\n';
} catch (std::exception const& error) {
    std::cerr << error.what() << '\n';
    return 1;
}
