// SPDX-License-Identifier: MIT

#include <kgroup/for_each_batch.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/cancellation_state.hpp>
#include <asio/cancellation_type.hpp>
#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <asio/redirect_error.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <doctest/doctest.h>
#include <support/latch.hpp>
#include <support/scripted_group.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace for_each_batch_tests {

using namespace kgroup::tests;

namespace {

using kgroup::attempt;
using kgroup::claim;
using kgroup::collect_limits;
using kgroup::errc;
using kgroup::event_kind;
using kgroup::failed_at;
using kgroup::for_each_options;
using kgroup::give_up;
using kgroup::message_batch;
using kgroup::not_now;
using kgroup::permanent_failure;
using kgroup::session;

std::exception_ptr refused() { return std::make_exception_ptr(std::runtime_error{"refused"}); }

/// A group whose handler runs `for_each_batch` with a function that waits until the test says how
/// it ends.
struct batch_group : scripted_group {
    collect_limits limits{.records = 3, .within = 100ms};
    for_each_options options{.retry = {.attempts = 3, .backoff = {.initial = 1s, .jitter = 0}}};
    std::vector<std::string> said_by_function; // "+a b" begun, "x" cancelled
    std::vector<std::uint32_t> attempts;
    std::shared_ptr<kgroup::timer> gate; // of the attempt that runs
    std::exception_ptr fails_with;
    bool heeds_cancellation = true;
    std::exception_ptr came_out;

    batch_group() {
        handler.on_claim = [this](session&, claim& claim) -> asio::awaitable<void> {
            auto function = [this](message_batch const& batch, attempt const& current) {
                return wait_for_test(batch, current);
            };
            try {
                co_await kgroup::for_each_batch(claim, limits, options, function);
            } catch (...) {
                came_out = std::current_exception();
                throw;
            }
        };
    }

    asio::awaitable<void> wait_for_test(message_batch const& batch, attempt const& current) {
        std::string values;
        for (auto const& one : batch) {
            values += " " + std::string{one.value()};
        }
        said_by_function.push_back("+" + values.substr(1));
        attempts.push_back(current.number());
        auto const executor = co_await asio::this_coro::executor;
        auto const mine =
            std::make_shared<kgroup::timer>(executor, kgroup::timer::time_point::max());
        gate = mine;
        std::error_code ec;
        co_await mine->async_wait(asio::redirect_error(asio::use_awaitable, ec));
        gate.reset();
        auto const state = co_await asio::this_coro::cancellation_state;
        if (state.cancelled() != asio::cancellation_type::none) {
            said_by_function.push_back("x");
            if (heeds_cancellation) {
                throw std::system_error{asio::error::operation_aborted};
            }
        }
        if (auto const failure = std::exchange(fails_with, nullptr)) {
            std::rethrow_exception(failure);
        }
    }

    void finish(std::exception_ptr failure = nullptr) {
        REQUIRE(gate);
        fails_with = failure;
        gate->cancel();
        settle();
    }
    void fail_at(std::size_t index, std::exception_ptr cause = refused()) {
        finish(std::make_exception_ptr(failed_at{index, cause}));
    }
    lines calls() { return std::exchange(said_by_function, {}); }
};

} // namespace

TEST_CASE_FIXTURE(batch_group, "for_each_batch takes one batch after another and marks it") {
    cluster.add_records(t0, "a", "b", "c", "d");
    run_over({t0});
    CHECK(calls() == lines{"+a b c"});
    advance(1s);
    CHECK(calls().empty());
    finish();
    advance(100ms);
    CHECK(calls() == lines{"+d"});
    group->stop();
    settle();
    CHECK_FALSE(outcome.completed);
    finish(); // what runs may finish
    CHECK(outcome.completed);
    CHECK_FALSE(outcome.failure);
    CHECK(cluster.committed(t0) == 4);
}

