// SPDX-License-Identifier: MIT

// A whole service: books orders, a customer's one after another, with retries, and sends those that
// cannot be booked to the topic orders.dlq; keeps payments in an SQLite database, in batches;
// serves metrics and probes over HTTP; ends in order at SIGINT and SIGTERM.
//
//     orders orders.json orders.db 8080
//
// What it does with a record stands in orders.hpp; tests/group/examples/orders.cpp tests that in
// virtual time.

#include "orders.hpp"

#include <kgroup/app.hpp>
#include <kgroup/dead_letters.hpp>
#include <kgroup/producer.hpp>
#include <kgroup/timer.hpp>

#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <asio/this_coro.hpp>

#include <chrono>
#include <exception>
#include <iostream>
#include <optional>
#include <string>
#include <utility>

#include "support/health_server.hpp"

// Stands for a client of the real one.
class distant_warehouse final : public examples::warehouse {
public:
    asio::awaitable<void> book(examples::order wanted, std::string traceparent) override {
        kgroup::timer answer{co_await asio::this_coro::executor};
        answer.expires_after(std::chrono::milliseconds{5});
        co_await answer.async_wait();
        std::cout << wanted.customer << ": " << wanted.pieces << ' ' << wanted.article << ' '
                  << traceparent << std::endl;
    }
};

int main(int argc, char** argv) try {
    auto const port = argc == 4 ? health_server::port_of(argv[3]) : std::nullopt;
    if (!port) {
        std::cerr << "usage: orders FILE DATABASE PORT\n";
        return 2;
    }
    auto const config = kgroup::load_app_config(argv[1]);
    examples::record_table payments{argv[2]};
    distant_warehouse stock;

    asio::io_context context;
    kgroup::producer out{context, {.connection = kgroup::connection_of(config.group)}};
    kgroup::dead_letters letters{out, {.group = config.group.group_id}};
    kgroup::consumer_app<examples::order_service> app{config, std::in_place, stock, payments,
                                                      letters};
    health_server const health{app, "127.0.0.1", *port};
    std::cout << "http://127.0.0.1:" << health.port() << std::endl;

    std::exception_ptr failure;
    asio::co_spawn(context, app.async_run(), [&](std::exception_ptr end) {
        failure = end;
        out.stop(); // what is under way has `close_timeout`
    });
    context.run();
    if (failure) {
        std::rethrow_exception(failure);
    }
} catch (std::exception const& error) {
    std::cerr << error.what() << '\n';
    return 1;
}
