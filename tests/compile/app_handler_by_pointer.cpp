// expect: kgroup: consumer_app owns its handler: give it the handler itself, not a pointer, a
// reference or something const
// SPDX-License-Identifier: MIT

#include <kgroup/app.hpp>

struct idle_handler {
    asio::awaitable<void> consume_claim(kgroup::session&, kgroup::claim&);
};

int use(kgroup::app_config given, idle_handler* handler) {
    return kgroup::consumer_app{given, handler}.run();
}
