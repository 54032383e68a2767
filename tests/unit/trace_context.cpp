// SPDX-License-Identifier: MIT

#include <kgroup/trace_context.hpp>

#include <doctest/doctest.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

using kgroup::parse_trace_context;

namespace trace_context_tests {

namespace {

constexpr std::string_view trace_id{"4bf92f3577b34da6a3ce929d0e0e4736"};
constexpr std::string_view span_id{"00f067aa0ba902b7"};
std::string const parent{"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"};

bool keeps(std::string const& tracestate) {
    auto const context = parse_trace_context(parent, tracestate);
    REQUIRE(context);
    CHECK((context->tracestate.empty() || context->tracestate == tracestate));
    return !context->tracestate.empty();
}

} // namespace

TEST_CASE("trace_context: what a traceparent says") {
    auto const context = parse_trace_context(parent, "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7");
    REQUIRE(context);
    CHECK(context->trace_id == trace_id);
    CHECK(context->parent_id == span_id);
    CHECK(context->flags == 1);
    CHECK(context->sampled());
    CHECK_FALSE(context->random());
    CHECK(context->tracestate == "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7");
    CHECK(context->traceparent() == parent);
    CHECK(context->traceparent("b7ad6b7169203331") ==
          "00-4bf92f3577b34da6a3ce929d0e0e4736-b7ad6b7169203331-01");
}

TEST_CASE("trace_context: flags that are not known are read, and not passed on") {
    auto const context =
        parse_trace_context("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-fe");
    REQUIRE(context);
    CHECK(context->flags == 0xfe);
    CHECK_FALSE(context->sampled());
    CHECK(context->random());
    CHECK(context->traceparent().ends_with("-02"));
}

TEST_CASE("trace_context: a traceparent that breaks the rules counts for nothing") {
    for (std::string const broken : {
             "",
             "00",
             "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
             "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
             "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what",
             "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01 ",
             "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
             "00-4bf92f3577b34da6a3ce929d0e0e4736-00F067AA0BA902B7-01",
             "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
             "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
             "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
             "0x-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
             "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x",
             "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
             "00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01",
             "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7_01",
             "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
             "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01what",
         }) {
        CAPTURE(broken);
        CHECK_FALSE(parse_trace_context(broken));
    }
}

TEST_CASE("trace_context: a higher version is read as far as this one goes") {
    for (std::string const higher : {
             "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
             "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-will-be",
         }) {
        auto const context = parse_trace_context(higher);
        REQUIRE(context);
        CHECK(context->traceparent() == parent); // in the version that is known
    }
}

TEST_CASE("trace_context: a tracestate that breaks the rules is left out, and nothing else") {
    CHECK(keeps("a=1"));
    CHECK(keeps("a=1,b=2"));
    CHECK(keeps(" a=1\t, ,b=2 "));
    CHECK(keeps("0tenant@system=value with blanks"));
    CHECK(keeps("a/b*c-d_e=!"));
    CHECK(keeps(std::string(256, 'k') + "=v"));
    CHECK(keeps("k=" + std::string(256, 'v')));
    CHECK(keeps(std::string(241, 't') + "@" + std::string(14, 's') + "=v"));

    CHECK_FALSE(keeps(""));
    CHECK_FALSE(keeps(" , "));
    CHECK_FALSE(keeps("a"));
    CHECK_FALSE(keeps("a="));
    CHECK_FALSE(keeps("=1"));
    CHECK_FALSE(keeps("A=1"));
    CHECK_FALSE(keeps("_a=1"));
    CHECK_FALSE(keeps("a =1"));
    CHECK_FALSE(keeps("a=1=2"));
    CHECK_FALSE(keeps("a=\x01"));
    CHECK_FALSE(keeps("a=\xc3\xa4"));
    CHECK_FALSE(keeps("a=1,b=2,a=3")); // twice
    CHECK_FALSE(keeps("a@b@c=1"));
    CHECK_FALSE(keeps("@s=1"));
    CHECK_FALSE(keeps("t@=1"));
    CHECK_FALSE(keeps(std::string(257, 'k') + "=v"));
    CHECK_FALSE(keeps("k=" + std::string(257, 'v')));
    CHECK_FALSE(keeps(std::string(242, 't') + "@s=v"));
    CHECK_FALSE(keeps("t@" + std::string(15, 's') + "=v"));
    std::string members;
    for (auto number = 0; number != 32; ++number) {
        members += (number == 0 ? "k" : ",k") + std::to_string(number) + "=v";
    }
    CHECK(keeps(members));
    CHECK_FALSE(keeps(members + ",k32=v"));
}

TEST_CASE("trace_context: out of headers") {
    using kgroup::header;
    std::vector<header> headers{{"tracestate", "a=1"}, {"other", "x"}};
    CHECK_FALSE(parse_trace_context(headers));
    headers.push_back({"traceparent", parent});
    headers.push_back({"tracestate", "b=2"});
    auto const context = parse_trace_context(headers);
    REQUIRE(context);
    CHECK(context->trace_id == trace_id);
    CHECK(context->tracestate == "a=1,b=2");
    headers.push_back({"traceparent", std::nullopt}); // a null value is none
    CHECK(parse_trace_context(headers));
    headers.push_back({"traceparent", parent});
    CHECK_FALSE(parse_trace_context(headers));
    std::vector<header> const upper_case{{"Traceparent", parent}};
    CHECK_FALSE(parse_trace_context(upper_case));
}

} // namespace trace_context_tests
