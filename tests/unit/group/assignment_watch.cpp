// SPDX-License-Identifier: MIT

#include <kgroup/detail/group/assignment_watch.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <optional>
#include <system_error>

using namespace std::chrono_literals;
using kgroup::detail::assignment_watch;

TEST_CASE("assignment_watch: it asks after five seconds, tells after ten and then each minute") {
    auto const first_moment = kgroup::detail::clock::time_point{} + 1h;
    assignment_watch watch;
    CHECK_FALSE(watch.question_is_due(first_moment));
    CHECK_FALSE(watch.telling_is_due(first_moment));
    watch.begin(first_moment);
    watch.begin(first_moment + 3s); // it lasts already
    CHECK(watch.since() == first_moment);
    CHECK_FALSE(watch.question_is_due(first_moment + 4s));
    CHECK(watch.question_is_due(first_moment + 5s));
    CHECK_FALSE(watch.tells_soon(first_moment + 4s));
    CHECK(watch.tells_soon(first_moment + 5s));
    CHECK_FALSE(watch.question_is_due(first_moment + 9s));
    CHECK_FALSE(watch.telling_is_due(first_moment + 9s));
    CHECK(watch.telling_is_due(first_moment + 10s));
    CHECK_FALSE(watch.telling_is_due(first_moment + 69s));
    CHECK_FALSE(watch.tells_soon(first_moment + 64s));
    CHECK(watch.tells_soon(first_moment + 65s));
    CHECK(watch.telling_is_due(first_moment + 70s));
    watch.end();
    CHECK_FALSE(watch.since());
    CHECK_FALSE(watch.tells_soon(first_moment + 1h));
    CHECK_FALSE(watch.telling_is_due(first_moment + 1h));
    watch.begin(first_moment + 1h);
    CHECK_FALSE(watch.telling_is_due(first_moment + 1h + 9s));
    CHECK(watch.telling_is_due(first_moment + 1h + 10s));
}

TEST_CASE("assignment_watch: why a member waits is said in words") {
    using kgroup::detail::client_coordinator;
    using kgroup::detail::reason_of_wait;
    std::error_code const own_error{-195, kgroup::kafka_category()};
    std::error_code const loading{14, kgroup::kafka_category()};
    auto const reason = [](client_coordinator const& answer) {
        return reason_of_wait(false, answer, false, {});
    };
    CHECK(reason_of_wait(true, std::nullopt, true, {}) == "no broker has answered as one");
    CHECK(reason({1, {}, false}) == "no broker has answered as one");
    CHECK(reason({1, own_error}).starts_with("the group's coordinator does not answer: "));
    CHECK(reason({1, loading}).starts_with("the group's coordinator answers: "));
    CHECK(reason({1, {}}) == "the group's coordinator is there and has not let this member join");
    CHECK(reason_of_wait(false, client_coordinator{1, {}}, true, {}) ==
          "this member has joined, and waits for the other members");
    kgroup::detail::lasting_conditions::condition const missing{
        {kgroup::event_kind::topic_missing, kgroup::severity::warning,
         kgroup::topic_partition{"orders", -1}},
        {},
        {}};
    CHECK(reason_of_wait(false, std::nullopt, true, {missing}) ==
          "this member has joined, and waits for the other members; there is no topic orders");
}
