// SPDX-License-Identifier: MIT

#include <asio/bind_executor.hpp>
#include <asio/experimental/as_tuple.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/redirect_error.hpp>
#include <asio/thread_pool.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/use_future.hpp>

#include <array>
#include <chrono>
#include <future>
#include <optional>
#include <system_error>
#include <tuple>
#include <utility>
#include <vector>

#include "support/latch.hpp"
#include "support/scripted_group.hpp"

// The forms with a completion token mean what they mean elsewhere in Asio: `void(error_code, T)`.

namespace tokens_of_operations_tests {

namespace {

using namespace kgroup::tests;
using kgroup::claim;
using kgroup::commit_result;
using kgroup::errc;
using kgroup::message;
using kgroup::session;
using kgroup::testing::fake_group;

TEST_CASE_FIXTURE(scripted_group, "token forms: redirect_error receives the error, and nothing is "
                                  "thrown") {
    std::error_code error;
    std::optional<message> first;
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        auto waiting = claim.messages().async_receive(asio::use_future);
        co_await asio::post(asio::use_awaitable);
        first = co_await claim.messages().async_receive(
            asio::redirect_error(asio::use_awaitable, error));
        cluster.add_records(t0, "a");
        auto own = waiting.wait_for(std::chrono::seconds{0});
        while (own != std::future_status::ready) {
            co_await asio::post(asio::use_awaitable);
            own = waiting.wait_for(std::chrono::seconds{0});
        }
        CHECK(waiting.get()->value() == "a");
        co_await handler.mark_all(claim);
    };
    run_over({t0});
    CHECK(error == errc::receive_in_progress);
    CHECK_FALSE(first);
    stop();
}

TEST_CASE_FIXTURE(scripted_group, "token forms: as_tuple gives the error beside the result") {
    std::vector<std::error_code> errors;
    std::size_t results = 0;
    handler.on_claim = [&](session& session, claim& claim) -> asio::awaitable<void> {
        constexpr auto token = asio::experimental::as_tuple(asio::use_awaitable);
        auto [received_error, received] = co_await claim.messages().async_receive(token);
        errors.push_back(received_error);
        REQUIRE(received);
        claim.mark(*received);
        auto [committed_error, committed] = co_await session.async_commit(token);
        errors.push_back(committed_error);
        results = committed.size();
        auto [available_error, available] =
            co_await claim.messages().async_receive_available(16, token);
        errors.push_back(available_error);
        CHECK(available.empty());
    };
    cluster.add_records(t0, "a");
    run_over({t0});
    stop();
    CHECK(errors == std::vector<std::error_code>(3));
    CHECK(results == 1);
}

TEST_CASE_FIXTURE(scripted_group, "token forms: a future throws the error, with its code") {
    fake_group idle{context, settings};
    std::array const asked{t0};
    auto early = idle.async_offsets_for_times(asked, {}, asio::use_future);
    settle();
    try {
        early.get();
        FAIL("the group does not run");
    } catch (std::system_error const& error) {
        CHECK(error.code() == errc::not_running);
    }
}

TEST_CASE_FIXTURE(scripted_group, "token forms: a callback runs on the executor that is bound to "
                                  "it") {
    asio::thread_pool pool{1};
    auto const thread = std::make_shared<std::promise<std::thread::id>>();
    auto called = thread->get_future();
    handler.on_claim = [&](session& session, claim& claim) -> asio::awaitable<void> {
        session.async_wait_stopping(
            asio::bind_executor(pool.get_executor(), [thread](std::error_code error) {
                CHECK_FALSE(error);
                thread->set_value(std::this_thread::get_id());
            }));
        co_await handler.mark_all(claim);
    };
    run_over({t0});
    stop();
    CHECK(called.get() != std::this_thread::get_id());
    pool.join();
}

TEST_CASE_FIXTURE(scripted_group, "token forms: cancelled, they complete with operation_aborted") {
    asio::cancellation_signal signal;
    std::error_code error;
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        claim.async_wait_ended(asio::bind_cancellation_slot(
            signal.slot(), [&](std::error_code ended) { error = ended; }));
        co_await handler.mark_all(claim);
    };
    run_over({t0});
    signal.emit(asio::cancellation_type::total);
    settle();
    CHECK(error == asio::error::operation_aborted);
    stop();
}

TEST_CASE_FIXTURE(scripted_group, "a group has its executor, and may be moved while it runs") {
    static_assert(std::is_same_v<fake_group::executor_type, asio::any_io_executor>);
    static_assert(std::is_nothrow_move_constructible_v<fake_group>);
    static_assert(std::is_nothrow_move_assignable_v<fake_group>);
    cluster.add_records(t0, "a");
    run_over({t0});
    CHECK(group->get_executor() == asio::any_io_executor{context.get_executor()});
    fake_group moved{std::move(*group)};
    cluster.add_records(t0, "b");
    settle();
    CHECK(handler.received == lines{"t[0]@0 a", "t[0]@1 b"});
    moved.pause({{"t", 0}});
    cluster.add_records(t0, "c");
    settle();
    CHECK(handler.received.size() == 2);
    moved.resume({{"t", 0}});
    settle();
    CHECK(handler.received.size() == 3);
    moved.stop();
    settle();
    CHECK(cluster.committed(t0) == 3);
    *group = std::move(moved);
}

TEST_CASE_FIXTURE(scripted_group, "a group that another is assigned to is stopped") {
    cluster.add_records(t0, "a");
    run_over({t0});
    *group = fake_group{context, settings};
    settle();
    CHECK(outcome.completed);
    CHECK_FALSE(outcome.failure);
    CHECK(cluster.committed(t0) == 1);
}

} // namespace

} // namespace tokens_of_operations_tests
