// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/event.hpp>

#include <librdkafka/rdkafka.h>

#include <optional>
#include <utility>

namespace kgroup::detail {

/// Whether the brokers can be reached, and accept the producer, by the events of librdkafka.
/// librdkafka reports when these conditions begin, but not when they end.
class broker_conditions {
public:
    /// What an error of librdkafka's is told as.
    struct report {
        event_kind kind = event_kind::client_error;
        severity level = severity::warning;
    };
    /// Not of a fatal error. nullopt: it was told already.
    std::optional<report> note(rd_kafka_resp_err_t error) noexcept {
        switch (error) {
        case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
            if (std::exchange(unreachable_, true)) {
                return std::nullopt;
            }
            return report{event_kind::brokers_unreachable, severity::error};
        case RD_KAFKA_RESP_ERR__AUTHENTICATION:
            refused_ = true;
            return report{event_kind::authentication_failed, severity::error};
        case RD_KAFKA_RESP_ERR__SSL:
            return report{event_kind::client_error, severity::error};
        default:
            return report{};
        }
    }
    /// They do not accept it.
    bool refused() const noexcept { return refused_; }

    /// A broker has answered. true: that ends an outage.
    bool reached() noexcept { return std::exchange(unreachable_, false); }
    /// A record was acknowledged. true: they had refused the producer before.
    bool accepted() noexcept { return std::exchange(refused_, false); }

private:
    bool unreachable_ = false;
    bool refused_ = false;
};

} // namespace kgroup::detail
