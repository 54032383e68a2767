// SPDX-License-Identifier: MIT

#include <kgroup/each.hpp>
#include <kgroup/for_each.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/cancellation_type.hpp>
#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <asio/redirect_error.hpp>
#include <asio/steady_timer.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <doctest/doctest.h>
#include <support/scripted_group.hpp>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace kgroup::tests {

namespace {

using record = fake_cluster::record;

record keyed(std::string_view key, std::string_view value) {
    return record{.key = std::string{key}, .value = std::string{value}};
}

/// A group whose handler runs `for_each` with a function that waits until the test lets it go on.
struct for_each_group : scripted_group {
    struct call {
        explicit call(asio::any_io_executor const& executor)
            : gate(executor, detail::clock::time_point::max()) {}

        detail::timer gate;
        std::exception_ptr failure;
        bool cancelled = false;
    };

    for_each_options options;
    lines said_by_function; // "+value" begun, "-value" ended
    std::map<std::string, std::shared_ptr<call>, std::less<>> under_way;
    std::set<std::string, std::less<>> passes; // these do not wait
    std::size_t most_at_once = 0;
    std::vector<std::uint32_t> attempts;
    std::exception_ptr came_out;

    for_each_group() {
        handler.on_claim = [this](session&, claim& claim) -> asio::awaitable<void> {
            auto function = [this](message const& taken, attempt const& current) {
                return wait_for_test(std::string{taken.value()}, current);
            };
            try {
                co_await for_each(claim, options, function);
            } catch (...) {
                came_out = std::current_exception();
                throw;
            }
        };
    }

    asio::awaitable<void> wait_for_test(std::string value, attempt const& current) {
        attempts.push_back(current.number());
        said_by_function.push_back("+" + value);
        if (!passes.contains(value)) {
            auto const waiting = std::make_shared<call>(co_await asio::this_coro::executor);
            under_way[value] = waiting;
            most_at_once = std::max(most_at_once, under_way.size());
            std::error_code ec;
            co_await waiting->gate.async_wait(asio::redirect_error(asio::use_awaitable, ec));
            under_way.erase(value);
            auto const state = co_await asio::this_coro::cancellation_state;
            if (state.cancelled() != asio::cancellation_type::none) {
                said_by_function.push_back("x" + value);
                throw std::system_error{asio::error::operation_aborted};
            }
            if (waiting->failure) {
                said_by_function.push_back("!" + value);
                std::rethrow_exception(waiting->failure);
            }
        }
        said_by_function.push_back("-" + value);
    }

    void finish(std::string_view value, std::exception_ptr failure = nullptr) {
        auto const found = under_way.find(value);
        REQUIRE(found != under_way.end());
        found->second->failure = failure;
        found->second->gate.cancel();
        settle();
    }
    void fail(std::string_view value) {
        finish(value, std::make_exception_ptr(std::runtime_error{"refused"}));
    }

    lines calls() { return std::exchange(said_by_function, {}); }
};

} // namespace

TEST_CASE("for_each by partition takes one record after another and marks it") {
    for_each_group group;
    group.cluster.add_records(t0, "a", "b", "c");
    group.run_over({t0});
    CHECK(group.calls() == lines{"+a"});
    group.finish("a");
    CHECK(group.calls() == lines{"-a", "+b"});
    group.finish("b");
    group.group->stop();
    group.settle();
    CHECK(group.calls() == lines{"-b", "+c"});
    CHECK_FALSE(group.outcome.completed);
    group.finish("c"); // what runs may finish
    CHECK(group.outcome.completed);
    CHECK_FALSE(group.outcome.failure);
    CHECK(group.cluster.committed(t0) == 3);
}

TEST_CASE("for_each by key runs keys side by side and each key in order") {
    for_each_group group;
    group.options = {.order = order::by_key};
    group.cluster.add_records(t0, keyed("x", "x1"), keyed("x", "x2"), keyed("y", "y1"),
                              keyed("x", "x3"), keyed("y", "y2"));
    group.run_over({t0});
    CHECK(group.calls() == lines{"+x1", "+y1"});
    group.finish("y1");
    CHECK(group.calls() == lines{"-y1", "+y2"});
    group.finish("y2");
    CHECK(group.calls() == lines{"-y2"});
    group.finish("x1");
    CHECK(group.calls() == lines{"-x1", "+x2"});
    group.finish("x2");
    group.finish("x3");
    group.stop();
    CHECK(group.cluster.committed(t0) == 5);
}

