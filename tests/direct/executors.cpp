// SPDX-License-Identifier: MIT

// A direct group fetches on the executor that it was given: with several threads, and on a strand.

#include <kgroup/direct.hpp>
#include <kgroup/event.hpp>

#include <asio/strand.hpp>
#include <asio/thread_pool.hpp>
#include <asio/use_future.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <future>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "kafka.hpp"
#include "member.hpp"
#include "support/running_context.hpp"

namespace direct_executors_tests {
namespace {

using namespace kgroup::tests;
using kgroup::event_kind;

constexpr std::int32_t partitions = 6;
constexpr std::size_t records = 500; // of a partition

/// Whose functions look whether they run on the executor, and, if it is a strand, alone.
class watching_handler {
public:
    watching_handler(std::function<bool()> on_executor, bool alone)
        : on_executor_(std::move(on_executor)),
          alone_(alone) {}

    asio::awaitable<void> consume_claim(kgroup::session&, kgroup::claim& of) {
        look();
        std::int64_t expected = 0;
        while (auto const next = co_await of.messages().async_receive()) {
            look();
            disorder_ += next->offset() == expected++ ? 0 : 1;
            of.mark(*next);
            ++handled;
        }
        look();
    }
    void look() {
        elsewhere_ += on_executor_() ? 0 : 1;
        if (alone_) {
            side_by_side_ += inside_++ == 0 ? 0 : 1;
            std::this_thread::yield(); // somebody else has time to come
            --inside_;
        }
    }
    void check() const {
        CHECK(handled == partitions * records);
        CHECK(disorder_ == 0);
        CHECK(elsewhere_ == 0);
        CHECK(side_by_side_ == 0);
    }

    std::atomic<std::size_t> handled{0};

private:
    std::function<bool()> on_executor_;
    bool alone_;
    std::atomic<int> disorder_{0};
    std::atomic<int> elsewhere_{0};
    std::atomic<int> inside_{0};
    std::atomic<int> side_by_side_{0};
};

/// Half of the records are there before the group begins, the others are appended while it reads.
template <typename Executor>
void check_on(Executor const& executor, bool alone) {
    kafka brokers;
    auto const topic = brokers.create_topic(partitions);
    auto const produce = [&] {
        for (std::int32_t partition = 0; partition != partitions; ++partition) {
            brokers.produce_values(topic, partition,
                                   std::vector<std::string>(records / 2, "value"));
        }
    };
    produce();
    watching_handler handler{[&] { return executor.running_in_this_thread(); }, alone};
    auto given = brokers.member_of_new_group(topic);
    std::atomic<int> handed_over{0};
    given.on_event = [&](kgroup::event const& told) {
        handler.look();
        handed_over += told.kind == event_kind::handed_over ? 1 : 0;
    };
    kgroup::direct_consumer_group group{executor, given};
    auto run = group.async_run(handler, asio::use_future);
    REQUIRE(eventually([&] { return handler.handled >= partitions * records / 2; }));
    produce();
    REQUIRE(eventually([&] { return handler.handled >= partitions * records; }));
    auto const way = group.stats();
    CHECK(way.records_direct == partitions * records);
    CHECK(way.records_handed_over == 0);
    CHECK(handed_over == 0);
    group.stop();
    REQUIRE(run.wait_for(20s) == std::future_status::ready);
    CHECK_NOTHROW(run.get());
    handler.check();
    for (std::int32_t partition = 0; partition != partitions; ++partition) {
        CHECK(brokers.committed(given.group_id, topic, partition) == records);
    }
}

TEST_CASE("direct: records come once and in order on four threads of an io_context") {
    running_context running;
    check_on(running.context.get_executor(), false);
}

TEST_CASE("direct: records come once and in order on a thread_pool") {
    asio::thread_pool pool{2};
    check_on(pool.get_executor(), false);
}

TEST_CASE("direct: records come once and in order on a strand, and nothing runs beside it") {
    running_context running;
    check_on(asio::make_strand(running.context), true);
}

} // namespace
} // namespace direct_executors_tests
