// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/claim.hpp>
#include <kgroup/collect_limits.hpp>
#include <kgroup/detail/process/batch_processor.hpp>
#include <kgroup/detail/process/processed_function.hpp>
#include <kgroup/failed_at.hpp>
#include <kgroup/for_each_options.hpp>
#include <kgroup/message_channel.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>

#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace kgroup {

namespace detail {

/// The function of `for_each_batch`, checked in sentences.
template <typename F>
std::unique_ptr<batch_function> bind_batch_function(F&& function,
                                                    std::optional<asio::any_io_executor> executor) {
    static_assert(
        processes<std::remove_reference_t<F>, message_batch>,
        "kgroup: the function does not fit. Write: "
        "[&](kgroup::message_batch const& batch) -> asio::awaitable<void> { … }, or with a second "
        "parameter kgroup::attempt const&; it may return void if it does not wait");
    return bind_function<message_batch, F>(std::forward<F>(function), std::move(executor));
}

inline asio::awaitable<void> process_batches(claim& from, collect_limits limits,
                                             for_each_options options,
                                             std::unique_ptr<batch_function> function) {
    auto const processor =
        std::make_shared<batch_processor>(from, limits, options, std::move(function));
    co_await processor->run();
}

} // namespace detail

/// Calls a function for one batch of a claim after another, and again if it fails. Use it for work
/// that is cheaper in batches, such as a database transaction.
///
///     auto store = [&](kgroup::message_batch const& batch) { database_.insert(batch); };
///     co_await kgroup::for_each_batch(claim, {.records = 500, .within = 200ms},
///                                     {.retry = {.attempts = 5}}, store);
///
/// A batch is done, and marked, when the function has returned normally. An exception is a failed
/// attempt at all of it. `failed_at` says which record has failed. The records before it are done,
/// so they must be stored by then (not rolled back with it); the next attempt begins with the
/// failed one. Attempts are counted for the first record of an attempt. When they are used up, only
/// that record is given up; without `failed_at`, the whole batch is.
///
/// @param claim which nobody else receives from meanwhile (`errc::receive_in_progress`).
/// @param limits what makes a batch: see `message_channel::async_collect`.
/// @param options copied. `limit`, `retry` and `dead_letters` count; `order` is `by_partition`.
/// @param function `f(message_batch const&)` or `f(message_batch const&, attempt const&)`, which
///     returns `asio::awaitable<void>`, or `void` if it does not wait. It moves no message within
///     the batch or out of it. Otherwise as for `for_each`.
///
/// *Ends* as `for_each`: when the claim is revoked or the group stopped, the attempt that runs may
/// finish, and is cancelled at the deadline (`terminal`); when it is lost, the attempt is cancelled
/// at once and nothing of it counts; a batch that has not begun is given up undone. While the claim
/// is paused, nothing starts.
///
/// @throws what the function threw, or the cause in `failed_at`, when a record is given up and
///     `retry_options::give_up` is `end`; `operation_aborted` when it was cancelled before the
///     claim had ended; `errc::invalid_limits`, and std::invalid_argument for another order;
///     std::logic_error when the function has moved messages. Otherwise as `for_each`.
template <typename F>
asio::awaitable<void> for_each_batch(claim& claim, collect_limits limits, for_each_options options,
                                     F&& function) {
    return detail::process_batches(
        claim, limits, options,
        detail::bind_batch_function<F>(std::forward<F>(function), std::nullopt));
}

/// The same with the function running on another executor: see `for_each`.
template <typename F>
asio::awaitable<void> for_each_batch(claim& claim, asio::any_io_executor executor,
                                     collect_limits limits, for_each_options options,
                                     F&& function) {
    return detail::process_batches(
        claim, limits, options,
        detail::bind_batch_function<F>(std::forward<F>(function), std::move(executor)));
}

} // namespace kgroup
