// SPDX-License-Identifier: MIT

#include "support/latch.hpp"
#include "support/scripted_group.hpp"

// Nothing behind a record that cannot be read is delivered or committed.

namespace {

using namespace kgroup::tests;
using kgroup::claim;
using kgroup::errc;
using kgroup::event_kind;
using kgroup::session;

TEST_CASE_FIXTURE(scripted_group, "an unreadable record: what is before it is delivered, what is "
                                  "behind it is not, in the same turn or later") {
    latch go_on{context};
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        co_await go_on.wait();
        co_await handler.mark_all(claim);
    };
    cluster.add_records(t0, "a", "b");
    run_over({t0});
    cluster.fail_partition(t0, errc::record_unreadable, "damaged");
    cluster.add_records(t0, "c", "d"); // in the same queue
    go_on.open();
    settle();
    CHECK(outcome.completed);
    CHECK(outcome.error() == errc::record_unreadable);
    CHECK(outcome.what().find("t[0]") != std::string::npos);
    CHECK(handler.received == lines{"t[0]@0 a", "t[0]@1 b"});
    CHECK(cluster.committed(t0) == 2);
    CHECK(count(event_kind::partition_error) == 1);
}

TEST_CASE_FIXTURE(
    scripted_group,
    "an unreadable record: a handler that finishes slowly is given nothing that comes meanwhile") {
    latch held{context};
    std::size_t behind = 0;
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        auto const batch = co_await claim.messages().async_receive_available(10);
        CHECK(batch.size() == 2);
        cluster.fail_partition(t0, errc::record_unreadable, "damaged");
        CHECK_FALSE(claim.messages().try_receive()); // it is met here
        cluster.add_records(t0, "c");
        behind += claim.messages().try_receive().has_value();
        cluster.make_anew(t0); // reading goes on elsewhere
        cluster.add_records(t0, "d");
        behind += claim.messages().try_receive().has_value();
        claim.mark(batch.back());
        co_await held.wait();
        behind += claim.messages().try_receive().has_value();
    };
    cluster.add_records(t0, "a", "b");
    run_over({t0});
    held.open();
    settle();
    CHECK(outcome.error() == errc::record_unreadable);
    CHECK(behind == 0);
    CHECK(cluster.committed(t0) == 2);
}

TEST_CASE_FIXTURE(
    scripted_group,
    "an error of a partition that is not the end of its claim: what comes behind it is delivered") {
    cluster.add_records(t0, "a");
    run_over({t0});
    cluster.fail_partition(
        t0, kgroup::make_error_code(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED), "refused");
    cluster.add_records(t0, "b");
    settle();
    CHECK(handler.received == lines{"t[0]@0 a", "t[0]@1 b"});
    CHECK(count(event_kind::partition_error) == 1);
    stop();
}

} // namespace
