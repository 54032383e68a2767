// SPDX-License-Identifier: MIT

#include <kgroup/app.hpp>
#include <kgroup/health.hpp>

#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/co_spawn.hpp>

#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <stdexcept>
#include <unistd.h>

#include "support/latch.hpp"
#include "support/scripted_group.hpp"

// consumer_app: what it is told and how it complains, restarts, signals.

namespace {

using namespace kgroup::tests;
using kgroup::app_config;
using kgroup::claim;
using kgroup::consumer_app;
using kgroup::errc;
using kgroup::event;
using kgroup::event_kind;
using kgroup::offset_reset;
using kgroup::session;
using kgroup::testing::fake_client;
using request = fake_cluster::request;

/// Forwards to a handler that the test keeps.
struct forwarding_handler {
    scripted_handler* to;
    asio::awaitable<void> setup(session& session) { return to->setup(session); }
    asio::awaitable<void> consume_claim(session& session, claim& claim) {
        return to->consume_claim(session, claim);
    }
    asio::awaitable<void> cleanup(session& session) { return to->cleanup(session); }
};

/// An application over a scripted cluster, on one thread.
class scripted_app {
public:
    using app_type = consumer_app<forwarding_handler, fake_client>;

    scripted_handler handler;
    std::vector<event> events;
    run_outcome outcome;
    fake_cluster cluster;
    app_config settings;
    asio::io_context context;
    std::optional<app_type> app;

    scripted_app() {
        settings.group.brokers = cluster.brokers();
        settings.group.group_id = "group";
        settings.group.topics = {"t"};
        settings.group.initial_offset = offset_reset::earliest;
        settings.group.auto_commit_interval = 1min;
        settings.group.on_event = [this](event const& event) {
            check_event(event);
            events.push_back(event);
        };
    }
    ~scripted_app() {
        for (auto const& complaint : cluster.complaints()) {
            FAIL_CHECK(complaint);
        }
    }

    void run() {
        app.emplace(settings, forwarding_handler{&handler});
        asio::co_spawn(context, app->async_run(),
                       asio::bind_cancellation_slot(cancel.slot(), [this](std::exception_ptr e) {
                           outcome = {true, e};
                       }));
        settle();
    }
    void settle() { kgroup::testing::run_ready(context); }
    void advance(std::chrono::nanoseconds how_far) { kgroup::testing::advance(context, how_far); }

    /// How long the application says that it will wait, in ms.
    std::vector<long> pauses() const {
        std::vector<long> all;
        for (auto const& event : events) {
            if (event.kind == event_kind::run_restarted) {
                auto const at = event.text.find("; the next run begins in ");
                REQUIRE(at != std::string::npos);
                all.push_back(std::stol(event.text.substr(at + 25)));
            }
        }
        return all;
    }

    bool leaves() const {
        auto const trace = cluster.trace();
        return std::ranges::find(trace, "close") != trace.end();
    }

