// SPDX-License-Identifier: MIT

#include <kgroup/error.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "kafka.hpp"
#include "member.hpp"

using namespace kgroup::tests;
using kgroup::assignor;
using kgroup::event_kind;

namespace {

/// Notes who the member is in each of its sessions, and marks everything.
struct biography {
    std::mutex mutex;
    std::vector<std::string> ids;
    std::vector<std::int32_t> generations;
    received records;

    hooks handler() {
        auto noting = receive_into(records);
        noting.setup = [this](kgroup::session& session) -> asio::awaitable<void> {
            std::lock_guard const lock{mutex};
            ids.push_back(session.member_id());
            generations.push_back(session.generation_id());
            co_return;
        };
        return noting;
    }
    std::size_t sessions() {
        std::lock_guard const lock{mutex};
        return ids.size();
    }
};

void fill_evenly(kafka& brokers, std::string const& topic, std::int32_t partitions, int records) {
    for (std::int32_t partition = 0; partition != partitions; ++partition) {
        brokers.produce_values(
            topic, partition,
            std::vector<std::string>(static_cast<std::size_t>(records), "record"));
    }
}

/// A second member joins, both have their part and all is handled; it leaves, and the first has
/// everything again.
void join_and_leave(kafka& brokers, std::vector<assignor> const& assignors,
                    bool first_keeps_its_session) {
    auto const topic = brokers.create_topic(4);
    fill_evenly(brokers, topic, 4, 100);
    auto given = brokers.member_of_new_group(topic);
    given.assignors = assignors;
    given.auto_commit_interval = 50ms;
    biography first;
    biography second;
    member one{given, first.handler()};
    REQUIRE(eventually([&] { return first.records.count() == 400; }));
    CHECK(first.ids.front() != "");
    CHECK(first.generations.front() >= 1);
    {
        member other{given, second.handler()};
        REQUIRE(eventually([&] { return one.claims() == 2 && other.claims() == 2; }));
        fill_evenly(brokers, topic, 4, 100);
        REQUIRE(eventually([&] { return first.records.count() + second.records.count() >= 800; }));
        CHECK(second.records.partitions().size() == 2);
        if (brokers.is_real()) { // the embedded one refuses the commits of a rebalance
            CHECK(first.records.count() + second.records.count() == 800);
            CHECK(first.records.count() == 600);
        }
        other.stop();
        REQUIRE(other.ends_within(20s));
        CHECK_MESSAGE(!other.error(), other.what());
    }
    REQUIRE(eventually([&] { return one.claims() == 4; }));
    CHECK((first.sessions() == 1) == first_keeps_its_session);
    fill_evenly(brokers, topic, 4, 10);
    REQUIRE(eventually([&] { return first.records.count() + second.records.count() >= 840; }));
    auto const all_committed = [&] {
        auto result = true;
        for (std::int32_t partition = 0; partition != 4; ++partition) {
            result = result && brokers.committed(given.group_id, topic, partition) == 210;
        }
        return result;
    };
    if (!brokers.is_real()) { // some of those that came were repeated
        REQUIRE(eventually(all_committed));
    }
    one.stop();
    REQUIRE(one.ends_within(20s));
    CHECK_MESSAGE(!one.error(), one.what());
    CHECK(all_committed());
    CHECK(one.count(event_kind::claims_lost) == 0);
    CHECK(one.stats().marks_refused == 0);
    CHECK(one.stats().wakeups_healed == 0);
}

} // namespace

TEST_CASE("membership: a second member joins and leaves, eager") {
    kafka brokers;
    join_and_leave(brokers, {assignor::range}, false);
}

TEST_CASE("membership: a second member joins and leaves, cooperative") {
    if (rd_kafka_version() < 0x020a0000) {
        return skip("cooperative_sticky needs librdkafka 2.10");
    }
    kafka brokers;
    join_and_leave(brokers, {assignor::cooperative_sticky}, true);
}

