// SPDX-License-Identifier: MIT

#include <kgroup/detail/config/config_check.hpp>
#include <kgroup/detail/config/pattern_check.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <string>
#include <system_error>
#include <vector>

using kgroup::group_protocol;
using kgroup::detail::check_pattern;
using kgroup::detail::pattern_check;
using kgroup::detail::pattern_size;

namespace pattern_check_tests {

namespace {

std::string refusal_of_pattern(std::string const& pattern, group_protocol protocol) {
    try {
        check_pattern(pattern, protocol);
    } catch (std::system_error const& e) {
        CHECK(e.code() == kgroup::errc::invalid_config);
        return e.what();
    }
    return {};
}

std::string repeated(std::string const& text, int times) {
    std::string result;
    for (int i = 0; i != times; ++i) {
        result += text;
    }
    return result;
}

} // namespace

TEST_CASE("pattern_check: what RE2 takes is taken") {
    for (auto const* const pattern : {"^",
                                      "^.*",
                                      "^orders-[0-9]{1,3}(a|b)$",
                                      "^a*?b+?c??",
                                      "^(a*)*",
                                      "^(?:a|b)+",
                                      "^(?i)a",
                                      "^(?i:a)*",
                                      "^(?P<n>a)(?P<m>b)",
                                      "^()",
                                      "^a||b",
                                      "^*",
                                      "^$*",
                                      "^a{,3}",
                                      "^a{2,}?",
                                      "^a{1000}",
                                      "^((a{10}){10}){10}",
                                      "^(a{1000}){1}",
                                      "^(a{1000}){0}",
                                      "^(a{1000})*",
                                      "^(a{500})(b{500})",
                                      "^\\d+\\w\\s\\b\\B\\A\\z",
                                      "^\\.\\-\\_\\\\",
                                      "^\\x41\\x{41}\\0",
                                      "^\\pL\\PN",
                                      "^\\Q*+\\E*",
                                      "^[]a]",
                                      "^[^]a-]",
                                      "^[a-z-9]",
                                      "^[[:alpha:][:digit:]._-]+",
                                      "^[\\w.-]",
                                      "^[\\d-z]",
                                      "^a{2",
                                      "^a{x}"}) {
        auto const flaw = pattern_check::flaw_of(pattern);
        CHECK_MESSAGE(!flaw, pattern, ": ", flaw ? flaw->reason : "");
    }
}

TEST_CASE("pattern_check: what POSIX takes and RE2 does not is refused, and the place named") {
    struct bad {
        char const* pattern;
        std::size_t position;
    };
    for (auto const& [pattern, position] : std::vector<bad>{{"^(a)\\1", 4},
                                                            {"^(a)(b)\\2", 7},
                                                            {"^\\<a", 1},
                                                            {"^a\\>", 2},
                                                            {"^(*a)", 2},
                                                            {"^a|*b", 3},
                                                            {"^a**", 3},
                                                            {"^a+*", 3},
                                                            {"^a{2}{3}", 5},
                                                            {"^a{2}*", 5},
                                                            {"^a???", 4},
                                                            {"^a{1001}", 2},
                                                            {"^a{1,1001}", 2},
                                                            {"^a{1001,}", 2},
                                                            {"^(a{100}){100}", 9},
                                                            {"^((a{10}){10}){11}", 14},
                                                            {"^(b|a{40}){0,26}", 10},
                                                            {"^\\m", 1},
                                                            {"^\\y", 1},
                                                            {"^\\Z", 1},
                                                            {"^\\C", 1},
                                                            {"^\\pQ", 1},
                                                            {"^[a\\]", 1},
                                                            {"^[A-\\w]", 2},
                                                            {"^[\\1]", 2},
                                                            {"^(?=a)", 1},
                                                            {"^(?P<n>a)(?P<n>b)", 9}}) {
        CAPTURE(pattern);
        auto const flaw = pattern_check::flaw_of(pattern);
        REQUIRE(flaw);
        CHECK(flaw->position == position);
        CHECK(flaw->reason.size() > 5);
        if (refusal_of_pattern(pattern, group_protocol::classic)
                .empty()) { // POSIX takes it, as the C library at hand has it
            auto const said = refusal_of_pattern(pattern, group_protocol::consumer);
            CHECK_MESSAGE(
                said.find("topics: '" + std::string{pattern} +
                          "' is not a regular expression (RE2, as the brokers read it): ") == 0,
                said);
            CHECK_MESSAGE(said.find("at position " + std::to_string(position + 1)) !=
                              std::string::npos,
                          said);
        }
    }
}

TEST_CASE("pattern_check: what POSIX refuses is refused under both protocols") {
    for (auto const protocol : {group_protocol::classic, group_protocol::consumer}) {
        for (auto const* const pattern :
             {"^orders-[0-9", "^(a", "^a\\", "^[[:foo:]]", "^[z-a]", "^a{2,1}"}) {
            auto const said = refusal_of_pattern(pattern, protocol);
            CHECK_MESSAGE(said.find("' is not a regular expression (POSIX extended): ") !=
                              std::string::npos,
                          pattern);
        }
        CHECK(refusal_of_pattern(std::string{"^a\0b", 4}, protocol).find("a NUL, at position 3") !=
              std::string::npos);
        CHECK(refusal_of_pattern("^orders-[0-9]{2,3}$", protocol) == "");
    }
}

TEST_CASE("pattern_check: one that the C library could not compile in bounded memory or stack is "
          "never given to it") {
    for (auto const& pattern : {"^" + repeated("(", 40000) + "a" + repeated(")", 40000),
                                "^" + repeated("(", 300) + "a" + repeated(")", 300),
                                std::string{"^((((a{100}){100}){100}){100})"},
                                std::string{"^\\m?{2,}{40}{1,2}"}, std::string{"^((a*)*){30000}"},
                                std::string{"^(|a){30000}"}, std::string{"^a{200}{200}{200}"}}) {
        CHECK(refusal_of_pattern(pattern, group_protocol::classic) != "");
    }
    CHECK_FALSE(pattern_size::flaw_of("^[a-z0-9._-]{1,249}$"));
    CHECK_FALSE(pattern_size::flaw_of("^(" + repeated("topic-name|", 200) + "other)$"));
}

} // namespace pattern_check_tests
