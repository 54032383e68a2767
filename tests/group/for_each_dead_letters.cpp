// SPDX-License-Identifier: MIT

#include <kgroup/detail/process/dead_letter_sender.hpp>
#include <kgroup/for_each.hpp>

#include <asio/awaitable.hpp>
#include <asio/cancellation_type.hpp>
#include <asio/error.hpp>
#include <asio/redirect_error.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <doctest/doctest.h>
#include <support/scripted_group.hpp>

#include <algorithm>
#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

// What becomes of a record while its dead letter is under way.

namespace for_each_dead_letters_tests {

namespace {

using namespace kgroup;
using namespace kgroup::tests;

/// Sends each letter when the test says so.
class letters_by_hand final : public kgroup::detail::dead_letter_sender {
public:
    struct letter {
        explicit letter(asio::any_io_executor const& executor)
            : gate(executor, kgroup::detail::clock::time_point::max()) {}

        kgroup::detail::timer gate;
        std::exception_ptr failure;
        std::string why;
        std::string why_first;
        std::uint32_t attempts = 0;
    };

    std::map<std::string, std::shared_ptr<letter>, std::less<>> under_way;
    lines said; // "+value" begun, "-value" sent, "xvalue" cancelled, "!value" failed

    asio::awaitable<void> send(message const& record, std::exception_ptr failure,
                               std::uint32_t attempts, std::exception_ptr first_failure) override {
        std::string const value{record.value()};
        auto const sent = std::make_shared<letter>(co_await asio::this_coro::executor);
        sent->why = kgroup::detail::describe_exception(failure).first;
        sent->why_first = kgroup::detail::describe_exception(first_failure).first;
        sent->attempts = attempts;
        under_way[value] = sent;
        said.push_back("+" + value);
        std::error_code ignored;
        co_await sent->gate.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
        under_way.erase(value);
        auto const state = co_await asio::this_coro::cancellation_state;
        if (state.cancelled() != asio::cancellation_type::none) {
            said.push_back("x" + value);
            throw std::system_error{asio::error::operation_aborted};
        }
        if (sent->failure) {
            said.push_back("!" + value);
            std::rethrow_exception(sent->failure);
        }
        said.push_back("-" + value);
    }
};

/// A group whose function fails at records whose value begins with "bad".
struct letters_group : scripted_group {
    letters_by_hand letters;
    for_each_options options{.order = order::by_key, .dead_letters = &letters};
    lines done;
    int attempts = 0;

    letters_group() {
        handler.on_claim = [this](session&, claim& claim) -> asio::awaitable<void> {
            auto function = [this](message const& taken) {
                if (taken.value().starts_with("bad")) {
                    throw std::runtime_error{"attempt " + std::to_string(++attempts)};
                }
                done.emplace_back(taken.value());
            };
            co_await for_each(claim, options, function);
        };
    }

