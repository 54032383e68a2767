// SPDX-License-Identifier: MIT

#include <kgroup/detail/fetch/aborted_transactions.hpp>

#include <doctest/doctest.h>

#include <vector>

namespace fetch_aborted_transactions_tests {
namespace {

using kgroup::detail::fetch::aborted_transaction;
using kgroup::detail::fetch::aborted_transactions;

TEST_CASE("a transaction is aborted from its first offset to its marker") {
    aborted_transactions aborted;
    std::vector<aborted_transaction> const listed{{7, 10}};
    aborted.reset(listed);
    CHECK_FALSE(aborted.contains(7, 9));
    CHECK(aborted.contains(7, 10)); // a batch from 8 to 10 too: it holds records of one transaction
    CHECK_FALSE(aborted.contains(8, 11));
    CHECK(aborted.contains(7, 20));
    aborted.end(7, 21);
    CHECK_FALSE(aborted.contains(7, 22));
}

TEST_CASE(
    "a producer's later transaction is aborted in its turn, in whatever order they are listed") {
    aborted_transactions aborted;
    // As brokers list them: by the ends, and 8 ends before 7 does.
    std::vector<aborted_transaction> const listed{{8, 12}, {7, 10}, {7, 40}};
    aborted.reset(listed);
    CHECK(aborted.contains(7, 11));
    CHECK(aborted.contains(8, 15));
    aborted.end(8, 16);
    CHECK_FALSE(aborted.contains(8, 17));
    CHECK(aborted.contains(7, 18));
    aborted.end(7, 19);
    CHECK_FALSE(aborted.contains(7, 39));
    CHECK(aborted.contains(7, 41));
    aborted.end(7, 42);
    CHECK_FALSE(aborted.contains(7, 43));
}

TEST_CASE("a marker alone ends a transaction whose batches are compacted away") {
    aborted_transactions aborted;
    std::vector<aborted_transaction> const listed{{7, 10}};
    aborted.reset(listed);
    aborted.end(7, 20);
    CHECK_FALSE(aborted.contains(7, 30));
}

TEST_CASE("another answer begins anew") {
    aborted_transactions aborted;
    std::vector<aborted_transaction> const listed{{7, 10}};
    aborted.reset(listed);
    CHECK(aborted.contains(7, 10));
    aborted.reset({});
    CHECK_FALSE(aborted.contains(7, 10));
    aborted.end(7, 10); // of a transaction that is not listed
    CHECK_FALSE(aborted.contains(7, 11));
}

} // namespace
} // namespace fetch_aborted_transactions_tests
