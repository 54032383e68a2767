// SPDX-License-Identifier: MIT

// Many records at a time, those of one customer in their order: while a record of a customer waits
// for its next attempt, only that customer waits.
//
// Books some orders on a Kafka embedded in this process; the warehouse is slow, and fails at times.

#include <kgroup/for_each.hpp>
#include <kgroup/kgroup.hpp>
#include <kgroup/testing/embedded_cluster.hpp>
#include <kgroup/timer.hpp>

#include <asio/awaitable.hpp>
#include <asio/io_context.hpp>
#include <asio/this_coro.hpp>

#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

using namespace std::chrono_literals;

// Takes a while for each order, and refuses each order of a customer's once when it is busy.
struct slow_warehouse {
    asio::awaitable<void> book(std::string customer, std::string order, bool busy) {
        kgroup::timer work{co_await asio::this_coro::executor};
        work.expires_after(20ms);
        co_await work.async_wait();
        if (busy) {
            throw std::runtime_error{"the warehouse is busy"};
        }
        booked[customer].push_back(order);
    }

    std::map<std::string, std::vector<std::string>> booked{};
};

struct order_service {
    slow_warehouse& warehouse;
    std::function<void()> after_each;

    asio::awaitable<void> consume_claim(kgroup::session&, kgroup::claim& claim) {
        auto book = [this](kgroup::message const& message,
                           kgroup::attempt const& attempt) -> asio::awaitable<void> {
            auto const busy = message.key() == "bob" && attempt.number() == 1;
            co_await warehouse.book(std::string{message.key()}, std::string{message.value()}, busy);
            after_each();
        };
        co_await kgroup::for_each(
            claim,
            {.order = kgroup::order::by_key,
             .in_flight = 100,
             .retry = {.attempts = 5, .backoff = {.initial = 50ms, .max = 5s}}},
            book);
    }
};

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
    slow_warehouse warehouse;
    std::size_t left = orders;
    order_service service{warehouse, [&] {
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
