// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/fetch/crc32c.hpp>
#include <kgroup/detail/fetch/wire_writer.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "compressors.hpp"

namespace kgroup::tests {

/// A record, as it is written and as it is to be read.
struct made_record {
    std::int64_t offset = 0;
    std::int64_t timestamp = 0;
    std::optional<std::string> key;
    std::optional<std::string> value;
    std::vector<std::pair<std::string, std::optional<std::string>>> headers;
    friend bool operator==(made_record const&, made_record const&) = default;
};

/// Writes length and checksum of the batch anew.
inline void repair(std::string& batch) {
    if (batch.size() < 21) {
        return;
    }
    std::string bytes;
    detail::fetch::wire_writer{bytes}.int32(static_cast<std::int32_t>(batch.size() - 12));
    batch.replace(8, 4, bytes);
    bytes.clear();
    detail::fetch::wire_writer{bytes}.int32(
        static_cast<std::int32_t>(detail::fetch::crc32c(std::string_view{batch}.substr(21))));
    batch.replace(17, 4, bytes);
}

/// A batch (magic 2) as a broker sends it. What is not set follows from the records.
struct made_batch {
    std::int64_t base_offset = 0;
    std::vector<made_record> records;
    detail::fetch::codec codec = detail::fetch::codec::none;
    std::int16_t more_attributes = 0;
    std::optional<std::int32_t> last_offset_delta;
    std::optional<std::int32_t> count;
    std::int64_t base_timestamp = 1'700'000'000'000;
    std::int64_t max_timestamp = 1'700'000'000'000;
    std::int64_t producer = -1;
    std::int32_t leader_epoch = 0;
    std::optional<std::string> payload; // instead of the records, compressed

    static constexpr std::int16_t log_append_time = 8;
    static constexpr std::int16_t transactional = 16;
    static constexpr std::int16_t control = 32;

    std::string written_records() const {
        using detail::fetch::wire_writer;
        std::string result;
        for (auto const& record : records) {
            std::string one;
            wire_writer out{one};
            auto const sized = [&](std::optional<std::string> const& bytes) {
                out.varint(bytes ? static_cast<std::int64_t>(bytes->size()) : -1);
                out.raw(bytes.value_or(""));
            };
            out.int8(0);
            out.varint(static_cast<std::int64_t>(static_cast<std::uint64_t>(record.timestamp) -
                                                 static_cast<std::uint64_t>(base_timestamp)));
            out.varint(record.offset - base_offset);
            sized(record.key);
            sized(record.value);
            out.varint(static_cast<std::int64_t>(record.headers.size()));
            for (auto const& [name, value] : record.headers) {
                sized(name);
                sized(value);
            }
            wire_writer{result}.varint(static_cast<std::int64_t>(one.size())).raw(one);
        }
        return result;
    }

    std::string bytes() const {
        auto const last = last_offset_delta.value_or(
            records.empty() ? 0 : static_cast<std::int32_t>(records.back().offset - base_offset));
        std::string result;
        detail::fetch::wire_writer out{result};
        out.int64(base_offset).int32(0).int32(leader_epoch).int8(2).int32(0);
        out.int16(static_cast<std::int16_t>(static_cast<int>(codec) | more_attributes));
        out.int32(last).int64(base_timestamp).int64(max_timestamp).int64(producer);
        out.int16(0).int32(-1);
        out.int32(count.value_or(static_cast<std::int32_t>(records.size())));
        out.raw(payload ? *payload : compressed(codec, written_records()));
        repair(result);
        return result;
    }
};

/// With values "0", "1", …, one offset behind the other.
inline made_batch plain_batch(std::int64_t base_offset, std::size_t count) {
    made_batch result;
    result.base_offset = base_offset;
    for (std::size_t i = 0; i != count; ++i) {
        made_record record;
        record.offset = base_offset + static_cast<std::int64_t>(i);
        record.timestamp = result.base_timestamp;
        record.value = std::to_string(record.offset);
        result.records.push_back(std::move(record));
    }
    return result;
}

/// The end of a transaction. Type 0: it is aborted; 1: it is committed.
inline made_batch marker_batch(std::int64_t offset, std::int64_t producer, std::int16_t type) {
    made_batch result;
    result.base_offset = offset;
    result.more_attributes = made_batch::transactional | made_batch::control;
    result.producer = producer;
    made_record record;
    record.offset = offset;
    record.timestamp = result.base_timestamp;
    record.key.emplace();
    detail::fetch::wire_writer{*record.key}.int16(0).int16(type);
    record.value.emplace();
    detail::fetch::wire_writer{*record.value}.int16(0).int32(3);
    result.records.push_back(std::move(record));
    return result;
}

} // namespace kgroup::tests
