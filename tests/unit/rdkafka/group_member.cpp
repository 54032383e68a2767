// SPDX-License-Identifier: MIT

#include <kgroup/detail/rdkafka/group_member.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <string>

namespace group_member_tests {

namespace {

using kgroup::detail::read_group_metadata;

std::string metadata(std::int32_t generation, std::string const& names) {
    return std::string{"CGMDv2:"}
        .append(reinterpret_cast<char const*>(&generation), sizeof generation)
        .append(names);
}

TEST_CASE("group_member: the generation and the member's id are read") {
    using namespace std::string_literals;
    auto const member = read_group_metadata(metadata(7, "the group\0the member\0the instance\0"s));
    CHECK(member.generation == 7);
    CHECK(member.id == "the member");
}

TEST_CASE("group_member: what is cut off is not known") {
    using namespace std::string_literals;
    CHECK(read_group_metadata("").generation == -1);
    CHECK(read_group_metadata("CGMDv2:ab").generation == -1);
    CHECK(read_group_metadata("CGMDv3:abcdefgh").generation == -1);
    CHECK(read_group_metadata(metadata(3, "")).generation == 3);
    CHECK(read_group_metadata(metadata(3, "the group")).id.empty());
    CHECK(read_group_metadata(metadata(3, "the group\0the mem"s)).id == "the mem");
}

} // namespace

} // namespace group_member_tests
