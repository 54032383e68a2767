// SPDX-License-Identifier: MIT

#include <kgroup/for_each.hpp>
#include <kgroup/testing/fake_dead_letters.hpp>

#include <asio/awaitable.hpp>
#include <asio/redirect_error.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <doctest/doctest.h>
#include <support/given_up_records.hpp>
#include <support/random_script.hpp>
#include <support/scripted_group.hpp>

#include <chrono>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace kgroup::tests {

namespace {

/// `for_each` under a script of chance: records, ends of attempts of every kind, rebalances, pauses
/// and time. What it promises is checked at each step.
class for_each_schedule : random_script {
public:
    explicit for_each_schedule(std::uint32_t seed) : random_script(seed), seed_(seed) {
        options_.order =
            pick({order::by_partition, order::by_key, order::by_key, order::unordered});
        options_.in_flight = 1 + below(6);
        options_.held_bytes = pick({std::size_t{1}, std::size_t{2000}, std::size_t{1} << 20});
        options_.replay = pick({std::size_t{1}, std::size_t{5}, std::size_t{1'000'000}});
        options_.limit = chance(4) ? &limit_ : nullptr;
        options_.null_keys = pick({null_keys::side_by_side, null_keys::one_lane});
        options_.retry = {.attempts = 1 + static_cast<std::uint32_t>(below(4)),
                          .backoff = {.initial = 20ms, .max = 200ms},
                          .attempt_timeout = chance(3) ? 300ms : 0ms,
                          .give_up = give_up::skip};
        options_.dead_letters = chance(3) ? &letters_ : nullptr;
        if (chance(2)) {
            group_.make_cooperative();
        }
        group_.handler.on_claim = [this](session&, claim& claim) { return consume(claim); };
    }

    void run() {
        CAPTURE(seed_);
        group_.run();
        for (int count = 0; count != 150; ++count) {
            step();
            check();
        }
        drain();
    }

private:
    struct attempt_under_way {
        topic_partition where;
        std::int64_t offset;
        std::string key;
        int ownership;
        std::shared_ptr<detail::timer> gate;
        std::exception_ptr failure;
    };

    asio::awaitable<void> consume(claim& claim) {
        topic_partition const where{claim.topic(), claim.partition()};
        auto const ownership = ++ownerships_;
        auto function = [this, where, ownership](message const& taken) {
            return attempt_at(where, ownership, taken.offset(),
                              taken.has_key() ? "k" + std::string{taken.key()} : std::string{});
        };
        co_await for_each(claim, options_, function);
        for (auto const& running : under_way_) {
            REQUIRE(running->ownership != ownership); // nothing outlives it
        }
    }

    asio::awaitable<void> attempt_at(topic_partition where, int ownership, std::int64_t offset,
                                     std::string key) {
        auto const executor = co_await asio::this_coro::executor;
        auto const me = std::make_shared<attempt_under_way>();
        me->where = where;
        me->offset = offset;
        me->key = key;
        me->ownership = ownership;
        me->gate = std::make_shared<detail::timer>(executor, detail::clock::time_point::max());
        check_order(*me);
        under_way_.push_back(me);
        detail::scope_exit const over{[this, me] { under_way_.remove(me); }};
        if (chance(4)) { // it does not wait
            done_[where].insert(offset);
            co_return;
        }
        std::error_code ec;
        co_await me->gate->async_wait(asio::redirect_error(asio::use_awaitable, ec));
        auto const state = co_await asio::this_coro::cancellation_state;
        if (state.cancelled() != asio::cancellation_type::none && chance(2)) {
            throw std::system_error{asio::error::operation_aborted};
        }
        if (me->failure) {
            std::rethrow_exception(me->failure);
        }
        done_[where].insert(offset);
    }

    // Within one ownership the attempts of what is to be ordered never overlap and ascend.
    void check_order(attempt_under_way const& begun) {
        auto of_one_owner = 0u;
        for (auto const& running : under_way_) {
            if (running->ownership == begun.ownership) {
                ++of_one_owner;
                REQUIRE(!is_ordered(*running, begun));
            }
        }
        auto const most = options_.order == order::by_partition ? 1 : options_.in_flight;
        REQUIRE(of_one_owner < most);
        auto const lane = std::pair{begun.ownership, lane_of(begun)};
        if (!lane.second.empty()) {
            auto const last = begun_last_.find(lane);
            REQUIRE((last == begun_last_.end() || last->second <= begun.offset));
            begun_last_[lane] = begun.offset;
        }
        if (options_.limit) {
            REQUIRE(under_way_.size() < 3);
        }
    }
    std::string lane_of(attempt_under_way const& attempt) const {
        switch (options_.order) {
        case order::by_partition:
            return "partition";
        case order::by_key:
            return attempt.key.empty() && options_.null_keys == null_keys::one_lane ? "null"
                                                                                    : attempt.key;
        default:
            return {};
        }
    }
    bool is_ordered(attempt_under_way const& left, attempt_under_way const& right) const {
        return !lane_of(left).empty() && lane_of(left) == lane_of(right);
    }

