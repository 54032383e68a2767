// SPDX-License-Identifier: MIT

#include "support/latch.hpp"
#include "support/scripted_group.hpp"

// Promises 1 to 5 and 7, as far as one claim after another goes: what a session is from its
// assignment to its end.

namespace {

using namespace kgroup::tests;
using kgroup::claim;
using kgroup::end_reason;
using kgroup::event_kind;
using kgroup::offset_reset;
using kgroup::session;

TEST_CASE_FIXTURE(scripted_group, "the life of a session, line by line") {
    cluster.add_records(t0, "a", "b");
    cluster.set_committed(t1, 7);
    run();
    CHECK(said().empty());

    cluster.assign({t0, t1});
    settle();
    CHECK(said() ==
          lines{"> assigned t[0] t[1]", "look up t[0] t[1]", "> offsets", "assign t[0]@0 t[1]@7"});
    CHECK(handler.received == lines{"t[0]@0 a", "t[0]@1 b"});
    CHECK(handler.setups == 1);
    CHECK(handler.claims == 2);
    CHECK(group->stats().claims == 2);

    cluster.revoke();
    settle();
    CHECK(said() ==
          lines{"> revoked t[0] t[1]", "commit t[0]=2", "> committed", "unassign t[0] t[1]"});
    CHECK(handler.claims_ended == 2);
    CHECK(handler.cleanups == 1);
    CHECK(last(event_kind::session_ended).text == "revoked");
    CHECK(group->stats().claims == 0);

    cluster.assign({t0});
    settle();
    CHECK(said() == lines{"> assigned t[0]", "look up t[0]", "> offsets", "assign t[0]@2"});
    CHECK(handler.setups == 2);

    stop();
    CHECK(said() == lines{"close", "> revoked t[0]", "unassign t[0]", "> closed", "shut down"});
    CHECK(handler.cleanups == 2);
    CHECK(group->stats().sessions == 2);
    CHECK(group->stats().rebalances == 4);
    CHECK(group->stats().records_received == 2);
}

TEST_CASE_FIXTURE(scripted_group,
                  "at least once: what is not marked is not committed, whatever ends the session") {
    handler.on_claim = [this](session&, claim& claim) -> asio::awaitable<void> {
        while (auto const next = co_await claim.messages().async_receive()) {
            handler.note(*next);
            if (next->value() == "done") {
                claim.mark(*next);
            }
        }
    };
    cluster.add_records(t0, "done", "not done", "done", "not done");
    run_over({t0});
    CHECK(handler.received.size() == 4);

    SUBCASE("a rebalance") {
        cluster.revoke();
        settle();
        CHECK(cluster.committed(t0) == 3);
        stop();
    }
    SUBCASE("stop") { stop(); }
    SUBCASE("loss") {
        cluster.lose();
        settle();
        CHECK(cluster.committed(t0) == std::nullopt);
        cluster.assign({t0}); // so all four come again
        settle();
        CHECK(handler.received.size() == 8);
        stop();
    }
    CHECK(cluster.committed(t0) == 3);
}

TEST_CASE_FIXTURE(scripted_group,
                  "at least once: of acknowledged records only the unbroken run is committed") {
    handler.on_claim = [](session&, claim& claim) -> asio::awaitable<void> {
        std::vector<kgroup::message> held;
        while (auto next = co_await claim.messages().async_receive()) {
            held.push_back(std::move(*next));
        }
        // offsets 0 1 5 6: finished in another order, and 5 not at all
        claim.ack(held[3]);
        claim.ack(held[1]);
        claim.ack(held[0]);
    };
    cluster.add_records(t0, "a", "b");
    cluster.skip_offsets(t0, 3);
    cluster.add_records(t0, "c", "d");
    run_over({t0});
    cluster.revoke();
    settle();
    CHECK(cluster.committed(t0) == 2);
    stop();
}

TEST_CASE_FIXTURE(
    scripted_group,
    "order: a claim's records come in the order of their offsets, and claims run side by side") {
    latch held{context};
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        while (auto const next = co_await claim.messages().async_receive()) {
            handler.note(*next);
            if (claim.partition() == 0) {
                co_await held.wait();
            }
            claim.mark(*next);
        }
    };
    cluster.add_records(t0, "a", "b");
    cluster.add_records(t1, "c");
    run_over({t0, t1});
    CHECK(handler.received == lines{"t[0]@0 a", "t[1]@0 c"});
    cluster.skip_offsets(t1, 10);
    cluster.add_records(t1, "d");
    settle();
    CHECK(handler.received == lines{"t[0]@0 a", "t[1]@0 c", "t[1]@11 d"});
    held.open();
    settle();
    CHECK(handler.received == lines{"t[0]@0 a", "t[1]@0 c", "t[1]@11 d", "t[0]@1 b"});
    stop();
    CHECK(cluster.committed(t0) == 2);
    CHECK(cluster.committed(t1) == 12);
}

