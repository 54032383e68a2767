// SPDX-License-Identifier: MIT

#include "support/latch.hpp"
#include "support/scripted_group.hpp"

// Promises 5 and 6: rebalances of every kind, in every order, and handlers that do not end in time.

namespace {

using namespace kgroup::tests;
using kgroup::claim;
using kgroup::end_reason;
using kgroup::event_kind;
using kgroup::session;
using kgroup::topic_partition;

TEST_CASE_FIXTURE(scripted_group,
                  "retained claims keep running: same frame, no gap, no duplicate") {
    make_cooperative();
    std::vector<std::pair<topic_partition, void const*>> frames;
    session const* only = nullptr;
    handler.on_claim = [&](session& session, claim& claim) -> asio::awaitable<void> {
        int const in_frame = 0;
        frames.emplace_back(topic_partition{claim.topic(), claim.partition()}, &in_frame);
        CHECK((only == nullptr || only == &session));
        only = &session;
        while (auto const next = co_await claim.messages().async_receive()) {
            CHECK(frames.at(static_cast<std::size_t>(claim.partition())).second == &in_frame);
            handler.note(*next);
            claim.mark(*next);
        }
    };
    cluster.add_records(t0, "a", "b");
    run_over({t0});
    CHECK(said() == lines{"> added t[0]", "look up t[0]", "> offsets", "add t[0]@0"});

    cluster.assign({t1});
    cluster.add_records(t0, "c");
    settle();
    cluster.add_records(t1, "d");
    cluster.add_records(t0, "e");
    settle();
    CHECK(said() == lines{"> added t[1]", "look up t[1]", "> offsets", "add t[1]@0"});
    CHECK(handler.setups == 1);
    CHECK(only->claims() == std::vector{t0, t1});
    CHECK(only->generation_id() == 1);

    cluster.revoke({t1});
    cluster.add_records(t0, "f");
    settle();
    cluster.assign({}); // what Kafka sends behind a cooperative revocation
    settle();
    cluster.add_records(t0, "g");
    settle();
    CHECK(said() ==
          lines{"> removed t[1]", "commit t[1]=1", "> committed", "remove t[1]", "> added", "add"});
    CHECK(handler.claims_ended == 1);
    CHECK(handler.cleanups == 0);
    CHECK(only->claims() == std::vector{t0});
    CHECK_FALSE(only->stopping());
    CHECK(handler.received == lines{"t[0]@0 a", "t[0]@1 b", "t[0]@2 c", "t[1]@0 d", "t[0]@3 e",
                                    "t[0]@4 f", "t[0]@5 g"});

    stop();
    CHECK(cluster.committed(t0) == 6);
    CHECK(handler.claims == 2);
    CHECK(group->stats().sessions == 1);
}

TEST_CASE_FIXTURE(
    scripted_group,
    "a retained claim keeps what it holds and what it has fetched across a rebalance") {
    make_cooperative();
    latch held{context};
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        while (auto const next = co_await claim.messages().async_receive()) {
            handler.note(*next);
            if (next->value() == "a") {
                co_await held.wait();
            }
            claim.mark(*next);
        }
    };
    cluster.add_records(t0, "a", "b", "c");
    run_over({t0});
    cluster.assign({t1});
    cluster.add_records(t0, "d");
    settle();
    held.open();
    settle();
    CHECK(handler.received == lines{"t[0]@0 a", "t[0]@1 b", "t[0]@2 c", "t[0]@3 d"});
    stop();
    CHECK(cluster.committed(t0) == 4);
}

TEST_CASE_FIXTURE(
    scripted_group,
    "when all claims are removed the session ends, and a later addition begins another") {
    make_cooperative();
    run_over({t0, t1});
    cluster.revoke();
    settle();
    CHECK(handler.cleanups == 1);
    CHECK(last(event_kind::session_ended).text == "revoked");
    cluster.assign({t1});
    settle();
    CHECK(handler.setups == 2);
    stop();
}

TEST_CASE_FIXTURE(scripted_group,
                  "a claim that comes back after a removal reads on where it was committed") {
    make_cooperative();
    cluster.add_records(t1, "a", "b");
    run_over({t0, t1});
    cluster.revoke({t1});
    settle();
    cluster.add_records(t1, "c");
    cluster.assign({t1});
    settle();
    CHECK(handler.received == lines{"t[1]@0 a", "t[1]@1 b", "t[1]@2 c"});
    CHECK(handler.setups == 1);
    stop();
}