TEST_CASE("for_each by key commits behind the unbroken run of what is done") {
    for_each_group group;
    group.options = {.order = order::by_key};
    group.cluster.add_records(t0, keyed("x", "x1"), keyed("y", "y1"), keyed("z", "z1"));
    group.run_over({t0});
    group.finish("z1");
    group.finish("x1");
    group.cluster.revoke();
    group.settle();
    group.advance(1h); // y1 is cancelled at the deadline
    group.settle();
    CHECK(group.said_by_function.back() == "xy1");
    CHECK(group.cluster.committed(t0) == 1);
    group.stop();
}

TEST_CASE("for_each by key: null keys run side by side, or in one lane") {
    for (auto const null_keys : {null_keys::side_by_side, null_keys::one_lane}) {
        for_each_group group;
        group.options = {.order = order::by_key, .null_keys = null_keys};
        group.cluster.add_records(t0, "a", "b", keyed("", "c"), keyed("", "d"));
        group.run_over({t0});
        CHECK(group.calls() ==
              (null_keys == null_keys::one_lane ? lines{"+a", "+c"} : lines{"+a", "+b", "+c"}));
        for (auto const value : {"a", "b", "c", "d"}) {
            group.finish(value);
        }
        group.stop();
    }
}

TEST_CASE("for_each unordered runs as many as may be in flight") {
    for_each_group group;
    group.options = {.order = order::unordered, .in_flight = 3};
    group.cluster.add_records(t0, keyed("k", "a"), keyed("k", "b"), keyed("k", "c"),
                              keyed("k", "d"), keyed("k", "e"));
    group.run_over({t0});
    CHECK(group.calls() == lines{"+a", "+b", "+c"});
    group.finish("b");
    CHECK(group.calls() == lines{"-b", "+d"});
    for (auto const value : {"a", "c", "d", "e"}) {
        group.finish(value);
    }
    CHECK(group.most_at_once == 3);
    group.stop();
    CHECK(group.cluster.committed(t0) == 5);
}

TEST_CASE("for_each repeats what failed, and only its key waits") {
    for_each_group group;
    group.options = {.order = order::by_key,
                     .retry = {.attempts = 3, .backoff = {.initial = 1s, .max = 10s, .jitter = 0}}};
    group.cluster.add_records(t0, keyed("x", "x1"), keyed("x", "x2"), keyed("y", "y1"),
                              keyed("y", "y2"));
    group.run_over({t0});
    group.fail("x1");
    CHECK(group.calls() == lines{"+x1", "+y1", "!x1"});
    group.finish("y1");
    group.finish("y2");
    CHECK(group.calls() == lines{"-y1", "+y2", "-y2"});
    group.advance(500ms);
    CHECK(group.calls().empty());
    group.advance(500ms);
    CHECK(group.calls() == lines{"+x1"});
    group.fail("x1");
    group.advance(1500ms);
    CHECK(group.calls() == lines{"!x1"});
    group.advance(500ms);
    CHECK(group.attempts.back() == 3);
    group.finish("x1");
    CHECK(group.calls() == lines{"+x1", "-x1", "+x2"});
    group.finish("x2");
    group.stop();
    CHECK(group.cluster.committed(t0) == 4);
}

TEST_CASE("for_each repeats what failed when it is time, however much else there is to do") {
    for_each_group group;
    group.options = {.order = order::unordered,
                     .in_flight = 1,
                     .retry = {.attempts = 2, .backoff = {.initial = 10ms, .jitter = 0}}};
    group.cluster.add_records(t0, "a", "b", "c", "d", "e");
    group.run_over({t0});
    group.fail("a");
    group.advance(10ms);
    CHECK(group.calls() == lines{"+a", "!a", "+b"});
    group.finish("b");
    CHECK(group.calls() == lines{"-b", "+a"});
    for (auto const value : {"a", "c", "d", "e"}) {
        group.finish(value);
    }
    group.stop();
    CHECK(group.cluster.committed(t0) == 5);
}

