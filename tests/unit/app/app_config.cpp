// SPDX-License-Identifier: MIT

#include <kgroup/app/app_config.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <tuple>
#include <unistd.h>
#include <utility>
#include <vector>

namespace app_config_tests {
namespace {

using namespace std::chrono_literals;
using lines = std::vector<std::string>;
using kgroup::app_config;
using kgroup::errc;
using kgroup::offset_reset;

/// The words with which a text is refused; empty: it is not.
std::string refusal(std::string const& json) {
    try {
        kgroup::parse_app_config(json, "push.json");
    } catch (std::system_error const& e) {
        CHECK(e.code() == errc::invalid_config);
        return e.what();
    }
    return {};
}

TEST_CASE("app_config: what the four keys say") {
    auto const read = kgroup::parse_app_config(
        R"({"brokers_address": ["127.0.0.1:9092", "127.0.0.1:9093"], "consumer_group_id": "billing",
        "group_id_consistent": false, "topics": ["invoices", "^orders-.*"], "consumer": {"offset_initial": -2}})");
    CHECK(read.group.brokers == "127.0.0.1:9092,127.0.0.1:9093");
    CHECK(read.group.group_id == "billing");
    CHECK(read.group.topics == lines{"invoices", "^orders-.*"});
    CHECK(read.group.initial_offset == offset_reset::earliest);
    CHECK_FALSE(read.group_id_consistent);
    auto const newest = kgroup::parse_app_config(
        R"({"brokers_address": ["b"], "consumer_group_id": "g", "topics": ["t"], "consumer": {"offset_initial": -1}})");
    CHECK(newest.group.initial_offset == offset_reset::latest);
    CHECK(newest.group_id_consistent);
}

TEST_CASE("app_config: every field of config, under its own name") {
    auto const read =
        kgroup::parse_app_config(
            R"({"brokers": "b:1", "group_id": "g", "topics": ["t"], "initial_offset": "none",
        "initial_time": 1700000000123, "infer_new_partitions": false,
         "group_instance_id": "host-1", "protocol": "classic", "assignors": ["roundrobin", "range"],
        "auto_commit_interval": 0, "commit_at_end": false,
         "rebalance_deadline": 2000, "commit_timeout": 3000, "close_timeout": 4000,
        "buffer_bytes": 1048576, "expected_partitions": 8, "on_claim_exit": "keep_others",
        "properties": {"session.timeout.ms": 6000, "client.id": "me", "check.crcs": true}})")
            .group;
    CHECK(read.brokers == "b:1");
    CHECK(read.group_id == "g");
    CHECK(read.initial_offset == offset_reset::none);
    CHECK(read.initial_time == std::chrono::system_clock::time_point{} + 1700000000123ms);
    CHECK_FALSE(read.infer_new_partitions);
    CHECK(read.group_instance_id == "host-1");
    CHECK(read.protocol == kgroup::group_protocol::classic);
    CHECK(read.assignors == std::vector{kgroup::assignor::roundrobin, kgroup::assignor::range});
    CHECK(read.auto_commit_interval == 0ms);
    CHECK_FALSE(read.commit_at_end);
    CHECK(read.rebalance_deadline == 2s);
    CHECK(read.commit_timeout == 3s);
    CHECK(read.close_timeout == 4s);
    CHECK(read.buffer_bytes == 1048576);
    CHECK(read.expected_partitions == 8);
    CHECK(read.on_claim_exit == kgroup::claim_exit::keep_others);
    CHECK(read.properties == std::map<std::string, std::string>{{"session.timeout.ms", "6000"},
                                                                {"client.id", "me"},
                                                                {"check.crcs", "true"}});
}

/// A text with the needed four, and `rest` behind them on line 3.
std::string with_rest(std::string const& rest) {
    return "{\n\"brokers_address\": [\"b\"], \"consumer_group_id\": \"g\", \"topics\": [\"t\"], "
           "\"consumer\": {\"offset_initial\": -2}" +
           rest + "}";
}

/// Variables for as long as it lives.
class environment {
public:
    explicit environment(std::map<std::string, std::string> const& all) : all_(all) {
        for (auto const& [name, value] : all_) {
            ::setenv(name.c_str(), value.c_str(), 1);
        }
    }
    ~environment() {
        for (auto const& known : all_) {
            ::unsetenv(known.first.c_str());
        }
    }

private:
    std::map<std::string, std::string> all_;
};

