// SPDX-License-Identifier: MIT

#include <kgroup/detail/group/event_reporter.hpp>
#include <kgroup/testing/clock.hpp>

#include <asio/io_context.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <exception>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

using namespace std::chrono_literals;

namespace event_reporter_tests {

namespace {

using kgroup::event;
using kgroup::event_kind;
using kgroup::severity;
using kgroup::topic_partition;
using kgroup::detail::claim_look;
using kgroup::detail::event_reporter;
using kgroup::detail::group_counters;

topic_partition const t0{"t", 0};
auto const refused = std::make_error_code(std::errc::connection_refused);

class reporting {
public:
    asio::io_context context;
    group_counters counters;
    std::vector<event> told;
    std::vector<std::exception_ptr> failures;
    bool throws = false;
    event_reporter reporter{
        [this](event const& reported) { receive(reported); }, "g", counters,
        [this](std::exception_ptr failure) { failures.push_back(std::move(failure)); }};

    std::string texts() const {
        std::string all;
        for (auto const& reported : told) {
            all += (all.empty() ? "" : " | ") + std::string{to_string(reported.kind)};
        }
        return all;
    }

private:
    void receive(event const& reported) {
        if (throws) {
            throw std::runtime_error{"the receiver has failed"};
        }
        told.push_back(reported);
    }
};

TEST_CASE_FIXTURE(reporting, "event_reporter: an event has its kind, level, place and words") {
    reporter.claims_added({t0, {"t", 3}});
    reporter.claims_lost({});
    reporter.mark_beyond_end(t0, 7, 5);
    REQUIRE(told.size() == 3);
    CHECK(told[0].kind == event_kind::claims_added);
    CHECK(told[0].level == severity::info);
    CHECK(told[0].text == "t[0] t[3]");
    CHECK(told[1].level == severity::warning);
    CHECK(told[1].text == "none");
    CHECK(told[2].where == t0);
    CHECK(told[2].text.starts_with("marked is 7, and the log was last seen to end at 5;"));
}

TEST_CASE_FIXTURE(reporting, "event_reporter: what the client's log says follows the reason") {
    reporter.nothing_comes(t0, 12s + 900ms, "the leader answers", "");
    reporter.no_assignment(refused, 10s, "no broker has answered", "Connect failed");
    REQUIRE(told.size() == 2);
    CHECK(told[0].text == "nothing has come for 12 s: the leader answers");
    CHECK(told[1].text ==
          "no assignment for 10 s: no broker has answered; the client's log: Connect failed");
    CHECK(told[1].error == refused);
}

TEST_CASE_FIXTURE(reporting, "event_reporter: a stall says whom the claim waits for") {
    claim_look look;
    look.position = 9;
    SUBCASE("the handler") {
        reporter.claim_stalled(t0, look);
        CHECK(told.at(0).text == "records wait and the handler has not asked for one in 30 s; the "
                                 "next offset is 9");
    }
    SUBCASE("an acknowledgement") {
        look.waits = true;
        look.first_undone = 4;
        reporter.claim_stalled(t0, look);
        CHECK(told.at(0).text == "65,536 delivered records are not acknowledged, the first of them "
                                 "at offset 4 or next behind it; the next offset is 9");
    }
}

TEST_CASE_FIXTURE(reporting, "event_reporter: an end is told only when its begin was") {
    reporter.records_come(t0, true);
    reporter.assignment_received("t[0]");
    reporter.setup_resumed();
    reporter.topic_found("t");
    CHECK(told.empty());
    reporter.nothing_comes(t0, 10s, "the leader answers", "");
    reporter.partition_error(t0, refused, "", false);
    reporter.records_come(t0, true);
    reporter.partition_recovered(t0);
    reporter.partition_recovered(t0);
    CHECK(texts() == "nothing_comes | partition_error | records_come | partition_recovered");
}

TEST_CASE_FIXTURE(reporting, "event_reporter: what lasts of a partition ends with its claim") {
    reporter.claim_stalled(t0, {});
    CHECK(reporter.lasts(event_kind::claim_stalled));
    CHECK(reporter.lasting(event_kind::claim_stalled).size() == 1);
    reporter.end_all_of(t0, "the claim has ended");
    CHECK_FALSE(reporter.lasts(event_kind::claim_stalled));
    CHECK(texts() == "claim_stalled | claim_resumed");
}

TEST_CASE_FIXTURE(reporting,
                  "event_reporter: what is repeated is counted, and told when it lasts") {
    reporter.commit_failed(t0, refused);
    reporter.session_ended(kgroup::end_reason::revoked); // ends it
    reporter.commit_failed(t0, refused);
    CHECK(texts() == "commit_failed | commit_recovered | session_ended");
    CHECK(counters.snapshot().events_dropped == 1);
    kgroup::testing::advance(context, 5s);
    reporter.report_kept_back(kgroup::detail::clock::now());
    CHECK(told.size() == 3);
    kgroup::testing::advance(context, 5s);
    reporter.report_kept_back(kgroup::detail::clock::now());
    REQUIRE(told.size() == 4);
    CHECK(told[3].kind == event_kind::commit_failed);
    CHECK(told[3].suppressed == 1);
}

TEST_CASE_FIXTURE(reporting, "event_reporter: a failure is told by its words, or by what failed") {
    reporter.handler_failed(t0, std::make_exception_ptr(std::runtime_error{"out of paper"}));
    reporter.hook_failed(std::make_exception_ptr(1));
    REQUIRE(told.size() == 2);
    CHECK(told[0].text == "out of paper");
    CHECK(told[1].where == std::nullopt);
    CHECK_FALSE(told[1].text.empty());
}

TEST_CASE_FIXTURE(reporting, "event_reporter: a text is one line") {
    reporter.client_error({}, "first\nsecond");
    CHECK(told.at(0).text == "first second");
}

TEST_CASE_FIXTURE(reporting,
                  "event_reporter: what the receiver throws is handed on, and no more is "
                  "told once it is closed") {
    throws = true;
    reporter.session_started(1);
    CHECK(failures.size() == 1);
    throws = false;
    reporter.close();
    CHECK(reporter.closed());
    reporter.session_started(1);
    CHECK(told.empty());
    CHECK(failures.size() == 1);
}

} // namespace

} // namespace event_reporter_tests
