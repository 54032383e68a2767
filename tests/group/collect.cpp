// SPDX-License-Identifier: MIT

#include <asio/awaitable.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/error.hpp>

#include <doctest/doctest.h>
#include <support/latch.hpp>
#include <support/scripted_group.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace collect_tests {

using namespace kgroup::tests;

namespace {

using kgroup::claim;
using kgroup::collect_limits;
using kgroup::event_kind;
using kgroup::message_batch;
using kgroup::session;

/// A handler that collects, writes down what was in each batch, and keeps the batches.
struct collecting_group : scripted_group {
    collect_limits limits;
    std::vector<std::string> batches; // the values, joined
    std::vector<message_batch> kept;
    claim* owned = nullptr;
    bool marks = true;

    collecting_group() {
        handler.on_claim = [this](session&, claim& claim) -> asio::awaitable<void> {
            owned = &claim;
            while (auto batch = co_await claim.messages().async_collect(limits)) {
                note(batch);
                if (marks) {
                    claim.mark(batch.back());
                }
                kept.push_back(std::move(batch));
            }
            batches.push_back("end");
            kept.clear();
        };
    }

    static std::string joined(message_batch const& batch) {
        std::string values;
        for (auto const& one : batch) {
            values += (values.empty() ? "" : " ") + std::string{one.value()};
        }
        return values;
    }
    void note(message_batch const& batch) { batches.push_back(joined(batch)); }
    lines said_batches() { return std::exchange(batches, {}); }
};

} // namespace

TEST_CASE_FIXTURE(collecting_group, "async_collect: so many records, however they were fetched") {
    limits = {.records = 3};
    run_over({t0});
    cluster.add_records(t0, "a");
    settle();
    cluster.add_records(t0, "b");
    settle();
    CHECK(batches.empty());
    advance(1h);
    CHECK(batches.empty());
    CHECK(owned->undone() == 0); // nothing is delivered yet
    cluster.add_records(t0, "c", "d", "e", "f", "g");
    settle();
    CHECK(said_batches() == lines{"a b c", "d e f"});
    cluster.add_records(t0, "h", "i");
    settle();
    CHECK(said_batches() == lines{"g h i"});
    CHECK(collecting_group::joined(kept.front()) == "a b c"); // beside the others
    stop();
    CHECK(cluster.committed(t0) == 9);
}

TEST_CASE_FIXTURE(collecting_group,
                  "async_collect: batches larger than what is fetched at a time") {
    limits = {.records = 2500, .within = 1s};
    std::vector<std::size_t> sizes;
    std::int64_t next = 0;
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        while (auto batch = co_await claim.messages().async_collect(limits)) {
            sizes.push_back(batch.size());
            for (auto const& one : batch) {
                CHECK(one.offset() == next++);
                CHECK(one.value() == "v");
            }
            claim.ack(batch[0]);
            for (std::size_t i = 1; i != batch.size(); ++i) {
                claim.ack(batch[i]);
            }
            kept.push_back(std::move(batch));
        }
        kept.clear();
    };
    std::vector<fake_cluster::record> const many(6001, fake_cluster::record{.value = "v"});
    cluster.add_records(t0, many);
    run_over({t0});
    CHECK(sizes == std::vector<std::size_t>{2500, 2500});
    advance(1s);
    CHECK(sizes == std::vector<std::size_t>{2500, 2500, 1001});
    stop();
    CHECK(cluster.committed(t0) == 6001);
}

TEST_CASE_FIXTURE(collecting_group,
                  "async_collect: so many bytes, and what is larger comes alone") {
    limits = {.bytes = 10, .within = 1s};
    cluster.add_records(t0, "1234", "1234", "12", "123456", "12345", "123456789012", "1",
                        "1234567890", "12");
    run_over({t0});
    CHECK(said_batches() ==
          lines{"1234 1234 12", "123456", "12345", "123456789012", "1", "1234567890"});
    advance(1s);
    CHECK(said_batches() == lines{"12"});
    cluster.add_records(t0, fake_cluster::record{.key = "123456789", .value = "1"});
    settle();
    CHECK(said_batches() == lines{"1"}); // keys count
    stop();
}

TEST_CASE_FIXTURE(collecting_group, "async_collect: the time counts from the first record") {
    limits = {.records = 100, .within = 200ms};
    run_over({t0});
    advance(10s);
    CHECK(batches.empty());
    cluster.add_records(t0, "a");
    settle();
    advance(100ms);
    cluster.add_records(t0, "b");
    settle();
    advance(90ms);
    CHECK(batches.empty());
    advance(10ms);
    CHECK(said_batches() == lines{"a b"});
    cluster.add_records(t0, "c");
    settle();
    advance(190ms);
    CHECK(batches.empty());
    advance(10ms);
    CHECK(said_batches() == lines{"c"});
    stop();
    CHECK(said_batches() == lines{"end"});
}

TEST_CASE_FIXTURE(collecting_group,
                  "async_collect: at a revocation what is collected comes at once, then the end") {
    limits = {.records = 100};
    cluster.add_records(t0, "a", "b");
    run_over({t0});
    CHECK(batches.empty());
    cluster.revoke();
    settle();
    CHECK(said_batches() == lines{"a b", "end"});
    CHECK(cluster.committed(t0) == 2);
    stop();
}