/// A field of `config` as JSON writes it, in the file and in the environment, and whether a
/// configuration has that value.
struct written_field {
    std::string name;
    std::string json;
    std::string variable;
    std::function<bool(kgroup::config const&)> is_set;
};

std::vector<written_field> all_written_fields() {
    using kgroup::config;
    return {
        {"brokers", R"("c:2")", "c:2", [](config const& c) { return c.brokers == "c:2"; }},
        {"group_id", R"("h")", "h", [](config const& c) { return c.group_id == "h"; }},
        {"topics", R"(["u"])", "u", [](config const& c) { return c.topics == lines{"u"}; }},
        {"initial_offset", R"("none")", "none",
         [](config const& c) { return c.initial_offset == offset_reset::none; }},
        {"initial_time", "1700000000123", "1700000000123",
         [](config const& c) {
             return c.initial_time == std::chrono::system_clock::time_point{} + 1700000000123ms;
         }},
        {"infer_new_partitions", "false", "false",
         [](config const& c) { return !c.infer_new_partitions; }},
        {"group_instance_id", R"("1")", "1",
         [](config const& c) { return c.group_instance_id == "1"; }},
        {"protocol", R"("consumer")", "consumer",
         [](config const& c) { return c.protocol == kgroup::group_protocol::consumer; }},
        {"assignors", R"(["roundrobin"])", "roundrobin",
         [](config const& c) { return c.assignors == std::vector{kgroup::assignor::roundrobin}; }},
        {"auto_commit_interval", "0", "0",
         [](config const& c) { return c.auto_commit_interval == 0ms; }},
        {"commit_at_end", "false", "false", [](config const& c) { return !c.commit_at_end; }},
        {"rebalance_deadline", "2000", "2000",
         [](config const& c) { return c.rebalance_deadline == 2s; }},
        {"commit_timeout", "3000", "3000", [](config const& c) { return c.commit_timeout == 3s; }},
        {"close_timeout", "4000", "4000", [](config const& c) { return c.close_timeout == 4s; }},
        {"buffer_bytes", "1048576", "1048576",
         [](config const& c) { return c.buffer_bytes == 1048576; }},
        {"expected_partitions", "9", "9",
         [](config const& c) { return c.expected_partitions == 9; }},
        {"on_claim_exit", R"("keep_others")", "keep_others",
         [](config const& c) { return c.on_claim_exit == kgroup::claim_exit::keep_others; }},
        {"properties", R"({"client.id": "me"})", R"({"client.id": "me"})",
         [](config const& c) { return c.properties.contains("client.id"); }},
    };
}

TEST_CASE("app_config: each field of config can be written in the file, and in the environment") {
    auto const written = all_written_fields();
    // Does not compile when `config` has another field: it belongs above, unless it is a function.
    auto const& [brokers, group_id, topics, initial_offset, initial_time, infer_new_partitions,
                 group_instance_id, protocol, assignors, auto_commit_interval, commit_at_end,
                 rebalance_deadline, commit_timeout, close_timeout, buffer_bytes,
                 expected_partitions, on_claim_exit, properties, oauth_token_provider, on_event,
                 observer] = kgroup::config{};
    CHECK(written.size() == 21 - 3);
    std::map<std::string, std::string> const needed{{"brokers", R"("b:1")"},
                                                    {"group_id", R"("g")"},
                                                    {"topics", R"(["t"])"},
                                                    {"initial_offset", R"("earliest")"}};
    auto const text_of = [](std::map<std::string, std::string> const& fields) {
        std::string text;
        for (auto const& [name, json] : fields) {
            text += (text.empty() ? "{\"" : ",\n\"") + name + "\": " + json;
        }
        return text + "}";
    };
    for (auto const& field : written) {
        CAPTURE(field.name);
        CHECK_FALSE(field.is_set(kgroup::parse_app_config(text_of(needed)).group));
        auto fields = needed;
        fields[field.name] = field.json;
        CHECK(field.is_set(kgroup::parse_app_config(text_of(fields)).group));
        auto name = "KGROUP_" + field.name;
        std::ranges::transform(name, name.begin(), [](char c) {
            return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
        });
        environment const set{{{name, field.variable}}};
        auto const read = kgroup::parse_app_config(text_of(needed));
        CHECK(field.is_set(read.group));
        CHECK(read.overrides == lines{name});
        CHECK(read.warnings.empty());
    }
}

