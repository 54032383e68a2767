// SPDX-License-Identifier: MIT

// What for_each and for_each_batch refuse, and that nothing is done or lost by that.

#include <kgroup/each.hpp>
#include <kgroup/for_each.hpp>
#include <kgroup/for_each_batch.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/cancellation_type.hpp>
#include <asio/co_spawn.hpp>
#include <asio/redirect_error.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <doctest/doctest.h>
#include <support/scripted_group.hpp>

#include <algorithm>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace for_each_refusals_tests {

namespace {

using namespace kgroup::tests;
using kgroup::claim;
using kgroup::errc;
using kgroup::event_kind;
using kgroup::message;
using kgroup::message_batch;
using kgroup::session;

/// A group whose function waits until the test lets it go on.
struct refusing_group : scripted_group {
    claim* owned = nullptr;
    std::unique_ptr<kgroup::timer> gate; // of the attempt that runs
    lines begun;
    std::exception_ptr refused;

    explicit refusing_group(
        std::function<asio::awaitable<void>(refusing_group&, claim&)> consumed) {
        handler.on_claim = [this, consumed](session&, claim& claim) -> asio::awaitable<void> {
            owned = &claim;
            try {
                co_await consumed(*this, claim);
            } catch (...) {
                refused = std::current_exception();
                throw;
            }
        };
    }

    asio::awaitable<void> wait_for_test(message const& taken) {
        begun.emplace_back(taken.value());
        gate = std::make_unique<kgroup::timer>(co_await asio::this_coro::executor,
                                               kgroup::detail::clock::time_point::max());
        std::error_code ignored;
        co_await gate->async_wait(asio::redirect_error(asio::use_awaitable, ignored));
        gate.reset();
        auto const state = co_await asio::this_coro::cancellation_state;
        if (state.cancelled() != asio::cancellation_type::none) {
            throw std::system_error{asio::error::operation_aborted};
        }
    }
    asio::awaitable<void> each_of(claim& claim) {
        auto function = [this](message const& taken) { return wait_for_test(taken); };
        co_await kgroup::for_each(claim, {}, function);
    }
    asio::awaitable<void> batches_of(claim& claim) {
        auto function = [this](message_batch const& batch) { return wait_for_test(batch[0]); };
        co_await kgroup::for_each_batch(claim, {.records = 1}, {}, function);
    }

    void finish() {
        REQUIRE(gate);
        gate->cancel();
        settle();
    }
};

std::string describe_exception(std::exception_ptr const& failure) {
    return failure ? kgroup::detail::describe_exception(failure).first : std::string{};
}

/// Runs `for_each` with a function that fails, and expects it to refuse before it has called that.
template <typename Start>
std::string refused_by(Start start) {
    refusing_group group{[start](refusing_group&, claim& claim) { return start(claim); }};
    group.cluster.add_records(t0, "a", "b");
    group.run_over({t0});
    CHECK(group.outcome.completed);
    CHECK(group.count(event_kind::record_skipped) == 0);
    CHECK_FALSE(group.cluster.committed(t0));
    try {
        std::rethrow_exception(group.refused);
    } catch (std::invalid_argument const& error) {
        return error.what();
    }
    return {};
}

} // namespace

TEST_CASE("for_each: nobody else receives from its claim") {
    auto in_batches = false;
    SUBCASE("for_each") {}
    SUBCASE("for_each_batch") { in_batches = true; }
    refusing_group group{[in_batches](refusing_group& refusing, claim& owned) {
        return in_batches ? refusing.batches_of(owned) : refusing.each_of(owned);
    }};
    group.cluster.add_records(t0, "a", "b", "c");
    group.run_over({t0});
    std::vector<std::error_code> told;
    auto& messages = group.owned->messages();
    messages.async_receive([&](std::error_code ec, std::optional<message>) { told.push_back(ec); });
    messages.async_wait([&](std::error_code ec) { told.push_back(ec); });
    messages.async_collect({.records = 1},
                           [&](std::error_code ec, message_batch) { told.push_back(ec); });
    group.settle();
    CHECK(told == std::vector<std::error_code>(3, errc::receive_in_progress));
    for (auto const value : {"a", "b", "c"}) {
        CHECK(group.begun.back() == value);
        group.finish();
    }
    group.stop();
    CHECK(group.cluster.committed(t0) == 3);
}

TEST_CASE("for_each: a second one at the same time is refused, and the first goes on") {
    auto first_in_batches = false;
    auto second_in_batches = false;
    SUBCASE("for_each, and for_each") {}
    SUBCASE("for_each, and for_each_batch") { second_in_batches = true; }
    SUBCASE("for_each_batch, and for_each") { first_in_batches = true; }
    SUBCASE("for_each_batch, and for_each_batch") { first_in_batches = second_in_batches = true; }
    refusing_group group{[first_in_batches](refusing_group& refusing, claim& owned) {
        return first_in_batches ? refusing.batches_of(owned) : refusing.each_of(owned);
    }};
    group.cluster.add_records(t0, "a", "b");
    group.run_over({t0});
    std::exception_ptr second;
    asio::co_spawn(group.context,
                   second_in_batches ? group.batches_of(*group.owned) : group.each_of(*group.owned),
                   [&](std::exception_ptr failure) { second = failure; });
    group.settle();
    CHECK(describe_exception(second).find("another receive") != std::string::npos);
    group.finish();
    group.finish();
    CHECK(group.begun == lines{"a", "b"});
    group.stop();
    CHECK(group.cluster.committed(t0) == 2);
}

