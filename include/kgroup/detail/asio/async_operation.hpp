// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/with_cancellation.hpp>

#include <asio/associator.hpp>
#include <asio/async_result.hpp>
#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>

#include <exception>
#include <new>
#include <system_error>
#include <type_traits>
#include <utility>

namespace kgroup::detail {

/// The error in what came out of an operation of the library. What is no error code goes on.
inline std::error_code code_of(std::exception_ptr const& failure) {
    if (!failure) {
        return {};
    }
    try {
        std::rethrow_exception(failure);
    } catch (std::system_error const& error) {
        return error.code();
    } catch (std::bad_alloc const&) {
        return std::make_error_code(std::errc::not_enough_memory);
    }
}

/// What an operation holds from its initiation on: nothing.
struct nothing_held {
    void let_go() noexcept {}
};

/// What `co_spawn` completes, in front of a completion handler of `void(std::error_code, …)`. What
/// is associated with that one (executor, allocator, cancellation slot) is associated with this.
template <typename Handler, typename Held>
struct code_completion {
    Handler handler;
    [[no_unique_address]] Held held;

    template <typename... Result>
    void operator()(std::exception_ptr const& failure, Result&&... result) {
        held.let_go();
        std::move(handler)(code_of(failure), std::forward<Result>(result)...);
    }
};

template <typename Result>
struct operation_signature {
    using type = void(std::error_code, Result);
};
template <>
struct operation_signature<void> {
    using type = void(std::error_code);
};

/// The form with a completion token of an operation that is a coroutine: `void(std::error_code,
/// Result)`. The operation runs on `executor`; `filter` says which types of cancellation it hears.
/// What `hold` gives when the operation is initiated is kept until its handler is called, and let
/// go there.
template <typename Executor, typename Filter, typename Result, typename CompletionToken,
          typename Hold>
auto async_operation(Executor const& executor, Filter filter, asio::awaitable<Result> operation,
                     CompletionToken&& token, Hold hold) {
    using signature = typename operation_signature<Result>::type;
    return asio::async_initiate<CompletionToken, signature>(
        [](auto&& handler, Executor on, Filter heard, asio::awaitable<Result> started,
           Hold held_by) {
            using handler_type = std::decay_t<decltype(handler)>;
            asio::co_spawn(on, with_cancellation(heard, std::move(started)),
                           code_completion<handler_type, std::invoke_result_t<Hold>>{
                               std::forward<decltype(handler)>(handler), held_by()});
        },
        token, executor, std::move(filter), std::move(operation), std::move(hold));
}
template <typename Executor, typename Filter, typename Result, typename CompletionToken>
auto async_operation(Executor const& executor, Filter filter, asio::awaitable<Result> operation,
                     CompletionToken&& token) {
    return async_operation(executor, std::move(filter), std::move(operation),
                           std::forward<CompletionToken>(token), [] { return nothing_held{}; });
}

} // namespace kgroup::detail

template <template <typename, typename> class Associator, typename Handler, typename Held,
          typename DefaultCandidate>
struct asio::associator<Associator, kgroup::detail::code_completion<Handler, Held>,
                        DefaultCandidate> : Associator<Handler, DefaultCandidate> {
    static auto get(kgroup::detail::code_completion<Handler, Held> const& completion) noexcept {
        return Associator<Handler, DefaultCandidate>::get(completion.handler);
    }
    static auto get(kgroup::detail::code_completion<Handler, Held> const& completion,
                    DefaultCandidate const& candidate) noexcept {
        return Associator<Handler, DefaultCandidate>::get(completion.handler, candidate);
    }
};
