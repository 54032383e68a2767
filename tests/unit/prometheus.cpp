// SPDX-License-Identifier: MIT

#include <kgroup/prometheus.hpp>
#include <kgroup/prometheus_text.hpp>

#include <doctest/doctest.h>
#include <prometheus/text_serializer.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using kgroup::group_state;

namespace prometheus_tests {

namespace {

group_state state_of(std::string group) {
    group_state state;
    state.group_id = std::move(group);
    state.at = std::chrono::system_clock::time_point{1'800'000'000'500ms};
    state.looked_at = state.phase_since = state.at - 61s;
    state.phase = kgroup::group_phase::consuming;
    state.generation = 3;
    state.last_commit = state.at - 2500ms;
    state.conditions.push_back({kgroup::event_kind::claim_stalled,
                                kgroup::topic_partition{"orders", 1},
                                {},
                                state.at,
                                ""});
    // Each counter another number, so that none is taken for another.
    std::uint64_t number = 100;
    state.stats.sessions = ++number;
    state.stats.rebalances = ++number;
    state.stats.superseded_rebalances = ++number;
    state.stats.records_received = ++number;
    state.stats.records_direct = ++number;
    state.stats.records_handed_over = ++number;
    state.stats.commits = ++number;
    state.stats.commits_failed = ++number;
    state.stats.offsets_committed = ++number;
    state.stats.marks_refused = ++number;
    state.stats.late_messages = ++number;
    state.stats.events_dropped = ++number;
    state.handling.add(3ms);
    state.residence.add(1s);
    state.committing.add(20ms);
    state.committing.add(400s);
    state.rebalancing.add(100us); // on a bound
    kgroup::claim_state claim;
    claim.where = {"orders", 0};
    claim.position = 120;
    claim.committed = 100;
    claim.marked = 110;
    claim.log_end = 150;
    claim.lag = 30;
    claim.records_waiting = 7;
    claim.bytes_waiting = 700;
    claim.records_in_flight = 20;
    claim.oldest_in_flight = state.at - 1234ms;
    claim.last_progress = state.at - 17ms;
    claim.records_delivered = 121;
    claim.bytes_delivered = 5'000'000'000;
    state.claims.push_back(claim);
    claim.where.partition = 1;
    claim.paused = true;
    claim.lag = claim.log_end = -1;
    claim.stalled_since = state.at - 40s;
    claim.processing.emplace();
    claim.processing->attempts = 9;
    claim.processing->dead_letters = 2;
    claim.processing->hottest_key_share = 0.25;
    state.claims.push_back(claim);
    return state;
}

struct family {
    std::string help;
    std::string type;
    std::map<std::string, double> samples; // by name and labels, the bound of a bucket as a number

    friend bool operator==(family const&, family const&) = default;
};

/// An exposition, without what a writer is free in: order, and how numbers are written.
std::map<std::string, family> parse(std::string const& text) {
    std::map<std::string, family> families;
    std::istringstream stream{text};
    std::string now;
    for (std::string line; std::getline(stream, line);) {
        std::istringstream words{line};
        std::string hash;
        std::string word;
        if (line.starts_with("# ")) {
            words >> hash >> word >> now >> std::ws;
            std::getline(words, word == "HELP" ? families[now].help : families[now].type);
            continue;
        }
        auto const value_at = line.rfind(' ');
        auto sample = line.substr(0, value_at);
        auto const bound = sample.find("le=\"");
        if (bound != sample.npos) {
            auto const begin = bound + 4;
            auto const end = sample.find('"', begin);
            sample.replace(begin, end - begin,
                           std::to_string(std::stod(sample.substr(begin, end - begin))));
        }
        auto const added =
            families[now].samples.emplace(sample, std::stod(line.substr(value_at + 1)));
        CHECK_MESSAGE(added.second, sample);
    }
    return families;
}

std::string serialized(::prometheus::Collectable const& from) {
    return ::prometheus::TextSerializer{}.Serialize(from.Collect());
}

void check_same(std::vector<group_state> const& states) {
    kgroup::prometheus_collectable const collectable{[&] { return states; }};
    auto const ours = parse(kgroup::prometheus_text(states));
    auto theirs = parse(serialized(collectable));
    CHECK(theirs.at("kgroup_failed_collections_total").samples ==
          std::map<std::string, double>{{"kgroup_failed_collections_total", 0.0}});
    theirs.erase("kgroup_failed_collections_total");
    REQUIRE(ours.size() == theirs.size());
    REQUIRE(ours.size() >= 50);
    for (auto const& [name, expected] : ours) {
        CAPTURE(name);
        REQUIRE(theirs.contains(name));
        auto const& found = theirs[name];
        CHECK(found.help == expected.help);
        CHECK(found.type == expected.type);
        CHECK(found.samples == expected.samples);
    }
}

} // namespace

TEST_CASE("prometheus: family by family what prometheus_text writes") {
    check_same({state_of("billing")});
    check_same({state_of("billing"), state_of("a\\b\"c\nd")});
    check_same({group_state{}});
    check_same({});
}

TEST_CASE("prometheus: one state needs no vector, and each collection asks again") {
    auto state = state_of("billing");
    kgroup::prometheus_collectable const collectable{[&] { return state; }};
    auto const generation = [&] {
        return parse(serialized(collectable))["kgroup_generation"].samples.begin()->second;
    };
    CHECK(generation() == 3);
    state.generation = 4;
    CHECK(generation() == 4);
}

TEST_CASE("prometheus: what a collection throws is counted, and reaches no frame of C") {
    auto fails = true;
    kgroup::prometheus_collectable const collectable{[&] {
        if (fails) {
            throw std::runtime_error{"no states"};
        }
        return group_state{};
    }};
    auto families = parse(serialized(collectable));
    CHECK(families.size() == 1);
    CHECK(families["kgroup_failed_collections_total"].samples.begin()->second == 1);
    fails = false;
    families = parse(serialized(collectable));
    CHECK(families.size() > 50);
    CHECK(families["kgroup_failed_collections_total"].samples.begin()->second == 1);
}

} // namespace prometheus_tests