TEST_CASE_FIXTURE(scripted_group, "a revocation that was overtaken is not answered") {
    latch work{context};
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        while (auto const next = co_await claim.messages().async_receive()) {
            handler.note(*next);
            co_await work.wait();
            claim.mark(*next);
        }
    };
    cluster.add_records(t0, "a");
    run_over({t0, t1});
    said();
    cluster.revoke();
    settle();
    CHECK(said() == lines{"> revoked t[0] t[1]"});

    SUBCASE("what the new assignment has is still ours") {
        cluster.assign({t0});
        settle();
        work.open();
        settle();
        CHECK(said() == lines{"> assigned t[0]", "commit t[0]=1", "> committed", "look up t[0]",
                              "> offsets", "assign t[0]@1"});
    }
    SUBCASE("what it has not may be another's by now, and is not committed") {
        cluster.assign({t1});
        settle();
        work.open();
        settle();
        CHECK(said() == lines{"> assigned t[1]", "look up t[1]", "> offsets", "assign t[1]@0"});
        CHECK(cluster.committed(t0) == std::nullopt);
    }
    SUBCASE("overtaken twice") {
        cluster.assign({t1});
        cluster.revoke();
        settle();
        work.open();
        settle();
        CHECK(said() == lines{"> assigned t[1]", "> revoked t[1]", "unassign t[0] t[1]"});
        CHECK(group->stats().superseded_rebalances == 2);
        CHECK(cluster.assigned().empty());
    }
    CHECK(group->stats().superseded_rebalances >= 1);
    stop();
}

TEST_CASE_FIXTURE(scripted_group,
                  "an assignment that was overtaken during its look-up is not answered") {
    cluster.hold(fake_cluster::request::look_up);
    run_over({t0});
    CHECK(said() == lines{"> assigned t[0]", "look up t[0]"});
    SUBCASE("by another") {
        cluster.assign({t0, t1});
        settle();
        cluster.release(fake_cluster::request::look_up);
        settle();
        CHECK(said() == lines{"> assigned t[0] t[1]", "look up t[0] t[1]", "> offsets", "> offsets",
                              "assign t[0]@0 t[1]@0"});
        CHECK(handler.setups == 1);
    }
    SUBCASE("by its revocation") {
        cluster.revoke();
        settle();
        CHECK(said() == lines{"> revoked t[0]", "unassign"});
        cluster.release(fake_cluster::request::look_up);
        settle();
        CHECK(handler.setups == 0);
    }
    stop();
}

TEST_CASE_FIXTURE(
    scripted_group,
    "offset_reset::none: a missing offset of an assignment that was overtaken is no failure") {
    settings.initial_offset = kgroup::offset_reset::none;
    cluster.set_committed(t1, 0);
    cluster.hold(fake_cluster::request::look_up);
    run_over({t0});
    SUBCASE("by another") {
        cluster.assign({t1});
        settle();
        cluster.release(fake_cluster::request::look_up);
        settle();
        CHECK(said() == lines{"> assigned t[0]", "look up t[0]", "> assigned t[1]", "look up t[1]",
                              "> no offsets", "> offsets", "assign t[1]@0"});
    }
    SUBCASE("by its revocation") {
        cluster.revoke();
        settle();
        cluster.release(fake_cluster::request::look_up);
        settle();
        CHECK_FALSE(outcome.completed);
    }
    SUBCASE("by the end") {
        cluster.hold(fake_cluster::request::close);
        group->stop();
        settle();
        cluster.release(fake_cluster::request::look_up);
        settle();
        cluster.release(fake_cluster::request::close);
        settle();
        CHECK(outcome.completed);
        CHECK_FALSE(outcome.failure);
        return;
    }
    stop();
}

TEST_CASE_FIXTURE(scripted_group, "an assignment that was overtaken during setup is not answered") {
    latch ready{context};
    handler.on_setup = [&](session&) -> asio::awaitable<void> { co_await ready.wait(); };
    run_over({t0});
    said();
    cluster.assign({t1});
    settle();
    ready.open();
    settle();
    CHECK(said() == lines{"> assigned t[1]", "look up t[1]", "> offsets", "assign t[1]@0"});
    CHECK(handler.setups == 2);
    CHECK(handler.cleanups == 1);
    CHECK(handler.claims == 1);
    stop();
}

