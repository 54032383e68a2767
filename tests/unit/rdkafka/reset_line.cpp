// SPDX-License-Identifier: MIT

#include <kgroup/detail/rdkafka/reset_line.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace reset_line_tests {

namespace {

using kgroup::detail::start_position;

/// "topic[partition] from -> to", or empty: it is another line.
std::string read(std::string_view line) {
    auto const found = kgroup::detail::reset_line::read(line);
    return found ? found->where.topic + "[" + std::to_string(found->where.partition) + "] " +
                       std::to_string(found->from) + " -> " + std::to_string(found->to)
                 : std::string{};
}

} // namespace

TEST_CASE("reset_line: as librdkafka 2.0 writes it") {
    CHECK(read("[thrd:main]: orders [0]: offset reset (at offset 5, broker 1) to END: fetch failed "
               "due to requested offset not available "
               "on the broker: Broker: Offset out of range") ==
          "orders[0] 5 -> " + std::to_string(start_position::log_end));
    CHECK(read("[thrd:main]: orders [12]: offset reset (at offset 5, broker 1) to BEGINNING: why: "
               "Broker: Offset out of range") ==
          "orders[12] 5 -> " + std::to_string(start_position::log_beginning));
    CHECK(read("[thrd:main]: orders [0]: offset reset (at offset 5, broker 1) to cached BEGINNING "
               "offset 8: why: Broker: Offset out "
               "of range") == "orders[0] 5 -> 8");
}

TEST_CASE("reset_line: as later versions write it") {
    CHECK(read("[thrd:main]: orders [0]: offset reset (at offset 5 (leader epoch 2), broker 1) to "
               "offset END (leader epoch -1): why: x") ==
          "orders[0] 5 -> " + std::to_string(start_position::log_end));
    CHECK(read("[thrd:main]: orders [0]: offset reset (at offset 5 (leader epoch 2), broker 1) to "
               "cached BEGINNING offset offset 8 (leader "
               "epoch -1): why: x") == "orders[0] 5 -> 8");
}

TEST_CASE("reset_line: without the thread's name, and with others in front") {
    CHECK(read("a.b_c-d [3]: offset reset (at offset 0, broker -1) to offset 7: why: x") ==
          "a.b_c-d[3] 0 -> 7");
    CHECK(read("[thrd:main]: group \"g\": orders [3]: offset reset (at offset 9223372036854775807, "
               "broker 1) to END: why: x") ==
          "orders[3] 9223372036854775807 -> " + std::to_string(start_position::log_end));
}

TEST_CASE("reset_line: where no offset was read from nothing was reset") {
    CHECK(read("[thrd:main]: orders [0]: offset reset (at offset END, broker 1) to END: failed to "
               "query logical offset: Broker: x")
              .empty());
    CHECK(read("[thrd:main]: orders [0]: offset reset (at offset INVALID (leader epoch 2), broker "
               "1) to offset END (leader epoch -1): x")
              .empty());
}

TEST_CASE("reset_line: other lines, and what is left of this one when it is cut anywhere") {
    CHECK(read("").empty());
    CHECK(read("[thrd:main]: orders [0]: commit: stored offset 5 > committed offset 4?").empty());
    CHECK(read(" []: offset reset (at offset 5, broker 1) to END: x").empty());
    CHECK(read("[thrd:main]: orders [x]: offset reset (at offset 5, broker 1) to END: x").empty());
    CHECK(read("[thrd:main]: orders [0]: offset reset (at offset 99999999999999999999, broker 1) "
               "to END: x")
              .empty());
    CHECK(
        read("[thrd:main]: orders [0]: offset reset (at offset 5, broker 1) to STORED: x").empty());
    std::string_view const whole{"[thrd:main]: orders [0]: offset reset (at offset 5 (leader epoch "
                                 "2), broker 1) to offset END (leader "
                                 "epoch -1): why: x"};
    auto const end = whole.find("END") + 3;
    for (std::size_t size = 0; size != end; ++size) {
        CHECK_MESSAGE(read(whole.substr(0, size)).empty(), whole.substr(0, size));
    }
}

} // namespace reset_line_tests
