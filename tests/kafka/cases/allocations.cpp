// SPDX-License-Identifier: MIT

#include <doctest/doctest.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <link.h>
#include <map>
#include <thread>

#include "kafka.hpp"
#include "member.hpp"

using namespace kgroup::tests;

namespace {

/// What one thread has asked the allocator for.
struct allocations {
    std::size_t ours = 0;
    std::size_t librdkafkas = 0; // asked for by its own code, in calls of ours
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
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
}

namespace {

inline void note(void* caller) noexcept {
    if (counted) [[unlikely]] {
        auto const where = reinterpret_cast<std::uintptr_t>(caller);
        ++(librdkafka_begin <= where && where < librdkafka_end ? seen.librdkafkas : seen.ours);
    }
}

} // namespace

extern "C" {
void* malloc(std::size_t size) {
    note(__builtin_return_address(0));
    return __libc_malloc(size);
}
void* calloc(std::size_t count, std::size_t size) {
    note(__builtin_return_address(0));
    return __libc_calloc(count, size);
}
void* realloc(void* old, std::size_t size) {
    note(__builtin_return_address(0));
    return __libc_realloc(old, size);
}
// The C library's would be the caller of malloc, whoever called it.
char* strdup(char const* text) noexcept {
    note(__builtin_return_address(0));
    auto const size = std::strlen(text) + 1;
    auto* const copy = __libc_malloc(size);
    return copy ? static_cast<char*>(std::memcpy(copy, text, size)) : nullptr;
}
void* memalign(std::size_t alignment, std::size_t size) {
    note(__builtin_return_address(0));
    return __libc_memalign(alignment, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) {
    note(__builtin_return_address(0));
    return __libc_memalign(alignment, size);
}
int posix_memalign(void** result, std::size_t alignment, std::size_t size) {
    note(__builtin_return_address(0));
    *result = __libc_memalign(alignment, size);
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

void check(char const* what, window const& over) {
    MESSAGE(std::string{what}, ": ", over.result.ours, " allocations of ours and ",
            over.result.librdkafkas, " of librdkafka's own in ", over.size, " records");
    CHECK(over.size >= measured);
    // What is fetched by a direct group has some an answer.
    CHECK(over.result.ours <= (direct ? over.size / 100 : 0));
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

TEST_CASE("threads: while it runs there are librdkafka's and the user's, no other") {
    auto const threads = [] {
        std::multimap<std::string, std::string> found; // by name
        for (auto const& each : std::filesystem::directory_iterator{"/proc/self/task"}) {
            std::ifstream file{each.path() / "comm"};
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
