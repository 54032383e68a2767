// SPDX-License-Identifier: MIT

// Marks and acknowledgements: what they cost, alone and with several threads, beside an uncontended
// CAS-max and beside other ways.
#include <kgroup/offset_tracker.hpp>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <random>
#include <thread>
#include <vector>

#include "rivals.hpp"

namespace {

constexpr std::size_t in_flight = 32768; // records delivered, then acknowledged, in one round
constexpr std::size_t disorder = 1024;   // a record finishes among so many neighbours
constexpr std::size_t ack_window = 65536;

void cas_max(benchmark::State& state) {
    std::atomic<std::uint64_t> highest{0};
    std::uint64_t next = 0;
    for (auto _ : state) {
        ++next;
        std::uint64_t seen = highest.load(std::memory_order_acquire);
        while (seen < next &&
               !highest.compare_exchange_weak(seen, next, std::memory_order_release)) {
        }
    }
    benchmark::DoNotOptimize(highest.load());
}
BENCHMARK(cas_max);

void mark(benchmark::State& state) {
    kgroup::offset_tracker tracker;
    std::int64_t next = 0;
    for (auto _ : state)
        benchmark::DoNotOptimize(tracker.mark(++next, 0));
}
BENCHMARK(mark);

/// The tracker in the words of this file.
class tracked {
public:
    explicit tracked(std::size_t window) : tracker_(window) {}

    std::uint64_t deliver(std::int64_t offset) { return tracker_.deliver(offset); }

    void ack(std::int64_t offset, std::uint64_t sequence) {
        if (tracker_.ack(offset, sequence, 0) == kgroup::mark_result::accepted)
            benchmark::DoNotOptimize(tracker_.window_opened());
    }

    std::int64_t settle() {
        if (auto const point = tracker_.pending())
            tracker_.committed(point->next);
        return tracker_.committed();
    }

private:
    kgroup::offset_tracker tracker_;
};

/// Indices into the records of a round, in the order in which they finish.
std::vector<std::uint32_t> finishing_order(bool shuffled) {
    std::vector<std::uint32_t> order(in_flight);
    for (std::uint32_t index = 0; index < in_flight; ++index)
        order[index] = index;
    std::mt19937 random(1);
    for (auto block = order.begin(); shuffled && block != order.end(); block += disorder)
        std::shuffle(block, block + disorder, random);
    return order;
}

struct delivered {
    std::int64_t offset;
    std::uint64_t sequence;
};

/// Rounds of: deliver all (not timed), then `threads` threads acknowledge them and the committer
/// looks once (timed).
template <typename Tracker>
void acknowledge(benchmark::State& state, bool shuffled) {
    auto const threads = static_cast<std::size_t>(state.range(0));
    Tracker tracker(ack_window);
    std::vector<std::uint32_t> const order = finishing_order(shuffled);
    std::vector<delivered> records(in_flight);
    std::int64_t offset = 0;
    std::atomic<bool> over{false};
    std::barrier<> gate(static_cast<std::ptrdiff_t>(threads));

    auto const share = [&](std::size_t thread) {
        for (std::size_t place = thread; place < order.size(); place += threads) {
            delivered const& record = records[order[place]];
            tracker.ack(record.offset, record.sequence);
        }
    };
    std::vector<std::thread> others;
    for (std::size_t thread = 1; thread < threads; ++thread)
        others.emplace_back([&, thread] {
            for (;;) {
                gate.arrive_and_wait();
                if (over)
                    return;
                share(thread);
                gate.arrive_and_wait();
            }
        });

    for (auto _ : state) {
        for (delivered& record : records) {
            record.offset = offset++;
            record.sequence = tracker.deliver(record.offset);
        }
        gate.arrive_and_wait();
        auto const begin = std::chrono::steady_clock::now();
        share(0);
        gate.arrive_and_wait();
        if (tracker.settle() != offset) {
            state.SkipWithError("not all that was acknowledged may be committed");
            break;
        }
        state.SetIterationTime(
            std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    }
    over = true;
    gate.arrive_and_wait();
    for (std::thread& other : others)
        other.join();
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(in_flight));
}

void ack_in_order(benchmark::State& state) { acknowledge<tracked>(state, false); }
void ack_out_of_order(benchmark::State& state) { acknowledge<tracked>(state, true); }
void ack_in_order_locked_set(benchmark::State& state) {
    acknowledge<rivals::locked_set>(state, false);
}
void ack_out_of_order_locked_set(benchmark::State& state) {
    acknowledge<rivals::locked_set>(state, true);
}
void ack_in_order_linked_deque(benchmark::State& state) {
    acknowledge<rivals::linked_deque>(state, false);
}
void ack_out_of_order_linked_deque(benchmark::State& state) {
    acknowledge<rivals::linked_deque>(state, true);
}

BENCHMARK(ack_in_order)->RangeMultiplier(2)->Range(1, 8)->UseManualTime();
BENCHMARK(ack_out_of_order)->RangeMultiplier(2)->Range(1, 8)->UseManualTime();
BENCHMARK(ack_in_order_locked_set)->RangeMultiplier(2)->Range(1, 8)->UseManualTime();
BENCHMARK(ack_out_of_order_locked_set)->RangeMultiplier(2)->Range(1, 8)->UseManualTime();
BENCHMARK(ack_in_order_linked_deque)->RangeMultiplier(2)->Range(1, 8)->UseManualTime();
BENCHMARK(ack_out_of_order_linked_deque)->RangeMultiplier(2)->Range(1, 8)->UseManualTime();

} // namespace

BENCHMARK_MAIN();