TEST_CASE("for_each repeats what failed when it is time, and nothing else is left to do") {
    for_each_group group;
    group.options = {.order = order::unordered,
                     .in_flight = 1,
                     .retry = {.attempts = 2, .backoff = {.initial = 1s, .jitter = 0}}};
    group.cluster.add_records(t0, "a", "b");
    group.run_over({t0});
    group.fail("a");
    CHECK(group.calls() == lines{"+a", "!a", "+b"});
    group.finish("b");
    CHECK(group.calls() == lines{"-b"});
    group.advance(1s);
    CHECK(group.calls() == lines{"+a"});
    group.finish("a");
    group.stop();
    CHECK(group.cluster.committed(t0) == 2);
}

TEST_CASE("for_each: the random part of a backoff is the same in each run of a test") {
    std::vector<int> waits;
    for (int run = 0; run != 3; ++run) {
        for_each_group group;
        group.options = {
            .retry = {.attempts = 2, .backoff = {.initial = 1000s, .max = 1h, .jitter = 1}}};
        group.cluster.add_records(t0, "a");
        group.run_over({t0});
        group.fail("a");
        for (waits.push_back(0); group.under_way.empty() && waits.back() != 1001; ++waits.back()) {
            group.advance(1s);
        }
        group.finish("a");
        group.stop();
    }
    CHECK(waits[0] != 1001);
    CHECK(std::abs(waits[0] - waits[1]) <= 1); // the clock goes on by itself, too
    CHECK(std::abs(waits[0] - waits[2]) <= 1);
}

TEST_CASE("for_each ends with the failure of a record that is given up") {
    for_each_group group;
    group.options = {.order = order::unordered,
                     .retry = {.attempts = 2, .backoff = {.initial = 10ms}}};
    group.cluster.add_records(t0, "a", "b", "c");
    group.run_over({t0});
    group.fail("b");
    group.advance(10ms);
    group.fail("b");
    CHECK_FALSE(group.came_out); // the others finish
    group.finish("c");
    group.finish("a");
    CHECK(group.outcome.what() == "refused");
    CHECK(group.cluster.committed(t0) == 1);
}

TEST_CASE(
    "for_each: what fails while another failure ends it is told, with its offset, and undone") {
    for_each_group group;
    group.options = {.order = order::unordered, .retry = {.attempts = 1}};
    group.cluster.add_records(t0, "a", "b");
    group.run_over({t0});
    group.fail("b");
    group.finish("a", std::make_exception_ptr(std::runtime_error{"busy"}));
    auto const told = std::ranges::find(group.events, event_kind::handler_failed, &event::kind);
    REQUIRE(told != group.events.end()); // before the end of the run is told
    CHECK(told->level == severity::warning);
    CHECK(told->text == "offset 0 failed while for_each was ending, and is undone: busy");
    CHECK(group.outcome.what() == "refused");
    CHECK_FALSE(group.cluster.committed(t0).has_value());
}

TEST_CASE("for_each: others that do not finish after a failure are cancelled at the deadline") {
    for_each_group group;
    group.options = {.order = order::unordered};
    group.cluster.add_records(t0, "a", "b");
    group.run_over({t0});
    group.fail("b");
    CHECK(group.outcome.completed == false);
    group.advance(1h);
    group.settle();
    CHECK(group.outcome.what() == "refused");
    CHECK(group.said_by_function.back() == "xa");
    CHECK_FALSE(group.cluster.committed(t0).has_value());
}

TEST_CASE("for_each skips a record that is given up, with an event") {
    for_each_group group;
    group.options = {.order = order::by_key, .retry = {.give_up = give_up::skip}};
    group.cluster.add_records(t0, keyed("x", "x1"), keyed("x", "x2"));
    group.run_over({t0});
    group.fail("x1");
    CHECK(group.count(event_kind::record_skipped) == 1);
    CHECK(group.last(event_kind::record_skipped).where == t0);
    group.finish("x2");
    group.stop();
    CHECK(group.cluster.committed(t0) == 2);
}

TEST_CASE("for_each gives a permanent failure up at once") {
    for_each_group group;
    group.options = {.retry = {.attempts = 10, .give_up = give_up::skip}};
    group.cluster.add_records(t0, "a");
    group.run_over({t0});
    group.finish("a", std::make_exception_ptr(permanent_failure{"malformed"}));
    CHECK(group.count(event_kind::record_skipped) == 1);
    group.stop();
}

