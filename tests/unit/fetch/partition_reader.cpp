// SPDX-License-Identifier: MIT

#include <kgroup/detail/fetch/partition_reader.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "golden.hpp"
#include "made_batch.hpp"

namespace fetch_partition_reader_tests {
namespace {

using namespace kgroup::detail::fetch;
using namespace kgroup::tests;
using step = partition_reader::step;

made_record copy(decoded_record const& from) {
    made_record result;
    result.offset = from.offset;
    result.timestamp = from.timestamp;
    if (from.key) {
        result.key.emplace(*from.key);
    }
    if (from.value) {
        result.value.emplace(*from.value);
    }
    from.headers.for_each([&](std::string_view name, std::optional<std::string_view> value) {
        result.headers.emplace_back(name, value);
    });
    CHECK(result.headers.size() == from.headers.size());
    return result;
}

struct outcome {
    std::vector<made_record> records;
    step last = step::end;
    damage wrong = damage::none;
    std::int64_t position = 0;
    std::vector<std::int64_t> positions; // after each batch

    std::vector<std::int64_t> offsets() const {
        std::vector<std::int64_t> result;
        for (auto const& record : records) {
            result.push_back(record.offset);
        }
        return result;
    }
};

struct reading {
    std::int64_t position = 0;
    std::int64_t high_watermark = -1;
    isolation level = isolation::read_committed;
    std::vector<aborted_transaction> aborted = {};
    std::size_t limit = 1 << 20;

