// SPDX-License-Identifier: MIT

#include <kgroup/detail/fetch/broker_address.hpp>

#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <vector>

namespace broker_address_tests {
namespace {

using namespace kgroup::detail::fetch;

TEST_CASE("broker_address: lists are read as librdkafka reads them") {
    using list = std::vector<broker_address>;
    CHECK(parse_bootstrap_servers("a:1,b:2") == list{{"a", 1}, {"b", 2}});
    CHECK(parse_bootstrap_servers(" a:1 ,\n b ") == list{{"a", 1}, {"b", 9092}});
    CHECK(parse_bootstrap_servers("PLAINTEXT://a:1") == list{{"a", 1}});
    CHECK(parse_bootstrap_servers("[::1]:1,[fe80::1]") == list{{"::1", 1}, {"fe80::1", 9092}});
    CHECK(parse_bootstrap_servers("a:1,a:1") == list{{"a", 1}});
    CHECK(parse_bootstrap_servers("2001:db8::1:9092") == list{{"2001:db8::1:9092", 9092}});
    CHECK(parse_bootstrap_servers(":1") == list{{"localhost", 1}});
}

TEST_CASE("broker_address: what is none is left out") {
    for (std::string_view const wrong :
         {"", ",", " , ", "a:0", "a:65536", "a:x", "a:1x", "a:-1", "[::1", "[::1]x", "[]:1"}) {
        CAPTURE(wrong);
        CHECK(parse_bootstrap_servers(wrong).empty());
    }
    CHECK(parse_bootstrap_servers("a:x,b:2").size() == 1);
}

TEST_CASE("broker_address: it is shown as it is written") {
    CHECK(to_string(broker_address{"a", 1}) == "a:1");
    CHECK(to_string(broker_address{"::1", 9092}) == "[::1]:9092");
}

} // namespace
} // namespace broker_address_tests
