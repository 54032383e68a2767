// SPDX-License-Identifier: MIT

// The floor: librdkafka's C interface with nothing around it. --mode poll | split | batch.
//
// poll   one rd_kafka_consumer_poll() a record.
//
// split  a queue a partition, emptied in turn with rd_kafka_consume_queue(queue, 0); sleeps on an
//        eventfd that the queues' callbacks write.
//
// batch  the same with rd_kafka_consume_batch_queue(queue, 0, 1000). Not safe beside a rebalance
//        before librdkafka 2.1: a floor, not advice.
#include <librdkafka/rdkafka.h>
#include <sys/eventfd.h>

#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <unistd.h>

#include "arm.h"

enum {
    visit_limit = 1000,
    idle_wait_ms = 100,
    commit_interval_ns = 1000000000,
    clock_interval = 1024
};

// One bell for all queues. Rung from librdkafka's threads under a queue's lock, so it may only set
// flags and write.
struct bell {
    int descriptor;
    atomic_bool rung;
};

struct claim {
    rd_kafka_queue_t* queue; // NULL when not split
    struct bell* bell;
    atomic_bool ready;
    bool owned;
    int64_t next_offset; // the mark: -1 when nothing is to be committed
};

struct member {
    rd_kafka_t* client;
    rd_kafka_queue_t* consumer_queue;
    struct arm_options options;
    struct arm_tally tally;
    struct bell bell;
    struct claim* claims;
    int64_t last_commit_ns;
    bool split;
};

static void ring(struct bell* bell) {
    if (atomic_exchange(&bell->rung, true))
        return;
    uint64_t const one = 1;
    if (write(bell->descriptor, &one, sizeof one) != (ssize_t)sizeof one)
        abort();
}

static void on_claim_ready(rd_kafka_t* client, void* opaque) {
    (void)client;
    struct claim* const claim = opaque;
    atomic_store(&claim->ready, true);
    ring(claim->bell);
}

static void on_member_ready(rd_kafka_t* client, void* opaque) {
    (void)client;
    ring(opaque);
}

static void commit_marks(struct member* member, int async) {
    rd_kafka_topic_partition_list_t* const offsets =
        rd_kafka_topic_partition_list_new(member->options.partitions);
    for (int32_t partition = 0; partition < member->options.partitions; ++partition) {
        struct claim* const claim = &member->claims[partition];
        if (!claim->owned || claim->next_offset < 0)
            continue;
        rd_kafka_topic_partition_list_add(offsets, member->options.topic, partition)->offset =
            claim->next_offset;
        claim->next_offset = -1;
    }
    if (offsets->cnt > 0) {
        rd_kafka_resp_err_t const error = rd_kafka_commit(member->client, offsets, async);
        if (error != RD_KAFKA_RESP_ERR_NO_ERROR)
            fprintf(stderr, "commit: %s\n", rd_kafka_err2str(error));
    }
    rd_kafka_topic_partition_list_destroy(offsets);
}

static void commit_when_due(struct member* member) {
    int64_t const now = wall_clock_ns();
    if (now - member->last_commit_ns < commit_interval_ns)
        return;
    member->last_commit_ns = now;
    commit_marks(member, 1);
    arm_print_progress(member->tally.messages);
}

static void take(struct member* member, rd_kafka_message_t* message) {
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        fprintf(stderr, "consume: %s\n", rd_kafka_message_errstr(message));
        rd_kafka_message_destroy(message);
        return;
    }
    arm_take(&member->tally, message->payload, message->len, message->partition, message->offset);
    member->claims[message->partition].next_offset = message->offset + 1;
    rd_kafka_message_destroy(message);
    if (member->tally.messages % clock_interval == 0)
        commit_when_due(member);
}

static void begin_claim(struct member* member, int32_t partition) {
    struct claim* const claim = &member->claims[partition];
    claim->owned = true;
    if (!member->split)
        return;
    claim->queue = rd_kafka_queue_get_partition(member->client, member->options.topic, partition);
    rd_kafka_queue_forward(claim->queue, NULL);
    rd_kafka_queue_cb_event_enable(claim->queue, on_claim_ready, claim);
    atomic_store(&claim->ready, true);
}

static void end_claim(struct member* member, int32_t partition) {
    struct claim* const claim = &member->claims[partition];
    claim->owned = false;
    if (claim->queue == NULL)
        return;
    rd_kafka_queue_cb_event_enable(claim->queue, NULL, NULL);
    rd_kafka_queue_destroy(claim->queue);
    claim->queue = NULL;
}

static void on_rebalance(rd_kafka_t* client, rd_kafka_resp_err_t error,
                         rd_kafka_topic_partition_list_t* partitions, void* opaque) {
    struct member* const member = opaque;
    if (error == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        for (int index = 0; index < partitions->cnt; ++index)
            begin_claim(member, partitions->elems[index].partition);
        rd_kafka_assign(client, partitions);
        arm_print_assigned((size_t)partitions->cnt);
        return;
    }
    commit_marks(member, 0);
    rd_kafka_assign(client, NULL);
    for (int index = 0; index < partitions->cnt; ++index)
        end_claim(member, partitions->elems[index].partition);
}

static bool finished(struct member const* member) {
    return arm_interrupted != 0 ||
           (member->options.messages > 0 && member->tally.messages >= member->options.messages);
}

