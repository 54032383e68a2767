// SPDX-License-Identifier: MIT

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.List;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.message.ApiVersionsRequestData;
import org.apache.kafka.common.message.ApiVersionsResponseData;
import org.apache.kafka.common.message.FetchRequestData;
import org.apache.kafka.common.message.FetchResponseData;
import org.apache.kafka.common.message.ListOffsetsRequestData;
import org.apache.kafka.common.message.ListOffsetsResponseData;
import org.apache.kafka.common.message.MetadataRequestData;
import org.apache.kafka.common.message.MetadataResponseData;
import org.apache.kafka.common.message.OffsetForLeaderEpochRequestData;
import org.apache.kafka.common.message.OffsetForLeaderEpochResponseData;
import org.apache.kafka.common.message.RequestHeaderData;
import org.apache.kafka.common.message.ResponseHeaderData;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.ControlRecordType;
import org.apache.kafka.common.record.internal.EndTransactionMarker;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.MemoryRecordsBuilder;
import org.apache.kafka.common.record.internal.RecordBatch;

/**
 * Writes golden_bytes.hpp: requests, answers and batches as Kafka's own Java classes write them, and
 * the names of its errors.
 *
 * <pre>java -cp "$(python3 tests/kafka/harness/cluster.py jars)/*" tests/unit/fetch/GoldenBytes.java |
 *     clang-format --assume-filename=x.hpp > tests/unit/fetch/golden_bytes.hpp</pre>
 */
public final class GoldenBytes {
    private static final Uuid TOPIC_ID = new Uuid(0x0123456789abcdefL, 0x1122334455667788L);

    public static void main(String[] arguments) throws Exception {
        System.out.println("""
            #pragma once

            #include <cstdint>
            #include <string_view>
            #include <utility>

            // Written by GoldenBytes.java.

            namespace kgroup::tests {

            inline constexpr std::pair<std::string_view, std::string_view> golden_bytes[] = {""");
        messages();
        batches();
        System.out.println("};\n\n"
            + "inline constexpr std::pair<std::int16_t, std::string_view> golden_errors[] = {");
        for (Errors error : Errors.values()) {
            System.out.println("{" + error.code() + ", \"" + error.name() + "\"},");
        }
        System.out.println("};\n\n} // namespace kgroup::tests");
    }

    private static void print(String name, ByteBuffer bytes) {
        byte[] array = new byte[bytes.remaining()];
        bytes.get(array);
        System.out.println("{\"" + name + "\", \"" + HexFormat.of().formatHex(array) + "\"},");
    }

    private static ByteBuffer bytesOf(Message message, short version) {
        ObjectSerializationCache cache = new ObjectSerializationCache();
        ByteBuffer buffer = ByteBuffer.allocate(message.size(cache, version));
        message.write(new ByteBufferAccessor(buffer), cache, version);
        return buffer.flip();
    }

    private static void request(String name, ApiKeys api, int version, Message message) {
        RequestHeaderData header = new RequestHeaderData()
            .setRequestApiKey(api.id).setRequestApiVersion((short) version)
            .setCorrelationId(0x01020304).setClientId("a client");
        ByteBuffer head = bytesOf(header, api.requestHeaderVersion((short) version));
        ByteBuffer body = bytesOf(message, (short) version);
        ByteBuffer whole = ByteBuffer.allocate(4 + head.remaining() + body.remaining());
        whole.putInt(head.remaining() + body.remaining()).put(head).put(body).flip();
        print(name + "_request_" + version, whole);
    }

    private static void answer(String name, ApiKeys api, int version, Message message) {
        ByteBuffer head = bytesOf(new ResponseHeaderData().setCorrelationId(0x01020304),
            api.responseHeaderVersion((short) version));
        ByteBuffer body = bytesOf(message, (short) version);
        print(name + "_answer_" + version, ByteBuffer.allocate(head.remaining() + body.remaining())
            .put(head).put(body).flip());
    }

