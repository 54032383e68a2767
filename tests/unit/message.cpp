// SPDX-License-Identifier: MIT

#include <kgroup/detail/claim/record_writer.hpp>
#include <kgroup/message.hpp>
#include <kgroup/message_channel.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <iterator>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/stored_source.hpp"

using namespace std::chrono_literals;
using kgroup::message;
using kgroup::detail::partition_state;
using kgroup::detail::record_access;
using kgroup::detail::record_block;
using kgroup::tests::stored;
using kgroup::tests::stored_source;

namespace {

using fixture = kgroup::tests::stored_partition;

} // namespace

TEST_CASE("message: can be moved without throwing, and not copied") {
    static_assert(std::is_nothrow_move_constructible_v<message>);
    static_assert(std::is_nothrow_move_assignable_v<message>);
    static_assert(!std::is_copy_constructible_v<message>);
    static_assert(!std::is_copy_assignable_v<message>);
    static_assert(sizeof(message) == sizeof(void*));
}

TEST_CASE("message: gives out what the record holds") {
    fixture fixture{{{.key = "customer", .value = "an order", .timestamp = 1700000000123}}};
    auto const one = fixture.take();
    CHECK(one.topic() == "orders");
    CHECK(one.partition() == 3);
    CHECK(one.offset() == 0);
    CHECK(one.key() == "customer");
    CHECK(one.value() == "an order");
    CHECK(one.has_key());
    CHECK(one.has_value());
    REQUIRE(one.timestamp());
    CHECK(one.timestamp()->time_since_epoch() == 1700000000123ms);
    CHECK(one.headers().empty());
}

TEST_CASE("message: null is not empty, and bytes are bytes") {
    std::string const bytes{"a\0b\n\xff", 5};
    fixture fixture{{{}, {.key = "", .value = ""}, {.key = bytes, .value = bytes}}};
    auto const null = fixture.take();
    CHECK_FALSE(null.has_key());
    CHECK_FALSE(null.has_value());
    CHECK(null.key().empty());
    CHECK(null.value().empty());
    CHECK_FALSE(null.timestamp());
    auto const empty = fixture.take();
    CHECK(empty.has_key());
    CHECK(empty.has_value());
    CHECK(empty.key().empty());
    CHECK(empty.value().empty());
    auto const binary = fixture.take();
    CHECK(binary.key() == bytes);
    CHECK(binary.value() == bytes);
    CHECK(binary.offset() == 20);
}

TEST_CASE("message: headers keep their order, repeated names, null and empty values") {
    fixture fixture{
        {{.headers = {{"trace", "1"}, {"trace", std::nullopt}, {"trace", ""}, {"", "unnamed"}}}}};
    auto const one = fixture.take();
    auto const headers = one.headers();
    REQUIRE(headers.size() == 4);
    CHECK(headers[0].name == "trace");
    CHECK(headers[0].value == "1");
    CHECK_FALSE(headers[1].value);
    REQUIRE(headers[2].value);
    CHECK(headers[2].value->empty());
    CHECK(headers[3].name.empty());
}

TEST_CASE(
    "message: a header by its name is the last of that name, and null, empty and absent differ") {
    fixture fixture{{{.headers = {{"a", "1"},
                                  {"null", "x"},
                                  {"a", "2"},
                                  {"null", std::nullopt},
                                  {"empty", ""},
                                  {"", "unnamed"}}},
                     {}}};
    auto const one = fixture.take();
    auto const a = one.header("a");
    REQUIRE(a);
    CHECK(*a == "2");
    auto const null = one.header("null");
    REQUIRE(null);
    CHECK_FALSE(*null);
    auto const empty = one.header("empty");
    REQUIRE(empty);
    CHECK(*empty == "");
    CHECK(one.header("") == "unnamed");
    CHECK_FALSE(one.header("A"));
    CHECK_FALSE(one.header("nul"));
    CHECK(one.header("null").value_or(std::nullopt) == one.header("absent").value_or(std::nullopt));
    CHECK_FALSE(fixture.take().header("a"));
}

TEST_CASE("message: malformed headers throw, and the rest can be read all the same") {
    fixture fixture{{{.value = "fine", .malformed = true}}};
    auto const one = fixture.take();
    CHECK_THROWS_AS(one.headers(), std::runtime_error);
    CHECK_THROWS_AS(one.header("a"), std::runtime_error);
    CHECK_THROWS_AS(one.copy(), std::runtime_error);
    CHECK(one.value() == "fine");
}