TEST_CASE_FIXTURE(scripted_group,
                  "one owner: marks after the end of a claim are refused, counted and reported") {
    std::optional<kgroup::message> kept;
    latch told{context};
    latch may_end{context};
    settings.rebalance_deadline = 1s;
    handler.on_claim = [&](session& session, claim& claim) -> asio::awaitable<void> {
        kept = co_await claim.messages().async_receive();
        co_await may_end.wait_deaf(); // beyond the deadline: the partition is given back without it
        claim.mark(*kept);
        session.mark_message(*kept);
        session.mark_offset(t0, 1);
        session.reset_offset(t0, 0);
        kept.reset();
    };
    cluster.add_records(t0, "a");
    run_over({t0});
    cluster.revoke();
    settle();
    advance(1s);
    advance(1s);
    CHECK(cluster.assigned().empty());
    may_end.open();
    settle();
    CHECK(group->stats().marks_refused == 4);
    CHECK(count(event_kind::mark_refused) ==
          1); // one place, one cause: the others are dropped for now
    CHECK(group->stats().events_dropped == 3);
    CHECK(last(event_kind::mark_refused).where == t0);
    stop();
    CHECK(cluster.committed(t0) == std::nullopt);
}

TEST_CASE_FIXTURE(
    scripted_group,
    "a rebalance waits for the handlers: they finish, marks are committed, then it is answered") {
    latch work{context};
    handler.on_claim = [&](session& session, claim& claim) -> asio::awaitable<void> {
        while (auto const next = co_await claim.messages().async_receive()) {
            handler.note(*next);
            co_await work.wait();
            CHECK(session.stopping());
            CHECK(claim.end_reason() == end_reason::revoked);
            claim.mark(*next);
        }
    };
    handler.on_cleanup = [&](session& session) -> asio::awaitable<void> {
        CHECK(session.end_reason() == end_reason::revoked);
        CHECK(cluster.committed(t0) == std::nullopt);
        session.mark_offset(t1, 3); // cleanup may still mark
        co_return;
    };
    cluster.add_records(t0, "a", "b", "c");
    run_over({t0, t1});
    said();
    cluster.revoke();
    settle();
    CHECK(said() == lines{"> revoked t[0] t[1]"});
    work.open(); // and not a clock
    settle();
    CHECK(said() == lines{"commit t[0]=1 t[1]=3", "> committed", "unassign t[0] t[1]"});
    CHECK(handler.received == lines{"t[0]@0 a"}); // intake had stopped
    stop();
}

TEST_CASE_FIXTURE(scripted_group, "setup runs before any claim, and may move where they start") {
    cluster.add_records(t0, "a", "b", "c", "d", "e");
    cluster.add_records(t1, "f", "g", "h");
    cluster.add_records(t2, "i", "j");
    cluster.set_committed(t0, 1);
    cluster.set_committed(t1, 2);
    handler.on_setup = [&](session& session) -> asio::awaitable<void> {
        CHECK(handler.claims == 0);
        CHECK(cluster.assigned().empty());
        CHECK(session.claims() == std::vector{t0, t1, t2});
        session.mark_offset(t0, 3);
        session.mark_offset(t0, 2); // below: no effect
        session.reset_offset(t1, 1);
        session.reset_offset(t1, 2); // above: no effect
        co_return;
    };
    run_over({t0, t1, t2});
    CHECK(handler.received ==
          lines{"t[0]@3 d", "t[0]@4 e", "t[1]@1 g", "t[1]@2 h", "t[2]@0 i", "t[2]@1 j"});
    stop();
    CHECK(cluster.committed(t0) == 5);
    CHECK(cluster.committed(t1) == 3);
}

TEST_CASE_FIXTURE(scripted_group,
                  "a mark in setup is committed, and one that nobody owns is refused") {
    handler.on_setup = [&](session& session) -> asio::awaitable<void> {
        session.mark_offset(t0, 3);
        session.mark_offset(t1, 3);
        session.reset_offset(t2, 3);
        co_return;
    };
    run_over({t0});
    CHECK(group->stats().marks_refused == 2);
    stop();
    CHECK(cluster.committed(t0) == 3);
    CHECK(cluster.committed(t1) == std::nullopt);
}

