// SPDX-License-Identifier: MIT

#include <kgroup/offset_tracker.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <barrier>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <limits>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using kgroup::mark_result;
using kgroup::offset_tracker;
using kgroup::tracked_offset;

constexpr std::size_t thread_count = 8;
constexpr std::chrono::seconds patience{60};
constexpr std::chrono::seconds budget{
    3}; // for a test that repeats: on a busy machine it repeats less often

/// Counts what must not happen. Relaxed, and not doctest's own checks: their lock would order the
/// threads and hide from the sanitizer what the tracker itself does not order.
class violations {
public:
    void expect(bool holds) noexcept {
        if (!holds) {
            count_.fetch_add(1, std::memory_order_relaxed);
        }
    }

    std::size_t count() const noexcept { return count_.load(std::memory_order_relaxed); }

private:
    std::atomic<std::size_t> count_{0};
};

/// A claim at work: one thread delivers, eight handle, the test's own thread commits.
class busy_claim {
public:
    /// `kept`: so many records each thread leaves undone while it handles others.
    busy_claim(std::size_t records, std::size_t window, std::size_t kept = 0)
        : tracker_{window},
          log_(records),
          kept_{kept} {}
    virtual ~busy_claim() = default;

    void run() {
        std::vector<std::thread> threads;
        for (std::size_t i = 0; i != thread_count; ++i) {
            threads.emplace_back([this, i] { handle(static_cast<unsigned>(i)); });
        }
        threads.emplace_back([this] { deliver(); });
        while (acknowledged_.load(std::memory_order_relaxed) != log_.size() && !stuck_.load()) {
            commit();
            std::this_thread::yield();
        }
        for (std::thread& thread : threads) {
            thread.join();
        }
        REQUIRE_MESSAGE(!stuck_.load(), "the window had opened and nobody was told");
        commit();
        CHECK_FALSE(tracker_.seal());
        CHECK(wrong_.count() == 0);
        CHECK(tracker_.committed() == log_.back().offset + 1);
        CHECK(commits_ > 5); // some of them beside the threads, also on a busy machine
    }

    std::size_t waits() const { return waits_; }

protected:
    struct entry {
        std::int64_t offset = 0;
        std::uint32_t epoch = 0;
        bool done =
            false; // plain on purpose: written before ack(), read after a pending() that covers it
        std::atomic<bool> begun{false};
    };

    virtual std::int64_t next_offset(std::size_t index, std::int64_t previous) = 0;

    /// What tracker_.pending() returned, between two looks at what can be said of it.
    virtual void check(std::int64_t next, std::size_t delivered_before) = 0;

    offset_tracker tracker_;
    std::vector<entry> log_;
    violations wrong_;
    std::atomic<std::size_t> checked_{
        0}; // so many records, from the first on, are known to be done
    std::mt19937 delivery_random_{7};

private:
    void commit() {
        std::size_t const delivered_before = delivered_.load(std::memory_order_acquire);
        if (std::optional<tracked_offset> const next = tracker_.pending()) {
            check(next->next, delivered_before);
            tracker_.committed(next->next);
            ++commits_;
        }
        looks_.fetch_add(1, std::memory_order_relaxed);
    }

    void deliver() {
        std::int64_t offset = -1;
        for (std::size_t i = 0; i != log_.size(); ++i) {
            if (tracker_.window_full() && !wait_for_window()) {
                return;
            }
            if (i % 500 == 499) {
                wait_for_commit();
            }
            offset = next_offset(i, offset);
            log_[i].offset = offset;
            wrong_.expect(tracker_.deliver(offset) == i);
            log_[i].epoch = tracker_.epoch();
            delivered_.store(i + 1, std::memory_order_release);
            std::lock_guard const lock{mutex_};
            in_hand_.push_back(i);
            ready_.notify_one();
        }
        std::lock_guard const lock{mutex_};
        all_delivered_ = true;
        ready_.notify_all();
    }

