// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/group/user_task.hpp>
#include <kgroup/handler.hpp>
#include <kgroup/session.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>

#include <chrono>
#include <memory>
#include <utility>

namespace kgroup::detail {

/// A call of `setup` or `cleanup`.
class hook_task final : public stranded_task<hook_task> {
public:
    enum class hook { setup, cleanup };

    /// How often it is told that `setup` takes long.
    static constexpr auto told_every = std::chrono::seconds{30};

    hook_task(hook called, std::shared_ptr<handler_binding> handler,
              std::shared_ptr<kgroup::session> session, asio::any_io_executor const& executor,
              end_handler on_end)
        : stranded_task(executor, std::move(on_end)),
          called_(called),
          handler_(std::move(handler)),
          session_(std::move(session)) {}

    hook called() const noexcept { return called_; }

    asio::awaitable<void> call() override {
        return called_ == hook::setup ? handler_->setup(*session_) : handler_->cleanup(*session_);
    }

    /// Whether it is to be told now that it takes long.
    bool telling_is_due(clock::time_point now) noexcept {
        auto const due = now - told_ >= told_every;
        told_ = due ? now : told_;
        return due;
    }

private:
    hook called_;
    std::shared_ptr<handler_binding> handler_;
    std::shared_ptr<kgroup::session> session_;
    clock::time_point told_ = clock::now(); // began, or was last said to take long
};

} // namespace kgroup::detail
