// SPDX-License-Identifier: MIT

#include <kgroup/for_each.hpp>

#include <asio/thread_pool.hpp>
#include <asio/use_future.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "support/scripted_group.hpp"

// Ten threads ask for the state of a group without a pause, while it is given partitions, drains
// them, gives them back and fails commits.

namespace state_race_tests {

namespace {

using namespace kgroup::tests;
using kgroup::claim;
using kgroup::make_error_code;
using kgroup::session;

constexpr std::size_t records = 2000;
constexpr std::size_t rounds = 20;

struct acknowledging_handler {
    std::atomic<std::uint64_t> handled{0};

    asio::awaitable<void> consume_claim(session&, claim& claim) {
        if (claim.partition() == 2) {
            auto count = [this](kgroup::message const&) {
                handled.fetch_add(1, std::memory_order_relaxed);
            };
            co_return co_await kgroup::for_each(
                claim, {.order = kgroup::order::by_key, .in_flight = 10}, count);
        }
        while (auto const next = co_await claim.messages().async_receive()) {
            if (claim.partition() == 0) {
                claim.mark(*next);
            } else {
                claim.ack(*next);
            }
            handled.fetch_add(1, std::memory_order_relaxed);
        }
    }
};

/// Called by the claims' strands, and the group's.
struct counting_observer {
    std::atomic<std::uint64_t> delivered_records{0};
    std::atomic<std::uint64_t> attempts{0};
    std::atomic<std::uint64_t> rebalances{0};

    void delivered(kgroup::delivered_records const& now) noexcept {
        delivered_records += now.records;
    }
    void handled(kgroup::handled_records const&) noexcept { ++attempts; }
    void rebalance(kgroup::rebalance_observation const&) noexcept { ++rebalances; }
};

} // namespace

TEST_CASE("state: ten threads ask for it while a group lives its life") {
    fake_cluster cluster;
    asio::thread_pool pool{4};
    acknowledging_handler handler;
    auto const observer = std::make_shared<counting_observer>();
    fake_group group{pool,
                     {.brokers = cluster.brokers(),
                      .group_id = "group",
                      .topics = {"t"},
                      .initial_offset = kgroup::offset_reset::earliest,
                      .auto_commit_interval = 5ms,
                      .on_event = [](kgroup::event const&) {},
                      .observer = observer}};
    std::atomic<bool> over{false};
    std::atomic<std::uint64_t> asked{0};
    std::vector<std::future<bool>> readers;
    for (auto number = 0; number != 10; ++number) {
        readers.push_back(std::async(std::launch::async, [&] {
            auto right = true;
            std::uint64_t received = 0;
            std::uint64_t attempts = 0;
            do {
                auto const state = group.state();
                right = right && state.stats.records_received >= received; // it never goes back
                received = state.stats.records_received;
                for (auto const& row : state.claims) {
                    if (row.position < 0) { // it does not know yet where it starts
                        continue;
                    }
                    right = right && row.records_in_flight <= row.records_delivered &&
                            row.position <= static_cast<std::int64_t>(rounds * records) &&
                            row.marked <= row.position + 1;
                }
                right = right && state.handling.count() >= attempts && // nor does that
                        state.residence.count() <= rounds * records;
                attempts = state.handling.count();
                right = right && !prometheus_text(state).empty();
                readiness(state);
                liveness(state);
                asked.fetch_add(1, std::memory_order_relaxed);
            } while (!over);
            return right;
        }));
    }
    auto run = group.async_run(handler, asio::use_future);
    for (std::size_t round = 0; round != rounds; ++round) {
        if (round % 4 == 1) {
            cluster.fail(fake_cluster::request::commit,
                         make_error_code(RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE), 3);
        }
        cluster.assign({t0, t1, t2});
        for (auto const& where : {t0, t1, t2}) {
            std::vector<fake_cluster::record> const more(records,
                                                         {.key = "a key", .value = "a record"});
            cluster.add_records(where, more);
        }
        while (handler.handled < (round + 1) * 3 * records) {
            std::this_thread::yield();
        }
        cluster.revoke();
    }
    group.stop();
    cluster.assign({}); // one that waits for an assignment waits for it to leave with
    run.get();
    over = true;
    for (auto& reader : readers) {
        CHECK(reader.get());
    }
    pool.join();
    CHECK(group.state().stats.records_received == handler.handled);
    CHECK(asked > 10);
    CHECK(group.state().handling.count() == rounds * records);
    CHECK(group.state().residence.count() == rounds * records);
    CHECK(observer->delivered_records == handler.handled);
    CHECK(observer->attempts == rounds * records);
    CHECK(observer->rebalances == group.state().rebalancing.count());
}

} // namespace state_race_tests
