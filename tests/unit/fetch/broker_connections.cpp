// SPDX-License-Identifier: MIT

#include <kgroup/detail/asio/auto_reset_event.hpp>
#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/fetch/broker_connections.hpp>
#include <kgroup/detail/fetch/metadata_message.hpp>
#include <kgroup/testing/clock.hpp>

#include <asio/io_context.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "support/scripted_broker.hpp"

namespace broker_connections_tests {
namespace {

using namespace kgroup::detail::fetch;
using namespace kgroup::tests;
using namespace std::chrono_literals;
using kgroup::detail::auto_reset_event;
using notice = fetcher_notice::kind;

time_point now() { return time_point{kgroup::detail::clock::now().time_since_epoch()}; }

struct scene {
    asio::io_context context;
    scripted_cluster cluster{context};
    fetcher_settings settings;
    std::shared_ptr<auto_reset_event> event = auto_reset_event::make(context.get_executor());
    std::shared_ptr<answer_memory> memory = std::make_shared<answer_memory>(std::size_t{1} << 20);
    known_brokers brokers{cluster.bootstrap()};
    known_broker& broker = brokers.at(0);
    broker_lane& lane = broker.control();
    broker_connections tested{context.get_executor(), event, settings, memory};
    std::vector<std::int32_t> answers; // their correlations
    std::vector<connection::ending> ends;
    bool leaves = false; // with the answer

    ~scene() {
        tested.close(brokers);
        kgroup::testing::run_ready(context);
        CHECK(tested.close(brokers));
    }
    void step() {
        auto const take = [&](connection::expected const& question, auto const&) {
            answers.push_back(question.correlation);
            if (leaves) {
                ends.push_back(tested.leave(lane).value());
            }
        };
        if (auto const end = tested.advance(broker, lane, now(), take)) {
            ends.push_back(*end);
        }
        kgroup::testing::run_ready(context);
    }
    template <typename Condition>
    bool until(Condition condition) {
        auto const limit = std::chrono::steady_clock::now() + 20s;
        while (!condition() && std::chrono::steady_clock::now() < limit) {
            step();
        }
        return condition();
    }
    bool open() {
        return tested.open(broker, lane, now()) && until([&] { return tested.ready(lane); });
    }
    void ask() {
        std::string frame;
        auto const correlation = lane.link->next_correlation();
        std::string_view const topic = "t";
        write_metadata_request(frame, 9, correlation, "scene", {&topic, 1});
        lane.link->send(frame, api::metadata, 9, correlation, 0ms, now());
    }
};

TEST_CASE("broker_connections: one a lane is made, and says what its broker can do") {
    scene s;
    s.cluster.brokers[0].versions[api::fetch] = {4, 12};
    CHECK(!s.tested.ready(s.lane));
    REQUIRE(s.open());
    CHECK(s.broker.abilities.diverging);
    CHECK(!s.broker.abilities.topic_ids);
    auto const link = s.lane.link;
    CHECK(!s.tested.open(s.broker, s.lane, now()));
    CHECK(s.lane.link == link);
    CHECK(s.tested.open(s.broker, s.broker.lanes[0], now()));
}

TEST_CASE(
    "broker_connections: a broker that throttles from the beginning on is not asked so long") {
    scene s;
    s.cluster.on_request = [](auto const&) {
        return std::optional{scripted_fault{.throttle_ms = 3000}};
    };
    REQUIRE(s.open());
    CHECK(!s.broker.pauses.may_ask(now() + 2s));
    CHECK(s.broker.pauses.may_ask(now() + 3s));
}

TEST_CASE("broker_connections: none is made before the pause behind a failure ends") {
    scene s;
    s.broker.pauses.on_closed(100ms, 10s, 25, now());
    CHECK(!s.tested.open(s.broker, s.lane, now()));
    CHECK(!s.lane.link);
    CHECK(s.tested.open(s.broker, s.lane, now() + 100ms));
}

TEST_CASE("broker_connections: a lane without a connection has nothing to do") {
    scene s;
    s.step();
    CHECK(s.ends.empty());
    CHECK(!s.tested.leave(s.lane));
}

TEST_CASE("broker_connections: the end of a connection is told once, and its lane is free") {
    scene s;
    REQUIRE(s.open());
    s.cluster.brokers[0].cut_connections();
    REQUIRE(s.until([&] { return !s.ends.empty(); }));
    CHECK(s.ends[0].type == notice::disconnected);
    CHECK(s.ends[0].was_ready);
    CHECK(!s.lane.link);
    s.step();
    CHECK(s.ends.size() == 1);
    REQUIRE(s.open());
}

TEST_CASE("broker_connections: a lane that is left while its answer is taken ends once") {
    scene s;
    REQUIRE(s.open());
    s.leaves = true;
    s.ask();
    REQUIRE(s.until([&] { return !s.answers.empty(); }));
    s.step();
    CHECK(s.ends.size() == 1);
    CHECK(!s.lane.link);
}

TEST_CASE("broker_connections: what is under way is waited for, in lanes and behind them") {
    scene s;
    REQUIRE(s.open());
    s.step(); // it waits for bytes
    std::weak_ptr<connection> const left = s.lane.link;
    REQUIRE(s.tested.leave(s.lane));
    s.tested.forget_ended();
    CHECK(!left.expired());
    CHECK(!s.tested.close(s.brokers));
    kgroup::testing::run_ready(s.context);
    CHECK(s.tested.close(s.brokers));
    s.tested.forget_ended();
    CHECK(left.expired());

    REQUIRE(s.open());
    s.step();
    CHECK(!s.tested.close(s.brokers));
    kgroup::testing::run_ready(s.context);
    CHECK(s.tested.close(s.brokers));
}

} // namespace
} // namespace broker_connections_tests
