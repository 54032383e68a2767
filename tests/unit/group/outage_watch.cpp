// SPDX-License-Identifier: MIT

#include <kgroup/detail/group/outage_watch.hpp>
#include <kgroup/error.hpp>

#include <doctest/doctest.h>

#include <chrono>

using namespace std::chrono_literals;
using kgroup::make_error_code;
using kgroup::detail::is_answer_of_broker;
using kgroup::detail::new_arrivals;
using kgroup::detail::outage_watch;

TEST_CASE("outage_watch: it begins once, asks every five seconds, and ends with an answer") {
    auto const first_moment = kgroup::detail::clock::time_point{} + 1h;
    outage_watch watch;
    CHECK_FALSE(watch.answered());
    CHECK_FALSE(watch.question_is_due(first_moment));
    CHECK(watch.begin(first_moment));
    CHECK_FALSE(watch.begin(first_moment + 1s));
    CHECK_FALSE(watch.question_is_due(first_moment + 4s));
    CHECK(watch.question_is_due(first_moment + 5s));
    CHECK_FALSE(watch.question_is_due(first_moment + 9s));
    CHECK(watch.question_is_due(first_moment + 10s));
    CHECK(watch.lasts());
    CHECK(watch.answered());
    CHECK_FALSE(watch.lasts());
    CHECK_FALSE(watch.answered());
    CHECK_FALSE(watch.question_is_due(first_moment + 1min));
    CHECK(watch.begin(first_moment + 1min));
}

TEST_CASE("outage_watch: what librdkafka says itself is no answer of a broker") {
    CHECK(is_answer_of_broker({}));
    CHECK(is_answer_of_broker(make_error_code(RD_KAFKA_RESP_ERR_NOT_COORDINATOR)));
    CHECK(is_answer_of_broker(make_error_code(RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID)));
    for (auto const own : {RD_KAFKA_RESP_ERR__TRANSPORT, RD_KAFKA_RESP_ERR__TIMED_OUT,
                           RD_KAFKA_RESP_ERR__WAIT_COORD, RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN}) {
        CHECK_FALSE(is_answer_of_broker(make_error_code(own)));
    }
    CHECK_FALSE(is_answer_of_broker(kgroup::errc::commit_timed_out));
}

TEST_CASE("new_arrivals: records that were there before do not count") {
    new_arrivals since{10, 100, 50};
    CHECK_FALSE(since.seen(100, false, 10));
    CHECK_FALSE(since.seen(40, false, 60));
    CHECK_FALSE(since.seen(0, false, 160)); // all that there was
    SUBCASE("more than there was") { CHECK(since.seen(0, false, 161)); }
    SUBCASE("the queue has grown") { CHECK(since.seen(1, false, 160)); }
}

TEST_CASE("new_arrivals: once all is taken, the next one is new") {
    new_arrivals since{10, 3, 50};
    CHECK_FALSE(since.seen(0, true, 13));
    CHECK_FALSE(since.seen(0, true, 13));
    CHECK(since.seen(0, true, 14));
}