TEST_CASE_FIXTURE(collecting_group, "async_collect: after a loss the end comes, and nothing else") {
    limits = {.records = 100};
    cluster.add_records(t0, "a", "b");
    run_over({t0});
    cluster.lose();
    settle();
    CHECK(said_batches() == lines{"end"});
    stop();
}

TEST_CASE_FIXTURE(collecting_group, "async_collect: while the claim is paused nothing comes") {
    limits = {.records = 100, .within = 1s};
    cluster.add_records(t0, "a");
    run_over({t0});
    group->pause_all();
    advance(2s);
    CHECK(batches.empty());
    group->resume_all();
    settle();
    CHECK(said_batches() == lines{"a"});
    stop();
}

TEST_CASE_FIXTURE(collecting_group, "async_collect: cancelled, it has taken nothing") {
    asio::cancellation_signal signal;
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        owned = &claim;
        for (int i = 0; i != 2; ++i) {
            std::error_code failure;
            latch over{context};
            claim.messages().async_collect(
                {.records = 100}, asio::bind_cancellation_slot(
                                      signal.slot(), [&](std::error_code e, message_batch batch) {
                                          CHECK(batch.empty());
                                          failure = e;
                                          over.open();
                                      }));
            co_await over.wait();
            CHECK(failure == asio::error::operation_aborted);
            CHECK(claim.undone() == 0);
        }
        auto const first = co_await claim.messages().async_receive();
        batches.push_back(std::string{first->value()});
        note(co_await claim.messages().async_receive_available(2));
        note(co_await claim.messages().async_collect({.records = 3}));
        claim.mark(*first);
        CHECK(claim.undone() == 5);
    };
    settings.on_claim_exit = kgroup::claim_exit::keep_others;
    cluster.add_records(t0, "a", "b");
    run_over({t0});
    signal.emit(asio::cancellation_type::total);
    settle();
    cluster.add_records(t0, "c", "d", "e", "f");
    settle();
    signal.emit(asio::cancellation_type::terminal);
    settle();
    CHECK(batches == lines{"a", "b c", "d e f"});
    stop();
    CHECK(cluster.committed(t0) == 1);
}

TEST_CASE_FIXTURE(collecting_group, "async_collect: without a limit it is refused") {
    int refused = 0;
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        for (collect_limits const given : {collect_limits{}, collect_limits{.within = -1s},
                                           collect_limits{.records = 1, .within = -1s}}) {
            try {
                co_await claim.messages().async_collect(given);
            } catch (std::system_error const& e) {
                CHECK(e.code() == kgroup::errc::invalid_limits);
                ++refused;
            }
        }
        co_await handler.mark_all(claim);
    };
    cluster.add_records(t0, "a");
    run_over({t0});
    CHECK(refused == 3);
    CHECK(handler.received.size() == 1);
    stop();
}

TEST_CASE_FIXTURE(collecting_group, "async_collect: a full window ends a batch short") {
    limits = {.records = 50'000};
    std::vector<std::size_t> sizes;
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        owned = &claim;
        while (auto batch = co_await claim.messages().async_collect(limits)) {
            if (sizes.empty()) {
                claim.ack(batch[0]);
            }
            sizes.push_back(batch.size());
            kept.push_back(std::move(batch));
        }
        kept.clear();
    };
    std::vector<fake_cluster::record> const many(70'000);
    cluster.add_records(t0, many);
    run_over({t0});
    CHECK(sizes == std::vector<std::size_t>{50'000, 15'537});
    CHECK(owned->undone() == 65'536);
    for (std::size_t i = 1; i != 101; ++i) {
        owned->ack(kept[0][i]);
    }
    settle();
    CHECK(sizes.size() > 2);
    CHECK(owned->undone() == 65'536);
    stop();
}

TEST_CASE_FIXTURE(collecting_group, "async_collect: a batch that takes long to fill is no fault") {
    limits = {.records = 100};
    run_over({t0});
    for (auto const value : {"a", "b", "c"}) {
        cluster.add_records(t0, value);
        settle();
        for (int i = 0; i != 40; ++i) {
            advance(1s);
        }
    }
    for (auto const kind :
         {event_kind::nothing_comes, event_kind::claim_stalled, event_kind::wakeup_healed}) {
        CHECK(count(kind) == 0);
    }
    stop();
    CHECK(cluster.committed(t0) == 3);
}

TEST_CASE_FIXTURE(collecting_group, "async_collect: an offset that goes back ends a batch short") {
    limits = {.records = 4, .within = 1s};
    cluster.add_records(t0, "a", "b");
    run_over({t0});
    cluster.make_anew(t0);
    cluster.add_records(t0, "A", "B");
    settle();
    advance(1s);
    advance(1s);
    auto const all = said_batches();
    CHECK(std::ranges::count(all, "A B") == 1);
    stop();
}

TEST_CASE_FIXTURE(collecting_group,
                  "async_collect: a second receive meanwhile is refused, and the first goes on") {
    limits = {.records = 2};
    cluster.add_records(t0, "a");
    run_over({t0});
    std::error_code failure;
    owned->messages().async_collect({.records = 1},
                                    [&](std::error_code e, message_batch) { failure = e; });
    settle();
    CHECK(failure == kgroup::errc::receive_in_progress);
    cluster.add_records(t0, "b");
    settle();
    CHECK(said_batches() == lines{"a b"});
    stop();
}

} // namespace collect_tests
