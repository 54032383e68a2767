// SPDX-License-Identifier: MIT

#include <kgroup/detail/process/other_executor.hpp>

#include <asio/awaitable.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/cancellation_type.hpp>
#include <asio/co_spawn.hpp>
#include <asio/error.hpp>
#include <asio/io_context.hpp>
#include <asio/redirect_error.hpp>
#include <asio/steady_timer.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace other_executor_tests {

namespace {

using kgroup::detail::other_executor;

/// Who waits, in a context of its own; what it waits for runs in another.
struct two_contexts {
    asio::io_context here;
    asio::io_context there;
    std::shared_ptr<other_executor> other = std::make_shared<other_executor>(there.get_executor());
    asio::cancellation_signal cancels;
    std::optional<std::exception_ptr> end;

    template <typename Function>
    void start(Function function) {
        end.reset();
        auto wait = [this, function]() -> asio::awaitable<void> { co_await other->run(function); };
        asio::co_spawn(
            here, wait,
            asio::bind_cancellation_slot(
                cancels.slot(), [this](std::exception_ptr failure) { end = std::move(failure); }));
        run_here();
    }
    void run_here() {
        here.restart();
        here.poll();
    }
    void run_there() {
        there.restart();
        there.poll();
    }
    std::error_code error() const {
        try {
            std::rethrow_exception(end.value());
        } catch (std::system_error const& failure) {
            return failure.code();
        }
    }
};

asio::awaitable<void> wait_for_ever() {
    asio::steady_timer never{co_await asio::this_coro::executor,
                             (std::chrono::steady_clock::time_point::max)()};
    co_await never.async_wait(asio::use_awaitable);
}

} // namespace

TEST_CASE("other_executor: the function runs there, and who waits goes on here") {
    two_contexts both;
    auto ran = 0;
    for (auto round = 1; round != 4; ++round) {
        both.start([&]() -> asio::awaitable<void> {
            ++ran;
            co_return;
        });
        CHECK(ran == round - 1);
        both.run_there();
        CHECK(ran == round);
        CHECK_FALSE(both.end);
        both.run_here();
        REQUIRE(both.end);
        CHECK_FALSE(*both.end);
    }
}

TEST_CASE("other_executor: what the function throws comes out, also before it is a coroutine") {
    two_contexts both;
    both.start([]() -> asio::awaitable<void> {
        throw std::runtime_error{"refused"};
        co_return;
    });
    both.run_there();
    both.run_here();
    CHECK_THROWS_AS(std::rethrow_exception(both.end.value()), std::runtime_error);
    auto refuse = []() -> asio::awaitable<void> { throw std::logic_error{"refused"}; };
    both.start(refuse);
    both.run_there();
    both.run_here();
    CHECK_THROWS_AS(std::rethrow_exception(both.end.value()), std::logic_error);
}

TEST_CASE("other_executor: a cancellation goes the way through the strand") {
    two_contexts both;
    both.start(wait_for_ever);
    both.run_there();
    both.cancels.emit(asio::cancellation_type::terminal);
    both.run_here();
    CHECK_FALSE(both.end); // nothing has happened to it yet
    both.run_there();
    both.run_here();
    CHECK(both.error() == asio::error::operation_aborted);
}

TEST_CASE("other_executor: one that comes too late cancels nothing that runs after it") {
    two_contexts both;
    asio::steady_timer* waits = nullptr;
    auto wait = [&]() -> asio::awaitable<void> {
        asio::steady_timer gate{co_await asio::this_coro::executor,
                                (std::chrono::steady_clock::time_point::max)()};
        waits = &gate;
        std::error_code ignored;
        co_await gate.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
        waits = nullptr;
    };
    both.start(wait);
    both.run_there();
    REQUIRE(waits);
    waits->cancel();                                      // it ends there
    both.cancels.emit(asio::cancellation_type::terminal); // behind its end in the strand
    both.run_there();
    both.run_here();
    REQUIRE(both.end);
    both.start(wait);
    both.run_there();
    both.run_here();
    CHECK(waits);
    CHECK_FALSE(both.end);
    both.cancels.emit(asio::cancellation_type::terminal);
    both.run_there();
    both.run_here();
    CHECK(both.end);
}

} // namespace other_executor_tests
