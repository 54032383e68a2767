#pragma once

#include <kgroup/attempt.hpp>
#include <kgroup/message.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#include <asio/strand.hpp>
#include <asio/use_awaitable.hpp>

#include <optional>
#include <type_traits>
#include <utility>

namespace kgroup::detail {

template <typename F>
concept takes_message = std::is_invocable_v<F&, message const&>;
template <typename F>
concept takes_attempt = std::is_invocable_v<F&, message const&, attempt const&>;

template <typename F>
decltype(auto) call(F& function, message const& record, attempt const& current) {
    if constexpr (takes_attempt<F>) {
        return function(record, current);
    } else {
        return function(record);
    }
}

template <typename F>
concept processes_records = (takes_message<F> ||
                             takes_attempt<F>)&&requires(F& function, message const& record,
                                                         attempt const& current) {
    requires std::is_void_v<decltype(detail::call(function, record, current))> ||
        std::is_same_v<decltype(detail::call(function, record, current)), asio::awaitable<void>>;
};

/// The function of `for_each` behind a pointer, so that all below is compiled once.
class processed_function {
public:
    virtual ~processed_function() = default;
    /// Whether it is called by `start`; otherwise by `call`.
    virtual bool waits() const noexcept = 0;
    virtual asio::awaitable<void> start(message const& record, attempt const& current) = 0;
    virtual void call(message const& record, attempt const& current) = 0;
};

/// `F`: a function object, or a reference to one that outlives the call.
template <typename F>
class bound_function final : public processed_function {
public:
    using function = std::remove_reference_t<F>;
    static constexpr bool is_plain = std::is_void_v<decltype(detail::call(
        std::declval<function&>(), std::declval<message const&>(),
        std::declval<attempt const&>()))>;

    bound_function(F&& given, std::optional<asio::any_io_executor> executor)
        : function_(std::forward<F>(given)),
          executor_(std::move(executor)) {}

    bool waits() const noexcept override { return !is_plain || executor_.has_value(); }
    asio::awaitable<void> start(message const& record, attempt const& current) override {
        if (executor_) {
            return elsewhere(record, current);
        }
        return here(record, current);
    }
    void call(message const& record, attempt const& current) override {
        if constexpr (is_plain) {
            detail::call(function_, record, current);
        }
    }

private:
    asio::awaitable<void> here(message const& record, attempt const& current) {
        if constexpr (is_plain) {
            return plain(record, current);
        } else {
            return detail::call(function_, record, current);
        }
    }
    asio::awaitable<void> plain(message const& record, attempt const& current) {
        call(record, current);
        co_return;
    }
    // A strand, because the attempt may be cancelled while it runs.
    asio::awaitable<void> elsewhere(message const& record, attempt const& current) {
        co_await asio::co_spawn(asio::make_strand(*executor_), here_as_function(record, current),
                                asio::use_awaitable);
    }
    // The function itself runs there, too, not only what it returns.
    asio::awaitable<void> here_as_function(message const& record, attempt const& current) {
        co_await here(record, current);
    }

    F function_;
    std::optional<asio::any_io_executor> executor_;
};

} // namespace kgroup::detail
