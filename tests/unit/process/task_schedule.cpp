// SPDX-License-Identifier: MIT

#include <kgroup/detail/process/key_lanes.hpp>
#include <kgroup/detail/process/retry_policy.hpp>
#include <kgroup/detail/process/task.hpp>
#include <kgroup/detail/process/task_schedule.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <vector>

namespace kgroup::tests {

namespace {

using namespace std::chrono_literals;
using detail::clock;
using detail::key_lanes;
using detail::retry_policy;
using detail::task;
using detail::task_schedule;

clock::time_point const start{1h};

struct tasks {
    std::deque<task> all;

    task& make(std::optional<std::uint64_t> lane, std::size_t bytes = 1) {
        auto& made = all.emplace_back();
        made.lane = lane;
        made.sequence = all.size() - 1;
        made.bytes = bytes;
        return made;
    }
};

} // namespace

TEST_CASE("a lane is entered by one task at a time, in order") {
    tasks some;
    key_lanes lanes;
    auto& first = some.make(7);
    auto& second = some.make(7);
    auto& third = some.make(7);
    auto& other = some.make(8);
    CHECK(lanes.enter(first));
    CHECK_FALSE(lanes.enter(second));
    CHECK_FALSE(lanes.enter(third));
    CHECK(lanes.enter(other));
    CHECK(lanes.size() == 2);
    CHECK(lanes.leave(7) == &second);
    CHECK(lanes.leave(8) == nullptr);
    CHECK(lanes.leave(7) == &third);
    CHECK(lanes.leave(7) == nullptr);
    CHECK(lanes.size() == 0);
    CHECK(lanes.enter(first));
}

TEST_CASE("the longest lane is known, whoever comes and goes") {
    std::minstd_rand random{7};
    tasks some;
    key_lanes lanes;
    std::map<std::uint64_t, std::size_t> model;
    for (int step = 0; step != 2000; ++step) {
        auto const lane = std::uint64_t{random() % 5};
        if (random() % 2 == 0) {
            static_cast<void>(lanes.enter(some.make(lane)));
            ++model[lane];
        } else if (model[lane] != 0) {
            static_cast<void>(lanes.leave(lane));
            --model[lane];
        }
        std::size_t longest = 0;
        for (auto const& [hash, length] : model) {
            longest = (std::max)(longest, length);
        }
        REQUIRE(lanes.longest() == longest);
    }
    static_cast<void>(lanes.clear());
    CHECK(lanes.longest() == 0);
    CHECK(lanes.enter(some.make(9)));
    CHECK(lanes.longest() == 1);
}

TEST_CASE("a lane is parked while its record waits for a retry") {
    tasks some;
    task_schedule schedule;
    auto& keyed = some.make(7);
    auto& free = some.make(std::nullopt);
    CHECK(schedule.add(keyed));
    CHECK(schedule.add(free));
    schedule.retry_at(schedule.start_next(start), start + 5s);
    schedule.retry_at(schedule.start_next(start), start + 5s);
    CHECK(schedule.waiting_for_retry() == 2);
    CHECK(schedule.parked_lanes() == 1);
    schedule.make_due_ready(start + 5s);
    CHECK(schedule.parked_lanes() == 0);
    schedule.retry_at(schedule.start_next(start), start + 9s);
    CHECK(schedule.parked_lanes() == 1);
    static_cast<void>(schedule.clear());
    CHECK(schedule.parked_lanes() == 0);
}

TEST_CASE("lanes against a plain model, with hashes that collide in the table") {
    std::minstd_rand random{42};
    tasks some;
    key_lanes lanes;
    std::map<std::uint64_t, std::deque<task*>> model; // the first has the lane
    for (int step = 0; step != 20'000; ++step) {
        auto const lane =
            std::uint64_t{random() % 40} * 64 + random() % 3; // neighbours in every size
        if (random() % 2 == 0) {
            auto& entering = some.make(lane);
            auto& row = model[lane];
            REQUIRE(lanes.enter(entering) == row.empty());
            row.push_back(&entering);
        } else if (auto const found = model.find(lane); found != model.end()) {
            auto& row = found->second;
            row.pop_front();
            REQUIRE(lanes.leave(lane) == (row.empty() ? nullptr : row.front()));
            if (row.empty()) {
                model.erase(found);
            }
        }
        REQUIRE(lanes.size() == model.size());
    }
    std::size_t waiting = 0;
    for (auto const& row : model) {
        waiting += row.second.size() - 1;
    }
    auto dropped = lanes.clear();
    while (dropped.pop_front()) {
        --waiting;
    }
    CHECK(waiting == 0);
    CHECK(lanes.size() == 0);
}

TEST_CASE("a task that waits for a retry keeps its lane") {
    tasks some;
    task_schedule schedule;
    auto& first = some.make(1);
    auto& second = some.make(1);
    CHECK(schedule.add(first));
    CHECK_FALSE(schedule.add(second));
    CHECK(&schedule.start_next(start) == &first);
    schedule.retry_at(first, start + 1s);
    CHECK_FALSE(schedule.has_ready());
    CHECK(schedule.next_due() == start + 1s);
    schedule.make_due_ready(start + 999ms);
    CHECK_FALSE(schedule.has_ready());
    schedule.make_due_ready(start + 1s);
    CHECK(&schedule.start_next(start + 1s) == &first);
    CHECK(first.time == start + 1s);
    schedule.finish(first);
    CHECK(&schedule.start_next(start + 2s) == &second);
    schedule.finish(second);
    CHECK(schedule.size() == 0);
}

TEST_CASE("retries that are due at the same time start in the order of their records") {
    tasks some;
    task_schedule schedule;
    std::vector<task*> all;
    for (int count = 0; count != 10; ++count) {
        all.push_back(&some.make(std::nullopt));
        schedule.add(*all.back());
        schedule.start_next(start);
    }
    for (auto const index : {3, 9, 0, 5, 1, 8, 2, 7, 6, 4}) {
        schedule.retry_at(*all[static_cast<std::size_t>(index)], start + 1s);
    }
    schedule.make_due_ready(start + 1s);
    for (auto* const expected : all) {
        CHECK(&schedule.start_next(start + 1s) == expected);
    }
}

TEST_CASE("held bytes are those of what does not run") {
    tasks some;
    task_schedule schedule;
    auto& first = some.make(1, 10);
    auto& second = some.make(1, 20);
    schedule.add(first);
    schedule.add(second);
    CHECK(schedule.held_bytes() == 30);
    schedule.start_next(start);
    CHECK(schedule.held_bytes() == 20);
    schedule.retry_at(first, start + 1s);
    CHECK(schedule.held_bytes() == 30);
    schedule.make_due_ready(start + 1s);
    schedule.start_next(start + 1s);
    schedule.finish(first);
    CHECK(schedule.held_bytes() == 20);
    schedule.start_next(start + 1s);
    CHECK(schedule.held_bytes() == 0);
    schedule.finish(second);
}

TEST_CASE("what is copied out may take more bytes than what was fetched") {
    tasks some;
    task_schedule schedule;
    auto& runs = some.make(1, 10);
    auto& waits = some.make(1, 20);
    CHECK(schedule.add(runs));
    CHECK_FALSE(schedule.add(waits));
    schedule.start_next(start);
    schedule.set_bytes(waits, 50);
    CHECK(schedule.held_bytes() == 50);
    schedule.set_bytes(runs, 100); // it does not wait
    CHECK(schedule.held_bytes() == 50);
    schedule.retry_at(runs, start + 1s);
    CHECK(schedule.held_bytes() == 150);
    schedule.set_bytes(runs, 5);
    CHECK(schedule.held_bytes() == 55);
}

TEST_CASE("a task whose lane is known late waits if the lane is busy") {
    tasks some;
    task_schedule schedule;
    auto& first = some.make(1, 10);
    auto& late = some.make(std::nullopt, 20);
    schedule.add(first);
    schedule.add(late);
    schedule.start_next(start);
    schedule.start_next(start);
    late.lane = 1;
    CHECK_FALSE(schedule.enter_lane(late));
    CHECK(schedule.running_count() == 1);
    CHECK(schedule.held_bytes() == 20);
    schedule.finish(first);
    CHECK(&schedule.start_next(start) == &late);
    schedule.finish(late);
    CHECK(schedule.held_bytes() == 0);
}

TEST_CASE("random schedules: attempts of a lane never overlap and ascend, nothing is forgotten") {
    for (std::uint32_t seed = 1; seed != 200; ++seed) {
        std::minstd_rand random{seed};
        tasks some;
        task_schedule schedule;
        auto now = start;
        std::vector<task*> running;
        std::map<std::uint64_t, std::uint64_t> last; // of a lane: the sequence that was done last
        std::set<std::uint64_t> busy;
        std::size_t done = 0;
        auto const step = [&](bool may_add) {
            switch (random() % 4) {
            case 0:
                if (may_add) {
                    schedule.add(some.make(random() % 5 == 0
                                               ? std::nullopt
                                               : std::optional<std::uint64_t>{random() % 6}));
                }
                break;
            case 1:
                if (schedule.has_ready()) {
                    auto& started = schedule.start_next(now);
                    if (started.lane) {
                        REQUIRE(busy.insert(*started.lane).second);
                        auto const found = last.find(*started.lane);
                        REQUIRE((found == last.end() || found->second < started.sequence));
                    }
                    running.push_back(&started);
                }
                break;
            case 2:
                if (!running.empty()) {
                    auto const index = random() % running.size();
                    auto& ended = *running[index];
                    running.erase(running.begin() + static_cast<std::ptrdiff_t>(index));
                    if (ended.lane) {
                        busy.erase(*ended.lane);
                    }
                    if (random() % 3 == 0) {
                        schedule.retry_at(ended, now + std::chrono::milliseconds{random() % 50});
                    } else {
                        if (ended.lane) {
                            last[*ended.lane] = ended.sequence;
                        }
                        schedule.finish(ended);
                        ++done;
                    }
                }
                break;
            default:
                now += std::chrono::milliseconds{random() % 20};
                schedule.make_due_ready(now);
            }
            REQUIRE(schedule.size() == some.all.size() - done);
            REQUIRE(schedule.running_count() == running.size());
        };
        for (int count = 0; count != 300; ++count) {
            step(true);
        }
        if (seed % 2 == 0) {
            for (int count = 0; done != some.all.size(); ++count) {
                REQUIRE(count < 100'000);
                step(false);
            }
            CHECK(schedule.held_bytes() == 0);
            CHECK(schedule.busy_lanes() == 0);
        } else {
            auto dropped = schedule.clear();
            std::size_t count = 0;
            while (dropped.pop_front()) {
                ++count;
            }
            CHECK(count == some.all.size() - done - running.size());
            for (auto* const ended : running) {
                schedule.finish(*ended);
            }
            CHECK(schedule.size() == 0);
            CHECK_FALSE(schedule.has_ready());
            CHECK(schedule.held_bytes() == 0);
        }
    }
}

TEST_CASE("retry policy: waits grow to the maximum, shortened by the jitter at most") {
    retry_policy const policy{
        {.attempts = 10, .backoff = {.initial = 100ms, .max = 1s, .factor = 2, .jitter = 0.5}}};
    CHECK(policy.wait(1, 0) == 100ms);
    CHECK(policy.wait(2, 0) == 200ms);
    CHECK(policy.wait(4, 0) == 800ms);
    CHECK(policy.wait(5, 0) == 1s);
    CHECK(policy.wait(1000, 0) == 1s);
    CHECK(policy.wait(1'000'000'000, 0) == 1s);
    CHECK(policy.wait(1, 1) == 50ms);
}

TEST_CASE("retry policy: gives up by count and by time") {
    retry_policy const counted{{.attempts = 2, .backoff = {.initial = 100ms, .jitter = 0}}};
    CHECK(counted.next_attempt(1, start, start, 0) == start + 100ms);
    CHECK_FALSE(counted.next_attempt(2, start, start, 0));
    retry_policy const timed{
        {.attempts = 1000, .backoff = {.initial = 100ms, .jitter = 0}, .give_up_after = 1s}};
    CHECK(timed.next_attempt(1, start, start + 900ms, 0) == start + 1s);
    CHECK_FALSE(timed.next_attempt(1, start, start + 901ms, 0));
}

TEST_CASE("retry policy: a time that is longer than the clock goes never comes") {
    constexpr auto longest = (std::chrono::milliseconds::max)();
    retry_policy const policy{{.attempts = 1000,
                               .backoff = {.initial = longest, .max = longest, .factor = 10},
                               .give_up_after = longest,
                               .attempt_timeout = longest}};
    CHECK(policy.times_out(start) == (clock::time_point::max)());
    CHECK(policy.wait(1, 0) > 24h * 365 * 99);
    CHECK(policy.wait(999, 1) > 24h * 365 * 79);
    CHECK(policy.next_attempt(1, start, start, 0) > start + 24h * 365 * 99);
    retry_policy const timed{{.attempts = 2, .give_up_after = longest}};
    CHECK(timed.next_attempt(1, start, start + 24h * 365, 0));
    constexpr auto millennium = std::chrono::milliseconds{24h * 365 * 1000};
    retry_policy const slow{{.attempt_timeout = millennium}};
    CHECK(slow.times_out(start) == (clock::time_point::max)());
    retry_policy const quick{{.attempt_timeout = 1ms}};
    CHECK(quick.times_out(start) == start + 1ms);
    CHECK(quick.times_out((clock::time_point::max)() - 1us) == (clock::time_point::max)());
}

TEST_CASE("a dead letter under way is no attempt, and keeps its lane until it is done") {
    tasks some;
    task_schedule schedule;
    auto& first = some.make(7);
    auto& second = some.make(7);
    auto& other = some.make(8);
    for (auto* const waiting : {&first, &second, &other}) {
        schedule.add(*waiting);
    }
    CHECK(&schedule.start_next(start) == &first);
    CHECK(&schedule.start_next(start + 1s) == &other);
    schedule.begin_letter(first);
    CHECK(schedule.running().front() == &other);
    CHECK(schedule.letters().front() == &first);
    CHECK(schedule.running_count() == 2);
    CHECK_FALSE(schedule.has_ready());
    schedule.finish(other);
    CHECK(schedule.running().empty());
    schedule.finish(first);
    CHECK(schedule.letters().empty());
    CHECK(schedule.running_count() == 0);
    CHECK(&schedule.start_next(start) == &second);
    schedule.begin_letter(second);
    CHECK(schedule.clear().empty()); // it goes on
    CHECK(schedule.letters().front() == &second);
    schedule.finish(second);
    CHECK(schedule.size() == 0);
}

} // namespace kgroup::tests
