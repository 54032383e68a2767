// SPDX-License-Identifier: MIT

#pragma once

#include <cstdint>
#include <string_view>

namespace kgroup::detail::fetch {

/// What an error of a broker leads to, for the partition it is told of.
enum class error_way {
    go_on,       // it is none
    ask_again,   // after a while
    check_range, // the position may be outside of the log
    damaged,     // the broker cannot read its own log there
    hand_over,   // what is asked here is not to be had from this broker: librdkafka reads the claim
    fail,        // repeating cannot help
};

struct error_rule {
    std::int16_t code;
    std::string_view name;
    error_way way;
    bool refresh; // metadata is asked: another broker may lead, or the topic may be another
    bool tell;    // an event says so, each time that it begins
};

/// The errors of Fetch, ListOffsets, OffsetForLeaderEpoch and Metadata, by their codes.
inline constexpr error_rule error_rules[] = {
    {-1, "UNKNOWN_SERVER_ERROR", error_way::ask_again, true, true},
    {0, "NONE", error_way::go_on, false, false},
    {1, "OFFSET_OUT_OF_RANGE", error_way::check_range, false, false},
    {2, "CORRUPT_MESSAGE", error_way::damaged, false, true},
    {3, "UNKNOWN_TOPIC_OR_PARTITION", error_way::ask_again, true, true},
    {5, "LEADER_NOT_AVAILABLE", error_way::ask_again, true, false},
    {6, "NOT_LEADER_OR_FOLLOWER", error_way::ask_again, true, false},
    {7, "REQUEST_TIMED_OUT", error_way::ask_again, false, false},
    {8, "BROKER_NOT_AVAILABLE", error_way::ask_again, true, false},
    {9, "REPLICA_NOT_AVAILABLE", error_way::ask_again, true, false},
    {13, "NETWORK_EXCEPTION", error_way::ask_again, true, false},
    {17, "INVALID_TOPIC_EXCEPTION", error_way::fail, false, true},
    {29, "TOPIC_AUTHORIZATION_FAILED", error_way::ask_again, true, true},
    {35, "UNSUPPORTED_VERSION", error_way::hand_over, false, true},
    {43, "UNSUPPORTED_FOR_MESSAGE_FORMAT", error_way::hand_over, false, true},
    {56, "KAFKA_STORAGE_ERROR", error_way::ask_again, true, true},
    {74, "FENCED_LEADER_EPOCH", error_way::ask_again, true, false},
    {75, "UNKNOWN_LEADER_EPOCH", error_way::ask_again, true, false},
    {76, "UNSUPPORTED_COMPRESSION_TYPE", error_way::hand_over, false, true},
    {78, "OFFSET_NOT_AVAILABLE", error_way::ask_again, true, false},
    {100, "UNKNOWN_TOPIC_ID", error_way::ask_again, true, false},
    {103, "INCONSISTENT_TOPIC_ID", error_way::ask_again, true, false},
};

/// The rule for a code. Those that are not known are asked again, and told.
constexpr error_rule rule_of(std::int16_t code) noexcept {
    for (auto const& rule : error_rules) {
        if (rule.code == code) {
            return rule;
        }
    }
    return {code, "an unknown error", error_way::ask_again, true, true};
}

} // namespace kgroup::detail::fetch
