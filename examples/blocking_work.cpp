// SPDX-License-Identifier: MIT

// Work that blocks or computes for long belongs on a pool of threads, not on the group's executor:
// while a handler blocks, everything else on its thread waits, and when every thread of the
// executor is blocked for max.poll.interval.ms, the group takes the partitions away. for_each with
// the pool's executor runs its function there; a kgroup::limit keeps the claims from queueing more
// than the pool has threads for, and lets them take turns.
//
// Factorises some numbers, on a Kafka embedded in this process.
// tests/group/examples/blocking_work.cpp tests the handler without threads.

#include "blocking_work.hpp"

#include <kgroup/testing/embedded_cluster.hpp>

#include <asio/io_context.hpp>
#include <asio/thread_pool.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <iostream>
#include <string>
#include <vector>

int main() try {
    kgroup::testing::embedded_cluster cluster;
    cluster.create_topic("numbers", 4);
    std::vector<std::uint64_t> const primes{67867967, 67867979, 86028121, 86028157};
    std::size_t produced = 0;
    for (auto const one : primes) {
        for (auto const other : primes) {
            cluster.produce("numbers", static_cast<std::int32_t>(produced++ % 4),
                            std::to_string(one * other));
        }
    }

    constexpr std::size_t threads = 4;
    asio::thread_pool pool{threads};
    asio::io_context context;
    kgroup::consumer_group group{context,
                                 {.brokers = cluster.brokers(),
                                  .group_id = "factorisers",
                                  .topics = {"numbers"},
                                  .initial_offset = kgroup::offset_reset::earliest}};
    std::atomic<std::size_t> left{produced};
    examples::factoriser handler{
        pool.get_executor(), threads, [&](std::uint64_t number, std::uint64_t factor) {
            std::cout << std::to_string(number) + " = " + std::to_string(factor) + " * " +
                             std::to_string(number / factor) + "\n";
            if (--left == 0) {
                group.stop();
            }
        }};
    std::exception_ptr failure;
    group.async_run(handler, [&](std::exception_ptr error) { failure = error; });
    context.run();
    if (failure) {
        std::rethrow_exception(failure);
    }
} catch (std::exception const& error) {
    std::cerr << error.what() << '\n';
    return 1;
}
