// SPDX-License-Identifier: MIT

#include <kgroup/detail/client/client.hpp>
#include <kgroup/detail/rdkafka/client.hpp>
#include <kgroup/error.hpp>

#include <asio/signal_set.hpp>
#include <asio/steady_timer.hpp>
#include <asio/use_awaitable.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <csignal>
#include <memory>
#include <thread>
#include <variant>
#include <vector>

#include "kafka.hpp"
#include "member.hpp"

using namespace kgroup::tests;
using kgroup::event_kind;
using request = kgroup::testing::embedded_cluster::request;
using steady = std::chrono::steady_clock;

namespace {

constexpr auto close_timeout = 3000ms;

/// Stops it, and expects the run to complete in time and, unless another end is expected, in order.
/// Returns how long that took.
std::chrono::milliseconds stop_in_time(member& which) {
    auto const since = steady::now();
    which.stop();
    CHECK(which.ends_within(close_timeout + 1s));
    CHECK_MESSAGE(!which.error(), which.what());
    return std::chrono::duration_cast<std::chrono::milliseconds>(steady::now() - since);
}

/// A topic of four partitions with some records in each.
std::string some_topic(kafka& cluster) {
    auto topic = cluster.create_topic(4);
    for (int partition = 0; partition != 4; ++partition) {
        cluster.produce_values(topic, partition, std::vector<std::string>(50, "record"));
    }
    return topic;
}

kgroup::config settings(kafka const& on, std::string const& topic) {
    auto given = on.member_of_new_group(topic);
    given.close_timeout = close_timeout;
    return given;
}

/// A client that is given up with a rebalance it has not answered.
void give_up(kafka& brokers, kgroup::config given, bool cooperative) {
    auto const other = brokers.create_topic();
    for (std::string const at :
         {"an assignment that nobody has seen", "an assignment", "a revocation"}) {
        CAPTURE(at);
        given.group_id =
            unique("group"); // what is given up stays in its group for as long as the session lasts
        std::atomic<bool> told{false};
        kgroup::detail::rdkafka_client client{given};
        client.start([&] { told = true; });
        auto const arrives = [&](bool assignment) {
            while (auto const event = client.poll()) {
                auto const* const found = std::get_if<kgroup::detail::client_rebalance>(&*event);
                if (found && std::holds_alternative<kgroup::detail::session_machine::assigned>(
                                 found->change) == assignment) {
                    return true;
                }
            }
            return false;
        };
        while (
            client.poll()) { // lines of the log, which may have come before anybody could be told
        }
        REQUIRE(eventually([&] { return told.load(); }));
        if (at.ends_with("seen")) {
            REQUIRE(eventually([&] { return !client.member_id().empty(); }));
        } else {
            REQUIRE(eventually([&] { return arrives(true); }));
        }
        if (at == "a revocation") {
            client.assign(
                {{{given.topics.front(), 0}, kgroup::detail::start_position::log_end, -1, {}}},
                cooperative);
            client.subscribe({other});
            REQUIRE(eventually([&] { return arrives(false); }));
        }
        auto const ended = std::make_shared<std::atomic<bool>>(false);
        client.shut_down([ended] { *ended = true; });
        CHECK(eventually([&] { return ended->load(); }, 10s));
    }
}

} // namespace

TEST_CASE("stop: in time when no broker could ever be reached") {
    for (auto const when : {0ms, 100ms, 1500ms}) {
        CAPTURE(when.count());
        member one{{.brokers = "127.0.0.1:1",
                    .group_id = "group",
                    .topics = {"topic"},
                    .initial_offset = kgroup::offset_reset::earliest,
                    .close_timeout = close_timeout},
                   {.consume_claim = [](auto&, auto&) -> asio::awaitable<void> { co_return; }}};
        CHECK_FALSE(one.ends_within(when));
        stop_in_time(one);
        if (when > 1s) {
            CHECK(one.count(event_kind::brokers_unreachable) == 1);
        }
    }
}

