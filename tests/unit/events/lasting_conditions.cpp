// SPDX-License-Identifier: MIT

#include <kgroup/detail/events/lasting_conditions.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <optional>

using namespace std::chrono_literals;
using kgroup::event;
using kgroup::event_kind;
using kgroup::severity;
using kgroup::topic_partition;
using kgroup::detail::lasting_conditions;

namespace lasting_conditions_tests {

namespace {

constexpr auto first_moment = kgroup::detail::clock::time_point{} + 1h;
topic_partition const here{"orders", 0};
topic_partition const there{"orders", 1};

event of(event_kind kind, std::optional<topic_partition> where = std::nullopt) {
    return {kind, severity::warning, std::move(where), {}, "text"};
}

} // namespace

TEST_CASE("lasting_conditions: what began ends once, at its place") {
    lasting_conditions conditions;
    CHECK(conditions.end(of(event_kind::partition_recovered, here)).empty());
    conditions.note(of(event_kind::partition_error, here), true, first_moment);
    conditions.note(of(event_kind::partition_error, here), true, first_moment + 1s);
    conditions.note(of(event_kind::partition_error, there), true, first_moment);
    CHECK(conditions.lasts(event_kind::partition_error));
    CHECK(conditions.lasts(event_kind::partition_error, here));
    CHECK(conditions.of(event_kind::partition_error).size() == 2);
    CHECK(conditions.of(event_kind::partition_error).front().since == first_moment);

    auto const ended = conditions.end(of(event_kind::partition_recovered, here));
    REQUIRE(ended.size() == 1);
    CHECK(ended[0].kind == event_kind::partition_recovered);
    CHECK(ended[0].where == here);
    CHECK(conditions.end(of(event_kind::partition_recovered, here)).empty());
    CHECK_FALSE(conditions.lasts(event_kind::partition_error, here));
    CHECK(conditions.lasts(event_kind::partition_error, there));
}

TEST_CASE("lasting_conditions: an end without a place ends it everywhere, an event each") {
    lasting_conditions conditions;
    conditions.note(of(event_kind::offsets_unavailable), true, first_moment);
    conditions.note(of(event_kind::offsets_unavailable, here), true, first_moment);
    conditions.note(of(event_kind::partition_error, here), true, first_moment);
    auto const ended = conditions.end(of(event_kind::offsets_found));
    REQUIRE(ended.size() == 2);
    CHECK_FALSE(ended[0].where);
    CHECK(ended[1].where == here);
    CHECK(conditions.lasts(event_kind::partition_error));
}

TEST_CASE("lasting_conditions: commits fail as a whole, whatever partition an event names") {
    lasting_conditions conditions;
    conditions.note(of(event_kind::commit_failed, here), true, first_moment);
    conditions.note(of(event_kind::commit_failed, there), true, first_moment);
    conditions.note(of(event_kind::commit_failed), true, first_moment);
    CHECK(conditions.end_of(here, "the claim has ended").empty());
    CHECK(conditions.end(of(event_kind::commit_recovered)).size() == 1);
}

TEST_CASE("lasting_conditions: what names no place ends alone, when it has been silent") {
    lasting_conditions conditions;
    conditions.note(of(event_kind::partition_error, here), true, first_moment);
    conditions.note(of(event_kind::partition_error), true, first_moment);
    conditions.note(of(event_kind::partition_error), false, first_moment + 9s);
    CHECK(conditions.end_without_place(event_kind::partition_error, first_moment + 9s, "silent")
              .empty());
    CHECK(conditions.end_without_place(event_kind::topic_missing, first_moment + 10s, "silent")
              .empty());
    auto const ended =
        conditions.end_without_place(event_kind::partition_error, first_moment + 10s, "silent");
    REQUIRE(ended.size() == 1);
    CHECK(ended[0].kind == event_kind::partition_recovered);
    CHECK_FALSE(ended[0].where);
    CHECK(conditions.lasts(event_kind::partition_error, here));
    CHECK(conditions.end_without_place(event_kind::partition_error, first_moment + 20s, "silent")
              .empty());
}

TEST_CASE("lasting_conditions: with a claim ends all that concerns it") {
    lasting_conditions conditions;
    for (auto const kind :
         {event_kind::partition_error, event_kind::claim_stalled, event_kind::nothing_comes}) {
        conditions.note(of(kind, here), true, first_moment);
    }
    conditions.note(of(event_kind::nothing_comes, there), true, first_moment);
    conditions.note(of(event_kind::topic_missing, topic_partition{"orders", -1}), true,
                    first_moment);
    auto const ended = conditions.end_of(here, "the claim has ended");
    CHECK(ended.size() == 3);
    for (auto const& end : ended) {
        CHECK(kgroup::ends(end.kind));
        CHECK(end.where == here);
        CHECK(end.text == "the claim has ended");
    }
    CHECK(conditions.lasts(event_kind::nothing_comes, there));
    CHECK(conditions.lasts(event_kind::topic_missing));
}

TEST_CASE("lasting_conditions: what was kept back is told if it lasts, and else not even its end") {
    lasting_conditions conditions;
    conditions.note(of(event_kind::partition_error, here), false, first_moment);
    conditions.note(of(event_kind::partition_error, there), false, first_moment);
    CHECK(conditions.end(of(event_kind::partition_recovered, here)).empty());
    CHECK(conditions.kept_back(first_moment + 9s, 10s).empty());
    auto const late = conditions.kept_back(first_moment + 10s, 10s);
    REQUIRE(late.size() == 1);
    CHECK(late[0].where == there);
    conditions.note(late[0], true, first_moment + 10s);
    CHECK(conditions.kept_back(first_moment + 20s, 10s).empty());
    CHECK(conditions.end(of(event_kind::partition_recovered, there)).size() == 1);
}

} // namespace lasting_conditions_tests
