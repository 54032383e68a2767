// SPDX-License-Identifier: MIT

// A record's way from the channel to the handler, without librdkafka: records that are ready, in
// ones and in batches, and being woken.
#include <kgroup/claim.hpp>
#include <kgroup/detail/claim/record_writer.hpp>
#include <kgroup/handler.hpp>
#include <kgroup/session.hpp>

#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>

#include <benchmark/benchmark.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>

namespace {

constexpr std::size_t block_bytes = 1 << 20;
constexpr std::string_view value = "the value of a record";

/// A partition's queue that holds as many records as it is told.
class scripted_source final : public kgroup::detail::record_source {
public:
    explicit scripted_source(std::size_t waiting) : waiting_(waiting) {}

    void add() noexcept { waiting_.fetch_add(1, std::memory_order_release); }

    void drain(kgroup::detail::record_block& block, std::size_t byte_limit) noexcept override {
        kgroup::detail::record_block::writer into(block);
        std::size_t left = waiting_.load(std::memory_order_acquire);
        std::size_t taken = 0;
        for (; left != 0 && !into.full() && into.bytes() < byte_limit; --left, ++taken)
            into.append(nullptr, nullptr, 0, value.data(), value.size(), next_offset_++);
        waiting_.fetch_sub(taken, std::memory_order_relaxed);
    }

    std::size_t waiting() const noexcept override {
        return waiting_.load(std::memory_order_relaxed);
    }
    void close() noexcept override {}
    void free_records(kgroup::detail::record*, std::size_t) noexcept override {}
    std::int64_t timestamp(void*) const noexcept override { return -1; }
    void headers(void*, header_sink const&) const override {}
    kgroup::detail::watermarks known_watermarks() const noexcept override { return {}; }

private:
    std::atomic<std::size_t> waiting_;
    std::int64_t next_offset_ = 0;
};

/// A claim over a scripted source, and the thread's executor.
struct scripted_claim {
    explicit scripted_claim(std::size_t waiting = SIZE_MAX / 2)
        : source(std::make_shared<scripted_source>(waiting)),
          state(std::make_shared<kgroup::detail::partition_state>(
              kgroup::topic_partition{"topic", 0}, context.get_executor(),
              kgroup::tracked_offset{-1, {}}, std::weak_ptr<kgroup::detail::claim_observer>{})) {
        state->start(source, 0);
        claim.emplace(state, block_bytes);
    }

    /// Runs the coroutine on the claim's strand to its end.
    template <typename Coroutine>
    void run(Coroutine coroutine) {
        asio::co_spawn(state->strand(), std::move(coroutine), [](std::exception_ptr failure) {
            if (failure)
                std::rethrow_exception(failure);
        });
        context.run();
    }