    asio::cancellation_signal cancel;
};

TEST_CASE_FIXTURE(scripted_app,
                  "its state is the group's, and between two runs it says why there is none") {
    using kgroup::group_phase;
    latch failing{context};
    handler.on_claim = [&](session&, claim&) -> asio::awaitable<void> {
        co_await failing.wait();
        throw std::runtime_error{"the database is away"};
    };
    run();
    CHECK(app->state().phase == group_phase::connecting);
    cluster.assign({t0});
    settle();
    CHECK(app->state().phase == group_phase::consuming);
    CHECK(app->state().claims.size() == 1);
    CHECK(kgroup::readiness(app->state()).ok);
    failing.open();
    settle();
    auto const between = app->state();
    CHECK(between.phase == group_phase::backing_off);
    CHECK(between.group_id == "group");
    CHECK(between.claims.empty());
    REQUIRE(between.conditions.size() == 1);
    CHECK(between.conditions[0].kind == event_kind::run_restarted);
    CHECK(between.conditions[0].text.starts_with("the database is away; the next run begins in "));
    CHECK_FALSE(kgroup::readiness(between).ok);
    CHECK(kgroup::liveness(between).ok); // it goes on by itself
    handler.on_claim = nullptr;
    advance(4s);
    cluster.assign({t0});
    settle();
    CHECK(kgroup::readiness(app->state()).ok);
    app->stop();
    settle();
    CHECK(app->state().phase == group_phase::stopped);
    CHECK(app->state().conditions.empty());
    CHECK(kgroup::liveness(app->state()).ok);
}

TEST_CASE_FIXTURE(scripted_app, "an error begins the run again after a backoff that grows, with "
                                "jitter, to a minute, and a long run resets") {
    handler.on_claim = [](auto&, auto&) -> asio::awaitable<void> {
        throw std::runtime_error{"the database\nis away"}; // in one line, when it is told
        co_return;
    };
    run();
    long around = 3000;
    for (std::size_t i = 0; i != 7; ++i) {
        CAPTURE(i);
        cluster.assign({t0});
        settle();
        REQUIRE(pauses().size() == i + 1);
        CHECK(pauses().back() >= around * 4 / 5);
        CHECK(pauses().back() <= around * 6 / 5);
        CHECK_FALSE(cluster.has_member());
        advance(std::chrono::milliseconds{pauses().back() - 1500});
        CHECK_FALSE(cluster.has_member());
        advance(1600ms);
        CHECK(cluster.has_member());
        around = std::min(around * 2, 60000l);
    }
    CHECK(events.back().kind != event_kind::client_error);
    advance(61s); // a run of more than a minute
    cluster.assign({t0});
    settle();
    CHECK(pauses().back() <= 3600);
    CHECK_FALSE(outcome.completed);
    app->stop();
    settle();
    CHECK(outcome.completed);
    CHECK_FALSE(outcome.failure);
    CHECK(events.back().text.find("the database is away; the next run begins in ") == 0);
}

TEST_CASE_FIXTURE(scripted_app, "a fatal error ends it with the reason") {
    run();
    cluster.assign({t0});
    settle();
    cluster.expel(kgroup::make_error_code(RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID),
                  "somebody else is host-1");
    settle();
    REQUIRE(outcome.completed);
    CHECK(outcome.error() == kgroup::make_error_code(RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID));
    CHECK(outcome.what().find("somebody else is host-1") != std::string::npos);
    CHECK(pauses().empty());
}

TEST_CASE_FIXTURE(scripted_app, "so does an error of our own that another run cannot mend") {
    settings.group.initial_offset = offset_reset::none;
    run();
    cluster.assign({t0});
    settle();
    REQUIRE(outcome.completed);
    CHECK(outcome.error() == errc::no_committed_offset);
    CHECK(pauses().empty());
}

TEST_CASE_FIXTURE(scripted_app, "stop and cancellation, before, in, and between the runs") {
    bool cancelled = false;
    SUBCASE("stopped before it ran") {
        app.emplace(settings, forwarding_handler{&handler});
        app->stop();
        asio::co_spawn(context, app->async_run(), [this](std::exception_ptr e) {
            outcome = {true, e};
        });
    }
    SUBCASE("stopped in a run: what is marked is committed") {
        cluster.add_records(t0, "one");
        run();
        cluster.assign({t0});
        settle();
        app->stop();
        settle();
        CHECK(cluster.committed(t0) == 1);
    }
    SUBCASE("between two") {
        handler.on_setup = [](auto&) -> asio::awaitable<void> {
            throw std::runtime_error{"away"};
            co_return;
        };
        run();
        cluster.assign({t0});
        settle();
        REQUIRE(pauses().size() == 1);
        SUBCASE("stopped") { app->stop(); }
        SUBCASE("cancelled") {
            cancel.emit(asio::cancellation_type::terminal);
            cancelled = true;
        }
    }
    SUBCASE("cancelled in a run") {
        run();
        cluster.assign({t0});
        settle();
        cancel.emit(asio::cancellation_type::terminal);
        cancelled = true;
    }
    settle();
    REQUIRE(outcome.completed);
    CHECK(outcome.error() ==
          (cancelled ? std::error_code{asio::error::operation_aborted} : std::error_code{}));
    CHECK_FALSE(cluster.has_member());
}

TEST_CASE_FIXTURE(scripted_app, "a signal stops it in order: the handler finishes, what is marked "
                                "is committed, the group is left") {
    cluster.add_records(t0, "one");
    run();
    cluster.assign({t0});
    settle();
    ::raise(SIGTERM);
    context.restart();
    context.run(); // until it has ended
    CHECK(outcome.completed);
    CHECK_FALSE(outcome.failure);
    CHECK(cluster.committed(t0) == 1);
    CHECK(handler.cleanups == 1);
    CHECK(leaves());
}

TEST_CASE("a second signal ends the process at once") {
    for (auto const number : {SIGTERM, SIGINT}) {
        auto const child = ::fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            std::signal(number, SIG_DFL);
            scripted_app one;
            one.cluster.hold(request::close); // it does not come to its end
            one.run();
            one.cluster.assign({t0});
            one.settle();
            ::raise(number);
            one.context.restart();
            while (!one.leaves() && one.context.run_one() != 0) {
            }
            ::raise(number);
            std::_Exit(0); // still here
        }
        int status = 0;
        REQUIRE(::waitpid(child, &status, 0) == child);
        REQUIRE(WIFSIGNALED(status));
        CHECK(WTERMSIG(status) == number);
    }
}

