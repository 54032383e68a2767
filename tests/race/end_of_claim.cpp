// SPDX-License-Identifier: MIT

#include <asio/cancellation_state.hpp>
#include <asio/post.hpp>
#include <asio/this_coro.hpp>
#include <asio/thread_pool.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/use_future.hpp>

#include <atomic>
#include <optional>
#include <system_error>
#include <thread>

#include "support/scripted_group.hpp"

// A claim ends while its handler, which listens to total cancellation, is somewhere on four
// threads.

namespace end_of_claim_races {

namespace {

using namespace kgroup::tests;
using kgroup::claim;
using kgroup::session;

struct listening_handler {
    std::atomic<int> began{0};
    std::atomic<int> ends{0};
    std::atomic<int> cancelled{0};

    static constexpr int forms = 10;
    static asio::awaitable<void> receive(kgroup::message_channel& messages, int form) {
        kgroup::collect_limits const limits{.records = 3, .within = 1h};
        switch (form) {
        case 0:
            static_cast<void>(co_await messages.async_receive());
            break;
        case 1:
            static_cast<void>(co_await messages.async_receive_for(1h));
            break;
        case 2:
            static_cast<void>(co_await messages.async_receive_available(3));
            break;
        case 3:
            static_cast<void>(co_await messages.async_collect(limits));
            break;
        case 4:
            co_await messages.async_wait();
            static_cast<void>(messages.try_receive());
            break;
        case 5:
            static_cast<void>(co_await messages.async_receive(asio::use_awaitable));
            break;
        case 6:
            static_cast<void>(co_await messages.async_receive_for(1h, asio::use_awaitable));
            break;
        case 7:
            static_cast<void>(co_await messages.async_receive_available(3, asio::use_awaitable));
            break;
        case 8:
            static_cast<void>(co_await messages.async_collect(limits, asio::use_awaitable));
            break;
        default:
            co_await messages.async_wait(asio::use_awaitable);
            static_cast<void>(messages.try_receive());
        }
    }

    asio::awaitable<void> consume_claim(session&, claim& claim) {
        co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
        auto const form = began++ % forms;
        auto& messages = claim.messages();
        try {
            while (!messages.ended()) {
                co_await receive(messages, form);
            }
            if (co_await messages.async_receive()) {
                co_return;
            }
            co_await asio::post(asio::use_awaitable); // what it does at the end is not cancelled
            ++ends;
        } catch (std::system_error const&) {
            ++cancelled;
        }
    }
};

TEST_CASE("a receive gives the end of its claim, and never the cancellation that comes with it") {
    constexpr int rounds = 2000;
    fake_cluster cluster;
    asio::thread_pool pool{4};
    listening_handler handler;
    fake_group group{pool,
                     {.brokers = cluster.brokers(),
                      .group_id = "group",
                      .topics = {"t"},
                      .initial_offset = kgroup::offset_reset::earliest,
                      .on_event = [](kgroup::event const&) {}}};
    auto run = group.async_run(handler, asio::use_future);
    auto const until = std::chrono::steady_clock::now() + 200s;
    for (int round = 1; round <= rounds && std::chrono::steady_clock::now() < until; ++round) {
        cluster.assign({t0});
        while (handler.began < round && std::chrono::steady_clock::now() < until) {
            std::this_thread::yield();
        }
        cluster.add_records(t0, "a");
        cluster.revoke();
    }
    group.stop();
    run.get();
    CHECK(handler.began == rounds);
    CHECK(handler.ends == rounds);
    CHECK(handler.cancelled == 0);
}

} // namespace

} // namespace end_of_claim_races
