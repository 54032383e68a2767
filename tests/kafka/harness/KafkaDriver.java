// SPDX-License-Identifier: MIT

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Queue;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Function;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AdminClientConfig;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.MemberDescription;
import org.apache.kafka.clients.admin.NewPartitionReassignment;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionInfo;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * What the tests ask of a Kafka cluster, behind one JVM: starting Java costs a second, a command here milliseconds.
 *
 * <p>Reads one JSON object a line, {@code {"id":1,"command":"create_topics",...}}, answers
 * {@code {"id":1,"result":...}} or {@code {"id":1,"error":"..."}} when it is done, and ends with its standard input.
 * Commands run side by side. {@code cluster.py} is its only caller and says what each command means.
 */
public final class KafkaDriver {
    private static final Duration SETTLED_WITHIN = Duration.ofSeconds(60);

    private final ObjectMapper json = new ObjectMapper();
    private final PrintStream replies = new PrintStream(System.out, false, StandardCharsets.UTF_8);
    private final String brokers;
    private final Admin admin;

    private KafkaDriver(String brokers) {
        this.brokers = brokers;
        admin = Admin.create(Map.of(AdminClientConfig.BOOTSTRAP_SERVERS_CONFIG, brokers));
    }

    public static void main(String[] arguments) throws Exception {
        new KafkaDriver(arguments[0]).serve();
        // Whatever still runs has nobody left to answer to.
        Runtime.getRuntime().halt(0);
    }

