// SPDX-License-Identifier: MIT

#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/error.hpp>
#include <asio/use_future.hpp>

#include <array>
#include <future>
#include <optional>
#include <vector>

#include "support/scripted_group.hpp"

// config::initial_time and async_offsets_for_times: where a log is at a time.

namespace {

using namespace kgroup::tests;
using kgroup::errc;
using kgroup::offset_for_time;
using kgroup::offset_reset;
using request = fake_cluster::request;
using time_point = std::chrono::system_clock::time_point;

time_point const noon = time_point{} + std::chrono::hours{24 * 20000 + 12};

class timed_group : public scripted_group {
public:
    std::vector<offset_for_time> found{};
    std::optional<std::error_code> answer{};

    timed_group() {
        for (int i = 0; i != 4; ++i) {
            cluster.add_records(
                t0, fake_cluster::record{.value = "record", .timestamp = noon + i * 1min});
        }
        cluster.add_records(t1, fake_cluster::record{.value = "without a time"});
    }

    void ask(std::vector<kgroup::topic_partition> const& partitions, time_point time) {
        found.clear();
        answer.reset();
        group->async_offsets_for_times(
            partitions, time, [this](std::error_code e, std::vector<offset_for_time> result) {
                answer = e;
                found = std::move(result);
            });
        settle();
    }
    std::error_code error() const { return answer.value_or(std::error_code{}); }
};

TEST_CASE_FIXTURE(timed_group, "initial_time: without a committed offset a claim begins at the "
                               "first record that is late enough, or at the end") {
    settings.initial_time = noon + 90s;
    SUBCASE("initial_offset does not matter") {}
    SUBCASE("nor does none") { settings.initial_offset = offset_reset::none; }
    std::map<kgroup::topic_partition, std::int64_t> starts;
    handler.on_claim = [&](auto&, auto& claim) -> asio::awaitable<void> {
        starts[{claim.topic(), claim.partition()}] = claim.initial_offset();
        co_await handler.mark_all(claim);
    };
    cluster.skip_offsets(t2, 9);
    cluster.set_committed(t2, 7);
    run_over({t0, t1, t2});
    CHECK(handler.received == lines{"t[0]@2 record", "t[0]@3 record"});
    CHECK(starts.at(t0) == 2);
    CHECK(starts.at(t1) == 1); // nothing there has a time
    CHECK(starts.at(t2) == 7); // what is committed comes first
    stop();
    CHECK(cluster.committed(t0) == 4);
    CHECK(cluster.committed(t1) == std::nullopt);
}

TEST_CASE_FIXTURE(
    timed_group,
    "async_offsets_for_times: an offset, none, or an error for each partition, owned or not") {
    run_over({t0});
    ask({t1, t0}, noon + 1min);
    REQUIRE(answer);
    CHECK_FALSE(*answer);
    REQUIRE(found.size() == 2);
    CHECK(found[0].where == t1);
    CHECK(found[0].offset == std::nullopt);
    CHECK_FALSE(found[0].error);
    CHECK(found[1].where == t0);
    CHECK(found[1].offset == 1);
    ask({t0}, noon - 24h);
    CHECK(found.at(0).offset == 0);
    ask({t0}, noon + 24h);
    CHECK(found.at(0).offset == std::nullopt);
    ask({}, noon);
    REQUIRE(answer);
    CHECK(found.empty());
    cluster.fail(request::offsets_for_times,
                 kgroup::make_error_code(RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION));
    ask({t0}, noon);
    CHECK(found.at(0).error == kgroup::make_error_code(RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION));
    CHECK(found.at(0).offset == std::nullopt);
    stop();
}

TEST_CASE_FIXTURE(timed_group,
                  "async_offsets_for_times in setup: a session that begins at a time of its own") {
    handler.on_setup = [this](kgroup::session& session) -> asio::awaitable<void> {
        auto const claims = session.claims();
        for (auto const& known : co_await group->async_offsets_for_times(claims, noon + 3min)) {
            if (known.offset) {
                session.mark_offset(known.where, *known.offset);
            }
        }
    };
    run_over({t0, t1});
    CHECK(handler.received == lines{"t[0]@3 record", "t[1]@0 without a time"});
    stop();
}

TEST_CASE_FIXTURE(
    timed_group,
    "async_offsets_for_times is refused before the run and after it, and does not outlast it") {
    group.emplace(context, settings);
    ask({t0}, noon);
    CHECK(error() == errc::not_running);
    group.reset();
    run_over({t0});
    cluster.hold(request::offsets_for_times);
    ask({t0}, noon);
    CHECK_FALSE(answer);
    stop();
    REQUIRE(answer);
    CHECK(error() == errc::not_running);
    ask({t0}, noon);
    CHECK(error() == errc::not_running);
}

TEST_CASE_FIXTURE(
    timed_group,
    "async_offsets_for_times can be cancelled, and questions side by side get their own answers") {
    run_over({t0});
    cluster.hold(request::offsets_for_times);
    asio::cancellation_signal signal;
    std::optional<std::error_code> cancelled;
    std::array const asked{t0};
    group->async_offsets_for_times(
        asked, noon,
        asio::bind_cancellation_slot(signal.slot(),
                                     [&](std::error_code e, auto const&) { cancelled = e; }));
    ask({t0}, noon + 2min);
    signal.emit(asio::cancellation_type::total);
    settle();
    REQUIRE(cancelled);
    CHECK(*cancelled == asio::error::operation_aborted);
    auto future = group->async_offsets_for_times(asked, noon + 1min, asio::use_future);
    settle();
    CHECK_FALSE(answer);
    cluster.release(request::offsets_for_times);
    settle();
    CHECK(found.at(0).offset == 2);
    CHECK(future.get().at(0).offset == 1);
    stop();
}

} // namespace
