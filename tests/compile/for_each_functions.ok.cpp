// SPDX-License-Identifier: MIT

// Functions of each shape that for_each takes.

#include <kgroup/each.hpp>
#include <kgroup/for_each.hpp>
#include <kgroup/for_each_batch.hpp>

#include <string>

asio::awaitable<void> book(kgroup::message const&);
void note(kgroup::message const&, kgroup::attempt const&);

asio::awaitable<void> use(kgroup::claim& claim) {
    std::string name{"a warehouse"};
    auto owning = [name](kgroup::message const&) -> asio::awaitable<void> { co_return; };
    co_await kgroup::for_each(claim, {}, owning);
    co_await kgroup::for_each(claim, {.order = kgroup::order::by_key}, book);
    co_await kgroup::for_each(claim, {}, note);
    co_await kgroup::for_each(claim, {}, [&name](kgroup::message const&) { name.clear(); });
    co_await kgroup::for_each_batch(claim, {.records = 500}, {},
                                    [](kgroup::message_batch const&) {});
}

auto const handler = kgroup::each({.order = kgroup::order::unordered}, book);
