// SPDX-License-Identifier: MIT

#include <kgroup/detail/process/held_off_text.hpp>

#include <doctest/doctest.h>

using kgroup::detail::held_off_text;

TEST_CASE("held_off_text: where, and the words of the exception, if it has any") {
    CHECK(held_off_text(7, "ledger: connection refused") ==
          "nothing new starts until an attempt has passed: the function said not_now at offset 7: "
          "ledger: connection refused");
    CHECK(held_off_text(7, "").ends_with("said not_now at offset 7"));
}