TEST_CASE_FIXTURE(scripted_group,
                  "cooperative rebalances that overtake each other leave nothing out") {
    make_cooperative();
    latch work{context};
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        while (auto const next = co_await claim.messages().async_receive()) {
            co_await work.wait();
            claim.mark(*next);
        }
    };
    cluster.add_records(t0, "a");
    run_over({t0, t1});
    cluster.revoke({t0});
    settle(); // the handler of t[0] works
    cluster.assign({t2});
    settle();
    work.open();
    settle();
    CHECK(cluster.assigned() == std::set{t1, t2});
    cluster.add_records(t2, "b");
    settle();
    stop();
    CHECK(cluster.committed(t2) == 1);
}

TEST_CASE_FIXTURE(scripted_group,
                  "revoked is not lost: handlers are told to stop now, and nothing is committed") {
    latch work{context};
    bool cancelled = false;
    end_reason why{};
    handler.on_claim = [&](session& session, claim& claim) -> asio::awaitable<void> {
        while (auto const next = co_await claim.messages().async_receive()) {
            claim.mark(*next);
            try {
                co_await work.wait();
            } catch (std::system_error const&) {
                cancelled = true;
                why = claim.end_reason();
                CHECK(session.end_reason() == end_reason::lost);
                throw;
            }
        }
    };
    cluster.add_records(t0, "a");
    run_over({t0});
    said();

    SUBCASE("lost at once") {
        cluster.lose();
        settle();
        CHECK(said() == lines{"> lost t[0]", "unassign t[0]"});
    }
    SUBCASE("lost while it was being given back") {
        cluster.revoke();
        settle();
        CHECK_FALSE(cancelled);
        cluster.lose();
        settle();
        CHECK(said() == lines{"> revoked t[0]", "> lost", "unassign t[0]"});
    }
    CHECK(cancelled);
    CHECK(why == end_reason::lost);
    CHECK(cluster.committed(t0) == std::nullopt);
    CHECK(count(event_kind::claims_lost) == 1);
    CHECK(count(event_kind::handler_failed) == 0);
    CHECK(last(event_kind::session_ended).text == "lost");
    stop();
}

TEST_CASE_FIXTURE(scripted_group, "one claim of several is lost: the others go on") {
    make_cooperative();
    cluster.add_records(t0, "a");
    cluster.add_records(t1, "b");
    run_over({t0, t1});
    cluster.lose({t1});
    settle();
    cluster.assign({});
    cluster.add_records(t0, "c");
    settle();
    CHECK(handler.received == lines{"t[0]@0 a", "t[1]@0 b", "t[0]@1 c"});
    CHECK(handler.cleanups == 0);
    stop();
    CHECK(cluster.committed(t0) == 2);
    CHECK(cluster.committed(t1) == std::nullopt);
}

TEST_CASE_FIXTURE(scripted_group,
                  "total cancellation is there for those who ask, when a claim is to end") {
    latch backoff{context};
    bool cut_short = false;
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
        try {
            co_await backoff.wait();
        } catch (std::system_error const&) {
            cut_short = true;
        }
        co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
        while (auto const next = co_await claim.messages().async_receive()) {
        }
    };
    run_over({t0});
    cluster.revoke();
    settle();
    CHECK(cut_short);
    CHECK(cluster.assigned().empty());
    stop();
}

TEST_CASE_FIXTURE(
    scripted_group,
    "what that cuts short may come out of the handler, whose claim has ended: no failure") {
    latch backoff{context};
    handler.on_claim = [&](session&, claim&) -> asio::awaitable<void> {
        co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
        co_await backoff.wait();
    };
    run_over({t0});
    cluster.revoke();
    settle();
    CHECK(handler.claims_ended == 1);
    CHECK(count(event_kind::handler_failed) == 0);
    CHECK(cluster.assigned().empty());
    stop();
}

TEST_CASE_FIXTURE(scripted_group, "a retry loop sees the end of its session") {
    bool told = false;
    handler.on_claim = [&](session& session, claim& claim) -> asio::awaitable<void> {
        CHECK_FALSE(session.stopping());
        co_await session.async_wait_stopping();
        CHECK(session.stopping());
        told = true;
        co_await session.async_wait_stopping(); // at once
        co_await handler.mark_all(claim);
    };
    run_over({t0});
    CHECK_FALSE(told);
    cluster.revoke();
    settle();
    CHECK(told);
    stop();
}

// A handler stuck on t[0], for good.
class stuck_group : public scripted_group {
public:
    latch stuck{context};