TEST_CASE_FIXTURE(scripted_app, "a group of its own: a suffix of eight characters, the same for "
                                "all runs, another for each instance") {
    settings.group_id_consistent = false;
    app_type const one{settings, forwarding_handler{&handler}};
    app_type const other{settings, forwarding_handler{&handler}};
    CHECK(one.group_id().starts_with("group-"));
    CHECK(one.group_id().size() == 14);
    CHECK(one.group_id() != other.group_id());
    settings.group_id_consistent = true;
    CHECK(app_type{settings, forwarding_handler{&handler}}.group_id() == "group");
}

TEST_CASE_FIXTURE(scripted_app,
                  "a configuration that cannot work is refused when the application is made") {
    settings.group.group_id.clear();
    CHECK_THROWS_WITH(app_type(settings, forwarding_handler{&handler}),
                      doctest::Contains("group_id: must not be empty"));
}

TEST_CASE_FIXTURE(
    scripted_app,
    "app_config: a variable that names no field is a warning when the application runs") {
    ::setenv("KGROUP_GROUPID", "typo", 1);
    auto read = kgroup::parse_app_config(
        R"({"brokers": "b", "group_id": "g", "topics": ["t"], "initial_offset": "earliest"})");
    ::unsetenv("KGROUP_GROUPID");
    REQUIRE(read.warnings.size() == 1);
    settings.warnings = read.warnings;
    run();
    REQUIRE(events.size() == 1);
    CHECK(events.front().kind == event_kind::unsafe_setting);
    CHECK(events.front().text ==
          "environment variable KGROUP_GROUPID names no field of the configuration");
    app->stop();
    cluster.assign({});
    settle();
}

TEST_CASE_FIXTURE(scripted_app, "what the table calls restartable begins again, what it calls "
                                "final does not, and what has no row begins again") {
    struct told {
        int code;
        bool again;
    };
    for (auto const& [code, again] : {told{81 /* GROUP_MAX_SIZE_REACHED */, true},
                                      {111 /* UNRELEASED_INSTANCE_ID */, true},
                                      {RD_KAFKA_RESP_ERR_UNKNOWN, true},
                                      {112 /* UNSUPPORTED_ASSIGNOR */, false},
                                      {RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT, false},
                                      {128 /* INVALID_REGULAR_EXPRESSION */, false},
                                      {RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, false}}) {
        CAPTURE(code);
        std::error_code const error{code, kgroup::kafka_category()};
        scripted_app one;
        one.run();
        one.cluster.expel(error, "in words");
        one.settle();
        CHECK(one.outcome.completed == !again);
        REQUIRE(one.pauses().size() == (again ? 1u : 0u));
        if (again) {
            CHECK(one.events.back().error == error);
            one.advance(4s);
            CHECK(one.cluster.has_member());
            one.app->stop();
            one.settle();
        } else {
            CHECK(one.outcome.error() == error);
        }
    }
}

