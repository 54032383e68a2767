// SPDX-License-Identifier: MIT

#include <kgroup/detail/asio/auto_reset_event.hpp>
#include <kgroup/detail/fetch/connection.hpp>
#include <kgroup/detail/fetch/known_broker.hpp>

#include <asio/io_context.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <memory>

namespace fetch_known_broker_tests {
namespace {

using namespace kgroup::detail::fetch;
using namespace std::chrono_literals;

constexpr time_point now{1h};

void poll_until(broker_lane& lane, time_point end) {
    lane.under_way.emplace_back(api::fetch).ends = end;
}

TEST_CASE("polls have two places: the second one knows when the first one's poll ends") {
    known_broker tested;
    auto const free = tested.place_for_poll(now);
    REQUIRE(free.has_value());
    CHECK(&free->lane == &tested.lanes[0]);
    CHECK(!free->other_ends);
    poll_until(free->lane, now + 500ms);

    auto const beside = tested.place_for_poll(now);
    REQUIRE(beside.has_value());
    CHECK(&beside->lane == &tested.lanes[1]);
    CHECK(beside->other_ends == now + 500ms);
    poll_until(beside->lane, now + 100ms);
    CHECK(!tested.place_for_poll(now)); // the third one is not for polls

    tested.lanes[0].under_way.clear();
    auto const free_again = tested.place_for_poll(now);
    REQUIRE(free_again.has_value());
    CHECK(&free_again->lane == &tested.lanes[0]);
    CHECK(free_again->other_ends == now + 100ms);
}

TEST_CASE("what becomes ready around the end of a poll waits for it") {
    known_broker tested;
    poll_until(tested.lanes[0], now);
    CHECK(tested.place_for_poll(now - 10ms).has_value());
    CHECK(!tested.place_for_poll(now - 9ms));
    CHECK(!tested.place_for_poll(now));
    CHECK(!tested.place_for_poll(now + 9ms));
    CHECK(tested.place_for_poll(now + 10ms).has_value()); // the answer is late
}

TEST_CASE("a broker that does not wait is not polled before its pause ends") {
    known_broker tested;
    tested.pauses.on_empty_poll(now + 500ms, now);
    CHECK(!tested.place_for_poll(now));
    CHECK(tested.place_for_poll(now + 50ms).has_value());
}

TEST_CASE("a broker is away if it failed, and no connection to it is there or under way") {
    asio::io_context context;
    fetcher_settings const settings;
    known_broker tested;
    CHECK(!tested.away(now));
    tested.pauses.on_closed(100ms, 10s, 25, now);
    CHECK(tested.away(now));
    CHECK(!tested.away(now + 100ms)); // it is tried again
    for (auto& lane : tested.lanes) {
        lane.link = std::make_shared<connection>(
            context.get_executor(), kgroup::detail::auto_reset_event::make(context.get_executor()),
            settings, tested.address, now);
        CHECK(!tested.away(now));
        lane.link = nullptr;
    }
    CHECK(tested.away(now));
}

TEST_CASE("time changes something when a pause ends, or a poll that others wait for") {
    known_broker tested;
    CHECK(!tested.next_time(now));
    tested.pauses.on_throttled(300ms, now);
    CHECK(tested.next_time(now) == now + 300ms);
    poll_until(tested.lanes[0], now + 200ms);
    poll_until(tested.lanes[1], now + 100ms);
    CHECK(tested.next_time(now) == now + 300ms); // nothing waits
    tested.has_fetches = true;
    CHECK(tested.next_time(now) == now + 110ms);
    CHECK(tested.next_time(now + 110ms) == now + 210ms);
    CHECK(tested.next_time(now + 210ms) == now + 300ms);
    CHECK(!tested.next_time(now + 300ms));
}

} // namespace
} // namespace fetch_known_broker_tests
