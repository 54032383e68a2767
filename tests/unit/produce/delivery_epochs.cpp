// SPDX-License-Identifier: MIT

#include <kgroup/detail/produce/delivery_epochs.hpp>

#include <doctest/doctest.h>

#include <ostream>
#include <system_error>

namespace delivery_epochs_tests {

namespace {

using kgroup::detail::delivery_epochs;

auto const first_failure = std::make_error_code(std::errc::timed_out);
auto const second_failure = std::make_error_code(std::errc::io_error);

TEST_CASE("delivery_epochs: a flush of nothing is over at once") {
    delivery_epochs epochs;
    delivery_epochs::flush flush;
    epochs.begin(flush);
    CHECK(epochs.is_over(flush));
    epochs.end(flush, true);
}

TEST_CASE("delivery_epochs: a flush waits for what was given in before it, and for nothing else") {
    delivery_epochs epochs;
    auto const one = epochs.add();
    auto const other = epochs.add();
    delivery_epochs::flush flush;
    epochs.begin(flush);
    auto const later = epochs.add();
    epochs.settle(later, {});
    epochs.settle(other, {});
    CHECK_FALSE(epochs.is_over(flush));
    static_cast<void>(epochs.add()); // never settled
    epochs.settle(one, {});
    CHECK(epochs.is_over(flush));
    CHECK(flush.found.count == 0);
    epochs.end(flush, true);
}

TEST_CASE("delivery_epochs: records that are given in while a flush waits and nothing is new since "
          "it do not prolong it") {
    delivery_epochs epochs;
    auto const one = epochs.add();
    delivery_epochs::flush first;
    delivery_epochs::flush second;
    epochs.begin(first);
    epochs.begin(second); // of the same records
    static_cast<void>(epochs.add());
    epochs.settle(one, {});
    CHECK(epochs.is_over(first));
    CHECK(epochs.is_over(second));
    epochs.end(first, true);
    epochs.end(second, true);
}

TEST_CASE(
    "delivery_epochs: the first failure and their number, to each flush that waits for them") {
    delivery_epochs epochs;
    auto const one = epochs.add();
    auto const other = epochs.add();
    delivery_epochs::flush first;
    delivery_epochs::flush second;
    epochs.begin(first);
    epochs.begin(second);
    epochs.settle(one, first_failure);
    epochs.settle(other, second_failure);
    for (auto* const flush : {&first, &second}) {
        REQUIRE(epochs.is_over(*flush));
        CHECK(flush->found.count == 2);
        CHECK(flush->found.first == first_failure);
        epochs.end(*flush, true);
    }
    delivery_epochs::flush third;
    epochs.begin(third);
    CHECK(third.found.count == 0); // told once
    epochs.end(third, true);
}

TEST_CASE("delivery_epochs: a failure that no flush waits for is told to the next, also when that "
          "was cancelled") {
    delivery_epochs epochs;
    epochs.settle(epochs.add(), first_failure);
    delivery_epochs::flush cancelled;
    epochs.begin(cancelled);
    epochs.end(cancelled, false);
    delivery_epochs::flush next;
    epochs.begin(next);
    CHECK(epochs.is_over(next));
    CHECK(next.found.count == 1);
    CHECK(next.found.first == first_failure);
    epochs.end(next, true);
}

TEST_CASE("delivery_epochs: what was not taken after all keeps nobody waiting") {
    delivery_epochs epochs;
    auto const one = epochs.add();
    delivery_epochs::flush flush;
    epochs.begin(flush);
    epochs.withdraw(one);
    CHECK(epochs.is_over(flush));
    CHECK(flush.found.count == 0);
    epochs.end(flush, true);
}

} // namespace

} // namespace delivery_epochs_tests
