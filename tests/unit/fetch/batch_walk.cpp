// SPDX-License-Identifier: MIT

#include <kgroup/detail/fetch/batch_walk.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>

#include "golden.hpp"
#include "made_batch.hpp"

namespace fetch_batch_walk_tests {
namespace {

using namespace kgroup::detail::fetch;
using namespace kgroup::tests;
using kind = found_batch::kind;

TEST_CASE("the header of a batch that Kafka's own classes wrote") {
    auto const bytes = golden("batch_transactional");
    auto const found = find_batch(bytes);
    REQUIRE(found.state == kind::whole);
    CHECK(found.bytes.size() == bytes.size());
    CHECK(found.checksum_fits());
    CHECK(found.header.base_offset == 40);
    CHECK(found.header.leader_epoch == 6);
    CHECK(found.header.last_offset() == 46);
    CHECK(found.header.next_offset() == 47);
    CHECK(found.header.count == 5);
    CHECK(found.header.producer == 77);
    CHECK(found.header.transactional());
    CHECK_FALSE(found.header.control());
    CHECK_FALSE(found.header.log_append_time());
    CHECK(found.header.codec_number() == 0);
    CHECK(find_batch(golden("batch_append_time")).header.log_append_time());
    CHECK(find_batch(golden("batch_commit")).header.control());
    auto const names = {"batch_none", "batch_gzip", "batch_snappy", "batch_lz4", "batch_zstd"};
    int number = 0;
    for (auto const* const name : names) {
        CHECK(find_batch(golden(name)).header.codec_number() == number++);
    }
}

TEST_CASE("the first batch is whole or damaged, a later one may be cut off") {
    auto const first = plain_batch(10, 3).bytes();
    auto const second = plain_batch(13, 2).bytes();
    for (std::size_t size = 1; size != first.size(); ++size) {
        batch_walk walk{std::string_view{first}.substr(0, size), -1};
        auto const found = walk.next();
        CHECK(found.state == kind::damaged);
        CHECK(found.wrong == damage::incomplete);
        CHECK(walk.next().state == kind::damaged); // and stays so
    }
    auto const both = first + second;
    for (auto size = first.size(); size <= both.size(); ++size) {
        batch_walk walk{std::string_view{both}.substr(0, size), -1};
        CHECK(walk.next().state == kind::whole);
        if (size == both.size()) {
            CHECK(walk.next().state == kind::whole);
        }
        CHECK(walk.next().state == kind::nothing);
        auto const scan = scan_batches(std::string_view{both}.substr(0, size), 11, -1);
        CHECK(scan.next_offset == (size == both.size() ? 15 : 13));
        CHECK(scan.bytes == (size == both.size() ? both.size() : first.size()));
        CHECK(scan.ended_by == kind::nothing);
    }
    batch_walk nothing{"", 5};
    CHECK(nothing.next().state == kind::nothing);
}

TEST_CASE("offsets ascend from batch to batch, and stay below the high watermark") {
    auto const first = plain_batch(10, 3).bytes();
    auto const walk_to_second = [&](std::int64_t base, std::int64_t high_watermark) {
        auto const bytes = first + plain_batch(base, 2).bytes();
        batch_walk walk{bytes, high_watermark};
        REQUIRE(walk.next().state == kind::whole);
        auto const found = walk.next();
        return found.state == kind::whole ? damage::none : found.wrong;
    };
    CHECK(walk_to_second(13, -1) == damage::none);
    CHECK(walk_to_second(1000, -1) == damage::none); // compacted
    CHECK(walk_to_second(12, -1) == damage::offsets);
    CHECK(walk_to_second(0, -1) == damage::offsets);
    CHECK(walk_to_second(13, 14) == damage::none);
    CHECK(walk_to_second(13, 13) == damage::beyond_end);
    CHECK(walk_to_second(1000, 15) == damage::beyond_end);
}

TEST_CASE("impossible headers") {
    auto const wrong_of = [](std::string const& bytes) {
        auto const found = find_batch(bytes);
        return found.state == kind::damaged ? found.wrong : damage::none;
    };
    auto const with = [](auto change) {
        auto batch = plain_batch(10, 3);
        change(batch);
        return batch.bytes();
    };
    auto const good = plain_batch(10, 3).bytes();
    CHECK(wrong_of(good) == damage::none);

    for (int const length : {-1, 0, 13, 48}) {
        auto bytes = good;
        std::string written;
        wire_writer{written}.int32(length);
        bytes.replace(8, 4, written);
        CHECK(wrong_of(bytes) == damage::length);
    }
    auto other_magic = good;
    other_magic[16] = 3;
    CHECK(wrong_of(other_magic) == damage::unknown_format);
    other_magic[16] = -1;
    CHECK(wrong_of(other_magic) == damage::unknown_format);
    for (char const magic : {'\0', '\1'}) {
        other_magic[16] = magic;
        CHECK(find_batch(other_magic).state == kind::old_format);
    }
    CHECK(wrong_of(with([](auto& batch) { batch.last_offset_delta = -1; })) == damage::offsets);
    CHECK(wrong_of(with([](auto& batch) { batch.last_offset_delta = 1; })) == damage::offsets);
    CHECK(wrong_of(with([](auto& batch) { batch.last_offset_delta = 2000; })) == damage::none);
    CHECK(wrong_of(with([](auto& batch) { batch.count = -1; })) == damage::offsets);
    CHECK(wrong_of(with([](auto& batch) { batch.count = 4; })) == damage::offsets);
    CHECK(wrong_of(with([](auto& batch) {
              batch.count = (std::numeric_limits<std::int32_t>::min)();
          })) == damage::offsets);
    auto const base = [&](std::int64_t value) {
        auto bytes = good;
        std::string written;
        wire_writer{written}.int64(value);
        bytes.replace(0, 8, written);
        return wrong_of(bytes);
    };
    auto const last = (std::numeric_limits<std::int64_t>::max)();
    CHECK(base(-1) == damage::offsets);
    CHECK(base(last) == damage::offsets);
    CHECK(base(last - 2) == damage::offsets); // the next offset would be none
    CHECK(base(last - 3) == damage::none);
}

TEST_CASE("a scan says in which epochs that was written which it goes behind") {
    auto const batch = [](std::int64_t base, std::int32_t epoch) {
        auto made = plain_batch(base, 3);
        made.leader_epoch = epoch;
        return made.bytes();
    };
    auto scan = scan_batches(batch(10, 4) + batch(13, 4), 11, -1);
    CHECK(scan.first_offset == 10);
    CHECK(scan.leader_epoch == 4);
    CHECK(scan.one_epoch);
    scan = scan_batches(batch(10, 4) + batch(13, 4) + batch(16, 5), 11, -1);
    CHECK(scan.first_offset == 10);
    CHECK(scan.leader_epoch == 5);
    CHECK_FALSE(scan.one_epoch);
    scan = scan_batches(batch(10, 4) + batch(13, 5), 14, -1); // the first one is passed over
    CHECK(scan.first_offset == 13);
    CHECK(scan.one_epoch);
}

TEST_CASE("a scan goes on behind what it can, and says why it stops") {
    auto const first = plain_batch(10, 3).bytes();
    auto old = plain_batch(13, 1).bytes();
    old[16] = 1;
    auto const scan = scan_batches(first + old, 10, -1);
    CHECK(scan.next_offset == 13);
    CHECK(scan.batches == 1);
    CHECK(scan.ended_by == kind::old_format);
    auto const damaged = scan_batches(first + first, 10, -1);
    CHECK(damaged.next_offset == 13);
    CHECK(damaged.ended_by == kind::damaged);
    // What does not advance the position is no reason to go back.
    auto const behind = scan_batches(first, 100, -1);
    CHECK(behind.next_offset == 100);
    CHECK(behind.ended_by == kind::nothing);
}

} // namespace
} // namespace fetch_batch_walk_tests