    /// However few the processors: commits happen all along.
    void wait_for_commit() {
        std::size_t const before = looks_.load(std::memory_order_relaxed);
        while (looks_.load(std::memory_order_relaxed) == before) {
            std::this_thread::yield();
        }
    }

    bool wait_for_window() {
        std::unique_lock lock{mutex_};
        ++waits_;
        bool const told = may_go_on_.wait_for(lock, patience, [this] { return told_; });
        told_ = false;
        if (!told) {
            stuck_.store(true);
            all_delivered_ = true;
            ready_.notify_all();
        }
        return told;
    }

    void handle(unsigned thread) {
        std::mt19937 random{thread};
        std::vector<std::size_t> mine;
        std::vector<std::size_t> kept;
        while (take(mine) || give_back(kept, mine)) {
            keep_some(kept, mine, random);
            std::shuffle(mine.begin(), mine.end(), random);
            for (std::size_t const index : mine) {
                log_[index].done = true;
                log_[index].begun.store(true, std::memory_order_release);
                wrong_.expect(ack(index) == mark_result::accepted);
                acknowledged_.fetch_add(1, std::memory_order_relaxed);
                if (random() % 4 == 0) {
                    repeat(index);
                }
                std::size_t const checked = checked_.load(std::memory_order_acquire);
                if (checked != 0 && random() % 4 == 0) {
                    repeat(checked - 1 - random() % std::min<std::size_t>(checked, 2000));
                }
            }
        }
    }

    bool take(std::vector<std::size_t>& mine) {
        std::unique_lock lock{mutex_};
        ready_.wait(lock, [this] { return !in_hand_.empty() || all_delivered_; });
        mine.clear();
        while (!in_hand_.empty() && mine.size() != 16) {
            mine.push_back(in_hand_.front());
            in_hand_.pop_front();
        }
        return !mine.empty();
    }

    void keep_some(std::vector<std::size_t>& kept, std::vector<std::size_t>& mine,
                   std::mt19937& random) const {
        if (mine.size() > 1 && kept.size() < kept_) {
            kept.push_back(mine.back());
            mine.pop_back();
        } else if (!kept.empty() && random() % 4 == 0) {
            std::swap(kept[random() % kept.size()], mine.back());
        }
    }

    /// At the end.
    static bool give_back(std::vector<std::size_t>& kept, std::vector<std::size_t>& mine) {
        mine.clear();
        if (!kept.empty()) {
            mine.push_back(kept.back());
            kept.pop_back();
        }
        return !mine.empty();
    }

    mark_result ack(std::size_t index) {
        mark_result const result = tracker_.ack(log_[index].offset, index, log_[index].epoch);
        if (tracker_.window_opened()) {
            std::lock_guard const lock{mutex_};
            told_ = true;
            may_go_on_.notify_one();
        }
        return result;
    }

    void repeat(std::size_t index) {
        mark_result const result = ack(index);
        wrong_.expect(result == mark_result::ignored || result == mark_result::accepted);
    }

    std::atomic<std::size_t> delivered_{0};
    std::atomic<std::size_t> acknowledged_{0};
    std::atomic<std::size_t> looks_{0};
    std::atomic<bool> stuck_{false};
    std::size_t const kept_;
    std::size_t commits_ = 0;
    std::size_t waits_ = 0;

    std::mutex mutex_;
    std::condition_variable ready_;
    std::condition_variable may_go_on_;
    std::deque<std::size_t> in_hand_;
    bool told_ = false;
    bool all_delivered_ = false;
};

class claim_with_gaps : public busy_claim {
public:
    using busy_claim::busy_claim;

private:
    std::int64_t next_offset(std::size_t, std::int64_t previous) override {
        return previous + (delivery_random_() % 4 == 0 ? 3 : 1);
    }

