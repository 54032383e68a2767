// SPDX-License-Identifier: MIT

#include <kgroup/detail/fetch/fetch_turns.hpp>

#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <deque>
#include <map>
#include <vector>

#include "made_batch.hpp"

namespace fetch_turns_tests {
namespace {

using namespace kgroup::detail::fetch;
using namespace kgroup::tests;
using namespace std::chrono_literals;

struct scene {
    std::deque<partition_fetch> partitions;
    fetch_turns turns;
    std::vector<fetch_turns::turn> taken;
    time_point now{1h};

    partition_fetch& add(std::int32_t leader, std::int64_t start = 0) {
        auto& added = partitions.emplace_back(fetch_settings{});
        added.on_metadata(leader, 5, topic_uuid{1});
        added.start(start);
        turns.add(added);
        return added;
    }
    /// The numbers of those in the next request.
    std::vector<std::size_t> takes(std::int32_t broker) {
        turns.take_fetches(broker, now, {}, taken);
        return numbers();
    }
    std::vector<std::size_t> numbers() const {
        std::vector<std::size_t> result;
        for (auto const& turn : taken) {
            for (std::size_t i = 0; i != partitions.size(); ++i) {
                if (&partitions[i] == turn.partition) {
                    result.push_back(i);
                }
            }
        }
        return result;
    }
    /// Answers with one record for these, and with nothing for the others.
    void answer(std::size_t with_records) {
        auto const asked = taken;
        for (auto const& turn : asked) {
            fetch_answer::partition brought;
            auto const bytes =
                with_records == 0 ? "" : plain_batch(turn.question.offset, 1).bytes();
            brought.high_watermark = 1'000'000;
            brought.records = bytes;
            auto const reaction = turn.partition->on_fetched(
                turn.question.generation, brought,
                scan_batches(bytes, turn.question.offset, brought.high_watermark), now);
            if (reaction.take) {
                turns.served(*turn.partition);
            }
            with_records -= with_records != 0;
        }
    }
};

using numbers = std::vector<std::size_t>;

TEST_CASE("a request has all partitions of its broker, and each once") {
    scene on;
    on.add(1);
    on.add(2);
    on.add(1);
    CHECK(on.takes(1) == numbers{0, 2});
    CHECK(on.takes(1).empty()); // they are under way
    CHECK(on.takes(2) == numbers{1});
    CHECK(on.takes(3).empty());
}

TEST_CASE("who got records goes to the end: twelve partitions progress where three fit") {
    scene on;
    for (int i = 0; i != 12; ++i) {
        on.add(1);
    }
    for (int round = 0; round != 40; ++round) {
        CHECK(on.takes(1).size() == 12);
        on.answer(3);
    }
    for (auto const& partition : on.partitions) {
        CHECK(partition.position() == 10);
    }
}

TEST_CASE("one that is asked about alone has a request of its own, before the others") {
    scene on;
    on.add(1);
    auto& damaged = on.add(1);
    on.add(1);
    CHECK(on.takes(1) == numbers{0, 1, 2});
    on.answer(3);
    damaged.on_damaged(damaged.generation(), 0, damage::checksum, on.now);
    CHECK(on.takes(1) == numbers{0, 2});
    on.answer(0);
    on.now += 100ms;
    CHECK(on.takes(1) == numbers{1});
    CHECK(on.takes(1) == numbers{0, 2}); // a second connection may have these
}

TEST_CASE(
    "partitions that need another question first are not fetched, and are asked it together") {
    scene on;
    on.add(1);
    on.add(1, partition_fetch::earliest);
    on.add(1, partition_fetch::latest);
    CHECK(on.takes(1) == numbers{0});
    on.turns.take_others(api::leader_epoch, 1, on.now, {}, on.taken);
    CHECK(on.taken.empty());
    on.turns.take_others(api::list_offsets, 1, on.now, {}, on.taken);
    CHECK(on.numbers() == numbers{1, 2});
    on.turns.take_others(api::list_offsets, 1, on.now, {}, on.taken);
    CHECK(on.taken.empty());
}

TEST_CASE("a broker waits as configured, but not past the time that another may be asked about") {
    scene on;
    on.add(1);
    auto& second = on.add(1);
    on.takes(1);
    CHECK(on.turns.max_wait(1, on.now, 500ms) == 500ms);
    CHECK(on.turns.next_time(on.now) == std::nullopt);
    on.answer(2);
    second.want(false); // full: it may have room at any time
    on.takes(1);
    CHECK(on.turns.max_wait(1, on.now, 500ms) == 50ms);
    CHECK(on.turns.max_wait(1, on.now, 20ms) == 20ms);
    CHECK(on.turns.max_wait(2, on.now, 500ms) == 500ms);
    on.answer(1);
    second.want(true);
    on.takes(1);
    second.on_lost(second.generation(), on.now); // held back for 100 ms
    CHECK(on.turns.max_wait(1, on.now, 500ms) == 100ms);
    CHECK(on.turns.next_time(on.now) == on.now + 100ms);
    second.stop();
    CHECK(on.turns.max_wait(1, on.now, 500ms) == 500ms);
    CHECK(on.turns.next_time(on.now) == std::nullopt);
}

/// Plays a minute: each request is answered as late as it allows if there is nothing to bring.
std::size_t requests_in_a_minute(scene& on) {
    std::size_t requests = 0;
    auto const end = on.now + 60s;
    while (on.now < end) {
        on.turns.take_fetches(1, on.now, {}, on.taken);
        if (on.taken.empty()) {
            on.now += 1ms;
            continue;
        }
        ++requests;
        on.now += on.turns.max_wait(1, on.now, 500ms);
        on.answer(0);
    }
    return requests;
}

TEST_CASE("how many requests there are: idle, with one claim full, and with errors") {
    scene on;
    for (int i = 0; i != 6; ++i) {
        on.add(1);
    }
    SUBCASE("all idle") { CHECK(requests_in_a_minute(on) == 120); }
    SUBCASE("one claim is full") {
        on.partitions[3].want(false);
        CHECK(requests_in_a_minute(on) <= 20 * 60);
    }
    SUBCASE("one partition has an error, at which brokers answer at once") {
        std::size_t requests = 0;
        auto const end = on.now + 60s;
        while (on.now < end) {
            on.turns.take_fetches(1, on.now, {}, on.taken);
            ++requests;
            auto const wait = on.turns.max_wait(1, on.now, 500ms);
            bool failed = false;
            for (auto const& turn : on.taken) {
                if (turn.partition == &on.partitions[3]) {
                    fetch_answer::partition brought;
                    brought.error = 6;
                    turn.partition->on_fetched(turn.question.generation, brought, {}, on.now);
                    failed = true;
                }
            }
            on.now += failed ? 1ms : wait;
            on.answer(0);
        }
        CHECK(requests <= 60 * 4 + 20); // a poll as long as configured, beside one a second
    }
}

TEST_CASE("a partition that is removed is not asked about any more") {
    scene on;
    auto& first = on.add(1);
    on.add(1);
    on.turns.remove(first);
    CHECK(on.takes(1) == numbers{1});
    on.turns.served(first); // not there: nothing happens
}

} // namespace
} // namespace fetch_turns_tests
