// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/backoff.hpp>
#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/events/event_line.hpp>
#include <kgroup/error.hpp>
#include <kgroup/oauth_token.hpp>

#include <chrono>
#include <exception>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

namespace kgroup::detail {

/// When `oauth_token_provider` is called: when the client wants a token, one call at a time, and
/// again after a while when a call has brought none. Knows no client and no clock.
class token_schedule {
public:
    /// The client wants a token. Whether the provider is to be called now.
    bool wanted() const noexcept { return !calling_ && !retry_at_; }
    /// When it is to be called again.
    std::optional<clock::time_point> due() const noexcept { return retry_at_; }

    /// It is called now.
    void begin() noexcept {
        retry_at_.reset();
        calling_ = true;
    }
    /// The client has a token. true: the calls before have brought none.
    bool succeed() noexcept {
        calling_ = false;
        retry_.reset();
        return std::exchange(fails_, false);
    }
    /// It has none. Returns after which time the provider is called again.
    std::chrono::milliseconds fail(clock::time_point now) noexcept {
        calling_ = false;
        fails_ = true;
        auto const delay = retry_.next();
        retry_at_ = now + delay;
        return delay;
    }
    /// The last call has brought none.
    bool fails() const noexcept { return fails_; }

    /// None is wanted any more.
    void stop() noexcept { retry_at_.reset(); }

private:
    backoff retry_{std::chrono::seconds{1}, std::chrono::seconds{30}};
    std::optional<clock::time_point> retry_at_;
    bool calling_ = false;
    bool fails_ = false;
};

/// Why a call of the provider has brought no token.
struct token_flaw {
    std::error_code error;
    std::string reason;
};

/// `failure`: what the call threw, or null. nullopt: the client is to be given the token.
inline std::optional<token_flaw> flaw_of_call(std::exception_ptr const& failure,
                                              oauth_token const& token) {
    if (failure) {
        auto [text, error] = describe_exception(failure);
        auto reason = words_beside(error, std::move(text));
        return token_flaw{error, reason.empty() ? "oauth_token_provider has failed" : reason};
    }
    if (auto const reason = flaw_of(token); !reason.empty()) {
        return token_flaw{{}, "the token cannot be used: " + reason};
    }
    return std::nullopt;
}
/// The client has refused it.
inline token_flaw refused_token(std::error_code error) {
    return {error, "the token cannot be used"};
}

/// What is told of it.
inline std::string words_of_retry(std::string const& reason, std::chrono::milliseconds retry_in) {
    return reason + "; oauth_token_provider is asked again in " + std::to_string(retry_in.count()) +
           " ms";
}

} // namespace kgroup::detail
