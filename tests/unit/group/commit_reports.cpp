// SPDX-License-Identifier: MIT

#include <kgroup/detail/group/commit_reports.hpp>
#include <kgroup/observer.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <exception>
#include <memory>
#include <system_error>
#include <vector>

using namespace std::chrono_literals;

namespace commit_reports_tests {

namespace {

using kgroup::event_kind;
using kgroup::topic_partition;
using kgroup::detail::clock;
using kgroup::detail::commit_outcome;

std::error_code const refused{29, kgroup::kafka_category()}; // TOPIC_AUTHORIZATION_FAILED
topic_partition const t0{"t", 0};

struct seen_commits {
    std::vector<kgroup::commit_observation> all{};
    void committed(kgroup::commit_observation const& seen) noexcept { all.push_back(seen); }
};

class reported_commits {
public:
    std::vector<kgroup::event> told;
    kgroup::detail::group_counters counters;
    kgroup::detail::event_reporter reporter{
        [this](kgroup::event const& event) { told.push_back(event); }, "g", counters,
        [](std::exception_ptr) {}};
    kgroup::detail::state_board board{"g", kgroup::group_protocol::classic};
    std::shared_ptr<seen_commits> seen = std::make_shared<seen_commits>();
    std::shared_ptr<kgroup::detail::observer_binding> observer =
        std::make_shared<kgroup::detail::bound_observer<seen_commits>>(seen);
    kgroup::detail::commit_reports reports{reporter, counters, board, observer};
    clock::time_point const now = clock::now();

    std::vector<event_kind> kinds() const {
        std::vector<event_kind> all;
        for (auto const& event : told) {
            all.push_back(event.kind);
        }
        return all;
    }
};

} // namespace

TEST_CASE_FIXTURE(reported_commits, "commit_reports: a success is counted, shown and observed") {
    reports.ended({{}, {}, 3, false, 20ms}, now);
    CHECK(told.empty());
    CHECK(counters.totals().commits == 1);
    CHECK(counters.totals().offsets_committed == 3);
    CHECK(board.state(reporter.conditions(), {}).last_commit);
    REQUIRE(seen->all.size() == 1);
    CHECK(seen->all.front().partitions == 3);
    CHECK(seen->all.front().duration == 20ms);
    CHECK_FALSE(seen->all.front().error);
}

TEST_CASE_FIXTURE(reported_commits, "commit_reports: a failure is told with its partition, and the "
                                    "first success after it, once") {
    reports.ended({refused, t0, 1, false, 20ms}, now);
    REQUIRE(told.size() == 1);
    CHECK(told.front().kind == event_kind::commit_failed);
    CHECK(told.front().where == t0);
    CHECK(told.front().error == refused);
    CHECK(counters.totals().commits_failed == 1);
    CHECK(counters.totals().offsets_committed == 1); // the others of the batch
    CHECK(counters.totals().commits == 0);
    CHECK(seen->all.front().error == refused);
    CHECK(board.state(reporter.conditions(), {}).last_commit_error == refused);

    reports.ended({{}, {}, 2, false, 20ms}, now);
    reports.ended({{}, {}, 2, false, 20ms}, now);
    CHECK(kinds() == std::vector{event_kind::commit_failed, event_kind::commit_recovered});
}

TEST_CASE_FIXTURE(reported_commits, "commit_reports: a failure that is repeated is no event yet") {
    reports.ended({refused, t0, 0, true, 20ms}, now);
    CHECK(told.empty());
    CHECK(counters.totals().commits_failed == 1);
    CHECK(seen->all.size() == 1);
    reports.ended({{}, {}, 1, false, 20ms}, now);
    CHECK(told.empty());
}

TEST_CASE_FIXTURE(reported_commits, "commit_reports: the next session's success recovers nothing") {
    reports.ended({refused, t0, 0, false, 20ms}, now);
    reports.session_ended();
    reports.ended({{}, {}, 1, false, 20ms}, now);
    CHECK(kinds() == std::vector{event_kind::commit_failed});
}

TEST_CASE_FIXTURE(reported_commits, "commit_reports: an observer that is gone is told nothing") {
    observer.reset();
    reports.ended({{}, {}, 1, false, 20ms}, now);
    CHECK(seen->all.empty());
    CHECK(counters.totals().commits == 1);
}

} // namespace commit_reports_tests
