// SPDX-License-Identifier: MIT

#include <kgroup/error.hpp>

#include <asio/use_future.hpp>

#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <future>
#include <map>
#include <mutex>
#include <string>
#include <system_error>
#include <vector>

#include "kafka.hpp"
#include "member.hpp"

// Where a real log is at a time. (The embedded cluster knows only the beginning and the end.)

namespace {

using namespace kgroup::tests;
using kgroup::offset_for_time;
using kgroup::topic_partition;
using std::chrono::system_clock;

/// Partition 0 has four records, one a minute since `first`; partition 1 has nothing.
struct minutes {
    kafka brokers{kafka::kind::real};
    std::string topic = brokers.create_topic(2);
    system_clock::time_point first =
        std::chrono::floor<std::chrono::milliseconds>(system_clock::now() - 1h);

    minutes() {
        std::vector<kafka_record> records;
        for (int i = 0; i != 4; ++i) {
            records.push_back({.value = std::to_string(i), .timestamp = first + i * 1min});
        }
        brokers.produce(topic, 0, records);
    }
};

TEST_CASE("start time: a new group begins at the first record that is late enough, and at the end "
          "where there is none") {
    if (!kafka::is_there()) {
        return;
    }
    struct expectation {
        std::chrono::microseconds after_the_first;
        std::vector<std::int64_t> offsets;
    };
    for (auto const& [time, offsets] :
         {expectation{2min, {2, 3}}, expectation{2min - 1us, {2, 3}}, expectation{2min + 1us, {3}},
          expectation{-24h, {0, 1, 2, 3}}, expectation{4min, {}}}) {
        CAPTURE(time.count());
        minutes log;
        auto given = log.brokers.member_of_new_group(log.topic);
        given.initial_offset = kgroup::offset_reset::none; // of no account where there is a time
        given.initial_time = log.first + time;
        std::mutex mutex;
        std::map<std::int32_t, std::int64_t> starts;
        received records;
        auto handler = receive_into(records);
        handler.consume_claim = [&, receive = handler.consume_claim](
                                    auto& session, auto& claim) -> asio::awaitable<void> {
            {
                std::lock_guard const lock{mutex};
                starts[claim.partition()] = claim.initial_offset();
            }
            co_await receive(session, claim);
        };
        member one{given, handler};
        REQUIRE(eventually([&] {
            std::lock_guard const lock{mutex};
            return starts.size() == 2;
        }));
        log.brokers.produce(log.topic, 0, {{.value = "behind", .timestamp = log.first}});
        REQUIRE(eventually(
            [&] { return !records.offsets(0).empty() && records.offsets(0).back() == 4; }));
        auto expected = offsets;
        expected.push_back(4);
        CHECK(records.offsets(0) == expected);
        CHECK(starts[0] == expected.front());
        CHECK(starts[1] == 0);
        one.stop();
        REQUIRE(one.ends_within(20s));
        CHECK_MESSAGE(!one.error(), one.what());
    }
}

TEST_CASE("start time: offsets for a time, of any partition, and an error of its own for one that "
          "is not there") {
    if (!kafka::is_there()) {
        return;
    }
    minutes log;
    received records;
    member one{log.brokers.member_of_new_group(log.topic), receive_into(records)};
    auto const ask = [&](std::vector<topic_partition> const& partitions,
                         system_clock::time_point time) {
        auto answer = one.group().async_offsets_for_times(partitions, time, asio::use_future);
        REQUIRE(answer.wait_for(20s) == std::future_status::ready);
        return answer.get();
    };
    topic_partition const filled{log.topic, 0};
    topic_partition const empty{log.topic, 1};
    topic_partition const absent{log.topic, 7};
    topic_partition const nowhere{unique("topic"), 0};
    // While it is still joining, and before anything is owned.
    auto found = ask({filled, empty, filled}, log.first + 90s);
    REQUIRE(found.size() == 3);
    CHECK(found[0].where == filled);
    CHECK(found[0].offset == 2);
    CHECK_FALSE(found[0].error);
    CHECK(found[1].where == empty);
    CHECK(found[1].offset == std::nullopt);
    CHECK_FALSE(found[1].error);
    CHECK(found[2].offset == 2);
    found = ask({filled}, log.first + 4min);
    CHECK(found.at(0).offset == std::nullopt);
    CHECK_FALSE(found.at(0).error);
    CHECK(ask({filled}, system_clock::time_point{} - 24h).at(0).offset == 0);
    found = ask({absent, filled}, log.first);
    CHECK(found.at(0).error);
    CHECK(found.at(0).offset == std::nullopt);
    CHECK(found.at(1).offset == 0);
    found = ask({nowhere}, log.first);
    CHECK(found.at(0).error);
    CHECK(found.at(0).offset == std::nullopt);
    // Side by side.
    std::vector<std::future<std::vector<offset_for_time>>> answers;
    std::array const asked{filled};
    for (int i = 0; i != 4; ++i) {
        answers.push_back(
            one.group().async_offsets_for_times(asked, log.first + i * 1min, asio::use_future));
    }
    for (int i = 0; i != 4; ++i) {
        CHECK(answers[static_cast<std::size_t>(i)].get().at(0).offset == i);
    }
}

TEST_CASE("start time: stopped while a question waits for brokers that cannot be reached") {
    kgroup::config given{.brokers = "127.0.0.1:1",
                         .group_id = "group",
                         .topics = {"topic"},
                         .initial_offset = kgroup::offset_reset::earliest};
    // The code alone goes to this thread: ThreadSanitizer does not see how libstdc++ counts who
    // holds an exception.
    std::array<std::promise<std::error_code>, 2> answers;
    received records;
    member one{given, receive_into(records)};
    std::array const asked{topic_partition{"topic", 0}};
    for (auto& answer : answers) {
        one.group().async_offsets_for_times(
            asked, system_clock::now(),
            [&answer](std::error_code e, auto const&) { answer.set_value(e); });
    }
    one.stop();
    REQUIRE(one.ends_within(given.close_timeout + 1s));
    CHECK_MESSAGE(!one.error(), one.what());
    for (auto& answer : answers) {
        auto error = answer.get_future();
        REQUIRE(error.wait_for(1s) == std::future_status::ready);
        CHECK(error.get() == kgroup::errc::not_running);
    }
}

} // namespace
