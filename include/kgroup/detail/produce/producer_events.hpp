// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/events/event_line.hpp>
#include <kgroup/error.hpp>
#include <kgroup/event.hpp>
#include <kgroup/topic_partition.hpp>

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace kgroup::detail {

/// What a producer has to tell, a function for each event. They are kept until no lock is held.
class producer_events {
public:
    std::vector<event>& all() noexcept { return all_; }
    void add(event told) { all_.push_back(std::move(told)); }

    void deliveries_failed(topic_partition where, std::error_code error, std::size_t count) {
        add({event_kind::delivery_failed, severity::error, std::move(where), error,
             count == 1 ? "a record was not delivered"
                        : std::to_string(count) + " records were not delivered"});
    }
    void lost_at_stop(std::size_t count) {
        add({event_kind::delivery_failed, severity::error, std::nullopt, errc::producer_stopped,
             std::to_string(count) + " records were not acknowledged when the producer was "
                                     "stopped; they may have been delivered"});
    }
    /// Nobody of the user's can be told any more.
    static event lost_at_destruction(std::size_t count) {
        return {event_kind::delivery_failed, severity::error, std::nullopt, errc::producer_stopped,
                std::to_string(count) + " records were not acknowledged when their producer was "
                                        "destroyed"};
    }

    void client_error(event_kind kind, severity level, std::error_code error, std::string text) {
        add({kind, level, std::nullopt, error, words_beside(error, std::move(text))});
    }
    /// `level`: as in syslog.
    void client_log(int level, std::string_view facility, std::string_view text) {
        auto const importance = level <= 3   ? severity::error
                                : level == 4 ? severity::warning
                                : level <= 6 ? severity::info
                                             : severity::debug;
        about(event_kind::client_log, importance, std::string{facility}.append(": ").append(text));
    }

    void failed(std::error_code cause, std::string reason, std::chrono::milliseconds replaced_in) {
        add({event_kind::producer_failed, severity::error, std::nullopt, cause,
             words_beside(cause, std::move(reason)) +
                 "; what was under way has failed and may have been delivered; the producer is "
                 "replaced" +
                 (replaced_in.count() == 0
                      ? std::string{}
                      : " in " + std::to_string(replaced_in.count()) + " ms")});
    }
    void cannot_be_replaced(std::string_view reason) {
        about(event_kind::producer_failed, severity::error,
              std::string{"the producer cannot be replaced yet: "}.append(reason));
    }
    void recovered() {
        about(event_kind::producer_recovered, severity::info, "records are acknowledged again");
    }
    void brokers_reachable() {
        about(event_kind::brokers_reachable, severity::info, "the brokers can be reached again");
    }

    void accepted_by_brokers() {
        about(event_kind::authentication_recovered, severity::info,
              "the brokers accept this producer");
    }
    void token_given() {
        about(event_kind::authentication_recovered, severity::info, "a token has been given");
    }
    void no_token(std::error_code error, std::string text) {
        add({event_kind::authentication_failed, severity::error, std::nullopt, error,
             std::move(text)});
    }

private:
    void about(event_kind kind, severity level, std::string text) {
        add({kind, level, std::nullopt, {}, std::move(text)});
    }

    std::vector<event> all_;
};

} // namespace kgroup::detail