    outcome of(std::string_view bytes) const {
        decompressor codecs;
        partition_reader reader{codecs, limit};
        reader.start(bytes, position, high_watermark, level, aborted);
        outcome result;
        decoded_record record;
        for (;;) {
            switch (auto const now = reader.next(record); now) {
            case step::batch:
                break;
            case step::record:
                result.records.push_back(copy(record));
                break;
            case step::passed:
                result.positions.push_back(reader.position());
                break;
            default:
                result.last = now;
                result.wrong = reader.wrong();
                result.position = reader.position();
                CHECK(reader.next(record) == now); // and stays so
                CHECK(reader.position() == result.position);
                return result;
            }
        }
    }
};

using offsets = std::vector<std::int64_t>;

TEST_CASE("records as Kafka's own classes wrote them, of every codec") {
    std::string long_value;
    for (int i = 0; i != 40; ++i) {
        long_value += "kgroup ";
    }
    std::vector<made_record> expected{
        {40, 1'700'000'000'000, "key", "first value", {}},
        {41, 1'700'000'000'500, std::nullopt, "second", {}},
        {44, 1'699'999'999'000, "", std::nullopt, {}},
        {45,
         1'700'000'000'001,
         "k",
         "",
         {{"trace", "abc"}, {"empty", ""}, {"null", std::nullopt}, {"trace", "def"}}},
        {46, 1'700'000'000'002, "long", long_value, {}}};
    for (auto const* const name : {"batch_none", "batch_gzip", "batch_snappy", "batch_lz4",
                                   "batch_zstd", "batch_transactional"}) {
        CAPTURE(name);
        auto const read = reading{.position = 40}.of(golden(name));
        CHECK(read.records == expected);
        CHECK(read.last == step::end);
        CHECK(read.position == 47);
    }
    for (auto& record : expected) {
        record.timestamp = 1'700'000'009'999;
    }
    CHECK(reading{.position = 40}.of(golden("batch_append_time")).records == expected);
}

TEST_CASE("transactions as Kafka's own classes wrote them") {
    auto const aborted = golden("batch_transactional") + golden("batch_abort");
    auto const committed = golden("batch_transactional") + golden("batch_commit");
    std::vector<aborted_transaction> const listed{{77, 40}};
    CHECK(reading{.position = 40, .aborted = listed}.of(aborted).records.empty());
    CHECK(reading{.position = 40, .aborted = listed}.of(aborted).position == 51);
    CHECK(reading{.position = 40}.of(committed).records.size() == 5);
    CHECK(reading{.position = 40}.of(committed).position == 51);
    auto const all =
        reading{.position = 40, .level = isolation::read_uncommitted, .aborted = listed}.of(
            aborted);
    CHECK(all.records.size() == 5);
    CHECK(all.position == 51); // markers are never records
}

TEST_CASE("records below the position are left out, and the position goes behind the batch") {
    auto batch = plain_batch(10, 5);
    batch.last_offset_delta = 9; // the last ones are compacted away
    auto const read = reading{.position = 12}.of(batch.bytes());
    CHECK(read.offsets() == offsets{12, 13, 14});
    CHECK(read.position == 20);
    auto const none = reading{.position = 17}.of(batch.bytes());
    CHECK(none.records.empty());
    CHECK(none.position == 20);
    auto const behind = reading{.position = 30}.of(batch.bytes());
    CHECK(behind.records.empty());
    CHECK(behind.position == 30); // bytes that do not advance it
    CHECK(behind.last == step::end);
}

TEST_CASE("an empty batch advances the position") {
    made_batch empty;
    empty.base_offset = 10;
    empty.last_offset_delta = 4;
    auto const bytes = empty.bytes() + plain_batch(15, 1).bytes();
    auto const read = reading{.position = 10}.of(bytes);
    CHECK(read.offsets() == offsets{15});
    CHECK(read.positions == offsets{15, 16});
    empty.codec = codec::gzip;
    empty.payload = ""; // as a log cleaner leaves it
    CHECK(reading{.position = 10}.of(empty.bytes()).position == 15);
    empty.payload.reset(); // a compressed nothing
    CHECK(reading{.position = 10}.of(empty.bytes()).position == 15);
}

TEST_CASE("each call passes over one batch at most") {
    std::string bytes;
    for (int i = 0; i != 20; ++i) {
        auto batch = plain_batch(i * 10, 10);
        batch.more_attributes = made_batch::transactional;
        batch.producer = 7;
        bytes += batch.bytes();
    }
    decompressor codecs;
    partition_reader reader{codecs, 1 << 20};
    std::vector<aborted_transaction> const aborted{{7, 0}};
    reader.start(bytes, 0, -1, isolation::read_committed, aborted);
    decoded_record record;
    for (int i = 0; i != 20; ++i) {
        REQUIRE(reader.next(record) == step::passed);
        REQUIRE(reader.position() == i * 10 + 10);
    }
    CHECK(reader.next(record) == step::end);
}

TEST_CASE("aborted transactions are passed over up to their markers, other producers' are not") {
    auto const of = [](std::int64_t base, std::int64_t producer) {
        auto batch = plain_batch(base, 2);
        batch.more_attributes = made_batch::transactional;
        batch.producer = producer;
        return batch.bytes();
    };
    auto not_transactional = plain_batch(6, 2); // idempotent, of the same producer
    not_transactional.producer = 7;
    auto const bytes = of(0, 7) + of(2, 8) + of(4, 7) + not_transactional.bytes() +
                       marker_batch(8, 8, 1).bytes() + marker_batch(9, 7, 0).bytes() + of(10, 7) +
                       marker_batch(12, 7, 1).bytes() + of(13, 8) + marker_batch(15, 8, 0).bytes();
    auto const read = reading{.aborted = {{7, 0}, {8, 13}}}.of(bytes);
    CHECK(read.offsets() == offsets{2, 3, 6, 7, 10, 11});
    CHECK(read.position == 16);
    auto const all =
        reading{.level = isolation::read_uncommitted, .aborted = {{7, 0}, {8, 13}}}.of(bytes);
    CHECK(all.offsets() == offsets{0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 13, 14});
}

TEST_CASE("control batches: unknown types need nothing, those without a record neither") {
    auto const unknown = marker_batch(0, 7, 99);
    CHECK(reading{}.of(unknown.bytes()).position == 1);
    auto compacted = marker_batch(0, 7, 0);
    compacted.records.clear();
    CHECK(reading{}.of(compacted.bytes()).position == 1);
    auto squeezed = marker_batch(0, 7, 1);
    squeezed.codec = codec::lz4;
    CHECK(reading{}.of(squeezed.bytes()).position == 1);
    auto short_key = marker_batch(0, 7, 0);
    short_key.records[0].key = "x";
    CHECK(reading{}.of(short_key.bytes()).wrong == damage::control);
    short_key.records[0].key.reset();
    CHECK(reading{}.of(short_key.bytes()).wrong == damage::control);
}

TEST_CASE("timestamps: differences of any sign, clocks of any time") {
    auto batch = plain_batch(0, 3);
    batch.records[0].timestamp = -1;
    batch.records[1].timestamp = (std::numeric_limits<std::int64_t>::min)();
    batch.records[2].timestamp = (std::numeric_limits<std::int64_t>::max)();
    CHECK(reading{}.of(batch.bytes()).records == batch.records);
    batch.more_attributes = made_batch::log_append_time;
    batch.max_timestamp = 5;
    for (auto const& record : reading{}.of(batch.bytes()).records) {
        CHECK(record.timestamp == 5);
    }
    batch.more_attributes = static_cast<std::int16_t>(0xff80); // bits that mean nothing
    CHECK(reading{}.of(batch.bytes()).records == batch.records);
}

TEST_CASE(
    "damage: what stands before it is given, its place is the position, nothing behind it is") {
    auto const good = plain_batch(0, 3).bytes();
    auto const after = plain_batch(20, 3).bytes();
    auto const read_damaged = [&](made_batch const& batch) {
        auto const read = reading{}.of(good + batch.bytes() + after);
        REQUIRE(read.last == step::damaged);
        CHECK(read.position == (read.records.empty() ? 0 : read.records.back().offset + 1));
        return read;
    };

    SUBCASE("the checksum") {
        auto bytes = good + plain_batch(3, 3).bytes() + after;
        for (auto place = good.size() + 21; place != bytes.size() - after.size(); ++place) {
            auto bent = bytes;
            bent[place] = static_cast<char>(bent[place] ^ 4);
            auto const read = reading{}.of(bent);
            CHECK(read.last == step::damaged);
            CHECK((read.wrong == damage::checksum || read.wrong == damage::offsets));
            CHECK(read.offsets() == offsets{0, 1, 2});
            CHECK(read.position == 3);
        }
    }
    SUBCASE("offsets within a batch") {
        auto batch = plain_batch(3, 4);
        batch.last_offset_delta = 3;
        batch.records[2].offset = 4; // twice
        auto read = read_damaged(batch);
        CHECK(read.wrong == damage::offsets);
        CHECK(read.position == 5);
        batch.records[2].offset = 2; // below the batch
        CHECK(read_damaged(batch).wrong == damage::offsets);
        batch.records[2].offset = 7; // above
        CHECK(read_damaged(batch).wrong == damage::offsets);
    }
    SUBCASE("a record that is longer, or shorter, than its parts") {
        auto batch = plain_batch(3, 2);
        auto const records = batch.written_records();
        for (int const difference : {-2, 2}) {
            batch.payload = records;
            (*batch.payload)[0] = static_cast<char>((*batch.payload)[0] + difference);
            auto const read = read_damaged(batch);
            CHECK(read.wrong == damage::record);
            CHECK(read.position == 3);
        }
    }
    SUBCASE("fewer records than it says, or more") {
        auto batch = plain_batch(3, 3);
        batch.last_offset_delta = 8;
        batch.count = 4;
        auto read = read_damaged(batch);
        CHECK(read.wrong == damage::record);
        CHECK(read.position == 6);
        batch.count = 2;
        read = read_damaged(batch);
        CHECK(read.wrong == damage::bytes_left);
        CHECK(read.position == 5);
        batch.count = 0;
        read = read_damaged(batch);
        CHECK(read.wrong == damage::bytes_left);
        CHECK(read.position == 3);
    }
    SUBCASE("headers") {
        auto const written = [](std::int64_t count, std::string_view rest) {
            std::string one;
            wire_writer{one}.int8(0).varint(0).varint(0).varint(-1).varint(-1).varint(count).raw(
                rest);
            std::string result;
            wire_writer{result}.varint(static_cast<std::int64_t>(one.size())).raw(one);
            return result;
        };
        auto batch = plain_batch(3, 1);
        for (auto const& payload :
             {written(-1, ""), written(1, ""), written(1000000000, "\2a\2b"), written(1, "\1\2b"),
              written(1, "\2a\3"), written(2, "\2a\2b"), written(1, "\2a\2bx")}) {
            batch.payload = payload;
            CHECK(read_damaged(batch).wrong == damage::record);
        }
        batch.payload = written(1, "\2a\2b");
        CHECK(reading{}.of(good + batch.bytes()).records.back().headers.size() == 1);
    }
    SUBCASE("a null that is less than null") {
        auto batch = plain_batch(3, 1);
        std::string one;
        wire_writer{one}.int8(0).varint(0).varint(0).varint(-2).varint(-1).varint(0);
        batch.payload.emplace();
        wire_writer{*batch.payload}.varint(static_cast<std::int64_t>(one.size())).raw(one);
        CHECK(read_damaged(batch).wrong == damage::record);
    }
    SUBCASE("codecs that there are not") {
        for (int const number : {5, 6, 7}) {
            auto batch = plain_batch(3, 3);
            batch.codec = static_cast<codec>(number);
            CHECK(read_damaged(batch).wrong == damage::unknown_codec);
        }
    }
    SUBCASE("what cannot be decompressed, or is too large") {
        auto batch = plain_batch(3, 3);
        batch.codec = codec::gzip;
        batch.payload = "no gzip";
        CHECK(read_damaged(batch).wrong == damage::compression);
        batch.payload.reset();
        batch.records[0].value = std::string(2 << 20, 'x');
        CHECK(read_damaged(batch).wrong == damage::too_large);
    }
    SUBCASE("what stands outside of the checksum") {
        auto batch = plain_batch(2, 3); // overlaps the one before
        CHECK(read_damaged(batch).wrong == damage::offsets);
        auto const read =
            reading{.high_watermark = 20}.of(good + plain_batch(3, 3).bytes() + after);
        CHECK(read.wrong == damage::beyond_end);
        CHECK(read.position == 6);
    }
}

TEST_CASE("the old formats are somebody else's, from their place on") {
    auto old = plain_batch(3, 3).bytes();
    old[16] = 1;
    auto const read = reading{}.of(plain_batch(0, 3).bytes() + old);
    CHECK(read.last == step::old_format);
    CHECK(read.offsets() == offsets{0, 1, 2});
    CHECK(read.position == 3);
}

TEST_CASE("what was decompressed can be taken, and then outlives the reader's next batch") {
    auto first = plain_batch(0, 1);
    first.codec = codec::zstd;
    auto second = plain_batch(1, 1);
    second.codec = codec::lz4;
    auto const bytes = first.bytes() + second.bytes() + plain_batch(2, 1).bytes();
    decompressor codecs;
    partition_reader reader{codecs, 1 << 20};
    reader.start(bytes, 0, -1, isolation::read_committed, {});
    std::vector<byte_buffer> kept;
    std::vector<std::string_view> values;
    decoded_record record;
    for (auto now = reader.next(record); now != step::end; now = reader.next(record)) {
        if (now == step::batch) {
            kept.push_back(reader.take_decompressed());
        } else if (now == step::record) {
            values.push_back(*record.value);
        }
    }
    CHECK(values == std::vector<std::string_view>{"0", "1", "2"});
    REQUIRE(kept.size() == 3);
    CHECK(kept[0].size() != 0);
    CHECK(kept[1].size() != 0);
    CHECK(kept[2].size() == 0); // its records point into the answer
}

TEST_CASE("every answer that is cut off gives what stands whole before the cut") {
    std::string bytes;
    for (int i = 0; i != 5; ++i) {
        auto batch = plain_batch(i * 3, 3);
        batch.codec = static_cast<codec>(i);
        bytes += batch.bytes();
    }
    for (std::size_t size = 0; size <= bytes.size(); ++size) {
        std::string const cut{bytes, 0, size};
        auto const read = reading{}.of(cut);
        CHECK(read.records.size() % 3 == 0);
        CHECK(read.position == static_cast<std::int64_t>(read.records.size()));
        CHECK((read.last == step::end || (read.records.empty() && size != 0)));
    }
}

} // namespace
} // namespace fetch_partition_reader_tests
