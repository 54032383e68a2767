// SPDX-License-Identifier: MIT

#include <asio/any_io_executor.hpp>
#include <asio/post.hpp>
#include <asio/strand.hpp>
#include <asio/system_executor.hpp>
#include <asio/thread_pool.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/use_future.hpp>

#include <atomic>
#include <functional>
#include <future>
#include <thread>
#include <vector>

#include "support/marking_executor.hpp"
#include "support/running_context.hpp"
#include "support/scripted_group.hpp"

// Promise 13: everything of a group's runs on the executor that it was given, whatever kind that
// is. Four threads, the real clock.

namespace executors_races {

namespace {

using namespace kgroup::tests;
using kgroup::claim;
using kgroup::session;

constexpr std::size_t partitions = 4;
constexpr std::size_t records = 200;

/// What a group of the test's does, wherever it runs: each of its functions looks whether it is
/// there, and whether it is alone.
class watched_group {
public:
    explicit watched_group(std::function<bool()> on_executor, bool alone)
        : on_executor_(std::move(on_executor)),
          alone_(alone) {}

    asio::awaitable<void> setup(session&) {
        look();
        co_await asio::post(asio::use_awaitable);
        look();
    }
    asio::awaitable<void> consume_claim(session& session, claim& claim) {
        look();
        while (auto const next = co_await claim.messages().async_receive_for(1h)) {
            look();
            claim.mark(*next);
            if (next->offset() % 50 == 0) {
                co_await session.async_commit();
                look();
            }
            if (++handled_ == partitions * records) {
                all_.set_value();
            }
        }
        look();
    }
    asio::awaitable<void> cleanup(session&) {
        look();
        co_return;
    }

    template <typename Executor>
    void run_on(Executor const& executor) {
        fake_cluster cluster;
        std::vector<kgroup::topic_partition> all;
        for (std::size_t i = 0; i != partitions; ++i) {
            all.emplace_back("t", static_cast<std::int32_t>(i));
            cluster.add_records(all.back(),
                                std::vector<fake_cluster::record>(records, {.value = "x"}));
        }
        fake_group group{executor,
                         {.brokers = cluster.brokers(),
                          .group_id = "group",
                          .topics = {"t"},
                          .initial_offset = kgroup::offset_reset::earliest,
                          .auto_commit_interval = 5ms,
                          .on_event = [this](kgroup::event const&) { look(); }}};
        auto run = group.async_run(*this, asio::use_future);
        cluster.assign(all);
        auto handled = all_.get_future();
        CHECK(handled.wait_for(60s) == std::future_status::ready);
        group.stop();
        REQUIRE(run.wait_for(60s) == std::future_status::ready);
        CHECK_NOTHROW(run.get());
        CHECK(handled_ == partitions * records);
        CHECK(looks_ >= partitions * records);
        CHECK(elsewhere_ == 0);
        CHECK(side_by_side_ == 0);
        for (auto const& result : all) {
            CHECK(cluster.committed(result) == records);
        }
        for (auto const& complaint : cluster.complaints()) {
            FAIL_CHECK(complaint);
        }
    }

private:
    void look() {
        ++looks_;
        elsewhere_ += on_executor_() ? 0 : 1;
        if (alone_) {
            side_by_side_ += inside_++ == 0 ? 0 : 1;
            for (int i = 0; i != 100; ++i) { // somebody else has time to come
                std::this_thread::yield();
            }
            --inside_;
        }
    }

    std::function<bool()> on_executor_;
    bool alone_;
    std::promise<void> all_;
    std::atomic<std::size_t> handled_{0};
    std::atomic<std::size_t> looks_{0};
    std::atomic<int> elsewhere_{0};
    std::atomic<int> inside_{0};
    std::atomic<int> side_by_side_{0};
};

/// As itself, and inside `any_io_executor`.
template <typename Executor>
void check_on(Executor const& executor, bool alone) {
    watched_group{[&] { return executor.running_in_this_thread(); }, alone}.run_on(executor);
    watched_group{[&] { return executor.running_in_this_thread(); }, alone}.run_on(
        asio::any_io_executor{executor});
}

TEST_CASE("on a strand nothing of the group's runs beside it") {
    SUBCASE("over an io_context") {
        running_context running;
        check_on(asio::make_strand(running.context), true);
    }
    SUBCASE("over a thread_pool") {
        asio::thread_pool pool{4};
        check_on(asio::make_strand(pool), true);
    }
    SUBCASE("over any_io_executor") {
        running_context running;
        check_on(asio::make_strand(asio::any_io_executor{running.context.get_executor()}), true);
    }
    SUBCASE("over the system's executor") {
        check_on(asio::make_strand(asio::system_executor{}), true);
    }
    SUBCASE("over a user's own executor") {
        asio::thread_pool pool{4};
        executor_mark const mark;
        check_on(asio::make_strand(marking_executor{pool.get_executor(), mark}), true);
    }
    SUBCASE("below a user's own executor") {
        running_context running;
        executor_mark const mark;
        check_on(marking_executor{asio::make_strand(running.context), mark}, true);
    }
}

TEST_CASE("everything of the group's runs on the executor that it was given") {
    SUBCASE("an io_context") {
        running_context running;
        check_on(running.context.get_executor(), false);
    }
    SUBCASE("an io_context's with other properties") {
        running_context running;
        check_on(asio::require(running.context.get_executor(), asio::execution::blocking.never,
                               asio::execution::outstanding_work.tracked),
                 false);
    }
    SUBCASE("a thread_pool") {
        asio::thread_pool pool{4};
        check_on(pool.get_executor(), false);
    }
    SUBCASE("a user's own over an io_context") {
        running_context running;
        executor_mark const mark;
        check_on(marking_executor{running.context.get_executor(), mark}, false);
    }
    SUBCASE("a user's own over a thread_pool") {
        asio::thread_pool pool{4};
        executor_mark const mark;
        check_on(marking_executor{pool.get_executor(), mark}, false);
    }
    SUBCASE("the system's, which is everywhere") {
        watched_group{[] { return true; }, false}.run_on(asio::system_executor{});
        watched_group{[] { return true; }, false}.run_on(
            asio::any_io_executor{asio::system_executor{}});
    }
    SUBCASE("a user's own that runs at once where it may") {
        executor_mark const mark;
        check_on(marking_executor{asio::system_executor{}, mark}, false);
    }
}

} // namespace

} // namespace executors_races
