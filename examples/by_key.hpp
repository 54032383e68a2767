// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/for_each.hpp>
#include <kgroup/kgroup.hpp>
#include <kgroup/timer.hpp>

#include <asio/awaitable.hpp>
#include <asio/this_coro.hpp>

#include <chrono>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace examples {

// Takes 20 ms for each order, and refuses the first attempt at each order of bob's.
struct slow_warehouse {
    asio::awaitable<void> book(std::string customer, std::string order, bool busy) {
        kgroup::timer work{co_await asio::this_coro::executor};
        work.expires_after(std::chrono::milliseconds{20});
        co_await work.async_wait();
        if (busy) {
            throw std::runtime_error{"the warehouse is busy"};
        }
        booked[customer].push_back(order);
    }

    std::map<std::string, std::vector<std::string>> booked{};
};

struct booking_service {
    slow_warehouse& warehouse;
    std::function<void()> after_each;

    asio::awaitable<void> consume_claim(kgroup::session&, kgroup::claim& claim) {
        using namespace std::chrono_literals;
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

} // namespace examples
