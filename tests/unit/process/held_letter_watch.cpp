// SPDX-License-Identifier: MIT

#include <kgroup/detail/process/held_letter_watch.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <optional>
#include <system_error>

using namespace std::chrono_literals;
using kgroup::detail::held_letter_watch;
using news = held_letter_watch::news;

namespace held_letter_watch_tests {

namespace {

kgroup::detail::clock::time_point const start{1h};

} // namespace

TEST_CASE("held_letter_watch: told after ten seconds, each minute, and once that it is over") {
    held_letter_watch watch;
    CHECK(watch.look(std::nullopt, start) == news::none);
    CHECK_FALSE(watch.next_look());
    CHECK(watch.look(start, start + 1s) == news::none);
    CHECK(watch.next_look() == start + 10s);
    CHECK(watch.look(start, start + 10s) == news::held);
    CHECK(watch.held());
    CHECK(watch.next_look() == start + 70s);
    CHECK(watch.look(start, start + 30s) == news::none);
    CHECK(watch.look(start, start + 70s) == news::held);
    CHECK(watch.look(std::nullopt, start + 71s) == news::over);
    CHECK_FALSE(watch.held());
    CHECK_FALSE(watch.next_look());
    CHECK(watch.look(std::nullopt, start + 72s) == news::none);
}

TEST_CASE("held_letter_watch: over when the oldest is gone and the next is young") {
    held_letter_watch watch;
    CHECK(watch.look(start, start + 15s) == news::held);
    CHECK(watch.look(start + 12s, start + 16s) == news::over);
    CHECK(watch.next_look() == start + 22s);
    CHECK(watch.look(start + 12s, start + 22s) == news::held);
}

TEST_CASE("held_letter_text: the record waits, and why, as far as its producer knows") {
    using kgroup::detail::held_letter_text;
    CHECK(held_letter_text(3, {}) == "the dead letter of offset 3 has not been acknowledged yet; "
                                     "its record waits; its producer has not heard why");
    CHECK(held_letter_text(3, {{}, "no broker answers"})
              .ends_with("its record waits; its producer says: no broker answers"));
    CHECK(held_letter_text(3, {std::make_error_code(std::errc::permission_denied), {}})
              .ends_with("its record waits")); // the event has the error
}

} // namespace held_letter_watch_tests
