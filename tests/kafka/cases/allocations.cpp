// SPDX-License-Identifier: MIT

#include <kgroup/for_each.hpp>
#include <kgroup/timer.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/this_coro.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <link.h>
#include <malloc.h>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "kafka.hpp"
#include "member.hpp"

using namespace kgroup::tests;

namespace {

/// What one thread has asked the allocator for.
struct allocations {
    std::size_t ours = 0;
    std::ptrdiff_t bytes_held = 0; // by ours, and not given back
    std::size_t librdkafkas = 0;   // asked for by its own code, in calls of ours
};

thread_local bool counted = false;
thread_local allocations seen;
std::uintptr_t librdkafka_begin = 0;
std::uintptr_t librdkafka_end = 0;

} // namespace

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

// In place of the C library's, for this program and all libraries in it.
extern "C" {
void* __libc_malloc(std::size_t);
void __libc_free(void*);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
}

namespace {

inline bool is_librdkafkas(void* caller) noexcept {
    auto const where = reinterpret_cast<std::uintptr_t>(caller);
    return librdkafka_begin <= where && where < librdkafka_end;
}
inline void* noted(void* caller, void* block) noexcept {
    if (counted) [[unlikely]] {
        if (is_librdkafkas(caller)) {
            ++seen.librdkafkas;
        } else {
            ++seen.ours;
            seen.bytes_held += static_cast<std::ptrdiff_t>(malloc_usable_size(block));
        }
    }
    return block;
}
inline void note_free(void* caller, void* block) noexcept {
    if (counted && !is_librdkafkas(caller)) [[unlikely]] {
        seen.bytes_held -= static_cast<std::ptrdiff_t>(malloc_usable_size(block));
    }
}

} // namespace

extern "C" {
void* malloc(std::size_t size) { return noted(__builtin_return_address(0), __libc_malloc(size)); }
// By another name, since g++ 12 fails at a template that has a `free` of one's own as its argument.
void counted_free(void* block) noexcept __asm__("free");
void counted_free(void* block) noexcept {
    note_free(__builtin_return_address(0), block);
    __libc_free(block);
}
void* calloc(std::size_t count, std::size_t size) {
    return noted(__builtin_return_address(0), __libc_calloc(count, size));
}
void* realloc(void* old, std::size_t size) {
    note_free(__builtin_return_address(0), old);
    return noted(__builtin_return_address(0), __libc_realloc(old, size));
}
// The C library's would be the caller of malloc, whoever called it.
char* strdup(char const* text) noexcept {
    auto const size = std::strlen(text) + 1;
    auto* const copy = noted(__builtin_return_address(0), __libc_malloc(size));
    return copy ? static_cast<char*>(std::memcpy(copy, text, size)) : nullptr;
}
void* memalign(std::size_t alignment, std::size_t size) {
    return noted(__builtin_return_address(0), __libc_memalign(alignment, size));
}
void* aligned_alloc(std::size_t alignment, std::size_t size) {
    return noted(__builtin_return_address(0), __libc_memalign(alignment, size));
}
int posix_memalign(void** result, std::size_t alignment, std::size_t size) {
    *result = noted(__builtin_return_address(0), __libc_memalign(alignment, size));
    return *result ? 0 : ENOMEM;
}
}

#endif

namespace {

void find_librdkafka() {
    dl_iterate_phdr(
        [](dl_phdr_info* info, std::size_t, void*) {
            if (std::string_view{info->dlpi_name}.find("librdkafka") == std::string_view::npos) {
                return 0;
            }
            for (int i = 0; i != info->dlpi_phnum; ++i) {
                auto const& part = info->dlpi_phdr[i];
                if (part.p_type == PT_LOAD && (part.p_flags & PF_X) != 0) {
                    librdkafka_begin = info->dlpi_addr + part.p_vaddr;
                    librdkafka_end = librdkafka_begin + part.p_memsz;
                }
            }
            return 1;
        },
        nullptr);
}

/// Counts on this thread from the `begin`th record on, for so many records.
class window {
public:
    window(std::size_t begin, std::size_t length) : begin_(begin), end_(begin + length) {}

