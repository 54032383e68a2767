// SPDX-License-Identifier: MIT

#include <kgroup/detail/rdkafka/event_inbox.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <utility>
#include <variant>

#include "support/failing_allocation.hpp"

namespace event_inbox_tests {

namespace {

using kgroup::detail::client_commit;
using kgroup::detail::client_token_wanted;
using kgroup::detail::event_inbox;

client_commit commit(std::uint64_t id) { return {id, {}, {}}; }

TEST_CASE("event_inbox: events come in order, and each is told") {
    int told = 0;
    event_inbox inbox{[&] { ++told; }};
    CHECK_FALSE(inbox.take());
    inbox.add(commit(1));
    inbox.add(client_token_wanted{});
    CHECK(told == 2);
    CHECK(std::get<client_commit>(inbox.take().value()).id == 1);
    CHECK(std::holds_alternative<client_token_wanted>(inbox.take().value()));
    CHECK_FALSE(inbox.take());
}

TEST_CASE("event_inbox: a prepared event needs no memory") {
    event_inbox inbox;
    auto event = kgroup::detail::prepare(commit(3));
    {
        kgroup::tests::failing_allocation const failing{1};
        inbox.add(std::move(event));
        CHECK_FALSE(failing.has_failed());
    }
    CHECK(std::get<client_commit>(inbox.take().value()).id == 3);
}

TEST_CASE("event_inbox: stopped, it tells nobody any more") {
    int told = 0;
    event_inbox inbox{[&] { ++told; }};
    inbox.stop();
    inbox.add(commit(1));
    inbox.notify();
    CHECK(told == 0);
    CHECK(inbox.take());
}

} // namespace

} // namespace event_inbox_tests
