// SPDX-License-Identifier: MIT

#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/cancellation_type.hpp>
#include <asio/experimental/awaitable_operators.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <asio/use_awaitable.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "kafka.hpp"
#include "member.hpp"
#include "support/even_race.hpp"

using namespace kgroup::tests;

namespace {

/// The order in which the records of one partition came, and how the races ended.
struct ledger {
    std::vector<std::int64_t> offsets{};
    std::atomic<std::size_t> count{0};
    even_race against{}; // the other side, whatever it is

    void note(kgroup::message const& one) {
        offsets.push_back(one.offset());
        ++count;
    }
    void raced(bool arrived) { arrived ? against.in_time() : against.too_late(); }
};

/// Sends this many, at moments that races can meet, and checks what became of them.
void race(kafka& brokers, std::string const& topic, std::size_t records, ledger& ledger,
          member& receiver) {
    REQUIRE(eventually([&] { return receiver.claims() == 1; }));
    std::mt19937 random{std::random_device{}()};
    for (std::size_t sent = 0; sent != records;) {
        auto const burst = std::min<std::size_t>(1 + random() % 3, records - sent);
        for (std::size_t i = 0; i != burst; ++i, ++sent) {
            brokers.send(topic, 0, "record");
        }
        std::this_thread::sleep_for(std::chrono::microseconds{random() % 400});
    }
    brokers.flush();
    REQUIRE(eventually([&] { return ledger.count == records; }));
    receiver.stop();
    REQUIRE(receiver.ends_within(10s));
    for (std::size_t i = 0; i != records; ++i) {
        REQUIRE(ledger.offsets[i] == static_cast<std::int64_t>(i));
    }
    CHECK(ledger.offsets.size() == records);
    MESSAGE(records, " records: they won ", ledger.against.won(), " races and lost ",
            ledger.against.lost());
    CHECK(ledger.against.won() > records / 20);
    CHECK(ledger.against.lost() > records / (sanitized ? 1000 : 200));
    CHECK(receiver.stats().wakeups_healed == 0);
}

constexpr std::array types{asio::cancellation_type::terminal, asio::cancellation_type::partial,
                           asio::cancellation_type::total};

constexpr std::size_t races = sanitized ? 3000 : 12000;

} // namespace

TEST_CASE("arrivals: against the cancellation of async_receive") {
    kafka brokers;
    auto const topic = brokers.create_topic();
    ledger ledger;
    std::mt19937 random{1};
    member one{brokers.member_of_new_group(topic),
               {.consume_claim = [&](auto&, auto& claim) -> asio::awaitable<void> {
                   auto const executor = co_await asio::this_coro::executor;
                   while (!claim.messages().ended()) {
                       asio::cancellation_signal signal;
                       // Its time may be over, and its handler on its way, when the record has
                       // come.
                       auto const racing = std::make_shared<bool>(true);
                       asio::steady_timer timer{executor, ledger.against.limit()};
                       timer.async_wait([&, racing](std::error_code ec) {
                           if (!ec && *racing) {
                               signal.emit(types[random() % types.size()]);
                           }
                       });
                       try {
                           auto const record = co_await claim.messages().async_receive(
                               asio::bind_cancellation_slot(signal.slot(), asio::use_awaitable));
                           ledger.raced(record.has_value());
                           if (record) {
                               ledger.note(*record);
                               claim.mark(*record);
                           }
                       } catch (std::system_error const& e) {
                           CHECK(e.code() == asio::error::operation_aborted);
                           ledger.raced(false);
                       }
                       *racing = false;
                       co_await asio::post(executor,
                                           asio::use_awaitable); // what it emitted has arrived
                   }
               }}};
    race(brokers, topic, races, ledger, one);
}

TEST_CASE("arrivals: against the limit of async_receive_for") {
    kafka brokers;
    auto const topic = brokers.create_topic();
    ledger ledger;
    member one{brokers.member_of_new_group(topic),
               {.consume_claim = [&](auto&, auto& claim) -> asio::awaitable<void> {
                   while (!claim.messages().ended()) {
                       auto const record =
                           co_await claim.messages().async_receive_for(ledger.against.limit());
                       ledger.raced(record.has_value());
                       if (record) {
                           ledger.note(*record);
                           claim.mark(*record);
                       }
                   }
               }},
               4};
    race(brokers, topic, races, ledger, one);
}

TEST_CASE("arrivals: against a timer beside async_wait") {
    using namespace asio::experimental::awaitable_operators;
    kafka brokers;
    auto const topic = brokers.create_topic();
    ledger ledger;
    member one{brokers.member_of_new_group(topic),
               {.consume_claim = [&](auto&, auto& claim) -> asio::awaitable<void> {
                   asio::steady_timer timer{co_await asio::this_coro::executor};
                   while (!claim.messages().ended()) {
                       timer.expires_after(ledger.against.limit());
                       co_await (claim.messages().async_wait() ||
                                 timer.async_wait(asio::use_awaitable));
                       auto const record = claim.messages().try_receive();
                       ledger.raced(record.has_value());
                       if (record) {
                           ledger.note(*record);
                           claim.mark(*record);
                       }
                   }
               }}};
    race(brokers, topic, races, ledger, one);
}

// The order in which rust-rdkafka lost wake-ups (its #665): the queue is woken by something that is
// no record, a poll finds nothing that it may hand out, and the record comes before the reader has
// gone to sleep.
TEST_CASE("arrivals: none is missed between a wake-up that brought nothing and the next wait") {
    kafka brokers{kafka::kind::embedded};
    auto const topic = brokers.create_topic(4);
    auto given = brokers.member_of_new_group(topic);
    std::atomic<std::size_t> count{0};
    member one{given,
               {.consume_claim = [&](auto&, auto& claim) -> asio::awaitable<void> {
                   while (auto const record = co_await claim.messages().async_receive()) {
                       claim.mark(*record);
                       ++count;
                   }
               }},
               2};
    REQUIRE(eventually([&] { return one.claims() == 4; }));
    std::mt19937 random{4};
    std::size_t sent = 0;
    auto slowest = std::chrono::steady_clock::duration{};
    for (int round = 0; round != 16; ++round) {
        // A leader that comes back leaves its partitions' queues with notices and outdated records.
        if (round % 4 == 0) {
            brokers.embedded().fail(kgroup::testing::embedded_cluster::request::fetch,
                                    RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, 2);
        }
        for (std::int32_t partition = 0; partition != 4; ++partition) {
            for (auto left = random() % 3; left != 0; --left, ++sent) {
                brokers.send(topic, partition, "record");
            }
            std::this_thread::sleep_for(std::chrono::microseconds{random() % 2000});
        }
        brokers.flush();
        auto const since = std::chrono::steady_clock::now();
        REQUIRE(eventually([&] { return count == sent; }, 10s));
        slowest = std::max(slowest, std::chrono::steady_clock::now() - since);
    }
    MESSAGE(sent, " records, the slowest round took ",
            std::chrono::duration<double>(slowest).count(), " s");
    CHECK(one.stats().wakeups_healed == 0);
}
