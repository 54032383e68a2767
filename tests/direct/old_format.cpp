// SPDX-License-Identifier: MIT

// A claim in whose log records of the format before Kafka 0.11 stand (magic 1), which kgroup does
// not read. No broker of today writes them, nor does an embedded cluster take them: a proxy puts
// them into its answers.

#include <kgroup/config.hpp>
#include <kgroup/event.hpp>
#include <kgroup/testing/embedded_cluster.hpp>

#include <asio/awaitable.hpp>
#include <asio/buffer.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/read.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/write.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "kafka.hpp"
#include "member.hpp"
#include "raw_producer.hpp"

namespace old_format_tests {
namespace {

using namespace kgroup::tests;
using asio::ip::tcp;
using kgroup::event_kind;

std::uint32_t crc32(std::string_view bytes) {
    auto crc = ~std::uint32_t{0};
    for (auto const one : bytes) {
        crc ^= static_cast<std::uint8_t>(one);
        for (int bit = 0; bit != 8; ++bit) {
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
        }
    }
    return ~crc;
}

/// A record of magic 1, which is a batch of its own, without a key.
std::string old_record(std::int64_t offset, std::string_view value) {
    wire covered; // by the checksum
    covered.number(std::int8_t{1}).number(std::int8_t{0}).number(std::int64_t{1});
    covered.number(std::int32_t{-1}).number(static_cast<std::int32_t>(value.size())).raw(value);
    wire whole;
    whole.number(offset).number(static_cast<std::int32_t>(covered.bytes().size() + 4));
    whole.number(crc32(covered.bytes())).raw(covered.bytes());
    return whole.bytes();
}

/// So many old records from this offset on, in exactly so many bytes.
std::string old_records(std::int64_t first, std::size_t count, std::size_t size) {
    auto const around = old_record(0, "").size();
    auto const value = size / count - around;
    std::string result;
    for (std::size_t i = 0; i != count; ++i) {
        auto const last = i == count - 1;
        result += old_record(first + static_cast<std::int64_t>(i),
                             std::string(last ? size - result.size() - around : value, 'o'));
    }
    return result;
}

/// Stands between an embedded cluster of one broker and its clients, and changes answers, whose
/// length stays.
class changing_proxy {
public:
    /// Wherever `mark` stands, `written` is put over what begins `before` bytes in front of it.
    struct change {
        std::string mark;
        std::size_t before;
        std::string written;
    };

    changing_proxy(std::string const& broker, change other)
        : broker_(asio::ip::address_v4::loopback(),
                  static_cast<std::uint16_t>(std::stoi(broker.substr(broker.rfind(':') + 1)))),
          changes_{{address(broker_.port()), 0, address(port())}, std::move(other)} {
        asio::co_spawn(context_, listen(), asio::detached);
        runs_ = std::thread{[this] { context_.run(); }};
    }
    ~changing_proxy() {
        context_.stop();
        runs_.join();
    }
    changing_proxy(changing_proxy const&) = delete;
    changing_proxy& operator=(changing_proxy const&) = delete;

    std::string brokers() const { return "127.0.0.1:" + std::to_string(port()); }

private:
    std::uint16_t port() const { return acceptor_.local_endpoint().port(); }
    static std::string address(std::uint16_t port) {
        return "127.0.0.1" + wire{}.number(std::int32_t{port}).bytes();
    }