TEST_CASE(
    "for_each starts nothing new while the function says not_now, and the attempt does not count") {
    for_each_group group;
    group.options = {.order = order::unordered,
                     .in_flight = 2,
                     .retry = {.attempts = 1, .backoff = {.initial = 1s, .jitter = 0}}};
    group.cluster.add_records(t0, "a", "b", "c");
    group.run_over({t0});
    auto const away = std::make_exception_ptr(not_now{"the warehouse is away"});
    group.finish("a", away);
    CHECK(group.calls() == lines{"+a", "+b", "!a"});
    group.finish("b", away);
    CHECK(group.calls() == lines{"!b"});
    CHECK(group.count(event_kind::processing_held) == 1);
    group.advance(1s);
    CHECK(group.calls() == lines{"+a"}); // one probe
    group.finish("a", away);
    group.advance(1500ms);
    CHECK(group.calls() == lines{"!a"});
    group.advance(500ms);
    REQUIRE(group.said_by_function.size() == 1);
    auto const probe = group.calls().front().substr(1);
    group.finish(probe);
    CHECK(group.count(event_kind::processing_resumed) == 1);
    CHECK(group.under_way.size() == 2);
    while (!group.under_way.empty()) {
        group.finish(group.under_way.begin()->first);
    }
    CHECK(group.attempts == std::vector<std::uint32_t>(group.attempts.size(), 1));
    group.stop();
    CHECK(group.cluster.committed(t0) == 3);
}

TEST_CASE("for_each: a probe that fails otherwise is repeated when its time has come") {
    for_each_group group;
    group.options = {.retry = {.attempts = 2, .backoff = {.initial = 1s, .jitter = 0}}};
    group.cluster.add_records(t0, "a");
    group.run_over({t0});
    group.finish("a", std::make_exception_ptr(not_now{"the warehouse is away"}));
    group.advance(1s);
    CHECK(group.calls() == lines{"+a", "!a", "+a"});
    group.fail("a");
    group.advance(1s); // nothing else tells the claim to look
    CHECK(group.calls() == lines{"!a", "+a"});
    group.finish("a");
    CHECK(group.count(event_kind::processing_resumed) == 1);
    group.stop();
    CHECK(group.cluster.committed(t0) == 1);
}

TEST_CASE("for_each: an outage in which the function says not_now does not use up give_up_after") {
    for_each_group group;
    group.options = {.retry = {.attempts = 5,
                               .backoff = {.initial = 1s, .max = 1s, .jitter = 0},
                               .give_up_after = 10s,
                               .give_up = give_up::skip}};
    group.cluster.add_records(t0, "a");
    group.run_over({t0});
    for (int second = 0; second != 30; ++second) {
        group.finish("a", std::make_exception_ptr(not_now{"the warehouse is away"}));
        group.advance(1s);
    }
    group.fail("a"); // the first attempt that counts
    group.advance(1s);
    group.advance(7500ms);
    group.fail("a"); // after 8.5 s
    CHECK(group.count(event_kind::record_skipped) == 0);
    group.advance(1s);
    group.fail("a");
    CHECK(group.count(event_kind::record_skipped) == 1);
    group.stop();
}

TEST_CASE("for_each: times longer than the clock goes are no limit") {
    constexpr auto longest = (std::chrono::milliseconds::max)();
    for_each_group group;
    group.options = {.retry = {.attempts = 2,
                               .backoff = {.initial = 10ms, .max = longest, .jitter = 0},
                               .give_up_after = longest,
                               .attempt_timeout = longest}};
    group.cluster.add_records(t0, "a");
    group.run_over({t0});
    group.fail("a");
    group.advance(10ms);
    group.advance(1h);
    CHECK(group.calls() == lines{"+a", "!a", "+a"});
    group.finish("a");
    group.stop();
    CHECK(group.cluster.committed(t0) == 1);
}

TEST_CASE("for_each cancels an attempt that takes too long, and repeats it") {
    for_each_group group;
    group.options = {
        .retry = {.attempts = 2, .backoff = {.initial = 10ms, .jitter = 0}, .attempt_timeout = 5s}};
    group.cluster.add_records(t0, "a");
    group.run_over({t0});
    group.advance(4900ms);
    CHECK(group.calls() == lines{"+a"});
    group.advance(100ms);
    CHECK(group.calls() == lines{"xa"});
    group.advance(10ms);
    CHECK(group.calls() == lines{"+a"});
    group.finish("a"); // a fresh cancellation state
    CHECK(group.calls() == lines{"-a"});
    group.stop();
    CHECK(group.cluster.committed(t0) == 1);
}

