// SPDX-License-Identifier: MIT

#include <kgroup/detail/claim/partition_state.hpp>
#include <kgroup/detail/rdkafka/handle.hpp>
#include <kgroup/detail/rdkafka/source.hpp>

#include <asio/io_context.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "kafka.hpp"

// Where librdkafka goes on reading after a pause. It pauses what a member keeps in every
// cooperative rebalance.

using namespace kgroup::tests;
using request = kgroup::testing::embedded_cluster::request;

namespace {

class reader {
public:
    reader(kafka const& brokers, std::string const& topic, std::int32_t partitions)
        : all_(kgroup::detail::make_partitions(1)) {
        kgroup::detail::rdkafka_conf conf{rd_kafka_conf_new()};
        for (auto const& [name, value] : std::vector<std::pair<char const*, std::string>>{
                 {"bootstrap.servers", brokers.brokers()},
                 {"group.id", unique("group")},
                 {"auto.offset.reset", "earliest"},
                 {"enable.auto.commit", "false"},
                 {"enable.auto.offset.store", "false"},
                 {"fetch.wait.max.ms", "10"}}) {
            REQUIRE(rd_kafka_conf_set(conf.get(), name, value.c_str(), nullptr, 0) ==
                    RD_KAFKA_CONF_OK);
        }
        handle_ = std::make_shared<kgroup::detail::rdkafka_handle>(std::move(conf), std::nullopt);
        rd_kafka_poll_set_consumer(handle_->get());
        for (std::int32_t partition = 0; partition != partitions; ++partition) {
            auto state = std::make_shared<kgroup::detail::partition_state>(
                kgroup::topic_partition{topic, partition}, context_.get_executor(),
                kgroup::tracked_offset{}, std::weak_ptr<kgroup::detail::claim_observer>{});
            auto source = std::make_shared<kgroup::detail::rdkafka_source>(handle_, state);
            state->start(source, 0);
            rd_kafka_topic_partition_list_add(all_.get(), topic.c_str(), partition)->offset = 0;
            states_.push_back(std::move(state));
            sources_.push_back(std::move(source));
        }
        REQUIRE(rd_kafka_assign(handle_->get(), all_.get()) == RD_KAFKA_RESP_ERR_NO_ERROR);
    }
    reader(reader const&) = delete;
    reader& operator=(reader const&) = delete;
    ~reader() { rd_kafka_assign(handle_->get(), nullptr); }

    /// The offsets of what waits, this many at most.
    std::vector<std::int64_t> drain(std::size_t partition, std::size_t most) {
        kgroup::detail::record_block block{most};
        auto& source = *sources_[partition];
        source.drain(block, 1 << 20);
        std::vector<std::int64_t> offsets;
        for (std::size_t i = 0; i != block.size(); ++i) {
            offsets.push_back(block[i].offset);
        }
        if (block.size() != 0) {
            source.free_records(&block[0], block.size());
        }
        return offsets;
    }
    /// Exactly so many.
    std::vector<std::int64_t> take(std::size_t partition, std::size_t count) {
        std::vector<std::int64_t> offsets;
        auto const all = eventually([&] {
            auto const more = drain(partition, count - offsets.size());
            offsets.insert(offsets.end(), more.begin(), more.end());
            return offsets.size() == count;
        });
        REQUIRE_MESSAGE(all, offsets.size(), " of ", count, ", the last ",
                        offsets.empty() ? -1 : offsets.back());
        return offsets;
    }
    std::size_t waiting(std::size_t partition) const { return sources_[partition]->waiting(); }

    void pause_and_resume() {
        REQUIRE(rd_kafka_pause_partitions(handle_->get(), all_.get()) ==
                RD_KAFKA_RESP_ERR_NO_ERROR);
        REQUIRE(rd_kafka_resume_partitions(handle_->get(), all_.get()) ==
                RD_KAFKA_RESP_ERR_NO_ERROR);
    }

private:
    asio::io_context context_;
    kgroup::detail::rdkafka_partitions all_;
    std::shared_ptr<kgroup::detail::rdkafka_handle> handle_;
    std::vector<std::shared_ptr<kgroup::detail::partition_state>> states_;
    std::vector<std::shared_ptr<kgroup::detail::rdkafka_source>> sources_;
};

std::vector<std::string> values(std::size_t count) {
    return std::vector<std::string>(count, std::string(100, 'v'));
}

/// A partition that was read to its end, when a fetch failed.
struct failed_fetch {
    kafka brokers{kafka::kind::embedded};
    std::string topic = brokers.create_topic();
    reader one{brokers, topic, 1};

    failed_fetch(std::size_t records, rd_kafka_resp_err_t with) {
        brokers.produce_values(topic, 0, values(records));
        CHECK(one.take(0, records).back() == static_cast<std::int64_t>(records) - 1);
        // Once more when nothing comes of it: now and then librdkafka throws away the answer of the
        // broker inside the process.
        REQUIRE(eventually([&] {
            brokers.embedded().fail(request::fetch, with, 1);
            return eventually([&] { return one.waiting(0) != 0; }, 3s);
        }));
    }
};

} // namespace

TEST_CASE("position: after a reset to lower offsets, a pause goes on behind what was read last") {
    failed_fetch after{600, RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE};
    auto const again = after.one.take(0, 100);
    CHECK(again.front() == 0);
    CHECK(again.back() == 99);
    after.one.pause_and_resume();
    CHECK(after.one.take(0, 500).front() == 100);
}

TEST_CASE("position: after an error, a pause goes on behind what was read last") {
    failed_fetch after{100, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED};
    CHECK(after.one.drain(0, 100).empty());
    after.one.pause_and_resume();
    after.brokers.produce_values(after.topic, 0, values(10));
    CHECK(after.one.take(0, 10).front() == 100);
}

TEST_CASE("position: pauses while six partitions are drained by two threads lose nothing and "
          "repeat nothing") {
    constexpr std::size_t partitions = 6;
    constexpr std::size_t records = sanitized ? 2000 : 6000;
    kafka brokers{kafka::kind::embedded};
    auto const topic = brokers.create_topic(partitions);
    for (std::int32_t partition = 0; partition != partitions; ++partition) {
        brokers.produce_values(topic, partition, values(records));
    }
    reader all{brokers, topic, partitions};
    std::atomic<std::size_t> taken{0};
    std::atomic<std::size_t> out_of_order{0};
    auto const drain_half = [&](std::size_t first) {
        std::vector<std::int64_t> next(partitions);
        auto const done = [&] {
            return std::all_of(next.begin(), next.end(),
                               [&](auto count) { return count == 0 || count == records; });
        };
        eventually(
            [&] {
                for (std::size_t turn = 0; turn != 1000; ++turn) {
                    for (auto partition = first; partition < partitions; partition += 2) {
                        for (auto const offset : all.drain(partition, 512)) {
                            out_of_order += offset != next[partition];
                            next[partition] = offset + 1;
                            ++taken;
                        }
                    }
                }
                return taken >= partitions * records && done();
            },
            60s);
    };
    std::thread even{[&] { drain_half(0); }};
    std::thread odd{[&] { drain_half(1); }};
    std::size_t pauses = 0;
    for (std::size_t before = 0;
         eventually([&] { return taken >= before + 200 || taken >= partitions * records; }, 60s) &&
         taken < partitions * records;
         before = taken) {
        all.pause_and_resume();
        ++pauses;
    }
    even.join();
    odd.join();
    CHECK(taken == partitions * records);
    CHECK(out_of_order == 0);
    CHECK(pauses > 10);
    MESSAGE(pauses, " pauses");
}
