// SPDX-License-Identifier: MIT

#include <kgroup/error.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "kafka.hpp"
#include "member.hpp"

// A position that the log does not hold any more is told when it is reset, whether or not a record
// follows.

using namespace kgroup::tests;
using kgroup::event_kind;
using kgroup::offset_reset;
namespace testing = kgroup::testing;

namespace {

/// A group that has committed this in two partitions of ten records, of which the first five are
/// then deleted.
struct truncated {
    kafka brokers{kafka::kind::real};
    std::string topic = brokers.create_topic(2);
    kgroup::config given = brokers.member_of_new_group(topic);

    explicit truncated(offset_reset reset, std::int64_t committed = 2) {
        for (std::int32_t const partition : {0, 1}) {
            brokers.produce_values(topic, partition, std::vector<std::string>(10, "value"));
        }
        {
            auto first = given;
            first.initial_offset = offset_reset::earliest;
            member one{first,
                       {.consume_claim = [&](kgroup::session& session,
                                             kgroup::claim& claim) -> asio::awaitable<void> {
                           session.mark_offset({topic, claim.partition()}, committed);
                           co_await session.async_wait_stopping();
                       }}};
            REQUIRE(eventually([&] { return one.stats().offsets_committed == 2; }));
        }
        for (std::int32_t const partition : {0, 1}) {
            brokers.delete_records(topic, partition, 5);
        }
        given.initial_offset = reset;
    }
};

std::map<std::int32_t, std::string> told(member const& by) {
    std::map<std::int32_t, std::string> texts;
    for (auto const& event : by.events()) {
        if (event.kind == event_kind::position_reset) {
            CHECK(event.level == kgroup::severity::warning);
            texts[event.where->partition] = event.text;
        }
    }
    return texts;
}

} // namespace

TEST_CASE("resets: told for each partition at once, with latest too, and not once more with the "
          "next record") {
    if (!kafka::is_there()) {
        return;
    }
    truncated log{offset_reset::latest};
    received records;
    member one{log.given, receive_into(records)};
    REQUIRE(eventually([&] { return told(one).size() == 2; }));
    for (auto const& [partition, text] : told(one)) {
        CHECK(text == (direct
                           ? "offset 2 is not in the log; reading goes on at 10"
                           : "offset 2 is not in the log; reading goes on at the end of the log"));
    }
    CHECK(records.count() == 0);
    REQUIRE(eventually([&] { // what is produced before the end was asked for is not read
        for (std::int32_t const partition : {0, 1}) {
            log.brokers.produce_values(log.topic, partition, {"new"});
        }
        return records.partitions().size() == 2;
    }));
    one.stop();
    REQUIRE(one.ends_within(20s));
    CHECK_MESSAGE(one.count(event_kind::position_reset) == 2, one.said());
}

TEST_CASE("resets: told once with earliest, where the next record follows at once") {
    if (!kafka::is_there()) {
        return;
    }
    truncated log{offset_reset::earliest};
    received records;
    member one{log.given, receive_into(records)};
    REQUIRE(eventually([&] { return records.count() == 10 && told(one).size() == 2; }));
    CHECK(records.offsets(0) == std::vector<std::int64_t>{5, 6, 7, 8, 9});
    for (auto const& [partition, text] : told(one)) {
        CHECK_MESSAGE(text.starts_with("offset 2 is not in the log; reading goes on at "), text);
    }
    one.stop();
    REQUIRE(one.ends_within(20s));
    CHECK_MESSAGE(one.count(event_kind::position_reset) == 2, one.said());
}

TEST_CASE("resets: told whatever the user wants to see of librdkafka's log, which shows what it "
          "showed before") {
    if (direct) {
        return skip("librdkafka resets nothing");
    }
    for (auto const& [level, lines] :
         std::map<std::string, std::size_t>{{"3", 0}, {"4", 1}, {"6", 1}}) {
        CAPTURE(level);
        kafka brokers{kafka::kind::embedded};
        auto const topic = brokers.create_topic();
        brokers.produce_values(topic, 0, {"one", "two"});
        auto given = brokers.member_of_new_group(topic);
        given.properties["log_level"] = level;
        given.initial_offset = offset_reset::latest;
        received records;
        member one{given, receive_into(records)};
        REQUIRE(eventually([&] { return one.claims() == 1; }));
        // Once more when nothing comes of it: now and then librdkafka throws away the answer of the
        // broker inside the process.
        REQUIRE(eventually([&] {
            brokers.embedded().fail(testing::embedded_cluster::request::fetch,
                                    RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE, 1);
            return eventually([&] { return one.count(event_kind::position_reset) != 0; }, 3s);
        }));
        CHECK(one.last(event_kind::position_reset)->text ==
              "offset 2 is not in the log; reading goes on at the end of the log");
        one.stop();
        REQUIRE(one.ends_within(20s));
        std::size_t seen = 0;
        for (auto const& event : one.events()) {
            if (event.kind == event_kind::client_log) {
                CHECK(event.level >= kgroup::severity::info);
                seen += event.text.find("offset reset") != std::string::npos;
            }
        }
        CHECK_MESSAGE(std::min<std::size_t>(seen, 1) == lines, one.said());
    }
}