TEST_CASE("stop: in time in every moment of a member's life") {
    kafka brokers;
    auto const topic = some_topic(brokers);
    // The first assignment comes at once from a real Kafka, and after 3 s from the one inside the
    // process.
    auto const step = brokers.is_real() ? 25ms : 300ms;
    std::vector<std::unique_ptr<received>> records;
    std::vector<std::unique_ptr<member>> members;
    auto const count = 16;
    for (int i = 0; i != count; ++i) {
        auto& into = *records.emplace_back(std::make_unique<received>());
        members.push_back(std::make_unique<member>(settings(brokers, topic), receive_into(into)));
    }
    auto const since = steady::now();
    std::vector<std::thread> stoppers;
    for (int i = 0; i != count; ++i) {
        stoppers.emplace_back([&, i] {
            std::this_thread::sleep_until(since + i * step);
            stop_in_time(*members[static_cast<std::size_t>(i)]);
        });
    }
    for (auto& stopper : stoppers) {
        stopper.join();
    }
}

TEST_CASE("stop: a member that was assigned nothing waits for no assignment to leave with, and "
          "leaves no ghost") {
    kafka brokers;
    auto given = brokers.member_of_new_group(brokers.create_topic(1));
    given.close_timeout = 10s;
    received records;
    member one{given, receive_into(records)};
    member other{given, receive_into(records)};
    auto const divided = [](member const& idle, member const& owner) {
        return idle.claims() == 0 && owner.claims() == 1 && idle.stats().sessions != 0;
    };
    REQUIRE(eventually([&] { return divided(one, other) || divided(other, one); }));
    auto& idle = divided(one, other) ? one : other;
    auto& owner = &idle == &one ? other : one;
    auto const rebalances = owner.stats().rebalances;
    auto const since = steady::now();
    idle.stop();
    REQUIRE(idle.ends_within(given.close_timeout));
    CHECK_MESSAGE(!idle.error(), idle.what());
    CHECK(steady::now() - since < given.close_timeout / 2); // for so long it would wait for another
    // Of a ghost the group knows for its session's 45 s.
    CHECK(eventually([&] { return owner.stats().rebalances > rebalances && owner.claims() == 1; }));
}

TEST_CASE(
    "stop: from another thread, with records in the handlers' hands: what is marked is committed") {
    kafka brokers;
    auto const topic = some_topic(brokers);
    auto given = settings(brokers, topic);
    given.auto_commit_interval = 0ms;
    std::atomic<int> marked{0};
    member one{given,
               {.consume_claim = [&](auto&, auto& claim) -> asio::awaitable<void> {
                   auto const first = co_await claim.messages().async_receive();
                   claim.mark(first.value());
                   ++marked;
                   while (auto const next = co_await claim.messages().async_receive()) {
                       co_await pause_for(1ms);
                   }
               }},
               4};
    REQUIRE(eventually([&] { return marked == 4; }));
    stop_in_time(one);
    for (int partition = 0; partition != 4; ++partition) {
        CHECK(brokers.committed(given.group_id, topic, partition) == 1);
    }
}

TEST_CASE("stop: from inside a handler, twice") {
    kafka brokers;
    auto const topic = some_topic(brokers);
    auto const given = settings(brokers, topic);
    std::unique_ptr<member> one;
    std::atomic<bool> made{false};
    one = std::make_unique<member>(
        given, hooks{.consume_claim = [&](auto&, auto& claim) -> asio::awaitable<void> {
            while (auto const record = co_await claim.messages().async_receive()) {
                claim.mark(*record);
                if (made) {
                    one->stop();
                    one->stop();
                }
            }
        }});
    made = true;
    REQUIRE(eventually([&] { return one->claims() != 0 || one->has_ended(); }));
    brokers.produce_values(topic, 0, {"and one more"});
    CHECK(one->ends_within(close_timeout + 1s));
    CHECK_FALSE(one->error());
}

TEST_CASE("stop: from a signal's handler") {
    kafka brokers;
    auto const topic = some_topic(brokers);
    received records;
    member one{settings(brokers, topic), receive_into(records)};
    asio::signal_set signals{one.context(), SIGUSR1};
    signals.async_wait([&](std::error_code ec, int) {
        if (!ec) {
            one.stop();
        }
    });
    REQUIRE(eventually([&] { return records.count() == 200; }));
    std::raise(SIGUSR1);
    CHECK(one.ends_within(close_timeout + 1s));
    CHECK_FALSE(one.error());
}

