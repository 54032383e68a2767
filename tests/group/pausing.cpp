// SPDX-License-Identifier: MIT

#include <array>
#include <utility>

#include "support/latch.hpp"
#include "support/scripted_group.hpp"

// A pause lasts as long as the ownership: over sessions, and over all that happens before a handler
// starts.

namespace {

using namespace kgroup::tests;
using kgroup::claim;
using kgroup::event_kind;
using kgroup::session;
using request = fake_cluster::request;

// A member of t[0], t[1] and u[0]. The handler of t[1] returns at a record "end", which ends the
// session.
class pausing_group : public scripted_group {
public:
    kgroup::topic_partition const u0{"u", 0};

    pausing_group() {
        settings.topics = {"t", "u"};
        handler.on_claim = [this](session&, claim& claim) -> asio::awaitable<void> {
            while (auto const next = co_await claim.messages().async_receive()) {
                claim.mark(*next);
                if (next->value() == "end") {
                    co_return;
                }
                handler.note(*next);
            }
        };
    }

    void begin_another_session() {
        auto const before = group->stats().sessions;
        cluster.add_records(t1, "end");
        settle();
        advance(1s); // the backoff
        CHECK(group->stats().sessions == before + 1);
    }
    lines received() { return std::exchange(handler.received, {}); }
};

TEST_CASE_FIXTURE(pausing_group, "a pause outlives the session") {
    run_over({t0, t1, u0});
    lines expected;
    SUBCASE("by partition") {
        group->pause(std::array{t0});
        expected = {"u[0]@0 b"};
    }
    SUBCASE("by topic") {
        group->pause("t");
        expected = {"u[0]@0 b"};
    }
    SUBCASE("of all") { group->pause_all(); }
    SUBCASE("of what was paused and resumed") {
        group->pause_all();
        group->resume("t");
        expected = {"t[0]@0 a"};
    }
    group->resume(std::array{t1});
    for (int i = 0; i != 3; ++i) {
        begin_another_session();
    }
    cluster.add_records(t0, "a");
    cluster.add_records(u0, "b");
    settle();
    CHECK(received() == expected);
    stop();
}

TEST_CASE_FIXTURE(pausing_group,
                  "what is resumed stays so over sessions, also when it was between two of them") {
    run_over({t0, t1});
    group->pause(std::array{t0});
    SUBCASE("in a session") { begin_another_session(); }
    SUBCASE("between two") {
        cluster.add_records(t1, "end");
        settle();
    }
    group->resume_all();
    advance(1s);
    begin_another_session();
    cluster.add_records(t0, "a");
    settle();
    CHECK(received() == lines{"t[0]@0 a"});
    stop();
}

TEST_CASE_FIXTURE(pausing_group,
                  "a pause counts from the assignment on, whatever the member does with it") {
    latch setting_up{context};
    SUBCASE("when it is told of") {
        settings.on_event = [this](kgroup::event const& event) {
            if (event.kind == event_kind::claims_added) {
                group->pause(std::array{t0});
            }
        };
        run_over({t0, t1});
    }
    SUBCASE("during the look-up") {
        cluster.hold(request::look_up);
        run_over({t0, t1});
        group->pause(std::array{t0});
        cluster.release(request::look_up);
    }
    SUBCASE("during setup") {
        handler.on_setup = [&](session&) { return setting_up.wait(); };
        run_over({t0, t1});
        group->pause(std::array{t0});
        setting_up.open();
    }
    SUBCASE("during the backoff") {
        run_over({t0, t1});
        cluster.add_records(t1, "end");
        settle();
        group->pause(std::array{t0});
        advance(1s);
    }
    settle();
    cluster.add_records(t0, "a");
    settle();
    CHECK(received().empty());
    CHECK(handler.claims >= 2);
    group->resume(std::array{t0});
    settle();
    CHECK(received() == lines{"t[0]@0 a"});
    stop();
}

TEST_CASE_FIXTURE(pausing_group, "a pause before the assignment is of nothing") {
    run();
    group->pause_all();
    group->pause("t");
    group->pause(std::array{t0});
    cluster.add_records(t0, "a");
    cluster.assign({t0});
    settle();
    CHECK(received() == lines{"t[0]@0 a"});
    stop();
}

TEST_CASE_FIXTURE(pausing_group,
                  "a pause ends with the ownership, also when the partition comes back at once") {
    bool kept = false;
    SUBCASE("eager") {
        run_over({t0, t1});
        group->pause_all();
        SUBCASE("revoked") { cluster.revoke(); }
        SUBCASE("lost") { cluster.lose(); }
        SUBCASE("replaced") {}
        cluster.assign({t0, t1});
    }
    SUBCASE("cooperative") {
        make_cooperative();
        run_over({t0, t1});
        group->pause_all();
        SUBCASE("taken and given back") {
            cluster.revoke({t0});
            cluster.assign({t0});
        }
        SUBCASE("retained, whatever comes and goes beside it") {
            cluster.revoke({t1});
            settle();
            cluster.assign({t1, u0});
            kept = true;
        }
    }
    settle();
    cluster.add_records(t0, "a");
    settle();
    CHECK(received() == (kept ? lines{} : lines{"t[0]@0 a"}));
    if (kept) {
        cluster.add_records(t1, "b");
        cluster.add_records(u0, "c");
        settle();
        CHECK(received() == lines{"t[1]@0 b", "u[0]@0 c"}); // assigned behind the pause
        begin_another_session();
        CHECK(received().empty());
        group->resume_all();
        settle();
        CHECK(received() == lines{"t[0]@0 a"});
    }
    stop();
}

} // namespace
