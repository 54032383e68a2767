// SPDX-License-Identifier: MIT

// A service that reads orders and writes bills: order by customer, three attempts, and what cannot
// be done goes to a topic of its own. An order is committed when its bill, or its dead letter, has
// been acknowledged.
//
// Bills some orders, one of which nobody can read, on a Kafka embedded in this process.

#include <kgroup/dead_letters.hpp>
#include <kgroup/for_each.hpp>
#include <kgroup/kgroup.hpp>
#include <kgroup/producer.hpp>
#include <kgroup/testing/embedded_cluster.hpp>

#include <asio/io_context.hpp>

#include <charconv>
#include <chrono>
#include <exception>
#include <iostream>
#include <string>
#include <string_view>

using namespace std::chrono_literals;

int price_of(std::string_view order) {
    int pieces = 0;
    if (std::from_chars(order.data(), order.data() + order.size(), pieces).ec != std::errc{}) {
        throw kgroup::permanent_failure{"not a number of pieces: " + std::string{order}};
    }
    return 3 * pieces;
}

struct billing {
    kgroup::producer& out;
    kgroup::dead_letters& letters;
    kgroup::consumer_group& group;
    int left;

    asio::awaitable<void> consume_claim(kgroup::session&, kgroup::claim& claim) {
        auto bill = [this](kgroup::message const& order) -> asio::awaitable<void> {
            auto const price = std::to_string(price_of(order.value()));
            auto const where =
                co_await out.async_send({.topic = "bills", .key = order.key(), .value = price});
            std::cout << order.key() << " pays " << price << " (bill " << where.offset << ")"
                      << std::endl;
            if (--left == 0) {
                group.stop();
            }
        };
        co_await kgroup::for_each(claim,
                                  {.order = kgroup::order::by_key,
                                   .retry = {.attempts = 3, .backoff = {.initial = 50ms}},
                                   .dead_letters = &letters},
                                  bill);
    }
};

int main() try {
    kgroup::testing::embedded_cluster cluster;
    cluster.create_topic("orders", 1);
    cluster.create_topic("orders.dlq", 1);
    cluster.create_topic("bills", 1);
    using record = kgroup::testing::embedded_cluster::record;
    cluster.produce("orders", 0, record{.key = "ada", .value = "2"},
                    record{.key = "bob", .value = "many"}, record{.key = "cleo", .value = "5"});

    asio::io_context context;
    kgroup::connection const connection{.brokers = cluster.brokers()};
    kgroup::producer out{context, {.connection = connection}};
    kgroup::dead_letters letters{out, {.group = "billing"}};
    kgroup::consumer_group group{
        context, kgroup::connected(connection, {.group_id = "billing",
                                                .topics = {"orders"},
                                                .initial_offset = kgroup::offset_reset::earliest})};
    std::exception_ptr failure;
    group.async_run(billing{out, letters, group, 2}, [&](std::exception_ptr error) {
        failure = error;
        out.stop(); // what is under way has `close_timeout`
    });
    context.run();
    if (failure) {
        std::rethrow_exception(failure);
    }
    std::cout << cluster.log_end("orders.dlq", 0) << " dead letter" << std::endl;
} catch (std::exception const& error) {
    std::cerr << error.what() << '\n';
    return 1;
}
