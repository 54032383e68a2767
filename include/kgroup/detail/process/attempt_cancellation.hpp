// SPDX-License-Identifier: MIT

#pragma once

#include <asio/cancellation_signal.hpp>
#include <asio/cancellation_type.hpp>

#include <stop_token>

namespace kgroup::detail {

/// How the attempts of a worker are cancelled, one after another: what awaits hears Asio's signal,
/// what blocks looks at a token. On the claim's strand, but for the token.
class attempt_cancellation {
public:
    /// The slot of all its attempts.
    asio::cancellation_slot slot() noexcept { return signal_.slot(); }

    /// An attempt begins, which is not cancelled. Allocates only when the one before was.
    std::stop_source const& begin() {
        if (stop_.stop_requested()) {
            stop_ = std::stop_source{};
        }
        return stop_;
    }
    void cancel() {
        stop_.request_stop();
        signal_.emit(asio::cancellation_type::terminal);
    }

private:
    asio::cancellation_signal signal_;
    std::stop_source stop_;
};

} // namespace kgroup::detail
