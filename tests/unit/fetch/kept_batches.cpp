// SPDX-License-Identifier: MIT

#include <kgroup/detail/fetch/kept_batches.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "made_batch.hpp"

namespace kept_batches_tests {
namespace {

using namespace kgroup::detail::fetch;
using namespace kgroup::tests;

TEST_CASE("kept_batches: a place fits into a pointer") {
    for (std::uint32_t const batch : {0u, 1u, 0xffffffffu}) {
        for (std::size_t const begin : {0u, 1u, 0x7fffffffu}) {
            record_place const place{batch, begin};
            CHECK(record_place::is_one(place.native()));
            record_place const same{place.native()};
            CHECK(same.batch() == batch);
            CHECK(same.begin() == begin);
        }
    }
    int object = 0;
    CHECK_FALSE(record_place::is_one(&object));
}

TEST_CASE("kept_batches: the answer lives as long as the reader and all records") {
    kept_batches batches;
    auto answer = std::make_shared<int>(1);
    std::weak_ptr const alive{answer};
    auto const number = batches.keep({}, "", std::move(answer), {}, nullptr);
    REQUIRE(number);
    batches.hold(*number, 3);
    batches.release(*number, 1);
    batches.release(*number, 2);
    CHECK_FALSE(alive.expired());
    batches.release(*number, 1);
    CHECK(alive.expired());
}

TEST_CASE("kept_batches: many at a time, whose numbers are used again") {
    kept_batches batches;
    std::vector<std::string> bytes(1000);
    std::vector<std::uint32_t> numbers;
    for (int rounds = 0; rounds != 2; ++rounds) {
        for (auto const& each : bytes) {
            numbers.push_back(*batches.keep({}, each.data(), nullptr, {}, nullptr));
            CHECK(numbers.back() < 1024);
        }
        for (std::size_t i = 0; i != bytes.size(); ++i) {
            CHECK(batches.first(numbers[i]) == bytes[i].data());
        }
        for (auto const number : numbers) {
            batches.release(number, 1);
        }
        numbers.clear();
    }
}

TEST_CASE("kept_batches: what was decompressed counts with its batch, and then is for all to use") {
    auto const all = std::make_shared<answer_memory>(std::size_t{1} << 20);
    auto const partition = std::make_shared<partition_memory>(all);
    kept_batches batches;
    byte_buffer buffer;
    REQUIRE(buffer.reserve(10'000));
    auto const* const memory = buffer.free_begin();
    auto const number = batches.keep({}, memory, nullptr, std::move(buffer), partition);
    REQUIRE(number);
    CHECK(all->used() == 10'000);
    CHECK(all->buffers().bytes() == 0);
    batches.release(*number, 1);
    CHECK(all->used() == 0);
    CHECK(partition->held() == 0);
    CHECK(all->buffers().take(9'000).free_begin() == memory);
}

TEST_CASE("kept_batches: times and headers of a record are read where it stands") {
    made_batch made;
    made.base_offset = 5;
    auto const long_after = made.base_timestamp + 1'000'000'000'000;
    made.records = {{5, made.base_timestamp - 7, "k", std::nullopt, {}},
                    {8,
                     long_after,
                     std::nullopt,
                     std::string(300, 'v'),
                     {{"a", "1"}, {"", std::nullopt}, {"b", ""}}},
                    {9, made.base_timestamp, std::nullopt, std::nullopt, {}}};
    bool times_of_broker = false;
    SUBCASE("of the producer") {}
    SUBCASE("of the broker") { times_of_broker = true; }
    made.more_attributes = times_of_broker ? made_batch::log_append_time : std::int16_t{0};
    auto const bytes = made.bytes();
    auto const found = find_batch(bytes);
    REQUIRE(found.state == found_batch::kind::whole);
    kept_batches batches;
    auto const number = *batches.keep(found.header, found.records().data(), nullptr, {}, nullptr);
    record_reader reader{found.header, found.records()};
    for (auto const& expected : made.records) {
        decoded_record record;
        REQUIRE(reader.next(record) == next_record::record);
        record_place const place{number,
                                 static_cast<std::size_t>(record.begin - found.records().data())};
        CHECK(batches.timestamp(place) == record.timestamp);
        CHECK(batches.timestamp(place) ==
              (times_of_broker ? made.max_timestamp : expected.timestamp));
        std::vector<std::pair<std::string, std::optional<std::string>>> headers;
        batches.headers(place).for_each(
            [&](std::string_view name, std::optional<std::string_view> value) {
                headers.emplace_back(name, value);
            });
        CHECK(headers == expected.headers);
    }
}

} // namespace
} // namespace kept_batches_tests
