// SPDX-License-Identifier: MIT

#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/detached.hpp>
#include <asio/experimental/awaitable_operators.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <asio/thread_pool.hpp>
#include <asio/use_future.hpp>

#include <array>
#include <atomic>
#include <condition_variable>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <thread>

#include "support/even_race.hpp"
#include "support/scripted_group.hpp"

// A whole group on four threads, with others that mark, stop, pause and rebalance from outside. The
// clock is the real one.

namespace {

using namespace kgroup::tests;
using namespace asio::experimental::awaitable_operators;
using kgroup::claim;
using kgroup::message;
using kgroup::session;
using kgroup::topic_partition;

constexpr std::size_t pool_size = 4;

kgroup::config config_of(fake_cluster const& cluster) {
    return {.brokers = cluster.brokers(),
            .group_id = "group",
            .topics = {"t"},
            .initial_offset = kgroup::offset_reset::earliest,
            .auto_commit_interval = 5ms,
            .on_event = [](kgroup::event const&) {}};
}

topic_partition partition(std::size_t number) { return {"t", static_cast<std::int32_t>(number)}; }

/// Something that a test waits for, and does not wait for ever.
class awaited {
public:
    void set() {
        std::lock_guard const lock{mutex_};
        happened_ = true;
        changed_.notify_all();
    }
    void wait() {
        std::unique_lock lock{mutex_};
        CHECK(changed_.wait_for(lock, 250s, [this] { return happened_; }));
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool happened_ = false;
};

/// What was done of each partition's records, as the handlers know it.
class work_done {
public:
    work_done(std::size_t partitions, std::size_t records)
        : records_(records),
          left_(partitions * records) {
        for (std::size_t i = 0; i != partitions; ++i) {
            flags_.push_back(std::make_unique<std::atomic<bool>[]>(records));
        }
    }

    void do_it(message const& message) {
        auto& flag = flags_[static_cast<std::size_t>(message.partition())]
                           [static_cast<std::size_t>(message.offset())];
        if (!flag.exchange(true) && --left_ == 0) {
            all.set();
        }
    }
    /// How far a partition's records are done without a gap.
    std::int64_t prefix(std::size_t count) const {
        std::size_t next = 0;
        while (next != records_ && flags_[count][next]) {
            ++next;
        }
        return static_cast<std::int64_t>(next);
    }