    private void serve() throws Exception {
        Map<String, Function<JsonNode, Callable<JsonNode>>> commands = new HashMap<>();
        commands.put("create_topics", request -> () -> createTopics(request));
        commands.put("delete_topics", request -> () -> deleteTopics(request));
        commands.put("add_partitions", request -> () -> addPartitions(request));
        commands.put("delete_records", request -> () -> deleteRecords(request));
        commands.put("partitions", request -> () -> partitions(request));
        commands.put("move_leaders", request -> () -> moveLeaders(request));
        commands.put("log_ends", request -> () -> logEnds(request));
        commands.put("describe_group", request -> () -> describeGroup(request));
        commands.put("group_state", request -> () -> groupState(request));
        commands.put("alter_offset", request -> () -> alterOffset(request));
        commands.put("delete_group", request -> () -> deleteGroup(request));
        commands.put("alter_group", request -> () -> alterGroup(request));
        commands.put("produce", request -> () -> produce(request));

        ExecutorService workers = Executors.newCachedThreadPool();
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            JsonNode request = json.readTree(line);
            Function<JsonNode, Callable<JsonNode>> command = commands.get(request.get("command").asText());
            workers.execute(() -> answer(request, command));
        }
    }

    private void answer(JsonNode request, Function<JsonNode, Callable<JsonNode>> command) {
        ObjectNode reply = json.createObjectNode();
        reply.set("id", request.get("id"));
        try {
            if (command == null) {
                throw new IllegalArgumentException("no such command: " + request.get("command").asText());
            }
            reply.set("result", command.apply(request).call());
        } catch (ExecutionException problem) {
            reply.put("error", String.valueOf(problem.getCause()));
        } catch (Exception problem) {
            reply.put("error", problem.toString());
        }
        synchronized (replies) {
            replies.println(reply);
            replies.flush();
        }
    }

    private JsonNode createTopics(JsonNode request) throws Exception {
        Map<String, String> configs = texts(request.get("configs"));
        List<NewTopic> topics = new ArrayList<>();
        Map<String, Integer> partitions = new HashMap<>();
        request.get("topics").properties().forEach(topic -> {
            JsonNode wanted = topic.getValue(); // how many, or on which nodes each
            partitions.put(topic.getKey(), wanted.isArray() ? wanted.size() : wanted.asInt());
            NewTopic created = wanted.isArray() ? new NewTopic(topic.getKey(), replicas(wanted))
                    : new NewTopic(topic.getKey(), Optional.of(wanted.asInt()), Optional.empty());
            topics.add(created.configs(configs));
        });
        admin.createTopics(topics).all().get();
        awaitServed(partitions);
        return null;
    }

    private JsonNode deleteTopics(JsonNode request) throws Exception {
        List<String> names = new ArrayList<>();
        request.get("topics").forEach(name -> names.add(name.asText()));
        admin.deleteTopics(names).all().get();
        for (String name : names) {
            settled(() -> {
                try {
                    admin.describeTopics(Set.of(name)).allTopicNames().get();
                    return false;
                } catch (ExecutionException gone) {
                    if (gone.getCause() instanceof UnknownTopicOrPartitionException) {
                        return true;
                    }
                    throw gone;
                }
            });
        }
        return null;
    }

    private JsonNode addPartitions(JsonNode request) throws Exception {
        String topic = request.get("topic").asText();
        int total = request.get("total").asInt();
        admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(total))).all().get();
        awaitServed(Map.of(topic, total));
        return null;
    }

    /**
     * Until each partition is served. Metadata name a leader before that broker has made the log; a producer that
     * believes them can have its second batch accepted, and its first refused from then on as out of order.
     */
    private void awaitServed(Map<String, Integer> partitions) throws Exception {
        settled(() -> {
            try { // the nodes learn of it one after the other, and another is asked each time
                Map<String, TopicDescription> known = admin.describeTopics(partitions.keySet()).allTopicNames().get();
                for (TopicDescription topic : known.values()) {
                    if (topic.partitions().size() != partitions.get(topic.name())
                            || topic.partitions().stream().anyMatch(partition -> partition.leader() == null)) {
                        return false;
                    }
                    offsets(partitionsOf(topic.name()), OffsetSpec.latest());
                }
                return true;
            } catch (ExecutionException unknown) {
                if (unknown.getCause() instanceof UnknownTopicOrPartitionException) {
                    return false;
                }
                throw unknown;
            }
        });
    }

    private JsonNode deleteRecords(JsonNode request) throws Exception {
        TopicPartition partition = new TopicPartition(request.get("topic").asText(), request.get("partition").asInt());
        admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(request.get("before").asLong()))).all().get();
        return null;
    }

    private static Map<Integer, List<Integer>> replicas(JsonNode rows) {
        Map<Integer, List<Integer>> found = new HashMap<>();
        rows.forEach(row -> {
            List<Integer> nodes = new ArrayList<>();
            row.forEach(node -> nodes.add(node.asInt()));
            found.put(found.size(), nodes);
        });
        return found;
    }

    private JsonNode partitions(JsonNode request) throws Exception {
        ArrayNode rows = json.createArrayNode();
        for (TopicPartitionInfo partition : describeTopic(request.get("topic").asText()).partitions()) {
            ObjectNode row = rows.addObject().put("leader", partition.leader() == null ? -1 : partition.leader().id());
            ArrayNode inStep = row.putArray("in_step");
            partition.isr().forEach(node -> inStep.add(node.id()));
        }
        return rows;
    }

    /** Until the first of the nodes named for each partition leads it. */
    private JsonNode moveLeaders(JsonNode request) throws Exception {
        String topic = request.get("topic").asText();
        Map<TopicPartition, Optional<NewPartitionReassignment>> moves = new HashMap<>();
        Map<Integer, List<Integer>> wanted = replicas(request.get("replicas"));
        wanted.forEach((partition, nodes) ->
                moves.put(new TopicPartition(topic, partition), Optional.of(new NewPartitionReassignment(nodes))));
        admin.alterPartitionReassignments(moves).all().get();
        settled(() -> admin.listPartitionReassignments(moves.keySet()).reassignments().get().isEmpty());
        settled(() -> {
            admin.electLeaders(ElectionType.PREFERRED, moves.keySet()).partitions().get();
            return describeTopic(topic).partitions().stream().allMatch(partition -> partition.leader() != null
                    && partition.leader().id() == wanted.get(partition.partition()).get(0));
        });
        return null;
    }

    private TopicDescription describeTopic(String topic) throws Exception {
        return admin.describeTopics(Set.of(topic)).allTopicNames().get().get(topic);
    }

    private JsonNode logEnds(JsonNode request) throws Exception {
        List<TopicPartition> partitions = partitionsOf(request.get("topic").asText());
        Map<TopicPartition, Long> first = offsets(partitions, OffsetSpec.earliest());
        Map<TopicPartition, Long> next = offsets(partitions, OffsetSpec.latest());
        ArrayNode rows = json.createArrayNode();
        for (TopicPartition partition : partitions) {
            rows.addObject().put("partition", partition.partition()).put("first", first.get(partition))
                    .put("next", next.get(partition));
        }
        return rows;
    }

    private Map<TopicPartition, Long> offsets(Collection<TopicPartition> partitions, OffsetSpec spec) throws Exception {
        Map<TopicPartition, OffsetSpec> specs = partitions.stream().collect(Collectors.toMap(p -> p, p -> spec));
        Map<TopicPartition, Long> found = new HashMap<>();
        admin.listOffsets(specs).all().get().forEach((partition, offset) -> found.put(partition, offset.offset()));
        return found;
    }

    private List<TopicPartition> partitionsOf(String topic) throws Exception {
        return describeTopic(topic).partitions().stream()
                .map(partition -> new TopicPartition(topic, partition.partition())).toList();
    }

    private JsonNode describeGroup(JsonNode request) throws Exception {
        String group = request.get("group").asText();
        Map<TopicPartition, OffsetAndMetadata> committed = new HashMap<>();
        try {
            committed.putAll(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get());
        } catch (ExecutionException missing) {
            unlessUnknown(missing);
        }
        Map<TopicPartition, MemberDescription> owners = new HashMap<>();
        Optional<ConsumerGroupDescription> description = describe(group);
        if (description.isPresent()) {
            for (MemberDescription member : description.get().members()) {
                member.assignment().topicPartitions().forEach(partition -> owners.put(partition, member));
            }
        }

        TreeMap<TopicPartition, ObjectNode> rows = new TreeMap<>(
                Comparator.comparing(TopicPartition::topic).thenComparingInt(TopicPartition::partition));
        Map<TopicPartition, Long> ends = new HashMap<>();
        for (Collection<TopicPartition> side : List.of(committed.keySet(), owners.keySet())) {
            for (TopicPartition partition : side) {
                rows.computeIfAbsent(partition, key -> json.createObjectNode());
            }
        }
        for (TopicPartition partition : rows.keySet()) {
            try {
                ends.putAll(offsets(List.of(partition), OffsetSpec.latest()));
            } catch (ExecutionException gone) {
                if (!(gone.getCause() instanceof UnknownTopicOrPartitionException)) {
                    throw gone;
                }
            }
        }
        ArrayNode answer = json.createArrayNode();
        rows.forEach((partition, row) -> {
            Long next = committed.get(partition) == null ? null : Long.valueOf(committed.get(partition).offset());
            Long end = ends.get(partition);
            MemberDescription owner = owners.get(partition);
            row.put("topic", partition.topic()).put("partition", partition.partition()).put("committed", next)
                    .put("log_end", end).put("lag", next == null || end == null ? null : Long.valueOf(end - next))
                    .put("member_id", owner == null ? null : owner.consumerId())
                    .put("client_id", owner == null ? null : owner.clientId());
            answer.add(row);
        });
        return answer;
    }

    private JsonNode groupState(JsonNode request) throws Exception {
        return json.getNodeFactory().textNode(
                describe(request.get("group").asText()).map(group -> group.groupState().toString()).orElse("Dead"));
    }

    private Optional<ConsumerGroupDescription> describe(String group) throws Exception {
        try {
            return Optional.of(admin.describeConsumerGroups(Set.of(group)).all().get().get(group));
        } catch (ExecutionException missing) {
            unlessUnknown(missing);
            return Optional.empty();
        }
    }

    private static void unlessUnknown(ExecutionException problem) throws ExecutionException {
        if (!(problem.getCause() instanceof GroupIdNotFoundException)) {
            throw problem;
        }
    }

    private JsonNode alterOffset(JsonNode request) throws Exception {
        TopicPartition partition = new TopicPartition(request.get("topic").asText(), request.get("partition").asInt());
        OffsetAndMetadata offset = new OffsetAndMetadata(request.get("offset").asLong());
        admin.alterConsumerGroupOffsets(request.get("group").asText(), Map.of(partition, offset)).all().get();
        return null;
    }

    private JsonNode deleteGroup(JsonNode request) throws Exception {
        admin.deleteConsumerGroups(Set.of(request.get("group").asText())).all().get();
        return null;
    }

    private JsonNode alterGroup(JsonNode request) throws Exception {
        List<AlterConfigOp> changes = texts(request.get("configs")).entrySet().stream()
                .map(entry -> new AlterConfigOp(new ConfigEntry(entry.getKey(), entry.getValue()),
                        AlterConfigOp.OpType.SET))
                .toList();
        ConfigResource group = new ConfigResource(ConfigResource.Type.GROUP, request.get("group").asText());
        admin.incrementalAlterConfigs(Map.of(group, changes)).all().get();
        return null;
    }

    private JsonNode produce(JsonNode request) throws Exception {
        String topic = request.get("topic").asText();
        long first = request.get("first").asLong();
        long count = request.get("count").asLong();
        long perSecond = request.get("per_second").asLong();
        int bytes = request.get("bytes").asInt();
        JsonNode chosen = request.get("partition");
        int partitions = chosen.isNull() ? partitionsOf(topic).size() : 0;
        String acks = request.get("acks").asText();

        Queue<Long> failed = new ConcurrentLinkedQueue<>();
        Map<String, Object> settings = new HashMap<>();
        settings.put(ProducerConfig.BOOTSTRAP_SERVERS_CONFIG, brokers);
        settings.put(ProducerConfig.ACKS_CONFIG, acks);
        settings.put(ProducerConfig.ENABLE_IDEMPOTENCE_CONFIG, acks.equals("all"));
        settings.put(ProducerConfig.MAX_IN_FLIGHT_REQUESTS_PER_CONNECTION, 1);
        settings.put(ProducerConfig.LINGER_MS_CONFIG, perSecond == 0 ? 5 : 0);
        settings.put(ProducerConfig.BATCH_SIZE_CONFIG, 65536);
        settings.put(ProducerConfig.DELIVERY_TIMEOUT_MS_CONFIG, 120_000);
        settings.put(ProducerConfig.REQUEST_TIMEOUT_MS_CONFIG, 10_000);
        settings.put(ProducerConfig.MAX_BLOCK_MS_CONFIG, 120_000);
        settings.put(ProducerConfig.RECONNECT_BACKOFF_MAX_MS_CONFIG, 500);
        try (KafkaProducer<byte[], byte[]> producer =
                     new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer())) {
            long start = System.nanoTime();
            for (long number = first; number < first + count; ++number) {
                if (perSecond > 0) {
                    long due = start + (number - first) * 1_000_000_000L / perSecond;
                    for (long wait = due - System.nanoTime(); wait > 0; wait = due - System.nanoTime()) {
                        LockSupport.parkNanos(wait);
                    }
                }
                int partition = chosen.isNull() ? (int) (number % partitions) : chosen.asInt();
                long sent = number;
                producer.send(new ProducerRecord<>(topic, partition, null, value(number, bytes)), (where, problem) -> {
                    if (problem != null) {
                        failed.add(sent);
                    }
                });
            }
        }
        ObjectNode result = json.createObjectNode();
        ArrayNode numbers = result.putArray("failed");
        failed.forEach(numbers::add);
        return result;
    }

    private static byte[] value(long number, int bytes) {
        byte[] text = Long.toString(number).getBytes(StandardCharsets.US_ASCII);
        if (text.length >= bytes) {
            return text;
        }
        byte[] filled = Arrays.copyOf(text, bytes);
        filled[text.length] = ' ';
        Arrays.fill(filled, text.length + 1, bytes, (byte) '.');
        return filled;
    }

    private static Map<String, String> texts(JsonNode object) {
        Map<String, String> found = new HashMap<>();
        object.properties().forEach(field -> found.put(field.getKey(), field.getValue().asText()));
        return found;
    }

    private static void settled(Callable<Boolean> condition) throws Exception {
        long deadline = System.nanoTime() + SETTLED_WITHIN.toNanos();
        while (!condition.call()) {
            if (System.nanoTime() > deadline) {
                throw new TimeoutException("the cluster has not settled within " + SETTLED_WITHIN.toSeconds() + " s");
            }
            LockSupport.parkNanos(20_000_000);
        }
    }
}
