// SPDX-License-Identifier: MIT

#include <kgroup/error.hpp>
#include <kgroup/event.hpp>
#include <kgroup/testing/embedded_cluster.hpp>

#include <doctest/doctest.h>
#include <librdkafka/rdkafka.h>

#include <atomic>
#include <chrono>
#include <system_error>

#include "kafka.hpp"
#include "member.hpp"

// What is committed when librdkafka repeats commits by itself.

namespace {

using namespace kgroup::tests;
using kgroup::claim;
using kgroup::event_kind;
using kgroup::session;
using kgroup::testing::embedded_cluster;

TEST_CASE("commits: an older one that librdkafka repeats does not land behind a newer one") {
    embedded_cluster cluster;
    cluster.create_topic("orders", 1);
    cluster.produce("orders", 0, "a", "b");
    kgroup::config given{
        .brokers = cluster.brokers(),
        .group_id = unique("group"),
        .topics = {"orders"},
        .initial_offset = kgroup::offset_reset::earliest,
        .commit_at_end = false,
        .properties = {{"session.timeout.ms", "6000"}, {"retry.backoff.ms", "3000"}}};
    given.auto_commit_interval = 0ms;
    given.commit_timeout = 1s;
    if (rd_kafka_version() >= 0x02030000) {
        given.properties["retry.backoff.max.ms"] = "3000";
    }
    std::atomic<bool> timed_out{false};
    std::atomic<bool> done{false};
    std::atomic<std::chrono::milliseconds> taken{0ms};
    auto const handler = [&](session& session, claim& claim) -> asio::awaitable<void> {
        auto const first = co_await claim.messages().async_receive();
        claim.mark(first.value());
        cluster.fail(embedded_cluster::request::offset_commit,
                     RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS);
        auto const begin = std::chrono::steady_clock::now();
        try {
            co_await session.async_commit();
        } catch (std::system_error const& e) {
            timed_out = e.code() == kgroup::errc::commit_timed_out;
        }
        auto const second = co_await claim.messages().async_receive();
        claim.mark(second.value());
        bool committed = false;
        while (!committed) { // it waits for the older one, and each call within its own time
            try {
                auto const results = co_await session.async_commit();
                committed = results.size() == 1 &&
                            results.front().status == kgroup::commit_status::committed &&
                            results.front().offset == 2;
            } catch (std::system_error const& e) {
                if (e.code() != kgroup::errc::commit_timed_out) {
                    throw;
                }
            }
        }
        taken = std::chrono::duration_cast<std::chrono::milliseconds>(
            std::chrono::steady_clock::now() - begin);
        done = true;
        while (auto const next = co_await claim.messages().async_receive()) {
        }
    };
    member one{given, {.consume_claim = handler}};
    REQUIRE(eventually([&] { return done.load(); }));
    CHECK(timed_out);
    CHECK(taken.load() > 2s); // the older one has been repeated, and answered
    CHECK(cluster.committed(given.group_id, "orders", 0) == 2);
    CHECK(one.count(event_kind::commit_failed) == 1);
    CHECK(one.count(event_kind::commit_recovered) == 1);
}

} // namespace
