// SPDX-License-Identifier: MIT

// librdkafka owns the partitions of a direct group and reads none of them, whatever happens. Its
// log says what it sends.

#include <kgroup/config.hpp>
#include <kgroup/event.hpp>
#include <kgroup/testing/embedded_cluster.hpp>

#include <asio/post.hpp>

#include <doctest/doctest.h>
#include <librdkafka/rdkafka.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kafka.hpp"
#include "member.hpp"

namespace holding_still_tests {
namespace {

using namespace kgroup::tests;
using kgroup::event_kind;
using request = kgroup::testing::embedded_cluster::request;

constexpr std::int32_t partitions = 4;

/// A member, and what is done to it. Another may come and stay.
class scene {
public:
    scene(kafka& with, kgroup::config with_config)
        : brokers(with),
          given_(std::move(with_config)),
          topic_(given_.topics.front()) {
        given_.properties["debug"] = "fetch,protocol";
        given_.properties["log_level"] = "7";
        one.emplace(given_, receive_into(records));
        REQUIRE(eventually([&] { return one->claims() == partitions; }));
    }

    void bring_another() {
        another.emplace(given_, receive_into(records));
        REQUIRE(eventually([&] { return one->claims() == 2 && another->claims() == 2; }));
    }
    void move_leaders() {
        for (std::int32_t partition = 0; partition != partitions; ++partition) {
            brokers.embedded().move_leader(topic_, partition, (partition + 1) % 2 + 1);
        }
    }
    void cut_connections() {
        brokers.embedded().take_down();
        brokers.embedded().bring_up();
    }
    /// For longer than librdkafka lets it go without a poll: it leaves its group, and comes again.
    void block_executor() {
        auto const before = one->stats().sessions;
        asio::post(one->context(), [] { eventually([] { return false; }, 4500ms); });
        bring_another();
        CHECK(one->stats().sessions > before);
        CHECK(one->said().find("max.poll.interval.ms") != std::string::npos);
    }
    void pause() {
        one->pause_all();
        append();
        one->resume_all();
    }

    void append() {
        for (std::int32_t partition = 0; partition != partitions; ++partition) {
            brokers.produce_values(topic_, partition, {"value"});
        }
        appended_ += partitions;
    }
    /// The claims go on, and kgroup has fetched for them.
    void check() {
        append();
        REQUIRE(eventually([&] { return records.count() >= appended_; }));
        for (auto const* const of : members()) {
            auto const said = of->said();
            CHECK(said.find("Sent ") != std::string::npos); // others are seen
            CHECK(said.find("Sent FetchRequest") == std::string::npos);
            CHECK(said.find("although it was paused") == std::string::npos);
        }
    }
    /// What is looked for in the log would be there.
    void check_log() {
        brokers.embedded().fail(request::fetch, RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE, 2);
        bool fetched = false;
        for (auto* const of : members()) {
            of->may_be_handed_over();
        }
        CHECK(eventually([&] {
            for (auto const* const of : members()) {
                fetched = fetched || of->said().find("Sent FetchRequest") != std::string::npos;
            }
            return fetched;
        }));
    }

    kafka& brokers;
    received records;
    std::optional<member> one;
    std::optional<member> another;

private:
    std::vector<member*> members() {
        return another ? std::vector{&*one, &*another} : std::vector{&*one};
    }

    kgroup::config given_;
    std::string topic_;
    std::size_t appended_ = 0;
};

struct step {
    std::string name;
    std::function<void(scene&)> happen;
};

void holds_still(scene& tested, std::vector<step> const& steps) {
    for (auto const& [name, happen] : steps) {
        CAPTURE(name);
        happen(tested);
        tested.check();
    }
}

std::vector<step> const on_any_cluster{
    {"idle", [](scene&) {}},
    {"claims are paused", &scene::pause},
    {"a rebalance", &scene::bring_another},
};

TEST_CASE("direct: librdkafka sends no fetch while it holds the partitions") {
    kafka brokers{kafka::kind::embedded, 2};
    auto given = brokers.member_of_new_group(brokers.create_topic(partitions));
    given.properties["max.poll.interval.ms"] = "4000";
    auto steps = on_any_cluster;
    steps.back() = {"no poll for long, and a rebalance", &scene::block_executor};
    steps.push_back({"leaders move", &scene::move_leaders});
    steps.push_back({"connections are cut", &scene::cut_connections});
    scene tested{brokers, given};
    holds_still(tested, steps);
    tested.check_log();
}

TEST_CASE("direct: librdkafka sends no fetch to a cooperative group") {
    if (rd_kafka_version() < 0x020a0000) {
        skip("cooperative-sticky needs librdkafka 2.10");
        return;
    }
    kafka brokers{kafka::kind::embedded};
    auto given = brokers.member_of_new_group(brokers.create_topic(partitions));
    given.assignors = {kgroup::assignor::cooperative_sticky};
    scene tested{brokers, given};
    holds_still(tested, on_any_cluster);
    tested.check_log();
}

TEST_CASE("direct: librdkafka sends no fetch to a group of the protocol consumer") {
    if (!kafka::is_there()) {
        return;
    }
    if (rd_kafka_version() < 0x020c0000) {
        skip("the protocol consumer needs librdkafka 2.12");
        return;
    }
    kafka brokers{kafka::kind::real};
    auto given = brokers.member_of_new_group(brokers.create_topic(partitions));
    given.protocol = kgroup::group_protocol::consumer;
    given.properties.erase("session.timeout.ms");
    given.properties.erase("heartbeat.interval.ms");
    scene tested{brokers, given};
    holds_still(tested, on_any_cluster);
}

} // namespace
} // namespace holding_still_tests
