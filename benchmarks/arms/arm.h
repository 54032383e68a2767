// SPDX-License-Identifier: MIT

// What every C and C++ arm does around its consumer: read the command line, take records, print the
// result. See README.md for the protocol.
#pragma once

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "record.h"

enum { arm_property_limit = 32, arm_stamp_interval = 256 };

struct arm_property {
    char name[128];
    char const* value;
};

struct arm_options {
    char const* mode;
    char const* brokers;
    char const* topic;
    char const* group;
    char const* samples_path; // NULL: no samples are taken
    int64_t messages;         // 0: until SIGTERM
    int64_t spin_rounds;
    int64_t sample_interval; // a sample each so many records
    size_t value_size;       // of what is produced; 0: the arm consumes
    char const* order;       // of arms that process: "key" or "unordered"
    int64_t wait_us;
    int64_t suspends; // how often work on a record lets others go first
    int64_t in_flight;
    int64_t window_ms;
    int32_t partitions;
    size_t property_count;
    struct arm_property properties[arm_property_limit];
};

struct arm_sample {
    int64_t received_ns;
    int64_t intended_ns;
    int64_t place; // partition << 40 | offset
};

// What was read, in one claim or in all of them. `finish` is the count at which the time of the
// last record is taken exactly.
struct arm_tally {
    int64_t messages;
    int64_t bytes;
    uint64_t checksum;
    int64_t first_ns;
    int64_t last_ns;
    int64_t finish;
    int64_t spin_rounds;
    uint64_t spun;
    int64_t sample_interval;
    struct arm_sample* samples;
    size_t sample_count;
    size_t sample_capacity;
};

static volatile sig_atomic_t arm_interrupted = 0;

static inline void arm_on_signal(int signal_number) {
    (void)signal_number;
    arm_interrupted = 1;
}

static inline void arm_fail(char const* what, char const* detail) {
    fprintf(stderr, "%s: %s\n", what, detail);
    exit(1);
}

static inline struct arm_options arm_parse(int argc, char** argv) {
    struct arm_options options;
    memset(&options, 0, sizeof options);
    options.mode = "";
    options.order = "";
    options.sample_interval = 1;
    for (int index = 1; index < argc; index += 2) {
        char const* const name = argv[index];
        if (index + 1 == argc)
            arm_fail("no value for", name);
        char const* const value = argv[index + 1];
        if (strcmp(name, "--mode") == 0)
            options.mode = value;
        else if (strcmp(name, "--brokers") == 0)
            options.brokers = value;
        else if (strcmp(name, "--topic") == 0)
            options.topic = value;
        else if (strcmp(name, "--group") == 0)
            options.group = value;
        else if (strcmp(name, "--samples") == 0)
            options.samples_path = value;
        else if (strcmp(name, "--sample-interval") == 0)
            options.sample_interval = strtoll(value, NULL, 10);
        else if (strcmp(name, "--messages") == 0)
            options.messages = strtoll(value, NULL, 10);
        else if (strcmp(name, "--partitions") == 0)
            options.partitions = (int32_t)strtol(value, NULL, 10);
        else if (strcmp(name, "--size") == 0)
            options.value_size = strtoul(value, NULL, 10);
        else if (strcmp(name, "--order") == 0)
            options.order = value;
        else if (strcmp(name, "--wait-us") == 0)
            options.wait_us = strtoll(value, NULL, 10);
        else if (strcmp(name, "--suspends") == 0)
            options.suspends = strtoll(value, NULL, 10);
        else if (strcmp(name, "--in-flight") == 0)
            options.in_flight = strtoll(value, NULL, 10);
        else if (strcmp(name, "--window-ms") == 0)
            options.window_ms = strtoll(value, NULL, 10);
        else if (strcmp(name, "--spin") == 0)
            options.spin_rounds = strtoll(value, NULL, 10);
        else if (strcmp(name, "--property") == 0) {
            char const* const equals = strchr(value, '=');
            struct arm_property* const property = &options.properties[options.property_count];
            if (equals == NULL || (size_t)(equals - value) >= sizeof property->name ||
                options.property_count == arm_property_limit)
                arm_fail("not a usable name=value", value);
            memcpy(property->name, value, (size_t)(equals - value));
            property->value = equals + 1;
            ++options.property_count;
        } else
            arm_fail("unknown option", name);
    }
    if (options.brokers == NULL || options.topic == NULL || options.partitions <= 0 ||
        (options.group == NULL && options.value_size < record_header_size))
        arm_fail("needed", "--brokers --topic --partitions, and --group or --size");
    return options;
}

