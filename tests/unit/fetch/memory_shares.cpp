// SPDX-License-Identifier: MIT

#include <kgroup/detail/fetch/memory_shares.hpp>

#include <doctest/doctest.h>

#include <cstddef>

namespace memory_shares_tests {
namespace {

using kgroup::detail::fetch::memory_shares;

constexpr std::size_t mebibyte = 1 << 20;

TEST_CASE("memory_shares: half is everybody's, of the other half each has a share") {
    memory_shares const shares{64 * mebibyte, mebibyte, 50 * mebibyte};
    CHECK_FALSE(shares.scarce(30 * mebibyte));
    CHECK_FALSE(shares.scarce(31 * mebibyte));
    CHECK(shares.scarce(31 * mebibyte + 1)); // there is no room for one more part

    CHECK(shares.room(0, 6, true)); // who holds nothing is always asked about
    CHECK_FALSE(shares.room(1, 6, true));
    CHECK(shares.room(3 * mebibyte - 1, 6, false));
    CHECK_FALSE(shares.room(3 * mebibyte, 6, false));
    CHECK_FALSE(shares.room(mebibyte / 2, 64, false)); // the more there are, the less each has
}

TEST_CASE("memory_shares: a request asks for what there is room for") {
    memory_shares const shares{64 * mebibyte, mebibyte, 50 * mebibyte};
    auto const asked = [&](std::size_t count, std::size_t partitions, std::size_t used,
                           bool scarce) {
        return shares.of_request(count, partitions, used, scarce);
    };
    CHECK(asked(3, 6, 0, false).total == 3 * mebibyte);
    CHECK(asked(3, 6, 0, false).partition == mebibyte);
    CHECK(asked(100, 100, 0, false).total == 16 * mebibyte);
    CHECK(asked(100, 100, 31 * mebibyte, false).total == mebibyte / 2);
    CHECK(asked(100, 100, 31 * mebibyte, false).partition == mebibyte / 2);
    CHECK(asked(4, 64, 40 * mebibyte, true).total == mebibyte); // what is used counts no more
    CHECK(asked(4, 64, 40 * mebibyte, true).partition == mebibyte / 4);
}

TEST_CASE("memory_shares: however little there is, something is asked for") {
    memory_shares const shares{4096, 1 << 14, 2048};
    CHECK(shares.of_request(1, 1000, 4096, true).total == 1024);
    CHECK(shares.of_request(1, 1, 4096, false).total == 1024);
    CHECK(shares.of_request(10, 10, 0, true).total == 2048); // no answer above its limit
}

} // namespace
} // namespace memory_shares_tests
