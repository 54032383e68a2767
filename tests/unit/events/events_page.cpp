// SPDX-License-Identifier: MIT

// What docs/events.md shows: a health check that keeps what lasts.

#include <kgroup/event.hpp>
#include <kgroup/topic_partition.hpp>

#include <doctest/doctest.h>

#include <map>
#include <optional>
#include <string>
#include <utility>

namespace events_page_tests {

namespace {

std::map<std::pair<kgroup::event_kind, std::optional<kgroup::topic_partition>>, std::string>
    lasting;

void on_event(kgroup::event const& e) {
    if (kgroup::ended_by(e.kind)) {
        lasting[{e.kind, e.where}] = e.text;
    } else if (auto const begin = kgroup::ends(e.kind)) {
        std::erase_if(
            lasting, [&](auto const& known) { // an end without a place ends all of its kind
                return known.first.first == *begin && (!e.where || known.first.second == e.where);
            });
    } else if (e.kind == kgroup::event_kind::run_restarted) {
        lasting.clear(); // of a run that is over; consumer_app goes on with another
    }
}

} // namespace

TEST_CASE("events page: a condition lasts from its begin to its end") {
    kgroup::topic_partition const where{"t", 0};
    on_event({kgroup::event_kind::claim_stalled, kgroup::severity::warning, where, {}, "stalled"});
    on_event({kgroup::event_kind::session_started, kgroup::severity::info});
    REQUIRE(lasting.size() == 1);
    CHECK(lasting.begin()->second == "stalled");
    on_event({kgroup::event_kind::claim_resumed, kgroup::severity::info, where});
    CHECK(lasting.empty());
}

TEST_CASE("events page: commits fail as a whole, whichever partition is named") {
    on_event({kgroup::event_kind::commit_failed, kgroup::severity::warning,
              kgroup::topic_partition{"t", 0}});
    on_event({kgroup::event_kind::commit_failed, kgroup::severity::warning,
              kgroup::topic_partition{"t", 1}});
    on_event({kgroup::event_kind::commit_recovered, kgroup::severity::info});
    CHECK(lasting.empty());
}

TEST_CASE("events page: nothing lasts longer than its run") {
    on_event({kgroup::event_kind::brokers_unreachable, kgroup::severity::error});
    on_event({kgroup::event_kind::run_restarted, kgroup::severity::warning});
    CHECK(lasting.empty());
}

} // namespace events_page_tests
