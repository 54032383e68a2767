// SPDX-License-Identifier: MIT

// Records that are told apart by number and time, and the account of what was sent.
#pragma once

#include "../arms/record.h"
#include "kafka_tool.h"

enum { text_size = 1 << 20 };

struct produced {
    rd_kafka_topic_t* topic;
    char* text;
    char* value;
    size_t value_size;
    int32_t partitions;
    int64_t records;
    int64_t bytes;
    uint64_t checksum;
};

// Words from a small vocabulary: lz4 halves them or better, as it does ordinary logs and JSON.
static inline char* make_text(void) {
    char* const text = (char*)malloc(text_size);
    uint64_t state = 88172645463325252u;
    size_t filled = 0;
    while (filled < text_size) {
        state = spin(state, 1);
        uint64_t letters = state % 512 * 2654435761u;
        size_t const length = 3 + (size_t)(state >> 32) % 7;
        for (size_t index = 0; index < length && filled < text_size; ++index, letters /= 23)
            text[filled++] = (char)('a' + letters % 23);
        if (filled < text_size)
            text[filled++] = ' ';
    }
    return text;
}

static inline struct produced produce_to(rd_kafka_t* producer, char const* topic,
                                         int32_t partitions, size_t value_size) {
    if (value_size < record_header_size || value_size >= text_size)
        fail("--size", "must hold a record's header and fit the text");
    struct produced produced;
    memset(&produced, 0, sizeof produced);
    produced.topic = rd_kafka_topic_new(producer, topic, NULL);
    produced.text = make_text();
    produced.value = (char*)malloc(value_size);
    produced.value_size = value_size;
    produced.partitions = partitions;
    return produced;
}

static inline void produce_to_partition(rd_kafka_t* producer, struct produced* produced,
                                        int32_t partition, char const* key, int64_t intended_ns) {
    int64_t const number = produced->records;
    size_t const tail = produced->value_size - record_header_size;
    memcpy(produced->value, &intended_ns, sizeof intended_ns);
    memcpy(produced->value + sizeof intended_ns, &number, sizeof number);
    memcpy(produced->value + record_header_size,
           produced->text + (uint64_t)number * 7919 % (text_size - produced->value_size), tail);
    while (rd_kafka_produce(produced->topic, partition, RD_KAFKA_MSG_F_COPY, produced->value,
                            produced->value_size, key, key != NULL ? strlen(key) : 0, NULL) != 0) {
        if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL)
            fail("produce", rd_kafka_err2str(rd_kafka_last_error()));
        rd_kafka_poll(producer, 10);
    }
    ++produced->records;
    produced->bytes += (int64_t)produced->value_size;
    produced->checksum += record_checksum(produced->value, produced->value_size);
}

static inline void produce_one(rd_kafka_t* producer, struct produced* produced,
                               int64_t intended_ns) {
    produce_to_partition(producer, produced, (int32_t)(produced->records % produced->partitions),
                         NULL, intended_ns);
}

static inline void produce_with_key(rd_kafka_t* producer, struct produced* produced, int key) {
    char text[16];
    snprintf(text, sizeof text, "%d", key);
    produce_to_partition(producer, produced,
                         (int32_t)((uint32_t)key * 2654435761u % (uint32_t)produced->partitions),
                         text, 0);
}

static inline void finish_producing(rd_kafka_t* producer, struct produced* produced) {
    rd_kafka_resp_err_t const error = rd_kafka_flush(producer, 120000);
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR)
        fail("flush", rd_kafka_err2str(error));
    rd_kafka_topic_destroy(produced->topic);
    free(produced->text);
    free(produced->value);
}
