// SPDX-License-Identifier: MIT

#include <kgroup/config.hpp>
#include <kgroup/detail/rdkafka/settings.hpp>
#include <kgroup/error.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <system_error>
#include <tuple>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using kgroup::assignor;
using kgroup::config;
using kgroup::errc;
using kgroup::group_protocol;
using kgroup::offset_reset;
using kgroup::detail::rdkafka_settings_maker;

namespace {

config good() {
    return {.brokers = "127.0.0.1:9092",
            .group_id = "group",
            .topics = {"orders"},
            .initial_offset = offset_reset::earliest};
}

config with(std::function<void(config&)> const& change) {
    auto given = good();
    change(given);
    return given;
}

config with_property(std::string const& name, std::string const& value) {
    return with([&](config& given) { given.properties[name] = value; });
}

/// The words with which a configuration is refused; empty: it is not.
std::string refusal(config const& given) {
    try {
        rdkafka_settings_maker::make(given);
    } catch (std::system_error const& e) {
        CHECK_MESSAGE(
            (e.code() == errc::invalid_config || e.code() == errc::unsupported_by_librdkafka),
            e.what());
        return e.what();
    }
    return {};
}

config with_tokens(std::map<std::string, std::string> const& properties) {
    return with([&](config& given) {
        given.properties = properties;
        given.oauth_token_provider = []() -> asio::awaitable<kgroup::oauth_token> {
            co_return kgroup::oauth_token{};
        };
    });
}

bool says(std::string const& text, std::string const& sentence) {
    return text.find(sentence) != std::string::npos;
}

/// What librdkafka was told.
std::string property_of(config const& given, char const* name) {
    auto const made = rdkafka_settings_maker::make(given);
    char value[512];
    auto size = sizeof value;
    return rd_kafka_conf_get(made.conf.get(), name, value, &size) == RD_KAFKA_CONF_OK ? value : "";
}

} // namespace

TEST_CASE("config: the least that is needed is enough") { CHECK(refusal(good()) == ""); }

