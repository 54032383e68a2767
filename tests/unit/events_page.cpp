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

std::map<std::pair<kgroup::event_kind, std::optional<kgroup::topic_partition>>, std::string> lasting;

void on_event(kgroup::event const& e) {
    if (kgroup::ended_by(e.kind)) {
        lasting[{e.kind, e.where}] = e.text;
    } else if (auto const begin = kgroup::ends(e.kind)) {
        lasting.erase({*begin, e.where});
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

} // namespace events_page_tests
