// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/produce/dead_letter_headers.hpp>
#include <kgroup/detail/produce/producer_engine_base.hpp>
#include <kgroup/detail/produce/record_storage.hpp>
#include <kgroup/detail/separate_compilation.hpp>
#include <kgroup/message.hpp>
#include <kgroup/outgoing_record.hpp>
#include <kgroup/topic_partition.hpp>

#include <asio/awaitable.hpp>

#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>

namespace kgroup::detail {

struct letter_words {
    std::string_view group;
    std::exception_ptr failure;
    std::uint32_t attempts;
    std::exception_ptr first_failure;
};

/// A record that was given up, as it is sent: with all headers, and without the long ones.
class dead_letter {
public:
    dead_letter(message const& record, std::string topic, letter_words const& why,
                dead_letter_headers set);

    outgoing_record const& record(bool whole) const noexcept {
        return (whole ? whole_ : short_).record();
    }
    /// Of the record.
    topic_partition const& source() const noexcept { return source_; }
    /// For events and errors.
    std::string describe() const;

private:
    topic_partition source_;
    std::int64_t offset_;
    record_storage whole_;
    record_storage short_;
};

/// Whether no repetition of the same record helps.
bool is_permanent(std::error_code const& error) noexcept;

/// What becomes of a letter that the brokers will never take.
enum class when_undeliverable { fail, skip, wait };

/// Until it is acknowledged, or counts as done without. Throws otherwise.
asio::awaitable<void> deliver(std::shared_ptr<producer_engine_base> through,
                              std::unique_ptr<dead_letter> letter, when_undeliverable then);

} // namespace kgroup::detail

#ifndef KGROUP_SEPARATE_COMPILATION
#include <kgroup/detail/produce/dead_letter.ipp>
#endif
