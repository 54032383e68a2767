// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/error_effect.hpp>
#include <kgroup/kafka_errc.hpp>

#include <algorithm>
#include <array>
#include <string_view>

namespace kgroup::detail {

/// A code of Kafka's or librdkafka's that does not simply pass.
struct error_row {
    kafka_errc code;
    error_effect effect;
    std::string_view remedy; // the field or property concerned, and what to do; empty: the code's
                             // own words say it
};

/// Every code with another effect than `heals`, and the codes that heal but that somebody should
/// correct. What librdkafka itself calls fatal to a consumer (2.0 to 2.16: rdkafka_cgrp.c) is among
/// them, and so is what it repeats for ever without any hope.
///
/// The default, for all other codes, is `heals` without a remedy: brokers, leaders and coordinators
/// that are away or move, generations that are over, records and requests that are refused one by
/// one, and what concerns producers only.
inline constexpr std::array error_table{
    error_row{kafka_errc::local_fatal, error_effect::ends_run,
              ""}, // the cause has a code of its own
    error_row{kafka_errc::local_fenced, error_effect::ends_application,
              "group_instance_id: another member has taken it; each needs one of its own"},
    error_row{kafka_errc::local_unsupported_feature, error_effect::ends_application,
              "protocol: the brokers are too old for what is configured"},
    error_row{kafka_errc::invalid_topic, error_effect::ends_application,
              "topics: the brokers do not allow this name"},
    error_row{kafka_errc::inconsistent_group_protocol, error_effect::heals,
              "assignors, protocol: the group's other members have none in common with this one; "
              "it joins when they have left or changed"},
    error_row{kafka_errc::invalid_group_id, error_effect::ends_application,
              "group_id: the brokers do not allow it"},
    error_row{kafka_errc::invalid_session_timeout, error_effect::ends_application,
              "properties: 'session.timeout.ms': the brokers do not allow this value (their "
              "group.min.session.timeout.ms and "
              "group.max.session.timeout.ms)"},
    error_row{kafka_errc::group_authorization_failed, error_effect::ends_application,
              "group_id: this member's user may not read with this group (an ACL, or "
              "'sasl.username' among the properties)"},
    error_row{
        kafka_errc::cluster_authorization_failed, error_effect::ends_application,
        "properties: this member's user has no access to the cluster (an ACL, or 'sasl.username')"},
    error_row{kafka_errc::unsupported_version, error_effect::ends_application,
              "protocol: the brokers are too old for what is configured"},
    error_row{kafka_errc::invalid_request, error_effect::ends_application,
              "protocol, properties: the brokers do not allow what this member asks for"},
    error_row{kafka_errc::group_id_not_found, error_effect::ends_run,
              "group_id: the group was deleted, or is of another protocol and not empty"},
    error_row{kafka_errc::group_max_size_reached, error_effect::ends_run,
              "the group is full (group.max.size, group.consumer.max.size of the brokers); this "
              "member joins when another has left"},
    error_row{kafka_errc::fenced_instance_id, error_effect::ends_application,
              "group_instance_id: another member has taken it; each needs one of its own"},
    error_row{kafka_errc::unreleased_instance_id, error_effect::ends_run,
              "group_instance_id: another member has it; this one joins when that one has left or "
              "its session is over"},
    error_row{kafka_errc::unsupported_assignor, error_effect::ends_application,
              "properties: 'group.remote.assignor': the brokers do not have it"},
    error_row{kafka_errc::invalid_regular_expression, error_effect::ends_application,
              "topics: the brokers do not take a regular expression (RE2)"},
};

constexpr error_row row_of(kafka_errc code) noexcept {
    auto const found = std::find_if(error_table.begin(), error_table.end(),
                                    [=](error_row const& row) { return row.code == code; });
    return found == error_table.end() ? error_row{code, error_effect::heals, ""} : *found;
}

} // namespace kgroup::detail