TEST_CASE("app_config: seconds where milliseconds belong are refused, or a warning") {
    auto const warnings = [](std::string const& rest) {
        return kgroup::parse_app_config(with_rest(rest), "push.json").warnings;
    };
    for (auto const* const time : {"1764000000", "0", "1764000000000000"}) { // s, none, µs
        CHECK(refusal(with_rest(",\n\"initial_time\": " + std::string{time}))
                  .find("push.json: line 3: 'initial_time' a number of milliseconds was expected, "
                        "counted from 1970: from 100000000000 (in 1973)") == 0);
    }
    CHECK(warnings(",\n\"initial_time\": 100000000000").empty());
    CHECK(warnings(",\n\"close_timeout\": 30") ==
          lines{"push.json: line 3: 'close_timeout' is 30 milliseconds (30 seconds are 30000)"});
    for (auto const* const name :
         {"rebalance_deadline", "commit_timeout", "auto_commit_interval"}) {
        CAPTURE(name);
        CHECK(warnings(",\n\"" + std::string{name} + "\": 99").size() == 1);
        CHECK(warnings(",\n\"" + std::string{name} + "\": 100").empty());
    }
    CHECK(warnings(",\n\"auto_commit_interval\": 0").empty());
    CHECK(warnings(R"(,
        "properties": {"session.timeout.ms": 45, "heartbeat.interval.ms": "3",
        "fetch.wait.max.ms": 5, "max.poll.interval.ms": 300000})")
              .size() == 2);
    environment const set{{{"KGROUP_CLOSE_TIMEOUT", "15"}, {"KGROUP_COMMIT_TIMEOUT", "5000"}}};
    CHECK(warnings(",\n\"commit_timeout\": 5, \"close_timeout\": 15000") ==
          lines{"environment variable KGROUP_CLOSE_TIMEOUT: 'close_timeout' is 15 milliseconds (15 "
                "seconds are 15000)"});
}

TEST_CASE("app_config: what may be meant by a key that is not known is said") {
    for (auto const& [key, sentence] :
         {std::pair{"ledger", "'ledger' is not known: settings of the service's own have to be "
                              "named to the reader (app_config_options::other_keys)"},
          {"bootstrap.servers", "'bootstrap.servers' is not known: 'brokers' is its name here"},
          {"metadata.broker.list", ": 'brokers' is its name here"},
          {"auto_offset_reset", ": 'initial_offset' is its name here"},
          {"session.timeout.ms", ": librdkafka's properties belong under 'properties'"},
          {"topic", ": 'topics' may be meant"},
          {"closeTimeout", ": 'close_timeout' may be meant"},
          {"group_instance_ids", ": 'group_instance_id' may be meant"}}) {
        auto const said = refusal(with_rest(",\n\"" + std::string{key} + "\": \"x\""));
        CHECK_MESSAGE(said.find(sentence) != std::string::npos, "expected: ", sentence,
                      "\nsaid: ", said);
    }
}