    void pass(std::size_t records) {
        auto const before = passed_;
        passed_ += records;
        if (before < begin_ && passed_ >= begin_) {
            seen = {};
            counted = true;
        }
        if (before < end_ && passed_ >= end_) {
            counted = false;
            result = seen;
            size = passed_ - begin_;
            over = true;
        }
    }

    allocations result;
    std::size_t size = 0;
    std::atomic<bool> over{false};

private:
    std::size_t begin_;
    std::size_t end_;
    std::size_t passed_ = 0;
};

constexpr std::size_t measured = 50000;
constexpr std::size_t warm_up = 20000;
constexpr std::int32_t partitions_counted = 4;

kgroup::config without_commits(kafka const& on, std::string const& topic) {
    auto given = on.member_of_new_group(topic);
    given.auto_commit_interval = std::chrono::milliseconds{0};
    given.expected_partitions = 64; // small buffers: the partitions take turns, so that all of them
                                    // are warm when the count begins
    return given;
}

bool can_count() {
    if (sanitized) {
        skip("a sanitizer has an allocator of its own");
        return false;
    }
    find_librdkafka();
    REQUIRE(librdkafka_begin != 0);
    return true;
}

/// `most`: how many of ours there may be a record.
void check(char const* subject, window const& over, std::size_t most = 0) {
    MESSAGE(std::string{subject}, ": ", over.result.ours, " allocations of ours and ",
            over.result.librdkafkas, " of librdkafka's own in ", over.size, " records");
    CHECK(over.size >= measured);
    // What is fetched by a direct group has some an answer.
    CHECK(over.result.ours <= most * over.size + (direct ? over.size / 100 : 0));
}

} // namespace

TEST_CASE("allocations: the count counts") {
    if (!can_count()) {
        return;
    }
    counted = true;
    seen = {};
    auto* volatile some = new int{1};
    auto* volatile more = std::malloc(10);
    auto* const list = rd_kafka_topic_partition_list_new(1);
    counted = false;
    CHECK(seen.ours == 2);
    CHECK(seen.librdkafkas >= 1);
    delete some;
    std::free(more);
    rd_kafka_topic_partition_list_destroy(list);
}

TEST_CASE("allocations: none in 50,000 records through async_receive and mark") {
    if (!can_count()) {
        return;
    }
    kafka brokers;
    auto const topic = brokers.create_topic(partitions_counted);
    brokers.fill(
        topic,
        std::vector<std::size_t>(partitions_counted, (warm_up + measured) / partitions_counted),
        40);
    window over{warm_up, measured};
    member one{without_commits(brokers, topic),
               {.consume_claim = [&](auto&, auto& claim) -> asio::awaitable<void> {
                   while (auto const record = co_await claim.messages().async_receive()) {
                       claim.mark(*record);
                       over.pass(1);
                   }
               }}};
    REQUIRE(eventually([&] { return over.over.load(); }));
    check("async_receive", over);
}

TEST_CASE("allocations: none in 50,000 records through async_receive_available and mark") {
    if (!can_count()) {
        return;
    }
    kafka brokers;
    auto const topic = brokers.create_topic(partitions_counted);
    brokers.fill(
        topic,
        std::vector<std::size_t>(partitions_counted, (warm_up + measured) / partitions_counted),
        40);
    window over{warm_up, measured};
    member one{without_commits(brokers, topic),
               {.consume_claim = [&](auto&, auto& claim) -> asio::awaitable<void> {
                   for (;;) {
                       auto const batch = co_await claim.messages().async_receive_available(100);
                       if (batch.empty()) {
                           break;
                       }
                       for (auto const& record : batch) {
                           claim.mark(record);
                       }
                       over.pass(batch.size());
                   }
               }}};
    REQUIRE(eventually([&] { return over.over.load(); }));
    check("async_receive_available", over);
}

