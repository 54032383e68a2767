// SPDX-License-Identifier: MIT

#include <stdexcept>

#include "support/latch.hpp"
#include "support/scripted_group.hpp"

// In which order the ends of claims and of a session are told, and how a run ends with an error.

namespace {

using namespace kgroup::tests;
using kgroup::claim;
using kgroup::event_kind;
using kgroup::session;
using kgroup::severity;
using request = fake_cluster::request;

class ending_group : public scripted_group {
public:
    /// Kinds and texts from the first end on.
    lines ends() const {
        lines all;
        for (auto const& event : events) {
            if (event.kind != event_kind::claims_added &&
                event.kind != event_kind::session_started) {
                all.push_back(std::string{to_string(event.kind)} + ": " + event.text);
            }
        }
        return all;
    }
};

TEST_CASE_FIXTURE(
    ending_group,
    "ends: revoked, lost and stopped alike, the claims first, then the session, each once") {
    std::string reason;
    bool lost = false;
    SUBCASE("revoked") {
        run_over({t0, t1});
        cluster.revoke();
        settle();
        reason = "revoked";
    }
    SUBCASE("lost") {
        run_over({t0, t1});
        cluster.lose();
        settle();
        lost = true;
        reason = "lost";
    }
    SUBCASE("stopped") {
        run_over({t0, t1});
        stop();
        reason = "stopped";
    }
    SUBCASE("stopped, cooperative") {
        make_cooperative();
        run_over({t0, t1});
        stop();
        reason = "stopped";
    }
    SUBCASE("cancelled") {
        run_over({t0, t1});
        group.reset(); // whose destructor stops it
        settle();
        reason = "stopped";
    }
    CHECK(ends() == lines{lost ? "claims_lost: t[0] t[1]" : "claims_revoked: t[0] t[1]",
                          "session_ended: " + reason});
    if (!outcome.completed) {
        stop();
        CHECK(ends().size() == 2);
    }
}

TEST_CASE_FIXTURE(ending_group,
                  "ends: the claims are told when they begin to end, the session when it is over") {
    latch held{context};
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        while (co_await claim.messages().async_receive()) {
        }
        co_await held.wait();
    };
    run_over({t0});
    SUBCASE("revoked") { cluster.revoke(); }
    SUBCASE("stopped") { group->stop(); }
    settle();
    CHECK(ends() == lines{"claims_revoked: t[0]"});
    held.open();
    settle();
    CHECK(ends().size() == 2);
    if (!outcome.completed) {
        stop();
    }
}

TEST_CASE_FIXTURE(ending_group, "ends: a failure of the handler's") {
    latch failing{context};
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        if (claim.partition() == 0) {
            co_await failing.wait();
            throw std::runtime_error{"boom"};
        }
        co_await handler.mark_all(claim);
    };
    run_over({t0, t1});
    failing.open();
    settle();
    REQUIRE(outcome.completed);
    CHECK(ends() == lines{"handler_failed: boom", "claims_revoked: t[0] t[1]",
                          "session_ended: handler_failed"});
}

TEST_CASE_FIXTURE(ending_group, "ends: a fatal error of the group's, told before what it ends, and "
                                "with the field that is wrong") {
    run_over({t0, t1});
    cluster.expel(kgroup::make_error_code(RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID),
                  "Fatal consumer error: Broker: Static consumer fenced by "
                  "other consumer with same group.instance.id");
    settle();
    REQUIRE(outcome.completed);
    std::string const words{"Fatal consumer error (group_instance_id: another member has taken it; "
                            "each needs one of its own)"};
    CHECK(ends() ==
          lines{"client_error: " + words, "claims_lost: t[0] t[1]", "session_ended: group_failed"});
    CHECK(outcome.what() ==
          words + ": " + kgroup::make_error_code(RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID).message());
}

TEST_CASE_FIXTURE(ending_group, "ends: a session that only begins anew keeps its claims, and one "
                                "that is the last gives them back") {
    handler.on_claim = [](session&, claim&) -> asio::awaitable<void> { co_return; };
    SUBCASE("anew") {
        run_over({t0});
        CHECK(ends() == lines{"handler_returned: the handler has returned while its claim is live; "
                              "the session ends",
                              "session_ended: claim_exited"});
        stop();
        CHECK(ends().back() == "claims_revoked: t[0]");
    }
    SUBCASE("the last") {
        group.emplace(context, settings);
        group->async_consume(handler, [this](std::exception_ptr e, kgroup::end_reason) {
            outcome = {true, e};
        });
        settle();
        cluster.assign({t0});
        settle();
        REQUIRE(outcome.completed);
        CHECK(ends() == lines{"handler_returned: the handler has returned while its claim is live; "
                              "the session ends",
                              "claims_revoked: t[0]", "session_ended: claim_exited"});
    }
}

TEST_CASE_FIXTURE(ending_group,
                  "ends: claims that are lost while they are given back are told as lost, too") {
    latch held{context};
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        while (co_await claim.messages().async_receive()) {
        }
        co_await held.wait();
    };
    run_over({t0});
    group->stop();
    settle();
    cluster.lose();
    settle();
    held.open();
    settle();
    CHECK(ends() == lines{"claims_revoked: t[0]", "claims_lost: t[0]", "session_ended: lost"});
    stop();
}

TEST_CASE_FIXTURE(
    ending_group,
    "ends: what the table says of a code is what happens to a run, whoever tells it") {
    struct told {
        int code;
        bool ends;
    };
    for (auto const& [code, ends] : {told{RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT, true},
                                     {RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, true},
                                     {RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION, true},
                                     {RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL, false},
                                     {RD_KAFKA_RESP_ERR_GROUP_MAX_SIZE_REACHED, false},
                                     {RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, false},
                                     {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, false},
                                     {RD_KAFKA_RESP_ERR__FATAL, false}}) {
        CAPTURE(code);
        std::error_code const error{code, kgroup::kafka_category()};
        ending_group by_look_up;
        by_look_up.cluster.fail(request::look_up, error);
        by_look_up.run_over({t0});
        CHECK(by_look_up.outcome.completed == ends);
        ending_group by_partition;
        by_partition.run_over({t0});
        by_partition.cluster.fail_partition(t0, error, "in words");
        by_partition.settle();
        CHECK(by_partition.outcome.completed == ends);
        for (auto* const tested : {&by_look_up, &by_partition}) {
            if (ends) {
                CHECK(tested->outcome.error() == error);
            } else {
                tested->advance(1s);
                tested->stop();
            }
        }
    }
}

TEST_CASE_FIXTURE(ending_group, "ends: a regular expression that the brokers refuse is named, also "
                                "one subscribed to while the group ran") {
    settings.topics = {"^a.*", "b"};
    run();
    group->subscribe({"plain", "^c.*", "^d.*"});
    settle();
    cluster.expel({128, kgroup::kafka_category()}, "ConsumerGroupHeartbeat fatal error");
    settle();
    REQUIRE(outcome.completed);
    CHECK(outcome.what().find("ConsumerGroupHeartbeat fatal error (topics: the brokers do not take "
                              "a regular expression (RE2) '^c.*' '^d.*')") == 0);
}

} // namespace
