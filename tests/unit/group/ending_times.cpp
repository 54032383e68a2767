// SPDX-License-Identifier: MIT

#include <kgroup/detail/group/ending_times.hpp>

#include <doctest/doctest.h>

#include <array>
#include <chrono>

namespace ending_times_tests {

namespace {

using namespace std::chrono_literals;
using kgroup::detail::clock;
using kgroup::detail::ending_times;

ending_times::settings given(clock::duration rebalance_deadline, clock::duration commit_timeout,
                             clock::duration close_timeout) {
    return {rebalance_deadline, commit_timeout, close_timeout};
}

TEST_CASE("ending_times: what handlers have of the time to close") {
    struct sample {
        clock::duration rebalance_deadline, commit_timeout, close_timeout, handlers;
    };
    for (auto const& time :
         std::array{sample{10s, 5s, 15s, 11250ms}, // all but a quarter
                    sample{3s, 5s, 9s, 6750ms},
                    sample{10s, 5s, 60s, 54s},      // or but what the commit and the leave need
                    sample{10s, 100ms, 8s, 6900ms}, // which is another way to say so
                    sample{10s, 5s, 12s, 10s},      // as long as in a rebalance, if that fits
                    sample{9s, 5s, 10s, 9s}, sample{9100ms, 5s, 10s, 7500ms},
                    sample{10s, 5s, 1s, 750ms}}) {
        CAPTURE(time.close_timeout.count());
        CHECK(ending_times::handlers_share(given(time.rebalance_deadline, time.commit_timeout,
                                                 time.close_timeout)) == time.handlers);
    }
}

TEST_CASE("ending_times: a rebalance") {
    ending_times times{given(20s, 5s, 15s)};
    clock::time_point const begin{1h};
    CHECK(times.drain(begin) == begin + 20s);
    CHECK(times.grace(begin + 20s) == begin + 21s);
    CHECK(times.commit(begin) == begin + 5s);
    SUBCASE("cleanup has what handlers leave") { CHECK(times.cleanup(begin + 5s) == begin + 20s); }
    SUBCASE("and a quarter at least") { CHECK(times.cleanup(begin + 19s) == begin + 24s); }
    SUBCASE("another one begins anew") {
        times.over();
        CHECK(times.cleanup(begin + 30s) == begin + 50s);
    }
    CHECK_FALSE(times.closing());
}

TEST_CASE(
    "ending_times: all steps of a stop fit into the time to close, whatever each of them takes") {
    for (auto const close_timeout : {100ms, 1000ms, 2000ms, 9000ms, 15000ms, 60000ms}) {
        CAPTURE(close_timeout.count());
        ending_times times{given(10s, 5s, close_timeout)};
        clock::time_point now{1h};
        times.close(now);
        auto const end = times.close_by();
        CHECK(end == now + close_timeout);
        auto const later = [&](clock::time_point until) {
            CHECK(until > now);
            CHECK(until < end);
            now = until;
        };
        later(times.drain(now));
        later(times.grace(now));
        later(times.cleanup(now));
        later(times.grace(now));
        later(times.commit(now));
        CHECK(end - now >= close_timeout / 100); // for the leave
    }
}

TEST_CASE("ending_times: what began before the stop has no more than what begins with it") {
    ending_times times{given(10s, 5s, 4s)};
    clock::time_point const begin{1h};
    CHECK(times.drain(begin) == begin + 10s);
    times.close(begin + 1s);
    times.close(begin + 2s); // the first counts
    CHECK(times.handlers_until() == begin + 4s);
    CHECK(times.cleanup(begin + 2s) == begin + 4s);
}

TEST_CASE("ending_times: the group waits for a member that closes no longer than for others") {
    ending_times times{given(10s, 5s, 1min)};
    clock::time_point const begin{1h};
    times.close(begin);
    CHECK(times.drain(begin) == begin + 54s);
    CHECK(times.hasten(begin + 20s) == begin + 30s);
    CHECK(times.handlers(begin + 21s) == begin + 30s);
    CHECK(times.cleanup(begin + 22s) == begin + 31500ms); // a quarter of what is left
    times.over();
    CHECK(times.handlers(begin + 31s) == begin + 54s);
}

TEST_CASE("ending_times: an assignment to leave with has half of what is left") {
    ending_times times{given(10s, 5s, 8s)};
    clock::time_point const begin{1h};
    times.close(begin);
    CHECK(times.join(begin) == begin + 4s);
    CHECK(times.join(begin + 6s) == begin + 7s);
    CHECK(times.join(begin + 10s) == begin + 10s);
}

} // namespace

} // namespace ending_times_tests
