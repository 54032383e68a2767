// SPDX-License-Identifier: MIT

#include <kgroup/detail/asio/scope_exit.hpp>
#include <kgroup/for_each.hpp>

#include <asio/post.hpp>
#include <asio/this_coro.hpp>
#include <asio/thread_pool.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/use_future.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "support/scripted_group.hpp"

// Claims on several threads share a limit, and have their records processed on threads of another
// pool, while partitions come, are given back and are lost.

namespace for_each_race_tests {

namespace {

using namespace kgroup::tests;
using kgroup::claim;
using kgroup::message;
using kgroup::order;
using kgroup::session;

constexpr std::size_t records = 500;
constexpr std::size_t rounds = 12;
constexpr std::size_t most_at_once = 3;

struct processing_handler {
    asio::thread_pool& elsewhere;
    kgroup::limit places{most_at_once};
    std::atomic<std::size_t> running{0};
    std::atomic<std::size_t> too_many{0};
    std::atomic<std::uint64_t> handled{0};

    asio::awaitable<void> work() {
        if (running.fetch_add(1) >= most_at_once) {
            ++too_many;
        }
        kgroup::detail::scope_exit const over{[this] { --running; }};
        auto const executor = co_await asio::this_coro::executor;
        co_await asio::post(executor, asio::use_awaitable);
        ++handled;
    }

    asio::awaitable<void> consume_claim(session&, claim& claim) {
        auto function = [this](message const&) { return work(); };
        kgroup::for_each_options options{.in_flight = 5, .limit = &places};
        options.order = claim.partition() == 1 ? order::unordered : order::by_key;
        if (claim.partition() == 0) {
            co_await kgroup::for_each(claim, options, function);
        } else {
            co_await kgroup::for_each(claim, elsewhere.get_executor(), options, function);
        }
    }
};

} // namespace

TEST_CASE("for_each: claims share a limit and a pool of threads") {
    fake_cluster cluster;
    asio::thread_pool claims{3};
    asio::thread_pool elsewhere{2};
    processing_handler handler{elsewhere};
    fake_group group{claims,
                     {.brokers = cluster.brokers(),
                      .group_id = "group",
                      .topics = {"t"},
                      .initial_offset = kgroup::offset_reset::earliest,
                      .auto_commit_interval = 5ms,
                      .on_event = [](kgroup::event const&) {}}};
    auto run = group.async_run(handler, asio::use_future);
    for (std::size_t round = 0; round != rounds; ++round) {
        auto const before = handler.handled.load();
        cluster.assign({t0, t1, t2});
        for (auto const& where : {t0, t1, t2}) {
            std::vector<fake_cluster::record> more;
            for (std::size_t i = 0; i != records; ++i) {
                more.push_back({.key = std::to_string(i % 7), .value = "a record"});
            }
            cluster.add_records(where, more);
        }
        // The last of them while attempts run.
        auto const wanted = round % 2 == 0 ? 3 * records : records;
        while (handler.handled < before + wanted) {
            std::this_thread::yield();
        }
        if (round % 3 == 2) {
            cluster.lose();
        } else {
            cluster.revoke();
        }
    }
    group.stop();
    cluster.assign({}); // one that waits for an assignment waits for it to leave with
    run.get();
    claims.join();
    elsewhere.join();
    CHECK(handler.too_many == 0);
    CHECK(handler.running == 0);
    for (std::size_t free = 0; free != most_at_once; ++free) { // all places are back
        CHECK(handler.places.take(nullptr));
    }
}

} // namespace for_each_race_tests
