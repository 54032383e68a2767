// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/group/backoff.hpp>
#include <kgroup/detail/group/event_line.hpp>
#include <kgroup/detail/group/user_task.hpp>
#include <kgroup/error.hpp>
#include <kgroup/oauth_token.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
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

/// Decides when the token provider is called: when the client wants a token, one call at a time,
/// and again after a while when a call has brought none. Knows no client and no clock.
class token_refresher {
public:
    struct flaw {
        std::error_code error;
        std::string reason;
    };

    explicit token_refresher(token_task::provider called) : provider_(std::move(called)) {}

    /// The client wants one. Whether the provider is to be called now.
    bool wanted() const noexcept { return provider_ && !running_ && !retry_at_; }
    /// When it is to be called again.
    std::optional<clock::time_point> due() const noexcept { return retry_at_; }

    /// The call, to be started now.
    std::shared_ptr<token_task> begin(asio::any_io_executor const& executor,
                                      token_task::end_handler on_end) {
        retry_at_.reset();
        running_ = std::make_shared<token_task>(provider_, executor, std::move(on_end));
        return running_;
    }

    /// The call has ended. What is wrong with it; nullopt: the client is to be given the token.
    std::optional<flaw> end(token_task const& call) {
        running_.reset();
        if (call.failure) {
            auto [text, error] = words_of(call.failure);
            auto reason = words_beside(error, std::move(text));
            return flaw{error, reason.empty() ? "oauth_token_provider has failed" : reason};
        }
        if (auto const reason = flaw_of(call.token); !reason.empty()) {
            return flaw{{}, "the token cannot be used: " + reason};
        }
        return std::nullopt;
    }
    /// The client has a token. true: the calls before have brought none.
    bool succeed() noexcept {
        retry_.reset();
        return std::exchange(fails_, false);
    }
    /// It has none. Returns after which time the provider is called again.
    std::chrono::milliseconds fail(clock::time_point now) noexcept {
        fails_ = true;
        auto const delay = retry_.next();
        retry_at_ = now + delay;
        return delay;
    }
    /// The last call has brought none.
    bool fails() const noexcept { return fails_; }

    /// None is wanted any more. The call that is under way; null: there is none.
    std::shared_ptr<token_task> stop() noexcept {
        retry_at_.reset();
        return std::exchange(running_, nullptr);
    }
    /// The provider is not kept, but by a call that lives on.
    void forget_provider() noexcept { provider_ = nullptr; }

private:
    token_task::provider provider_;
    std::shared_ptr<token_task> running_;
    std::optional<clock::time_point> retry_at_;
    backoff retry_{std::chrono::seconds{1}, std::chrono::seconds{30}};
    bool fails_ = false;
};

} // namespace kgroup::detail
