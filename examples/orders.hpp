// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/failure.hpp>
#include <kgroup/for_each.hpp>
#include <kgroup/for_each_batch.hpp>
#include <kgroup/kgroup.hpp>
#include <kgroup/limit.hpp>
#include <kgroup/trace_context.hpp>

#include <asio/awaitable.hpp>

#include <charconv>
#include <chrono>
#include <cstddef>
#include <string>
#include <utility>

#include "support/record_table.hpp"

namespace examples {

struct order {
    std::string customer;
    std::string article;
    int pieces = 0;
};

/// Reads "3 tea". No repetition helps an order that nobody can read.
inline order read_order(kgroup::message const& record) {
    auto const text = record.value();
    int pieces = 0;
    auto const end = std::from_chars(text.data(), text.data() + text.size(), pieces).ptr;
    auto const article = text.substr(static_cast<std::size_t>(end - text.data()));
    if (pieces <= 0 || article.size() < 2 || article[0] != ' ') {
        throw kgroup::permanent_failure{"not an order: " + std::string{text}};
    }
    return {std::string{record.key()}, std::string{article.substr(1)}, pieces};
}

/// Where orders are booked.
class warehouse {
public:
    virtual ~warehouse() = default;
    /// @param traceparent of the trace that the order belongs to; empty: none.
    /// @throws kgroup::not_now the warehouse cannot be reached: that is no order's fault.
    virtual asio::awaitable<void> book(order wanted, std::string traceparent) = 0;
};

/// Books orders, a customer's one after another, and keeps payments in a database.
class order_service {
public:
    /// @param letters `kgroup::dead_letters`; in a test `kgroup::testing::fake_dead_letters`.
    template <typename Letters>
    order_service(warehouse& stock, record_table& payments, Letters& letters)
        : stock_(stock),
          payments_(payments),
          booking_{.order = kgroup::order::by_key,
                   .in_flight = 100,
                   .limit = &connections_,
                   .retry = {.attempts = 5,
                             .backoff = {.initial = std::chrono::milliseconds{50}},
                             .attempt_timeout = std::chrono::seconds{10}},
                   .dead_letters = &letters} {}

    asio::awaitable<void> consume_claim(kgroup::session&, kgroup::claim& claim) {
        if (claim.topic() == "payments") {
            auto keep = [this](kgroup::message_batch const& batch) { payments_.insert(batch); };
            co_await kgroup::for_each_batch(
                claim, {.records = 500, .within = std::chrono::milliseconds{200}},
                {.retry = {.attempts = 10}}, keep);
        } else {
            auto book = [this](kgroup::message const& record) -> asio::awaitable<void> {
                auto wanted = read_order(record);
                auto const trace = kgroup::parse_trace_context(record);
                auto traceparent = trace ? trace->traceparent() : std::string{};
                co_await stock_.book(std::move(wanted), std::move(traceparent));
            };
            co_await kgroup::for_each(claim, booking_, book);
        }
    }

private:
    warehouse& stock_;
    record_table& payments_;
    kgroup::limit connections_{200}; // to the warehouse, for all claims
    kgroup::for_each_options booking_;
};

} // namespace examples
