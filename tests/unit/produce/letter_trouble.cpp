// SPDX-License-Identifier: MIT

#include <kgroup/detail/produce/letter_trouble.hpp>
#include <kgroup/kafka_errc.hpp>

#include <doctest/doctest.h>

#include <chrono>

using namespace std::chrono_literals;
using kgroup::event_kind;
using kgroup::kafka_errc;
using kgroup::producer_state;
using kgroup::detail::trouble_of;

namespace letter_trouble_tests {

TEST_CASE("letter_trouble: what lasts, or what the producer was told last while one waited") {
    producer_state state;
    state.at = std::chrono::system_clock::now();
    CHECK_FALSE(trouble_of(state, 10s).error);
    CHECK(trouble_of(state, 10s).text.empty());

    auto const denied = make_error_code(kafka_errc::topic_authorization_failed);
    state.last_error = denied;
    state.last_error_at = state.at - 9s;
    CHECK(trouble_of(state, 10s).error == denied);
    CHECK_FALSE(trouble_of(state, 8s).error); // of something before it

    state.conditions.push_back(
        {event_kind::dead_letter_held, kgroup::topic_partition{"t", 0}, denied, state.at, "held"});
    CHECK(trouble_of(state, 10s).text.empty()); // which says no more than that it waits
    state.conditions.push_back(
        {event_kind::brokers_unreachable, {}, {}, state.at - 1h, "none answers"});
    CHECK(trouble_of(state, 10s).text == "none answers");
    CHECK_FALSE(trouble_of(state, 10s).error);
}

} // namespace letter_trouble_tests
