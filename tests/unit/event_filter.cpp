#include <kgroup/detail/event_filter.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <set>
#include <string>

using namespace std::chrono_literals;
using kgroup::event;
using kgroup::event_kind;
using kgroup::severity;
using kgroup::topic_partition;
using kgroup::detail::event_filter;

namespace {

constexpr auto first_moment = kgroup::detail::clock::time_point{} + 1h;

event commit_failed(std::int32_t partition, std::errc why = std::errc::timed_out) {
    return {event_kind::commit_failed, severity::warning, topic_partition{"orders", partition}, std::make_error_code(why), "said differently"};
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
    for (auto const kind : {event_kind::session_started, event_kind::session_ended, event_kind::claims_added, event_kind::claims_revoked,
                            event_kind::claims_lost, event_kind::handler_failed, event_kind::handler_abandoned}) {
        for (int i = 0; i != 3; ++i) {
            event each{kind, severity::info};
            CHECK(filter.passes(each, first_moment));
        }
    }
}

TEST_CASE("event_filter: a flood of different events does not grow it without bound, and each of them passes") {
    event_filter filter;
    for (int i = 0; i != 5000; ++i) {
        auto each = log_line(std::to_string(i));
        CHECK(filter.passes(each, first_moment));
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
