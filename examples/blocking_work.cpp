// SPDX-License-Identifier: MIT

// Work that blocks or computes for long belongs on a pool of threads, not on the group's executor:
// while a handler blocks, everything else on its thread waits, and when every thread of the
// executor is blocked for max.poll.interval.ms, the group takes the partitions away. A handler that
// awaits the pool may take as long as it likes.
//
// Factorises some numbers, on a Kafka embedded in this process.

#include <kgroup/kgroup.hpp>
#include <kgroup/testing/embedded_cluster.hpp>

#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <asio/thread_pool.hpp>
#include <asio/use_awaitable.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <iostream>
#include <string>
#include <vector>

// Blocks the thread it runs on for some tenths of a second.
asio::awaitable<std::uint64_t> smallest_factor(std::uint64_t number) {
    for (std::uint64_t candidate = 2; candidate * candidate <= number; ++candidate) {
        if (number % candidate == 0) {
            co_return candidate;
        }
    }
    co_return number;
}

struct factoriser {
    asio::thread_pool& pool;
    kgroup::consumer_group& group;
    std::size_t left;

    asio::awaitable<void> consume_claim(kgroup::session&, kgroup::claim& claim) {
        while (auto message = co_await claim.messages().async_receive()) {
            auto const number = std::stoull(std::string{message->value()});
            auto const factor =
                co_await asio::co_spawn(pool, smallest_factor(number), asio::use_awaitable);
            // Here it is the executor's thread again: `left` needs no lock.
            std::cout << number << " = " << factor << " * " << number / factor << std::endl;
            claim.mark(*message);
            if (--left == 0) {
                group.stop();
            }
        }
    }
};

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

    asio::thread_pool pool;
    asio::io_context context;
    kgroup::consumer_group group{context,
                                 {.brokers = cluster.brokers(),
                                  .group_id = "factorisers",
                                  .topics = {"numbers"},
                                  .initial_offset = kgroup::offset_reset::earliest}};
    factoriser handler{pool, group, produced};
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
