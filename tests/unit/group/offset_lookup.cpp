// SPDX-License-Identifier: MIT

#include <kgroup/detail/group/offset_lookup.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <string>
#include <system_error>
#include <vector>

namespace offset_lookup_tests {

namespace {

using namespace std::chrono_literals;
using kgroup::event_kind;
using kgroup::offset_reset;
using kgroup::topic_partition;
using kgroup::detail::client_log_offsets;
using kgroup::detail::client_offsets;
using kgroup::detail::committed_offset;
using kgroup::detail::log_place;
using kgroup::detail::offset_lookup;
using kgroup::detail::partition_set;
using kgroup::detail::start_position;

std::error_code const unstable = kgroup::make_error_code(RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT);
std::error_code const no_leader = kgroup::make_error_code(RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE);
std::error_code const no_partition =
    kgroup::make_error_code(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);

partition_set set_of(std::initializer_list<int> numbers) {
    partition_set set;
    for (int const number : numbers) {
        set.emplace("t", number);
    }
    return set;
}

/// A group's offsets and logs, over which look-ups are told their answers.
class cluster {
public:
    std::map<int, std::int64_t> committed{}; // none where it is not in here
    std::map<int, std::error_code> committed_errors{};
    std::map<int, std::error_code> log_errors{};
    std::map<int, std::int64_t> ends{};    // 10 where it is not in here; logs begin at 1
    std::map<int, std::int64_t> by_time{}; // nothing is as late where it is not in here
    int partitions = 4;
    kgroup::detail::clock::time_point now{};
    offset_lookup lookup;

    std::map<int, std::int64_t> found{};
    std::vector<kgroup::event> events{};
    bool complete = false;
    partition_set delayed{};
    std::error_code failure{};

    explicit cluster(offset_lookup::settings given) : lookup(given) {}

    void begin(std::initializer_list<int> numbers) {
        found.clear();
        events.clear();
        complete = false;
        follow(lookup.begin(set_of(numbers)));
    }
    void advance(std::chrono::nanoseconds how_far) {
        now += std::chrono::duration_cast<kgroup::detail::clock::duration>(how_far);
        if (lookup.due() && *lookup.due() <= now) {
            follow(lookup.on_time(now));
        }
    }
    void follow(offset_lookup::outcome outcome) {
        for (auto& event : outcome.events) {
            events.push_back(event);
        }
        for (auto const& start : outcome.found) {
            found[start.where.partition] = start.start;
            CHECK(start.leader_epoch == (start.committed >= 0 ? 7 : -1));
        }
        if (outcome.complete) {
            CHECK_FALSE(complete);
            complete = true;
            delayed = outcome.delayed;
        }
        if (outcome.failure) {
            failure = outcome.failure;
        }
        if (outcome.committed) {
            follow(lookup.answer(answer(*outcome.committed), now));
        }
        if (outcome.log) {
            follow(lookup.answer(answer(*outcome.log), now));
        }
    }

    committed_offset offset_of(topic_partition const& where) const {
        if (auto const error = committed_errors.find(where.partition);
            error != committed_errors.end()) {
            return {where, -1, {}, error->second};
        }
        auto const offset = committed.find(where.partition);
        return {where, offset == committed.end() ? -1 : offset->second, "text", {}, 7};
    }
    client_offsets answer(offset_lookup::committed_request const& request) const {
        client_offsets result{request.id};
        partition_set const asked{request.partitions.begin(), request.partitions.end()};
        for (auto const& question : asked) {
            result.offsets.push_back(offset_of(question));
        }
        for (int i = 0; request.with_lower && i != asked.rbegin()->partition; ++i) {
            if (!asked.contains({"t", i})) {
                result.lower.push_back(offset_of({"t", i}));
            }
        }
        return result;
    }
    client_log_offsets answer(offset_lookup::log_request const& request) const {
        client_log_offsets result{request.id};
        for (auto const& [where, at] : request.places) {
            auto const number = where.partition;
            auto const error = log_errors.find(number);
            auto const end = ends.find(number);
            auto const time = by_time.find(number);
            auto const offset = at == start_position::log_beginning ? 1
                                : at == start_position::log_end
                                    ? (end == ends.end() ? 10 : end->second)
                                    : (time == by_time.end() ? -1 : time->second);
            result.offsets.push_back(
                {where, offset, error == log_errors.end() ? std::error_code{} : error->second});
        }
        for (auto const& topic : request.topics) {
            result.partition_counts[topic] = partitions;
        }
        return result;
    }

