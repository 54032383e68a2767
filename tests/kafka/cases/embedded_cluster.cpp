// SPDX-License-Identifier: MIT

#include <kgroup/kgroup.hpp>
#include <kgroup/testing/embedded_cluster.hpp>

#include <asio/io_context.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>
#include <exception>
#include <future>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using kgroup::testing::embedded_cluster;
using produced = embedded_cluster::record;
using request = embedded_cluster::request;
using steady = std::chrono::steady_clock;

namespace {

/// Takes so many records, marks them all, and stops its group.
struct collector {
    std::size_t wanted;
    kgroup::consumer_group* group = nullptr;
    std::vector<kgroup::owned_message> collected{};
    std::vector<std::int64_t> starts{};

    asio::awaitable<void> consume_claim(kgroup::session&, kgroup::claim& claim) {
        starts.push_back(claim.initial_offset());
        while (auto message = co_await claim.messages().async_receive()) {
            if (collected.size() == wanted) {
                co_return;
            }
            collected.push_back(message->copy());
            claim.mark(*message);
            if (collected.size() == wanted) {
                group->stop();
            }
        }
    }
};

/// What a member of the group gets from the topic, `wanted` records or what there is within
/// `bound`.
collector consume(embedded_cluster const& cluster, std::string const& group_id,
                  std::string const& topic, std::size_t wanted, std::chrono::seconds bound = 30s) {
    asio::io_context context;
    kgroup::consumer_group group{context,
                                 {.brokers = cluster.brokers(),
                                  .group_id = group_id,
                                  .topics = {topic},
                                  .initial_offset = kgroup::offset_reset::earliest,
                                  .properties = {{"session.timeout.ms", "4000"}}}};
    collector handler{wanted, &group};
    std::optional<std::exception_ptr> outcome;
    group.async_run(handler, [&](std::exception_ptr error) { outcome = error; });
    context.run_for(bound);
    if (!outcome) {
        group.stop();
        context.restart();
        context.run();
    }
    if (*outcome) {
        std::rethrow_exception(*outcome);
    }
    return handler;
}

/// The error that a call ends with.
template <typename Call>
std::error_code error_of(Call call) {
    try {
        call();
    } catch (std::system_error const& error) {
        return error.code();
    }
    return {};
}

template <typename Call>
std::chrono::milliseconds time_of(Call call) {
    auto const start = steady::now();
    call();
    return std::chrono::duration_cast<std::chrono::milliseconds>(steady::now() - start);
}

std::error_code kafka_error(rd_kafka_resp_err_t error) { return kgroup::make_error_code(error); }

} // namespace

TEST_CASE("embedded_cluster: what was produced is what a member receives, and what it marks is "
          "committed") {
    embedded_cluster cluster;
    cluster.create_topic("orders", 3);
    CHECK(cluster.log_end("orders", 0) == 0);
    CHECK(cluster.committed("billing", "orders", 0) == std::nullopt);

    CHECK(cluster.produce("orders", 0, "M1", std::string{"M2"},
                          produced{.key = "k", .value = "M3"}) == 0);
    CHECK(cluster.produce("orders", 0, "M4") == 3);
    CHECK(cluster.produce("orders", 2, "N1") == 0);
    CHECK(cluster.produce("orders", 0) == -1);
    CHECK(cluster.log_end("orders", 0) == 4);
    CHECK(cluster.log_end("orders", 1) == 0);

    auto const billing = consume(cluster, "billing", "orders", 5);
    REQUIRE(billing.collected.size() == 5);
    std::vector<std::string> values;
    for (auto const& message : billing.collected) {
        if (message.partition == 0) {
            CHECK(message.offset == static_cast<std::int64_t>(values.size()));
            values.push_back(message.value.value());
        } else {
            CHECK(message.partition == 2);
            CHECK(message.value == "N1");
        }
    }
    CHECK(values == std::vector<std::string>{"M1", "M2", "M3", "M4"});
    CHECK(cluster.committed("billing", "orders", 0) == 4);
    CHECK(cluster.committed("billing", "orders", 1) == std::nullopt);
    CHECK(cluster.committed("billing", "orders", 2) == 1);
    CHECK(cluster.committed("shipping", "orders", 0) == std::nullopt);

    cluster.produce("orders", 0, "M5");
    auto const again = consume(cluster, "billing", "orders", 1);
    REQUIRE(again.collected.size() == 1);
    CHECK(again.collected[0].value == "M5");
    CHECK(cluster.committed("billing", "orders", 0) == 5);
}

