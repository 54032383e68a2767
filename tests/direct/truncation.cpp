// SPDX-License-Identifier: MIT

// A group whose log is cut off by an election and written anew. Membership and commits are those of
// an embedded cluster, which elects no such leader; records come from scripted brokers.

#include <kgroup/consumer_group.hpp>
#include <kgroup/detail/client/client.hpp>
#include <kgroup/detail/fetch/direct_client.hpp>
#include <kgroup/detail/group/group_driver.hpp>
#include <kgroup/error.hpp>
#include <kgroup/event.hpp>
#include <kgroup/testing/embedded_cluster.hpp>

#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/use_awaitable.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

#include "kafka.hpp"
#include "support/run_outcome.hpp"
#include "support/scripted_broker.hpp"
#include "unit/fetch/made_batch.hpp"

namespace truncation_tests {
namespace {

using namespace kgroup::tests;
using kgroup::event_kind;
using kgroup::detail::fetch::api;
using texts = std::vector<std::string>;

/// Fetches from scripted brokers. The group's offsets have the leader epochs that were committed,
/// which an embedded cluster forgets, and librdkafka before 2.1 does not send.
class scripted_client : public kgroup::detail::fetch::direct_client {
public:
    static inline std::string fetch_from;
    static inline std::vector<kgroup::detail::offset_commit> commits;

    explicit scripted_client(kgroup::config const& given) : direct_client(given, fetch_from) {}

    std::optional<kgroup::detail::client_event> poll() {
        auto next = direct_client::poll();
        if (auto* const found =
                next ? std::get_if<kgroup::detail::client_offsets>(&*next) : nullptr) {
            for (auto& each : found->offsets) {
                if (!commits.empty() && commits.back().offset == each.offset) {
                    each.leader_epoch = commits.back().leader_epoch;
                }
            }
        }
        return next;
    }
    void commit(std::uint64_t id, std::vector<kgroup::detail::offset_commit> const& offsets) {
        commits.insert(commits.end(), offsets.begin(), offsets.end());
        direct_client::commit(id, offsets);
    }
};
using scripted_group = kgroup::basic_consumer_group<scripted_client>;

struct marking_handler {
    std::function<asio::awaitable<void>(kgroup::claim&)> on_claim{};

    texts received{}; // "offset@epoch"
    kgroup::session* session = nullptr;

    asio::awaitable<void> setup(kgroup::session& of) {
        session = &of;
        co_return;
    }
    asio::awaitable<void> consume_claim(kgroup::session&, kgroup::claim& of) {
        if (on_claim) {
            co_await on_claim(of);
        }
        while (auto const next = co_await of.messages().async_receive()) {
            note(*next);
            of.mark(*next);
        }
    }
    void note(kgroup::message const& one) { received.emplace_back(one.value()); }
};

/// orders[0], whose leader is in epoch 4, and a member of its group. It commits at its end, and
/// when it is asked to.
struct scene {
    scene() {
        cluster.create_topic("orders", 1);
        brokers.make_topic("orders", 1).partitions[0].leader_epoch = 4;
        scripted_client::fetch_from = brokers.bootstrap();
        scripted_client::commits.clear();
        given.brokers = cluster.brokers();
        given.group_id = unique("group");
        given.topics = {"orders"};
        given.initial_offset = kgroup::offset_reset::earliest;
        given.auto_commit_interval = 0ms;
        given.properties = {{"session.timeout.ms", "6000"}};
        given.on_event = [this](kgroup::event const& told) { events.push_back(told); };
    }
    ~scene() {
        if (group) {
            end();
        }
    }

    void append(std::size_t count) {
        auto& log = brokers.partition("orders", 0);
        auto batch = plain_batch(log.end, count);
        batch.leader_epoch = log.leader_epoch;
        for (auto& record : batch.records) {
            record.value = std::to_string(record.offset) + "@" + std::to_string(log.leader_epoch);
        }
        log.append(log.end, log.end + static_cast<std::int64_t>(count), batch.bytes());
        brokers.changed();
    }
    /// Another leader, whose log ends there: where a batch does.
    void elect(std::int64_t end) {
        auto& log = brokers.partition("orders", 0);
        std::erase_if(log.batches, [=](auto const& one) { return one.next_offset > end; });
        log.epoch_ends[log.leader_epoch] = log.end = end;
        ++log.leader_epoch;
        brokers.changed();
    }
    /// The fetcher goes on there, so that it has told what it knows.
    bool fetches_at(std::int64_t offset) const {
        auto const fetches = brokers.requests(api::fetch);
        return std::any_of(fetches.begin(), fetches.end(), [this, offset](auto const& one) {
            return one.partitions[0].offset == offset &&
                   one.partitions[0].current_leader_epoch ==
                       brokers.topics.at("orders").partitions[0].leader_epoch;
        });
    }

