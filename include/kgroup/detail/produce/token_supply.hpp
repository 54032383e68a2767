// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/group/backoff.hpp>
#include <kgroup/event.hpp>

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
        backoff_.reset();
        return std::exchange(fails_, false);
    }
    /// There is none; returns what is told.
    event failed(std::string why, std::error_code code, clock::time_point now) {
        asking_ = false;
        fails_ = true;
        auto const wait = backoff_.next();
        due_ = now + wait;
        event told{event_kind::authentication_failed, severity::error, std::nullopt, code,
                   std::move(why) + "; oauth_token_provider is asked again in " +
                       std::to_string(wait.count()) + " ms"};
        return told;
    }
    bool fails() const noexcept { return fails_; }

private:
    bool begin() noexcept {
        due_.reset();
        return !std::exchange(asking_, true);
    }

    backoff backoff_{std::chrono::milliseconds{1000}, std::chrono::milliseconds{30'000}};
    std::optional<clock::time_point> due_;
    bool asking_ = false;
    bool fails_ = false;
};

} // namespace kgroup::detail