    void check(std::int64_t next, std::size_t) override {
        std::size_t index = checked_.load(std::memory_order_relaxed);
        while (index != log_.size() && (index == 0 || log_[index - 1].offset + 1 < next)) {
            wrong_.expect(log_[index].done);
            ++index;
        }
        wrong_.expect(log_[index - 1].offset + 1 == next);
        checked_.store(index, std::memory_order_release);
    }
};

class claim_that_goes_backward : public busy_claim {
public:
    using busy_claim::busy_claim;

private:
    std::int64_t next_offset(std::size_t index, std::int64_t previous) override {
        bool const back = index % 700 == 699;
        std::int64_t const by = static_cast<std::int64_t>(delivery_random_() % 900);
        return back ? std::max<std::int64_t>(previous - by, 0) : previous + (by % 4 == 0 ? 3 : 1);
    }

    /// Some record justifies it: one that is done, with all delivered before it, and below which no
    /// delivery that was over when pending() was called had gone back.
    void check(std::int64_t next, std::size_t delivered_before) override {
        std::size_t done = checked_.load(std::memory_order_relaxed);
        while (done != log_.size() && log_[done].begun.load(std::memory_order_acquire)) {
            ++done;
        }
        std::size_t const first = std::exchange(justified_from_, std::min(justified_from_, done));
        std::int64_t lowest = std::numeric_limits<std::int64_t>::max();
        std::int64_t highest = 0;
        for (std::size_t i = std::max(delivered_before, done); i-- > first;) {
            if (i < done) {
                highest = std::max(highest, std::min(log_[i].offset + 1, lowest));
            }
            bool const begins_epoch =
                i != 0 && i < delivered_before && log_[i].epoch != log_[i - 1].epoch;
            lowest = begins_epoch ? std::min(lowest, log_[i].offset) : lowest;
        }
        wrong_.expect(next <= highest);
        checked_.store(done, std::memory_order_release);
    }

    std::size_t justified_from_ = 0;
};

/// Now and then: with fewer processors than threads, the one that matters would wait for a time
/// slice.
void give_way(std::int64_t count) {
    if (count % 33 == 32) {
        std::this_thread::yield();
    }
}

/// Again and again, as the budget allows: `body` on eight threads and `meanwhile` on this one at
/// once; `before` and `after` it on this one alone.
template <typename Before, typename Body, typename Meanwhile, typename After>
void in_rounds(std::size_t rounds, Before before, Body body, Meanwhile meanwhile, After after) {
    std::barrier gate{static_cast<std::ptrdiff_t>(thread_count + 1)};
    std::atomic<bool> over{false};
    std::vector<std::thread> threads;
    for (std::size_t thread = 0; thread != thread_count; ++thread) {
        threads.emplace_back([&, thread] {
            for (gate.arrive_and_wait(); !over; gate.arrive_and_wait()) {
                body(thread);
                gate.arrive_and_wait();
            }
        });
    }
    auto const until = std::chrono::steady_clock::now() + budget;
    for (std::size_t round = 0; round != rounds && std::chrono::steady_clock::now() < until;
         ++round) {
        before();
        gate.arrive_and_wait();
        meanwhile(round);
        gate.arrive_and_wait();
        after();
    }
    over = true;
    gate.arrive_and_wait();
    for (std::thread& thread : threads) {
        thread.join();
    }
}

/// Spins first, to be close in time. Whether it came to be, with patience.
template <typename Condition>
bool wait_until(Condition condition) {
    auto const until = std::chrono::steady_clock::now() + patience;
    for (unsigned spins = 1; !condition(); ++spins) {
        if (spins % 1024 == 0) {
            std::this_thread::yield();
            if (std::chrono::steady_clock::now() > until) {
                return false;
            }
        }
    }
    return true;
}

