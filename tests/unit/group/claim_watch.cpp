// SPDX-License-Identifier: MIT

#include <kgroup/detail/group/claim_watch.hpp>
#include <kgroup/error.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <string>

using namespace std::chrono_literals;
using kgroup::make_error_code;
using kgroup::detail::claim_look;
using kgroup::detail::claim_watch;
using kgroup::detail::log_end_look;

namespace claim_watch_tests {

namespace {

constexpr auto first_moment = kgroup::detail::clock::time_point{} + 1h;
claim_look const idle{.waits = true, .position = 7};
log_end_look const at_end{.error = {}, .end = 7, .low = 0, .high_watermark = 7};

bool contains(std::string const& text, std::string const& part) {
    return text.find(part) != text.npos;
}

} // namespace

TEST_CASE("claim_watch: a claim at the end of its log is asked for, and silent") {
    claim_watch watch{first_moment};
    CHECK_FALSE(watch.wants_log_end(idle, first_moment + 4s));
    for (auto time = 5s; time != 300s; time += 1s) {
        auto const now = first_moment + time;
        CHECK(watch.wants_log_end(idle, now));
        auto const answer = watch.log_end(at_end, idle, now);
        CHECK_FALSE(answer.records_come);
        CHECK_FALSE(watch.look(idle, now, true).nothing_comes);
    }
}

TEST_CASE(
    "claim_watch: only a handler that waits, at an empty queue and an open gate, lacks anything") {
    claim_watch watch{first_moment};
    auto const now = first_moment + 20s;
    CHECK(watch.wants_log_end(idle, now));
    CHECK_FALSE(watch.wants_log_end({.open = false, .waits = true}, now));
    CHECK_FALSE(watch.wants_log_end({.waits = false}, now));
    CHECK_FALSE(watch.wants_log_end({.waits = true, .waits_for_acks = true}, now));
    CHECK_FALSE(watch.wants_log_end({.waits = true, .queued = 1}, now));
}

TEST_CASE("claim_watch: what the log holds and does not come is told after ten seconds, and then "
          "each minute") {
    auto const told_and_over = [](log_end_look const& answer, std::string const& reason) {
        claim_watch watch{first_moment};
        CHECK_FALSE(watch.tells_soon(first_moment + 5s));
        watch.log_end(answer, idle, first_moment + 5s);
        CHECK(watch.tells_soon(first_moment + 5s));
        CHECK_FALSE(watch.look(idle, first_moment + 9s, true).nothing_comes);
        CHECK_FALSE(
            watch.look(idle, first_moment + 10s, false).nothing_comes); // an outage says it already
        CHECK(watch.look(idle, first_moment + 10s, true).nothing_comes);
        CHECK(contains(watch.reason(), reason));
        CHECK_FALSE(watch.tells_soon(first_moment + 64s));
        CHECK(watch.tells_soon(first_moment + 65s));
        CHECK_FALSE(watch.look(idle, first_moment + 69s, true).nothing_comes);
        CHECK(watch.look(idle, first_moment + 70s, true).nothing_comes);
        SUBCASE("ends with a record") {
            auto after = idle;
            after.delivered = 1;
            CHECK(watch.look(after, first_moment + 71s, true).records_come);
            CHECK_FALSE(watch.look(after, first_moment + 72s, true).records_come);
            CHECK_FALSE(watch.wants_log_end(after, first_moment + 75s));
        }
        SUBCASE("ends at the end of the log") {
            CHECK(watch.log_end(at_end, idle, first_moment + 71s).records_come);
            CHECK_FALSE(watch.look(idle, first_moment + 72s, true).records_come);
            CHECK_FALSE(watch.look(idle, first_moment + 200s, true).nothing_comes);
        }
        SUBCASE("ends when the claim is paused") {
            auto paused = idle;
            paused.open = false;
            CHECK(watch.look(paused, first_moment + 71s, true).records_come);
        }
    };
    auto answer = at_end;
    SUBCASE("records") {
        answer.end = 9;
        told_and_over(answer, "damaged record");
    }
    SUBCASE("an open transaction") {
        answer.high_watermark = 12;
        told_and_over(answer, "a transaction is open");
    }
    SUBCASE("no answer") {
        answer.error = make_error_code(RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE);
        told_and_over(answer, "LEADER_NOT_AVAILABLE");
    }
}

TEST_CASE("claim_watch: a record that was written just before the question is on its way") {
    claim_watch watch{first_moment};
    auto answer = at_end;
    answer.end = 8;
    watch.log_end(answer, idle, first_moment + 15s);
    CHECK_FALSE(watch.look(idle, first_moment + 15s, true).nothing_comes);
    auto after = idle;
    after.delivered = 1;
    after.position = 8;
    auto const found = watch.look(after, first_moment + 15500ms, true);
    CHECK_FALSE(found.nothing_comes);
    CHECK_FALSE(found.records_come); // nothing was told
    CHECK_FALSE(watch.look(after, first_moment + 40s, true).nothing_comes);
}

TEST_CASE(
    "claim_watch: who has not been asked for since something came does not wait for the others") {
    claim_watch watch{first_moment};
    CHECK_FALSE(watch.asked());
    watch.log_end_asked();
    CHECK(watch.asked());
    watch.look(idle, first_moment + 1s, true);
    CHECK(watch.asked());
    auto after = idle;
    after.delivered = 1;
    watch.look(after, first_moment + 2s, true);
    CHECK_FALSE(watch.asked());
}

TEST_CASE("claim_watch: a handler that takes nothing stalls until it does") {
    claim_watch watch{first_moment};
    claim_look const slow{.queued = 5, .position = 7};
    CHECK_FALSE(watch.look(slow, first_moment + 29s, true).stalled);
    CHECK(watch.look(slow, first_moment + 30s, true).stalled);
    CHECK_FALSE(watch.look(slow, first_moment + 59s, true).stalled);
    CHECK(watch.look(slow, first_moment + 60s, true).stalled);
    auto after = slow;
    SUBCASE("a record") { after.delivered = 1; }
    SUBCASE("a pause") { after.open = false; }
    SUBCASE("nothing waits any more") { after.queued = 0; }
    CHECK(watch.look(after, first_moment + 61s, true).resumed);
    CHECK_FALSE(watch.look(after, first_moment + 62s, true).resumed);
}

TEST_CASE(
    "claim_watch: a wake-up is missed when records wait at two looks beside a handler that waits") {
    claim_watch watch{first_moment};
    claim_look const both{.waits = true, .queued = 1};
    CHECK_FALSE(watch.look(both, first_moment, true).wake_up_missed);
    CHECK(watch.look(both, first_moment + 1s, true).wake_up_missed);
}

TEST_CASE("claim_watch: an error of the partition is over with a record from behind it, or an "
          "answer of the leader") {
    claim_watch watch{first_moment};
    watch.failed(idle, first_moment, true);
    CHECK_FALSE(watch.look(idle, first_moment + 1s, true).recovered);
    SUBCASE("a record") {
        auto after = idle;
        after.delivered = 1;
        CHECK(watch.look(after, first_moment + 2s, true).recovered);
        CHECK_FALSE(watch.look(after, first_moment + 3s, true).recovered);
    }
    SUBCASE("an answer, when the error has not come again for ten seconds") {
        CHECK_FALSE(watch.log_end(at_end, idle, first_moment + 9s).recovered);
        watch.failed(idle, first_moment + 10s, true);
        CHECK_FALSE(watch.log_end(at_end, idle, first_moment + 19s).recovered);
        CHECK(watch.log_end(at_end, idle, first_moment + 20s).recovered);
    }
    SUBCASE("not an answer of a leader that does not know of it") {
        watch.failed(idle, first_moment + 1s, false);
        CHECK_FALSE(watch.log_end(at_end, idle, first_moment + 20s).recovered);
    }
    SUBCASE("not records that were taken before it") {
        claim_look busy{.waits = false, .queued = 3, .position = 7, .delivered = 100};
        watch.failed(busy, first_moment + 1s, true);
        busy.queued = 0;
        busy.delivered = 103;
        CHECK_FALSE(watch.look(busy, first_moment + 2s, true).recovered);
    }
}

} // namespace claim_watch_tests
