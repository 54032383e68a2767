// SPDX-License-Identifier: MIT

package kgroup.benchmarks;

import io.confluent.parallelconsumer.ParallelConsumerOptions;
import io.confluent.parallelconsumer.ParallelConsumerOptions.ProcessingOrder;
import io.confluent.parallelconsumer.ParallelStreamProcessor;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.utils.AppInfoParser;

/**
 * Confluent's Parallel Consumer, which is not developed any more: a record's work is to wait, by key or unordered, many at a time. It ends with
 * the topic or after the window. Each thread that it works with sleeps: that is its way.
 */
public final class ParallelArm {
    private final boolean ordered;
    private final long waitUs;
    private final long windowNs;
    private final long finish;
    private final Map<String, Long> keys = new ConcurrentHashMap<>(); // the last offset of each; negative while it is worked on
    private final AtomicLong first = new AtomicLong();
    private final AtomicLong last = new AtomicLong();
    private final AtomicLong messages = new AtomicLong();
    private final AtomicLong bytes = new AtomicLong();
    private final CountDownLatch over = new CountDownLatch(1);

    private ParallelArm(Map<String, String> options) {
        ordered = options.get("--order").equals("key");
        waitUs = Long.parseLong(options.get("--wait-us"));
        windowNs = Long.parseLong(options.get("--window-ms")) * 1_000_000L;
        finish = Long.parseLong(options.get("--messages"));
    }

    private static long wallClockNs() {
        Instant now = Instant.now();
        return now.getEpochSecond() * 1_000_000_000L + now.getNano();
    }

    private void begin(ConsumerRecord<byte[], byte[]> entry) {
        first.compareAndSet(0, wallClockNs());
        if (ordered) {
            // Offsets are kept by one more, so that 0 has a negative, too.
            Long before = keys.put(new String(entry.key(), StandardCharsets.US_ASCII), -(entry.offset() + 1));
            if (before != null && (before < 0 || before >= entry.offset() + 1)) {
                System.err.println("not in its key's order: " + new String(entry.key(), StandardCharsets.US_ASCII));
                System.exit(1);
            }
        }
    }

    private void end(ConsumerRecord<byte[], byte[]> entry) {
        if (ordered) {
            keys.put(new String(entry.key(), StandardCharsets.US_ASCII), entry.offset() + 1);
        }
        long now = wallClockNs();
        if (now - first.get() <= windowNs) {
            bytes.addAndGet(entry.value().length);
            last.accumulateAndGet(now, Math::max);
            if (messages.incrementAndGet() == finish) {
                over.countDown();
            }
        }
    }

    private void work(ConsumerRecord<byte[], byte[]> entry) {
        begin(entry);
        if (waitUs != 0) {
            try {
                TimeUnit.MICROSECONDS.sleep(waitUs);
            } catch (InterruptedException closing) {
                Thread.currentThread().interrupt();
            }
        }
        end(entry);
    }

    private void run(Map<String, String> options) throws InterruptedException {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", options.get("--brokers"));
        properties.put("group.id", options.get("--group"));
        properties.put("auto.offset.reset", "earliest");
        properties.put("enable.auto.commit", "false");
        ParallelStreamProcessor<byte[], byte[]> processor = ParallelStreamProcessor.createEosStreamProcessor(
                ParallelConsumerOptions.<byte[], byte[]>builder()
                        .consumer(new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer()))
                        .ordering(ordered ? ProcessingOrder.KEY : ProcessingOrder.UNORDERED)
                        .maxConcurrency(Integer.parseInt(options.get("--in-flight")))
                        .build());
        processor.subscribe(List.of(options.get("--topic")));
        System.out.printf("{\"event\":\"assigned\",\"partitions\":%s,\"unix_ns\":%d}%n", options.get("--partitions"), wallClockNs());
        processor.poll(context -> work(context.getSingleConsumerRecord()));
        while (first.get() == 0 || wallClockNs() - first.get() <= windowNs) {
            if (over.await(5, TimeUnit.MILLISECONDS)) {
                break;
            }
        }
        System.out.printf(
                "{\"event\":\"result\",\"client\":\"parallel-consumer 0.5.3.3, kafka-clients %s, JDK %s\",\"msgs\":%d,\"bytes\":%d,"
                        + "\"checksum\":\"0\",\"first_unix_ns\":%d,\"last_unix_ns\":%d,\"spun\":\"0\"}%n",
                AppInfoParser.getVersion(), System.getProperty("java.version"), messages.get(), bytes.get(), first.get(), last.get());
        System.out.flush();
        processor.close();
        System.exit(0);
    }

    public static void main(String[] arguments) throws InterruptedException {
        Map<String, String> options = new HashMap<>();
        for (int index = 0; index + 1 < arguments.length; index += 2) {
            options.put(arguments[index], arguments[index + 1]);
        }
        new ParallelArm(options).run(options);
    }
}