TEST_CASE("membership: a second member joins and leaves, divided by the broker") {
    if (rd_kafka_version() < 0x020c0000) {
        return skip("group_protocol::consumer needs librdkafka 2.12");
    }
    if (!kafka::is_there()) {
        return;
    }
    kafka brokers{kafka::kind::real};
    auto const topic = brokers.create_topic(4);
    fill_evenly(brokers, topic, 4, 100);
    auto given = brokers.member_of_new_group(topic);
    given.protocol = kgroup::group_protocol::consumer;
    given.properties.clear();
    biography first;
    biography second;
    member one{given, first.handler()};
    REQUIRE(eventually([&] { return first.records.count() == 400; }));
    member other{given, second.handler()};
    REQUIRE(eventually([&] { return one.claims() == 2 && other.claims() == 2; }, 60s));
    fill_evenly(brokers, topic, 4, 100);
    REQUIRE(eventually([&] { return first.records.count() + second.records.count() >= 800; }));
    CHECK(first.sessions() == 1);
    other.stop();
    REQUIRE(other.ends_within(20s));
    REQUIRE(eventually([&] { return one.claims() == 4; }, 60s));
    one.stop();
    REQUIRE(one.ends_within(20s));
    CHECK_MESSAGE(!one.error(), one.what());
}

TEST_CASE("membership: kept on an idle topic beyond max.poll.interval.ms") {
    kafka brokers;
    auto const topic = brokers.create_topic(2);
    auto given = brokers.member_of_new_group(topic);
    given.properties = {{"session.timeout.ms", "4000"},
                        {"max.poll.interval.ms", "4000"},
                        {"heartbeat.interval.ms", "500"}};
    biography biography;
    member one{given, biography.handler()};
    REQUIRE(eventually([&] { return one.claims() == 2; }));
    CHECK_FALSE(one.ends_within(9s));
    brokers.produce_values(topic, 0, {"after a while"});
    CHECK(eventually([&] { return biography.records.count() == 1; }, 2s));
    CHECK(one.count(event_kind::claims_lost) == 0);
    CHECK(one.count(event_kind::poll_interval_exceeded) == 0);
    CHECK(biography.sessions() == 1);
}

TEST_CASE(
    "membership: a static member whose instance id is taken over ends with the code of that") {
    if (!kafka::is_there()) {
        return;
    }
    kafka brokers{kafka::kind::real};
    auto const topic = brokers.create_topic(2);
    auto given = brokers.member_of_new_group(topic);
    given.group_instance_id = "host-1";
    received before;
    received after;
    member one{given, receive_into(before)};
    REQUIRE(eventually([&] { return one.claims() == 2; }));
    member usurper{given, receive_into(after)};
    REQUIRE(one.ends_within(30s));
    CHECK(one.error() == kgroup::make_error_code(RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID));
    CHECK(kgroup::is_fatal(one.error()));
    REQUIRE(eventually([&] { return usurper.claims() == 2; }));
    brokers.produce_values(topic, 0, {"to the new one"});
    CHECK(eventually([&] { return after.count() == 1; }));
    CHECK(before.count() == 0);
}

TEST_CASE("membership: a static member that is back within the session finds its partitions, and "
          "nobody rebalances") {
    if (!kafka::is_there()) {
        return;
    }
    kafka brokers{kafka::kind::real};
    auto const topic = brokers.create_topic(4);
    auto given = brokers.member_of_new_group(topic);
    given.assignors = {assignor::range};
    biography stays;
    member other{given, stays.handler()};
    REQUIRE(eventually([&] { return other.claims() == 4; }));
    given.group_instance_id = "host-1";
    std::set<std::int32_t> had;
    auto const fill_and_see = [&](received const& record) {
        fill_evenly(brokers, topic, 4, 1);
        REQUIRE(eventually([&] { return record.count() >= 2; }));
        return record.partitions();
    };
    {
        received records;
        member leaves{given, receive_into(records)};
        REQUIRE(eventually([&] { return leaves.claims() == 2 && other.claims() == 2; }));
        had = fill_and_see(records);
    }
    auto const sessions = stays.sessions();
    received records;
    member back{given, receive_into(records)};
    REQUIRE(eventually([&] { return back.claims() == 2; }));
    CHECK(fill_and_see(records) == had);
    CHECK(stays.sessions() == sessions);
}

