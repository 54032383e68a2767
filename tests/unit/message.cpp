#include <kgroup/detail/record_writer.hpp>
#include <kgroup/message.hpp>
#include <kgroup/message_channel.hpp>

#include <asio/io_context.hpp>
#include <asio/post.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using kgroup::message;
using kgroup::detail::partition_state;
using kgroup::detail::record_access;
using kgroup::detail::record_block;

namespace {

struct stored {
    std::optional<std::string> key{};
    std::optional<std::string> value{};
    std::int64_t timestamp = -1;
    std::vector<kgroup::owned_message::owned_header> headers{};
    bool malformed = false;
    int freed = 0;
};

/// A partition with these records in it.
class stored_source final : public kgroup::detail::record_source {
public:
    explicit stored_source(std::vector<stored>& records) : records_(records) {}

    void drain(record_block& block, std::size_t) noexcept override {
        record_block::writer into{block};
        while (next_ != records_.size() && !into.full()) {
            auto& each = records_[next_];
            auto const data = [](std::optional<std::string> const& from) { return from ? from->data() : nullptr; };
            auto const size = [](std::optional<std::string> const& from) { return from ? from->size() : 0; };
            into.append(&each, data(each.key), size(each.key), data(each.value), size(each.value), static_cast<std::int64_t>(10 * next_));
            ++next_;
        }
    }
    std::size_t waiting() const noexcept override { return records_.size() - next_; }
    void close() noexcept override {}
    void free_records(kgroup::detail::record* first, std::size_t count) noexcept override {
        for (std::size_t i = 0; i != count; ++i) {
            ++of(first[i].native).freed;
        }
    }
    std::int64_t timestamp(void* native) const noexcept override { return of(native).timestamp; }
    void headers(void* native, header_sink const& sink) const override {
        if (of(native).malformed) {
            throw std::runtime_error{"malformed"};
        }
        for (auto const& each : of(native).headers) {
            sink(each.name, each.value ? std::optional{std::string_view{*each.value}} : std::nullopt);
        }
    }
    kgroup::detail::watermarks known_watermarks() const noexcept override { return {}; }

private:
    static stored& of(void* native) noexcept { return *static_cast<stored*>(native); }

    std::vector<stored>& records_;
    std::size_t next_ = 0;
};

/// One partition, "orders" 3, and its channel.
struct fixture {
    explicit fixture(std::vector<stored> given)
        : records(std::move(given)), state(std::make_shared<partition_state>(kgroup::topic_partition{"orders", 3}, context.get_executor(),
                                                                            kgroup::tracked_offset{}, std::weak_ptr<kgroup::detail::claim_observer>{})) {
        state->start(std::make_shared<stored_source>(records), 0);
        channel.emplace(*state, 1 << 20);
    }

    message take() {
        auto taken = channel->try_receive();
        REQUIRE(taken);
        return std::move(*taken);
    }

    asio::io_context context;
    std::vector<stored> records;
    std::shared_ptr<partition_state> state;
    std::optional<kgroup::message_channel> channel;
};

} // namespace

TEST_CASE("message: can be moved without throwing, and not copied") {
    static_assert(std::is_nothrow_move_constructible_v<message>);
    static_assert(std::is_nothrow_move_assignable_v<message>);
    static_assert(!std::is_copy_constructible_v<message>);
    static_assert(!std::is_copy_assignable_v<message>);
    static_assert(sizeof(message) == sizeof(void*));
}

TEST_CASE("message: gives out what the record holds") {
    fixture of{{{.key = "customer", .value = "an order", .timestamp = 1700000000123}}};
    auto const one = of.take();
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
    fixture of{{{}, {.key = "", .value = ""}, {.key = bytes, .value = bytes}}};
    auto const null = of.take();
    CHECK_FALSE(null.has_key());
    CHECK_FALSE(null.has_value());
    CHECK(null.key().empty());
    CHECK(null.value().empty());
    CHECK_FALSE(null.timestamp());
    auto const empty = of.take();
    CHECK(empty.has_key());
    CHECK(empty.has_value());
    CHECK(empty.key().empty());
    CHECK(empty.value().empty());
    auto const binary = of.take();
    CHECK(binary.key() == bytes);
    CHECK(binary.value() == bytes);
    CHECK(binary.offset() == 20);
}