TEST_CASE("message: a copy is independent of everything") {
    std::optional<kgroup::owned_message> copy;
    {
        fixture fixture{{{.key = std::nullopt,
                          .value = "kept",
                          .timestamp = 5,
                          .headers = {{"a", "1"}, {"b", std::nullopt}}}}};
        copy = fixture.take().copy();
    }
    CHECK(copy->topic == "orders");
    CHECK(copy->partition == 3);
    CHECK(copy->offset == 0);
    CHECK_FALSE(copy->key);
    CHECK(copy->value == "kept");
    CHECK(copy->timestamp->time_since_epoch() == 5ms);
    REQUIRE(copy->headers.size() == 2);
    CHECK(copy->headers[0].value == "1");
    CHECK_FALSE(copy->headers[1].value);
}

TEST_CASE("message: the records of a block are freed once, when the last of them is gone") {
    fixture fixture{{{.value = "a"}, {.value = "b"}, {.value = "c"}}};
    std::optional<message> first{fixture.take()};
    std::optional<message> second{fixture.take()};
    auto third = fixture.take();
    third = std::move(*second); // gives up the third, and keeps the second
    CHECK(third.value() == "b");
    first.reset();
    second.reset(); // moved from: nothing
    CHECK(fixture.records[0].freed == 0);
    std::thread{[held = std::move(third)] {}}.join();
    for (auto const& record : fixture.records) {
        CHECK(record.freed == 1);
    }
}

TEST_CASE("message: given up on the claim's strand, alone or beside other threads, the records go "
          "as early") {
    fixture fixture{std::vector<stored>(kgroup::detail::partition_state::smallest_block + 3)};
    auto const last = kgroup::detail::partition_state::smallest_block - 1; // of the first block
    asio::post(fixture.state->strand(), [&] {
        std::optional<message> elsewhere;
        std::optional<message> kept;
        for (std::size_t i = 0; i != last; ++i) {
            auto one = fixture.take();
            if (i == 3) {
                elsewhere = std::move(one);
            }
        }
        SUBCASE("all at hand: with the last one, before anything else is asked for") {
            elsewhere.reset();
            CHECK(fixture.records[0].freed == 0);
            static_cast<void>(fixture.take());
            CHECK(fixture.records[0].freed == 1);
            CHECK(fixture.state->records_held() == 0);
        }
        SUBCASE("one in another thread: with that, when the claim has gone on") {
            static_cast<void>(fixture.take());
            CHECK(fixture.state->records_held() == 1);
            auto const next = fixture.take();
            CHECK(fixture.records[0].freed == 0);
            std::thread{[held = std::move(elsewhere)] {}}.join();
            CHECK(fixture.records[0].freed == 1);
        }
        SUBCASE("one in another thread, before the claim goes on") {
            std::thread{[held = std::move(elsewhere)]() mutable { held.reset(); }}.join();
            kept = fixture.take();
            CHECK(fixture.state->records_held() == 1);
            auto const next = fixture.take();
            CHECK(fixture.records[0].freed == 0);
            kept.reset();
            CHECK(fixture.records[0].freed == 1);
        }
        SUBCASE("the channel gives up what it has") {
            elsewhere.reset();
            CHECK(fixture.state->records_held() == 1);
            fixture.channel->drop_rest();
            CHECK(fixture.state->records_held() == 0);
            CHECK(fixture.records[0].freed == 1);
        }
    });
    fixture.context.run();
    for (std::size_t i = 0; i <= last; ++i) {
        CHECK(fixture.records[i].freed == 1);
    }
}

TEST_CASE("message: one that is kept beyond its claim keeps what it needs") {
    std::optional<message> late;
    std::weak_ptr<partition_state> state;
    asio::io_context context;
    std::vector<stored> records{{.value = "late"}, {.value = "never taken"}};
    {
        auto const owner = std::make_shared<partition_state>(
            kgroup::topic_partition{"orders", 3}, context.get_executor(), kgroup::tracked_offset{},
            std::weak_ptr<kgroup::detail::claim_observer>{});
        owner->start(std::make_shared<stored_source>(records), 0);
        kgroup::message_channel channel{*owner, 1 << 20};
        late = channel.try_receive();
        state = owner;
    }
    REQUIRE(late);
    CHECK_FALSE(state.expired());
    CHECK(late->value() == "late");
    CHECK(late->topic() == "orders");
    late.reset();
    CHECK(state.expired());
    CHECK(records[0].freed == 1);
    CHECK(records[1].freed == 1);
}

