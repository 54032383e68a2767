// SPDX-License-Identifier: MIT

#include <kgroup/detail/fetch/answer_memory.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <memory>
#include <string>
#include <utility>

namespace answer_memory_tests {
namespace {

using namespace kgroup::detail::fetch;

TEST_CASE("answer_memory: what is promised and what is held counts, until it goes") {
    auto const memory = std::make_shared<answer_memory>(std::size_t{1} << 20);
    memory->promise(1000);
    CHECK(memory->used() == 1000);
    memory->take_back(1000);
    auto first = memory->take(100'000);
    REQUIRE(first);
    CHECK(first->counted() >= 100'000);
    CHECK(memory->used() == first->counted());
    auto const second = memory->copy("abc");
    REQUIRE(second);
    CHECK(second->view() == "abc");
    CHECK(memory->used() == first->counted() + second->counted());
    first = nullptr;
    CHECK(memory->used() == second->counted());
}

TEST_CASE("answer_memory: buffers are used again, if they are not far too large") {
    auto const memory = std::make_shared<answer_memory>(std::size_t{8} << 20);
    auto answer = memory->take(100'000);
    auto const* const place = answer->buffer().free_begin();
    answer = nullptr;
    answer = memory->take(90'000);
    CHECK(answer->buffer().free_begin() == place);
    CHECK(answer->view().empty());
    answer = nullptr;
    answer = memory->take(5'000);
    CHECK(answer->buffer().capacity() < 20'000);
}

TEST_CASE("answer_memory: it outlives who made it, as long as an answer is held") {
    auto memory = std::make_shared<answer_memory>(std::size_t{1} << 20);
    auto const answer = memory->copy("bytes");
    std::weak_ptr<answer_memory> const left = memory;
    memory = nullptr;
    CHECK(answer->view() == "bytes");
    CHECK_FALSE(left.expired());
}

TEST_CASE("answer_memory: who waits for a release is woken once, and never behind its end") {
    auto const memory = std::make_shared<answer_memory>(std::size_t{1} << 20);
    int wakes = 0;
    memory->on_release([&] { ++wakes; });
    auto const partition = std::make_shared<partition_memory>(memory);
    auto const hold = [&] {
        return std::make_unique<held_records>(partition, memory->copy("0123456789"), 10);
    };
    auto first = hold();
    auto second = hold();
    CHECK(partition->held() == 20);
    first = nullptr;
    CHECK(partition->held() == 10);
    CHECK(wakes == 0);
    memory->await_release();
    second = nullptr;
    CHECK(partition->held() == 0);
    CHECK(wakes == 1);
    hold();
    CHECK(wakes == 1);
    memory->await_release();
    memory->forget_wake();
    hold();
    CHECK(wakes == 1);
    CHECK(memory->used() == 0);
}

TEST_CASE("answer_memory: what is not read counts besides, until it is, and its end wakes") {
    auto const memory = std::make_shared<answer_memory>(std::size_t{1} << 20);
    int wakes = 0;
    memory->on_release([&] { ++wakes; });
    auto const partition = std::make_shared<partition_memory>(memory);
    unread_bytes first{partition, 10};
    unread_bytes second{partition, 20};
    CHECK(partition->unread() == 30);
    CHECK(partition->held() == 0);
    auto moved = std::move(first);
    first = {};
    CHECK(partition->unread() == 30);
    memory->await_release();
    moved = {};
    CHECK(partition->unread() == 20);
    CHECK(wakes == 1);
    moved = std::move(second);
    second = {};
    CHECK(partition->unread() == 20);
    memory->await_release();
    moved = {};
    CHECK(partition->unread() == 0);
    CHECK(wakes == 2);
}

TEST_CASE("answer_memory: what was decompressed counts, and its end wakes") {
    auto const memory = std::make_shared<answer_memory>(std::size_t{1} << 20);
    int wakes = 0;
    memory->on_release([&] { ++wakes; });
    partition_memory partition{memory};
    byte_buffer first;
    byte_buffer second;
    REQUIRE(first.reserve(30'000));
    REQUIRE(second.reserve(20'000));
    partition.hold_decompressed(first.capacity());
    partition.hold_decompressed(second.capacity());
    CHECK(partition.held() == 50'000);
    CHECK(memory->used() == 50'000);
    memory->await_release();
    partition.let_go_of_decompressed(std::move(first));
    CHECK(memory->used() == 20'000);
    CHECK(wakes == 1);
    CHECK(partition.buffers().bytes() == 30'000); // for the next one
    memory->await_release();
    memory->forget_release(); // nobody waits
    partition.let_go_of_decompressed(std::move(second));
    CHECK(partition.held() == 0);
    CHECK(memory->used() == 0);
    CHECK(wakes == 1);
}

} // namespace
} // namespace answer_memory_tests
