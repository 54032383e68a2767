// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/connection.hpp>
#include <kgroup/event.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>

namespace kgroup {

/// Everything a producer is told, given once. An aggregate: name the fields you need, in this
/// order.
struct producer_config {
    /// How the cluster is reached. Required.
    kgroup::connection connection{};
    /// How long the delivery of a record may take, from when it is enqueued: through outages,
    /// elections and retries. Then it has failed (`_MSG_TIMED_OUT`), and may have been delivered.
    /// 0: without limit.
    std::chrono::milliseconds delivery_timeout{120'000};
    /// Memory for records that are not acknowledged yet, in bytes. A record counts its own bytes
    /// and some 400 more. While the memory is full, `async_enqueue` and `async_send` wait. It must
    /// hold two of the largest records (property `message.max.bytes`, 1 MB unless it is set).
    std::size_t buffer_bytes = std::size_t{32} << 20;
    /// How long what was enqueued may take to be acknowledged after `stop()`.
    std::chrono::milliseconds close_timeout{15'000};
    /// Properties of librdkafka that concern producing, by their own names: `linger.ms` (5),
    /// `compression.type`, `batch.size`, `message.max.bytes`, … One that is unknown, or that
    /// contradicts a field above or how kgroup produces (idempotent, acknowledged by all replicas
    /// in sync), is refused.
    std::map<std::string, std::string> properties{};
    /// Called with each event, on the producer's executor, one call at a time, as
    /// `config::on_event`. An exception from it comes out of the executor's `run`. Unset: warnings,
    /// errors and librdkafka's log go to standard error, a line each.
    std::function<void(event const&)> on_event{};
};

/// Counters since the producer was made, and gauges of the moment.
struct producer_stats {
    // gauges
    std::size_t unacknowledged = 0; ///< records enqueued, and neither acknowledged nor failed
    std::size_t waiting = 0;        ///< records that wait for room
    // counters
    std::uint64_t acknowledged = 0;
    std::uint64_t failed = 0;         ///< records that were enqueued and not acknowledged
    std::uint64_t replacements = 0;   ///< of librdkafka's producer, after a fatal error
    std::uint64_t events_dropped = 0; ///< events that were not reported because of their rate
};

} // namespace kgroup
