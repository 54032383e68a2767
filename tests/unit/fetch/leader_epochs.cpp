// SPDX-License-Identifier: MIT

#include <kgroup/detail/fetch/leader_epochs.hpp>

#include <doctest/doctest.h>

#include <cstdint>

#include "support/failing_allocation.hpp"

namespace leader_epochs_tests {
namespace {

using kgroup::detail::fetch::leader_epochs;

TEST_CASE("leader_epochs: an offset has the epoch of the record before") {
    leader_epochs known;
    CHECK(known.before(0) == -1);
    CHECK(known.before(10) == -1);
    known.add(10, 20, 3);
    known.add(20, 25, 3);
    known.add(25, 30, 4);
    CHECK(known.before(10) == -1);
    CHECK(known.before(11) == 3);
    CHECK(known.before(25) == 3);
    CHECK(known.before(26) == 4);
    CHECK(known.before(30) == 4);
    CHECK(known.before(31) == -1);
}

TEST_CASE("leader_epochs: in a gap between two epochs none is known, within one it is") {
    leader_epochs known;
    known.add(0, 10, 1);
    known.add(20, 30, 1);
    known.add(40, 50, 2);
    CHECK(known.before(15) == 1);
    CHECK(known.before(30) == 1);
    CHECK(known.before(35) == -1); // some other epoch's records may have been there
    CHECK(known.before(41) == 2);
}

TEST_CASE("leader_epochs: a batch whose epoch is not known hides no other") {
    leader_epochs known;
    known.add(0, 10, 1);
    known.add(10, 20, -1);
    CHECK(known.before(10) == 1);
    CHECK(known.before(20) == -1);
}

TEST_CASE("leader_epochs: the start has the epoch that was committed with it") {
    leader_epochs known;
    known.add(0, 100, 9);
    known.restart(50, 7);
    CHECK(known.before(49) == -1);
    CHECK(known.before(50) == 7);
    CHECK(known.before(100) == -1);
    known.add(48, 60, 7); // the batch in which it stands
    CHECK(known.before(49) == 7);
    CHECK(known.before(60) == 7);
    known.restart(50, -1);
    CHECK(known.before(50) == -1);
    known.restart(0, 7); // there is no record before
    CHECK(known.before(0) == -1);
    known.restart(-2, 7);
    CHECK(known.before(1) == -1);
}

TEST_CASE("leader_epochs: what was cut off is not known, what replaces it is") {
    leader_epochs known;
    known.add(0, 10, 1);
    known.add(10, 20, 2);
    SUBCASE("within an epoch") {
        known.cut(15);
        CHECK(known.before(15) == 2);
        CHECK(known.before(16) == -1);
        known.add(15, 18, 3);
        CHECK(known.before(15) == 2);
        CHECK(known.before(16) == 3);
        CHECK(known.before(20) == -1);
    }
    SUBCASE("an epoch, all of it") {
        known.cut(10, 1);
        CHECK(known.before(10) == 1);
        CHECK(known.before(9) == 1);
        CHECK(known.before(11) == -1);
    }
    SUBCASE("all that was known: the broker names the epoch") {
        known.restart(20, 2);
        known.cut(16, 1);
        CHECK(known.before(16) == 1);
        CHECK(known.before(20) == -1);
    }
    SUBCASE("the whole log") {
        known.cut(0);
        CHECK(known.before(1) == -1);
        CHECK(known.before(10) == -1);
    }
}

TEST_CASE("leader_epochs: where the epochs behind one begin") {
    leader_epochs known;
    CHECK_FALSE(known.first_later_than(0));
    known.restart(10, 3);
    known.add(10, 20, 3);
    known.add(20, 25, -1);
    known.add(25, 30, 5);
    known.add(30, 40, 7);
    CHECK(known.first_later_than(2) == 9);
    CHECK(known.first_later_than(3) == 25);
    CHECK(known.first_later_than(4) == 25);
    CHECK(known.first_later_than(5) == 30);
    CHECK_FALSE(known.first_later_than(7));
    known.cut(30);
    CHECK_FALSE(known.first_later_than(5));
}

TEST_CASE("leader_epochs: a batch is of no later epoch than the leader that sent it") {
    using kgroup::detail::fetch::believed_epoch;
    CHECK(believed_epoch(5, 5) == 5);
    CHECK(believed_epoch(0, 5) == 0);
    CHECK(believed_epoch(6, 5) == -1);
    CHECK(believed_epoch(6, -1) == 6); // the leader's is not known
    CHECK(believed_epoch(-7, 5) == -1);
}

TEST_CASE("leader_epochs: the newest are remembered, without memory") {
    leader_epochs known;
    kgroup::tests::failing_allocation const next{1};
    auto const epochs = static_cast<std::int32_t>(leader_epochs::most) + 8;
    for (std::int32_t epoch = 0; epoch != epochs; ++epoch) {
        known.add(epoch * 10, epoch * 10 + 10, epoch);
    }
    CHECK_FALSE(kgroup::tests::failing_allocation::has_failed());
    CHECK(known.before(80) == -1);
    CHECK(known.before(81) == 8);
    CHECK(known.before(epochs * 10) == epochs - 1);
}

} // namespace
} // namespace leader_epochs_tests
