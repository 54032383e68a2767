// SPDX-License-Identifier: MIT

// The handler of examples/blocking_work.cpp. The pool is a second context, which the test runs: no
// threads, and so nothing by chance.

#include "../../../examples/blocking_work.hpp"

#include <kgroup/testing/clock.hpp>
#include <kgroup/testing/fake_client.hpp>

#include <asio/io_context.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <map>
#include <optional>
#include <string>

namespace blocking_work_example_tests {

namespace {

using namespace examples;

struct factoriser_test {
    kgroup::testing::fake_cluster cluster;
    std::map<std::uint64_t, std::uint64_t> factors{};
    asio::io_context pool;
    factoriser handler{pool.get_executor(), 2, [this](std::uint64_t number, std::uint64_t factor) {
                           CHECK(pool.get_executor().running_in_this_thread());
                           factors[number] = factor;
                       }};
    asio::io_context context;
    kgroup::testing::fake_group group{context,
                                      {.brokers = cluster.brokers(),
                                       .group_id = "factorisers",
                                       .topics = {"numbers"},
                                       .initial_offset = kgroup::offset_reset::earliest}};
    kgroup::topic_partition const first{"numbers", 0};
    kgroup::topic_partition const second{"numbers", 1};
    std::exception_ptr failure;
    bool completed = false;

    factoriser_test() {
        group.async_run(handler, [this](std::exception_ptr end) {
            failure = end;
            completed = true;
        });
        cluster.assign({first, second});
        kgroup::testing::run_ready(context);
    }

    /// Does what has been given to the pool, and lets the group go on.
    std::size_t work() {
        auto const before = factors.size();
        kgroup::testing::run_ready(pool);
        auto const done = factors.size() - before;
        kgroup::testing::run_ready(context);
        return done;
    }
};

TEST_CASE_FIXTURE(factoriser_test, "examples: on a pool, claims have no more under way than it has "
                                   "threads, and take turns") {
    cluster.add_records(first, "15", "21", "35");
    cluster.add_records(second, "77", "49");
    kgroup::testing::run_ready(context);
    CHECK(factors.empty()); // the group's thread does none of it
    CHECK(work() == 2);
    CHECK(work() == 2);
    CHECK(factors.contains(77)); // the second claim was not the last
    CHECK(work() == 1);
    CHECK(factors ==
          std::map<std::uint64_t, std::uint64_t>{{15, 3}, {21, 3}, {35, 5}, {49, 7}, {77, 7}});
    group.stop();
    kgroup::testing::run_ready(context);
    CHECK(completed);
    CHECK_FALSE(failure);
    CHECK(cluster.committed(first) == 3);
    CHECK(cluster.committed(second) == 2);
}

TEST_CASE_FIXTURE(factoriser_test,
                  "examples: on a pool, at a rebalance what is under way finishes, "
                  "and counts") {
    cluster.add_records(first, "15", "21", "35");
    kgroup::testing::run_ready(context);
    cluster.revoke();
    kgroup::testing::run_ready(context);
    CHECK(work() == 2);
    CHECK(work() == 0); // the third is the next owner's
    CHECK(cluster.committed(first) == 2);
}

TEST_CASE_FIXTURE(factoriser_test, "examples: on a pool, work whose claim is lost is told to stop, "
                                   "and does not count") {
    cluster.add_records(first, std::to_string(std::uint64_t{86028121} * 86028157));
    kgroup::testing::run_ready(context);
    cluster.lose();
    kgroup::testing::run_ready(context);
    CHECK(work() == 0);
    CHECK(factors.empty());
    CHECK(cluster.committed(first) == std::nullopt);
    group.stop();
    kgroup::testing::run_ready(context);
    cluster.assign({});
    kgroup::testing::run_ready(context);
    CHECK(completed);
    CHECK_FALSE(failure);
}

} // namespace

} // namespace blocking_work_example_tests
