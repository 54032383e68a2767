// SPDX-License-Identifier: MIT

#pragma once

#include <system_error>
#include <type_traits>

namespace kgroup {

/// The codes of Kafka's and librdkafka's that users meet, by name: in `commit_result::error`, in
/// events, and in what a run ends with. A `std::error_code` of `kafka_category()` may hold others;
/// `effect_of` knows all. `error == kgroup::kafka_errc::unknown_topic_or_partition` compares.
enum class kafka_errc {
    // librdkafka's own: something on this side, or the connection.

    local_bad_message = -199,             ///< a record or an answer cannot be read
    local_bad_compression = -198,         ///< a batch cannot be decompressed
    local_failure = -196,                 ///< a failure without a code of its own
    local_transport = -195,               ///< a connection failed or was closed
    local_resolve = -193,                 ///< a broker's name has no address
    local_message_timed_out = -192,       ///< a record was not acknowledged in time (producer)
    local_unknown_partition = -190,       ///< the topic has no such partition
    local_unknown_topic = -188,           ///< there is no such topic
    local_all_brokers_down = -187,        ///< no broker can be reached
    local_invalid_argument = -186,        ///< an argument or a property is refused
    local_timed_out = -185,               ///< a request was not answered in time
    local_queue_full = -184,              ///< the queue of the producer is full
    local_ssl = -181,                     ///< a failure of TLS
    local_waiting_for_coordinator = -180, ///< the coordinator is not known yet
    local_in_progress = -178,             ///< the same operation is under way
    local_not_implemented = -170,         ///< this librdkafka does not have it
    local_authentication = -169,          ///< authentication failed
    local_no_offset = -168,               ///< nothing to commit
    local_timed_out_in_queue = -166,      ///< a request was not even sent in time
    local_unsupported_feature = -165,     ///< the brokers are too old for this
    local_waiting_for_metadata = -164,    ///< the metadata is not known yet
    local_retry = -153,                   ///< to be repeated
    local_purged_in_queue = -152,         ///< a record was given up before it was sent (producer)
    local_purged_in_flight = -151,        ///< a record was given up while it was sent (producer)
    local_fatal = -150,                   ///< the client cannot go on
    local_max_poll_exceeded = -147,       ///< max.poll.interval.ms is over
    local_fenced = -144, ///< another member, or producer, has taken the place of this one
    local_auto_offset_reset = -140, ///< there is no valid position, and none is to be chosen

    // The brokers', as `org.apache.kafka.common.protocol.Errors` names them.

    unknown_server_error = -1,
    offset_out_of_range = 1,
    corrupt_message = 2,
    unknown_topic_or_partition = 3,
    leader_not_available = 5,
    not_leader_or_follower = 6,
    request_timed_out = 7,
    replica_not_available = 9,
    message_too_large = 10,
    offset_metadata_too_large = 12,
    network_exception = 13,
    coordinator_load_in_progress = 14,
    coordinator_not_available = 15,
    not_coordinator = 16,
    invalid_topic = 17,
    record_list_too_large = 18,
    not_enough_replicas = 19,
    not_enough_replicas_after_append = 20,
    invalid_required_acks = 21,
    illegal_generation = 22,
    inconsistent_group_protocol = 23,
    invalid_group_id = 24,
    unknown_member_id = 25,
    invalid_session_timeout = 26,
    rebalance_in_progress = 27,
    invalid_commit_offset_size = 28,
    topic_authorization_failed = 29,
    group_authorization_failed = 30,
    cluster_authorization_failed = 31,
    invalid_timestamp = 32,
    unsupported_sasl_mechanism = 33,
    illegal_sasl_state = 34,
    unsupported_version = 35,
    invalid_request = 42,
    unsupported_for_message_format = 43,
    policy_violation = 44,
    out_of_order_sequence_number = 45,
    duplicate_sequence_number = 46,
    invalid_producer_epoch = 47,
    kafka_storage_error = 56,
    sasl_authentication_failed = 58,
    unknown_producer_id = 59,
    group_id_not_found = 69,
    fenced_leader_epoch = 74,
    unknown_leader_epoch = 75,
    offset_not_available = 78,
    member_id_required = 79,
    group_max_size_reached = 81,
    fenced_instance_id = 82,
    invalid_record = 87,
    unstable_offset_commit = 88,
    throttling_quota_exceeded = 89,
    producer_fenced = 90,
    unknown_topic_id = 100,
    inconsistent_topic_id = 103,
    fenced_member_epoch = 110,
    unreleased_instance_id = 111,
    unsupported_assignor = 112,
    stale_member_epoch = 113,
    invalid_regular_expression = 128,
};

/// So that a `kafka_errc` is a `std::error_code`, in `kafka_category`.
std::error_code make_error_code(kafka_errc value) noexcept;

} // namespace kgroup

template <>
struct std::is_error_code_enum<kgroup::kafka_errc> : std::true_type {};
