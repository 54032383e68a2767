// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/config.hpp>
#include <kgroup/detail/rdkafka/error.hpp>
#include <kgroup/detail/rdkafka/group_deletion.hpp>
#include <kgroup/detail/rdkafka/handle.hpp>
#include <kgroup/detail/rdkafka/properties.hpp>
#include <kgroup/detail/rdkafka/token.hpp>
#include <kgroup/error.hpp>
#include <kgroup/oauth_token.hpp>

#include <librdkafka/rdkafka.h>

#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string_view>
#include <system_error>

namespace kgroup::detail {

KGROUP_INLINE std::error_code delete_group(config const& settings,
                                           std::optional<oauth_token> const& token,
                                           std::chrono::milliseconds timeout) {
    rdkafka_conf conf{rd_kafka_conf_new()};
    char text[512];
    rd_kafka_conf_set(conf.get(), "bootstrap.servers",
                      rdkafka_properties::without_blanks(settings.brokers).c_str(), text,
                      sizeof text);
    for (auto const& [name, value] :
         settings.properties) { // those of consumers only are none of its business
        rd_kafka_conf_set(conf.get(), name.c_str(), value.c_str(), text, sizeof text);
    }
    if (token) {
        rd_kafka_conf_set(conf.get(), "sasl.mechanisms", "OAUTHBEARER", text, sizeof text);
    }
    rd_kafka_conf_set_log_cb(conf.get(), [](rd_kafka_t const*, int, char const*, char const*) {});
    std::unique_ptr<rd_kafka_t, rdkafka_deleter<rd_kafka_destroy>> const client{
        rd_kafka_new(RD_KAFKA_PRODUCER, conf.get(), text, sizeof text)};
    if (!client) {
        return errc::invalid_config;
    }
    static_cast<void>(conf.release()); // the client has taken it
    if (token) {
        if (auto const ec = set_token(client.get(), *token)) {
            return ec;
        }
    }
    // librdkafka aborts the process when a broker does not know the request: its mock cluster does
    // not (nor did Kafka before 1.1).
    auto const half = static_cast<int>(timeout.count() / 2);
    std::unique_ptr<char, rdkafka_deleter<std::free>> const cluster{
        rd_kafka_clusterid(client.get(), half)};
    if (!cluster) {
        return make_error_code(RD_KAFKA_RESP_ERR__TIMED_OUT);
    }
    if (std::string_view{cluster.get()}.starts_with("mockCluster")) {
        return make_error_code(RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE);
    }
    rdkafka_queue const queue{rd_kafka_queue_new(client.get())};
    auto* group = rd_kafka_DeleteGroup_new(settings.group_id.c_str());
    // The request gives up before we do, so that none is left when the client ends.
    std::unique_ptr<rd_kafka_AdminOptions_t, rdkafka_deleter<rd_kafka_AdminOptions_destroy>> const
        options{rd_kafka_AdminOptions_new(client.get(), RD_KAFKA_ADMIN_OP_DELETEGROUPS)};
    rd_kafka_AdminOptions_set_request_timeout(options.get(), half * 4 / 5, text, sizeof text);
    rd_kafka_DeleteGroups(client.get(), &group, 1, options.get(), queue.get());
    rd_kafka_DeleteGroup_destroy(group);
    rdkafka_event const answer{rd_kafka_queue_poll(queue.get(), half)};
    if (!answer) {
        return make_error_code(RD_KAFKA_RESP_ERR__TIMED_OUT);
    }
    if (auto const err = rd_kafka_event_error(answer.get())) {
        return make_error_code(err);
    }
    std::size_t count = 0;
    auto const* const* const results = rd_kafka_DeleteGroups_result_groups(
        rd_kafka_event_DeleteGroups_result(answer.get()), &count);
    if (count == 1) {
        if (auto const* const failed = rd_kafka_group_result_error(results[0]);
            failed && rd_kafka_error_code(failed) != RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND) {
            return make_error_code(rd_kafka_error_code(failed));
        }
    }
    return {};
}

} // namespace kgroup::detail
