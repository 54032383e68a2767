// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/delivery.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/associated_executor.hpp>
#include <asio/execution/outstanding_work.hpp>
#include <asio/post.hpp>
#include <asio/prefer.hpp>

#include <cstddef>
#include <new>
#include <system_error>
#include <type_traits>
#include <utility>

namespace kgroup::detail {

/// What an operation of a producer has come to.
struct produce_outcome {
    std::error_code error{};
    delivery where{};       // of a record that was acknowledged
    std::size_t failed = 0; // of a flush or a stop: records that were not
};

/// The handler of an operation until there is an outcome, which is posted to its executor. That has
/// work until then. `Call` says how the handler is called.
class completion {
public:
    completion() noexcept = default;
    completion(completion const&) = delete;
    completion& operator=(completion const&) = delete;
    ~completion() { drop(); }

    explicit operator bool() const noexcept { return kept_ != nullptr; }

    template <typename Call, typename Handler>
    void keep(Handler handler, asio::any_io_executor const& otherwise) {
        using type = kept_handler<Call, Handler>;
        if constexpr (sizeof(type) <= sizeof place_ && alignof(type) <= alignof(std::max_align_t)) {
            kept_ = ::new (static_cast<void*>(place_)) type{std::move(handler), otherwise};
        } else {
            kept_ = new type{std::move(handler), otherwise};
        }
    }

    void complete(produce_outcome const& outcome) {
        if (kept_) {
            kept_->post(outcome);
            drop();
        }
    }

    /// Destroys the handler, and with it the coroutine that waits.
    void drop() noexcept {
        auto* const dropped = std::exchange(kept_, nullptr);
        if (!dropped) {
            return;
        }
        if (static_cast<void*>(dropped) == static_cast<void*>(place_)) {
            dropped->~base();
        } else {
            delete dropped;
        }
    }

private:
    struct base {
        virtual ~base() = default;
        virtual void post(produce_outcome const& outcome) = 0;
    };
    template <typename Call, typename Handler>
    struct kept_handler final : base {
        kept_handler(Handler given, asio::any_io_executor const& otherwise)
            : executor(asio::prefer(
                  asio::any_io_executor{asio::get_associated_executor(given, otherwise)},
                  asio::execution::outstanding_work.tracked)),
              handler(std::move(given)) {}

        void post(produce_outcome const& outcome) override {
            asio::post(executor, [call = std::move(handler), outcome]() mutable {
                Call::call(std::move(call), outcome);
            });
        }

        asio::any_io_executor executor;
        Handler handler;
    };

    alignas(std::max_align_t) std::byte place_[192];
    base* kept_ = nullptr;
};

// How handlers are called.

struct call_with_outcome {
    template <typename Handler>
    static void call(Handler&& handler, produce_outcome const& outcome) {
        std::forward<Handler>(handler)(outcome);
    }
};
struct call_with_error {
    template <typename Handler>
    static void call(Handler&& handler, produce_outcome const& outcome) {
        std::forward<Handler>(handler)(outcome.error);
    }
};
struct call_with_delivery {
    template <typename Handler>
    static void call(Handler&& handler, produce_outcome const& outcome) {
        std::forward<Handler>(handler)(outcome.error, outcome.where);
    }
};
struct call_with_count {
    template <typename Handler>
    static void call(Handler&& handler, produce_outcome const& outcome) {
        std::forward<Handler>(handler)(outcome.error, outcome.failed);
    }
};

} // namespace kgroup::detail