TEST_CASE("for_each: while somebody receives it is refused") {
    refusing_group group{[](refusing_group& refusing, claim& owned) -> asio::awaitable<void> {
        auto received = false;
        owned.messages().async_receive(
            [&](std::error_code, std::optional<message>) { received = true; });
        std::exception_ptr failure;
        try {
            co_await refusing.each_of(owned);
        } catch (...) {
            failure = std::current_exception();
        }
        CHECK(describe_exception(failure).find("another receive") != std::string::npos);
        co_await owned.async_wait_ended();
        CHECK(received);
    }};
    group.run_over({t0});
    group.cluster.add_records(t0, "a");
    group.settle();
    group.stop();
}

TEST_CASE("for_each that has left records undone is not followed by another, which would commit "
          "over them") {
    for (int forms = 0; forms != 8; ++forms) {
        CAPTURE(forms);
        auto const first_in_batches = (forms & 1) != 0;
        auto const second_in_batches = (forms & 2) != 0;
        auto const undone = (forms & 4) != 0;
        asio::cancellation_signal cancel;
        refusing_group group{[&](refusing_group& refusing, claim& owned) -> asio::awaitable<void> {
            auto over = false;
            auto const executor = co_await asio::this_coro::executor;
            asio::co_spawn(executor,
                           first_in_batches ? refusing.batches_of(owned) : refusing.each_of(owned),
                           asio::bind_cancellation_slot(cancel.slot(),
                                                        [&](std::exception_ptr) { over = true; }));
            while (!over) {
                kgroup::timer wait{executor};
                wait.expires_after(1ms);
                co_await wait.async_wait();
            }
            if (second_in_batches) {
                co_await refusing.batches_of(owned);
            } else {
                co_await refusing.each_of(owned);
            }
        }};
        group.cluster.add_records(t0, "a", "b");
        group.run_over({t0});
        if (!undone) {
            group.finish();
            group.finish();
        }
        cancel.emit(asio::cancellation_type::terminal);
        group.settle();
        group.cluster.add_records(t0, "c");
        group.advance(1ms);
        if (undone) {
            CHECK(group.begun == lines{"a"});
            CHECK(group.outcome.what().find("undone") != std::string::npos);
            CHECK_FALSE(group.cluster.committed(t0));
        } else {
            CHECK(group.begun == lines{"a", "b", "c"});
            group.finish();
            group.stop();
            CHECK(group.cluster.committed(t0) == 3);
        }
    }
}

TEST_CASE("for_each: what cannot be meant is refused before a record is taken") {
    static auto const fails = [](message const&) { throw std::runtime_error{"refused"}; };
    static auto const fails_in_batches = [](message_batch const&) {
        throw std::runtime_error{"refused"};
    };
    auto const has = [](std::string const& words, std::string const& part) {
        return words.find(part) != std::string::npos;
    };
    CHECK(has(
        refused_by([](claim& claim) { return kgroup::for_each(claim, {.in_flight = 0}, fails); }),
        "in_flight"));
    CHECK(has(refused_by([](claim& claim) {
                  return kgroup::for_each_batch(claim, {.records = 1}, {.retry = {.attempts = 0}},
                                                fails_in_batches);
              }),
              "attempts"));
    CHECK_THROWS_AS(kgroup::each({.in_flight = 0}, fails), std::invalid_argument);
    // As failures of attempts these would skip all that there is.
    constexpr kgroup::for_each_options skips{.retry = {.give_up = kgroup::give_up::skip}};
    CHECK(has(refused_by([&](claim& claim) {
                  return kgroup::for_each(claim, asio::any_io_executor{}, skips, fails);
              }),
              "executor"));
    CHECK(has(refused_by([&](claim& claim) {
                  return kgroup::for_each_batch(claim, asio::any_io_executor{}, {.records = 1},
                                                skips, fails_in_batches);
              }),
              "executor"));
    static std::function<void(message const&)> const empty;
    CHECK(has(refused_by([&](claim& claim) { return kgroup::for_each(claim, skips, empty); }),
              "empty"));
    static void (*const null)(message const&) = nullptr;
    CHECK(has(refused_by([&](claim& claim) { return kgroup::for_each(claim, skips, null); }),
              "empty"));
}

TEST_CASE("for_each_batch: a function that moves messages is told so, and nothing is committed") {
    std::function<void(message_batch const&)> move;
    std::optional<message> kept;
    SUBCASE("out of the batch") {
        move = [&](message_batch const& batch) { kept.emplace(std::move(batch[1])); };
    }
    SUBCASE("within it, and then says where it has failed") {
        move = [](message_batch const& batch) {
            std::swap(batch[0], batch[2]);
            throw kgroup::failed_at{1, nullptr};
        };
    }
    refusing_group group{[&](refusing_group&, claim& claim) -> asio::awaitable<void> {
        kgroup::detail::scope_exit const let_go{[&] { kept.reset(); }};
        co_await kgroup::for_each_batch(claim, {.records = 3}, {.retry = {.attempts = 9}}, move);
    }};
    group.cluster.add_records(t0, "a", "b", "c");
    group.run_over({t0});
    CHECK(group.outcome.what().find("moved messages") != std::string::npos);
    CHECK_FALSE(group.cluster.committed(t0));
}

} // namespace for_each_refusals_tests
