// SPDX-License-Identifier: MIT

#include "kafka.hpp"

#include <kgroup/detail/rdkafka/handle.hpp>
#include <kgroup/detail/rdkafka/leader_epoch.hpp>
#include <kgroup/error.hpp>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <span>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <utility>

namespace kgroup::tests {

namespace {

constexpr int limit_ms = 30000;

using queue = std::unique_ptr<rd_kafka_queue_t, detail::rdkafka_deleter<rd_kafka_queue_destroy>>;

void check(rd_kafka_resp_err_t error, std::string const& subject) {
    if (error) {
        throw std::system_error{make_error_code(error), subject};
    }
}

detail::rdkafka_event answer_from(queue const& answers, std::string const& subject) {
    detail::rdkafka_event answer{rd_kafka_queue_poll(answers.get(), limit_ms)};
    check(answer ? rd_kafka_event_error(answer.get()) : RD_KAFKA_RESP_ERR__TIMED_OUT, subject);
    return answer;
}

char const* real_brokers() {
    auto const* const given = std::getenv("KGROUP_TEST_BROKERS");
    return given && *given ? given : nullptr;
}

} // namespace

void sleep_a_little() { std::this_thread::sleep_for(2ms); }

void skip(std::string_view reason) {
    std::printf("[skipped] %.*s\n", static_cast<int>(reason.size()), reason.data());
}

std::string unique(std::string_view subject) {
    static std::string const run =
        std::to_string(::getpid()) + "-" + std::to_string(std::random_device{}());
    static std::atomic<int> count{0};
    return std::string{subject} + "-" + run + "-" + std::to_string(++count);
}

bool kafka::is_there() {
    if (!real_brokers()) {
        skip("needs a real Kafka: KGROUP_TEST_BROKERS is not set");
    }
    return real_brokers() != nullptr;
}

kafka::kafka(kind wanted, int embedded_brokers) {
    auto const* const real = real_brokers();
    if (wanted == kind::embedded || (wanted == kind::any && !real)) {
        embedded_ = std::make_unique<testing::embedded_cluster>(embedded_brokers);
        brokers_ = embedded_->brokers();
    } else {
        brokers_ = real;
    }
    producer_ = make_producer({{"linger.ms", "0"}});
}

kafka::~kafka() = default;

kafka::producer kafka::make_producer(std::map<std::string, std::string> const& settings) const {
    auto all = settings;
    all.emplace("bootstrap.servers", brokers_);
    all.emplace("max.in.flight.requests.per.connection", "1");
    detail::rdkafka_conf conf{rd_kafka_conf_new()};
    char text[512];
    for (auto const& [name, value] : all) {
        if (rd_kafka_conf_set(conf.get(), name.c_str(), value.c_str(), text, sizeof text) !=
            RD_KAFKA_CONF_OK) {
            throw std::invalid_argument{text};
        }
    }
    rd_kafka_conf_set_log_cb(conf.get(), nullptr); // faults are what tests make
    rd_kafka_conf_set_dr_msg_cb(conf.get(), [](rd_kafka_t*, rd_kafka_message_t const* message,
                                               void*) {
        if (message->err) {
            std::fprintf(stderr, "a record was not written: %s\n", rd_kafka_err2str(message->err));
            std::abort();
        }
    });
    producer made{rd_kafka_new(RD_KAFKA_PRODUCER, conf.get(), text, sizeof text)};
    if (!made) {
        throw std::runtime_error{text};
    }
    static_cast<void>(conf.release());
    return made;
}

config kafka::member_of(std::string const& group, std::vector<std::string> topics) const {
    return {.brokers = brokers_,
            .group_id = group,
            .topics = std::move(topics),
            .initial_offset = offset_reset::earliest,
            .properties = {{"session.timeout.ms", is_real() ? "6000" : "4000"},
                           {"heartbeat.interval.ms", "500"}}};
}

std::int32_t kafka::leaders(std::string const& topic) {
    struct rd_kafka_metadata const* found = nullptr;
    if (rd_kafka_metadata(producer_.get(), 1, nullptr, &found, limit_ms)) {
        return 0;
    }
    std::unique_ptr<struct rd_kafka_metadata const,
                    detail::rdkafka_deleter<rd_kafka_metadata_destroy>> const owner{found};
    std::span const topics{found->topics, static_cast<std::size_t>(found->topic_cnt)};
    auto const at = std::ranges::find_if(
        topics, [&](auto const& described) { return described.topic == topic; });
    if (at == topics.end()) {
        return 0;
    }
    std::span const partitions{at->partitions, static_cast<std::size_t>(at->partition_cnt)};
    return static_cast<std::int32_t>(std::ranges::count_if(
        partitions, [](auto const& described) { return !described.err && described.leader >= 0; }));
}

std::string kafka::create_topic(std::string const& name, std::int32_t partitions,
                                std::map<std::string, std::string> const& settings) {
    if (embedded_) {
        embedded_->create_topic(name, partitions);
        return name;
    }
    check(try_to_create(name, partitions, settings), name);
    wait_until_led(name, partitions);
    return name;
}

rd_kafka_resp_err_t kafka::try_to_create(std::string const& name, std::int32_t partitions,
                                         std::map<std::string, std::string> const& settings) {
    char text[512];
    auto* topic = rd_kafka_NewTopic_new(name.c_str(), partitions, 1, text, sizeof text);
    for (auto const& [key, value] : settings) {
        rd_kafka_NewTopic_set_config(topic, key.c_str(), value.c_str());
    }
    queue const answers{rd_kafka_queue_new(producer_.get())};
    rd_kafka_CreateTopics(producer_.get(), &topic, 1, nullptr, answers.get());
    rd_kafka_NewTopic_destroy(topic);
    auto const answer = answer_from(answers, "CreateTopics");
    std::size_t count = 0;
    auto const* const* const results = rd_kafka_CreateTopics_result_topics(
        rd_kafka_event_CreateTopics_result(answer.get()), &count);
    return rd_kafka_topic_result_error(results[0]);
}

void kafka::make_again(std::string const& topic, std::int32_t partitions) {
    auto* gone = rd_kafka_DeleteTopic_new(topic.c_str());
    queue const answers{rd_kafka_queue_new(producer_.get())};
    rd_kafka_DeleteTopics(producer_.get(), &gone, 1, nullptr, answers.get());
    rd_kafka_DeleteTopic_destroy(gone);
    auto const answer = answer_from(answers, "DeleteTopics");
    std::size_t count = 0;
    auto const* const* const results = rd_kafka_DeleteTopics_result_topics(
        rd_kafka_event_DeleteTopics_result(answer.get()), &count);
    check(rd_kafka_topic_result_error(results[0]), topic);
    auto created = RD_KAFKA_RESP_ERR_NO_ERROR;
    eventually([&] { // brokers with ZooKeeper answer before it is gone
        created = try_to_create(topic, partitions, {});
        return created != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS;
    });
    check(created, topic);
    wait_until_led(topic, partitions);
}

bool kafka::has_topic_ids() {
    // What brokers with ZooKeeper have, and those after them no longer.
    auto const protocol = setting("inter.broker.protocol.version");
    return protocol.empty() || protocol.substr(0, 3) >= "2.8";
}

// Created is not led: that takes some milliseconds more. The brokers are asked for all topics
// first: librdkafka believes for minutes that one it asked for by name too early does not exist.
void kafka::wait_until_led(std::string const& name, std::int32_t partitions) {
    auto led = eventually([&] { return leaders(name) == partitions; });
    for (std::int32_t partition = 0; led && partition != partitions; ++partition) {
        led = eventually([&] {
            std::int64_t low = 0;
            std::int64_t high = 0;
            return !rd_kafka_query_watermark_offsets(producer_.get(), name.c_str(), partition, &low,
                                                     &high, 1000);
        });
    }
    if (!led) {
        throw std::runtime_error{"nobody leads " + name};
    }
}

void kafka::append(rd_kafka_t* with, std::string const& topic, std::int32_t partition,
                   kafka_record const& record) {
    std::vector<rd_kafka_vu_t> fields;
    auto const add = [&](rd_kafka_vtype_t type) -> auto& {
        fields.push_back({});
        fields.back().vtype = type;
        return fields.back().u;
    };
    auto const bytes = [](std::optional<std::string> const& from) {
        return decltype(rd_kafka_vu_t{}.u.mem){from ? const_cast<char*>(from->data()) : nullptr,
                                               from ? from->size() : 0};
    };
    add(RD_KAFKA_VTYPE_TOPIC).cstr = topic.c_str();
    add(RD_KAFKA_VTYPE_PARTITION).i32 = partition;
    add(RD_KAFKA_VTYPE_MSGFLAGS).i = RD_KAFKA_MSG_F_COPY;
    add(RD_KAFKA_VTYPE_KEY).mem = bytes(record.key);
    add(RD_KAFKA_VTYPE_VALUE).mem = bytes(record.value);
    for (auto const& header : record.headers) {
        auto const [data, size] = bytes(header.value);
        add(RD_KAFKA_VTYPE_HEADER).header = {header.name.c_str(), data, static_cast<ssize_t>(size)};
    }
    if (record.timestamp) {
        add(RD_KAFKA_VTYPE_TIMESTAMP).i64 = std::chrono::duration_cast<std::chrono::milliseconds>(
                                                record.timestamp->time_since_epoch())
                                                .count();
    }
    for (;;) {
        detail::rdkafka_error const error{rd_kafka_produceva(with, fields.data(), fields.size())};
        if (!error) {
            rd_kafka_poll(with, 0);
            return;
        }
        if (rd_kafka_error_code(error.get()) != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
            check(rd_kafka_error_code(error.get()), rd_kafka_error_string(error.get()));
        }
        rd_kafka_poll(with, 10);
    }
}

void kafka::produce(std::string const& topic, std::int32_t partition,
                    std::vector<kafka_record> const& records) {
    for (auto const& record : records) {
        append(producer_.get(), topic, partition, record);
    }
    flush();
}

void kafka::produce_values(std::string const& topic, std::int32_t partition,
                           std::vector<std::string> const& values) {
    for (auto const& value : values) {
        append(producer_.get(), topic, partition, {.value = value});
    }
    flush();
}

void kafka::send(std::string const& topic, std::int32_t partition, std::string_view value) {
    append(producer_.get(), topic, partition, {.value = std::string{value}});
}

void kafka::flush() { check(rd_kafka_flush(producer_.get(), limit_ms), "flush"); }

void kafka::fill(std::string const& topic, std::vector<std::size_t> const& records,
                 std::size_t size) {
    auto const writer = make_producer({{"linger.ms", "100"},
                                       {"batch.size", "16384"},
                                       {"queue.buffering.max.messages", "500000"}});
    std::unique_ptr<rd_kafka_topic_t, detail::rdkafka_deleter<rd_kafka_topic_destroy>> const to{
        rd_kafka_topic_new(writer.get(), topic.c_str(), nullptr)};
    std::string value(size, 'x');
    constexpr std::size_t most = 1000;
    std::vector<rd_kafka_message_t> run(most);
    auto left = records;
    while (std::ranges::any_of(left, [](std::size_t count) { return count != 0; })) {
        for (std::size_t partition = 0; partition != left.size(); ++partition) {
            auto const count = std::min(most, left[partition]);
            for (std::size_t i = 0; i != count; ++i) {
                run[i] = {};
                run[i].payload = value.data();
                run[i].len = value.size();
            }
            // They are all alike: it matters only how many were taken.
            left[partition] -= static_cast<std::size_t>(
                rd_kafka_produce_batch(to.get(), static_cast<std::int32_t>(partition),
                                       RD_KAFKA_MSG_F_COPY, run.data(), static_cast<int>(count)));
            rd_kafka_poll(writer.get(), run[0].err || run[count == 0 ? 0 : count - 1].err ? 10 : 0);
        }
    }
    check(rd_kafka_flush(writer.get(), 3 * limit_ms),
          "flush"); // up to a gigabyte, beside other tests
}

std::string kafka::filled_topic(std::string const& name, std::int32_t partitions,
                                std::size_t records, std::size_t size) {
    try {
        create_topic(name, partitions);
    } catch (std::system_error const& e) {
        if (e.code() != make_error_code(RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)) {
            throw;
        }
        wait_until_led(name, partitions); // another test may just be making it
    }
    std::vector<std::size_t> missing;
    for (std::int32_t partition = 0; partition != partitions; ++partition) {
        missing.push_back(records -
                          std::min(records, static_cast<std::size_t>(log_end(name, partition))));
    }
    fill(name, missing, size);
    return name;
}

std::optional<std::int64_t> kafka::committed(std::string const& group, std::string const& topic,
                                             std::int32_t partition) {
    auto const found = look_up(group, topic, partition);
    return found.offset < 0 ? std::nullopt : std::optional{found.offset};
}

std::int32_t kafka::committed_epoch(std::string const& group, std::string const& topic,
                                    std::int32_t partition) {
    return look_up(group, topic, partition).leader_epoch;
}

detail::committed_offset kafka::look_up(std::string const& group, std::string const& topic,
                                        std::int32_t partition) {
    auto const asked = detail::make_partitions(1);
    rd_kafka_topic_partition_list_add(asked.get(), topic.c_str(), partition);
    auto* wanted = rd_kafka_ListConsumerGroupOffsets_new(group.c_str(), asked.get());
    queue const answers{rd_kafka_queue_new(producer_.get())};
    rd_kafka_ListConsumerGroupOffsets(producer_.get(), &wanted, 1, nullptr, answers.get());
    rd_kafka_ListConsumerGroupOffsets_destroy(wanted);
    auto const answer = answer_from(answers, "ListConsumerGroupOffsets");
    std::size_t count = 0;
    auto const* const* const groups = rd_kafka_ListConsumerGroupOffsets_result_groups(
        rd_kafka_event_ListConsumerGroupOffsets_result(answer.get()), &count);
    check(rd_kafka_error_code(rd_kafka_group_result_error(groups[0])), group);
    auto const& found = rd_kafka_group_result_partitions(groups[0])->elems[0];
    check(found.err, group);
    return {{topic, partition}, found.offset, {}, {}, detail::leader_epoch_of(found)};
}

std::int64_t kafka::log_end(std::string const& topic, std::int32_t partition) {
    std::int64_t low = 0;
    std::int64_t high = 0;
    check(rd_kafka_query_watermark_offsets(producer_.get(), topic.c_str(), partition, &low, &high,
                                           limit_ms),
          topic);
    return high;
}

void kafka::delete_records(std::string const& topic, std::int32_t partition, std::int64_t first) {
    auto const list = detail::make_partitions(1);
    rd_kafka_topic_partition_list_add(list.get(), topic.c_str(), partition)->offset = first;
    auto* wanted = rd_kafka_DeleteRecords_new(list.get());
    queue const answers{rd_kafka_queue_new(producer_.get())};
    rd_kafka_DeleteRecords(producer_.get(), &wanted, 1, nullptr, answers.get());
    rd_kafka_DeleteRecords_destroy(wanted);
    auto const answer = answer_from(answers, "DeleteRecords");
    check(rd_kafka_DeleteRecords_result_offsets(rd_kafka_event_DeleteRecords_result(answer.get()))
              ->elems[0]
              .err,
          topic);
}

std::string kafka::token_brokers() { return listener("advertised.listeners", "TOKENS://"); }
std::string kafka::controller() { return listener("listeners", "CONTROLLER://"); }

std::string kafka::listener(std::string_view name, std::string_view wanted) {
    auto const listeners = setting(name);
    if (auto const at = listeners.find(wanted); at != std::string::npos) {
        auto const begin = at + wanted.size();
        return listeners.substr(begin, listeners.find(',', begin) - begin);
    }
    return {};
}

std::string kafka::setting(std::string_view name) {
    auto* broker = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_BROKER, "1");
    queue const answers{rd_kafka_queue_new(producer_.get())};
    rd_kafka_DescribeConfigs(producer_.get(), &broker, 1, nullptr, answers.get());
    rd_kafka_ConfigResource_destroy(broker);
    auto const answer = answer_from(answers, "DescribeConfigs");
    std::size_t count = 0;
    auto const* const* const brokers = rd_kafka_DescribeConfigs_result_resources(
        rd_kafka_event_DescribeConfigs_result(answer.get()), &count);
    auto const* const* const settings = rd_kafka_ConfigResource_configs(brokers[0], &count);
    for (auto const* const setting : std::span{settings, count}) {
        auto const* const value = rd_kafka_ConfigEntry_value(setting);
        if (value && std::string_view{rd_kafka_ConfigEntry_name(setting)} == name) {
            return value;
        }
    }
    return {};
}

