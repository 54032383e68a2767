// SPDX-License-Identifier: MIT

#include <kgroup/dead_letters.hpp>
#include <kgroup/detail/rdkafka/error.hpp>
#include <kgroup/error.hpp>
#include <kgroup/for_each.hpp>
#include <kgroup/testing/embedded_cluster.hpp>

#include <asio/awaitable.hpp>

#include <doctest/doctest.h>
#include <support/scripted_group.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "kafka.hpp"
#include "producing.hpp"

// Dead letters over brokers that are real or inside the process; the group that fails is scripted.

namespace dead_letters_tests {

namespace {

using namespace kgroup;
using namespace kgroup::tests;
using testing::embedded_cluster;

/// A group whose function fails at what has the key "bad" or none, and its dead letters.
struct failing_group : scripted_group {
    explicit failing_group(std::string const& brokers, dead_letters_options given = {},
                           producer_config produced = {}) {
        produced.connection.brokers = brokers;
        produced.on_event = [this](event const& told) { producer_events.push_back(told); };
        out.emplace(context, std::move(produced));
        letters.emplace(*out, std::move(given));
        options.dead_letters = &*letters;
        handler.on_claim = [this](session&, claim& claim) -> asio::awaitable<void> {
            auto function = [this](message const& taken) {
                if (taken.key() == "bad" || !taken.has_key()) {
                    throw std::runtime_error{std::string(5000, 'w')};
                }
                done.emplace_back(taken.value());
            };
            co_await for_each(claim, options, function);
        };
    }
    ~failing_group() {
        group.reset();
        out.reset();
    }

    void add(topic_partition const& where, std::string_view key, std::optional<std::string> value) {
        cluster.add_records(where, fake_cluster::record{.key = std::string{key},
                                                        .value = std::move(value),
                                                        .headers = {{"trace", "1-2-3"}}});
    }
    /// Lets the network have its time.
    template <typename Condition>
    bool until(Condition const& holds, std::chrono::milliseconds limit = 40s) {
        return eventually(
            [&] {
                context.restart();
                context.run_for(5ms);
                settle();
                return holds();
            },
            limit);
    }
    std::size_t told(event_kind kind) const {
        return static_cast<std::size_t>(std::ranges::count(producer_events, kind, &event::kind));
    }
    event const& last_told(event_kind kind) const {
        auto const found = std::find_if(producer_events.rbegin(), producer_events.rend(),
                                        [&](event const& event) { return event.kind == kind; });
        REQUIRE(found != producer_events.rend());
        return *found;
    }

