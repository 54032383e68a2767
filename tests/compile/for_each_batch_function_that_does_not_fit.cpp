// expect: kgroup: the function does not fit\. Write: \[&\]\(kgroup::message_batch const& batch\)
// SPDX-License-Identifier: MIT

#include <kgroup/for_each_batch.hpp>

asio::awaitable<void> use(kgroup::claim& claim) {
    auto store = [](kgroup::message const&) {};
    co_await kgroup::for_each_batch(claim, {.records = 500}, {}, store);
}
