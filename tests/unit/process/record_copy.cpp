// SPDX-License-Identifier: MIT

#include <kgroup/detail/process/record_copy.hpp>
#include <kgroup/message.hpp>
#include <kgroup/message_channel.hpp>

#include <asio/io_context.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "support/stored_source.hpp"

namespace record_copy_tests {
namespace {

using namespace std::chrono_literals;
using kgroup::message;
using kgroup::message_channel;
using kgroup::detail::partition_state;
using kgroup::detail::record_access;
using kgroup::detail::record_copy;
using partition = kgroup::tests::stored_partition;

std::vector<std::pair<std::string, std::optional<std::string>>> headers_of(message const& from) {
    std::vector<std::pair<std::string, std::optional<std::string>>> result;
    for (auto const& header : from.headers()) {
        result.emplace_back(header.name, header.value);
    }
    return result;
}

TEST_CASE("a copy gives the answers of its record") {
    partition orders{{{.key = "k", .value = "v", .timestamp = 1'700'000'000'123},
                      {.key = "", .value = std::nullopt},
                      {.key = std::nullopt, .value = ""},
                      {.key = "key",
                       .value = std::string(100'000, 'x'),
                       .headers = {{"trace", "1"}, {"empty", ""}, {"null", std::nullopt}}}}};
    for (std::size_t i = 0; i != orders.records.size(); ++i) {
        CAPTURE(i);
        auto const original = orders.take();
        auto const copy = record_copy::make(original);
        CHECK(copy.topic() == "orders");
        CHECK(copy.partition() == 3);
        CHECK(copy.offset() == original.offset());
        CHECK(copy.key() == original.key());
        CHECK(copy.has_key() == original.has_key());
        CHECK(copy.value() == original.value());
        CHECK(copy.has_value() == original.has_value());
        CHECK(copy.timestamp() == original.timestamp());
        CHECK(headers_of(copy) == headers_of(original));
        CHECK(record_access::of(copy)->block->fetched() ==
              record_access::of(original)->block->fetched());
        if (original.has_value() && !original.value().empty()) {
            CHECK(copy.value().data() != original.value().data());
        }
    }
}

TEST_CASE("what was fetched with a record is given back while its copy lives") {
    partition orders{{{.value = "first"}, {.value = "second"}}};
    auto original = std::optional{orders.take()};
    auto const copy = record_copy::make(*original);
    original.reset();
    orders.take();
    CHECK_FALSE(orders.channel->try_receive()); // the channel leaves its block
    CHECK(orders.records[0].freed == 1);
    CHECK(orders.records[1].freed == 1);
    CHECK(copy.value() == "first");
}

TEST_CASE("a copy of a copy, and a copy that lives longer than the claim") {
    partition orders{{{.key = "k", .value = "v", .headers = {{"name", "value"}}}}};
    auto original = std::optional{orders.take()};
    auto copy = std::optional{record_copy::make(*original)};
    auto const last = std::optional{record_copy::make(*copy)};
    original.reset();
    copy.reset();
    orders.channel.reset();
    orders.state.reset();
    CHECK(last->key() == "k");
    CHECK(last->value() == "v");
    CHECK(last->header("name") == std::optional<std::string_view>{"value"});
}

TEST_CASE("a copy is known as one, and what its headers take") {
    partition orders{
        {{.value = "v"}, {.value = "v", .headers = {{"a", "bcd"}, {"ef", std::nullopt}}}}};
    auto const plain = orders.take();
    CHECK_FALSE(record_copy::is_copy(plain));
    auto const copy_of_plain = record_copy::make(plain);
    CHECK(record_copy::is_copy(copy_of_plain));
    CHECK(record_copy::bytes_of_headers(copy_of_plain) == 0);
    auto const with_headers = record_copy::make(orders.take());
    CHECK(record_copy::bytes_of_headers(with_headers) ==
          2 * sizeof(kgroup::owned_message::owned_header) + 6);
}

TEST_CASE("headers that cannot be read are no copy, and the record stays what it was") {
    partition orders{{{.value = "v", .malformed = true}}};
    auto const original = orders.take();
    CHECK_THROWS_AS(record_copy::make(original), std::runtime_error);
    CHECK(original.value() == "v");
    CHECK(orders.records[0].freed == 0);
}

} // namespace
} // namespace record_copy_tests
