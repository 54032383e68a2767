// SPDX-License-Identifier: MIT

#include <kgroup/dead_letters.hpp>
#include <kgroup/for_each.hpp>
#include <kgroup/for_each_batch.hpp>
#include <kgroup/producer.hpp>
#include <kgroup/trace_context.hpp>

#include <asio/awaitable.hpp>
#include <asio/thread_pool.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "kafka.hpp"
#include "member.hpp"
#include "producing.hpp"

// The trace of a record goes on into what is produced from it, and into its dead letter, without a
// tracing library.

namespace traces_tests {

namespace {

using namespace kgroup::tests;
using kgroup::header;
using kgroup::message;

constexpr std::string_view trace_id{"0af7651916cd43dd8448eb211c80319c"};
constexpr std::string_view own_span{"00f067aa0ba902b7"};
std::string const parent = "00-" + std::string{trace_id} + "-b7ad6b7169203331-01";

/// Three topics: what is consumed, what is produced from it, and its dead letters.
struct traced_topics {
    kafka brokers;
    std::string const consumed = brokers.create_topic();
    std::string const produced = brokers.create_topic();
    std::string const letters = brokers.create_topic(consumed + ".dlq", 1);
    asio::thread_pool threads{1};
    kgroup::producer out{
        threads,
        {.connection = {.brokers = brokers.brokers()}, .on_event = [](kgroup::event const&) {}}};
    kgroup::dead_letters dead{out};

    ~traced_topics() {
        out.stop();
        threads.join();
    }

    void add(std::string value, std::optional<std::string> traceparent) {
        kafka_record added{.value = std::move(value)};
        added.headers.push_back({"before", "1"});
        if (traceparent) {
            added.headers.push_back({"traceparent", *traceparent});
            added.headers.push_back({"tracestate", "vendor=1"});
            added.headers.push_back({"tracestate", "other=2"});
        }
        brokers.produce(consumed, 0, {added});
    }

    /// Sends a record that comes of `from` and belongs to its trace, if that has one.
    asio::awaitable<void> pass_on(message const& from) {
        auto const trace = kgroup::parse_trace_context(from);
        auto const traceparent = trace ? trace->traceparent(own_span) : std::string{};
        std::vector<header> headers;
        if (trace) {
            headers.push_back({"traceparent", traceparent});
            if (!trace->tracestate.empty()) {
                headers.push_back({"tracestate", trace->tracestate});
            }
        }
        kgroup::outgoing_record const sent{
            .topic = produced, .value = from.value(), .headers = headers};
        co_await out.async_send(sent);
    }
};

std::vector<header> headers_of(stored_record const& record) {
    std::vector<header> headers;
    for (auto const& [name, value] : record.headers) {
        headers.push_back({name, value});
    }
    return headers;
}

void check_letter(stored_record const& letter, std::string_view value) {
    CHECK(letter.value == value);
    auto const headers = headers_of(letter);
    REQUIRE(headers.size() > 4); // its own, as they are, and behind them why
    CHECK(headers[0].name == "before");
    CHECK(headers[1].name == "traceparent");
    CHECK(headers[1].value == parent);
    CHECK(headers[2].value == "vendor=1");
    CHECK(headers[3].value == "other=2");
    auto const trace = kgroup::parse_trace_context(headers);
    REQUIRE(trace);
    CHECK(trace->traceparent() == parent);
    CHECK(trace->tracestate == "vendor=1,other=2");
}

} // namespace

TEST_CASE(
    "traces: a record's trace goes on into what is produced from it and into its dead letter") {
    traced_topics topics;
    topics.add("good", parent);
    topics.add("bad", parent);
    topics.add("untraced", std::nullopt);
    topics.add("broken", "00-nothing");
    auto pass_on = [&](message const& record) -> asio::awaitable<void> {
        if (record.value() == "bad") {
            throw std::runtime_error{"refused"};
        }
        co_await topics.pass_on(record);
    };
    member one{topics.brokers.member_of_new_group(topics.consumed),
               {.consume_claim = [&](auto&, auto& claim) -> asio::awaitable<void> {
                   co_await kgroup::for_each(claim,
                                             {.retry = {.attempts = 2, .backoff = {.initial = 1ms}},
                                              .dead_letters = &topics.dead},
                                             pass_on);
               }}};
    auto const produced = read_partition(topics.brokers.brokers(), topics.produced, 0, 3);
    REQUIRE(produced.size() == 3);
    CHECK(produced[0].value == "good");
    auto const trace = kgroup::parse_trace_context(headers_of(produced[0]));
    REQUIRE(trace);
    CHECK(trace->trace_id == trace_id);
    CHECK(trace->parent_id == own_span);
    CHECK(trace->sampled());
    CHECK(trace->tracestate == "vendor=1,other=2");
    CHECK(produced[1].value == "untraced");
    CHECK(produced[1].headers.empty());
    CHECK(produced[2].value == "broken");
    CHECK(produced[2].headers.empty());
    auto const letters = read_partition(topics.brokers.brokers(), topics.letters, 0, 1);
    REQUIRE(letters.size() == 1);
    check_letter(letters[0], "bad");
}

TEST_CASE("traces: the dead letter of a record of a batch has its trace") {
    traced_topics topics;
    topics.add("good", std::nullopt);
    topics.add("bad", parent);
    auto refuse = [&](kgroup::message_batch const& batch) {
        for (std::size_t i = 0; i != batch.size(); ++i) {
            if (batch[i].value() == "bad") {
                throw kgroup::failed_at{
                    i, std::make_exception_ptr(kgroup::permanent_failure{"refused"})};
            }
        }
    };
    member one{topics.brokers.member_of_new_group(topics.consumed),
               {.consume_claim = [&](auto&, auto& claim) -> asio::awaitable<void> {
                   co_await kgroup::for_each_batch(claim, {.records = 2},
                                                   {.dead_letters = &topics.dead}, refuse);
               }}};
    auto const letters = read_partition(topics.brokers.brokers(), topics.letters, 0, 1);
    REQUIRE(letters.size() == 1);
    check_letter(letters[0], "bad");
}

} // namespace traces_tests