bool kafka::knows_group(std::string const& group) {
    rd_kafka_group_list const* found = nullptr;
    check(rd_kafka_list_groups(producer_.get(), group.c_str(), &found, limit_ms), group);
    auto const known = found->group_cnt != 0 && std::string_view{found->groups[0].state} != "Dead";
    rd_kafka_group_list_destroy(found);
    return known;
}

bool kafka::deny_read(rd_kafka_ResourceType_t type, std::string const& name) {
    char text[512];
    auto* binding = rd_kafka_AclBinding_new(type, name.c_str(), RD_KAFKA_RESOURCE_PATTERN_LITERAL,
                                            "User:ANONYMOUS", "*", RD_KAFKA_ACL_OPERATION_READ,
                                            RD_KAFKA_ACL_PERMISSION_TYPE_DENY, text, sizeof text);
    queue const answers{rd_kafka_queue_new(producer_.get())};
    rd_kafka_CreateAcls(producer_.get(), &binding, 1, nullptr, answers.get());
    rd_kafka_AclBinding_destroy(binding);
    auto const answer = answer_from(answers, "CreateAcls");
    std::size_t count = 0;
    auto const* const* const results =
        rd_kafka_CreateAcls_result_acls(rd_kafka_event_CreateAcls_result(answer.get()), &count);
    auto const error = rd_kafka_error_code(rd_kafka_acl_result_error(results[0]));
    if (error == RD_KAFKA_RESP_ERR_SECURITY_DISABLED) {
        return false;
    }
    check(error, name);
    return true;
}

} // namespace kgroup::tests
