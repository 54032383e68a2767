// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/fetch/aborted_transactions.hpp>
#include <kgroup/detail/fetch/codecs.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "made_batch.hpp"

namespace kgroup::tests {

/// Reads what an answer holds of a partition, slowly: one byte after the other, everything copied,
/// nothing shared with the decoder that it is compared with but the compression libraries, which it
/// uses in another way (by streams, a few bytes at a time, or into one place that is large enough).
class slow_decoder {
public:
    enum class ending { end, old_format, damaged };
    struct result {
        std::vector<made_record> records;
        ending ended = ending::end;
        std::int64_t position = 0;
    };

    bool checks_checksums = true;
    bool reads_committed = true;
    std::int64_t high_watermark = -1;
    std::vector<detail::fetch::aborted_transaction> aborted;
    std::size_t limit = 1 << 20;

    result decode(std::string const& bytes, std::int64_t position) const {
        result all;
        all.position = position;
        try {
            decode_all(bytes, all);
        } catch (stop const& reason) {
            all.ended = reason.why;
        }
        return all;
    }

private:
    struct stop {
        ending why;
    };
    [[noreturn]] static void damaged() { throw stop{ending::damaged}; }

    /// Reads bytes one by one.
    struct input {
        std::string bytes;
        std::size_t place = 0;

        unsigned byte() {
            if (place >= bytes.size()) {
                damaged();
            }
            return static_cast<unsigned char>(bytes.at(place++));
        }
        std::int64_t big_endian(int count) {
            std::uint64_t value = 0;
            for (int i = 0; i < count; ++i) {
                value = value * 256 + byte();
            }
            auto const unused = 64 - 8 * count;
            return static_cast<std::int64_t>(value << unused) >> unused;
        }
        std::int64_t zigzag(int bits) {
            std::uint64_t value = 0;
            for (int shift = 0;; shift += 7) {
                auto const next = byte();
                auto const used = bits - shift < 7 ? bits - shift : 7;
                if (used <= 0 || (next & 127) >> used != 0) {
                    damaged(); // more bits than there are
                }
                value += std::uint64_t{next & 127} << shift;
                if (next < 128) {
                    break;
                }
                if (shift + 7 >= bits) {
                    damaged();
                }
            }
            return value % 2 == 0 ? static_cast<std::int64_t>(value / 2)
                                  : -static_cast<std::int64_t>(value / 2) - 1;
        }
        std::string text(std::int64_t size) {
            if (size < 0 || static_cast<std::uint64_t>(size) > bytes.size() - place) {
                damaged();
            }
            std::string result;
            for (; size > 0; --size) {
                result += static_cast<char>(byte());
            }
            return result;
        }
        std::optional<std::string> nullable_text() {
            auto const size = zigzag(32);
            if (size == -1) {
                return std::nullopt;
            }
            return text(size);
        }
        bool at_end() const { return place == bytes.size(); }
    };

    void decode_all(std::string const& bytes, result& all) const {
        std::size_t place = 0;
        std::optional<std::int64_t> before; // where the batch before ended
        std::vector<detail::fetch::aborted_transaction> open = aborted;
        while (place < bytes.size()) {
            auto const left = bytes.substr(place);
            if (left.size() < 12) {
                before ? throw stop{ending::end} : damaged();
            }
            input head{left};
            auto const base = head.big_endian(8);
            auto const length = head.big_endian(4);
            if (length < 14) {
                damaged();
            }
            if (left.size() < 17) {
                before ? throw stop{ending::end} : damaged();
            }
            head.big_endian(4); // leader epoch
            auto const magic = head.big_endian(1);
            if (magic < 0 || magic > 2) {
                damaged();
            }
            if (magic < 2) {
                throw stop{ending::old_format};
            }
            if (length < 49) {
                damaged();
            }
            if (left.size() - 12 < static_cast<std::size_t>(length)) {
                before ? throw stop{ending::end} : damaged();
            }
            input batch{left.substr(0, static_cast<std::size_t>(length) + 12), head.place};
            place += batch.bytes.size();
            auto const checksum = static_cast<std::uint32_t>(batch.big_endian(4));
            auto const attributes = batch.big_endian(2) & 0xffff; // bits, not a number
            auto const last_delta = batch.big_endian(4);
            auto const base_time = batch.big_endian(8);
            auto const max_time = batch.big_endian(8);
            auto const producer = batch.big_endian(8);
            batch.big_endian(2);
            batch.big_endian(4);
            auto const count = batch.big_endian(4);
            if (base < 0 || last_delta < 0 || count < 0 || count > last_delta + 1 ||
                base > (std::numeric_limits<std::int64_t>::max)() - 1 - last_delta) {
                damaged();
            }
            if (before && base < *before) {
                damaged();
            }
            if (high_watermark >= 0 && base >= high_watermark) {
                damaged();
            }
            before = base + last_delta + 1;
            if (checks_checksums && checksum_of(batch.bytes.substr(21)) != checksum) {
                damaged();
            }
            if (*before <= all.position) {
                continue;
            }
            bool const control = attributes / 32 % 2 != 0;
            bool const transactional = attributes / 16 % 2 != 0;
            if (!control && reads_committed && transactional) {
                bool is_aborted = false;
                for (auto const& each : open) {
                    is_aborted |=
                        each.producer == producer && each.first_offset <= base + last_delta;
                }
                if (is_aborted) {
                    all.position = *before;
                    continue;
                }
            }
            auto payload = batch.text(static_cast<std::int64_t>(batch.bytes.size() - 61));
            auto const codec = attributes & 7;
            if (codec != 0 && !(count == 0 && payload.empty())) {
                payload = decompressed(static_cast<int>(codec), payload);
            }
            input records{payload};
            std::int64_t delta_before = -1;
            for (std::int64_t number = 0; number < count; ++number) {
                auto record = read_record(records, attributes, base, base_time, max_time);
                auto const delta = record.offset - base;
                if (delta <= delta_before || delta > last_delta) {
                    damaged();
                }
                delta_before = delta;
                if (control) {
                    if (!record.key || record.key->size() < 4) {
                        damaged();
                    }
                    input key{*record.key};
                    if (key.big_endian(2) < 0) {
                        damaged();
                    }
                    if (key.big_endian(2) == 0) {
                        std::erase_if(open, [&, end = base + last_delta](auto const& each) {
                            return each.producer == producer && each.first_offset <= end;
                        });
                    }
                    break; // one is all that counts
                }
                if (record.offset >= all.position) {
                    all.position = record.offset + 1;
                    all.records.push_back(std::move(record));
                }
            }
            if (!records.at_end() && !(control && count > 0)) {
                damaged();
            }
            all.position = *before;
        }
    }