    void add(std::string_view key, std::string_view value) {
        cluster.add_records(
            t0, fake_cluster::record{.key = std::string{key}, .value = std::string{value}});
    }
    void sent(std::string_view value, std::exception_ptr failure = nullptr) {
        auto const found = letters.under_way.find(value);
        REQUIRE(found != letters.under_way.end());
        found->second->failure = failure;
        found->second->gate.cancel();
        settle();
    }
};

TEST_CASE("dead letters: a record is done when its letter was sent, its key waits until then, and "
          "no other") {
    letters_group group;
    group.add("x", "bad");
    group.add("x", "x2");
    group.add("y", "y1");
    group.run_over({t0});
    CHECK(group.letters.said == lines{"+bad"});
    CHECK(group.done == lines{"y1"});
    group.advance(1h); // commits, and no time is too long
    CHECK_MESSAGE(group.last(event_kind::claim_stalled).text.find("dead letter is under way") !=
                      std::string::npos,
                  group.last(event_kind::claim_stalled).text);
    CHECK_FALSE(group.cluster.committed(t0).has_value());
    CHECK(group.done == lines{"y1"});
    group.sent("bad");
    CHECK(group.done == lines{"y1", "x2"});
    group.stop();
    CHECK(group.cluster.committed(t0) == 3);
}

TEST_CASE("dead letters: a claim that waits for one says so, and is not ready meanwhile") {
    letters_group group;
    group.add("x", "bad");
    group.add("y", "bad2");
    group.run_over({t0});
    group.advance(9s);
    CHECK(readiness(group.group->state()).ok);
    group.advance(1s);
    CHECK(group.count(event_kind::dead_letter_held) == 1);
    auto const judged = readiness(group.group->state());
    REQUIRE(judged.reasons.size() == 1);
    CHECK(judged.reasons[0].starts_with("dead_letter_held t[0]: the dead letter of offset 0 "));
    CHECK(liveness(group.group->state()).ok);
    group.advance(1min);
    CHECK(group.count(event_kind::dead_letter_held) == 2);
    group.sent("bad");
    CHECK_FALSE(readiness(group.group->state()).ok); // the other is as old
    group.sent("bad2");
    CHECK(group.count(event_kind::dead_letter_sent) == 1);
    auto const state = group.group->state();
    CHECK(state.find(event_kind::dead_letter_held) == nullptr);
    CHECK(state.claims.at(0).processing->dead_letters == 2);
    group.stop();
}

TEST_CASE("dead letters: what is held when its claim ends is not held for ever") {
    letters_group group;
    group.add("x", "bad");
    group.run_over({t0});
    group.advance(10s);
    CHECK(group.group->state().find(event_kind::dead_letter_held) != nullptr);
    group.cluster.lose();
    group.settle();
    CHECK(group.count(event_kind::dead_letter_sent) == 1);
    CHECK(group.group->state().find(event_kind::dead_letter_held) == nullptr);
    group.stop();
}

TEST_CASE("dead letters: by partition, the next record waits for the letter") {
    letters_group group;
    group.options.order = order::by_partition;
    group.add("x", "bad");
    group.add("y", "y1");
    group.run_over({t0});
    CHECK(group.done.empty());
    group.sent("bad");
    CHECK(group.done == lines{"y1"});
    group.stop();
    CHECK(group.cluster.committed(t0) == 2);
}

TEST_CASE("dead letters: sent when the attempts are used up, with their number and both failures") {
    letters_group group;
    group.options.retry = {.attempts = 2, .backoff = {.initial = 10s, .jitter = 0}};
    group.add("x", "bad");
    group.run_over({t0});
    CHECK(group.letters.said.empty());
    group.advance(10s);
    REQUIRE(group.letters.said == lines{"+bad"});
    auto const& letter = *group.letters.under_way.at("bad");
    CHECK(letter.attempts == 2);
    CHECK(letter.why == "attempt 2");
    CHECK(letter.why_first == "attempt 1");
    group.sent("bad");
    group.stop();
    CHECK(group.cluster.committed(t0) == 1);
}

TEST_CASE("dead letters: a letter is no attempt: it may take longer than one") {
    letters_group group;
    group.options.retry.attempt_timeout = 1s;
    group.add("x", "bad");
    group.run_over({t0});
    group.advance(10s);
    CHECK(group.letters.said == lines{"+bad"});
    group.sent("bad");
    CHECK(group.letters.said == lines{"+bad", "-bad"});
    group.stop();
    CHECK(group.cluster.committed(t0) == 1);
}

TEST_CASE("dead letters: one that is not sent ends the session, and its record is not done") {
    letters_group group;
    group.add("y", "y1");
    group.add("x", "bad");
    group.add("z", "bad too");
    group.run_over({t0});
    CHECK(group.letters.said == lines{"+bad", "+bad too"});
    group.sent("bad", std::make_exception_ptr(std::runtime_error{"no such topic"}));
    CHECK_FALSE(group.outcome.completed); // the other letter is awaited
    group.sent("bad too");
    CHECK(group.outcome.what() == "no such topic");
    CHECK(group.cluster.committed(t0) == 1);
}

TEST_CASE("dead letters: one that is not sent while others finish after a failure is told") {
    letters_group group;
    group.add("x", "bad x");
    group.add("y", "bad y");
    group.run_over({t0});
    auto const failure = [](char const* words) {
        return std::make_exception_ptr(std::runtime_error{words});
    };
    group.sent("bad x", failure("no such topic"));
    CHECK_FALSE(group.outcome.completed);
    group.sent("bad y", failure("too large"));
    CHECK(group.outcome.what() == "no such topic");
    CHECK(std::ranges::any_of(group.events, [](event const& told) {
        return told.kind == event_kind::handler_failed &&
               told.text.find("too large") != std::string::npos;
    }));
    CHECK_FALSE(group.cluster.committed(t0));
}

TEST_CASE("dead letters: on a revocation they are awaited to the deadline, and undone otherwise") {
    for (auto const in_time : {true, false}) {
        CAPTURE(in_time);
        letters_group group;
        group.add("x", "bad");
        group.add("y", "y1");
        group.run_over({t0});
        group.cluster.revoke();
        group.settle();
        CHECK(group.letters.said == lines{"+bad"});
        if (in_time) {
            group.sent("bad");
        } else {
            group.advance(1h);
            group.settle();
        }
        CHECK(group.letters.said.back() == (in_time ? "-bad" : "xbad"));
        CHECK(group.cluster.committed(t0).has_value() == in_time);
        group.stop();
    }
}

TEST_CASE("dead letters: after a loss nothing of them counts") {
    letters_group group;
    group.add("x", "bad");
    group.run_over({t0});
    group.cluster.lose();
    group.settle();
    CHECK(group.letters.said == lines{"+bad", "xbad"});
    CHECK_FALSE(group.cluster.committed(t0).has_value());
    group.stop();
}

TEST_CASE("dead letters: a limit's place is free while a letter is under way") {
    letters_group group;
    limit one_at_a_time{1};
    group.options.limit = &one_at_a_time;
    group.add("x", "bad");
    group.add("y", "y1");
    group.run_over({t0});
    CHECK(group.done == lines{"y1"});
    group.sent("bad");
    group.stop();
    CHECK(group.cluster.committed(t0) == 2);
}

} // namespace

} // namespace for_each_dead_letters_tests
