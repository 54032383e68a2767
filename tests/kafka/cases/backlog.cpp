// SPDX-License-Identifier: MIT

#include <asio/awaitable.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

#include "kafka.hpp"
#include "member.hpp"

using namespace kgroup::tests;

namespace {

constexpr std::size_t in_backlog = 100000;

/// How long it takes from the first record to the last.
std::chrono::duration<double> drained(kafka& brokers, std::string const& topic) {
    using clock = std::chrono::steady_clock;
    std::atomic<std::size_t> count{0};
    std::atomic<clock::rep> first{0};
    std::atomic<clock::rep> last{0};
    member one{brokers.member_of_new_group(topic),
               {.consume_claim = [&](auto&, auto& claim) -> asio::awaitable<void> {
                   while (auto const record = co_await claim.messages().async_receive()) {
                       auto const now = clock::now().time_since_epoch().count();
                       if (count == 0) {
                           first = now;
                       }
                       last = now;
                       claim.mark(*record);
                       ++count;
                   }
               }}};
    REQUIRE(eventually([&] { return count == in_backlog; }, 60s));
    return clock::duration{last - first};
}

} // namespace

// A fetch for partitions for which nothing comes lasts as long as the broker may wait, and the
// partition with the backlog waits, too, when its queue was full at that moment.
TEST_CASE("backlog: that of one partition is not read in spurts where others are idle") {
    if (!kafka::is_there()) {
        return;
    }
    kafka brokers{kafka::kind::real};
    auto const alone = brokers.create_topic(1);
    auto const beside = brokers.create_topic(6);
    brokers.fill(alone, {in_backlog}, 100);
    brokers.fill(beside, {in_backlog, 0, 0, 0, 0, 0}, 100);
    auto alone_took = drained(brokers, alone);
    auto beside_took = drained(brokers, beside);
    for (int again = 0; again != 2; ++again) {
        alone_took = std::min(alone_took, drained(brokers, alone));
        beside_took = std::min(beside_took, drained(brokers, beside));
    }
    MESSAGE("alone ", alone_took.count(), " s, beside five idle ones ", beside_took.count(), " s");
    CHECK(beside_took < 10 * alone_took); // a fetch a wait: thirty times and more
}
