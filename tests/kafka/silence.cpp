#include "kafka.hpp"
#include "member.hpp"

#include <kgroup/kgroup.hpp>
#include <kgroup/testing/embedded_cluster.hpp>

#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

// Whatever makes no progress is told, with its reason, and so is its end.

namespace {

using namespace kgroup::tests;
using kgroup::event_kind;
using kgroup::testing::embedded_cluster;
using request = embedded_cluster::request;

constexpr std::size_t all = 100000;

kgroup::config member_of(std::string const& brokers, std::string const& topic) {
    return {.brokers = brokers,
            .group_id = unique("group"),
            .topics = {topic},
            .initial_offset = kgroup::offset_reset::earliest,
            .properties = {{"session.timeout.ms", "6000"}}};
}

bool tells(member const& of, event_kind kind, std::string const& words, std::chrono::milliseconds limit = 14s) {
    return eventually(
        [&] {
            auto const told = of.last(kind);
            return told && told->text.find(words) != std::string::npos;
        },
        limit);
}

bool has_all(received const& records, std::size_t count) {
    return eventually([&] { return records.count() == count; }, 40s);
}

} // namespace

TEST_CASE("silence: a coordinator that cannot be found") {
    embedded_cluster cluster;
    cluster.create_topic("orders", 2);
    cluster.produce("orders", 0, "a");
    cluster.fail(request::find_coordinator, RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE, all);
    received records;
    member one{member_of(cluster.brokers(), "orders"), receive_into(records)};
    CHECK(tells(one, event_kind::no_assignment, "coordinator does not answer"));
    CHECK(one.count(event_kind::brokers_unreachable) == 0);
    cluster.stop_failing(request::find_coordinator);
    CHECK(has_all(records, 1));
    CHECK(one.count(event_kind::assignment_received) == 1);
}

TEST_CASE("silence: joins and their answers that repeat") {
    embedded_cluster cluster;
    cluster.create_topic("orders", 2);
    cluster.produce("orders", 0, "a");
    auto which = request::join_group;
    std::string step = "has not let this member join";
    auto error = RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS;
    SUBCASE("join") {}
    SUBCASE("sync") {
        which = request::sync_group;
        error = RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS;
        step = "has joined, and waits for the other members";
    }
    cluster.fail(which, error, all);
    received records;
    member one{member_of(cluster.brokers(), "orders"), receive_into(records)};
    CHECK(tells(one, event_kind::no_assignment, step));
    cluster.stop_failing(which);
    CHECK(has_all(records, 1));
    CHECK(one.count(event_kind::assignment_received) == 1);
}

TEST_CASE("silence: what listens is not a broker") {
    asio::io_context context;
    asio::ip::tcp::acceptor mute{context, {asio::ip::make_address("127.0.0.1"), 0}}; // connects, and says nothing
    received records;
    member one{member_of("127.0.0.1:" + std::to_string(mute.local_endpoint().port()), "orders"), receive_into(records)};
    CHECK(tells(one, event_kind::no_assignment, "no broker has answered"));
}

TEST_CASE("silence: the topic does not exist") {
    embedded_cluster cluster;
    cluster.create_topic("orders", 1);
    cluster.produce("orders", 0, "a");
    cluster.fail_topic("orders", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    received records;
    member one{member_of(cluster.brokers(), "orders"), receive_into(records)};
    CHECK(tells(one, event_kind::topic_missing, "orders"));
    CHECK(tells(one, event_kind::no_assignment, "there is no topic orders"));
    cluster.fail_topic("orders", RD_KAFKA_RESP_ERR_NO_ERROR);
    CHECK(has_all(records, 1));
    CHECK(one.count(event_kind::topic_found) == 1);
    CHECK(one.count(event_kind::assignment_received) == 1);
}

TEST_CASE("silence: fetches that are refused, and a partition that loses its leader") {
    embedded_cluster cluster;
    cluster.create_topic("orders", 2);
    received records;
    member one{member_of(cluster.brokers(), "orders"), receive_into(records)};
    cluster.produce("orders", 0, "a");
    REQUIRE(has_all(records, 1));
    SUBCASE("fetches") {
        cluster.fail(request::fetch, RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR, all);
        cluster.produce("orders", 0, "b");
        CHECK(tells(one, event_kind::nothing_comes, "the log goes up to offset 2", 20s));
        CHECK(one.count(event_kind::nothing_comes) == 1); // the other is at its end
        cluster.stop_failing(request::fetch);
        CHECK(has_all(records, 2));
        CHECK(eventually([&] { return one.count(event_kind::records_come) == 1; }));
    }
    SUBCASE("leader") {
        cluster.move_leader("orders", 0, -1);
        CHECK(tells(one, event_kind::nothing_comes, "the partition's leader has not said", 25s));
        cluster.move_leader("orders", 0, 1);
        CHECK(eventually([&] { return one.count(event_kind::records_come) != 0; }));
    }
}

TEST_CASE("silence: an outage is told until a broker has answered, and the next one too") {
    embedded_cluster cluster;
    cluster.create_topic("orders", 2);
    received records;
    member one{member_of(cluster.brokers(), "orders"), receive_into(records)};
    REQUIRE(eventually([&] { return one.claims() == 2; }));
    for (std::size_t outage = 1; outage != 3; ++outage) {
        auto const losses = one.count(event_kind::claims_lost);
        cluster.take_down();
        REQUIRE(eventually([&] { return one.count(event_kind::brokers_unreachable) == outage; }));
        REQUIRE(eventually([&] { return one.count(event_kind::claims_lost) > losses; }));
        CHECK(one.count(event_kind::brokers_reachable) == outage - 1);
        cluster.bring_up();
        CHECK(eventually([&] { return one.count(event_kind::brokers_reachable) == outage; }));
        REQUIRE(eventually([&] { return one.claims() == 2; }));
    }
}
