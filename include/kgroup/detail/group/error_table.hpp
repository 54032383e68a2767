#pragma once

#include <kgroup/error_effect.hpp>

#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <array>
#include <string_view>

namespace kgroup::detail {

/// A code of Kafka's or librdkafka's that does not simply pass.
struct error_row {
    int code; // a number where the oldest header has no name
    error_effect effect;
    std::string_view remedy; // the field or property concerned, and what to do; empty: the code's
                             // own words say it
};

inline constexpr int invalid_regular_expression = 128; // named by newer headers only

/// Every code that has another effect than `heals`, and those that heal but had better be mended.
/// What librdkafka itself calls fatal to a consumer (2.0 to 2.16: rdkafka_cgrp.c) is among them,
/// and so is what it repeats for ever without any hope.
///
/// The default, for all other codes, is `heals` without a remedy: brokers, leaders and coordinators
/// that are away or move, generations that are over, records and requests that are refused one by
/// one, and what concerns producers only.
inline constexpr std::array error_table{
    error_row{RD_KAFKA_RESP_ERR__FATAL, error_effect::ends_run,
              ""}, // the cause has a code of its own
    error_row{RD_KAFKA_RESP_ERR__FENCED, error_effect::ends_application,
              "group_instance_id: another member has taken it; each needs one of its own"},
    error_row{RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE, error_effect::ends_application,
              "protocol: the brokers are too old for what is configured"},
    error_row{RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, error_effect::ends_application,
              "topics: the brokers do not allow this name"},
    error_row{RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL, error_effect::heals,
              "assignors, protocol: the group's other members have none in common with this one; "
              "it joins when they have left or changed"},
    error_row{RD_KAFKA_RESP_ERR_INVALID_GROUP_ID, error_effect::ends_application,
              "group_id: the brokers do not allow it"},
    error_row{RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT, error_effect::ends_application,
              "properties: 'session.timeout.ms': the brokers do not allow this value (their "
              "group.min.session.timeout.ms and "
              "group.max.session.timeout.ms)"},
    error_row{RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, error_effect::ends_application,
              "group_id: this member's user may not read with this group (an ACL, or "
              "'sasl.username' among the properties)"},
    error_row{
        RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, error_effect::ends_application,
        "properties: this member's user has no access to the cluster (an ACL, or 'sasl.username')"},
    error_row{RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION, error_effect::ends_application,
              "protocol: the brokers are too old for what is configured"},
    error_row{RD_KAFKA_RESP_ERR_INVALID_REQUEST, error_effect::ends_application,
              "protocol, properties: the brokers do not allow what this member asks for"},
    error_row{RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND, error_effect::ends_run,
              "group_id: the group was deleted, or is of another protocol and not empty"},
    error_row{RD_KAFKA_RESP_ERR_GROUP_MAX_SIZE_REACHED, error_effect::ends_run,
              "the group is full (group.max.size, group.consumer.max.size of the brokers); this "
              "member joins when another has left"},
    error_row{RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID, error_effect::ends_application,
              "group_instance_id: another member has taken it; each needs one of its own"},
    error_row{111 /* UNRELEASED_INSTANCE_ID */, error_effect::ends_run,
              "group_instance_id: another member has it; this one joins when that one has left or "
              "its session is over"},
    error_row{112 /* UNSUPPORTED_ASSIGNOR */, error_effect::ends_application,
              "properties: 'group.remote.assignor': the brokers do not have it"},
    error_row{invalid_regular_expression, error_effect::ends_application,
              "topics: the brokers do not take a regular expression (RE2)"},
};

constexpr error_row row_of(int code) noexcept {
    auto const found = std::find_if(error_table.begin(), error_table.end(),
                                    [=](error_row const& row) { return row.code == code; });
    return found == error_table.end() ? error_row{code, error_effect::heals, ""} : *found;
}

} // namespace kgroup::detail
