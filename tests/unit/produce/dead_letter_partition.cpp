// SPDX-License-Identifier: MIT

#include <kgroup/detail/produce/dead_letter_partition.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <string_view>

namespace dead_letter_partition_tests {

namespace {

using kgroup::detail::dead_letter_partition;
using kgroup::detail::produce_operation;
using kgroup::detail::record_tag;

std::int32_t chosen(void* tag, std::int32_t partitions) {
    std::string_view const key = "key";
    return dead_letter_partition(nullptr, key.data(), key.size(), partitions, nullptr, tag);
}

TEST_CASE("dead_letter_partition: that of the record, as far as there are so many") {
    produce_operation letter;
    letter.source_partition = 5;
    CHECK(chosen(&letter, 12) == 5);
    CHECK(chosen(&letter, 3) == 2);
}

TEST_CASE("dead_letter_partition: what is no dead letter goes by its key") {
    produce_operation send;
    auto const by_key = chosen(&send, 12);
    CHECK(chosen(record_tag::of_epoch(7), 12) == by_key);
    CHECK(chosen(&send, 12) == by_key);
}

} // namespace

} // namespace dead_letter_partition_tests