TEST_CASE(
    "membership: a position that the log no longer holds: earliest and latest go on, none ends") {
    if (!kafka::is_there()) {
        return;
    }
    kafka brokers{kafka::kind::real};
    for (auto const reset : {kgroup::offset_reset::earliest, kgroup::offset_reset::latest,
                             kgroup::offset_reset::none}) {
        CAPTURE(static_cast<int>(reset));
        auto const topic = brokers.create_topic();
        brokers.produce_values(topic, 0, std::vector<std::string>(10, "old"));
        auto given = brokers.member_of_new_group(topic);
        {
            // Commits 3 and leaves.
            member first{given, {.consume_claim = [](auto&, auto& claim) -> asio::awaitable<void> {
                             for (int i = 0; i != 3; ++i) {
                                 auto const next = co_await claim.messages().async_receive();
                                 claim.mark(next.value());
                             }
                             while (auto const next = co_await claim.messages().async_receive()) {
                             }
                         }}};
            REQUIRE(eventually([&] { return first.stats().offsets_committed != 0; }));
        }
        REQUIRE(brokers.committed(given.group_id, topic, 0) == 3);
        brokers.delete_records(topic, 0, 8);
        given.initial_offset = reset;
        received records;
        member one{given, receive_into(records)};
        if (reset == kgroup::offset_reset::none) {
            REQUIRE(one.ends_within(20s));
            CHECK(one.error() == kgroup::errc::offset_out_of_range);
            CHECK(one.what().find(topic + "[0]") != std::string::npos);
            continue;
        }
        if (reset == kgroup::offset_reset::earliest) {
            REQUIRE(eventually([&] { return records.count() == 2; }));
            CHECK(records.offsets(0) == std::vector<std::int64_t>{8, 9});
        }
        // With `latest` what is produced before the reset is not read.
        REQUIRE(eventually([&] {
            brokers.produce_values(topic, 0, {"new"});
            return one.count(event_kind::position_reset) == 1 && records.count() != 0;
        }));
        auto const told = *one.last(event_kind::position_reset);
        CHECK(told.where == kgroup::topic_partition{topic, 0});
        CHECK(records.offsets(0).front() >= 8);
        CHECK(one.count(event_kind::position_reset) == 1);
    }
}

TEST_CASE("membership: with offset_reset::none a group without an offset ends, and says which "
          "partition") {
    kafka brokers;
    auto const topic = brokers.create_topic();
    auto given = brokers.member_of_new_group(topic);
    given.initial_offset = kgroup::offset_reset::none;
    received records;
    member one{given, receive_into(records)};
    REQUIRE(one.ends_within(20s));
    CHECK(one.error() == kgroup::errc::no_committed_offset);
    CHECK(one.what().find(topic + "[0]") != std::string::npos);
}

TEST_CASE("membership: with offset_reset::latest a new group gets what comes from now on") {
    kafka brokers;
    auto const topic = brokers.create_topic();
    brokers.produce_values(topic, 0, {"before", "before"});
    auto given = brokers.member_of_new_group(topic);
    given.initial_offset = kgroup::offset_reset::latest;
    received records;
    std::atomic<std::int64_t> start{-2};
    auto handler = receive_into(records);
    handler.consume_claim =
        [&, receive = handler.consume_claim](auto& session, auto& claim) -> asio::awaitable<void> {
        start = claim.initial_offset();
        co_await receive(session, claim);
    };
    member one{given, handler};
    REQUIRE(eventually([&] { return start != -2; }));
    CHECK(start == 2);
    brokers.produce_values(topic, 0, {"after"});
    REQUIRE(eventually([&] { return records.count() == 1; }));
    CHECK(records.offsets(0) == std::vector<std::int64_t>{2});
}
