// SPDX-License-Identifier: MIT

#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>

#include "support/latch.hpp"
#include "support/scripted_group.hpp"

// Promise 8 and the truth about commits: what is asked for, what is sent, what came of it.

namespace {

using namespace kgroup::tests;
using kgroup::claim;
using kgroup::commit_result;
using kgroup::commit_status;
using kgroup::event_kind;
using kgroup::make_error_code;
using kgroup::session;
using request = fake_cluster::request;

struct commit_outcome {
    bool completed = false;
    std::error_code failure{};

    std::error_code error() const { return failure; }
};

// A test marks from outside, through the session of the moment.
class committing_group : public scripted_group {
public:
    session* current = nullptr;

    struct answer {
        commit_outcome outcome;
        std::vector<commit_result> results;
    };

    committing_group() {
        handler.on_setup = [this](session& now) -> asio::awaitable<void> {
            current = &now;
            co_return;
        };
    }

    std::shared_ptr<answer> commit() {
        auto const to = std::make_shared<answer>();
        current->async_commit([to](std::error_code e, std::vector<commit_result> results) {
            to->outcome = {true, e};
            to->results = std::move(results);
        });
        settle();
        return to;
    }
    lines commits() {
        auto all = said();
        std::erase_if(all, [](std::string const& line) { return !line.starts_with("commit"); });
        return all;
    }
};

TEST_CASE_FIXTURE(
    committing_group,
    "marks are committed by the clock, all of them in one request, and nothing twice") {
    settings.auto_commit_interval = 10min;
    run_over({t0, t1, t2});
    current->mark_offset(t0, 3);
    current->mark_offset(t2, 1);
    advance(9min);
    CHECK(commits().empty());
    advance(1min);
    CHECK(commits() == lines{"commit t[0]=3 t[2]=1"});
    advance(10min);
    CHECK(commits().empty());
    current->mark_offset(t1, 5);
    current->mark_offset(t0, 3);
    advance(10min);
    CHECK(commits() == lines{"commit t[1]=5"});
    CHECK(group->stats().commits == 2);
    CHECK(group->stats().offsets_committed == 3);
    stop();
}

TEST_CASE_FIXTURE(committing_group,
                  "without an interval only the end commits, and if told so not even that") {
    settings.auto_commit_interval = 0ms;
    SUBCASE("at the end") {
        run_over({t0});
        current->mark_offset(t0, 3);
        advance(24h);
        CHECK(commits().empty());
        stop();
        CHECK(cluster.committed(t0) == 3);
    }
    SUBCASE("never") {
        settings.commit_at_end = false;
        run_over({t0});
        current->mark_offset(t0, 3);
        CHECK(commit()->results.at(0).status == commit_status::committed);
        current->mark_offset(t0, 4);
        cluster.revoke();
        settle();
        stop();
        CHECK(cluster.committed(t0) == 3);
    }
}

TEST_CASE_FIXTURE(committing_group,
                  "never two requests at a time: who asks meanwhile shares the next") {
    run_over({t0});
    current->mark_offset(t0, 1);
    cluster.hold(request::commit);
    auto const first = commit();
    current->mark_offset(t0, 2);
    auto const second = commit();
    current->mark_offset(t0, 3);
    auto const third = commit();
    advance(2s); // the periodic one has to wait, too
    CHECK(commits() == lines{"commit t[0]=1"});
    CHECK_FALSE(first->outcome.completed);
    cluster.release(request::commit);
    settle();
    CHECK(commits() == lines{"commit t[0]=3"});
    CHECK(first->results.at(0).offset == 1);
    CHECK(second->results.at(0).offset == 3);
    CHECK(third->results.at(0).offset == 3);
    stop();
}

TEST_CASE_FIXTURE(committing_group,
                  "a commit that is refused for one partition: each has its own result") {
    cluster.set_committed(t1, 7);
    run_over({t0, t1, t2, {"t", 3}});
    CHECK(commit()->results.empty()); // nothing is marked
    current->mark_offset(t0, 1);
    current->mark_offset(t1, 8);
    current->mark_offset(t2, 2);
    // librdkafka says the error of one of all that were in the request.
    auto const refused = make_error_code(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    cluster.fail_commits_of(t2, refused, 3);
    auto const done = commit();
    CHECK_FALSE(done->outcome.failure);
    REQUIRE(done->results.size() == 3);
    CHECK(done->results[0].where == t0);
    CHECK(done->results[0].status == commit_status::committed);
    CHECK(done->results[0].offset == 1);
    CHECK(done->results[1].status == commit_status::committed);
    CHECK(done->results[1].offset == 8);
    CHECK(done->results[2].where == t2);
    CHECK(done->results[2].status == commit_status::failed);
    CHECK(done->results[2].error == refused);
    CHECK(done->results[2].offset == 2);
    CHECK(commits() ==
          lines{"commit t[0]=1 t[1]=8 t[2]=2", "commit t[0]=1", "commit t[1]=8", "commit t[2]=2"});
    CHECK(group->stats().commits == 0);
    CHECK(group->stats().commits_failed == 1);
    CHECK(group->stats().offsets_committed == 2);
    CHECK(last(event_kind::commit_failed).where == t2);
    CHECK(last(event_kind::commit_failed).error == refused);

    current->mark_offset(t0, 2);
    current->mark_offset(t1, 9);
    CHECK(commit()->results.at(2).status == commit_status::failed);
    CHECK(commits() == lines{"commit t[0]=2 t[1]=9", "commit t[2]=2"}); // it keeps nobody else back
    auto const again = commit();                                        // what failed stays marked
    CHECK(again->results.at(2).status == commit_status::committed);
    CHECK(commits() == lines{"commit t[2]=2"});
    CHECK(count(event_kind::commit_recovered) == 1);
    current->mark_offset(t0, 3);
    current->mark_offset(t2, 3);
    commit();
    CHECK(commits() == lines{"commit t[0]=3 t[2]=3"});
    stop();
}

TEST_CASE_FIXTURE(
    committing_group,
    "a commit in several requests ends in time, with what is left of it, or with what is lost") {
    latch slow{context};
    handler.on_claim = [&](session& now, claim&) -> asio::awaitable<void> {
        co_await slow.wait_deaf();
        co_await now.async_wait_stopping();
    };
    run_over({t0, t1, t2});
    for (auto const& partition : {t0, t1, t2}) {
        current->mark_offset(partition, 1);
    }
    cluster.hold(request::commit);
    auto const done = commit();
    cluster.fail_commits_of(t1, make_error_code(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART), 9);
    cluster.release(request::commit);
    cluster.hold(request::commit);
    settle();
    CHECK(commits() == lines{"commit t[0]=1 t[1]=1 t[2]=1",
                             "commit t[0]=1"}); // the next waits for the answer to this one
    CHECK_FALSE(done->outcome.completed);
    SUBCASE("out of time") {
        slow.open();
        advance(5s);
        REQUIRE(done->results.size() == 3);
        for (auto const& result : done->results) {
            CHECK(result.error == kgroup::errc::commit_timed_out);
        }
        CHECK(count(event_kind::commit_failed) == 1);
        cluster.release(request::commit);
        settle();
        stop();
    }
    SUBCASE("with the last commit") {
        slow.open();
        cluster.revoke();
        settle();
        cluster.release(request::commit);
        settle();
        CHECK(done->outcome.error() == kgroup::errc::session_ended);
        CHECK(commits() == lines{"commit t[1]=1", "commit t[2]=1"});
        CHECK(cluster.assigned().empty());
        CHECK(cluster.committed(t2) == 1);
        CHECK(count(event_kind::commit_failed) == 1); // of t[1], by the last one
        stop();
    }
    SUBCASE("all is lost") {
        cluster.lose();
        settle();
        SUBCASE("and its handlers have ended") { slow.open(); }
        SUBCASE("and its handlers have not") {}
        settle();
        cluster.release(request::commit);
        settle();
        CHECK(commits().empty());
        CHECK(done->outcome.completed);
        CHECK(count(event_kind::commit_failed) == 0); // t[1] was never refused by itself
        slow.open();
        settle();
        CHECK(cluster.assigned().empty());
        stop();
    }
}

TEST_CASE_FIXTURE(
    committing_group,
    "what was refused, or not answered, by itself does not come before the others again") {
    settings.commit_timeout = 5s;
    run_over({t0, t1, t2});
    auto const mark = [&](std::int64_t next) {
        for (auto const& partition : {t0, t1, t2}) {
            current->mark_offset(partition, next);
        }
    };
    mark(1);
    cluster.hold(request::commit);
    commit();
    cluster.fail_commits_of(t0, make_error_code(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART), 1);
    cluster.release(request::commit);
    cluster.hold(request::commit);
    settle();
    CHECK(commits() == lines{"commit t[0]=1 t[1]=1 t[2]=1", "commit t[0]=1"});
    advance(5s);
    cluster.release(request::commit);
    mark(2);
    commit();
    CHECK(commits() == lines{"commit t[1]=2", "commit t[2]=2", "commit t[0]=2"});
    mark(3);
    commit();
    CHECK(commits() == lines{"commit t[0]=3 t[1]=3 t[2]=3"});
    stop();
}

TEST_CASE_FIXTURE(
    committing_group,
    "the last commit is repeated for those whom that may help, whoever else was refused") {
    run_over({t0, t1});
    current->mark_offset(t0, 1);
    current->mark_offset(t1, 1);
    auto const hopeless = make_error_code(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    SUBCASE("the first of them") {
        cluster.fail_commits_of(t0, hopeless, 9);
        cluster.fail_commits_of(t1, make_error_code(RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS), 1);
    }
    SUBCASE("the last of them") {
        cluster.fail_commits_of(t0, make_error_code(RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS), 1);
        cluster.fail_commits_of(t1, hopeless, 9);
    }
    cluster.revoke();
    settle();
    for (int i = 0; i != 8 && !cluster.assigned().empty(); ++i) {
        advance(100ms);
    }
    CHECK(cluster.assigned().empty());
    CHECK(int{cluster.committed(t0).has_value()} + int{cluster.committed(t1).has_value()} == 1);
    stop();
}

TEST_CASE_FIXTURE(committing_group, "a commit in several requests gives way to the last one of a "
                                    "claim, and goes on for those that stay") {
    make_cooperative();
    run_over({t0, t1, t2});
    for (auto const& partition : {t0, t1, t2}) {
        current->mark_offset(partition, 1);
    }
    cluster.hold(request::commit);
    auto const done = commit();
    cluster.fail_commits_of(t1, make_error_code(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART), 1);
    cluster.release(request::commit);
    cluster.hold(request::commit);
    settle();
    cluster.revoke({t2});
    settle();
    cluster.release(request::commit);
    settle();
    CHECK(commits() ==
          lines{"commit t[0]=1 t[1]=1 t[2]=1", "commit t[0]=1", "commit t[2]=1", "commit t[1]=1"});
    CHECK(done->outcome.completed);
    CHECK_FALSE(done->outcome.failure);
    REQUIRE(done->results.size() == 2);
    CHECK(done->results[1].status == commit_status::committed);
    CHECK(count(event_kind::commit_failed) == 0);
    stop();
}

TEST_CASE_FIXTURE(committing_group,
                  "a request that fails as a whole: nothing is committed, all stays marked") {
    run_over({t0, t1});
    current->mark_offset(t0, 1);
    current->mark_offset(t1, 1);
    cluster.fail(request::commit, make_error_code(RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE));
    auto const done = commit();
    REQUIRE(done->results.size() == 2);
    CHECK(done->results[0].status == commit_status::retriable);
    CHECK(done->results[1].status == commit_status::retriable);
    CHECK(cluster.committed(t0) == std::nullopt);
    cluster.fail(request::commit, make_error_code(RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS));
    CHECK(commit()->results.at(1).status == commit_status::stale_generation);
    said();
    advance(1min);
    CHECK(commits() == lines{"commit t[0]=1 t[1]=1"});
    stop();
}

TEST_CASE_FIXTURE(committing_group,
                  "a commit that is not answered times out, and a late answer changes nothing") {
    run_over({t0});
    current->mark_offset(t0, 1);
    cluster.hold(request::commit);
    auto const done = commit();
    advance(5s);
    CHECK(done->outcome.error() == kgroup::errc::commit_timed_out);
    CHECK(group->stats().commits_failed == 1);
    current->mark_offset(t0, 2);
    cluster.release(request::commit); // the broker has it now; but nobody relies on that
    settle();
    CHECK(cluster.committed(t0) == 1);
    said();
    stop();
    CHECK(commits() == lines{"commit t[0]=2"});
    CHECK(cluster.committed(t0) == 2);
}

TEST_CASE_FIXTURE(committing_group, "the last commit is repeated while that may help") {
    run_over({t0});
    current->mark_offset(t0, 1);
    SUBCASE("it helps") {
        cluster.fail(request::commit, make_error_code(RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS), 3);
        group->stop();
        settle();
        for (int i = 0; i != 3; ++i) {
            CHECK_FALSE(outcome.completed);
            advance(100ms);
        }
        CHECK(outcome.completed);
        CHECK(cluster.committed(t0) == 1);
        CHECK(commits().size() == 4);
    }
    SUBCASE("it does not help: the partitions are given back without it") {
        auto tries = 4u;
        SUBCASE("for the coordinator may be back soon") {
            cluster.fail(request::commit, make_error_code(RD_KAFKA_RESP_ERR_NOT_COORDINATOR), 100);
        }
        SUBCASE("for a generation begins when all have joined: commit_timeout") {
            cluster.fail(request::commit, make_error_code(RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS),
                         100);
            tries = 50u;
        }
        cluster.revoke();
        settle();
        for (auto i = 1u; i != tries; ++i) {
            CHECK_FALSE(cluster.assigned().empty());
            advance(100ms);
        }
        CHECK(cluster.assigned().empty());
        CHECK(count(event_kind::commit_failed) == 1);
        CHECK(commits().size() == tries);
    }
    SUBCASE("the topic is said to be gone: one that is made again under its name must not begin "
            "there") {
        cluster.report({event_kind::topic_missing,
                        kgroup::severity::warning,
                        kgroup::topic_partition{t0.topic, -1},
                        {},
                        "gone"});
        SUBCASE("and so it is") {
            cluster.revoke();
            settle();
            CHECK(cluster.assigned().empty());
            CHECK(commits().empty());
            CHECK(last(event_kind::commit_failed).where == t0); // not in silence
            CHECK(last(event_kind::commit_failed).error ==
                  make_error_code(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART));
        }
        SUBCASE("but it is there: what is committed meanwhile succeeds") {
            settle();
            CHECK(commit()->results.size() == 1);
            current->mark_offset(t0, 2);
            cluster.revoke();
            settle();
            CHECK(cluster.committed(t0) == 2);
        }
    }
    SUBCASE("it would help a topic that was made again, and skip its records") {
        cluster.fail(request::commit, make_error_code(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART), 1);
        cluster.revoke();
        settle();
        CHECK(cluster.assigned().empty());
        CHECK(commits().size() == 1);
        CHECK_FALSE(cluster.committed(t0));
    }
    SUBCASE("it cannot help") {
        cluster.fail(request::commit, make_error_code(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED),
                     100);
        cluster.revoke();
        settle();
        CHECK(cluster.assigned().empty());
        CHECK(commits().size() == 1);
    }
    SUBCASE("it is never answered: commit_timeout") {
        cluster.hold(request::commit);
        cluster.revoke();
        settle();
        advance(4900ms);
        CHECK_FALSE(cluster.assigned().empty());
        advance(100ms);
        CHECK(cluster.assigned().empty());
        SUBCASE("and answered late, when another may have it: nothing is committed on top") {
            cluster.assign({t0});
            settle();
            cluster.release(request::commit);
            settle();
            CHECK(group->stats().commits == 0);
        }
        cluster.release(request::commit);
    }
    if (!outcome.completed) {
        stop();
    }
}

TEST_CASE_FIXTURE(committing_group, "the last commit comes behind one that is under way") {
    run_over({t0});
    current->mark_offset(t0, 1);
    cluster.hold(request::commit);
    auto const waiting = commit();
    current->mark_offset(t0, 2);
    auto const shared = commit();
    cluster.revoke();
    settle();
    CHECK(commits() == lines{"commit t[0]=1"});
    cluster.release(request::commit);
    settle();
    CHECK(commits() == lines{"commit t[0]=2"});
    CHECK(waiting->outcome.completed);
    CHECK(shared->outcome.completed); // one way or the other: nobody waits for ever
    CHECK(cluster.committed(t0) == 2);
    CHECK(cluster.assigned().empty());
    stop();
}

TEST_CASE_FIXTURE(
    committing_group,
    "what becomes of the one under way does not keep the last commit from being sent") {
    run_over({t0, t1});
    current->mark_offset(t0, 1);
    current->mark_offset(t1, 1);
    cluster.hold(request::commit);
    auto const waiting = commit();
    current->mark_offset(t1, 2);
    cluster.revoke();
    settle();
    CHECK(commits() == lines{"commit t[0]=1 t[1]=1"});
    cluster.fail_commits_of(t0, make_error_code(RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE));
    cluster.release(request::commit);
    settle();
    CHECK(commits() == lines{"commit t[0]=1", "commit t[1]=2"});
    CHECK(waiting->outcome.completed);
    CHECK(cluster.committed(t0) == 1);
    CHECK(cluster.committed(t1) == 2);
    stop();
}

TEST_CASE_FIXTURE(committing_group,
                  "a commit that is not answered before the end of time is over with the session") {
    settings.commit_timeout = 1h;
    settings.close_timeout = 1s;
    run_over({t0});
    current->mark_offset(t0, 1);
    cluster.hold(request::commit);
    auto const waiting = commit();
    group->stop();
    settle();
    CHECK_FALSE(waiting->outcome.completed);
    for (int i = 0; i != 4 && !outcome.completed; ++i) {
        advance(1s);
    }
    CHECK(outcome.completed);
    CHECK(waiting->outcome.completed);
    CHECK(waiting->outcome.error() == kgroup::errc::session_ended);
}

TEST_CASE_FIXTURE(
    committing_group,
    "nothing commits what is lost: not a call, not the clock, and it cannot be marked any more") {
    settings.auto_commit_interval = 2s;
    settings.rebalance_deadline = 1min;
    std::vector<commit_result> results;
    latch end{context};
    handler.on_cleanup = [&](session& mine) -> asio::awaitable<void> {
        mine.mark_offset(t0, 7);
        results = co_await mine.async_commit();
        co_await end.wait();
    };
    run_over({t0, t1});
    current->mark_offset(t0, 3);
    cluster.lose();
    settle();
    CHECK(handler.cleanups == 1);
    REQUIRE(results.size() == 1);
    CHECK(results[0].where == t0);
    CHECK(results[0].offset == 3);
    CHECK(results[0].status == commit_status::lost);
    CHECK(group->stats().marks_refused == 1);
    advance(10s); // the clock's commits
    end.open();
    settle();
    CHECK(commits().empty());
    CHECK(cluster.committed(t0) == std::nullopt);
    stop();
}

TEST_CASE_FIXTURE(committing_group, "a commit of a claim that is lost meanwhile says so") {
    run_over({t0});
    current->mark_offset(t0, 1);
    cluster.hold(request::commit);
    latch end{context};
    handler.on_cleanup = [&](session&) -> asio::awaitable<void> { co_await end.wait(); };
    auto const done = commit();
    cluster.lose();
    cluster.fail(request::commit, make_error_code(RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID));
    settle();
    cluster.release(request::commit);
    settle();
    REQUIRE(done->outcome.completed);
    REQUIRE(done->results.size() == 1);
    CHECK(done->results[0].status == commit_status::lost);
    end.open();
    settle();
    CHECK(cluster.committed(t0) == std::nullopt);
    stop();
}

TEST_CASE_FIXTURE(committing_group, "a session that is over commits nothing, and says so") {
    std::error_code refused;
    latch stuck{context};
    settings.rebalance_deadline = 1s;
    handler.on_claim = [&](session& mine, claim&) -> asio::awaitable<void> {
        co_await stuck.wait_deaf();
        try {
            co_await mine.async_commit();
        } catch (std::system_error const& e) {
            refused = e.code();
        }
    };
    run_over({t0});
    cluster.revoke();
    settle();
    advance(1s);
    advance(1s);
    SUBCASE("between sessions") {
        stuck.open();
        settle();
        CHECK(refused == kgroup::errc::session_ended);
        stop();
    }
    SUBCASE("when another one is there: it is not taken for it") {
        handler.on_claim = nullptr;
        cluster.assign({t0});
        settle();
        current->mark_offset(t0, 1);
        said();
        stuck.open();
        settle();
        CHECK(refused == kgroup::errc::session_ended);
        CHECK(commits().empty());
        stop();
    }
    SUBCASE("when the run is over") {
        group->stop();
        settle();
        advance(15s);
        CHECK(outcome.completed);
        stuck.open();
        settle();
        CHECK(refused == kgroup::errc::session_ended);
    }
}

TEST_CASE_FIXTURE(committing_group,
                  "a commit may be cancelled, and may have taken effect all the same") {
    run_over({t0});
    current->mark_offset(t0, 1);
    cluster.hold(request::commit);
    asio::cancellation_signal signal;
    commit_outcome done;
    current->async_commit(asio::bind_cancellation_slot(
        signal.slot(), [&](std::error_code e, std::vector<commit_result>) {
            done = {true, e};
        }));
    settle();
    signal.emit(asio::cancellation_type::terminal);
    settle();
    CHECK(done.error() == asio::error::operation_aborted);
    cluster.release(request::commit);
    settle();
    CHECK(cluster.committed(t0) == 1);
    stop();
}

TEST_CASE_FIXTURE(committing_group, "a handler commits for itself, and awaits it") {
    handler.on_claim = [&](session& mine, claim& claim) -> asio::awaitable<void> {
        while (auto const next = co_await claim.messages().async_receive()) {
            claim.mark(*next);
            auto const results = co_await mine.async_commit();
            CHECK(results.at(0).status == commit_status::committed);
            CHECK(cluster.committed(t0) == next->offset() + 1);
        }
    };
    cluster.add_records(t0, "a", "b", "c");
    run_over({t0});
    CHECK(commits().size() == 3);
    stop();
}

TEST_CASE_FIXTURE(committing_group,
                  "the last commit is not repeated once its partition was given away") {
    auto const refuse_last_commit = [this] {
        run_over({t0, t1});
        current->mark_offset(t0, 2);
        cluster.fail(request::commit, make_error_code(RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS));
        cluster.revoke();
        settle();
        CHECK(commits() == lines{"commit t[0]=2"});
    };
    SUBCASE("eager, lost") {
        refuse_last_commit();
        cluster.lose();
    }
    SUBCASE("eager, a newer assignment is without it") {
        refuse_last_commit();
        cluster.assign({t1});
    }
    SUBCASE("eager, fenced") {
        refuse_last_commit();
        cluster.expel(make_error_code(RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID), "fenced");
    }
    SUBCASE("cooperative, lost") {
        make_cooperative();
        refuse_last_commit();
        cluster.lose();
    }
    SUBCASE("cooperative, a newer assignment is without it") {
        make_cooperative();
        refuse_last_commit();
        cluster.assign({t1});
    }
    SUBCASE("cooperative, in a part of the session, and another part is revoked") {
        make_cooperative();
        run_over({t0, t1, t2});
        current->mark_offset(t0, 2);
        cluster.fail(request::commit, make_error_code(RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS));
        cluster.revoke({t0});
        settle();
        CHECK(commits() == lines{"commit t[0]=2"});
        cluster.revoke({t1});
    }
    settle();
    cluster.set_committed(t0, 5); // by its new owner
    advance(150ms);
    advance(5s);
    CHECK(cluster.committed(t0) == 5);
    CHECK(commits().empty());
    CHECK_FALSE(cluster.assigned().contains(t0));
    if (!outcome.completed) {
        stop();
    }
}

TEST_CASE_FIXTURE(
    committing_group,
    "a last commit that is refused is repeated for what an overtaking assignment gives back") {
    run_over({t0, t1});
    current->mark_offset(t0, 2);
    current->mark_offset(t1, 2);
    cluster.fail(request::commit, make_error_code(RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS));
    cluster.revoke();
    settle();
    cluster.assign({t1});
    settle();
    cluster.set_committed(t0, 5);
    advance(100ms);
    CHECK(commits() == lines{"commit t[0]=2 t[1]=2", "commit t[1]=2"});
    CHECK(cluster.committed(t0) == 5);
    CHECK(cluster.committed(t1) == 2);
    stop();
}

TEST_CASE_FIXTURE(
    committing_group,
    "nothing is sent for what was given away: not after a timeout, not what is left of a batch") {
    make_cooperative();
    settings.auto_commit_interval = 10s;
    run_over({t0, t1});
    current->mark_offset(t0, 1);
    current->mark_offset(t1, 1);
    cluster.hold(request::commit);
    advance(10s);
    CHECK(commits() == lines{"commit t[0]=1 t[1]=1"});
    SUBCASE("a timeout") { advance(5s); }
    SUBCASE("an answer that takes it apart") {
        cluster.fail_commits_of(t0, make_error_code(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART), 1);
    }
    cluster.lose({t1});
    settle();
    cluster.release(request::commit);
    settle();
    cluster.set_committed(t1, 5); // what was under way may have landed before
    advance(20s);
    CHECK(commits() == lines{"commit t[0]=1"});
    CHECK(cluster.committed(t0) == 1);
    CHECK(cluster.committed(t1) == 5);
    stop();
}

TEST_CASE_FIXTURE(committing_group, "an older commit does not land behind a newer one") {
    run_over({t0, t1});
    current->mark_offset(t0, 10);
    cluster.hold_next(request::commit);
    auto const first = commit();
    advance(5s);
    CHECK(first->outcome.error() == kgroup::errc::commit_timed_out);
    current->mark_offset(t0, 20);
    current->mark_offset(t1, 7);
    said();
    SUBCASE("by a call: it waits, and the other partition does not") {
        auto const second = commit();
        CHECK(commits() == lines{"commit t[1]=7"});
        CHECK_FALSE(second->outcome.completed);
        cluster.release(request::commit);
        settle();
        CHECK(commits() == lines{"commit t[0]=20"});
        REQUIRE(second->results.size() == 2);
        CHECK(second->results[0].offset == 20);
        CHECK(second->results[0].status == commit_status::committed);
    }
    SUBCASE("by the clock") {
        advance(1min);
        CHECK(commits() == lines{"commit t[1]=7"});
        cluster.release(request::commit);
        advance(1min);
        CHECK(commits() == lines{"commit t[0]=20"});
    }
    SUBCASE("by the last one") {
        cluster.revoke();
        settle();
        CHECK(commits() == lines{"commit t[1]=7"});
        CHECK_FALSE(cluster.assigned().empty());
        cluster.release(request::commit);
        settle();
        CHECK(commits() == lines{"commit t[0]=20"});
        CHECK(cluster.assigned().empty());
    }
    SUBCASE("by the last one, whose time is nearly over: sent all the same, and once more when the "
            "old one has landed") {
        cluster.revoke();
        settle();
        advance(4500ms);
        CHECK(commits() == lines{"commit t[1]=7", "commit t[0]=20"});
        CHECK_FALSE(cluster.assigned().empty());
        cluster.release(request::commit);
        settle();
        CHECK(commits() == lines{"commit t[0]=20"});
        CHECK(cluster.assigned().empty());
    }
    SUBCASE("by that of a stop") {
        group->stop();
        settle();
        CHECK_FALSE(outcome.completed);
        cluster.release(request::commit);
        settle();
        CHECK(outcome.completed);
    }
    CHECK(cluster.committed(t0) == 20);
    CHECK(cluster.committed(t1) == 7);
    if (!outcome.completed) {
        stop();
    }
}

TEST_CASE_FIXTURE(
    committing_group,
    "the answer to a commit that was given up: the newest position is committed once more") {
    settings.auto_commit_interval = 0ms;
    run_over({t0});
    current->mark_offset(t0, 10, "text");
    cluster.hold_next(request::commit);
    commit();
    advance(5s);
    said();
    SUBCASE("the same as then") { cluster.release(request::commit); }
    SUBCASE("whatever the answer is") {
        cluster.fail(request::commit, make_error_code(RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE));
        cluster.release(request::commit);
    }
    settle();
    CHECK(commits() == lines{"commit t[0]=10 \"text\""});
    CHECK(cluster.committed(t0) == 10);
    advance(1h);
    CHECK(commits().empty());
    stop();
}

TEST_CASE_FIXTURE(committing_group,
                  "a topic that was missing: what ends it lets the last commit go") {
    settings.auto_commit_interval = 0ms;
    latch go{context};
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        co_await go.wait();
        co_await handler.mark_all(claim);
    };
    cluster.add_records(t0, "a");
    run_over({t0, t1});
    current->mark_offset(t1, 1);
    settle();
    cluster.report({event_kind::topic_missing,
                    kgroup::severity::warning,
                    kgroup::topic_partition{t0.topic, -1},
                    {},
                    "gone"});
    SUBCASE("a record that came afterwards") {
        cluster.add_records(t0, "b");
        go.open();
        settle();
        cluster.revoke();
        settle();
        CHECK(cluster.committed(t0) == 2);
        CHECK(cluster.committed(t1) == 1); // its topic is there
    }
    SUBCASE("not one that was in the queue before") {
        settle();
        go.open();
        settle();
        CHECK(handler.received == lines{"t[0]@0 a"});
        cluster.revoke();
        settle();
        CHECK(cluster.committed(t0) == std::nullopt);
        CHECK(count(event_kind::commit_failed) == 1);
    }
    SUBCASE("a look at its log") {
        settle();
        group->async_offsets_for_times(
            std::vector{t0}, {}, [](std::error_code, std::vector<kgroup::offset_for_time>) {});
        settle();
        cluster.revoke();
        go.open();
        settle();
        CHECK(cluster.committed(t1) == 1);
    }
    stop();
}

// With `latest`, or a start that a rule has chosen: found anew it would be another.
class starting_group : public committing_group {
public:
    starting_group() {
        settings.initial_offset = kgroup::offset_reset::latest;
        settings.auto_commit_interval = 0ms;
        cluster.add_records(t0, "a", "b");
        cluster.set_committed(t1, 0);
    }
};

TEST_CASE_FIXTURE(
    starting_group,
    "a start without a committed offset is committed at once, before its handler runs") {
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        CHECK(cluster.committed({std::string{claim.topic()}, claim.partition()}).has_value());
        co_await handler.mark_all(claim);
    };
    run_over({t0, t1});
    CHECK(handler.claims == 2);
    CHECK(commits() == lines{"commit t[0]=2"});
    CHECK(count(event_kind::commit_failed) == 0);
    stop();
}

TEST_CASE_FIXTURE(
    starting_group,
    "a handler waits for the commit of its start, but not for ever, and nobody else does") {
    cluster.hold(request::commit);
    run_over({t0, t1});
    CHECK(handler.claims == 1);
    CHECK(cluster.assigned().size() == 2);
    SUBCASE("committed") {
        cluster.release(request::commit);
        settle();
        CHECK(handler.claims == 2);
        CHECK(cluster.committed(t0) == 2);
    }
    SUBCASE("refused: it is told, and tried again") {
        cluster.fail(request::commit,
                     make_error_code(RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS));
        cluster.release(request::commit);
        settle();
        CHECK(handler.claims == 2);
        CHECK(last(event_kind::commit_failed).where == t0);
        CHECK(cluster.committed(t0) == std::nullopt);
        advance(1s);
        CHECK(cluster.committed(t0) == 2);
    }
    SUBCASE("refused for good: it stays marked") {
        cluster.fail(request::commit,
                     make_error_code(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED));
        cluster.release(request::commit);
        settle();
        CHECK(handler.claims == 2);
        CHECK(count(event_kind::commit_failed) == 1);
        CHECK(commit()->results.size() == 1);
        CHECK(cluster.committed(t0) == 2);
    }
    SUBCASE("not answered") {
        advance(4900ms);
        CHECK(handler.claims == 1);
        advance(100ms);
        CHECK(handler.claims == 2);
        CHECK(last(event_kind::commit_failed).error == kgroup::errc::commit_timed_out);
        cluster.release(request::commit);
        settle();
    }
    cluster.add_records(t0, "c");
    settle();
    CHECK(handler.received == lines{"t[0]@2 c"});
    stop();
}

TEST_CASE_FIXTURE(
    starting_group,
    "a rebalance or a stop does not wait for a handler that waits for the commit of its start") {
    cluster.hold(request::commit);
    auto lost = false;
    SUBCASE("revoked, eager") {
        run_over({t0});
        cluster.revoke();
    }
    SUBCASE("revoked, cooperative") {
        make_cooperative();
        run_over({t0});
        cluster.revoke();
    }
    SUBCASE("stopped") {
        run_over({t0});
        group->stop();
    }
    SUBCASE("lost") {
        run_over({t0});
        cluster.lose();
        lost = true;
    }
    settle();
    CHECK(handler.cleanups == 1);
    if (!lost) {
        CHECK_FALSE(cluster.assigned().empty()); // the commit is under way
        cluster.release(request::commit);
        settle();
        CHECK(cluster.committed(t0) == 2);
    }
    CHECK(cluster.assigned().empty());
    CHECK(count(event_kind::handler_abandoned) == 0);
    CHECK(count(event_kind::handler_cancelled) == 0);
    if (!outcome.completed) {
        stop();
    }
    CHECK(handler.claims == 0);
}

TEST_CASE_FIXTURE(
    starting_group,
    "a start that setup has moved is committed at once where there was no committed offset") {
    handler.on_setup = [this](session& now) -> asio::awaitable<void> {
        current = &now;
        now.mark_offset(t0, 1);
        now.mark_offset(t1, 5);
        co_return;
    };
    run_over({t0, t1});
    CHECK(commits() == lines{"commit t[0]=1"});
    CHECK(handler.received == lines{"t[0]@1 b"});
    stop();
}

TEST_CASE_FIXTURE(starting_group, "no start is committed where it would be found again") {
    SUBCASE("earliest") { settings.initial_offset = kgroup::offset_reset::earliest; }
    SUBCASE("a time") { settings.initial_time = std::chrono::system_clock::now(); }
    run_over({t0, t1});
    CHECK(handler.claims == 2);
    CHECK(commits().empty());
    stop();
}

} // namespace
