// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/typed_strand.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/associated_cancellation_slot.hpp>
#include <asio/associated_executor.hpp>
#include <asio/async_result.hpp>
#include <asio/awaitable.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/cancellation_type.hpp>
#include <asio/co_spawn.hpp>
#include <asio/dispatch.hpp>
#include <asio/use_awaitable.hpp>

#include <cstdint>
#include <exception>
#include <memory>
#include <utility>

namespace kgroup::detail {

/// Runs one function after another on a strand of another executor, for a coroutine that waits for
/// each. A cancellation of that coroutine goes the way through the strand, which it does not by
/// `co_spawn` alone (Asio 1.22): there it would reach into what runs on another thread.
class other_executor : public std::enable_shared_from_this<other_executor> {
public:
    explicit other_executor(asio::any_io_executor const& on)
        : strand_(typed_strand{on}.executor()) {}

    /// Calls the function on the strand, and completes where it was awaited. One at a time.
    ///
    /// @param function trivially copyable; returns `asio::awaitable<void>`.
    template <typename Function>
    asio::awaitable<void> run(Function function) {
        return asio::async_initiate<decltype(asio::use_awaitable), void(std::exception_ptr)>(
            [self = shared_from_this(), function](auto completion_handler) {
                self->start(function, std::move(completion_handler));
            },
            asio::use_awaitable);
    }

private:
    template <typename Function, typename Handler>
    void start(Function function, Handler completion_handler) {
        auto const self = shared_from_this();
        auto const number = ++begun_;
        if (auto slot = asio::get_associated_cancellation_slot(completion_handler);
            slot.is_connected()) {
            slot.assign([self, number](asio::cancellation_type type) {
                asio::dispatch(self->strand_, [self, number, type] {
                    if (self->running_ == number) { // it may have ended meanwhile
                        self->signal_.emit(type);
                    }
                });
            });
        }
        auto begin = [self, number, function] {
            self->running_ = number;
            return function();
        };
        auto end = [self, completion_handler =
                              std::move(completion_handler)](std::exception_ptr failure) mutable {
            self->running_ = 0;
            auto const executor = asio::get_associated_executor(completion_handler);
            asio::dispatch(executor, [completion_handler = std::move(completion_handler),
                                      failure = std::move(failure)]() mutable {
                asio::get_associated_cancellation_slot(completion_handler).clear();
                std::move(completion_handler)(std::move(failure));
            });
        };
        asio::co_spawn(strand_, std::move(begin),
                       asio::bind_cancellation_slot(signal_.slot(), std::move(end)));
    }

    asio::any_io_executor const strand_;
    std::uint64_t begun_ = 0; // where `run` is called

    // On the strand.
    std::uint64_t running_ = 0; // 0: none
    asio::cancellation_signal signal_;
};

} // namespace kgroup::detail
