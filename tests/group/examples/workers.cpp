// SPDX-License-Identifier: MIT

// The handler of examples/workers.cpp in virtual time.

#include "../../../examples/workers.hpp"

#include <kgroup/testing/clock.hpp>
#include <kgroup/testing/fake_client.hpp>

#include <asio/io_context.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <exception>
#include <string>
#include <vector>

namespace workers_example_tests {

namespace {

using namespace std::chrono_literals;
using labels = std::vector<std::string>;

struct printing_test {
    kgroup::testing::fake_cluster cluster;
    examples::label_printer handler;
    asio::io_context context;
    kgroup::testing::fake_group group{context,
                                      {.brokers = cluster.brokers(),
                                       .group_id = "printers",
                                       .topics = {"labels"},
                                       .initial_offset = kgroup::offset_reset::earliest,
                                       .auto_commit_interval = std::chrono::milliseconds{200}}};
    kgroup::topic_partition const partition{"labels", 0};
    bool completed = false;

    printing_test() {
        group.async_run(handler, [this](std::exception_ptr failure) { completed = !failure; });
        cluster.assign({partition});
        for (auto const* const label :
             {"Constantinople", "Rome", "Alexandria", "Ur", "Jerusalem"}) {
            cluster.add_records(partition, label);
        }
        kgroup::testing::run_ready(context);
    }
    void pass(std::chrono::milliseconds time) {
        for (auto left = time; left > 0ms; left -= 50ms) {
            kgroup::testing::advance(context, 50ms);
        }
    }
};

TEST_CASE_FIXTURE(printing_test, "examples: workers, records are done out of order, and all of "
                                 "them are committed at the end") {
    pass(2s);
    CHECK(handler.printed == labels{"Rome", "Ur", "Alexandria", "Constantinople", "Jerusalem"});
    group.stop();
    kgroup::testing::run_ready(context);
    CHECK(completed);
    CHECK(cluster.committed(partition) == 5);
}

TEST_CASE_FIXTURE(printing_test, "examples: workers, what is committed never passes a record that "
                                 "is not done") {
    pass(1200ms);
    CHECK(handler.printed == labels{"Rome", "Ur", "Alexandria"});
    CHECK(cluster.committed(partition).value_or(0) == 0);
    pass(400ms);
    CHECK(handler.printed.size() == 5);
    pass(400ms);
    CHECK(cluster.committed(partition) == 5);
}

TEST_CASE_FIXTURE(printing_test,
                  "examples: workers, at a rebalance what was taken is finished, and "
                  "the rest is the next owner's") {
    pass(300ms);
    cluster.revoke();
    pass(2s);
    CHECK(handler.printed == labels{"Rome", "Ur", "Alexandria", "Constantinople"});
    CHECK(cluster.committed(partition) == 4);
}

} // namespace

} // namespace workers_example_tests
