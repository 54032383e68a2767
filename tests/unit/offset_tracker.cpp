// SPDX-License-Identifier: MIT

#include <kgroup/offset_tracker.hpp>

#include <doctest/doctest.h>
#include <support/failing_allocation.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <new>
#include <numeric>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace {

using kgroup::mark_result;
using kgroup::offset_tracker;
using kgroup::tracked_offset;

struct delivered_record {
    std::int64_t offset;
    std::uint64_t sequence;
    std::uint32_t epoch;
};

delivered_record deliver(offset_tracker& tracker, std::int64_t offset) {
    std::uint64_t const sequence = tracker.deliver(offset);
    return {offset, sequence, tracker.epoch()};
}

mark_result ack(offset_tracker& tracker, delivered_record const& record) {
    return tracker.ack(record.offset, record.sequence, record.epoch);
}

std::vector<delivered_record> deliver_range(offset_tracker& tracker, std::int64_t from,
                                            std::int64_t to) {
    std::vector<delivered_record> records;
    for (std::int64_t offset = from; offset != to; ++offset) {
        records.push_back(deliver(tracker, offset));
    }
    return records;
}

std::int64_t pending(offset_tracker& tracker) {
    std::optional<tracked_offset> const result = tracker.pending();
    return result ? result->next : offset_tracker::none;
}

} // namespace

// Marks.

TEST_CASE("offset_tracker: nothing marked, nothing to commit") {
    offset_tracker tracker;
    deliver_range(tracker, 0, 10);
    CHECK_FALSE(tracker.pending());
    CHECK(tracker.marked() == offset_tracker::none);
    CHECK(tracker.committed() == offset_tracker::none);
    CHECK_FALSE(tracker.seal());
}

TEST_CASE("offset_tracker: marks are cumulative and only go up") {
    offset_tracker tracker;
    CHECK(tracker.mark(0, 0) == mark_result::accepted);
    CHECK(tracker.pending() == tracked_offset{0});
    CHECK(tracker.mark(7, 0) == mark_result::accepted);
    CHECK(tracker.mark(7, 0) == mark_result::ignored);
    CHECK(tracker.mark(3, 0) == mark_result::ignored);
    CHECK(tracker.marked() == 7);
    CHECK(tracker.pending() == tracked_offset{7});
}

TEST_CASE("offset_tracker: what is confirmed is not pending any more") {
    offset_tracker tracker;
    CHECK(tracker.mark(7, 0) == mark_result::accepted);
    CHECK(tracker.pending() == tracked_offset{7});
    CHECK(tracker.pending() == tracked_offset{7});
    CHECK(tracker.mark(9, 0) == mark_result::accepted);
    tracker.committed(7);
    CHECK(tracker.committed() == 7);
    CHECK(tracker.pending() == tracked_offset{9});
    tracker.committed(9);
    CHECK_FALSE(tracker.pending());
}

TEST_CASE("offset_tracker: what the group had committed is where marks start") {
    offset_tracker tracker{16, {100, "before"}};
    CHECK(tracker.committed() == 100);
    CHECK(tracker.marked() == 100);
    CHECK_FALSE(tracker.pending());
    CHECK(tracker.mark(50, 0) == mark_result::ignored);
    CHECK(tracker.mark(100, 0) == mark_result::ignored);
    CHECK_FALSE(tracker.pending());
    CHECK(tracker.mark(101, 0) == mark_result::accepted);
    CHECK(tracker.pending() == tracked_offset{101});
}

TEST_CASE("offset_tracker: Kafka's negative offsets at the start are no offset") {
    offset_tracker tracker{16, {-1001, {}}};
    CHECK(tracker.committed() == offset_tracker::none);
    CHECK(tracker.marked() == offset_tracker::none);
    CHECK_FALSE(tracker.pending());
    CHECK(tracker.mark(1, 0) == mark_result::accepted);
}

TEST_CASE("offset_tracker: a mark may be above everything delivered") {
    offset_tracker tracker;
    deliver_range(tracker, 0, 3);
    CHECK(tracker.mark(1'000'000, 0) == mark_result::accepted);
    CHECK(tracker.pending() == tracked_offset{1'000'000});
}

TEST_CASE("offset_tracker: impossible offsets are refused and settle nothing") {
    constexpr std::int64_t highest = std::numeric_limits<std::int64_t>::max();
    offset_tracker tracker;
    CHECK(tracker.mark(-1, 0) == mark_result::refused_range);
    CHECK(tracker.mark(highest, 0) == mark_result::refused_range);
    CHECK(tracker.mark(-1, "text", 0) == mark_result::refused_range);
    CHECK(tracker.reset(-1) == mark_result::refused_range);
    CHECK(tracker.ack(-1, 0, 0) == mark_result::refused_range);
    CHECK(tracker.ack(highest, 0, 0) == mark_result::refused_range);
    CHECK_FALSE(tracker.pending());
    std::uint64_t const sequence = tracker.deliver(highest - 2);
    CHECK(tracker.ack(highest - 2, sequence, 0) == mark_result::accepted);
    CHECK(tracker.pending() == tracked_offset{highest - 1});
    CHECK(tracker.seal() == tracked_offset{highest - 1});
}

TEST_CASE("offset_tracker: a text goes with its offset and ends with it") {
    offset_tracker tracker;
    CHECK(tracker.mark(5, "five", 0) == mark_result::accepted);
    CHECK(tracker.pending() == tracked_offset{5, "five"});
    CHECK(tracker.mark(5, "other", 0) == mark_result::ignored);
    CHECK(tracker.mark(4, "four", 0) == mark_result::ignored);
    CHECK(tracker.pending() == tracked_offset{5, "five"});
    CHECK(tracker.mark(6, 0) == mark_result::accepted);
    CHECK(tracker.pending() == tracked_offset{6});
    CHECK(tracker.mark(7, "", 0) == mark_result::accepted);
    CHECK(tracker.mark(8, "eight", 0) == mark_result::accepted);
    CHECK(tracker.seal() == tracked_offset{8, "eight"});
}

// Reset.

