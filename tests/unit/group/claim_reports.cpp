// SPDX-License-Identifier: MIT

#include <kgroup/detail/group/claim_reports.hpp>

#include <asio/io_context.hpp>

#include <doctest/doctest.h>

#include <exception>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "support/failing_allocation.hpp"

namespace claim_reports_tests {

namespace {

using kgroup::event;
using kgroup::event_kind;
using kgroup::topic_partition;
using kgroup::detail::auto_reset_event;
using kgroup::detail::claim_reports;
using kgroup::detail::event_reporter;
using kgroup::detail::group_counters;
using kgroup::detail::group_mail;

topic_partition const t0{"t", 0};
std::error_code const fenced{82, kgroup::kafka_category()}; // FENCED_INSTANCE_ID
std::error_code const leader_away{6, kgroup::kafka_category()};

class reporting_claims {
public:
    asio::io_context context;
    group_mail mail{auto_reset_event::make(context.get_executor())};
    group_counters counters;
    std::vector<event_kind> told;
    std::vector<std::string> failures;
    event_reporter reporter{[this](event const& reported) { told.push_back(reported.kind); }, "",
                            counters, [](std::exception_ptr) {}};
    claim_reports reports{mail, counters, reporter,
                          [this](topic_partition const&, std::error_code, std::string const& text) {
                              failures.push_back(text);
                          }};

    void read() {
        while (auto const letter = mail.take()) {
            letter->read();
        }
    }
};

TEST_CASE_FIXTURE(reporting_claims,
                  "claim_reports: what a claim tells waits for the group's loop") {
    reports.mark_refused(t0, kgroup::mark_result::refused_ended);
    reports.mark_beyond_end(t0, 7, 5);
    reports.released_twice(t0);
    reports.report_of_claim({event_kind::record_skipped, kgroup::severity::warning});
    reports.partition_failed(t0, leader_away, "the leader is away");
    CHECK(told.empty());
    CHECK(counters.snapshot().marks_refused == 1);
    read();
    CHECK(told == std::vector{event_kind::mark_refused, event_kind::mark_beyond_end,
                              event_kind::message_released_twice, event_kind::record_skipped});
    CHECK(failures == std::vector<std::string>{"the leader is away"});
}

TEST_CASE_FIXTURE(reporting_claims, "claim_reports: positions that moved are taken once") {
    reports.position_moved(t0, 3, 9);
    CHECK(reports.take_moves().empty());
    read();
    auto const moves = reports.take_moves();
    REQUIRE(moves.size() == 1);
    CHECK(moves[0].from == 3);
    CHECK(moves[0].to == 9);
    CHECK(reports.take_moves().empty());
}

TEST_CASE_FIXTURE(reporting_claims, "claim_reports: without memory what it has to tell is counted, "
                                    "and a fatal error kept") {
    {
        kgroup::tests::failing_allocation const failing{1};
        reports.partition_failed(t0, leader_away, "");
    }
    CHECK(counters.snapshot().events_dropped == 1);
    CHECK_FALSE(reports.take_untold_failure());
    {
        kgroup::tests::failing_allocation const failing{1};
        reports.partition_failed(t0, fenced, "");
    }
    CHECK(counters.snapshot().events_dropped == 2);
    CHECK(reports.take_untold_failure() == fenced);
    CHECK_FALSE(reports.take_untold_failure());
    read();
    CHECK(failures.empty());
}

} // namespace

} // namespace claim_reports_tests
