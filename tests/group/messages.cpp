// SPDX-License-Identifier: MIT

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "support/scripted_group.hpp"

// What becomes of records whose messages are moved about, in a whole group.

namespace {

using namespace kgroup::tests;
using kgroup::claim;
using kgroup::event_kind;
using kgroup::message;
using kgroup::session;

TEST_CASE_FIXTURE(scripted_group, "a message that is swapped into a batch keeps its record, and "
                                  "the one that it was swapped for its own") {
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        auto kept = co_await claim.messages().async_receive();
        {
            auto const rest = co_await claim.messages().async_receive_available(512);
            CHECK(rest.size() == 1);
        }
        auto batch = co_await claim.messages().async_receive_available(512);
        CHECK(batch.size() == 3);
        std::swap(*kept, batch.back());
        CHECK(batch.back().value() == "a");
        batch = {};
        CHECK(kept->value() == "e");
        claim.mark(*kept);
        kept.reset();
        CHECK(cluster.records_held() == 0);
        co_await handler.mark_all(claim);
    };
    run();
    cluster.assign({t0});
    cluster.add_records(t0, "a", "b");
    settle();
    cluster.add_records(t0, "c", "d", "e");
    settle();
    stop();
    CHECK(cluster.committed(t0) == 5);
    CHECK(group->stats().late_messages == 0);
    CHECK(count(event_kind::message_released_twice) == 0);
}

TEST_CASE_FIXTURE(
    scripted_group,
    "a loop that moves all messages out of each batch takes nothing of the next one") {
    std::vector<message> pool;
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        kgroup::message_batch batch;
        do {
            batch = co_await claim.messages().async_receive_available(16);
            for (auto& worker : pool) {
                handler.note(worker);
                claim.mark(worker);
            }
            pool.clear();
            for (auto& message : batch) {
                pool.push_back(std::move(message));
            }
        } while (!batch.empty());
    };
    cluster.add_records(t0,
                        std::vector<fake_cluster::record>(500, fake_cluster::record{.value = "x"}));
    run_over({t0});
    stop();
    CHECK(handler.received.size() == 500);
    CHECK(cluster.committed(t0) == 500);
}

TEST_CASE_FIXTURE(scripted_group, "messages of two claims may change places") {
    std::vector<std::optional<kgroup::message_batch>> held(2);
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        auto& mine = held[static_cast<std::size_t>(claim.partition())];
        mine = co_await claim.messages().async_receive_available(8);
        if (held[0] && held[1]) {
            std::swap_ranges(held[0]->begin(), held[0]->end(), held[1]->begin());
            CHECK((*held[0])[1].topic() == "t");
            CHECK((*held[0])[1].partition() == 1);
            held[0].reset();
            CHECK((*held[1])[0].partition() == 0);
        }
        co_await handler.mark_all(claim);
    };
    cluster.add_records(t0, "a", "b");
    cluster.add_records(t1, "c", "d");
    run_over({t0, t1});
    REQUIRE(held[1]);
    CHECK(group->stats().marks_refused == 0);
    held[1].reset();
    CHECK(cluster.records_held() == 0);
    stop();
}

TEST_CASE_FIXTURE(
    scripted_group,
    "a message that is destroyed twice is told, with the way in which it usually comes") {
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        auto first = co_await claim.messages().async_receive();
        alignas(message) std::byte copy[sizeof(message)];
        std::memcpy(copy, static_cast<void const*>(&*first), sizeof copy);
        std::launder(reinterpret_cast<message*>(copy))->~message();
        claim.mark(*first);
        first.reset();
        co_await handler.mark_all(claim);
    };
    cluster.add_records(t0, "a", "b");
    run_over({t0});
    REQUIRE(count(event_kind::message_released_twice) == 1);
    CHECK(last(event_kind::message_released_twice).where == t0);
    CHECK(last(event_kind::message_released_twice).level == kgroup::severity::error);
    CHECK(last(event_kind::message_released_twice).text.find("co_await inside ?:, && or ||") !=
          std::string::npos);
    stop();
    CHECK(group->stats().late_messages == 0);
}

} // namespace
