// SPDX-License-Identifier: MIT

#include <doctest/doctest.h>

#include <atomic>
#include <cstdint>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "kafka.hpp"
#include "member.hpp"

using namespace kgroup::tests;

TEST_CASE("claims in turn: a message kept from the one before takes neither records nor wake-ups "
          "from the next one of its partition") {
    kafka brokers;
    auto const topic = brokers.create_topic();
    brokers.produce_values(topic, 0, {"first"});
    std::optional<kgroup::message> kept;
    received records;
    std::atomic<int> claims{0};
    std::atomic<std::int64_t> fetched{0};
    std::atomic<bool> go_on{false};
    member one{brokers.member_of_new_group(topic),
               {.consume_claim = [&](auto&, auto& claim) -> asio::awaitable<void> {
                   if (claims++ == 0) {
                       kept = co_await claim.messages().async_receive();
                       co_return; // a new session over the same partition
                   }
                   auto first = co_await claim.messages().async_receive();
                   records.add(*first);
                   while (!go_on) {
                       fetched = claim.high_water_mark_offset();
                       co_await pause_for(1ms);
                   }
                   while (auto const next = co_await claim.messages().async_receive()) {
                       records.add(*next);
                       claim.mark(*next);
                   }
               }}};
    REQUIRE(eventually([&] { return records.count() == 1; }));
    // They are in the queue when librdkafka knows of one that came after them.
    brokers.produce_values(topic, 0, std::vector<std::string>(100, "waits"));
    REQUIRE(eventually([&] { return fetched == 101; }));
    brokers.produce_values(topic, 0, {"after"});
    REQUIRE(eventually([&] { return fetched == 102; }));
    kept.reset();
    go_on = true;
    CHECK(eventually([&] { return records.count() == 102; }, 5s));
    std::vector<std::int64_t> all(102);
    std::iota(all.begin(), all.end(), 0);
    CHECK(records.offsets(0) == all);
    auto const seen = records.count();
    brokers.produce_values(topic, 0, {"woken for"});
    CHECK(eventually([&] { return records.count() == seen + 1; }));
    CHECK(one.stats().wakeups_healed == 0);
}
