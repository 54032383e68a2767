// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/asio/scope_exit.hpp>
#include <kgroup/detail/process/dead_letter_sender.hpp>
#include <kgroup/message.hpp>
#include <kgroup/timer.hpp>

#include <asio/awaitable.hpp>
#include <asio/cancellation_type.hpp>
#include <asio/error.hpp>
#include <asio/redirect_error.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <set>
#include <system_error>
#include <utility>
#include <vector>

namespace kgroup::testing {

/// Takes the dead letters of `for_each` and `for_each_batch` in place of `dead_letters`, and keeps
/// them: a test of a service needs neither a producer nor a broker.
///
///     kgroup::testing::fake_dead_letters letters;
///     co_await kgroup::for_each(claim, {.dead_letters = &letters}, book); // in the handler
///     CHECK(letters.sent().size() == 1);
///
/// *Thread safety.* None: one thread runs the group and the test.
///
/// *Lifetime.* It outlives each `for_each` that names it, and so the context.
class fake_dead_letters final : public detail::dead_letter_sender {
public:
    struct letter {
        owned_message record; ///< that was given up
        std::exception_ptr failure;
        std::uint32_t attempts = 0; ///< in all
        std::exception_ptr first_failure;
    };

    /// The letters that were acknowledged, in this order.
    std::vector<letter> const& sent() const noexcept { return sent_; }

    /// How many are under way: they wait for `release`.
    std::size_t under_way() const noexcept { return held_.size(); }

    /// Lets letters wait from now on, as while no broker can be reached.
    void hold() noexcept { holds_ = true; }

    /// Lets those that wait be acknowledged, when the context runs next, and later ones at once.
    void release() {
        holds_ = false;
        for (auto* const wait : held_) {
            wait->cancel();
        }
    }

    /// Lets letters fail with an exception from now on, as `dead_letters` does when one is
    /// undeliverable. Null: they are sent again.
    void fail(std::exception_ptr failure) noexcept { failure_ = std::move(failure); }

    /// For the library.
    asio::awaitable<void> send(message const& record, std::exception_ptr failure,
                               std::uint32_t attempts, std::exception_ptr first_failure) override {
        letter written{record.copy(), std::move(failure), attempts, std::move(first_failure)};
        while (holds_) {
            timer wait{co_await asio::this_coro::executor, (detail::clock::time_point::max)()};
            held_.insert(&wait);
            detail::scope_exit const over{[this, &wait] { held_.erase(&wait); }};
            std::error_code ignored; // it ends by a cancellation in any case
            co_await wait.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
            auto const state = co_await asio::this_coro::cancellation_state;
            if (state.cancelled() != asio::cancellation_type::none) {
                throw std::system_error{asio::error::operation_aborted};
            }
        }
        if (failure_) {
            std::rethrow_exception(failure_);
        }
        sent_.push_back(std::move(written));
    }

private:
    std::vector<letter> sent_;
    std::set<timer*> held_;
    std::exception_ptr failure_;
    bool holds_ = false;
};

} // namespace kgroup::testing
