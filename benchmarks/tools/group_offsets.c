// SPDX-License-Identifier: MIT

// Where a group stands:
//
//     group_offsets --brokers B --topic T --group G --partitions P
//
// Prints {"committed":[…],"end":[…]}, a number a partition; committed is -1 where nothing was
// committed.
#include "kafka_tool.h"

static void print_numbers(char const* name, int64_t const* numbers, int count) {
    printf("\"%s\":[", name);
    for (int index = 0; index < count; ++index)
        printf("%s%lld", index == 0 ? "" : ",", (long long)numbers[index]);
    printf("]");
}

int main(int argc, char** argv) {
    char const* const topic = option(argc, argv, "--topic", NULL);
    int const partitions = atoi(option(argc, argv, "--partitions", NULL));

    rd_kafka_conf_t* const conf = rd_kafka_conf_new();
    set_property(conf, "bootstrap.servers", option(argc, argv, "--brokers", NULL));
    set_property(conf, "group.id", option(argc, argv, "--group", NULL));
    rd_kafka_t* const client = make_handle(RD_KAFKA_CONSUMER, conf);

    int64_t* const committed = calloc((size_t)partitions, sizeof *committed);
    int64_t* const end = calloc((size_t)partitions, sizeof *end);
    rd_kafka_topic_partition_list_t* const offsets = rd_kafka_topic_partition_list_new(partitions);
    rd_kafka_topic_partition_list_add_range(offsets, topic, 0, partitions - 1);
    rd_kafka_resp_err_t const error = rd_kafka_committed(client, offsets, 30000);
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR)
        fail("committed", rd_kafka_err2str(error));
    for (int partition = 0; partition < partitions; ++partition) {
        int64_t const offset = offsets->elems[partition].offset;
        committed[partition] = offset < 0 ? -1 : offset;
        int64_t low = 0;
        rd_kafka_resp_err_t const queried = rd_kafka_query_watermark_offsets(
            client, topic, partition, &low, &end[partition], 30000);
        if (queried != RD_KAFKA_RESP_ERR_NO_ERROR)
            fail("query_watermark_offsets", rd_kafka_err2str(queried));
    }
    rd_kafka_topic_partition_list_destroy(offsets);
    rd_kafka_destroy(client);

    printf("{");
    print_numbers("committed", committed, partitions);
    printf(",");
    print_numbers("end", end, partitions);
    printf("}\n");
    free(committed);
    free(end);
    return 0;
}
