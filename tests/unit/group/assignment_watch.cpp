#include <kgroup/detail/group/assignment_watch.hpp>

#include <doctest/doctest.h>

#include <chrono>

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
