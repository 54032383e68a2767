// SPDX-License-Identifier: MIT

#include <kgroup/prometheus_text.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <clocale>
#include <cstdint>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

using namespace std::chrono_literals;
using kgroup::exposition_format;
using kgroup::group_state;
using kgroup::prometheus_text;

namespace prometheus_text_tests {

namespace {

group_state consuming() {
    group_state state;
    state.group_id = "billing";
    state.at = std::chrono::system_clock::time_point{1'800'000'000'500ms};
    state.looked_at = state.phase_since = state.at - 60s;
    state.phase = kgroup::group_phase::consuming;
    state.generation = 3;
    state.last_commit = state.at - 2500ms;
    state.conditions.push_back({kgroup::event_kind::claim_stalled,
                                kgroup::topic_partition{"orders", 1},
                                {},
                                state.at - 40s,
                                "records wait"});
    state.stats.commits = 7;
    state.committing.add(20ms);
    state.committing.add(2ms);
    state.committing.add(400s);
    kgroup::claim_state claim;
    claim.where = {"orders", 0};
    claim.position = 120;
    claim.committed = 100;
    claim.log_end = 150;
    claim.lag = 30;
    claim.records_in_flight = 20;
    claim.oldest_in_flight = state.at - 1234ms;
    claim.records_delivered = 120;
    claim.bytes_delivered = 5'000'000'000;
    state.claims.push_back(claim);
    claim.where.partition = 1;
    claim.lag = claim.log_end = -1;
    claim.stalled_since = state.at - 40s;
    claim.processing.emplace();
    claim.processing->attempts = 9;
    claim.processing->hottest_key_share = 0.25;
    state.claims.push_back(claim);
    return state;
}

bool has_line(std::string const& text, std::string_view line) {
    return ("\n" + text).find("\n" + std::string{line} + "\n") != std::string::npos;
}

} // namespace

TEST_CASE("prometheus_text: a group and its claims") {
    auto const text = prometheus_text(consuming());
    CHECK(has_line(text, "# TYPE kgroup_phase gauge"));
    CHECK(has_line(text, "kgroup_phase{group=\"billing\",phase=\"consuming\"} 1"));
    CHECK(has_line(text, "kgroup_phase{group=\"billing\",phase=\"joining\"} 0"));
    CHECK(has_line(text, "kgroup_phase_start_timestamp_seconds{group=\"billing\"} 1799999940.500"));
    CHECK(has_line(text, "kgroup_generation{group=\"billing\"} 3"));
    CHECK(has_line(text, "kgroup_claims{group=\"billing\"} 2"));
    CHECK(has_line(text, "kgroup_conditions{group=\"billing\",kind=\"claim_stalled\"} 1"));
    CHECK(has_line(text, "kgroup_conditions{group=\"billing\",kind=\"brokers_unreachable\"} 0"));
    CHECK(has_line(text, "# TYPE kgroup_commits_total counter"));
    CHECK(has_line(text, "kgroup_commits_total{group=\"billing\"} 7"));
    auto const first = std::string{"{group=\"billing\",topic=\"orders\",partition=\"0\"} "};
    CHECK(has_line(text, "kgroup_claim_lag_records" + first + "30"));
    CHECK(has_line(text, "kgroup_claim_oldest_in_flight_seconds" + first + "1.234"));
    CHECK(has_line(text, "kgroup_claim_bytes_delivered_total" + first + "5000000000"));
    CHECK(has_line(text, "kgroup_claim_stalled" + first + "0"));
    auto const second = std::string{"{group=\"billing\",topic=\"orders\",partition=\"1\"} "};
    CHECK(has_line(text, "kgroup_claim_stalled" + second + "1"));
    CHECK(text.find("kgroup_claim_lag_records" + second) == text.npos); // it is not known
    CHECK(text.find("# EOF") == text.npos);
    CHECK(has_line(text, "kgroup_claim_attempts_total" + second + "9"));
    CHECK(has_line(text, "kgroup_claim_hottest_key_ratio" + second + "0.250"));
    CHECK(text.find("kgroup_claim_attempts_total" + first) == text.npos); // not by for_each
}

TEST_CASE("prometheus_text: a histogram counts up to each bound") {
    auto const text = prometheus_text(consuming());
    CHECK(has_line(text, "# TYPE kgroup_commit_seconds histogram"));
    auto const bucket = [&](std::string_view bound, std::string_view count) {
        return has_line(text, "kgroup_commit_seconds_bucket{group=\"billing\",le=\"" +
                                  std::string{bound} + "\"} " + std::string{count});
    };
    CHECK(bucket("0.001", "0"));
    CHECK(bucket("0.0025", "1"));
    CHECK(bucket("0.025", "2"));
    CHECK(bucket("1.0", "2"));
    CHECK(bucket("300.0", "2"));
    CHECK(bucket("+Inf", "3"));
    CHECK(has_line(text, "kgroup_commit_seconds_sum{group=\"billing\"} 400.022000"));
    CHECK(has_line(text, "kgroup_commit_seconds_count{group=\"billing\"} 3"));
    CHECK(has_line(text, "kgroup_handling_seconds_count{group=\"billing\"} 0"));
}

TEST_CASE("prometheus_text: OpenMetrics names families of counters without _total, and ends") {
    auto const text = prometheus_text(consuming(), exposition_format::openmetrics);
    CHECK(has_line(text, "# TYPE kgroup_commits counter"));
    CHECK(has_line(text, "kgroup_commits_total{group=\"billing\"} 7"));
    CHECK(text.ends_with("\n# EOF\n"));
}

TEST_CASE("prometheus_text: several groups share their families, and labels are escaped") {
    auto other = consuming();
    other.group_id = "a\\b\"c\nd";
    auto const text = prometheus_text(std::vector{consuming(), other});
    CHECK(has_line(text, "kgroup_claims{group=\"billing\"} 2"));
    CHECK(has_line(text, "kgroup_claims{group=\"a\\\\b\\\"c\\nd\"} 2"));
    CHECK(prometheus_text(std::vector<group_state>{}).find("{") == std::string::npos);
}

TEST_CASE("prometheus_text: each sample follows its own TYPE, and counters alone end in _total") {
    for (auto const format : {exposition_format::prometheus, exposition_format::openmetrics}) {
        std::istringstream stream{prometheus_text(consuming(), format)};
        std::set<std::string> families;
        std::string family;
        std::string type;
        for (std::string line; std::getline(stream, line);) {
            CAPTURE(line);
            if (line == "# EOF") {
                continue;
            }
            std::istringstream words{line};
            std::string hash;
            std::string word;
            if (line.starts_with("# HELP ")) {
                words >> hash >> word >> family;
                REQUIRE(families.insert(family).second); // each once
            } else if (line.starts_with("# TYPE ")) {
                std::string named;
                words >> hash >> word >> named >> type;
                REQUIRE(named == family);
            } else {
                auto const sample = line.substr(0, line.find('{'));
                auto const counter = type == "counter";
                if (type == "histogram") {
                    REQUIRE((sample == family + "_bucket" || sample == family + "_sum" ||
                             sample == family + "_count"));
                    continue;
                }
                auto const total = format == exposition_format::openmetrics && counter;
                REQUIRE(sample == family + (total ? "_total" : ""));
                REQUIRE(sample.ends_with("_total") == counter);
                REQUIRE(sample.starts_with("kgroup_"));
            }
        }
        CHECK(families.size() > 30);
    }
}

} // namespace prometheus_text_tests
