// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/client/token_schedule.hpp>
#include <kgroup/detail/group/user_task.hpp>
#include <kgroup/oauth_token.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

namespace kgroup::detail {

/// A call of `config::oauth_token_provider`.
class token_task final : public stranded_task<token_task> {
public:
    using provider = std::function<asio::awaitable<oauth_token>()>;

    token_task(provider called, asio::any_io_executor const& executor, end_handler on_end)
        : stranded_task(executor, std::move(on_end)),
          called_(std::move(called)) {}

    oauth_token token{};

    asio::awaitable<void> call() override { token = co_await called_(); }

private:
    provider called_;
};

/// The calls of a group's token provider.
class token_refresher {
public:
    explicit token_refresher(token_task::provider called) : provider_(std::move(called)) {}

    /// The client wants a token. Whether the provider is to be called now.
    bool wanted() const noexcept { return provider_ && schedule_.wanted(); }
    /// When it is to be called again.
    std::optional<clock::time_point> due() const noexcept { return schedule_.due(); }

    /// The call, to be started now.
    std::shared_ptr<token_task> begin(asio::any_io_executor const& executor,
                                      token_task::end_handler on_end) {
        running_ = std::make_shared<token_task>(provider_, executor, std::move(on_end));
        schedule_.begin();
        return running_;
    }

    /// The call has ended. What is wrong with it; nullopt: the client is to be given the token.
    std::optional<token_flaw> end(token_task const& call) {
        running_.reset();
        return flaw_of_call(call.failure, call.token);
    }
    /// The client has a token. true: the calls before have brought none.
    bool succeed() noexcept { return schedule_.succeed(); }
    /// It has none. Returns after which time the provider is called again.
    std::chrono::milliseconds fail(clock::time_point now) noexcept { return schedule_.fail(now); }
    /// The last call has brought none.
    bool fails() const noexcept { return schedule_.fails(); }

    /// None is wanted any more. The call that is under way; null: there is none.
    std::shared_ptr<token_task> stop() noexcept {
        schedule_.stop();
        return std::exchange(running_, nullptr);
    }
    /// The provider is not kept, but by a call that lives on.
    void forget_provider() noexcept { provider_ = nullptr; }

private:
    token_task::provider provider_;
    std::shared_ptr<token_task> running_;
    token_schedule schedule_;
};

} // namespace kgroup::detail