TEST_CASE_FIXTURE(batch_group, "for_each_batch: failed_at leaves what is before done") {
    cluster.add_records(t0, "a", "b", "c");
    run_over({t0});
    fail_at(1);
    CHECK(calls() == lines{"+a b c"});
    advance(900ms);
    CHECK(calls().empty());
    advance(100ms);
    CHECK(calls() == lines{"+b c"});
    fail_at(1); // c is a record of its own, and begins to count
    advance(1s);
    CHECK(calls() == lines{"+c"});
    CHECK(attempts == std::vector<std::uint32_t>{1, 2, 2});
    advance(settings.auto_commit_interval);
    CHECK(cluster.committed(t0) == 2);
    finish();
    stop();
    CHECK(cluster.committed(t0) == 3);
}

TEST_CASE_FIXTURE(batch_group, "for_each_batch gives up the one that has failed, alone") {
    options.retry.give_up = give_up::skip;
    cluster.add_records(t0, "a", "b", "c");
    run_over({t0});
    fail_at(1);
    advance(1s);
    fail_at(0);
    advance(2s);
    fail_at(0);
    CHECK(calls() == lines{"+a b c", "+b c", "+b c", "+c"});
    CHECK(attempts == std::vector<std::uint32_t>{1, 2, 3, 1});
    CHECK(count(event_kind::record_skipped) == 1);
    CHECK(last(event_kind::record_skipped).text ==
          "offset 1 is given up after 3 attempts: refused");
    fail_at(0, std::make_exception_ptr(permanent_failure{"malformed"}));
    CHECK(count(event_kind::record_skipped) == 2);
    stop();
    CHECK(cluster.committed(t0) == 3);
}

TEST_CASE_FIXTURE(batch_group, "for_each_batch ends with the cause of a record that is given up") {
    options.retry.attempts = 1;
    cluster.add_records(t0, "a", "b", "c");
    run_over({t0});
    fail_at(2);
    CHECK(outcome.what() == "refused");
    CHECK(cluster.committed(t0) == 2);
}

TEST_CASE_FIXTURE(batch_group,
                  "for_each_batch: where nobody says which has failed, it is the whole batch") {
    options.retry.give_up = give_up::skip;
    options.retry.attempts = 2;
    cluster.add_records(t0, "a", "b", "c", "d", "e", "f");
    run_over({t0});
    finish(refused());
    advance(1s);
    fail_at(7); // not in it
    CHECK(calls() == lines{"+a b c", "+a b c", "+d e f"});
    CHECK(count(event_kind::record_skipped) == 3);
    finish();
    stop();
    CHECK(cluster.committed(t0) == 6);
}

TEST_CASE_FIXTURE(batch_group, "for_each_batch: not_now does not count, and holds the claim up") {
    options.retry.attempts = 1;
    cluster.add_records(t0, "a", "b", "c");
    run_over({t0});
    auto const away = std::make_exception_ptr(not_now{"the database is away"});
    fail_at(1, away);
    CHECK(count(event_kind::processing_held) == 1);
    advance(1s);
    finish(away);
    advance(1900ms);
    CHECK(calls() == lines{"+a b c", "+b c"});
    advance(100ms);
    CHECK(calls() == lines{"+b c"});
    CHECK(attempts == std::vector<std::uint32_t>{1, 1, 1});
    CHECK(count(event_kind::processing_resumed) == 0);
    finish();
    CHECK(count(event_kind::processing_held) == 1);
    CHECK(count(event_kind::processing_resumed) == 1);
    stop();
    CHECK(cluster.committed(t0) == 3);
}

TEST_CASE_FIXTURE(batch_group, "for_each_batch cancels an attempt that takes too long") {
    options.retry = {
        .attempts = 2, .backoff = {.initial = 10ms, .jitter = 0}, .attempt_timeout = 5s};
    cluster.add_records(t0, "a", "b", "c");
    run_over({t0});
    advance(4900ms);
    CHECK(calls() == lines{"+a b c"});
    advance(100ms);
    CHECK(calls() == lines{"x"});
    advance(10ms);
    CHECK(calls() == lines{"+a b c"});
    SUBCASE("and the last one comes out as such") {
        advance(5s);
        CHECK(outcome.error() == errc::attempt_timed_out);
    }
    SUBCASE("and takes a normal return all the same") {
        heeds_cancellation = false;
        advance(5s);
        stop();
        CHECK(cluster.committed(t0) == 3);
    }
}

