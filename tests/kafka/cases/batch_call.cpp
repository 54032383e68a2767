// SPDX-License-Identifier: MIT

#include <asio/awaitable.hpp>

#include <doctest/doctest.h>
#include <librdkafka/rdkafka.h>

#include <atomic>
#include <cstddef>
#include <dlfcn.h>
#include <thread>
#include <vector>

#include "kafka.hpp"
#include "member.hpp"

using namespace kgroup::tests;

namespace {

std::atomic<std::size_t> batch_calls{0};
std::atomic<int> callers{0};
std::atomic<int> most_callers{0};

} // namespace

// In place of librdkafka's own, for this program: it stays a little longer.
extern "C" ssize_t rd_kafka_consume_batch_queue(rd_kafka_queue_t* queue, int timeout_ms,
                                                rd_kafka_message_t** messages, size_t size) {
    static auto const own = reinterpret_cast<decltype(&rd_kafka_consume_batch_queue)>(
        dlsym(RTLD_NEXT, "rd_kafka_consume_batch_queue"));
    ++batch_calls;
    for (auto now = ++callers, most = most_callers.load();
         now > most && !most_callers.compare_exchange_weak(most, now);) {
    }
    for (int i = 0; i != 20; ++i) {
        std::this_thread::yield();
    }
    auto const given = own(queue, timeout_ms, messages, size);
    --callers;
    return given;
}

// librdkafka's INTRODUCTION.md, "Note on Batch consume APIs": not for several threads at once.
TEST_CASE("batch call: one claim at a time is in it, however many threads there are") {
    constexpr int partitions = 6;
    constexpr std::size_t records = 20000;
    batch_calls = 0;
    most_callers = 0;
    kafka brokers;
    auto const topic = brokers.create_topic(partitions);
    brokers.fill(topic, std::vector<std::size_t>(partitions, records), 40);
    std::atomic<std::size_t> count{0};
    member one{brokers.member_of_new_group(topic),
               {.consume_claim = [&](auto&, auto& claim) -> asio::awaitable<void> {
                   while (auto const record = co_await claim.messages().async_receive()) {
                       claim.mark(*record);
                       ++count;
                   }
               }},
               4};
    REQUIRE(eventually([&] { return count == partitions * records; }, 60s));
    if (rd_kafka_version() < 0x02020000) {
        CHECK(batch_calls == 0); // it loses records there
    } else {
        CHECK(batch_calls != 0);
        CHECK(most_callers == 1);
    }
}
