// SPDX-License-Identifier: MIT

#include <stdexcept>

#include "support/latch.hpp"
#include "support/scripted_group.hpp"

// What the fake promises by itself.

namespace {

using namespace kgroup::tests;
using kgroup::claim;
using kgroup::errc;
using kgroup::session;

std::error_code refusal(kgroup::config given) {
    asio::io_context context;
    try {
        fake_group const group{context, std::move(given)};
    } catch (std::system_error const& e) {
        return e.code();
    }
    return {};
}

TEST_CASE("a configuration is refused as by a real client") {
    fake_cluster cluster;
    kgroup::config given{.brokers = cluster.brokers(),
                         .group_id = "group",
                         .topics = {"t"},
                         .initial_offset = kgroup::offset_reset::earliest};
    CHECK(refusal(given) == std::error_code{});
    SUBCASE("nobody is there") { given.brokers = "fake-cluster-none"; }
    SUBCASE("no group") { given.group_id = ""; }
    SUBCASE("no topics") { given.topics.clear(); }
    SUBCASE("no initial offset") { given.initial_offset.reset(); }
    SUBCASE("a deadline beyond the poll interval") {
        given.properties["max.poll.interval.ms"] = "6000";
        given.rebalance_deadline = 3001ms;
    }
    CHECK(refusal(given) == errc::invalid_config);
}

TEST_CASE("a cluster that is gone is not found") {
    std::string name;
    {
        fake_cluster const cluster;
        name = cluster.brokers();
    }
    CHECK(refusal({.brokers = name,
                   .group_id = "group",
                   .topics = {"t"},
                   .initial_offset = kgroup::offset_reset::earliest}) == errc::invalid_config);
}

TEST_CASE_FIXTURE(scripted_group,
                  "one member at a time, and the next one finds what was committed") {
    cluster.add_records(t0, "a");
    run_over({t0});
    {
        fake_group second{context, settings};
        run_outcome refused;
        second.async_run(handler, [&](std::exception_ptr e) { refused = {true, e}; });
        settle();
        CHECK_THROWS_AS(std::rethrow_exception(refused.failure), std::logic_error);
    }
    stop();
    cluster.add_records(t0, "b");
    outcome = {};
    run_over({t0});
    CHECK(handler.received == lines{"t[0]@0 a", "t[0]@1 b"});
    stop();
}

TEST_CASE_FIXTURE(scripted_group,
                  "the script may be written before the member comes, and all at once") {
    cluster.add_records(t0, "a");
    cluster.assign({t0});
    cluster.revoke();
    cluster.assign({t1});
    run();
    CHECK(cluster.assigned() == std::set{t1});
    stop();
}

TEST_CASE_FIXTURE(scripted_group, "an eager member cannot lose a part") {
    run_over({t0, t1});
    CHECK_THROWS_AS(cluster.revoke({t0}), std::logic_error);
    CHECK_THROWS_AS(cluster.lose({t0}), std::logic_error);
    CHECK_THROWS_AS(cluster.fail(fake_cluster::request::close, {}), std::logic_error);
    settle();
    CHECK(cluster.assigned() == std::set{t0, t1});
    stop();
}

TEST_CASE_FIXTURE(scripted_group, "records of a partition that was given back vanish, and nothing "
                                  "comes while a rebalance is unanswered") {
    make_cooperative();
    latch held{context};
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        while (auto const next = co_await claim.messages().async_receive()) {
            handler.note(*next);
            if (claim.partition() == 0) {
                co_await held.wait();
            }
        }
    };
    cluster.add_records(t0, "a");
    run_over({t0, t1});
    cluster.revoke({t0});
    cluster.add_records(t1, "b");
    settle();
    CHECK(handler.received == lines{"t[0]@0 a"});
    held.open();
    settle();
    CHECK(handler.received == lines{"t[0]@0 a", "t[1]@0 b"});
    CHECK(cluster.fetched(t0) == 0);
    stop();
}

TEST_CASE("messages, groups and contexts may outlive the cluster") {
    scripted_group it;
    std::optional<kgroup::message> kept;
    auto cluster = std::make_unique<fake_cluster>();
    it.settings.brokers = cluster->brokers();
    it.handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        kept = co_await claim.messages().async_receive();
        co_await claim.messages().async_receive();
    };
    cluster->add_records(t0, "a");
    cluster->assign({t0});
    it.run();
    cluster.reset();
    it.settle();
    CHECK(kept->value() == "a");
    it.group->stop();
    it.settle();
    CHECK(it.outcome.completed);
    it.group.reset();
    CHECK(kept->copy().value == "a");
    kept.reset();
}

} // namespace
