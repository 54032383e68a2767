// SPDX-License-Identifier: MIT

#include <kgroup/error.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <string>
#include <vector>

#include "kafka.hpp"
#include "member.hpp"

using namespace kgroup::tests;
using kgroup::event_kind;
using request = kgroup::testing::embedded_cluster::request;

namespace {

hooks unused() {
    return {.consume_claim = [](auto&, auto&) -> asio::awaitable<void> { co_return; }};
}

bool same(kafka_record const& sent, kgroup::owned_message const& got) {
    if (sent.key != got.key || sent.value != got.value ||
        sent.headers.size() != got.headers.size()) {
        return false;
    }
    for (std::size_t i = 0; i != sent.headers.size(); ++i) {
        if (sent.headers[i].name != got.headers[i].name ||
            sent.headers[i].value != got.headers[i].value) {
            return false;
        }
    }
    return true;
}

} // namespace

TEST_CASE("input: null and empty keys and values, many headers, repeated names, any bytes") {
    kafka brokers;
    auto const topic = brokers.create_topic();
    std::string const bytes{"\0\xff\n\x01", 4};
    std::vector<kafka_record> sent{
        {},
        {.key = "a key"},
        {.value = "a value"},
        {.key = "", .value = ""},
        {.key = bytes, .value = bytes},
        {.key = std::string(10000, 'k'), .value = std::string(500000, 'v')},
        {.value = "repeated",
         .headers =
             {{"trace", "1"}, {"trace", "2"}, {"trace", std::nullopt}, {"trace", ""}, {"", bytes}}},
        {.key = "only headers", .headers = {{"a", std::nullopt}}},
    };
    kafka_record many{.value = "many"};
    for (int i = 0; i != 100; ++i) {
        many.headers.push_back({"header-" + std::to_string(i % 7), std::to_string(i)});
    }
    sent.push_back(many);
    brokers.produce(topic, 0, sent);
    received records;
    member one{brokers.member_of_new_group(topic), receive_into(records)};
    REQUIRE(eventually([&] { return records.count() == sent.size(); }));
    auto const got = records.all();
    for (std::size_t i = 0; i != sent.size(); ++i) {
        CHECK_MESSAGE(same(sent[i], got[i]), "record ", i);
        CHECK(got[i].offset == static_cast<std::int64_t>(i));
        CHECK(got[i].timestamp.has_value());
    }
}

TEST_CASE("input: a topic that does not exist is waited for and said once, and then it works") {
    if (!kafka::is_there()) { // librdkafka's mock makes what it is asked for
        return;
    }
    kafka brokers{kafka::kind::real};
    auto const missing = unique("topic");
    received records;
    member one{brokers.member_of_new_group(missing), receive_into(records)};
    REQUIRE(eventually([&] { return one.count(event_kind::topic_missing) == 1; }));
    CHECK(one.last(event_kind::topic_missing)->text.find(missing) != std::string::npos);
    CHECK_FALSE(one.ends_within(3s));
    CHECK_MESSAGE(one.count(event_kind::topic_missing) == 1, one.said());
    brokers.create_topic(missing, 2);
    brokers.produce_values(missing, 1, {"at last"});
    CHECK(eventually([&] { return records.count() == 1; }));
    one.stop();
    REQUIRE(one.ends_within(10s));
    CHECK_MESSAGE(!one.error(), one.what());
}

TEST_CASE("input: of two topics one does not exist, and the other is read") {
    if (!kafka::is_there()) { // librdkafka's mock makes what it is asked for
        return;
    }
    kafka brokers{kafka::kind::real};
    auto const there = brokers.create_topic();
    auto const missing = unique("topic");
    brokers.produce_values(there, 0, {"here"});
    received records;
    member one{brokers.member_of(unique("group"), {missing, there}), receive_into(records)};
    CHECK(eventually([&] { return records.count() == 1; }));
    CHECK(eventually([&] { return one.count(event_kind::topic_missing) == 1; }));
}

TEST_CASE("input: topics by regular expression") {
    kafka brokers;
    auto const name = unique("regex");
    auto const first = brokers.create_topic(name + ".first", 1);
    auto const second = brokers.create_topic(name + ".second", 1);
    auto const other = brokers.create_topic(unique("other"), 1);
    brokers.produce_values(first, 0, {"1"});
    brokers.produce_values(second, 0, {"2"});
    brokers.produce_values(other, 0, {"3"});
    received records;
    member one{brokers.member_of(unique("group"), {"^" + name + "\\..*"}), receive_into(records)};
    REQUIRE(eventually([&] { return records.count() == 2; }));
    for (auto const& result : records.all()) {
        CHECK(result.topic != other);
    }
}

TEST_CASE("input: a group that may not be read ends the run with Kafka's code") {
    kafka brokers{kafka::kind::embedded};
    auto const topic = brokers.create_topic();
    brokers.embedded().fail(request::find_coordinator, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED,
                            1000);
    member one{brokers.member_of_new_group(topic), unused()};
    REQUIRE(one.ends_within(20s));
    CHECK(one.error() == kgroup::make_error_code(RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED));
    CHECK(kgroup::is_fatal(one.error()));
}

