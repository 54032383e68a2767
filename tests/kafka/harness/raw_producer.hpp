// SPDX-License-Identifier: MIT

#pragma once

#include <asio/buffer.hpp>
#include <asio/connect.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/read.hpp>
#include <asio/write.hpp>

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace kgroup::tests {

/// Bytes as the protocol has them.
class wire {
public:
    template <std::integral T>
    wire& number(T value) {
        for (auto shift = static_cast<int>(sizeof value) * 8; shift != 0; shift -= 8) {
            bytes_ += static_cast<char>(static_cast<std::uint64_t>(value) >> (shift - 8) & 0xff);
        }
        return *this;
    }
    wire& zigzag(std::int64_t value) {
        auto left =
            static_cast<std::uint64_t>(value) << 1 ^ static_cast<std::uint64_t>(value >> 63);
        for (; left >= 0x80; left >>= 7) {
            bytes_ += static_cast<char>(left | 0x80);
        }
        bytes_ += static_cast<char>(left);
        return *this;
    }
    wire& text(std::string_view value) {
        number(static_cast<std::int16_t>(value.size()));
        return raw(value);
    }
    wire& raw(std::string_view value) {
        bytes_ += value;
        return *this;
    }
    std::string const& bytes() const noexcept { return bytes_; }

private:
    std::string bytes_;
};

/// A batch of records as it stands in a log, and what can be wrong with it.
struct raw_batch {
    std::vector<std::string> values;
    std::int64_t base_offset = 0; // the first batch's of a request is written by the broker
    std::int8_t magic = 2;
    std::int16_t codec = 0;        // 1 gzip, 2 snappy, 3 lz4, 4 zstd
    std::uint32_t crc_error = 0;   // xor
    std::int64_t length_error = 0; // added to what the first record says of its length

    std::string bytes() const {
        wire records;
        for (std::size_t i = 0; i != values.size(); ++i) {
            wire one;
            one.number(std::int8_t{0}).zigzag(0).zigzag(static_cast<std::int64_t>(i)).zigzag(-1);
            one.zigzag(static_cast<std::int64_t>(values[i].size())).raw(values[i]).zigzag(0);
            records
                .zigzag(static_cast<std::int64_t>(one.bytes().size()) + (i == 0 ? length_error : 0))
                .raw(one.bytes());
        }
        auto const count = static_cast<std::int32_t>(values.size());
        wire covered; // by the checksum. With a codec the records are left as they are, which is
                      // damage enough
        covered.number(codec).number(count - 1).number(std::int64_t{1}).number(std::int64_t{1});
        covered.number(std::int64_t{-1})
            .number(std::int16_t{-1})
            .number(std::int32_t{-1})
            .number(count)
            .raw(records.bytes());
        wire whole;
        whole.number(base_offset)
            .number(static_cast<std::int32_t>(covered.bytes().size() + 9))
            .number(std::int32_t{0})
            .number(magic);
        whole.number(crc32c(covered.bytes()) ^ crc_error).raw(covered.bytes());
        return whole.bytes();
    }

private:
    static std::uint32_t crc32c(std::string_view bytes) {
        auto crc = ~std::uint32_t{0};
        for (auto const character : bytes) {
            crc ^= static_cast<std::uint8_t>(character);
            for (int bit = 0; bit != 8; ++bit) {
                crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
            }
        }
        return ~crc;
    }
};

/// Writes batches into a partition of an embedded cluster as they are: it looks at the first of
/// them only, and takes the number of offsets from there.
class raw_producer {
public:
    explicit raw_producer(std::string const& broker) {
        auto const colon = broker.rfind(':');
        asio::ip::tcp::resolver resolver{context_};
        asio::connect(socket_, resolver.resolve(broker.substr(0, colon), broker.substr(colon + 1)));
    }

    void produce(std::string const& topic, std::int32_t partition,
                 std::vector<raw_batch> const& batches) {
        std::string records;
        for (auto const& batch : batches) {
            records += batch.bytes();
        }
        wire request;
        request.number(std::int16_t{0})
            .number(std::int16_t{3})
            .number(std::int32_t{1})
            .text("raw"); // Produce, version 3
        request.number(std::int16_t{-1}).number(std::int16_t{1}).number(std::int32_t{10000});
        request.number(std::int32_t{1}).text(topic).number(std::int32_t{1}).number(partition);
        request.number(static_cast<std::int32_t>(records.size())).raw(records);
        wire framed;
        framed.number(static_cast<std::int32_t>(request.bytes().size())).raw(request.bytes());
        asio::write(socket_, asio::buffer(framed.bytes()));
        std::array<unsigned char, 4> size{};
        asio::read(socket_, asio::buffer(size));
        std::string answer(static_cast<std::size_t>(size[0]) << 24 |
                               static_cast<std::size_t>(size[1]) << 16 |
                               static_cast<std::size_t>(size[2]) << 8 | size[3],
                           '\0');
        asio::read(socket_, asio::buffer(answer));
        // correlation id, topics, name, partitions, partition
        auto const error = answer.substr(4 + 4 + 2 + topic.size() + 4 + 4, 2);
        if (error != std::string(2, '\0')) {
            throw std::runtime_error{"the broker refused the batches: " +
                                     std::to_string(static_cast<int>(error[1]))};
        }
    }

private:
    asio::io_context context_;
    asio::ip::tcp::socket socket_{context_};
};

} // namespace kgroup::tests
