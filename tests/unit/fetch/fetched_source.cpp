// SPDX-License-Identifier: MIT

#include <kgroup/detail/fetch/direct_source.hpp>
#include <kgroup/detail/fetch/fetched_source.hpp>
#include <kgroup/error.hpp>
#include <kgroup/event.hpp>
#include <kgroup/message_channel.hpp>

#include <asio/io_context.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "made_batch.hpp"
#include "support/failing_allocation.hpp"

namespace fetched_source_tests {
namespace {

using namespace kgroup::detail;
using namespace kgroup::detail::fetch;
using namespace kgroup::tests;
using kgroup::message;
using kgroup::topic_partition;
using event_of = fetch_event::kind;
using offsets = std::vector<std::int64_t>;

/// What the group is told.
struct told final : claim_observer {
    std::vector<kgroup::event> events;
    std::function<void()> on_event;
    std::vector<std::pair<std::error_code, std::string>> failures;
    std::vector<std::pair<std::int64_t, std::int64_t>> moves;

    void mark_refused(topic_partition const&, kgroup::mark_result) noexcept override {}
    void position_moved(topic_partition const&, std::int64_t from,
                        std::int64_t to) noexcept override {
        moves.emplace_back(from, to);
    }
    void mark_beyond_end(topic_partition const&, std::int64_t, std::int64_t) noexcept override {}
    void released_twice(topic_partition const&) noexcept override {}
    void report_of_claim(kgroup::event one) noexcept override {
        events.push_back(std::move(one));
        if (auto const then = std::exchange(on_event, nullptr)) {
            then();
        }
    }
    void partition_failed(topic_partition const&, std::error_code error,
                          std::string_view text) noexcept override {
        failures.emplace_back(error, text);
    }
};

/// What the fetcher and the client are asked.
struct asked final : claim_requests {
    std::size_t may_wait = 1 << 20;
    std::vector<bool> wants;
    struct finding {
        std::uint64_t ticket;
        std::uint64_t generation;
        std::int64_t at;
        damage wrong;
        friend bool operator==(finding const&, finding const&) = default;
    };
    std::vector<finding> damages;
    std::vector<std::int64_t> old_formats;
    std::vector<std::int64_t> handed_over;
    std::vector<std::pair<std::int64_t, std::int64_t>> resets;
    int held_still = 0;

    std::size_t share() const noexcept override { return may_wait; }
    void want(std::uint64_t, bool more) noexcept override { wants.push_back(more); }
    void on_damaged(std::uint64_t ticket, std::uint64_t generation, std::int64_t at,
                    damage wrong) noexcept override {
        damages.push_back({ticket, generation, at, wrong});
    }
    void on_old_format(std::uint64_t, std::uint64_t, std::int64_t at) noexcept override {
        old_formats.push_back(at);
    }
    void on_position_reset(std::int64_t from, std::int64_t to) noexcept override {
        resets.emplace_back(from, to);
    }
    void hand_over(std::uint64_t, fetch_event const& why) noexcept override {
        handed_over.push_back(why.from);
    }
    void hold_still() noexcept override { ++held_still; }
};

/// librdkafka's source, in which stands what `records` names.
struct native_source final : record_source {
    std::vector<std::int64_t> records;
    std::vector<int> objects = std::vector<int>(100);
    std::size_t freed = 0;
    bool closed = false;
    std::function<void()> on_waiting; // behind the answer how many wait

    void drain(record_block& block, std::size_t) noexcept override {
        record_block::writer into{block};
        while (!records.empty() && !into.full()) {
            into.append(&objects[static_cast<std::size_t>(records.front())], nullptr, 0, "native",
                        6, records.front());
            records.erase(records.begin());
        }
    }
    std::size_t waiting() const noexcept override {
        auto const result = records.size();
        if (on_waiting) {
            on_waiting();
        }
        return result;
    }
    void close() noexcept override { closed = true; }
    std::size_t drop_waiting() noexcept { return std::exchange(records, {}).size(); }
    void free_records(record*, std::size_t count) noexcept override { freed += count; }
    std::int64_t timestamp(void*) const noexcept override { return 77; }
    void headers(void*, header_sink const& sink) const override { sink("native", std::nullopt); }
    watermarks known_watermarks() const noexcept override { return {0, 50}; }
};

/// A claim of t[0], from offset 10 on, and what it asks.
struct fixture {
    explicit fixture(std::size_t block_bytes = 1 << 20) : state{make_state(executor, observer)} {
        fetched->restart(1, 10, -1);
        state->start(source, 10);
        channel.emplace(*state, block_bytes);
    }
    static std::shared_ptr<partition_state> make_state(asio::io_context& context,
                                                       std::shared_ptr<told> const& to) {
        return std::make_shared<partition_state>(topic_partition{"t", 0}, context.get_executor(),
                                                 kgroup::tracked_offset{-1, {}}, to);
    }

    /// Answers live as long as somebody keeps them.
    std::weak_ptr<void const> answer(std::string bytes, std::int64_t position,
                                     std::int64_t next_offset, std::uint64_t generation = 1,
                                     std::vector<aborted_transaction> aborted = {}) {
        auto const kept = std::make_shared<std::string>(std::move(bytes));
        auto records = records_of(kept, position, next_offset, generation);
        records.aborted = std::move(aborted);
        fetched->take(std::move(records));
        return kept;
    }
    fetched_records records_of(std::shared_ptr<std::string> const& bytes, std::int64_t position,
                               std::int64_t next_offset, std::uint64_t generation) const {
        fetched_records records;
        records.ticket = 1;
        records.generation = generation;
        records.bytes = *bytes;
        records.keep = bytes;
        records.memory = partition;
        records.position = position;
        records.next_offset = next_offset;
        records.high_watermark = 1000;
        records.log_start = 3;
        return records;
    }
    void tell(event_of type, std::int64_t from = -1, std::int64_t to = -1) {
        fetched->tell(1, {.type = type, .from = from, .to = to});
    }