TEST_CASE("config: a field that is missing or malformed is refused by its name") {
    struct bad {
        std::function<void(config&)> change;
        char const* sentence;
    };
    std::vector<bad> const all{
        {[](config& c) { c.brokers.clear(); }, "brokers: must not be empty"},
        {[](config& c) { c.group_id.clear(); }, "group_id: must not be empty"},
        {[](config& c) { c.topics.clear(); }, "topics: at least one is needed"},
        {[](config& c) {
             c.topics = {"orders", ""};
         },
         "topics: a name must not be empty"},
        {[](config& c) { c.topics = {"or ders"}; },
         "topics: 'or ders' is not a topic's name (letters, digits, '.', '_', '-'; 249 at most)"},
        {[](config& c) { c.topics = {std::string(250, 'a')}; }, "is not a topic's name"},
        {[](config& c) { c.topics = {"^orders-[0-9"}; },
         "topics: '^orders-[0-9' is not a regular expression (POSIX extended): "},
        {[](config& c) {
             c.topics = {"orders", "orders"};
         },
         "topics: 'orders' is named twice"},
        {[](config& c) { c.initial_offset.reset(); },
         "initial_offset: must be set: earliest, latest or none"},
        {[](config& c) { c.group_instance_id = "a/b"; },
         "group_instance_id: only letters, digits, '.', '_' and '-' are allowed, 249 at most"},
        {[](config& c) { c.group_instance_id = std::string(250, 'a'); },
         "group_instance_id: only letters"},
        {[](config& c) { c.assignors.clear(); }, "assignors: at least one is needed"},
        {[](config& c) {
             c.assignors = {assignor::cooperative_sticky, assignor::range};
         },
         "assignors: cooperative_sticky cannot be offered together with range or roundrobin"},
        {[](config& c) { c.auto_commit_interval = -1ms; },
         "auto_commit_interval: must not be negative (0 turns periodic commits off)"},
        {[](config& c) { c.commit_timeout = 0ms; }, "commit_timeout: must be positive"},
        {[](config& c) { c.close_timeout = 0ms; }, "close_timeout: must be positive"},
        {[](config& c) { c.rebalance_deadline = 0ms; }, "rebalance_deadline: must be positive"},
        {[](config& c) { c.rebalance_deadline = 200s; },
         "rebalance_deadline: 200000 ms is more than half of max.poll.interval.ms (300000)"},
        {[](config& c) { c.expected_partitions = 0; }, "expected_partitions: must not be 0"},
        {[](config& c) {
             c.brokers = std::string{"b:1\0,c:1", 8};
         },
         "brokers: holds a NUL"},
        {[](config& c) { c.brokers = "b:1,,c:1"; },
         "brokers: a name between the commas must not be empty"},
        {[](config& c) { c.brokers = "b:1,"; },
         "brokers: a name between the commas must not be empty"},
        {[](config& c) { c.brokers = "b:1,c\x1b[31m:1"; },
         "brokers: 'c\\x1b[31m:1' holds a blank or a control character"},
        {[](config& c) {
             c.group_id = std::string{"a\0b", 3};
         },
         "group_id: holds a NUL"},
        {[](config& c) { c.group_id = std::string(40000, 'a'); },
         "group_id: must not be longer than 32767 bytes"},
        {[](config& c) {
             c.topics = {std::string{"a\0b", 3}};
         },
         "topics: 'a\\x00b' is not a topic's name"},
        {[](config& c) {
             c.topics = {std::string{"^a\0b", 4}};
         },
         "a NUL, at position 3"},
        {[](config& c) { c.topics = {".."}; }, "topics: '..' is not a topic's name"},
        {[](config& c) { c.topics = {"a\nb\xff"}; },
         "topics: 'a\\x0ab\\xff' is not a topic's name"},
        {[](config& c) {
             c.topics = {"^(a)\\1"};
             c.protocol = group_protocol::consumer;
         },
         "a reference back, '\\1', at position 5"},
        {[](config& c) {
             c.group_instance_id = std::string{"a\0", 2};
         },
         "group_instance_id: only letters"},
        {[](config& c) { c.initial_offset = static_cast<offset_reset>(7); },
         "initial_offset: 7 is none of its enumerators"},
        {[](config& c) { c.protocol = static_cast<group_protocol>(-1); },
         "protocol: -1 is none of its enumerators"},
        {[](config& c) { c.assignors = {static_cast<assignor>(9)}; },
         "assignors: 9 is none of its enumerators"},
        {[](config& c) {
             c.assignors = {assignor::range, assignor::range};
         },
         "assignors: one is named twice"},
        {[](config& c) { c.on_claim_exit = static_cast<kgroup::claim_exit>(2); },
         "on_claim_exit: 2 is none of its enumerators"},
        {[](config& c) { c.auto_commit_interval = std::chrono::milliseconds::max(); },
         "auto_commit_interval: must not be more than 2147483647 ms"},
        {[](config& c) { c.commit_timeout = 600h; },
         "commit_timeout: must not be more than 2147483647 ms"},
        {[](config& c) { c.close_timeout = std::chrono::milliseconds::max(); },
         "close_timeout: must not be more than 2147483647 ms"},
        {[](config& c) { c.properties[""] = "1"; }, "properties: a name must not be empty"},
        {[](config& c) {
             c.properties["client.id"] = std::string{"a\0b", 3};
         },
         "properties: 'client.id' holds a NUL"},
        {[](config& c) {
             c.properties[std::string{"client.id\0x", 11}] = "a";
         },
         "properties: 'client.id\\x00x' holds a NUL"},
        {[](config& c) {
             c.properties = {{"sasl.mechanism", "PLAIN"}, {"sasl.mechanisms", "PLAIN"}};
         },
         "properties: 'sasl.mechanism' and 'sasl.mechanisms' are two names of one property"},
        {[](config& c) {
             c.buffer_bytes = 1 << 20;
             c.expected_partitions = 65;
         },
         "buffer_bytes: must be at least 16 KiB for each of expected_partitions"},
    };
    for (auto const& result : all) {
        auto const text = refusal(with(result.change));
        CHECK_MESSAGE(says(text, result.sentence), "expected: ", result.sentence, "\nsaid: ", text);
    }
}

