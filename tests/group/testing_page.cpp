// SPDX-License-Identifier: MIT

// What docs/testing.md shows: how somebody tests a handler of theirs.

#include <kgroup/kgroup.hpp>
#include <kgroup/testing/clock.hpp>
#include <kgroup/testing/fake_client.hpp>

#include <asio/detached.hpp>
#include <asio/io_context.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace {

using prices = std::map<std::string, std::string, std::less<>>;

// Collects the newest price of each product, and writes them out together when ten seconds have
// passed without news.
struct price_writer {
    std::vector<prices> database{};

    asio::awaitable<void> consume_claim(kgroup::session&, kgroup::claim& claim) {
        prices collected;
        std::optional<kgroup::message> last;
        for (;;) {
            if (auto message =
                    co_await claim.messages().async_receive_for(std::chrono::seconds{10})) {
                collected.insert_or_assign(std::string{message->key()}, message->value());
                last = std::move(message);
                continue;
            }
            if (last) {
                database.push_back(std::exchange(collected, {}));
                claim.mark(*last);
                last.reset();
            }
            if (claim.messages().ended()) {
                co_return;
            }
        }
    }
};

kgroup::testing::fake_cluster::record price(std::string product, std::string amount) {
    return {.key = std::move(product), .value = std::move(amount)};
}

struct price_test {
    kgroup::testing::fake_cluster cluster;
    price_writer writer;
    asio::io_context context;
    kgroup::testing::fake_group group{context,
                                      {.brokers = cluster.brokers(),
                                       .group_id = "writers",
                                       .topics = {"prices"},
                                       .initial_offset = kgroup::offset_reset::earliest,
                                       .auto_commit_interval = std::chrono::minutes{1}}};
    kgroup::topic_partition const partition{"prices", 0};

    price_test() {
        group.async_run(writer, asio::detached);
        cluster.assign({partition});
        kgroup::testing::run_ready(context);
    }
};

TEST_CASE_FIXTURE(price_test, "prices are written when ten seconds have passed without news") {
    cluster.add_records(partition, price("tea", "3"), price("rum", "9"), price("tea", "4"));
    kgroup::testing::run_ready(context);
    CHECK(writer.database.empty());

    kgroup::testing::advance(context, std::chrono::seconds{10});
    CHECK(writer.database == std::vector{prices{{"rum", "9"}, {"tea", "4"}}});
}

TEST_CASE_FIXTURE(price_test,
                  "a rebalance loses nothing that was collected, and commits what was written") {
    cluster.add_records(partition, price("tea", "3"));
    kgroup::testing::run_ready(context);
    cluster.clear_trace();

    cluster.revoke();
    kgroup::testing::run_ready(context);
    CHECK(writer.database == std::vector{prices{{"tea", "3"}}});
    CHECK(cluster.trace() == std::vector<std::string>{
                                 "> revoked prices[0]",
                                 "commit prices[0]=1",
                                 "> committed",
                                 "unassign prices[0]",
                             });
}

TEST_CASE_FIXTURE(
    price_test,
    "when the group has given the partition to another, what this member did is repeated there") {
    cluster.add_records(partition, price("tea", "3"));
    kgroup::testing::advance(context, std::chrono::seconds{10});
    cluster.lose();
    kgroup::testing::run_ready(context);
    CHECK(cluster.committed(partition) == std::nullopt);

    cluster.assign({partition});
    kgroup::testing::advance(context, std::chrono::seconds{10});
    CHECK(writer.database.size() == 2);
}

TEST_CASE_FIXTURE(price_test, "a commit that is refused goes with the next one") {
    cluster.add_records(partition, price("tea", "3"));
    kgroup::testing::advance(context,
                             std::chrono::seconds{10}); // the handler has written and marked
    cluster.fail(kgroup::testing::fake_cluster::request::commit,
                 kgroup::kafka_errc::coordinator_not_available);
    kgroup::testing::advance(context, std::chrono::minutes{1}); // config::auto_commit_interval
    CHECK(cluster.committed(partition) == std::nullopt);
    CHECK(group.stats().commits_failed == 1);

    kgroup::testing::advance(context, std::chrono::minutes{1});
    CHECK(cluster.committed(partition) == 1);
}

TEST_CASE_FIXTURE(price_test, "stop ends it in order") {
    cluster.add_records(partition, price("tea", "3"));
    kgroup::testing::run_ready(context);
    group.stop();
    kgroup::testing::run_ready(context);
    CHECK_FALSE(cluster.has_member());
    CHECK(cluster.committed(partition) == 1);
    CHECK(cluster.records_held() == 0);
    CHECK(cluster.complaints().empty());
}

} // namespace
