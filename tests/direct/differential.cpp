// SPDX-License-Identifier: MIT

// The same records, read by a direct group and by librdkafka: equal to the byte.

#include <kgroup/detail/rdkafka/handle.hpp>
#include <kgroup/message.hpp>

#include <doctest/doctest.h>
#include <librdkafka/rdkafka.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "kafka.hpp"
#include "member.hpp"
#include "transactional_producer.hpp"

namespace differential_tests {
namespace {

using namespace kgroup::tests;
using bytes = std::optional<std::string>;

/// What is compared.
struct row {
    std::int64_t offset = 0;
    std::int64_t timestamp = -1; // in milliseconds; -1: none
    bytes key;
    bytes value;
    std::vector<std::pair<std::string, bytes>> headers;
    friend bool operator==(row const&, row const&) = default;
};
using rows = std::vector<row>;

using rdkafka_client_handle =
    std::unique_ptr<rd_kafka_t, kgroup::detail::rdkafka_deleter<rd_kafka_destroy>>;

rdkafka_client_handle make_client(rd_kafka_type_t type,
                                  std::map<std::string, std::string> const& settings) {
    kgroup::detail::rdkafka_conf conf{rd_kafka_conf_new()};
    for (auto const& [name, value] : settings) {
        REQUIRE(rd_kafka_conf_set(conf.get(), name.c_str(), value.c_str(), nullptr, 0) ==
                RD_KAFKA_CONF_OK);
    }
    rdkafka_client_handle made{rd_kafka_new(type, conf.get(), nullptr, 0)};
    REQUIRE(made);
    static_cast<void>(conf.release());
    return made;
}

bytes to_bytes(void const* data, std::size_t size) {
    return data ? bytes{std::in_place, static_cast<char const*>(data), size} : std::nullopt;
}

row row_of(rd_kafka_message_t const& one) {
    row made{one.offset,
             rd_kafka_message_timestamp(&one, nullptr),
             to_bytes(one.key, one.key_len),
             to_bytes(one.payload, one.len),
             {}};
    rd_kafka_headers_t* headers = nullptr;
    if (rd_kafka_message_headers(&one, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        char const* name = nullptr;
        void const* value = nullptr;
        std::size_t size = 0;
        for (std::size_t i = 0; rd_kafka_header_get_all(headers, i, &name, &value, &size) ==
                                RD_KAFKA_RESP_ERR_NO_ERROR;
             ++i) {
            made.headers.emplace_back(name, to_bytes(value, size));
        }
    }
    return made;
}
row row_of(kgroup::owned_message const& one) {
    row made{one.offset, -1, one.key, one.value, {}};
    if (one.timestamp) {
        made.timestamp =
            std::chrono::duration_cast<std::chrono::milliseconds>(one.timestamp->time_since_epoch())
                .count();
    }
    for (auto const& header : one.headers) {
        made.headers.emplace_back(header.name, header.value);
    }
    return made;
}

/// All of partition 0, up to its end.
rows read_by_librdkafka(kafka const& brokers, std::string const& topic) {
    auto const reader = make_client(RD_KAFKA_CONSUMER, {{"bootstrap.servers", brokers.brokers()},
                                                        {"group.id", unique("reader")},
                                                        {"enable.auto.commit", "false"},
                                                        {"enable.partition.eof", "true"}});
    rd_kafka_poll_set_consumer(reader.get());
    auto const all = kgroup::detail::make_partitions(1);
    rd_kafka_topic_partition_list_add(all.get(), topic.c_str(), 0)->offset =
        RD_KAFKA_OFFSET_BEGINNING;
    REQUIRE(rd_kafka_assign(reader.get(), all.get()) == RD_KAFKA_RESP_ERR_NO_ERROR);
    rows read;
    for (;;) {
        std::unique_ptr<rd_kafka_message_t,
                        kgroup::detail::rdkafka_deleter<rd_kafka_message_destroy>> const one{
            rd_kafka_consumer_poll(reader.get(), 30'000)};
        REQUIRE(one);
        if (one->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
            rd_kafka_consumer_close(reader.get());
            return read;
        }
        REQUIRE(one->err == RD_KAFKA_RESP_ERR_NO_ERROR);
        read.push_back(row_of(*one));
    }
}

/// The same by a direct group, up to this offset.
rows read_directly(kafka& brokers, std::string const& topic, std::int64_t last) {
    received records;
    member one{brokers.member_of_new_group(topic), receive_into(records)};
    CHECK_MESSAGE(eventually([&] {
                      auto const offsets = records.offsets(0);
                      return !offsets.empty() && offsets.back() >= last;
                  }),
                  one.said());
    rows read;
    for (auto const& each : records.all()) {
        read.push_back(row_of(each));
    }
    return read;
}

void check_equal(rows const& found, rows const& expected) {
    REQUIRE(found.size() == expected.size());
    for (std::size_t i = 0; i != found.size(); ++i) {
        CAPTURE(i);
        CAPTURE(expected[i].offset);
        REQUIRE(found[i].offset == expected[i].offset);
        REQUIRE(found[i].timestamp == expected[i].timestamp);
        REQUIRE((found[i] == expected[i]));
    }
}

void check_equal(kafka& brokers, std::string const& topic, std::size_t at_least) {
    CAPTURE(topic);
    auto const expected = read_by_librdkafka(brokers, topic);
    REQUIRE(expected.size() >= at_least);
    check_equal(read_directly(brokers, topic, expected.back().offset), expected);
}

/// Bytes that compress well, and others.
class shapes {
public:
    std::string text(std::size_t size) {
        bool const compresses = random_() % 2 == 0;
        std::string made(size, 'x');
        for (std::size_t i = 0; i < size; i += compresses ? 61 : 1) {
            made[i] = static_cast<char>(random_());
        }
        return made;
    }
    /// The sizes and the nulls that there are, so many times, and some that are large.
    std::vector<kafka_record> all(int times, std::size_t largest) {
        std::vector<kafka_record> made;
        auto const begin = std::chrono::system_clock::now();
        for (int i = 0; i != times; ++i) {
            for (bytes const& key : {bytes{}, bytes{""}, bytes{text(11)}}) {
                for (bytes const& value :
                     {bytes{}, bytes{""}, bytes{text(1)}, bytes{text(100)},
                      bytes{text(static_cast<std::size_t>(random_() % 5000))}}) {
                    kafka_record one{
                        key, value, {}, begin + std::chrono::milliseconds{random_() % 1000}};
                    for (auto count = random_() % 4; count != 0; --count) {
                        one.headers.push_back({text(random_() % 8), text(random_() % 20)});
                    }
                    made.push_back(std::move(one));
                }
            }
        }
        made.push_back({bytes{"null header"}, bytes{"v"}, {{"n", std::nullopt}, {"n", ""}}, begin});
        kafka_record many{bytes{"many headers"}, bytes{"v"}, {}, begin};
        for (int i = 0; i != 1000; ++i) {
            many.headers.push_back({"header " + std::to_string(i), text(10)});
        }
        made.push_back(std::move(many));
        for (auto size = largest; size > 50'000; size /= 3) {
            made.push_back({text(10), text(size), {}, begin});
        }
        return made;
    }

private:
    std::minstd_rand random_{4711};
};

/// By librdkafka's producer, with a codec, in batches of several records.
void write(kafka const& brokers, std::string const& topic, std::string const& codec,
           std::vector<kafka_record> const& records) {
    auto const writer = make_client(RD_KAFKA_PRODUCER, {{"bootstrap.servers", brokers.brokers()},
                                                        {"compression.codec", codec},
                                                        {"message.max.bytes", "12000000"},
                                                        {"linger.ms", "20"},
                                                        {"enable.idempotence", "true"}});
    for (auto const& each : records) {
        auto* const headers = rd_kafka_headers_new(each.headers.size());
        for (auto const& header : each.headers) {
            rd_kafka_header_add(headers, header.name.c_str(), -1,
                                header.value ? header.value->data() : nullptr,
                                header.value ? static_cast<ssize_t>(header.value->size()) : 0);
        }
        auto const milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(
                                      each.timestamp->time_since_epoch())
                                      .count();
        auto const data = [](bytes const& of) {
            return of ? const_cast<char*>(of->data()) : nullptr;
        };
        auto const size = [](bytes const& of) { return of ? of->size() : 0; };
        REQUIRE(rd_kafka_producev(writer.get(), RD_KAFKA_V_TOPIC(topic.c_str()),
                                  RD_KAFKA_V_PARTITION(0),
                                  RD_KAFKA_V_KEY(data(each.key), size(each.key)),
                                  RD_KAFKA_V_VALUE(data(each.value), size(each.value)),
                                  RD_KAFKA_V_TIMESTAMP(milliseconds), RD_KAFKA_V_HEADERS(headers),
                                  RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                                  RD_KAFKA_V_END) == RD_KAFKA_RESP_ERR_NO_ERROR);
    }
    REQUIRE(rd_kafka_flush(writer.get(), 60'000) == RD_KAFKA_RESP_ERR_NO_ERROR);
}

TEST_CASE("differential: what librdkafka and Java have compressed, in all shapes") {
    if (!kafka::is_there()) {
        return;
    }
    kafka brokers{kafka::kind::real};
    std::string by_librdkafka;
    std::string by_java = "producer"; // the broker's own codec, that it compresses again with
    SUBCASE("none") { by_librdkafka = "none"; }
    SUBCASE("gzip") { by_librdkafka = "gzip"; }
    SUBCASE("snappy") { by_librdkafka = "snappy"; }
    SUBCASE("lz4") { by_librdkafka = "lz4"; }
    SUBCASE("zstd") { by_librdkafka = "zstd"; }
    SUBCASE("gzip, Java's") { by_java = "gzip"; }
    SUBCASE("snappy, Java's") { by_java = "snappy"; }
    SUBCASE("lz4, Java's") { by_java = "lz4"; }
    SUBCASE("zstd, Java's") { by_java = "zstd"; }
    auto const large = by_librdkafka == "none" || by_java == "snappy" ? 10'000'000u : 400'000u;
    auto const topic = brokers.create_topic(
        unique("shapes"), 1, {{"compression.type", by_java}, {"max.message.bytes", "12000000"}});
    auto const records = shapes{}.all(20, large);
    write(brokers, topic, by_librdkafka.empty() ? "none" : by_librdkafka, records);
    check_equal(brokers, topic, records.size());
}

TEST_CASE("differential: what franz-go has compressed, in all shapes") {
    if (!kafka::is_there()) {
        return;
    }
    auto const sources = std::filesystem::absolute(__FILE__).parent_path().parent_path() / "kafka" /
                         "scenarios" / "interop";
    auto const there = "cd '" + sources.string() + "' && ";
    if (std::system((there + "go version >/dev/null 2>&1").c_str()) != 0) {
        skip("a writer in Go needs the Go of its go.mod");
        return;
    }
    kafka brokers{kafka::kind::real};
    for (std::string const codec : {"none", "gzip", "snappy", "lz4", "zstd"}) {
        CAPTURE(codec);
        auto const topic = brokers.create_topic();
        auto const write = there + "go run -buildvcs=false ./writer '" + brokers.brokers() + "' " +
                           topic + ' ' + codec + " >/dev/null";
        REQUIRE(std::system(write.c_str()) == 0);
        check_equal(brokers, topic, 300);
    }
}

/// Writes the same keys many times, some of them once and some with no value at last.
void write_often(kafka const& brokers, std::string const& topic, std::string const& codec) {
    shapes made;
    std::vector<kafka_record> records;
    auto const now = std::chrono::system_clock::now();
    for (int round = 0; round != 50; ++round) {
        for (int key = 0; key != 20; ++key) {
            bool const once = (round + key) % 17 == 0;
            auto name = "key " + std::to_string(key) + (once ? " " + std::to_string(round) : "");
            bytes value{made.text(300)};
            if (round == 49 && key % 4 == 0) {
                value.reset();
            }
            records.push_back({std::move(name), std::move(value), {{"h", "v"}}, now});
        }
    }
    write(brokers, topic, codec, records);
}

TEST_CASE("differential: compacted logs, with gaps") {
    if (!kafka::is_there()) {
        return;
    }
    kafka brokers{kafka::kind::real};
    std::map<std::string, std::string> topics; // by codec
    for (std::string const codec : {"none", "gzip", "snappy", "lz4", "zstd"}) {
        topics[codec] = brokers.create_topic(unique("compacted"), 1,
                                             {{"cleanup.policy", "compact"},
                                              {"segment.ms", "100"},
                                              {"min.cleanable.dirty.ratio", "0.001"}});
        write_often(brokers, topics[codec], codec);
    }
    for (auto const& [codec, topic] : topics) {
        CAPTURE(codec);
        REQUIRE(eventually(
            [&] {
                // A segment is closed, and may be compacted, when a record comes after its time.
                brokers.produce(
                    topic, 0, {{bytes{"last"}, bytes{"v"}, {}, std::chrono::system_clock::now()}});
                return read_by_librdkafka(brokers, topic).size() < 500;
            },
            100s));
        rows expected;
        rows found;
        do { // until it was not compacted any further meanwhile
            expected = read_by_librdkafka(brokers, topic);
            REQUIRE(expected.size() > 50);
            found = read_directly(brokers, topic, expected.back().offset);
        } while (read_by_librdkafka(brokers, topic) != expected);
        CHECK(expected.back().offset > static_cast<std::int64_t>(expected.size()) + 500); // gaps
        check_equal(found, expected);
    }
}

TEST_CASE("differential: the broker's timestamps") {
    if (!kafka::is_there()) {
        return;
    }
    kafka brokers{kafka::kind::real};
    auto const topic =
        brokers.create_topic(unique("appended"), 1, {{"message.timestamp.type", "LogAppendTime"}});
    auto const records = shapes{}.all(2, 0);
    write(brokers, topic, "lz4", records);
    check_equal(brokers, topic, records.size());
}

TEST_CASE("differential: transactions that were aborted, and a log that begins later") {
    if (!kafka::is_there()) {
        return;
    }
    kafka brokers{kafka::kind::real};
    auto const topic = brokers.create_topic();
    transactional_producer first{brokers.brokers()};
    transactional_producer second{brokers.brokers()};
    for (std::size_t round = 0; round != 10; ++round) {
        first.begin();
        second.begin();
        first.produce(topic, 0, 1 + round);
        second.produce(topic, 0, 3);
        first.produce(topic, 0, 2);
        round % 3 == 0 ? first.abort() : first.commit();
        brokers.produce_values(topic, 0, {"of no transaction"});
        round % 2 == 0 ? second.abort() : second.commit();
    }
    brokers.delete_records(topic, 0, 7);
    check_equal(brokers, topic, 50);
}

} // namespace
} // namespace differential_tests
