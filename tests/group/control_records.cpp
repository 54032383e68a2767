// SPDX-License-Identifier: MIT

#include "support/latch.hpp"
#include "support/scripted_group.hpp"

// Where the log goes on without records: what control records and transactions that were aborted
// leave behind.

namespace {

using namespace kgroup::tests;
using kgroup::claim;
using kgroup::event_kind;
using kgroup::message;
using kgroup::offset_reset;
using kgroup::session;

/// Knows the claim that it reads, and marks everything.
struct reader {
    claim* current_claim = nullptr;

    explicit reader(scripted_group& group) {
        group.handler.on_claim = [this, &group](session&, claim& given) -> asio::awaitable<void> {
            current_claim = &given;
            co_await group.handler.mark_all(given);
        };
    }
};

TEST_CASE_FIXTURE(
    scripted_group,
    "at the end of the log the lag is 0 and the commit stands behind what is not delivered") {
    reader one{*this};
    cluster.add_records(t0, "a", "b");
    cluster.add_control_records(t0, 1);
    cluster.add_control_records(t0, 2000);
    run_over({t0});
    CHECK(one.current_claim->lag() == 0);
    CHECK(one.current_claim->high_water_mark_offset() == 2003);
    advance(1min);
    CHECK(cluster.committed(t0) == 2003);
    stop();
    CHECK(cluster.committed(t0) == 2003);
    CHECK(count(event_kind::position_reset) == 0);
}

TEST_CASE_FIXTURE(
    scripted_group,
    "what is not delivered may come later, alone, and is committed without a further mark") {
    reader one{*this};
    cluster.add_records(t0, "a", "b");
    run_over({t0});
    advance(1min);
    CHECK(cluster.committed(t0) == 2);
    cluster.add_control_records(t0, 3);
    settle();
    CHECK(one.current_claim->lag() == 0);
    advance(1min);
    CHECK(cluster.committed(t0) == 5);
    cluster.add_records(t0, "c");
    cluster.add_control_records(t0, 1);
    settle();
    CHECK(handler.received == lines{"t[0]@0 a", "t[0]@1 b", "t[0]@5 c"});
    stop();
    CHECK(cluster.committed(t0) == 7);
}

TEST_CASE_FIXTURE(
    scripted_group,
    "between records it is nothing unusual, also when the log does not hold it any more") {
    cluster.add_records(t0, "a");
    cluster.add_control_records(t0, 4);
    run_over({t0});
    cluster.add_records(t0, "b");
    cluster.add_control_records(t0, 1);
    cluster.add_records(t0, "c");
    settle();
    CHECK(handler.received == lines{"t[0]@0 a", "t[0]@5 b", "t[0]@7 c"});
    CHECK(count(event_kind::position_reset) == 0);
    stop();
    CHECK(cluster.committed(t0) == 8);
}

TEST_CASE_FIXTURE(scripted_group, "what is delivered and not marked is not passed over") {
    latch go_on{context};
    std::int64_t lag = -1;
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        auto const first = co_await claim.messages().async_receive();
        auto const second = co_await claim.messages().async_receive();
        claim.mark(*first);
        static_cast<void>(
            claim.messages().try_receive()); // nothing is there, and the position is known
        lag = claim.lag();
        co_await go_on.wait();
        claim.mark(*second);
        co_await claim.messages().async_receive();
    };
    cluster.add_records(t0, "a", "b");
    cluster.add_control_records(t0, 5);
    run_over({t0});
    CHECK(lag == 0); // everything is delivered
    advance(1min);
    CHECK(cluster.committed(t0) == 1);
    go_on.open();
    settle();
    advance(1min);
    CHECK(cluster.committed(t0) == 7);
    stop();
}

TEST_CASE_FIXTURE(scripted_group, "acknowledged out of order: committed behind it when all are") {
    std::vector<message> held;
    claim* current_claim = nullptr;
    handler.on_claim = [&](session&, claim& given) -> asio::awaitable<void> {
        current_claim = &given;
        while (auto next = co_await given.messages().async_receive()) {
            held.push_back(std::move(*next));
        }
    };
    cluster.add_records(t0, "a", "b", "c");
    cluster.add_control_records(t0, 2);
    run_over({t0});
    REQUIRE(held.size() == 3);
    current_claim->ack(held[2]);
    current_claim->ack(held[0]);
    advance(1min);
    CHECK(cluster.committed(t0) == 1);
    current_claim->ack(held[1]);
    held.clear();
    advance(1min);
    CHECK(cluster.committed(t0) == 5);
    stop();
}

