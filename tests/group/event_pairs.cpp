// SPDX-License-Identifier: MIT

#include <kgroup/detail/asio/timer.hpp>

#include <asio/awaitable.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <doctest/doctest.h>
#include <support/random_script.hpp>
#include <support/scripted_group.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace kgroup::tests {

namespace {

using request = fake_cluster::request;

/// What a health check of a user's knows: what has begun and not ended.
class health {
public:
    void note(event const& told) {
        INFO(to_string(told.kind), " ", told.where ? name(*told.where) : "", ": ", told.text);
        if (ended_by(told.kind)) {
            lasting_[place_of(told.kind, told.where)] = told.text;
        } else if (auto const begin = ends(told.kind)) {
            REQUIRE(lasting_.erase(place_of(*begin, told.where)) == 1); // no end without a begin
        } else if (told.kind == event_kind::session_ended) {
            for (auto const& [place, text] : lasting_) {
                INFO(to_string(place.first), ": ", text);
                REQUIRE(!ends_with_session(place));
            }
        }
    }
    std::vector<std::string> lasting() const {
        std::vector<std::string> all;
        for (auto const& [place, text] : lasting_) {
            all.push_back(std::string{to_string(place.first)} + " " +
                          (place.second ? name(*place.second) : "") + ": " + text);
        }
        return all;
    }

private:
    using condition_place = std::pair<event_kind, std::optional<topic_partition>>;

    static condition_place place_of(event_kind kind, std::optional<topic_partition> where) {
        auto const whole =
            kind == event_kind::commit_failed || kind == event_kind::authentication_failed;
        return {kind, whole ? std::nullopt : std::move(where)};
    }
    static bool ends_with_session(condition_place const& place) {
        switch (place.first) {
        case event_kind::claim_stalled:
        case event_kind::nothing_comes:
        case event_kind::start_delayed:
        case event_kind::setup_stalled:
        case event_kind::commit_failed:
            return true;
        case event_kind::partition_error:
            return place.second->partition >= 0;
        default:
            return false;
        }
    }
    static std::string name(topic_partition const& where) {
        return where.topic + "[" + std::to_string(where.partition) + "]";
    }

    std::map<condition_place, std::string> lasting_;
};

/// A member under a script of chance: every fault that the fake can play, rebalances of every kind,
/// handlers that wait and return.
class fault_schedule : random_script {
public:
    explicit fault_schedule(std::uint32_t seed) : random_script(seed), seed_(seed) {
        auto& settings = group_.settings;
        settings.initial_offset = pick({offset_reset::earliest, offset_reset::latest});
        settings.auto_commit_interval = pick({1000ms, 5000ms, 0ms});
        settings.on_claim_exit = pick({claim_exit::end_session, claim_exit::keep_others});
        cooperative_ = chance(2);
        if (cooperative_) {
            group_.make_cooperative();
        }
        settings.on_event = [this](event const& told) {
            check_event(told);
            health_.note(told);
        };
        group_.handler.on_setup = [this](session&) { return wait(chance(4) ? 90 : 0); };
        group_.handler.on_claim = [this](session&, claim& claim) { return consume(claim); };
    }

    void run() {
        CAPTURE(seed_);
        group_.run();
        for (auto count = 0; count != 60; ++count) {
            step();
        }
        if (chance(3)) { // in the middle of all
            calm_ = true;
            stop();
            return;
        }
        heal();
        CHECK(health_.lasting() == lines{});
        stop();
    }

private:
    asio::awaitable<void> wait(std::size_t seconds_at_most) {
        if (seconds_at_most != 0 && !calm_) {
            detail::timer timer{co_await asio::this_coro::executor};
            timer.expires_after(std::chrono::seconds{below(seconds_at_most)});
            co_await timer.async_wait(asio::use_awaitable);
        }
    }

    asio::awaitable<void> consume(claim& claim) {
        while (auto const next = co_await claim.messages().async_receive()) {
            co_await wait(chance(4) ? 60 : 0);
            claim.mark(*next);
            if (!calm_ && chance(20)) {
                co_return;
            }
        }
    }

    void stop() {
        group_.group->stop();
        for (auto count = 0; count != 30 && !group_.outcome.completed; ++count) {
            group_.advance(2s);
        }
        CHECK(group_.outcome.completed);
        CHECK(group_.outcome.what() == "");
    }

