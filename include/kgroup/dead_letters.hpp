// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/async_operation.hpp>
#include <kgroup/detail/process/dead_letter_sender.hpp>
#include <kgroup/detail/produce/dead_letter.hpp>
#include <kgroup/detail/produce/dead_letter_headers.hpp>
#include <kgroup/detail/produce/letter_trouble.hpp>
#include <kgroup/detail/produce/producer_engine_base.hpp>
#include <kgroup/message.hpp>
#include <kgroup/producer.hpp>

#include <asio/async_result.hpp>
#include <asio/awaitable.hpp>
#include <asio/cancellation_state.hpp>

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <system_error>
#include <utility>

namespace kgroup {

/// What becomes of a dead letter that the brokers will never take, also without its long headers:
/// too large, not authorised, no such topic, …
enum class undeliverable {
    end,  ///< An exception says so; out of `for_each`, it ends the session and comes out of
          ///< `async_run`.
    skip, ///< An event tells it (`event_kind::record_skipped`), and the record counts as done.
    park, ///< It waits and is tried again, without a limit (`event_kind::dead_letter_held`).
};

/// How dead letters are written.
struct dead_letters_options {
    /// The topic of a record's letter; unset: `<topic>.dlq`. Called on the record's strand, by
    /// several claims at the same time where the group's executor has several threads.
    std::function<std::string(message const&)> topic{};
    /// The group's name, for the headers; empty: they have none.
    std::string group{};
    dead_letter_headers headers = dead_letter_headers::kafka;
    kgroup::undeliverable undeliverable = undeliverable::end;
};

/// Sends what could not be done to a topic of its own, with proof: a letter is sent when the broker
/// has acknowledged it.
///
///     kgroup::producer out{context, {.connection = cluster}};
///     kgroup::dead_letters letters{out, {.group = "billing"}};
///     co_await kgroup::for_each(claim, {.dead_letters = &letters}, book);
///
/// A letter has the record's key, value and headers, and behind those the headers that say where it
/// comes from and why. Its own timestamp is the present: by the record's the log might delete it at
/// once. It stands in the partition of its source's number, modulo how many there are.
///
/// *What passes* (no broker, an election, a fatal error of the producer) it waits for, without a
/// limit: events `dead_letter_held` after ten seconds, then each minute, and `dead_letter_sent`, of
/// the producer. *What does not pass* (a record that is too large, a missing permission or topic)
/// is tried again without the long headers, and then as `undeliverable` says. A topic that neither
/// exists nor is made by the brokers is known to be missing 30 seconds after it was first named.
///
/// *Thread safety.* Safe from any thread: claims share it.
///
/// *Lifetime.* It outlives each `for_each` that names it; the producer may be gone, then letters
/// fail with `errc::producer_stopped`. To another cluster: by a producer with other brokers. Topics
/// of letters had better not be produced to by the same producer otherwise: the first record of a
/// topic decides how partitions are chosen in it.
class dead_letters : public detail::dead_letter_sender {
public:
    /// Letters go through this producer, on its executor.
    ///
    /// @param through need not outlive it.
    /// @param options kept.
    /// @throws std::bad_alloc.
    explicit dead_letters(producer& through, dead_letters_options options = {})
        : engine_(through.engine_),
          options_(std::make_shared<dead_letters_options const>(std::move(options))) {}

    /// Sends the letter of a record, by hand. The record is done when this has completed; it need
    /// not live until then.
    ///
    /// @param failure why; null: no exception.
    /// @throws std::system_error when the letter is not sent, and what
    /// `dead_letters_options::topic` throws.
    ///
    /// Cancellation (any type): it completes soon; the letter may be delivered.
    asio::awaitable<void> async_send(message const& record, std::exception_ptr const& failure) {
        return send_letter(make(record, failure, 1, nullptr));
    }

    /// The same with a completion token. Completion signature: `void(std::error_code)`.
    template <asio::completion_token_for<void(std::error_code)> CompletionToken>
    auto async_send(message const& record, std::exception_ptr const& failure,
                    CompletionToken&& token) {
        return detail::async_operation(engine_->executor(), asio::enable_total_cancellation(),
                                       send_letter(make(record, failure, 1, nullptr)),
                                       std::forward<CompletionToken>(token));
    }

    /// For the library.
    asio::awaitable<void> send(message const& record, std::exception_ptr failure,
                               std::uint32_t attempts, std::exception_ptr first_failure) override {
        return send_letter(make(record, failure, attempts, first_failure));
    }

    /// For the library.
    detail::letter_trouble trouble(std::chrono::nanoseconds waited) const override {
        return detail::trouble_of(engine_->state(), waited);
    }

private:
    std::unique_ptr<detail::dead_letter> make(message const& record,
                                              std::exception_ptr const& failure,
                                              std::uint32_t attempts,
                                              std::exception_ptr const& first_failure) const {
        return std::make_unique<detail::dead_letter>(
            record,
            options_->topic ? options_->topic(record) : std::string{record.topic()} + ".dlq",
            detail::letter_words{options_->group, failure, attempts, first_failure},
            options_->headers);
    }
    asio::awaitable<void> send_letter(std::unique_ptr<detail::dead_letter> letter) {
        using detail::when_undeliverable;
        auto const then = options_->undeliverable == undeliverable::end ? when_undeliverable::fail
                          : options_->undeliverable == undeliverable::skip
                              ? when_undeliverable::skip
                              : when_undeliverable::wait;
        return detail::deliver(engine_, std::move(letter), then);
    }

    std::shared_ptr<detail::producer_engine_base> engine_;
    std::shared_ptr<dead_letters_options const> options_;
};

} // namespace kgroup
