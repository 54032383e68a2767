// SPDX-License-Identifier: MIT

#include <kgroup/detail/fetch/buffer_pool.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <utility>

namespace fetch_buffer_pool_tests {
namespace {

using namespace kgroup::detail::fetch;

byte_buffer buffer_of(std::size_t size) {
    byte_buffer made;
    REQUIRE(made.reserve(size));
    made.grow(1);
    return made;
}

TEST_CASE("buffer_pool: the smallest that fits is taken, and is empty") {
    buffer_pool pool{std::size_t{1} << 20};
    CHECK(pool.take(10'000).capacity() == 0);
    pool.give_back(buffer_of(30'000));
    pool.give_back(buffer_of(20'000));
    CHECK(pool.bytes() == 50'000);
    auto const taken = pool.take(18'000);
    CHECK(taken.capacity() == 20'000);
    CHECK(taken.size() == 0);
    CHECK(pool.bytes() == 30'000);
    CHECK(pool.take(10'000).capacity() == 0); // the other one is far too large
    CHECK(pool.take(30'000).capacity() == 30'000);
    CHECK(pool.bytes() == 0);
}

TEST_CASE("buffer_pool: it holds no more bytes than it may, and none of small buffers") {
    buffer_pool pool{100'000};
    pool.give_back(buffer_of(60'000));
    pool.give_back(buffer_of(60'000));
    CHECK(pool.bytes() == 60'000);
    pool.give_back(buffer_of(1'000));
    pool.give_back({});
    CHECK(pool.bytes() == 60'000);
}

TEST_CASE("buffer_pool: sizes that are not asked for any more make room for others") {
    buffer_pool pool{std::size_t{1} << 30};
    for (int i = 0; i != 100; ++i) {
        pool.give_back(buffer_of(10'000));
    }
    auto const full = pool.bytes();
    CHECK(full < 100 * 10'000);
    CHECK(pool.take(100).capacity() == 0); // so small ones are never there
    CHECK(pool.bytes() == full);
    CHECK(pool.take(50'000).capacity() == 0);
    pool.give_back(buffer_of(50'000));
    CHECK(pool.take(50'000).capacity() == 50'000);
}

} // namespace
} // namespace fetch_buffer_pool_tests
