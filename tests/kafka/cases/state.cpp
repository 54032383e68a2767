// SPDX-License-Identifier: MIT

#include <kgroup/dead_letters.hpp>
#include <kgroup/for_each.hpp>
#include <kgroup/group_state.hpp>
#include <kgroup/health.hpp>
#include <kgroup/producer.hpp>
#include <kgroup/prometheus_text.hpp>
#include <kgroup/testing/embedded_cluster.hpp>

#include <asio/awaitable.hpp>
#include <asio/thread_pool.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "kafka.hpp"
#include "member.hpp"
#include "producing.hpp"
#include "token_kafka.hpp"

#ifdef KGROUP_TESTS_HTTP
#include "../../../examples/support/health_server.hpp"
#endif

// What a member says of itself while something lasts, on librdkafka's mock and on a real Kafka: by
// its state, readiness, liveness and metrics, and where cpp-httplib is there, over HTTP; and that
// all is well afterwards.

namespace kafka_state_tests {

namespace {

using namespace kgroup::tests;
using kgroup::group_phase;
using kgroup::testing::embedded_cluster;
using request = embedded_cluster::request;

constexpr std::size_t every_time = 100000;

kgroup::config member_of(embedded_cluster const& cluster) {
    return {.brokers = cluster.brokers(),
            .group_id = unique("group"),
            .topics = {"orders"},
            .initial_offset = kgroup::offset_reset::earliest,
            .properties = {{"session.timeout.ms", "6000"}},
            .on_event = [](kgroup::event const&) {}};
}

bool enters(member& member, group_phase phase) {
    return eventually([&] { return member.group().state().phase == phase; }, 20s);
}
bool says(member& member, std::string_view words) {
    return eventually(
        [&] {
            auto const judged = readiness(member.group().state());
            return !judged.ok && std::ranges::any_of(judged.reasons, [&](auto const& reason) {
                return reason.find(words) != std::string::npos;
            });
        },
        20s);
}
bool recovers(member& member) {
    return eventually([&] { return readiness(member.group().state()).ok; }, 40s);
}
bool shows(member& member, std::string_view line) {
    return prometheus_text(member.group().state()).find(line) != std::string::npos;
}
std::string condition(std::string_view kind, int count) {
    return "\",kind=\"" + std::string{kind} + "\"} " + std::to_string(count) + "\n";
}

#ifdef KGROUP_TESTS_HTTP

/// A member over HTTP, by the server of the examples.
class pages {
public:
    explicit pages(member& member)
        : server_(member.group(), "127.0.0.1", 0),
          client_("127.0.0.1", server_.port()) {}

