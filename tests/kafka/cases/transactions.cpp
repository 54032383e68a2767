// SPDX-License-Identifier: MIT

#include <kgroup/error.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "kafka.hpp"
#include "member.hpp"
#include "transactional_producer.hpp"

// Logs of transactional producers: what is in them beside the records that are delivered. Of a real
// Kafka; the embedded cluster has none.

using namespace kgroup::tests;

namespace {

/// Knows the lag of partition 0 at any time, and marks everything.
struct watched {
    received records;
    std::mutex mutex;
    kgroup::claim* claim = nullptr;

    std::int64_t lag() {
        std::lock_guard const lock{mutex};
        return claim ? claim->lag() : -1;
    }
    void set(kgroup::claim* now) {
        std::lock_guard const lock{mutex};
        claim = now;
    }
    hooks handler() {
        return {.consume_claim = [this](auto&, kgroup::claim& given) -> asio::awaitable<void> {
            set(&given);
            while (auto const next = co_await given.messages().async_receive()) {
                records.add(*next);
                given.mark(*next);
            }
            set(nullptr);
        }};
    }
};

} // namespace

TEST_CASE("transactions: at the end of the log the lag is 0, and what is committed stands behind "
          "what was aborted") {
    if (!kafka::is_there()) {
        return;
    }
    kafka brokers{kafka::kind::real};
    auto const topic = brokers.create_topic();
    transactional_producer writer{brokers.brokers()};
    writer.write(topic, 10, true);
    writer.write(topic, 2000, false);
    std::int64_t const end = 2012;
    REQUIRE(eventually([&] {
        return brokers.log_end(topic, 0) == end;
    })); // a marker is written after its transaction has ended
    auto const given = brokers.member_of_new_group(topic);
    watched seen;
    member one{given, seen.handler()};
    REQUIRE(eventually([&] { return seen.records.count() == 10; }));
    CHECK(eventually([&] { return seen.lag() == 0; }, 10s));
    CHECK(eventually([&] { return brokers.committed(given.group_id, topic, 0) == end; }, 10s));
    // Only markers come, one by one, while it waits.
    writer.write(topic, 5, false);
    CHECK(eventually([&] { return brokers.committed(given.group_id, topic, 0) == end + 6; }, 10s));
    CHECK(seen.lag() == 0);
    writer.write(topic, 1, true);
    REQUIRE(eventually([&] { return seen.records.count() == 11; }));
    CHECK(eventually([&] { return seen.lag() == 0; }, 10s));
    one.stop();
    REQUIRE(one.ends_within(20s));
    CHECK(brokers.committed(given.group_id, topic, 0) == end + 8);
    CHECK(one.count(kgroup::event_kind::position_reset) == 0);
}

TEST_CASE("transactions: with latest, a group that was given nothing but markers starts behind "
          "them next time") {
    if (!kafka::is_there()) {
        return;
    }
    kafka brokers{kafka::kind::real};
    auto const topic = brokers.create_topic();
    transactional_producer writer{brokers.brokers()};
    auto given = brokers.member_of_new_group(topic);
    given.initial_offset = kgroup::offset_reset::latest;
    {
        watched seen;
        member one{given, seen.handler()};
        REQUIRE(eventually([&] { return seen.lag() == 0 || one.claims() == 1; }));
        REQUIRE(eventually([&] { return brokers.committed(given.group_id, topic, 0) == 0; }));
        writer.write(topic, 100, false);
        CHECK(eventually([&] { return brokers.committed(given.group_id, topic, 0) == 101; }, 10s));
    }
    brokers.delete_records(topic, 0, 101);
    brokers.produce_values(topic, 0, {"not skipped"});
    watched seen;
    member two{given, seen.handler()};
    CHECK(eventually([&] { return seen.records.count() == 1; }));
    CHECK(two.count(kgroup::event_kind::position_reset) == 0);
}

TEST_CASE("transactions: who reads uncommitted records is given them all, and goes on behind the "
          "markers") {
    if (!kafka::is_there()) {
        return;
    }
    kafka brokers{kafka::kind::real};
    auto const topic = brokers.create_topic();
    transactional_producer writer{brokers.brokers()};
    writer.write(topic, 10, false);
    writer.write(topic, 10, true);
    auto given = brokers.member_of_new_group(topic);
    given.properties["isolation.level"] = "read_uncommitted";
    watched seen;
    member one{given, seen.handler()};
    REQUIRE(eventually([&] { return seen.records.count() == 20; }));
    CHECK(eventually([&] { return seen.lag() == 0; }, 10s));
    CHECK(eventually([&] { return brokers.committed(given.group_id, topic, 0) == 22; }, 10s));
}

TEST_CASE(
    "transactions: acknowledged out of order, the commit goes behind the markers when all are") {
    if (!kafka::is_there()) {
        return;
    }
    kafka brokers{kafka::kind::real};
    auto const topic = brokers.create_topic();
    transactional_producer writer{brokers.brokers()};
    writer.write(topic, 10, true);
    writer.write(topic, 3, false);
    auto const given = brokers.member_of_new_group(topic);
    std::atomic<bool> all_but_one{false};
    std::atomic<bool> go_on{false};
    member one{given, {.consume_claim = [&](auto&, kgroup::claim& claim) -> asio::awaitable<void> {
                   std::vector<kgroup::message> held;
                   while (held.size() != 10) {
                       auto next = co_await claim.messages().async_receive();
                       held.push_back(std::move(next.value()));
                   }
                   for (std::size_t i = 10; i-- != 0;) {
                       if (i != 4) {
                           claim.ack(held[i]);
                       }
                   }
                   static_cast<void>(
                       co_await claim.messages().async_receive_for(200ms)); // it comes to the end
                   all_but_one = true;
                   while (!go_on) {
                       co_await pause_for(10ms);
                   }
                   claim.ack(held[4]);
                   held.clear();
                   co_await claim.messages().async_receive();
               }}};
    REQUIRE(eventually([&] { return all_but_one.load(); }));
    CHECK(eventually([&] { return brokers.committed(given.group_id, topic, 0) == 4; }, 10s));
    go_on = true;
    CHECK(eventually([&] { return brokers.committed(given.group_id, topic, 0) == 15; }, 10s));
}

TEST_CASE("transactions: one that is open holds the position, and its end releases it") {
    if (!kafka::is_there()) {
        return;
    }
    kafka brokers{kafka::kind::real};
    auto const topic = brokers.create_topic();
    transactional_producer open{brokers.brokers()};
    brokers.produce_values(topic, 0, {"before"});
    open.begin();
    open.produce(topic, 0, 5);
    brokers.produce_values(topic, 0, {"behind"});
    auto const given = brokers.member_of_new_group(topic);
    watched seen;
    member one{given, seen.handler()};
    REQUIRE(eventually([&] { return brokers.committed(given.group_id, topic, 0) == 1; }));
    CHECK(seen.records.count() == 1);
    open.abort();
    REQUIRE(eventually([&] { return seen.records.count() == 2; }));
    CHECK(seen.records.offsets(0) == std::vector<std::int64_t>{0, 6});
    CHECK(eventually([&] { return seen.lag() == 0; }, 10s));
    CHECK(eventually([&] { return brokers.committed(given.group_id, topic, 0) == 8; }, 10s));
}
