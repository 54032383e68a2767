// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/config.hpp>
#include <kgroup/detail/client/client.hpp>
#include <kgroup/testing/embedded_cluster.hpp>
#include <kgroup/topic_partition.hpp>

#include <librdkafka/rdkafka.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace kgroup::tests {

using namespace std::chrono_literals;
using kafka_record = testing::embedded_cluster::record;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool sanitized = true;
#elif defined(__has_feature)
inline constexpr bool sanitized =
    __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
inline constexpr bool sanitized = false;
#endif

/// Says why the test cannot be run, in the form by which the test run knows it.
void skip(std::string_view reason);

/// A name that no other test, and no other run on the same cluster, has.
std::string unique(std::string_view subject);

/// Waits until it holds. false: it does not within the limit.
template <typename Condition>
bool eventually(Condition const& holds, std::chrono::milliseconds limit = 30s) {
    void sleep_a_little();
    auto const until = std::chrono::steady_clock::now() + limit;
    while (!holds()) {
        if (std::chrono::steady_clock::now() > until) {
            return false;
        }
        sleep_a_little();
    }
    return true;
}

/// A Kafka for tests: the one that KGROUP_TEST_BROKERS names, or else one inside the process.
class kafka {
public:
    enum class kind { any, real, embedded };

    /// @param embedded_brokers how many the one inside the process has.
    explicit kafka(kind wanted = kind::any, int embedded_brokers = 1);
    ~kafka();
    kafka(kafka const&) = delete;
    kafka& operator=(kafka const&) = delete;

    /// Whether there is a real one to be had; says that the test is skipped if not.
    static bool is_there();

    bool is_real() const noexcept { return !embedded_; }
    testing::embedded_cluster& embedded() const noexcept { return *embedded_; }
    std::string const& brokers() const noexcept { return brokers_; }

    /// A configuration with a group of its own, sessions as short as the cluster can, and no other
    /// deviation from what users have.
    config member_of(std::string const& group, std::vector<std::string> topics) const;
    config member_of_new_group(std::string const& topic) const {
        return member_of(unique("group"), {topic});
    }

    /// Makes a topic, and returns its name when it can be used.
    std::string create_topic(std::string const& name, std::int32_t partitions,
                             std::map<std::string, std::string> const& settings = {});
    std::string create_topic(std::int32_t partitions = 1) {
        return create_topic(unique("topic"), partitions);
    }

    /// Deletes a topic, and makes it again at once: the same name, and another log. Real Kafka.
    void make_again(std::string const& topic, std::int32_t partitions);
    /// Whether one made again can be told from the old one: from 2.8 on. Real Kafka.
    bool has_topic_ids();

    /// Appends these in this order; returns when the broker has them.
    void produce(std::string const& topic, std::int32_t partition,
                 std::vector<kafka_record> const& records);
    /// The same for records that have only a value.
    void produce_values(std::string const& topic, std::int32_t partition,
                        std::vector<std::string> const& values);
    /// Appends so many records of `size` bytes to partition 0, 1, …, in batches of 16 KiB as Java's
    /// producer makes them.
    void fill(std::string const& topic, std::vector<std::size_t> const& records, std::size_t size);
    /// A topic that holds so many records of `size` bytes in each partition: made once, and found
    /// again by later runs.
    std::string filled_topic(std::string const& name, std::int32_t partitions, std::size_t records,
                             std::size_t size);
    /// Sends one and does not wait for it.
    void send(std::string const& topic, std::int32_t partition, std::string_view value);
    void flush();

    std::optional<std::int64_t> committed(std::string const& group, std::string const& topic,
                                          std::int32_t partition);
    /// The leader epoch beside it; -1: none, or this librdkafka knows of none.
    std::int32_t committed_epoch(std::string const& group, std::string const& topic,
                                 std::int32_t partition);
    std::int64_t log_end(std::string const& topic, std::int32_t partition);
    /// Makes `first` the first offset that the log holds. Real Kafka.
    void delete_records(std::string const& topic, std::int32_t partition, std::int64_t first);
    /// Where the cluster listens to those only who show a token, an unsecured JWT; empty: nowhere.
    /// Real Kafka.
    std::string token_brokers();
    /// Where a controller of the cluster listens, to other nodes only. Real Kafka.
    std::string controller();
    /// Whether the cluster knows the group. Real Kafka.
    bool knows_group(std::string const& group);
    /// From now on nobody may read this. false: the cluster has no authorizer. Real Kafka.
    bool deny_read(rd_kafka_ResourceType_t type, std::string const& name);

private:
    struct producer_deleter {
        void operator()(rd_kafka_t* producer) const noexcept { rd_kafka_destroy(producer); }
    };
    using producer = std::unique_ptr<rd_kafka_t, producer_deleter>;

    producer make_producer(std::map<std::string, std::string> const& settings) const;
    detail::committed_offset look_up(std::string const& group, std::string const& topic,
                                     std::int32_t partition);
    void append(rd_kafka_t* with, std::string const& topic, std::int32_t partition,
                kafka_record const& record);
    rd_kafka_resp_err_t try_to_create(std::string const& name, std::int32_t partitions,
                                      std::map<std::string, std::string> const& settings);
    /// Where node 1 listens, by a setting of its own; empty: nowhere.
    std::string listener(std::string_view name, std::string_view wanted);
    /// A setting of node 1; empty: it has none of that name.
    std::string setting(std::string_view name);
    /// How many partitions of the topic have one.
    std::int32_t leaders(std::string const& topic);
    void wait_until_led(std::string const& topic, std::int32_t partitions);

    std::unique_ptr<testing::embedded_cluster> embedded_;
    std::string brokers_;
    producer producer_;
};

} // namespace kgroup::tests