TEST_CASE("for_each gives up when attempt_timeout was the last attempt's end") {
    for_each_group group;
    group.options = {.retry = {.attempt_timeout = 5s}};
    group.cluster.add_records(t0, "a");
    group.run_over({t0});
    group.advance(5s);
    CHECK(group.outcome.error() == errc::attempt_timed_out);
}

TEST_CASE("for_each cuts retries short and gives up what waits when its claim ends") {
    for_each_group group;
    group.options = {.order = order::by_key,
                     .retry = {.attempts = 100, .backoff = {.initial = 10min, .max = 1h}}};
    group.cluster.add_records(t0, keyed("x", "x1"), keyed("x", "x2"), keyed("y", "y1"));
    group.run_over({t0});
    group.fail("x1");
    group.finish("y1");
    group.cluster.revoke();
    group.settle();
    CHECK(group.handler.claims_ended == 1);
    CHECK_FALSE(group.cluster.committed(t0).has_value());
    group.stop();
}

TEST_CASE("for_each cancels what runs when the claim is lost, and acknowledges nothing of it") {
    for_each_group group;
    group.options = {.order = order::unordered};
    group.cluster.add_records(t0, "a", "b");
    group.run_over({t0});
    group.cluster.lose();
    group.settle();
    CHECK(group.calls() == lines{"+a", "+b", "xa", "xb"});
    CHECK(group.handler.claims_ended == 1);
    CHECK_FALSE(group.cluster.committed(t0).has_value());
    CHECK(group.count(event_kind::mark_refused) == 0);
    group.stop();
}

TEST_CASE("a failure while the claim ends is neither repeated nor thrown") {
    for_each_group group;
    group.options = {.order = order::unordered};
    group.cluster.add_records(t0, "a", "b");
    group.run_over({t0});
    group.group->stop();
    group.settle();
    group.fail("a");
    group.finish("b");
    CHECK(group.outcome.completed);
    CHECK_FALSE(group.outcome.failure);
    CHECK_FALSE(group.cluster.committed(t0).has_value());
}

TEST_CASE("for_each starts nothing while its claim is paused") {
    for_each_group group;
    group.options = {.order = order::by_key,
                     .retry = {.attempts = 2, .backoff = {.initial = 10ms}}};
    group.cluster.add_records(t0, keyed("x", "x1"), keyed("x", "x2"));
    group.run_over({t0});
    group.group->pause_all();
    group.fail("x1");
    group.cluster.add_records(t0, keyed("y", "y1"));
    group.advance(1s);
    CHECK(group.calls() == lines{"+x1", "!x1"});
    group.group->resume_all();
    group.settle();
    CHECK(group.calls() == lines{"+x1", "+y1"});
    for (auto const value : {"x1", "x2", "y1"}) {
        group.finish(value);
    }
    group.stop();
}

TEST_CASE("claims take turns under a limit") {
    for_each_group group;
    limit places{2};
    group.options = {.order = order::unordered, .limit = &places};
    group.cluster.add_records(t0, "a0", "b0", "c0");
    group.cluster.add_records(t1, "a1", "b1", "c1");
    group.run_over({t0, t1});
    std::set<std::string> begun;
    while (!group.under_way.empty()) {
        CHECK(group.under_way.size() <= 2);
        auto const value = group.under_way.begin()->first;
        begun.insert(value);
        group.finish(value);
    }
    CHECK(begun.size() == 6);
    CHECK(group.most_at_once == 2);
    group.stop();
}

TEST_CASE("claims share a limit evenly, however long their attempts take") {
    for_each_group group;
    limit places{4};
    group.options = {.order = order::unordered, .limit = &places};
    group.cluster.add_records(t0, "s1", "s2", "s3", "s4", "s5", "s6");
    group.run_over({t0, t1});
    REQUIRE(group.under_way.size() == 4);
    group.cluster.add_records(t1, "q1", "q2", "q3", "q4", "q5");
    group.settle();
    REQUIRE_FALSE(group.under_way.contains("q1"));
    group.finish("s1");
    for (auto const value : {"q1", "q2", "q3", "q4"}) { // it has fewer places than the slow one
        group.finish(value);
    }
    CHECK(group.under_way.size() == 4);
    group.finish("s2");
    group.finish("s3");
    CHECK(group.under_way.contains("q5"));
    for (auto const value : {"s4", "s5", "s6", "q5"}) {
        group.finish(value);
    }
    CHECK(group.most_at_once == 4);
    group.stop();
}

