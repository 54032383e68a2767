// expect: kgroup: the function does not fit\. Write: \[&\]\(kgroup::message const& message\)
// SPDX-License-Identifier: MIT

#include <kgroup/for_each.hpp>

asio::awaitable<void> use(kgroup::claim& claim) {
    auto book = [](kgroup::message_batch const&) {};
    co_await kgroup::for_each(claim, {}, book);
}
