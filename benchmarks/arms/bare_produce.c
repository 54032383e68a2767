// SPDX-License-Identifier: MIT

// The floor of producing: librdkafka's C interface with nothing around it. Delivery reports are
// counted by a callback.
#include <librdkafka/rdkafka.h>

#include "arm.h"

enum { poll_interval = 1000, full_wait_ms = 10, flush_ms = 120000 };

static void on_delivery(rd_kafka_t* client, rd_kafka_message_t const* message, void* opaque) {
    (void)client;
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR)
        arm_fail("delivery", rd_kafka_err2str(message->err));
    ++*(int64_t*)opaque;
}

static void set(rd_kafka_conf_t* conf, char const* name, char const* value) {
    char error[512];
    if (rd_kafka_conf_set(conf, name, value, error, sizeof error) != RD_KAFKA_CONF_OK)
        arm_fail(name, error);
}

static rd_kafka_t* make_client(struct arm_options const* options, int64_t* acknowledged) {
    rd_kafka_conf_t* const conf = rd_kafka_conf_new();
    set(conf, "bootstrap.servers", options->brokers);
    set(conf, "enable.idempotence", "true");
    for (size_t index = 0; index < options->property_count; ++index)
        set(conf, options->properties[index].name, options->properties[index].value);
    rd_kafka_conf_set_opaque(conf, acknowledged);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    char error[512];
    rd_kafka_t* const client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof error);
    if (client == NULL)
        arm_fail("rd_kafka_new", error);
    return client;
}

int main(int argc, char** argv) {
    struct arm_options const options = arm_parse(argc, argv);
    int64_t acknowledged = 0;
    rd_kafka_t* const client = make_client(&options, &acknowledged);
    rd_kafka_topic_t* const topic = rd_kafka_topic_new(client, options.topic, NULL);
    char* const value = arm_value_of(&options);
    arm_print_assigned((size_t)options.partitions);

    struct arm_tally tally = arm_tally_for(&options, 1);
    tally.first_ns = wall_clock_ns();
    for (int64_t number = 0; number < options.messages; ++number) {
        arm_number_value(value, number);
        while (rd_kafka_produce(topic, (int32_t)(number % options.partitions), RD_KAFKA_MSG_F_COPY,
                                value, options.value_size, NULL, 0, NULL) != 0) {
            if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL)
                arm_fail("produce", rd_kafka_err2str(rd_kafka_last_error()));
            rd_kafka_poll(client, full_wait_ms);
        }
        if (number % poll_interval == 0)
            rd_kafka_poll(client, 0);
    }
    if (rd_kafka_flush(client, flush_ms) != RD_KAFKA_RESP_ERR_NO_ERROR)
        arm_fail("flush", "not everything is acknowledged in time");
    tally.last_ns = wall_clock_ns();
    tally.messages = acknowledged;
    tally.bytes = acknowledged * (int64_t)options.value_size;

    char name[64];
    snprintf(name, sizeof name, "librdkafka %s", rd_kafka_version_str());
    arm_print_result(name, &tally, 1);
    free(value);
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(client);
    return 0;
}
