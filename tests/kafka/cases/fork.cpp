// SPDX-License-Identifier: MIT

#include <kgroup/kgroup.hpp>
#include <kgroup/testing/embedded_cluster.hpp>

#include <asio/execution_context.hpp>
#include <asio/io_context.hpp>

#include <doctest/doctest.h>
#include <sys/types.h>
#include <sys/wait.h>

#include <atomic>
#include <chrono>
#include <exception>
#include <functional>
#include <optional>
#include <thread>
#include <unistd.h>
#include <vector>

// A child that was forked from a process with a running group may let go of it.

using namespace std::chrono_literals;

namespace {

/// Whether a child does this, and ends with no error within a time.
bool child_can(std::function<void()> const& act) {
    auto const child = ::fork();
    if (child == 0) {
        ::alarm(20); // ends it when it hangs
        act();
        ::_exit(0);
    }
    int status = 0;
    REQUIRE(child > 0);
    REQUIRE(::waitpid(child, &status, 0) == child);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/// Keeps a record and waits for the next.
struct keeping_handler {
    std::atomic<int>& received;
    asio::awaitable<void> consume_claim(kgroup::session& session, kgroup::claim& claim) {
        auto const kept = co_await claim.messages().async_receive();
        claim.mark(kept.value(), "with a text");
        ++received;
        co_await session.async_wait_stopping();
        while (auto const next = co_await claim.messages().async_receive()) {
        }
    }
};

/// A group on this thread, with two claims, each of which holds a record.
class forking_group {
public:
    forking_group() {
        cluster.create_topic("t", 2);
        cluster.produce("t", 0, "a", "b");
        cluster.produce("t", 1, "a", "b");
        context.emplace();
        group.emplace(*context, kgroup::config{.brokers = cluster.brokers(),
                                               .group_id = "g",
                                               .topics = {"t"},
                                               .initial_offset = kgroup::offset_reset::earliest,
                                               .on_event = [](kgroup::event const&) {}});
        group->async_run(keeping_handler{received}, [this](std::exception_ptr e) {
            completed = true;
            failure = e;
        });
        auto const until = std::chrono::steady_clock::now() + 60s;
        while ((received != 2 || group->stats().commits == 0) &&
               std::chrono::steady_clock::now() < until) {
            context->run_for(10ms);
        }
        REQUIRE(received == 2);
    }
    ~forking_group() {
        group->stop();
        context->restart();
        context->run_for(60s);
        CHECK(completed);
        CHECK_FALSE(failure);
    }

    /// What a user does whose context goes on in the child, or goes there.
    bool child_of_fork_can(std::function<void()> const& act) {
        context->notify_fork(asio::execution_context::fork_prepare);
        auto const could = child_can([&] {
            context->notify_fork(asio::execution_context::fork_child);
            act();
        });
        context->notify_fork(asio::execution_context::fork_parent);
        return could;
    }

    kgroup::testing::embedded_cluster cluster;
    std::atomic<int> received{0};
    std::optional<asio::io_context> context;
    std::optional<kgroup::consumer_group> group;
    bool completed = false;
    std::exception_ptr failure;
};

} // namespace

TEST_CASE("fork: the child destroys the group, and its context with the claims, the session and "
          "the messages in it") {
    forking_group running;
    CHECK(running.child_of_fork_can([&] { running.group.reset(); }));
    CHECK(running.child_of_fork_can([&] {
        running.group.reset();
        running.context.reset();
    }));
    CHECK(running.child_of_fork_can([&] {
        running.group->stop(); // is without effect
        running.context->restart();
        running.context->run_for(1200ms); // nothing of the group's runs
        running.group.reset();
        running.context.reset();
    }));
    CHECK(child_can([] {})); // it leaves everything where it is
}

TEST_CASE("fork: while other threads hold the group's locks") {
    forking_group running;
    std::atomic<bool> over{false};
    {
        std::vector<std::jthread> asking;
        for (int i = 0; i != 2; ++i) {
            asking.emplace_back([&] {
                while (!over) {
                    static_cast<void>(running.group->stats());
                    running.group->pause_all();
                }
            });
        }
        for (int i = 0; i != 30; ++i) {
            CHECK(child_can([&] { running.group.reset(); }));
        }
        over = true;
    }
    running.group->resume_all();
}

#if !defined(__SANITIZE_THREAD__) // which starts no thread in the child of a process with threads
TEST_CASE("fork: a child's own group works, also one that was made before") {
    kgroup::testing::embedded_cluster cluster;
    cluster.create_topic("t", 1);
    asio::io_context context;
    kgroup::consumer_group before{context,
                                  {.brokers = cluster.brokers(),
                                   .group_id = "g",
                                   .topics = {"t"},
                                   .initial_offset = kgroup::offset_reset::earliest,
                                   .on_event = [](kgroup::event const&) {}}};
    context.notify_fork(asio::execution_context::fork_prepare);
    CHECK(child_can([&] {
        context.notify_fork(asio::execution_context::fork_child);
        struct handler {
            asio::awaitable<void> consume_claim(kgroup::session&, kgroup::claim& claim) {
                while (auto const next = co_await claim.messages().async_receive()) {
                }
            }
        };
        bool completed = false;
        before.async_run(handler{}, [&](std::exception_ptr) { completed = true; });
        context.run_for(100ms);
        before.stop();
        context.run_for(15s);
        if (!completed) {
            ::_exit(1);
        }
    }));
    context.notify_fork(asio::execution_context::fork_parent);
}
#endif