TEST_CASE("app_config: one error names line, key and what was expected, and shows no value") {
    struct bad {
        char const* line; // the third
        char const* sentence;
    };
    for (auto const& [line, sentence] : {
             bad{R"("topic": ["t"])", "push.json: line 3: 'topic' is not known"},
             bad{R"("topics": [])",
                 "push.json: line 3: 'topics' a list of strings that is not empty was expected"},
             bad{R"("topics": "t")",
                 "push.json: line 3: 'topics' a list of strings that is not empty was expected"},
             bad{R"("topics": ["t", 7])",
                 "push.json: line 3: 'topics[1]' a string that is not empty was expected"},
             bad{R"("brokers_address": "b")",
                 "push.json: line 3: 'brokers_address' a list of strings"},
             bad{R"("brokers_address": [""])",
                 "push.json: line 3: 'brokers_address[0]' a string that is not empty was expected"},
             bad{R"("consumer_group_id": 7)",
                 "push.json: line 3: 'consumer_group_id' a string that is not empty was expected"},
             bad{R"("group_id_consistent": "yes")",
                 "push.json: line 3: 'group_id_consistent' true or false was expected"},
             bad{R"("consumer": -2)", "push.json: line 3: 'consumer' an object was expected"},
             bad{R"("consumer": {"offset_initial": 0})",
                 "push.json: line 3: 'consumer.offset_initial' -1 (newest) or -2 (oldest) was "
                 "expected"},
             bad{R"("consumer": {"offset_initial": "-1"})",
                 "push.json: line 3: 'consumer.offset_initial' -1 (newest) or -2 (oldest) was "
                 "expected"},
             bad{R"("consumer": {"offset": -1})",
                 "push.json: line 3: 'consumer.offset' is not known"},
             bad{R"("consumer": {})",
                 "'consumer.offset_initial' is missing: -1 (newest) or -2 (oldest) was expected"},
             bad{R"("commit_timeout": -1)",
                 "push.json: line 3: 'commit_timeout' a number of milliseconds was expected"},
             bad{R"("initial_time": "yesterday")",
                 "push.json: line 3: 'initial_time' a number of milliseconds was expected"},
             bad{R"("buffer_bytes": 1.5)",
                 "push.json: line 3: 'buffer_bytes' a whole number from 0 on was expected"},
             bad{R"("protocol": "share")",
                 R"(push.json: line 3: 'protocol' one of "classic", "consumer" was expected)"},
             bad{R"("assignors": ["range", "sticky"])", "push.json: line 3: 'assignors[1]' one of"},
             bad{R"("properties": {"sasl.password": ["hunter2"]})",
                 "push.json: line 3: 'properties.sasl.password' a string"},
             bad{R"("on_event": 1)", "push.json: line 3: 'on_event' is not known"},
         }) {
        auto const key = std::string{line}.substr(0, std::string_view{line}.find(':'));
        std::string text = "{\n";
        for (auto const* const variable :
             {R"("brokers_address": ["b"])", R"("consumer_group_id": "g")", R"("topics": ["t"])",
              R"("consumer": {"offset_initial": -2})"}) {
            if (!std::string_view{variable}.starts_with(key)) {
                text += text.size() == 2 ? variable : std::string{", "} + variable;
            }
        }
        text += ",\n" + std::string{line} + "\n}\n";
        auto const said = refusal(text);
        CHECK_MESSAGE(said.find(sentence) != std::string::npos, "expected: ", sentence,
                      "\nsaid: ", said);
        CHECK(said.find("hunter2") == std::string::npos);
    }
}

TEST_CASE("app_config: what is missing, and what is no JSON, is said, too") {
    CHECK(refusal("{}").find("'brokers_address' is missing") != std::string::npos);
    CHECK(refusal(R"({"brokers_address": ["b"]})").find("'consumer_group_id' is missing") !=
          std::string::npos);
    CHECK(refusal(R"({"brokers_address": ["b"], "consumer_group_id": "g"})")
              .find("'topics' is missing") != std::string::npos);
    CHECK(refusal(R"({"brokers_address": ["b"], "consumer_group_id": "g", "topics": ["t"]})")
              .find("'initial_offset' is missing: \"earliest\", \"latest\" or \"none\" was "
                    "expected (or 'consumer' with 'offset_initial'), and KGROUP_INITIAL_OFFSET is "
                    "not set") != std::string::npos);
    CHECK(refusal("[]").find("push.json: line 1: an object was expected") != std::string::npos);
    CHECK(refusal("").find("not JSON") != std::string::npos);
    CHECK(refusal("{\n\"topics\": [\n\"t\",,\n]}").find("push.json: line 3: not JSON") !=
          std::string::npos);
    CHECK(refusal("{\"brokers_address\": [\"b\"]").find("not JSON") != std::string::npos);
}

TEST_CASE("app_config: from a file, or what keeps it from being read") {
    CHECK_THROWS_WITH_AS(kgroup::load_app_config("no/such/file.json"),
                         doctest::Contains("no/such/file.json"), std::system_error);
    auto const path = (std::filesystem::temp_directory_path() /
                       ("kgroup-" + std::to_string(::getpid()) + ".json"))
                          .string();
    std::ofstream{path}
        << R"({"brokers_address": ["b"], "consumer_group_id": "g", "topics": ["t"], "consumer": {"offset_initial": 3}})";
    CHECK_THROWS_WITH_AS(kgroup::load_app_config(path),
                         doctest::Contains((path + ": line 1: 'consumer.offset_initial'").c_str()),
                         std::system_error);
    std::filesystem::remove(path);
}