TEST_CASE_FIXTURE(batch_group, "for_each_batch: a failure while the claim ends is not repeated") {
    cluster.add_records(t0, "a", "b", "c", "d");
    run_over({t0});
    group->stop();
    settle();
    fail_at(1);
    CHECK(outcome.completed);
    CHECK_FALSE(outcome.failure);
    CHECK(calls() == lines{"+a b c"});
    CHECK(cluster.committed(t0) == 1);
}

TEST_CASE_FIXTURE(batch_group, "for_each_batch: the end of the claim cuts a backoff, at once") {
    options.retry.backoff = {.initial = 1h, .max = 1h};
    cluster.add_records(t0, "a", "b", "c", "d");
    run_over({t0});
    fail_at(2);
    cluster.revoke();
    settle();
    CHECK(handler.claims_ended == 1);
    CHECK(calls() == lines{"+a b c"});
    CHECK(cluster.committed(t0) == 2);
    stop();
}

TEST_CASE_FIXTURE(batch_group,
                  "for_each_batch does not begin what the end of the claim cut short") {
    cluster.add_records(t0, "a");
    run_over({t0});
    cluster.revoke();
    settle();
    CHECK(handler.claims_ended == 1);
    CHECK(calls().empty());
    CHECK_FALSE(cluster.committed(t0).has_value());
    stop();
}

TEST_CASE_FIXTURE(batch_group,
                  "for_each_batch: what does not finish is cancelled at the deadline") {
    cluster.add_records(t0, "a", "b", "c");
    run_over({t0});
    cluster.revoke();
    settle();
    CHECK(calls() == lines{"+a b c"});
    advance(1h);
    settle();
    CHECK(calls() == lines{"x"});
    CHECK(handler.claims_ended == 1);
    CHECK_FALSE(came_out);
    CHECK_FALSE(cluster.committed(t0).has_value());
    stop();
}

TEST_CASE_FIXTURE(batch_group, "for_each_batch cancels the attempt when the claim is lost") {
    heeds_cancellation = false; // it returns normally, and is not done
    cluster.add_records(t0, "a", "b", "c");
    run_over({t0});
    cluster.lose();
    settle();
    CHECK(calls() == lines{"+a b c", "x"});
    CHECK(handler.claims_ended == 1);
    CHECK_FALSE(cluster.committed(t0).has_value());
    CHECK(count(event_kind::mark_refused) == 0);
    stop();
}

TEST_CASE(
    "for_each_batch: an attempt whose time was over is cancelled again when its claim is lost") {
    scripted_group group;
    int cancelled = 0;
    group.handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        auto function = [&](message_batch const&) -> asio::awaitable<void> {
            while (cancelled != 2) { // the first time it begins to clean up
                kgroup::timer wait{co_await asio::this_coro::executor,
                                   kgroup::detail::clock::time_point::max()};
                std::error_code ignored;
                co_await wait.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
                co_await asio::this_coro::reset_cancellation_state(
                    asio::enable_terminal_cancellation());
                ++cancelled;
            }
        };
        co_await kgroup::for_each_batch(claim, {.records = 1}, {.retry = {.attempt_timeout = 1s}},
                                        function);
    };
    group.cluster.add_records(t0, "a");
    group.run_over({t0});
    group.advance(1s);
    CHECK(cancelled == 1);
    group.advance(1s);
    CHECK(cancelled == 1);
    group.cluster.lose();
    group.settle();
    CHECK(cancelled == 2);
    CHECK_FALSE(group.cluster.committed(t0));
    group.stop();
}

