// SPDX-License-Identifier: MIT

#include <kgroup/for_each.hpp>
#include <kgroup/for_each_batch.hpp>
#include <kgroup/health.hpp>
#include <kgroup/testing/fake_dead_letters.hpp>

#include <asio/awaitable.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <doctest/doctest.h>
#include <support/latch.hpp>
#include <support/scripted_group.hpp>

#include <algorithm>
#include <chrono>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

// What keeps the records of a claim from being done, and what of it is a reason to restart the
// member: only what is up to the member itself.

namespace for_each_health_tests {

namespace {

using namespace kgroup;
using namespace kgroup::tests;

std::string all_of(kgroup::health const& judged) {
    std::string all;
    for (auto const& reason : judged.reasons) {
        all += reason + '\n';
    }
    return all;
}

/// A group whose claims run `for_each`, or `for_each_batch` over batches of one, with a function
/// that does what the test says of a value.
struct judged_group : scripted_group {
    std::function<asio::awaitable<void>(std::string)> does;
    for_each_options options;
    testing::fake_dead_letters letters;
    latch never{context};

    explicit judged_group(bool batches = false) {
        handler.on_claim = [this, batches](session&, claim& claim) -> asio::awaitable<void> {
            if (batches) {
                auto function = [this](message_batch const& batch) {
                    return does(std::string{batch[0].value()});
                };
                co_await for_each_batch(claim, {.records = 1}, options, function);
            } else {
                auto function = [this](message const& taken) {
                    return does(std::string{taken.value()});
                };
                co_await for_each(claim, options, function);
            }
        };
    }
    ~judged_group() {
        never.open();
        settle();
    }

