// SPDX-License-Identifier: MIT

#include <kgroup/detail/fetch/fetch_errors.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <iterator>

#include "golden_bytes.hpp"

namespace fetch_errors_tests {
namespace {

using namespace kgroup::detail::fetch;

TEST_CASE("the table names its codes as Kafka does, and each once") {
    std::int16_t before = -2;
    for (auto const& rule : error_rules) {
        CAPTURE(rule.code);
        CHECK(rule.code > before);
        before = rule.code;
        CHECK(std::any_of(std::begin(kgroup::tests::golden_errors),
                          std::end(kgroup::tests::golden_errors), [&](auto const& known) {
                              return known.first == rule.code && known.second == rule.name;
                          }));
    }
}

TEST_CASE("errors that a new leader ends lead to metadata, and to no end") {
    for (int const code : {3, 5, 6, 9, 56, 74, 75, 78, 100, 103}) {
        CAPTURE(code);
        auto const rule = rule_of(static_cast<std::int16_t>(code));
        CHECK(rule.way == error_way::ask_again);
        CHECK(rule.refresh);
    }
    CHECK(rule_of(0).way == error_way::go_on);
    CHECK(rule_of(1).way == error_way::check_range);
    CHECK(rule_of(2).way == error_way::damaged);
    CHECK(rule_of(29).tell);
    CHECK(rule_of(35).way == error_way::hand_over);
    CHECK(rule_of(17).way == error_way::fail);
}

TEST_CASE("codes that are not known are asked again, and told") {
    for (int const code : {-2, 4, 11, 999, 32767}) {
        auto const rule = rule_of(static_cast<std::int16_t>(code));
        CHECK(rule.code == code);
        CHECK(rule.way == error_way::ask_again);
        CHECK(rule.refresh);
        CHECK(rule.tell);
    }
}

} // namespace
} // namespace fetch_errors_tests
