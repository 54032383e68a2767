// SPDX-License-Identifier: MIT

// A claim that is handed over to librdkafka, as the client does it.

#include <kgroup/config.hpp>
#include <kgroup/detail/claim/partition_state.hpp>
#include <kgroup/detail/client/client.hpp>
#include <kgroup/detail/fetch/direct_client.hpp>
#include <kgroup/end_reason.hpp>
#include <kgroup/message_channel.hpp>
#include <kgroup/testing/embedded_cluster.hpp>

#include <asio/io_context.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

#include "kafka.hpp"

namespace hand_over_tests {
namespace {

using namespace kgroup::tests;
using namespace kgroup::detail;
using namespace kgroup::detail::fetch;
using kgroup::event_kind;
using kgroup::topic_partition;

/// A client that owns orders[0] of an embedded cluster. Nothing runs but what a test calls.
struct scene {
    explicit scene(std::map<std::string, std::string> properties = {}) {
        cluster.create_topic("orders", 1);
        produce(100);
        client.emplace(kgroup::config{.brokers = cluster.brokers(),
                                      .group_id = unique("group"),
                                      .topics = {"orders"},
                                      .initial_offset = kgroup::offset_reset::earliest,
                                      .properties = std::move(properties)});
        client->run_on(context.get_executor());
        client->start([] {});
        REQUIRE(until([&] { return owned; }));
        source = std::static_pointer_cast<direct_source<rdkafka_source>>(client->open(state));
        state->start(source, 0);
        client->assign({{where, 0}}, false);
    }
    ~scene() {
        state->end(kgroup::end_reason::revoked);
        source = nullptr;
        state = nullptr;
        std::promise<void> ended;
        client->shut_down([&ended] { ended.set_value(); });
        context.restart();
        context.run(); // the fetcher's end
        ended.get_future().wait();
    }

    void produce(std::size_t count) {
        for (; count != 0; --count) { // batches of their own
            cluster.produce("orders", 0, "value");
        }
    }
    void poll() {
        while (auto next = client->poll()) {
            if (auto* const rebalance = std::get_if<kgroup::detail::client_rebalance>(&*next)) {
                owned =
                    std::holds_alternative<kgroup::detail::partitions_assigned>(rebalance->change);
            }
            auto* const notice = std::get_if<kgroup::detail::client_notice>(&*next);
            handed_over += notice && notice->event.kind == event_kind::handed_over;
            said += notice ? notice->event.text + '\n' : "";
        }
    }
    template <typename Condition>
    bool until(Condition holds, bool polls = true) {
        auto const limit = std::chrono::steady_clock::now() + 20s;
        while (!holds()) {
            if (std::chrono::steady_clock::now() > limit) {
                return false;
            }
            if (polls) {
                poll();
            }
            context.restart();
            context.run_one_for(10ms);
        }
        return true;
    }
    void drain() {
        auto& block = state->take_block(64, 0);
        source->drain(block, 1 << 20);
        for (std::size_t i = 0; i != block.size(); ++i) {
            drained.push_back(block[i].offset);
        }
        source->free_records(&block[0], block.size());
        state->give_back(block);
    }
    void seek(std::int64_t to) { client->seek({{where, to}}); }
    /// librdkafka has sent this after the call.
    bool sends(std::string const& request) {
        poll();
        auto const before = said.size();
        return until([&] { return said.find("Sent " + request, before) != std::string::npos; });
    }
    bool has_fetched() const { return said.find("Sent FetchRequest") != std::string::npos; }

    asio::io_context context;
    kgroup::testing::embedded_cluster cluster{1};
    topic_partition const where{"orders", 0};
    std::optional<direct_client> client;
    std::shared_ptr<partition_state> state = std::make_shared<partition_state>(
        where, context.get_executor(), kgroup::tracked_offset{-1, {}},
        std::weak_ptr<claim_observer>{});
    std::shared_ptr<direct_source<rdkafka_source>> source;
    bool owned = false;
    int handed_over = 0;
    std::string said; // by all notices
    std::vector<std::int64_t> drained;
};

TEST_CASE("hand-over: with a seek on the way each record from there on comes, and once") {
    scene of;
    REQUIRE(of.until([&] {
        of.drain();
        return of.drained.size() == 100;
    }));
    of.cluster.fail(kgroup::testing::embedded_cluster::request::fetch,
                    RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE);
    REQUIRE(of.until([&] { return of.source->waiting() != 0; }));
    of.drained.clear();
    int expected = 1;
    SUBCASE("before the claim comes to the end of what was fetched") {
        of.seek(40);
        expected = 0;
    }
    SUBCASE("when the claim has asked for it") {
        of.drain();
        of.seek(40);
        of.poll();
    }
    SUBCASE("two of them") {
        of.drain();
        of.seek(10);
        of.seek(40);
        of.poll();
    }
    SUBCASE("when it was carried out") {
        of.drain();
        of.poll();
        REQUIRE(of.handed_over == 1);
        of.seek(40);
    }
    of.produce(5);
    REQUIRE(of.until([&] {
        of.drain();
        return !of.drained.empty() && of.drained.back() == 104;
    }));
    REQUIRE(of.drained.size() == 65);
    for (std::size_t i = 0; i != of.drained.size(); ++i) {
        CHECK(of.drained[i] == static_cast<std::int64_t>(i) + 40);
    }
    CHECK(of.handed_over == expected);
}

TEST_CASE(
    "hand-over: until then librdkafka sends no fetch, after a seek and without a claim, too") {
    scene of{{{"session.timeout.ms", "6000"},
              {"heartbeat.interval.ms", "100"},
              {"debug", "fetch,protocol"},
              {"log_level", "7"}}};
    auto const comes_from = [&](std::int64_t first) {
        of.drained.clear();
        return of.until([&] {
            of.drain();
            return !of.drained.empty() && of.drained.back() == 99;
        }) && of.drained.front() == first;
    };
    CHECK(comes_from(0));
    for (std::int64_t const to : {40, 10, 99}) {
        of.seek(to);
        CHECK(comes_from(to));
        CHECK(of.sends("HeartbeatRequest"));
        CHECK_FALSE(of.has_fetched());
    }
    // As a group does it that ends before it has begun to read.
    of.client->unassign({of.where}, false);
    of.client->assign({{of.where, start_position::log_end, -1, {}}}, false);
    of.produce(5);
    CHECK(of.sends("HeartbeatRequest"));
    CHECK_FALSE(of.has_fetched());
    of.client->unassign({of.where}, false);
    // And what is looked for would be found.
    of.source = std::static_pointer_cast<direct_source<rdkafka_source>>(of.client->open(of.state));
    of.client->assign({{of.where, 0}}, false);
    of.cluster.fail(kgroup::testing::embedded_cluster::request::fetch,
                    RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE);
    CHECK(of.until([&] {
        of.drain();
        return of.has_fetched();
    }));
}

} // namespace
} // namespace hand_over_tests
