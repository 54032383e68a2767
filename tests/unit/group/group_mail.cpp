// SPDX-License-Identifier: MIT

#include <kgroup/detail/group/group_mail.hpp>

#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>

#include <doctest/doctest.h>

#include <memory>
#include <vector>

namespace group_mail_tests {

namespace {

using kgroup::detail::auto_reset_event;
using kgroup::detail::group_mail;

TEST_CASE("group_mail: what is told is done in order by the loop, which is woken") {
    asio::io_context context;
    auto const loop = auto_reset_event::make(context.get_executor());
    group_mail mail{loop};
    std::vector<int> done;
    int turns = 0;
    asio::co_spawn(
        loop->strand(),
        [&]() -> asio::awaitable<void> {
            while (done.size() != 3) {
                co_await loop->wait((kgroup::detail::clock::time_point::max)());
                ++turns;
                while (auto const letter = mail.take()) {
                    letter->read();
                }
            }
        },
        asio::detached);
    context.poll();
    CHECK(turns == 0);
    CHECK(mail.tell([&] { done.push_back(1); }));
    CHECK(mail.tell([&] { done.push_back(2); }));
    context.poll();
    CHECK(done == std::vector{1, 2});
    CHECK(mail.tell([&] { done.push_back(3); }));
    context.poll();
    CHECK(done == std::vector{1, 2, 3});
    CHECK(turns >= 2);
}

TEST_CASE("group_mail: when it is closed nothing is sent, and what was is still there") {
    asio::io_context context;
    group_mail mail{auto_reset_event::make(context.get_executor())};
    int done = 0;
    CHECK(mail.tell([&] { ++done; }));
    mail.close();
    CHECK_FALSE(mail.tell([&] { ++done; }));
    mail.take()->read();
    CHECK_FALSE(mail.take());
    CHECK(done == 1);
}

} // namespace

} // namespace group_mail_tests