static void drain_by_poll(struct member* member) {
    while (!finished(member)) {
        rd_kafka_message_t* const message = rd_kafka_consumer_poll(member->client, idle_wait_ms);
        if (message != NULL)
            take(member, message);
        else
            commit_when_due(member);
    }
}

static size_t visit_each(struct member* member, struct claim* claim) {
    size_t taken = 0;
    for (; taken < visit_limit; ++taken) {
        rd_kafka_message_t* const message = rd_kafka_consume_queue(claim->queue, 0);
        if (message == NULL)
            break;
        take(member, message);
    }
    return taken;
}

static size_t visit_batch(struct member* member, struct claim* claim) {
    rd_kafka_message_t* messages[visit_limit];
    ssize_t const count = rd_kafka_consume_batch_queue(claim->queue, 0, messages, visit_limit);
    for (ssize_t index = 0; index < count; ++index)
        take(member, messages[index]);
    return count > 0 ? (size_t)count : 0;
}

static void wait_for_bell(struct member* member) {
    struct pollfd descriptor = {.fd = member->bell.descriptor, .events = POLLIN};
    if (poll(&descriptor, 1, idle_wait_ms) > 0) {
        uint64_t count;
        if (read(member->bell.descriptor, &count, sizeof count) < 0)
            abort();
    }
    atomic_store(&member->bell.rung, false);
}

static void drain_by_claim(struct member* member, size_t (*visit)(struct member*, struct claim*)) {
    while (!finished(member)) {
        rd_kafka_message_t* const message = rd_kafka_consumer_poll(member->client, 0);
        if (message != NULL)
            take(member, message);
        size_t taken = message != NULL;
        for (int32_t partition = 0; partition < member->options.partitions; ++partition) {
            struct claim* const claim = &member->claims[partition];
            if (claim->queue == NULL || !atomic_load_explicit(&claim->ready, memory_order_relaxed))
                continue;
            atomic_store(&claim->ready, false);
            size_t const count = visit(member, claim);
            if (count > 0)
                atomic_store(&claim->ready,
                             true); // it may hold more: only an empty visit lets the claim rest
            taken += count;
        }
        if (taken == 0) {
            commit_when_due(member);
            wait_for_bell(member);
        }
    }
}

static void set(rd_kafka_conf_t* conf, char const* name, char const* value) {
    char error[512];
    if (rd_kafka_conf_set(conf, name, value, error, sizeof error) != RD_KAFKA_CONF_OK)
        arm_fail(name, error);
}

static rd_kafka_t* make_client(struct member* member) {
    rd_kafka_conf_t* const conf = rd_kafka_conf_new();
    set(conf, "bootstrap.servers", member->options.brokers);
    set(conf, "group.id", member->options.group);
    set(conf, "auto.offset.reset", "earliest");
    set(conf, "enable.auto.commit", "false");
    set(conf, "enable.auto.offset.store", "false");
    for (size_t index = 0; index < member->options.property_count; ++index)
        set(conf, member->options.properties[index].name, member->options.properties[index].value);
    rd_kafka_conf_set_opaque(conf, member);
    rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
    char error[512];
    rd_kafka_t* const client = rd_kafka_new(RD_KAFKA_CONSUMER, conf, error, sizeof error);
    if (client == NULL)
        arm_fail("rd_kafka_new", error);
    rd_kafka_poll_set_consumer(client);
    return client;
}

int main(int argc, char** argv) {
    struct member member = {.options = arm_parse(argc, argv), .last_commit_ns = wall_clock_ns()};
    member.tally = arm_tally_for(&member.options, 1);
    member.split = strcmp(member.options.mode, "poll") != 0;
    member.claims = calloc((size_t)member.options.partitions, sizeof *member.claims);
    member.bell.descriptor = eventfd(0, EFD_NONBLOCK);
    for (int32_t partition = 0; partition < member.options.partitions; ++partition) {
        member.claims[partition].bell = &member.bell;
        member.claims[partition].next_offset = -1;
    }
    signal(SIGTERM, arm_on_signal);
    member.client = make_client(&member);
    if (member.split) {
        member.consumer_queue = rd_kafka_queue_get_consumer(member.client);
        rd_kafka_queue_cb_event_enable(member.consumer_queue, on_member_ready, &member.bell);
    }

    rd_kafka_topic_partition_list_t* const topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, member.options.topic, RD_KAFKA_PARTITION_UA);
    rd_kafka_subscribe(member.client, topics);
    rd_kafka_topic_partition_list_destroy(topics);

    if (strcmp(member.options.mode, "poll") == 0)
        drain_by_poll(&member);
    else if (strcmp(member.options.mode, "split") == 0)
        drain_by_claim(&member, visit_each);
    else if (strcmp(member.options.mode, "batch") == 0)
        drain_by_claim(&member, visit_batch);
    else
        arm_fail("unknown --mode", member.options.mode);

    if (member.consumer_queue != NULL) {
        rd_kafka_queue_cb_event_enable(member.consumer_queue, NULL, NULL);
        rd_kafka_queue_destroy(member.consumer_queue);
    }
    rd_kafka_consumer_close(member.client);
    char client[64];
    snprintf(client, sizeof client, "librdkafka %s", rd_kafka_version_str());
    arm_print_result(client, &member.tally, 1);
    arm_write_samples(&member.options, &member.tally, 1);
    rd_kafka_destroy(member.client);
    return 0;
}
