// SPDX-License-Identifier: MIT

#include <kgroup/detail/group/group_counters.hpp>

#include <asio/io_context.hpp>

#include <doctest/doctest.h>

#include <memory>

namespace group_counters_tests {

namespace {

using kgroup::group_stats;
using kgroup::topic_partition;
using kgroup::detail::group_counters;
using kgroup::detail::partition_state;
using kgroup::detail::session_state;

topic_partition const t0{"t", 0};
topic_partition const t1{"t", 1};

class counted_session {
public:
    asio::io_context context;
    group_counters counters;
    std::shared_ptr<session_state> session = std::make_shared<session_state>();

    counted_session() {
        for (auto const& partition : {t0, t1}) {
            session->claims.emplace(partition,
                                    std::make_shared<partition_state>(
                                        partition, context.get_executor(), kgroup::tracked_offset{},
                                        std::weak_ptr<kgroup::detail::claim_observer>{}));
        }
    }
};

TEST_CASE("group_counters: what is added is told, each counter by itself") {
    group_counters counters;
    counters.add(&group_stats::commits);
    counters.add(&group_stats::commits);
    counters.add(&group_stats::late_messages, 5);
    counters.set_abandoned(3);
    auto const stats = counters.snapshot();
    CHECK(stats.commits == 2);
    CHECK(stats.late_messages == 5);
    CHECK(stats.abandoned_handlers == 3);
    CHECK(stats.commits_failed == 0);
}

TEST_CASE("group_counters: what ends after the run is counted by itself") {
    group_counters counters;
    counters.set_abandoned(2);
    counters.ended_late(true, false, 4);
    counters.ended_late(false, true, 0);
    auto const stats = counters.snapshot();
    CHECK(stats.abandoned_handlers == 1);
    CHECK(stats.late_messages == 4);
    CHECK(stats.late_failures == 1);
}

TEST_CASE_FIXTURE(counted_session, "group_counters: the claims are those of the present session") {
    CHECK(counters.snapshot().claims == 0);
    counters.session_begins(session);
    CHECK(counters.snapshot().sessions == 1);
    CHECK(counters.snapshot().claims == 2);
    auto const retired = counters.retire({t0, {"other", 0}});
    REQUIRE(retired.size() == 1);
    CHECK(retired.front()->where() == t0);
    CHECK(counters.snapshot().claims == 1);
    CHECK_FALSE(session->find(t0));
    counters.session_ends();
    CHECK(counters.snapshot().claims == 0);
    CHECK(counters.snapshot().sessions == 1);
}

} // namespace

} // namespace group_counters_tests