TEST_CASE("a claim that is paused while it waits for a place leaves it to others") {
    for_each_group group;
    limit places{1};
    group.options = {.order = order::unordered, .limit = &places};
    group.cluster.add_records(t0, "a0", "b0");
    group.run_over({t0, t1});
    group.cluster.add_records(t1, "a1");
    group.settle();
    group.group->pause({t1});
    group.finish("a0");
    group.finish("b0");
    CHECK(group.under_way.empty());
    group.group->resume({t1});
    group.settle();
    group.finish("a1");
    group.stop();
}

TEST_CASE("a place that came late, for what has begun in another, goes on to others") {
    for_each_group group;
    limit places{2};
    group.options = {.order = order::unordered, .limit = &places};
    group.cluster.add_records(t0, "a0", "b0", "c0");
    group.run_over({t0, t1});
    group.finish("a0"); // t0 has asked for a place for c0, which begins in this one
    group.cluster.add_records(t1, "a1", "b1");
    group.settle();
    group.finish("b0");
    group.finish("c0");
    CHECK(group.under_way.size() == 2);
    group.finish("a1");
    group.finish("b1");
    group.stop();
}

TEST_CASE("claims that end give their places and turns under a limit back") {
    for_each_group group;
    limit places{1};
    group.options = {.order = order::unordered, .limit = &places};
    group.cluster.add_records(t0, "a0", "b0");
    group.cluster.add_records(t1, "a1");
    group.run_over({t0, t1});
    REQUIRE(group.under_way.size() == 1);
    group.cluster.revoke();
    group.settle();
    group.finish(group.under_way.begin()->first);
    group.cluster.assign({t2});
    group.cluster.add_records(t2, "a2", "b2");
    group.settle();
    CHECK(group.under_way.contains("a2"));
    group.finish("a2");
    group.finish("b2");
    group.stop();
}

TEST_CASE("for_each counts an exception of the key's function as a failed attempt") {
    for_each_group group;
    static int calls;
    calls = 0;
    group.options = {.order = order::by_key,
                     .retry = {.attempts = 3, .backoff = {.initial = 10ms, .jitter = 0}},
                     .key = [](message const& taken) -> std::optional<std::string_view> {
                         if (taken.value() == "bad" && ++calls < 3) {
                             throw std::runtime_error{"no key"};
                         }
                         return taken.value().substr(0, 1);
                     }};
    group.cluster.add_records(t0, "bad", "b2", "c1");
    group.run_over({t0});
    CHECK(group.calls() == lines{"+b2", "+c1"});
    group.advance(10ms); // its key is known now, and busy
    CHECK(group.calls().empty());
    group.finish("b2");
    CHECK(group.calls() == lines{"-b2", "+bad"});
    group.finish("bad");
    group.finish("c1");
    group.stop();
    CHECK(group.cluster.committed(t0) == 3);
}

TEST_CASE("a probe that has to wait for its key lets another be the probe") {
    for_each_group group;
    static int calls;
    calls = 0;
    group.options = {.order = order::by_key,
                     .retry = {.attempts = 3, .backoff = {.initial = 10ms, .jitter = 0}},
                     .key = [](message const& taken) -> std::optional<std::string_view> {
                         if (taken.value() == "bad" && ++calls < 3) {
                             throw std::runtime_error{"no key"};
                         }
                         return taken.value().substr(0, 1);
                     }};
    group.cluster.add_records(t0, "bad", "b2");
    group.run_over({t0});
    group.finish("b2", std::make_exception_ptr(not_now{"away"})); // it keeps its lane
    CHECK(group.calls() == lines{"+b2", "!b2"});
    group.advance(10ms);
    CHECK(group.calls() == lines{"+b2"});
    group.finish("b2");
    CHECK(group.count(event_kind::processing_resumed) == 1);
    group.finish("bad");
    group.stop();
    CHECK(group.cluster.committed(t0) == 2);
}

