// SPDX-License-Identifier: MIT

// The handler of examples/batches_into_sqlite.cpp in virtual time.

#include "../../../examples/batches_into_sqlite.hpp"

#include <kgroup/testing/clock.hpp>
#include <kgroup/testing/fake_client.hpp>

#include <asio/io_context.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <cstddef>
#include <exception>
#include <filesystem>
#include <optional>
#include <sqlite3.h>
#include <string>
#include <system_error>
#include <unistd.h>
#include <vector>

namespace batches_into_sqlite_example_tests {

namespace {

using namespace examples;
using namespace std::chrono_literals;

/// A database in a file, so that a second connection can be in the way.
struct database_file {
    std::string const path =
        std::filesystem::temp_directory_path() / ("kgroup-archive-" + std::to_string(::getpid()));

    ~database_file() {
        std::error_code ignored;
        std::filesystem::remove(path, ignored);
    }
};

struct archive_test : database_file {
    kgroup::testing::fake_cluster cluster;
    record_table table{path};
    std::size_t transactions = 0;
    order_archive archive{table, [this] { ++transactions; }};
    asio::io_context context;
    kgroup::testing::fake_group group{context,
                                      {.brokers = cluster.brokers(),
                                       .group_id = "archive",
                                       .topics = {"orders"},
                                       .initial_offset = kgroup::offset_reset::earliest}};
    kgroup::topic_partition const partition{"orders", 0};
    bool completed = false;

    archive_test() {
        group.async_run(archive, [this](std::exception_ptr failure) { completed = !failure; });
        cluster.assign({partition});
        kgroup::testing::run_ready(context);
    }

    void add(std::size_t orders) {
        cluster.add_records(partition, std::vector<kgroup::testing::fake_cluster::record>(
                                           orders, {.value = "an order"}));
        kgroup::testing::run_ready(context);
    }
};

TEST_CASE_FIXTURE(archive_test, "examples: batches into SQLite, a transaction for 500 records, and "
                                "for fewer after 200 ms") {
    add(1100);
    CHECK(transactions == 2);
    CHECK(table.size() == 1000);
    kgroup::testing::advance(context, 200ms);
    CHECK(transactions == 3);
    CHECK(table.size() == 1100);
    group.stop();
    kgroup::testing::run_ready(context);
    CHECK(completed);
    CHECK(cluster.committed(partition) == 1100);
}

TEST_CASE_FIXTURE(archive_test, "examples: batches into SQLite, while the database is locked a "
                                "batch is tried again, and nothing of it is written before") {
    sqlite3* other = nullptr;
    REQUIRE(sqlite3_open(path.c_str(), &other) == SQLITE_OK);
    REQUIRE(sqlite3_exec(other, "BEGIN EXCLUSIVE", nullptr, nullptr, nullptr) == SQLITE_OK);
    add(500);
    CHECK(transactions == 0);
    REQUIRE(sqlite3_exec(other, "COMMIT", nullptr, nullptr, nullptr) == SQLITE_OK);
    sqlite3_close(other);
    CHECK(table.size() == 0);
    REQUIRE(kgroup::testing::advance_until(
        context, [this] { return transactions == 1; }, 1s));
    CHECK(table.size() == 500);
}

TEST_CASE_FIXTURE(archive_test, "examples: batches into SQLite, what was written and not committed "
                                "comes again and counts once") {
    add(500);
    CHECK(table.size() == 500);
    cluster.lose(); // before it was committed
    kgroup::testing::run_ready(context);
    CHECK(cluster.committed(partition) == std::nullopt);
    cluster.assign({partition});
    kgroup::testing::run_ready(context);
    CHECK(transactions == 2);
    CHECK(table.size() == 500);
}

TEST_CASE_FIXTURE(archive_test, "examples: batches into SQLite, at a rebalance a batch that is not "
                                "complete is the next owner's") {
    add(3);
    cluster.revoke();
    kgroup::testing::run_ready(context);
    CHECK(table.size() == 0);
    CHECK(cluster.committed(partition) == std::nullopt);
    cluster.assign({partition});
    kgroup::testing::advance(context, 200ms);
    CHECK(transactions == 1);
    CHECK(table.size() == 3);
}

} // namespace

} // namespace batches_into_sqlite_example_tests
