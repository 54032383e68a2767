// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/event.hpp>

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

namespace kgroup::detail {

/// When a provider of tokens is asked, and what is told of its failures.
class token_supply {
public:
    /// librdkafka wants a token. true: the provider is to be asked now.
    bool wanted() noexcept { return !due_ && begin(); }
    /// The same for the time.
    bool is_due(clock::time_point now) noexcept { return due_ && *due_ <= now && begin(); }
    std::optional<clock::time_point> due() const noexcept { return due_; }

    /// A token was given; returns whether that ends a failure.
    bool succeeded() noexcept {
        asking_ = false;
        backoff_ = first_backoff;
        return std::exchange(fails_, false);
    }
    /// There is none; returns what is told.
    event failed(std::string why, std::error_code code, clock::time_point now) {
        asking_ = false;
        fails_ = true;
        due_ = now + backoff_;
        event told{event_kind::authentication_failed, severity::error, std::nullopt, code,
                   std::move(why) + "; oauth_token_provider is asked again in " +
                       std::to_string(backoff_.count()) + " ms"};
        backoff_ = (std::min)(backoff_ * 2, std::chrono::milliseconds{30'000});
        return told;
    }
    bool fails() const noexcept { return fails_; }

private:
    static constexpr std::chrono::milliseconds first_backoff{1000};

    bool begin() noexcept {
        due_.reset();
        return !std::exchange(asking_, true);
    }

    std::chrono::milliseconds backoff_{first_backoff};
    std::optional<clock::time_point> due_;
    bool asking_ = false;
    bool fails_ = false;
};

} // namespace kgroup::detail