namespace {

/// Counts what is told of a claim.
struct counting_observer final : kgroup::detail::claim_observer {
    void mark_refused(kgroup::topic_partition const&, kgroup::mark_result) noexcept override {}
    void mark_beyond_end(kgroup::topic_partition const&, std::int64_t,
                         std::int64_t) noexcept override {}
    void released_twice(kgroup::topic_partition const&) noexcept override { ++twice; }
    void report_of_claim(kgroup::event) noexcept override {}
    void position_moved(kgroup::topic_partition const&, std::int64_t,
                        std::int64_t) noexcept override {}
    void partition_failed(kgroup::topic_partition const&, std::error_code,
                          std::string_view) noexcept override {}

    int twice = 0;
};

/// One partition whose records have their own indexes as values, drained in blocks of so many.
struct numbered {
    numbered(asio::io_context& context, std::size_t count, std::size_t at_a_time)
        : records(count),
          observer(std::make_shared<counting_observer>()),
          state(std::make_shared<partition_state>(kgroup::topic_partition{"t", 0},
                                                  context.get_executor(), kgroup::tracked_offset{},
                                                  observer)) {
        for (std::size_t i = 0; i != count; ++i) {
            records[i].value = std::to_string(i);
        }
        state->start(std::make_shared<stored_source>(records, at_a_time), 0);
        channel.emplace(*state, 1 << 20);
    }

    message take() { return *channel->try_receive(); }
    /// A batch, as `async_receive_available` gives one when records are at hand.
    kgroup::message_batch take_batch(std::size_t max) {
        asio::io_context context;
        kgroup::message_batch taken;
        auto const receive = [&]() -> asio::awaitable<void> {
            taken = co_await channel->async_receive_available(max);
        };
        asio::co_spawn(context, receive, [](std::exception_ptr e) { CHECK_FALSE(e); });
        context.run();
        return taken;
    }
    std::vector<int> freed() const {
        std::vector<int> result;
        for (auto const& record : records) {
            result.push_back(record.freed);
        }
        return result;
    }

    std::vector<stored> records;
    std::shared_ptr<counting_observer> observer;
    std::shared_ptr<partition_state> state;
    std::optional<kgroup::message_channel> channel;
};

/// Two batches of two messages, of a block each, and a message of another claim. What is done with
/// them is done to a model too.
class small_world {
public:
    static constexpr std::size_t places =
        5; // 0 and 1: the first batch, 2 and 3: the second, 4: the message
    static constexpr std::size_t steps = places * places + 3 + 1;

    explicit small_world(asio::io_context& context) : two_(context, 6, 2), one_(context, 1, 1) {
        batches_[0] = two_.take_batch(2);
        batches_[1] = two_.take_batch(2);
        alone_ = one_.take();
    }

    asio::any_io_executor const& strand() const { return two_.state->strand(); }

    /// Performs one of the steps. false: it is not possible here.
    bool perform(std::size_t step) {
        if (step < places * places) {
            auto const to = step / places;
            auto const from = step % places;
            if (!there(to) || !there(from)) {
                return false;
            }
            if (to < from) {
                std::swap(at(to), at(from));
                std::swap(model_[to], model_[from]);
            } else { // also onto itself
                at(to) = std::move(at(from));
                model_[to] = to == from ? model_[to] : std::exchange(model_[from], none);
            }
            return true;
        }
        step -= places * places;
        if (step < 2) {
            batches_[step] = {};
            model_[2 * step] = model_[2 * step + 1] = none;
            gone_[step] = true;
        } else if (step == 2) {
            alone_.reset();
            model_[4] = none;
        } else { // the claim goes on, and uses again what it has back; the batches move
            auto first = std::move(batches_[0]);
            if (more_.size() != 2) {
                more_.push_back(two_.take());
            }
            batches_[0] = std::move(first);
        }
        return true;
    }