TEST_CASE("app_config: what would be taken in silence, or not at all, is refused with the line") {
    struct bad {
        std::string text;
        char const* sentence;
    };
    for (auto const& [text, sentence] : std::vector<bad>{
             {with_rest(",\n\"group_id\": \"h\""),
              "push.json: line 3: 'group_id' and 'consumer_group_id' on line 2 are two names of "
              "one field"},
             {with_rest(",\n\"initial_offset\": \"latest\""),
              "push.json: line 3: 'initial_offset' and 'consumer' on line 2 are two names"},
             {with_rest(",\n\"brokers\": \"c\""), " are two names of one field"},
             {with_rest(",\n\"topics\": [\"u\"]"),
              "push.json: line 3: 'topics' stands twice, on line 2, too"},
             {with_rest(",\n\"properties\": {\"client.id\": \"a\",\n\"client.id\": \"b\"}"),
              "push.json: line 4: 'properties.client.id' stands twice, on line 3, too"},
             {with_rest(",\n\"group_instance_id\": \"a\\u0000b\""),
              "push.json: line 3: 'group_instance_id' holds a NUL"},
             {with_rest(",\n\"properties\": {\"client.id\\u0000\": \"a\"}"), "holds a NUL"},
             {with_rest(",\n\"close_timeout\": 1e400"),
              "push.json: line 3: 'close_timeout' is a number out of range"},
             {with_rest(",\n\"close_timeout\": 99999999999999999999"),
              "push.json: line 3: 'close_timeout' a number of milliseconds was expected"},
             {with_rest(",\n\"close_timeout\": 2.5"),
              "push.json: line 3: 'close_timeout' a number of milliseconds was expected"},
             {with_rest(",\n\"close_timeout\": 0"),
              "push.json: line 3: close_timeout: must be positive"},
             {with_rest(",\n\"commit_timeout\": 3000000000"),
              "push.json: line 3: commit_timeout: must not be more than"},
             {with_rest(",\n\"expected_partitions\": -1"),
              "push.json: line 3: 'expected_partitions' a whole number from 0 on was expected"},
             {with_rest(",\n\"a\\u001b[31m\": 1"), "push.json: line 3: 'a\\x1b[31m' is not known"},
             {"", "push.json: line 1: not JSON: it is empty"},
             {" \n ", "push.json: line 1: not JSON: it is empty"},
             {"\xef\xbb\xbf{}", "push.json: line 1: not JSON: a byte order mark stands before it"},
             {"{\n\"a\": \"\xff\"}", "push.json: line 2: not JSON: it is not UTF-8"},
             {"{\n\"a\": \"\xed\xa0\x80\"}", "push.json: line 2: not JSON: it is not UTF-8"},
             {std::string(40000, '['),
              "push.json: line 1: more than 64 objects and lists within each other"},
         }) {
        auto const said = refusal(text);
        CHECK_MESSAGE(said.find(sentence) != std::string::npos, "expected: ", sentence,
                      "\nsaid: ", said);
        CHECK(std::ranges::none_of(said, [](unsigned char character) { return character < 0x20; }));
    }
}

TEST_CASE("app_config: a property's number is kept as it is") {
    auto const read = kgroup::parse_app_config(
                          with_rest(",\n\"properties\": {\"a\": 18446744073709551615, \"b\": -7}"))
                          .group;
    CHECK(read.properties.at("a") == "18446744073709551615");
    CHECK(read.properties.at("b") == "-7");
}

TEST_CASE("app_config: a service's own settings stand beside, under keys that it names, and it "
          "finds their lines") {
    auto const text = with_rest(",\n\"push\": {\"a\": [1,\n2, {\"b\": \"\\u0000\", \"b\": 1}]}");
    CHECK(refusal(text).find("'push.a[1].b' holds a NUL") == std::string::npos);
    CHECK(refusal(with_rest(",\n\"push\": {}")).find("push.json: line 3: 'push' is not known") ==
          0);
    CHECK(kgroup::parse_app_config(text, "push.json", {.other_keys = {"push"}}).group.group_id ==
          "g");
    CHECK(kgroup::json_line_of(with_rest(",\n\"push\": {\"a\": [1,\n2]}"), "push.a[1]") == 4);
    CHECK(kgroup::json_line_of(text, "pull") == 0);
    auto const twice = with_rest(",\n\"push\": {},\n\"push\": {}");
    CHECK_THROWS_WITH(kgroup::parse_app_config(twice, "push.json", {.other_keys = {"push"}}),
                      doctest::Contains("line 4: 'push' stands twice"));
}

