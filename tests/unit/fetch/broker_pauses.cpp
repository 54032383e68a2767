// SPDX-License-Identifier: MIT

#include <kgroup/detail/fetch/broker_pauses.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>

namespace fetch_broker_pauses_tests {
namespace {

using namespace kgroup::detail::fetch;
using namespace std::chrono_literals;

constexpr time_point now{1h};
constexpr std::uint32_t no_jitter = 25; // of 75 … 150 percent

void close(broker_pauses& pauses, time_point at) { pauses.on_closed(100ms, 10s, no_jitter, at); }

TEST_CASE("a broker that nothing is known of may be asked all, and nothing is to be waited for") {
    broker_pauses const pauses;
    CHECK(pauses.may_connect(now));
    CHECK(pauses.may_ask(now));
    CHECK(pauses.may_poll(now));
    CHECK(!pauses.failing(now));
    CHECK(!pauses.next_time(now));
}

TEST_CASE("behind the end of a connection the next one waits, twice as long each time") {
    broker_pauses pauses;
    close(pauses, now);
    CHECK(!pauses.may_connect(now + 99ms));
    CHECK(pauses.failing(now + 99ms));
    CHECK(pauses.next_time(now) == now + 100ms);
    CHECK(pauses.may_connect(now + 100ms));
    CHECK(!pauses.failing(now + 100ms));
    CHECK(!pauses.next_time(now + 100ms));
    close(pauses, now);
    CHECK(pauses.next_time(now) == now + 200ms);
    for (int i = 0; i != 100; ++i) {
        close(pauses, now);
    }
    CHECK(pauses.next_time(now) == now + 10s);
    CHECK(pauses.may_ask(now)); // over another connection
}

TEST_CASE("an answer ends the failures, but not the pause that has begun") {
    broker_pauses pauses;
    close(pauses, now);
    close(pauses, now);
    pauses.on_answer();
    CHECK(!pauses.failing(now));
    CHECK(!pauses.may_connect(now));
    close(pauses, now);
    CHECK(pauses.next_time(now) == now + 100ms);
}

TEST_CASE("parts that nobody asked for are told once, until an answer has none") {
    broker_pauses pauses;
    CHECK(!pauses.tell_strays(false));
    CHECK(pauses.tell_strays(true));
    CHECK(!pauses.tell_strays(true));
    CHECK(!pauses.tell_strays(false));
    CHECK(pauses.tell_strays(true));
}

TEST_CASE("a request that a broker does not know is told once") {
    broker_pauses pauses;
    CHECK(pauses.tell_unsupported());
    pauses.on_answer();
    CHECK(!pauses.tell_unsupported());
}

TEST_CASE("a broker that moved is connected to at once") {
    broker_pauses pauses;
    close(pauses, now);
    pauses.on_moved();
    CHECK(pauses.may_connect(now));
    CHECK(!pauses.failing(now));
}

TEST_CASE("a broker that throttles is asked nothing for the longest time that it said") {
    broker_pauses pauses;
    pauses.on_throttled(300ms, now);
    pauses.on_throttled(200ms, now);
    CHECK(!pauses.may_ask(now + 299ms));
    CHECK(pauses.may_ask(now + 300ms));
    CHECK(pauses.may_connect(now));
    CHECK(pauses.next_time(now) == now + 300ms);
}

TEST_CASE("a broker that answers polls at once with nothing is polled each 50 ms at most") {
    broker_pauses pauses;
    pauses.on_empty_poll(now + 4ms, now); // it has waited
    CHECK(pauses.may_poll(now));
    pauses.on_empty_poll(now - 1s, now);
    CHECK(pauses.may_poll(now));
    pauses.on_empty_poll(now + 500ms, now);
    CHECK(!pauses.may_poll(now + 49ms));
    CHECK(pauses.may_poll(now + 50ms));
    CHECK(pauses.next_time(now) == now + 50ms);
    pauses.on_empty_poll(now + 20ms, now); // not past the end of the poll
    CHECK(pauses.may_poll(now + 20ms));
}

TEST_CASE("the pause that ends first is the next one") {
    broker_pauses pauses;
    close(pauses, now);
    pauses.on_throttled(30ms, now);
    CHECK(pauses.next_time(now) == now + 30ms);
    CHECK(pauses.next_time(now + 30ms) == now + 100ms);
}

TEST_CASE("a failure is told once, until the broker is of use") {
    broker_pauses pauses;
    CHECK(pauses.tell_failure());
    CHECK(!pauses.tell_failure());
    pauses.on_moved();
    CHECK(!pauses.tell_failure());
    pauses.on_answer();
    CHECK(pauses.tell_failure());
    pauses.on_answer();
    pauses.tell_nothing();
    CHECK(!pauses.tell_failure());
}

} // namespace
} // namespace fetch_broker_pauses_tests
