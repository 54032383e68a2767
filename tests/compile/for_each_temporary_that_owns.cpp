// expect: kgroup: g\+\+ before 13 destroys this temporary twice inside a co_await expression
// SPDX-License-Identifier: MIT

#include <kgroup/for_each.hpp>

#include <string>

#if defined(__clang__) || __GNUC__ >= 13
#error kgroup: g++ before 13 destroys this temporary twice inside a co_await expression; this is not it
#endif

asio::awaitable<void> use(kgroup::claim& claim) {
    co_await kgroup::for_each(claim, {},
                              [name = std::string{"a warehouse"}](kgroup::message const&) {});
}
