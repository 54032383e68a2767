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

TEST_CASE("a receive gives the end of its claim, and never the cancellation that comes with it") {
    struct listening_handler {
        std::atomic<int> began{0};
        std::atomic<int> ends{0};
        std::atomic<int> cancelled{0};

        asio::awaitable<void> consume_claim(session&, claim& of) {
            co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
            auto const form = began++ % 4;
            auto& messages = of.messages();
            try {
                while (!messages.ended()) {
                    if (form == 0) {
                        static_cast<void>(co_await messages.async_receive());
                    } else if (form == 1) {
                        static_cast<void>(co_await messages.async_receive_for(1h));
                    } else if (form == 2) {
                        static_cast<void>(co_await messages.async_receive_available(3));
                    } else {
                        co_await messages.async_wait();
                        static_cast<void>(messages.try_receive());
                    }
                }
                if (co_await messages.async_receive()) {
                    co_return;
                }
                co_await asio::post(
                    asio::use_awaitable); // what it does at the end is not cancelled
                ++ends;
            } catch (std::system_error const&) {
                ++cancelled;
            }
        }
    };
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