/// Neither copied nor moved.
struct fixed_handler {
    explicit fixed_handler(scripted_handler& handler) : to(handler) {}
    fixed_handler(fixed_handler const&) = delete;
    fixed_handler& operator=(fixed_handler const&) = delete;
    scripted_handler& to;
    asio::awaitable<void> consume_claim(session& session, claim& claim) {
        return to.consume_claim(session, claim);
    }
};

TEST_CASE_FIXTURE(scripted_app, "a handler is made in place, moved or copied") {
    consumer_app<fixed_handler, fake_client> in_place{settings, std::in_place, handler};
    CHECK(&in_place.handler().to == &handler);
    consumer_app<forwarding_handler, fake_client> aggregate{settings, std::in_place, &handler};
    CHECK(aggregate.handler().to == &handler);
    forwarding_handler const kept{&handler};
    consumer_app<forwarding_handler, fake_client> copied{settings, kept};
    CHECK(copied.handler().to == &handler);
    asio::co_spawn(context, in_place.async_run(), [this](std::exception_ptr e) {
        outcome = {true, e};
    });
    cluster.add_records(t0, "one");
    settle();
    cluster.assign({t0});
    settle();
    CHECK(handler.received == lines{"t[0]@0 one"});
    in_place.stop();
    settle();
    CHECK(outcome.completed);
}

TEST_CASE_FIXTURE(scripted_app, "the group that runs now: stats, pause and resume in all forms") {
    app.emplace(settings, forwarding_handler{&handler});
    CHECK(app->stats().sessions == 0);
    app->pause_all(); // nothing runs: nothing happens
    app.reset();
    run();
    cluster.assign({t0, t1});
    settle();
    CHECK(app->stats().claims == 2);
    kgroup::topic_partition const only[]{t0};
    app->pause(only);
    cluster.add_records(t0, "one");
    cluster.add_records(t1, "two");
    settle();
    CHECK(handler.received == lines{"t[1]@0 two"});
    app->resume(only);
    app->pause("t");
    app->resume("t");
    settle();
    CHECK(handler.received == lines{"t[1]@0 two", "t[0]@0 one"});
    app->pause_all();
    cluster.add_records(t1, "three");
    settle();
    CHECK(handler.received.size() == 2);
    app->resume_all();
    settle();
    CHECK(handler.received.size() == 3);
    app->stop();
    settle();
    CHECK(app->stats().records_received == 3); // of the last
    CHECK(app->stats().claims == 0);
}

TEST_CASE_FIXTURE(scripted_app,
                  "subscribe lasts for the runs to come, and one that is refused changes nothing") {
    run();
    app->subscribe({"u"});
    settle();
    CHECK(cluster.topics() == lines{"u"});
    CHECK_THROWS_WITH(app->subscribe({"^(a"}),
                      doctest::Contains("topics: '^(a' is not a regular expression"));
    cluster.expel({81, kgroup::kafka_category()}, "full");
    settle();
    advance(4s);
    REQUIRE(cluster.has_member());
    CHECK(cluster.topics() == lines{"u"});
    cluster.expel({81, kgroup::kafka_category()}, "full");
    settle();
    REQUIRE_FALSE(cluster.has_member());
    CHECK_THROWS_WITH(app->subscribe({}), doctest::Contains("topics: at least one is needed"));
    app->subscribe({"v"}); // between two runs
    advance(8s);
    REQUIRE(cluster.has_member());
    CHECK(cluster.topics() == lines{"v"});
    app->stop();
    cluster.assign({});
    settle();
    CHECK(outcome.completed);
}

} // namespace