TEST_CASE("config: what is unusual and right is accepted") {
    CHECK(refusal(with([](config& c) { c.topics = {"^orders-[0-9]{1,3}(a|b)$", "^.*"}; })) == "");
    CHECK(refusal(with([](config& c) { c.topics = {std::string(249, 'a'), "A.b_c-9"}; })) == "");
    CHECK(refusal(with([](config& c) { c.group_instance_id = "host-1.example_2"; })) == "");
    CHECK(refusal(with([](config& c) { c.auto_commit_interval = 0ms; })) == "");
    CHECK(refusal(with([](config& c) { c.rebalance_deadline = 150s; })) == "");
    CHECK(refusal(with([](config& c) {
              c.buffer_bytes = std::size_t{16384} * 64;
              c.expected_partitions = 64;
          })) == "");
    CHECK(refusal(with([](config& c) {
              c.buffer_bytes = std::size_t{1} << 40;
              c.expected_partitions = 1;
          })) == "");
}

TEST_CASE("config: a broker that can never be reached is refused, and what is wrong is said") {
    auto const brokers = [](std::string const& list, std::string const& protocol = {}) {
        return with([&](config& c) {
            c.brokers = list;
            if (!protocol.empty()) {
                c.properties["security.protocol"] = protocol;
            }
        });
    };
    CHECK(says(refusal(brokers("b:1, http://c:2")),
               "brokers: 'http://c:2' begins with no protocol of Kafka's"));
    CHECK(says(refusal(brokers("b:99999")), "brokers: 'b:99999' has a port that is not between"));
    CHECK(says(refusal(brokers("b:kafka,c:1")), "brokers: 'b:kafka' has a port that is no number"));
    CHECK(says(refusal(brokers("SSL://b:1")), "brokers: 'SSL://b:1' contradicts the property "
                                              "'security.protocol', which is plaintext"));
    CHECK(says(refusal(brokers("PLAINTEXT://b:1", "ssl")), "'security.protocol', which is ssl"));
    auto const with_password = refusal(brokers("SSL://user:hunter2@b:1"));
    CHECK(says(with_password, "brokers: 'b:1' holds a '@'"));
    CHECK_FALSE(says(with_password, "hunter2"));
    CHECK(refusal(brokers("plaintext://b:1,[::1]:2 , c")) == "");
    CHECK(refusal(brokers("SSL://b:1", "SSL")) == "");
    CHECK(refusal(brokers("sasl_plaintext://b:1", "SASL_PLAINTEXT")) == "");
}

TEST_CASE("config: blanks between brokers are no part of their names") {
    auto const given = with([](config& c) { c.brokers = "b , c:1 ,d"; });
    CHECK(property_of(given, "bootstrap.servers") == "b,c:1,d");
    auto twice = given;
    twice.properties["bootstrap.servers"] = given.brokers;
    CHECK(refusal(twice) == "");
    twice.properties["bootstrap.servers"] = "b,c:1";
    CHECK(says(refusal(twice), "properties: 'bootstrap.servers' contradicts brokers"));
}

TEST_CASE("config: a property that is unknown or has a bad value is refused by its name") {
    CHECK(says(refusal(with_property("session.timeout", "6000")),
               std::string{"properties: 'session.timeout' is not a property of librdkafka "} +
                   rd_kafka_version_str()));
    CHECK(says(refusal(with_property("session.timeout.ms", "soon")), "session.timeout.ms"));
    CHECK(says(refusal(with_property("session.timeout.ms", "0")), "session.timeout.ms"));
    CHECK(says(refusal(with_property("security.protocol", "plain")), "security.protocol"));
    CHECK(says(refusal(with_property("rebalance_cb", "x")), "rebalance_cb"));
}

TEST_CASE("config: a property that contradicts a field, or how kgroup works, is refused and the "
          "field named") {
    struct bad {
        char const* name;
        char const* value;
        char const* field;
    };
    std::vector<bad> const all{
        {"bootstrap.servers", "other:9092", "brokers"},
        {"metadata.broker.list", "127.0.0.1:9092", "brokers"},
        {"group.id", "other", "group_id"},
        {"group.instance.id", "one", "group_instance_id"},
        {"auto.offset.reset", "latest", "initial_offset"},
        {"partition.assignment.strategy", "cooperative-sticky", "assignors"},
        {"enable.auto.commit", "true", "how kgroup commits"},
        {"enable.auto.offset.store", "true", "how kgroup commits"},
        {"auto.commit.interval.ms", "100", "auto_commit_interval"},
        {"enable.partition.eof", "true", "how kgroup reads"},
        {"queued.max.messages.kbytes", "65536", "buffer_bytes"},
        {"fetch.message.max.bytes", "2097152", "buffer_bytes"},
        {"max.partition.fetch.bytes", "1048576", "buffer_bytes"},
        {"log.queue", "false", "how kgroup learns what happens"},
    };
    for (auto const& result : all) {
        auto const text = refusal(with_property(result.name, result.value));
        auto const sentence =
            "properties: '" + std::string{result.name} + "' contradicts " + result.field;
        CHECK_MESSAGE(says(text, sentence), "expected: ", sentence, "\nsaid: ", text);
    }
}

