// SPDX-License-Identifier: MIT

// Records into a database, many in one transaction: a batch is complete with 500 records or after
// 200 ms, and is tried again when the database is busy.
//
// Writes some orders of a Kafka embedded in this process into an SQLite database in memory. A
// record that was written before a restart may come again: its offset is the row's key.

#include <kgroup/for_each_batch.hpp>
#include <kgroup/kgroup.hpp>
#include <kgroup/testing/embedded_cluster.hpp>

#include <asio/awaitable.hpp>
#include <asio/io_context.hpp>

#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <iostream>
#include <memory>
#include <sqlite3.h>
#include <stdexcept>
#include <string>

using namespace std::chrono_literals;

// A database with a table of orders.
class order_table {
public:
    order_table() : database_(open(), &sqlite3_close) {
        run("CREATE TABLE orders (topic_partition INTEGER, place INTEGER, content TEXT, "
            "PRIMARY KEY (topic_partition, place))");
        sqlite3_stmt* made = nullptr;
        check(sqlite3_prepare_v2(database_.get(), "INSERT OR IGNORE INTO orders VALUES (?, ?, ?)",
                                 -1, &made, nullptr));
        insert_.reset(made);
    }

    // All of a batch, or nothing of it.
    void insert(kgroup::message_batch const& batch) {
        run("BEGIN");
        try {
            for (auto const& order : batch) {
                insert(order);
            }
            run("COMMIT");
        } catch (...) {
            sqlite3_exec(database_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
            throw;
        }
    }

    std::size_t size() {
        std::size_t rows = 0;
        auto const count = [](void* result, int, char** columns, char**) {
            *static_cast<std::size_t*>(result) = std::stoul(columns[0]);
            return 0;
        };
        check(sqlite3_exec(database_.get(), "SELECT count(*) FROM orders", count, &rows, nullptr));
        return rows;
    }

private:
    static sqlite3* open() {
        sqlite3* opened = nullptr;
        if (sqlite3_open(":memory:", &opened) != SQLITE_OK) {
            sqlite3_close(opened);
            throw std::runtime_error{"the database cannot be opened"};
        }
        return opened;
    }
    void check(int result) {
        if (result != SQLITE_OK && result != SQLITE_DONE) {
            throw std::runtime_error{sqlite3_errmsg(database_.get())};
        }
    }
    void run(char const* statement) {
        check(sqlite3_exec(database_.get(), statement, nullptr, nullptr, nullptr));
    }
    void insert(kgroup::message const& order) {
        auto* const row = insert_.get();
        check(sqlite3_bind_int(row, 1, order.partition()));
        check(sqlite3_bind_int64(row, 2, order.offset()));
        check(sqlite3_bind_text64(row, 3, order.value().data(), order.value().size(),
                                  SQLITE_TRANSIENT, SQLITE_UTF8));
        auto const result = sqlite3_step(row);
        sqlite3_reset(row);
        check(result);
    }

    struct statement_end {
        void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
    };
    std::unique_ptr<sqlite3, int (*)(sqlite3*)> database_;
    std::unique_ptr<sqlite3_stmt, statement_end> insert_;
};

struct order_archive {
    order_table& table;
    std::function<void()> after_each;

    asio::awaitable<void> consume_claim(kgroup::session&, kgroup::claim& claim) {
        auto store = [this](kgroup::message_batch const& batch) {
            table.insert(batch);
            after_each();
        };
        co_await kgroup::for_each_batch(claim, {.records = 500, .bytes = 64 << 10, .within = 200ms},
                                        {.retry = {.attempts = 5}}, store);
    }
};

int main() try {
    constexpr std::size_t orders = 2200;
    kgroup::testing::embedded_cluster cluster;
    cluster.create_topic("orders", 1);
    for (std::size_t i = 0; i != orders; ++i) {
        cluster.produce("orders", 0, "order " + std::to_string(i));
    }
    asio::io_context context;
    kgroup::consumer_group group{context,
                                 {.brokers = cluster.brokers(),
                                  .group_id = "archive",
                                  .topics = {"orders"},
                                  .initial_offset = kgroup::offset_reset::earliest}};
    order_table table;
    std::size_t transactions = 0;
    order_archive archive{table, [&] {
                              ++transactions;
                              if (table.size() == orders) {
                                  group.stop();
                              }
                          }};
    std::exception_ptr failure;
    group.async_run(archive, [&](std::exception_ptr error) { failure = error; });
    context.run();
    if (failure) {
        std::rethrow_exception(failure);
    }
    std::cout << table.size() << " orders in " << transactions << " transactions\n";
} catch (std::exception const& error) {
    std::cerr << error.what() << '\n';
    return 1;
}
