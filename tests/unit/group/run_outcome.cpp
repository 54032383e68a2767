// SPDX-License-Identifier: MIT

#include <kgroup/detail/group/run_outcome.hpp>

#include <doctest/doctest.h>

#include <exception>
#include <stdexcept>
#include <system_error>

namespace run_outcome_tests {

namespace {

using kgroup::end_reason;
using kgroup::errc;
using kgroup::detail::run_outcome;

std::exception_ptr failure(char const* words) {
    return std::make_exception_ptr(std::runtime_error{words});
}

std::error_code error_of(run_outcome const& outcome, bool abandoned, bool cancelled) {
    try {
        static_cast<void>(outcome.result(abandoned, cancelled));
        return {};
    } catch (std::system_error const& error) {
        return error.code();
    }
}

} // namespace

TEST_CASE("run_outcome: why the last session ended, or that the run was stopped without one") {
    run_outcome outcome;
    CHECK(outcome.result(false, false) == end_reason::stopped);
    outcome.session_ended(end_reason::claim_exited);
    outcome.session_ended(end_reason::revoked);
    CHECK(outcome.result(false, false) == end_reason::revoked);
    CHECK(outcome.words(false).empty());
}

TEST_CASE("run_outcome: a cancellation is an error, and what was abandoned comes before it") {
    run_outcome outcome;
    outcome.session_ended(end_reason::stopped);
    CHECK(error_of(outcome, false, true) == asio::error::operation_aborted);
    CHECK(outcome.words(false).empty());
    CHECK(error_of(outcome, true, true) == errc::handler_abandoned);
    CHECK(outcome.words(true) == make_error_code(errc::handler_abandoned).message());
}

TEST_CASE("run_outcome: the first failure comes before all") {
    run_outcome outcome;
    CHECK_FALSE(outcome.failed());
    outcome.fail(failure("the disk is full"));
    outcome.fail(failure("and then this"));
    outcome.session_ended(end_reason::handler_failed);
    CHECK(outcome.failed());
    CHECK(outcome.words(true) == "the disk is full");
    CHECK_THROWS_WITH(static_cast<void>(outcome.result(true, true)), "the disk is full");
}

} // namespace run_outcome_tests