TEST_CASE("allocations: none in 50,000 records through async_receive and ack") {
    if (!can_count()) {
        return;
    }
    kafka brokers;
    auto const topic = brokers.create_topic(partitions_counted);
    brokers.fill(
        topic,
        std::vector<std::size_t>(partitions_counted, (warm_up + measured) / partitions_counted),
        40);
    window over{warm_up, measured};
    member one{without_commits(brokers, topic),
               {.consume_claim = [&](auto&, auto& claim) -> asio::awaitable<void> {
                   while (auto const record = co_await claim.messages().async_receive()) {
                       claim.ack(*record);
                       over.pass(1);
                   }
               }}};
    REQUIRE(eventually([&] { return over.over.load(); }));
    check("async_receive and ack", over);
}

TEST_CASE("allocations: none in 50,000 records that arrive while handlers wait") {
    if (!can_count()) {
        return;
    }
    if (direct) {
        return skip("each is in an answer of its own");
    }
    kafka brokers;
    auto const topic = brokers.create_topic(partitions_counted);
    // Records that wait together make the claims have room for as many as they ever take at once.
    brokers.fill(topic, std::vector<std::size_t>(partitions_counted, warm_up / partitions_counted),
                 40);
    window over{warm_up, measured};
    member one{without_commits(brokers, topic),
               {.consume_claim = [&](auto&, auto& claim) -> asio::awaitable<void> {
                   while (auto const record = co_await claim.messages().async_receive()) {
                       claim.mark(*record);
                       over.pass(1);
                   }
               }}};
    REQUIRE(eventually([&] { return one.stats().records_received >= warm_up; }));
    for (std::size_t sent = 0; !over.over && sent < 2 * measured;) {
        for (int i = 0; i != 50; ++i, ++sent) {
            brokers.send(topic, static_cast<std::int32_t>(sent) % partitions_counted,
                         "a record of about forty bytes, all alike");
        }
        brokers.flush();
    }
    REQUIRE(eventually([&] { return over.over.load(); }));
    check("arriving", over);
}

namespace {

// One of sixteen keys, in turn.
std::optional<std::string_view> key_in_turn(kgroup::message const& record) {
    constexpr std::string_view letters{"0123456789abcdef"};
    return letters.substr(static_cast<std::size_t>(record.offset()) % letters.size(), 1);
}

/// What is allocated while `for_each` takes a member through 50,000 records. `elsewhere`: in the
/// form with an executor, which is that of the same thread.
template <typename Function>
void check_processing(char const* subject, kgroup::order order, bool elsewhere, Function function) {
    kafka brokers;
    auto const topic = brokers.create_topic(partitions_counted);
    brokers.fill(
        topic,
        std::vector<std::size_t>(partitions_counted, (warm_up + measured) / partitions_counted),
        40);
    window over{warm_up, measured};
    std::unique_ptr<member> one;
    one = std::make_unique<member>(
        without_commits(brokers, topic),
        hooks{.consume_claim = [&](auto&, auto& claim) -> asio::awaitable<void> {
            auto counting = [&](kgroup::message const& record) {
                over.pass(1);
                return function(record);
            };
            kgroup::for_each_options const options{
                .order = order, .in_flight = 10, .key = key_in_turn};
            if (elsewhere) {
                auto const executor = one->context().get_executor();
                co_await kgroup::for_each(claim, executor, options, counting);
            } else {
                co_await kgroup::for_each(claim, options, counting);
            }
        }});
    REQUIRE(eventually([&] { return over.over.load(); }));
    check(subject, over, elsewhere ? 3 : 0);
}

asio::awaitable<void> wait_for_nothing(kgroup::message const&) { co_return; }
void do_nothing(kgroup::message const&) {}

} // namespace

TEST_CASE("allocations: none in 50,000 records through for_each, in each order") {
    if (!can_count()) {
        return;
    }
    using kgroup::order;
    check_processing("by_partition", order::by_partition, false, do_nothing);
    check_processing("by_key", order::by_key, false, do_nothing);
    check_processing("unordered", order::unordered, false, do_nothing);
    check_processing("by_partition, a coroutine", order::by_partition, false, wait_for_nothing);
    check_processing("by_key, a coroutine", order::by_key, false, wait_for_nothing);
    check_processing("unordered, a coroutine", order::unordered, false, wait_for_nothing);
}

