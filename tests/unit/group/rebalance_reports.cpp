// SPDX-License-Identifier: MIT

#include <kgroup/detail/group/rebalance_reports.hpp>
#include <kgroup/observer.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <exception>
#include <memory>
#include <set>
#include <vector>

using namespace std::chrono_literals;

namespace rebalance_reports_tests {

namespace {

using kgroup::end_reason;
using kgroup::event_kind;
using kgroup::topic_partition;
using kgroup::detail::clock;
using kgroup::detail::partition_set;
using kgroup::detail::session_machine;
using observed = kgroup::rebalance_observation;

partition_set const both{{"t", 0}, {"t", 1}};

struct seen_rebalances {
    struct rebalance_seen {
        observed::kind kind;
        std::chrono::nanoseconds duration;
        std::set<topic_partition> partitions;
    };
    std::vector<rebalance_seen> all{};
    void rebalance(observed const& seen) noexcept {
        all.push_back({seen.what, seen.duration, seen.partitions});
    }
};

class reported_rebalances {
public:
    std::vector<event_kind> told;
    kgroup::detail::group_counters counters;
    kgroup::detail::event_reporter reporter{
        [this](kgroup::event const& event) { told.push_back(event.kind); }, "g", counters,
        [](std::exception_ptr) {}};
    kgroup::detail::state_board board{"g", kgroup::group_protocol::classic};
    std::shared_ptr<seen_rebalances> seen = std::make_shared<seen_rebalances>();
    std::shared_ptr<kgroup::detail::observer_binding> observer =
        std::make_shared<kgroup::detail::bound_observer<seen_rebalances>>(seen);
    kgroup::detail::rebalance_reports reports{reporter, counters, board, observer};
    clock::time_point const now = clock::now();

    void assign() { reports.began(session_machine::assigned{both}, now); }
    void revoke(bool lost = false) {
        reports.began(session_machine::revoked{both, false, lost}, now);
    }
};

} // namespace

TEST_CASE_FIXTURE(reported_rebalances,
                  "rebalance_reports: what comes and goes is told when it is heard of") {
    assign();
    CHECK(told == std::vector{event_kind::claims_added});
    revoke();
    CHECK(told.back() == event_kind::claims_revoked);
    assign();
    revoke(true);
    CHECK(told.back() == event_kind::claims_lost);
    CHECK(counters.totals().rebalances == 0);
}

TEST_CASE_FIXTURE(reported_rebalances,
                  "rebalance_reports: the answer is counted, shown and observed, once") {
    assign();
    reports.answered(now + 3s);
    CHECK(counters.totals().rebalances == 1);
    CHECK(board.state(reporter.conditions(), {}).rebalancing.count() == 1);
    REQUIRE(seen->all.size() == 1);
    CHECK(seen->all.front().kind == observed::kind::assigned);
    CHECK(seen->all.front().duration == 3s);
    CHECK(seen->all.front().partitions == both);
    reports.answered(now + 4s); // of one that was not heard of: what makes up for an overtaken one
    CHECK(seen->all.size() == 1);

    observer.reset();
    revoke();
    reports.answered(now + 5s);
    CHECK(seen->all.size() == 1);
}

TEST_CASE_FIXTURE(reported_rebalances,
                  "rebalance_reports: what a run gives back is told then, and not again") {
    assign();
    reports.given_back(both, end_reason::stopped, false);
    CHECK(told.back() == event_kind::claims_revoked);
    auto const before = told.size();
    revoke();
    CHECK(told.size() == before);
}

TEST_CASE_FIXTURE(reported_rebalances, "rebalance_reports: after a failure of the group the claims "
                                       "that are given back are lost") {
    assign();
    reports.given_back(both, end_reason::group_failed, false);
    CHECK(told.back() == event_kind::claims_lost);
}

TEST_CASE_FIXTURE(reported_rebalances,
                  "rebalance_reports: a session's end that a rebalance brings, "
                  "or that another session follows, gives nothing back") {
    assign();
    reports.given_back(both, end_reason::revoked, false);
    reports.given_back(both, end_reason::lost, false);
    reports.given_back(both, end_reason::claim_exited, true);
    CHECK(told == std::vector{event_kind::claims_added});
    reports.given_back(both, end_reason::claim_exited, false);
    CHECK(told.back() == event_kind::claims_revoked);
}

} // namespace rebalance_reports_tests