    void step() {
        auto const where = pick({t0, t1, t2});
        switch (below(15)) {
        case 0:
        case 1:
        case 2:
            for (auto count = below(6); count != 0; --count) {
                fake_cluster::record added{.value = "v"};
                if (!chance(6)) {
                    added.key = std::to_string(below(4));
                }
                group_.cluster.add_records(where, added);
            }
            break;
        case 3:
            rebalance();
            break;
        case 4:
            chance(2) ? group_.group->pause_all() : group_.group->resume_all();
            break;
        case 5:
        case 6:
            group_.advance(std::chrono::milliseconds{below(150)});
            break;
        case 7:
            chance(2) ? letters_.hold() : letters_.release();
            break;
        default:
            end_some_attempt();
        }
        group_.settle();
    }

    void rebalance() {
        std::vector<topic_partition> wanted;
        for (auto const& where : {t0, t1, t2}) {
            if (chance(2)) {
                wanted.push_back(where);
            }
        }
        if (owned_) {
            chance(3) ? group_.cluster.lose() : group_.cluster.revoke();
            owned_ = false;
        } else {
            group_.cluster.assign(wanted);
            owned_ = true;
        }
    }

    void end_some_attempt() {
        if (under_way_.empty()) {
            return;
        }
        auto const chosen =
            *std::next(under_way_.begin(), static_cast<std::ptrdiff_t>(below(under_way_.size())));
        switch (below(8)) {
        case 0:
            chosen->failure = std::make_exception_ptr(std::runtime_error{"refused"});
            break;
        case 1:
            chosen->failure = std::make_exception_ptr(permanent_failure{"malformed"});
            break;
        case 2:
            chosen->failure = std::make_exception_ptr(not_now{"away"});
            break;
        default:
            break;
        }
        chosen->gate->cancel();
    }

    // Whatever is committed was done, or given up with an event.
    void check() {
        for (auto const& where : {t0, t1, t2}) {
            auto const committed = group_.cluster.committed(where).value_or(0);
            for (std::int64_t offset = 0; offset < committed; ++offset) {
                REQUIRE((done_[where].contains(offset) || was_given_up(where, offset)));
            }
        }
    }
    bool was_given_up(topic_partition const& where, std::int64_t offset) {
        given_up_.look(group_.events, letters_);
        return given_up_.contains(where, offset);
    }

    // In the end everything is done.
    void drain() {
        group_.group->resume_all();
        letters_.release();
        if (owned_) {
            group_.cluster.revoke();
        }
        for (int count = 0; count != 100 && !under_way_.empty(); ++count) {
            finish_all();
            group_.advance(20s); // whoever ignores its cancellation ends now, or its time is over
        }
        group_.cluster.assign({t0, t1, t2});
        group_.settle();
        group_.group->resume_all();
        for (int count = 0; count != 3000; ++count) {
            finish_all();
            group_.advance(250ms);
            if (all_done()) {
                break;
            }
        }
        REQUIRE(all_done());
        group_.stop();
        for (auto const& where : {t0, t1, t2}) {
            CHECK(group_.cluster.committed(where).value_or(0) == group_.cluster.log_end(where));
        }
        check();
    }
    void finish_all() {
        for (auto const& running : under_way_) {
            running->failure = nullptr;
            running->gate->cancel();
        }
        group_.settle();
    }
    bool all_done() {
        for (auto const& where : {t0, t1, t2}) {
            for (std::int64_t offset = 0; offset != group_.cluster.log_end(where); ++offset) {
                if (!done_[where].contains(offset) && !was_given_up(where, offset)) {
                    return false;
                }
            }
        }
        return under_way_.empty();
    }

    std::uint32_t seed_;
    limit limit_{3};
    testing::fake_dead_letters letters_;
    for_each_options options_;
    std::list<std::shared_ptr<attempt_under_way>> under_way_;
    std::map<std::pair<int, std::string>, std::int64_t> begun_last_;
    std::map<topic_partition, std::set<std::int64_t>> done_;
    given_up_records given_up_;
    int ownerships_ = 0;
    bool owned_ = false;
    scripted_group group_; // goes first
};

} // namespace

TEST_CASE("for_each keeps its promises under random schedules") {
    auto const count = count_of_scripts(1000);
    for (std::uint32_t seed = 1; seed <= count; ++seed) {
        for_each_schedule{seed}.run();
    }
}

} // namespace kgroup::tests
