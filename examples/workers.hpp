// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/kgroup.hpp>
#include <kgroup/timer.hpp>

#include <asio/awaitable.hpp>
#include <asio/experimental/awaitable_operators.hpp>
#include <asio/experimental/channel.hpp>
#include <asio/redirect_error.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace examples {

// A connection to a printer. It prints one label at a time, and takes a tenth of a second a letter.
struct printer_connection {
    explicit printer_connection(std::vector<std::string>& labels) : printed(labels) {}

    asio::awaitable<void> print(std::string_view label) {
        kgroup::timer work{co_await asio::this_coro::executor};
        work.expires_after(std::chrono::milliseconds{100} * label.size());
        co_await work.async_wait();
        printed.emplace_back(label);
    }

    std::vector<std::string>& printed;
};

struct label_printer {
    std::vector<std::string> printed{}; // in the order in which they were done

    asio::awaitable<void> consume_claim(kgroup::session&, kgroup::claim& claim) {
        using namespace asio::experimental::awaitable_operators;
        label_queue queue{co_await asio::this_coro::executor};
        auto first = work(claim, queue);
        auto second = work(claim, queue);
        auto third = work(claim, queue);
        auto all = read(claim, queue) && std::move(first) && std::move(second) && std::move(third);
        co_await std::move(all);
    }

private:
    // It holds nothing: the reader waits until a worker takes the record.
    using label_queue =
        asio::experimental::channel<void(std::error_code, std::optional<kgroup::message>)>;

    static asio::awaitable<void> read(kgroup::claim& claim, label_queue& queue) {
        while (auto message = co_await claim.messages().async_receive()) {
            co_await queue.async_send({}, std::move(message), asio::use_awaitable);
        }
        queue.close();
    }
    asio::awaitable<void> work(kgroup::claim& claim, label_queue& queue) {
        printer_connection connection{printed};
        for (;;) {
            std::error_code closed;
            auto message =
                co_await queue.async_receive(asio::redirect_error(asio::use_awaitable, closed));
            if (closed) {
                co_return;
            }
            co_await connection.print(message->value());
            claim.ack(*message); // it alone is done; commits wait for those before it
        }
    }
};

} // namespace examples
