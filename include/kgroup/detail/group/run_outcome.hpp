// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/end_reason.hpp>
#include <kgroup/error.hpp>

#include <asio/error.hpp>

#include <exception>
#include <string>
#include <system_error>
#include <utility>

namespace kgroup::detail {

/// What a run completes with. A failure comes first, then user coroutines that were abandoned and
/// live on, then the cancellation, then the reason for which the last session ended.
class run_outcome {
public:
    /// Only the first failure counts.
    void fail(std::exception_ptr failure) noexcept {
        if (!failure_) {
            failure_ = std::move(failure);
        }
    }
    bool failed() const noexcept { return failure_ != nullptr; }
    void session_ended(end_reason reason) noexcept { last_end_ = reason; }

    /// `abandoned`: user coroutines were abandoned and live on.
    ///
    /// @throws what the run fails with.
    end_reason result(bool abandoned, bool cancelled) const {
        if (failure_) {
            std::rethrow_exception(failure_);
        }
        if (abandoned) {
            throw std::system_error{errc::handler_abandoned};
        }
        if (cancelled) {
            throw std::system_error{asio::error::operation_aborted};
        }
        return last_end_ == end_reason::running ? end_reason::stopped : last_end_;
    }

    /// What the run fails with, in words; empty: nothing, or there is no memory for words. A
    /// cancellation is no failure.
    std::string words(bool abandoned) const noexcept {
        try {
            if (failure_) {
                return describe_exception(failure_).first;
            }
            return abandoned ? make_error_code(errc::handler_abandoned).message() : std::string{};
        } catch (...) {
            return {};
        }
    }

private:
    std::exception_ptr failure_;
    end_reason last_end_ = end_reason::running;
};

} // namespace kgroup::detail
