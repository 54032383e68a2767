// expect: kgroup: the handler can neither be copied nor moved into consumer_app \(or it needs
// std::move\)\. Make it in place: consumer_app<Handler>\{config, std::in_place, arguments\.\.\.\}
// SPDX-License-Identifier: MIT

#include <kgroup/app.hpp>

struct fixed_handler {
    fixed_handler() = default;
    fixed_handler(fixed_handler const&) = delete;
    asio::awaitable<void> consume_claim(kgroup::session&, kgroup::claim&);
};

int use(kgroup::app_config given) { return kgroup::consumer_app{given, fixed_handler{}}.run(); }
