// SPDX-License-Identifier: MIT

#include <kgroup/kgroup.hpp>
#include <kgroup/testing/clock.hpp>
#include <kgroup/testing/fake_client.hpp>

#include <asio/io_context.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <exception>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "steps.hpp"

// What a member of many partitions costs: what changes, and not what is owned. In steps, so that no
// clock decides.

namespace {

using namespace std::chrono_literals;
using kgroup::claim;
using kgroup::event_kind;
using kgroup::session;
using kgroup::topic_partition;
using kgroup::testing::fake_cluster;
using kgroup::testing::fake_group;
using kgroup::tests::steps;

struct marker {
    std::size_t handled = 0;
    bool waits_for_stop = false;
    topic_partition leaves{};
    std::optional<std::int64_t> start{}; // of all claims of the sessions to come

    asio::awaitable<void> setup(session& session) {
        if (start) {
            for (auto const& claim : session.claims()) {
                session.start_at(claim, *start);
            }
        }
        co_return;
    }
    asio::awaitable<void> consume_claim(session& session, claim& claim) {
        if (waits_for_stop) {
            co_await session.async_wait_stopping();
        }
        while (auto const next = co_await claim.messages().async_receive()) {
            claim.mark(*next);
            ++handled;
            if (claim.topic() == leaves.topic && claim.partition() == leaves.partition) {
                leaves = {};
                co_return;
            }
        }
    }
};

class member {
public:
    explicit member(std::size_t size, bool cooperative) {
        for (std::size_t i = 0; i != size; ++i) {
            all.emplace_back("a-topic-with-a-name-that-takes-memory", static_cast<std::int32_t>(i));
        }
        kgroup::config settings{.brokers = cluster.brokers(),
                                .group_id = "group",
                                .topics = {"a"},
                                .initial_offset = kgroup::offset_reset::earliest,
                                .auto_commit_interval = 1min};
        settings.expected_partitions = size;
        settings.on_event = [this](kgroup::event const& event) {
            if (event.kind == event_kind::handler_cancelled ||
                event.kind == event_kind::handler_abandoned) {
                ++impatient;
            }
        };
        if (cooperative) {
            settings.assignors = {kgroup::assignor::cooperative_sticky};
        }
        group.emplace(context, std::move(settings));
        group->async_run(handler, [this](std::exception_ptr e) {
            completed = true;
            CHECK_FALSE(e);
        });
        settle();
    }
    ~member() {
        CHECK(impatient == 0);
        CHECK(cluster.complaints().empty());
    }

    void settle() { kgroup::testing::run_ready(context); }
    void add_records() {
        for (auto const& result : all) {
            cluster.add_records(result, "a");
        }
    }
    void begin_another_session() {
        handler.leaves = all.front();
        cluster.add_records(all.front(), "b");
        settle();
        kgroup::testing::advance(context, 1s);
        CHECK(group->stats().sessions == 2);
    }
    /// The offsets of a time in these, which must be found.
    void find_offsets(std::vector<topic_partition> const& partitions) {
        std::size_t found = 0;
        group->async_offsets_for_times(
            partitions, {},
            [&found](std::error_code ec, std::vector<kgroup::offset_for_time> results) {
                CHECK_FALSE(ec);
                found = results.size();
            });
        settle();
        CHECK(found == partitions.size());
    }
    void assign_all() {
        add_records();
        cluster.assign(all);
        settle();
        REQUIRE(handler.handled == all.size());
    }

