// SPDX-License-Identifier: MIT

#include <kgroup/detail/group/claim_reports.hpp>
#include <kgroup/detail/group/session_scope.hpp>

#include <asio/awaitable.hpp>
#include <asio/io_context.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

namespace session_scope_tests {

namespace {

using kgroup::end_reason;
using kgroup::event;
using kgroup::event_kind;
using kgroup::topic_partition;
using kgroup::detail::clock;
using kgroup::detail::hook_task;
using kgroup::detail::manual_reset_event;
using kgroup::detail::partition_set;
using kgroup::detail::session_scope;
using kgroup::detail::start_position;

topic_partition const t0{"t", 0};
topic_partition const t1{"t", 1};
constexpr std::size_t block_bytes = 1024;

class scripted_binding final : public kgroup::detail::handler_binding {
public:
    manual_reset_event done; // handlers and hooks wait for it
    std::vector<std::string> called;

    asio::awaitable<void> setup(kgroup::session&) override { return call("setup"); }
    asio::awaitable<void> consume_claim(kgroup::session&, kgroup::claim& claim) override {
        return call("consume " + std::to_string(claim.partition()));
    }
    asio::awaitable<void> cleanup(kgroup::session&) override { return call("cleanup"); }

private:
    asio::awaitable<void> call(std::string name) {
        called.push_back(std::move(name));
        co_await done.wait();
    }
};

class no_services final : public kgroup::detail::session_services {
public:
    std::string member_id() override { return {}; }
    std::int32_t generation_id() override { return -1; }
    asio::awaitable<std::vector<kgroup::commit_result>>
    commit_marked(std::shared_ptr<kgroup::detail::session_state const>) override {
        co_return std::vector<kgroup::commit_result>{};
    }
};

class sessions {
public:
    asio::io_context context;
    kgroup::detail::group_mail mail{kgroup::detail::auto_reset_event::make(context.get_executor())};
    kgroup::detail::group_counters counters;
    std::vector<event_kind> told;
    kgroup::detail::event_reporter reporter{
        [this](event const& reported) { told.push_back(reported.kind); }, "", counters,
        [](std::exception_ptr) {}};
    kgroup::detail::user_tasks tasks{mail, counters};
    kgroup::detail::paused_partitions paused;
    std::shared_ptr<scripted_binding> handler = std::make_shared<scripted_binding>();
    std::shared_ptr<no_services> services = std::make_shared<no_services>();
    std::vector<topic_partition> ended;
    int hooks_ended = 0;