    std::vector<int> told(event_kind kind) const {
        std::vector<int> numbers;
        for (auto const& event : events) {
            if (event.kind == kind) {
                numbers.push_back(event.where ? event.where->partition : -1);
            }
        }
        return numbers;
    }
};

using offsets = std::map<int, std::int64_t>;
using numbers = std::vector<int>;

TEST_CASE(
    "offset_lookup: what is committed is the start, and the rest begins where it is said to") {
    SUBCASE("earliest") {
        cluster one{{offset_reset::earliest}};
        one.committed = {{0, 5}};
        one.begin({0, 1});
        CHECK(one.found == offsets{{0, 5}, {1, 1}});
        CHECK(one.events.empty());
    }
    SUBCASE("earliest, and the beginning is not known: the client finds it") {
        cluster one{{offset_reset::earliest}};
        one.log_errors[1] = no_leader;
        one.begin({0, 1});
        CHECK(one.found == offsets{{0, 1}, {1, start_position::log_beginning}});
        CHECK(one.complete);
        CHECK(one.delayed.empty());
    }
    SUBCASE("latest: at the end, and said so") {
        cluster one{{offset_reset::latest}};
        one.begin({0, 1});
        CHECK(one.found == offsets{{0, 10}, {1, 10}});
        CHECK(one.told(event_kind::start_chosen) == numbers{0, 1});
    }
    SUBCASE("none: it fails") {
        cluster one{{offset_reset::none}};
        one.committed = {{1, 5}};
        one.begin({0, 1});
        CHECK(one.failure == kgroup::errc::no_committed_offset);
        CHECK_FALSE(one.complete);
    }
    SUBCASE("a time: there, or at the end") {
        cluster one{{offset_reset::latest, 1000}};
        one.committed = {{2, 3}};
        one.by_time = {{0, 4}};
        one.begin({0, 1, 2, 3});
        CHECK(one.found == offsets{{0, 4}, {1, 10}, {2, 3}, {3, 10}});
        CHECK(one.events.empty());
    }
}

TEST_CASE("offset_lookup: a partition above those from 0 on that have a committed offset was "
          "added later") {
    for (auto const reset : {offset_reset::latest, offset_reset::none}) {
        cluster one{{reset}};
        one.committed = {{0, 5}, {1, 0}};
        SUBCASE("one that this member has been given beside the others") { one.begin({0, 1, 2}); }
        SUBCASE("one that it has been given alone") { one.begin({2}); }
        SUBCASE("two of them") { one.begin({2, 3}); }
        SUBCASE("two, and where somebody else has begun the other is committed already") {
            one.committed[3] = 0;
            one.begin({2, 3});
        }
        SUBCASE("a higher one has a committed offset, as in a group whose client commits nothing "
                "for idle partitions") {
            one.committed[3] = 5;
            one.begin({2, 3});
        }
        SUBCASE("and lower ones are part of an open transaction") {
            one.committed_errors[0] = unstable;
            one.begin({2});
        }
        CHECK(one.complete);
        CHECK(one.found.at(2) == 1);
        CHECK(one.told(event_kind::start_chosen).front() == 2);
    }
}

TEST_CASE("offset_lookup: where partition 0 has no committed offset, no partition was added "
          "later") {
    cluster one{{offset_reset::latest}};
    SUBCASE("none has one") {}
    SUBCASE("the first has none") { one.committed = {{1, 5}}; }
    SUBCASE("what is below does not exist, as the embedded cluster says it") {
        one.committed_errors = {{0, no_partition}, {1, no_partition}};
    }
    one.begin({2, 3});
    CHECK(one.found.at(2) == 10);
    CHECK(one.told(event_kind::start_chosen).front() == 2);
}

TEST_CASE("offset_lookup: infer_new_partitions off: only what was added since an earlier look "
          "begins at its beginning") {
    cluster one{{offset_reset::latest, {}, false}};
    one.partitions = 2;
    one.committed = {{0, 5}};
    one.begin({0, 1});
    CHECK(one.found == offsets{{0, 5}, {1, 10}});
    one.partitions = 3;
    one.begin({1, 2});
    // The other one begins where it began before: nothing has been committed since.
    one.ends = {{1, 20}, {2, 20}};
    CHECK(one.found == offsets{{1, 10}, {2, 1}});
    one.begin({1, 2});
    CHECK(one.found == offsets{{1, 10}, {2, 1}});
    CHECK(one.told(event_kind::start_chosen) == numbers{1, 2});
    // Once it has a committed offset, that counts.
    one.committed[1] = 15;
    one.begin({1});
    CHECK(one.found == offsets{{1, 15}});
    CHECK(one.events.empty());
}

TEST_CASE("offset_lookup: one partition that cannot be answered does not hold up the others") {
    cluster one{{offset_reset::latest}};
    one.committed = {{0, 5}, {1, 6}};
    SUBCASE("a transaction decides its committed offset") {
        one.committed_errors[1] = unstable;
        one.begin({0, 1});
        CHECK(one.events.back().error == unstable);
    }
    SUBCASE("its leader is away") {
        one.committed.erase(1);
        one.log_errors[1] = no_leader;
        one.begin({0, 1});
        CHECK(one.events.back().error == no_leader);
    }
    CHECK(one.complete);
    CHECK(one.found == offsets{{0, 5}});
    CHECK(one.delayed == set_of({1}));
    CHECK(one.told(event_kind::start_delayed) == numbers{1});
    // It is asked for twice a second, and told once a minute.
    for (int i = 0; i != 240; ++i) {
        one.advance(500ms);
    }
    CHECK(one.told(event_kind::start_delayed) == numbers{1, 1, 1});
    CHECK(one.told(event_kind::start_found).empty());
    one.committed[1] = 7;
    one.committed_errors.clear();
    one.log_errors.clear();
    one.advance(500ms);
    CHECK(one.found == offsets{{0, 5}, {1, 7}});
    CHECK(one.told(event_kind::start_found) == numbers{1});
    CHECK_FALSE(one.lookup.due());
}

TEST_CASE("offset_lookup: what this member commits while a partition waits does not make that one "
          "look new") {
    cluster one{{offset_reset::latest}};
    SUBCASE("it waits for its leader") { one.log_errors[1] = no_leader; }
    SUBCASE("it waits for a transaction, which is aborted then") {
        one.committed_errors[1] = unstable;
    }
    one.begin({0, 1});
    CHECK(one.found == offsets{{0, 10}});
    one.committed[0] = 10;
    one.log_errors.clear();
    one.committed_errors.clear();
    one.advance(500ms);
    CHECK(one.found.at(1) == 10);
}

TEST_CASE("offset_lookup: partition 0 is never above others") {
    cluster one{{offset_reset::latest}};
    one.committed_errors[0] = unstable;
    one.begin({0});
    one.committed_errors.clear();
    one.advance(500ms);
    CHECK(one.found.at(0) == 10);
}

TEST_CASE(
    "offset_lookup: what waits goes on through a later assignment, and not when it is forgotten") {
    cluster one{{offset_reset::earliest}};
    one.committed_errors[1] = unstable;
    one.begin({0, 1});
    one.begin({2});
    CHECK(one.complete);
    CHECK(one.delayed.empty());
    SUBCASE("forgotten") {
        one.follow(one.lookup.forget(set_of({1, 2}), "it is gone"));
        CHECK(one.told(event_kind::start_found) == numbers{1});
        one.committed_errors.clear();
        one.advance(500ms);
        CHECK_FALSE(one.found.contains(1));
    }
    SUBCASE("not forgotten") {
        one.committed_errors.clear();
        one.advance(500ms);
        CHECK(one.found.at(1) == 1);
    }
    CHECK_FALSE(one.lookup.due());
}

TEST_CASE("offset_lookup: a request that fails as a whole is repeated, and what is fatal is not") {
    cluster one{{offset_reset::earliest}};
    auto const asked = one.lookup.begin(set_of({0}));
    REQUIRE(asked.committed);
    SUBCASE("for now") {
        auto const loading =
            kgroup::make_error_code(RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS);
        one.follow(one.lookup.answer(client_offsets{asked.committed->id, loading}, one.now));
        CHECK(one.told(event_kind::offsets_unavailable) == numbers{-1});
        CHECK_FALSE(one.complete);
        one.advance(500ms);
        CHECK(one.complete);
        CHECK(one.told(event_kind::offsets_found) == numbers{-1});
    }
    SUBCASE("for good") {
        auto const refused = kgroup::make_error_code(RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED);
        one.follow(one.lookup.answer(client_offsets{asked.committed->id, refused}, one.now));
        CHECK(one.failure == refused);
    }
    SUBCASE("nobody waits for it any more") {
        one.follow(one.lookup.abandon());
        one.follow(one.lookup.answer(one.answer(*asked.committed), one.now));
        CHECK(one.found.empty());
        CHECK_FALSE(one.lookup.due());
    }
    SUBCASE("overtaken") {
        one.begin({0, 1});
        one.found.clear();
        one.follow(one.lookup.answer(one.answer(*asked.committed), one.now));
        CHECK(one.found.empty());
    }
}

TEST_CASE(
    "offset_lookup: what was delayed is over when its assignment is, before there are claims") {
    cluster one{{offset_reset::latest}};
    one.committed_errors = {{0, kgroup::make_error_code(RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT)}};
    auto const asked = one.lookup.begin(set_of({0, 1}));
    auto const first = one.lookup.answer(one.answer(*asked.committed), one.now);
    REQUIRE(first.log); // the end of 1 is not known yet
    CHECK_FALSE(first.complete);
    auto const kinds = [](offset_lookup::outcome const& from) {
        std::vector<event_kind> all;
        for (auto const& told : from.events) {
            all.push_back(told.kind);
        }
        return all;
    };
    CHECK(kinds(first) == std::vector{event_kind::start_delayed});
    one.committed_errors.clear();
    SUBCASE("given up") {
        CHECK(kinds(one.lookup.abandon()) == std::vector{event_kind::start_found});
        one.follow(one.lookup.answer(one.answer(*first.log), one.now));
        one.advance(2min);
        CHECK(one.told(event_kind::start_delayed).empty());
        CHECK(one.told(event_kind::start_found).empty());
        CHECK(one.found.empty());
    }
    SUBCASE("overtaken") {
        CHECK(kinds(one.lookup.begin(set_of({0}))) == std::vector{event_kind::start_found});
    }
}

TEST_CASE("offset_lookup: a leader that does not answer holds an assignment up for two seconds") {
    cluster one{{offset_reset::latest}};
    one.committed = {{0, 5}};
    auto const asked = one.lookup.begin(set_of({0, 1}));
    auto const log = one.lookup.answer(one.answer(*asked.committed), one.now);
    REQUIRE(log.log);
    CHECK_FALSE(log.complete);
    one.advance(1999ms);
    CHECK_FALSE(one.complete);
    one.advance(1ms);
    CHECK(one.complete);
    CHECK(one.delayed == set_of({1}));
    one.advance(500ms); // it is under way
    one.follow(one.lookup.answer(one.answer(*log.log), one.now));
    CHECK(one.found.at(1) == 1);
    CHECK(one.told(event_kind::start_found) == numbers{1});
}

} // namespace

} // namespace offset_lookup_tests