TEST_CASE("config: a property that says the same as a field is no contradiction") {
    for (auto const& [name, value] : {std::pair{"bootstrap.servers", "127.0.0.1:9092"},
                                      {"group.id", "group"},
                                      {"enable.auto.commit", "false"},
                                      {"enable.auto.commit", "0"},
                                      {"enable.auto.commit", "FALSE"},
                                      {"auto.offset.reset", "earliest"},
                                      {"auto.offset.reset", "smallest"},
                                      {"partition.assignment.strategy", "range,roundrobin"}}) {
        CHECK_MESSAGE(refusal(with_property(name, value)) == "", name);
    }
}

TEST_CASE("config: internal topics are hidden beside what the user hides, unless the configuration "
          "names one") {
    CHECK(property_of(good(), "topic.blacklist") == "^__");
    CHECK(property_of(with([](config& c) { c.topics = {"^.*"}; }), "topic.blacklist") == "^__");
    CHECK(property_of(with_property("topic.blacklist", "^a,^b"), "topic.blacklist") == "^__,^a,^b");
    for (auto const* const name : {"__consumer_offsets", "^__.*"}) {
        auto given = with_property("topic.blacklist", "^a");
        given.topics = {"orders", name};
        CHECK(property_of(given, "topic.blacklist") == "^a");
    }
    CHECK(says(refusal(with([](config& c) {
                   c.topics = {"^.*", "__consumer_offsets"};
               })),
               "topics: '^.*' might match internal topics"));
}

TEST_CASE("config: warnings reach kgroup whatever the user wants to see of librdkafka's log") {
    CHECK(property_of(good(), "log.queue") == "true");
    for (auto const& [level, set, shown] :
         {std::tuple{"0", "4", 0}, {"3", "4", 3}, {"4", "4", 4}, {"6", "6", 6}, {"7", "7", 7}}) {
        CHECK(property_of(with_property("log_level", level), "log_level") == set);
        CHECK(rdkafka_settings_maker::make(with_property("log_level", level)).log_level == shown);
    }
    CHECK(rdkafka_settings_maker::make(good()).log_level == 6);
    CHECK(rdkafka_settings_maker::make(with_property("debug", "cgrp")).log_level == 7);
}

TEST_CASE("config: checksums are the user's choice, with a warning") {
    CHECK(property_of(good(), "check.crcs") == "false");
    CHECK(rdkafka_settings_maker::make(good()).warnings.empty());
    CHECK(rdkafka_settings_maker::make(with_property("check.crcs", "false")).warnings.empty());
    auto const warnings =
        rdkafka_settings_maker::make(with_property("check.crcs", "true")).warnings;
    REQUIRE(warnings.size() == 1);
    CHECK(says(warnings.front(), "properties: check.crcs: "));
}

TEST_CASE("config: what the fields mean to librdkafka") {
    CHECK(property_of(good(), "bootstrap.servers") == "127.0.0.1:9092");
    CHECK(property_of(good(), "enable.auto.commit") == "false");
    CHECK(property_of(good(), "enable.auto.offset.store") == "false");
    CHECK(property_of(good(), "partition.assignment.strategy") == "range,roundrobin");
    CHECK(property_of(good(), "auto.offset.reset") == "smallest");
    CHECK(property_of(with([](config& c) { c.initial_offset = offset_reset::latest; }),
                      "auto.offset.reset") == "largest");
    CHECK(property_of(with([](config& c) { c.initial_offset = offset_reset::none; }),
                      "auto.offset.reset") == "error");
    CHECK(property_of(with([](config& c) { c.group_instance_id = "one"; }), "group.instance.id") ==
          "one");
    CHECK(property_of(with_property("client.id", "mine"), "client.id") == "mine");
    CHECK(property_of(with_property("reconnect.backoff.max.ms", "300"),
                      "reconnect.backoff.max.ms") == "300");
}

