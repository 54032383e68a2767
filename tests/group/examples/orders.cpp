// SPDX-License-Identifier: MIT

// The service of examples/orders.cpp in virtual time: a warehouse and a cluster that do what the
// test says, letters that are kept, a database in memory.

#include "../../../examples/orders.hpp"

#include <kgroup/testing/clock.hpp>
#include <kgroup/testing/fake_client.hpp>
#include <kgroup/testing/fake_dead_letters.hpp>
#include <kgroup/timer.hpp>

#include <asio/awaitable.hpp>
#include <asio/io_context.hpp>
#include <asio/this_coro.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <exception>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace orders_example_tests {

namespace {

using namespace examples;
using namespace std::chrono_literals;
using words = std::vector<std::string>;

/// Takes a second for each order.
class scripted_warehouse final : public warehouse {
public:
    bool away = false;
    std::set<std::string> refused{}; // articles
    words booked{};                  // "ada 3 tea"
    words traces{};
    std::size_t calls = 0;
    std::map<std::string, std::size_t> under_way{}; // by customer
    std::size_t most_of_a_customer = 0;
    std::size_t most = 0;

    asio::awaitable<void> book(order wanted, std::string traceparent) override {
        ++calls;
        if (away) {
            throw kgroup::not_now{"the warehouse is away"};
        }
        begin(wanted.customer);
        kgroup::detail::scope_exit const over{[this, &wanted] { --under_way[wanted.customer]; }};
        kgroup::timer answer{co_await asio::this_coro::executor};
        answer.expires_after(1s);
        co_await answer.async_wait();
        if (refused.contains(wanted.article)) {
            throw std::runtime_error{"no " + wanted.article + " is left"};
        }
        booked.push_back(wanted.customer + " " + std::to_string(wanted.pieces) + " " +
                         wanted.article);
        traces.push_back(std::move(traceparent));
    }

private:
    void begin(std::string const& customer) {
        most_of_a_customer = (std::max)(most_of_a_customer, ++under_way[customer]);
        std::size_t all = 0;
        for (auto const& [name, count] : under_way) {
            all += count;
        }
        most = (std::max)(most, all);
    }
};

struct orders_test {
    kgroup::testing::fake_cluster cluster;
    scripted_warehouse stock;
    record_table payments{":memory:"};
    kgroup::testing::fake_dead_letters letters;
    order_service service{stock, payments, letters};
    std::vector<kgroup::event_kind> told{};
    asio::io_context context;
    kgroup::testing::fake_group group{
        context,
        {.brokers = cluster.brokers(),
         .group_id = "orders",
         .topics = {"orders", "payments"},
         .initial_offset = kgroup::offset_reset::earliest,
         .on_event = [this](kgroup::event const& event) { told.push_back(event.kind); }}};
    kgroup::topic_partition const ordered{"orders", 0};
    kgroup::topic_partition const paid{"payments", 0};
    std::exception_ptr failure;
    bool completed = false;

    orders_test() {
        group.async_run(service, [this](std::exception_ptr end) {
            failure = end;
            completed = true;
        });
        cluster.assign({ordered, paid});
        settle();
    }

