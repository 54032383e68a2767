// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/message.hpp>

#include <asio/awaitable.hpp>

#include <chrono>
#include <cstdint>
#include <exception>
#include <string>
#include <system_error>

namespace kgroup::detail {

/// Why letters are not acknowledged, as far as is known.
struct letter_trouble {
    std::error_code error{};
    std::string text{}; // beside what the error says
};

/// Where `for_each` sends records that it gives up: `dead_letters`, whose headers who has none need
/// not compile.
class dead_letter_sender {
public:
    /// Ends when the broker has acknowledged the record's letter, or the record is to count as done
    /// without; throws otherwise. Cancelled (`terminal`), the letter may be delivered.
    virtual asio::awaitable<void> send(message const& record, std::exception_ptr failure,
                                       std::uint32_t attempts,
                                       std::exception_ptr first_failure) = 0;

    /// For events of a claim that waits for a letter. Any thread.
    ///
    /// @param waited how long it has: what was over before is no reason.
    virtual letter_trouble trouble(std::chrono::nanoseconds /*waited*/) const { return {}; }

protected:
    ~dead_letter_sender() = default;
};

} // namespace kgroup::detail
