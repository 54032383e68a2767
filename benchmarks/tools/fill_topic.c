// SPDX-License-Identifier: MIT

// Creates a topic and fills it:
//
//     fill_topic --brokers B --topic T --partitions P --records N --size BYTES [--filled F]
//                [--compression none|lz4|zstd] [--replication R] [--topic-config name=value,…]
//                [--keys K]
//
// Prints what was written: {"records":…,"bytes":…,"checksum":"…","key_counts":[…]}. Record n goes
// to partition n mod F (P by default), so that these hold the same number. With --keys a record has
// one of K keys, the numbers from 0, as often as Zipf's law says (exponent 1), and a key's records
// go to one partition.
#include "produced.h"

static void on_delivery(rd_kafka_t* producer, rd_kafka_message_t const* message, void* opaque) {
    (void)producer;
    (void)opaque;
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR)
        fail("delivery", rd_kafka_err2str(message->err));
}

static void create_topic(rd_kafka_t* producer, char const* name, int partitions, int replication,
                         char const* config) {
    char error[512];
    rd_kafka_NewTopic_t* const topic =
        rd_kafka_NewTopic_new(name, partitions, replication, error, sizeof error);
    if (topic == NULL)
        fail("NewTopic", error);
    char* const settings = strdup(config);
    for (char* setting = strtok(settings, ","); setting != NULL; setting = strtok(NULL, ",")) {
        char* const equals = strchr(setting, '=');
        if (equals == NULL)
            fail("--topic-config", setting);
        *equals = '\0';
        rd_kafka_NewTopic_set_config(topic, setting, equals + 1);
    }
    free(settings);
    rd_kafka_queue_t* const queue = rd_kafka_queue_new(producer);
    rd_kafka_NewTopic_t* topics[] = {topic};
    rd_kafka_CreateTopics(producer, topics, 1, NULL, queue);
    rd_kafka_event_t* const event = rd_kafka_queue_poll(queue, 60000);
    if (event == NULL)
        fail("CreateTopics", "no answer");
    if (rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR_NO_ERROR)
        fail("CreateTopics", rd_kafka_event_error_string(event));
    size_t count = 0;
    rd_kafka_topic_result_t const** const results =
        rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
    if (count != 1 || rd_kafka_topic_result_error(results[0]) != RD_KAFKA_RESP_ERR_NO_ERROR)
        fail("CreateTopics", rd_kafka_topic_result_error_string(results[0]));
    rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    rd_kafka_NewTopic_destroy(topic);
}

// Draws keys: key k is 1 / (k + 1) as likely as key 0.
struct keys {
    int count;
    double* sums; // of the weights up to each key
    long long* drawn;
    uint64_t state;
};

static struct keys make_keys(int count) {
    struct keys keys = {count, malloc((size_t)count * sizeof(double)),
                        calloc((size_t)count, sizeof(long long)), 88172645463325252u};
    double sum = 0;
    for (int key = 0; key < count; ++key)
        keys.sums[key] = sum += 1.0 / (key + 1);
    return keys;
}

static int draw_key(struct keys* keys) {
    keys->state = spin(keys->state, 1);
    double const wanted =
        (double)(keys->state >> 11) / 9007199254740992.0 * keys->sums[keys->count - 1];
    int low = 0;
    for (int high = keys->count - 1; low < high;) {
        int const middle = (low + high) / 2;
        if (keys->sums[middle] < wanted)
            low = middle + 1;
        else
            high = middle;
    }
    ++keys->drawn[low];
    return low;
}

static void print_key_counts(struct keys const* keys) {
    for (int key = 0; key < keys->count; ++key)
        printf(key == 0 ? "%lld" : ",%lld", keys->drawn[key]);
}

int main(int argc, char** argv) {
    char const* const topic = option(argc, argv, "--topic", NULL);
    int const partitions = atoi(option(argc, argv, "--partitions", NULL));
    int const filled = atoi(option(argc, argv, "--filled", "0"));
    long long const records = atoll(option(argc, argv, "--records", NULL));
    long const size = atol(option(argc, argv, "--size", "100"));

    rd_kafka_conf_t* const conf = rd_kafka_conf_new();
    set_property(conf, "bootstrap.servers", option(argc, argv, "--brokers", NULL));
    set_property(conf, "compression.codec", option(argc, argv, "--compression", "none"));
    set_property(conf, "linger.ms", "50");
    set_property(conf, "queue.buffering.max.messages", "500000");
    set_property(conf, "max.in.flight.requests.per.connection", "1");
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_t* const producer = make_handle(RD_KAFKA_PRODUCER, conf);

    create_topic(producer, topic, partitions, atoi(option(argc, argv, "--replication", "1")),
                 option(argc, argv, "--topic-config", ""));
    struct produced produced =
        produce_to(producer, topic, filled > 0 ? filled : partitions, (size_t)size);
    struct keys keys = make_keys(atoi(option(argc, argv, "--keys", "0")));
    while (produced.records < records) {
        if (keys.count > 0)
            produce_with_key(producer, &produced, draw_key(&keys));
        else
            produce_one(producer, &produced, 0);
        if (produced.records % 1000 == 0)
            rd_kafka_poll(producer, 0);
    }
    finish_producing(producer, &produced);
    rd_kafka_destroy(producer);
    printf("{\"records\":%lld,\"bytes\":%lld,\"checksum\":\"%016llx\",\"key_counts\":[",
           (long long)produced.records, (long long)produced.bytes,
           (unsigned long long)produced.checksum);
    print_key_counts(&keys);
    puts("]}");
    return 0;
}
