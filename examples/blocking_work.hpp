// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/for_each.hpp>
#include <kgroup/kgroup.hpp>
#include <kgroup/limit.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <utility>

namespace examples {

// Blocks the thread it runs on for some tenths of a second; looks now and then whether it should
// stop.
inline std::uint64_t smallest_factor(std::uint64_t number, std::stop_token const& stop) {
    for (std::uint64_t candidate = 2; candidate * candidate <= number; ++candidate) {
        if (number % candidate == 0) {
            return candidate;
        }
        if (candidate % 4096 == 0 && stop.stop_requested()) {
            throw std::runtime_error{"told to stop"};
        }
    }
    return number;
}

class factoriser {
public:
    /// @param pool where the work is done.
    /// @param threads how many the pool has: no claim takes them all for itself.
    /// @param found is called on the pool, by several threads at the same time.
    factoriser(asio::any_io_executor pool, std::size_t threads,
               std::function<void(std::uint64_t number, std::uint64_t factor)> found)
        : pool_(std::move(pool)),
          places_(threads),
          found_(std::move(found)) {}

    asio::awaitable<void> consume_claim(kgroup::session&, kgroup::claim& claim) {
        auto factorise = [this](kgroup::message const& message, kgroup::attempt const& attempt) {
            auto const number = std::stoull(std::string{message.value()});
            found_(number, smallest_factor(number, attempt.token()));
        };
        co_await kgroup::for_each(
            claim, pool_, {.order = kgroup::order::unordered, .limit = &places_}, factorise);
    }

private:
    asio::any_io_executor pool_;
    kgroup::limit places_;
    std::function<void(std::uint64_t, std::uint64_t)> found_;
};

} // namespace examples
