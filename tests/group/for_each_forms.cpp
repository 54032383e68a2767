// SPDX-License-Identifier: MIT

// Each documented form of a call, written inside a `co_await` expression: what it makes is
// destroyed as often as it was made. g++ 12 destroys some temporaries of such an expression twice.

#include <kgroup/each.hpp>
#include <kgroup/for_each.hpp>
#include <kgroup/for_each_batch.hpp>

#include <asio/awaitable.hpp>
#include <asio/this_coro.hpp>

#include <doctest/doctest.h>
#include <support/scripted_group.hpp>

#include <algorithm>
#include <cstddef>
#include <exception>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <utility>

namespace for_each_forms_tests {

using namespace kgroup::tests;

namespace {

using kgroup::attempt;
using kgroup::claim;
using kgroup::message;
using kgroup::message_batch;
using kgroup::session;

/// Counts itself.
struct counted {
    inline static int alive = 0;
    inline static int made = 0;
    inline static int fewest = 0;

    counted() { begin(); }
    counted(counted const&) { begin(); }
    counted(counted&&) noexcept { begin(); }
    counted& operator=(counted const&) = default;
    counted& operator=(counted&&) noexcept = default;
    ~counted() { fewest = (std::min)(fewest, --alive); }

    static void begin() {
        ++alive;
        ++made;
    }
};

std::optional<std::string_view> first_letter(message const& taken) {
    return taken.value().substr(0, 1);
}

/// Runs a handler over three records.
void run(std::function<asio::awaitable<void>(claim&)> form) {
    counted::made = 0;
    {
        scripted_group group;
        group.handler.on_claim = [&form](session&, claim& claim) { return form(claim); };
        group.cluster.add_records(t0, "a1", "a2", "b1");
        group.run_over({t0});
        for (int i = 0; i != 4; ++i) { // a backoff for each record
            group.advance(1s);
        }
        group.stop();
        CHECK(group.cluster.committed(t0) == 3);
    }
    CHECK(counted::alive == 0);
    CHECK(counted::fewest == 0);
}

} // namespace

TEST_CASE("for_each: what a function captures is destroyed once, in each form of the call") {
    SUBCASE("a function with a name, which waits") {
        run([](claim& claim) -> asio::awaitable<void> {
            auto function = [guard = counted{}](message const&) -> asio::awaitable<void> {
                co_return;
            };
            co_await kgroup::for_each(claim,
                                      {.order = kgroup::order::by_key,
                                       .in_flight = 2,
                                       .retry = {.attempts = 2, .backoff = {.initial = 10ms}},
                                       .key = first_letter},
                                      function);
        });
        CHECK(counted::made > 0);
    }
    SUBCASE("with an attempt, and a failure that is repeated") {
        run([](claim& claim) -> asio::awaitable<void> {
            auto function = [guard = counted{}](message const&,
                                                attempt const& current) -> asio::awaitable<void> {
                counted const local;
                if (current.number() == 1) {
                    throw std::runtime_error{"once"};
                }
                co_return;
            };
            co_await kgroup::for_each(
                claim, {.retry = {.attempts = 2, .backoff = {.initial = 1ms, .max = 1ms}}},
                function);
        });
        CHECK(counted::made > 3);
    }
    SUBCASE("one that does not wait") {
        run([](claim& claim) -> asio::awaitable<void> {
            auto function = [guard = counted{}](message const&) {};
            co_await kgroup::for_each(claim, {.order = kgroup::order::unordered}, function);
        });
    }
    SUBCASE("a temporary that captures by reference") {
        int calls = 0;
        run([&calls](claim& claim) -> asio::awaitable<void> {
            co_await kgroup::for_each(claim, {}, [&calls](message const&) -> asio::awaitable<void> {
                counted const local;
                ++calls;
                co_return;
            });
        });
        CHECK(calls == 3);
        CHECK(counted::made == 3);
    }
    SUBCASE("on an executor") {
        run([](claim& claim) -> asio::awaitable<void> {
            auto function = [guard = counted{}](message const&) {};
            co_await kgroup::for_each(claim, co_await asio::this_coro::executor,
                                      {.order = kgroup::order::unordered}, function);
        });
    }
}

TEST_CASE("for_each_batch: what a function captures is destroyed once, in each form of the call") {
    SUBCASE("a function with a name, which waits") {
        run([](claim& claim) -> asio::awaitable<void> {
            auto function = [guard = counted{}](message_batch const&) -> asio::awaitable<void> {
                co_return;
            };
            co_await kgroup::for_each_batch(claim,
                                            {.records = 500, .bytes = 64 << 10, .within = 200ms},
                                            {.retry = {.attempts = 5}}, function);
        });
    }
    SUBCASE("a temporary that captures by reference, with an attempt") {
        int calls = 0;
        run([&calls](claim& claim) -> asio::awaitable<void> {
            co_await kgroup::for_each_batch(claim, {.records = 2, .within = 200ms}, {},
                                            [&calls](message_batch const&, attempt const&) {
                                                counted const local;
                                                ++calls;
                                            });
        });
        CHECK(calls == 2);
    }
    SUBCASE("on an executor, with a failure that names its record") {
        run([](claim& claim) -> asio::awaitable<void> {
            auto function = [guard = counted{}](message_batch const& batch, attempt const&) {
                if (batch.size() > 1) {
                    throw kgroup::failed_at{1, std::make_exception_ptr(counted{})};
                }
            };
            co_await kgroup::for_each_batch(
                claim, co_await asio::this_coro::executor, {.records = 3},
                {.retry = {.attempts = 2, .backoff = {.initial = 1ms, .max = 1ms}}}, function);
        });
    }
}

TEST_CASE("each: the function is destroyed once") {
    {
        scripted_group group;
        kgroup::each handler{
            {.order = kgroup::order::by_key},
            [guard = counted{}](message const&) -> asio::awaitable<void> { co_return; }};
        group.handler.on_claim = [&handler](session& session, claim& claim) {
            return handler.consume_claim(session, claim);
        };
        group.cluster.add_records(t0, "a", "b");
        group.run_over({t0});
        group.stop();
        CHECK(group.cluster.committed(t0) == 2);
    }
    CHECK(counted::alive == 0);
    CHECK(counted::fewest == 0);
}

TEST_CASE("async_collect: its limits and its batch are destroyed once") {
    std::size_t received = 0;
    run([&received](claim& claim) -> asio::awaitable<void> {
        while (auto batch =
                   co_await claim.messages().async_collect({.records = 2, .within = 200ms})) {
            received += batch.size();
            claim.mark(batch.back());
        }
    });
    CHECK(received == 3);
}

} // namespace for_each_forms_tests
