// SPDX-License-Identifier: MIT

// What docs/processing.md shows.

#include <kgroup/for_each.hpp>
#include <kgroup/for_each_batch.hpp>
#include <kgroup/kgroup.hpp>
#include <kgroup/testing/clock.hpp>
#include <kgroup/testing/fake_client.hpp>

#include <asio/awaitable.hpp>
#include <asio/io_context.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <exception>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace kgroup_processing_page {

using namespace std::chrono_literals;

struct warehouse {
    asio::awaitable<void> book(std::string_view customer, std::string_view order) {
        if (failures != 0) {
            --failures;
            throw std::runtime_error{"the line is busy"};
        }
        booked[std::string{customer}].emplace_back(order);
        co_return;
    }

    int failures = 0;
    std::map<std::string, std::vector<std::string>> booked{};
};

#include <kgroup/for_each.hpp>
#include <kgroup/kgroup.hpp>

struct orders {
    asio::awaitable<void> consume_claim(kgroup::session&, kgroup::claim& claim) {
        auto book = [this](kgroup::message const& message) -> asio::awaitable<void> {
            co_await warehouse_.book(message.key(), message.value());
        };
        co_await kgroup::for_each(
            claim,
            {.order = kgroup::order::by_key,
             .in_flight = 100,
             .retry = {.attempts = 5, .backoff = {.initial = 50ms, .max = 5s}}},
            book);
    }

    warehouse warehouse_;
};

struct database {
    void insert(kgroup::message_batch const& batch) {
        for (auto const& one : batch) {
            rows.emplace_back(one.value());
        }
        ++transactions;
    }

    std::vector<std::string> rows{};
    int transactions = 0;
};

struct archive {
    asio::awaitable<void> consume_claim(kgroup::session&, kgroup::claim& claim) {
        auto store = [this](kgroup::message_batch const& batch) { database_.insert(batch); };
        co_await kgroup::for_each_batch(claim, {.records = 500, .bytes = 64 << 10, .within = 200ms},
                                        {.retry = {.attempts = 5}}, store);
    }

    database database_;
};

TEST_CASE("the page on processing: records are booked in the order of their customer, also after a "
          "failure") {
    kgroup::testing::fake_cluster cluster;
    asio::io_context context;
    orders handler;
    handler.warehouse_.failures = 1;
    kgroup::testing::fake_group group{context,
                                      {.brokers = cluster.brokers(),
                                       .group_id = "orders",
                                       .topics = {"orders"},
                                       .initial_offset = kgroup::offset_reset::earliest}};
    bool completed = false;
    group.async_run(handler, [&](std::exception_ptr failure) { completed = !failure; });
    using record = kgroup::testing::fake_cluster::record;
    cluster.add_records({"orders", 0}, record{.key = "ada", .value = "1"},
                        record{.key = "bob", .value = "2"}, record{.key = "ada", .value = "3"});
    cluster.assign({{"orders", 0}});
    kgroup::testing::run_ready(context);
    CHECK(handler.warehouse_.booked["bob"] == std::vector<std::string>{"2"});
    CHECK(handler.warehouse_.booked["ada"].empty());
    kgroup::testing::advance(context, 50ms);
    CHECK(handler.warehouse_.booked["ada"] == std::vector<std::string>{"1", "3"});
    group.stop();
    kgroup::testing::run_ready(context);
    CHECK(completed);
    CHECK(cluster.committed({"orders", 0}) == 3);
}

TEST_CASE("the page on processing: batches are complete with so many records, or after so long") {
    kgroup::testing::fake_cluster cluster;
    asio::io_context context;
    archive handler;
    kgroup::testing::fake_group group{context,
                                      {.brokers = cluster.brokers(),
                                       .group_id = "archive",
                                       .topics = {"orders"},
                                       .initial_offset = kgroup::offset_reset::earliest}};
    group.async_run(handler, [](std::exception_ptr) {});
    cluster.add_records({"orders", 0}, std::vector<kgroup::testing::fake_cluster::record>(
                                           501, {.value = "an order"}));
    cluster.assign({{"orders", 0}});
    kgroup::testing::run_ready(context);
    CHECK(handler.database_.transactions == 1);
    kgroup::testing::advance(context, 200ms);
    CHECK(handler.database_.transactions == 2);
    CHECK(handler.database_.rows.size() == 501);
    group.stop();
    kgroup::testing::run_ready(context);
    CHECK(cluster.committed({"orders", 0}) == 501);
}

} // namespace kgroup_processing_page