    static made_record read_record(input& from, std::int64_t attributes, std::int64_t base,
                                   std::int64_t base_time, std::int64_t max_time) {
        input record{from.text(from.zigzag(32))};
        made_record result;
        record.byte();
        auto const time_delta = record.zigzag(64);
        result.timestamp = attributes / 8 % 2 != 0
                               ? max_time
                               : static_cast<std::int64_t>(static_cast<std::uint64_t>(base_time) +
                                                           static_cast<std::uint64_t>(time_delta));
        result.offset = base + record.zigzag(32);
        result.key = record.nullable_text();
        result.value = record.nullable_text();
        auto const headers = record.zigzag(32);
        if (headers < 0) {
            damaged();
        }
        for (std::int64_t number = 0; number < headers; ++number) {
            auto name = record.nullable_text();
            if (!name) {
                damaged();
            }
            auto value = record.nullable_text();
            result.headers.emplace_back(std::move(*name), std::move(value));
        }
        if (!record.at_end()) {
            damaged();
        }
        return result;
    }

    static std::uint32_t checksum_of(std::string const& bytes) {
        std::uint32_t crc = 0xffffffff;
        for (auto const byte : bytes) {
            crc ^= static_cast<unsigned char>(byte);
            for (int bit = 0; bit < 8; ++bit) {
                crc = crc % 2 != 0 ? crc / 2 ^ 0x82f63b78 : crc / 2;
            }
        }
        return ~crc;
    }

    std::string decompressed(int codec, std::string const& from) const {
        std::string into;
        switch (codec) {
        case 1:
            into = gunzip(from);
            break;
        case 2:
            into = unsnap(from);
            break;
        case 3:
            into = from_lz4(from);
            break;
        case 4:
            into = from_zstd(from);
            break;
        default:
            damaged();
        }
        if (into.size() > limit) {
            damaged();
        }
        return into;
    }

    std::string gunzip(std::string const& from) const {
        std::string into;
        std::size_t place = 0;
        do {
            z_stream stream{};
            inflateInit2(&stream, 16 + MAX_WBITS);
            int status = Z_OK;
            while (status == Z_OK && into.size() <= limit) {
                char piece[7];
                stream.next_out = reinterpret_cast<Bytef*>(piece);
                stream.avail_out = sizeof piece;
                stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(from.data() + place));
                stream.avail_in = static_cast<uInt>(from.size() - place);
                status = inflate(&stream, Z_NO_FLUSH);
                place = from.size() - stream.avail_in;
                into.append(piece, sizeof piece - stream.avail_out);
            }
            inflateEnd(&stream);
            if (status != Z_STREAM_END) {
                damaged();
            }
        } while (from.size() - place >= 2 && from.substr(place, 2) == "\x1f\x8b");
        return into;
    }

    std::string unsnap(std::string const& from) const {
        if (from.substr(0, 8) != std::string{"\x82SNAPPY\0", 8}) {
            return unsnap_block(from);
        }
        std::string into;
        input in{from};
        while (!in.at_end() && into.size() <= limit) {
            auto const size = in.big_endian(4);
            if (size == static_cast<std::int32_t>(0x82534e41)) {
                in.text(12);
            } else {
                into += unsnap_block(in.text(size));
            }
        }
        return into;
    }
    std::string unsnap_block(std::string const& from) const {
        std::size_t size = 0;
        if (snappy_uncompressed_length(from.data(), from.size(), &size) != SNAPPY_OK ||
            size > limit) {
            damaged();
        }
        std::string into(size, '\0');
        if (snappy_uncompress(from.data(), from.size(), into.data(), &size) != SNAPPY_OK) {
            damaged();
        }
        return into;
    }

    std::string from_lz4(std::string const& from) const {
        LZ4F_dctx* context = nullptr;
        LZ4F_createDecompressionContext(&context, LZ4F_VERSION);
        std::string into;
        std::size_t place = 0;
        std::size_t status = 1;
        while (into.size() <= limit) {
            char piece[13];
            auto written = sizeof piece;
            auto read = (std::min)(std::size_t{11}, from.size() - place);
            status = LZ4F_decompress(context, piece, &written, from.data() + place, &read, nullptr);
            if (LZ4F_isError(status)) {
                break;
            }
            into.append(piece, written);
            place += read;
            if (place == from.size() && (status == 0 || (read == 0 && written == 0))) {
                break;
            }
        }
        LZ4F_freeDecompressionContext(context);
        if (status != 0) {
            damaged();
        }
        return into;
    }

    std::string from_zstd(std::string const& from) const {
        std::string into(limit + 1, '\0');
        auto const size = ZSTD_decompress(into.data(), into.size(), from.data(), from.size());
        if (ZSTD_isError(size)) {
            damaged();
        }
        return into.substr(0, size);
    }
};

} // namespace kgroup::tests