    void get_stuck(bool deaf) {
        handler.on_claim = [this, deaf](session&, claim& claim) -> asio::awaitable<void> {
            if (claim.partition() != 0) {
                co_await handler.mark_all(claim);
                co_return;
            }
            auto const held = co_await claim.messages().async_receive();
            if (deaf) {
                co_await stuck.wait_deaf();
            } else {
                co_await stuck.wait();
            }
            claim.mark(*held);
        };
        cluster.add_records(t0, "a", "b");
    }
    void add_and_expect(std::size_t how_many) {
        auto const before = handler.received.size();
        cluster.add_records(t1, std::vector<fake_cluster::record>(how_many));
        settle();
        CHECK(handler.received.size() == before + how_many);
    }
};

TEST_CASE_FIXTURE(stuck_group,
                  "stuck, but it honours cancellation: the deadline releases the group") {
    get_stuck(false);
    run_over({t0, t1});
    add_and_expect(10000); // it does not slow the others down
    cluster.revoke();
    settle();
    CHECK(cluster.committed(t1) == std::nullopt);
    advance(9s); // min(10 s, max.poll.interval.ms / 3)
    CHECK(count(event_kind::handler_cancelled) == 0);
    CHECK(cluster.assigned() == std::set{t0, t1});
    advance(1s);
    CHECK(count(event_kind::handler_cancelled) == 1);
    CHECK(last(event_kind::handler_cancelled).where == t0);
    CHECK(count(event_kind::handler_abandoned) == 0);
    CHECK(count(event_kind::handler_failed) == 0); // it was told to
    CHECK(cluster.assigned().empty());
    CHECK(cluster.committed(t0) == std::nullopt);
    CHECK(cluster.committed(t1) == 10000);

    cluster.assign({t1}); // and it is a member like any other
    settle();
    stop();
}

TEST_CASE_FIXTURE(stuck_group, "stuck, and it ignores cancellation: the group goes on without it") {
    get_stuck(true);
    make_cooperative();
    run_over({t0, t1});
    add_and_expect(10000);
    cluster.revoke({t0});
    settle();
    advance(10s);
    CHECK(count(event_kind::handler_cancelled) == 1);
    CHECK(cluster.assigned() == std::set{t0, t1});
    advance(1s);
    CHECK(count(event_kind::handler_abandoned) == 1);
    CHECK(last(event_kind::handler_abandoned).where == t0);
    CHECK(group->stats().handlers_abandoned == 1);
    CHECK(group->stats().abandoned_handlers == 1);
    CHECK(cluster.assigned() == std::set{t1});
    add_and_expect(10000); // the others, at full rate

    SUBCASE("it wakes up: its mark is refused, and nobody is missing") {
        stuck.open();
        settle();
        CHECK(group->stats().abandoned_handlers == 0);
        CHECK(group->stats().marks_refused == 1);
        CHECK(count(event_kind::mark_refused) == 1);
        stop();
    }
    SUBCASE("it never does: stop ends in handler_abandoned") {
        group->stop();
        settle();
        advance(14s);
        CHECK_FALSE(outcome.completed);
        advance(1s);
        CHECK(outcome.completed);
        CHECK(outcome.error() == kgroup::errc::handler_abandoned);
        CHECK_FALSE(cluster.has_member());
        CHECK(cluster.committed(t1) == 20000);
        SUBCASE("and wakes up later, holding a message") {
            stuck.open();
            settle();
        }
        SUBCASE("and wakes up when the group object is no more") {
            group.reset();
            stuck.open();
            settle();
        }
        SUBCASE("and its frame goes with the context") {
            outcome.completed = false; // so that nobody counts what it holds, before it goes
        }
    }
    SUBCASE("the context goes, with everything in it") {}
    CHECK(cluster.committed(t0) == std::nullopt);
}

TEST_CASE_FIXTURE(stuck_group, "stop with a handler that is stuck: the ladder") {
    get_stuck(true);
    run_over({t0, t1});
    group->stop();
    settle();
    advance(11200ms); // all of close_timeout but a quarter
    CHECK(count(event_kind::handler_cancelled) == 0);
    advance(50ms);
    CHECK(count(event_kind::handler_cancelled) == 1);
    CHECK(count(event_kind::handler_abandoned) == 0);
    advance(1s);
    CHECK(count(event_kind::handler_abandoned) == 1);
    CHECK(cluster.assigned().empty());
    CHECK_FALSE(outcome.completed); // it may end yet
    SUBCASE("it does not") {
        advance(7s);
        CHECK(outcome.error() == kgroup::errc::handler_abandoned);
        stuck.open();
        settle();
    }
    SUBCASE("it does") {
        stuck.open();
        settle();
        CHECK(outcome.completed);
        CHECK_FALSE(outcome.failure);
    }
}

