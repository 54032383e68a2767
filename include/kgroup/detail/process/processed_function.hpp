// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/attempt.hpp>
#include <kgroup/detail/process/other_executor.hpp>
#include <kgroup/message.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>

#include <cstddef>
#include <memory>
#include <optional>
#include <stdexcept>
#include <type_traits>
#include <utility>

namespace kgroup::detail {

/// What a function of `for_each` is called with: `Item` is `message`; of `for_each_batch`, a
/// `message_batch`.
template <typename F, typename Item>
concept takes_item = std::is_invocable_v<F&, Item const&>;
template <typename F, typename Item>
concept takes_attempt = std::is_invocable_v<F&, Item const&, attempt const&>;

template <typename F, typename Item>
decltype(auto) call(F& function, Item const& item, attempt const& current) {
    if constexpr (takes_attempt<F, Item>) {
        return function(item, current);
    } else {
        return function(item);
    }
}

template <typename F, typename Item>
concept processes = (takes_item<F, Item> ||
                     takes_attempt<F, Item>)&&requires(F& function, Item const& item,
                                                       attempt const& current) {
    requires std::is_void_v<decltype(detail::call(function, item, current))> ||
        std::is_same_v<decltype(detail::call(function, item, current)), asio::awaitable<void>>;
};

/// The function behind a pointer, so that all below is compiled once.
template <typename Item>
class basic_processed_function {
public:
    virtual ~basic_processed_function() = default;
    /// Whether it is called by `start`; otherwise by `call`.
    virtual bool waits() const noexcept = 0;
    /// `elsewhere`: of who calls it for one item after another; null at first, and made where the
    /// function runs on another executor.
    virtual asio::awaitable<void> start(Item const& item, attempt const& current,
                                        std::shared_ptr<other_executor>& elsewhere) = 0;
    virtual void call(Item const& item, attempt const& current) = 0;
};

using processed_function = basic_processed_function<message>;

/// `F`: a function object, or a reference to one that outlives the call.
template <typename F, typename Item>
class bound_function final : public basic_processed_function<Item> {
public:
    using function = std::remove_reference_t<F>;
    static constexpr bool is_plain = std::is_void_v<decltype(detail::call(
        std::declval<function&>(), std::declval<Item const&>(), std::declval<attempt const&>()))>;

    bound_function(F&& given, std::optional<asio::any_io_executor> executor)
        : function_(std::forward<F>(given)),
          executor_(std::move(executor)) {}

    bool waits() const noexcept override { return !is_plain || executor_.has_value(); }
    asio::awaitable<void> start(Item const& item, attempt const& current,
                                std::shared_ptr<other_executor>& elsewhere) override {
        if (!executor_) {
            return here(item, current);
        }
        if (!elsewhere) {
            elsewhere = std::make_shared<other_executor>(*executor_);
        }
        // The function itself runs there, too, not only what it returns.
        return elsewhere->run([this, &item, &current] { return here(item, current); });
    }
    void call(Item const& item, attempt const& current) override {
        if constexpr (is_plain) {
            detail::call(function_, item, current);
        }
    }

private:
    asio::awaitable<void> here(Item const& item, attempt const& current) {
        if constexpr (is_plain) {
            return plain(item, current);
        } else {
            return detail::call(function_, item, current);
        }
    }
    asio::awaitable<void> plain(Item const& item, attempt const& current) {
        call(item, current);
        co_return;
    }
    F function_;
    std::optional<asio::any_io_executor> executor_;
};

/// Whether there is nothing to call: a null pointer, an empty `std::function`. (Not asked of what
/// cannot be null, such as a lambda that converts to a pointer.)
template <typename F>
bool is_empty(F const& function) noexcept {
    if constexpr (std::is_constructible_v<F, std::nullptr_t>) {
        return function == nullptr;
    } else {
        return false;
    }
}

// g++ before 13 destroys such a temporary of a co_await expression twice, without a warning.
template <typename F>
constexpr bool survives_co_await =
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13
    std::is_lvalue_reference_v<F> || std::is_trivially_destructible_v<F>;
#else
    true;
#endif

/// The function that is given, where it fits.
///
/// @throws std::invalid_argument: there is none, or none to run it. As failures of attempts these
/// would give up all records.
template <typename Item, typename F>
std::unique_ptr<basic_processed_function<Item>>
bind_function(F&& function, std::optional<asio::any_io_executor> executor) {
    static_assert(
        survives_co_await<F>,
        "kgroup: g++ before 13 destroys this temporary twice inside a co_await expression. Give "
        "the function a name before the call and pass that, or let it capture by reference only");
    if (is_empty(function)) {
        throw std::invalid_argument{"kgroup: the function is empty"};
    }
    if (executor && !*executor) {
        throw std::invalid_argument{"kgroup: the executor for the function is empty"};
    }
    return std::make_unique<bound_function<F, Item>>(std::forward<F>(function),
                                                     std::move(executor));
}

} // namespace kgroup::detail
