// SPDX-License-Identifier: MIT

#include <kgroup/for_each.hpp>
#include <kgroup/testing/fake_dead_letters.hpp>

#include <asio/awaitable.hpp>

#include <doctest/doctest.h>
#include <support/scripted_group.hpp>

#include <exception>
#include <stdexcept>
#include <string>

namespace fake_dead_letters_tests {

namespace {

using namespace kgroup;
using namespace kgroup::tests;

struct kept_letters {
    testing::fake_dead_letters letters;
};

/// A group in which each record is given up at its second attempt. The letters outlive its context.
struct failing_group : kept_letters, scripted_group {
    int calls = 0;

    failing_group() {
        handler.on_claim = [this](session&, claim& claim) -> asio::awaitable<void> {
            auto fail = [this](message const&) {
                throw std::runtime_error{"call " + std::to_string(++calls)};
            };
            co_await for_each(claim,
                              {.order = order::by_key,
                               .retry = {.attempts = 2, .backoff = {.initial = 1s, .jitter = 0}},
                               .dead_letters = &letters},
                              fail);
        };
        cluster.add_records(t0, fake_cluster::record{.key = "k", .value = "a"});
        run_over({t0});
    }
};

std::string describe_exception(std::exception_ptr const& failure) {
    return kgroup::detail::describe_exception(failure).first;
}

TEST_CASE_FIXTURE(failing_group, "fake_dead_letters keeps the record, both failures, and how many "
                                 "attempts there were") {
    CHECK(letters.sent().empty());
    advance(1s);
    REQUIRE(letters.sent().size() == 1);
    auto const& letter = letters.sent()[0];
    CHECK(letter.record.topic == "t");
    CHECK(letter.record.offset == 0);
    CHECK(letter.record.key == "k");
    CHECK(letter.record.value == "a");
    CHECK(letter.attempts == 2);
    CHECK(describe_exception(letter.failure) == "call 2");
    CHECK(describe_exception(letter.first_failure) == "call 1");
    stop();
    CHECK(cluster.committed(t0) == 1);
}

TEST_CASE_FIXTURE(failing_group, "fake_dead_letters: a letter that is held is sent at the release, "
                                 "and its record is not done before") {
    letters.hold();
    advance(1s);
    CHECK(letters.under_way() == 1);
    CHECK(letters.sent().empty());
    SUBCASE("released") {
        letters.release();
        settle();
        CHECK(letters.under_way() == 0);
        CHECK(letters.sent().size() == 1);
        stop();
        CHECK(cluster.committed(t0) == 1);
    }
    SUBCASE("cancelled, because the claim is lost") {
        cluster.lose();
        settle();
        CHECK(letters.under_way() == 0);
        CHECK(letters.sent().empty());
        stop();
        CHECK(cluster.committed(t0) == std::nullopt);
    }
    SUBCASE("destroyed with its context") {}
}

TEST_CASE_FIXTURE(failing_group, "fake_dead_letters: a letter that fails ends the run with its "
                                 "exception") {
    letters.fail(std::make_exception_ptr(std::runtime_error{"no such topic"}));
    advance(1s);
    CHECK(outcome.what() == "no such topic");
    CHECK(letters.sent().empty());
    CHECK(cluster.committed(t0) == std::nullopt);
}

} // namespace

} // namespace fake_dead_letters_tests
