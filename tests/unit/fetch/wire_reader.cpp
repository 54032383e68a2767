// SPDX-License-Identifier: MIT

#include <kgroup/detail/fetch/wire_reader.hpp>
#include <kgroup/detail/fetch/wire_writer.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace fetch_wire_tests {
namespace {

using namespace kgroup::detail::fetch;
using namespace std::string_view_literals;

template <typename T>
constexpr T smallest = (std::numeric_limits<T>::min)();
template <typename T>
constexpr T largest = (std::numeric_limits<T>::max)();

TEST_CASE("numbers of every size come back") {
    std::string bytes;
    wire_writer out{bytes};
    out.int8(-128).int16(smallest<std::int16_t>).int32(smallest<std::int32_t>);
    out.int64(smallest<std::int64_t>).int64(0x0102030405060708).boolean(true);
    CHECK(bytes.substr(15, 8) == "\1\2\3\4\5\6\7\10"sv);
    wire_reader in{bytes};
    CHECK(in.int8() == -128);
    CHECK(in.int16() == smallest<std::int16_t>);
    CHECK(in.int32() == smallest<std::int32_t>);
    CHECK(in.int64() == smallest<std::int64_t>);
    CHECK(in.int64() == 0x0102030405060708);
    CHECK(in.boolean());
    CHECK(in.remaining() == 0);
    CHECK_FALSE(in.failed());
}

TEST_CASE("varints of every length come back, and longer ones are refused") {
    for (int shift = 0; shift != 64; ++shift) {
        for (auto const value : {std::int64_t{1} << shift, -(std::int64_t{1} << (shift % 63)),
                                 static_cast<std::int64_t>((std::uint64_t{1} << shift) - 1),
                                 smallest<std::int64_t>, largest<std::int64_t>}) {
            std::string bytes;
            wire_writer{bytes}.varint(value);
            wire_reader in{bytes};
            REQUIRE(in.varlong() == value);
            REQUIRE(in.remaining() == 0);
            REQUIRE_FALSE(in.failed());
            if (value >= smallest<std::int32_t> && value <= largest<std::int32_t>) {
                wire_reader narrow{bytes};
                REQUIRE(narrow.varint() == value);
                REQUIRE_FALSE(narrow.failed());
            } else {
                wire_reader narrow{bytes};
                narrow.varint();
                REQUIRE(narrow.failed());
            }
        }
    }
    for (auto const bytes : {""sv, "\x80"sv, "\xff\xff\xff\xff"sv, "\xff\xff\xff\xff\x1f"sv,
                             "\xff\xff\xff\xff\xff\x01"sv}) {
        wire_reader in{bytes};
        in.unsigned_varint();
        CHECK(in.failed());
        CHECK(in.remaining() == 0);
    }
    wire_reader in{"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"sv};
    in.varlong();
    CHECK(in.failed());
}

TEST_CASE("a failed reader gives nothing more") {
    wire_reader in{"\0\1\2"sv};
    in.int32();
    CHECK(in.failed());
    CHECK(in.int8() == 0);
    CHECK(in.view(0).empty());
    CHECK(in.elements(1) == 0);
    CHECK(in.failed());
}

TEST_CASE("texts of both encodings, empty and null") {
    for (auto const how : {encoding::classic, encoding::compact}) {
        std::string bytes;
        wire_writer out{bytes, how};
        out.text("abc").text("").nullable_text(std::nullopt).nullable_bytes("x\0y"sv);
        out.nullable_bytes(std::nullopt).end_structure();
        wire_reader in{bytes, how};
        CHECK(in.text() == "abc");
        CHECK(in.nullable_text() == ""sv);
        CHECK(in.nullable_text() == std::nullopt);
        CHECK(in.nullable_bytes() == "x\0y"sv);
        CHECK(in.nullable_bytes() == std::nullopt);
        in.end_structure();
        CHECK(in.remaining() == 0);
        CHECK_FALSE(in.failed());
        for (std::size_t size = 0; size != bytes.size(); ++size) { // cut off anywhere
            wire_reader cut{std::string_view{bytes}.substr(0, size), how};
            cut.text();
            cut.text();
            cut.nullable_text();
            cut.nullable_bytes();
            cut.nullable_bytes();
            cut.end_structure();
            CHECK(cut.failed());
        }
    }
    wire_reader null_text{"\xff\xff"sv};
    null_text.text();
    CHECK(null_text.failed());
    wire_reader negative{"\xff\xfe"sv};
    negative.nullable_text();
    CHECK(negative.failed());
    std::string bytes;
    CHECK_THROWS_AS(wire_writer{bytes}.text(std::string(32768, 'x')), std::length_error);
}

TEST_CASE("no array has more elements than bytes can follow") {
    wire_reader fits{"\0\0\0\2........"sv};
    CHECK(fits.elements(4) == 2);
    wire_reader lies{"\0\0\0\3........"sv};
    CHECK(lies.elements(4) == 0);
    CHECK(lies.failed());
    wire_reader huge{"\x7f\xff\xff\xff........"sv};
    CHECK(huge.elements(1) == 0);
    CHECK(huge.failed());
    wire_reader null_array{"\xff\xff\xff\xff"sv};
    CHECK(null_array.elements(1) == 0);
    CHECK_FALSE(null_array.failed());
    wire_reader negative{"\xff\xff\xff\xfe"sv};
    negative.elements(1);
    CHECK(negative.failed());
    wire_reader compact{"\xff\xff\xff\xff\x0f........"sv, encoding::compact};
    CHECK(compact.elements(1) == 0);
    CHECK(compact.failed());
}

TEST_CASE("tagged fields are passed over, or taken, within their own bytes") {
    auto const bytes = "\2"
                       "\0\4"
                       "\0\0\0\7"
                       "\5\1"
                       "x"
                       "after"sv; // tags 0 and 5
    wire_reader skips{bytes, encoding::compact};
    skips.end_structure();
    CHECK(skips.view(5) == "after");
    std::int32_t taken = 0;
    wire_reader takes{bytes, encoding::compact};
    takes.end_structure([&](std::uint32_t tag, wire_reader& field) {
        if (tag == 0) {
            taken = field.int32();
        }
    });
    CHECK(taken == 7);
    CHECK(takes.view(5) == "after");
    wire_reader reaches_out{bytes, encoding::compact};
    reaches_out.end_structure([](std::uint32_t, wire_reader& field) { field.int64(); });
    CHECK(reaches_out.failed());
    // Four thousand million fields of no bytes end with the bytes.
    wire_reader many{"\xff\xff\xff\xff\x0f\0\0\0\0"sv, encoding::compact};
    many.end_structure();
    CHECK(many.failed());
}

} // namespace
} // namespace fetch_wire_tests