TEST_CASE("for_each_batch: what it has told is over when it is, though the claim goes on") {
    scripted_group group;
    bool cancelled = false;
    group.handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        auto function = [](message_batch const&) { throw not_now{"away"}; };
        asio::cancellation_signal signal;
        auto const executor = co_await asio::this_coro::executor;
        asio::co_spawn(
            executor,
            kgroup::for_each_batch(claim, {.records = 1},
                                   {.retry = {.backoff = {.initial = 1h, .max = 1h}}}, function),
            asio::bind_cancellation_slot(signal.slot(),
                                         [&](std::exception_ptr e) { cancelled = e != nullptr; }));
        kgroup::timer wait{executor};
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
    group.advance(15s);
    CHECK(cancelled);
    CHECK(group.count(event_kind::processing_resumed) == 1);
    CHECK(group.count(event_kind::claim_resumed) == 1);
    group.stop();
}

TEST_CASE_FIXTURE(batch_group, "for_each_batch: an index that is not in the batch says nothing") {
    cluster.add_records(t0, "a", "b", "c");
    run_over({t0});
    finish(std::make_exception_ptr(failed_at{3, refused()}));
    advance(1s);
    CHECK(said_by_function.back() == "+a b c");
    finish(std::make_exception_ptr(failed_at{(std::numeric_limits<std::size_t>::max)(), nullptr}));
    advance(2s);
    CHECK(said_by_function.back() == "+a b c");
    CHECK(attempts.back() == 3);
    finish();
    stop();
    CHECK(cluster.committed(t0) == 3);
}

TEST_CASE_FIXTURE(batch_group, "for_each_batch starts nothing while its claim is paused") {
    cluster.add_records(t0, "a", "b", "c");
    run_over({t0});
    group->pause_all();
    fail_at(0);
    advance(1s);
    CHECK(calls() == lines{"+a b c"});
    group->resume_all();
    settle();
    CHECK(calls() == lines{"+a b c"});
    finish();
    stop();
}

TEST_CASE_FIXTURE(batch_group, "for_each_batch: claims take turns under a limit") {
    kgroup::limit places{1};
    options.limit = &places;
    cluster.add_records(t0, "a", "b", "c");
    cluster.add_records(t1, "d", "e", "f");
    run_over({t0, t1});
    REQUIRE(said_by_function.size() == 1);
    auto const first = said_by_function.front();
    finish();
    REQUIRE(said_by_function.size() == 2);
    CHECK(said_by_function.back() == (first == "+a b c" ? "+d e f" : "+a b c"));
    fail_at(0); // a place is given back also for the time of a backoff
    CHECK(places.take({}));
    places.give_back();
    stop();
}

TEST_CASE_FIXTURE(batch_group, "for_each_batch: a claim that is paused while it waits for a place "
                               "leaves it to others") {
    kgroup::limit places{1};
    options.limit = &places;
    cluster.add_records(t0, "a", "b", "c");
    run_over({t0, t1});
    cluster.add_records(t1, "d", "e", "f");
    settle();
    group->pause({t1});
    finish();
    CHECK(places.take({}));
    places.give_back();
    group->resume({t1});
    settle();
    CHECK(calls() == lines{"+a b c", "+d e f"});
    finish();
    stop();
}

TEST_CASE_FIXTURE(batch_group, "for_each_batch tells when a batch makes no progress") {
    cluster.add_records(t0, "a", "b", "c");
    run_over({t0});
    advance(30s);
    CHECK(count(event_kind::claim_stalled) == 1);
    CHECK(last(event_kind::claim_stalled).text.find("offset 0") != std::string::npos);
    CHECK(count(event_kind::claim_resumed) == 0);
    finish();
    CHECK(count(event_kind::claim_resumed) == 1);
    stop();
}