TEST_CASE_FIXTURE(
    scripted_group,
    "reset_offset takes marks back, also when nothing is committed and with other metadata") {
    cluster.add_records(t0, "a", "b", "c", "d");
    handler.on_claim = [&](session& session, claim& claim) -> asio::awaitable<void> {
        for (int i = 0; i != 4; ++i) {
            auto const next = co_await claim.messages().async_receive();
            claim.mark(*next);
        }
        session.reset_offset(t0, 9); // above: no effect
        session.reset_offset(t0, 2, "again from c");
        co_await claim.messages().async_receive();
    };
    run_over({t0});
    said();
    stop();
    CHECK(said().at(0) == "commit t[0]=2 \"again from c\"");
}

TEST_CASE_FIXTURE(scripted_group, "metadata comes back to the next owner") {
    cluster.add_records(t0, "a", "b");
    std::vector<std::string> found;
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        found.emplace_back(claim.committed_metadata());
        while (auto const next = co_await claim.messages().async_receive()) {
            claim.mark(*next, "behind " + std::string{next->value()});
        }
    };
    run_over({t0});
    stop();
    CHECK(cluster.committed_metadata(t0) == "behind b");

    outcome = {};
    run_over({t0});
    CHECK(found == lines{"", "behind b"});
    stop();
    CHECK(cluster.committed_metadata(t0) == "behind b"); // nothing was marked, nothing is committed
}

TEST_CASE_FIXTURE(scripted_group, "where a claim starts without a committed offset") {
    cluster.add_records(t0, "a", "b");
    std::int64_t initial = -2;
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        initial = claim.initial_offset();
        co_await handler.mark_all(claim);
    };
    SUBCASE("earliest") {
        settings.initial_offset = offset_reset::earliest;
        run_over({t0});
        CHECK(initial == 0);
        CHECK(handler.received.size() == 2);
        stop();
    }
    SUBCASE("latest") {
        settings.initial_offset = offset_reset::latest;
        run_over({t0});
        CHECK(initial == 2);
        cluster.add_records(t0, "c");
        settle();
        CHECK(handler.received == lines{"t[0]@2 c"});
        stop();
    }
    SUBCASE("none: the run ends with an error, in order") {
        settings.initial_offset = offset_reset::none;
        run_over({t0});
        CHECK(outcome.completed);
        CHECK(outcome.error() == kgroup::errc::no_committed_offset);
        CHECK(handler.setups == 0);
        CHECK(said().back() == "shut down");
    }
}

TEST_CASE_FIXTURE(
    scripted_group,
    "latest: a group begins at the end of the log once, and what comes then is not passed over") {
    settings.initial_offset = offset_reset::latest;
    cluster.add_records(t0, "before");
    lines seen;
    auto done = false;
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        auto const next = co_await claim.messages().async_receive();
        if (next) {
            seen.emplace_back(next->value());
        }
        if (done && next) {
            claim.mark(*next);
        }
    };
    SUBCASE("by a session that follows an early return") {
        run_over({t0});
        cluster.add_records(t0, "a");
        settle();
        advance(250ms);
        CHECK(seen == lines{"a", "a"});
        done = true;
        advance(500ms);
        CHECK(seen.size() == 3);
        advance(1s); // nothing waits
        CHECK(seen.size() == 3);
    }
    SUBCASE("between two assignments, before anything was read") {
        run_over({t0});
        cluster.revoke();
        settle();
        CHECK(cluster.committed(t0) == 1);
        cluster.add_records(t0, "a");
        cluster.assign({t0});
        settle();
        CHECK(seen == lines{"a"});
    }
    SUBCASE("while nobody runs") {
        run_over({t0});
        stop();
        outcome = {};
        cluster.add_records(t0, "a");
        run_over({t0});
        CHECK(seen == lines{"a"});
    }
    SUBCASE("in a log that was empty") {
        run_over({t1});
        cluster.revoke();
        settle();
        CHECK(cluster.committed(t1) == 0);
        cluster.add_records(t1, "a");
        cluster.assign({t1});
        settle();
        CHECK(seen == lines{"a"});
    }
    SUBCASE("but setup may say otherwise") {
        handler.on_setup = [](session& session) -> asio::awaitable<void> {
            session.mark_offset(t0, 0);
            co_return;
        };
        run_over({t0});
        CHECK(seen == lines{"before"});
        cluster.revoke();
        settle();
        CHECK(cluster.committed(t0) == 0);
    }
    SUBCASE("and without commits it is where it was asked to be") {
        settings.auto_commit_interval = 0ms;
        settings.commit_at_end = false;
        run_over({t0});
        cluster.revoke();
        settle();
        CHECK(cluster.committed(t0) == std::nullopt);
    }
    stop();
}

