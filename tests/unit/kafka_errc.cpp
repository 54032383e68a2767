// SPDX-License-Identifier: MIT

#include <kgroup/detail/rdkafka/error.hpp>
#include <kgroup/kafka_errc.hpp>

#include <doctest/doctest.h>
#include <librdkafka/rdkafka.h>

#include <ostream>
#include <string>
#include <system_error>
#include <utility>

namespace kafka_errc_tests {

using kgroup::kafka_errc;
using kgroup::make_error_code;

TEST_CASE("kafka_errc: its values are librdkafka's") {
    constexpr std::pair<kafka_errc, rd_kafka_resp_err_t> all[] = {
        {kafka_errc::local_bad_message, RD_KAFKA_RESP_ERR__BAD_MSG},
        {kafka_errc::local_bad_compression, RD_KAFKA_RESP_ERR__BAD_COMPRESSION},
        {kafka_errc::local_failure, RD_KAFKA_RESP_ERR__FAIL},
        {kafka_errc::local_transport, RD_KAFKA_RESP_ERR__TRANSPORT},
        {kafka_errc::local_resolve, RD_KAFKA_RESP_ERR__RESOLVE},
        {kafka_errc::local_message_timed_out, RD_KAFKA_RESP_ERR__MSG_TIMED_OUT},
        {kafka_errc::local_unknown_partition, RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION},
        {kafka_errc::local_unknown_topic, RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC},
        {kafka_errc::local_all_brokers_down, RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN},
        {kafka_errc::local_invalid_argument, RD_KAFKA_RESP_ERR__INVALID_ARG},
        {kafka_errc::local_timed_out, RD_KAFKA_RESP_ERR__TIMED_OUT},
        {kafka_errc::local_queue_full, RD_KAFKA_RESP_ERR__QUEUE_FULL},
        {kafka_errc::local_ssl, RD_KAFKA_RESP_ERR__SSL},
        {kafka_errc::local_waiting_for_coordinator, RD_KAFKA_RESP_ERR__WAIT_COORD},
        {kafka_errc::local_in_progress, RD_KAFKA_RESP_ERR__IN_PROGRESS},
        {kafka_errc::local_authentication, RD_KAFKA_RESP_ERR__AUTHENTICATION},
        {kafka_errc::local_no_offset, RD_KAFKA_RESP_ERR__NO_OFFSET},
        {kafka_errc::local_timed_out_in_queue, RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE},
        {kafka_errc::local_unsupported_feature, RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE},
        {kafka_errc::local_waiting_for_metadata, RD_KAFKA_RESP_ERR__WAIT_CACHE},
        {kafka_errc::local_not_implemented, RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED},
        {kafka_errc::local_retry, RD_KAFKA_RESP_ERR__RETRY},
        {kafka_errc::local_purged_in_queue, RD_KAFKA_RESP_ERR__PURGE_QUEUE},
        {kafka_errc::local_purged_in_flight, RD_KAFKA_RESP_ERR__PURGE_INFLIGHT},
        {kafka_errc::local_fatal, RD_KAFKA_RESP_ERR__FATAL},
        {kafka_errc::local_max_poll_exceeded, RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED},
        {kafka_errc::local_fenced, RD_KAFKA_RESP_ERR__FENCED},
        {kafka_errc::local_auto_offset_reset, RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET},
        {kafka_errc::unknown_server_error, RD_KAFKA_RESP_ERR_UNKNOWN},
        {kafka_errc::offset_out_of_range, RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE},
        {kafka_errc::corrupt_message, RD_KAFKA_RESP_ERR_INVALID_MSG},
        {kafka_errc::unknown_topic_or_partition, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART},
        {kafka_errc::leader_not_available, RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE},
        {kafka_errc::not_leader_or_follower, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION},
        {kafka_errc::request_timed_out, RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT},
        {kafka_errc::replica_not_available, RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE},
        {kafka_errc::message_too_large, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE},
        {kafka_errc::offset_metadata_too_large, RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE},
        {kafka_errc::network_exception, RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION},
        {kafka_errc::coordinator_load_in_progress, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS},
        {kafka_errc::coordinator_not_available, RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE},
        {kafka_errc::not_coordinator, RD_KAFKA_RESP_ERR_NOT_COORDINATOR},
        {kafka_errc::invalid_topic, RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION},
        {kafka_errc::record_list_too_large, RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE},
        {kafka_errc::not_enough_replicas, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS},
        {kafka_errc::not_enough_replicas_after_append,
         RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND},
        {kafka_errc::invalid_required_acks, RD_KAFKA_RESP_ERR_INVALID_REQUIRED_ACKS},
        {kafka_errc::illegal_generation, RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION},
        {kafka_errc::inconsistent_group_protocol, RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL},
        {kafka_errc::invalid_group_id, RD_KAFKA_RESP_ERR_INVALID_GROUP_ID},
        {kafka_errc::unknown_member_id, RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID},
        {kafka_errc::invalid_session_timeout, RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT},
        {kafka_errc::rebalance_in_progress, RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS},
        {kafka_errc::invalid_commit_offset_size, RD_KAFKA_RESP_ERR_INVALID_COMMIT_OFFSET_SIZE},
        {kafka_errc::topic_authorization_failed, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED},
        {kafka_errc::group_authorization_failed, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED},
        {kafka_errc::cluster_authorization_failed, RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED},
        {kafka_errc::invalid_timestamp, RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP},
        {kafka_errc::unsupported_sasl_mechanism, RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM},
        {kafka_errc::illegal_sasl_state, RD_KAFKA_RESP_ERR_ILLEGAL_SASL_STATE},
        {kafka_errc::unsupported_version, RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION},
        {kafka_errc::invalid_request, RD_KAFKA_RESP_ERR_INVALID_REQUEST},
        {kafka_errc::unsupported_for_message_format,
         RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT},
        {kafka_errc::policy_violation, RD_KAFKA_RESP_ERR_POLICY_VIOLATION},
        {kafka_errc::out_of_order_sequence_number, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER},
        {kafka_errc::duplicate_sequence_number, RD_KAFKA_RESP_ERR_DUPLICATE_SEQUENCE_NUMBER},
        {kafka_errc::invalid_producer_epoch, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH},
        {kafka_errc::unknown_producer_id, RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID},
        {kafka_errc::kafka_storage_error, RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR},
        {kafka_errc::sasl_authentication_failed, RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED},
        {kafka_errc::group_id_not_found, RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND},
        {kafka_errc::fenced_leader_epoch, RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH},
        {kafka_errc::unknown_leader_epoch, RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH},
        {kafka_errc::offset_not_available, RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE},
        {kafka_errc::member_id_required, RD_KAFKA_RESP_ERR_MEMBER_ID_REQUIRED},
        {kafka_errc::group_max_size_reached, RD_KAFKA_RESP_ERR_GROUP_MAX_SIZE_REACHED},
        {kafka_errc::fenced_instance_id, RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID},
        {kafka_errc::unstable_offset_commit, RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT},
        {kafka_errc::throttling_quota_exceeded, RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED},
        {kafka_errc::producer_fenced, RD_KAFKA_RESP_ERR_PRODUCER_FENCED},
        {kafka_errc::invalid_record, RD_KAFKA_RESP_ERR_INVALID_RECORD},
    };
    for (auto const& [own, native] : all) {
        CAPTURE(rd_kafka_err2name(native));
        CHECK(make_error_code(own) == make_error_code(native));
    }
}

TEST_CASE("kafka_errc: a code compares with an error and has librdkafka's words") {
    std::error_code const error = kafka_errc::unknown_topic_or_partition;
    CHECK(error.category() == kgroup::kafka_category());
    CHECK(error == kafka_errc::unknown_topic_or_partition);
    CHECK(error != kafka_errc::request_timed_out);
    CHECK(error.message().find("UNKNOWN_TOPIC_OR_PART") != std::string::npos);
    CHECK(kgroup::is_retriable(kafka_errc::request_timed_out));
}

} // namespace kafka_errc_tests