TEST_CASE("for_each_batch takes functions that do not wait, also on another executor") {
    scripted_group group;
    asio::io_context elsewhere;
    bool uses_other = false;
    SUBCASE("here") {}
    SUBCASE("elsewhere") { uses_other = true; }
    std::size_t records = 0;
    group.handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        auto count = [&](message_batch const& batch) {
            records += batch.size();
            CHECK(elsewhere.get_executor().running_in_this_thread() == uses_other);
        };
        if (uses_other) {
            co_await kgroup::for_each_batch(claim, elsewhere.get_executor(), {.records = 10}, {},
                                            count);
        } else {
            co_await kgroup::for_each_batch(claim, {.records = 10}, {}, count);
        }
    };
    for (int count = 0; count != 1000; ++count) {
        group.cluster.add_records(t0, std::to_string(count));
    }
    group.run_over({t0});
    while (records != 1000) {
        elsewhere.restart();
        elsewhere.poll();
        group.settle();
    }
    group.settle();
    group.stop();
    CHECK(group.cluster.committed(t0) == 1000);
}

namespace {

/// Notes what is sent, and waits for nothing.
class noted_letters final : public kgroup::detail::dead_letter_sender {
public:
    asio::awaitable<void> send(kgroup::message const& record, std::exception_ptr,
                               std::uint32_t tries, std::exception_ptr) override {
        sent.push_back(std::string{record.value()} + " after " + std::to_string(tries));
        if (refuses) {
            throw std::runtime_error{"no broker"};
        }
        co_return;
    }

    lines sent;
    bool refuses = false;
};

/// Waits for as long as the test says.
class slow_letters final : public kgroup::detail::dead_letter_sender {
public:
    explicit slow_letters(asio::io_context& context) : opened(context) {}

    asio::awaitable<void> send(kgroup::message const&, std::exception_ptr, std::uint32_t,
                               std::exception_ptr) override {
        co_await opened.wait();
    }

    kgroup::tests::latch opened;
};

} // namespace

TEST_CASE_FIXTURE(batch_group, "for_each_batch sends a dead letter of what it gives up") {
    noted_letters letters;
    options.dead_letters = &letters;
    options.retry.attempts = 1;
    cluster.add_records(t0, "a", "b", "c", "d", "e", "f");
    run_over({t0});
    fail_at(1);
    CHECK(letters.sent == lines{"b after 1"});
    CHECK(calls() == lines{"+a b c", "+c"});
    finish();
    SUBCASE("of each, where nobody says which has failed") {
        finish(refused());
        CHECK(letters.sent == lines{"b after 1", "d after 1", "e after 1", "f after 1"});
        stop();
        CHECK(cluster.committed(t0) == 6);
        CHECK(count(event_kind::record_skipped) == 0);
    }
    SUBCASE("and ends when it cannot be sent") {
        letters.refuses = true;
        fail_at(0);
        CHECK(outcome.what() == "no broker");
        CHECK(cluster.committed(t0) == 3);
    }
}

TEST_CASE_FIXTURE(batch_group, "for_each_batch says that it waits for a dead letter") {
    slow_letters letters{context};
    options.dead_letters = &letters;
    options.retry.attempts = 1;
    cluster.add_records(t0, "a", "b", "c");
    run_over({t0});
    finish(refused());
    advance(9s);
    CHECK(count(event_kind::dead_letter_held) == 0);
    advance(1s);
    CHECK(count(event_kind::dead_letter_held) == 1);
    CHECK(kgroup::readiness(group->state()).reasons.size() == 1);
    letters.opened.open();
    settle();
    CHECK(count(event_kind::dead_letter_sent) == 1);
    CHECK(kgroup::readiness(group->state()).ok);
    CHECK(group->state().claims.at(0).processing->dead_letters == 3);
    stop();
}

TEST_CASE("for_each_batch refuses what is not possible") {
    for (bool const by_key : {false, true}) {
        scripted_group group;
        group.handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
            auto nothing = [](message_batch const&) {};
            collect_limits const limits{.records = by_key ? 1u : 0u};
            for_each_options const options{.order = by_key ? kgroup::order::by_key
                                                           : kgroup::order::by_partition};
            co_await kgroup::for_each_batch(claim, limits, options, nothing);
        };
        group.run_over({t0});
        CHECK(group.outcome.failure);
        CHECK((group.outcome.error() == errc::invalid_limits || by_key));
    }
}

} // namespace for_each_batch_tests
