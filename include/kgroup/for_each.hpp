// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/claim.hpp>
#include <kgroup/detail/process/processed_function.hpp>
#include <kgroup/detail/process/record_processor.hpp>
#include <kgroup/for_each_options.hpp>
#include <kgroup/session.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>

#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace kgroup {

namespace detail {

/// The function of `for_each`, checked in sentences.
template <typename F>
std::unique_ptr<processed_function>
bind_record_function(F&& function, std::optional<asio::any_io_executor> executor) {
    static_assert(
        processes<std::remove_reference_t<F>, message>,
        "kgroup: the function does not fit. Write: "
        "[&](kgroup::message const& message) -> asio::awaitable<void> { … }, or with a second "
        "parameter kgroup::attempt const&; it may return void if it does not wait");
    return bind_function<message, F>(std::forward<F>(function), std::move(executor));
}

inline asio::awaitable<void> process(claim& from, for_each_options options,
                                     std::unique_ptr<processed_function> function) {
    auto const processor = std::make_shared<record_processor>(from, options, std::move(function));
    co_await processor->run();
}

} // namespace detail

/// Calls a function for each record of a claim, in the order that `options.order` says, many at a
/// time where that allows it, and again where it fails.
///
///     asio::awaitable<void> consume_claim(kgroup::session&, kgroup::claim& claim) {
///         auto book = [&](kgroup::message const& message) -> asio::awaitable<void> {
///             co_await warehouse_.book(decode(message));
///         };
///         co_await kgroup::for_each(
///             claim, {.order = kgroup::order::by_key, .in_flight = 100}, book);
///     }
///
/// A record is done when the function has returned normally: `by_partition` marks it, the other
/// orders acknowledge it. An exception is a failed attempt: see `retry_options`,
/// `permanent_failure` and `not_now`.
///
/// @param claim which nobody else receives from meanwhile (`errc::receive_in_progress`).
/// @param options copied.
/// @param function `f(message const&)` or `f(message const&, attempt const&)`, which returns
///     `asio::awaitable<void>`, or `void` if it does not wait. Called on the claim's strand, for
///     several records of the claim by turns; the message lives until the call has ended. An lvalue
///     is referenced, an rvalue moved. g++ before 13 destroys temporaries in a `co_await`
///     expression twice, so there an rvalue must be trivially destructible.
///
/// *Ends* when the claim has ended and each attempt that ran has. Nothing of it outlives the call.
///
/// | | running attempt | one that fails meanwhile | waits for a retry | waits for its key |
/// |---|---|---|---|---|
/// | claim revoked, group stopped | finishes; cancelled (`terminal`) at the deadline | undone, not repeated | undone | undone |
/// | claim lost | cancelled at once; not done, however it returns | undone | undone | undone |
/// | `attempt_timeout` is over | cancelled; done if it returns normally all the same | a failed attempt | – | – |
/// | a failure that is not repeated | finishes, within `config::rebalance_deadline` | an event | undone | undone |
///
/// A dead letter under way (`for_each_options::dead_letters`) is as a running attempt, and has no
/// limit of time.
///
/// What is undone is delivered again to the partition's next owner. While a claim is paused,
/// nothing starts.
///
/// @throws what the function threw, when its record is given up and `retry_options::give_up` is
///     `end`; `operation_aborted` when it was cancelled (`terminal`) before the claim had ended;
///     `errc::receive_in_progress`; std::invalid_argument names an option that cannot be meant;
///     std::logic_error where an earlier `for_each` of the claim has ended before it, by a failure
///     or a cancellation, with records undone: what comes behind them would be committed over them.
template <typename F>
asio::awaitable<void> for_each(claim& claim, for_each_options options, F&& function) {
    return detail::process(
        claim, options, detail::bind_record_function<F>(std::forward<F>(function), std::nullopt));
}

/// The same with the function running on another executor, a pool for work that blocks, say. Each
/// attempt has a strand of its own there. What becomes of the record goes on on the claim's strand.
template <typename F>
asio::awaitable<void> for_each(claim& claim, asio::any_io_executor executor,
                               for_each_options options, F&& function) {
    return detail::process(
        claim, options,
        detail::bind_record_function<F>(std::forward<F>(function), std::move(executor)));
}

} // namespace kgroup
