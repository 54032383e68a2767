// SPDX-License-Identifier: MIT

#include <kgroup/detail/fetch/fetcher.hpp>

#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/thread_pool.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "fetcher_scene.hpp"
#include "support/failing_allocation.hpp"

namespace fetcher_tests {
namespace {

using namespace kgroup::detail::fetch;
using namespace kgroup::tests;
using namespace std::chrono_literals;
using event = fetch_event::kind;
using notice = fetcher_notice::kind;
using after = scripted_fault::after;

/// A fault in the first request of its kind.
auto once(api key, scripted_fault fault) {
    return [key, fault, left = 1](scripted_request const& request) mutable {
        return request.key == key && left-- > 0 ? std::optional{fault} : std::nullopt;
    };
}
auto always(api key, scripted_fault fault) {
    return [key, fault](scripted_request const& request) {
        return request.key == key ? std::optional{fault} : std::nullopt;
    };
}

TEST_CASE("fetcher: records arrive in order, and those that are appended later") {
    fetcher_scene scene;
    scene.cluster.make_topic("t", 2);
    scene.append("t", 0, 10);
    scene.append("t", 0, 5);
    scene.append("t", 1, 3);
    auto& first = scene.start("t", 0, partition_fetch::earliest);
    auto& second = scene.start("t", 1, 1);
    REQUIRE(scene.until([&] { return first.count() == 15 && second.count() == 2; }));
    CHECK(first.starts == std::vector<std::int64_t>{0});
    CHECK(second.starts.empty());
    scene.append("t", 1, 2);
    REQUIRE(scene.until([&] { return second.count() == 4; }));
    CHECK(first.disorder + second.disorder == 0);
    CHECK(second.records.front().value == "1");
    CHECK(second.records.back().value == "4");
    CHECK(second.position == 5);
    CHECK(second.high_watermark == 5);
    CHECK(scene.notices.empty());
    auto const fetches = scene.cluster.requests(api::fetch);
    REQUIRE_FALSE(fetches.empty());
    CHECK(fetches[0].version == 13);
    CHECK(fetches[0].client_id == "scene");
    CHECK(fetches[0].isolation == 1);
    for (auto const& asked : scene.cluster.requests(api::metadata)) {
        CHECK(asked.topics == std::vector<std::string>{"t"});
        CHECK_FALSE(asked.makes_topics);
    }
}

TEST_CASE("fetcher: the end of the log is found, and watermarks are told of an empty one") {
    fetcher_scene scene;
    scene.cluster.make_topic("t", 1);
    scene.append("t", 0, 7);
    auto& sink = scene.start("t", 0, partition_fetch::latest);
    REQUIRE(scene.until([&] { return sink.takes == 1; }));
    CHECK(sink.starts == std::vector<std::int64_t>{7});
    CHECK(sink.high_watermark == 7);
    CHECK(sink.count() == 0);
    scene.pass(3s);
    CHECK(sink.takes == 1); // nothing is new
}

TEST_CASE("fetcher: each version of a broker is spoken, and none above those that are known") {
    for (std::int16_t highest = 10; highest <= 14; ++highest) {
        CAPTURE(highest);
        fetcher_scene scene;
        scene.cluster.brokers[0].versions[api::fetch] = {4, highest};
        scene.cluster.make_topic("t", 1);
        scene.append("t", 0, 4);
        auto& sink = scene.start("t");
        REQUIRE(scene.until([&] { return sink.count() == 4; }));
        for (auto const& asked : scene.cluster.requests(api::fetch)) {
            CHECK(asked.version == (std::min)(highest, std::int16_t{13}));
        }
    }
}

TEST_CASE("fetcher: a broker without leader epochs and without ids of topics is read") {
    fetcher_scene scene;
    auto& versions = scene.cluster.brokers[0].versions;
    versions[api::metadata] = {0, 4};
    versions[api::list_offsets] = {0, 2};
    versions.erase(api::leader_epoch);
    versions[api::fetch] = {0, 13};
    scene.cluster.make_topic("t", 1);
    scene.append("t", 0, 4);
    auto& sink = scene.start("t", 0, partition_fetch::earliest, 3);
    REQUIRE(scene.until([&] { return sink.count() == 4; }));
    for (auto const& asked : scene.cluster.requests(api::fetch)) {
        CHECK(asked.version == 12); // for 13 stands by ids
        CHECK(asked.partitions.at(0).current_leader_epoch == -1);
    }
    CHECK(sink.events.empty());
}

TEST_CASE("fetcher: a broker that knows only the first version of ApiVersions is asked by it") {
    fetcher_scene scene;
    scene.cluster.brokers[0].knows_only_first_versions = true;
    scene.cluster.make_topic("t", 1);
    scene.append("t", 0, 4);
    auto& sink = scene.start("t");
    REQUIRE(scene.until([&] { return sink.count() == 4; }));
    auto const asked = scene.cluster.requests(api::api_versions);
    CHECK(asked.at(0).version == 3);
    CHECK(asked.at(1).version == 0);
    CHECK(scene.notices.empty());
}

TEST_CASE("fetcher: a broker that does not speak Fetch as it is known here hands the claim over") {
    fetcher_scene scene;
    scene.cluster.brokers[0].versions[api::fetch] = {0, 9};
    scene.cluster.make_topic("t", 1);
    auto& sink = scene.start("t");
    REQUIRE(scene.until([&] { return !sink.events.empty(); }));
    CHECK(sink.events[0].type == event::unsupported);
    scene.pass(3s);
    CHECK(sink.events.size() == 1);
    CHECK(scene.cluster.count(api::fetch) == 0);
}

TEST_CASE("fetcher: answers that are none close the connection, and the question is repeated") {
    auto const frame = [](std::int32_t length, std::string const& rest) {
        std::string result;
        wire_writer{result}.int32(length).raw(rest);
        return result;
    };
    struct answer_that_is_none {
        scripted_fault fault;
        notice told;
    };
    std::vector<answer_that_is_none> const all{
        {{.sent_instead = frame((std::numeric_limits<std::int32_t>::max)(), "")},
         notice::frame_too_large},
        {{.sent_instead = frame(-1, "")}, notice::damaged_answer},
        {{.sent_instead = frame(0, "")}, notice::damaged_answer},
        {{.sent_instead = frame(3, "abc")}, notice::damaged_answer},
        {{.sent_instead = frame(4, "abcd")}, notice::damaged_answer},
        {{.sent_instead = std::string(40, 'x')}, notice::frame_too_large},
        {{.correlation_shift = 1}, notice::damaged_answer},
        {{.only_first = 0, .then = after::close}, notice::disconnected},
        {{.only_first = 2, .then = after::close}, notice::disconnected},
        {{.only_first = 9, .then = after::close}, notice::disconnected},
        {{.only_first = 30, .then = after::half_close}, notice::disconnected},
        {{.only_first = 30, .then = after::silence}, notice::no_answer},
        {{.then = after::half_close}, notice::disconnected},
    };
    for (auto const key : {api::fetch, api::list_offsets, api::metadata, api::api_versions}) {
        for (std::size_t i = 0; i != all.size(); ++i) {
            CAPTURE(static_cast<int>(key));
            CAPTURE(i);
            fetcher_scene scene;
            scene.cluster.make_topic("t", 1);
            scene.append("t", 0, 4);
            scene.cluster.on_request = once(key, all[i].fault);
            auto& sink = scene.start("t", 0, partition_fetch::earliest);
            REQUIRE(scene.until([&] { return sink.count() == 4; }, 60s));
            scene.append("t", 0, 1);
            REQUIRE(scene.until([&] { return sink.count() == 5; }));
            CHECK(sink.disorder == 0);
            if (key != api::api_versions && i != all.size() - 1) {
                REQUIRE(scene.notices.size() == 1);
                CHECK(scene.notices[0].type == all[i].told);
                CHECK(scene.notices[0].broker == scene.cluster.bootstrap());
            }
        }
    }
}

TEST_CASE("fetcher: before a broker has answered rightly once, larger frames are not believed") {
    fetcher_scene scene;
    scene.cluster.make_topic("t", 1);
    std::string frame;
    wire_writer{frame}.int32(70'000);
    scene.cluster.on_request = always(api::api_versions, {.sent_instead = frame});
    scene.start("t");
    REQUIRE(scene.until([&] { return !scene.notices.empty(); }));
    CHECK(scene.notices[0].type == notice::frame_too_large);
}

TEST_CASE("fetcher: a silent broker does not hold up the others, and its answer has a deadline") {
    fetcher_scene scene{2};
    scene.cluster.make_topic("t", 2);
    scene.append("t", 0, 4);
    scene.append("t", 1, 4);
    bool silent = true;
    scene.cluster.on_request =
        [&](scripted_request const& request) -> std::optional<scripted_fault> {
        if (silent && request.key == api::fetch && request.broker == 1) {
            return scripted_fault{.then = after::silence};
        }
        return std::nullopt;
    };
    auto& first = scene.start("t", 0);
    auto& second = scene.start("t", 1);
    REQUIRE(scene.until([&] { return first.count() == 4; }));
    REQUIRE(scene.until([&] { return scene.cluster.brokers[1].connections() != 0; }));
    scene.append("t", 0, 4);
    REQUIRE(scene.until([&] { return first.count() == 8; }, 1s));
    scene.pass(9s);
    CHECK(scene.notices.empty());
    scene.pass(2s); // 10 s and what a poll may wait
    REQUIRE(scene.notices.size() == 1);
    CHECK(scene.notices[0].type == notice::no_answer);
    silent = false;
    REQUIRE(scene.until([&] { return second.count() == 4; }, 20s));
}

TEST_CASE("fetcher: an executor that was busy does not make an answer late") {
    fetcher_scene scene;
    scene.cluster.make_topic("t", 1);
    scene.append("t", 0, 4);
    scene.cluster.on_request = once(api::fetch, {.delay = 3s});
    auto& sink = scene.start("t");
    REQUIRE(scene.until([&] { return scene.cluster.count(api::fetch) == 1; }));
    // Both the broker's delay and the deadline are over when the context runs again; the answer
    // has been sent when the fetcher looks, or is.
    kgroup::testing::advance(scene.context, 3s);
    REQUIRE(scene.until([&] { return sink.count() == 4; }));
    CHECK(scene.notices.empty());
}

TEST_CASE("fetcher: throttling is waited for, and does not make an answer late") {
    fetcher_scene scene;
    scene.cluster.make_topic("t", 1);
    scene.append("t", 0, 4);
    scene.cluster.on_request = once(api::fetch, {.throttle_ms = 15'000});
    auto& sink = scene.start("t");
    REQUIRE(scene.until([&] { return sink.count() == 4; }));
    auto const asked = scene.cluster.count(api::fetch);
    CHECK(asked == 1);
    scene.append("t", 0, 1);
    scene.pass(14s);
    CHECK(scene.cluster.count(api::fetch) == asked);
    REQUIRE(scene.until([&] { return sink.count() == 5; }, 2s));
    CHECK(scene.notices.empty());
}

TEST_CASE("fetcher: leaders that name each other do not make it spin") {
    fetcher_scene scene{2};
    scene.cluster.make_topic("t", 1);
    scene.append("t", 0, 4);
    auto& log = scene.cluster.partition("t", 0);
    bool ping_pong = true;
    scene.cluster.on_request =
        [&](scripted_request const& request) -> std::optional<scripted_fault> {
        if (ping_pong && request.key == api::fetch) {
            log.leader = 1 - request.broker; // when it is asked
        }
        return std::nullopt;
    };
    auto& sink = scene.start("t");
    scene.pass(10s);
    CHECK(sink.count() == 0);
    CHECK(scene.cluster.count(api::fetch) <= 20);
    CHECK(scene.cluster.count(api::metadata) <= 25);
    ping_pong = false;
    REQUIRE(scene.until([&] { return sink.count() == 4; }));
    CHECK(sink.events.empty());
}

TEST_CASE("fetcher: the errors of one partition neither spin nor hold up others") {
    for (int const number : {-1, 2, 3, 5, 6, 9, 29, 56, 74, 75, 78, 100, 103, 4711}) {
        CAPTURE(number);
        auto const code = static_cast<std::int16_t>(number);
        fetcher_scene scene;
        scene.cluster.make_topic("t", 2);
        scene.cluster.partition("t", 0).error = code;
        auto& failing = scene.start("t", 0);
        auto& other = scene.start("t", 1);
        for (int i = 0; i != 5; ++i) {
            scene.append("t", 1, 1);
            scene.pass(1s);
        }
        CHECK(other.count() == 5);
        CHECK(failing.count() == 0);
        // Repeated after 100, 200, …, 1000 ms.
        CHECK(scene.cluster.count(api::fetch) <= 60);
        CHECK(scene.cluster.count(api::metadata) <= 20);
        CHECK(failing.events.size() <= (code == 2 ? 2 : 1));
        scene.cluster.partition("t", 0).error = 0;
        scene.append("t", 0, 1);
        if (code != 2) { // the log cannot be read there
            REQUIRE(scene.until([&] { return failing.count() == 1; }));
        }
    }
}

TEST_CASE("fetcher: a partition with an error is asked as often as fetch.error.backoff.ms says") {
    auto const fetches = [](std::chrono::milliseconds backoff) {
        fetcher_scene scene;
        scene.settings.error_backoff = backoff;
        scene.cluster.make_topic("t", 1);
        scene.cluster.partition("t", 0).error = 56; // KAFKA_STORAGE_ERROR
        scene.start("t");
        scene.pass(10s);
        return scene.cluster.count(api::fetch);
    };
    // Pauses begin with 100 ms or less, and grow to twice the property.
    auto const often = fetches(50ms);
    CHECK(often >= 50);
    CHECK(often <= 110);
    auto const rarely = fetches(2s);
    CHECK(rarely >= 4);
    CHECK(rarely <= 8);
}

TEST_CASE("fetcher: all idle, a broker is asked as often as polls end") {
    fetcher_scene scene{2};
    scene.cluster.make_topic("t", 8);
    for (std::int32_t i = 0; i != 8; ++i) {
        scene.start("t", i);
    }
    scene.pass(2s);
    auto const before = scene.cluster.seen.size();
    scene.pass(10s);
    CHECK(scene.cluster.seen.size() - before <= 2 * (2 + 1) * 10);
}

TEST_CASE("fetcher: a claim that is full is not asked about, and the others are not held up") {
    fetcher_scene scene;
    scene.cluster.make_topic("t", 2);
    auto& full = scene.start("t", 0);
    auto const ticket = scene.ticket;
    auto& other = scene.start("t", 1);
    scene.pass(1s);
    scene.tested().want({"t", 0}, ticket, false);
    scene.pass(1s);
    scene.append("t", 0, 3);
    auto const before = scene.cluster.count(api::fetch);
    scene.pass(60s);
    CHECK(scene.cluster.count(api::fetch) - before <= 20 * 60);
    CHECK(full.count() == 0);
    scene.append("t", 1, 3);
    REQUIRE(scene.until([&] { return other.count() == 3; }, 100ms));
    scene.tested().want({"t", 0}, ticket, true);
    REQUIRE(scene.until([&] { return full.count() == 3; }, 60ms));
}

TEST_CASE("fetcher: what becomes ready beside a poll does not wait for it") {
    fetcher_scene scene;
    scene.settings.fetch_wait_max = 5000ms;
    scene.cluster.make_topic("t", 2);
    scene.append("t", 1, 3);
    scene.start("t", 0);
    scene.pass(200ms);
    auto& later = scene.start("t", 1, partition_fetch::earliest);
    REQUIRE(scene.until([&] { return later.count() == 3; }, 300ms)); // connections are made
    scene.append("t", 1, 3);
    REQUIRE(scene.until([&] { return later.count() == 6; }, 60ms));
}

TEST_CASE("fetcher: batches above the limits on twelve partitions all progress") {
    fetcher_scene scene;
    scene.settings.fetch_max_bytes = 2000;
    scene.settings.partition_max_bytes = 1000;
    scene.cluster.make_topic("t", 12);
    std::vector<reading_sink*> sinks;
    for (std::int32_t i = 0; i != 12; ++i) {
        for (int batch = 0; batch != 5; ++batch) {
            scene.append("t", static_cast<std::size_t>(i), 3, 1000);
        }
        sinks.push_back(&scene.start("t", i));
    }
    REQUIRE(scene.until([&] {
        return std::all_of(sinks.begin(), sinks.end(),
                           [](auto const* sink) { return sink->count() >= 3; });
    }));
    // In turn: none is done before another has begun.
    REQUIRE(scene.until([&] {
        return std::all_of(sinks.begin(), sinks.end(),
                           [](auto const* sink) { return sink->count() == 15; });
    }));
    CHECK(std::all_of(sinks.begin(), sinks.end(),
                      [](auto const* sink) { return sink->disorder == 0; }));
}

TEST_CASE("fetcher: claims that sleep do not stop others, and memory stays below its limit") {
    for (std::size_t const limit : {256u << 10, 1u << 20}) {
        CAPTURE(limit);
        fetcher_scene scene;
        scene.settings.buffer_bytes = limit;
        scene.cluster.make_topic("t", 6);
        std::size_t most = 0;
        for (std::int32_t i = 0; i != 6; ++i) {
            for (int batch = 0; batch != 400; ++batch) {
                scene.append("t", static_cast<std::size_t>(i), 3, 1000);
            }
            auto& sink = scene.start("t", i);
            sink.keeps = i != 5;
            sink.on_change = [&](reading_sink&) {
                most = (std::max)(most, scene.tested().memory_used());
            };
        }
        auto& awake = *scene.sinks.at({"t", 5});
        REQUIRE(scene.until([&] { return awake.count() == 1200; }));
        CHECK(most <= limit + (4 << 10));
        CHECK(scene.cluster.count(api::fetch) < 1000);
        for (std::int32_t i = 0; i != 5; ++i) { // they wake up
            auto& sink = *scene.sinks.at({"t", i});
            sink.keeps = false;
            sink.read_kept();
        }
        REQUIRE(scene.until([&] {
            return std::all_of(scene.sinks.begin(), scene.sinks.end(),
                               [](auto const& one) { return one.second->count() == 1200; });
        }));
        for (auto const& [name, sink] : scene.sinks) {
            CHECK(sink->disorder == 0);
        }
        REQUIRE(scene.until([&] { return scene.tested().memory_used() <= limit / 2; }));
    }
}

TEST_CASE("fetcher: beside five claims that sleep the sixth is as quick as alone") {
    // Records in a second of kgroup's time. Each answer takes a while, so that the way there and
    // back is what costs. By default the memory is 64 times what an answer brings of a partition.
    auto const speed = [](std::size_t memory, std::int32_t sleeping, bool full) {
        fetcher_scene scene;
        scene.settings.buffer_bytes = memory << 14;
        scene.settings.partition_max_bytes = 1 << 14;
        scene.cluster.make_topic("t", 6);
        scene.cluster.on_request = always(api::fetch, {.delay = 20ms});
        for (std::int32_t i = 0; i != sleeping; ++i) {
            for (int batch = 0; batch != 300; ++batch) {
                scene.append("t", static_cast<std::size_t>(i), 4, 1000);
            }
            scene.start("t", i).keeps = true;
            if (full) {
                scene.tested().want({"t", i}, scene.ticket, false);
            }
        }
        for (int batch = 0; batch != 300; ++batch) {
            scene.append("t", 5, 4, 1000);
        }
        scene.pass(3s); // until they have what they get
        auto& awake = scene.start("t", 5);
        awake.counts_only = true;
        REQUIRE(scene.until([&] { return awake.count() != 0; }));
        auto const before = awake.count();
        scene.pass(1s);
        CHECK(awake.disorder == 0);
        return awake.count() - before;
    };
    for (std::size_t const memory : {32, 64}) {
        CAPTURE(memory);
        auto const alone = speed(memory, 0, false);
        CHECK(alone >= 100);
        for (bool const full : {false, true}) {
            CAPTURE(full);
            CHECK(speed(memory, 5, full) * 10 >= alone * 8);
        }
    }
}

TEST_CASE("fetcher: a seek and a stop make answers void that are under way") {
    fetcher_scene scene;
    scene.cluster.make_topic("t", 1);
    scene.append("t", 0, 10);
    scene.cluster.on_request = once(api::fetch, {.delay = 200ms});
    auto& sink = scene.start("t", 0, 0);
    REQUIRE(scene.until([&] { return scene.cluster.count(api::fetch) == 1; }));
    scene.start("t", 0, 7);
    REQUIRE(scene.until([&] { return sink.count() == 3; }));
    CHECK(sink.records.front().offset == 7);
    CHECK(sink.ticket == 2);
    scene.pass(1s);
    CHECK(sink.count() == 3);
    auto const takes = sink.takes;
    std::weak_ptr<reading_sink> const released = scene.sinks.at({"t", 0});
    scene.tested().stop({"t", 0});
    scene.append("t", 0, 1);
    scene.pass(1s);
    CHECK(sink.takes == takes);
    CHECK(released.use_count() == 1);
    auto const fetches = scene.cluster.count(api::fetch);
    scene.pass(2s);
    CHECK(scene.cluster.count(api::fetch) == fetches);
    scene.start("t", 0, 10);
    REQUIRE(scene.until([&] { return sink.count() == 4; }));
}

TEST_CASE("fetcher: a topic that was made again is read from its beginning") {
    fetcher_scene scene;
    scene.cluster.make_topic("t", 1);
    scene.append("t", 0, 5);
    auto& sink = scene.start("t", 0);
    REQUIRE(scene.until([&] { return sink.count() == 5; }));
    scene.cluster.make_topic("t", 1);
    scene.append("t", 0, 2);
    REQUIRE(scene.until([&] { return sink.count() == 7; }));
    CHECK(scene.count(event::topic_recreated) == 1);
    CHECK(sink.records[5].offset == 0);
    CHECK(sink.starts == std::vector<std::int64_t>{0});
}

TEST_CASE("fetcher: a topic that was made again is noticed without ids in Fetch, too") {
    fetcher_scene scene;
    scene.settings.metadata_refresh_interval = 2000ms;
    scene.cluster.brokers[0].versions[api::fetch] = {4, 12};
    scene.cluster.make_topic("t", 1);
    scene.append("t", 0, 5);
    auto& sink = scene.start("t", 0);
    REQUIRE(scene.until([&] { return sink.count() == 5; }));
    scene.cluster.make_topic("t", 1);
    scene.append("t", 0, 5);
    REQUIRE(scene.until([&] { return sink.count() == 10; }));
    CHECK(scene.count(event::topic_recreated) == 1);
}

TEST_CASE("fetcher: a topic that was made again is read where topics have no ids") {
    fetcher_scene scene;
    scene.cluster.brokers[0].versions[api::fetch] = {4, 12};
    scene.cluster.brokers[0].versions[api::metadata] = {0, 9};
    scene.cluster.make_topic("t", 1);
    scene.cluster.partition("t", 0).leader_epoch = 5;
    scene.append("t", 0, 5);
    auto& sink = scene.start("t", 0);
    REQUIRE(scene.until([&] { return sink.count() == 5; }));
    bool missed = false;
    SUBCASE("it was missed meanwhile") {
        scene.cluster.topics.erase("t");
        scene.cluster.changed();
        REQUIRE(scene.until([&] { return scene.count(event::broker_error) != 0; }));
        missed = true;
    }
    SUBCASE("nobody noticed") {}
    scene.cluster.make_topic("t", 1);
    scene.append("t", 0, 2);
    REQUIRE(scene.until([&] { return sink.count() == 7; }, 20s));
    CHECK(scene.count(event::topic_recreated) == 1);
    CHECK(scene.count(event::broker_error) == (missed ? 1 : 0));
    CHECK(sink.records[5].offset == 0);
}

TEST_CASE("fetcher: a log that was cut off and written anew is truncated to") {
    for (bool const tells : {true, false}) {
        std::int16_t const version = tells ? 13 : 11;
        CAPTURE(version);
        fetcher_scene scene;
        scene.cluster.brokers[0].versions[api::fetch] = {4, version};
        scene.cluster.make_topic("t", 1);
        auto& log = scene.cluster.partition("t", 0);
        log.leader_epoch = 4;
        scene.append("t", 0, 5);
        scene.append("t", 0, 5);
        auto& sink = scene.start("t", 0);
        REQUIRE(scene.until([&] { return sink.count() == 10; }));
        log.batches.pop_back();
        log.end = 5;
        log.epoch_ends[4] = 5;
        log.leader_epoch = 5;
        scene.append("t", 0, 7);
        REQUIRE(scene.until([&] { return sink.count() == 17; }));
        REQUIRE(scene.count(event::truncated) == 1);
        CHECK(sink.events.back().to == 5);
        CHECK(sink.disorder == 0);
    }
}

TEST_CASE("fetcher: out of range leads to a reset, and the claim hears where to") {
    fetcher_scene scene;
    scene.cluster.make_topic("t", 1);
    scene.append("t", 0, 5);
    scene.append("t", 0, 5);
    scene.cluster.partition("t", 0).log_start = 5;
    auto& sink = scene.start("t", 0, 2);
    REQUIRE(scene.until([&] { return sink.count() == 5; }));
    REQUIRE(sink.events.size() == 1);
    CHECK(sink.events[0].type == event::position_reset);
    CHECK(sink.events[0].from == 2);
    CHECK(sink.events[0].to == 5);
}

TEST_CASE("fetcher: bytes that do not advance are told, and do not spin") {
    fetcher_scene scene;
    scene.cluster.make_topic("t", 1);
    scene.append("t", 0, 5);
    auto const old = scene.cluster.partition("t", 0).batches[0].bytes;
    bool lying = true;
    scene.cluster.on_request =
        [&](scripted_request const& request) -> std::optional<scripted_fault> {
        if (!lying || request.key != api::fetch || request.partitions.at(0).offset < 5) {
            return std::nullopt;
        }
        return scripted_fault{.parts = [&](auto& parts) { parts[0].records = old; }};
    };
    auto& sink = scene.start("t", 0);
    scene.pass(5s);
    CHECK(sink.count() == 5);
    CHECK(scene.count(event::useless_answer) == 1);
    CHECK(scene.cluster.count(api::fetch) <= 15);
    lying = false;
    scene.append("t", 0, 1);
    REQUIRE(scene.until([&] { return sink.count() == 6; }));
}

TEST_CASE("fetcher: an answer about others than were asked about, or twice, is told") {
    for (int kind = 0; kind != 3; ++kind) {
        CAPTURE(kind);
        fetcher_scene scene;
        scene.cluster.make_topic("t", 2);
        scene.append("t", 0, 5);
        scene.append("t", 1, 5);
        scene.cluster.on_request = once(api::fetch, {.parts = [kind](auto& parts) {
                                            if (kind == 0) {
                                                parts[0].number = 77;
                                            } else if (kind == 1) {
                                                parts.push_back(parts[0]);
                                            } else {
                                                parts.pop_back();
                                            }
                                        }});
        auto& first = scene.start("t", 0);
        auto& second = scene.start("t", 1);
        REQUIRE(scene.until([&] { return first.count() == 5 && second.count() == 5; }));
        CHECK(first.disorder + second.disorder == 0);
        CHECK(scene.count(notice::damaged_answer) == (kind == 2 ? 0 : 1));
    }
}

TEST_CASE("fetcher: a broker that answers at once with nothing is not asked without end") {
    fetcher_scene scene;
    scene.cluster.make_topic("t", 1);
    scene.cluster.on_request = always(api::fetch, {.at_once = true});
    auto& sink = scene.start("t", 0);
    scene.pass(5s);
    CHECK(scene.cluster.count(api::fetch) <= 120);
    scene.append("t", 0, 3);
    REQUIRE(scene.until([&] { return sink.count() == 3; }, 100ms));
}

TEST_CASE("fetcher: damage is fetched once more, alone, and then told") {
    fetcher_scene scene;
    scene.cluster.make_topic("t", 2);
    scene.append("t", 0, 5);
    scene.append("t", 0, 5);
    auto& bytes = scene.cluster.partition("t", 0).batches[1].bytes;
    bytes.back() = static_cast<char>(bytes.back() ^ 1);
    auto& sink = scene.start("t", 0);
    scene.start("t", 1);
    REQUIRE(scene.until([&] { return !sink.events.empty(); }));
    CHECK(sink.events[0].type == event::record_unreadable);
    CHECK(sink.events[0].from == 5);
    CHECK(sink.events[0].wrong == damage::checksum);
    CHECK(sink.count() == 5);
    auto const fetches = scene.cluster.requests(api::fetch);
    CHECK(std::any_of(fetches.begin(), fetches.end(), [](auto const& asked) {
        return asked.partitions.size() == 1 && asked.partitions[0].number == 0 &&
               asked.partitions[0].offset == 5;
    }));
}

TEST_CASE("fetcher: damage that is found when the broker has had trouble behind it is asked for "
          "again, too") {
    fetcher_scene scene;
    scene.cluster.make_topic("t", 1);
    scene.append("t", 0, 2);
    scene.append("t", 0, 2);
    auto& log = scene.cluster.partition("t", 0);
    auto const whole = log.batches[1].bytes;
    log.batches[1].bytes.back() = static_cast<char>(whole.back() ^ 1);
    auto& sink = scene.start("t", 0);
    sink.keeps = true;
    REQUIRE(scene.until([&] { return sink.kept.size() == 1; }));
    log.batches[1].bytes = whole;
    log.error = 2;
    scene.cluster.changed();
    REQUIRE(scene.until([&] { return !sink.events.empty(); }));
    log.error = 0;
    scene.append("t", 0, 2);
    REQUIRE(scene.until([&] { return sink.kept.size() == 2; })); // of the next generation
    CHECK(sink.kept[0].generation != sink.kept[1].generation);
    sink.kept.pop_back();
    sink.keeps = false;
    sink.read_kept();
    REQUIRE(scene.until([&] { return sink.count() == 6; }));
    CHECK(sink.disorder == 0);
    CHECK(sink.records.back().offset == 5);
}

TEST_CASE("fetcher: what is asked about alone does not hold up the others") {
    fetcher_scene scene;
    std::int32_t partitions = 0;
    scripted_fault fault;
    auto later = 300ms; // a connection is made again
    SUBCASE("the broker could not read two of them once") {
        partitions = 4;
        later = 2000ms; // the others' first poll is over
        fault.parts = [](auto& parts) {
            for (auto& part : parts) {
                part.error = part.number == 1 || part.number == 2 ? 2 : 0;
            }
        };
    }
    SUBCASE("the answer was too large once, and all are asked about alone") {
        partitions = 20;
        std::string frame;
        wire_writer{frame}.int32((std::numeric_limits<std::int32_t>::max)());
        fault.sent_instead = frame;
    }
    scene.cluster.make_topic("t", static_cast<std::size_t>(partitions));
    scene.cluster.on_request = once(api::fetch, fault);
    for (std::int32_t i = 0; i != partitions; ++i) {
        scene.start("t", i);
    }
    REQUIRE(scene.until([&] { return scene.cluster.count(api::fetch) != 0; }));
    scene.pass(later);
    std::vector<std::int32_t> const others{0, partitions - 1};
    for (auto const number : others) {
        scene.append("t", static_cast<std::size_t>(number), 3);
    }
    CHECK(scene.until(
        [&] {
            return std::all_of(others.begin(), others.end(), [&](std::int32_t number) {
                return scene.sinks.at({"t", number})->count() == 3;
            });
        },
        1s));
}

TEST_CASE("fetcher: records of an old format end the fetching") {
    fetcher_scene scene;
    scene.cluster.make_topic("t", 1);
    scene.append("t", 0, 5);
    auto old = plain_batch(5, 5).bytes();
    old[16] = 1;
    scene.cluster.partition("t", 0).append(5, 10, old);
    auto& sink = scene.start("t", 0);
    REQUIRE(scene.until([&] { return !sink.events.empty(); }));
    CHECK(sink.events[0].type == event::old_format);
    CHECK(sink.events[0].from == 5);
    CHECK(sink.count() == 5);
    auto const fetches = scene.cluster.count(api::fetch);
    scene.pass(2s);
    CHECK(scene.cluster.count(api::fetch) == fetches);
}

TEST_CASE("fetcher: a full answer about many partitions is not larger than what is received") {
    fetcher_scene scene;
    scene.settings.fetch_max_bytes = 100'000;
    scene.settings.receive_message_max_bytes = 100'512; // the least that librdkafka allows
    scene.settings.partition_max_bytes = 2'000;
    scene.cluster.make_topic("t", 100);
    for (std::int32_t i = 0; i != 100; ++i) {
        for (int batch = 0; batch != 5; ++batch) {
            scene.append("t", static_cast<std::size_t>(i), 1, 500);
        }
        scene.start("t", i);
    }
    REQUIRE(scene.until([&] { return scene.all_have(5); }));
    CHECK(scene.notices.empty());
}

TEST_CASE("fetcher: a batch that can never be received is an error of its partition") {
    fetcher_scene scene;
    scene.settings.receive_message_max_bytes = 10'000;
    scene.settings.fetch_max_bytes = 5'000;
    scene.settings.partition_max_bytes = 5'000;
    scene.cluster.make_topic("t", 2);
    scene.append("t", 0, 1);
    scene.append("t", 0, 20, 1000);
    scene.append("t", 1, 1);
    auto& sink = scene.start("t", 0);
    auto& other = scene.start("t", 1);
    REQUIRE(scene.until([&] { return !sink.events.empty(); }, 30s));
    CHECK(sink.events[0].type == event::record_unreadable);
    CHECK(sink.events[0].wrong == damage::too_large);
    CHECK(sink.events[0].from == 1);
    CHECK(sink.count() == 1);
    REQUIRE(scene.until([&] { return other.count() == 1; }));
    scene.append("t", 1, 1);
    REQUIRE(scene.until([&] { return other.count() == 2; }));
    CHECK(scene.count(notice::frame_too_large) >= 1);
}

TEST_CASE("fetcher: a topic that is not there is told once and asked for now and then") {
    fetcher_scene scene;
    auto& sink = scene.start("missing", 0);
    scene.pass(10s);
    REQUIRE(sink.events.size() == 1);
    CHECK(sink.events[0].type == event::broker_error);
    CHECK(sink.events[0].code == 3);
    CHECK(scene.cluster.count(api::metadata) <= 15);
    scene.cluster.make_topic("missing", 1);
    scene.append("missing", 0, 3);
    REQUIRE(scene.until([&] { return sink.count() == 3; }));
}

TEST_CASE("fetcher: a broker that is away is tried again, and the others are asked who leads") {
    fetcher_scene scene{3};
    scene.cluster.make_topic("t", 3);
    for (std::size_t i = 0; i != 3; ++i) {
        scene.append("t", i, 2);
        scene.start("t", static_cast<std::int32_t>(i));
    }
    REQUIRE(scene.until([&] { return scene.all_have(2); }));
    scene.cluster.brokers[0].go_down(); // which is also the one of the configuration
    scene.pass(5s);
    CHECK(scene.count(notice::disconnected) + scene.count(notice::unreachable) >= 1);
    CHECK(scene.notices.size() <= 3);
    auto const made = scene.tested().counters().connections.load();
    scene.pass(20s);
    CHECK(scene.tested().counters().connections.load() - made <= 30);
    scene.cluster.partition("t", 0).leader = 1; // it moves
    scene.cluster.partition("t", 0).leader_epoch = 1;
    for (std::size_t i = 0; i != 3; ++i) {
        scene.append("t", i, 2);
    }
    REQUIRE(scene.until([&] { return scene.all_have(4); }, 20s));
    for (auto& broker : scene.cluster.brokers) {
        broker.go_down();
    }
    scene.pass(5s);
    for (auto& broker : scene.cluster.brokers) {
        broker.come_up();
    }
    for (std::size_t i = 0; i != 3; ++i) {
        scene.append("t", i, 2);
    }
    REQUIRE(scene.until([&] { return scene.all_have(6); }, 30s));
    for (auto const& [name, sink] : scene.sinks) {
        CHECK(sink->disorder == 0);
    }
}

TEST_CASE("fetcher: a broker that metadata does not name any more is left, and found again") {
    fetcher_scene scene{3};
    scene.settings.metadata_refresh_interval = 1s;
    scene.cluster.make_topic("t", 3);
    for (std::size_t i = 0; i != 3; ++i) {
        scene.append("t", i, 2);
        scene.start("t", static_cast<std::int32_t>(i));
    }
    REQUIRE(scene.until([&] { return scene.all_have(2); }));
    auto& leaving = scene.cluster.brokers[2];
    leaving.listed = false;
    scene.cluster.partition("t", 2).leader = 1;
    scene.cluster.partition("t", 2).leader_epoch = 1;
    REQUIRE(scene.until([&] { return leaving.open_connections() == 0; }, 5s));
    leaving.go_down();
    auto const told = scene.notices.size();
    scene.append("t", 2, 2);
    REQUIRE(scene.until([&] { return scene.sinks.at({"t", 2})->count() == 4; }));
    scene.pass(30s);
    CHECK(scene.notices.size() == told); // nobody tries to connect
    leaving.come_up();
    leaving.listed = true;
    scene.cluster.partition("t", 2).leader = 2;
    scene.cluster.partition("t", 2).leader_epoch = 2;
    scene.append("t", 2, 2);
    REQUIRE(scene.until([&] { return scene.sinks.at({"t", 2})->count() == 6; }));
    CHECK(scene.sinks.at({"t", 2})->disorder == 0);
}

TEST_CASE("fetcher: a broker that says itself that it moved is left, and found where it is") {
    fetcher_scene scene{2};
    scene.settings.metadata_refresh_interval = 1s;
    scene.cluster.make_topic("t", 2);
    for (std::size_t i = 0; i != 2; ++i) {
        scene.append("t", i, 2);
        scene.start("t", static_cast<std::int32_t>(i));
    }
    REQUIRE(scene.until([&] { return scene.all_have(2); }));
    REQUIRE(scene.until([&] { return scene.cluster.count(api::metadata) >= 3; }));
    auto const asked = scene.cluster.requests(api::metadata).back().broker;
    auto const& moved = scene.cluster.brokers.at(static_cast<std::size_t>(asked));
    auto const before = moved.connections();
    scene.cluster.advertised_host = "[127.0.0.1]"; // another name of the same address
    REQUIRE(scene.until([&] { return moved.connections() > before; }));
    for (std::size_t i = 0; i != 2; ++i) {
        scene.append("t", i, 2);
    }
    REQUIRE(scene.until([&] { return scene.all_have(4); }));
    for (auto const& [name, sink] : scene.sinks) {
        CHECK(sink->disorder == 0);
    }
}

TEST_CASE("fetcher: a broker that does not know the new leader is not asked for it for ever") {
    fetcher_scene scene{2};
    scene.settings.metadata_refresh_interval = 1s;
    scene.cluster.make_topic("t", 1);
    scene.append("t", 0, 3);
    auto& log = scene.cluster.partition("t", 0);
    log.leader = 1; // who is asked first, too
    auto const move_to = [&](std::int32_t leader, std::int32_t epoch) {
        log.leader = leader;
        log.leader_epoch = epoch;
    };
    bool moved = false;
    bool still_leads = false; // as the former leader has it
    SUBCASE("it knows that it leads no more") {}
    SUBCASE("it thinks that it leads") { still_leads = true; }
    scene.cluster.on_request =
        [&](scripted_request const& request) -> std::optional<scripted_fault> {
        if (!moved || request.broker != 1) {
            return std::nullopt;
        }
        if (request.key == api::fetch && still_leads) {
            return scripted_fault{.parts = [](auto& parts) {
                parts[0].error = 0;
                parts[0].high_watermark = parts[0].last_stable_offset = 3;
            }};
        }
        if (request.key == api::metadata) {
            move_to(1, 0); // until it has answered
            asio::post(scene.context, [&] { move_to(0, 1); });
        }
        return std::nullopt;
    };
    auto& sink = scene.start("t", 0);
    REQUIRE(scene.until([&] { return sink.count() == 3; }));
    moved = true;
    move_to(0, 1);
    scene.append("t", 0, 3);
    REQUIRE(scene.until([&] { return sink.count() == 6; }, 5s));
    CHECK(sink.disorder == 0);
    CHECK(scene.cluster.count(api::metadata) <= 20);
}

TEST_CASE("fetcher: a broker that closes each connection at once is not tried without end") {
    fetcher_scene scene;
    scene.cluster.make_topic("t", 1);
    scene.cluster.on_request = always(api::api_versions, {.then = after::close});
    scene.start("t", 0);
    scene.pass(10s);
    CHECK(scene.tested().counters().connections <= 20);
    scene.cluster.on_request = always(api::metadata, {.only_first = 0, .then = after::close});
    scene.pass(20s);
    CHECK(scene.tested().counters().connections <= 40);
    scene.cluster.on_request = nullptr;
    scene.append("t", 0, 3);
    auto& sink = *scene.sinks.at({"t", 0});
    REQUIRE(scene.until([&] { return sink.count() == 3; }, 30s));
}

TEST_CASE("fetcher: a replica that the leader prefers is asked, and if it is away, the leader") {
    for (std::int32_t const replica : {1, 77, 0}) { // 77 is none, and 0 the leader
        CAPTURE(replica);
        fetcher_scene scene{2};
        scene.settings.rack = "here";
        scene.cluster.make_topic("t", 1);
        scene.append("t", 0, 3);
        scene.cluster.on_request =
            [&](scripted_request const& request) -> std::optional<scripted_fault> {
            if (request.key != api::fetch) {
                return std::nullopt;
            }
            CHECK(request.rack == "here");
            auto const batches = scene.cluster.partition("t", 0).batches;
            return scripted_fault{.parts = [=](auto& parts) {
                auto& part = parts[0];
                if (request.broker == 0) {
                    part.preferred_replica = replica;
                    part.records.clear();
                } else {
                    part.error = 0;
                    part.preferred_replica = 1; // a follower has no say
                    part.high_watermark = part.last_stable_offset = batches.back().next_offset;
                    for (auto const& batch : batches) {
                        part.records += batch.next_offset > request.partitions[0].offset
                                            ? batch.bytes
                                            : std::string{};
                    }
                }
            }};
        };
        auto& sink = scene.start("t", 0);
        if (replica == 1) {
            REQUIRE(scene.until([&] { return sink.count() == 3; }));
            auto const before = scene.cluster.seen.size();
            scene.pass(2s);
            CHECK(scene.cluster.seen.size() - before <= 50);
            scene.cluster.brokers[1].go_down();
        }
        scene.pass(3s);
        auto const before = scene.cluster.seen.size();
        scene.pass(5s);
        CHECK(scene.cluster.seen.size() - before <= 120);
        scene.cluster.on_request = nullptr; // the leader has what is wanted
        scene.append("t", 0, 3);
        REQUIRE(scene.until([&] { return sink.count() == 6; }, 5s));
        CHECK(sink.disorder == 0);
    }
}

TEST_CASE("fetcher: what a replica has damaged is asked of the leader, who then names no replica") {
    fetcher_scene scene{2};
    scene.settings.rack = "here";
    scene.cluster.make_topic("t", 1);
    scene.append("t", 0, 3);
    auto damaged = scene.cluster.partition("t", 0).batches[0].bytes;
    damaged.back() = static_cast<char>(damaged.back() ^ 1);
    scene.cluster.on_request =
        [&](scripted_request const& request) -> std::optional<scripted_fault> {
        if (request.key != api::fetch || (request.broker == 0 && request.rack.empty())) {
            return std::nullopt;
        }
        return scripted_fault{.parts = [&, request](auto& parts) {
            auto& part = parts[0];
            part.error = 0;
            part.high_watermark = part.last_stable_offset = 3;
            part.records.clear();
            if (request.broker == 0) {
                part.preferred_replica = 1;
            } else if (request.partitions[0].offset == 0) {
                part.records = damaged;
            }
        }};
    };
    auto& sink = scene.start("t", 0);
    REQUIRE(scene.until([&] { return sink.count() == 3; }));
    CHECK(sink.events.empty());
    scene.pass(1s);
    CHECK(scene.cluster.requests(api::fetch).back().broker == 1); // which is believed again
}

TEST_CASE("fetcher: a batch above the memory for answers arrives, and is told") {
    fetcher_scene scene;
    scene.settings.buffer_bytes = 64 << 10;
    scene.cluster.make_topic("t", 1);
    scene.append("t", 0, 100, 1000);
    scene.append("t", 0, 1);
    auto& sink = scene.start("t", 0);
    REQUIRE(scene.until([&] { return sink.count() == 101; }));
    CHECK(scene.count(notice::over_budget) == 1);
}

TEST_CASE("fetcher: what claims decompress beyond the memory for answers is told once") {
    fetcher_scene scene;
    scene.settings.buffer_bytes = 1 << 20;
    scene.cluster.make_topic("t", 8);
    for (std::int32_t i = 0; i != 8; ++i) {
        scene.append("t", static_cast<std::size_t>(i), 1);
        scene.start("t", i).keeps = true;
    }
    REQUIRE(scene.until([&] {
        return std::all_of(scene.sinks.begin(), scene.sinks.end(),
                           [](auto const& one) { return !one.second->kept.empty(); });
    }));
    for (auto const& [name, sink] : scene.sinks) {
        sink->kept[0].memory->hold_decompressed(std::size_t{1} << 18);
        scene.pass(20ms);
    }
    REQUIRE(scene.notices.size() == 1);
    CHECK(scene.notices[0].type == notice::over_budget);
    CHECK(scene.notices[0].broker.empty());
}

TEST_CASE("fetcher: a context that ends takes it along") {
    std::weak_ptr<fetcher> left;
    {
        fetcher_scene scene;
        scene.cluster.make_topic("t", 1);
        scene.append("t", 0, 3);
        auto const context = std::make_unique<asio::io_context>();
        auto const tested =
            std::make_shared<fetcher>(context->get_executor(), scene.settings, nullptr);
        auto const sink = std::make_shared<reading_sink>();
        tested->start({"t", 0}, 1, 0, -1, sink);
        REQUIRE(scene.until([&] {
            context->poll();
            return sink->count() == 3;
        }));
        left = tested;
    }
    CHECK(left.expired());
}

TEST_CASE("fetcher: threads ask it while others run it") {
    fetcher_scene scene; // its brokers are run by this thread
    scene.cluster.make_topic("t", 4);
    for (std::size_t i = 0; i != 4; ++i) {
        for (int batch = 0; batch != 50; ++batch) {
            scene.append("t", i, 10, 100);
        }
    }
    scene.settings.partition_max_bytes = 8 << 10;
    std::array<std::shared_ptr<reading_sink>, 4> sinks;
    asio::thread_pool pool{3};
    auto const tested = std::make_shared<fetcher>(pool.get_executor(), scene.settings, nullptr);
    for (std::int32_t i = 0; i != 4; ++i) {
        auto& sink = sinks[static_cast<std::size_t>(i)];
        sink = std::make_shared<reading_sink>();
        sink->counts_only = true;
        tested->start({"t", i}, 1, partition_fetch::earliest, -1, sink);
    }
    std::atomic<bool> over{false};
    std::thread asking{[&] {
        while (!over) {
            for (std::int32_t i = 0; i != 4; ++i) {
                tested->want({"t", i}, 1, false);
                tested->want({"t", i}, 1, true);
                tested->start({"other", i}, 1, 0, -1, std::make_shared<reading_sink>());
                tested->stop({"other", i});
            }
        }
    }};
    auto const limit = std::chrono::steady_clock::now() + 60s;
    while (std::chrono::steady_clock::now() < limit &&
           !std::all_of(sinks.begin(), sinks.end(),
                        [](auto const& sink) { return sink->count() == 500; })) {
        scene.context.restart();
        scene.context.run_one_for(10ms);
    }
    over = true;
    asking.join();
    std::atomic<bool> done{false};
    tested->shut_down([&] { done = true; });
    pool.join();
    CHECK(done);
    for (auto const& sink : sinks) {
        CHECK(sink->count() == 500);
        CHECK(sink->disorder == 0);
    }
}

TEST_CASE("fetcher: it ends in every state") {
    for (int state = 0; state != 11; ++state) {
        CAPTURE(state);
        fetcher_scene scene{2};
        scene.cluster.make_topic("t", 2);
        scene.append("t", 0, 3);
        auto const reached = [&](api key) {
            return scene.until([&] { return scene.cluster.count(key) != 0; });
        };
        scripted_fault const silence{.then = after::silence};
        switch (state) {
        case 0: // nothing was ever asked
            scene.tested();
            break;
        case 1: // before the first turn
            scene.start("t", 0);
            break;
        case 2:
            scene.cluster.brokers[0].go_down();
            scene.start("t", 0);
            scene.pass(1s);
            break;
        case 3:
            scene.cluster.on_request = always(api::api_versions, silence);
            scene.start("t", 0);
            REQUIRE(reached(api::api_versions));
            break;
        case 4:
            scene.cluster.on_request = always(api::metadata, silence);
            scene.start("t", 0);
            REQUIRE(reached(api::metadata));
            break;
        case 5:
            scene.cluster.on_request = always(api::list_offsets, silence);
            scene.start("t", 0, partition_fetch::latest);
            REQUIRE(reached(api::list_offsets));
            break;
        case 6:
            scene.cluster.on_request = always(api::fetch, silence);
            scene.start("t", 0);
            REQUIRE(reached(api::fetch));
            break;
        case 7: // within an answer
            scene.cluster.on_request =
                always(api::fetch, {.only_first = 50, .then = after::silence});
            scene.start("t", 0);
            REQUIRE(reached(api::fetch));
            break;
        case 8: // polling
            scene.start("t", 0, 3);
            REQUIRE(reached(api::fetch));
            break;
        case 9: // an answer is kept
            scene.start("t", 0).keeps = true;
            REQUIRE(scene.until([&] { return !scene.sinks.at({"t", 0})->kept.empty(); }));
            break;
        case 10: // a name is being looked up
            scene.settings.bootstrap_servers = "no-such-host.invalid:9092";
            scene.start("t", 0);
            break;
        }
        scene.end();
        if (state == 9) {
            auto& sink = *scene.sinks.at({"t", 0});
            sink.read_kept();
            CHECK(sink.count() == 3);
        }
    }
}

TEST_CASE("fetcher: calls behind its end do nothing") {
    fetcher_scene scene;
    scene.cluster.make_topic("t", 1);
    scene.append("t", 0, 3);
    scene.start("t", 0);
    auto const kept = scene.tested().shared_from_this();
    bool done = false;
    kept->shut_down([&] { done = true; });
    kgroup::testing::run_ready(scene.context);
    REQUIRE(done);
    auto& sink = scene.start("t", 0);
    kept->want({"t", 0}, 2, true);
    kept->on_damaged({"t", 0}, 2, 1, 0, damage::checksum);
    kept->stop({"t", 0});
    bool again = false;
    kept->shut_down([&] { again = true; });
    scene.pass(1s);
    CHECK(again);
    CHECK(sink.takes == 0);
}

TEST_CASE("fetcher: answers that come by a few bytes are read") {
    for (std::size_t const piece : {1u, 3u, 5u}) {
        CAPTURE(piece);
        fetcher_scene scene;
        scene.cluster.make_topic("t", 1);
        scene.append("t", 0, 4);
        scene.cluster.on_request = [piece](auto const&) {
            return std::optional{scripted_fault{.piece = piece}};
        };
        auto& sink = scene.start("t", 0, partition_fetch::earliest);
        REQUIRE(scene.until([&] { return sink.count() == 4; }));
        scene.append("t", 0, 4);
        REQUIRE(scene.until([&] { return sink.count() == 8; }));
        CHECK(scene.notices.empty());
    }
}

TEST_CASE("fetcher: brokers that cannot be are no leaders, and metadata is not asked without end") {
    fetcher_scene scene{2};
    scene.cluster.make_topic("t", 1);
    scene.append("t", 0, 4);
    scene.cluster.also_named = {
        {5, "", 9092},           {6, "127.0.0.1", 0},
        {7, "127.0.0.1", 70000}, {8, "127.0.0.1", -1},
        {-3, "127.0.0.1", 1},    {9, "127.0.0.1", scene.cluster.brokers[0].port()}};
    auto& sink = scene.start("t", 0);
    auto& log = scene.cluster.partition("t", 0);
    for (std::int32_t const id : {5, 6, 7, 8, -3, 9, 77}) {
        CAPTURE(id);
        log.leader = id;
        ++log.leader_epoch;
        auto const before = scene.cluster.seen.size();
        scene.pass(10s);
        CHECK(scene.cluster.seen.size() - before <= 30);
    }
    log.leader = 1;
    ++log.leader_epoch;
    REQUIRE(scene.until([&] { return sink.count() == 4; }));
    scene.cluster.brokers[1].listed = false; // it leads, and is not named any more
    scene.cluster.brokers[1].cut_connections();
    scene.pass(5s);
    auto const before = scene.cluster.count(api::metadata);
    scene.pass(10s);
    CHECK(scene.cluster.count(api::metadata) - before <= 15);
    CHECK(sink.disorder == 0);
}

TEST_CASE("fetcher: out of range without end neither spins nor is passed over in silence") {
    fetcher_scene scene;
    scene.cluster.make_topic("t", 1);
    scene.append("t", 0, 10);
    auto& log = scene.cluster.partition("t", 0);
    log.error = 1;
    bool moves = false;
    SUBCASE("of what is in the log") {}
    SUBCASE("of a log that is always elsewhere") { moves = true; }
    scene.cluster.on_request =
        [&](scripted_request const& request) -> std::optional<scripted_fault> {
        if (moves && request.key == api::list_offsets) {
            ++log.log_start;
            ++log.end;
        }
        return std::nullopt;
    };
    auto& sink = scene.start("t", 0, 5);
    scene.pass(20s);
    CHECK(scene.cluster.seen.size() <= 150);
    CHECK(sink.events.size() >= 1);
    CHECK(sink.events.size() <= 25);
    CHECK(scene.count(event::broker_error) == 1);
    CHECK((scene.count(event::position_reset) > 10) == moves);
}

TEST_CASE("fetcher: what a broker gets wrong each time is told once") {
    fetcher_scene scene;
    scene.cluster.make_topic("t", 1);
    auto type = notice::damaged_answer;
    SUBCASE("parts that nobody asked for") {
        scene.cluster.on_request = always(api::fetch, {.parts = [](auto& parts) {
                                              auto stray = parts[0];
                                              stray.number = 77;
                                              parts.insert(parts.end(), 100, stray);
                                          }});
    }
    SUBCASE("it does not know Metadata as it is known here") {
        scene.cluster.brokers[0].versions[api::metadata] = {40, 50};
        type = notice::unsupported;
    }
    scene.start("t", 0);
    scene.pass(20s);
    CHECK(scene.notices.size() == 1);
    CHECK(scene.count(type) == 1);
}

TEST_CASE("fetcher: a claim that keeps what it reads gets all of it, and others theirs") {
    for (std::size_t const limit : {256u << 10, 4u << 20}) {
        CAPTURE(limit);
        fetcher_scene scene;
        scene.settings.buffer_bytes = limit;
        scene.cluster.make_topic("t", 2);
        for (int batch = 0; batch != 300; ++batch) {
            scene.append("t", 0, 20, 1000);
        }
        auto& keeping = scene.start("t", 0);
        keeping.counts_only = true;
        keeping.keeps_read = true;
        REQUIRE(scene.until([&] { return keeping.count() == 6000; }, 60s));
        CHECK(scene.tested().memory_used() > limit);
        auto const told =
            std::count_if(scene.notices.begin(), scene.notices.end(), [](auto const& one) {
                return one.text == "messages that are kept hold more than buffer_bytes";
            });
        CHECK(told == 1);
        scene.append("t", 1, 3, 1000);
        auto& other = scene.start("t", 1);
        REQUIRE(scene.until([&] { return other.count() == 3; }));
        keeping.memory.clear();
        REQUIRE(scene.until([&] { return scene.tested().memory_used() <= limit / 2; }));
    }
}

/// Its own memory never fails.
struct sparing_sink final : fetch_sink {
    reading_sink inner;

    void take(fetched_records got) noexcept override {
        spared_allocations const spared;
        inner.take(std::move(got));
    }
    void tell(std::uint64_t of, fetch_event const& told) noexcept override {
        spared_allocations const spared;
        inner.tell(of, told);
    }
    void started_at(std::uint64_t of, std::int64_t offset) noexcept override {
        spared_allocations const spared;
        inner.started_at(of, offset);
    }
};

TEST_CASE("fetcher: whatever there is no memory for, it goes on, and what was promised is free") {
    bool failed = true;
    for (std::size_t which = 1; failed; ++which) {
        CAPTURE(which);
        fetcher_scene scene;
        scene.cluster.make_topic("t", 2);
        scene.append("t", 0, 3);
        asio::io_context context; // of the fetcher alone
        auto const tested = std::make_shared<fetcher>(context.get_executor(), scene.settings,
                                                      [](fetcher_notice const&) {});
        auto const first = std::make_shared<sparing_sink>();
        auto const second = std::make_shared<sparing_sink>();
        auto const step = [&] {
            {
                spared_allocations const spared;
                scene.pass(10ms);
            }
            try {
                context.restart();
                context.poll();
            } catch (std::bad_alloc const&) { // of a handler: it runs again
            }
        };
        tested->start({"t", 0}, 1, partition_fetch::earliest, -1, first);
        tested->start({"t", 1}, 2, 0, -1, second);
        {
            failing_allocation const fails{which};
            for (int steps = 0; steps != 150; ++steps) {
                step();
                spared_allocations const spared;
                if (steps == 40) {
                    scene.cluster.brokers[0].cut_connections();
                }
                if (steps == 80) {
                    scene.append("t", 0, 3);
                    scene.append("t", 1, 3);
                }
            }
            failed = failing_allocation::has_failed();
        }
        for (int steps = 0; steps != 3000 && first->inner.count() + second->inner.count() != 9;
             ++steps) {
            step();
        }
        CHECK(first->inner.count() == 6);
        CHECK(second->inner.count() == 3);
        tested->stop({"t", 0});
        tested->stop({"t", 1});
        for (int steps = 0; steps != 1500 && tested->memory_used() != 0; ++steps) {
            step();
        }
        CHECK(tested->memory_used() == 0);
        bool done = false;
        tested->shut_down([&] { done = true; });
        for (int steps = 0; steps != 100 && !done; ++steps) {
            step();
        }
        CHECK(done);
    }
}

} // namespace
} // namespace fetcher_tests
