// SPDX-License-Identifier: MIT

#include <kgroup/detail/group/claim_watchdog.hpp>

#include <asio/io_context.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <cstddef>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "support/failing_allocation.hpp"

using namespace std::chrono_literals;

namespace claim_watchdog_tests {

namespace {

using kgroup::event;
using kgroup::event_kind;
using kgroup::topic_partition;
using kgroup::detail::claim_task;
using kgroup::detail::claim_watchdog;
using kgroup::detail::clock;
using kgroup::detail::event_reporter;
using kgroup::detail::group_counters;
using kgroup::detail::partition_state;

topic_partition const t0{"t", 0};
topic_partition const t1{"t", 1};

// A queue of which only the length matters.
class measured_queue final : public kgroup::detail::record_source {
public:
    std::size_t length = 0;

    void drain(kgroup::detail::record_block&, std::size_t) noexcept override {}
    std::size_t waiting() const noexcept override { return length; }
    void close() noexcept override {}
    kgroup::detail::watermarks known_watermarks() const noexcept override { return {}; }
    void free_records(kgroup::detail::record*, std::size_t) noexcept override {}
    std::int64_t timestamp(void*) const noexcept override { return -1; }
    void headers(void*, header_sink const&) const override {}
};

class watched_claims {
public:
    asio::io_context context;
    group_counters counters;
    std::vector<event> told;
    int arrivals = 0;
    event_reporter reporter{[this](event const& reported) { told.push_back(reported); }, "",
                            counters, [](std::exception_ptr) {}};
    claim_watchdog watchdog{reporter, counters, [this] { ++arrivals; },
                            [](topic_partition const&) { return std::string{"heard"}; }};
    kgroup::detail::running_claims running;
    clock::time_point const start = clock::now();

    std::shared_ptr<measured_queue> add(topic_partition const& partition) {
        auto const state = std::make_shared<partition_state>(
            partition, context.get_executor(), kgroup::tracked_offset{},
            std::weak_ptr<kgroup::detail::claim_observer>{});
        auto const queue = std::make_shared<measured_queue>();
        state->start(queue, 0);
        running[partition] = std::make_shared<claim_task>(nullptr, nullptr, state, std::size_t{1},
                                                          [](claim_task&) {});
        return queue;
    }
    void look(clock::duration after) { watchdog.look(running, start + after, true); }
};

TEST_CASE_FIXTURE(watched_claims, "claim_watchdog: records that wait are told after half a minute, "
                                  "and when they do not any more") {
    auto const queue = add(t0);
    add(t1);
    queue->length = 3;
    look(0s);
    look(29s);
    CHECK(told.empty());
    look(31s);
    REQUIRE(told.size() == 1);
    CHECK(told[0].kind == event_kind::claim_stalled);
    CHECK(told[0].where == t0);
    queue->length = 0;
    look(32s);
    REQUIRE(told.size() == 2);
    CHECK(told[1].kind == event_kind::claim_resumed);
}

TEST_CASE_FIXTURE(watched_claims, "claim_watchdog: records after an outage are a broker's answer") {
    auto const queue = add(t0);
    watchdog.outage_began(running);
    look(1s);
    CHECK(arrivals == 0);
    queue->length = 1;
    look(2s);
    CHECK(arrivals == 1);
    look(3s);
    CHECK(arrivals == 1);
}

TEST_CASE_FIXTURE(watched_claims, "claim_watchdog: in an outage any claims are asked for, and a "
                                  "bounded number") {
    for (std::int32_t partition = 0; partition != 150; ++partition) {
        add({"t", partition});
    }
    CHECK(watchdog.claims_to_ask(running, start + 1s, true).size() == 100);
    CHECK(watchdog.claims_to_ask(running, start + 1s, false).empty()); // nobody waits for records
}

TEST_CASE_FIXTURE(watched_claims, "claim_watchdog: a partition that failed has recovered when its "
                                  "records come") {
    auto const queue = add(t0);
    std::error_code const leader_away{6, kgroup::kafka_category()};
    reporter.partition_error(t0, leader_away, "", false);
    watchdog.partition_failed(running, t0, leader_away, start);
    watchdog.partition_failed(running, t1, leader_away, start); // runs no more
    look(1s);
    CHECK(told.size() == 1);
    queue->length = 1;
    look(2s);
    REQUIRE(told.size() == 2);
    CHECK(told[1].kind == event_kind::partition_recovered);
}

TEST_CASE_FIXTURE(watched_claims, "claim_watchdog: a claim that was left is told each minute") {
    watchdog.claim_left(t0, start);
    CHECK(told.size() == 1);
    watchdog.look_at_left(start + 59s);
    CHECK(told.size() == 1);
    watchdog.look_at_left(start + 60s);
    watchdog.look_at_left(start + 61s);
    CHECK(told.size() == 2);
    watchdog.forget_left(t0);
    watchdog.look_at_left(start + 10min);
    CHECK(told.size() == 2);
}

TEST_CASE_FIXTURE(watched_claims, "claim_watchdog: a look at claims in health allocates nothing") {
    add(t0);
    add(t1);
    look(0s);
    auto const before = kgroup::tests::allocations();
    for (auto after = 1s; after != 100s; ++after) {
        look(after);
        watchdog.look_at_left(start + after);
        CHECK_FALSE(watchdog.tells_soon(running, start + after));
    }
    CHECK(kgroup::tests::allocations() == before);
}

} // namespace

} // namespace claim_watchdog_tests
