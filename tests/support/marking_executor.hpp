// SPDX-License-Identifier: MIT

#pragma once

#include <asio/prefer.hpp>
#include <asio/query.hpp>
#include <asio/require.hpp>
#include <asio/version.hpp>

#include <utility> // before Asio: see clock.hpp
#if ASIO_VERSION < 102400
#include <asio/execution/execute.hpp>
#endif

#include <type_traits>

namespace kgroup::tests {

/// Which `marking_executor`s run something on this thread now.
struct executor_mark {
    bool running_in_this_thread() const noexcept { return current == this; }

    inline static thread_local executor_mark const* current = nullptr;
};

/// A user's own executor, over another: it knows what it runs.
template <typename Below>
class marking_executor {
public:
    marking_executor(Below below, executor_mark const& mark) noexcept
        : below_(std::move(below)),
          mark_(&mark) {}

    bool running_in_this_thread() const noexcept { return mark_->running_in_this_thread(); }

    template <typename Function>
    void execute(Function function) const {
        auto marking = [mark = mark_, function = std::move(function)]() mutable {
            struct marked {
                explicit marked(executor_mark const* by)
                    : before(std::exchange(executor_mark::current, by)) {}
                ~marked() { executor_mark::current = before; }
                executor_mark const* before;
            } const here{mark};
            std::move(function)();
        };
#if ASIO_VERSION < 102400
        asio::execution::execute(below_, std::move(marking));
#else
        below_.execute(std::move(marking));
#endif
    }

    template <typename Property>
    requires asio::can_query<Below const&, Property>::value decltype(auto)
    query(Property property) const {
        return asio::query(below_, property);
    }
    template <typename Property>
    requires asio::can_require<Below const&, Property>::value auto
    require(Property property) const {
        return over(asio::require(below_, property));
    }
    template <typename Property>
    requires asio::can_prefer<Below const&, Property>::value auto prefer(Property property) const {
        return over(asio::prefer(below_, property));
    }

    friend bool operator==(marking_executor const& one, marking_executor const& other) noexcept {
        return one.below_ == other.below_ && one.mark_ == other.mark_;
    }
    friend bool operator!=(marking_executor const& one, marking_executor const& other) noexcept {
        return !(one == other);
    }

private:
    template <typename Other>
    marking_executor<std::decay_t<Other>> over(Other&& below) const {
        return {std::forward<Other>(below), *mark_};
    }

    Below below_;
    executor_mark const* mark_;
};

} // namespace kgroup::tests
