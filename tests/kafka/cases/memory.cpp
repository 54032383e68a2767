// SPDX-License-Identifier: MIT

#include <kgroup/for_each.hpp>

#include <asio/use_awaitable.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "kafka.hpp"
#include "member.hpp"

using namespace kgroup::tests;

namespace {

constexpr std::int32_t partitions_read = 50;
constexpr std::size_t buffer_bytes = 32 << 20;

/// This process's resident memory, in bytes.
std::size_t resident() {
    std::ifstream status{"/proc/self/status"};
    std::string word;
    std::size_t kilobytes = 0;
    while (status >> word) {
        if (word == "VmRSS:") {
            status >> kilobytes;
        }
    }
    return kilobytes * 1024;
}

/// What a member of this topic, alone in a process, measured.
struct measurement {
    std::size_t waiting = 0;    // most, while no handler read
    std::size_t going = 0;      // most, while they read
    std::size_t paused = 0;     // most, when they had stopped reading
    std::size_t partitions = 0; // that went on
};

measurement measure_in_process(std::string const& topic, std::size_t enough,
                               std::string const& name_of_case = "the process that is measured") {
    auto const program = std::filesystem::read_symlink("/proc/self/exe").string();
    // One arena: what an allocator keeps for each thread is not what is measured.
    auto const command = "MALLOC_ARENA_MAX=1 KGROUP_MEASURED_TOPIC=" + topic +
                         " KGROUP_MEASURED_ENOUGH=" + std::to_string(enough) + " '" + program +
                         "' --no-skip --minimal --test-case='memory: " + name_of_case + "'";
    auto* const output = ::popen(command.c_str(), "r");
    REQUIRE(output);
    std::string said;
    std::array<char, 512> some{};
    while (std::fgets(some.data(), some.size(), output)) {
        said += some.data();
    }
    CHECK_MESSAGE(::pclose(output) == 0, said);
    measurement found;
    std::istringstream words{said};
    std::string name;
    while (words >> name) {
        for (auto const& [known, to] : {std::pair{"waiting:", &found.waiting},
                                        {"going:", &found.going},
                                        {"paused:", &found.paused},
                                        {"partitions:", &found.partitions}}) {
            if (name == known) {
                words >> *to;
            }
        }
    }
    return found;
}

double mebibytes(std::size_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

void check_bound(char const* name, std::size_t records, std::size_t size, std::size_t enough) {
    if (sanitized) {
        return skip("memory is not what it is under a sanitizer");
    }
    if (!kafka::is_there()) {
        return;
    }
    kafka brokers{kafka::kind::real};
    auto const idle =
        measure_in_process(brokers.filled_topic("memory-idle", partitions_read, 0, 0), 0);
    auto const full =
        measure_in_process(brokers.filled_topic(name, partitions_read, records, size), enough);
    auto const bound = idle.waiting + buffer_bytes + buffer_bytes / 4;
    MESSAGE("librdkafka ", std::string{rd_kafka_version_str()}, ", records of ", size,
            " bytes, MiB: idle ", mebibytes(idle.waiting), ", waiting ", mebibytes(full.waiting),
            ", going on ", mebibytes(full.going), ", paused ", mebibytes(full.paused), ", bound ",
            mebibytes(bound));
    CHECK(idle.waiting > 0);
    CHECK(full.waiting > idle.waiting + (4 << 20)); // something was measured
    CHECK(full.waiting < bound);
    CHECK(full.going < bound);
    CHECK(full.paused < bound);
    CHECK(full.partitions == partitions_read);
}

} // namespace

TEST_CASE(
    "memory: 50 partitions with 20 MB of 100 B records waiting in each stay within buffer_bytes") {
    check_bound("memory-of-small-records", 200000, 100, 5000);
}

TEST_CASE(
    "memory: 50 partitions with 20 MB of 10 KB records waiting in each stay within buffer_bytes") {
    check_bound("memory-of-large-records", 2000, 10000, 300);
}

TEST_CASE("memory: the process that is measured" * doctest::skip()) {
    auto const enough = std::strtoul(std::getenv("KGROUP_MEASURED_ENOUGH"), nullptr, 10);
    kafka brokers{kafka::kind::real};
    auto given = brokers.member_of_new_group(std::getenv("KGROUP_MEASURED_TOPIC"));
    given.buffer_bytes = buffer_bytes;
    given.expected_partitions = partitions_read;
    std::atomic<bool> go{false};
    std::array<std::atomic<std::size_t>, partitions_read> counts{};
    member one{given, {.consume_claim = [&](auto&, auto& claim) -> asio::awaitable<void> {
                   while (!go && !claim.messages().ended()) {
                       co_await pause_for(10ms);
                   }
                   while (auto const record = co_await claim.messages().async_receive()) {
                       ++counts[static_cast<std::size_t>(claim.partition())];
                       claim.mark(*record);
                   }
               }}};
    REQUIRE(eventually([&] { return one.claims() == partitions_read; }));
    auto const most_until = [](auto const& over) {
        std::size_t most = 0;
        while (!over()) {
            most = std::max(most, resident());
            std::this_thread::sleep_for(5ms);
        }
        return most;
    };
    // Until nothing has been added for a second.
    auto const settle = [&] {
        auto last = resident();
        auto since = std::chrono::steady_clock::now();
        return most_until([&] {
            auto const now = std::chrono::steady_clock::now();
            if (auto const current = resident(); current > last + 65536) {
                last = current;
                since = now;
            }
            return now - since > 1s;
        });
    };
    std::printf("waiting: %zu\n", settle());
    if (enough != 0) {
        go = true;
        auto const until = std::chrono::steady_clock::now() + 30s;
        auto const went_on = [&](auto const& count) { return count >= enough; };
        std::printf("going: %zu\n", most_until([&] {
                        return std::ranges::all_of(counts, went_on) ||
                               std::chrono::steady_clock::now() > until;
                    }));
        one.pause_all();
        std::printf("paused: %zu\n", settle());
        std::printf("partitions: %zu\n",
                    static_cast<std::size_t>(std::ranges::count_if(counts, went_on)));
    }
    one.resume_all();
}

constexpr std::int32_t partitions_parked = 4;
constexpr std::size_t held_bytes = 8 << 20;

TEST_CASE("memory: with 1,000 keys parked, for_each stays within buffer_bytes and held_bytes") {
    if (sanitized) {
        return skip("memory is not what it is under a sanitizer");
    }
    if (!kafka::is_there()) {
        return;
    }
    kafka brokers{kafka::kind::real};
    auto const measure = [&](char const* topic, std::size_t records) {
        return measure_in_process(brokers.filled_topic(topic, partitions_parked, records, 1000),
                                  records, "the process that parks keys")
            .waiting;
    };
    auto const idle = measure("memory-idle-parked", 0);
    auto const parked = measure("memory-of-parked-keys", 40'000);
    auto const used = parked - (std::min)(idle, parked);
    auto const bound = (buffer_bytes + held_bytes * partitions_parked) / 10 * 11;
    MESSAGE("MiB: idle ", mebibytes(idle), ", with parked keys ", mebibytes(parked), ", bound of ",
            mebibytes(used), " is ", mebibytes(bound));
    CHECK(idle > 0);
    CHECK(used > held_bytes); // something was measured
    CHECK(used < bound);
}

TEST_CASE("memory: the process that parks keys" * doctest::skip()) {
    auto const enough = std::strtoul(std::getenv("KGROUP_MEASURED_ENOUGH"), nullptr, 10);
    kafka brokers{kafka::kind::real};
    auto given = brokers.member_of_new_group(std::getenv("KGROUP_MEASURED_TOPIC"));
    given.buffer_bytes = buffer_bytes;
    given.expected_partitions = partitions_parked;
    std::atomic<std::size_t> failed{0};
    kgroup::for_each_options const options{
        .order = kgroup::order::by_key,
        .in_flight = 1000,
        .held_bytes = held_bytes,
        .retry = {.attempts = 1'000'000, .backoff = {.initial = 1h, .max = 1h}},
        .key = [](kgroup::message const& record) -> std::optional<std::string_view> {
            static auto const keys = [] {
                std::vector<std::string> made;
                for (int key = 0; key != 1000; ++key) {
                    made.push_back(std::to_string(key));
                }
                return made;
            }();
            return keys[static_cast<std::size_t>(record.offset()) % keys.size()];
        }};
    member one{given, {.consume_claim = [&](auto&, auto& claim) -> asio::awaitable<void> {
                   auto const fails = [&](kgroup::message const&) {
                       ++failed;
                       throw std::runtime_error{"its key is parked"};
                   };
                   co_await kgroup::for_each(claim, options, fails);
               }}};
    REQUIRE(eventually([&] { return one.claims() == partitions_parked; }));
    REQUIRE(eventually([&] { return enough == 0 || failed == 1000 * partitions_parked; }));
    std::size_t most = 0;
    for (auto const until = std::chrono::steady_clock::now() + 3s;
         std::chrono::steady_clock::now() < until;) {
        most = std::max(most, resident());
        std::this_thread::sleep_for(5ms);
    }
    std::printf("waiting: %zu\n", most);
    CHECK(failed == (enough == 0 ? 0 : 1000 * partitions_parked)); // each key waits for its retry
}

TEST_CASE("memory: a partition whose queue was full is fetched again as soon as there is room") {
    kafka brokers;
    auto const topic = brokers.create_topic();
    constexpr std::size_t all = 450;
    brokers.fill(topic, {all}, 10000);
    auto given = brokers.member_of_new_group(topic);
    std::atomic<std::size_t> count{0};
    std::chrono::steady_clock::time_point first;
    member one{given, {.consume_claim = [&](auto&, auto& claim) -> asio::awaitable<void> {
                   while (auto const record = co_await claim.messages().async_receive()) {
                       if (count == 0) {
                           first = std::chrono::steady_clock::now();
                       }
                       if (++count % 10 == 0) {
                           co_await pause_for(
                               5ms); // slower than what is fetched: the queue fills up
                       }
                   }
               }}};
    REQUIRE(eventually([&] { return count == all; }));
    auto const took = std::chrono::duration<double>(std::chrono::steady_clock::now() - first);
    MESSAGE(all, " records of 10 KB took ", took.count(), " s");
    CHECK(took < 3s);
}
