// SPDX-License-Identifier: MIT

#include "member.hpp"

#include <kgroup/consumer_group.hpp>

#include <asio/redirect_error.hpp>
#include <asio/steady_timer.hpp>
#include <asio/use_awaitable.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <future>
#include <thread>
#include <utility>

namespace kgroup::tests {

namespace {

struct hooked_handler {
    hooks with;

    asio::awaitable<void> setup(session& session) {
        if (with.setup) {
            co_await with.setup(session);
        }
    }
    asio::awaitable<void> consume_claim(session& session, claim& claim) {
        co_await with.consume_claim(session, claim);
    }
    asio::awaitable<void> cleanup(session& session) {
        if (with.cleanup) {
            co_await with.cleanup(session);
        }
    }
};

} // namespace

asio::awaitable<void> pause_for(std::chrono::milliseconds time) {
    asio::steady_timer timer{co_await asio::this_coro::executor, time};
    std::error_code ec;
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ec));
}

void received::add(message const& one) {
    std::lock_guard const lock{mutex_};
    all_.push_back(one.copy());
}

std::size_t received::count() const {
    std::lock_guard const lock{mutex_};
    return all_.size();
}

std::vector<owned_message> received::all() const {
    std::lock_guard const lock{mutex_};
    return all_;
}

std::vector<std::int64_t> received::offsets(std::int32_t partition) const {
    std::lock_guard const lock{mutex_};
    std::vector<std::int64_t> found;
    for (auto const& known : all_) {
        if (known.partition == partition) {
            found.push_back(known.offset);
        }
    }
    return found;
}

std::set<std::int32_t> received::partitions() const {
    std::lock_guard const lock{mutex_};
    std::set<std::int32_t> found;
    for (auto const& known : all_) {
        found.insert(known.partition);
    }
    return found;
}

hooks receive_into(received& to) {
    return {.consume_claim = [&to](session&, claim& claim) -> asio::awaitable<void> {
        while (auto const one = co_await claim.messages().async_receive()) {
            to.add(*one);
            claim.mark(*one);
        }
    }};
}

struct member::running {
    running(config given, hooks with, int threads)
        : handler{std::move(with)},
          checks_way(direct && !given.properties.contains("security.protocol")),
          group(std::in_place, context, reporting(std::move(given))) {
        group->async_run(handler, [this](std::exception_ptr e) {
            failure = e;
            ended = true;
            completed.set_value();
        });
        for (int i = 0; i != threads; ++i) {
            pool.emplace_back([this] { context.run(); });
        }
    }

    config reporting(config given) {
        given.on_event = [this](event const& event) {
            std::lock_guard const lock{mutex};
            events.push_back(event);
        };
        return given;
    }

    void join() {
        for (auto& worker : pool) {
            worker.join();
        }
        pool.clear();
    }

    hooked_handler handler;
    mutable std::mutex mutex;
    std::vector<event> events;
    std::exception_ptr failure;
    std::atomic<bool> ended{false};
    std::promise<void> completed;
    std::future<void> completion = completed.get_future();
    std::optional<asio::io_context> context_storage{std::in_place};
    asio::io_context& context = *context_storage;
    std::atomic<bool> checks_way; // that records came
    std::optional<tested_group> group;
    std::vector<std::thread> pool;
};

member::member(config given, hooks handler, int threads)
    : running_(std::make_unique<running>(std::move(given), std::move(handler), threads)) {}

member::~member() {
    if (running_->group && running_->checks_way) {
        CHECK(stats().records_handed_over == 0);
        CHECK(count(event_kind::handed_over) == 0);
    }
    if (running_->context_storage) {
        stop();
        running_->join();
    }
}

void member::stop() { running_->group->stop(); }

bool member::ends_within(std::chrono::milliseconds limit) {
    return running_->completion.wait_for(limit) == std::future_status::ready;
}

bool member::has_ended() const { return running_->ended; }

std::error_code member::error() const {
    if (running_->ended && running_->failure) {
        try {
            std::rethrow_exception(running_->failure);
        } catch (std::system_error const& e) {
            return e.code();
        } catch (...) {
            return std::make_error_code(std::errc::state_not_recoverable);
        }
    }
    return {};
}

std::string member::what() const {
    if (running_->ended && running_->failure) {
        try {
            std::rethrow_exception(running_->failure);
        } catch (std::exception const& e) {
            return e.what();
        } catch (...) {
            return "something else";
        }
    }
    return {};
}

std::vector<event> member::events() const {
    std::lock_guard const lock{running_->mutex};
    return running_->events;
}

std::size_t member::count(event_kind kind) const {
    std::lock_guard const lock{running_->mutex};
    return static_cast<std::size_t>(std::ranges::count(running_->events, kind, &event::kind));
}

std::optional<event> member::last(event_kind kind) const {
    std::lock_guard const lock{running_->mutex};
    auto const found = std::find_if(running_->events.rbegin(), running_->events.rend(),
                                    [&](event const& event) { return event.kind == kind; });
    return found == running_->events.rend() ? std::nullopt : std::optional{*found};
}

std::string member::said() const {
    std::string text;
    for (auto const& event : events()) {
        text += std::string{to_string(event.kind)} + ": " + event.text + " (" +
                event.error.message() + ")\n";
    }
    return text;
}

group_stats member::stats() const { return running_->group->stats(); }

tested_group& member::group() { return *running_->group; }

void member::may_be_handed_over() { running_->checks_way = false; }

void member::pause_all() { running_->group->pause_all(); }

void member::resume_all() { running_->group->resume_all(); }

asio::io_context& member::context() { return running_->context; }

void member::abandon() {
    running_->context.stop();
    running_->join();
    running_->group.reset();
    running_->context_storage.reset();
}

} // namespace kgroup::tests