TEST_CASE_FIXTURE(scripted_group, "a log that holds nothing else: nothing was delivered, and the "
                                  "next session does not look at it again") {
    for (auto const reset : {offset_reset::earliest, offset_reset::latest}) {
        kgroup::topic_partition const where{"t", reset == offset_reset::latest ? 1 : 0};
        settings.initial_offset = reset;
        run_over({where});
        cluster.add_control_records(where, 4);
        settle();
        stop();
        CHECK(cluster.committed(where) == 4);
        outcome = {};
        group.reset();
    }
    CHECK(handler.received.empty());
}

TEST_CASE_FIXTURE(scripted_group, "a reset of what is committed is kept to the letter") {
    claim* current_claim = nullptr;
    session* current_session = nullptr;
    handler.on_claim = [&](session& of_session, claim& given) -> asio::awaitable<void> {
        current_claim = &given;
        current_session = &of_session;
        co_await handler.mark_all(given);
    };
    cluster.add_records(t0, "a", "b");
    cluster.add_control_records(t0, 3);
    run_over({t0});
    current_session->reset_offset(t0, 2);
    stop();
    CHECK(cluster.committed(t0) == 2);
}

TEST_CASE_FIXTURE(scripted_group,
                  "the log was made anew behind what was not delivered: its records are handled") {
    cluster.add_records(t0, "a");
    cluster.add_control_records(t0, 9);
    run_over({t0});
    advance(1min);
    CHECK(cluster.committed(t0) == 10);
    cluster.make_anew(t0);
    cluster.add_records(t0, "b", "c");
    settle();
    CHECK(handler.received == lines{"t[0]@0 a", "t[0]@0 b", "t[0]@1 c"});
    CHECK(count(event_kind::position_reset) == 1);
    stop();
    CHECK(cluster.committed(t0) == 2);
}

TEST_CASE_FIXTURE(scripted_group, "a handler that does something else meanwhile: the position goes "
                                  "on, nothing stalls, and no record is taken from it") {
    latch go_on{context};
    claim* current_claim = nullptr;
    handler.on_claim = [&](session&, claim& given) -> asio::awaitable<void> {
        current_claim = &given;
        given.mark(*co_await given.messages().async_receive());
        co_await go_on.wait();
        co_await handler.mark_all(given);
    };
    cluster.add_records(t0, "a");
    run_over({t0});
    cluster.add_control_records(t0, 4);
    advance(
        1s); // it is looked at twice a second, when it rests: nothing was taken since the last time
    advance(1s);
    CHECK(current_claim->lag() == 0);
    advance(1min);
    CHECK(cluster.committed(t0) == 5);
    CHECK(count(event_kind::claim_stalled) == 0);
    cluster.add_control_records(t0, 1);
    cluster.add_records(t0, "b");
    cluster.add_control_records(t0, 1);
    advance(1min);
    CHECK(current_claim->lag() >= 2);
    CHECK(cluster.committed(t0) <= 6);
    CHECK(count(event_kind::claim_stalled) == 1);
    go_on.open();
    settle();
    CHECK(handler.received == lines{"t[0]@6 b"});
    stop();
    CHECK(cluster.committed(t0) == 8);
}

TEST_CASE_FIXTURE(scripted_group, "records at hand that are not delivered are not passed over when "
                                  "what is behind them is looked at") {
    latch go_on{context};
    handler.on_claim = [&](session&, claim& given) -> asio::awaitable<void> {
        given.mark(*co_await given.messages().async_receive());
        co_await go_on.wait();
    };
    cluster.add_records(t0, "a", "b", "c");
    run_over({t0});
    cluster.add_control_records(t0, 4);
    advance(1min);
    CHECK(cluster.committed(t0) == 1);
    go_on.open();
    settle();
}

} // namespace