    void run(marking_handler& with) {
        outcome = {};
        group.emplace(context, given);
        group->async_run(with, [this](std::exception_ptr failure) {
            outcome = {true, std::move(failure)};
        });
    }
    /// Records 0 to 19, of which an election takes away the second batch, are received and marked.
    void read_two_batches(marking_handler& with) {
        append(10);
        append(10);
        run(with);
        REQUIRE(until([&] { return with.received.size() == 20; }));
    }
    template <typename Condition>
    bool until(Condition holds) {
        auto const limit = std::chrono::steady_clock::now() + 20s;
        while (!holds()) {
            if (std::chrono::steady_clock::now() > limit) {
                return false;
            }
            context.restart();
            context.run_one_for(10ms);
        }
        return true;
    }
    void end() {
        group->stop();
        CHECK(until([&] { return outcome.completed; }));
        group.reset();
    }
    std::vector<kgroup::commit_result> commit(kgroup::session& in) {
        std::optional<std::vector<kgroup::commit_result>> results;
        asio::co_spawn(
            context, [&]() -> asio::awaitable<void> { results = co_await in.async_commit(); },
            [](std::exception_ptr error) { CHECK_FALSE(error); });
        REQUIRE(until([&] { return results.has_value(); }));
        return *results;
    }
    std::optional<std::int64_t> committed() {
        return cluster.committed(given.group_id, "orders", 0);
    }
    std::int32_t last_epoch() const { return scripted_client::commits.back().leader_epoch; }
    std::size_t count(event_kind kind) const {
        return static_cast<std::size_t>(
            std::count_if(events.begin(), events.end(),
                          [kind](kgroup::event const& told) { return told.kind == kind; }));
    }