    private static void messages() throws Exception {
        for (int version = 0; version <= 3; ++version) {
            ApiVersionsRequestData asked = new ApiVersionsRequestData();
            if (version >= 3) {
                asked.setClientSoftwareName("kgroup").setClientSoftwareVersion("1.0");
            }
            request("api_versions", ApiKeys.API_VERSIONS, version, asked);
            ApiVersionsResponseData.ApiVersionCollection apis =
                new ApiVersionsResponseData.ApiVersionCollection();
            apis.add(new ApiVersionsResponseData.ApiVersion()
                .setApiKey((short) 1).setMinVersion((short) 4).setMaxVersion((short) 17));
            apis.add(new ApiVersionsResponseData.ApiVersion()
                .setApiKey((short) 3).setMinVersion((short) 0).setMaxVersion((short) 13));
            ApiVersionsResponseData answered = new ApiVersionsResponseData().setApiKeys(apis);
            if (version >= 1) {
                answered.setThrottleTimeMs(7);
            }
            answer("api_versions", ApiKeys.API_VERSIONS, version, answered);
        }
        answer("api_versions_refused", ApiKeys.API_VERSIONS, 0,
            new ApiVersionsResponseData().setErrorCode((short) 35));

        for (int version = 1; version <= 12; ++version) {
            MetadataRequestData asked = new MetadataRequestData().setTopics(List.of(
                new MetadataRequestData.MetadataRequestTopic().setName("orders"),
                new MetadataRequestData.MetadataRequestTopic().setName("payments")));
            if (version >= 4) {
                asked.setAllowAutoTopicCreation(false);
            }
            request("metadata", ApiKeys.METADATA, version, asked);
            MetadataResponseData answered =
                new MetadataResponseData().setControllerId(2).setClusterId("cluster");
            if (version >= 3) {
                answered.setThrottleTimeMs(9);
            }
            answered.brokers().add(new MetadataResponseData.MetadataResponseBroker()
                .setNodeId(1).setHost("one.example").setPort(9092).setRack(null));
            answered.brokers().add(new MetadataResponseData.MetadataResponseBroker()
                .setNodeId(2).setHost("two.example").setPort(9093).setRack("b"));
            MetadataResponseData.MetadataResponsePartition led =
                new MetadataResponseData.MetadataResponsePartition().setPartitionIndex(3)
                    .setLeaderId(2).setReplicaNodes(List.of(1, 2)).setIsrNodes(List.of(2));
            if (version >= 5) {
                led.setOfflineReplicas(List.of(1));
            }
            if (version >= 7) {
                led.setLeaderEpoch(5);
            }
            MetadataResponseData.MetadataResponsePartition leaderless =
                new MetadataResponseData.MetadataResponsePartition().setPartitionIndex(4)
                    .setErrorCode((short) 5).setLeaderId(-1);
            MetadataResponseData.MetadataResponseTopic known =
                new MetadataResponseData.MetadataResponseTopic().setName("orders")
                    .setPartitions(List.of(led, leaderless));
            if (version >= 10) {
                known.setTopicId(TOPIC_ID);
            }
            answered.topics().add(known);
            answered.topics().add(new MetadataResponseData.MetadataResponseTopic()
                .setName("payments").setErrorCode((short) 3));
            answer("metadata", ApiKeys.METADATA, version, answered);
        }

        for (int version = 10; version <= 13; ++version) {
            FetchRequestData.FetchPartition zero = new FetchRequestData.FetchPartition()
                .setPartition(0).setFetchOffset(1234567890123L).setPartitionMaxBytes(1048576)
                .setCurrentLeaderEpoch(7);
            FetchRequestData.FetchPartition two = new FetchRequestData.FetchPartition()
                .setPartition(2).setFetchOffset(5).setPartitionMaxBytes(1048576);
            FetchRequestData.FetchPartition other = new FetchRequestData.FetchPartition()
                .setPartition(1).setFetchOffset(0).setPartitionMaxBytes(65536);
            if (version >= 12) {
                zero.setLastFetchedEpoch(6);
            }
            FetchRequestData asked = new FetchRequestData().setReplicaId(-1).setMaxWaitMs(500)
                .setMinBytes(1).setMaxBytes(52428800).setIsolationLevel((byte) 1)
                .setSessionId(0).setSessionEpoch(-1)
                .setTopics(List.of(
                    new FetchRequestData.FetchTopic().setPartitions(List.of(zero, two)),
                    new FetchRequestData.FetchTopic().setPartitions(List.of(other))));
            if (version >= 11) {
                asked.setRackId("rack");
            }
            if (version >= 13) {
                asked.topics().get(0).setTopicId(TOPIC_ID);
                asked.topics().get(1).setTopicId(new Uuid(1, 2));
            } else {
                asked.topics().get(0).setTopic("orders");
                asked.topics().get(1).setTopic("payments");
            }
            request("fetch", ApiKeys.FETCH, version, asked);

            FetchResponseData.PartitionData full = new FetchResponseData.PartitionData()
                .setPartitionIndex(0).setHighWatermark(300).setLastStableOffset(200)
                .setLogStartOffset(100).setRecords(
                    MemoryRecords.readableRecords(ByteBuffer.wrap("records".getBytes())));
            full.setAbortedTransactions(List.of(
                new FetchResponseData.AbortedTransaction().setProducerId(77).setFirstOffset(150),
                new FetchResponseData.AbortedTransaction().setProducerId(78).setFirstOffset(120)));
            FetchResponseData.PartitionData failed = new FetchResponseData.PartitionData()
                .setPartitionIndex(2).setErrorCode((short) 6).setHighWatermark(-1)
                .setLastStableOffset(-1).setLogStartOffset(-1).setAbortedTransactions(null)
                .setRecords(null);
            if (version >= 11) {
                full.setPreferredReadReplica(4);
            }
            if (version >= 12) {
                failed.setDivergingEpoch(
                    new FetchResponseData.EpochEndOffset().setEpoch(3).setEndOffset(90));
                failed.setCurrentLeader(
                    new FetchResponseData.LeaderIdAndEpoch().setLeaderId(2).setLeaderEpoch(8));
                full.setSnapshotId(
                    new FetchResponseData.SnapshotId().setEndOffset(1).setEpoch(1));
            }
            FetchResponseData.FetchableTopicResponse topic =
                new FetchResponseData.FetchableTopicResponse()
                    .setPartitions(List.of(full, failed));
            if (version >= 13) {
                topic.setTopicId(TOPIC_ID);
            } else {
                topic.setTopic("orders");
            }
            answer("fetch", ApiKeys.FETCH, version, new FetchResponseData().setThrottleTimeMs(11)
                .setErrorCode((short) 0).setSessionId(0).setResponses(List.of(topic)));
        }

        for (int version = 1; version <= 6; ++version) {
            ListOffsetsRequestData.ListOffsetsPartition latest =
                new ListOffsetsRequestData.ListOffsetsPartition()
                    .setPartitionIndex(0).setTimestamp(-1);
            ListOffsetsRequestData.ListOffsetsPartition earliest =
                new ListOffsetsRequestData.ListOffsetsPartition()
                    .setPartitionIndex(1).setTimestamp(-2);
            if (version >= 4) {
                latest.setCurrentLeaderEpoch(7);
            }
            ListOffsetsRequestData asked = new ListOffsetsRequestData().setReplicaId(-1)
                .setTopics(List.of(new ListOffsetsRequestData.ListOffsetsTopic()
                    .setName("orders").setPartitions(List.of(latest, earliest))));
            if (version >= 2) {
                asked.setIsolationLevel((byte) 1);
            }
            request("list_offsets", ApiKeys.LIST_OFFSETS, version, asked);
            ListOffsetsResponseData.ListOffsetsPartitionResponse found =
                new ListOffsetsResponseData.ListOffsetsPartitionResponse()
                    .setPartitionIndex(0).setTimestamp(-1).setOffset(4321);
            if (version >= 4) {
                found.setLeaderEpoch(6);
            }
            ListOffsetsResponseData answered = new ListOffsetsResponseData().setTopics(List.of(
                new ListOffsetsResponseData.ListOffsetsTopicResponse().setName("orders")
                    .setPartitions(List.of(found,
                        new ListOffsetsResponseData.ListOffsetsPartitionResponse()
                            .setPartitionIndex(1).setErrorCode((short) 6)))));
            if (version >= 2) {
                answered.setThrottleTimeMs(12);
            }
            answer("list_offsets", ApiKeys.LIST_OFFSETS, version, answered);
        }

        for (int version = 2; version <= 4; ++version) {
            OffsetForLeaderEpochRequestData asked = new OffsetForLeaderEpochRequestData();
            if (version >= 3) {
                asked.setReplicaId(-1);
            }
            asked.topics().add(new OffsetForLeaderEpochRequestData.OffsetForLeaderTopic()
                .setTopic("orders").setPartitions(List.of(
                    new OffsetForLeaderEpochRequestData.OffsetForLeaderPartition()
                        .setPartition(3).setCurrentLeaderEpoch(9).setLeaderEpoch(8))));
            request("leader_epoch", ApiKeys.OFFSET_FOR_LEADER_EPOCH, version, asked);
            OffsetForLeaderEpochResponseData answered =
                new OffsetForLeaderEpochResponseData().setThrottleTimeMs(13);
            answered.topics().add(
                new OffsetForLeaderEpochResponseData.OffsetForLeaderTopicResult()
                    .setTopic("orders").setPartitions(List.of(
                        new OffsetForLeaderEpochResponseData.EpochEndOffset()
                            .setPartition(3).setLeaderEpoch(8).setEndOffset(555))));
            answer("leader_epoch", ApiKeys.OFFSET_FOR_LEADER_EPOCH, version, answered);
        }
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static void batch(String name, Compression compression, TimestampType timestamps,
            boolean transactional) {
        ByteBuffer buffer = ByteBuffer.allocate(4096);
        MemoryRecordsBuilder builder = MemoryRecords.builder(buffer, RecordBatch.MAGIC_VALUE_V2,
            compression, timestamps, 40, 1700000009999L, transactional ? 77 : -1,
            (short) (transactional ? 1 : -1), transactional ? 5 : -1, transactional, false, 6);
        builder.appendWithOffset(40, 1700000000000L, bytes("key"), bytes("first value"));
        builder.appendWithOffset(41, 1700000000500L, null, bytes("second"));
        builder.appendWithOffset(44, 1699999999000L, bytes(""), null);
        builder.appendWithOffset(45, 1700000000001L, bytes("k"), bytes(""), new Header[] {
            new RecordHeader("trace", bytes("abc")), new RecordHeader("empty", bytes("")),
            new RecordHeader("null", (byte[]) null), new RecordHeader("trace", bytes("def"))});
        builder.appendWithOffset(46, 1700000000002L, bytes("long"), bytes("kgroup ".repeat(40)));
        print(name, builder.build().buffer());
    }

    private static void batches() {
        batch("batch_none", Compression.NONE, TimestampType.CREATE_TIME, false);
        batch("batch_gzip", Compression.gzip().build(), TimestampType.CREATE_TIME, false);
        batch("batch_snappy", Compression.snappy().build(), TimestampType.CREATE_TIME, false);
        batch("batch_lz4", Compression.lz4().build(), TimestampType.CREATE_TIME, false);
        batch("batch_zstd", Compression.zstd().build(), TimestampType.CREATE_TIME, false);
        batch("batch_append_time", Compression.NONE, TimestampType.LOG_APPEND_TIME, false);
        batch("batch_transactional", Compression.NONE, TimestampType.CREATE_TIME, true);
        for (ControlRecordType type : List.of(ControlRecordType.COMMIT, ControlRecordType.ABORT)) {
            print("batch_" + type.name().toLowerCase(), MemoryRecords.withEndTransactionMarker(50,
                1700000000600L, 6, 77, (short) 1, new EndTransactionMarker(type, 3)).buffer());
        }
    }
}
