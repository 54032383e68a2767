// SPDX-License-Identifier: MIT

#include <kgroup/detail/fetch/codecs.hpp>
#include <kgroup/detail/fetch/partition_fetch.hpp>
#include <kgroup/detail/fetch/partition_reader.hpp>
#include <kgroup/detail/rdkafka/handle.hpp>

#include <doctest/doctest.h>
#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fetch_connection.hpp"
#include "kafka.hpp"
#include "member.hpp"
#include "transactional_producer.hpp"

// What detail/fetch reads from a real Kafka, by a connection that waits, is to the byte what the
// members of a group receive from librdkafka.

namespace fetch_decoding_tests {
namespace {

using namespace kgroup::detail::fetch;
using namespace kgroup::tests;
using kgroup::owned_message;
using step = partition_reader::step;

owned_message copy(std::string const& topic, decoded_record const& from) {
    owned_message result;
    result.topic = topic;
    result.offset = from.offset;
    if (from.key) {
        result.key.emplace(*from.key);
    }
    if (from.value) {
        result.value.emplace(*from.value);
    }
    if (from.timestamp >= 0) {
        result.timestamp.emplace(std::chrono::milliseconds{from.timestamp});
    }
    from.headers.for_each([&](std::string_view name, std::optional<std::string_view> value) {
        auto& added = result.headers.emplace_back();
        added.name = name;
        if (value) {
            added.value.emplace(*value);
        }
    });
    return result;
}

struct drained {
    std::vector<owned_message> records;
    std::map<int, int> codecs; // how many batches of each
    std::int64_t position = 0;
};

/// Reads partition 0 to its end.
drained drain(std::string const& broker, std::string const& topic, std::int16_t version,
              std::int32_t max_bytes, isolation level = isolation::read_committed) {
    fetch_connection connection{broker};
    REQUIRE(connection.versions().use(api::fetch) == 13);
    topic_uuid id{};
    partition_fetch partition{fetch_settings{}};
    {
        auto const metadata = connection.metadata(topic, 12);
        REQUIRE(metadata.topics.size() == 1);
        REQUIRE(metadata.topics[0].error == 0);
        id = metadata.topics[0].id;
        REQUIRE(id != topic_uuid{});
        auto const led = metadata.partitions_of(metadata.topics[0]);
        REQUIRE(led.size() == 1);
        partition.on_metadata(led[0].leader, led[0].leader_epoch, id);
    }
    partition.start(partition_fetch::earliest);
    time_point now{};
    decompressor codecs;
    partition_reader reader{codecs, 100'000'000};
    drained result;
    for (;;) {
        auto const question =
            partition.ask(now, {.leader_epochs = true, .diverging = version >= 12});
        REQUIRE(question);
        if (question->request == api::list_offsets) {
            list_offsets_request::partition const asked{0, question->current_leader_epoch,
                                                        question->timestamp};
            list_offsets_request::topic const questions{topic, {&asked, 1}};
            auto const answer = connection.list_offsets({level, {&questions, 1}}, 6);
            REQUIRE(answer.partitions.size() == 1);
            CHECK_FALSE(partition
                            .on_listed(question->generation, answer.partitions[0].error,
                                       answer.partitions[0].offset,
                                       answer.partitions[0].leader_epoch, now)
                            .event);
            continue;
        }
        REQUIRE(question->request == api::fetch);
        fetch_request::partition const asked{0, question->current_leader_epoch, question->offset,
                                             question->last_fetched_epoch, max_bytes};
        fetch_request::topic const questions{topic, id, {&asked, 1}};
        fetch_request request;
        request.max_wait_ms = 100;
        request.max_bytes = max_bytes;
        request.level = level;
        request.topics = {&questions, 1};
        auto const answer = connection.fetch(request, version);
        REQUIRE(answer.error == 0);
        REQUIRE(answer.partitions.size() == 1);
        auto const& brought = answer.partitions[0];
        REQUIRE(brought.error == 0);
        auto const scan = scan_batches(brought.records, question->offset, brought.high_watermark);
        auto const reaction = partition.on_fetched(question->generation, brought, scan, now);
        REQUIRE_FALSE(reaction.event);
        if (!reaction.take) {
            REQUIRE(brought.last_stable_offset <= partition.position());
            return result;
        }
        reader.start(brought.records, question->offset, brought.high_watermark, level,
                     answer.aborted_of(brought));
        decoded_record record;
        for (auto now_at = reader.next(record); now_at != step::end; now_at = reader.next(record)) {
            CAPTURE(to_string(reader.wrong()));
            REQUIRE(now_at != step::damaged);
            REQUIRE(now_at != step::old_format);
            if (now_at == step::record) {
                result.records.push_back(copy(topic, record));
            } else if (now_at == step::batch) {
                ++result.codecs[reader.header().codec_number()];
            }
        }
        REQUIRE(reader.position() == scan.next_offset);
        result.position = reader.position();
    }
}

std::vector<owned_message> received_by_a_member(kgroup::config given, std::size_t count) {
    received records;
    member one{std::move(given), receive_into(records)};
    REQUIRE(eventually([&] { return records.count() >= count; }));
    one.stop();
    REQUIRE(one.ends_within(20s));
    return records.all();
}

void check_same(std::vector<owned_message> const& ours, std::vector<owned_message> const& theirs) {
    REQUIRE(ours.size() == theirs.size());
    for (std::size_t i = 0; i != ours.size(); ++i) {
        CAPTURE(i);
        REQUIRE(ours[i].topic == theirs[i].topic);
        REQUIRE(ours[i].offset == theirs[i].offset);
        REQUIRE((ours[i].key == theirs[i].key));
        REQUIRE((ours[i].value == theirs[i].value));
        REQUIRE((ours[i].timestamp == theirs[i].timestamp));
        REQUIRE(ours[i].headers.size() == theirs[i].headers.size());
        for (std::size_t h = 0; h != ours[i].headers.size(); ++h) {
            REQUIRE(ours[i].headers[h].name == theirs[i].headers[h].name);
            REQUIRE((ours[i].headers[h].value == theirs[i].headers[h].value));
        }
    }
}

/// Everything that a record can be.
std::vector<kafka_record> all_kinds() {
    std::string const bytes{"\0\xff\n\x01", 4};
    std::vector<kafka_record> result{
        {},
        {.key = "only a key"},
        {.value = "only a value"},
        {.key = "", .value = ""},
        {.key = bytes, .value = bytes},
        {.value = "headers",
         .headers = {{"trace", "1"}, {"trace", std::nullopt}, {"trace", ""}, {"empty", bytes}}},
        {.value = "long ago", .timestamp = std::chrono::system_clock::time_point{1234567ms}},
        {.key = std::string(3000, 'k'), .value = std::string(500'000, 'v')},
    };
    kafka_record many{.value = "1,000 headers"};
    for (int i = 0; i != 1000; ++i) {
        many.headers.push_back({"header-" + std::to_string(i % 7), std::to_string(i)});
    }
    result.push_back(std::move(many));
    for (int i = 0; i != 3000; ++i) { // what does compress, and what hardly does
        std::string value = "value " + std::to_string(i) + " ";
        for (unsigned j = 0, state = static_cast<unsigned>(i) + 1; j != 100; ++j) {
            state = state * 1664525 + 1013904223;
            value += i % 3 == 0 ? static_cast<char>(state >> 24) : 'x';
        }
        result.push_back({.key = std::to_string(i % 17), .value = value});
    }
    return result;
}

/// Writes by librdkafka, compressed there.
void produce(std::string const& brokers, std::string const& topic, std::string const& codec,
             std::vector<kafka_record> const& records) {
    kgroup::detail::rdkafka_conf conf{rd_kafka_conf_new()};
    for (auto const& [name, value] :
         {std::pair<char const*, std::string>{"bootstrap.servers", brokers},
          {"compression.type", codec},
          {"linger.ms", "20"},
          {"queue.buffering.max.messages", "100000"}}) {
        REQUIRE(rd_kafka_conf_set(conf.get(), name, value.c_str(), nullptr, 0) == RD_KAFKA_CONF_OK);
    }
    std::unique_ptr<rd_kafka_t, kgroup::detail::rdkafka_deleter<rd_kafka_destroy>> const producer{
        rd_kafka_new(RD_KAFKA_PRODUCER, conf.get(), nullptr, 0)};
    REQUIRE(producer);
    static_cast<void>(conf.release());
    auto const data = [](std::optional<std::string> const& from) {
        return from ? const_cast<char*>(from->data()) : nullptr;
    };
    auto const size = [](std::optional<std::string> const& from) {
        return from ? from->size() : 0;
    };
    for (auto const& record : records) {
        auto* const headers = rd_kafka_headers_new(record.headers.size());
        for (auto const& header : record.headers) {
            rd_kafka_header_add(headers, header.name.c_str(), -1, data(header.value),
                                static_cast<ssize_t>(size(header.value)));
        }
        auto const timestamp = record.timestamp
                                   ? std::chrono::duration_cast<std::chrono::milliseconds>(
                                         record.timestamp->time_since_epoch())
                                         .count()
                                   : 0;
        REQUIRE(rd_kafka_producev(producer.get(), RD_KAFKA_V_TOPIC(topic.c_str()),
                                  RD_KAFKA_V_PARTITION(0), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                                  RD_KAFKA_V_KEY(data(record.key), size(record.key)),
                                  RD_KAFKA_V_VALUE(data(record.value), size(record.value)),
                                  RD_KAFKA_V_TIMESTAMP(timestamp), RD_KAFKA_V_HEADERS(headers),
                                  RD_KAFKA_V_END) == RD_KAFKA_RESP_ERR_NO_ERROR);
    }
    REQUIRE(rd_kafka_flush(producer.get(), 30000) == RD_KAFKA_RESP_ERR_NO_ERROR);
}

constexpr char const* codec_names[] = {"none", "gzip", "snappy", "lz4", "zstd"};

TEST_CASE("decoding: every codec of librdkafka's producer, in every version of Fetch") {
    if (!kafka::is_there()) {
        return;
    }
    kafka brokers{kafka::kind::real};
    auto const sent = all_kinds();
    for (int codec = 0; codec != 5; ++codec) {
        CAPTURE(codec_names[codec]);
        auto const topic = brokers.create_topic();
        produce(brokers.brokers(), topic, codec_names[codec], sent);
        auto const theirs = received_by_a_member(brokers.member_of_new_group(topic), sent.size());
        for (std::int16_t version = 10; version <= 13; ++version) {
            auto const ours = drain(brokers.brokers(), topic, version, 1 << 20);
            check_same(ours.records, theirs);
            CHECK(ours.position == static_cast<std::int64_t>(sent.size()));
            CHECK(ours.codecs.contains(codec)); // librdkafka leaves uncompressed what only grows
        }
        // Less than a batch at a time: the first one comes whole, the next is cut off.
        check_same(drain(brokers.brokers(), topic, 13, 20'000).records, theirs);
    }
}

TEST_CASE("decoding: every codec as the broker, which is Java's, writes it, and its timestamps") {
    if (!kafka::is_there()) {
        return;
    }
    kafka brokers{kafka::kind::real};
    auto const sent = all_kinds();
    for (int codec = 1; codec != 5; ++codec) {
        CAPTURE(codec_names[codec]);
        auto const topic = brokers.create_topic(unique("topic"), 1,
                                                {{"compression.type", codec_names[codec]},
                                                 {"message.timestamp.type", "LogAppendTime"}});
        brokers.produce(topic, 0, sent);
        auto const theirs = received_by_a_member(brokers.member_of_new_group(topic), sent.size());
        auto const ours = drain(brokers.brokers(), topic, 13, 1 << 20);
        check_same(ours.records, theirs);
        CHECK(ours.codecs.size() == 1);
        CHECK(ours.codecs.contains(codec));
    }
}

TEST_CASE("decoding: transactions, committed and aborted, of two producers") {
    if (!kafka::is_there()) {
        return;
    }
    kafka brokers{kafka::kind::real};
    auto const topic = brokers.create_topic();
    transactional_producer first{brokers.brokers()};
    transactional_producer second{brokers.brokers()};
    std::size_t committed = 0;
    std::int64_t end = 0;
    for (int round = 0; round != 6; ++round) {
        first.begin();
        second.begin();
        first.produce(topic, 0, 50);
        second.produce(topic, 0, 30);
        first.produce(topic, 0, 20);
        round % 2 == 0 ? first.commit() : first.abort();
        second.produce(topic, 0, 10);
        round % 3 == 0 ? second.commit() : second.abort();
        committed += (round % 2 == 0 ? 70u : 0u) + (round % 3 == 0 ? 40u : 0u);
        end += 112;
    }
    REQUIRE(eventually([&] { return brokers.log_end(topic, 0) == end; }));
    auto const theirs = received_by_a_member(brokers.member_of_new_group(topic), committed);
    for (std::int16_t version = 10; version <= 13; ++version) {
        for (std::int32_t const max_bytes : {1 << 20, 1000}) { // within transactions too
            auto const ours = drain(brokers.brokers(), topic, version, max_bytes);
            CHECK(ours.records.size() == committed);
            check_same(ours.records, theirs);
            CHECK(ours.position == end);
        }
    }
    auto given = brokers.member_of_new_group(topic);
    given.properties["isolation.level"] = "read_uncommitted";
    std::size_t const all = 6 * 110;
    auto const everything = received_by_a_member(given, all);
    auto const ours = drain(brokers.brokers(), topic, 13, 1 << 20, isolation::read_uncommitted);
    CHECK(ours.records.size() == all);
    check_same(ours.records, everything);
}

TEST_CASE("decoding: what a broker says of epochs and of offsets that it has not") {
    if (!kafka::is_there()) {
        return;
    }
    kafka brokers{kafka::kind::real};
    auto const topic = brokers.create_topic();
    brokers.produce_values(topic, 0, {"one", "two", "three"});
    fetch_connection connection{brokers.brokers()};
    for (std::int16_t version = 2; version <= 4; ++version) {
        leader_epoch_request::partition const asked{0, 0, 0};
        leader_epoch_request::topic const questions{topic, {&asked, 1}};
        auto const answer = connection.leader_epoch({{&questions, 1}}, version);
        REQUIRE(answer.partitions.size() == 1);
        CHECK(answer.partitions[0].error == 0);
        CHECK(answer.partitions[0].leader_epoch == 0);
        CHECK(answer.partitions[0].end_offset == 3);
    }
    for (std::int16_t version = 10; version <= 13; ++version) {
        auto const id = connection.metadata(topic, 10).topics.at(0).id;
        fetch_request::partition const asked{0, 0, 100, -1, 1000};
        fetch_request::topic const questions{topic, id, {&asked, 1}};
        fetch_request request;
        request.max_bytes = 1000;
        request.topics = {&questions, 1};
        auto const answer = connection.fetch(request, version);
        REQUIRE(answer.partitions.size() == 1);
        CHECK(answer.partitions[0].error == 1);
    }
    auto const missing = unique("missing"); // and asking does not make it
    for (int i = 0; i != 2; ++i) {
        for (std::int16_t version = 4; version <= 12; ++version) {
            auto const answer = connection.metadata(missing, version);
            REQUIRE(answer.topics.size() == 1);
            CHECK(answer.topics[0].error == 3);
        }
    }
}

} // namespace
} // namespace fetch_decoding_tests