TEST_CASE("config: a partition's part of a fetch is a sixteenth of its share, or a batch as "
          "librdkafka's producers send it") {
    auto const fetch_with = [](std::size_t buffer_bytes, std::size_t partitions) {
        return property_of(with([&](config& c) {
                               c.buffer_bytes = buffer_bytes;
                               c.expected_partitions = partitions;
                           }),
                           "fetch.message.max.bytes");
    };
    CHECK(fetch_with(64 << 20, 8) == "1048576");
    CHECK(fetch_with(64 << 20, 1) == "4194304");
    CHECK(fetch_with((64 << 20) - 8, 8) == "524287");
    CHECK(fetch_with(32 << 20, 50) == "41943");
}

TEST_CASE("config: an answer may be a quarter of buffer_bytes, within what librdkafka allows") {
    auto const limit_with = [](std::map<std::string, std::string> properties,
                               std::size_t buffer_bytes = 64 << 20) {
        return property_of(with([&](config& c) {
                               c.buffer_bytes = buffer_bytes;
                               c.properties = std::move(properties);
                           }),
                           "fetch.max.bytes");
    };
    CHECK(limit_with({}) == "16777216");
    CHECK(limit_with({}, 1 << 20) == "1000000");               // librdkafka's message.max.bytes
    CHECK(limit_with({}, std::size_t{1} << 32) == "52428800"); // librdkafka's own default
    CHECK(limit_with({{"message.max.bytes", "30000000"}}) == "30000000");
    CHECK(limit_with({{"receive.message.max.bytes", "10000000"}}) == "9999488");
    CHECK(limit_with({{"fetch.max.bytes", "5000000"}}) == "5000000");
}

TEST_CASE("config: the deadline of a rebalance follows max.poll.interval.ms unless it is set") {
    CHECK(rdkafka_settings_maker::make(good()).rebalance_deadline == 10s);
    CHECK(rdkafka_settings_maker::make(with([](config& c) {
              c.properties = {{"max.poll.interval.ms", "6000"}, {"session.timeout.ms", "6000"}};
          })).rebalance_deadline == 2s);
    CHECK(rdkafka_settings_maker::make(with([](config& c) {
              c.rebalance_deadline = 3s;
          })).rebalance_deadline == 3s);
}

TEST_CASE("config: what this librdkafka cannot do is refused with the version that is needed") {
    auto const cooperative =
        refusal(with([](config& c) { c.assignors = {assignor::cooperative_sticky}; }));
    if (rd_kafka_version() < 0x020a0000) {
        CHECK(says(cooperative, "assignors: cooperative_sticky needs librdkafka 2.10 at run time"));
        CHECK(says(cooperative, std::string{"and this is "} + rd_kafka_version_str()));
    } else {
        CHECK(cooperative == "");
    }
    auto const consumer = with([](config& c) { c.protocol = group_protocol::consumer; });
    if (rd_kafka_version() < 0x020c0000) {
        CHECK(says(refusal(consumer),
                   "protocol: group_protocol::consumer needs librdkafka 2.12 at run time"));
    } else {
        CHECK(refusal(consumer) == "");
        auto mixed = consumer;
        mixed.properties["partition.assignment.strategy"] = "range";
        CHECK(says(refusal(mixed), "properties: 'partition.assignment.strategy' contradicts "
                                   "protocol (the broker divides the partitions)"));
    }
    // librdkafka before 2.4 does not know the property, later ones do: refused either way.
    CHECK(
        says(refusal(with_property("group.protocol", "consumer")), "properties: 'group.protocol'"));
    if (rd_kafka_version() >= 0x02040000) {
        CHECK(says(refusal(with_property("group.protocol", "consumer")),
                   "properties: 'group.protocol' contradicts protocol"));
        CHECK(refusal(with_property("group.protocol", "Classic")) == "");
    }
}