TEST_CASE("stop: in setup, which is let finish") {
    kafka brokers;
    auto const topic = some_topic(brokers);
    std::atomic<bool> in_setup{false};
    std::atomic<bool> done{false};
    std::atomic<int> claims{0};
    std::atomic<int> cleanups{0};
    member one{settings(brokers, topic),
               {.consume_claim = [&](auto&, auto&) -> asio::awaitable<void> {
                    ++claims;
                    co_return;
                },
                .setup = [&](auto&) -> asio::awaitable<void> {
                    in_setup = true;
                    co_await pause_for(300ms);
                    done = true;
                },
                .cleanup = [&](auto&) -> asio::awaitable<void> {
                    ++cleanups;
                    co_return;
                }}};
    REQUIRE(eventually([&] { return in_setup.load(); }));
    stop_in_time(one);
    CHECK(done);
    CHECK(claims == 0);
    CHECK(cleanups == 1);
}

TEST_CASE("stop: a handler that drains beyond the deadline is cancelled") {
    kafka brokers;
    auto const topic = some_topic(brokers);
    auto given = settings(brokers, topic);
    given.rebalance_deadline = 500ms;
    std::atomic<int> started{0};
    std::atomic<int> cancelled{0};
    member one{given, {.consume_claim = [&](auto&, auto&) -> asio::awaitable<void> {
                   ++started;
                   try {
                       asio::steady_timer timer{co_await asio::this_coro::executor, 1h};
                       co_await timer.async_wait(asio::use_awaitable);
                   } catch (std::system_error const&) {
                       ++cancelled;
                       throw;
                   }
               }}};
    REQUIRE(eventually([&] { return started == 4; }));
    CHECK(stop_in_time(one) >= 450ms);
    CHECK(cancelled == 4);
    CHECK(one.count(event_kind::handler_cancelled) == 4);
}

TEST_CASE("stop: in the middle of a commit that is answered late") {
    kafka brokers{kafka::kind::embedded};
    auto const topic = some_topic(brokers);
    auto given = settings(brokers, topic);
    given.auto_commit_interval = 50ms;
    brokers.embedded().delay(1, request::offset_commit, 1500ms);
    received records;
    member one{given, receive_into(records)};
    REQUIRE(eventually([&] { return records.count() == 200; }));
    std::this_thread::sleep_for(200ms); // the first commit is on its way
    CHECK(one.stats().commits == 0);
    CHECK(stop_in_time(one) >= 500ms);
    CHECK(brokers.committed(given.group_id, topic, 3) == 50);
}

TEST_CASE("stop: when the commit at the end is never answered") {
    kafka brokers{kafka::kind::embedded};
    auto const topic = some_topic(brokers);
    auto given = settings(brokers, topic);
    given.auto_commit_interval = 0ms;
    given.commit_timeout = 1000ms;
    received records;
    member one{given, receive_into(records)};
    REQUIRE(eventually([&] { return records.count() == 200; }));
    brokers.embedded().delay(1, request::offset_commit, 20s);
    stop_in_time(one);
    CHECK(one.count(event_kind::commit_failed) == 1);
    REQUIRE(one.last(event_kind::commit_failed));
    CHECK(one.last(event_kind::commit_failed)->error == kgroup::errc::commit_timed_out);
}

TEST_CASE("stop: while the committed offsets are looked up") {
    kafka brokers{kafka::kind::embedded};
    auto const topic = some_topic(brokers);
    brokers.embedded().delay(1, request::offset_fetch, 20s);
    member one{settings(brokers, topic),
               {.consume_claim = [](auto&, auto&) -> asio::awaitable<void> { co_return; }}};
    REQUIRE(eventually([&] { return one.count(event_kind::claims_added) == 1; }));
    std::this_thread::sleep_for(100ms);
    CHECK(one.stats().sessions == 0);
    stop_in_time(one);
}

