// SPDX-License-Identifier: MIT

#include <kgroup/detail/fetch/api_versions.hpp>
#include <kgroup/detail/fetch/batch_walk.hpp>
#include <kgroup/detail/fetch/fetch_message.hpp>
#include <kgroup/detail/fetch/leader_epoch_message.hpp>
#include <kgroup/detail/fetch/list_offsets_message.hpp>
#include <kgroup/detail/fetch/metadata_message.hpp>
#include <kgroup/detail/fetch/partition_reader.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "golden.hpp"
#include "made_batch.hpp"
#include "slow_decoder.hpp"

// Random answers, whole and damaged, through the decoder and through one that is slow and obvious.
// KGROUP_TEST_SEED: where to begin; KGROUP_TEST_SECONDS: for how long. A failure names its
// seed.

namespace fetch_random_answers_tests {
namespace {

using namespace kgroup::detail::fetch;
using namespace kgroup::tests;

std::uint64_t setting(char const* name, std::uint64_t otherwise) {
    auto const* const value = std::getenv(name);
    return value ? std::strtoull(value, nullptr, 10) : otherwise;
}

class choice {
public:
    explicit choice(std::uint64_t seed) : random_(seed) {}
    /// Below `limit`.
    std::size_t below(std::size_t limit) { return static_cast<std::size_t>(random_() % limit); }
    bool one_in(std::size_t count) { return below(count) == 0; }
    char byte() { return static_cast<char>(random_()); }
    std::uint64_t word() { return random_(); }
    std::string bytes(std::size_t size) {
        std::string result;
        auto const letters = below(3) == 0 ? 256u : 4u;
        for (; size != 0; --size) {
            result += static_cast<char>(random_() % letters + (letters == 4 ? 'a' : 0));
        }
        return result;
    }

private:
    std::mt19937_64 random_;
};

struct answer {
    std::string bytes;
    std::vector<std::size_t> begins; // of the batches
    std::int64_t position = 0;
    std::int64_t high_watermark = -1;
    std::vector<aborted_transaction> aborted;
};

/// Bends bytes of any meaning.
void bend(choice& any, std::string& bytes) {
    if (bytes.empty()) {
        return;
    }
    for (auto times = 1 + any.below(3); times != 0 && !bytes.empty(); --times) {
        auto const place = any.below(bytes.size());
        switch (any.below(6)) {
        case 0:
            bytes[place] = any.byte();
            break;
        case 1:
            bytes[place] = static_cast<char>(bytes[place] ^ 1 << any.below(8));
            break;
        case 2:
            bytes.erase(place, 1 + any.below(8));
            break;
        case 3:
            bytes.insert(place, any.bytes(1 + any.below(8)));
            break;
        case 4: { // numbers that are likely to break something
            static constexpr unsigned char values[] = {0, 1, 0x7f, 0x80, 0xff, 0xfe};
            for (auto i = place; i != (std::min)(place + 4, bytes.size()); ++i) {
                bytes[i] = static_cast<char>(values[any.below(std::size(values))]);
            }
            break;
        }
        default:
            bytes.resize(place);
        }
    }
}

/// One of the ways in which somebody writes the codec.
std::string compressed_somehow(choice& any, codec how, std::string_view bytes) {
    auto const cut = any.below(bytes.size() + 1);
    auto const first = bytes.substr(0, cut);
    auto const rest = bytes.substr(cut);
    auto const lz4 = [&](std::string_view part) {
        return lz4_frame(part, {.linked = any.one_in(2),
                                .content_size = any.one_in(2),
                                .content_checksum = any.one_in(2),
                                .block_checksum = any.one_in(2),
                                .large_blocks = any.one_in(2)});
    };
    auto const zstd = [&](std::string_view part) {
        return any.one_in(2) ? zstd_block(part) : zstd_stream(part);
    };
    bool const in_parts = any.one_in(3);
    switch (how) {
    case codec::gzip:
        return in_parts ? gzip(first) + gzip(rest) : gzip(bytes);
    case codec::snappy:
        return in_parts ? snappy_chunks(bytes, 1 + cut) : snappy_raw(bytes);
    case codec::lz4:
        return in_parts ? lz4(first) + lz4(rest) : lz4(bytes);
    case codec::zstd: {
        auto whole = zstd(in_parts ? first : bytes);
        if (any.one_in(4)) { // a frame that is skipped
            whole += std::string{"\x50\x2a\x4d\x18\x03\0\0\0any", 11};
        }
        return in_parts ? whole + zstd(rest) : whole;
    }
    default:
        return std::string{bytes};
    }
}

made_batch random_batch(choice& any, std::int64_t base) {
    made_batch batch;
    batch.base_offset = base;
    batch.codec = static_cast<codec>(any.one_in(30) ? 5 + any.below(3) : any.below(5));
    batch.leader_epoch = static_cast<std::int32_t>(any.below(4));
    batch.base_timestamp =
        any.one_in(8) ? static_cast<std::int64_t>(any.word()) : 1'700'000'000'000;
    batch.max_timestamp = any.one_in(8) ? static_cast<std::int64_t>(any.word()) : 1'700'000'000'005;
    if (any.one_in(4)) {
        batch.more_attributes |= made_batch::log_append_time;
    }
    if (any.one_in(3)) {
        batch.more_attributes |= made_batch::transactional;
        batch.producer = static_cast<std::int64_t>(any.below(3));
    }
    auto offset = base;
    for (auto count = any.one_in(10) ? 0 : any.below(6); count != 0; --count) {
        made_record record;
        offset += any.one_in(4) ? static_cast<std::int64_t>(any.below(5)) : 0;
        record.offset = offset++;
        record.timestamp =
            any.one_in(8) ? static_cast<std::int64_t>(any.word())
                          : batch.base_timestamp - 5 + static_cast<std::int64_t>(any.below(10));
        if (!any.one_in(3)) {
            record.key = any.bytes(any.below(10));
        }
        if (!any.one_in(5)) {
            record.value = any.bytes(any.one_in(20) ? any.below(20'000) : any.below(200));
        }
        for (auto headers = any.one_in(3) ? any.below(4) : 0; headers != 0; --headers) {
            record.headers.emplace_back(any.bytes(any.below(5)), any.one_in(3)
                                                                     ? std::optional<std::string>{}
                                                                     : any.bytes(any.below(9)));
        }
        batch.records.push_back(std::move(record));
    }
    auto const last = (std::max)(offset - 1 - base, std::int64_t{0});
    batch.last_offset_delta = static_cast<std::int32_t>(
        last + (any.one_in(4) ? static_cast<std::int64_t>(any.below(4)) : 0));
    batch.payload = compressed_somehow(any, batch.codec, batch.written_records());
    return batch;
}

/// Damages one thing of a batch, and makes length and checksum right again, but for now and then.
std::string damaged(choice& any, made_batch batch) {
    switch (any.below(5)) {
    case 0:
        batch.count = static_cast<std::int32_t>(batch.records.size() + any.below(3)) - 1;
        break;
    case 1:
        batch.last_offset_delta = static_cast<std::int32_t>(any.below(6)) - 1;
        break;
    case 2: { // what stands inside of the compression
        auto records = batch.written_records();
        bend(any, records);
        batch.payload = compressed_somehow(any, batch.codec, records);
        break;
    }
    case 3: { // the compression
        auto payload = compressed_somehow(any, batch.codec, batch.written_records());
        bend(any, payload);
        batch.payload = std::move(payload);
        break;
    }
    default: {
        auto bytes = batch.bytes();
        bend(any, bytes);
        if (!any.one_in(4)) {
            repair(bytes);
        }
        return bytes;
    }
    }
    return batch.bytes();
}

answer random_answer(choice& any) {
    answer made;
    made.position = static_cast<std::int64_t>(any.below(12));
    std::int64_t base = static_cast<std::int64_t>(any.below(10));
    auto const damage_one_in = any.one_in(2) ? 4u : 1000u;
    for (auto count = any.below(8); count != 0; --count) {
        made.begins.push_back(made.bytes.size());
        if (any.one_in(6)) {
            auto marker = marker_batch(base, static_cast<std::int64_t>(any.below(3)),
                                       static_cast<std::int16_t>(any.below(3)));
            if (any.one_in(10)) { // compacted away
                marker.records.clear();
            } else if (any.one_in(20)) { // of a version that there is not
                marker.records.front().key->replace(0, 2, "\xff\xff");
            }
            made.bytes += any.one_in(damage_one_in) ? damaged(any, marker) : marker.bytes();
            ++base;
            continue;
        }
        auto const batch = random_batch(any, base);
        made.bytes += any.one_in(damage_one_in) ? damaged(any, batch) : batch.bytes();
        base += *batch.last_offset_delta + 1;
        base += any.one_in(4) ? static_cast<std::int64_t>(any.below(4)) : 0;
    }
    if (any.one_in(5)) {
        made.high_watermark = static_cast<std::int64_t>(any.below(40));
    }
    if (any.one_in(6)) {
        made.bytes.resize(any.below(made.bytes.size() + 1));
    }
    if (any.one_in(12)) {
        bend(any, made.bytes);
    }
    for (auto count = any.below(4); count != 0; --count) {
        made.aborted.push_back(
            {static_cast<std::int64_t>(any.below(3)), static_cast<std::int64_t>(any.below(30))});
    }
    return made;
}

slow_decoder::result fast(answer const& made, partition_reader& reader, isolation level,
                          std::vector<byte_buffer>& kept, bool keeps) {
    using step = partition_reader::step;
    // Memory of exactly its size, so that a sanitizer sees each byte that is read outside of it.
    auto const exact = std::make_unique<char[]>(made.bytes.size());
    std::copy(made.bytes.begin(), made.bytes.end(), exact.get());
    reader.start({exact.get(), made.bytes.size()}, made.position, made.high_watermark, level,
                 made.aborted);
    slow_decoder::result result;
    decoded_record record;
    for (;;) {
        switch (reader.next(record)) {
        case step::batch:
            if (keeps) {
                kept.push_back(reader.take_decompressed());
            }
            continue;
        case step::record: {
            made_record copied{record.offset, record.timestamp, std::nullopt, std::nullopt, {}};
            if (record.key) {
                copied.key.emplace(*record.key);
            }
            if (record.value) {
                copied.value.emplace(*record.value);
            }
            record.headers.for_each(
                [&](std::string_view name, std::optional<std::string_view> value) {
                    copied.headers.emplace_back(name, value);
                });
            result.records.push_back(std::move(copied));
            continue;
        }
        case step::passed:
            continue;
        case step::end:
            result.ended = slow_decoder::ending::end;
            break;
        case step::old_format:
            result.ended = slow_decoder::ending::old_format;
            break;
        case step::damaged:
            result.ended = slow_decoder::ending::damaged;
            break;
        }
        result.position = reader.position();
        return result;
    }
}

TEST_CASE("random answers, whole and damaged, are read as the slow decoder reads them") {
    auto const first = setting("KGROUP_TEST_SEED", 1);
    auto const until =
        std::chrono::steady_clock::now() + std::chrono::seconds{setting("KGROUP_TEST_SECONDS", 2)};
    decompressor codecs;
    constexpr std::size_t limit = 16'000; // some are above
    partition_reader checked{codecs, limit};
    partition_reader unchecked{codecs, limit, partition_reader::checksums::ignored};
    std::array<std::size_t, 3> endings{};
    std::size_t records = 0;
    auto seed = first;
    for (; seed < first + 300 || std::chrono::steady_clock::now() < until; ++seed) {
        CAPTURE(seed);
        choice any{seed};
        auto const made = random_answer(any);
        slow_decoder slow;
        slow.limit = limit;
        slow.checks_checksums = !any.one_in(4);
        slow.reads_committed = !any.one_in(3);
        slow.high_watermark = made.high_watermark;
        slow.aborted = made.aborted;
        auto const expected = slow.decode(made.bytes, made.position);
        std::vector<byte_buffer> kept;
        auto const found =
            fast(made, slow.checks_checksums ? checked : unchecked,
                 slow.reads_committed ? isolation::read_committed : isolation::read_uncommitted,
                 kept, any.one_in(2));
        REQUIRE(found.ended == expected.ended);
        REQUIRE(found.position == expected.position);
        REQUIRE(found.records == expected.records);
        REQUIRE(found.position >= made.position);
        // A scan sees headers only: it stops at the same place, or behind it.
        REQUIRE(scan_batches(made.bytes, made.position, made.high_watermark).next_offset >=
                found.position);
        ++endings[static_cast<std::size_t>(found.ended)];
        records += found.records.size();
    }
    MESSAGE("answers: " << seed - first << ", of them whole: " << endings[0]
                        << ", of the old format: " << endings[1] << ", damaged: " << endings[2]
                        << "; records: " << records);
    CHECK(endings[0] > (seed - first) / 5); // neither kind is rare
    CHECK(endings[2] > (seed - first) / 5);
    CHECK(records > seed - first);
}

TEST_CASE("random messages are read to their end, or refused") {
    auto const first = setting("KGROUP_TEST_SEED", 1);
    auto const until =
        std::chrono::steady_clock::now() + std::chrono::seconds{setting("KGROUP_TEST_SECONDS", 2)};
    constexpr std::int32_t correlation = 0x01020304;
    api_versions versions;
    metadata_answer metadata;
    fetch_answer fetched;
    list_offsets_answer offsets;
    leader_epoch_answer epochs;
    std::size_t refused = 0;
    std::vector<std::pair<std::string_view, std::string>> answers;
    for (auto const& [name, hex] : golden_bytes) {
        if (name.find("_answer_") != std::string_view::npos) {
            answers.emplace_back(name, golden(name));
        }
    }
    REQUIRE(answers.size() > 25);
    auto seed = first;
    for (; seed < first + 300 || std::chrono::steady_clock::now() < until; ++seed) {
        CAPTURE(seed);
        choice any{seed};
        auto const& [name, whole] = answers[any.below(answers.size())];
        CAPTURE(name);
        auto bytes = whole.substr(4);
        bend(any, bytes);
        bytes.insert(0, whole, 0, 4);
        auto const exact = std::make_unique<char[]>(bytes.size());
        std::copy(bytes.begin(), bytes.end(), exact.get());
        std::string_view const view{exact.get(), bytes.size()};
        auto const version =
            static_cast<std::int16_t>(std::stoi(std::string{name.substr(name.rfind('_') + 1)}));
        auto result = read_result::ok;
        std::size_t kept = 0;
        if (name.starts_with("api_versions")) {
            result = read_api_versions_answer(view, version, correlation, versions);
        } else if (name.starts_with("metadata")) {
            result = read_metadata_answer(view, version, correlation, metadata);
            kept = metadata.partitions.size() + metadata.topics.size() + metadata.brokers.size();
            for (auto const& topic : metadata.topics) {
                REQUIRE(metadata.partitions_of(topic).size() == topic.count);
            }
        } else if (name.starts_with("fetch")) {
            result = read_fetch_answer(view, version, correlation, fetched);
            kept = fetched.partitions.size() + fetched.aborted.size();
            for (auto const& partition : fetched.partitions) {
                auto const part = partition.records;
                REQUIRE((part.empty() || (part.data() >= view.data() &&
                                          part.data() + part.size() <= view.data() + view.size())));
                REQUIRE(fetched.aborted_of(partition).size() == partition.aborted_count);
            }
        } else if (name.starts_with("list_offsets")) {
            result = read_list_offsets_answer(view, version, correlation, offsets);
            kept = offsets.partitions.size();
        } else {
            result = read_leader_epoch_answer(view, version, correlation, epochs);
            kept = epochs.partitions.size();
        }
        REQUIRE(result != read_result::wrong_correlation);
        REQUIRE(kept <= bytes.size());
        if (result == read_result::malformed) {
            REQUIRE(kept == 0); // nothing of it is left to be believed
            ++refused;
        }
    }
    CHECK(refused > (seed - first) / 5);
    CHECK(refused < seed - first);
}

} // namespace
} // namespace fetch_random_answers_tests