TEST_CASE("app_config: environment variables override, or stand for what is missing, and are named "
          "in a refusal") {
    {
        environment const set{{{"KGROUP_GROUP_ID", "h"},
                               {"KGROUP_TOPICS", "u,v"},
                               {"KGROUP_CLOSE_TIMEOUT", "2000"},
                               {"KGROUP_COMMIT_AT_END", "false"},
                               {"KGROUP_INITIAL_OFFSET", "latest"},
                               {"KGROUP_ASSIGNORS", "roundrobin"},
                               {"KGROUP_PROPERTIES", "{\"client.id\": \"me\"}"},
                               {"KGROUP_GROUP_ID_CONSISTENT", "false"}}};
        auto const read = kgroup::parse_app_config(
            with_rest(",\n\"properties\": {\"client.id\": \"you\", \"client.rack\": \"a\"}"));
        CHECK(read.group.group_id == "h");
        CHECK(read.group.topics == lines{"u", "v"});
        CHECK(read.group.close_timeout == 2s);
        CHECK_FALSE(read.group.commit_at_end);
        CHECK_FALSE(read.group_id_consistent);
        CHECK(read.group.initial_offset == offset_reset::latest);
        CHECK(read.group.assignors == std::vector{kgroup::assignor::roundrobin});
        CHECK(read.group.properties ==
              std::map<std::string, std::string>{{"client.id", "me"}, {"client.rack", "a"}});
        CHECK(read.overrides.size() == 8);
        CHECK(kgroup::parse_app_config(with_rest(""), "push.json", {.environment = false})
                  .group.group_id == "g");
    }
    {
        environment const set{{{"KGROUP_BROKERS", "b:1"},
                               {"KGROUP_GROUP_ID", "g"},
                               {"KGROUP_TOPICS", "[\"^a{1,2}\"]"},
                               {"KGROUP_INITIAL_OFFSET", "earliest"}}};
        CHECK(kgroup::parse_app_config("{}").group.topics == lines{"^a{1,2}"});
    }
    for (auto const& [name, value, sentence] :
         {std::tuple{"KGROUP_CLOSE_TIMEOUT", "soon",
                     "environment variable KGROUP_CLOSE_TIMEOUT: a number of milliseconds"},
          {"KGROUP_CLOSE_TIMEOUT", "", "environment variable KGROUP_CLOSE_TIMEOUT: "},
          {"KGROUP_CLOSE_TIMEOUT", "0",
           "close_timeout: must be positive (overridden by the environment: KGROUP_CLOSE_TIMEOUT)"},
          {"KGROUP_TOPICS", "a,,b",
           "environment variable KGROUP_TOPICS: a string that is not empty was expected"},
          {"KGROUP_PROPERTIES", "{\"sasl.password\": [\"hunter2\"]}",
           "environment variable KGROUP_PROPERTIES: a string"},
          {"KGROUP_PROPERTIES", "{\"sasl.password\": \"hunter2\"",
           "environment variable KGROUP_PROPERTIES: not JSON"}}) {
        environment const set{{{name, value}}};
        auto const said = refusal(with_rest(""));
        CHECK_MESSAGE(said.find(sentence) != std::string::npos, "expected: ", sentence,
                      "\nsaid: ", said);
        CHECK(said.find("hunter2") == std::string::npos);
    }
    environment const both{{{"KGROUP_GROUP_ID", "a"}, {"KGROUP_CONSUMER_GROUP_ID", "b"}}};
    CHECK(refusal(with_rest("")).find("two names of one field") != std::string::npos);
}

TEST_CASE("app_config: a directory, an empty file, one without an end") {
    CHECK_THROWS_WITH_AS(kgroup::load_app_config("/tmp"), doctest::Contains("/tmp: Is a directory"),
                         std::system_error);
    CHECK_THROWS_WITH_AS(kgroup::load_app_config("/dev/null"),
                         doctest::Contains("/dev/null: line 1: not JSON: it is empty"),
                         std::system_error);
    CHECK_THROWS_WITH_AS(kgroup::load_app_config("/dev/zero"),
                         doctest::Contains("/dev/zero: File too large"), std::system_error);
}

} // namespace
} // namespace app_config_tests