    void order_from(std::string customer, std::string text) {
        cluster.add_records(ordered, kgroup::testing::fake_cluster::record{
                                         .key = std::move(customer), .value = std::move(text)});
    }
    void settle() { kgroup::testing::run_ready(context); }
    void advance(std::chrono::seconds how_far) { kgroup::testing::advance(context, how_far); }
    template <typename Condition>
    bool within(std::chrono::seconds limit, Condition const& holds) {
        return kgroup::testing::advance_until(context, holds, limit);
    }
    bool has_told(kgroup::event_kind kind) const {
        return std::ranges::find(told, kind) != told.end();
    }
    void stop() {
        group.stop();
        settle();
    }
};

TEST_CASE_FIXTURE(orders_test, "examples: orders, a customer's are booked one after another, 100 "
                               "customers' side by side") {
    for (auto const* const pieces : {"1", "2"}) {
        for (int customer = 0; customer != 150; ++customer) {
            order_from("customer " + std::to_string(customer), std::string{pieces} + " tea");
        }
    }
    settle();
    REQUIRE(within(10s, [&] { return stock.booked.size() == 300; }));
    CHECK(stock.most == 100);
    CHECK(stock.most_of_a_customer == 1);
    std::map<std::string, words> by_customer;
    for (auto const& line : stock.booked) {
        auto const pieces = line.rfind(' ', line.rfind(' ') - 1);
        by_customer[line.substr(0, pieces)].push_back(line.substr(pieces + 1));
    }
    CHECK(by_customer.size() == 150);
    for (auto const& [customer, booked] : by_customer) {
        CHECK(booked == words{"1 tea", "2 tea"});
    }
    stop();
    CHECK(cluster.committed(ordered) == 300);
}

TEST_CASE_FIXTURE(orders_test, "examples: orders, one that is refused five times is a dead letter, "
                               "and the customer's next is booked after it") {
    stock.refused = {"rum"};
    order_from("ada", "1 rum");
    order_from("ada", "2 tea");
    order_from("bob", "3 tea");
    letters.hold(); // no broker takes it
    REQUIRE(within(60s, [&] { return letters.under_way() == 1; }));
    CHECK(stock.calls == 6);
    CHECK(stock.booked == words{"bob 3 tea"});
    letters.release();
    advance(1s);
    CHECK(stock.booked == words{"bob 3 tea", "ada 2 tea"});
    REQUIRE(letters.sent().size() == 1);
    CHECK(letters.sent()[0].record.value == "1 rum");
    CHECK(letters.sent()[0].attempts == 5);
    stop();
    CHECK(cluster.committed(ordered) == 3);
}

TEST_CASE_FIXTURE(orders_test, "examples: orders, what nobody can read is a dead letter at once") {
    for (auto const* const text : {"", "tea", "3", "3 ", "-1 tea", "0 tea", "3tea"}) {
        order_from("ada", text);
    }
    order_from("ada", "3 tea");
    advance(1s);
    CHECK(letters.sent().size() == 7);
    CHECK(stock.calls == 1);
    CHECK(stock.booked == words{"ada 3 tea"});
}

TEST_CASE_FIXTURE(orders_test, "examples: orders, while the warehouse is away they wait, and none "
                               "becomes a dead letter") {
    stock.away = true;
    for (int customer = 0; customer != 50; ++customer) {
        order_from(std::to_string(customer), "1 tea");
    }
    settle();
    for (int minute = 0; minute != 60; ++minute) {
        advance(60s);
    }
    CHECK(has_told(kgroup::event_kind::processing_held));
    CHECK(letters.sent().empty());
    CHECK(stock.calls < 1000); // one probe at a time
    stock.away = false;
    REQUIRE(within(120s, [&] { return stock.booked.size() == 50; }));
    CHECK(has_told(kgroup::event_kind::processing_resumed));
}

TEST_CASE_FIXTURE(orders_test, "examples: orders, the warehouse is told the trace that an order "
                               "belongs to") {
    std::string const trace{"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"};
    cluster.add_records(ordered,
                        kgroup::testing::fake_cluster::record{
                            .key = "ada", .value = "1 tea", .headers = {{"traceparent", trace}}});
    order_from("bob", "2 tea");
    advance(1s);
    CHECK(stock.traces == words{trace, ""});
}

TEST_CASE_FIXTURE(orders_test, "examples: orders, payments are kept in batches, also while orders "
                               "are under way") {
    order_from("ada", "1 tea");
    cluster.add_records(
        paid, std::vector<kgroup::testing::fake_cluster::record>(501, {.value = "a payment"}));
    settle();
    CHECK(payments.size() == 500);
    advance(1s);
    CHECK(payments.size() == 501);
    CHECK(stock.booked.size() == 1);
    stop();
    CHECK(cluster.committed(paid) == 501);
}

TEST_CASE_FIXTURE(orders_test, "examples: orders, at a stop what runs finishes, what waits is not "
                               "lost, and all that is done is committed") {
    stock.refused = {"rum"};
    order_from("ada", "1 tea");
    order_from("bob", "2 rum"); // will wait for a retry
    order_from("ada", "3 tea");
    advance(1s);
    group.stop();
    settle();
    CHECK_FALSE(completed); // ada's second is under way
    advance(1s);
    CHECK(completed);
    CHECK_FALSE(failure);
    CHECK(stock.booked == words{"ada 1 tea", "ada 3 tea"});
    CHECK(cluster.committed(ordered) == 1);
    CHECK(cluster.records_held() == 0);
    CHECK(letters.sent().empty());
}

TEST_CASE_FIXTURE(orders_test,
                  "examples: orders, after a rebalance each customer goes on in order, "
                  "and nothing is left out") {
    for (int pieces = 1; pieces != 7; ++pieces) {
        order_from(pieces % 2 == 0 ? "ada" : "bob", std::to_string(pieces) + " tea");
    }
    advance(1s);
    cluster.revoke();
    settle();
    advance(1s);
    cluster.assign({ordered, paid});
    REQUIRE(within(20s, [&] { return cluster.committed(ordered) == 6; }));
    CHECK(stock.booked ==
          words{"bob 1 tea", "ada 2 tea", "bob 3 tea", "ada 4 tea", "bob 5 tea", "ada 6 tea"});
    CHECK(letters.sent().empty());
}

} // namespace

} // namespace orders_example_tests