TEST_CASE("stop: when the brokers went away in the middle of a session") {
    kafka brokers{kafka::kind::embedded};
    auto const topic = some_topic(brokers);
    received records;
    member one{settings(brokers, topic), receive_into(records)};
    REQUIRE(eventually([&] { return records.count() == 200; }));
    brokers.embedded().take_down();
    REQUIRE(eventually([&] { return one.count(event_kind::brokers_unreachable) == 1; }));
    stop_in_time(one);
}

TEST_CASE(
    "stop: a handler that ignores its cancellation is abandoned, and harmless when it wakes up") {
    kafka brokers;
    auto const topic = some_topic(brokers);
    auto given = settings(brokers, topic);
    given.rebalance_deadline = 200ms;
    given.close_timeout = 1500ms;
    std::atomic<bool> holding{false};
    std::atomic<bool> wake{false};
    std::atomic<bool> over{false};
    member one{given, {.consume_claim = [&](auto&, auto& claim) -> asio::awaitable<void> {
                   auto const record = co_await claim.messages().async_receive();
                   if (claim.partition() != 0) {
                       while (auto const next = co_await claim.messages().async_receive()) {
                       }
                       co_return;
                   }
                   co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
                   holding = true;
                   while (!wake) {
                       co_await pause_for(10ms);
                   }
                   CHECK(record.value().value() == "record");
                   claim.mark(*record);
                   over = true;
               }}};
    REQUIRE(eventually([&] { return holding.load(); }));
    one.stop();
    CHECK(one.ends_within(given.close_timeout + 1s));
    CHECK(one.error() == kgroup::errc::handler_abandoned);
    CHECK(one.count(event_kind::handler_abandoned) == 1);
    wake = true;
    REQUIRE(eventually([&] { return over.load(); }));
    CHECK_FALSE(brokers.committed(given.group_id, topic, 0));
}

TEST_CASE("stop: a client that owes an answer ends all the same, eager") {
    kafka brokers;
    give_up(brokers, settings(brokers, brokers.create_topic()), false);
}

TEST_CASE("stop: a client that owes an answer ends all the same, cooperative") {
    if (rd_kafka_version() < 0x020a0000) {
        return skip("cooperative_sticky needs librdkafka 2.10");
    }
    kafka brokers;
    auto given = settings(brokers, brokers.create_topic());
    given.assignors = {kgroup::assignor::cooperative_sticky};
    give_up(brokers, given, true);
}

TEST_CASE("stop: a client that owes an answer ends all the same, divided by the broker") {
    if (rd_kafka_version() < 0x020c0000) {
        return skip("group_protocol::consumer needs librdkafka 2.12");
    }
    if (!kafka::is_there()) {
        return;
    }
    kafka brokers{kafka::kind::real};
    auto given = settings(brokers, brokers.create_topic());
    given.protocol = kgroup::group_protocol::consumer;
    given.properties.clear();
    give_up(brokers, given, true);
}

TEST_CASE("destruction: the context goes away in the middle of everything, and nothing hangs") {
    kafka brokers;
    auto const topic = brokers.create_topic(20);
    brokers.fill(topic, std::vector<std::size_t>(20, 2000), 100);
    auto const rounds = brokers.is_real() ? 5 : 2;
    for (int round = 0; round != rounds; ++round) {
        std::vector<std::unique_ptr<member>> members;
        std::vector<std::unique_ptr<received>> records;
        for (int i = 0; i != 4; ++i) {
            auto& into = *records.emplace_back(std::make_unique<received>());
            members.push_back(std::make_unique<member>(settings(brokers, topic), receive_into(into),
                                                       i % 2 == 0 ? 1 : 4));
        }
        auto const some = static_cast<std::size_t>(round) * 1000;
        REQUIRE(eventually([&] { return records.front()->count() > some; }));
        for (std::size_t i = 0; i != members.size(); ++i) {
            if (i % 2 == static_cast<std::size_t>(round) % 2) {
                members[i]->stop(); // it may get some way towards its end
            }
            members[i]->abandon();
        }
    }
}