// A tally for one claim (`claims` of them share the work evenly) or, with `claims` = 1, for the
// whole member.
static inline struct arm_tally arm_tally_for(struct arm_options const* options, int64_t claims) {
    struct arm_tally tally;
    memset(&tally, 0, sizeof tally);
    tally.finish = options->messages / claims;
    tally.spin_rounds = options->spin_rounds;
    if (options->samples_path != NULL) {
        tally.sample_interval = options->sample_interval;
        tally.sample_capacity =
            (size_t)(options->messages > 0 ? tally.finish / tally.sample_interval : 1 << 20);
        tally.samples =
            (struct arm_sample*)malloc((tally.sample_capacity + 1) * sizeof *tally.samples);
    }
    return tally;
}

static inline void arm_take_sample(struct arm_tally* tally, void const* value, int32_t partition,
                                   int64_t offset) {
    if (tally->sample_count == tally->sample_capacity) {
        tally->sample_capacity = tally->sample_capacity * 2 + 1024;
        tally->samples = (struct arm_sample*)realloc(tally->samples, tally->sample_capacity *
                                                                         sizeof *tally->samples);
    }
    struct arm_sample* const sample = &tally->samples[tally->sample_count++];
    sample->received_ns = wall_clock_ns();
    memcpy(&sample->intended_ns, value, sizeof sample->intended_ns);
    sample->place = (int64_t)partition << 40 | offset;
}

// The work on one record, the same in every arm.
static inline void arm_take(struct arm_tally* tally, void const* value, size_t size,
                            int32_t partition, int64_t offset) {
    if (tally->messages == 0)
        tally->first_ns = wall_clock_ns();
    tally->checksum += record_checksum(value, size);
    tally->bytes += (int64_t)size;
    ++tally->messages;
    if (tally->messages % arm_stamp_interval == 0 || tally->messages == tally->finish)
        tally->last_ns = wall_clock_ns();
    if (tally->sample_interval != 0 && tally->messages % tally->sample_interval == 0)
        arm_take_sample(tally, value, partition, offset);
    if (tally->spin_rounds != 0)
        tally->spun += spin((uint64_t)offset, tally->spin_rounds);
}

static inline void arm_write_samples(struct arm_options const* options,
                                     struct arm_tally const* tallies, size_t count) {
    if (options->samples_path == NULL)
        return;
    FILE* const file = fopen(options->samples_path, "wb");
    if (file == NULL)
        arm_fail("cannot write", options->samples_path);
    for (size_t index = 0; index < count; ++index)
        fwrite(tallies[index].samples, sizeof(struct arm_sample), tallies[index].sample_count,
               file);
    if (fclose(file) != 0)
        arm_fail("cannot write", options->samples_path);
}

// A value to produce, all of it text.
static inline char* arm_value_of(struct arm_options const* options) {
    char* const value = (char*)malloc(options->value_size);
    for (size_t index = 0; index < options->value_size; ++index)
        value[index] = (char)('a' + index % 23);
    return value;
}

// Makes it the value of a record: as little as tells records apart, because the client is what is
// measured.
static inline void arm_number_value(char* value, int64_t number) {
    memcpy(value + sizeof number, &number, sizeof number);
}

static inline void arm_print_assigned(size_t partitions) {
    printf("{\"event\":\"assigned\",\"partitions\":%zu,\"unix_ns\":%lld}\n", partitions,
           (long long)wall_clock_ns());
    fflush(stdout);
}

static inline void arm_print_progress(int64_t messages) {
    printf("{\"event\":\"progress\",\"msgs\":%lld}\n", (long long)messages);
    fflush(stdout);
}

static inline void arm_print_result(char const* client, struct arm_tally const* tallies,
                                    size_t count) {
    struct arm_tally total;
    memset(&total, 0, sizeof total);
    for (size_t index = 0; index < count; ++index) {
        struct arm_tally const* const tally = &tallies[index];
        if (tally->messages == 0)
            continue;
        total.messages += tally->messages;
        total.bytes += tally->bytes;
        total.checksum += tally->checksum;
        total.spun += tally->spun;
        if (total.first_ns == 0 || tally->first_ns < total.first_ns)
            total.first_ns = tally->first_ns;
        if (tally->last_ns > total.last_ns)
            total.last_ns = tally->last_ns;
    }
    printf("{\"event\":\"result\",\"client\":\"%s\",\"msgs\":%lld,\"bytes\":%lld,\"checksum\":\"%"
           "016llx\","
           "\"first_unix_ns\":%lld,\"last_unix_ns\":%lld,\"spun\":\"%llx\"}\n",
           client, (long long)total.messages, (long long)total.bytes,
           (unsigned long long)total.checksum, (long long)total.first_ns, (long long)total.last_ns,
           (unsigned long long)total.spun);
    fflush(stdout);
}
