// SPDX-License-Identifier: MIT

#include "order_ledger.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <string_view>

// What the ledger finds in histories that are written down here.

namespace order_ledger_tests {

namespace {

using namespace kgroup;
using namespace kgroup::tests;

/// One partition, whose records have the keys 1, 2, 1, 2.
struct written_history {
    order_ledger ledger{{{1, 2, 1, 2}}};

    bool is_found(std::string_view text) const {
        return ledger.violations().find(text) != std::string::npos;
    }
};

void work(order_ledger::ownership& owner, std::int64_t offset, bool done = true) {
    owner.begin(offset);
    owner.end(offset, done);
}

TEST_CASE_FIXTURE(written_history, "order_ledger: keys side by side, with repetitions") {
    order_ledger::ownership owner{ledger, 0, 0};
    owner.begin(0);
    owner.begin(1);
    owner.end(1, false);
    owner.begin(1);
    owner.end(1, true);
    work(owner, 3);
    owner.end(0, true);
    CHECK_FALSE(ledger.over());
    work(owner, 2);
    owner.over(end_reason::stopped);
    CHECK(ledger.over());
    CHECK(ledger.done() == 4);
    CHECK(ledger.again() == 0);
    CHECK(ledger.violations() == "");
}

TEST_CASE_FIXTURE(written_history, "order_ledger: what was done above a hole is done again") {
    {
        order_ledger::ownership owner{ledger, 0, 0};
        work(owner, 0);
        work(owner, 2);
        work(owner, 1, false);
        owner.over(end_reason::revoked);
    }
    CHECK(ledger.above_hole() == 1);
    order_ledger::ownership owner{ledger, 0, 1};
    work(owner, 2);
    work(owner, 1);
    work(owner, 3);
    CHECK(ledger.again() == 1);
    CHECK(ledger.over());
    CHECK(ledger.violations() == "");
}

TEST_CASE_FIXTURE(written_history, "order_ledger: attempts at a key that overlap") {
    order_ledger::ownership owner{ledger, 0, 0};
    owner.begin(0);
    owner.begin(2);
    CHECK(is_found("offset 2: overlaps"));
}

TEST_CASE_FIXTURE(written_history, "order_ledger: a record that is jumped over") {
    order_ledger::ownership owner{ledger, 0, 0};
    work(owner, 0, false);
    work(owner, 2);
    CHECK(is_found("offset 2: is begun where 0 is next of its key"));
}

TEST_CASE_FIXTURE(written_history, "order_ledger: a key that steps back within an ownership") {
    order_ledger::ownership owner{ledger, 0, 0};
    work(owner, 0);
    work(owner, 0);
    CHECK(is_found("offset 0: is begun where 2 is next of its key"));
}

TEST_CASE_FIXTURE(written_history, "order_ledger: an owner that begins too early or too late") {
    {
        order_ledger::ownership owner{ledger, 0, 0};
        work(owner, 0);
        owner.over(end_reason::revoked);
    }
    {
        order_ledger::ownership owner{ledger, 0, 0};
        CHECK(is_found("offset 0: is taken up where undone was 1"));
        work(owner, 0);
        CHECK(is_found("offset 0: is begun where 2 is next of its key"));
        owner.over(end_reason::revoked);
    }
    order_ledger::ownership owner{ledger, 0, 2};
    CHECK(is_found("offset 2: is taken up where undone was 1"));
    work(owner, 3);
    CHECK(is_found("offset 3: is begun where 1 is next of its key"));
}

TEST_CASE_FIXTURE(written_history,
                  "order_ledger: two owners, a loss, and an attempt that is left") {
    order_ledger::ownership owner{ledger, 0, 0};
    owner.begin(0);
    order_ledger::ownership second{ledger, 0, 0};
    CHECK(is_found("offset 0: has a second owner"));
    second.over(end_reason::lost);
    CHECK(is_found("ends with lost"));
    CHECK(is_found("has an attempt at key 1 at its end"));
}

} // namespace

} // namespace order_ledger_tests
