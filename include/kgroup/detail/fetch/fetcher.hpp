// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/auto_reset_event.hpp>
#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/fetch/batch_header.hpp>
#include <kgroup/detail/fetch/fetch_driver.hpp>
#include <kgroup/detail/fetch/fetched_records.hpp>
#include <kgroup/detail/fetch/fetcher_counters.hpp>
#include <kgroup/detail/fetch/fetcher_settings.hpp>
#include <kgroup/detail/fetch/partition_fetch.hpp>
#include <kgroup/detail/fetch/partition_orders.hpp>
#include <kgroup/topic_partition.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <system_error>
#include <utility>

namespace kgroup::detail::fetch {

/// Fetches what claims read, and hands the answers to the claims' sinks. It runs on a strand over
/// the executor.
///
/// One coroutine does all of it, whenever something may have changed: `fetch_driver` takes what
/// came, and asks what can be asked. Sockets, look-ups, other threads and released memory only wake
/// it.
///
/// *Thread safety.* Any thread may call; what is asked is carried out on the strand.
class fetcher : public std::enable_shared_from_this<fetcher> {
public:
    /// @param notice is called on the strand.
    fetcher(asio::any_io_executor const& executor, fetcher_settings settings,
            std::function<void(fetcher_notice)> notice)
        : event_(auto_reset_event::make(executor)),
          driver_(executor, event_, std::move(settings), std::move(notice)) {}
    fetcher(fetcher const&) = delete;
    fetcher& operator=(fetcher const&) = delete;

    /// Begins to fetch, or goes on elsewhere (a seek): the newer ticket counts.
    ///
    /// @param from an offset, or `partition_fetch::earliest` or `latest`.
    /// @param leader_epoch of the record before, as it was committed; -1: unknown.
    /// @throws std::bad_alloc
    void start(topic_partition const& partition, std::uint64_t ticket, std::int64_t from,
               std::int32_t leader_epoch, std::shared_ptr<fetch_sink> sink) {
        begin_running();
        orders_.start(partition, {ticket, from, leader_epoch, std::move(sink)});
        wake();
    }
    /// Ends the fetching. The sink is called no more once that was carried out, and released.
    void stop(topic_partition const& partition) noexcept {
        orders_.stop(partition);
        wake();
    }
    /// Whether the claim has room for more; it has at its start.
    void want(topic_partition const& partition, std::uint64_t ticket, bool more) noexcept {
        orders_.want(partition, ticket, more);
        wake();
    }

    /// The reader got to what only it understands.
    ///
    /// @param generation of the `fetched_records`.
    /// @param at `partition_reader::position`.
    void on_damaged(topic_partition const& partition, std::uint64_t ticket,
                    std::uint64_t generation, std::int64_t at, damage wrong) noexcept {
        orders_.found(partition, ticket, {generation, at, wrong});
        wake();
    }
    void on_old_format(topic_partition const& partition, std::uint64_t ticket,
                       std::uint64_t generation, std::int64_t at) noexcept {
        orders_.found(partition, ticket, {generation, at, damage::none});
        wake();
    }

    /// Ends everything. `done` is called, on the strand, when nothing of it runs any more. What was
    /// fetched lives as long as somebody keeps it.
    ///
    /// @throws std::bad_alloc
    void shut_down(std::function<void()> done) {
        begin_running();
        {
            std::lock_guard const lock{mutex_};
            if (ended_) {
                event_->run(std::move(done));
                return;
            }
            done_ = std::move(done);
        }
        ending_.store(true, std::memory_order_release);
        wake();
    }

    fetcher_counters const& counters() const noexcept { return driver_.counters(); }
    /// Bytes that are promised to requests, or held.
    std::size_t memory_used() const noexcept { return driver_.memory_used(); }

private:
    void wake() noexcept {
        std::lock_guard const lock{mutex_};
        if (running_) {
            event_->notify();
        }
    }
    void begin_running() {
        std::lock_guard const lock{mutex_};
        if (running_ || ended_) {
            return;
        }
        asio::co_spawn(event_->strand(), run(shared_from_this()), asio::detached);
        running_ = true;
    }

    static time_point now() noexcept { return time_point{clock::now().time_since_epoch()}; }

    static asio::awaitable<void> run(std::shared_ptr<fetcher> self) {
        for (;;) {
            auto until = self->turn();
            if (!until) {
                break;
            }
            try {
                co_await self->event_->wait(clock::time_point{until->time_since_epoch()});
            } catch (std::system_error const&) { // no memory to wait: notifications still come
            } catch (std::bad_alloc const&) {
            }
        }
        self->finish();
    }

    /// Does what can be done.
    ///
    /// @return until when to wait for a notification. nullopt: it is over.
    std::optional<time_point> turn() noexcept {
        auto const at = now();
        auto const soon = at + std::chrono::milliseconds{100};
        if (ending_.load(std::memory_order_acquire)) {
            return driver_.close() ? std::nullopt : std::optional{soon};
        }
        // Now and then without a reason, for a notification needs memory.
        auto const latest = at + std::chrono::seconds{1};
        try {
            return (std::min)(latest, (std::max)(driver_.turn(orders_, at), at));
        } catch (std::exception const&) { // what was under way is lost, or asked again
            return soon;
        }
    }
    void finish() {
        std::function<void()> done;
        {
            std::lock_guard const lock{mutex_};
            running_ = false;
            ended_ = true;
            done = std::exchange(done_, nullptr);
        }
        driver_.clear();
        orders_.clear();
        if (done) {
            done();
        }
    }

    std::shared_ptr<auto_reset_event> event_;
    partition_orders orders_;
    std::mutex mutex_;
    bool running_ = false;
    bool ended_ = false;
    std::function<void()> done_;
    std::atomic<bool> ending_{false};
    fetch_driver driver_; // the strand's
};

} // namespace kgroup::detail::fetch
