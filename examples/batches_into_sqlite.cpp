// SPDX-License-Identifier: MIT

// Records into a database, many in one transaction: a batch is complete with 500 records or after
// 200 ms, and is tried again when the database is busy.
//
// Writes some orders of a Kafka embedded in this process into an SQLite database in memory.
// tests/group/examples/batches_into_sqlite.cpp tests the handler in virtual time.

#include "batches_into_sqlite.hpp"

#include <kgroup/testing/embedded_cluster.hpp>

#include <asio/io_context.hpp>

#include <cstddef>
#include <exception>
#include <iostream>
#include <string>

int main() try {
    constexpr std::size_t orders = 2200;
    kgroup::testing::embedded_cluster cluster;
    cluster.create_topic("orders", 1);
    for (std::size_t i = 0; i != orders; ++i) {
        cluster.produce("orders", 0, "order " + std::to_string(i));
    }
    asio::io_context context;
    kgroup::consumer_group group{context,
                                 {.brokers = cluster.brokers(),
                                  .group_id = "archive",
                                  .topics = {"orders"},
                                  .initial_offset = kgroup::offset_reset::earliest}};
    examples::record_table table{":memory:"};
    std::size_t transactions = 0;
    examples::order_archive archive{table, [&] {
                                        ++transactions;
                                        if (table.size() == orders) {
                                            group.stop();
                                        }
                                    }};
    std::exception_ptr failure;
    group.async_run(archive, [&](std::exception_ptr error) { failure = error; });
    context.run();
    if (failure) {
        std::rethrow_exception(failure);
    }
    std::cout << table.size() << " orders in " << transactions << " transactions\n";
} catch (std::exception const& error) {
    std::cerr << error.what() << '\n';
    return 1;
}