    asio::io_context context;
    kgroup::testing::embedded_cluster cluster{1};
    scripted_cluster brokers{context};
    kgroup::config given;
    std::vector<kgroup::event> events;
    run_outcome outcome;
    std::optional<scripted_group> group;
};

texts values(std::int64_t first, std::int64_t end, std::int32_t epoch) {
    texts result;
    for (auto next = first; next != end; ++next) {
        result.push_back(std::to_string(next) + "@" + std::to_string(epoch));
    }
    return result;
}
texts operator+(texts left, texts const& right) {
    left.insert(left.end(), right.begin(), right.end());
    return left;
}

TEST_CASE("truncation: what was read and marked above the common epoch does not count, and the new "
          "records are read") {
    scene of;
    marking_handler handler;
    handler.on_claim = [&](kgroup::claim& claim) -> asio::awaitable<void> {
        std::optional<kgroup::message> old;
        while (handler.received.size() != 20) {
            old = co_await claim.messages().async_receive();
            handler.note(*old);
            claim.mark(*old);
        }
        auto const next = co_await claim.messages().async_receive();
        claim.mark(*old); // does not count
        auto const results = co_await handler.session->async_commit();
        CHECK(results.at(0).offset == 10);
        handler.note(*next);
        claim.mark(*next);
    };
    of.read_two_batches(handler);
    of.elect(10);
    of.append(3);
    REQUIRE(of.until([&] { return handler.received.size() == 23; }));
    CHECK(handler.received == values(0, 20, 4) + values(10, 13, 5));
    CHECK(of.count(event_kind::log_truncated) == 1);
    of.end();
    CHECK(of.committed() == 13);
    CHECK(of.last_epoch() == 5);
}

TEST_CASE("truncation: while a claim is paused nothing above the common epoch is committed") {
    scene of;
    marking_handler handler;
    of.read_two_batches(handler);
    of.group->pause_all();
    of.elect(10);
    REQUIRE(of.until([&] { return of.fetches_at(10); }));
    auto const results = of.commit(*handler.session);
    REQUIRE(results.size() == 1);
    CHECK(results[0].error == kgroup::errc::offset_out_of_range);
    CHECK_FALSE(of.committed());
    SUBCASE("it ends so") {}
    SUBCASE("it goes on") {
        of.group->resume_all();
        of.append(3);
        REQUIRE(of.until([&] { return handler.received.size() == 23; }));
        CHECK(handler.received == values(0, 20, 4) + values(10, 13, 5));
    }
    auto const goes_on = handler.received.size() == 23;
    of.end();
    CHECK(of.count(event_kind::log_truncated) == (goes_on ? 1 : 0));
    CHECK(of.committed() == (goes_on ? std::optional<std::int64_t>{13} : std::nullopt));
}

TEST_CASE("truncation: of what waits in a claim only what its block holds is still given") {
    scene of;
    for (int batch = 0; batch != 20; ++batch) {
        of.append(10);
    }
    bool may_go_on = false;
    marking_handler handler;
    handler.on_claim = [&](kgroup::claim& claim) -> asio::awaitable<void> {
        auto const first = co_await claim.messages().async_receive();
        handler.note(*first);
        while (!may_go_on) {
            co_await asio::post(of.context, asio::use_awaitable);
        }
    };
    of.run(handler);
    REQUIRE(of.until([&] { return handler.received.size() == 1; }));
    of.elect(10);
    of.append(3);
    REQUIRE(of.until([&] { return of.fetches_at(10); }));
    may_go_on = true;
    REQUIRE(
        of.until([&] { return handler.received.size() > 1 && handler.received.back() == "12@5"; }));
    auto const old = static_cast<std::int64_t>(handler.received.size()) - 3;
    CHECK(old >= 10); // what stands below is given
    CHECK(old < 200);
    CHECK(handler.received == values(0, old, 4) + values(10, 13, 5));
    CHECK(of.count(event_kind::log_truncated) == 1);
    of.end();
    CHECK(of.committed() == 13);
}

TEST_CASE("truncation: a claim that is handed over behind it goes on at the common epoch") {
    scene of;
    of.cluster.produce("orders", 0, std::vector<kafka_record>(30, kafka_record{.value = "native"}));
    marking_handler handler;
    of.read_two_batches(handler);
    of.group->pause_all();
    of.elect(10);
    REQUIRE(of.until([&] { return of.fetches_at(10); }));
    of.brokers.partition("orders", 0).error = 76; // UNSUPPORTED_COMPRESSION_TYPE
    of.brokers.changed();
    of.group->resume_all();
    REQUIRE(of.until([&] { return handler.received.size() >= 40; }));
    CHECK(handler.received == values(0, 20, 4) + texts(20, "native"));
    CHECK(of.count(event_kind::log_truncated) == 1);
    CHECK(of.count(event_kind::handed_over) == 1);
    of.end();
    CHECK(of.committed() == 30);
    CHECK(of.last_epoch() == -1); // that of librdkafka's records is not known
}

TEST_CASE("truncation: while the group was away it is found at the next start") {
    scene of;
    marking_handler handler;
    of.read_two_batches(handler);
    of.end();
    REQUIRE(of.committed() == 20);
    REQUIRE(of.last_epoch() == 4);
    bool asks = false;
    std::size_t added = 30; // the log grows past what was committed
    SUBCASE("a Fetch tells it") {
        SUBCASE("the log ends below") { added = 3; }
        SUBCASE("the log has grown past it") {}
    }
    SUBCASE("with older brokers, another request does") {
        of.brokers.brokers[0].versions[api::fetch].highest = 11;
        asks = true;
    }
    auto const none = of.brokers.count(api::leader_epoch);
    of.elect(10);
    of.append(added);
    auto const end = of.brokers.partition("orders", 0).end;
    handler.received.clear();
    of.run(handler);
    auto const expected = values(10, end, 5);
    REQUIRE(of.until([&] { return handler.received.size() >= expected.size(); }));
    CHECK(handler.received == expected);
    CHECK(of.count(event_kind::log_truncated) == 1);
    CHECK((of.brokers.count(api::leader_epoch) != none) == asks);
    of.end();
    CHECK(of.committed() == end);
    CHECK(of.last_epoch() == 5);
}

TEST_CASE("truncation: with offset_reset::none it ends the group, and commits nothing above") {
    scene of;
    marking_handler handler;
    of.read_two_batches(handler);
    of.given.initial_offset = kgroup::offset_reset::none;
    SUBCASE("at the start") {
        of.end();
        of.elect(10);
        of.append(30);
        of.run(handler);
        REQUIRE(of.until([&] { return of.outcome.completed; }));
        CHECK(of.committed() == 20);
    }
    SUBCASE("while it runs") {
        of.commit(*handler.session); // so that there is something to begin from
        of.end();
        of.append(10);
        of.run(handler);
        REQUIRE(of.until([&] { return handler.received.size() == 30; }));
        of.elect(20);
        REQUIRE(of.until([&] { return of.outcome.completed; }));
        CHECK(of.committed() == 20);
    }
    CHECK(of.outcome.error() == kgroup::errc::offset_out_of_range);
    of.group.reset();
}

TEST_CASE("truncation: a start whose record is in the log is not moved") {
    scene of;
    of.append(10);
    marking_handler handler;
    of.run(handler);
    REQUIRE(of.until([&] { return handler.received.size() == 10; }));
    of.end();
    of.elect(10); // another leader, and nothing is missing
    of.append(3);
    of.run(handler);
    REQUIRE(of.until([&] { return handler.received.size() == 13; }));
    CHECK(handler.received == values(0, 10, 4) + values(10, 13, 5));
    CHECK(of.count(event_kind::log_truncated) == 0);
    of.end();
    CHECK(of.committed() == 13);
}

} // namespace
} // namespace truncation_tests
