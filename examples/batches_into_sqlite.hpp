// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/for_each_batch.hpp>
#include <kgroup/kgroup.hpp>

#include <asio/awaitable.hpp>

#include <chrono>
#include <functional>

#include "support/record_table.hpp"

namespace examples {

struct order_archive {
    record_table& table;
    std::function<void()> after_each;

    asio::awaitable<void> consume_claim(kgroup::session&, kgroup::claim& claim) {
        using namespace std::chrono_literals;
        auto store = [this](kgroup::message_batch const& batch) {
            table.insert(batch);
            after_each();
        };
        co_await kgroup::for_each_batch(claim, {.records = 500, .bytes = 64 << 10, .within = 200ms},
                                        {.retry = {.attempts = 5}}, store);
    }
};

} // namespace examples
