// SPDX-License-Identifier: MIT

#include <kgroup/detail/group/broker_watch.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <system_error>

using namespace std::chrono_literals;

namespace broker_watch_tests {

namespace {

using kgroup::detail::broker_questions;
using kgroup::detail::broker_watch;
using kgroup::detail::clock;

constexpr auto start = clock::time_point{} + 1h;
std::error_code const none;
std::error_code const own_error{-195, kgroup::kafka_category()}; // librdkafka's: transport
std::error_code const broker_error{16, kgroup::kafka_category()};

TEST_CASE("broker_watch: an outage begins once, and ends with the answer of a broker") {
    broker_watch brokers;
    CHECK_FALSE(brokers.answered(start).reachable);
    CHECK(brokers.unreachable(start, 0, 0));
    CHECK(brokers.outage());
    CHECK_FALSE(brokers.unreachable(start, 0, 0));
    CHECK(brokers.answered(start).reachable);
    CHECK_FALSE(brokers.outage());
    CHECK_FALSE(brokers.answered(start).reachable);
}

TEST_CASE("broker_watch: what was asked before the outage may have been answered before it") {
    broker_watch brokers;
    CHECK(brokers.answers_commit(1, none));
    brokers.unreachable(start, 5, 7);
    CHECK_FALSE(brokers.answers_commit(5, none));
    CHECK(brokers.answers_commit(6, none));
    CHECK(brokers.answers_commit(6, broker_error));
    CHECK_FALSE(brokers.answers_commit(6, own_error));
    CHECK_FALSE(brokers.answers_look_up(7, none));
    CHECK(brokers.answers_look_up(8, none));
    CHECK_FALSE(brokers.answers_look_up(8, own_error));
}

TEST_CASE("broker_watch: a refusal is over when a broker answers and none has refused since") {
    broker_watch brokers;
    brokers.refused(start);
    CHECK(brokers.refusal());
    CHECK_FALSE(brokers.answered(start + 4s).accepted);
    brokers.refused(start + 4s);
    CHECK_FALSE(brokers.answered(start + 8s).accepted);
    CHECK(brokers.answered(start + 9s).accepted);
    CHECK_FALSE(brokers.refusal());
}

TEST_CASE("broker_watch: brokers are asked each five seconds while something lasts") {
    broker_watch brokers;
    CHECK_FALSE(brokers.questions_due(start).outage);
    brokers.unreachable(start, 0, 0);
    brokers.refused(start + 1s);
    auto const first = brokers.questions_due(start + 5s);
    CHECK(first.outage);
    CHECK_FALSE(first.refusal);
    auto const second = brokers.questions_due(start + 6s);
    CHECK_FALSE(second.outage);
    CHECK(second.refusal);
}

TEST_CASE("broker_questions: one of a kind is under way, and only its own answer counts") {
    using kind = broker_questions::kind;
    broker_questions questions;
    CHECK_FALSE(questions.open(kind::topics));
    CHECK_FALSE(questions.answer(kind::topics, 0));
    auto const ends = questions.ask(kind::log_ends);
    auto const topics = questions.ask(kind::topics);
    CHECK(ends != topics);
    CHECK(questions.open(kind::log_ends));
    CHECK_FALSE(questions.answer(kind::topics, ends));
    CHECK(questions.answer(kind::log_ends, ends));
    CHECK_FALSE(questions.open(kind::log_ends));
    CHECK_FALSE(questions.answer(kind::log_ends, ends));
    questions.forget();
    CHECK_FALSE(questions.answer(kind::topics, topics));
    CHECK_FALSE(questions.open(kind::topics));
}

} // namespace

} // namespace broker_watch_tests