TEST_CASE_FIXTURE(scripted_group, "a claim knows how far it is") {
    cluster.add_records(t0, "a", "b", "c");
    latch held{context};
    claim const* seen = nullptr;
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        seen = &claim;
        auto const next = co_await claim.messages().async_receive();
        CHECK(claim.topic() == "t");
        CHECK(claim.partition() == 0);
        CHECK(claim.high_water_mark_offset() == 3);
        CHECK(claim.lag() == 2);
        co_await held.wait();
    };
    run_over({t0});
    REQUIRE(seen != nullptr);
    cluster.add_records(t0, "d");
    CHECK(seen->lag() == 3);
    held.open();
    stop();
}

TEST_CASE_FIXTURE(scripted_group, "a session knows its member and its generation") {
    std::vector<std::int32_t> generations;
    std::string member;
    handler.on_setup = [&](session& session) -> asio::awaitable<void> {
        generations.push_back(session.generation_id());
        member = session.member_id();
        co_return;
    };
    run_over({t0});
    cluster.assign({t0, t1});
    settle();
    CHECK(generations == std::vector<std::int32_t>{0, 1});
    CHECK(member == "fake-member-1");
    stop();
}

TEST_CASE_FIXTURE(
    scripted_group,
    "backpressure without pause: what a handler does not ask for stays in the queue") {
    latch held{context};
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        auto const first = co_await claim.messages().async_receive();
        co_await held.wait();
        co_await handler.mark_all(claim);
    };
    std::vector<fake_cluster::record> const many(5000, fake_cluster::record{.value = "x"});
    cluster.add_records(t0, many);
    run_over({t0});
    CHECK(cluster.records_taken() <= 16);
    CHECK(cluster.fetched(t0) == 5000 - cluster.records_taken());
    held.open();
    settle();
    CHECK(handler.received.size() == 4999);
    CHECK(cluster.fetched(t0) == 0);
    stop();
    CHECK(cluster.committed(t0) == 5000);
}

TEST_CASE_FIXTURE(
    scripted_group,
    "groups do not touch each other's offsets, in one process and over the same names") {
    scripted_group other;
    other.handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        while (auto const next = co_await claim.messages().async_receive()) {
            other.handler.note(*next); // and marks nothing
        }
    };
    cluster.add_records(t0, "a", "b");
    other.cluster.add_records(t0, "a", "b");
    run_over({t0});
    other.run_over({t0});
    stop();
    other.stop();
    CHECK(cluster.committed(t0) == 2);
    CHECK(other.cluster.committed(t0) == std::nullopt);
    CHECK(other.handler.received == handler.received);
}

TEST_CASE_FIXTURE(scripted_group,
                  "a record comes as it was written: null is not empty, names of headers repeat") {
    using namespace std::chrono;
    auto const time = system_clock::time_point{milliseconds{1700000000123}};
    cluster.add_records(t0,
                        fake_cluster::record{.key = "k",
                                             .value = std::string{"v\0w", 3},
                                             .headers = {{"h", "1"}, {"h", std::nullopt}, {"", ""}},
                                             .timestamp = time},
                        fake_cluster::record{.key = "", .value = ""}, fake_cluster::record{});
    std::vector<kgroup::owned_message> copies;
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        while (auto const next = co_await claim.messages().async_receive()) {
            CHECK(next->has_key() == (copies.size() < 2));
            CHECK(next->has_value() == (copies.size() < 2));
            copies.push_back(next->copy());
        }
    };
    run_over({t0});
    stop();
    REQUIRE(copies.size() == 3);
    CHECK(copies[0].key == "k");
    CHECK(copies[0].value == std::string{"v\0w", 3});
    CHECK(copies[0].timestamp == time);
    REQUIRE(copies[0].headers.size() == 3);
    CHECK(copies[0].headers[0].value == "1");
    CHECK(copies[0].headers[1].value == std::nullopt);
    CHECK(copies[0].headers[2].value == "");
    CHECK(copies[1].key == "");
    CHECK(copies[1].value == "");
    CHECK(copies[2].key == std::nullopt);
    CHECK(copies[2].value == std::nullopt);
    CHECK(copies[2].timestamp == std::nullopt);
}

} // namespace