    void step() {
        auto const where = pick({t0, t1, t2});
        auto& cluster = group_.cluster;
        auto const error = make_error_code(
            pick({RD_KAFKA_RESP_ERR_NOT_COORDINATOR, RD_KAFKA_RESP_ERR__TRANSPORT,
                  RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, RD_KAFKA_RESP_ERR__TIMED_OUT}));
        auto const kind =
            pick({request::look_up, request::commit, request::find_ends, request::ask_coordinator});
        auto const times = 1 + below(4);
        switch (below(24)) {
        case 0:
            cluster.fail(kind, error, times);
            break;
        case 1:
            cluster.hold(kind);
            break;
        case 2:
        case 3:
            cluster.release(kind);
            break;
        case 4:
            cluster.hold_next(kind, times);
            break;
        case 5:
            cluster.fail_commits_of(where, error, times);
            break;
        case 6:
            cluster.fail_look_ups_of(
                where, make_error_code(RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT), times);
            break;
        case 7:
            cluster.fail_logs_of(where, make_error_code(RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE),
                                 times);
            break;
        case 8:
            cluster.withhold(where);
            break;
        case 9:
            cluster.hand_over(where);
            break;
        case 10:
            report(where);
            break;
        case 11:
            cluster.end_outage();
            break;
        case 12:
            cluster.drop_wake_ups(where, times);
            break;
        case 13:
            chance(2) ? group_.group->pause(std::vector{where}) : group_.group->resume_all();
            break;
        case 14:
            if (cluster.assigned().contains(where)) {
                cluster.fail_partition(
                    where, make_error_code(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED), "no");
            }
            break;
        case 15:
        case 16:
        case 17:
            rebalance();
            break;
        case 18:
            group_.advance(std::chrono::seconds{below(40)});
            break;
        case 19:
        case 20:
            group_.advance(std::chrono::milliseconds{below(3000)});
            break;
        default:
            cluster.add_records(where, "a", "b");
            break;
        }
        if (!chance(3)) { // else the next comes at the same time
            group_.settle();
        }
    }

    void report(topic_partition const& where) {
        switch (below(4)) {
        case 0:
            group_.cluster.report({event_kind::brokers_unreachable, severity::error, std::nullopt,
                                   make_error_code(RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN),
                                   "no broker"});
            break;
        case 1:
            group_.cluster.report(
                {event_kind::topic_missing, severity::warning, topic_partition{where.topic, -1},
                 make_error_code(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART), "no topic"});
            break;
        case 2:
            group_.cluster.report({event_kind::authentication_failed, severity::error, std::nullopt,
                                   make_error_code(RD_KAFKA_RESP_ERR__AUTHENTICATION), "refused"});
            break;
        default:
            group_.cluster.report(
                {event_kind::partition_error, severity::warning, topic_partition{where.topic, -1},
                 make_error_code(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED), "no topic"});
        }
    }

    void rebalance() {
        std::vector<topic_partition> some;
        for (auto const& where : {t0, t1, t2}) {
            if (given_.contains(where) != chance(2)) {
                some.push_back(where);
            }
        }
        auto& cluster = group_.cluster;
        if (!cooperative_) {
            switch (below(3)) {
            case 0:
                cluster.revoke();
                break;
            case 1:
                cluster.lose();
                break;
            default:
                cluster.assign(some);
                given_ = {some.begin(), some.end()};
                return;
            }
            return given_.clear();
        }
        std::vector<topic_partition> there;
        std::vector<topic_partition> others;
        for (auto const& where : some) {
            (given_.contains(where) ? there : others).push_back(where);
        }
        if (!there.empty() && chance(2)) {
            chance(3) ? cluster.lose(there) : cluster.revoke(there);
            for (auto const& where : there) {
                given_.erase(where);
            }
        } else {
            cluster.assign(others);
            given_.insert(others.begin(), others.end());
        }
    }

    // Everything is well, and what there is to do is done.
    void heal() {
        auto& cluster = group_.cluster;
        calm_ = true;
        for (auto const kind :
             {request::look_up, request::commit, request::find_ends, request::ask_coordinator}) {
            cluster.release(kind);
        }
        cluster.end_outage();
        group_.group->resume_all();
        group_.settle();
        for (auto count = 0; count != 20; ++count) {
            group_.advance(5s); // also those who wait in handlers, and what was to fail
        }
        cluster.revoke();
        group_.settle();
        cluster.assign({t0, t1, t2});
        for (auto const& where : {t0, t1, t2}) {
            cluster.hand_over(where);
        }
        for (auto count = 0; count != 20 || (!health_.lasting().empty() && count < 100); ++count) {
            group_.advance(5s); // what was still to fail fails
            for (auto const& where : {t0, t1, t2}) {
                cluster.add_records(where, "a");
            }
            group_.settle();
        }
    }

    std::uint32_t seed_;
    health health_;
    bool cooperative_ = false;
    bool calm_ = false;
    std::set<topic_partition> given_;
    scripted_group group_; // goes first
};

} // namespace

TEST_CASE("what begins ends, and nothing ends that has not begun, under random faults") {
    auto const count = count_of_scripts(150);
    for (std::uint32_t seed = 1; seed <= count; ++seed) {
        fault_schedule{seed}.run();
    }
}

} // namespace kgroup::tests