    void check(bool exactly) {
        std::array<bool, 5> lives{};
        for (std::size_t place = 0; place != places; ++place) {
            if (model_[place] != none) {
                lives[model_[place]] = true;
                CHECK(at(place).value() ==
                      (model_[place] == 4 ? "0" : std::to_string(model_[place])));
            }
        }
        for (std::size_t batch = 0; batch != 2; ++batch) {
            auto const held = !gone_[batch] || lives[2 * batch] || lives[2 * batch + 1];
            for (auto const record : {2 * batch, 2 * batch + 1}) {
                auto const freed = two_.records[record].freed;
                CHECK((held ? freed == 0 : exactly ? freed == 1 : freed <= 1));
            }
        }
        auto const freed = one_.records[0].freed;
        CHECK((lives[4] ? freed == 0 : exactly ? freed == 1 : freed <= 1));
        for (std::size_t i = 0; i != more_.size(); ++i) {
            CHECK(more_[i].value() == std::to_string(4 + i));
            CHECK(two_.records[4 + i].freed == 0);
        }
    }

    void end() {
        batches_ = {};
        alone_.reset();
        more_.clear();
        two_.channel.reset();
        one_.channel.reset();
        for (auto const* message : {&two_, &one_}) {
            auto const freed = message->freed();
            auto const received =
                message == &one_
                    ? 1
                    : 6 - static_cast<std::ptrdiff_t>(message->state->source()->waiting());
            CHECK(std::count(freed.begin(), freed.begin() + received, 1) == received);
            CHECK(message->observer->twice == 0);
            CHECK(message->state->records_held() == 0);
        }
    }

private:
    static constexpr std::size_t none = 9;

    bool there(std::size_t place) const {
        return place == 4 ? alone_.has_value() : !gone_[place / 2];
    }
    message& at(std::size_t place) { return place == 4 ? *alone_ : batches_[place / 2][place % 2]; }

    numbered two_;
    numbered one_;
    std::array<kgroup::message_batch, 2> batches_;
    std::optional<message> alone_;
    std::vector<message> more_;
    std::array<std::size_t, places> model_{0, 1, 2, 3, 4};
    std::array<bool, 2> gone_{};
};

} // namespace

TEST_CASE("batch: after each three moves, swaps and destructions every record is freed once, and "
          "none that can be read") {
    asio::io_context context;
    constexpr auto steps = small_world::steps;
    auto on_strand = false;
    SUBCASE("outside of the claim's strand") {}
    SUBCASE("on the claim's strand, where it counts when the claim goes on") { on_strand = true; }
    for (std::size_t sequence = 0; sequence != steps * steps * steps; ++sequence) {
        small_world world{context};
        auto const play = [&] {
            for (auto const step :
                 {sequence / steps / steps, sequence / steps % steps, sequence % steps}) {
                if (!world.perform(step)) {
                    break;
                }
                world.check(!on_strand);
            }
            world.end();
        };
        if (on_strand) {
            asio::post(world.strand(), play);
            context.run();
            context.restart();
        } else {
            play();
        }
    }
}

TEST_CASE("batch: one that is destroyed when the next has come takes nothing of that, though all "
          "its messages were moved out") {
    asio::io_context context;
    numbered claim{context, 40, 4};
    asio::post(claim.state->strand(), [&] {
        kgroup::message_batch batch;
        std::vector<message> newest;
        for (int i = 0; i != 10; ++i) {
            batch = claim.take_batch(4); // the one before goes now
            newest.clear();
            for (auto& message : batch) {
                CHECK(message.value() == std::to_string(message.offset() / 10));
                newest.push_back(std::move(message));
            }
            for (auto const& message : newest) {
                CHECK(claim.records[static_cast<std::size_t>(message.offset() / 10)].freed == 0);
            }
        }
    });
    context.run();
    claim.channel.reset();
    CHECK(claim.freed() == std::vector<int>(40, 1));
}

