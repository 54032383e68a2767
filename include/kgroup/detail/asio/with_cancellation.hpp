// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/clock.hpp> // it comes before Asio

#include <asio/awaitable.hpp>
#include <asio/cancellation_state.hpp>
#include <asio/this_coro.hpp>

#include <utility>

namespace kgroup::detail {

/// For an operation that is spawned by itself: lets the types of cancellation through that `filter`
/// lets through. Left alone, a coroutine hears of `terminal` only.
template <typename Filter, typename Result>
asio::awaitable<Result> with_cancellation(Filter filter, asio::awaitable<Result> operation) {
    co_await asio::this_coro::reset_cancellation_state(filter);
    co_return co_await std::move(operation);
}

} // namespace kgroup::detail