TEST_CASE("offset_tracker: reset goes back, and marks go on from there") {
    offset_tracker tracker;
    CHECK(tracker.mark(10, 0) == mark_result::accepted);
    tracker.committed(pending(tracker));
    CHECK(tracker.reset(11) == mark_result::ignored);
    CHECK_FALSE(tracker.pending());
    CHECK(tracker.reset(4, "again") == mark_result::accepted);
    CHECK(tracker.pending() == tracked_offset{4, "again"});
    tracker.committed(4);
    CHECK_FALSE(tracker.pending());
    CHECK(tracker.mark(5, 0) == mark_result::accepted);
    CHECK(tracker.pending() == tracked_offset{5});
}

TEST_CASE(
    "offset_tracker: reset to the same offset changes its text, also while a commit is under way") {
    offset_tracker tracker;
    CHECK(tracker.mark(10, "old", 0) == mark_result::accepted);
    CHECK(tracker.pending() == tracked_offset{10, "old"});
    CHECK(tracker.reset(10, "new") == mark_result::accepted);
    tracker.committed(10);
    CHECK(tracker.pending() == tracked_offset{10, "new"});
    tracker.committed(10);
    CHECK_FALSE(tracker.pending());
}

TEST_CASE("offset_tracker: reset holds where nothing is marked, and settles no mode") {
    offset_tracker tracker;
    CHECK(tracker.reset(40) == mark_result::accepted);
    CHECK(tracker.pending() == tracked_offset{40});
    delivered_record const record = deliver(tracker, 40);
    CHECK(ack(tracker, record) == mark_result::accepted);
    CHECK(tracker.pending() == tracked_offset{41});
}

TEST_CASE("offset_tracker: reset counts what was acknowledged before it") {
    offset_tracker tracker;
    std::vector<delivered_record> const records = deliver_range(tracker, 0, 4);
    CHECK(ack(tracker, records[0]) == mark_result::accepted);
    CHECK(ack(tracker, records[1]) == mark_result::accepted);
    CHECK(tracker.reset(3) == mark_result::ignored);
    CHECK(tracker.reset(1) == mark_result::accepted);
    CHECK(tracker.pending() == tracked_offset{1});
    CHECK(ack(tracker, records[2]) == mark_result::accepted);
    CHECK(tracker.pending() == tracked_offset{3});
}

// Acknowledgements.

TEST_CASE(
    "offset_tracker: acknowledged in any order, committed in order of delivery, across gaps") {
    offset_tracker tracker;
    delivered_record const first = deliver(tracker, 10);
    delivered_record const second = deliver(tracker, 17);
    delivered_record const third = deliver(tracker, 1000);
    CHECK(ack(tracker, third) == mark_result::accepted);
    CHECK(ack(tracker, second) == mark_result::accepted);
    CHECK_FALSE(tracker.pending());
    CHECK(ack(tracker, first) == mark_result::accepted);
    CHECK(tracker.pending() == tracked_offset{1001});
    CHECK(tracker.marked() == 1001);
}

TEST_CASE("offset_tracker: a second acknowledgement is ignored") {
    offset_tracker tracker;
    std::vector<delivered_record> const records = deliver_range(tracker, 0, 3);
    CHECK(ack(tracker, records[1]) == mark_result::accepted);
    CHECK(ack(tracker, records[1]) == mark_result::ignored);
    CHECK(ack(tracker, records[0]) == mark_result::accepted);
    CHECK(tracker.pending() == tracked_offset{2});
    CHECK(ack(tracker, records[0]) == mark_result::ignored);
    CHECK(tracker.pending() == tracked_offset{2});
}

TEST_CASE("offset_tracker: the first of mark and ack settles the mode") {
    offset_tracker marked;
    delivered_record const record = deliver(marked, 0);
    CHECK(marked.mark(1, 0) == mark_result::accepted);
    CHECK(ack(marked, record) == mark_result::refused_mode);

    offset_tracker acknowledged;
    std::vector<delivered_record> const records = deliver_range(acknowledged, 0, 2);
    CHECK(ack(acknowledged, records[1]) == mark_result::accepted);
    CHECK(acknowledged.mark(2, 0) == mark_result::refused_mode);
    CHECK(acknowledged.mark(2, "text", 0) == mark_result::refused_mode);
    CHECK_FALSE(acknowledged.pending());
}

TEST_CASE(
    "offset_tracker: a mark before the first delivery moves the start and leaves the mode open") {
    offset_tracker tracker{16, {100, {}}};
    CHECK(tracker.mark(200, "start", 0) == mark_result::accepted);
    CHECK(tracker.pending() == tracked_offset{200, "start"});
    delivered_record const record = deliver(tracker, 200);
    CHECK(ack(tracker, record) == mark_result::accepted);
    CHECK(tracker.pending() == tracked_offset{201});
    CHECK(tracker.mark(300, 0) == mark_result::refused_mode);
}

TEST_CASE("offset_tracker: the window fills and opens, and says once that somebody waits") {
    offset_tracker tracker{3};
    std::vector<delivered_record> records = deliver_range(tracker, 0, 2);
    CHECK_FALSE(tracker.window_full());
    CHECK(ack(tracker, records[1]) == mark_result::accepted);
    CHECK_FALSE(tracker.window_opened());
    for (std::int64_t offset = 2; offset != 4; ++offset) {
        CHECK_FALSE(tracker.window_full());
        records.push_back(deliver(tracker, offset));
    }
    CHECK(tracker.window_full()); // 0, 2 and 3
    CHECK(tracker.window_full());
    CHECK(ack(tracker, records[2]) == mark_result::accepted);
    CHECK(tracker.window_opened());
    CHECK_FALSE(tracker.window_opened());
    CHECK_FALSE(tracker.window_full());
    CHECK_FALSE(tracker.pending());
    CHECK(ack(tracker, records[0]) == mark_result::accepted);
    CHECK_FALSE(tracker.window_opened());
    CHECK(tracker.pending() == tracked_offset{3});
}