    awaited all;

private:
    std::size_t records_;
    std::atomic<std::size_t> left_;
    std::vector<std::unique_ptr<std::atomic<bool>[]>> flags_;
};

TEST_CASE("records are acknowledged on four threads, in any order, while partitions come and go") {
    constexpr std::size_t partitions = 6;
    constexpr std::size_t records = 3000;
    struct spreading_handler {
        asio::thread_pool& pool;
        work_done& done;

        asio::awaitable<void> consume_claim(session&, claim& claim) {
            std::atomic<int> in_flight{0};
            std::optional<message> kept;
            while (auto next = co_await claim.messages().async_receive()) {
                if (next->offset() % 3 ==
                    0) { // and given up here, at once or later, beside those that others give up
                    done.do_it(*next);
                    claim.ack(*next);
                    if (next->offset() % 2 == 0) {
                        kept = std::move(*next);
                    }
                    continue;
                }
                ++in_flight;
                asio::post(pool, [this, &claim, &in_flight,
                                  what = std::make_shared<message>(std::move(*next))]() mutable {
                    done.do_it(*what); // done, and only then acknowledged
                    claim.ack(*what);
                    what.reset();
                    --in_flight;
                });
            }
            while (in_flight != 0) {
                co_await asio::post(asio::use_awaitable);
            }
        }
    };

    for (bool const cooperative : {false, true}) {
        CAPTURE(cooperative);
        fake_cluster cluster;
        work_done done{partitions, records};
        asio::thread_pool pool{pool_size};
        spreading_handler handler{pool, done};
        std::vector<topic_partition> all;
        for (std::size_t i = 0; i != partitions; ++i) {
            all.push_back(partition(i));
            cluster.add_records(all.back(), std::vector<fake_cluster::record>(records));
        }
        auto settings = config_of(cluster);
        if (cooperative) {
            settings.assignors = {kgroup::assignor::cooperative_sticky};
        }
        fake_group group{pool, settings};
        auto ended = group.async_run(handler, asio::use_future);
        cluster.assign(all);

        std::atomic<bool> go_on{true};
        std::thread coordinator{[&] {
            std::mt19937 random{1};
            for (int round = 0; round != 300 && go_on; ++round) {
                auto const which = partition(random() % partitions);
                if (cooperative) {
                    cluster.revoke({which});
                    cluster.assign({which});
                } else {
                    cluster.revoke();
                    cluster.assign(all);
                }
                // Until it has been taken up, or for as long: rebalances overtake each other, too.
                for (int i = 0; i != 2000 && random() % 500 != 0; ++i) {
                    std::this_thread::yield();
                }
                auto const committed = cluster.committed(which).value_or(0);
                if (committed > done.prefix(static_cast<std::size_t>(which.partition))) {
                    go_on = false;
                    FAIL_CHECK("committed " << committed << " of partition " << which.partition
                                            << ", which is not done");
                }
            }
        }};
        std::thread observer{[&] {
            while (go_on) {
                static_cast<void>(group.stats());
                std::this_thread::yield();
            }
        }};
        coordinator.join();
        done.all.wait();
        go_on = false;
        observer.join();
        group.stop();
        ended.get();
        pool.join();
        for (std::size_t i = 0; i != partitions; ++i) {
            CHECK(cluster.committed(partition(i)) == static_cast<std::int64_t>(records));
        }
        for (auto const& complaint : cluster.complaints()) {
            FAIL_CHECK(complaint);
        }
        CHECK(cluster.records_held() == 0);
        MESSAGE(std::string{cooperative ? "cooperative: " : "eager: "}
                << group.stats().rebalances << " rebalances answered, "
                << group.stats().superseded_rebalances << " overtaken, " << group.stats().sessions
                << " sessions, " << group.stats().records_received << " records");
    }
}

TEST_CASE("marks, commits and questions from foreign threads") {
    struct sharing_handler {
        std::mutex mutex;
        session* current_session = nullptr;
        awaited there;

        asio::awaitable<void> setup(session& now) {
            std::lock_guard const lock{mutex};
            current_session = &now;
            co_return;
        }
        asio::awaitable<void> consume_claim(session&, claim& claim) {
            there.set();
            while (auto const next = co_await claim.messages().async_receive()) {
            }
        }
        asio::awaitable<void> cleanup(session&) {
            std::lock_guard const lock{mutex};
            current_session = nullptr;
            co_return;
        }
    };
    fake_cluster cluster;
    sharing_handler handler;
    asio::thread_pool pool{pool_size};
    fake_group group{pool, config_of(cluster)};
    auto ended = group.async_run(handler, asio::use_future);
    cluster.assign({t0, t1});
    handler.there.wait();

    std::atomic<std::int64_t> highest{0};
    std::atomic<int> commits{0};
    std::vector<std::thread> foreign;
    for (int i = 0; i != 3; ++i) {
        foreign.emplace_back([&] {
            for (int round = 0; round != 2000; ++round) {
                std::lock_guard const lock{handler.mutex};
                if (!handler.current_session) {
                    continue;
                }
                auto const next = ++highest;
                handler.current_session->mark_offset(t0, next);
                handler.current_session->mark_offset(t1, next, std::to_string(next));
                if (round % 50 == 0) {
                    handler.current_session->async_commit(
                        [&](std::error_code, std::vector<kgroup::commit_result>) { ++commits; });
                    static_cast<void>(handler.current_session->member_id());
                    static_cast<void>(handler.current_session->generation_id());
                    static_cast<void>(handler.current_session->claims());
                    static_cast<void>(handler.current_session->stopping());
                }
            }
        });
    }
    for (auto& message : foreign) {
        message.join();
    }
    group.stop();
    ended.get();
    pool.join();
    CHECK(cluster.committed(t0) == highest);
    CHECK(cluster.committed(t1) == highest);
    CHECK(cluster.committed_metadata(t1) == std::to_string(highest));
    CHECK(commits == 3 * 40);
    CHECK(cluster.complaints().empty());
}

TEST_CASE("stop from another thread, at any moment") {
    struct marking_handler {
        std::array<std::atomic<std::int64_t>, 2> marked{};

        asio::awaitable<void> consume_claim(session&, claim& claim) {
            while (auto const next = co_await claim.messages().async_receive()) {
                claim.mark(*next);
                marked[static_cast<std::size_t>(claim.partition())] = next->offset() + 1;
            }
        }
    };
    constexpr std::int64_t records = 2000; // several turns
    asio::thread_pool pool{pool_size};
    even_race against_the_end;
    std::size_t in_the_middle = 0;
    for (int round = 0; round != 500; ++round) {
        fake_cluster cluster;
        marking_handler handler;
        cluster.add_records(t0, std::vector<fake_cluster::record>(records));
        cluster.add_records(t1, std::vector<fake_cluster::record>(records));
        auto settings = config_of(cluster);
        settings.close_timeout =
            1s; // what a stop between join and assignment waits for is half of it
        fake_group group{pool, settings};
        std::thread other{[&, until = std::chrono::steady_clock::now() + against_the_end.limit()] {
            while (std::chrono::steady_clock::now() < until) {
                std::this_thread::yield();
            }
            group.stop();
        }};
        auto ended = group.async_run(handler, asio::use_future);
        cluster.assign({t0, t1});
        ended.get();
        other.join();
        std::int64_t all = 0;
        for (std::size_t i = 0; i != 2; ++i) {
            auto const marked = handler.marked[i].load();
            all += marked;
            in_the_middle += marked != 0 && marked != records ? 1u : 0u;
            CHECK(cluster.committed(partition(i)).value_or(0) == marked);
        }
        all > records ? against_the_end.in_time() : against_the_end.too_late();
        CHECK(cluster.complaints().empty());
        CHECK(cluster.records_held() == 0);
    }
    pool.join();
    MESSAGE("stopped in the middle of " << in_the_middle << " claims");
    CHECK(in_the_middle != 0);
}

TEST_CASE("a storm of pauses loses nothing, and repeats nothing") {
    constexpr std::int64_t records = 20000;
    struct checking_handler {
        std::atomic<std::int64_t> received{0};
        std::atomic<bool> in_order{true};
        awaited all;

        asio::awaitable<void> consume_claim(session&, claim& claim) {
            std::int64_t expected = 0;
            while (auto const next = co_await claim.messages().async_receive()) {
                in_order = in_order && next->offset() == expected++;
                claim.mark(*next);
                if (++received == 2 * records) {
                    all.set();
                }
            }
        }
    };
    fake_cluster cluster;
    checking_handler handler;
    asio::thread_pool pool{pool_size};
    fake_group group{pool, config_of(cluster)};
    auto ended = group.async_run(handler, asio::use_future);
    cluster.assign({t0, t1});
    std::thread pausing{[&] {
        std::array const one{t0};
        for (int i = 0; i != 5000; ++i) {
            group.pause_all();
            group.resume(one);
            group.pause(one);
            group.resume_all();
        }
    }};
    std::thread adding{[&] {
        for (std::int64_t i = 0; i != records; ++i) {
            cluster.add_records(t0, "x");
            cluster.add_records(t1, "x");
        }
    }};
    pausing.join();
    adding.join();
    group.resume_all();
    handler.all.wait();
    group.stop();
    ended.get();
    pool.join();
    CHECK(handler.in_order);
    CHECK(cluster.committed(t0) == records);
    CHECK(cluster.committed(t1) == records);
}

// A record is on its way from another thread while the handler waits for it and for something else.
class arrival_race {
public:
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    static constexpr std::int64_t rounds = 20000; // each takes several times as long
#else
    static constexpr std::int64_t rounds = 100000;
#endif

