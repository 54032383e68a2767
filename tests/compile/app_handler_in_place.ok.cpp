// SPDX-License-Identifier: MIT

#include <kgroup/app.hpp>

#include <utility>

struct fixed_handler {
    explicit fixed_handler(int) {}
    fixed_handler(fixed_handler const&) = delete;
    asio::awaitable<void> consume_claim(kgroup::session&, kgroup::claim&);
};

struct plain_handler {
    int number = 0;
    asio::awaitable<void> consume_claim(kgroup::session&, kgroup::claim&);
};

int use(kgroup::app_config given, plain_handler kept) {
    return kgroup::consumer_app<fixed_handler>{given, std::in_place, 7}.run() +
           kgroup::consumer_app{given, kept}.run() +
           kgroup::consumer_app{given, std::move(kept)}.run() +
           kgroup::consumer_app<plain_handler>{given, {.number = 7}}.run();
}
