// SPDX-License-Identifier: MIT

#include <kgroup/detail/fetch/answer_match.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <vector>

namespace fetch_answer_match_tests {
namespace {

using namespace kgroup::detail::fetch;

constexpr topic_uuid orders{1};
constexpr topic_uuid payments{2};

std::vector<std::size_t> unanswered(answer_match const& match) {
    std::vector<std::size_t> result;
    match.for_each_unanswered([&](std::size_t index) { result.push_back(index); });
    return result;
}

TEST_CASE("answers find their questions in any order, by name and by id") {
    for (bool const by_id : {false, true}) {
        answer_match match;
        match.add("orders", orders, 0);
        match.add("orders", orders, 1);
        match.add("payments", payments, 0);
        auto const take = [&](std::string_view topic, topic_uuid const& id, std::int32_t number) {
            return by_id ? match.take("", id, number) : match.take(topic, {}, number);
        };
        CHECK(take("orders", orders, 1) == 1);
        CHECK(take("payments", payments, 0) == 2);
        CHECK(unanswered(match) == std::vector<std::size_t>{0});
        CHECK(take("orders", orders, 0) == 0);
        CHECK(unanswered(match).empty());
    }
}

TEST_CASE("what was not asked, or is answered twice, belongs to no question") {
    answer_match match;
    CHECK(match.take("orders", {}, 0) == std::nullopt);
    match.add("orders", orders, 0);
    match.add("old", {}, 7); // of a broker that knows no ids
    CHECK(match.take("orders", {}, 1) == std::nullopt);
    CHECK(match.take("payments", {}, 0) == std::nullopt);
    CHECK(match.take("", payments, 0) == std::nullopt);
    CHECK(match.take("", {}, 7) == std::nullopt);
    CHECK(match.take("orders", {}, 0) == 0);
    CHECK(match.take("orders", {}, 0) == std::nullopt);
    CHECK(match.take("", orders, 0) == std::nullopt);
    CHECK(unanswered(match) == std::vector<std::size_t>{1});
    match.clear();
    CHECK(unanswered(match).empty());
    match.add("orders", orders, 0);
    CHECK(match.take("orders", {}, 0) == 0);
}

} // namespace
} // namespace fetch_answer_match_tests