    /// What the fetcher does with the last finding, before it acts upon it.
    bool begins_again() {
        auto const& last = requests->damages.back();
        return fetched->begins_again(last.ticket, last.generation, last.at);
    }

    std::optional<message> receive() { return channel->try_receive(); }
    offsets receive_all() {
        offsets result;
        while (auto const one = receive()) {
            result.push_back(one->offset());
        }
        return result;
    }

    asio::io_context executor;
    std::shared_ptr<told> observer = std::make_shared<told>();
    std::shared_ptr<asked> requests = std::make_shared<asked>();
    std::shared_ptr<partition_state> state;
    std::shared_ptr<answer_memory> memory = std::make_shared<answer_memory>(std::size_t{1} << 20);
    std::shared_ptr<partition_memory> partition = std::make_shared<partition_memory>(memory);
    std::shared_ptr<records_by_way> counted = std::make_shared<records_by_way>();
    std::shared_ptr<fetched_source> fetched = std::make_shared<fetched_source>(
        *state, fetched_source::settings{isolation::read_committed, 1 << 20}, requests);
    std::shared_ptr<native_source> native = std::make_shared<native_source>();
    std::shared_ptr<direct_source<native_source>> source =
        std::make_shared<direct_source<native_source>>(fetched, native, requests, counted);
    std::optional<kgroup::message_channel> channel;
};

TEST_CASE("fetched_source: records of answers come in their order, with all that they have") {
    fixture of;
    made_batch made;
    made.base_offset = 10;
    made.records = {{10, made.base_timestamp - 1, "k", "v", {}},
                    {11, made.base_timestamp, std::nullopt, "", {}},
                    {12, made.base_timestamp, "", std::nullopt, {{"a", "1"}, {"b", std::nullopt}}}};
    SUBCASE("plain") {}
    SUBCASE("compressed") { made.codec = codec::lz4; }
    of.answer(made.bytes(), 10, 13);
    CHECK(of.source->waiting() == 3);
    auto const first = of.receive();
    REQUIRE(first);
    CHECK(first->offset() == 10);
    CHECK(first->key() == "k");
    CHECK(first->value() == "v");
    CHECK(first->timestamp()->time_since_epoch().count() / 1'000'000 == made.base_timestamp - 1);
    auto const second = of.receive();
    REQUIRE(second);
    CHECK_FALSE(second->has_key());
    CHECK(second->has_value());
    CHECK(second->value() == "");
    auto const third = of.receive();
    REQUIRE(third);
    CHECK(third->key() == "");
    CHECK_FALSE(third->has_value());
    CHECK(third->has_key());
    REQUIRE(third->headers().size() == 2);
    CHECK(third->headers()[0].value == "1");
    CHECK_FALSE(third->headers()[1].value.has_value());
    CHECK_FALSE(of.receive());
    CHECK(of.source->waiting() == 0);
    CHECK(of.counted->direct == 3);
    CHECK(of.counted->handed_over == 0);
}

TEST_CASE("fetched_source: no claim keeps a buffer of what it has decompressed and read") {
    fixture of;
    auto const large_at = [](std::int64_t base) {
        auto made = plain_batch(base, 2);
        made.codec = codec::lz4;
        made.records[0].value = std::string(50'000, ' ');
        return made;
    };
    auto const leave_block = [&] {
        of.answer(plain_batch(14, 1).bytes(), 14, 15);
        CHECK(of.receive_all() == offsets{14});
    };
    auto& pool = of.memory->buffers();
    SUBCASE("two batches") {
        of.answer(large_at(10).bytes() + large_at(12).bytes(), 10, 14);
        CHECK(of.receive_all() == offsets{10, 11, 12, 13});
        leave_block();
    }
    SUBCASE("a message outlives the reading") {
        of.answer(large_at(10).bytes(), 10, 12);
        auto const kept = of.receive();
        CHECK(of.receive_all() == offsets{11});
        leave_block();
        CHECK(pool.bytes() == 0);
        CHECK(of.memory->used() >= 50'000);
    }
    CHECK(of.memory->used() == 0);
    auto const buffers = pool.bytes();
    CHECK(buffers >= 50'000);
    CHECK(buffers <= of.memory->limit() / 8);
    of.answer(large_at(20).bytes(), 20, 22);
    CHECK(of.receive()->offset() == 20);
    CHECK(pool.bytes() < buffers); // it is used again
}

TEST_CASE("fetched_source: what cannot be decompressed leaves no buffer behind") {
    fixture of;
    auto broken = plain_batch(10, 1);
    broken.codec = codec::gzip;
    auto payload = compressed(codec::gzip, std::string(50'000, ' '));
    payload.resize(payload.size() - 8); // its end is not there
    broken.payload = payload;
    of.answer(broken.bytes(), 10, 11);
    CHECK(of.receive_all().empty());
    CHECK(of.requests->damages.size() == 1);
    CHECK(of.memory->buffers().bytes() >= 50'000);
    CHECK(of.memory->used() == 0);
}

TEST_CASE("fetched_source: an answer lives as long as its last message") {
    fixture of;
    auto const bytes = plain_batch(10, 3).bytes() + plain_batch(13, 3).bytes();
    auto const answer = of.answer(bytes, 10, 16);
    {
        auto const kept = of.receive();
        CHECK(of.receive_all() == offsets{11, 12, 13, 14, 15});
        of.answer(plain_batch(16, 1).bytes(), 16, 17);
        CHECK(of.receive_all() == offsets{16}); // leaves the block of those before
        CHECK_FALSE(answer.expired());
        CHECK(kept->value() == "10");
    }
    CHECK(answer.expired());
}

TEST_CASE("fetched_source: what was decompressed lives as long as its messages, also behind the "
          "claim") {
    fixture of;
    auto made = plain_batch(10, 100);
    made.codec = codec::zstd;
    auto const answer = of.answer(made.bytes(), 10, 110);
    auto kept = of.receive();
    of.receive_all();
    CHECK(answer.expired());
    CHECK(of.memory->used() >= made.written_records().size()); // and counts
    CHECK(of.partition->held() == of.memory->used());
    of.state->end(kgroup::end_reason::revoked);
    of.channel.reset();
    of.source->close();
    CHECK(kept->value() == "10");
    kept.reset();
    CHECK(of.memory->used() == 0);
}

TEST_CASE("fetched_source: blocks end within batches") {
    fixture of{20};
    auto const bytes = plain_batch(10, 600).bytes() + plain_batch(610, 40).bytes();
    of.answer(bytes, 10, 650);
    auto const got = of.receive_all();
    REQUIRE(got.size() == 640);
    for (std::size_t i = 0; i != got.size(); ++i) {
        CHECK(got[i] == static_cast<std::int64_t>(i) + 10);
    }
    CHECK(of.source->waiting() == 0);
}

TEST_CASE("fetched_source: a full claim wants no more until half of it was read") {
    fixture of;
    auto const bytes = plain_batch(10, 40).bytes();
    of.requests->may_wait = 2 * bytes.size();
    of.answer(bytes, 10, 50);
    CHECK(of.requests->wants.empty());
    of.answer(plain_batch(50, 40).bytes(), 50, 90);
    CHECK(of.requests->wants == std::vector<bool>{false});
    CHECK(of.receive()); // a block of a few
    CHECK(of.requests->wants == std::vector<bool>{false});
    CHECK(of.receive_all().size() == 79);
    CHECK(of.requests->wants == std::vector<bool>{false, true});
}

TEST_CASE("fetched_source: a full claim whose topic was made again has room") {
    fixture of;
    auto const bytes = plain_batch(10, 40).bytes();
    of.requests->may_wait = bytes.size();
    of.answer(bytes, 10, 50);
    CHECK(of.requests->wants == std::vector<bool>{false});
    of.tell(event_of::topic_recreated, 50);
    CHECK(of.requests->wants == std::vector<bool>{false, true});
}

TEST_CASE("fetched_source: the position stands behind what does not come") {
    fixture of;
    auto aborted = plain_batch(12, 3);
    aborted.more_attributes = made_batch::transactional;
    aborted.producer = 7;
    of.answer(plain_batch(10, 2).bytes() + aborted.bytes() + marker_batch(15, 7, 0).bytes(), 10, 16,
              1, {{7, 12}});
    CHECK(of.receive_all() == offsets{10, 11});
    CHECK_FALSE(of.receive());
    CHECK(of.state->position() == 16);
    SUBCASE("which is committed with what stands before") {
        of.state->tracker().mark(12, of.state->tracker().epoch());
        CHECK(of.state->tracker().pending()->next == 16);
    }
    SUBCASE("also when nobody drains") {
        of.answer(marker_batch(16, 7, 1).bytes() + plain_batch(17, 1).bytes(), 16, 18);
        of.source->look();
        CHECK(of.state->position() == 17);
        of.source->look();
        CHECK(of.receive_all() == offsets{17});
    }
}

TEST_CASE("fetched_source: a drain passes over so much and not more, and is called again") {
    fixture of;
    std::string bytes;
    for (std::int64_t offset = 10; offset != 1010; ++offset) {
        bytes += marker_batch(offset, 7, 1).bytes();
    }
    of.answer(bytes + plain_batch(1010, 1).bytes(), 10,
              1011); // behind the known end: not looked at
    auto& block = of.state->take_block(16, 10);
    of.fetched->drain(block, 1 << 20);
    CHECK(block.size() == 0);
    CHECK(of.state->position() > 10);
    CHECK(of.state->position() < 1000);
    CHECK(of.source->waiting() != 0);
}

TEST_CASE("fetched_source: behind damage nothing comes until it was fetched again") {
    fixture of;
    auto damaged = plain_batch(12, 2).bytes();
    damaged.back() ^= 1;
    of.answer(plain_batch(10, 2).bytes() + damaged, 10, 14);
    of.answer(plain_batch(14, 2).bytes(), 14, 16);
    CHECK(of.receive_all() == offsets{10, 11});
    CHECK(of.requests->damages == std::vector<asked::finding>{{1, 1, 12, damage::checksum}});
    CHECK(of.source->waiting() == 0);
    of.answer(plain_batch(16, 2).bytes(), 16, 18);
    CHECK(of.receive_all().empty());
    CHECK(of.begins_again());
    SUBCASE("whole") {
        of.answer(plain_batch(12, 4).bytes(), 12, 16, 2);
        CHECK(of.receive_all() == offsets{12, 13, 14, 15});
        CHECK(of.observer->failures.empty());
    }
    SUBCASE("as damaged as before") {
        of.tell(event_of::record_unreadable, 12);
        CHECK(of.receive_all().empty());
        REQUIRE(of.observer->failures.size() == 1);
        CHECK(of.observer->failures[0].first == kgroup::errc::record_unreadable);
        CHECK(of.observer->failures[0].second.find("offset 12") != std::string::npos);
        of.answer(plain_batch(16, 2).bytes(), 16, 18, 3);
        CHECK(of.receive_all().empty());
        CHECK(of.source->waiting() == 0);
    }
}

TEST_CASE(
    "fetched_source: damage behind which the fetcher went on elsewhere is asked for again, and "
    "nothing counts until then") {
    fixture of;
    auto damaged = plain_batch(12, 2).bytes();
    damaged.back() ^= 1;
    of.answer(plain_batch(10, 2).bytes() + damaged, 10, 14);
    auto const finds = [&] {
        CHECK(of.receive_all() == offsets{10, 11});
        CHECK(of.requests->damages == std::vector<asked::finding>{{1, 1, 12, damage::checksum}});
        SUBCASE("it goes on there while it has not heard of it") {
            of.answer(plain_batch(16, 2).bytes(), 16, 18, 2);
        }
        SUBCASE("it ends while it has not heard of it") { of.tell(event_of::out_of_range, 16); }
        SUBCASE("it is already there") {}
        CHECK(of.receive_all().empty());
        CHECK(of.source->waiting() == 0);
        CHECK_FALSE(of.state->is_void(14));
        CHECK_FALSE(of.fetched->begins_again(2, 1, 12)); // of another start
        CHECK_FALSE(of.fetched->begins_again(1, 1, 11));
        CHECK(of.begins_again());
        CHECK_FALSE(of.begins_again()); // it did
        of.answer(plain_batch(12, 3).bytes(), 12, 15, 3);
        of.tell(event_of::record_unreadable, 15);
        CHECK(of.receive_all() == offsets{12, 13, 14});
        REQUIRE(of.observer->failures.size() == 1);
        CHECK(of.observer->failures[0].second.find("offset 15") != std::string::npos);
        CHECK(of.requests->damages.size() == 1);
    };
    SUBCASE("a batch that the broker could not read once") {
        of.answer(plain_batch(14, 2).bytes(), 14, 16, 2);
        finds();
    }
    SUBCASE("a reset") {
        of.tell(event_of::position_reset, 14, 40);
        of.answer(plain_batch(40, 2).bytes(), 40, 42, 2);
        finds();
    }
    SUBCASE("a truncation above it") {
        of.tell(event_of::truncated, 14, 13);
        of.answer(plain_batch(13, 2).bytes(), 13, 15, 2);
        finds();
    }
    SUBCASE("an end") {
        of.tell(event_of::record_unreadable, 14);
        finds();
    }
    SUBCASE("an end, because of a truncation above it") {
        of.tell(event_of::truncated_no_reset, 14, 13);
        finds();
    }
    SUBCASE("nowhere yet") { finds(); }
}

TEST_CASE("fetched_source: damage in a log that is no more is not asked for, nor waited for") {
    fixture of;
    auto damaged = plain_batch(12, 2).bytes();
    damaged.back() ^= 1;
    bool fails = false;
    std::int64_t next = 0;
    auto const happens = [&] {
        SUBCASE("truncated there") {
            of.tell(event_of::truncated, 16, 12);
            next = 12;
        }
        SUBCASE("truncated above, and then below") {
            of.tell(event_of::truncated, 16, 15);
            of.answer(plain_batch(15, 2).bytes(), 15, 17, 2);
            of.tell(event_of::truncated, 17, 11);
            next = 11;
        }
        SUBCASE("made again") { of.tell(event_of::topic_recreated, 16); }
        SUBCASE("truncated, which ends it") {
            of.tell(event_of::truncated_no_reset, 16, 11);
            fails = true;
        }
        SUBCASE("made again, which ends it") {
            of.tell(event_of::recreated_no_reset, 16);
            fails = true;
        }
    };
    SUBCASE("before it is found") {
        of.answer(plain_batch(10, 2).bytes() + damaged, 10, 14);
        of.answer(plain_batch(14, 2).bytes(), 14, 16);
        happens();
        auto const got = of.receive_all();
        CHECK((got.empty() || got.back() < 12));
        CHECK(of.requests->damages.empty());
    }
    SUBCASE("after it was found") {
        of.answer(plain_batch(10, 2).bytes() + damaged, 10, 14);
        CHECK(of.receive_all() == offsets{10, 11});
        CHECK(of.requests->damages.size() == 1);
        happens();
        static_cast<void>(of.receive_all());
        CHECK_FALSE(of.begins_again());
    }
    CHECK(of.source->waiting() == 0);
    CHECK(of.state->position() <= 12);
    if (fails) {
        REQUIRE(of.observer->failures.size() == 1);
        CHECK(of.observer->failures[0].first == kgroup::errc::offset_out_of_range);
    } else {
        of.answer(plain_batch(next, 2).bytes(), next, next + 2, 3);
        CHECK(of.receive_all() == offsets{next, next + 1});
        CHECK(of.observer->failures.empty());
    }
}

/// What is found is kept for another thread.
struct mailed final : claim_requests {
    std::mutex mutex;
    std::optional<asked::finding> found;

    std::optional<asked::finding> take() {
        std::lock_guard const lock{mutex};
        return std::exchange(found, std::nullopt);
    }
    std::size_t share() const noexcept override { return 1 << 20; }
    void want(std::uint64_t, bool) noexcept override {}
    void on_damaged(std::uint64_t ticket, std::uint64_t generation, std::int64_t at,
                    damage wrong) noexcept override {
        std::lock_guard const lock{mutex};
        found = {ticket, generation, at, wrong};
    }
    void on_old_format(std::uint64_t, std::uint64_t, std::int64_t) noexcept override {}
    void on_position_reset(std::int64_t, std::int64_t) noexcept override {}
    void hand_over(std::uint64_t, fetch_event const&) noexcept override {}
    void hold_still() noexcept override {}
};

TEST_CASE(
    "fetched_source: a thread fetches while another one finds damage: nothing is left out, and "
    "nothing comes twice") {
    constexpr std::int64_t last = 3000;
    fixture of;
    auto const requests = std::make_shared<mailed>();
    auto const source = std::make_shared<fetched_source>(
        *of.state, fetched_source::settings{isolation::read_committed, 1 << 20}, requests);
    source->restart(1, 0, -1);
    of.state->start(source, 0);
    std::atomic<std::int64_t> received{0};
    std::thread fetching{[&] {
        std::int64_t next = 0;
        std::uint64_t generation = 1;
        std::size_t answers = 0;
        while (received != last) {
            if (auto const found = requests->take();
                found && source->begins_again(1, found->generation, found->at)) {
                next = found->at;
                ++generation;
            }
            if (next == last || next > received + 50) {
                std::this_thread::yield();
                continue;
            }
            auto const kept = std::make_shared<std::string>(plain_batch(next, 2).bytes());
            if (++answers % 7 == 0) {
                kept->back() = static_cast<char>(kept->back() ^ 1);
            }
            generation += answers % 5 == 0; // the broker has had trouble
            auto records = of.records_of(kept, next, next + 2, generation);
            records.high_watermark = last;
            source->take(std::move(records));
            next += 2;
        }
    }};
    std::int64_t expected = 0;
    bool in_order = true;
    while (expected != last && in_order) {
        if (auto const got = of.receive()) {
            in_order = got->offset() == expected;
            received = ++expected;
        } else {
            std::this_thread::yield();
        }
    }
    received = last;
    fetching.join();
    CHECK(in_order);
    of.state->end(kgroup::end_reason::stopped);
    of.channel.reset();
    source->close();
}

TEST_CASE("fetched_source: behind a seek nothing is waited for") {
    fixture of;
    auto damaged = plain_batch(12, 2).bytes();
    damaged.back() ^= 1;
    of.answer(plain_batch(10, 2).bytes() + damaged, 10, 14);
    CHECK(of.receive_all() == offsets{10, 11});
    of.fetched->restart(1, 12, -1);
    CHECK_FALSE(of.begins_again());
    of.answer(plain_batch(12, 2).bytes(), 12, 14, 2);
    CHECK(of.receive_all() == offsets{12, 13});
}

TEST_CASE("fetched_source: an answer for which there is no memory is asked for again, although the "
          "fetcher went on elsewhere") {
    fixture of;
    auto damaged = plain_batch(12, 2).bytes();
    damaged.back() ^= 1;
    bool whole = true;
    SUBCASE("what stands before is whole") {}
    SUBCASE("damage stands before, and is asked for instead") { whole = false; }
    of.answer(plain_batch(10, 2).bytes() + (whole ? plain_batch(12, 2).bytes() : damaged), 10, 14);
    auto const lost = std::make_shared<std::string>(plain_batch(14, 2).bytes());
    auto records = of.records_of(lost, 14, 16, 1);
    {
        failing_allocation const next{1};
        of.fetched->take(std::move(records));
        CHECK(failing_allocation::has_failed());
    }
    auto const first = of.requests->damages;
    CHECK(first == std::vector<asked::finding>{{1, 1, 14, damage::no_memory}});
    of.answer(plain_batch(16, 2).bytes(), 16, 18, 2);
    of.tell(event_of::out_of_range, 18);
    if (whole) {
        CHECK(of.receive_all() == offsets{10, 11, 12, 13});
        CHECK(of.requests->damages.size() == 1);
        CHECK(of.begins_again());
        of.answer(plain_batch(14, 4).bytes(), 14, 18, 3);
        CHECK(of.receive_all() == offsets{14, 15, 16, 17});
    } else {
        CHECK(of.receive_all() == offsets{10, 11});
        REQUIRE(of.requests->damages.size() == 2);
        CHECK_FALSE(of.fetched->begins_again(1, 1, 14));
        CHECK(of.begins_again());
        of.answer(plain_batch(12, 6).bytes(), 12, 18, 3);
        CHECK(of.receive_all() == offsets{12, 13, 14, 15, 16, 17});
    }
    CHECK(of.observer->failures.empty());
}

TEST_CASE("fetched_source: what ends the claim is told in front of its record, not before") {
    fixture of;
    of.answer(plain_batch(10, 2).bytes(), 10, 12);
    std::error_code expected = kgroup::errc::offset_out_of_range;
    SUBCASE("out of range") { of.tell(event_of::out_of_range, 12); }
    SUBCASE("truncated") { of.tell(event_of::truncated_no_reset, 12, 11); }
    SUBCASE("made again") { of.tell(event_of::recreated_no_reset, 12); }
    SUBCASE("unreadable") {
        of.tell(event_of::record_unreadable, 12);
        expected = kgroup::errc::record_unreadable;
    }
    CHECK(of.source->waiting() == 3);
    CHECK(of.receive()->offset() == 10);
    CHECK(of.observer->failures.empty());
    CHECK(of.receive_all() == offsets{11});
    REQUIRE(of.observer->failures.size() == 1);
    CHECK(of.observer->failures[0].first == expected);
}

TEST_CASE("fetched_source: after a truncation what stands below is read, and nothing from there "
          "on") {
    fixture of;
    of.answer(plain_batch(10, 4).bytes(), 10, 14);
    CHECK(of.receive()->offset() == 10);
    of.answer(plain_batch(14, 6).bytes(), 14, 20);
    SUBCASE("not read yet") {
        of.tell(event_of::truncated, 20, 16);
        of.answer(plain_batch(16, 2).bytes(), 16, 18, 2);
        CHECK(of.receive_all() == offsets{11, 12, 13, 14, 15, 16, 17});
    }
    SUBCASE("read and marked") {
        CHECK(of.receive_all().size() == 9);
        auto const epoch = of.state->tracker().epoch();
        of.state->tracker().mark(20, epoch);
        of.tell(event_of::truncated, 20, 16);
        CHECK(of.receive_all().empty());
        CHECK(of.state->position() == 16);
        CHECK(of.state->tracker().mark(19, epoch) == kgroup::mark_result::ignored);
        CHECK(of.state->tracker().pending()->next == 16);
        of.answer(plain_batch(16, 2).bytes(), 16, 18, 2);
        CHECK(of.receive_all() == offsets{16, 17});
    }
    SUBCASE("twice") {
        of.tell(event_of::truncated, 20, 14);
        of.answer(plain_batch(14, 2).bytes(), 14, 16, 2);
        of.tell(event_of::truncated, 16, 15);
        of.answer(plain_batch(15, 1).bytes(), 15, 16, 3);
        CHECK(of.receive_all() == offsets{11, 12, 13, 14, 15});
    }
    auto const told_of =
        std::count_if(of.observer->events.begin(), of.observer->events.end(), [](auto const& each) {
            return each.kind == kgroup::event_kind::log_truncated;
        });
    CHECK(told_of >= 1);
    CHECK(of.observer->failures.empty());
}

TEST_CASE("fetched_source: what was looked at and not taken is cut off, too") {
    fixture of;
    of.answer(plain_batch(10, 4).bytes(), 10, 14);
    SUBCASE("below it is read") {
        of.source->look();
        of.tell(event_of::truncated, 14, 11);
        of.answer(plain_batch(11, 1).bytes(), 11, 12, 2);
        CHECK(of.receive_all() == offsets{10, 11});
    }
    SUBCASE("above it is not") {
        of.source->look();
        of.tell(event_of::truncated, 14, 9);
        of.answer(plain_batch(9, 1).bytes(), 9, 10, 2);
        CHECK(of.receive_all() == offsets{9});
    }
    SUBCASE("of a topic that was made again nothing is") {
        of.source->look();
        of.tell(event_of::topic_recreated, 14);
        of.answer(plain_batch(0, 1).bytes(), 0, 1, 2);
        CHECK(of.receive_all() == offsets{0});
    }
    CHECK(of.source->waiting() == 0);
}

TEST_CASE("fetched_source: of a topic that was made again nothing old counts") {
    fixture of;
    of.answer(plain_batch(10, 600).bytes(), 10, 610);
    CHECK(of.receive()->offset() == 10);
    auto const epoch = of.state->tracker().epoch();
    of.state->tracker().mark(11, epoch);
    of.tell(event_of::topic_recreated, 610);
    auto const left = of.receive_all(); // of the block
    CHECK(left.size() < 599);
    of.answer(plain_batch(0, 2).bytes(), 0, 2, 2);
    CHECK(of.receive_all() == offsets{0, 1});
    CHECK(of.state->tracker().mark(400, epoch) == kgroup::mark_result::ignored);
    CHECK(of.state->position() == 2);
    CHECK(of.observer->events.at(0).kind == kgroup::event_kind::topic_recreated);
}

TEST_CASE("fetched_source: marks of a log that is no more are not committed, from the moment on at "
          "which that is known") {
    fixture of;
    of.answer(plain_batch(10, 4).bytes(), 10, 14);
    CHECK(of.receive_all().size() == 4);
    of.state->tracker().mark(14, of.state->tracker().epoch());
    SUBCASE("truncated") {
        of.tell(event_of::truncated, 14, 12);
        CHECK(of.state->is_void(14)); // nobody asks for records
        CHECK_FALSE(of.state->is_void(12));
        of.tell(event_of::truncated, 12, 11);
        CHECK(of.state->is_void(12));
        CHECK(of.receive_all().empty());
        CHECK(of.state->tracker().pending()->next == 11);
        CHECK_FALSE(of.state->is_void(11));
        CHECK_FALSE(of.state->is_void(100));
    }
    SUBCASE("made again") {
        of.tell(event_of::topic_recreated, 14);
        CHECK(of.state->is_void(1));
        CHECK(of.receive_all().empty());
        CHECK_FALSE(of.state->is_void(100));
    }
    SUBCASE("the claim ends first") {
        of.tell(event_of::topic_recreated, 14);
        of.source->close();
        CHECK(of.state->is_void(14));
    }
    SUBCASE("and the run ends with it") {
        of.tell(event_of::recreated_no_reset, 14);
        CHECK(of.receive_all().empty());
        CHECK(of.observer->failures.size() == 1);
        CHECK(of.state->is_void(14));
    }
}

TEST_CASE("fetched_source: marks of a log that is no more are void although there is no memory to "
          "tell it") {
    for (auto const type :
         {event_of::truncated, event_of::truncated_no_reset, event_of::recreated_no_reset}) {
        CAPTURE(static_cast<int>(type));
        fixture of;
        of.answer(plain_batch(10, 4).bytes(), 10, 14);
        CHECK(of.receive_all().size() == 4);
        of.state->tracker().mark(14, of.state->tracker().epoch());
        for (bool used_up = false; !used_up;) { // the places that are kept ready
            kgroup::tests::failing_allocation const next{1};
            of.tell(event_of::unsupported, 14);
            used_up = kgroup::tests::failing_allocation::has_failed();
        }
        CHECK_FALSE(of.state->is_void(14));
        of.observer->failures.clear();
        {
            kgroup::tests::failing_allocation const next{1};
            of.tell(type, 14, 12);
            CHECK(kgroup::tests::failing_allocation::has_failed());
        }
        REQUIRE(of.observer->failures.size() == 1);
        CHECK(of.observer->failures[0].first == std::errc::not_enough_memory);
        CHECK(of.state->is_void(14));
        CHECK(of.state->is_void(12) == (type == event_of::recreated_no_reset));
        CHECK(of.receive_all().empty());
        CHECK(of.state->is_void(14)); // the run ends, and commits once more
    }
}

TEST_CASE("fetched_source: what was told of a log counts behind a seek, too") {
    fixture of;
    of.answer(plain_batch(10, 4).bytes(), 10, 14);
    CHECK(of.receive_all().size() == 4);
    of.state->tracker().mark(14, of.state->tracker().epoch());
    of.answer(plain_batch(14, 2).bytes(), 14, 16);
    of.tell(event_of::truncated, 16, 12);
    of.fetched->restart(2, 12, -1);
    CHECK(of.state->is_void(14));
    CHECK(of.receive_all().empty());
    CHECK(of.state->tracker().pending()->next == 12);
    CHECK(of.observer->events.at(0).kind == kgroup::event_kind::log_truncated);
    CHECK_FALSE(of.state->is_void(100));
    CHECK(of.source->waiting() == 0);
}

TEST_CASE("fetched_source: offsets have the epoch of the leader that wrote the record before") {
    fixture of;
    auto const batch = [](std::int64_t base, std::size_t count, std::int32_t epoch) {
        auto made = plain_batch(base, count);
        made.leader_epoch = epoch;
        return made.bytes();
    };
    of.fetched->restart(1, 10, 2);
    CHECK(of.source->leader_epoch_before(10) == 2);
    CHECK(of.source->leader_epoch_before(11) == -1);
    of.answer(batch(8, 4, 2) + batch(12, 3, 4), 10, 15);
    CHECK(of.source->leader_epoch_before(12) == 2);
    CHECK(of.source->leader_epoch_before(13) == 4);
    CHECK(of.source->leader_epoch_before(15) == 4);
    SUBCASE("of what was truncated none, and of what remains that which the broker names") {
        of.fetched->tell(1, {.type = event_of::truncated, .from = 15, .to = 9, .leader_epoch = 1});
        CHECK(of.source->leader_epoch_before(15) == -1);
        CHECK(of.source->leader_epoch_before(10) == -1);
        CHECK(of.source->leader_epoch_before(9) == 1);
        of.answer(batch(9, 4, 5), 9, 13, 2);
        CHECK(of.source->leader_epoch_before(13) == 5);
        CHECK(of.source->leader_epoch_before(9) == 1);
    }
    SUBCASE("none that is later than that of the leader that was asked") {
        auto const bytes = std::make_shared<std::string>(batch(15, 2, 5) + batch(17, 2, 6));
        auto records = of.records_of(bytes, 15, 19, 1);
        records.leader_epoch = 5;
        of.fetched->take(std::move(records));
        CHECK(of.source->leader_epoch_before(17) == 5);
        CHECK(of.source->leader_epoch_before(19) == -1);
    }
    SUBCASE("of another topic none") {
        of.tell(event_of::topic_recreated, 15);
        CHECK(of.source->leader_epoch_before(9) == -1);
        of.answer(batch(0, 2, 0), 0, 2, 2);
        CHECK(of.source->leader_epoch_before(2) == 0);
    }
    SUBCASE("of what librdkafka reads none") {
        of.source->hand_over();
        CHECK(of.source->leader_epoch_before(12) == -1);
    }
    SUBCASE("also behind the end of the claim: it is committed then") {
        of.source->close();
        CHECK(of.source->leader_epoch_before(13) == 4);
    }
}

TEST_CASE("fetched_source: what comes while an event is carried out is not taken for that event") {
    fixture of;
    of.answer(plain_batch(10, 4).bytes(), 10, 14);
    CHECK(of.receive_all().size() == 4);
    of.state->tracker().mark(14, of.state->tracker().epoch());
    of.observer->on_event = [&] { of.tell(event_of::topic_recreated, 12); };
    of.tell(event_of::truncated, 14, 12);
    CHECK(of.receive_all().empty());
    CHECK(of.state->position() == 0);
    REQUIRE(of.observer->events.size() == 2);
    CHECK(of.observer->events[1].kind == kgroup::event_kind::topic_recreated);
    CHECK(of.source->waiting() == 0);
    of.answer(plain_batch(0, 2).bytes(), 0, 2, 2);
    CHECK(of.receive_all() == offsets{0, 1});
}

TEST_CASE("fetched_source: a reset is told at once") {
    fixture of;
    of.answer(plain_batch(10, 1).bytes(), 10, 11);
    of.tell(event_of::position_reset, 11, 40);
    CHECK(of.requests->resets == std::vector<std::pair<std::int64_t, std::int64_t>>{{11, 40}});
    of.answer(plain_batch(40, 2).bytes(), 40, 42, 2);
    CHECK(of.receive_all() == offsets{10, 40, 41});
}

TEST_CASE("fetched_source: a reset backwards does not pass over what comes") {
    fixture of;
    of.answer(plain_batch(10, 30).bytes(), 10, 40);
    CHECK(of.receive_all().size() == 30);
    of.tell(event_of::position_reset, 40, 3);
    of.answer(plain_batch(3, 2).bytes(), 3, 5, 2);
    CHECK(of.receive_all() == offsets{3, 4});
    CHECK(of.state->position() == 5);
}

TEST_CASE("fetched_source: answers of another start, and of a claim that is over, count no more") {
    fixture of;
    auto const before = of.answer(plain_batch(10, 2).bytes(), 10, 12);
    SUBCASE("of another start") {
        CHECK(of.receive()->offset() == 10);
        of.fetched->restart(2, 10, -1);
    }
    SUBCASE("of one that is over") { of.source->close(); }
    auto const after = of.answer(plain_batch(12, 2).bytes(), 12, 14);
    CHECK(after.expired());
    CHECK(of.source->waiting() == 0);
}

TEST_CASE("fetched_source: errors of a broker are told at once, with their code") {
    fixture of;
    of.fetched->tell(1, {.type = event_of::broker_error, .from = 10, .code = 29});
    REQUIRE(of.observer->failures.size() == 1);
    CHECK(of.observer->failures[0].first == kgroup::kafka_errc::topic_authorization_failed);
    of.tell(event_of::useless_answer, 10);
    CHECK(of.observer->events.at(0).kind == kgroup::event_kind::client_error);
}

TEST_CASE("fetched_source: what the brokers say of the log") {
    fixture of;
    CHECK(of.source->known_watermarks().high == -1);
    of.answer("", 10, 10);
    CHECK(of.source->known_watermarks().high == 1000);
    CHECK(of.source->known_watermarks().low == 3);
    CHECK(of.source->waiting() == 0);
}

TEST_CASE("direct_source: librdkafka reads on where the format is old") {
    fixture of;
    auto old = plain_batch(12, 1).bytes();
    old[16] = 1; // the magic
    of.answer(plain_batch(10, 2).bytes() + old, 10, 12);
    CHECK(of.receive_all() == offsets{10, 11});
    CHECK(of.requests->old_formats == offsets{12});
    CHECK(of.fetched->begins_again(1, 1, 12));
    of.tell(event_of::old_format, 12);
    CHECK(of.receive_all().empty());
    CHECK(of.requests->handed_over == offsets{12});
    of.source->hand_over();
    of.native->records = {12, 13};
    auto const first = of.receive();
    REQUIRE(first);
    CHECK(first->offset() == 12);
    CHECK(first->value() == "native");
    CHECK(first->timestamp()->time_since_epoch().count() / 1'000'000 == 77);
    CHECK(first->headers().at(0).name == "native");
    CHECK(of.receive_all() == offsets{13});
    CHECK(of.counted->direct == 2);
    CHECK(of.counted->handed_over == 2);
    CHECK(of.source->known_watermarks().high == 50);
    CHECK(of.observer->moves.empty());
}

TEST_CASE("direct_source: what waits behind a hand-over beside the drain is not dropped") {
    fixture of;
    of.native->records = {12, 13};
    of.native->on_waiting = [&] { of.source->hand_over(); }; // another thread's
    auto const first = of.receive();
    REQUIRE(first);
    CHECK(first->offset() == 12);
    CHECK(of.receive_all() == offsets{13});
    CHECK(of.requests->held_still == 0);
    CHECK(of.counted->handed_over == 2);
}

TEST_CASE("direct_source: a block may hold records of both ways") {
    fixture of;
    of.answer(plain_batch(10, 2).bytes(), 10, 12);
    auto& block = of.state->take_block(16, 10);
    of.source->drain(block, 1 << 20);
    of.source->hand_over();
    of.native->records = {12, 13};
    of.source->drain(block, 1 << 20);
    REQUIRE(block.size() == 4);
    CHECK(of.source->timestamp(block[0].native) != 77);
    CHECK(of.source->timestamp(block[3].native) == 77);
    of.source->free_records(&block[0], 4);
    CHECK(of.native->freed == 2);
    CHECK_FALSE(block.gaps());
}

TEST_CASE("direct_source: what librdkafka fetches although it is held still is dropped and told") {
    fixture of;
    of.native->records = {10, 11};
    CHECK(of.source->waiting() == 0);
    of.answer(plain_batch(10, 2).bytes(), 10, 12);
    CHECK(of.receive_all() == offsets{10, 11});
    CHECK(of.requests->held_still == 1);
    CHECK(of.native->records.empty());
    CHECK(of.counted->handed_over == 0);
}

TEST_CASE("direct_source: its end is that of both") {
    fixture of;
    of.source->close();
    CHECK(of.native->closed);
    CHECK(of.answer(plain_batch(10, 2).bytes(), 10, 12).expired());
}

} // namespace
} // namespace fetched_source_tests