    std::string get(char const* path, int status) {
        auto const answer = client_.Get(path);
        REQUIRE(answer);
        CAPTURE(path);
        CAPTURE(answer->body);
        CHECK(answer->status == status);
        return answer->body;
    }
    nlohmann::json json(char const* path, int status) {
        return nlohmann::json::parse(get(path, status));
    }

private:
    health_server server_;
    httplib::Client client_;
};

void check_pages_while_it_lasts(member& member, std::string const& kind, std::string_view words) {
    pages shown{member};
    auto const ready = shown.json("/readyz", 503);
    auto const reasons = ready["reasons"].get<std::vector<std::string>>();
    CHECK(std::ranges::any_of(reasons, [&](std::string const& reason) {
        return reason.find(words) != std::string::npos;
    }));
    CHECK(shown.json("/healthz", 200)["ok"] == true);
    CHECK(shown.get("/metrics", 200).find(condition(kind, 1)) != std::string::npos);
    auto const state = shown.json("/state", 200);
    CHECK(state["conditions"].size() == 1);
    CHECK(state["conditions"].at(0)["kind"] == kind);
    CHECK(state["readiness"]["ok"] == false);
    CHECK(state["liveness"]["ok"] == true);
    CHECK(shown.get("/", 200).find("fetch('state')") != std::string::npos);
}

void check_pages_when_all_is_well(member& member, std::string_view kind) {
    nlohmann::json const well{{"ok", true}, {"reasons", nlohmann::json::array()}};
    pages shown{member};
    CHECK(shown.json("/readyz", 200) == well);
    CHECK(shown.json("/healthz", 200) == well);
    CHECK(shown.get("/metrics", 200).find(condition(kind, 0)) != std::string::npos);
    auto const state = shown.json("/state", 200);
    CHECK(state["phase"] == "consuming");
    CHECK(state["conditions"].empty());
    CHECK(state["outage_since"].is_null());
    CHECK(state["readiness"] == well);
    CHECK(state["liveness"] == well);
    for (auto const& claim : state["claims"]) {
        CHECK(claim["stalled_since"].is_null());
    }
}

#else

void check_pages_while_it_lasts(member&, std::string const&, std::string_view) {}
void check_pages_when_all_is_well(member&, std::string_view) {}

#endif

/// It is not ready for the one thing that lasts, is live, and shows that.
void check_while_it_lasts(member& member, std::string const& kind, std::string_view words) {
    CHECK(says(member, words));
    CHECK(shows(member, condition(kind, 1)));
    CHECK(liveness(member.group().state()).ok);
    check_pages_while_it_lasts(member, kind, words);
}
/// Nothing of it is left.
void check_afterwards(member& member, std::string_view kind) {
    CHECK(recovers(member));
    auto const state = member.group().state();
    CHECK(state.conditions.empty());
    CHECK(liveness(state).ok);
    CHECK(shows(member, condition(kind, 0)));
    check_pages_when_all_is_well(member, kind);
}

std::string phase(std::string_view name) { return "\",phase=\"" + std::string{name} + "\"} 1\n"; }
// A group looks at its claims twice a second: what has happened before is seen before the time has
// passed.
void pass(member& member, std::chrono::seconds time) {
    for (auto looks = 0; looks != 2; ++looks) {
        auto const before = member.group().state().looked_at;
        REQUIRE(eventually([&] { return member.group().state().looked_at > before + 100ms; }));
    }
    kgroup::detail::clock::lead +=
        std::chrono::duration_cast<kgroup::detail::clock::duration>(time).count();
}

/// What a handler waits for, opened by the test.
class gate {
public:
    void open() { open_ = true; }
    asio::awaitable<void> wait() {
        while (!open_) {
            co_await pause_for(10ms);
        }
    }

private:
    std::atomic<bool> open_{false};
};

} // namespace

TEST_CASE("kafka state: no broker, and back") {
    embedded_cluster cluster;
    cluster.create_topic("orders", 2);
    cluster.produce("orders", 0, "a", "b");
    received records;
    member one{member_of(cluster), receive_into(records)};
    CHECK(recovers(one));
    CHECK(eventually([&] { return records.count() == 2; }, 20s));
    auto const state = one.group().state();
    CHECK(state.phase == group_phase::consuming);
    CHECK_FALSE(state.member_id.empty());
    CHECK(state.generation > 0);
    REQUIRE(state.claims.size() == 2);
    CHECK(state.claims[0].position == 2);
    CHECK(state.claims[0].log_end == 2);
    CHECK(state.claims[0].lag == 0);
    CHECK(state.claims[0].bytes_delivered == 2);
    cluster.take_down();
    check_while_it_lasts(one, "brokers_unreachable", "brokers_unreachable");
    CHECK(one.group().state().outage_since);
    cluster.bring_up();
    check_afterwards(one, "brokers_unreachable");
    CHECK_FALSE(one.group().state().outage_since);
}

TEST_CASE("kafka state: no coordinator, and back") {
    embedded_cluster cluster;
    cluster.create_topic("orders", 2);
    cluster.fail(request::find_coordinator, RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE,
                 every_time);
    received records;
    member one{member_of(cluster), receive_into(records)};
    CHECK(enters(one, group_phase::finding_coordinator));
    check_while_it_lasts(one, "no_assignment", "the group's coordinator does not answer");
    CHECK(shows(one, phase("finding_coordinator")));
    cluster.stop_failing(request::find_coordinator);
    check_afterwards(one, "no_assignment");
}

TEST_CASE("kafka state: a join that is never answered as one, and back") {
    embedded_cluster cluster;
    cluster.create_topic("orders", 2);
    cluster.fail(request::join_group, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, every_time);
    received records;
    member one{member_of(cluster), receive_into(records)};
    CHECK(enters(one, group_phase::joining));
    check_while_it_lasts(one, "no_assignment", "has not let this member join");
    CHECK(shows(one, phase("joining")));
    cluster.stop_failing(request::join_group);
    check_afterwards(one, "no_assignment");
    one.stop();
    CHECK(one.ends_within(30s));
    CHECK(one.group().state().phase == group_phase::stopped);
}

TEST_CASE("kafka state: a setup that hangs, and back") {
    embedded_cluster cluster;
    cluster.create_topic("orders", 2);
    received records;
    gate goes_on;
    auto handler = receive_into(records);
    handler.setup = [&](kgroup::session&) { return goes_on.wait(); };
    member one{member_of(cluster), handler};
    CHECK(enters(one, group_phase::setting_up));
    CHECK(liveness(one.group().state()).ok);
    pass(one, 31s);
    check_while_it_lasts(one, "setup_stalled", "setup_stalled"); // live: it may take minutes
    CHECK(shows(one, phase("setting_up")));
    CHECK_FALSE(liveness(one.group().state(), {.no_progress = 30s}).ok);
    goes_on.open();
    check_afterwards(one, "setup_stalled");
}

TEST_CASE("kafka state: a handler that is stuck, and back") {
    embedded_cluster cluster;
    cluster.create_topic("orders", 2);
    cluster.produce("orders", 1, "a");
    gate goes_on;
    member one{
        member_of(cluster),
        {.consume_claim = [&](kgroup::session&, kgroup::claim& claim) -> asio::awaitable<void> {
            while (auto const next = co_await claim.messages().async_receive()) {
                co_await goes_on.wait();
                claim.mark(*next);
            }
        }}};
    REQUIRE(eventually([&] { return one.group().state().stats.records_received == 1; }));
    cluster.produce("orders", 1, "b");
    REQUIRE(eventually([&] { return one.group().state().find({"orders", 1})->lag == 1; }));
    pass(one, 31s);
    check_while_it_lasts(one, "claim_stalled", "claim_stalled orders[1]");
    CHECK(shows(one, "kgroup_claim_stalled{group=\""));
    auto const judged = liveness(one.group().state(), {.no_progress = 30s});
    REQUIRE(judged.reasons.size() == 1);
    CHECK(judged.reasons[0].starts_with("orders[1]: no progress for 3"));
    goes_on.open();
    check_afterwards(one, "claim_stalled");
    CHECK(liveness(one.group().state(), {.no_progress = 30s}).ok);
}

TEST_CASE("kafka state: commits that are refused, and back") {
    embedded_cluster cluster;
    cluster.create_topic("orders", 1);
    cluster.produce("orders", 0, "a", "b");
    cluster.fail(request::offset_commit, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, every_time);
    received records;
    member one{member_of(cluster), receive_into(records)};
    check_while_it_lasts(one, "commit_failed", "commit_failed");
    auto state = one.group().state();
    CHECK(state.phase == group_phase::consuming);
    CHECK(state.last_commit_failure);
    CHECK(state.last_commit_error == kgroup::kafka_errc::group_authorization_failed);
    CHECK(state.committing.count() != 0);
    CHECK_FALSE(shows(one, "kgroup_commits_failed_total{group=\"" + state.group_id + "\"} 0\n"));
    cluster.stop_failing(request::offset_commit);
    check_afterwards(one, "commit_failed");
    state = one.group().state();
    CHECK(state.last_commit > state.last_commit_failure);
    CHECK(state.claims.at(0).committed == 2);
}

TEST_CASE("kafka state: a topic for dead letters that is away, and back") {
    embedded_cluster cluster;
    cluster.create_topic("orders", 1);
    cluster.create_topic("orders.dlq", 1);
    cluster.produce("orders", 0, "bad");
    asio::thread_pool threads{1};
    kgroup::producer out{
        threads,
        {.connection = {.brokers = cluster.brokers()}, .on_event = [](kgroup::event const&) {}}};
    kgroup::dead_letters letters{out};
    cluster.fail(request::produce, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, every_time);
    member one{
        member_of(cluster),
        {.consume_claim = [&](kgroup::session&, kgroup::claim& claim) -> asio::awaitable<void> {
            auto refuse = [](kgroup::message const&) { throw std::runtime_error{"refused"}; };
            co_await kgroup::for_each(claim, {.dead_letters = &letters}, refuse);
        }}};
    REQUIRE(eventually([&] { return out.stats().unacknowledged == 1; }));
    CHECK(out.state().bytes_unacknowledged == 3);
    pass(one, 11s);
    check_while_it_lasts(one, "dead_letter_held",
                         "dead_letter_held orders[0]: the dead letter of offset 0 ");
    CHECK(eventually([&] { return out.state().find(kgroup::event_kind::dead_letter_held); }));
    cluster.stop_failing(request::produce);
    check_afterwards(one, "dead_letter_held");
    CHECK(one.group().state().claims.at(0).processing->dead_letters == 1);
    CHECK(eventually([&] { return out.state().conditions.empty(); }));
    CHECK(out.state().bytes_unacknowledged == 0);
    one.stop();
    out.stop();
    threads.join();
}

TEST_CASE("kafka state: a token that is refused, and back") {
    if (!token_kafka::is_there()) {
        return;
    }
    token_kafka cluster;
    auto const topic = cluster.create_topic();
    std::atomic<bool> gives{false};
    received records;
    member one{cluster.member_with(topic,
                                   [&]() -> asio::awaitable<kgroup::oauth_token> {
                                       if (!gives) {
                                           throw std::runtime_error{"the vault is closed"};
                                       }
                                       co_return make_token(system_clock::now() + 1h);
                                   }),
               receive_into(records)};
    check_while_it_lasts(one, "authentication_failed", "the vault is closed");
    CHECK(one.group().state().phase == group_phase::connecting);
    gives = true;
    check_afterwards(one, "authentication_failed");
}

TEST_CASE("kafka state: a producer's queue, outage and last error") {
    embedded_cluster cluster;
    cluster.create_topic("orders", 1);
    producing one{{.connection = {.brokers = cluster.brokers()}, .delivery_timeout = 5s}};
    CHECK(one.out->state().phase == kgroup::producer_phase::running);
    CHECK(one.run([](kgroup::producer& out) -> asio::awaitable<void> {
        kgroup::outgoing_record const record{.topic = "orders", .key = "k", .value = "12345"};
        co_await out.async_send(record);
    }(*one.out)));
    auto state = one.out->state();
    CHECK(state.stats.acknowledged == 1);
    CHECK(state.bytes_unacknowledged == 0);
    CHECK_FALSE(state.last_error_at);
    CHECK(state.conditions.empty());
    cluster.take_down();
    CHECK(one.run([](kgroup::producer& out) -> asio::awaitable<void> {
        kgroup::outgoing_record const record{.topic = "orders", .key = "k", .value = "12345"};
        co_await out.async_enqueue(record);
    }(*one.out)));
    CHECK(one.out->state().bytes_unacknowledged == 6);
    CHECK(one.run_until([&] { return one.out->state().outage_since.has_value(); }));
    std::ostringstream words;
    words << one.out->state();
    CHECK(words.str().find("1 records of 6 bytes unacknowledged") != std::string::npos);
    CHECK(words.str().find("no broker for ") != std::string::npos);
    CHECK(words.str().find("  brokers_unreachable for ") != std::string::npos);
    CHECK(one.run_until([&] { return one.out->stats().failed == 1; }));
    state = one.out->state();
    CHECK(state.last_error == kgroup::kafka_errc::local_message_timed_out);
    CHECK(state.last_error_at);
    CHECK(state.bytes_unacknowledged == 0);
    cluster.bring_up();
    CHECK(one.run_until([&] { return !one.out->state().outage_since; }, 60s));
    one.out->stop();
    CHECK(one.run_until([&] { return one.out->state().phase == kgroup::producer_phase::stopped; }));
}

} // namespace kafka_state_tests
