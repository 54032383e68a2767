// SPDX-License-Identifier: MIT

#include <kgroup/detail/process/options_check.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <cstddef>
#include <exception>
#include <limits>
#include <stdexcept>
#include <string>

namespace options_check_tests {

namespace {

using namespace std::chrono_literals;
using kgroup::backoff_options;
using kgroup::for_each_options;

constexpr auto nan = std::numeric_limits<double>::quiet_NaN();
constexpr auto infinity = std::numeric_limits<double>::infinity();

/// What is said of the options; empty: they may be.
std::string said_of(for_each_options const& options) {
    try {
        kgroup::detail::check(options);
    } catch (std::invalid_argument const& error) {
        return error.what();
    }
    return {};
}
bool is_refused(for_each_options const& options, std::string const& field) {
    return said_of(options).find("::" + field + " ") != std::string::npos;
}
bool is_refused(backoff_options const& backoff, std::string const& field) {
    return is_refused({.retry = {.backoff = backoff}}, "backoff." + field);
}

} // namespace

TEST_CASE("options_check: what is not given, and the extremes that can be meant, pass") {
    CHECK(said_of({}).empty());
    CHECK(said_of({.in_flight = (std::numeric_limits<std::size_t>::max)(),
                   .held_bytes = 0,
                   .replay = 0,
                   .retry = {.attempts = (std::numeric_limits<std::uint32_t>::max)(),
                             .backoff = {.initial = (std::chrono::milliseconds::max)(),
                                         .max = (std::chrono::milliseconds::max)(),
                                         .factor = 1e300,
                                         .jitter = 1},
                             .give_up_after = (std::chrono::milliseconds::max)(),
                             .attempt_timeout = (std::chrono::milliseconds::max)()}})
              .empty());
    CHECK(said_of({.retry = {.backoff = {.initial = 0ms, .max = 0ms, .factor = 1, .jitter = 0}}})
              .empty());
}

TEST_CASE("options_check: what cannot be meant is refused by its name") {
    CHECK(is_refused({.in_flight = 0}, "in_flight"));
    CHECK(is_refused({.retry = {.attempts = 0}}, "attempts"));
    CHECK(is_refused({.retry = {.give_up_after = -1ms}}, "give_up_after"));
    CHECK(is_refused({.retry = {.attempt_timeout = -1ms}}, "attempt_timeout"));
    CHECK(is_refused({.retry = {.classify = nullptr}}, "classify"));
    CHECK(is_refused(backoff_options{.initial = -1ms}, "initial"));
    CHECK(is_refused(backoff_options{.max = -1ms}, "max"));
    for (auto const factor : {0.99, 0.0, -2.0, nan, infinity}) {
        CHECK(is_refused(backoff_options{.factor = factor}, "factor"));
    }
    for (auto const jitter : {-0.01, 1.01, nan, infinity}) {
        CHECK(is_refused(backoff_options{.jitter = jitter}, "jitter"));
    }
}

} // namespace options_check_tests
