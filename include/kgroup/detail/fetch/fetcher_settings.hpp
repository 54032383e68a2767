// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/fetch/fetch_message.hpp>
#include <kgroup/detail/fetch/partition_fetch.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <system_error>

namespace kgroup::detail::fetch {

/// What the fetcher is to know; most of it by librdkafka's properties, whose defaults stand here.
struct fetcher_settings {
    enum class family { any, v4, v6 };

    std::string bootstrap_servers; // host:port, separated by commas
    std::string client_id = "rdkafka";
    std::string rack; // client.rack
    isolation level = isolation::read_committed;
    reset_policy reset = reset_policy::latest;
    std::chrono::milliseconds fetch_wait_max{500};
    std::chrono::milliseconds socket_timeout{60'000};
    std::chrono::milliseconds connection_setup_timeout{30'000};
    std::chrono::milliseconds metadata_refresh_interval{300'000};
    std::chrono::milliseconds error_backoff{500};
    std::chrono::milliseconds connections_max_idle{0}; // 0: as long as a broker keeps them
    std::chrono::milliseconds reconnect_backoff{100};
    std::chrono::milliseconds reconnect_backoff_max{10'000};
    std::int32_t fetch_min_bytes = 1;
    std::int32_t fetch_max_bytes = 52'428'800;
    std::int32_t partition_max_bytes = 1'048'576; // max.partition.fetch.bytes
    std::int32_t receive_message_max_bytes = 100'000'000;
    std::size_t buffer_bytes = 64 << 20; // the memory for answers, of all partitions together
    family address_family = family::any;
    bool keepalive = false;                // of TCP
    std::int32_t send_buffer_bytes = 0;    // of a socket; 0: as the system has it
    std::int32_t receive_buffer_bytes = 0; // the same
};

/// A partition's share of that. Its pauses after errors begin shorter than was chosen, as most
/// errors are over at once, and grow to twice of it. Where none is wanted there is one all the
/// same.
inline fetch_settings settings_of_partition(fetcher_settings const& all) noexcept {
    constexpr std::chrono::milliseconds first{100};
    constexpr std::chrono::milliseconds least{10};
    fetch_settings result{.reset = all.reset};
    result.longest_backoff = (std::max)(2 * all.error_backoff, least);
    result.shortest_backoff = (std::min)(first, result.longest_backoff);
    return result;
}

/// What is told of brokers; what concerns a partition is told to its sink.
struct fetcher_notice {
    enum class kind {
        unresolved,      // a name that has no address
        unreachable,     // no connection; told once until there is one again
        disconnected,    // a connection ended while an answer was awaited
        no_answer,       // an answer is overdue; the connection was closed
        frame_too_large, // an answer above receive.message.max.bytes
        damaged_answer,  // an answer that cannot be read, or that nobody asked for
        unsupported,     // the broker speaks no version that is known here
        over_budget,     // more is held than the memory for answers
        no_memory,
    };
    kind type;
    std::string broker; // host:port; empty: it concerns none
    std::error_code error;
    std::string text;
};

} // namespace kgroup::detail::fetch
