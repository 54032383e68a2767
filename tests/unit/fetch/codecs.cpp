// SPDX-License-Identifier: MIT

#include <kgroup/detail/fetch/codecs.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "compressors.hpp"

namespace fetch_codecs_tests {
namespace {

using namespace kgroup::detail::fetch;
using namespace kgroup::tests;

std::string text(std::size_t size) {
    std::minstd_rand random{static_cast<unsigned>(size) + 1};
    std::string result;
    while (result.size() < size) {
        result += std::to_string(random() % 1000) + " records ";
    }
    result.resize(size);
    return result;
}

std::string noise(std::size_t size) {
    std::minstd_rand random{static_cast<unsigned>(size) + 1};
    std::string result(size, '\0');
    for (auto& byte : result) {
        byte = static_cast<char>(random() >> 8);
    }
    return result;
}

struct form {
    char const* name;
    codec which;
    std::string bytes;
};

/// Everything that a producer may write for these bytes.
std::vector<form> forms(std::string const& of) {
    auto const half = of.size() / 2;
    auto const first = of.substr(0, half);
    auto const second = of.substr(half);
    std::string const skippable{"\x50\x2a\x4d\x18\x03\0\0\0xyz", 11};
    std::vector<form> result{
        {"gzip", codec::gzip, gzip(of)},
        {"gzip, two members", codec::gzip, gzip(first) + gzip(second)},
        {"gzip, an empty member", codec::gzip, gzip("") + gzip(of) + gzip("")},
        {"gzip, other bytes behind it", codec::gzip, gzip(of) + std::string(5, '\0')},
        {"snappy, raw", codec::snappy, snappy_raw(of)},
        {"snappy, in chunks", codec::snappy, snappy_chunks(of, 32768)},
        {"snappy, in small chunks", codec::snappy, snappy_chunks(of, 1000)},
        {"snappy, two streams", codec::snappy,
         snappy_chunks(first, 32768) + snappy_chunks(second, 32768)},
        {"lz4, two frames", codec::lz4, lz4_frame(first) + lz4_frame(second)},
        {"lz4, a skippable frame", codec::lz4, lz4_frame(of) + skippable},
        {"zstd, size known", codec::zstd, zstd_block(of)},
        {"zstd, size unknown", codec::zstd, zstd_stream(of)},
        {"zstd, level 19", codec::zstd, zstd_stream(of, of.size() > 100'000 ? 3 : 19)},
        {"zstd, a window of 128 MiB", codec::zstd, zstd_stream(of, 3, 27)},
        {"zstd, two frames", codec::zstd, zstd_stream(first) + zstd_block(second)},
        {"zstd, skippable frames", codec::zstd, skippable + zstd_block(of) + skippable},
    };
    for (int bits = 0; bits != 32; ++bits) {
        result.push_back({"lz4", codec::lz4,
                          lz4_frame(of, {.linked = (bits & 1) != 0,
                                         .content_size = (bits & 2) != 0,
                                         .content_checksum = (bits & 4) != 0,
                                         .block_checksum = (bits & 8) != 0,
                                         .large_blocks = (bits & 16) != 0})});
    }
    return result;
}

TEST_CASE("every form of every codec is decompressed") {
    decompressor decompress; // one for all: nothing is left behind by the one before
    byte_buffer reused;
    for (auto const& content : {std::string{}, text(1), text(1000), noise(5000), text(300'000),
                                std::string(200'000, 'x')}) {
        CAPTURE(content.size());
        for (auto const& form : forms(content)) {
            CAPTURE(form.name);
            byte_buffer fresh;
            CHECK(decompress(form.which, form.bytes, 1 << 20, fresh) == decompress_result::ok);
            CHECK(fresh.view() == content);
            CHECK(decompress(form.which, form.bytes, 1 << 20, reused) == decompress_result::ok);
            CHECK(reused.view() == content);
            // To the byte as large as is allowed.
            byte_buffer exact;
            CHECK(decompress(form.which, form.bytes, content.size(), exact) ==
                  decompress_result::ok);
            CHECK(exact.view() == content);
            if (!content.empty()) {
                byte_buffer bounded;
                CHECK(decompress(form.which, form.bytes, content.size() - 1, bounded) ==
                      decompress_result::too_large);
                CHECK(bounded.capacity() <= content.size());
                CHECK(decompress(form.which, form.bytes, content.size() - 1, reused) ==
                      decompress_result::too_large);
            }
        }
    }
}

TEST_CASE("what could not be decompressed leaves nothing behind for what comes next") {
    auto const content = noise(3000);
    auto const all = forms(content);
    decompressor decompress;
    for (auto const& before : all) {
        CAPTURE(before.name);
        for (auto const& form : all) {
            if (form.which != before.which) {
                continue;
            }
            CAPTURE(form.name);
            byte_buffer into;
            CHECK(decompress(before.which, before.bytes, 1000, into) ==
                  decompress_result::too_large);
            CHECK(decompress(form.which, form.bytes, 1 << 20, into) == decompress_result::ok);
            CHECK(into.view() == content);
            static_cast<void>(
                decompress(before.which, before.bytes.substr(0, 1500), 1 << 20, into));
            CHECK(decompress(form.which, form.bytes, 1 << 20, into) == decompress_result::ok);
            CHECK(into.view() == content);
        }
    }
}

TEST_CASE("what ends too early is malformed, wherever it ends") {
    decompressor decompress;
    auto const content = text(3000);
    for (auto const& form : forms(content)) {
        CAPTURE(form.name);
        for (std::size_t size = 0; size < form.bytes.size(); size += size < 40 ? 1 : 37) {
            byte_buffer into;
            std::string const cut{form.bytes, 0, size};
            auto const result = decompress(form.which, cut, 1 << 20, into);
            // Some are whole at an earlier place: between members, frames and chunks.
            if (result == decompress_result::ok) {
                CHECK(content.starts_with(into.view()));
            } else {
                CHECK(result == decompress_result::malformed);
            }
        }
    }
    for (auto const which : {codec::gzip, codec::lz4, codec::zstd}) {
        auto const bytes = compressed(which, content);
        byte_buffer into;
        CHECK(decompress(which, std::string_view{bytes}.substr(0, bytes.size() - 1), 1 << 20,
                         into) == decompress_result::malformed);
    }
}

TEST_CASE("what decompresses to very much stops at the limit, and takes no more memory") {
    decompressor decompress;
    std::string const content(50 << 20, 'x');
    for (auto const which : {codec::gzip, codec::snappy, codec::lz4, codec::zstd}) {
        CAPTURE(static_cast<int>(which));
        byte_buffer into;
        CHECK(decompress(which, compressed(which, content), 1 << 20, into) ==
              decompress_result::too_large);
        CHECK(into.capacity() <= 1 << 20);
    }
}

TEST_CASE("a size that cannot be is not believed") {
    decompressor decompress;
    byte_buffer into;
    std::string_view const two_gigabytes{"\xff\xff\xff\xff\x07\0", 6};
    CHECK(decompress(codec::snappy, two_gigabytes, std::size_t{1} << 40, into) ==
          decompress_result::malformed);
    CHECK(into.capacity() == 0);
    auto lies = zstd_block(text(100));
    REQUIRE((lies[4] & 0xc0) == 0);              // one byte of size
    lies[4] = static_cast<char>(lies[4] | 0xc0); // eight
    lies.insert(6, std::string(7, '\x0f'));
    CHECK(decompress(codec::zstd, lies, std::size_t{1} << 40, into) != decompress_result::ok);
    CHECK(into.capacity() < 10'000);
}

TEST_CASE("codecs that do not exist are told apart from malformed ones") {
    decompressor decompress;
    byte_buffer into;
    for (int const number : {0, 5, 6, 7}) {
        CHECK(decompress(static_cast<codec>(number), "x", 100, into) ==
              decompress_result::unknown_codec);
    }
    for (auto const which : {codec::gzip, codec::snappy, codec::lz4, codec::zstd}) {
        CHECK(decompress(which, "\xff\xff\xff\xff\xff\xff\xff\xff", 1 << 20, into) ==
              decompress_result::malformed);
    }
}

} // namespace
} // namespace fetch_codecs_tests