    /// `receive` is called until it has taken all records; it takes at most one a time within the
    /// limit that it is given, and tells what it took.
    template <typename Receive>
    void run(Receive receive) {
        struct racing_handler {
            arrival_race& race;
            Receive& receive;

            asio::awaitable<void> consume_claim(session&, claim& claim) {
                for (std::int64_t expected = 0; expected != rounds;) {
                    asio::post(race.pool_, [this] {
                        for (auto left = race.delay_.load(); left != 0; --left) {
                            std::this_thread::yield();
                        }
                        race.cluster_.add_records(t0, "x");
                    });
                    // The next one is only added when this one is there: each is a race of its own.
                    for (bool taken = false; !taken;) {
                        auto const limit = race.against_.limit();
                        auto const next = co_await receive(claim, limit);
                        if (next) {
                            race.in_order_ = race.in_order_ && next->offset() == expected;
                            ++expected;
                            taken = true;
                            race.against_.in_time();
                            // The other side takes its time, too: then the record is not sent at
                            // once.
                            race.delay_ += limit.count() == 0 ? 1u : 0u;
                        } else {
                            race.against_.too_late();
                            race.delay_ -= (race.delay_ + 15) / 16;
                        }
                    }
                }
                race.in_order_ = race.in_order_ && !claim.messages().try_receive();
                race.all_.set();
                co_await claim.messages().async_receive();
            }
        };
        racing_handler handler{*this, receive};
        fake_group group{pool_, config_of(cluster_)};
        auto ended = group.async_run(handler, asio::use_future);
        cluster_.assign({t0});
        all_.wait();
        group.stop();
        ended.get();
        pool_.join();
        CHECK(in_order_);
        CHECK(cluster_.records_taken() == static_cast<std::uint64_t>(rounds));
        CHECK(cluster_.records_held() == 0);
        CHECK(cluster_.complaints().empty());
        MESSAGE(rounds << " records, and " << against_.lost() << " times the other side was first");
        CHECK(against_.lost() > rounds / 200); // it was a race
    }

private:
    fake_cluster cluster_;
    asio::thread_pool pool_{2};
    awaited all_;
    bool in_order_ = true;
    even_race against_;
    std::atomic<unsigned> delay_{0}; // of each record, in yields
};

asio::awaitable<void> receive_into(claim& claim, std::optional<message>& to, bool& done) {
    co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
    try {
        to = co_await claim.messages().async_receive();
    } catch (std::system_error const&) { // cancelled
    }
    done = true;
}

TEST_CASE("races of an arrival against the cancellation of a receive: none lost, none twice") {
    arrival_race race;
    race.run([steps = 0](claim& claim, std::chrono::microseconds limit) mutable
             -> asio::awaitable<std::optional<message>> {
        asio::cancellation_signal signal;
        bool done = false;
        std::optional<message> got;
        asio::co_spawn(co_await asio::this_coro::executor, receive_into(claim, got, done),
                       asio::bind_cancellation_slot(signal.slot(), asio::detached));
        auto const until = std::chrono::steady_clock::now() + limit;
        do {
            co_await asio::post(asio::use_awaitable);
        } while (std::chrono::steady_clock::now() < until);
        constexpr std::array types{asio::cancellation_type::terminal,
                                   asio::cancellation_type::partial,
                                   asio::cancellation_type::total};
        signal.emit(types[static_cast<std::size_t>(++steps) % types.size()]);
        while (!done) {
            co_await asio::post(asio::use_awaitable);
        }
        co_return got;
    });
}

TEST_CASE("races of an arrival against the limit of async_receive_for: none lost, none twice") {
    arrival_race race;
    race.run([](claim& claim, std::chrono::microseconds limit) {
        return claim.messages().async_receive_for(limit);
    });
}

TEST_CASE("races of an arrival against async_wait() || timer: none lost, none twice") {
    arrival_race race;
    race.run([](claim& claim,
                std::chrono::microseconds limit) -> asio::awaitable<std::optional<message>> {
        asio::steady_timer timer{co_await asio::this_coro::executor, limit};
        co_await (claim.messages().async_wait() || timer.async_wait(asio::use_awaitable));
        co_return claim.messages().try_receive();
    });
}

} // namespace
