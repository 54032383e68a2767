// SPDX-License-Identifier: MIT

// What the broker-side tools share: options by name, a librdkafka handle, failing with words.
#pragma once

#include <librdkafka/rdkafka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline void fail(char const* what, char const* detail) {
    fprintf(stderr, "%s: %s\n", what, detail);
    exit(1);
}

// The value after `name` on the command line, or `otherwise`; NULL for `otherwise` makes the option
// a required one.
static inline char const* option(int argc, char** argv, char const* name, char const* otherwise) {
    for (int index = 1; index + 1 < argc; index += 2)
        if (strcmp(argv[index], name) == 0)
            return argv[index + 1];
    if (otherwise == NULL)
        fail("missing option", name);
    return otherwise;
}

static inline void set_property(rd_kafka_conf_t* conf, char const* name, char const* value) {
    char error[512];
    if (rd_kafka_conf_set(conf, name, value, error, sizeof error) != RD_KAFKA_CONF_OK)
        fail(name, error);
}

static inline rd_kafka_t* make_handle(rd_kafka_type_t type, rd_kafka_conf_t* conf) {
    char error[512];
    rd_kafka_t* const handle = rd_kafka_new(type, conf, error, sizeof error);
    if (handle == NULL)
        fail("rd_kafka_new", error);
    return handle;
}
