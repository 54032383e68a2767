// SPDX-License-Identifier: MIT

#include <kgroup/detail/events/event_filter.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <set>
#include <string>

using namespace std::chrono_literals;
using kgroup::event;
using kgroup::event_kind;
using kgroup::severity;
using kgroup::topic_partition;
using kgroup::detail::event_filter;

namespace event_filter_tests {

namespace {

constexpr auto first_moment = kgroup::detail::clock::time_point{} + 1h;

event commit_failed(std::int32_t partition, std::errc why = std::errc::timed_out) {
    return {event_kind::commit_failed, severity::warning, topic_partition{"orders", partition},
            std::make_error_code(why), "said differently"};
}

event log_line(std::string text) {
    return {event_kind::client_log, severity::info, std::nullopt, {}, std::move(text)};
}

} // namespace

TEST_CASE("event_filter: the same event passes once in ten seconds, and tells how many did not") {
    event_filter filter;
    auto first = commit_failed(0);
    CHECK(filter.passes(first, first_moment));
    CHECK(first.suppressed == 0);
    for (int i = 1; i != 100; ++i) {
        auto again = commit_failed(0);
        CHECK_FALSE(filter.passes(again, first_moment + i * 100ms));
    }
    auto later = commit_failed(0);
    CHECK(filter.passes(later, first_moment + 10s));
    CHECK(later.suppressed == 99);
    auto last = commit_failed(0);
    CHECK(filter.passes(last, first_moment + 20s));
    CHECK(last.suppressed == 0);
}

TEST_CASE("event_filter: kind, place and cause tell events apart, the text does not") {
    event_filter filter;
    auto here = commit_failed(0);
    auto there = commit_failed(1);
    auto otherwise = commit_failed(0, std::errc::connection_reset);
    auto mark = commit_failed(0);
    mark.kind = event_kind::mark_refused;
    auto reworded = commit_failed(0);
    reworded.text = "in other words";
    CHECK(filter.passes(here, first_moment));
    CHECK(filter.passes(there, first_moment));
    CHECK(filter.passes(otherwise, first_moment));
    CHECK(filter.passes(mark, first_moment));
    CHECK_FALSE(filter.passes(reworded, first_moment));
}

TEST_CASE("event_filter: lines of a log and missing topics are told apart by their text") {
    event_filter filter;
    auto one = log_line("one");
    auto another = log_line("another");
    auto one_again = log_line("one");
    CHECK(filter.passes(one, first_moment));
    CHECK(filter.passes(another, first_moment));
    CHECK_FALSE(filter.passes(one_again, first_moment + 9s));
}

TEST_CASE("event_filter: what happens to claims and sessions always passes") {
    event_filter filter;
    for (auto const kind :
         {event_kind::session_started, event_kind::session_ended, event_kind::claims_added,
          event_kind::claims_revoked, event_kind::claims_lost, event_kind::handler_failed,
          event_kind::handler_abandoned}) {
        for (int i = 0; i != 3; ++i) {
            event event{kind, severity::info};
            CHECK(filter.passes(event, first_moment));
        }
    }
}

TEST_CASE("event_filter: the limit holds for any number of places, and every event that did not "
          "pass is counted in one that did") {
    for (auto const places : {900, 1001, 10'000, 25'000}) {
        CAPTURE(places);
        event_filter filter;
        auto passed = 0;
        auto dropped = std::uint64_t{0};
        auto told = std::uint64_t{0};
        auto const tell = [&](std::int32_t partition, kgroup::detail::clock::time_point when) {
            auto failure = commit_failed(partition);
            if (filter.passes(failure, when)) {
                ++passed;
                told += failure.suppressed;
            } else {
                ++dropped;
            }
        };
        for (int round = 0; round != 10; ++round) {
            for (auto partition = 0; partition != places; ++partition) {
                tell(partition, first_moment + round * 100ms);
            }
        }
        auto const expected = std::min(places, static_cast<int>(event_filter::capacity));
        CHECK(passed >= expected);
        CHECK(passed <= expected + 1); // all that found no room are one
        CHECK(filter.size() <= event_filter::capacity);
        for (auto partition = 0; partition != places; ++partition) {
            tell(partition, first_moment + 11s);
        }
        tell(0, first_moment + 22s);
        tell(places,
             first_moment + 22s); // takes over what was counted of places that are forgotten
        tell(places, first_moment + 33s);
        CHECK(dropped != 0);
        CHECK(told <= dropped);
        CHECK(told + static_cast<std::uint64_t>(std::max(places - expected, 0)) >= dropped);
    }
}

TEST_CASE("event_filter: what is forgotten keeps its count") {
    event_filter filter;
    auto const capacity = static_cast<std::int32_t>(event_filter::capacity);
    for (int times = 0; times != 6; ++times) {
        auto failure = commit_failed(-2);
        filter.passes(failure, first_moment);
    }
    for (std::int32_t partition = 0; partition != capacity - 1; ++partition) {
        auto failure = commit_failed(partition);
        filter.passes(failure, first_moment + 1s);
    }
    CHECK(filter.size() == event_filter::capacity);
    auto other = commit_failed(capacity, std::errc::connection_reset);
    CHECK(filter.passes(other, first_moment + 10s)); // in the place of the oldest
    CHECK(other.suppressed == 0);                    // another cause
    auto next = commit_failed(capacity);
    CHECK(filter.passes(next, first_moment + 12s));
    CHECK(next.suppressed == 5);
    CHECK(filter.size() == event_filter::capacity);
}

TEST_CASE("event_filter: brokers are told apart by the name that the text begins with") {
    event_filter filter;
    auto const refused = [](std::string text) {
        return event{event_kind::client_error, severity::warning, std::nullopt,
                     std::make_error_code(std::errc::connection_refused), std::move(text)};
    };
    auto one = refused("10.0.0.1:9092/1: Connect to ipv4#10.0.0.1:9092 failed: Connection refused "
                       "(after 0ms in state CONNECT)");
    auto two = refused("10.0.0.2:9092/2: Connect to ipv4#10.0.0.2:9092 failed: Connection refused "
                       "(after 0ms in state CONNECT)");
    auto six = refused("[::1]:9092/3: Connect to ipv6#[::1]:9092 failed: Connection refused (after "
                       "0ms in state CONNECT)");
    auto one_later = refused("10.0.0.1:9092/1: Connect to ipv4#10.0.0.1:9092 failed: Connection "
                             "refused (after 17ms in state CONNECT)");
    CHECK(filter.passes(one, first_moment));
    CHECK(filter.passes(two, first_moment));
    CHECK(filter.passes(six, first_moment));
    CHECK_FALSE(filter.passes(one_later, first_moment + 9s));
}

TEST_CASE("event_filter: equal numbers of different categories are different causes") {
    event_filter filter;
    auto one = commit_failed(0);
    one.error = {5, std::generic_category()};
    auto another = commit_failed(0);
    another.error = {5, std::system_category()};
    CHECK(filter.passes(one, first_moment));
    CHECK(filter.passes(another, first_moment));
}

TEST_CASE("event_filter: the debug log passes whole") {
    event_filter filter;
    for (int i = 0; i != 100; ++i) {
        auto line = log_line("HEARTBEAT: sent");
        line.level = severity::debug;
        CHECK(filter.passes(line, first_moment));
    }
}

TEST_CASE("event: kinds have names, each its own") {
    std::set<std::string_view> names;
    auto const last = static_cast<int>(event_kind::client_log);
    for (int kind = 0; kind <= last; ++kind) {
        names.insert(to_string(static_cast<event_kind>(kind)));
    }
    CHECK(names.size() == static_cast<std::size_t>(last) + 1);
    CHECK_FALSE(names.contains("unknown"));
    CHECK(to_string(static_cast<event_kind>(last + 1)) == "unknown");
}

TEST_CASE("event: each condition that begins has an end of its own, and the other way round") {
    static_assert(kgroup::ended_by(event_kind::brokers_unreachable) ==
                  event_kind::brokers_reachable);
    static_assert(kgroup::ends(event_kind::brokers_reachable) == event_kind::brokers_unreachable);
    std::set<event_kind> ends;
    for (int number = 0; number <= static_cast<int>(event_kind::client_log); ++number) {
        auto const kind = static_cast<event_kind>(number);
        auto const end = kgroup::ended_by(kind);
        if (!end) {
            continue;
        }
        CAPTURE(to_string(kind));
        CHECK(ends.insert(*end).second);
        CHECK(kgroup::ends(*end) == kind);
        CHECK_FALSE(kgroup::ended_by(*end));
        CHECK_FALSE(kgroup::ends(kind));
    }
    CHECK(ends.size() == 14);
    CHECK_FALSE(kgroup::ended_by(event_kind::position_reset));
    CHECK_FALSE(kgroup::ends(event_kind::position_reset));
}

} // namespace event_filter_tests