TEST_CASE("embedded_cluster: records arrive as they were given, null and empty told apart") {
    embedded_cluster cluster;
    cluster.create_topic("records", 1);
    auto const moment = std::chrono::system_clock::time_point{1'600'000'000'123ms};
    std::string const binary{"\0\xff\n\0", 4};
    std::vector<produced> given{
        {},
        {.key = "", .value = ""},
        {.key = binary, .value = binary + binary},
        {.value = "with headers",
         .headers = {{"name", "first"}, {"name", "second"}, {"null", std::nullopt}, {"empty", ""}}},
        {.value = "old", .timestamp = moment},
    };
    produced many{.value = "many"};
    for (int i = 0; i != 100; ++i) {
        many.headers.push_back({"h" + std::to_string(i % 7), std::to_string(i)});
    }
    given.push_back(many);
    auto const before = std::chrono::system_clock::now();
    CHECK(cluster.produce("records", 0, given) == 0);

    auto const got = consume(cluster, "reader", "records", given.size()).collected;
    REQUIRE(got.size() == given.size());
    for (std::size_t i = 0; i != given.size(); ++i) {
        CAPTURE(i);
        CHECK(got[i].offset == static_cast<std::int64_t>(i));
        CHECK(got[i].key == given[i].key);
        CHECK(got[i].value == given[i].value);
        REQUIRE(got[i].headers.size() == given[i].headers.size());
        for (std::size_t h = 0; h != given[i].headers.size(); ++h) {
            CAPTURE(h);
            CHECK(got[i].headers[h].name == given[i].headers[h].name);
            CHECK(got[i].headers[h].value == given[i].headers[h].value);
        }
        REQUIRE(got[i].timestamp);
        if (given[i].timestamp) {
            CHECK(*got[i].timestamp == moment);
        } else {
            CHECK(*got[i].timestamp >= before - 1s);
            CHECK(*got[i].timestamp <= std::chrono::system_clock::now());
        }
    }
}

TEST_CASE("embedded_cluster: more records than librdkafka queues at a time are produced in order, "
          "from several threads") {
    constexpr std::size_t size = 120'000;
    embedded_cluster cluster;
    cluster.create_topic("bulk", 4);
    std::vector<produced> records(size);
    for (std::size_t i = 0; i != size; ++i) {
        records[i].value = std::to_string(i);
    }
    std::vector<std::future<std::int64_t>> first;
    for (std::int32_t partition = 0; partition != 4; ++partition) {
        first.push_back(std::async(std::launch::async, [&, partition] {
            auto const some = std::span{records}.first(partition == 0 ? size : 1000);
            return cluster.produce("bulk", partition, some);
        }));
    }
    for (auto& answer : first) {
        CHECK(answer.get() == 0);
    }
    CHECK(cluster.log_end("bulk", 0) == static_cast<std::int64_t>(size));
    CHECK(cluster.log_end("bulk", 3) == 1000);
    CHECK(cluster.produce("bulk", 0, "last") == static_cast<std::int64_t>(size));
}

TEST_CASE("embedded_cluster: a topic that is made twice, a partition that is not there") {
    embedded_cluster cluster;
    cluster.create_topic("topic", 1);
    CHECK(error_of([&] { cluster.create_topic("topic", 2); }) ==
          kafka_error(RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS));
    CHECK(error_of([&] { cluster.produce("topic", 1, "x"); }) ==
          kafka_error(RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION));
    CHECK(error_of([&] { cluster.log_end("topic", 1); }) ==
          kafka_error(RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION));
    CHECK(error_of([] { embedded_cluster{0}; }));
}