TEST_CASE_FIXTURE(stuck_group, "a second stuck claim of the same partition is another one") {
    get_stuck(true);
    settings.rebalance_deadline = 100ms;
    run_over({t0});
    for (int i = 0; i != 2; ++i) {
        cluster.revoke();
        settle();
        advance(100ms);
        advance(1s);
        cluster.assign({t0});
        settle();
    }
    CHECK(group->stats().handlers_abandoned == 2);
    CHECK(group->stats().abandoned_handlers == 2);
    CHECK(handler.claims == 3);
    stuck.open(); // the last one is alive, and its mark counts
    settle();
    CHECK(group->stats().marks_refused == 2);
    CHECK(group->stats().abandoned_handlers == 0);
    stop();
    CHECK(cluster.committed(t0) == 1);
}

TEST_CASE_FIXTURE(scripted_group, "setup and cleanup have the deadline, too") {
    latch never{context};
    settings.rebalance_deadline = 1s;
    bool deaf = false;
    auto const wait = [&](session&) -> asio::awaitable<void> {
        if (deaf) {
            co_await never.wait_deaf();
        } else {
            co_await never.wait();
        }
    };
    SUBCASE("setup, honouring") { handler.on_setup = wait; }
    SUBCASE("setup, deaf") {
        handler.on_setup = wait;
        deaf = true;
    }
    SUBCASE("cleanup, honouring") { handler.on_cleanup = wait; }
    SUBCASE("cleanup, deaf") {
        handler.on_cleanup = wait;
        deaf = true;
    }
    run_over({t0});
    cluster.revoke();
    settle();
    advance(1s);
    CHECK(count(event_kind::handler_cancelled) == 1);
    CHECK(count(event_kind::handler_abandoned) == 0);
    advance(110ms); // a tenth, and ten
    CHECK(count(event_kind::handler_abandoned) == (deaf ? 1 : 0));
    CHECK(handler.cleanups == 1);
    CHECK(cluster.assigned().empty());
    CHECK(said().back().starts_with("unassign"));
    never.open();
    settle();
    stop();
}

TEST_CASE_FIXTURE(
    scripted_group,
    "the deadline of handlers that are told begins then, whoever else was told before") {
    make_cooperative();
    latch never{context};
    settings.rebalance_deadline = 20s;
    settings.close_timeout = 10min;
    handler.on_claim = [&](session&, claim&) -> asio::awaitable<void> { co_await never.wait(); };
    run_over({t0, t1});
    cluster.revoke({t0});
    settle();
    advance(19s);
    group->stop();
    settle();
    advance(19s);
    CHECK(count(event_kind::handler_cancelled) == 0);
    advance(1s);
    CHECK(count(event_kind::handler_cancelled) == 2);
    settle();
    CHECK(outcome.completed);
}

TEST_CASE_FIXTURE(scripted_group, "the deadline is one for handlers and cleanup: it has what they "
                                  "leave of it, and a quarter at least") {
    latch work{context};
    latch never{context};
    settings.rebalance_deadline = 1min;
    handler.on_claim = [&](session&, claim&) -> asio::awaitable<void> { co_await work.wait(); };
    handler.on_cleanup = [&](session&) -> asio::awaitable<void> { co_await never.wait(); };
    run_over({t0});
    cluster.revoke();
    settle();
    SUBCASE("half") {
        advance(30s);
        work.open();
        settle();
        CHECK(handler.cleanups == 1);
        advance(29s);
        CHECK(count(event_kind::handler_cancelled) == 0);
        advance(1s);
        CHECK(count(event_kind::handler_cancelled) == 1);
    }
    SUBCASE("nothing") {
        advance(1min);
        CHECK(count(event_kind::handler_cancelled) == 1);
        CHECK(handler.cleanups == 1);
        advance(14s);
        CHECK(count(event_kind::handler_cancelled) == 1);
        advance(1s);
        CHECK(count(event_kind::handler_cancelled) == 2);
    }
    CHECK(said().back().starts_with("unassign"));
    // The next session has a deadline of its own.
    latch later{context};
    handler.on_claim = [&](session&, claim&) -> asio::awaitable<void> { co_await later.wait(); };
    cluster.assign({t0});
    settle();
    cluster.revoke();
    settle();
    advance(59s);
    CHECK(handler.cleanups == 1);
    later.open();
    never.open();
    settle();
    CHECK(handler.cleanups == 2);
    stop();
}

} // namespace