    asio::awaitable<void> listen() {
        for (;;) {
            auto client = std::make_shared<tcp::socket>(context_);
            auto broker = std::make_shared<tcp::socket>(context_);
            co_await acceptor_.async_accept(*client, asio::use_awaitable);
            co_await broker->async_connect(broker_, asio::use_awaitable);
            asio::co_spawn(context_, ask(client, broker), asio::detached);
            asio::co_spawn(context_, answer(broker, client), asio::detached);
        }
    }
    static asio::awaitable<void> ask(std::shared_ptr<tcp::socket> from,
                                     std::shared_ptr<tcp::socket> to) {
        try {
            for (std::vector<char> bytes(10'000);;) {
                auto const size =
                    co_await from->async_read_some(asio::buffer(bytes), asio::use_awaitable);
                co_await asio::async_write(*to, asio::buffer(bytes.data(), size),
                                           asio::use_awaitable);
            }
        } catch (std::system_error const&) { // one of them closed it
        }
        close(*from, *to);
    }
    asio::awaitable<void> answer(std::shared_ptr<tcp::socket> from,
                                 std::shared_ptr<tcp::socket> to) {
        try {
            for (std::string frame;;) {
                frame.resize(4);
                co_await asio::async_read(*from, asio::buffer(frame), asio::use_awaitable);
                std::size_t size = 0;
                for (auto const one : frame) {
                    size = size << 8 | static_cast<unsigned char>(one);
                }
                frame.resize(4 + size);
                co_await asio::async_read(*from, asio::buffer(frame.data() + 4, size),
                                          asio::use_awaitable);
                for (auto const& [mark, before, written] : changes_) {
                    for (auto at = frame.find(mark); at != std::string::npos;
                         at = frame.find(mark, at + mark.size())) {
                        frame.replace(at - before, written.size(), written);
                    }
                }
                co_await asio::async_write(*to, asio::buffer(frame), asio::use_awaitable);
            }
        } catch (std::system_error const&) { // one of them closed it
        }
        close(*from, *to);
    }
    static void close(tcp::socket& one, tcp::socket& other) {
        std::error_code ignored;
        one.close(ignored);
        other.close(ignored);
    }

    asio::io_context context_;
    tcp::endpoint broker_;
    tcp::acceptor acceptor_{context_, {asio::ip::address_v4::loopback(), 0}};
    std::vector<change> const changes_;
    std::thread runs_;
};

TEST_CASE("direct: behind records of an old format librdkafka reads on, and no record is lost or "
          "comes twice") {
    constexpr std::int32_t partitions = 6;
    constexpr std::int32_t old = 5;
    constexpr std::size_t batch = 20;
    constexpr std::int64_t before = 1000;
    constexpr std::int64_t after = 500;
    constexpr auto all = static_cast<std::size_t>(partitions) * (before + batch + after);
    kgroup::testing::embedded_cluster cluster;
    cluster.create_topic("orders", partitions);
    auto const produce = [&](std::int32_t partition, std::int64_t count) {
        std::vector<kafka_record> const values(batch, kafka_record{.value = "new"});
        for (; count > 0; count -= static_cast<std::int64_t>(batch)) {
            cluster.produce("orders", partition, values);
        }
    };
    // What the cluster keeps there has the place, the offsets and the length of the old records.
    raw_batch const stands_for{.values = std::vector<std::string>(batch, std::string(80, 's'))};
    auto const kept = stands_for.bytes();
    constexpr std::size_t magic_at = 16; // what is before it is the broker's to write
    changing_proxy const proxy{
        cluster.brokers(),
        {kept.substr(magic_at), magic_at, old_records(before, batch, kept.size())}};
    for (std::int32_t partition = 0; partition != partitions; ++partition) {
        produce(partition, before);
        if (partition == old) {
            raw_producer{cluster.brokers()}.produce("orders", old, {stands_for});
        } else {
            produce(partition, batch);
        }
    }

    received records;
    kgroup::config given{.brokers = proxy.brokers(),
                         .group_id = unique("group"),
                         .topics = {"orders"},
                         .initial_offset = kgroup::offset_reset::earliest,
                         .properties = {{"session.timeout.ms", "4000"},
                                        {"heartbeat.interval.ms", "500"},
                                        {"check.crcs", "true"}}};
    member one{given, receive_into(records)};
    one.may_be_handed_over();
    REQUIRE(eventually([&] { return one.count(event_kind::handed_over) == 1; }));
    for (std::int32_t partition = 0; partition != partitions; ++partition) {
        produce(partition, after);
    }
    REQUIRE_MESSAGE(eventually([&] { return records.count() >= all; }), one.said());
    std::vector<std::int64_t> next(partitions, 0);
    for (auto const& record : records.all()) {
        auto& expected = next[static_cast<std::size_t>(record.partition)];
        CHECK(record.offset == expected++);
        bool const is_old = record.partition == old && record.offset >= before &&
                            record.offset < before + static_cast<std::int64_t>(batch);
        CHECK(record.value.value_or("").front() == (is_old ? 'o' : 'n'));
    }
    CHECK(one.count(event_kind::handed_over) == 1);
    auto const told = one.last(event_kind::handed_over);
    CHECK(told->where == kgroup::topic_partition{"orders", old});
    CHECK_MESSAGE(told->text.find("format") != std::string::npos, told->text);
    auto const way = one.stats();
    CHECK(way.records_direct == all - batch - after); // it was in the middle
    CHECK(way.records_handed_over == batch + after);
    one.stop();
    REQUIRE(one.ends_within(20s));
    for (std::int32_t partition = 0; partition != partitions; ++partition) {
        CHECK(cluster.committed(given.group_id, "orders", partition) ==
              before + static_cast<std::int64_t>(batch) + after);
    }
}

} // namespace
} // namespace old_format_tests
