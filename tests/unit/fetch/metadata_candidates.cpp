// SPDX-License-Identifier: MIT

#include <kgroup/detail/asio/auto_reset_event.hpp>
#include <kgroup/detail/fetch/connection.hpp>
#include <kgroup/detail/fetch/metadata_candidates.hpp>

#include <asio/io_context.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace fetch_metadata_candidates_tests {
namespace {

using namespace kgroup::detail::fetch;
using namespace std::chrono_literals;
using named = metadata_answer::broker;

struct scene {
    asio::io_context context;
    fetcher_settings settings;
    known_brokers brokers{"configured:1"};
    metadata_candidates tested;
    std::vector<std::string> ready; // addresses
    time_point now{1h};

    void name(std::vector<named> const& told) {
        brokers.take(told, [](known_broker&) {});
    }
    /// An address, with a mark if it is to be connected to; empty: nobody.
    std::string next(bool other = false) {
        auto const is_ready = [&](known_broker const& broker) {
            return std::count(ready.begin(), ready.end(), to_string(broker.address)) != 0;
        };
        auto const found = tested.next(brokers, other, now, is_ready);
        return found ? (found->ready ? "" : "connect ") + to_string(found->to.address) : "";
    }
    std::string next_other() { return next(true); }
    /// A connection is under way.
    void connect(known_broker& broker) {
        broker.control().link = std::make_shared<connection>(
            context.get_executor(), kgroup::detail::auto_reset_event::make(context.get_executor()),
            settings, broker.address, now);
    }
};

TEST_CASE("without brokers nobody is asked") {
    scene nowhere;
    nowhere.brokers.clear();
    CHECK(nowhere.next() == "");
}

TEST_CASE("who is connected is asked, one after the other") {
    scene cluster;
    cluster.name({{1, "one", 1}, {2, "two", 2}, {3, "three", 3}});
    cluster.ready = {"two:2", "three:3"};
    CHECK(cluster.next() == "two:2");
    cluster.ready = {"one:1", "two:2", "three:3"};
    CHECK(cluster.next() == "three:3");
    CHECK(cluster.next() == "one:1");
    cluster.ready = {"one:1"};
    CHECK(cluster.next() == "one:1");
    cluster.ready = {"configured:1"};
    CHECK(cluster.next() == "configured:1");
}

TEST_CASE("when it is time for another one, all that are named are asked in turn") {
    scene cluster;
    cluster.name({{1, "one", 1}, {2, "two", 2}, {3, "three", 3}});
    cluster.ready = {"one:1", "configured:1"};
    CHECK(cluster.next_other() == "connect two:2");
    cluster.connect(*cluster.brokers.find(2));
    CHECK(cluster.next_other() == ""); // it has a second
    cluster.ready = {"one:1", "two:2", "configured:1"};
    CHECK(cluster.next_other() == "two:2");
    cluster.tested.on_settled();
    CHECK(cluster.next_other() == "connect three:3");
    cluster.ready = {"one:1", "two:2", "three:3", "configured:1"};
    CHECK(cluster.next_other() == "three:3");
    cluster.tested.on_settled();
    CHECK(cluster.next_other() == "one:1");
    CHECK(cluster.next_other() == "two:2");
}

TEST_CASE("another one that does not come about is not waited for, and the one behind is next") {
    scene cluster;
    cluster.name({{1, "one", 1}, {2, "two", 2}, {3, "three", 3}});
    cluster.ready = {"one:1"};
    CHECK(cluster.next_other() == "connect two:2");
    SUBCASE("it is late") {
        cluster.connect(*cluster.brokers.find(2));
        cluster.now += 1s;
    }
    SUBCASE("its connection ended") { cluster.tested.on_settled(); }
    CHECK(cluster.next_other() == "one:1");
    cluster.tested.on_settled();
    CHECK(cluster.next_other() == "connect three:3");
}

TEST_CASE("of one broker there is no other, and without it who is configured is tried") {
    scene cluster;
    cluster.name({{1, "one", 1}});
    cluster.ready = {"one:1"};
    CHECK(cluster.next_other() == "one:1");
    CHECK(cluster.next_other() == "one:1");
    cluster.ready = {};
    CHECK(cluster.next_other() == "connect one:1");
    cluster.brokers.find(1)->pauses.on_closed(100ms, 10s, 25, cluster.now);
    cluster.tested.on_settled();
    CHECK(cluster.next_other() == "connect configured:1");
}

TEST_CASE("who throttles is not asked while another can be") {
    scene cluster;
    cluster.name({{1, "one", 1}, {2, "two", 2}});
    cluster.ready = {"one:1", "two:2"};
    cluster.brokers.find(1)->pauses.on_throttled(5s, cluster.now);
    CHECK(cluster.next() == "two:2");
}

TEST_CASE("one after the other is tried, a second apart, and in the end who is configured") {
    scene cluster;
    cluster.name({{1, "one", 1}, {2, "two", 2}});
    CHECK(cluster.next() == "connect two:2");
    CHECK(cluster.tested.next_try() == cluster.now + 1s);
    CHECK(cluster.next() == "");
    cluster.now += 1s;
    CHECK(cluster.next() == "connect configured:1");
    cluster.now += 1s;
    CHECK(cluster.next() == "connect one:1");
}

TEST_CASE("the next one is tried at once when a connection ended or an answer came") {
    scene cluster;
    cluster.name({{1, "one", 1}, {2, "two", 2}});
    CHECK(cluster.next() == "connect two:2");
    cluster.tested.on_settled();
    CHECK(cluster.tested.next_try() <= cluster.now);
    CHECK(cluster.next() == "connect configured:1");
}

TEST_CASE("who is being connected to, or must not be, is passed over") {
    scene cluster;
    cluster.name({{1, "one", 1}, {2, "two", 2}});
    cluster.connect(*cluster.brokers.find(2));
    cluster.brokers.at(2).pauses.on_closed(100ms, 10s, 25, cluster.now);
    CHECK(cluster.next() == "connect one:1");
    cluster.connect(*cluster.brokers.find(1));
    cluster.now += 1s;
    CHECK(cluster.next() == "connect configured:1");
    cluster.connect(cluster.brokers.at(2));
    cluster.now += 1s;
    CHECK(cluster.next() == "");
}

TEST_CASE("fewer brokers than before do not matter") {
    scene cluster;
    cluster.name({{1, "one", 1}, {2, "two", 2}, {3, "three", 3}});
    cluster.ready = {"configured:1"};
    CHECK(cluster.next() == "configured:1"); // the last one of four
    cluster.name({{1, "one", 1}});
    cluster.brokers.drop_gone([](known_broker&) {});
    cluster.ready = {"one:1"};
    CHECK(cluster.next() == "one:1");
}

} // namespace
} // namespace fetch_metadata_candidates_tests