TEST_CASE("config: a refusal shows no secret, whatever else is wrong beside it") {
    auto const secret = std::string{"hunter2-swordfish"};
    for (auto const* const name : {"sasl.password", "ssl.key.password", "ssl.keystore.password",
                                   "sasl.username", "ssl.key.pem", "ssl.certificate.pem",
                                   "sasl.oauthbearer.config", "sasl.oauthbearer.client.secret"}) {
        for (auto const& [other, value] : {std::pair{"session.timeout.ms", "soon"},
                                           {"no.such.property", "x"},
                                           {"enable.auto.commit", "true"},
                                           {"client.id", "fine"}}) {
            auto given = with_property(name, secret);
            given.properties[other] = value;
            auto const text = refusal(given);
            CHECK_MESSAGE(!says(text, secret), text);
        }
    }
}

TEST_CASE("config: librdkafka is woken where it would look at a full queue once a second only, and "
          "with the credentials it has") {
    auto const old = rd_kafka_version() < 0x02020000;
    CHECK(rdkafka_settings_maker::make(good()).refill.has_value() == old);
    auto const plain = with([](config& c) {
        c.properties = {{"security.protocol", "sasl_plaintext"},
                        {"sasl.mechanism", "PLAIN"},
                        {"sasl.username", "me"},
                        {"sasl.password", "x"}};
    });
    auto const notice = rdkafka_settings_maker::make(plain).refill;
    CHECK(notice.has_value() == old);
    if (notice) {
        CHECK(notice->username == "me");
        CHECK(notice->password == "x");
    }
    CHECK_FALSE(rdkafka_settings_maker::make(with_tokens({{"security.protocol", "sasl_plaintext"}}))
                    .refill);
}

TEST_CASE("config: a provider of tokens says how to authenticate, and needs a protocol that does") {
    for (auto const& properties : std::vector<std::map<std::string, std::string>>{
             {{"security.protocol", "sasl_plaintext"}},
             {{"security.protocol", "SASL_SSL"}},
             {{"security.protocol", "sasl_ssl"}, {"sasl.mechanism", "OAUTHBEARER"}},
             {{"security.protocol", "sasl_ssl"}, {"sasl.mechanisms", "OAUTHBEARER"}},
         }) {
        auto const given = with_tokens(properties);
        CHECK(refusal(given) == "");
        CHECK(property_of(given, "sasl.mechanisms") == std::string{"OAUTHBEARER"});
    }
    for (auto const& [properties, sentence] :
         std::vector<std::pair<std::map<std::string, std::string>, std::string>>{
             {{}, "oauth_token_provider: needs the property 'security.protocol': sasl_ssl"},
             {{{"security.protocol", "ssl"}},
              "oauth_token_provider: needs the property 'security.protocol': sasl_ssl"},
             {{{"security.protocol", "sasl_ssl"}, {"sasl.mechanism", "PLAIN"}},
              "properties: 'sasl.mechanism' contradicts oauth_token_provider"},
             {{{"security.protocol", "sasl_ssl"}, {"sasl.mechanisms", "PLAIN"}},
              "properties: 'sasl.mechanisms' contradicts oauth_token_provider"},
             {{{"security.protocol", "sasl_ssl"}, {"enable.sasl.oauthbearer.unsecure.jwt", "true"}},
              "properties: 'enable.sasl.oauthbearer.unsecure.jwt' contradicts "
              "oauth_token_provider"},
         }) {
        auto const text = refusal(with_tokens(properties));
        CHECK_MESSAGE(says(text, sentence), "expected: ", sentence, "\nsaid: ", text);
    }
}

TEST_CASE("config: OAUTHBEARER without anybody to give a token is refused: no broker could ever be "
          "reached") {
    auto given = with([](config& c) {
        c.properties = {{"security.protocol", "sasl_plaintext"}, {"sasl.mechanism", "OAUTHBEARER"}};
    });
    CHECK(says(refusal(given),
               "properties: 'sasl.mechanism' OAUTHBEARER needs an oauth_token_provider"));
    given.properties["enable.sasl.oauthbearer.unsecure.jwt"] = "true";
    CHECK(refusal(given) == "");
}

TEST_CASE("config: a start time goes with any initial_offset, none included, and with any time") {
    for (auto const offset : {offset_reset::earliest, offset_reset::latest, offset_reset::none}) {
        CHECK(refusal(with([&](config& c) {
                  c.initial_offset = offset;
                  c.initial_time = std::chrono::system_clock::now();
              })) == "");
    }
    CHECK(refusal(with([](config& c) {
              c.initial_time = std::chrono::system_clock::time_point::min();
          })) == "");
}