TEST_CASE("batch: it is a range with random access, to be sorted, rotated and reversed") {
    static_assert(std::random_access_iterator<kgroup::message_batch::iterator>);
    asio::io_context context;
    numbered claim{context, 8, 4};
    auto batch = claim.take_batch(4);
    auto const values = [&] {
        std::string all;
        for (auto const& message : batch) {
            all += message.value();
        }
        return all;
    };
    std::sort(batch.begin(), batch.end(),
              [](message const& one, message const& other) { return one.value() > other.value(); });
    CHECK(values() == "3210");
    std::rotate(batch.begin(), batch.begin() + 1, batch.end());
    CHECK(values() == "2103");
    std::reverse(batch.begin(), batch.end());
    CHECK(values() == "3012");
    CHECK(batch[1].value() == "0");
    CHECK(batch.back().value() == "2");
    auto it = batch.begin();
    CHECK((it++)->value() == "3");
    CHECK((it--)->value() == "0");
    CHECK(it == batch.begin());
    CHECK(1 + it == batch.end() - 3);
    CHECK(batch.end() - it == 4);
    CHECK(it[2].value() == "1");
    batch = {};
    CHECK(claim.freed() == std::vector<int>{1, 1, 1, 1, 0, 0, 0, 0});
}

TEST_CASE("batch: two that exchanged messages may end on two threads, in any order") {
    asio::io_context context;
    for (int round = 0; round != 200; ++round) {
        numbered claim{context, 8, 4};
        auto first = claim.take_batch(4);
        auto second = claim.take_batch(4);
        std::swap_ranges(first.begin() + 1, first.end(), second.begin());
        auto kept = std::move(first[2]);
        std::thread other{[second = std::move(second)]() mutable {
            CHECK(second[0].value() == "1");
            second = {};
        }};
        first = {};
        CHECK(kept.value() == "5");
        other.join();
        claim.channel.reset();
        CHECK(kept.value() == "5");
        CHECK(claim.freed() == std::vector<int>{1, 1, 1, 1, 0, 0, 0, 0});
        std::thread{[gone = std::move(kept)] {}}.join();
        CHECK(claim.freed() == std::vector<int>(8, 1));
    }
}

TEST_CASE("batch: it may be empty of its own messages, and outlive its claim") {
    asio::io_context context;
    kgroup::message_batch batch;
    std::optional<numbered> claim;
    claim.emplace(context, 5, 4);
    {
        batch = claim->take_batch(4);
        auto guest = claim->take();
        for (auto& message : batch) {
            auto const gone = std::move(message);
        }
        batch[3] = std::move(guest);
    }
    CHECK(claim->state->records_held() == 5);
    claim->channel.reset();
    claim->state.reset();
    CHECK(batch[3].value() == "4");
    batch = {};
    CHECK(claim->freed() == std::vector<int>(5, 1));
}

TEST_CASE("message: one that is destroyed twice is told, and takes no other's place in the count") {
    asio::io_context context;
    numbered claim{context, 3, 3};
    auto const twice = [&](message& which) { // what g++ 12 makes of a temporary in `?:`
        static_assert(sizeof(message) == sizeof(void*));
        alignas(message) std::byte copy[sizeof(message)];
        std::memcpy(copy, static_cast<void const*>(&which), sizeof copy);
        std::launder(reinterpret_cast<message*>(copy))->~message();
    };
    SUBCASE("alone") {
        auto first = claim.take();
        auto const second = claim.take();
        twice(first);
        CHECK(claim.observer->twice == 0);
        CHECK(claim.state->records_held() == 2);
        CHECK(claim.freed() == std::vector<int>(3, 0));
        CHECK(second.value() == "1");
    }
    SUBCASE("the last one") {
        auto first = claim.take();
        claim.channel.reset();
        twice(first);
        CHECK(claim.freed() == std::vector<int>(3, 1));
        CHECK(claim.state->records_held() == 0);
        CHECK(claim.observer->twice == 0);
    }
    SUBCASE("out of a batch") {
        auto batch = claim.take_batch(3);
        auto first = std::move(batch[0]);
        twice(first);
        CHECK(batch[1].value() == "1");
    }
    SUBCASE("a whole batch") {
        auto batch = claim.take_batch(2);
        alignas(kgroup::message_batch) std::byte copy[sizeof batch];
        std::memcpy(copy, static_cast<void const*>(&batch), sizeof copy);
        std::launder(reinterpret_cast<kgroup::message_batch*>(copy))->~message_batch();
    }
    claim.channel.reset();
    CHECK(claim.observer->twice == 1);
    CHECK(claim.freed() == std::vector<int>(3, 1));
    CHECK(claim.state->records_held() == 0);
}
