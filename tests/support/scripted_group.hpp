// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/kgroup.hpp>
#include <kgroup/testing/clock.hpp>
#include <kgroup/testing/fake_client.hpp>

#include <asio/awaitable.hpp>
#include <asio/io_context.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <source_location>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "support/run_outcome.hpp"

// Compiled once, in scripted_group.cpp.
extern template class kgroup::detail::group_driver<kgroup::testing::fake_client>;

namespace kgroup::tests {

using namespace std::chrono_literals;
using testing::fake_cluster;
using testing::fake_group;
using lines = std::vector<std::string>;

/// A handler in lambdas; what is not given does the ordinary thing.
struct scripted_handler {
    std::function<asio::awaitable<void>(session&)> on_setup{};
    std::function<asio::awaitable<void>(session&, claim&)> on_claim{};
    std::function<asio::awaitable<void>(session&)> on_cleanup{};

    std::vector<std::string> received{}; // "t[0]@3 value", in the order of all claims
    int setups = 0;
    int claims = 0;
    int claims_ended = 0;
    int cleanups = 0;

    asio::awaitable<void> setup(session& session) {
        ++setups;
        if (on_setup) {
            co_await on_setup(session);
        }
    }
    asio::awaitable<void> consume_claim(session& session, claim& claim) {
        ++claims;
        detail::scope_exit const ended{[this] { ++claims_ended; }};
        if (on_claim) {
            co_await on_claim(session, claim);
        } else {
            co_await mark_all(claim);
        }
    }
    asio::awaitable<void> cleanup(session& session) {
        ++cleanups;
        if (on_cleanup) {
            co_await on_cleanup(session);
        }
    }

    /// What a plain handler does.
    asio::awaitable<void> mark_all(claim& claim) {
        while (auto const next = co_await claim.messages().async_receive()) {
            note(*next);
            claim.mark(*next);
        }
    }
    void note(message const& message) {
        received.push_back(std::string{message.topic()} + "[" +
                           std::to_string(message.partition()) + "]@" +
                           std::to_string(message.offset()) + " " + std::string{message.value()});
    }
};

/// What holds for every event, whoever tells it.
inline void check_event(event const& event) {
    CHECK_MESSAGE((!event.error || event.text.find(event.error.message()) == std::string::npos),
                  to_string(event.kind), ": ", event.text);
    CHECK(std::ranges::none_of(
        event.text, [](unsigned char character) { return character < 0x20 || character == 0x7f; }));
}

inline topic_partition const t0{"t", 0};
inline topic_partition const t1{"t", 1};
inline topic_partition const t2{"t", 2};

/// One scripted member on one thread, with a clock that only the test moves far. At the end it
/// checks what holds always: the member broke no rule, and each record that it took has been freed.
class scripted_group {
public:
    // Frames that are still there when the context goes may touch what stands before it.
    scripted_handler handler;
    std::vector<event> events;
    run_outcome outcome;
    fake_cluster cluster;
    config settings;
    asio::io_context context;
    std::optional<fake_group> group;

    scripted_group() {
        settings.brokers = cluster.brokers();
        settings.group_id = "group";
        settings.topics = {"t"};
        settings.initial_offset = offset_reset::earliest;
        settings.auto_commit_interval = 1min; // real time must not reach it
        settings.on_event = [this](event const& event) {
            check_event(event);
            events.push_back(event);
        };
    }
    ~scripted_group() {
        group.reset();
        for (auto const& complaint : cluster.complaints()) {
            FAIL_CHECK(complaint);
        }
        if (outcome.completed) {
            CHECK(cluster.records_held() == 0);
        }
    }
    scripted_group(scripted_group const&) = delete;
    scripted_group& operator=(scripted_group const&) = delete;

    void make_cooperative() { settings.assignors = {assignor::cooperative_sticky}; }

    /// Starts the run and lets it wait for its first rebalance.
    void run() {
        group.emplace(context, settings);
        group->async_run(handler, [this](std::exception_ptr e) { outcome = {true, e}; });
        settle();
    }
    void run_over(std::vector<topic_partition> const& partitions) {
        run();
        cluster.assign(partitions);
        settle();
    }

    void settle() { testing::run_ready(context); }
    void advance(std::chrono::nanoseconds how_far) { testing::advance(context, how_far); }

    /// Stops it and expects it to have completed in order.
    void stop(std::source_location where = std::source_location::current()) {
        group->stop();
        settle();
        if (!outcome.completed) { // one that waits for an assignment waits for it to leave with
            cluster.assign({});
            settle();
        }
        if (!outcome.completed || outcome.failure) {
            DOCTEST_ADD_FAIL_CHECK_AT(where.file_name(), static_cast<int>(where.line()),
                                      (outcome.completed ? "the run has failed: " + outcome.what()
                                                         : "the run has not completed"));
        }
    }

    std::size_t count(event_kind kind) const {
        return static_cast<std::size_t>(std::ranges::count(events, kind, &event::kind));
    }
    event const& last(event_kind kind) const {
        auto const found = std::find_if(events.rbegin(), events.rend(),
                                        [&](event const& event) { return event.kind == kind; });
        REQUIRE(found != events.rend());
        return *found;
    }

    /// The lines of the trace since the last call.
    lines said() {
        auto result = cluster.trace();
        cluster.clear_trace();
        return result;
    }
};

} // namespace kgroup::tests

namespace doctest {
template <>
struct StringMaker<std::vector<std::string>> {
    static String convert(std::vector<std::string> const& all) {
        std::string text;
        for (auto const& result : all) {
            text += (text.empty() ? "" : " | ") + result;
        }
        return text.c_str();
    }
};
} // namespace doctest