TEST_CASE("offset_tracker: a window that was passed opens when enough is acknowledged") {
    offset_tracker tracker{10};
    std::vector<delivered_record> const records = deliver_range(tracker, 0, 15);
    CHECK(ack(tracker, records[3]) == mark_result::accepted);
    CHECK(tracker.window_full());
    for (std::size_t const index : {14u, 0u, 7u, 9u}) {
        CHECK(ack(tracker, records[index]) == mark_result::accepted);
        CHECK_FALSE(tracker.window_opened());
    }
    CHECK(ack(tracker, records[5]) == mark_result::accepted);
    CHECK(tracker.window_opened());
}

TEST_CASE("offset_tracker: a record that stays behind holds up the commit and nothing else") {
    offset_tracker tracker{3000};
    delivered_record const first = deliver(tracker, 0);
    std::vector<delivered_record> behind{first};
    for (std::int64_t offset = 1; offset != 200'000; ++offset) {
        REQUIRE_FALSE(tracker.window_full());
        delivered_record const record = deliver(tracker, offset);
        if (offset % 50'000 < 2) {
            behind.push_back(record);
        } else {
            REQUIRE(ack(tracker, record) == mark_result::accepted);
        }
    }
    CHECK_FALSE(tracker.pending());
    CHECK(tracker.undone(200'000) == behind.size());
    REQUIRE(behind.size() == 8); // 0, 1, 50000, 50001, …
    CHECK(ack(tracker, behind[4]) == mark_result::accepted);
    CHECK_FALSE(tracker.pending());
    CHECK(ack(tracker, behind[0]) == mark_result::accepted);
    CHECK(ack(tracker, behind[0]) == mark_result::ignored);
    CHECK(tracker.pending() == tracked_offset{1});
    CHECK(ack(tracker, behind[1]) == mark_result::accepted);
    CHECK(tracker.pending() == tracked_offset{50'000});
    CHECK(ack(tracker, behind[3]) == mark_result::accepted);
    CHECK(tracker.pending() == tracked_offset{50'000});
    CHECK(ack(tracker, behind[2]) == mark_result::accepted);
    CHECK(tracker.pending() == tracked_offset{100'001});
    CHECK(ack(tracker, behind[5]) == mark_result::accepted);
    CHECK(ack(tracker, behind[7]) == mark_result::accepted);
    CHECK(tracker.undone(200'000) == 1);
    CHECK(tracker.seal() == tracked_offset{150'000});
    CHECK(ack(tracker, behind[6]) == mark_result::refused_ended);
}

TEST_CASE("offset_tracker: what stays behind counts against the window") {
    constexpr std::size_t window = 2000;
    offset_tracker tracker{window};
    std::vector<delivered_record> behind;
    std::int64_t offset = 0;
    while (!tracker.window_full()) {
        delivered_record const record = deliver(tracker, offset++);
        if (offset % 10 == 0) {
            behind.push_back(record);
        } else {
            REQUIRE(ack(tracker, record) == mark_result::accepted);
        }
    }
    CHECK(behind.size() == window);
    CHECK(tracker.undone(offset) == window);
    CHECK(ack(tracker, behind[700]) == mark_result::accepted);
    CHECK(tracker.window_opened());
    CHECK_FALSE(tracker.window_full());
}

TEST_CASE("offset_tracker: a backward step holds for what stays behind, too") {
    offset_tracker tracker{100};
    std::vector<delivered_record> const before = deliver_range(tracker, 0, 400);
    for (std::size_t i = 0; i != before.size(); ++i) {
        if (i != 10 && i != 300) {
            CHECK(ack(tracker, before[i]) == mark_result::accepted);
        }
    }
    CHECK_FALSE(tracker.window_full());
    CHECK(tracker.pending() == tracked_offset{10});
    deliver_range(tracker, 200, 201);
    CHECK(tracker.epoch() == 1);
    CHECK(ack(tracker, before[10]) == mark_result::accepted);
    CHECK(tracker.pending() == tracked_offset{200}); // not 300
    CHECK(ack(tracker, before[300]) == mark_result::accepted);
    CHECK(tracker.pending() == tracked_offset{200});
    CHECK(tracker.undone(201) == 1);
}

TEST_CASE("offset_tracker: how many records are undone, in each mode") {
    offset_tracker acknowledged;
    CHECK(acknowledged.undone(-1) == 0);
    std::vector<delivered_record> const records = deliver_range(acknowledged, 100, 110);
    CHECK(acknowledged.undone(110) == 10);
    CHECK(ack(acknowledged, records[9]) == mark_result::accepted);
    CHECK(ack(acknowledged, records[0]) == mark_result::accepted);
    CHECK(acknowledged.undone(110) == 8);

    offset_tracker marked{16, {100, {}}};
    deliver_range(marked, 100, 110);
    CHECK(marked.mark(104, 0) == mark_result::accepted);
    CHECK(marked.undone(110) == 6);
    CHECK(marked.mark(500, 0) == mark_result::accepted);
    CHECK(marked.undone(110) == 0);
}

TEST_CASE("offset_tracker: the window does not hold back a claim that is marked, or has done "
          "nothing yet") {
    offset_tracker tracker{2};
    deliver_range(tracker, 0, 100);
    CHECK_FALSE(tracker.window_full());
    CHECK(tracker.mark(50, 0) == mark_result::accepted);
    CHECK_FALSE(tracker.window_full());
}

TEST_CASE("offset_tracker: the first acknowledgement may come late, and far ahead of the window") {
    offset_tracker tracker{2};
    std::vector<delivered_record> const records = deliver_range(tracker, 0, 5000);
    for (std::size_t i = records.size(); i-- > 1;) {
        CHECK(ack(tracker, records[i]) == mark_result::accepted);
    }
    CHECK(ack(tracker, records[4999]) == mark_result::ignored);
    CHECK_FALSE(tracker.pending());
    CHECK_FALSE(tracker.window_full()); // one is undone
    CHECK(ack(tracker, records[0]) == mark_result::accepted);
    CHECK(tracker.pending() == tracked_offset{5000});
}

TEST_CASE("offset_tracker: acknowledged ahead of the window and again within it") {
    offset_tracker tracker{2};
    std::vector<delivered_record> const records = deliver_range(tracker, 0, 10);
    CHECK(ack(tracker, records[5]) == mark_result::accepted);
    CHECK(ack(tracker, records[9]) == mark_result::accepted);
    for (std::size_t i = 0; i != 4; ++i) {
        CHECK(ack(tracker, records[i]) == mark_result::accepted);
    }
    CHECK(tracker.pending() == tracked_offset{4});
    ack(tracker, records[5]);
    CHECK(ack(tracker, records[4]) == mark_result::accepted);
    CHECK(tracker.pending() == tracked_offset{6});
    for (std::size_t i = 6; i != 9; ++i) {
        CHECK(ack(tracker, records[i]) == mark_result::accepted);
    }
    CHECK(tracker.pending() == tracked_offset{10});
}

TEST_CASE("offset_tracker: a window that begins within a segment ends within a third one") {
    offset_tracker tracker{2048};
    std::vector<delivered_record> records = deliver_range(tracker, 0, 1024);
    for (std::size_t i = 0; i != 1023; ++i) {
        CHECK(ack(tracker, records[i]) == mark_result::accepted);
    }
    CHECK(tracker.pending() == tracked_offset{1023});
    while (!tracker.window_full()) {
        records.push_back(deliver(tracker, static_cast<std::int64_t>(records.size())));
    }
    REQUIRE(records.size() == 1023 + 2048);
    CHECK(ack(tracker, records.back()) == mark_result::accepted);
    CHECK(ack(tracker, records[1023]) == mark_result::accepted);
    CHECK(tracker.pending() == tracked_offset{1024});
    for (std::size_t i = 1024; i != records.size() - 1; ++i) {
        CHECK(ack(tracker, records[i]) == mark_result::accepted);
    }
    CHECK(tracker.pending() == tracked_offset{1023 + 2048});
}

TEST_CASE("offset_tracker: a record that was never delivered is refused") {
    offset_tracker tracker{2};
    deliver_range(tracker, 0, 2);
    CHECK(tracker.ack(7, 7, 0) == mark_result::refused_range);
    CHECK_FALSE(tracker.pending());
}

// Offsets that go backward.

TEST_CASE("offset_tracker: a topic made anew: the old marks are void, the commit goes back") {
    offset_tracker tracker;
    deliver_range(tracker, 0, 100);
    CHECK(tracker.mark(100, "old", 0) == mark_result::accepted);
    tracker.committed(pending(tracker));
    deliver_range(tracker, 0, 3);
    CHECK(tracker.epoch() == 1);
    CHECK(tracker.pending() == tracked_offset{0});
    CHECK(tracker.mark(100, 0) == mark_result::ignored);
    CHECK(tracker.mark(100, "old", 0) == mark_result::ignored);
    CHECK(tracker.mark(2, 1) == mark_result::accepted);
    CHECK(tracker.seal() == tracked_offset{2});
    CHECK(tracker.mark(200, 0) == mark_result::refused_ended);
    CHECK(tracker.mark(200, 1) == mark_result::refused_ended);
}

TEST_CASE("offset_tracker: a text of before a backward step does not come back with a mark at its "
          "offset") {
    offset_tracker tracker{16, {100, "committed"}};
    CHECK(tracker.mark(120, "marked", 0) == mark_result::accepted);
    tracker.rebase(50);
    CHECK(tracker.pending() == tracked_offset{50});
    CHECK(tracker.mark(120, 1) == mark_result::accepted);
    CHECK(tracker.pending() == tracked_offset{120});

    offset_tracker unmarked{16, {100, "committed"}};
    unmarked.rebase(50);
    CHECK(unmarked.mark(100, 1) == mark_result::accepted);
    CHECK(unmarked.pending() == tracked_offset{100});
}

TEST_CASE("offset_tracker: a backward step sees acknowledgements that nobody has looked at yet") {
    offset_tracker tracker;
    std::vector<delivered_record> const records = deliver_range(tracker, 0, 10);
    CHECK(ack(tracker, records[0]) == mark_result::accepted);
    CHECK(tracker.reset(1, "reset") == mark_result::accepted);
    CHECK(ack(tracker, records[1]) == mark_result::accepted);
    tracker.rebase(1);
    CHECK(tracker.pending() == tracked_offset{1});
}

TEST_CASE(
    "offset_tracker: a backward step above what is marked changes nothing that may be committed") {
    offset_tracker tracker;
    deliver_range(tracker, 0, 100);
    CHECK(tracker.mark(30, "thirty", 0) == mark_result::accepted);
    tracker.rebase(60);
    CHECK(tracker.epoch() == 1);
    CHECK(tracker.pending() == tracked_offset{30, "thirty"});
}

TEST_CASE("offset_tracker: the group's own commit is taken back too, though nothing was marked") {
    offset_tracker tracker{16, {100, {}}};
    tracker.rebase(0);
    CHECK(tracker.pending() == tracked_offset{0});
}

TEST_CASE("offset_tracker: a commit that is confirmed after the backward step does not stay") {
    offset_tracker tracker;
    CHECK(tracker.mark(100, 0) == mark_result::accepted);
    CHECK(tracker.pending() == tracked_offset{100});
    tracker.rebase(40);
    tracker.committed(100);
    CHECK(tracker.pending() == tracked_offset{40});
    tracker.committed(40);
    CHECK_FALSE(tracker.pending());
}

TEST_CASE("offset_tracker: records in hand are not passed over by those delivered after a backward "
          "step") {
    offset_tracker tracker;
    std::vector<delivered_record> const before = deliver_range(tracker, 0, 10);
    std::vector<delivered_record> const after = deliver_range(tracker, 6, 9);
    for (delivered_record const& record : after) {
        CHECK(ack(tracker, record) == mark_result::accepted);
    }
    for (std::size_t i = 0; i != 9; ++i) {
        CHECK(ack(tracker, before[i]) == mark_result::accepted);
        CHECK(pending(tracker) == std::min<std::int64_t>(static_cast<std::int64_t>(i) + 1, 6));
    }
    CHECK(ack(tracker, before[9]) == mark_result::accepted);
    CHECK(pending(tracker) == 9);
}

TEST_CASE("offset_tracker: a record delivered twice is acknowledged twice") {
    offset_tracker tracker;
    std::vector<delivered_record> const records = deliver_range(tracker, 0, 4);
    delivered_record const again = deliver(tracker, 3);
    delivered_record const last = deliver(tracker, 4);
    CHECK(ack(tracker, again) == mark_result::accepted);
    CHECK(ack(tracker, last) == mark_result::accepted);
    CHECK_FALSE(tracker.pending());
    for (delivered_record const& record : records) {
        CHECK(ack(tracker, record) == mark_result::accepted);
    }
    CHECK(tracker.pending() == tracked_offset{5});
}

// What holds no record.

TEST_CASE(
    "offset_tracker: what may be committed goes on behind a gap when all before it is marked") {
    offset_tracker tracker;
    deliver_range(tracker, 0, 10);
    tracker.pass_over(10, 12);
    CHECK_FALSE(tracker.pending());
    CHECK(tracker.mark(9, 0) == mark_result::accepted);
    CHECK(pending(tracker) == 9);
    CHECK(tracker.mark(10, 0) == mark_result::accepted);
    CHECK(pending(tracker) == 12);
    tracker.committed(12);
    CHECK_FALSE(tracker.pending());
    CHECK(tracker.committed() == 12);
    CHECK(tracker.marked() == 12);
    deliver(tracker, 12);
    CHECK(tracker.mark(13, 0) == mark_result::accepted);
    CHECK(tracker.seal() == tracked_offset{13});
}

TEST_CASE("offset_tracker: a gap that grows, also when nobody looked meanwhile") {
    offset_tracker tracker;
    deliver_range(tracker, 0, 10);
    tracker.pass_over(10, 12);
    tracker.pass_over(12, 20);
    tracker.pass_over(20, 25);
    CHECK(tracker.mark(10, 0) == mark_result::accepted);
    CHECK(tracker.seal() == tracked_offset{25});
}

TEST_CASE("offset_tracker: behind a gap that was committed a later gap takes nothing back") {
    offset_tracker tracker;
    deliver_range(tracker, 0, 10);
    CHECK(tracker.mark(10, 0) == mark_result::accepted);
    tracker.pass_over(10, 12);
    deliver_range(tracker, 12, 15);
    tracker.pass_over(15, 20);
    CHECK(pending(tracker) == 12);
    tracker.committed(12);
    CHECK(tracker.mark(11, 0) == mark_result::ignored);
    CHECK_FALSE(tracker.pending());
    CHECK(tracker.mark(15, 0) == mark_result::accepted);
    CHECK(pending(tracker) == 20);
}

TEST_CASE("offset_tracker: acknowledged in any order, a gap counts when all before it are") {
    offset_tracker tracker;
    std::vector<delivered_record> const records = deliver_range(tracker, 0, 3);
    tracker.pass_over(3, 8);
    CHECK(ack(tracker, records[2]) == mark_result::accepted);
    CHECK(ack(tracker, records[0]) == mark_result::accepted);
    CHECK(pending(tracker) == 1);
    CHECK(ack(tracker, records[1]) == mark_result::accepted);
    CHECK(pending(tracker) == 8);
}

TEST_CASE("offset_tracker: where nothing was delivered, a gap is done") {
    offset_tracker fresh;
    fresh.pass_over(offset_tracker::none, 5);
    CHECK(fresh.pending() == tracked_offset{5});
    offset_tracker committed{16, {10, "text"}};
    committed.pass_over(offset_tracker::none, 12);
    CHECK(committed.pending() == tracked_offset{12, "text"});
    deliver(committed, 12);
    CHECK(committed.marked() == 12);
}

TEST_CASE("offset_tracker: the text of a mark goes with it to the end of a gap") {
    offset_tracker tracker;
    deliver_range(tracker, 0, 10);
    tracker.pass_over(10, 12);
    CHECK(tracker.mark(10, "ten", 0) == mark_result::accepted);
    CHECK(tracker.pending() == tracked_offset{12, "ten"});
    CHECK(tracker.seal() == tracked_offset{12, "ten"});
}

TEST_CASE("offset_tracker: a reset into a gap, or before it, is kept to the letter") {
    for (std::int64_t const back : {11, 10, 4}) {
        offset_tracker tracker;
        deliver_range(tracker, 0, 10);
        CHECK(tracker.mark(10, 0) == mark_result::accepted);
        tracker.pass_over(10, 12);
        CHECK(tracker.reset(back) == mark_result::accepted);
        CHECK(pending(tracker) == back);
        CHECK(tracker.seal() == tracked_offset{back});
    }
}

TEST_CASE("offset_tracker: a backward step forgets a gap of the log that was") {
    offset_tracker tracker;
    deliver_range(tracker, 0, 10);
    tracker.pass_over(10, 20);
    deliver(tracker, 0);
    CHECK(tracker.mark(1, tracker.epoch()) == mark_result::accepted);
    deliver_range(tracker, 1, 10);
    CHECK(tracker.mark(10, tracker.epoch()) == mark_result::accepted);
    CHECK(pending(tracker) == 10);
}

TEST_CASE("offset_tracker: a gap that is told after the end still counts for the last commit") {
    offset_tracker tracker;
    deliver_range(tracker, 0, 10);
    CHECK(tracker.mark(10, 0) == mark_result::accepted);
    CHECK(tracker.seal() == tracked_offset{10});
    tracker.pass_over(10, 12);
    CHECK(pending(tracker) == 12);
    CHECK(tracker.mark(13, 0) == mark_result::refused_ended);
}

// The end.

TEST_CASE(
    "offset_tracker: after seal everything is refused, and the last commit can be tried again") {
    offset_tracker tracker;
    CHECK(tracker.mark(7, "seven", 0) == mark_result::accepted);
    CHECK(tracker.seal() == tracked_offset{7, "seven"});
    CHECK(tracker.mark(8, 0) == mark_result::refused_ended);
    CHECK(tracker.mark(8, "eight", 0) == mark_result::refused_ended);
    CHECK(tracker.mark(3, 0) == mark_result::refused_ended);
    CHECK(tracker.reset(3) == mark_result::refused_ended);
    deliver_range(tracker, 0, 2);
    deliver_range(tracker, 0, 2);
    CHECK(tracker.pending() == tracked_offset{7, "seven"});
    CHECK(tracker.seal() == tracked_offset{7, "seven"});
    tracker.committed(7);
    CHECK_FALSE(tracker.pending());
    CHECK(tracker.marked() == 7);
}

TEST_CASE("offset_tracker: after seal acknowledgements are refused, in the window and beyond it") {
    offset_tracker tracker{4};
    std::vector<delivered_record> const records = deliver_range(tracker, 0, 10);
    CHECK(ack(tracker, records[0]) == mark_result::accepted);
    CHECK(tracker.seal() == tracked_offset{1});
    CHECK(ack(tracker, records[1]) == mark_result::refused_ended);
    CHECK(ack(tracker, records[9]) == mark_result::refused_ended);
    CHECK(tracker.pending() == tracked_offset{1});
}

// Everything, against a plain model.

namespace {

/// What the tracker promises, written down as plainly as possible.
class plain_model {
public:
    struct record {
        std::int64_t offset;
        std::uint32_t epoch;
        std::int64_t went_back_to; // the lowest offset delivery went back to, later
    };

    explicit plain_model(std::optional<std::int64_t> start) : point{start}, committed{start} {}

    void step_back(std::int64_t offset) {
        ++epoch;
        for (std::uint64_t i = prefix; i != records.size(); ++i) {
            records[i].went_back_to = std::min(records[i].went_back_to, offset);
        }
        if (point && offset < *point) {
            set(offset, {});
        }
    }

    void deliver(std::int64_t offset) {
        records.push_back({offset, epoch, std::numeric_limits<std::int64_t>::max()});
    }

    void ack(std::uint64_t sequence) {
        acknowledged.insert(sequence);
        while (acknowledged.count(prefix) != 0) {
            record const& passed = records[prefix++];
            std::int64_t const next = std::min(passed.offset + 1, passed.went_back_to);
            if (!point || next > *point) {
                set(next, {});
            }
        }
    }

    bool mark(std::int64_t next, std::string const& metadata, std::uint32_t of_epoch) {
        bool const counts = of_epoch == epoch && (!point || next > *point);
        if (counts) {
            set(next, metadata);
        }
        return counts;
    }

    bool reset(std::int64_t next, std::string const& metadata) {
        bool const counts = !point || next <= *point;
        if (counts) {
            set(next, metadata);
        }
        return counts;
    }

    void commit(tracked_offset const& confirmed) {
        committed = confirmed.next;
        committed_text = confirmed.metadata;
    }

    std::optional<tracked_offset> pending() const {
        bool const fresh = point && (point != committed || text != committed_text);
        return fresh ? std::optional{tracked_offset{*point, text}} : std::nullopt;
    }

    std::uint64_t undone() const { return records.size() - acknowledged.size(); }

    std::vector<record> records;
    std::set<std::uint64_t> acknowledged;
    std::uint64_t prefix = 0;
    std::uint32_t epoch = 0;
    std::optional<std::int64_t> point;
    std::string text;
    std::optional<std::int64_t> committed;
    std::string committed_text;

private:
    void set(std::int64_t next, std::string metadata) {
        point = next;
        text = std::move(metadata);
    }
};

/// How often each thing happened: a schedule in which one never did proves nothing about it.
struct schedule_figures {
    std::size_t operations = 0;
    std::size_t deliveries = 0;
    std::size_t runs = 0;
    std::size_t acks = 0;
    std::size_t repeated_acks = 0;
    std::size_t marks = 0;
    std::size_t ignored_marks = 0;
    std::size_t window_closed = 0;
    std::size_t window_opened = 0;
    std::size_t backward_steps = 0;
    std::size_t resets = 0;
    std::size_t commits = 0;
    std::size_t lowered_commits = 0;
    std::size_t late_acks = 0; // of records that the ring has passed
};

class random_schedule {
public:
    random_schedule(std::uint64_t seed, schedule_figures& figures)
        : seed_{seed},
          figures_{figures},
          random_{seed},
          acks_{roll(3) != 0},
          obeys_window_{roll(4) != 0},
          backward_every_{roll(2) == 0 ? 100u : 1500u},
          window_{std::vector<std::size_t>{1, 7, 300, 1024, 1025, 2048, 3000}[roll(7)]},
          left_behind_{roll(3) == 0 ? 0 : roll(roll(2) == 0 ? 4 : window_)},
          start_{roll(2) == 0 ? std::nullopt : std::optional{static_cast<std::int64_t>(roll(50))}},
          tracker_{window_, {start_.value_or(offset_tracker::none), {}}},
          model_{start_} {}

    void run(std::size_t steps) {
        for (step_ = 0; step_ != steps; ++step_) {
            step();
        }
        expect(tracker_.seal() == model_.pending(), "seal");
        mark_result const late = acks_ ? ack_of(0) : tracker_.mark(1'000'000'000, model_.epoch);
        expect(late == mark_result::refused_ended, "refused after seal");
        expect(tracker_.pending() == model_.pending(), "pending after seal");
        expect(tracker_.marked() == model_.point.value_or(offset_tracker::none),
               "marked after seal");
    }

private:
    void step() {
        std::uint64_t const dice = roll(1000);
        if (dice < 430 || model_.records.empty()) {
            deliver_some();
        } else if (dice < 880) {
            acks_ ? ack_some() : mark();
        } else if (dice < 910) {
            acks_ ? repeat_ack() : mark();
        } else if (dice < 940) {
            expect(tracker_.pending() == model_.pending(), "pending");
        } else if (dice < 970) {
            commit();
        } else if (dice < 980) {
            reset();
        } else if (dice < 990) {
            expect(!acks_ || tracker_.undone(0) == model_.undone(), "undone");
            expect(tracker_.committed() == model_.committed.value_or(offset_tracker::none),
                   "committed");
        } else if (settled_) {
            mark_result const other =
                acks_ ? tracker_.mark(1'000'000'000, model_.epoch) : ack_of(0);
            expect(other == mark_result::refused_mode, "the other mode");
        }
        if (roll(backward_every_) == 0) {
            step_back();
        }
    }

    void deliver_some() {
        std::uint64_t const count = roll(100) == 0 ? roll(2500) : 1 + roll(4);
        if (roll(4) == 0) {
            return deliver_run(1 + roll(count));
        }
        for (std::uint64_t i = 0; i != count; ++i) {
            if (obeys_window_ && window_full()) {
                return;
            }
            next_offset_ += roll(8) == 0 ? static_cast<std::int64_t>(roll(30)) : 0;
            deliver();
        }
    }

    bool window_full() {
        told_to_wait_ = acks_ && settled_ && model_.undone() >= window_;
        expect(tracker_.window_full() == told_to_wait_, "window_full");
        figures_.window_closed += told_to_wait_ ? 1 : 0;
        return told_to_wait_;
    }

    void deliver() {
        expect(tracker_.deliver(next_offset_) == model_.records.size(), "sequence");
        in_hand_.push_back(model_.records.size());
        model_.deliver(next_offset_++);
        ++figures_.deliveries;
        ++figures_.operations;
    }

    /// Several in one call, once the window lets one through.
    void deliver_run(std::uint64_t count) {
        if (obeys_window_ && window_full()) {
            return;
        }
        std::int64_t const first = next_offset_;
        std::uint64_t const sequence = model_.records.size();
        for (std::uint64_t i = 0; i != count; ++i) {
            next_offset_ += i != 0 && roll(8) == 0 ? static_cast<std::int64_t>(roll(30)) : 0;
            in_hand_.push_back(model_.records.size());
            model_.deliver(next_offset_++);
        }
        expect(tracker_.deliver(first, next_offset_ - 1, count) == sequence, "sequence of a run");
        ++figures_.runs;
        figures_.deliveries += count;
        ++figures_.operations;
    }

    void ack_some() {
        std::uint64_t const count = roll(100) == 0 ? roll(2500) : 1 + roll(4);
        for (std::uint64_t i = 0; i != count && !in_hand_.empty(); ++i) {
            // Mostly near the oldest, so that what is in flight moves on.
            std::size_t const skipped = in_hand_.size() > left_behind_ ? left_behind_ : 0;
            std::size_t const near = std::min<std::size_t>(in_hand_.size() - skipped, 40);
            std::size_t const index = roll(20) == 0 ? roll(in_hand_.size()) : skipped + roll(near);
            auto const chosen = in_hand_.begin() + static_cast<std::ptrdiff_t>(index);
            std::uint64_t const sequence = *chosen;
            figures_.late_acks += sequence + window_ < model_.records.size() ? 1 : 0;
            in_hand_.erase(chosen);
            model_.ack(sequence);
            expect(ack_of(sequence) == mark_result::accepted, "acknowledgement");
            settled_ = true;
            ++figures_.acks;
            ++figures_.operations;
            look_at_window();
        }
    }

    void look_at_window() {
        bool const opens = told_to_wait_ && model_.undone() < window_;
        expect(tracker_.window_opened() == opens, "window_opened");
        if (opens) {
            told_to_wait_ = false;
            ++figures_.window_opened;
        }
    }

    void repeat_ack() {
        std::uint64_t const range = roll(2) == 0 ? model_.prefix : model_.records.size();
        std::uint64_t const back = 1 + roll(roll(2) == 0 ? range : 2000);
        std::uint64_t const sequence = range - std::min(range, back);
        if (model_.acknowledged.count(sequence) == 0) {
            return;
        }
        // That it has no effect is what counts: one whose first came early cannot be told apart.
        mark_result const result = ack_of(sequence);
        expect(result == mark_result::ignored || result == mark_result::accepted,
               "repeated acknowledgement");
        ++figures_.repeated_acks;
        ++figures_.operations;
        look_at_window();
    }

    void mark() {
        std::uint64_t const beyond = static_cast<std::uint64_t>(next_offset_) + 1;
        std::uint64_t const chosen =
            roll(2) == 0 ? beyond - std::min(beyond, roll(50)) : roll(beyond + 20);
        std::int64_t const next = static_cast<std::int64_t>(chosen);
        std::uint32_t const older = static_cast<std::uint32_t>(roll(model_.epoch + 1));
        std::uint32_t const epoch = roll(5) == 0 ? older : model_.epoch;
        std::string const text = roll(4) == 0 ? "text " + std::to_string(roll(5)) : std::string{};
        bool const plain = text.empty() && roll(2) == 0;
        mark_result const result =
            plain ? tracker_.mark(next, epoch) : tracker_.mark(next, text, epoch);
        bool const counts = model_.mark(next, text, epoch);
        expect(result == (counts ? mark_result::accepted : mark_result::ignored), "mark");
        settled_ = true;
        ++(counts ? figures_.marks : figures_.ignored_marks);
        ++figures_.operations;
    }

    void commit() {
        std::optional<tracked_offset> const offered = tracker_.pending();
        expect(offered == model_.pending(), "pending to be committed");
        ++figures_.operations;
        if (!offered) {
            return;
        }
        std::uint64_t const meanwhile = roll(9);
        if (meanwhile == 0) {
            step_back();
        } else if (meanwhile == 1) {
            reset();
        } else if (meanwhile == 2) {
            acks_ ? ack_some() : mark();
        }
        figures_.lowered_commits += model_.committed && offered->next < *model_.committed ? 1 : 0;
        tracker_.committed(offered->next);
        model_.commit(*offered);
        ++figures_.commits;
    }

    void reset() {
        std::int64_t const highest = model_.point.value_or(next_offset_);
        std::uint64_t const down =
            roll(static_cast<std::uint64_t>(std::min<std::int64_t>(highest, 20)) + 4);
        std::int64_t const next = highest + 3 - static_cast<std::int64_t>(down);
        std::string const text = roll(2) == 0 ? "reset " + std::to_string(roll(5)) : std::string{};
        mark_result const result = tracker_.reset(next, text);
        expect(result == (model_.reset(next, text) ? mark_result::accepted : mark_result::ignored),
               "reset");
        ++figures_.resets;
        ++figures_.operations;
    }

    void step_back() {
        if (next_offset_ == 0) {
            return;
        }
        std::uint64_t const furthest = std::min<std::uint64_t>(
            static_cast<std::uint64_t>(next_offset_), roll(2) == 0 ? 30 : 5000);
        next_offset_ -= 1 + static_cast<std::int64_t>(roll(furthest));
        model_.step_back(next_offset_);
        ++figures_.backward_steps;
        if (roll(2) == 0) {
            tracker_.rebase(next_offset_);
        } else {
            deliver(); // finds out by itself
        }
        expect(tracker_.epoch() == model_.epoch, "epoch");
    }

    mark_result ack_of(std::uint64_t sequence) {
        plain_model::record const& record = model_.records[sequence];
        return tracker_.ack(record.offset, sequence, record.epoch);
    }

    std::uint64_t roll(std::uint64_t sides) { return sides == 0 ? 0 : random_() % sides; }

    void expect(bool holds, char const* subject) const {
        if (!holds) {
            FAIL("seed " << seed_ << ", step " << step_ << ": " << std::string{subject});
        }
    }

    std::uint64_t seed_;
    schedule_figures& figures_;
    std::mt19937_64 random_;
    bool acks_;
    bool obeys_window_;
    std::uint64_t backward_every_;
    std::size_t window_;
    std::uint64_t left_behind_; // so many of the oldest in hand are mostly left alone
    std::optional<std::int64_t> start_;
    offset_tracker tracker_;
    plain_model model_;
    std::vector<std::uint64_t> in_hand_; // delivered and not acknowledged, in order of delivery
    std::int64_t next_offset_ = 0;
    std::size_t step_ = 0;
    bool settled_ = false;
    bool told_to_wait_ = false;
};

} // namespace

TEST_CASE("offset_tracker: does what a plain model does, over random schedules") {
    schedule_figures figures;
    for (std::uint64_t seed = 1; figures.operations < 1'200'000; ++seed) {
        random_schedule{seed, figures}.run(2500);
    }
    for (std::size_t const figure :
         {figures.runs, figures.acks, figures.repeated_acks, figures.marks, figures.ignored_marks,
          figures.window_closed, figures.window_opened, figures.backward_steps, figures.resets,
          figures.commits, figures.lowered_commits, figures.late_acks}) {
        CHECK(figure > 500);
    }
}

// Memory.

TEST_CASE("offset_tracker: marks and acknowledgements allocate nothing in steady state") {
    constexpr std::size_t in_flight = 5000;
    offset_tracker tracker;
    offset_tracker marked;
    std::vector<std::size_t> order(in_flight);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::mt19937 random{1};
    std::int64_t offset = 0;
    std::int64_t highest = 0;
    std::size_t accepted = 0;
    std::size_t committed = 0;
    auto const round = [&] {
        std::int64_t const first = offset;
        std::uint64_t const first_sequence = tracker.deliver(offset++);
        while (offset != first + static_cast<std::int64_t>(in_flight)) {
            tracker.deliver(offset++);
        }
        std::shuffle(order.begin(), order.end(), random);
        for (std::size_t const index : order) {
            std::int64_t const done = first + static_cast<std::int64_t>(index);
            accepted +=
                tracker.ack(done, first_sequence + index, 0) == mark_result::accepted ? 1u : 0u;
            highest = std::max(highest, done + 1);
            static_cast<void>(marked.mark(highest, 0));
        }
        for (offset_tracker* const committing : {&tracker, &marked}) {
            if (std::optional<tracked_offset> const next = committing->pending()) {
                committing->committed(next->next);
                ++committed;
            }
        }
    };

    std::size_t const at_start = kgroup::tests::allocations();
    for (int i = 0; i != 4; ++i) {
        round();
    }
    CHECK(kgroup::tests::allocations() > at_start); // the counter counts
    std::size_t const before = kgroup::tests::allocations();
    for (int i = 0; i != 100; ++i) {
        round();
    }
    CHECK(kgroup::tests::allocations() == before);
    CHECK(accepted == 104 * in_flight);
    CHECK(committed == 2 * 104);
    CHECK(tracker.committed() == offset);
    CHECK(marked.committed() == offset);
}

TEST_CASE("offset_tracker: the ring is as large as what is in flight, not as the window") {
    offset_tracker tracker;
    std::size_t accepted = 0;
    std::size_t const before = kgroup::tests::allocations();
    for (std::int64_t offset = 0; offset != 1'000'000; ++offset) {
        std::uint64_t const sequence = tracker.deliver(offset);
        accepted += tracker.ack(offset, sequence, 0) == mark_result::accepted ? 1u : 0u;
    }
    CHECK(kgroup::tests::allocations() - before <= 2);
    CHECK(accepted == 1'000'000);
    CHECK(pending(tracker) == 1'000'000);
}

TEST_CASE("offset_tracker: who looks is told of the oldest that is not done, wherever others are") {
    offset_tracker tracker{64};
    CHECK_FALSE(tracker.done_until());
    std::int64_t offset = 100;
    auto const first = tracker.deliver(offset++);
    auto const second = tracker.deliver(offset++);
    tracker.ack(101, second, 0);
    tracker.look();
    CHECK(tracker.done_until() == 0);
    CHECK(tracker.in_flight() == 2); // as far as the ring tells
    for (auto more = 0; more != 1000; ++more) {
        CHECK_FALSE(tracker.window_full());
        tracker.ack(offset, tracker.deliver(offset), 0);
        ++offset;
    }
    tracker.look();
    CHECK(tracker.done_until() == 0);
    CHECK(tracker.in_flight() < 64);
    tracker.ack(100, first, 0);
    tracker.look();
    CHECK(tracker.done_until() == 1002);
    CHECK(tracker.in_flight() == 0);
    CHECK(tracker.marked() == offset);
}
