// SPDX-License-Identifier: MIT

// What a drain costs its thread beside ten others that ask for the state of the group without a
// pause, and beside ten that ask for that of another group: these take as much of the processors,
// and share nothing with the drain. In time of the draining thread's: the ten take the processors
// from it.
#include <kgroup/kgroup.hpp>
#include <kgroup/testing/fake_client.hpp>

#include <asio/awaitable.hpp>
#include <asio/io_context.hpp>

#include <benchmark/benchmark.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <stdexcept>
#include <thread>
#include <vector>

namespace {

using kgroup::testing::fake_cluster;
using kgroup::testing::fake_group;

constexpr std::size_t records = 100'000;
constexpr std::size_t readers = 10;

struct marking_handler {
    fake_group* stops = nullptr;
    std::size_t handled = 0;

    asio::awaitable<void> consume_claim(kgroup::session&, kgroup::claim& claim) {
        while (auto const next = co_await claim.messages().async_receive()) {
            claim.mark(*next);
            if (++handled == records)
                stops->stop();
        }
    }
};

struct scripted_member {
    asio::io_context context{1};
    fake_cluster cluster;
    fake_group group{context,
                     {.brokers = cluster.brokers(),
                      .group_id = "group",
                      .topics = {"t"},
                      .initial_offset = kgroup::offset_reset::earliest,
                      .on_event = [](kgroup::event const&) {}}};

    void drain() {
        marking_handler handler{.stops = &group};
        group.async_run(handler, [](std::exception_ptr failure) {
            if (failure)
                std::rethrow_exception(failure);
        });
        context.run();
        if (handler.handled != records)
            throw std::runtime_error{"records are missing"};
    }
};

enum class asked { nothing, this_group, another_group };

template <asked Whom>
void drain_beside_readers(benchmark::State& state) {
    for (auto _ : state) {
        state.PauseTiming();
        scripted_member member;
        scripted_member another;
        member.cluster.add_records({"t", 0},
                                   std::vector<fake_cluster::record>(records, {.value = "value"}));
        member.cluster.assign({{"t", 0}});
        std::atomic<bool> over{false};
        std::vector<std::jthread> threads;
        if (Whom != asked::nothing) {
            for (std::size_t i = 0; i != readers; ++i) {
                threads.emplace_back([&] {
                    auto const& group = Whom == asked::this_group ? member.group : another.group;
                    while (!over)
                        benchmark::DoNotOptimize(group.state());
                });
            }
        }
        state.ResumeTiming();
        member.drain();
        state.PauseTiming();
        over = true;
        threads.clear();
        state.ResumeTiming();
    }
    state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * records);
}
BENCHMARK(drain_beside_readers<asked::nothing>)->Unit(benchmark::kMillisecond);
BENCHMARK(drain_beside_readers<asked::this_group>)->Unit(benchmark::kMillisecond);
BENCHMARK(drain_beside_readers<asked::another_group>)->Unit(benchmark::kMillisecond);

} // namespace
