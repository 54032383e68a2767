// SPDX-License-Identifier: MIT

#include <kgroup/for_each_batch.hpp>
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

namespace for_each_batch_schedules_tests {

namespace {

using namespace kgroup;
using namespace kgroup::tests;

/// `for_each_batch` under a script of chance. What it promises is checked at each step.
class batch_schedule : random_script {
public:
    explicit batch_schedule(std::uint32_t seed) : random_script(seed), seed_(seed) {
        limits_ = {.records = 1 + below(6), .within = chance(2) ? 50ms : 0ms};
        options_.limit = chance(3) ? &limit_ : nullptr;
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
        int ownership = 0;
        std::size_t records = 0;
        std::shared_ptr<timer> gate;
        std::exception_ptr failure;
    };

    asio::awaitable<void> consume(claim& claim) {
        topic_partition const where{claim.topic(), claim.partition()};
        auto const ownership = ++ownerships_;
        auto function = [this, where, ownership](message_batch const& batch) {
            return attempt_at(where, ownership, batch);
        };
        co_await for_each_batch(claim, limits_, options_, function);
        for (auto const& running : under_way_) {
            REQUIRE(running->ownership != ownership); // nothing outlives it
        }
    }

    asio::awaitable<void> attempt_at(topic_partition where, int ownership,
                                     message_batch const& batch) {
        REQUIRE(batch.size() <= limits_.records);
        for (auto const& running : under_way_) {
            REQUIRE(running->ownership != ownership);
        }
        if (options_.limit) {
            REQUIRE(under_way_.size() < 2);
        }
        check_begin(where, ownership, batch[0].offset());
        auto const executor = co_await asio::this_coro::executor;
        auto const me = std::make_shared<attempt_under_way>();
        me->ownership = ownership;
        me->records = batch.size();
        me->gate = std::make_shared<timer>(executor, kgroup::detail::clock::time_point::max());
        under_way_.push_back(me);
        kgroup::detail::scope_exit const over{[this, me] { under_way_.remove(me); }};
        if (!chance(4)) {
            std::error_code ec;
            co_await me->gate->async_wait(asio::redirect_error(asio::use_awaitable, ec));
            auto const state = co_await asio::this_coro::cancellation_state;
            if (state.cancelled() != asio::cancellation_type::none && chance(2)) {
                throw std::system_error{asio::error::operation_aborted};
            }
        }
        auto failed = batch.size();
        if (me->failure) {
            try {
                std::rethrow_exception(me->failure);
            } catch (failed_at const& told) {
                failed = told.index();
            } catch (...) {
                failed = 0;
            }
        }
        for (std::size_t i = 0; i < failed && i < batch.size(); ++i) {
            done_[where].insert(batch[i].offset());
        }
        if (me->failure) {
            std::rethrow_exception(me->failure);
        }
    }

    struct begun_attempt {
        topic_partition where;
        std::int64_t committed; // by then
        std::int64_t begin;
    };

    // What is tried begins with the first record that is not done.
    void check_begin(topic_partition const& where, int ownership, std::int64_t offset) {
        auto const last = begun_last_.find(ownership);
        REQUIRE((last == begun_last_.end() || last->second <= offset));
        begun_last_[ownership] = offset;
        begun_.push_back({where, group_.cluster.committed(where).value_or(0), offset});
    }

    void step() {
        auto const where = pick({t0, t1});
        switch (below(15)) {
        case 0:
        case 1:
        case 2:
            for (auto count = below(8); count != 0; --count) {
                group_.cluster.add_records(where, "v");
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
        case 7:
            group_.advance(std::chrono::milliseconds{below(150)});
            break;
        case 8:
            chance(2) ? letters_.hold() : letters_.release();
            break;
        default:
            end_some_attempt();
        }
        group_.settle();
    }

    void rebalance() {
        if (owned_) {
            chance(3) ? group_.cluster.lose() : group_.cluster.revoke();
        } else {
            group_.cluster.assign(chance(2) ? std::vector{t0, t1} : std::vector{t0});
        }
        owned_ = !owned_;
    }

    void end_some_attempt() {
        if (under_way_.empty()) {
            return;
        }
        auto const chosen =
            *std::next(under_way_.begin(), static_cast<std::ptrdiff_t>(below(under_way_.size())));
        auto const cause = chance(3)   ? std::make_exception_ptr(not_now{"away"})
                           : chance(3) ? std::make_exception_ptr(permanent_failure{"malformed"})
                                       : std::make_exception_ptr(std::runtime_error{"refused"});
        switch (below(6)) {
        case 0:
            chosen->failure = cause;
            break;
        case 1:
        case 2: // also of one that is not in it
            chosen->failure = std::make_exception_ptr(failed_at{below(chosen->records + 1), cause});
            break;
        default:
            break;
        }
        chosen->gate->cancel();
    }

    void check() {
        for (auto const& [where, committed, begin] : std::exchange(begun_, {})) {
            for (auto offset = committed; offset < begin; ++offset) { // told by now, if it was
                REQUIRE((done_[where].contains(offset) || was_given_up(where, offset)));
            }
        }
        for (auto const& where : {t0, t1}) {
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
            group_.advance(20s);
        }
        limits_.within = 10ms; // so that each batch is complete at some time
        group_.cluster.assign({t0, t1});
        group_.settle();
        group_.group->resume_all();
        for (int count = 0; count != 1000 && !all_committed(); ++count) {
            finish_all();
            group_.advance(1min);
        }
        group_.stop();
        check();
        for (auto const& where : {t0, t1}) {
            CHECK(group_.cluster.committed(where).value_or(0) == group_.cluster.log_end(where));
        }
    }
    bool all_committed() {
        for (auto const& where : {t0, t1}) {
            if (group_.cluster.committed(where).value_or(0) != group_.cluster.log_end(where)) {
                return false;
            }
        }
        return under_way_.empty();
    }
    void finish_all() {
        for (auto const& running : under_way_) {
            running->failure = nullptr;
            running->gate->cancel();
        }
        group_.settle();
    }

    std::uint32_t seed_;
    limit limit_{2};
    testing::fake_dead_letters letters_;
    collect_limits limits_;
    for_each_options options_;
    std::list<std::shared_ptr<attempt_under_way>> under_way_;
    std::map<int, std::int64_t> begun_last_;
    std::vector<begun_attempt> begun_;
    std::map<topic_partition, std::set<std::int64_t>> done_;
    given_up_records given_up_;
    int ownerships_ = 0;
    bool owned_ = false;
    scripted_group group_; // goes first
};

} // namespace

TEST_CASE("for_each_batch keeps its promises under random schedules") {
    auto const count = count_of_scripts(500);
    for (std::uint32_t seed = 1; seed <= count; ++seed) {
        batch_schedule{seed}.run();
    }
}

} // namespace for_each_batch_schedules_tests
