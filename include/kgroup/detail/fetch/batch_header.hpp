// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/fetch/crc32c.hpp>
#include <kgroup/detail/fetch/wire_reader.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>

namespace kgroup::detail::fetch {

/// What is wrong with a place in a log.
enum class damage {
    none,
    length,         // no batch has this length
    incomplete,     // the first batch of an answer is not whole
    unknown_format, // a magic above 2
    offsets,        // offsets of a batch contradict each other, or those of the batch before it
    beyond_end,     // a batch behind the high watermark
    checksum,
    compression, // the records cannot be decompressed
    unknown_codec,
    too_large,  // decompressed, more than the limit
    no_memory,  // not a fault of the log: may succeed later
    record,     // a record's lengths contradict each other or the batch
    bytes_left, // behind the last record
    control,    // a control batch without a control record
    broker,     // the broker says so itself
};

constexpr std::string_view to_string(damage value) noexcept {
    switch (value) {
    case damage::none:
        return "none";
    case damage::length:
        return "impossible length of a batch";
    case damage::incomplete:
        return "incomplete batch";
    case damage::unknown_format:
        return "unknown format of a batch";
    case damage::offsets:
        return "contradictory offsets";
    case damage::beyond_end:
        return "batch behind the high watermark";
    case damage::checksum:
        return "wrong checksum";
    case damage::compression:
        return "malformed compressed records";
    case damage::unknown_codec:
        return "unknown codec";
    case damage::too_large:
        return "records are too large";
    case damage::no_memory:
        return "no memory to decompress";
    case damage::record:
        return "malformed record";
    case damage::bytes_left:
        return "bytes behind the last record";
    case damage::control:
        return "malformed control record";
    case damage::broker:
        return "the broker cannot read its log";
    }
    return "unknown";
}

/// The fixed part of a batch of records (magic 2).
struct batch_header {
    static constexpr std::size_t size = 61;
    static constexpr std::size_t length_end = 12;     // where what `length` counts begins
    static constexpr std::size_t checksum_begin = 21; // what the checksum covers

    std::int64_t base_offset = 0;
    std::int32_t length = 0;
    std::int32_t leader_epoch = -1;
    std::uint32_t checksum = 0;
    std::int16_t attributes = 0;
    std::int32_t last_offset_delta = 0;
    std::int64_t base_timestamp = 0;
    std::int64_t max_timestamp = 0;
    std::int64_t producer = -1;
    std::int32_t count = 0;

    std::int64_t last_offset() const noexcept { return base_offset + last_offset_delta; }
    std::int64_t next_offset() const noexcept { return last_offset() + 1; }
    /// The codec's number; 5 to 7 are none.
    int codec_number() const noexcept { return attributes & 7; }
    bool log_append_time() const noexcept { return attributes & 1 << 3; }
    bool transactional() const noexcept { return attributes & 1 << 4; }
    bool control() const noexcept { return attributes & 1 << 5; }
};

/// A batch in front of other bytes.
struct found_batch {
    enum class kind {
        whole,
        nothing,    // there are no bytes
        incomplete, // they end within it
        old_format, // magic 0 or 1: a message set
        damaged,
    };
    kind state = kind::nothing;
    damage wrong = damage::none;
    batch_header header;    // if whole
    std::string_view bytes; // all of it, if whole
    std::string_view records() const noexcept { return bytes.substr(batch_header::size); }
    bool checksum_fits() const noexcept {
        return crc32c(bytes.substr(batch_header::checksum_begin)) == header.checksum;
    }
};

/// Looks at the batch with which the bytes begin. The checksum is not checked, nor are the records:
/// see `record_reader`.
inline found_batch find_batch(std::string_view bytes) noexcept {
    using kind = found_batch::kind;
    found_batch result;
    if (bytes.empty()) {
        return result;
    }
    auto const damaged = [&](damage wrong) {
        result.state = kind::damaged;
        result.wrong = wrong;
        return result;
    };
    auto const incomplete = [&] {
        result.state = kind::incomplete;
        return result;
    };
    auto& header = result.header;
    wire_reader reader{bytes};
    header.base_offset = reader.int64();
    header.length = reader.int32();
    if (reader.failed()) {
        return incomplete();
    }
    constexpr std::int32_t smallest_message = 14; // of magic 0
    if (header.length < smallest_message) {
        return damaged(damage::length);
    }
    header.leader_epoch = reader.int32();
    auto const magic = reader.int8();
    if (reader.failed()) {
        return incomplete();
    }
    if (magic < 0 || magic > 2) {
        return damaged(damage::unknown_format);
    }
    if (magic != 2) {
        result.state = kind::old_format;
        return result;
    }
    constexpr auto smallest =
        static_cast<std::int32_t>(batch_header::size - batch_header::length_end);
    if (header.length < smallest) {
        return damaged(damage::length);
    }
    auto const whole = batch_header::length_end + static_cast<std::size_t>(header.length);
    if (whole > bytes.size()) {
        return incomplete();
    }
    result.bytes = bytes.substr(0, whole);
    header.checksum = reader.uint32();
    header.attributes = reader.int16();
    header.last_offset_delta = reader.int32();
    header.base_timestamp = reader.int64();
    header.max_timestamp = reader.int64();
    header.producer = reader.int64();
    reader.int16(); // the producer's epoch
    reader.int32(); // its sequence
    header.count = reader.int32();
    if (header.base_offset < 0 || header.last_offset_delta < 0 ||
        header.base_offset >
            (std::numeric_limits<std::int64_t>::max)() - 1 - header.last_offset_delta ||
        header.count < 0 || header.count - 1 > header.last_offset_delta) {
        return damaged(damage::offsets);
    }
    result.state = kind::whole;
    return result;
}

} // namespace kgroup::detail::fetch
