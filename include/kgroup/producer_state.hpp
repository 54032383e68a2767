// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/events/event_line.hpp>
#include <kgroup/event.hpp>
#include <kgroup/group_state.hpp>
#include <kgroup/producer_config.hpp>

#include <chrono>
#include <cstddef>
#include <optional>
#include <ostream>
#include <string_view>
#include <system_error>
#include <vector>

namespace kgroup {

/// What a producer does.
enum class producer_phase {
    running,  ///< it takes records
    stopping, ///< it takes none, and what it has may still be acknowledged
    stopped,
};

/// The phase's name, as in the code.
constexpr std::string_view to_string(producer_phase phase) noexcept {
    switch (phase) {
    case producer_phase::running:
        return "running";
    case producer_phase::stopping:
        return "stopping";
    case producer_phase::stopped:
        return "stopped";
    }
    return "unknown";
}

/// What a producer does, and has to do: a snapshot. Times are as in `group_state`.
struct producer_state {
    std::chrono::system_clock::time_point at{}; ///< when the snapshot was taken
    producer_phase phase = producer_phase::running;
    /// Keys and values of `producer_stats::unacknowledged`: in the queue, or in flight.
    std::size_t bytes_unacknowledged = 0;
    std::optional<std::chrono::system_clock::time_point>
        outage_since{};           ///< no broker can be reached
    std::error_code last_error{}; ///< of a record, or of the client; none: there was none yet
    std::optional<std::chrono::system_clock::time_point> last_error_at{};
    /// Lasting conditions (docs/events.md) by kind and place, `dead_letter_held` included.
    std::vector<lasting_condition> conditions{};
    producer_stats stats{};

    /// The first condition of this kind; null: there is none.
    lasting_condition const* find(event_kind kind) const noexcept {
        return detail::find_condition(conditions, kind);
    }
};

/// For logs and debug pages: a line for the producer, and one for each condition.
inline std::ostream& operator<<(std::ostream& out, producer_state const& state) {
    auto const ago = [&state](std::chrono::system_clock::time_point when) {
        return detail::seconds_text(state.at - when);
    };
    out << "producer: " << to_string(state.phase) << ", " << state.stats.unacknowledged
        << " records of " << state.bytes_unacknowledged << " bytes unacknowledged, "
        << state.stats.waiting << " wait for room, " << state.stats.acknowledged
        << " acknowledged, " << state.stats.failed << " failed";
    if (state.outage_since) {
        out << ", no broker for " << ago(*state.outage_since);
    }
    if (state.last_error_at) {
        out << ", last error " << ago(*state.last_error_at)
            << " ago: " << state.last_error.message();
    }
    out << '\n';
    for (auto const& condition : state.conditions) {
        detail::print(out, condition, state.at);
        out << '\n';
    }
    return out;
}

} // namespace kgroup
