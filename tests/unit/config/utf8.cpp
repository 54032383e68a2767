// SPDX-License-Identifier: MIT

#include <kgroup/detail/config/config_check.hpp>
#include <kgroup/detail/config/utf8.hpp>

#include <doctest/doctest.h>

#include <string>

using kgroup::detail::quoted;
using kgroup::detail::shown;
using kgroup::detail::utf8_length;

TEST_CASE("utf8: how long a character is, and what is none") {
    CHECK(utf8_length("a") == 1);
    CHECK(utf8_length("\xc3\xa4") == 2);
    CHECK(utf8_length("\xe2\x82\xac!") == 3);
    CHECK(utf8_length("\xf0\x9f\x98\x80") == 4);
    for (auto const* const none :
         {"", "\x80", "\xc3", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xe2\x82",
          "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff"}) {
        CHECK(utf8_length(none) == 0);
    }
}

TEST_CASE(
    "utf8: what is shown of a text has no control characters and no bytes that are no characters") {
    CHECK(shown("plain \xc3\xa4") == "plain \xc3\xa4");
    CHECK(shown(std::string{"a\0b\x1b[31m\n\x7f", 10}) == "a\\x00b\\x1b[31m\\x0a\\x7f");
    CHECK(shown("\xc2\x9b\xff") == "\\xc2\\x9b\\xff"); // a control sequence in one character
    CHECK(kgroup::detail::quoted(std::string(300, 'a')).size() < 270);
}