TEST_CASE("input: a topic that may not be read is reported with its name, and the member waits") {
    kafka brokers{kafka::kind::embedded};
    auto const topic = brokers.create_topic();
    brokers.embedded().fail_topic(topic, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    member one{brokers.member_of_new_group(topic), unused()};
    REQUIRE(eventually([&] { return one.count(event_kind::partition_error) == 1; }));
    auto const told = *one.last(event_kind::partition_error);
    CHECK(told.error == kgroup::make_error_code(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED));
    CHECK(told.text.find(topic) != std::string::npos);
    CHECK_FALSE(one.ends_within(1s));
}

TEST_CASE("input: a real Kafka's authorizer refuses a group and a topic") {
    if (!kafka::is_there()) {
        return;
    }
    kafka brokers{kafka::kind::real};
    auto const topic = brokers.create_topic();
    auto const closed = brokers.create_topic();
    auto const group = unique("group");
    if (!brokers.deny_read(RD_KAFKA_RESOURCE_GROUP, group)) {
        return skip("the cluster of KGROUP_TEST_BROKERS has no authorizer");
    }
    brokers.deny_read(RD_KAFKA_RESOURCE_TOPIC, closed);
    member refused{brokers.member_of(group, {topic}), unused()};
    member waiting{brokers.member_of_new_group(closed), unused()};
    REQUIRE(refused.ends_within(20s));
    CHECK(refused.error() == kgroup::make_error_code(RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED));
    REQUIRE(eventually([&] { return waiting.count(event_kind::partition_error) != 0; }));
    CHECK(waiting.last(event_kind::partition_error)->error ==
          kgroup::make_error_code(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED));
    CHECK_FALSE(waiting.has_ended());
}

TEST_CASE("input: secrets appear in no event, no log line and no exception") {
    kafka brokers;
    auto const topic = brokers.create_topic();
    std::string const secret = "hunter2-swordfish";
    for (auto const& more : std::vector<std::map<std::string, std::string>>{
             {{"debug", "all"},
              {"security.protocol", "sasl_plaintext"},
              {"sasl.mechanism", "PLAIN"}},
             {{"debug", "all"},
              {"security.protocol", "sasl_plaintext"},
              {"sasl.mechanism", "SCRAM-SHA-256"}},
             {{"debug", "conf,security,broker"}},
             {{"security.protocol", "ssl"}, {"ssl.key.password", secret}, {"debug", "all"}},
             {{"security.protocol", "ssl"}, {"ssl.key.pem", secret}},
             {{"security.protocol", "ssl"},
              {"ssl.keystore.location", "/no/such/file"},
              {"ssl.keystore.password", secret}},
         }) {
        auto given = brokers.member_of_new_group(topic);
        given.properties.insert(more.begin(), more.end());
        given.properties.insert({{"sasl.password", secret}, {"sasl.username", secret}});
        try {
            member one{given, unused()};
            one.ends_within(700ms); // none of them can join: there is nobody to talk SASL or TLS
                                    // with, or the keys are none
            one.stop();
            REQUIRE(one.ends_within(20s));
            auto const said = one.said() + one.what();
            CHECK(said.size() > 10);
            CHECK_MESSAGE(
                said.find(secret) == std::string::npos,
                said.substr(said.find(secret) - std::min<std::size_t>(said.find(secret), 200),
                            400));
        } catch (std::system_error const& e) {
            CHECK_MESSAGE(std::string{e.what()}.find(secret) == std::string::npos, e.what());
        }
    }
}

TEST_CASE("input: an offset whose text the broker refuses is told apart from those that it took") {
    if (!kafka::is_there()) {
        return;
    }
    kafka brokers{kafka::kind::real};
    auto const topic = brokers.create_topic(3);
    auto given = brokers.member_of_new_group(topic);
    given.auto_commit_interval = 0ms;
    std::vector<kgroup::commit_result> results;
    std::atomic<bool> done{false};
    member one{given, {.consume_claim = [&](auto& session, auto& claim) -> asio::awaitable<void> {
                   if (claim.partition() == 0) {
                       for (auto const& owned : session.claims()) {
                           // offset.metadata.max.bytes is 4,096
                           session.mark_offset(
                               owned, 7, owned.partition == 1 ? std::string(5000, 'x') : "short");
                       }
                       results = co_await session.async_commit();
                       done = true;
                   }
                   co_await session.async_wait_stopping();
               }}};
    REQUIRE(eventually([&] { return done.load(); }));
    REQUIRE(results.size() == 3);
    CHECK(results[0].status == kgroup::commit_status::committed);
    CHECK(results[1].error == kgroup::make_error_code(RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE));
    CHECK(results[2].status == kgroup::commit_status::committed);
    CHECK(one.last(event_kind::commit_failed)->where == kgroup::topic_partition{topic, 1});
    CHECK(brokers.committed(given.group_id, topic, 0) == 7);
    CHECK(brokers.committed(given.group_id, topic, 1) == std::nullopt);
    CHECK(brokers.committed(given.group_id, topic, 2) == 7);
}
