// SPDX-License-Identifier: MIT

#include <kgroup/detail/produce/dead_letter_headers.hpp>

#include <doctest/doctest.h>

#include <ostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace dead_letter_headers_tests {

namespace {

using kgroup::dead_letter_headers;
using kgroup::detail::dead_letter_header_set;
using kgroup::detail::dead_letter_reason;
using header_list = std::vector<std::pair<std::string, std::string>>;
using namespace std::string_view_literals;

dead_letter_reason whole_reason() {
    dead_letter_reason reason{"orders", 258, 72623859790382856};
    reason.timestamp = 1700000000123;
    reason.group = "billing";
    reason.attempts = 3;
    reason.exception = "std::runtime_error";
    reason.message = "out of stock";
    reason.first_failure = "no answer";
    return reason;
}

header_list headers_of(dead_letter_headers set, dead_letter_reason const& reason,
                       bool whole = true) {
    dead_letter_header_set const made{set, reason, whole};
    header_list found;
    for (auto const& header : made.headers()) {
        REQUIRE(header.value);
        found.emplace_back(header.name, *header.value);
    }
    return found;
}

std::string bytes(std::string_view text) { return std::string{text}; }

TEST_CASE("dead_letter_headers: Kafka's names, and numbers in decimals") {
    CHECK(headers_of(dead_letter_headers::kafka, whole_reason()) ==
          header_list{{"__dlq.errors.topic", "orders"},
                      {"__dlq.errors.partition", "258"},
                      {"__dlq.errors.offset", "72623859790382856"},
                      {"__dlq.errors.group", "billing"},
                      {"__dlq.errors.delivery.count", "3"},
                      {"__dlq.errors.message", "out of stock"},
                      {"kgroup.exception", "std::runtime_error"},
                      {"kgroup.timestamp", "1700000000123"},
                      {"kgroup.attempts", "3"},
                      {"kgroup.first.failure", "no answer"}});
}

TEST_CASE("dead_letter_headers: Spring's names, and numbers as big-endian integers") {
    CHECK(headers_of(dead_letter_headers::spring, whole_reason()) ==
          header_list{{"kafka_dlt-original-topic", "orders"},
                      {"kafka_dlt-original-partition", bytes("\x00\x00\x01\x02"sv)},
                      {"kafka_dlt-original-offset", bytes("\x01\x02\x03\x04\x05\x06\x07\x08"sv)},
                      {"kafka_dlt-original-timestamp", bytes("\x00\x00\x01\x8b\xcf\xe5\x68\x7b"sv)},
                      {"kafka_dlt-original-consumer-group", "billing"},
                      {"kafka_dlt-exception-fqcn", "std::runtime_error"},
                      {"kafka_dlt-exception-message", "out of stock"},
                      {"kgroup.attempts", "3"},
                      {"kgroup.first.failure", "no answer"}});
}

TEST_CASE("dead_letter_headers: Connect's names, and numbers in decimals") {
    CHECK(headers_of(dead_letter_headers::connect, whole_reason()) ==
          header_list{{"__connect.errors.topic", "orders"},
                      {"__connect.errors.partition", "258"},
                      {"__connect.errors.offset", "72623859790382856"},
                      {"__connect.errors.connector.name", "billing"},
                      {"__connect.errors.exception.class.name", "std::runtime_error"},
                      {"__connect.errors.exception.message", "out of stock"},
                      {"kgroup.timestamp", "1700000000123"},
                      {"kgroup.attempts", "3"},
                      {"kgroup.first.failure", "no answer"}});
}

TEST_CASE("dead_letter_headers: what is not known, or long and not wanted, is left out") {
    dead_letter_reason reason{"orders", 0, 7};
    reason.message = "why";
    CHECK(headers_of(dead_letter_headers::kafka, reason, false) ==
          header_list{{"__dlq.errors.topic", "orders"},
                      {"__dlq.errors.partition", "0"},
                      {"__dlq.errors.offset", "7"},
                      {"__dlq.errors.delivery.count", "1"},
                      {"kgroup.exception", ""},
                      {"kgroup.attempts", "1"}});
    auto whole = whole_reason();
    for (auto const set :
         {dead_letter_headers::kafka, dead_letter_headers::spring, dead_letter_headers::connect}) {
        for (auto const& [name, value] : headers_of(set, whole, false)) {
            CHECK(value != "out of stock");
            CHECK(value != "no answer");
        }
    }
}

TEST_CASE("dead_letter_headers: a text has 1 KiB at most, and ends with a whole character") {
    CHECK(dead_letter_header_set::shortened(std::string(1024, 'x')).size() == 1024);
    CHECK(dead_letter_header_set::shortened(std::string(5000, 'x')).size() == 1024);
    auto const text = std::string(1023, 'x') + "\xc3\xa9" + std::string(100, 'y');
    CHECK(dead_letter_header_set::shortened(text) == std::string(1023, 'x'));
    auto reason = whole_reason();
    reason.message = text;
    for (auto const& [name, value] : headers_of(dead_letter_headers::kafka, reason)) {
        CHECK(value.size() <= 1024);
    }
}

} // namespace

} // namespace dead_letter_headers_tests
