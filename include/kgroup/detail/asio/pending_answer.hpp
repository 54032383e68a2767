// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/manual_reset_event.hpp>

#include <asio/awaitable.hpp>

#include <exception>
#include <utility>

namespace kgroup::detail {

/// What one coroutine waits for and somebody else gives, once: a value, or why there is none.
template <typename T>
class pending_answer {
public:
    void give(T value) {
        value_ = std::move(value);
        done_.set();
    }
    void fail(std::exception_ptr failure) noexcept {
        failure_ = std::move(failure);
        done_.set();
    }
    bool given() const { return done_.happened(); }

    /// Throws what it failed with, and when cancelled.
    asio::awaitable<T> wait() {
        co_await done_.wait();
        if (failure_) {
            std::rethrow_exception(failure_);
        }
        co_return std::move(value_);
    }

private:
    manual_reset_event done_;
    T value_{};
    std::exception_ptr failure_;
};

} // namespace kgroup::detail
