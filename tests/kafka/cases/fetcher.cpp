// SPDX-License-Identifier: MIT

#include <kgroup/detail/fetch/fetcher.hpp>

#include <asio/io_context.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kafka.hpp"
#include "producing.hpp"
#include "support/reading_sink.hpp"

namespace fetcher_on_kafka_tests {
namespace {

using namespace kgroup::detail::fetch;
using namespace kgroup::tests;
using namespace std::chrono_literals;

/// Writes values "0", "1", … to each partition.
void produce(std::string const& brokers, std::string const& topic, std::string const& codec,
             std::int32_t partitions, int number) {
    kgroup::detail::rdkafka_conf conf{rd_kafka_conf_new()};
    for (auto const& [name, value] :
         {std::pair<char const*, std::string>{"bootstrap.servers", brokers},
          {"compression.type", codec},
          {"linger.ms", "20"},
          {"queue.buffering.max.messages", "1000000"}}) {
        REQUIRE(rd_kafka_conf_set(conf.get(), name, value.c_str(), nullptr, 0) == RD_KAFKA_CONF_OK);
    }
    std::unique_ptr<rd_kafka_t, kgroup::detail::rdkafka_deleter<rd_kafka_destroy>> const producer{
        rd_kafka_new(RD_KAFKA_PRODUCER, conf.get(), nullptr, 0)};
    REQUIRE(producer);
    static_cast<void>(conf.release());
    for (int i = 0; i != number; ++i) {
        auto const value = std::to_string(i);
        for (std::int32_t partition = 0; partition != partitions; ++partition) {
            REQUIRE(rd_kafka_producev(
                        producer.get(), RD_KAFKA_V_TOPIC(topic.c_str()),
                        RD_KAFKA_V_PARTITION(partition), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                        RD_KAFKA_V_VALUE(const_cast<char*>(value.data()), value.size()),
                        RD_KAFKA_V_END) == RD_KAFKA_RESP_ERR_NO_ERROR);
        }
    }
    REQUIRE(rd_kafka_flush(producer.get(), 30000) == RD_KAFKA_RESP_ERR_NO_ERROR);
}

TEST_CASE("fetcher: all records of six partitions in their order, in three codecs") {
    if (!kafka::is_there()) {
        return;
    }
    kafka brokers{kafka::kind::real};
    constexpr std::int32_t partitions = 6;
    constexpr int count = 20'000;
    std::vector<std::string> topics;
    for (auto const* const codec : {"none", "lz4", "zstd"}) {
        topics.push_back(brokers.create_topic(partitions));
        produce(brokers.brokers(), topics.back(), codec, partitions, count);
    }
    asio::io_context context;
    fetcher_settings settings;
    settings.bootstrap_servers = brokers.brokers();
    std::vector<fetcher_notice> notices;
    auto const tested =
        std::make_shared<fetcher>(context.get_executor(), settings, [&](fetcher_notice notice) {
            notices.push_back(std::move(notice));
        });
    std::vector<std::shared_ptr<reading_sink>> sinks;
    std::size_t complete = 0;
    bool ended = false;
    while (sinks.size() != topics.size() * partitions) {
        auto& sink = sinks.emplace_back(std::make_shared<reading_sink>());
        sink->on_change = [&](reading_sink& changed) {
            if (changed.count() == count && !std::exchange(changed.done, true) &&
                ++complete == sinks.size()) {
                tested->shut_down([&] { ended = true; });
            }
        };
    }
    std::size_t next = 0;
    for (auto const& topic : topics) {
        for (std::int32_t partition = 0; partition != partitions; ++partition) {
            tested->start({topic, partition}, 1, partition % 2 == 0 ? partition_fetch::earliest : 0,
                          -1, sinks[next++]);
        }
    }
    context.run_for(60s);
    CHECK(ended);
    CHECK(notices.empty());
    for (auto const& sink : sinks) {
        REQUIRE(sink->records.size() == count);
        CHECK(sink->disorder == 0);
        CHECK(sink->events.empty());
        for (std::size_t i = 0; i != count; ++i) {
            REQUIRE(sink->records[i].offset == static_cast<std::int64_t>(i));
            REQUIRE(sink->records[i].value == std::to_string(i));
        }
    }
    CHECK(sinks.at(0)->starts == std::vector<std::int64_t>{0});
    CHECK(sinks.at(1)->starts.empty());
}

} // namespace
} // namespace fetcher_on_kafka_tests