TEST_CASE("embedded_cluster: requests fail as asked, so many times, and no longer when that is "
          "called off") {
    embedded_cluster cluster;
    cluster.create_topic("topic", 1);
    cluster.produce("topic", 0, "x");

    cluster.fail(request::list_offsets, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    CHECK(error_of([&] { cluster.log_end("topic", 0); }) ==
          kafka_error(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED));
    CHECK(cluster.log_end("topic", 0) == 1);

    cluster.fail(request::list_offsets, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, 3);
    CHECK(error_of([&] { cluster.log_end("topic", 0); }) ==
          kafka_error(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED));
    cluster.stop_failing(request::list_offsets);
    CHECK(cluster.log_end("topic", 0) == 1);

    cluster.fail(request::offset_fetch, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED);
    CHECK(error_of([&] { cluster.committed("group", "topic", 0); }) ==
          kafka_error(RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED));
    CHECK(cluster.committed("group", "topic", 0) == std::nullopt);

    cluster.fail(request::produce, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    CHECK(error_of([&] { cluster.produce("topic", 0, "y"); }) ==
          kafka_error(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED));
    CHECK(cluster.log_end("topic", 0) == 1);
}

TEST_CASE("embedded_cluster: members are told that a topic is not for them, until it is") {
    embedded_cluster cluster;
    cluster.create_topic("topic", 1);
    cluster.produce("topic", 0, "x");
    cluster.fail_topic("topic", RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);

    asio::io_context context;
    std::vector<std::error_code> told;
    kgroup::consumer_group group{
        context,
        {.brokers = cluster.brokers(),
         .group_id = "group",
         .topics = {"topic"},
         .initial_offset = kgroup::offset_reset::earliest,
         .properties = {{"session.timeout.ms", "4000"}},
         .on_event = [&](kgroup::event const& event) {
             if (event.error == kafka_error(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)) {
                 told.push_back(event.error);
                 context.stop();
             }
         }}};
    collector handler{1, &group};
    std::optional<std::exception_ptr> outcome;
    group.async_run(handler, [&](std::exception_ptr error) { outcome = error; });
    context.run_for(30s);
    CHECK(!told.empty());
    CHECK(handler.collected.empty());
    group.stop();
    context.restart();
    context.run_for(20s);
    CHECK(outcome.has_value());

    cluster.fail_topic("topic", RD_KAFKA_RESP_ERR_NO_ERROR);
    CHECK(consume(cluster, "group", "topic", 1).collected.size() == 1);
}

TEST_CASE("embedded_cluster: answers take as long as the round trip time, or one of them longer") {
    embedded_cluster cluster;
    cluster.create_topic("topic", 1);
    CHECK(cluster.log_end("topic", 0) == 0);

    cluster.set_round_trip_time(1s);
    CHECK(time_of([&] { cluster.log_end("topic", 0); }) >= 1s);
    cluster.set_round_trip_time(0ms);
    CHECK(time_of([&] { cluster.log_end("topic", 0); }) < 1s);

    cluster.delay(1, request::list_offsets, 1s);
    CHECK(time_of([&] { cluster.log_end("topic", 0); }) >= 1s);
    CHECK(time_of([&] { cluster.log_end("topic", 0); }) < 1s);
}

TEST_CASE("embedded_cluster: a broker goes down and comes back with all that it had") {
    embedded_cluster cluster;
    cluster.create_topic("topic", 1);
    auto const address = cluster.brokers();
    cluster.produce("topic", 0, "before");

    cluster.take_down();
    cluster.take_down();
    // It waits for the broker, for which the broker must not wait.
    auto during =
        std::async(std::launch::async, [&] { return cluster.produce("topic", 0, "during"); });
    CHECK(during.wait_for(500ms) == std::future_status::timeout);
    cluster.bring_up();
    cluster.bring_up();
    CHECK(during.get() == 1);
    CHECK(cluster.brokers() == address);
    CHECK(cluster.log_end("topic", 0) == 2);
    CHECK(consume(cluster, "group", "topic", 2).collected.size() == 2);
    CHECK(cluster.committed("group", "topic", 0) == 2);
}

TEST_CASE("embedded_cluster: nothing waits for a broker for much longer than 10 seconds, and what "
          "has failed does no harm later") {
    embedded_cluster cluster;
    cluster.create_topic("topic", 1);
    cluster.produce("topic", 0, "before");
    CHECK(cluster.committed("group", "topic", 0) ==
          std::nullopt); // the coordinator is known by now

    cluster.take_down();
    auto const failing = [](auto call) {
        return std::async(std::launch::async, [call] {
            std::error_code error;
            auto const time = time_of([&] { error = error_of(call); });
            return std::pair{error, time};
        });
    };
    std::vector<std::future<std::pair<std::error_code, std::chrono::milliseconds>>> calls;
    calls.push_back(failing([&] { cluster.produce("topic", 0, "x"); }));
    calls.push_back(failing([&] { cluster.log_end("topic", 0); }));
    calls.push_back(failing([&] { cluster.committed("group", "topic", 0); }));
    for (auto& call : calls) {
        auto const [error, time] = call.get();
        CAPTURE(error.message());
        CHECK(error.category() == kgroup::kafka_category());
        CHECK(time < 12s);
    }
    cluster.bring_up();
    CHECK(cluster.produce("topic", 0, "after") == 1);
    CHECK(cluster.log_end("topic", 0) == 2);
    CHECK(cluster.committed("group", "topic", 0) == std::nullopt);
}

TEST_CASE("embedded_cluster: leaders in turn, and leader and coordinator moved before a broker "
          "goes down") {
    embedded_cluster cluster{3};
    cluster.create_topic("topic", 3);
    for (std::int32_t partition = 0; partition != 3; ++partition) {
        CHECK(cluster.produce("topic", partition, "x") == 0);
    }
    cluster.move_coordinator("group", 2);
    CHECK(consume(cluster, "group", "topic", 3).collected.size() == 3);
    CHECK(cluster.committed("group", "topic", 1) == 1);

    cluster.move_leader("topic", 1, 3);
    cluster.move_coordinator("group", 3);
    cluster.take_down(2);
    CHECK(cluster.produce("topic", 1, "y") == 1);
    CHECK(consume(cluster, "group", "topic", 1).collected.size() == 1);
    CHECK(cluster.committed("group", "topic", 1) == 2);
    CHECK(error_of([&] { cluster.take_down(4); }) ==
          kafka_error(RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE));
}

TEST_CASE("embedded_cluster: each partition is led by the broker that its turn names") {
    embedded_cluster cluster{2};
    cluster.create_topic("topic", 2);
    cluster.log_end("topic", 0);
    cluster.log_end("topic", 1);
    cluster.set_round_trip_time(1s, 2);
    CHECK(time_of([&] { cluster.log_end("topic", 0); }) < 1s);
    CHECK(time_of([&] { cluster.log_end("topic", 1); }) >= 1s);
}

TEST_CASE("embedded_cluster: is gone within moments whatever state it is in, and its members see "
          "an outage") {
    asio::io_context context;
    auto cluster = std::make_unique<embedded_cluster>();
    cluster->create_topic("topic", 1);
    cluster->produce("topic", 0, "x");
    kgroup::consumer_group group{context,
                                 {.brokers = cluster->brokers(),
                                  .group_id = "group",
                                  .topics = {"topic"},
                                  .initial_offset = kgroup::offset_reset::earliest,
                                  .commit_timeout = 1s,
                                  .close_timeout = 3s,
                                  .properties = {{"session.timeout.ms", "4000"}},
                                  .on_event = [](kgroup::event const&) {}}};

    SUBCASE("at rest") {}
    SUBCASE("broker down") { cluster->take_down(); }
    SUBCASE("answers outstanding") { cluster->set_round_trip_time(9s); }

    struct idle {
        asio::awaitable<void> consume_claim(kgroup::session&, kgroup::claim& claim) {
            while (auto message = co_await claim.messages().async_receive()) {
            }
        }
    } handler;
    std::optional<std::exception_ptr> outcome;
    group.async_run(handler, [&](std::exception_ptr error) { outcome = error; });
    context.run_for(4s); // the time in which a member joins, if it can
    REQUIRE(!outcome);

    CHECK(time_of([&] { cluster.reset(); }) < 2s);
    group.stop();
    context.run_for(10s);
    CHECK(outcome.has_value());
}
