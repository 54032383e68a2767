// SPDX-License-Identifier: MIT

#include <kgroup/detail/group/event_sink.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <exception>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

namespace event_sink_tests {
namespace {

using namespace std::chrono_literals;
using kgroup::event;
using kgroup::event_kind;
using kgroup::severity;
using kgroup::topic_partition;
using kgroup::detail::event_sink;

topic_partition const here{"t", 0};
auto const refused = std::make_error_code(std::errc::connection_refused);

struct scene {
    kgroup::detail::group_counters counters;
    std::vector<event> told;
    std::vector<std::exception_ptr> failures;
    bool throws = false;
    event_sink sink{[this](event const& event) {
                        if (throws) {
                            throw std::runtime_error{"the receiver"};
                        }
                        told.push_back(event);
                    },
                    "g", counters,
                    [this](std::exception_ptr failure) { failures.push_back(failure); }};

    void begin() {
        sink.report({event_kind::partition_error, severity::warning, here, refused, "away"});
    }
    void end() { sink.report({event_kind::partition_recovered, severity::info, here, {}, "back"}); }
    std::vector<event_kind> kinds() const {
        std::vector<event_kind> result;
        for (auto const& event : told) {
            result.push_back(event.kind);
        }
        return result;
    }
};

using kinds = std::vector<event_kind>;

TEST_CASE("event_sink: an end is told when its begin was, and once") {
    scene group;
    group.end();
    CHECK(group.told.empty());
    group.begin();
    CHECK(group.sink.lasts(event_kind::partition_error));
    CHECK(group.sink.lasting(event_kind::partition_error).size() == 1);
    group.end();
    group.end();
    CHECK(group.kinds() == kinds{event_kind::partition_error, event_kind::partition_recovered});
    CHECK_FALSE(group.sink.lasts(event_kind::partition_error));
}

TEST_CASE("event_sink: a text is one line, and does not repeat what the error says") {
    scene group;
    group.sink.report({event_kind::client_error, severity::error, here, refused,
                       "first\nsecond: " + refused.message()});
    REQUIRE(group.told.size() == 1);
    CHECK(group.told[0].text.find('\n') == std::string::npos);
    CHECK(group.told[0].text.find(refused.message()) == std::string::npos);
    CHECK(group.told[0].error == refused);
}

TEST_CASE("event_sink: what lasts for a partition ends when it is not owned any more") {
    scene group;
    group.begin();
    group.sink.end_all_of(here, "it is another member's");
    CHECK(group.kinds() == kinds{event_kind::partition_error, event_kind::partition_recovered});
    group.sink.end_all_of(here, "it is another member's");
    CHECK(group.told.size() == 2);
}

TEST_CASE("event_sink: what the receiver throws goes to the run, and later events are told") {
    scene group;
    group.throws = true;
    group.begin();
    CHECK(group.failures.size() == 1);
    group.throws = false;
    group.end();
    CHECK(group.kinds() == kinds{event_kind::partition_recovered});
}

TEST_CASE("event_sink: nothing is told behind its end") {
    scene group;
    group.begin();
    group.sink.close();
    group.end();
    group.sink.end_all_of(here, "the run is over");
    CHECK(group.sink.closed());
    CHECK(group.told.size() == 1);
}

} // namespace
} // namespace event_sink_tests
