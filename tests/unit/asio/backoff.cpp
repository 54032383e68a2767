// SPDX-License-Identifier: MIT

#include <kgroup/detail/asio/backoff.hpp>

#include <doctest/doctest.h>

#include <chrono>

using namespace std::chrono_literals;

namespace backoff_tests {

namespace {

TEST_CASE("backoff: twice as long each time, up to the longest, until it is reset") {
    kgroup::detail::backoff waits{250ms, 1500ms};
    for (auto const expected : {250ms, 500ms, 1000ms, 1500ms, 1500ms}) {
        CHECK(waits.next() == expected);
    }
    waits.reset();
    CHECK(waits.next() == 250ms);
    CHECK(waits.next() == 500ms);
}

} // namespace

} // namespace backoff_tests
