// SPDX-License-Identifier: MIT

#include <kgroup/detail/asio/auto_reset_event.hpp>
#include <kgroup/detail/asio/with_cancellation.hpp>

#include <asio/awaitable.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/cancellation_type.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/strand.hpp>
#include <asio/system_error.hpp>
#include <asio/thread_pool.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <exception>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

namespace auto_reset_event_unit {

using namespace std::chrono_literals;
using kgroup::detail::auto_reset_event;
using kgroup::detail::clock;
using kgroup::detail::handler_memory;
using kgroup::detail::reusing_allocator;

namespace {

using place = std::shared_ptr<auto_reset_event>;

asio::awaitable<void> wait(place at, clock::time_point deadline, std::optional<bool>& notified) {
    notified = co_await at->wait(deadline);
}

asio::awaitable<void> wait_times(place at, int times, int& waited) {
    while (waited != times) {
        co_await at->wait();
        ++waited;
    }
}

/// Takes so many things from a heap to which other threads add.
asio::awaitable<void> take(place at, int things, std::atomic<int>& heap) {
    for (int taken = 0; taken != things;) {
        if (auto const found = heap.exchange(0)) {
            taken += found;
        } else {
            co_await at->wait();
        }
    }
}

struct living {
    explicit living(int& count) : count_(count) { ++count_; }
    living(living const&) = delete;
    living& operator=(living const&) = delete;
    ~living() { --count_; }
    int& count_;
};

asio::awaitable<void> wait_and_own(place at, int& frames) {
    living const frame{frames};
    co_await at->wait(clock::now() + 1h);
}

} // namespace

TEST_CASE("auto_reset_event: a notification wakes who waits, and nobody else") {
    asio::io_context context;
    auto const at = auto_reset_event::make(context.get_executor());
    at->notify(); // nobody waits, nothing is kept
    context.poll();
    context.restart();
    int waited = 0;
    asio::co_spawn(at->strand(), wait_times(at, 3, waited), asio::detached);
    context.poll();
    CHECK(waited == 0);
    at->notify();
    at->notify(); // one with the first
    context.poll();
    CHECK(waited == 1);
    at->notify();
    context.poll();
    CHECK(waited == 2);
    asio::post(at->strand(), [&] { at->notify(); }); // from within
    context.poll();
    CHECK(waited == 3);
}

TEST_CASE("auto_reset_event: a wait ends at its deadline, and the deadline of one that is over "
          "means nothing to the next") {
    asio::io_context context;
    auto const at = auto_reset_event::make(context.get_executor());
    std::optional<bool> notified;
    auto const began = clock::now();
    asio::co_spawn(at->strand(), wait(at, began + 20ms, notified), asio::detached);
    context.run();
    CHECK(notified == false);
    CHECK(clock::now() >= began + 20ms);
    context.restart();

    notified.reset();
    auto const limit = clock::now() + 1ms;
    asio::co_spawn(at->strand(), wait(at, limit, notified), asio::detached);
    context.poll();
    at->notify();
    // Both are ready when it runs.
    while (clock::now() <= limit) {
        std::this_thread::yield();
    }
    context.poll();
    REQUIRE(notified.has_value());
    context.restart();
    notified.reset();
    asio::co_spawn(at->strand(), wait(at, clock::time_point::max(), notified), asio::detached);
    context.poll();
    CHECK_FALSE(notified.has_value());
    at->notify();
    context.poll();
    CHECK(notified == true);
}

TEST_CASE("auto_reset_event: a wait can be cancelled with every type, and is over when it is") {
    for (auto const type : {asio::cancellation_type::terminal, asio::cancellation_type::partial,
                            asio::cancellation_type::total}) {
        asio::io_context context;
        auto const at = auto_reset_event::make(context.get_executor());
        asio::cancellation_signal signal;
        std::optional<bool> notified;
        std::exception_ptr failure;
        asio::co_spawn(at->strand(),
                       kgroup::detail::with_cancellation(asio::enable_total_cancellation(),
                                                         wait(at, clock::now() + 1h, notified)),
                       asio::bind_cancellation_slot(signal.slot(),
                                                    [&](std::exception_ptr e) { failure = e; }));
        context.poll();
        signal.emit(type);
        at->notify(); // not even so is it forgotten
        context.poll();
        CHECK_FALSE(notified.has_value());
        REQUIRE(failure);
        CHECK_THROWS_WITH_AS(std::rethrow_exception(failure), doctest::Contains("abort"),
                             asio::system_error);
        CHECK(context.stopped()); // the timer has gone with it
    }
}

TEST_CASE("auto_reset_event: what waits goes with its context") {
    int frames = 0;
    {
        asio::io_context context;
        auto at = auto_reset_event::make(context.get_executor());
        asio::co_spawn(at->strand(), wait_and_own(at, frames), asio::detached);
        context.poll();
        CHECK(frames == 1);
        at->notify(); // and a notification that is on its way
        at.reset();   // the frame has it, and it has the frame
    }
    CHECK(frames == 0);
}

TEST_CASE("auto_reset_event: no notification is lost between threads, on any kind of executor") {
    constexpr int things = 100000;
    constexpr int threads = 2;
    asio::io_context context;
    asio::thread_pool pool{2};
    asio::any_io_executor const kinds[] = {context.get_executor(), pool.get_executor(),
                                           asio::make_strand(pool)};
    for (auto const& kind : kinds) {
        auto const at = auto_reset_event::make(kind);
        std::atomic<int> heap{0};
        std::atomic<bool> done{false};
        asio::co_spawn(at->strand(), take(at, things * threads, heap),
                       [&](std::exception_ptr) { done = true; });
        {
            std::vector<std::jthread> adding;
            for (int i = 0; i != threads; ++i) {
                adding.emplace_back([&] {
                    for (int added = 0; added != things; ++added) {
                        ++heap;
                        at->notify();
                    }
                });
            }
            context.restart();
            context.run_for(30s);
        }
        auto const until = clock::now() + 30s;
        while (!done && clock::now() < until) {
            std::this_thread::yield();
        }
        CHECK(done);
    }
}

TEST_CASE("auto_reset_event: a total cancellation is kept while an operation tells what it would "
          "say, and comes behind it if it was not told") {
    for (bool const learned : {false, true}) {
        asio::io_context context;
        auto const at = auto_reset_event::make(context.get_executor());
        std::vector<asio::cancellation_type> heard;
        at->slot().assign([&](asio::cancellation_type type) { heard.push_back(type); });
        at->begin_operation();
        at->begin_operation();
        at->cancel(asio::cancellation_type::total);
        context.poll();
        CHECK(heard.empty());
        at->end_operation();
        at->tell_kept();
        context.restart();
        context.poll();
        CHECK(heard.empty()); // there is another
        if (learned) {
            at->told();
        }
        at->end_operation();
        at->tell_kept();
        context.restart();
        context.poll();
        CHECK(heard.size() == (learned ? 0 : 1));
        at->begin_operation();
        at->cancel(asio::cancellation_type::terminal); // says more than that
        context.restart();
        context.poll();
        CHECK(heard.size() == (learned ? 1 : 2));
        CHECK(heard.back() == asio::cancellation_type::terminal);
        CHECK_FALSE(at->cancel_pending());
        at->slot().clear();
    }
}

TEST_CASE("reused memory: each block is with one user at a time, and what is too much comes from "
          "elsewhere") {
    auto const memory = std::make_shared<handler_memory>();
    reusing_allocator<int> const numbers{memory};
    reusing_allocator<long> from{numbers};
    std::vector<long*> taken;
    for (int i = 0; i != 10; ++i) {
        taken.push_back(from.allocate(4));
        *taken.back() = i;
    }
    for (int i = 0; i != 10; ++i) {
        CHECK(*taken[static_cast<std::size_t>(i)] == i);
    }
    auto* const first = taken.front();
    for (auto* const place : taken) {
        from.deallocate(place, 4);
    }
    CHECK(from.allocate(4) == first);
    from.deallocate(first, 4);
    auto* const large = from.allocate(1000);
    CHECK(large != first);
    from.deallocate(large, 1000);
}

} // namespace auto_reset_event_unit
