// SPDX-License-Identifier: MIT

package kgroup.benchmarks;

import java.io.IOException;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.utils.AppInfoParser;
import sun.misc.Signal;

/** Java's KafkaConsumer: poll, read each record, commitAsync of the position each second, commitSync at the end and on a revoke. */
public final class Arm implements ConsumerRebalanceListener {
    private static final VarHandle WORDS = MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);
    private static final int STAMP_INTERVAL = 256;

    private final KafkaConsumer<byte[], byte[]> consumer;
    private final String topic;
    private final long finish;
    private final long spinRounds;
    private final long sampleInterval; // 0: no samples
    private volatile boolean interrupted;

    private long messages;
    private long bytes;
    private long checksum;
    private long firstNs;
    private long lastNs;
    private long spun;
    private long[] samples = new long[0];
    private int sampled;

    private Arm(Map<String, String> options) {
        topic = options.get("--topic");
        finish = Long.parseLong(options.getOrDefault("--messages", "0"));
        spinRounds = Long.parseLong(options.getOrDefault("--spin", "0"));
        sampleInterval = options.containsKey("--samples")
                ? Long.parseLong(options.getOrDefault("--sample-interval", "1"))
                : 0;
        Properties properties = new Properties();
        properties.put("bootstrap.servers", options.get("--brokers"));
        properties.put("group.id", options.get("--group"));
        properties.put("auto.offset.reset", "earliest");
        properties.put("enable.auto.commit", "false");
        consumer = new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        Signal.handle(new Signal("TERM"), signal -> {
            interrupted = true;
            consumer.wakeup();
        });
    }

    private static long wallClockNs() {
        Instant now = Instant.now();
        return now.getEpochSecond() * 1_000_000_000L + now.getNano();
    }

    /** The sum of the value's little-endian 64-bit words, the last one padded with zeros. */
    private static long checksum(byte[] value) {
        long sum = 0;
        int index = 0;
        for (; index + 8 <= value.length; index += 8) {
            sum += (long) WORDS.get(value, index);
        }
        long tail = 0;
        for (int shift = 0; index < value.length; ++index, shift += 8) {
            tail |= (value[index] & 0xFFL) << shift;
        }
        return sum + tail;
    }

    private static long spin(long state, long rounds) {
        state |= 1;
        for (; rounds > 0; --rounds) {
            state ^= state << 13;
            state ^= state >>> 7;
            state ^= state << 17;
        }
        return state;
    }

    private void take(ConsumerRecord<byte[], byte[]> entry) {
        byte[] value = entry.value();
        if (messages == 0) {
            firstNs = wallClockNs();
        }
        checksum += checksum(value);
        bytes += value.length;
        ++messages;
        if (messages % STAMP_INTERVAL == 0 || messages == finish) {
            lastNs = wallClockNs();
        }
        if (sampleInterval != 0 && messages % sampleInterval == 0) {
            sample(value, entry);
        }
        if (spinRounds != 0) {
            spun += spin(entry.offset(), spinRounds);
        }
    }

    private void sample(byte[] value, ConsumerRecord<byte[], byte[]> entry) {
        if (sampled == samples.length) {
            samples = java.util.Arrays.copyOf(samples, Math.max(3 * (1 << 16), samples.length * 2));
        }
        samples[sampled++] = wallClockNs();
        samples[sampled++] = (long) WORDS.get(value, 0);
        samples[sampled++] = (long) entry.partition() << 40 | entry.offset();
    }

    private void run() {
        consumer.subscribe(List.of(topic), this);
        long committedNs = System.nanoTime();
        while (!interrupted && (finish == 0 || messages < finish)) {
            ConsumerRecords<byte[], byte[]> records;
            try {
                records = consumer.poll(Duration.ofMillis(100));
            } catch (WakeupException stopped) {
                continue;
            }
            for (ConsumerRecord<byte[], byte[]> entry : records) {
                take(entry);
            }
            long now = System.nanoTime();
            if (now - committedNs >= 1_000_000_000L) {
                committedNs = now;
                consumer.commitAsync();
                System.out.printf("{\"event\":\"progress\",\"msgs\":%d}%n", messages);
            }
        }
        try {
            consumer.commitSync();
        } catch (WakeupException stopped) {
            consumer.commitSync();
        }
        consumer.close();
        System.out.printf(
                "{\"event\":\"result\",\"client\":\"kafka-clients %s, JDK %s\",\"msgs\":%d,\"bytes\":%d,\"checksum\":\"%016x\","
                        + "\"first_unix_ns\":%d,\"last_unix_ns\":%d,\"spun\":\"%x\"}%n",
                AppInfoParser.getVersion(), System.getProperty("java.version"), messages, bytes, checksum, firstNs, lastNs, spun);
    }

    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
        System.out.printf("{\"event\":\"assigned\",\"partitions\":%d,\"unix_ns\":%d}%n", partitions.size(), wallClockNs());
    }

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
        consumer.commitSync();
    }

    private void writeSamples(Path path) throws IOException {
        ByteBuffer buffer = ByteBuffer.allocate(sampled * Long.BYTES).order(ByteOrder.LITTLE_ENDIAN);
        buffer.asLongBuffer().put(samples, 0, sampled);
        Files.write(path, buffer.array());
    }

    public static void main(String[] arguments) throws IOException {
        Map<String, String> options = new HashMap<>();
        for (int index = 0; index + 1 < arguments.length; index += 2) {
            options.put(arguments[index], arguments[index + 1]);
        }
        Arm arm = new Arm(options);
        arm.run();
        if (arm.sampleInterval != 0) {
            arm.writeSamples(Path.of(options.get("--samples")));
        }
    }
}
