// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/process/dead_letter_sender.hpp>
#include <kgroup/event.hpp>
#include <kgroup/producer_state.hpp>

#include <chrono>

namespace kgroup::detail {

/// Why a producer has not delivered a letter for which somebody has waited for so long: what lasts,
/// or else the last error that it had meanwhile.
inline letter_trouble trouble_of(producer_state const& producer, std::chrono::nanoseconds waited) {
    for (auto const kind : {event_kind::authentication_failed, event_kind::brokers_unreachable,
                            event_kind::producer_failed}) {
        if (auto const* const lasts = producer.find(kind)) {
            return {lasts->error, lasts->text};
        }
    }
    if (producer.last_error_at && producer.at - *producer.last_error_at <= waited) {
        return {producer.last_error, {}};
    }
    return {};
}

} // namespace kgroup::detail