// The way to another executor and back is a coroutine of its own for each attempt.
TEST_CASE("allocations: few for each record through for_each on another executor") {
    if (!can_count()) {
        return;
    }
    using kgroup::order;
    check_processing("by_partition, elsewhere", order::by_partition, true, wait_for_nothing);
    check_processing("by_key, elsewhere", order::by_key, true, wait_for_nothing);
    check_processing("unordered, elsewhere", order::unordered, true, wait_for_nothing);
}

TEST_CASE("allocations: an attempt that waits takes 1.3 KB, and what its function takes") {
    if (!can_count()) {
        return;
    }
    constexpr std::ptrdiff_t attempts = 1000;
#ifdef __OPTIMIZE__
    constexpr std::ptrdiff_t most = 1300;
#else
    constexpr std::ptrdiff_t most = 1600; // frames have room for each temporary of its own
#endif
    constexpr std::ptrdiff_t most_of_wait = 500; // a timer's, in a coroutine of its own
    kafka brokers;
    auto const topic = brokers.create_topic();
    brokers.fill(topic, {attempts + 100}, 40);
    std::ptrdiff_t begun = 0;
    std::ptrdiff_t frames = 0; // of the function, in bytes
    allocations all;
    std::atomic<bool> over{false};
    auto wait = [](kgroup::message const&) -> asio::awaitable<void> {
        kgroup::timer never{co_await asio::this_coro::executor, (kgroup::timer::time_point::max)()};
        co_await never.async_wait();
    };
    auto counting = [&](kgroup::message const& record) {
        if (begun == 0) {
            seen = {};
            counted = true;
        } else if (begun == attempts) {
            counted = false;
            all = seen;
            over = true;
        }
        ++begun;
        auto const before = seen.bytes_held;
        auto attempt = wait(record);
        frames += seen.bytes_held - before;
        return attempt;
    };
    member one{without_commits(brokers, topic),
               {.consume_claim = [&](auto&, auto& claim) -> asio::awaitable<void> {
                   co_await kgroup::for_each(
                       claim, {.order = kgroup::order::unordered, .in_flight = attempts + 1},
                       counting);
               }}};
    REQUIRE(eventually([&] { return over.load(); }));
    auto const bytes = (all.bytes_held - frames) / attempts;
    auto const frame = frames / attempts;
    MESSAGE("an attempt that waits: ", bytes, " bytes beside the function's frame of ", frame);
    CHECK(frame > 100);
    CHECK(bytes <= most + most_of_wait);
}

TEST_CASE("threads: while it runs there are librdkafka's and the user's, no other") {
    auto const threads = [] {
        std::multimap<std::string, std::string> found; // by name
        for (auto const& entry : std::filesystem::directory_iterator{"/proc/self/task"}) {
            std::ifstream file{entry.path() / "comm"};
            std::string name;
            std::getline(file, name);
            found.emplace(name.starts_with("rdk:") ? "librdkafka" : "other", name);
        }
        return found;
    };
    kafka brokers;
    auto const topic = brokers.create_topic(partitions_counted);
    brokers.fill(topic, std::vector<std::size_t>(partitions_counted, 100), 40);
    auto const before = threads();
    constexpr int users = 3;
    received records;
    member one{brokers.member_of_new_group(topic), receive_into(records), users};
    REQUIRE(eventually([&] { return records.count() == 100 * partitions_counted; }));
    REQUIRE(eventually([&] { return one.stats().commits != 0; }));
    // A look-up of a log's beginning may just be ending.
    CHECK(
        eventually([&] { return threads().count("other") == before.count("other") + users; }, 2s));
    auto const names = threads();
    MESSAGE("threads: ", before.size(), " before, ", names.size(), " while it runs, of which ",
            names.count("librdkafka"), " are librdkafka's (", before.count("librdkafka"),
            " of the test's own producer and brokers)");
    CHECK(names.count("librdkafka") > before.count("librdkafka"));
    one.stop();
    REQUIRE(one.ends_within(10s));
}