/// Again and again, as the budget allows: `here(tracker)` on this thread and `there(tracker)` on
/// another, at the same time by the clock or a little sooner or later, on a fresh tracker with two
/// records delivered that `before` prepared; then `after`. Every eighth time the one is certainly
/// over before the other begins.
template <typename Before, typename Here, typename There, typename After>
void at_once(Before before, Here here, There there, After after) {
    using clock = std::chrono::steady_clock;
    constexpr std::size_t most_rounds = 50'000;
    std::optional<offset_tracker> tracker;
    clock::time_point moment;
    std::atomic<std::size_t> begun{0};
    std::atomic<std::size_t> through{0};
    std::atomic<bool> over{false};
    std::thread other{[&] {
        for (std::size_t round = 0;; ++round) {
            wait_until([&] { return begun.load() > round || over.load(); });
            if (begun.load() <= round) {
                return;
            }
            wait_until([&] { return clock::now() >= moment; });
            there(*tracker);
            through.store(round + 1);
        }
    }};
    auto const until = clock::now() + budget;
    for (std::size_t round = 0; round != most_rounds && clock::now() < until; ++round) {
        tracker.emplace(1);
        tracker->deliver(0);
        tracker->deliver(1);
        before(*tracker);
        bool const first = round % 16 == 0;
        bool const last = round % 16 == 8;
        if (first) {
            here(*tracker);
        }
        moment = clock::now() + std::chrono::microseconds{5};
        std::chrono::nanoseconds const later{static_cast<int>(round % 64) * 20 - 640};
        begun.store(round + 1);
        if (!first) {
            wait_until(
                [&] { return last ? through.load() > round : clock::now() >= moment + later; });
            here(*tracker);
        }
        wait_until([&] { return through.load() > round; });
        after(*tracker);
    }
    over.store(true);
    other.join();
}

} // namespace

