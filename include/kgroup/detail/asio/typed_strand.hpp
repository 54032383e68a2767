// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/clock.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/dispatch.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/strand.hpp>
#include <asio/thread_pool.hpp>

#include <typeinfo>
#include <utility>
#include <variant>

namespace kgroup::detail {

/// A strand that knows Asio's own executors by their types: through `any_io_executor` each function
/// that is posted asks the allocator several times.
class typed_strand {
public:
    explicit typed_strand(asio::any_io_executor const& on)
        : strand_(make(on)),
          executor_(std::visit([](auto const& strand) { return asio::any_io_executor{strand}; },
                               strand_)) {}

    /// The same strand, for coroutines.
    asio::any_io_executor const& executor() const noexcept { return executor_; }

    bool running_in_this_thread() const noexcept {
        return std::visit([](auto const& strand) { return strand.running_in_this_thread(); },
                          strand_);
    }

    /// At once where that may be.
    template <typename Function>
    void dispatch(Function function) const {
        std::visit([&](auto const& strand) { asio::dispatch(strand, std::move(function)); },
                   strand_);
    }
    /// On the executor below it.
    template <typename Function>
    void post_outside(Function function) const {
        std::visit(
            [&](auto const& strand) {
                asio::post(strand.get_inner_executor(), std::move(function));
            },
            strand_);
    }

private:
    using context_strand = asio::strand<asio::io_context::executor_type>;
    using pool_strand = asio::strand<asio::thread_pool::executor_type>;
    using other_strand = asio::strand<asio::any_io_executor>;
    using any_strand = std::variant<context_strand, pool_strand, other_strand>;

    static any_strand make(asio::any_io_executor const& on) {
        if (auto const* const context = target<asio::io_context::executor_type>(on)) {
            return context_strand{*context};
        }
        if (auto const* const pool = target<asio::thread_pool::executor_type>(on)) {
            return pool_strand{*pool};
        }
        return other_strand{on};
    }

    // Null: it is none. The type is compared here: before Asio 1.26 `any_io_executor::target` takes
    // whatever is there for what it is asked for, such as a strand for the context below it.
    template <typename Executor>
    static Executor const* target([[maybe_unused]] asio::any_io_executor const& on) noexcept {
#ifndef ASIO_NO_TYPEID
        if (on.target_type() == typeid(Executor)) {
            return on.target<Executor>();
        }
#endif
        return nullptr;
    }

    any_strand strand_;
    asio::any_io_executor executor_;
};

} // namespace kgroup::detail
