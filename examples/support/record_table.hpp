// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/message.hpp>
#include <kgroup/message_channel.hpp>

#include <cstddef>
#include <memory>
#include <sqlite3.h>
#include <stdexcept>
#include <string>
#include <string_view>

namespace examples {

/// Records in an SQLite database. A record that was written before a restart may come again: its
/// place in the topic is the row's key, and it counts once.
class record_table {
public:
    /// @param path ":memory:": it is gone with the table.
    explicit record_table(std::string const& path) : database_(open(path), &sqlite3_close) {
        run("CREATE TABLE IF NOT EXISTS records (topic TEXT, number INTEGER, place INTEGER, "
            "key TEXT, value TEXT, PRIMARY KEY (topic, number, place))");
        sqlite3_stmt* made = nullptr;
        check(sqlite3_prepare_v2(database_.get(),
                                 "INSERT OR IGNORE INTO records VALUES (?, ?, ?, ?, ?)", -1, &made,
                                 nullptr));
        insert_.reset(made);
    }

    /// All of a batch, or nothing of it.
    void insert(kgroup::message_batch const& batch) {
        run("BEGIN");
        try {
            for (auto const& record : batch) {
                insert(record);
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
        check(sqlite3_exec(database_.get(), "SELECT count(*) FROM records", count, &rows, nullptr));
        return rows;
    }

private:
    static sqlite3* open(std::string const& path) {
        sqlite3* opened = nullptr;
        if (sqlite3_open(path.c_str(), &opened) != SQLITE_OK) {
            sqlite3_close(opened);
            throw std::runtime_error{"the database cannot be opened: " + path};
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
    void insert(kgroup::message const& record) {
        auto* const row = insert_.get();
        auto const bind = [&](int column, std::string_view text) {
            check(sqlite3_bind_text64(row, column, text.data(), text.size(), SQLITE_TRANSIENT,
                                      SQLITE_UTF8));
        };
        bind(1, record.topic());
        check(sqlite3_bind_int(row, 2, record.partition()));
        check(sqlite3_bind_int64(row, 3, record.offset()));
        bind(4, record.key());
        bind(5, record.value());
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

} // namespace examples