TEST_CASE(
    "offset_tracker: eight threads acknowledge out of order, nothing undone is ever committed") {
    for (std::size_t const window : {std::size_t{65536}, std::size_t{3000}, std::size_t{60}}) {
        CAPTURE(window);
        claim_with_gaps claim{60'000, window};
        claim.run();
        CHECK((claim.waits() > 0 || window > 60));
    }
}

TEST_CASE("offset_tracker: the same while some records stay behind") {
    for (std::size_t const window : {std::size_t{3000}, std::size_t{300}}) {
        CAPTURE(window);
        claim_with_gaps claim{60'000, window, 4};
        claim.run();
    }
    claim_that_goes_backward claim{20'000, 300, 4};
    claim.run();
}

TEST_CASE("offset_tracker: an acknowledgement of a record that is left behind just now counts") {
    violations wrong;
    at_once(
        [&](offset_tracker& tracker) {
            wrong.expect(tracker.ack(1, 1, 0) == mark_result::accepted);
            tracker.deliver(2);
        },
        [&](offset_tracker& tracker) {
            wrong.expect(tracker.ack(0, 0, 0) == mark_result::accepted);
        },
        [](offset_tracker& tracker) { static_cast<void>(tracker.window_full()); },
        [&](offset_tracker& tracker) {
            wrong.expect(tracker.undone(3) == 1);
            wrong.expect(tracker.pending() == tracked_offset{2});
        });
    CHECK(wrong.count() == 0);
}

TEST_CASE("offset_tracker: the same while offsets go backward") {
    for (std::size_t const window : {std::size_t{65536}, std::size_t{300}}) {
        CAPTURE(window);
        claim_that_goes_backward claim{20'000, window};
        claim.run();
    }
}

TEST_CASE("offset_tracker: whoever waits for the window is told that it has opened") {
    constexpr std::int64_t most_records = 100'000;
    offset_tracker tracker{1};
    CHECK(tracker.ack(0, tracker.deliver(0), 0) == mark_result::accepted);
    std::atomic<std::int64_t> delivered{1};
    std::atomic<bool> told{false};
    std::atomic<bool> over{false};
    violations wrong;
    std::thread handler{[&] {
        for (std::int64_t i = 1;; ++i) {
            wait_until([&] { return delivered.load() > i || over.load(); });
            if (delivered.load() <= i) {
                return;
            }
            wrong.expect(tracker.ack(i, static_cast<std::uint64_t>(i), 0) == mark_result::accepted);
            if (tracker.window_opened()) {
                told.store(true);
            }
        }
    }};
    std::size_t waits = 0;
    bool stuck = false;
    auto const until = std::chrono::steady_clock::now() + budget;
    std::int64_t i = 1;
    for (; i != most_records && !stuck && std::chrono::steady_clock::now() < until; ++i) {
        while (!stuck && tracker.window_full()) {
            ++waits;
            stuck = !wait_until([&] { return told.exchange(false); });
        }
        tracker.deliver(i);
        delivered.store(i + 1);
    }
    over.store(true);
    handler.join();
    CHECK_FALSE(stuck);
    CHECK(wrong.count() == 0);
    CHECK(waits > 0);
    CHECK(tracker.seal() == tracked_offset{i});
}

TEST_CASE("offset_tracker: a mark is in what seal returns, or refused") {
    constexpr std::size_t most_marks = 100'000;
    std::optional<offset_tracker> tracker;
    std::optional<tracked_offset> sealed;
    std::array<std::int64_t, thread_count> accepted{};
    std::atomic<std::int64_t> next{0};
    std::vector<std::size_t> done(
        most_marks); // plain on purpose: written before mark(), read after seal()
    std::size_t this_round = 0;
    std::size_t in_the_middle = 0;
    violations wrong;
    in_rounds(
        4000,
        [&] {
            tracker.emplace();
            tracker->deliver(0);
            ++this_round;
            next = 0;
            accepted.fill(0);
        },
        [&](std::size_t thread) {
            for (int refused = 0; refused != 3;) {
                std::int64_t const mine = next.fetch_add(1, std::memory_order_relaxed) + 1;
                if (mine >= static_cast<std::int64_t>(most_marks)) {
                    break;
                }
                done[static_cast<std::size_t>(mine)] = this_round;
                mark_result const result = tracker->mark(mine, 0);
                accepted[thread] = result == mark_result::accepted ? mine : accepted[thread];
                bool const taken =
                    result == mark_result::accepted || result == mark_result::ignored;
                wrong.expect(refused == 0 ? taken || result == mark_result::refused_ended
                                          : result == mark_result::refused_ended);
                refused += result == mark_result::refused_ended ? 1 : 0;
                give_way(mine);
            }
        },
        [&](std::size_t round) {
            while (next.load(std::memory_order_relaxed) < static_cast<std::int64_t>(round % 100)) {
                std::this_thread::yield();
            }
            sealed = tracker->seal();
            wrong.expect(!sealed || done[static_cast<std::size_t>(sealed->next)] == this_round);
        },
        [&] {
            std::int64_t const highest = *std::max_element(accepted.begin(), accepted.end());
            wrong.expect((sealed ? sealed->next : 0) == highest);
            wrong.expect(tracker->marked() == (highest == 0 ? offset_tracker::none : highest));
            in_the_middle +=
                highest != 0 && highest + 1 < static_cast<std::int64_t>(most_marks) ? 1 : 0;
        });
    CHECK(wrong.count() == 0);
    CHECK(in_the_middle > 0);
}

TEST_CASE("offset_tracker: an accepted acknowledgement is in what seal counts") {
    constexpr std::size_t records = 5000;
    constexpr std::size_t window = 1200; // later ones are acknowledged beyond it
    std::optional<offset_tracker> tracker;
    std::optional<tracked_offset> sealed;
    std::vector<mark_result> results;
    std::atomic<std::size_t> next{0};
    std::size_t in_the_middle = 0;
    violations wrong;
    in_rounds(
        400,
        [&] {
            tracker.emplace(window);
            for (std::size_t i = 0; i != records; ++i) {
                tracker->deliver(static_cast<std::int64_t>(i));
            }
            next = 0;
            results.assign(records, mark_result::ignored);
        },
        [&](std::size_t) {
            for (std::size_t i = next.fetch_add(1); i < records; i = next.fetch_add(1)) {
                results[i] = tracker->ack(static_cast<std::int64_t>(i), i, 0);
                wrong.expect(results[i] == mark_result::accepted ||
                             results[i] == mark_result::refused_ended);
                give_way(static_cast<std::int64_t>(i));
            }
        },
        [&](std::size_t round) {
            // Close behind the others, so that seal() has little to scan and meets them at its end.
            auto const wanted = static_cast<std::int64_t>(round * 5 % 2000);
            while (tracker->marked() < wanted) {
                tracker->pending();
            }
            sealed = tracker->seal();
        },
        [&] {
            auto const not_accepted = [](mark_result result) {
                return result != mark_result::accepted;
            };
            auto const first_refused = std::find_if(results.begin(), results.end(), not_accepted);
            std::int64_t const run = first_refused - results.begin();
            std::int64_t const counted = sealed ? sealed->next : 0;
            wrong.expect(counted >= run);
            wrong.expect(counted >= tracker->marked());
            wrong.expect(tracker->pending() == sealed);
            in_the_middle += counted != 0 && counted != static_cast<std::int64_t>(records) ? 1 : 0;
        });
    CHECK(wrong.count() == 0);
    CHECK(in_the_middle > 0);
}

TEST_CASE("offset_tracker: a mark or an acknowledgement at the very moment of seal") {
    std::optional<tracked_offset> sealed;
    mark_result result{};
    std::size_t accepted = 0;
    std::size_t refused = 0;
    violations wrong;
    auto const seal = [&](offset_tracker& tracker) { sealed = tracker.seal(); };
    SUBCASE("mark") {
        at_once([](offset_tracker& tracker) { tracker.mark(1, 0); }, seal,
                [&](offset_tracker& tracker) { result = tracker.mark(2, 0); },
                [&](offset_tracker&) {
                    wrong.expect(result == mark_result::accepted ||
                                 result == mark_result::refused_ended);
                    wrong.expect(sealed == tracked_offset{result == mark_result::accepted ? 2 : 1});
                    ++(result == mark_result::accepted ? accepted : refused);
                });
    }
    SUBCASE("acknowledgement") {
        at_once([](offset_tracker& tracker) { tracker.ack(0, 0, 0); }, seal,
                [&](offset_tracker& tracker) { result = tracker.ack(1, 1, 0); },
                [&](offset_tracker& tracker) {
                    wrong.expect(result == mark_result::accepted ||
                                 result == mark_result::refused_ended);
                    wrong.expect(
                        sealed == tracked_offset{2} ||
                        (sealed == tracked_offset{1} && result == mark_result::refused_ended));
                    wrong.expect(tracker.pending() == sealed);
                    ++(result == mark_result::accepted ? accepted : refused);
                });
    }
    CHECK(wrong.count() == 0);
    CHECK(accepted > 0);
    CHECK(refused > 0);
}

TEST_CASE(
    "offset_tracker: of a mark and an acknowledgement that come first at once, one is refused") {
    mark_result mark{};
    mark_result ack{};
    violations wrong;
    at_once([](offset_tracker&) {}, [&](offset_tracker& tracker) { mark = tracker.mark(1, 0); },
            [&](offset_tracker& tracker) { ack = tracker.ack(0, 0, 0); },
            [&](offset_tracker&) {
                bool const marked =
                    mark == mark_result::accepted && ack == mark_result::refused_mode;
                bool const acked =
                    ack == mark_result::accepted && mark == mark_result::refused_mode;
                wrong.expect(marked || acked);
            });
    CHECK(wrong.count() == 0);
}

TEST_CASE("offset_tracker: offset and text change together") {
    std::optional<offset_tracker> tracker;
    std::atomic<std::int64_t> next{0};
    std::atomic<bool> enough{false};
    std::size_t texts = 0;
    std::size_t resets = 0;
    violations wrong;
    auto const text_of = [](std::int64_t offset) {
        return "a text on the heap: " + std::to_string(offset);
    };
    in_rounds(
        100,
        [&] {
            tracker.emplace();
            next = 0;
            enough = false;
        },
        [&](std::size_t) { // even offsets have a text, odd ones have none
            while (!enough.load(std::memory_order_relaxed)) {
                std::int64_t const mine = next.fetch_add(1, std::memory_order_relaxed);
                if (mine % 2 == 0) {
                    tracker->mark(mine, text_of(mine), 0);
                } else {
                    tracker->mark(mine, 0);
                }
                give_way(mine);
            }
        },
        [&](std::size_t) {
            std::size_t const wanted = texts + 10;
            for (int looks = 0; texts != wanted && looks != 1'000'000; ++looks) {
                std::optional<tracked_offset> const pending = tracker->pending();
                if (pending) {
                    wrong.expect(pending->metadata ==
                                 (pending->next % 2 == 0 ? text_of(pending->next) : ""));
                    texts += pending->metadata.empty() ? 0 : 1;
                    tracker->committed(pending->next);
                    std::int64_t const back = pending->next / 4 * 2;
                    if (looks % 8 == 0) {
                        resets +=
                            tracker->reset(back, text_of(back)) == mark_result::accepted ? 1 : 0;
                    }
                }
                std::this_thread::yield();
            }
            enough = true;
        },
        [&] { tracker->seal(); });
    CHECK(wrong.count() == 0);
    CHECK(texts > 0);
    CHECK(resets > 0);
}

TEST_CASE(
    "offset_tracker: a mark of before a backward step is taken over or ignored, never above it") {
    std::optional<offset_tracker> tracker;
    std::atomic<std::int64_t> next{0};
    std::atomic<bool> enough{false};
    std::array<std::int64_t, thread_count> accepted{};
    std::int64_t after = 0;
    std::int64_t went_back_to = 0;
    std::size_t taken_over = 0;
    violations wrong;
    in_rounds(
        4000,
        [&] {
            tracker.emplace();
            tracker->deliver(1'000'000'000);
            next = 1000;
            enough = false;
            accepted.fill(offset_tracker::none);
        },
        [&](std::size_t thread) {
            while (!enough.load(std::memory_order_relaxed)) {
                std::int64_t const mine = next.fetch_add(1, std::memory_order_relaxed);
                mark_result const result = tracker->mark(mine, 0);
                wrong.expect(result == mark_result::accepted || result == mark_result::ignored);
                accepted[thread] = result == mark_result::accepted ? mine : accepted[thread];
                give_way(mine);
            }
        },
        [&](std::size_t round) {
            went_back_to = round % 2 == 0 ? 10 : 900'000'000;
            while (next.load(std::memory_order_relaxed) <
                   1000 + static_cast<std::int64_t>(round % 100)) {
                std::this_thread::yield();
            }
            tracker->rebase(went_back_to);
            after = tracker->marked();
            for (int i = 0; i != 20; ++i) {
                std::this_thread::yield();
                wrong.expect(tracker->marked() == after);
            }
            enough = true;
        },
        [&] {
            std::int64_t const highest = *std::max_element(accepted.begin(), accepted.end());
            wrong.expect(after == std::min(highest, went_back_to));
            wrong.expect(tracker->marked() == after);
            wrong.expect(tracker->mark(went_back_to + 1, 1) == mark_result::accepted);
            wrong.expect(tracker->seal() == tracked_offset{went_back_to + 1});
            taken_over += highest != offset_tracker::none ? 1 : 0;
        });
    CHECK(wrong.count() == 0);
    CHECK(taken_over > 0);
}
