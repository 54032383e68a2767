// SPDX-License-Identifier: MIT

#include <kgroup/detail/fetch/crc32c.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>

namespace fetch_crc32c_tests {
namespace {

using namespace kgroup::detail::fetch;

std::uint32_t bit_by_bit(std::string_view bytes) {
    auto crc = ~std::uint32_t{0};
    for (auto const byte : bytes) {
        crc ^= static_cast<unsigned char>(byte);
        for (int bit = 0; bit != 8; ++bit) {
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
        }
    }
    return ~crc;
}

TEST_CASE("CRC-32C: the values of RFC 3720") {
    CHECK(crc32c("") == 0);
    CHECK(crc32c("123456789") == 0xe3069283);
    CHECK(crc32c(std::string(32, '\0')) == 0x8a9136aa);
    CHECK(crc32c(std::string(32, '\xff')) == 0x62a8ab43);
}

TEST_CASE("CRC-32C: table and instruction agree with the definition, in every size and place") {
    std::minstd_rand random{7};
    std::string bytes(8000, '\0');
    for (auto& byte : bytes) {
        byte = static_cast<char>(random());
    }
    for (std::size_t begin = 0; begin != 9; ++begin) {
        for (std::size_t size = 0; begin + size < bytes.size(); size += size < 300 ? 1 : 61) {
            auto const part = std::string_view{bytes}.substr(begin, size);
            REQUIRE(crc32c_by_table::of(part) == bit_by_bit(part));
            REQUIRE(crc32c(part) == bit_by_bit(part)); // by the instruction, where there is one
        }
    }
    for (std::size_t const size : {3071, 3072, 3073, 6143, 6144, 6145}) { // pieces side by side
        auto const part = std::string_view{bytes}.substr(0, size);
        CHECK(crc32c(part) == bit_by_bit(part));
    }
}

} // namespace
} // namespace fetch_crc32c_tests