    fake_cluster cluster;
    marker handler;
    asio::io_context context;
    std::optional<fake_group> group;
    std::vector<topic_partition> all;
    bool completed = false;
    int impatient = 0;
};

std::uint64_t steps_of(std::function<void()> const& work) {
    auto const before = steps();
    work();
    return steps() - before;
}

// By how much more it may cost for so many times as many: as n log n, and some for what is noise.
constexpr std::size_t few = 250;
constexpr std::size_t many = 2000;
double most_of_all() { return 1.25 * many * std::log2(many) / (few * std::log2(few)); }
double most_of_one() { return 1.5 * std::log2(many) / std::log2(few); }

TEST_CASE("assigning, reading and stopping cost as n log n") {
    double assigned[2];
    double stopped[2];
    bool cooperative = false;
    bool waits_for_stop = false;
    SUBCASE("eager") {}
    SUBCASE("cooperative") { cooperative = true; }
    SUBCASE("with handlers that wait for the end of the session") { waits_for_stop = true; }
    for (auto const size : {few, many}) {
        auto const i = size == many;
        member it{size, cooperative};
        it.handler.waits_for_stop = waits_for_stop;
        it.add_records();
        assigned[i] = static_cast<double>(steps_of([&] {
            it.cluster.assign(it.all);
            it.settle();
        }));
        stopped[i] = static_cast<double>(steps_of([&] {
            it.group->stop();
            it.settle();
        }));
        CHECK(it.completed);
        CHECK(it.cluster.committed(it.all.back()).has_value() == !waits_for_stop);
    }
    CHECK(assigned[1] / assigned[0] < most_of_all());
    CHECK(stopped[1] / stopped[0] < most_of_all());
}

TEST_CASE("a state and its metrics cost as n log n") {
    double seen[2];
    double written[2];
    for (auto const size : {few, many}) {
        auto const i = size == many;
        member it{size, false};
        it.assign_all();
        kgroup::group_state state;
        seen[i] = static_cast<double>(steps_of([&] { state = it.group->state(); }));
        REQUIRE(state.claims.size() == size);
        written[i] = static_cast<double>(steps_of([&] { prometheus_text(state); }));
        it.cluster.report({event_kind::brokers_unreachable, kgroup::severity::error, {}, {}, ""});
        for (auto const& result : it.all) { // one of each claim lasts
            it.cluster.fail_partition(
                result, kgroup::make_error_code(RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE), "away");
        }
        it.settle();
        auto const stalled = static_cast<double>(steps_of([&] { state = it.group->state(); }));
        CHECK(state.conditions.size() == size + 1);
        CHECK(std::ranges::all_of(state.claims,
                                  [](auto const& row) { return row.stalled_since.has_value(); }));
        seen[i] = (std::max)(seen[i], stalled);
        it.group->stop();
        it.settle();
    }
    CHECK(seen[1] < seen[0] * most_of_all());
    CHECK(written[1] < written[0] * most_of_all());
}

TEST_CASE("a revocation and a loss of much cost as n log n, and a session that begins anew") {
    double cost[2];
    bool cooperative = true;
    std::function<void(member&)> act;
    SUBCASE("all is revoked") {
        cooperative = false;
        act = [](member& it) { it.cluster.revoke(); };
    }
    SUBCASE("all is lost") {
        cooperative = false;
        act = [](member& it) { it.cluster.lose(); };
    }
    SUBCASE("half is revoked") {
        act = [](member& it) {
            it.cluster.revoke(
                {it.all.begin(), it.all.begin() + static_cast<std::ptrdiff_t>(it.all.size() / 2)});
        };
    }
    SUBCASE("half is lost") {
        act = [](member& it) {
            it.cluster.lose(
                {it.all.begin(), it.all.begin() + static_cast<std::ptrdiff_t>(it.all.size() / 2)});
        };
    }
    SUBCASE("a handler returns") {
        act = [](member& it) { it.begin_another_session(); };
    }
    SUBCASE("a handler returns, and setup moves all starts back") {
        act = [](member& it) {
            it.handler.start = 0;
            auto const before = it.handler.handled;
            it.begin_another_session();
            it.settle();
            CHECK(it.handler.handled == before + it.all.size() + 2); // each is sought
        };
    }
    for (auto const size : {few, many}) {
        member it{size, cooperative};
        it.assign_all();
        cost[size == many] = static_cast<double>(steps_of([&] {
            act(it);
            it.settle();
        }));
    }
    CHECK(cost[1] / cost[0] < most_of_all());
}

TEST_CASE("offsets of a time cost as n log n, and those of one partition no more beside many") {
    double all[2];
    double one[2];
    for (auto const size : {few, many}) {
        member it{size, true};
        it.assign_all();
        all[size == many] = static_cast<double>(steps_of([&] { it.find_offsets(it.all); }));
        auto least = (std::numeric_limits<std::uint64_t>::max)(); // beside no tick
        for (int i = 0; i != 5; ++i) {
            least = (std::min)(least, steps_of([&] { it.find_offsets({it.all[size / 2]}); }));
        }
        one[size == many] = static_cast<double>(least);
    }
    CHECK(all[1] / all[0] < most_of_all());
    CHECK(one[1] / one[0] < most_of_one());
}

TEST_CASE("one partition that comes or goes costs no more beside many than beside few") {
    double cost[2];
    for (auto const size : {few, many}) {
        member it{size, true};
        it.assign_all();
        auto least = std::numeric_limits<std::uint64_t>::max(); // a tick, which looks at all, is
                                                                // not what is measured
        for (int i = 0; i != 5; ++i) {
            auto const one = it.all[size / 2];
            least = std::min(least, steps_of([&] {
                                 it.cluster.revoke({one});
                                 it.settle();
                                 it.cluster.assign({one});
                                 it.settle();
                                 it.group->pause(std::vector{one});
                                 it.group->resume(std::vector{one});
                                 it.settle();
                             }));
        }
        cost[size == many] = static_cast<double>(least);
        CHECK(it.cluster.assigned().size() == size);
    }
    CHECK(cost[1] / cost[0] < most_of_one());
}

} // namespace
