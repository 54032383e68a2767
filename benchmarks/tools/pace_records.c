// SPDX-License-Identifier: MIT

// Sends records at a constant rate, each carrying the time it was *meant* to be sent, so that a
// late sender counts as latency and is not hidden:
//
//     pace_records --brokers B --topic T --partitions P --rate PER_SECOND --records N
//                  [--size BYTES] [--linger-ms L]
//
// Prints {"records":…,"bytes":…,"checksum":"…","first_unix_ns":…,"late_us":…}: late_us is the
// longest that a send began after its time. SIGTERM ends it early, with what was sent.
#include <signal.h>

#include "produced.h"

static volatile sig_atomic_t interrupted = 0;

static void on_signal(int signal_number) {
    (void)signal_number;
    interrupted = 1;
}

static void sleep_until(int64_t due_ns) {
    struct timespec const due = {.tv_sec = due_ns / 1000000000, .tv_nsec = due_ns % 1000000000};
    clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &due, NULL);
}

int main(int argc, char** argv) {
    int64_t const rate = atoll(option(argc, argv, "--rate", NULL));
    int64_t const records = atoll(option(argc, argv, "--records", NULL));
    int const partitions = atoi(option(argc, argv, "--partitions", NULL));
    long const size = atol(option(argc, argv, "--size", "100"));

    rd_kafka_conf_t* const conf = rd_kafka_conf_new();
    set_property(conf, "bootstrap.servers", option(argc, argv, "--brokers", NULL));
    set_property(conf, "linger.ms", option(argc, argv, "--linger-ms", "0"));
    set_property(conf, "queue.buffering.max.messages", "1000000");
    set_property(conf, "acks", "1");
    rd_kafka_t* const producer = make_handle(RD_KAFKA_PRODUCER, conf);
    struct produced produced =
        produce_to(producer, option(argc, argv, "--topic", NULL), partitions, (size_t)size);
    struct rd_kafka_metadata const* metadata = NULL;
    if (rd_kafka_metadata(producer, 0, produced.topic, &metadata, 10000) !=
        RD_KAFKA_RESP_ERR_NO_ERROR)
        fail("metadata", "no answer");
    rd_kafka_metadata_destroy(metadata);
    signal(SIGTERM, on_signal);

    int64_t const first_ns = wall_clock_ns() + 50000000;
    int64_t late_ns = 0;
    while (produced.records < records && !interrupted) {
        int64_t const due_ns = first_ns + (int64_t)((double)produced.records * 1e9 / (double)rate);
        int64_t const now_ns = wall_clock_ns();
        if (now_ns < due_ns) {
            rd_kafka_poll(producer, 0);
            sleep_until(due_ns);
        } else if (now_ns - due_ns > late_ns)
            late_ns = now_ns - due_ns;
        produce_one(producer, &produced, due_ns);
    }
    finish_producing(producer, &produced);
    rd_kafka_destroy(producer);
    printf("{\"records\":%lld,\"bytes\":%lld,\"checksum\":\"%016llx\",\"first_unix_ns\":%lld,"
           "\"late_us\":%lld}\n",
           (long long)produced.records, (long long)produced.bytes,
           (unsigned long long)produced.checksum, (long long)first_ns, (long long)(late_ns / 1000));
    return 0;
}