TEST_CASE("message: headers keep their order, repeated names, null and empty values") {
    fixture of{{{.headers = {{"trace", "1"}, {"trace", std::nullopt}, {"trace", ""}, {"", "unnamed"}}}}};
    auto const one = of.take();
    auto const headers = one.headers();
    REQUIRE(headers.size() == 4);
    CHECK(headers[0].name == "trace");
    CHECK(headers[0].value == "1");
    CHECK_FALSE(headers[1].value);
    REQUIRE(headers[2].value);
    CHECK(headers[2].value->empty());
    CHECK(headers[3].name.empty());
}

TEST_CASE("message: malformed headers throw, and the rest can be read all the same") {
    fixture of{{{.value = "fine", .malformed = true}}};
    auto const one = of.take();
    CHECK_THROWS_AS(one.headers(), std::runtime_error);
    CHECK_THROWS_AS(one.copy(), std::runtime_error);
    CHECK(one.value() == "fine");
}

TEST_CASE("message: a copy is independent of everything") {
    std::optional<kgroup::owned_message> copy;
    {
        fixture of{{{.key = std::nullopt, .value = "kept", .timestamp = 5, .headers = {{"a", "1"}, {"b", std::nullopt}}}}};
        copy = of.take().copy();
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
    fixture of{{{.value = "a"}, {.value = "b"}, {.value = "c"}}};
    std::optional<message> first{of.take()};
    std::optional<message> second{of.take()};
    auto third = of.take();
    third = std::move(*second); // gives up the third, and keeps the second
    CHECK(third.value() == "b");
    first.reset();
    second.reset(); // moved from: nothing
    CHECK(of.records[0].freed == 0);
    std::thread{[held = std::move(third)] {}}.join();
    for (auto const& each : of.records) {
        CHECK(each.freed == 1);
    }
}

TEST_CASE("message: given up on the claim's strand, alone or beside other threads, the records go as early") {
    fixture of{std::vector<stored>(kgroup::detail::partition_state::smallest_block + 3)};
    auto const last = kgroup::detail::partition_state::smallest_block - 1; // of the first block
    asio::post(of.state->strand(), [&] {
        std::optional<message> elsewhere;
        std::optional<message> kept;
        for (std::size_t i = 0; i != last; ++i) {
            auto one = of.take();
            if (i == 3) {
                elsewhere = std::move(one);
            }
        }
        SUBCASE("all at hand: with the last one, before anything else is asked for") {
            elsewhere.reset();
            CHECK(of.records[0].freed == 0);
            static_cast<void>(of.take());
            CHECK(of.records[0].freed == 1);
            CHECK(of.state->records_held() == 0);
        }
        SUBCASE("one in another thread: with that, when the claim has gone on") {
            static_cast<void>(of.take());
            CHECK(of.state->records_held() == 1);
            auto const next = of.take();
            CHECK(of.records[0].freed == 0);
            std::thread{[held = std::move(elsewhere)] {}}.join();
            CHECK(of.records[0].freed == 1);
        }
        SUBCASE("one in another thread, before the claim goes on") {
            std::thread{[held = std::move(elsewhere)]() mutable { held.reset(); }}.join();
            kept = of.take();
            CHECK(of.state->records_held() == 1);
            auto const next = of.take();
            CHECK(of.records[0].freed == 0);
            kept.reset();
            CHECK(of.records[0].freed == 1);
        }
        SUBCASE("the channel gives up what it has") {
            elsewhere.reset();
            CHECK(of.state->records_held() == 1);
            of.channel->drop_rest();
            CHECK(of.state->records_held() == 0);
            CHECK(of.records[0].freed == 1);
        }
    });
    of.context.run();
    for (std::size_t i = 0; i <= last; ++i) {
        CHECK(of.records[i].freed == 1);
    }
}

TEST_CASE("message: one that is kept beyond its claim keeps what it needs") {
    std::optional<message> late;
    std::weak_ptr<partition_state> state;
    asio::io_context context;
    std::vector<stored> records{{.value = "late"}, {.value = "never taken"}};
    {
        auto const owner = std::make_shared<partition_state>(kgroup::topic_partition{"orders", 3}, context.get_executor(),
                                                             kgroup::tracked_offset{}, std::weak_ptr<kgroup::detail::claim_observer>{});
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
