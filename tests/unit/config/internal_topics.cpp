// SPDX-License-Identifier: MIT

#include <kgroup/detail/config/internal_topics.hpp>
#include <kgroup/error.hpp>

#include <doctest/doctest.h>

#include <string>
#include <system_error>
#include <vector>

namespace internal_topics_tests {

namespace {

using kgroup::detail::internal_topics;
using names = std::vector<std::string>;

/// What the exception says; empty: there is none.
template <typename Action>
std::string refusal(Action action) {
    try {
        action();
    } catch (std::system_error const& e) {
        CHECK(e.code() == kgroup::errc::invalid_config);
        return e.what();
    }
    return {};
}

bool refused(names const& topics) {
    return !refusal([&] { internal_topics{topics}; }).empty();
}

} // namespace

TEST_CASE("internal_topics: hidden unless the configuration names one or more of them") {
    CHECK(internal_topics{{"orders"}}.hidden());
    CHECK(internal_topics{{"^.*"}}.hidden());
    CHECK(internal_topics{{"^_.*", "_schemas", "^(__a|b)"}}.hidden());
    CHECK_FALSE(internal_topics{{"__consumer_offsets"}}.hidden());
    CHECK_FALSE(internal_topics{{"^__.*"}}.hidden());
    CHECK_FALSE(internal_topics{{"orders", "__consumer_offsets"}}.hidden());
}

TEST_CASE("internal_topics: beside one that is named, an expression must not match the others by "
          "accident") {
    for (auto const* const wide : {"^.*", "^", "^_.*", "^[a-z_]*", "^o*", "^o?", "^o{0,1}",
                                   "^orders|.*", "^(a|b)", "^\\w+"}) {
        CHECK_MESSAGE(refused({wide, "__consumer_offsets"}), wide);
        CHECK_MESSAGE(refused({"^__consumer.*", wide}), wide);
    }
    for (auto const* const narrow : {"^o", "^orders", "^orders.*", "^a+", "^0[1-9]", "^-x"}) {
        CHECK_MESSAGE(!refused({narrow, "__consumer_offsets"}), narrow);
    }
    CHECK_FALSE(refused({"^__a.*", "^__b.*", "orders"}));
    auto const words = refusal([] { internal_topics{{"^.*", "__consumer_offsets"}}; });
    CHECK(words.find("'^.*'") != std::string::npos);
}

TEST_CASE("internal_topics: what is subscribed to later fits what was settled at the start") {
    internal_topics const hidden{{"^.*"}};
    CHECK(refusal([&] { hidden.check({"orders", "^.*", "_schemas"}); }).empty());
    CHECK(refusal([&] {
              hidden.check({"orders", "__consumer_offsets"});
          }).find("'__consumer_offsets'") != std::string::npos);
    CHECK(refusal([&] { hidden.check({"^__consumer.*"}); }).find("'^__consumer.*'") !=
          std::string::npos);
    internal_topics const seen{{"__consumer_offsets"}};
    CHECK(refusal([&] {
              seen.check({"__transaction_state", "^__.*", "orders", "^orders"});
          }).empty());
    CHECK(refusal([&] { seen.check({"^.*"}); }).find("'^.*'") != std::string::npos);
}

} // namespace internal_topics_tests