    std::optional<producer> out;
    std::optional<dead_letters> letters;
    for_each_options options{.order = order::by_key};
    std::vector<event> producer_events;
    lines done;
};

std::optional<std::string> header_of(stored_record const& record, std::string_view name) {
    std::optional<std::string> found;
    for (auto const& [other, value] : record.headers) {
        found = other == name ? value : found;
    }
    return found;
}

topic_partition const t3{"t", 3};

TEST_CASE("dead_letters: a letter is its record, and says where it comes from and why") {
    embedded_cluster brokers;
    brokers.create_topic("t.dlq", 2);
    failing_group group{brokers.brokers(), {.group = "billing"}};
    group.add(t3, "good", "fine");
    group.add(t3, "bad", "value");
    group.add(t3, "bad", std::nullopt);
    group.run_over({t3});
    REQUIRE(group.until([&] { return group.out->stats().acknowledged == 2; }));
    group.stop();
    CHECK(group.cluster.committed(t3) == 3);
    CHECK(group.done == lines{"fine"});
    auto const found = read_partition(brokers.brokers(), "t.dlq", 3 % 2, 2);
    REQUIRE(found.size() == 2);
    CHECK(found[0].key == "bad");
    CHECK(found[0].value == "value");
    CHECK_FALSE(found[1].value); // null is not empty
    for (std::size_t i = 0; i != 2; ++i) {
        auto const& letter = found[i];
        CHECK(letter.headers.front() ==
              std::pair{std::string{"trace"}, std::optional<std::string>{"1-2-3"}});
        CHECK(header_of(letter, "__dlq.errors.topic") == "t");
        CHECK(header_of(letter, "__dlq.errors.partition") == "3");
        CHECK(header_of(letter, "__dlq.errors.offset") == std::to_string(i + 1));
        CHECK(header_of(letter, "__dlq.errors.group") == "billing");
        CHECK(header_of(letter, "__dlq.errors.delivery.count") == "1");
        CHECK(header_of(letter, "__dlq.errors.message") == std::string(1024, 'w'));
        CHECK(header_of(letter, "kgroup.exception") == "std::runtime_error");
    }
}

TEST_CASE("dead_letters: while no broker can be reached the record waits, others go on, and both "
          "ends are told") {
    embedded_cluster brokers;
    brokers.create_topic("t.dlq", 1);
    brokers.take_down();
    failing_group group{brokers.brokers()};
    group.add(t0, "bad", "value");
    group.add(t0, "good", "fine");
    group.run_over({t0});
    REQUIRE(group.until([&] { return group.done == lines{"fine"}; }));
    group.advance(11s);
    REQUIRE(group.until([&] { return group.told(event_kind::dead_letter_held) == 1; }));
    CHECK(group.last_told(event_kind::dead_letter_held).where == t0);
    auto const told_by_claim = group.last(event_kind::dead_letter_held);
    CHECK(told_by_claim.where == t0);
    CHECK_MESSAGE((told_by_claim.error ||
                   told_by_claim.text.find("its producer says: ") != std::string::npos),
                  told_by_claim.text); // that no broker can be reached
    group.advance(10min);              // no limit
    CHECK(group.told(event_kind::dead_letter_sent) == 0);
    CHECK_FALSE(group.cluster.committed(t0).has_value());
    brokers.bring_up();
    REQUIRE(group.until([&] { return group.told(event_kind::dead_letter_sent) == 1; }));
    group.stop();
    CHECK(group.cluster.committed(t0) == 2);
    CHECK(brokers.log_end("t.dlq", 0) == 1); // once
}

TEST_CASE("dead_letters: cancelled without brokers at the end of a claim, they end in time") {
    failing_group group{"127.0.0.1:1"};
    group.add(t0, "bad", "value");
    group.run_over({t0});
    group.cluster.revoke();
    group.settle();
    group.advance(1h);
    REQUIRE(group.until([&] { return group.handler.claims_ended == 1; }));
    CHECK_FALSE(group.cluster.committed(t0).has_value());
    group.stop();
}

TEST_CASE("dead_letters: after a fatal error of the producer a letter is sent again") {
    embedded_cluster brokers;
    brokers.create_topic("t.dlq", 1);
    failing_group group{brokers.brokers()};
    brokers.fail(embedded_cluster::request::produce,
                 RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    group.add(t0, "bad", "value");
    group.run_over({t0});
    REQUIRE(group.until([&] { return group.told(event_kind::producer_failed) == 1; }));
    REQUIRE(group.until([&] {
        group.advance(500ms);
        return group.out->stats().acknowledged == 1;
    }));
    group.settle();
    group.stop();
    CHECK(group.cluster.committed(t0) == 1);
}

// Fits with the short headers only, or not at all.
producer_config with_small_records() {
    producer_config given;
    given.properties["message.max.bytes"] = "2000";
    return given;
}

TEST_CASE("dead_letters: one that is too large goes without its long headers") {
    embedded_cluster brokers;
    brokers.create_topic("t.dlq", 1);
    failing_group group{brokers.brokers(), {}, with_small_records()};
    group.add(t0, "bad", std::string(900, 'x'));
    group.run_over({t0});
    REQUIRE(group.until([&] { return group.out->stats().acknowledged == 1; }));
    group.settle();
    group.stop();
    auto const found = read_partition(brokers.brokers(), "t.dlq", 0, 1);
    REQUIRE(found.size() == 1);
    CHECK(header_of(found[0], "__dlq.errors.offset") == "0");
    CHECK_FALSE(header_of(found[0], "__dlq.errors.message"));
    CHECK(header_of(found[0], "trace") == "1-2-3");
}

TEST_CASE("dead_letters: one that cannot be delivered ends the run, is skipped, or waits") {
    embedded_cluster brokers;
    brokers.create_topic("t.dlq", 1);
    for (auto const then : {undeliverable::end, undeliverable::skip, undeliverable::park}) {
        CAPTURE(static_cast<int>(then));
        failing_group group{brokers.brokers(), {.undeliverable = then}, with_small_records()};
        group.add(t0, "bad", std::string(3000, 'x'));
        group.run_over({t0});
        switch (then) {
        case undeliverable::end: {
            REQUIRE(group.until([&] { return group.outcome.completed; }));
            CHECK(group.outcome.error() == make_error_code(RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE));
            CHECK_MESSAGE(
                group.outcome.what().find("the dead letter of offset 0 for the topic 't.dlq'") !=
                    std::string::npos,
                group.outcome.what());
            CHECK_FALSE(group.cluster.committed(t0).has_value());
            break;
        }
        case undeliverable::skip:
            REQUIRE(group.until([&] { return group.told(event_kind::record_skipped) == 1; }));
            CHECK(group.last_told(event_kind::record_skipped).where == t0);
            group.stop();
            CHECK(group.cluster.committed(t0) == 1);
            break;
        case undeliverable::park:
            REQUIRE(group.until([&] { return group.told(event_kind::dead_letter_held) == 1; }));
            group.advance(10min);
            CHECK_FALSE(group.outcome.completed);
            group.cluster.revoke();
            group.settle();
            group.advance(1h);
            REQUIRE(group.until([&] { return group.told(event_kind::dead_letter_sent) == 1; }));
            CHECK_FALSE(group.cluster.committed(t0).has_value());
            group.stop();
            break;
        }
    }
}

/// What becomes of a letter, the first in the group, that the brokers refuse for good.
void check_refused(failing_group& group, undeliverable then, std::error_code error,
                   std::string const& topic) {
    auto const words = "the dead letter of offset 0 for the topic '" + topic + "'";
    auto const says = [&](std::string const& text) {
        CHECK_MESSAGE(text.find(words) != std::string::npos, text);
    };
    group.run_over({t0});
    switch (then) {
    case undeliverable::end:
        REQUIRE(group.until([&] { return group.outcome.completed; }));
        CHECK_MESSAGE(group.outcome.error() == error, group.outcome.what());
        says(group.outcome.what());
        CHECK_FALSE(group.cluster.committed(t0).has_value());
        break;
    case undeliverable::skip:
        REQUIRE(group.until([&] { return group.told(event_kind::record_skipped) == 1; }));
        CHECK(group.last_told(event_kind::record_skipped).where == t0);
        CHECK(group.last_told(event_kind::record_skipped).error == error);
        says(group.last_told(event_kind::record_skipped).text);
        group.stop();
        CHECK(group.cluster.committed(t0) == 1);
        break;
    case undeliverable::park:
        REQUIRE(group.until([&] { return group.told(event_kind::dead_letter_held) == 1; }));
        CHECK(group.last_told(event_kind::dead_letter_held).error == error);
        says(group.last_told(event_kind::dead_letter_held).text);
        CHECK_FALSE(group.outcome.completed);
        group.advance(11s);
        group.settle();
        CHECK(group.last(event_kind::dead_letter_held).error == error); // of the claim's own
        CHECK(readiness(group.group->state()).reasons.at(0).find(error.message()) !=
              std::string::npos);
        group.stop();
        CHECK_FALSE(group.cluster.committed(t0).has_value());
        CHECK(group.told(event_kind::dead_letter_sent) == 1); // not sent any more
        break;
    }
}

constexpr undeliverable all_ways[] = {undeliverable::end, undeliverable::skip, undeliverable::park};

TEST_CASE("dead_letters: without rights to their topic they end the run, are skipped or wait, in "
          "words") {
    for (auto const then : all_ways) {
        CAPTURE(static_cast<int>(then));
        embedded_cluster brokers;
        brokers.create_topic("refused", 1);
        failing_group group{
            brokers.brokers(),
            {.topic = [](message const&) { return "refused"; }, .undeliverable = then}};
        brokers.fail(embedded_cluster::request::produce,
                     RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, 100);
        group.add(t0, "bad", "value");
        check_refused(group, then, make_error_code(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED),
                      "refused");
        CHECK(brokers.log_end("refused", 0) == 0);
    }
}

TEST_CASE("dead_letters: what waits without rights is sent when they are there") {
    embedded_cluster brokers;
    brokers.create_topic("t.dlq", 1);
    failing_group group{brokers.brokers(), {.undeliverable = undeliverable::park}};
    brokers.fail(embedded_cluster::request::produce, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
                 4);
    group.add(t0, "bad", "value");
    group.run_over({t0});
    REQUIRE(group.until([&] { return group.told(event_kind::dead_letter_held) == 1; }));
    REQUIRE(group.until([&] {
        group.advance(1s);
        return group.told(event_kind::dead_letter_sent) == 1;
    }));
    group.stop();
    CHECK(group.cluster.committed(t0) == 1);
    CHECK(brokers.log_end("t.dlq", 0) == 1);
}

/// With what a real Kafka refuses for good.
producer_config that_asks_soon() {
    producer_config given;
    given.properties = {{"topic.metadata.propagation.max.ms", "500"},
                        {"allow.auto.create.topics", "false"}};
    return given;
}

TEST_CASE("dead_letters: at the size limit of their topic on a real Kafka, they go without their "
          "long headers, or not at all") {
    if (!kafka::is_there()) {
        return;
    }
    kafka brokers{kafka::kind::real};
    auto const topic = brokers.create_topic(unique("letters"), 1, {{"max.message.bytes", "20000"}});
    auto const options = [&](undeliverable then) {
        return dead_letters_options{.topic = [&](message const&) { return topic; },
                                    .undeliverable = then};
    };
    {
        failing_group group{brokers.brokers(), options(undeliverable::end), that_asks_soon()};
        group.add(t0, "bad", std::string(19'000, 'x'));
        group.run_over({t0});
        REQUIRE(group.until([&] { return group.out->stats().acknowledged == 1; }));
        group.settle();
        group.stop();
        CHECK(group.cluster.committed(t0) == 1);
        auto const found = read_partition(brokers.brokers(), topic, 0, 1);
        REQUIRE(found.size() == 1);
        CHECK(header_of(found[0], "__dlq.errors.offset") == "0");
        CHECK_FALSE(header_of(found[0], "__dlq.errors.message"));
    }
    for (auto const then : all_ways) {
        CAPTURE(static_cast<int>(then));
        failing_group group{brokers.brokers(), options(then), that_asks_soon()};
        group.add(t0, "bad", std::string(21'000, 'x'));
        check_refused(group, then, make_error_code(RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE), topic);
    }
    CHECK(brokers.log_end(topic, 0) == 1);
}

TEST_CASE("dead_letters: without a key, to a compacted topic of a real Kafka, they end the run, "
          "are skipped or wait, in words") {
    if (!kafka::is_there()) {
        return;
    }
    kafka brokers{kafka::kind::real};
    auto const topic = brokers.create_topic(unique("letters"), 1, {{"cleanup.policy", "compact"}});
    for (auto const then : all_ways) {
        CAPTURE(static_cast<int>(then));
        failing_group group{brokers.brokers(),
                            {.topic = [&](message const&) { return topic; }, .undeliverable = then},
                            that_asks_soon()};
        group.cluster.add_records(t0, fake_cluster::record{.value = "value"});
        check_refused(group, then, make_error_code(RD_KAFKA_RESP_ERR_INVALID_RECORD), topic);
    }
    CHECK(brokers.log_end(topic, 0) == 0);
}

TEST_CASE("dead_letters: without their topic, which a real Kafka does not make, they end the run, "
          "are skipped or wait, in words") {
    if (!kafka::is_there()) {
        return;
    }
    kafka brokers{kafka::kind::real};
    for (auto const then : all_ways) {
        CAPTURE(static_cast<int>(then));
        auto const topic = unique("missing");
        failing_group group{brokers.brokers(),
                            {.topic = [&](message const&) { return topic; }, .undeliverable = then},
                            that_asks_soon()};
        group.add(t0, "bad", "value");
        check_refused(group, then, make_error_code(RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC), topic);
    }
}

TEST_CASE("dead_letters: of a producer that was stopped or is gone they end the run") {
    embedded_cluster brokers;
    brokers.create_topic("t.dlq", 1);
    for (auto const gone : {false, true}) {
        failing_group group{brokers.brokers()};
        if (gone) {
            group.out.reset();
        } else {
            group.out->stop();
        }
        group.add(t0, "bad", "value");
        group.run_over({t0});
        REQUIRE(group.until([&] { return group.outcome.completed; }));
        CHECK(group.outcome.error() == errc::producer_stopped);
        CHECK_FALSE(group.cluster.committed(t0).has_value());
    }
}

TEST_CASE("dead_letters: by hand, the record is done when the letter has been sent") {
    embedded_cluster brokers;
    brokers.create_topic("t.dlq", 1);
    failing_group group{brokers.brokers(), {.headers = dead_letter_headers::connect}};
    auto sent = 0;
    group.handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        while (auto const record = co_await claim.messages().async_receive()) {
            auto const failure = std::make_exception_ptr(permanent_failure{"malformed"});
            co_await group.letters->async_send(*record, failure);
            claim.mark(*record);
            ++sent;
        }
    };
    group.add(t0, "bad", "value");
    group.run_over({t0});
    REQUIRE(group.until([&] { return sent == 1; }));
    group.stop();
    CHECK(group.cluster.committed(t0) == 1);
    auto const found = read_partition(brokers.brokers(), "t.dlq", 0, 1);
    REQUIRE(found.size() == 1);
    CHECK(header_of(found[0], "__connect.errors.exception.message") == "malformed");
    CHECK(header_of(found[0], "__connect.errors.exception.class.name") ==
          "kgroup::permanent_failure");
}

TEST_CASE("dead_letters: in another cluster than the group, a real one") {
    if (!kafka::is_there()) {
        return;
    }
    kafka brokers{kafka::kind::real};
    auto const topic = brokers.create_topic(unique("letters"), 3);
    failing_group group{brokers.brokers(),
                        {.topic = [&](message const&) { return topic; }, .group = "billing"}};
    group.add(t1, "bad", "value");
    group.add(t1, "good", "fine");
    group.run_over({t1});
    REQUIRE(group.until([&] { return group.out->stats().acknowledged == 1; }));
    group.settle();
    group.stop();
    CHECK(group.cluster.committed(t1) == 2);
    auto const found = read_partition(brokers.brokers(), topic, 1, 1);
    REQUIRE(found.size() == 1);
    CHECK(header_of(found[0], "__dlq.errors.topic") == "t");
    CHECK(std::chrono::milliseconds{found[0].timestamp} > 0ms);
}

} // namespace

} // namespace dead_letters_tests
