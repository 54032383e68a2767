// SPDX-License-Identifier: MIT

#include <kgroup/detail/fetch/reconnect_delay.hpp>

#include <doctest/doctest.h>

#include <chrono>

namespace reconnect_delay_tests {
namespace {

using namespace std::chrono_literals;
using kgroup::detail::fetch::reconnect_delay;

TEST_CASE("reconnect_delay: it doubles up to its limit, and is spread") {
    CHECK(reconnect_delay(100ms, 10s, 0, 0) == 75ms);
    CHECK(reconnect_delay(100ms, 10s, 0, 75) == 150ms);
    CHECK(reconnect_delay(100ms, 10s, 0, 76) == 75ms);
    CHECK(reconnect_delay(100ms, 10s, 3, 25) == 800ms);
    CHECK(reconnect_delay(100ms, 10s, 30, 75) == 10s);
}

TEST_CASE("reconnect_delay: without one only the first connection is made at once") {
    CHECK(reconnect_delay(0ms, 0ms, 0, 75) == 0ms);
    CHECK(reconnect_delay(0ms, 10s, 0, 75) == 0ms);
    CHECK(reconnect_delay(0ms, 0ms, 1, 75) == 10ms);
    CHECK(reconnect_delay(0ms, 0ms, 30, 75) == 10ms);
    CHECK(reconnect_delay(1ms, 5ms, 30, 75) == 10ms);
    CHECK(reconnect_delay(0ms, 10s, 30, 75) == 10s);
}

} // namespace
} // namespace reconnect_delay_tests
