// SPDX-License-Identifier: MIT

#pragma once

#include <exception>
#include <string>
#include <system_error>

namespace kgroup::tests {

/// How a run ended.
struct run_outcome {
    bool completed = false;
    std::exception_ptr failure{};

    /// The error it ended with; none: it was stopped in order, or has not completed.
    std::error_code error() const {
        try {
            if (failure) {
                std::rethrow_exception(failure);
            }
        } catch (std::system_error const& e) {
            return e.code();
        } catch (...) {
            return std::make_error_code(std::errc::state_not_recoverable);
        }
        return {};
    }
    /// The words of the exception; empty: none.
    std::string what() const {
        try {
            if (failure) {
                std::rethrow_exception(failure);
            }
        } catch (std::exception const& e) {
            return e.what();
        } catch (...) {
            return "something else";
        }
        return {};
    }
};

} // namespace kgroup::tests
