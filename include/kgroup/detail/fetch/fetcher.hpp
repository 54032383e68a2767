// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/fetch/fetched_records.hpp>
#include <kgroup/detail/fetch/fetcher_settings.hpp>
#include <kgroup/topic_partition.hpp>

#include <asio/any_io_executor.hpp>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

namespace kgroup::detail::fetch {

/// What the fetcher did. Any thread may look.
struct fetcher_counters {
    std::atomic<std::uint64_t> fetches{0};
    std::atomic<std::uint64_t> other_requests{0}; // versions, metadata, offsets, epochs
    std::atomic<std::uint64_t> metadata_requests{0};
    std::atomic<std::uint64_t> answers{0};
    std::atomic<std::uint64_t> bytes{0};
    std::atomic<std::uint64_t> connections{0}; // made so far
};

/// Fetches what claims read: it knows who leads, holds the connections, asks in turn, and hands the
/// answers to the claims' sinks. It runs on a strand over the executor.
///
/// *Thread safety.* Any thread may call; what is asked is carried out on the strand.
class fetcher : public std::enable_shared_from_this<fetcher> {
public:
    /// @param notice is called on the strand.
    fetcher(asio::any_io_executor executor, fetcher_settings settings,
            std::function<void(fetcher_notice)> notice)
        : executor_(std::move(executor)),
          settings_(std::move(settings)),
          notice_(std::move(notice)) {}
    fetcher(fetcher const&) = delete;
    fetcher& operator=(fetcher const&) = delete;

    /// Begins to fetch, or goes on elsewhere (a seek): the newer ticket counts.
    ///
    /// @param from an offset, or `partition_fetch::earliest` or `latest`.
    /// @param leader_epoch of the record before, as it was committed; -1: unknown.
    /// @throws std::bad_alloc
    void start(topic_partition const&, std::uint64_t /*ticket*/, std::int64_t /*from*/,
               std::int32_t /*leader_epoch*/, std::shared_ptr<fetch_sink>) {}
    /// Ends the fetching. The sink is called no more once that was carried out, and released.
    void stop(topic_partition const&) noexcept {}
    /// Whether the claim has room for more; it has at its start.
    void want(topic_partition const&, std::uint64_t /*ticket*/, bool /*more*/) noexcept {}

    /// The reader got to what only it understands.
    ///
    /// @param generation of the `fetched_records`.
    /// @param at `partition_reader::position`.
    void on_damaged(topic_partition const&, std::uint64_t /*ticket*/, std::uint64_t /*generation*/,
                    std::int64_t /*at*/, damage) noexcept {}
    void on_old_format(topic_partition const&, std::uint64_t /*ticket*/,
                       std::uint64_t /*generation*/, std::int64_t /*at*/) noexcept {}

    /// Ends everything. `done` is called, on the strand, when nothing of it runs any more. What was
    /// fetched lives as long as somebody keeps it.
    void shut_down(std::function<void()> /*done*/) {}

    fetcher_counters const& counters() const noexcept { return counters_; }

private:
    asio::any_io_executor executor_;
    fetcher_settings settings_;
    std::function<void(fetcher_notice)> notice_;
    fetcher_counters counters_;
};

} // namespace kgroup::detail::fetch