    static asio::awaitable<void> wait(std::chrono::seconds length) {
        timer waited{co_await asio::this_coro::executor};
        waited.expires_after(length);
        co_await waited.async_wait(asio::use_awaitable);
    }
    void add(topic_partition const& where, std::string_view key) {
        cluster.add_records(
            where, fake_cluster::record{.key = std::string{key}, .value = std::string{key}});
    }
    kgroup::health ready() const { return readiness(group->state()); }
    kgroup::health live() const { return liveness(group->state()); }
    /// Second by second, live in each of them.
    void pass_live(std::chrono::seconds length) {
        for (auto second = 0s; second != length; ++second) {
            advance(1s);
            auto const judged = live();
            REQUIRE_MESSAGE(judged.ok, second.count(), " s: ", all_of(judged));
        }
    }
    /// Until it is not live; how long that took.
    std::chrono::seconds pass_until_not_live(std::chrono::seconds at_most) {
        for (auto second = 1s; second <= at_most; ++second) {
            advance(1s);
            if (!live().ok) {
                return second;
            }
        }
        return at_most + 1s;
    }
};

constexpr bool both_forms[] = {false, true};

} // namespace

TEST_CASE(
    "health: what the function depends on is away: not ready at once, in its words, and live") {
    for (auto const batches : both_forms) {
        for (auto const probe_takes : {0s, 25s}) { // shorter than the wait for it, and longer
            judged_group one{batches};
            auto words = std::string{"ledger:5432: connection refused"};
            auto away = true;
            one.does = [&](std::string const&) -> asio::awaitable<void> {
                if (away) {
                    co_await judged_group::wait(probe_takes);
                    throw not_now{words};
                }
            };
            one.options.retry.backoff = {.initial = 10ms, .max = probe_takes == 0s ? 40s : 10ms};
            one.add(t0, "a");
            one.add(t0, "b");
            one.run_over({t0});
            one.pass_live(probe_takes);
            one.advance(1ms);
            auto reasons = all_of(one.ready());
            CHECK_MESSAGE(reasons.starts_with("processing_held t[0]: "), reasons);
            CHECK_MESSAGE(reasons.find(words) != std::string::npos, reasons);
            one.pass_live(420s);
            CHECK(one.count(event_kind::processing_held) == 1);
            auto const stalled = one.last(event_kind::claim_stalled).text;
            CHECK_MESSAGE(stalled.find("said not_now: " + words) != std::string::npos, stalled);
            words = "ledger:5432: no route to host"; // another reason is told
            one.pass_live(80s);
            CHECK(one.count(event_kind::processing_held) == 2);
            reasons = all_of(one.ready());
            CHECK_MESSAGE(reasons.find(words) != std::string::npos, reasons);
            away = false;
            one.pass_live(60s);
            CHECK(one.count(event_kind::processing_resumed) == 1);
            CHECK_MESSAGE(one.ready().ok, all_of(one.ready()));
            one.stop();
            CHECK(one.cluster.committed(t0) == 2);
        }
    }
}

TEST_CASE("health: what is held off ends with its claim, and not after it") {
    for (auto const batches : both_forms) {
        judged_group one{batches};
        one.does = [](std::string const&) -> asio::awaitable<void> {
            throw not_now{""};
            co_return;
        };
        one.add(t0, "a");
        one.run_over({t0});
        CHECK(one.group->state().find(event_kind::processing_held, t0) != nullptr);
        one.cluster.revoke();
        one.settle();
        CHECK(one.count(event_kind::processing_resumed) == 1);
        CHECK(one.group->state().find(event_kind::processing_held) == nullptr);
        one.stop();
    }
}

TEST_CASE("health: a dead letter that waits is no reason to restart") {
    for (auto const batches : both_forms) {
        judged_group one{batches};
        one.options.dead_letters = &one.letters;
        one.letters.hold();
        one.does = [](std::string const&) -> asio::awaitable<void> {
            throw permanent_failure{"poison"};
            co_return;
        };
        one.add(t0, "a");
        one.run_over({t0});
        one.pass_live(420s);
        CHECK(one.group->state().find(event_kind::dead_letter_held, t0) != nullptr);
        auto const stalled = one.last(event_kind::claim_stalled).text;
        CHECK_MESSAGE(stalled.find("dead letter is under way") != std::string::npos, stalled);
        one.letters.release();
        one.settle();
        one.stop();
        CHECK(one.cluster.committed(t0) == 1);
    }
}

TEST_CASE("health: a retry that waits for long, and attempts that fail for long, are live") {
    for (auto const batches : both_forms) {
        for (auto const attempt_takes : {0s, 100s}) {
            judged_group one{batches};
            one.options.retry = {.attempts = 1000,
                                 .backoff = {.initial = attempt_takes == 0s ? 400s : 1ms,
                                             .max = attempt_takes == 0s ? 400s : 1ms,
                                             .jitter = 0}};
            one.does = [&](std::string const&) -> asio::awaitable<void> {
                co_await judged_group::wait(attempt_takes);
                throw std::runtime_error{"busy"};
            };
            one.add(t0, "a");
            one.run_over({t0});
            one.pass_live(900s);
            one.stop();
        }
    }
}

TEST_CASE(
    "health: who waits for a place of a limit is live and says so, who has it for good is not") {
    for (auto const batches : both_forms) {
        judged_group one{batches};
        limit places{1};
        one.options.limit = &places;
        one.does = [&](std::string const&) { return one.never.wait(); };
        one.add(t0, "a");
        one.run_over({t0, t1});
        one.add(t1, "b");
        CHECK(one.pass_until_not_live(400s) >= 300s);
        auto const reasons = all_of(one.live());
        CHECK_MESSAGE(reasons.find("t[0]: no progress for 30") != std::string::npos, reasons);
        CHECK_MESSAGE(reasons.find("t[1]") == std::string::npos, reasons);
        auto const said = [&](topic_partition const& where) {
            return std::ranges::any_of(one.events, [&](event const& told) {
                return told.kind == event_kind::claim_stalled && told.where == where &&
                       told.text.find("waits for a place under the limit") != std::string::npos;
            });
        };
        CHECK(said(t1));
        CHECK_FALSE(said(t0));
        one.never.open();
        one.settle();
        one.pass_live(1s);
        CHECK_MESSAGE(one.ready().ok, all_of(one.ready()));
        one.stop();
        CHECK(one.cluster.committed(t1) == 1);
    }
}

TEST_CASE("health: a call of the function that does not end is a reason, from when it began") {
    for (auto const batches : both_forms) {
        judged_group one{batches};
        auto away = true;
        one.options.retry.backoff = {.initial = 1s, .max = 1s, .jitter = 0};
        one.does = [&](std::string const&) -> asio::awaitable<void> {
            if (away) {
                throw not_now{"away"};
            }
            co_await one.never.wait();
        };
        one.add(t0, "a");
        one.run_over({t0});
        one.pass_live(400s);
        away = false;
        auto const took = one.pass_until_not_live(400s);
        CHECK(took >= 300s);
        CHECK(took <= 303s);
        one.never.open();
        one.settle();
        one.pass_live(1s);
        one.stop();
    }
}

TEST_CASE("health: beside what waits outside, a call that does not end is a reason all the same") {
    judged_group one;
    one.options = {.order = order::by_key,
                   .retry = {.attempts = 1000, .backoff = {.initial = 1s, .max = 1s}}};
    one.options.dead_letters = &one.letters;
    one.letters.hold();
    one.does = [&](std::string value) -> asio::awaitable<void> {
        if (value == "hangs") {
            co_return co_await one.never.wait();
        }
        if (value == "poison") {
            throw permanent_failure{"poison"};
        }
        throw std::runtime_error{"busy"};
    };
    one.add(t0, "poison");
    one.add(t0, "hangs");
    one.add(t0, "fails");
    one.run_over({t0});
    CHECK(one.pass_until_not_live(400s) >= 300s);
    CHECK(one.pass_until_not_live(1s) == 1s);
    one.never.open();
    one.settle();
    one.pass_live(400s); // the letter and the retry are what is left
    one.letters.release();
    one.settle();
    one.stop();
}

TEST_CASE("health: a batch that is not complete yet waits for records") {
    judged_group one;
    one.handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        auto nothing = [](message_batch const&) {};
        co_await for_each_batch(claim, {.records = 3}, {}, nothing);
    };
    one.add(t0, "a");
    one.add(t0, "b");
    one.run_over({t0});
    one.pass_live(400s);
    one.add(t0, "c");
    one.settle();
    one.pass_live(1s);
    one.stop();
    CHECK(one.cluster.committed(t0) == 3);
}

TEST_CASE("health: a handler is judged by the time in which it had something to do") {
    judged_group one;
    latch held{one.context};
    one.handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        auto const first = co_await claim.messages().async_receive();
        if (first) {
            co_await held.wait();
            claim.mark(*first);
        }
        co_await one.handler.mark_all(claim);
    };
    one.run_over({t0});
    auto elapsed = 0s;
    SUBCASE("nothing was there for long") {
        one.pass_live(400s);
        one.add(t0, "a");
        one.settle();
        CHECK(one.live().ok); // before anybody has looked at it
    }
    SUBCASE("it was paused for long") {
        one.group->pause_all();
        one.add(t0, "a");
        one.pass_live(400s);
        one.group->resume_all();
        CHECK(one.live().ok);
        one.settle();
        CHECK(one.live().ok);
    }
    elapsed = one.pass_until_not_live(400s);
    CHECK(elapsed >= 300s);
    CHECK(elapsed <= 302s);
    held.open();
    one.settle();
    one.pass_live(1s);
    one.stop();
}

} // namespace for_each_health_tests
