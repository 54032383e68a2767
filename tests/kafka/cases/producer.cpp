// SPDX-License-Identifier: MIT

#include <kgroup/detail/rdkafka/error.hpp>
#include <kgroup/error.hpp>
#include <kgroup/producer.hpp>
#include <kgroup/testing/embedded_cluster.hpp>

#include <asio/awaitable.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/error.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/use_future.hpp>

#include <doctest/doctest.h>
#include <support/failing_allocation.hpp>
#include <sys/types.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <future>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include "kafka.hpp"
#include "producing.hpp"
#include "token_kafka.hpp"

// A producer over the brokers inside the process, and over a real Kafka where it matters.

namespace producer_tests {

namespace {

using namespace kgroup::tests;
using kgroup::delivery;
using kgroup::errc;
using kgroup::event_kind;
using kgroup::make_error_code;
using kgroup::producer;
using kgroup::producer_config;
using kgroup::testing::embedded_cluster;

std::string numbered(int number) { return std::to_string(number); }

/// What refuses a configuration says.
std::string refusal_of(producer_config given) {
    asio::io_context context;
    try {
        producer const refused{context, std::move(given)};
    } catch (std::system_error const& error) {
        CHECK(error.code() == errc::invalid_config);
        return error.what();
    }
    return {};
}

bool holds(std::string_view text, std::string_view part) {
    return text.find(part) != std::string_view::npos;
}

TEST_CASE("producer: what is enqueued stands in the log in its order, after a flush") {
    embedded_cluster cluster;
    cluster.create_topic("t", 1);
    producing one{cluster.brokers()};
    auto const work = [&]() -> asio::awaitable<void> {
        for (int i = 0; i != 1000; ++i) {
            co_await one.out->async_enqueue({.topic = "t", .value = numbered(i)});
        }
        co_await one.out->async_flush();
    };
    REQUIRE(one.run(work()));
    CHECK(one.out->stats().acknowledged == 1000);
    CHECK(one.out->stats().unacknowledged == 0);
    auto const found = read_partition(cluster.brokers(), "t", 0, 1000);
    REQUIRE(found.size() == 1000);
    for (int i = 0; i != 1000; ++i) {
        REQUIRE(found[static_cast<std::size_t>(i)].value == numbered(i));
    }
}

TEST_CASE("producer: key, value, headers and timestamp arrive as they were, null not as empty") {
    embedded_cluster cluster;
    cluster.create_topic("t", 2);
    producing one{cluster.brokers()};
    using std::chrono::system_clock;
    auto const time = system_clock::time_point{std::chrono::milliseconds{1700000000123}};
    std::array const headers{kgroup::header{"a", "1"}, kgroup::header{"a", std::nullopt},
                             kgroup::header{"b", ""}};
    auto const work = [&]() -> asio::awaitable<void> {
        auto const first = co_await one.out->async_send({.topic = "t",
                                                         .key = "k",
                                                         .value = "v",
                                                         .headers = headers,
                                                         .partition = 1,
                                                         .timestamp = time});
        CHECK(first.partition == 1);
        CHECK(first.offset == 0);
        auto const second = co_await one.out->async_send(
            {.topic = "t", .key = std::nullopt, .value = std::nullopt, .partition = 1});
        CHECK(second.offset == 1);
        static_cast<void>(
            co_await one.out->async_send({.topic = "t", .key = "", .value = "", .partition = 1}));
    };
    REQUIRE(one.run(work()));
    auto const found = read_partition(cluster.brokers(), "t", 1, 3);
    REQUIRE(found.size() == 3);
    CHECK(found[0].key == "k");
    CHECK(found[0].value == "v");
    CHECK(found[0].timestamp == 1700000000123);
    REQUIRE(found[0].headers.size() == 3);
    CHECK(found[0].headers[0] == std::pair{std::string{"a"}, std::optional<std::string>{"1"}});
    CHECK(found[0].headers[1] == std::pair{std::string{"a"}, std::optional<std::string>{}});
    CHECK(found[0].headers[2] == std::pair{std::string{"b"}, std::optional<std::string>{""}});
    CHECK_FALSE(found[1].key);
    CHECK_FALSE(found[1].value);
    CHECK(found[2].key == "");
    CHECK(found[2].value == "");
}

TEST_CASE("producer: operations with handlers copy the bytes, and complete with an error code") {
    embedded_cluster cluster;
    cluster.create_topic("t", 1);
    producing one{cluster.brokers()};
    std::optional<delivery> sent;
    std::optional<std::size_t> failures;
    int enqueued = 0;
    {
        std::string value{"first"};
        one.out->async_enqueue({.topic = "t", .value = value}, [&](std::error_code error) {
            CHECK_FALSE(error);
            ++enqueued;
        });
        value = "second";
        one.out->async_send({.topic = "t", .value = value},
                            [&](std::error_code error, delivery where) {
                                CHECK_FALSE(error);
                                sent = where;
                            });
        value = "third";
        one.out->async_enqueue({.topic = "t", .value = value}, asio::detached);
        value = "gone!";
    }
    CHECK(enqueued == 0); // not in the call
    one.out->async_flush([&](std::error_code error, std::size_t failed) {
        CHECK_FALSE(error);
        failures = failed;
    });
    REQUIRE(one.run_until([&] { return failures.has_value(); }));
    CHECK(failures == 0);
    CHECK(enqueued == 1);
    REQUIRE(sent);
    CHECK(sent->offset == 1);
    auto const found = read_partition(cluster.brokers(), "t", 0, 3);
    REQUIRE(found.size() == 3);
    CHECK(found[0].value == "first");
    CHECK(found[1].value == "second");
    CHECK(found[2].value == "third");
}

TEST_CASE("producer: with nothing to wait for, the context runs out of work") {
    embedded_cluster cluster;
    cluster.create_topic("t", 1);
    asio::io_context context;
    producer out{context, {.connection = {.brokers = cluster.brokers()}}};
    auto done = false;
    out.async_send({.topic = "t", .value = "v"}, [&](std::error_code error, delivery) {
        CHECK_FALSE(error);
        done = true;
    });
    auto const begin = std::chrono::steady_clock::now();
    context.run(); // to its end
    CHECK(done);
    CHECK(std::chrono::steady_clock::now() - begin < 30s);
    out.async_flush([](std::error_code, std::size_t) {});
    context.restart();
    context.run();
}

TEST_CASE("producer: bad records fail at once, and name the topic") {
    embedded_cluster cluster;
    cluster.create_topic("t", 1);
    producing one{cluster.brokers()};
    std::string const large(2'000'000, 'x');
    auto const send = [&](kgroup::outgoing_record record) -> asio::awaitable<void> {
        static_cast<void>(co_await one.out->async_send(record));
    };
    auto const enqueue = [&](kgroup::outgoing_record record) -> asio::awaitable<void> {
        co_await one.out->async_enqueue(record);
    };
    struct bad {
        kgroup::outgoing_record record;
        rd_kafka_resp_err_t error;
    };
    for (auto const& refused : {
             bad{{.topic = "t", .value = large}, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE},
             bad{{.topic = "", .value = "v"}, RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION},
             bad{{.topic = "no topic", .value = "v"}, RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION},
             bad{{.topic = "t", .value = "v", .partition = -7},
                 RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION},
             bad{{.topic = "t", .value = "v", .timestamp = std::chrono::system_clock::time_point{}},
                 RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP},
         }) {
        CAPTURE(refused.record.topic);
        auto const sent = one.failure_of(send(refused.record));
        CHECK(sent.code() == make_error_code(refused.error));
        CHECK_MESSAGE(holds(sent.what(), "'" + std::string{refused.record.topic} + "'"),
                      sent.what());
        CHECK(one.failure_of(enqueue(refused.record)).code() == make_error_code(refused.error));
    }
    // Known only when the brokers have been asked.
    auto const failure = one.failure_of(send({.topic = "t", .value = "v", .partition = 7}));
    CHECK(failure.code() == make_error_code(RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION));
    CHECK(one.out->stats().unacknowledged == 0);
    // None of that is in the way.
    REQUIRE(one.run(send({.topic = "t", .value = "v"})));
}

TEST_CASE("producer: a failure that nobody awaits is an event, and comes out of the next flush") {
    embedded_cluster cluster;
    cluster.create_topic("t", 1);
    producing one{cluster.brokers()};
    cluster.fail(embedded_cluster::request::produce, RD_KAFKA_RESP_ERR_INVALID_RECORD);
    auto const work = [&]() -> asio::awaitable<void> {
        co_await one.out->async_enqueue({.topic = "t", .value = "v"});
        co_await one.out->async_flush();
    };
    auto const failure = one.failure_of(work());
    CHECK(failure.code() == make_error_code(RD_KAFKA_RESP_ERR_INVALID_RECORD));
    CHECK_MESSAGE(holds(failure.what(), "1 records were not delivered"), failure.what());
    auto const* const told = one.last(event_kind::delivery_failed);
    REQUIRE(told);
    CHECK(told->error == failure.code());
    CHECK(told->where == kgroup::topic_partition{"t", 0});
    CHECK_FALSE(one.failure_of(work()).code());
}

/// With room for 16 records.
producer_config small(std::string const& brokers) {
    return {.connection = {.brokers = brokers},
            .buffer_bytes = 8192,
            .close_timeout = 300ms,
            .properties = {{"message.max.bytes", "1000"}}};
}
constexpr int room = 16;

TEST_CASE("producer: while the queue is full, records wait and go in in the order of their calls") {
    embedded_cluster cluster;
    cluster.create_topic("t", 1);
    cluster.take_down();
    producing one{small(cluster.brokers())};
    int completed = 0;
    std::vector<int> order;
    constexpr int all = 100;
    for (int i = 0; i != all; ++i) {
        auto const number = numbered(i);
        if (i % 2 == 0) {
            one.out->async_enqueue({.topic = "t", .value = number}, [&, i](std::error_code error) {
                CHECK_FALSE(error);
                order.push_back(i);
                ++completed;
            });
        } else {
            one.out->async_send({.topic = "t", .value = number},
                                [&, i](std::error_code error, delivery where) {
                                    CHECK_FALSE(error);
                                    CHECK(where.offset == i);
                                    ++completed;
                                });
        }
    }
    CHECK(one.out->stats().unacknowledged == room);
    CHECK(one.out->stats().waiting == all - room);
    one.run_until([] { return false; }, 50ms);
    CHECK(completed == room / 2); // enqueued; nothing is acknowledged
    cluster.bring_up();
    REQUIRE(one.run_until([&] { return completed == all; }));
    CHECK(std::ranges::is_sorted(order));
    auto const found = read_partition(cluster.brokers(), "t", 0, all);
    REQUIRE(found.size() == all);
    for (int i = 0; i != all; ++i) {
        REQUIRE(found[static_cast<std::size_t>(i)].value == numbered(i));
    }
}

TEST_CASE("producer: a coroutine that enqueues waits for room, and for nothing else") {
    embedded_cluster cluster;
    cluster.create_topic("t", 1);
    cluster.take_down();
    producing one{small(cluster.brokers())};
    int enqueued = 0;
    auto const work = [&]() -> asio::awaitable<void> {
        for (; enqueued != 50; ++enqueued) {
            co_await one.out->async_enqueue({.topic = "t", .value = numbered(enqueued)});
        }
        co_await one.out->async_flush();
    };
    CHECK_FALSE(one.run(work(), 300ms));
    CHECK(enqueued == room);
    cluster.bring_up();
    REQUIRE(one.run_until([&] { return one.out->stats().acknowledged == 50; }));
    one.run_until([] { return false; }, 50ms); // the coroutine ends
    auto const found = read_partition(cluster.brokers(), "t", 0, 50);
    REQUIRE(found.size() == 50);
    for (int i = 0; i != 50; ++i) {
        REQUIRE(found[static_cast<std::size_t>(i)].value == numbered(i));
    }
}

TEST_CASE(
    "producer: sends that were made and are awaited later stand in the order of the awaiting") {
    embedded_cluster cluster;
    cluster.create_topic("t", 1);
    producing one{cluster.brokers()};
    auto const work = [&]() -> asio::awaitable<void> {
        auto made_first = one.out->async_send({.topic = "t", .value = "made first"});
        auto made_last = one.out->async_send({.topic = "t", .value = "made last"});
        auto const where_last = co_await std::move(made_last);
        auto const where_first = co_await std::move(made_first);
        CHECK(where_last.offset == 0);
        CHECK(where_first.offset == 1);
    };
    REQUIRE(one.run(work()));
}

TEST_CASE("producer: cancelled while it waits for room, a record is not taken, under way, the wait "
          "ends and the record may arrive") {
    embedded_cluster cluster;
    cluster.create_topic("t", 1);
    cluster.take_down();
    producing one{small(cluster.brokers())};
    asio::cancellation_signal cancel_sent;
    asio::cancellation_signal cancel_waiting;
    asio::cancellation_signal cancel_flush;
    std::vector<std::error_code> outcomes;
    one.out->async_send(
        {.topic = "t", .value = "sent"},
        asio::bind_cancellation_slot(cancel_sent.slot(), [&](std::error_code error, delivery) {
            outcomes.push_back(error);
        }));
    for (int i = 1; i != room; ++i) {
        one.out->async_enqueue({.topic = "t", .value = "filler"}, asio::detached);
    }
    one.out->async_enqueue(
        {.topic = "t", .value = "waiting"},
        asio::bind_cancellation_slot(cancel_waiting.slot(),
                                     [&](std::error_code error) { outcomes.push_back(error); }));
    one.out->async_flush(
        asio::bind_cancellation_slot(cancel_flush.slot(), [&](std::error_code error, std::size_t) {
            outcomes.push_back(error);
        }));
    CHECK(one.out->stats().waiting == 1);
    cancel_flush.emit(asio::cancellation_type::terminal);
    cancel_waiting.emit(asio::cancellation_type::terminal);
    cancel_sent.emit(asio::cancellation_type::terminal);
    REQUIRE(one.run_until([&] { return outcomes.size() == 3; }, 5s));
    for (auto const& outcome : outcomes) {
        CHECK(outcome == asio::error::operation_aborted);
    }
    CHECK(one.out->stats().waiting == 0);
    CHECK(one.out->stats().unacknowledged == room);
    cluster.bring_up();
    auto const flush = [&]() -> asio::awaitable<void> { co_await one.out->async_flush(); };
    REQUIRE(one.run(flush()));
    CHECK(one.out->stats().acknowledged == room);
    cancel_sent.emit(asio::cancellation_type::terminal); // of something that is over
    for (auto const& record : read_partition(cluster.brokers(), "t", 0, room)) {
        CHECK(record.value != "waiting");
    }
}

TEST_CASE("producer: an outage is told once, and its end, what was sent arrives") {
    embedded_cluster cluster;
    cluster.create_topic("t", 1);
    producing one{cluster.brokers()};
    auto const send = [&]() -> asio::awaitable<void> {
        static_cast<void>(co_await one.out->async_send({.topic = "t", .value = "v"}));
    };
    REQUIRE(one.run(send()));
    cluster.take_down();
    CHECK_FALSE(one.run(send(), 300ms));
    REQUIRE(one.run_until([&] { return one.last(event_kind::brokers_unreachable); }));
    cluster.bring_up();
    REQUIRE(one.run_until([&] { return one.last(event_kind::brokers_reachable); }));
    REQUIRE(one.run_until([&] { return one.out->stats().acknowledged == 2; }));
    CHECK(std::ranges::count_if(one.events, [](kgroup::event const& event) {
              return event.kind == event_kind::brokers_unreachable;
          }) == 1);
}

TEST_CASE("producer: an outage ends also when nothing is sent") {
    embedded_cluster cluster;
    producing one{cluster.brokers()};
    cluster.take_down();
    REQUIRE(one.run_until([&] { return one.last(event_kind::brokers_unreachable); }));
    one.run_until([] { return false; }, 300ms);
    CHECK_FALSE(one.last(event_kind::brokers_reachable));
    cluster.bring_up();
    REQUIRE(one.run_until([&] { return one.last(event_kind::brokers_reachable); }));
}

TEST_CASE("producer: after a fatal error another of librdkafka's takes over, and the next record "
          "arrives") {
    embedded_cluster cluster;
    cluster.create_topic("t", 1);
    producing one{cluster.brokers()};
    auto const send = [&]() -> asio::awaitable<void> {
        static_cast<void>(co_await one.out->async_send({.topic = "t", .value = "v"}));
    };
    REQUIRE(one.run(send()));
    for (int round = 1; round != 3; ++round) {
        cluster.fail(embedded_cluster::request::produce,
                     RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
        auto const failure = one.failure_of(send());
        CHECK(failure.code() == make_error_code(RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER));
        REQUIRE(one.run(send()));
        REQUIRE(one.last(event_kind::producer_failed));
        CHECK(one.last(event_kind::producer_failed)->error == failure.code());
        REQUIRE(one.run_until([&] { return one.last(event_kind::producer_recovered); }, 5s));
        CHECK(one.out->stats().replacements == static_cast<std::uint64_t>(round));
        one.events.clear();
    }
    REQUIRE(one.run(send()));
}

TEST_CASE("producer: what waits for room goes on with the replacement") {
    embedded_cluster cluster;
    cluster.create_topic("t", 1);
    cluster.take_down();
    producing one{small(cluster.brokers())};
    int failed = 0;
    int arrived = 0;
    for (int i = 0; i != 3 * room; ++i) {
        one.out->async_send({.topic = "t", .value = numbered(i)},
                            [&](std::error_code error, delivery) { ++(error ? failed : arrived); });
    }
    cluster.fail(embedded_cluster::request::produce,
                 RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    cluster.bring_up();
    REQUIRE(one.run_until([&] { return failed + arrived == 3 * room; }));
    CHECK(failed > 0);
    CHECK(arrived >= 2 * room);
    CHECK(one.out->stats().replacements == 1);
    CHECK(one.out->stats().unacknowledged == 0);
}

TEST_CASE("producer: stopped with everything acknowledged, it loses nothing, then it takes nothing "
          "more") {
    embedded_cluster cluster;
    cluster.create_topic("t", 1);
    producing one{cluster.brokers()};
    auto const work = [&]() -> asio::awaitable<void> {
        for (int i = 0; i != 100; ++i) {
            co_await one.out->async_enqueue({.topic = "t", .value = "v"});
        }
        auto const lost = co_await one.out->async_stop();
        CHECK(lost == 0);
        auto const again = co_await one.out->async_stop();
        CHECK(again == 0);
    };
    REQUIRE(one.run(work()));
    CHECK(cluster.log_end("t", 0) == 100);
    CHECK_FALSE(one.last(event_kind::delivery_failed));
    auto const late = [&]() -> asio::awaitable<void> {
        static_cast<void>(co_await one.out->async_send({.topic = "t", .value = "v"}));
    };
    CHECK(one.failure_of(late()).code() == errc::producer_stopped);
    auto const late_enqueue = [&]() -> asio::awaitable<void> {
        co_await one.out->async_enqueue({.topic = "t", .value = "v"});
    };
    CHECK(one.failure_of(late_enqueue()).code() == errc::producer_stopped);
    auto const flush = [&]() -> asio::awaitable<void> { co_await one.out->async_flush(); };
    CHECK_FALSE(one.failure_of(flush()).code());
}

TEST_CASE("producer: stopped without brokers, it ends in time, and what was not acknowledged is "
          "counted and told") {
    producing one{small("127.0.0.1:1")};
    std::vector<std::error_code> outcomes;
    auto const collect = [&](std::error_code error, auto&&...) { outcomes.push_back(error); };
    for (int i = 0; i != room - 1; ++i) {
        one.out->async_enqueue({.topic = "t", .value = "v"}, asio::detached);
    }
    one.out->async_send({.topic = "t", .value = "v"}, collect);
    one.out->async_send({.topic = "t", .value = "waits for room"}, collect);
    one.out->async_flush(collect);
    std::optional<std::size_t> lost;
    auto const begin = std::chrono::steady_clock::now();
    one.out->async_stop([&](std::error_code error, std::size_t count) {
        CHECK_FALSE(error);
        lost = count;
    });
    REQUIRE(one.run_until([&] { return lost.has_value(); }));
    CHECK(std::chrono::steady_clock::now() - begin < 10s);
    CHECK(lost == room);
    REQUIRE(outcomes.size() == 3);
    for (auto const& outcome : outcomes) {
        CHECK(outcome == errc::producer_stopped);
    }
    auto const* const told = one.last(event_kind::delivery_failed);
    REQUIRE(told);
    CHECK_MESSAGE(holds(told->text, "16 records were not acknowledged"), told->text);
    CHECK(one.out->stats().failed == room);
}

TEST_CASE("producer: without brokers a record fails when its time is over, and so does a flush") {
    auto given = small("127.0.0.1:1");
    given.delivery_timeout = 1s;
    producing one{given};
    auto const send = [&]() -> asio::awaitable<void> {
        static_cast<void>(co_await one.out->async_send({.topic = "t", .value = "v"}));
    };
    auto const failure = one.failure_of(send());
    CHECK(failure.code() == make_error_code(RD_KAFKA_RESP_ERR__MSG_TIMED_OUT));
    CHECK_MESSAGE(holds(failure.what(), "'t'"), failure.what());
    auto const enqueue = [&]() -> asio::awaitable<void> {
        co_await one.out->async_enqueue({.topic = "t", .value = "v"});
        co_await one.out->async_flush();
    };
    CHECK(one.failure_of(enqueue()).code() == make_error_code(RD_KAFKA_RESP_ERR__MSG_TIMED_OUT));
    CHECK(one.out->stats().unacknowledged == 0);
}

TEST_CASE("producer: while a broker's disk is full a record waits, and fails when its time is "
          "over") {
    embedded_cluster cluster;
    cluster.create_topic("t", 1);
    for (auto const frees : {true, false}) {
        CAPTURE(frees);
        producing one{producer_config{.connection = {.brokers = cluster.brokers()},
                                      .delivery_timeout = frees ? 60s : 2s,
                                      .properties = {{"retry.backoff.ms", "20"}}}};
        cluster.fail(embedded_cluster::request::produce, RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
                     frees ? 3 : 1000);
        auto const send = [&]() -> asio::awaitable<void> {
            static_cast<void>(co_await one.out->async_send({.topic = "t", .value = "v"}));
        };
        auto const failure = one.failure_of(send());
        CHECK_MESSAGE(failure.code() == (frees ? std::error_code{}
                                               : make_error_code(RD_KAFKA_RESP_ERR__MSG_TIMED_OUT)),
                      failure.what());
        CHECK(cluster.log_end("t", 0) == 1);
        CHECK(one.out->stats().unacknowledged == 0);
    }
}

TEST_CASE("producer: stopped in every state, it ends in time, and who waits is told") {
    enum class state { fresh, away, full, flushing, failing, stopping };
    for (auto const when : {state::fresh, state::away, state::full, state::flushing, state::failing,
                            state::stopping}) {
        CAPTURE(static_cast<int>(when));
        embedded_cluster cluster;
        cluster.create_topic("t", 1);
        producing one{small(cluster.brokers())};
        std::size_t waiting = 0;
        std::size_t told = 0;
        auto const collect = [&](std::error_code, auto&&...) { ++told; };
        auto const send = [&](int count) {
            for (int i = 0; i != count; ++i) {
                ++waiting;
                one.out->async_send({.topic = "t", .value = "v"}, collect);
            }
        };
        switch (when) {
        case state::fresh:
            break;
        case state::away:
            cluster.take_down();
            send(1);
            one.run_until([&] { return one.last(event_kind::brokers_unreachable); }, 10s);
            break;
        case state::full:
            cluster.take_down();
            send(3 * room);
            one.run_until([] { return false; }, 20ms);
            break;
        case state::flushing:
            cluster.take_down();
            send(1);
            ++waiting;
            one.out->async_flush(collect);
            one.run_until([] { return false; }, 20ms);
            break;
        case state::failing:
            cluster.fail(embedded_cluster::request::produce,
                         RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
            send(3 * room);
            REQUIRE(one.run_until([&] { return told != 0; }));
            break;
        case state::stopping:
            cluster.take_down();
            send(1);
            one.out->stop();
            break;
        }
        auto stopped = false;
        auto const begin = std::chrono::steady_clock::now();
        one.out->async_stop([&](std::error_code error, std::size_t) {
            CHECK_FALSE(error);
            stopped = true;
        });
        REQUIRE(one.run_until([&] { return stopped && told == waiting; }, 15s));
        CHECK(std::chrono::steady_clock::now() - begin < 10s);
        CHECK(one.out->stats().unacknowledged == 0);
        CHECK(one.out->stats().waiting == 0);
    }
}

TEST_CASE("producer: destroyed in every state, it does not wait, and who waits is told") {
    std::vector<std::error_code> outcomes;
    auto const collect = [&](std::error_code error, auto&&...) { outcomes.push_back(error); };
    { producing idle{small("127.0.0.1:1")}; }
    {
        producing one{small("127.0.0.1:1")};
        for (int i = 0; i != room + 1; ++i) {
            one.out->async_send({.topic = "t", .value = "v"}, collect);
        }
        one.out->async_flush(collect);
        one.run_until([] { return false; }, 20ms);
        auto const begin = std::chrono::steady_clock::now();
        one.out.reset();
        CHECK(std::chrono::steady_clock::now() - begin < 1s);
        REQUIRE(one.run_until([&] { return outcomes.size() == room + 2; }, 5s));
        for (auto const& outcome : outcomes) {
            CHECK(outcome == errc::producer_stopped);
        }
    }
    outcomes.clear();
    {
        producing one{small("127.0.0.1:1")};
        one.out->async_send({.topic = "t", .value = "v"}, collect);
        one.out->async_stop(collect);
        one.out.reset(); // while it stops
        REQUIRE(one.run_until([&] { return outcomes.size() == 2; }, 5s));
    }
    {
        producing one{small("127.0.0.1:1")};
        one.out->async_send({.topic = "t", .value = "v"}, [&](std::error_code, delivery) {});
        one.out.reset(); // from a context that is not run any more
    }
}

TEST_CASE("producer: may be moved, what it replaces is destroyed") {
    embedded_cluster cluster;
    cluster.create_topic("t", 1);
    producing one{cluster.brokers()};
    std::error_code outcome;
    producer replaced{one.context, small("127.0.0.1:1")};
    replaced.async_send({.topic = "t", .value = "v"},
                        [&](std::error_code error, delivery) { outcome = error; });
    producer moved{std::move(*one.out)};
    replaced = std::move(moved);
    auto sent = false;
    replaced.async_send({.topic = "t", .value = "v"}, [&](std::error_code error, delivery) {
        CHECK_FALSE(error);
        sent = true;
    });
    REQUIRE(one.run_until([&] { return sent; }));
    CHECK(outcome == errc::producer_stopped);
}

TEST_CASE("producer: a context that ends takes with it who waits, and what he owns") {
    std::optional<asio::io_context> context{std::in_place};
    auto owner = std::make_shared<producer>(*context, small("127.0.0.1:1"));
    std::weak_ptr const left{owner};
    auto const wait = [](std::shared_ptr<producer> out) -> asio::awaitable<void> {
        for (int i = 0; i != 2 * room; ++i) {
            co_await out->async_enqueue({.topic = "t", .value = "v"});
        }
    };
    auto const wait_for_flush = [](std::shared_ptr<producer> out) -> asio::awaitable<void> {
        co_await out->async_flush();
    };
    asio::co_spawn(*context, wait(owner), asio::detached);
    asio::co_spawn(*context, wait_for_flush(owner), asio::detached);
    owner.reset();
    context->run_for(50ms);
    CHECK_FALSE(left.expired());
    context.reset();
    CHECK(left.expired());
}

TEST_CASE("producer: many threads enqueue and send, and each record arrives once") {
    embedded_cluster cluster;
    cluster.create_topic("t", 4);
    asio::io_context context;
    auto const work = asio::make_work_guard(context);
    std::optional<producer> out{std::in_place, context,
                                producer_config{.connection = {.brokers = cluster.brokers()},
                                                .buffer_bytes = 65536,
                                                .properties = {{"message.max.bytes", "10000"}}}};
    std::vector<std::jthread> runners;
    for (int i = 0; i != 2; ++i) {
        runners.emplace_back([&] { context.run(); });
    }
    constexpr int threads = 3;
    constexpr int each_sends = 2000;
    auto const loop = [&](int thread) -> asio::awaitable<void> {
        auto const key = numbered(thread);
        for (int i = 0; i != each_sends; ++i) {
            co_await out->async_enqueue({.topic = "t", .key = key, .value = numbered(i)});
            if (i % 100 == 0) {
                static_cast<void>(co_await out->async_send({.topic = "t", .key = key}));
            }
        }
        co_await out->async_flush();
    };
    std::vector<std::future<void>> ends;
    for (int i = 0; i != threads; ++i) {
        ends.push_back(asio::co_spawn(context, loop(i), asio::use_future));
    }
    for (auto& end : ends) {
        REQUIRE(end.wait_for(60s) == std::future_status::ready);
        end.get();
    }
    auto const stats = out->stats();
    CHECK(stats.acknowledged == threads * (each_sends + each_sends / 100));
    CHECK(stats.failed == 0);
    out.reset();
    context.stop();
    runners.clear();
    std::int64_t sum = 0;
    for (int partition = 0; partition != 4; ++partition) {
        sum += cluster.log_end("t", partition);
    }
    CHECK(sum == threads * (each_sends + each_sends / 100));
}

TEST_CASE("producer: a child that was forked destroys it, and makes one of its own") {
    embedded_cluster cluster;
    cluster.create_topic("t", 1);
    producing one{cluster.brokers()};
    auto const send = [&]() -> asio::awaitable<void> {
        static_cast<void>(co_await one.out->async_send({.topic = "t", .value = "v"}));
    };
    REQUIRE(one.run(send()));
    one.context.notify_fork(asio::execution_context::fork_prepare);
    auto const child = ::fork();
    if (child == 0) {
        ::alarm(20);
        one.context.notify_fork(asio::execution_context::fork_child);
        auto refused = false;
        one.out->async_send({.topic = "t", .value = "v"}, [&](std::error_code error, delivery) {
            refused = error == errc::producer_stopped;
        });
        one.out->stop();
        one.context.restart();
        one.context.run_for(200ms);
        one.out.reset();
        ::_exit(refused ? 0 : 1);
    }
    one.context.notify_fork(asio::execution_context::fork_parent);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
    REQUIRE(one.run(send()));
}

TEST_CASE("producer: a configuration that contradicts itself or is not safe is refused in words") {
    producer_config const good{.connection = {.brokers = "127.0.0.1:1"}};
    CHECK(refusal_of(good).empty());
    CHECK(holds(refusal_of({}), "brokers: must not be empty"));
    auto const with = [&](char const* name, char const* value) {
        auto given = good;
        given.properties[name] = value;
        return refusal_of(given);
    };
    for (auto const& [name, value] : {std::pair{"acks", "1"},
                                      {"request.required.acks", "0"},
                                      {"enable.idempotence", "false"},
                                      {"transactional.id", "t"},
                                      {"message.timeout.ms", "5"},
                                      {"delivery.timeout.ms", "5"},
                                      {"queue.buffering.max.messages", "5"},
                                      {"queue.buffering.max.kbytes", "5"},
                                      {"bootstrap.servers", "other:1"},
                                      {"delivery.report.only.error", "true"}}) {
        auto const text = with(name, value);
        CHECK_MESSAGE(holds(text, "properties: '" + std::string{name} + "' contradicts "), text);
    }
    CHECK(refusal_of([&] {
              auto given = good;
              given.properties = {{"acks", "all"}, {"enable.idempotence", "true"}};
              return given;
          }())
              .empty());
    CHECK(holds(with("no.such.property", "1"), "'no.such.property' is not a property"));
    auto given = good;
    given.connection.brokers = "kafka:1,http://kafka:1";
    CHECK(holds(refusal_of(given), "brokers: 'http://kafka:1' begins with no protocol of Kafka's"));
    given.connection.brokers = "SSL://kafka:1";
    CHECK(holds(refusal_of(given), "'security.protocol', which is plaintext"));
    given.properties["security.protocol"] = "ssl";
    CHECK(refusal_of(given).empty());
    given = good;
    given.buffer_bytes = 1'000'000;
    CHECK(holds(refusal_of(given), "buffer_bytes: must be twice 'message.max.bytes'"));
    given = good;
    given.delivery_timeout = -1ms;
    CHECK(holds(refusal_of(given), "delivery_timeout: "));
    given = good;
    given.close_timeout = 0ms;
    CHECK(holds(refusal_of(given), "close_timeout: "));
    given = good;
    given.connection.properties["compression.type"] = "lz4";
    given.properties["compression.type"] = "zstd";
    CHECK(holds(refusal_of(given), "'compression.type' contradicts the properties of connection"));
    given = good;
    given.connection.oauth_token_provider = []() -> asio::awaitable<kgroup::oauth_token> {
        co_return kgroup::oauth_token{};
    };
    CHECK(holds(refusal_of(given), "oauth_token_provider: needs the property 'security.protocol'"));
}

TEST_CASE("producer: over a real Kafka, records stand where it says, and bad ones are refused") {
    if (!kafka::is_there()) {
        return;
    }
    kafka brokers{kafka::kind::real};
    auto const topic = brokers.create_topic(
        unique("topic"), 1,
        {{"max.message.bytes", "20000"}, {"message.timestamp.type", "CreateTime"}});
    auto const compacted =
        brokers.create_topic(unique("compacted"), 1, {{"cleanup.policy", "compact"}});
    producing one{producer_config{.connection = {.brokers = brokers.brokers()},
                                  .properties = {{"topic.metadata.propagation.max.ms", "500"},
                                                 {"allow.auto.create.topics", "false"}}}};
    std::string const large(50'000, 'x');
    auto const send = [&](kgroup::outgoing_record record) -> asio::awaitable<void> {
        static_cast<void>(co_await one.out->async_send(record));
    };
    REQUIRE(one.run(send({.topic = topic, .value = "0"})));
    CHECK(one.failure_of(send({.topic = topic, .value = large})).code() ==
          make_error_code(RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE));
    CHECK(one.failure_of(send({.topic = topic, .value = "v", .partition = 5})).code() ==
          make_error_code(RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION));
    // Found out, remembered, and with a partition: librdkafka has several errors for it.
    auto const missing = unique("missing");
    for (auto const partition : {-1, -1, 0}) {
        auto const unknown =
            one.failure_of(send({.topic = missing, .value = "v", .partition = partition}));
        CHECK_MESSAGE(unknown.code() == make_error_code(RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC),
                      unknown.what());
        CHECK_MESSAGE(holds(unknown.what(), "'" + missing + "'"), unknown.what());
    }
    auto const unkeyed = one.failure_of(send({.topic = compacted, .value = "v"}));
    CHECK_MESSAGE(unkeyed.code() == make_error_code(RD_KAFKA_RESP_ERR_INVALID_RECORD),
                  unkeyed.what());
    auto const flush = [&]() -> asio::awaitable<void> { co_await one.out->async_flush(); };
    // Each of those has ended its sequence, and the next record goes on all the same.
    auto const work = [&]() -> asio::awaitable<void> {
        for (int i = 1; i != 1000; ++i) {
            co_await one.out->async_enqueue({.topic = topic, .value = numbered(i)});
        }
        auto const lost = co_await one.out->async_stop();
        CHECK(lost == 0);
    };
    REQUIRE(one.run(flush())); // who awaited them was told
    REQUIRE(one.run(work()));
    auto const found = read_partition(brokers.brokers(), topic, 0, 1000);
    REQUIRE(found.size() == 1000);
    for (int i = 0; i != 1000; ++i) {
        REQUIRE(found[static_cast<std::size_t>(i)].value == numbered(i));
    }
}

TEST_CASE("producer: enqueuing allocates nothing of its own for a record") {
    embedded_cluster cluster;
    cluster.create_topic("t", 1);
    producing one{cluster.brokers()};
    std::size_t allocated = 0;
    auto const work = [&]() -> asio::awaitable<void> {
        co_await one.out->async_enqueue({.topic = "t", .value = "first"});
        auto const before = kgroup::tests::allocations();
        for (int i = 0; i != 1000; ++i) {
            co_await one.out->async_enqueue({.topic = "t", .key = "key", .value = "value"});
        }
        allocated = kgroup::tests::allocations() - before;
        co_await one.out->async_flush();
    };
    REQUIRE(one.run(work()));
    CHECK(allocated < 100); // some for each run of deliveries, and for each turn of others
}

TEST_CASE("producer: shows tokens to brokers that demand them, and asks again when there is none") {
    if (!token_kafka::is_there()) {
        return;
    }
    token_kafka brokers;
    auto const topic = brokers.create_topic();
    int asked = 0;
    producing one{producer_config{
        .connection = {.brokers = brokers.brokers_for_tokens,
                       .properties = {{"security.protocol", "sasl_plaintext"}},
                       .oauth_token_provider = [&]() -> asio::awaitable<kgroup::oauth_token> {
                           if (++asked == 1) {
                               throw std::runtime_error{"the issuer is away"};
                           }
                           co_return make_token(system_clock::now() + 1h);
                       }}}};
    auto const send = [&]() -> asio::awaitable<void> {
        static_cast<void>(co_await one.out->async_send({.topic = topic, .value = "v"}));
    };
    REQUIRE(one.run(send()));
    CHECK(asked == 2);
    REQUIRE(one.last(event_kind::authentication_failed));
    CHECK(one.last(event_kind::authentication_failed)->text ==
          "the issuer is away; oauth_token_provider is asked again in 1000 ms");
    CHECK(one.last(event_kind::authentication_recovered));
    for (auto const& event : one.events) {
        CHECK_FALSE(holds(event.text, mark_of_secrecy));
    }
}

} // namespace

} // namespace producer_tests
