// SPDX-License-Identifier: MIT

#include <kgroup/detail/config/bootstrap_server.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace bootstrap_server_tests {
namespace {

using kgroup::detail::bootstrap_server_reader;

TEST_CASE("bootstrap_server: it is read as librdkafka reads it") {
    struct written {
        std::string_view text;
        std::string_view protocol;
        std::string_view host;
        std::uint16_t port;
    };
    for (auto const& [text, protocol, host, port] : {
             written{"kafka", "", "kafka", 9092},
             {"kafka-1.example_a.com:1", "", "kafka-1.example_a.com", 1},
             {"kafka:65535", "", "kafka", 65535},
             {"kafka:09092", "", "kafka", 9092},
             {"kafka.:9092", "", "kafka.", 9092},
             {"b\xc3\xbc"
              "cher:1",
              "",
              "b\xc3\xbc"
              "cher",
              1},
             {"127.0.0.1:29984", "", "127.0.0.1", 29984},
             {"127.1:1", "", "127.1", 1},
             {"2130706433:1", "", "2130706433", 1},
             {"3com:1", "", "3com", 1},
             {"::1", "", "::1", 9092},
             {"2001:db8::1:9092", "", "2001:db8::1:9092", 9092},
             {"[::1]:29984", "", "::1", 29984},
             {"[::1]", "", "::1", 9092},
             {"[fe80::1%lo]:1", "", "fe80::1%lo", 1},
             {"[::ffff:127.0.0.1]:1", "", "::ffff:127.0.0.1", 1},
             {"[kafka]:1", "", "kafka", 1},
             {":1", "", "localhost", 1},
             {"PLAINTEXT://kafka:1", "PLAINTEXT", "kafka", 1},
             {"sasl_ssl://[::1]:1", "sasl_ssl", "::1", 1},
             {"SSL://kafka", "SSL", "kafka", 9092},
             {"SASL_PLAINTEXT://kafka:1/path/@", "SASL_PLAINTEXT", "kafka", 1},
         }) {
        CAPTURE(text);
        auto const read = bootstrap_server_reader::read(text);
        CHECK(read.flaw == "");
        CHECK(read.protocol == protocol);
        CHECK(read.host == host);
        CHECK(read.port == port);
    }
}

TEST_CASE("bootstrap_server: what can never be reached has a flaw, in words") {
    struct wrong {
        std::string text;
        std::string_view words;
    };
    for (auto const& [text, words] : {
             wrong{"http://kafka:1", "no protocol of Kafka's"},
             {"://kafka:1", "no protocol of Kafka's"},
             {"kafka://kafka:1", "no protocol of Kafka's"},
             {"kafka:99999", "not between 1 and 65535"},
             {"kafka:65536", "not between 1 and 65535"},
             {"kafka:99999999999999999999", "not between 1 and 65535"},
             {"kafka:0", "not between 1 and 65535"},
             {"kafka:", "no port behind the ':'"},
             {"[::1]:", "no port behind the ':'"},
             {"kafka:kafka", "a port that is no number"},
             {"kafka:1x", "a port that is no number"},
             {"kafka:-1", "a port that is no number"},
             {"kafka:+1", "a port that is no number"},
             {"[::1]:x", "a port that is no number"},
             {"SSL://kafka:x/1", "a port that is no number"},
             {"kafka:1:2", "several colons"},
             {"2001:db8::1:29984", "in brackets if a port follows"},
             {"127.0.0.1:1;127.0.0.1:2", "several colons"},
             {"::1]:1", "several colons"},
             {"[::1", "no ']'"},
             {"[::1]1", "something else than ':'"},
             {"[]:1", "no address between the brackets"},
             {"[1:2]:1", "no address of IPv6"},
             {"kafka;other", "a ';' in the name"},
             {"${KAFKA}:1", "a '$' in the name"},
             {"kafka/1", "a '/' in the name"},
             {"user@kafka:1", "holds a '@'"},
             {"SSL://user:word@kafka:1", "holds a '@'"},
             {std::string(254, 'a'), "more than 253 bytes"},
             {"127.0.0.256:1", "no address of IPv4"},
             {"127.0.0.1.9092", "no address of IPv4"},
             {"127..1:1", "no address of IPv4"},
             {".:1", "no address of IPv4"},
         }) {
        CAPTURE(text);
        auto const flaw = bootstrap_server_reader::read(text).flaw;
        CHECK_MESSAGE(flaw.find(words) != std::string::npos, flaw);
    }
}

} // namespace
} // namespace bootstrap_server_tests
