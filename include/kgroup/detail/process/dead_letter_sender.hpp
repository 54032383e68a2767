// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/message.hpp>

#include <asio/awaitable.hpp>

#include <cstdint>
#include <exception>

namespace kgroup::detail {

/// Where `for_each` sends records that it gives up: `dead_letters`, whose headers who has none need
/// not compile.
class dead_letter_sender {
public:
    /// Ends when the broker has acknowledged the record's letter, or the record is to count as done
    /// without; throws otherwise. Cancelled (`terminal`), the letter may be delivered.
    virtual asio::awaitable<void> send(message const& record, std::exception_ptr failure,
                                       std::uint32_t attempts,
                                       std::exception_ptr first_failure) = 0;

protected:
    ~dead_letter_sender() = default;
};

} // namespace kgroup::detail
