// SPDX-License-Identifier: MIT

#include <kgroup/detail/asio/manual_reset_event.hpp>
#include <kgroup/detail/group/user_tasks.hpp>

#include <asio/awaitable.hpp>
#include <asio/error.hpp>
#include <asio/io_context.hpp>

#include <doctest/doctest.h>

#include <functional>
#include <memory>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "support/failing_allocation.hpp"

namespace user_tasks_tests {

namespace {

using kgroup::detail::auto_reset_event;
using kgroup::detail::group_counters;
using kgroup::detail::group_mail;
using kgroup::detail::manual_reset_event;
using kgroup::detail::stranded_task;
using kgroup::detail::user_tasks;

class scripted_task final : public stranded_task<scripted_task> {
public:
    using body = std::function<asio::awaitable<void>()>;

    scripted_task(asio::any_io_executor const& executor, body work, end_handler on_end)
        : stranded_task(executor, std::move(on_end)),
          body_(std::move(work)) {}

    asio::awaitable<void> call() override { return body_(); }
    void leave() noexcept override { late_messages = 2; }

private:
    body body_;
};

// A group's loop, and what it hears.
class group_of_tasks {
public:
    asio::io_context context;
    std::shared_ptr<auto_reset_event> loop = auto_reset_event::make(context.get_executor());
    group_mail mail{loop};
    group_counters counters;
    user_tasks tasks{mail, counters};
    int ends = 0;
    bool was_abandoned = false;
    std::shared_ptr<int> owner = std::make_shared<int>();

    std::shared_ptr<scripted_task> start(scripted_task::body body) {
        auto const task = std::make_shared<scripted_task>(context.get_executor(), std::move(body),
                                                          [this](scripted_task& ended) {
                                                              ++ends;
                                                              was_abandoned = tasks.end(ended);
                                                          });
        tasks.start(owner, task);
        return task;
    }
    void run() {
        context.restart();
        context.poll();
        while (auto const letter = mail.take()) {
            letter->read();
        }
    }
};

asio::awaitable<void> nothing() { co_return; }
asio::awaitable<void> throws() {
    throw std::runtime_error{"out of paper"};
    co_return;
}
asio::awaitable<void> waits_for(manual_reset_event& event) { co_await event.wait(); }
asio::awaitable<void> defies(manual_reset_event& event) {
    try {
        co_await event.wait();
    } catch (std::system_error const&) {
    }
    co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
    co_await event.wait();
}

TEST_CASE_FIXTURE(group_of_tasks, "user_tasks: the end of a task is told, and how it ended") {
    auto const task = start(nothing);
    CHECK(ends == 0);
    CHECK(owner.use_count() == 2); // as long as it lives
    run();
    CHECK(ends == 1);
    CHECK_FALSE(task->failed());
    CHECK_FALSE(was_abandoned);
    CHECK(owner.use_count() == 1);
}

TEST_CASE_FIXTURE(group_of_tasks, "user_tasks: what a task throws is its failure") {
    auto const task = start(throws);
    run();
    CHECK(ends == 1);
    CHECK(task->failed());
    CHECK_THROWS_WITH(std::rethrow_exception(task->failure), "out of paper");
}

TEST_CASE_FIXTURE(group_of_tasks, "user_tasks: giving way to a cancellation is no failure") {
    manual_reset_event never;
    auto const task = start([&] { return waits_for(never); });
    run();
    CHECK(ends == 0);
    SUBCASE("cancelled") {
        task->cancel();
        run();
        CHECK_FALSE(task->failed());
        CHECK(task->failure);
    }
    SUBCASE("aborted by something of its own") {
        auto const other = start([]() -> asio::awaitable<void> {
            throw std::system_error{asio::error::operation_aborted};
            co_return;
        });
        run();
        CHECK(other->failed());
        task->cancel();
        run();
    }
    CHECK(ends != 0);
}

TEST_CASE_FIXTURE(group_of_tasks,
                  "user_tasks: the group goes on without a task, and hears when it has ended") {
    manual_reset_event done;
    auto const task = start([&] { return defies(done); });
    run();
    task->cancel();
    run();
    CHECK(ends == 0);
    tasks.abandon(*task);
    CHECK(tasks.any_abandoned());
    CHECK(tasks.lives_on(*task));
    CHECK(counters.snapshot().abandoned_handlers == 0);
    tasks.count_abandoned();
    CHECK(counters.snapshot().abandoned_handlers == 1);
    done.set();
    run();
    CHECK(ends == 1);
    CHECK(was_abandoned);
    CHECK_FALSE(tasks.any_abandoned());
    CHECK(counters.snapshot().abandoned_handlers == 0);
}

TEST_CASE_FIXTURE(group_of_tasks, "user_tasks: a task that ends after the run is counted only") {
    manual_reset_event done;
    auto const task = start([&]() -> asio::awaitable<void> {
        co_await defies(done);
        throw std::runtime_error{"too late"};
    });
    run();
    task->cancel();
    run();
    tasks.abandon(*task);
    tasks.count_abandoned();
    mail.close();
    done.set();
    run();
    CHECK(ends == 0);
    auto const stats = counters.snapshot();
    CHECK(stats.abandoned_handlers == 0);
    CHECK(stats.late_failures == 1);
    CHECK(stats.late_messages == 2);
}

TEST_CASE_FIXTURE(group_of_tasks, "user_tasks: no memory to begin a task is how it ends") {
    bool failed = true;
    for (std::size_t which = 1; failed && which != 100; ++which) {
        CAPTURE(which);
        auto const before = ends;
        auto const task = std::make_shared<scripted_task>(context.get_executor(), nothing,
                                                          [this](scripted_task&) { ++ends; });
        {
            kgroup::tests::failing_allocation const failing{which};
            tasks.start(owner, task);
            failed = failing.has_failed();
        }
        run();
        CHECK(ends == before + 1);
        CHECK((!failed || !task->began || !task->failure));
    }
    CHECK_FALSE(failed);
}

} // namespace

} // namespace user_tasks_tests
