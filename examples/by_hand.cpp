// SPDX-License-Identifier: MIT

// Offsets kept by hand: a program that keeps what it has computed, and how far it has read, in one
// place and writes both at once, so that each record counts exactly once, whatever ends it. Here
// the place is a file; mostly it is a database, and a write is a transaction.
//
//     by_hand BROKERS TOPIC FILE
//
// Each line of FILE: topic, partition, the next offset to read, how many records came, how many
// bytes.

#include <kgroup/kgroup.hpp>

#include <asio/io_context.hpp>
#include <asio/signal_set.hpp>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>

struct account {
    std::int64_t next = 0;
    std::uint64_t records = 0;
    std::uint64_t bytes = 0;
};

/// What is known of each partition, in memory and in a file.
class ledger {
public:
    explicit ledger(std::filesystem::path path) : path_(std::move(path)) {
        std::ifstream file{path_};
        kgroup::topic_partition where;
        account read;
        while (file >> where.topic >> where.partition >> read.next >> read.records >> read.bytes) {
            accounts_[where] = read;
        }
    }

    bool knows(kgroup::topic_partition const& where) const { return accounts_.contains(where); }
    account of(kgroup::topic_partition const& where) const {
        return knows(where) ? accounts_.at(where) : account{};
    }

    /// All or nothing: a file that is not whole never has this name. (After a power failure, too,
    /// with an fsync of file and folder.)
    void write(kgroup::topic_partition const& where, account const& changed) {
        accounts_[where] = changed;
        auto const draft = path_.string() + ".new";
        std::ofstream file{draft};
        for (auto const& [place, sums] : accounts_) {
            file << place.topic << ' ' << place.partition << ' ' << sums.next << ' ' << sums.records
                 << ' ' << sums.bytes << '\n';
        }
        file.close();
        if (!file) {
            throw std::runtime_error{draft + " cannot be written"};
        }
        std::filesystem::rename(draft, path_);
    }

private:
    std::filesystem::path path_;
    std::map<kgroup::topic_partition, account> accounts_;
};

struct accountant {
    ledger& books;

    // The session begins where the ledger says, whatever the group may have committed. An eager
    // protocol (range, roundrobin: the default) announces all claims here; a cooperative one would
    // not.
    asio::awaitable<void> setup(kgroup::session& session) {
        for (auto const& where : session.claims()) {
            if (books.knows(where)) {
                session.start_at(where, books.of(where).next);
            }
        }
        co_return;
    }

    asio::awaitable<void> consume_claim(kgroup::session&, kgroup::claim& claim) {
        kgroup::topic_partition const where{claim.topic(), claim.partition()};
        for (;;) {
            auto const batch = co_await claim.messages().async_receive_available(500);
            if (batch.empty()) {
                co_return;
            }
            auto changed = books.of(where);
            for (auto const& message : batch) {
                ++changed.records;
                changed.bytes += message.value().size();
                changed.next = message.offset() + 1; // what a mark would have known
            }
            books.write(where, changed);
        }
    }
};

int main(int argc, char** argv) try {
    if (argc != 4) {
        std::cerr << "usage: by_hand BROKERS TOPIC FILE\n";
        return 2;
    }
    ledger books{argv[3]};
    asio::io_context context;
    kgroup::consumer_group group{
        context,
        {.brokers = argv[1],
         .group_id = "accountants",
         .topics = {argv[2]},
         .initial_offset = kgroup::offset_reset::earliest,
         .auto_commit_interval = std::chrono::milliseconds{0}, // never by the clock
         .commit_at_end = false}};                             // nor when a session ends
    asio::signal_set signals{context, SIGINT, SIGTERM};
    signals.async_wait([&](std::error_code, int) { group.stop(); });

    std::exception_ptr failure;
    group.async_run(accountant{books}, [&](std::exception_ptr error) {
        failure = error;
        signals.cancel();
    });
    context.run();
    if (failure) {
        std::rethrow_exception(failure);
    }
} catch (std::exception const& error) {
    std::cerr << error.what() << '\n';
    return 1;
}