    session_scope make(session_scope::settings given = {}) {
        return {given, context.get_executor(), tasks, paused, reporter, counters};
    }
    void begin(session_scope& session, partition_set const& claims) {
        session.use(handler, {services, {}},
                    {[this](kgroup::detail::claim_task& task) {
                         tasks.end(task);
                         ended.push_back(task.state->where());
                     },
                     [this](hook_task& task) {
                         tasks.end(task);
                         ++hooks_ended;
                     }});
        session.begin(claims, clock::now());
    }
    void start(session_scope& session, topic_partition const& partition) {
        auto const claim = session.claim(partition);
        claim->start(nullptr, session.start_of(*claim).start);
        session.begin_claim(claim, block_bytes);
    }
    void run() {
        context.restart();
        context.poll();
        while (auto const letter = mail.take()) {
            letter->read();
        }
    }
};

TEST_CASE_FIXTURE(sessions, "session_scope: a session begins with its claims, and ends with why") {
    auto session = make();
    CHECK_FALSE(session.state());
    begin(session, {t0});
    auto const state = session.state();
    REQUIRE(state);
    CHECK(session.find(t0));
    CHECK_FALSE(session.find(t1));
    CHECK(counters.snapshot().sessions == 1);
    auto const added = session.claim(t1); // later
    CHECK(added == session.find(t1));
    CHECK(counters.snapshot().claims == 2);
    session.end(end_reason::revoked);
    CHECK_FALSE(session.state());
    CHECK(state->why == end_reason::revoked);
    CHECK(state->stopping.happened());
}

TEST_CASE_FIXTURE(sessions, "session_scope: hooks and handlers run, and their ends are told") {
    auto session = make();
    begin(session, {t0});
    session.run(hook_task::hook::setup);
    run();
    CHECK(session.hook());
    CHECK(handler->called == std::vector<std::string>{"setup"});
    start(session, t0);
    run();
    CHECK(handler->called == std::vector<std::string>{"setup", "consume 0"});
    CHECK(session.running().contains(t0));
    handler->done.set();
    run();
    CHECK(hooks_ended == 1);
    CHECK(ended == std::vector{t0});
    session.handler_ended(t0);
    session.hook_ended();
    CHECK(session.running().empty());
    CHECK_FALSE(session.hook());
}

TEST_CASE_FIXTURE(sessions, "session_scope: a claim starts where setup has moved it, or where its "
                            "start was found") {
    auto session = make();
    begin(session, {t0, t1});
    CHECK(session.keep_start({t0, 5, 5, "m"}));     // has a claim already
    CHECK_FALSE(session.keep_start({{"u", 0}, 1})); // has none yet
    CHECK(session.start_of(*session.find(t0)).start == 5);
    CHECK(session.find(t0)->committed_before() == 5);
    static_cast<void>(session.find(t1)->tracker().mark(9, session.find(t1)->tracker().epoch()));
    CHECK(session.start_of(*session.find(t1)).start == 9);
    session.forget_starts({t0});
    session.end(end_reason::revoked);
    session.begin({t0}, clock::now());
    CHECK(session.find(t0)->committed_before() == -1); // its start was forgotten
}

TEST_CASE_FIXTURE(sessions, "session_scope: the leader epoch that was committed goes with its "
                            "offset, and with no other") {
    auto session = make();
    session.keep_start({t0, 5, 5, "", 7});
    session.keep_start({t1, 5, 5, "", 7});
    begin(session, {t0, t1});
    static_cast<void>(session.find(t1)->tracker().mark(9, session.find(t1)->tracker().epoch()));
    CHECK(session.start_of(*session.find(t0)).leader_epoch == 7);
    CHECK(session.start_of(*session.find(t1)).leader_epoch == -1);
}

TEST_CASE_FIXTURE(sessions, "session_scope: starts that setup has chosen are taken once") {
    auto session = make();
    begin(session, {t0, t1});
    session.state()->chosen_starts.insert(t1);
    CHECK(session.take_chosen_starts() == partition_set{t1});
    CHECK(session.take_chosen_starts().empty());
}

TEST_CASE_FIXTURE(sessions, "session_scope: a start that would not be found again is committed "
                            "before the handler runs") {
    auto session = make({.finds_starts_again = false, .commits = true});
    begin(session, {t0, t1});
    for (auto const& partition : {t0, t1}) {
        session.keep_start({partition, 7, -1, {}});
    }
    auto const claim = session.find(t0);
    claim->start(nullptr, session.start_of(*claim).start);
    CHECK_FALSE(session.begin_claim(claim, block_bytes));
    CHECK(session.running().empty());
    SUBCASE("it is committed") {
        session.start_committed(claim, block_bytes);
        CHECK(session.running().contains(t0));
        session.start_committed(claim, block_bytes);
        CHECK(session.running().size() == 1);
    }
    SUBCASE("its claim ends before") {
        CHECK(session.end_claims({t0, t1}, end_reason::revoked, false, clock::now()) ==
              partition_set{t0});
        session.start_committed(claim, block_bytes);
        CHECK(session.running().empty());
    }
    run();
    handler->done.set();
    run();
}

TEST_CASE_FIXTURE(sessions,
                  "session_scope: lost claims are sealed at once, others keep their marks "
                  "until the commit") {
    auto session = make();
    begin(session, {t0, t1});
    session.end_claims({t0}, end_reason::lost, false, clock::now());
    session.end_claims({t1}, end_reason::revoked, true, clock::now());
    CHECK(session.state()->why == end_reason::revoked);
    CHECK_FALSE(session.is_lost());
    auto const marks = [&](topic_partition const& partition) {
        auto& tracker = session.find(partition)->tracker();
        return tracker.mark(3, tracker.epoch()) == kgroup::mark_result::accepted;
    };
    CHECK_FALSE(marks(t0));
    CHECK(marks(t1));
    CHECK(session.seal({t1, {"u", 0}}).size() == 1);
    CHECK_FALSE(marks(t1));
    CHECK(session.claims() == partition_set{t0, t1});
    CHECK(session.drop({t0, t1}).size() == 2);
    CHECK(counters.snapshot().claims == 0);
}

TEST_CASE_FIXTURE(sessions, "session_scope: what does not end is cancelled, and then abandoned") {
    auto session = make();
    begin(session, {t0, t1});
    start(session, t0);
    session.run(hook_task::hook::cleanup);
    run();
    SUBCASE("cancelled, it ends") {
        session.cancel({t0, t1});
        session.cancel_hook();
        CHECK(told == std::vector{event_kind::handler_cancelled, event_kind::handler_cancelled});
        run();
        CHECK(ended == std::vector{t0});
        CHECK(hooks_ended == 1);
    }
    SUBCASE("abandoned, it lives on") {
        session.abandon({t0, t1});
        session.abandon_hook();
        CHECK(session.running().empty());
        CHECK_FALSE(session.hook());
        CHECK(counters.snapshot().handlers_abandoned == 2);
        CHECK(counters.snapshot().abandoned_handlers == 2);
        handler->done.set();
        run();
        CHECK(counters.snapshot().abandoned_handlers == 0);
    }
}

TEST_CASE_FIXTURE(sessions, "session_scope: a lost claim's handler is cancelled without a word") {
    auto session = make();
    begin(session, {t0});
    start(session, t0);
    run();
    session.end_claims({t0}, end_reason::lost, false, clock::now());
    session.cancel({t0});
    CHECK(told.empty());
    run();
    CHECK(ended == std::vector{t0});
}

} // namespace

} // namespace session_scope_tests