TEST_CASE("for_each takes functions that do not wait") {
    scripted_group group;
    lines seen;
    group.handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        auto note = [&seen](message const& taken) { seen.emplace_back(taken.value()); };
        co_await for_each(claim, {.order = order::unordered}, note);
    };
    for (int count = 0; count != 1000; ++count) {
        group.cluster.add_records(t0, std::to_string(count));
    }
    group.run_over({t0});
    CHECK(seen.size() == 1000);
    group.stop();
    CHECK(group.cluster.committed(t0) == 1000);
}

TEST_CASE("for_each runs the function on another executor") {
    scripted_group group;
    asio::io_context elsewhere;
    int inside = 0;
    group.handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        auto function = [&](message const&) {
            inside += elsewhere.get_executor().running_in_this_thread() ? 1 : 0;
        };
        co_await for_each(claim, elsewhere.get_executor(),
                          {.order = order::unordered, .in_flight = 4}, function);
    };
    for (int count = 0; count != 10; ++count) {
        group.cluster.add_records(t0, std::to_string(count));
    }
    group.run_over({t0});
    while (inside != 10) {
        elsewhere.restart();
        elsewhere.poll();
        group.settle();
    }
    group.settle();
    group.stop();
    CHECK(group.cluster.committed(t0) == 10);
}

TEST_CASE("each is a whole handler") {
    fake_cluster cluster;
    cluster.add_records(t0, "a", "b");
    asio::io_context context;
    lines seen;
    auto note = [&seen](message const& taken) { seen.emplace_back(taken.value()); };
    fake_group group{context,
                     {.brokers = cluster.brokers(),
                      .group_id = "group",
                      .topics = {"t"},
                      .initial_offset = offset_reset::earliest}};
    bool completed = false;
    group.async_run(each{{.order = order::by_key}, note},
                    [&](std::exception_ptr) { completed = true; });
    cluster.assign({t0});
    testing::run_ready(context);
    CHECK(seen == lines{"a", "b"});
    group.stop();
    testing::run_ready(context);
    CHECK(completed);
    CHECK(cluster.committed(t0) == 2);
}

TEST_CASE("for_each tells what holds a claim up that makes no progress") {
    for_each_group group;
    group.options = {.order = order::by_key};
    group.cluster.add_records(t0, keyed("customer", "x1"), keyed("customer", "x2"));
    group.run_over({t0});
    group.advance(31s);
    REQUIRE(group.count(event_kind::claim_stalled) == 1);
    auto const text = group.last(event_kind::claim_stalled).text;
    CHECK(text.find("offset 0") != text.npos);
    CHECK(text.find("customer") != text.npos);
    group.finish("x1");
    CHECK(group.count(event_kind::claim_resumed) == 1);
    group.finish("x2");
    group.stop();
}

TEST_CASE("for_each: what it has told is over when it is, though the claim goes on") {
    scripted_group group;
    bool cancelled = false;
    group.handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        auto function = [](message const&) { throw not_now{"away"}; };
        asio::cancellation_signal signal;
        auto const executor = co_await asio::this_coro::executor;
        asio::co_spawn(
            executor, for_each(claim, {.retry = {.backoff = {.initial = 1h, .max = 1h}}}, function),
            asio::bind_cancellation_slot(signal.slot(),
                                         [&](std::exception_ptr e) { cancelled = e != nullptr; }));
        timer wait{executor};
        wait.expires_after(45s);
        co_await wait.async_wait();
        signal.emit(asio::cancellation_type::terminal);
        co_await claim.async_wait_ended();
    };
    group.cluster.add_records(t0, "a");
    group.run_over({t0});
    group.advance(31s);
    CHECK(group.count(event_kind::processing_held) == 1);
    CHECK(group.count(event_kind::claim_stalled) == 1);
    CHECK_FALSE(cancelled);
    group.advance(15s);
    CHECK(cancelled);
    CHECK(group.count(event_kind::processing_resumed) == 1);
    CHECK(group.count(event_kind::claim_resumed) == 1);
    group.stop();
}