    asio::io_context context{1};
    std::shared_ptr<scripted_source> source;
    std::shared_ptr<kgroup::detail::partition_state> state;
    std::optional<kgroup::claim> claim;
};

asio::awaitable<std::optional<std::int64_t>> ready_child(std::int64_t number) { co_return number; }

/// The measure: what awaiting any child coroutine costs.
void await_ready_child(benchmark::State& state) {
    scripted_claim scripted;
    scripted.run([&]() -> asio::awaitable<void> {
        std::int64_t number = 0;
        for (auto _ : state)
            benchmark::DoNotOptimize(co_await ready_child(++number));
    });
}
BENCHMARK(await_ready_child);

void receive_ready(benchmark::State& state) {
    scripted_claim scripted;
    scripted.run([&]() -> asio::awaitable<void> {
        for (auto _ : state) {
            auto message = co_await scripted.claim->messages().async_receive();
            benchmark::DoNotOptimize(message->value().data());
        }
    });
}
BENCHMARK(receive_ready);

void receive_ready_and_mark(benchmark::State& state) {
    scripted_claim scripted;
    scripted.run([&]() -> asio::awaitable<void> {
        for (auto _ : state) {
            auto message = co_await scripted.claim->messages().async_receive();
            benchmark::DoNotOptimize(message->value().data());
            scripted.claim->mark(*message);
        }
    });
}
BENCHMARK(receive_ready_and_mark);

/// Per record, the handler's look at the record included.
void receive_available(benchmark::State& state) {
    scripted_claim scripted;
    scripted.run([&]() -> asio::awaitable<void> {
        std::int64_t records = 0;
        while (state.KeepRunningBatch(512)) {
            for (std::size_t received = 0; received < 512;) {
                auto batch =
                    co_await scripted.claim->messages().async_receive_available(512 - received);
                for (kgroup::message const& message : batch)
                    benchmark::DoNotOptimize(message.value().data());
                scripted.claim->mark(batch.back());
                received += batch.size();
                records += static_cast<std::int64_t>(batch.size());
            }
        }
        state.SetItemsProcessed(records);
    });
}
BENCHMARK(receive_available);

/// Another thread says that a record is there; until the handler has it and the other thread knows.
void wake_handler(benchmark::State& state) {
    scripted_claim scripted(0);
    std::atomic<std::int64_t> handled{0};
    std::thread member([&] {
        scripted.run([&]() -> asio::awaitable<void> {
            while (auto message = co_await scripted.claim->messages().async_receive())
                handled.store(message->offset() + 1, std::memory_order_release);
        });
    });
    std::int64_t sent = 0;
    for (auto _ : state) {
        scripted.source->add();
        scripted.state->notify();
        for (++sent; handled.load(std::memory_order_acquire) != sent;) {
        }
    }
    scripted.state->end(kgroup::end_reason::stopped);
    member.join();
}
BENCHMARK(wake_handler)->UseRealTime();

/// The measure: a function posted to an idle executor by another thread.
void wake_executor(benchmark::State& state) {
    asio::io_context context{1};
    auto work = asio::make_work_guard(context);
    std::atomic<std::int64_t> handled{0};
    std::thread member([&] { context.run(); });
    std::int64_t sent = 0;
    for (auto _ : state) {
        asio::post(context, [&] { handled.fetch_add(1, std::memory_order_release); });
        for (++sent; handled.load(std::memory_order_acquire) != sent;) {
        }
    }
    work.reset();
    member.join();
}
BENCHMARK(wake_executor)->UseRealTime();

/// The other measure: a thread that sleeps on a condition variable, as a blocking client's does.
void wake_condition_variable(benchmark::State& state) {
    std::mutex mutex;
    std::condition_variable changed;
    std::int64_t waiting = 0;
    bool over = false;
    std::atomic<std::int64_t> handled{0};
    std::thread member([&] {
        std::unique_lock lock(mutex);
        for (std::int64_t taken = 0; !over; handled.store(taken, std::memory_order_release)) {
            changed.wait(lock, [&] { return over || waiting != taken; });
            taken = waiting;
        }
    });
    for (std::int64_t sent = 1; auto _ : state) {
        {
            std::lock_guard const lock(mutex);
            waiting = sent;
        }
        changed.notify_one();
        while (handled.load(std::memory_order_acquire) != sent) {
        }
        ++sent;
    }
    {
        std::lock_guard const lock(mutex);
        over = true;
    }
    changed.notify_one();
    member.join();
}
BENCHMARK(wake_condition_variable)->UseRealTime();

struct empty_handler {
    asio::awaitable<void> consume_claim(kgroup::session&, kgroup::claim&) { co_return; }
};

/// A handler awaited by its type, and as kgroup holds it: the difference is what the concept costs,
/// once a claim.
void call_handler_directly(benchmark::State& state) {
    scripted_claim scripted;
    kgroup::session session{
        std::make_shared<kgroup::detail::session_state>(), {}, {}, scripted.context.get_executor()};
    empty_handler handler;
    scripted.run([&]() -> asio::awaitable<void> {
        for (auto _ : state)
            co_await handler.consume_claim(session, *scripted.claim);
    });
}
BENCHMARK(call_handler_directly);

void call_handler_bound(benchmark::State& state) {
    scripted_claim scripted;
    kgroup::session session{
        std::make_shared<kgroup::detail::session_state>(), {}, {}, scripted.context.get_executor()};
    empty_handler handler;
    std::unique_ptr<kgroup::detail::handler_binding> const bound =
        std::make_unique<kgroup::detail::bound_handler<empty_handler, empty_handler*>>(&handler);
    scripted.run([&]() -> asio::awaitable<void> {
        for (auto _ : state)
            co_await bound->consume_claim(session, *scripted.claim);
    });
}
BENCHMARK(call_handler_bound);

} // namespace