TEST_CASE("for_each: a cancellation that meets the claim's end is the end") {
    for_each_group group;
    asio::cancellation_signal signal;
    bool ended = false;
    claim* owned = nullptr;
    group.passes = {"a"};
    group.handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        owned = &claim;
        auto function = [&group](message const& taken, attempt const& current) {
            return group.wait_for_test(std::string{taken.value()}, current);
        };
        auto const executor = co_await asio::this_coro::executor;
        asio::co_spawn(executor, for_each(claim, {}, function),
                       asio::bind_cancellation_slot(signal.slot(), [&](std::exception_ptr e) {
                           ended = true;
                           group.came_out = e;
                       }));
        while (!ended) {
            timer wait{executor};
            wait.expires_after(1ms);
            co_await wait.async_wait();
        }
    };
    group.cluster.add_records(t0, "a");
    group.run_over({t0});
    group.group->stop();
    group.context.restart();
    while (!owned->messages().ended()) {
        group.context.poll_one();
    }
    signal.emit(asio::cancellation_type::terminal); // it has not seen the end yet
    group.settle();
    group.advance(1ms);
    CHECK(ended);
    CHECK_FALSE(group.came_out);
    CHECK(group.outcome.completed);
    CHECK(group.cluster.committed(t0) == 1);
}

TEST_CASE("for_each: a classification that throws ends it, although it must not") {
    for_each_group group;
    group.options = {.order = order::unordered,
                     .retry = {.classify = [](std::exception_ptr const&) -> failure_class {
                         throw std::logic_error{"not classified"};
                     }}};
    group.cluster.add_records(t0, "a", "b");
    group.run_over({t0});
    group.fail("a");
    CHECK(group.calls() == lines{"+a", "+b", "!a", "xb"});
    CHECK(group.outcome.what() == "not classified");
    CHECK_FALSE(group.cluster.committed(t0));
}

TEST_CASE("for_each counts the headers of what it copies in held_bytes") {
    scripted_group group;
    claim* owned = nullptr;
    std::unique_ptr<timer> gate;
    group.settings.buffer_bytes = 1 << 20;
    group.handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        owned = &claim;
        auto function = [&](message const&) -> asio::awaitable<void> {
            if (!gate) {
                gate = std::make_unique<timer>(co_await asio::this_coro::executor,
                                               detail::clock::time_point::max());
                std::error_code ignored;
                co_await gate->async_wait(asio::redirect_error(asio::use_awaitable, ignored));
            }
        };
        co_await for_each(claim, {.order = order::by_key, .held_bytes = 100'000}, function);
    };
    std::vector<record> records;
    for (int count = 0; count != 2000; ++count) {
        records.push_back({.key = "k", .value = "v", .headers = {{"h", std::string(10'000, 'h')}}});
    }
    group.cluster.add_records(t0, records);
    group.run_over({t0});
    CHECK(owned->undone() < 100); // by keys and values alone it would be 195
    gate->cancel();
    group.settle();
    group.stop();
    CHECK(group.cluster.committed(t0) == 2000);
}

TEST_CASE(
    "for_each: a context that goes in the middle takes all with it, and the limit's places are "
    "others'") {
    fake_cluster cluster;
    cluster.add_records(t0, "runs", "done", "fails"); // the second worker is parked then
    limit places{2};
    int running = 0;
    scripted_handler handler;
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        auto function = [&](message const& taken) -> asio::awaitable<void> {
            if (taken.value() == "fails") {
                throw std::runtime_error{"for now"};
            }
            if (taken.value() == "runs") {
                ++running;
                detail::timer wait{co_await asio::this_coro::executor,
                                   detail::clock::time_point::max()};
                co_await wait.async_wait(asio::use_awaitable);
            }
        };
        co_await for_each(claim,
                          {.order = order::unordered,
                           .limit = &places,
                           .retry = {.attempts = 2, .backoff = {.initial = 1h, .max = 1h}}},
                          function);
    };
    for (int round = 1; round != 4; ++round) {
        {
            asio::io_context context;
            fake_group group{context,
                             {.brokers = cluster.brokers(),
                              .group_id = "group",
                              .topics = {"t"},
                              .initial_offset = offset_reset::earliest}};
            group.async_run(handler, [](std::exception_ptr) {});
            cluster.assign({t0});
            testing::run_ready(context);
            CHECK(running == round);
            CHECK(cluster.records_held() >= 2); // one that runs, and one that waits for its retry
        }
        CHECK(cluster.records_held() == 0);
    }
}

} // namespace kgroup::tests
