// SPDX-License-Identifier: MIT

#include <kgroup/detail/group/membership_watch.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>
#include <exception>
#include <string>
#include <system_error>
#include <vector>

using namespace std::chrono_literals;

namespace membership_watch_tests {

namespace {

using kgroup::event;
using kgroup::event_kind;
using kgroup::topic_partition;
using kgroup::detail::clock;
using kgroup::detail::join_progress;
using kgroup::detail::membership_watch;
using question = membership_watch::question;

std::error_code const transport{-195, kgroup::kafka_category()};
std::error_code const loading{14, kgroup::kafka_category()};
topic_partition const t0{"t", 0};

class watched_membership {
public:
    explicit watched_membership(kgroup::group_protocol protocol = kgroup::group_protocol::classic,
                                std::vector<std::string> topics = {"^other.*", "t"})
        : watch{reporter, protocol, std::move(topics)} {}

    std::vector<event> told;
    kgroup::detail::group_counters counters;
    kgroup::detail::event_reporter reporter{
        [this](event const& reported) { told.push_back(reported); }, "g", counters,
        [](std::exception_ptr) {}};
    membership_watch watch;
    clock::time_point const start = clock::now();
    std::vector<topic_partition> quiet;
    bool quiet_in_outage = false;

    std::vector<membership_watch::request> due(clock::duration after,
                                               topic_partition const* any_claim = nullptr) {
        return watch.questions_due(start + after, any_claim, [this](bool outage) {
            quiet_in_outage = outage;
            return quiet;
        });
    }
    void look(clock::duration after, std::string const& member = "", std::int32_t generation = -1) {
        watch.look(start + after, member, generation, [] { return std::string{"heard"}; });
    }
    std::string kinds() const {
        std::string all;
        for (auto const& reported : told) {
            all += (all.empty() ? "" : " ") + std::string{to_string(reported.kind)};
        }
        return all;
    }
};

kgroup::detail::client_coordinator coordinator(std::uint64_t id, std::error_code error,
                                               bool broker_known = true) {
    return {id, error, broker_known};
}

TEST_CASE_FIXTURE(watched_membership,
                  "membership_watch: how far a member without an assignment has come") {
    CHECK(watch.progress() == join_progress::joined); // none is awaited
    watch.without_assignment(start);
    CHECK(watch.progress() == join_progress::no_broker);
    auto asked = due(5s);
    REQUIRE(asked.size() == 1);
    CHECK(asked[0].kind == question::coordinator);
    CHECK(watch.take(coordinator(asked[0].id, transport)));
    CHECK(watch.progress() == join_progress::no_coordinator);
    asked = due(10s);
    REQUIRE(asked.size() == 1);
    CHECK(watch.take(coordinator(asked[0].id, transport, false)));
    CHECK(watch.progress() == join_progress::no_broker);
    asked = due(15s);
    REQUIRE(asked.size() == 1);
    CHECK(watch.take(coordinator(asked[0].id, loading)));
    CHECK(watch.progress() == join_progress::joining);
    CHECK(watch.unreachable(start + 16s, 0, 0));
    CHECK(watch.progress() == join_progress::no_broker);
    watch.assigned("t[0]");
    CHECK(watch.progress() == join_progress::joined);
}

TEST_CASE_FIXTURE(watched_membership, "membership_watch: no assignment is told with its reason, "
                                      "and its end") {
    watch.without_assignment(start);
    look(9s, "me");
    CHECK(told.empty());
    CHECK(watch.progress() == join_progress::joining); // the coordinator has given it an id
    look(10s, "me");
    REQUIRE(kinds() == "no_assignment");
    CHECK(told[0].text == "no assignment for 10 s: this member has joined, and waits for the other "
                          "members; the client's log: heard");
    watch.assigned("t[0]");
    CHECK(kinds() == "no_assignment assignment_received");
    CHECK(told[1].text == "t[0]");
}

TEST_CASE("membership_watch: with protocol consumer an epoch without partitions is an answer") {
    watched_membership on{kgroup::group_protocol::consumer};
    on.watch.without_assignment(on.start);
    on.look(10s, "me", 0);
    REQUIRE(on.kinds() == "no_assignment");
    CHECK(on.told[0].text.find("has not let this member join") != std::string::npos);
    on.look(11s, "me", 1);
    CHECK(on.kinds() == "no_assignment assignment_received");
    on.look(12s, "me", 0); // it has to join again
    on.look(22s, "me", 0);
    CHECK(on.kinds() == "no_assignment assignment_received no_assignment");
}

TEST_CASE_FIXTURE(watched_membership,
                  "membership_watch: one question of a kind is under way at a time") {
    watch.without_assignment(start);
    auto const first = due(5s);
    REQUIRE(first.size() == 1);
    CHECK(due(10s).empty());
    CHECK_FALSE(watch.take(coordinator(first[0].id + 1, {})));
    CHECK(watch.take(coordinator(first[0].id, {})));
    CHECK_FALSE(watch.take(coordinator(first[0].id, {}))); // once
    CHECK(due(15s).size() == 1);
    watch.forget_questions();
    CHECK(due(20s).size() == 1);
}

TEST_CASE_FIXTURE(watched_membership,
                  "membership_watch: the coordinator is asked by a claim, or by a topic's name") {
    watch.without_assignment(start);
    topic_partition const claim{"mine", 3};
    auto asked = due(5s, &claim);
    REQUIRE(asked.size() == 1);
    CHECK(asked[0].partitions == std::vector{claim});
    watch.forget_questions();
    asked = due(10s);
    REQUIRE(asked.size() == 1);
    CHECK(asked[0].partitions == std::vector{t0}); // an expression is no topic
    watch.forget_questions();
    watch.subscribed({"^only.*"});
    asked = due(15s);
    REQUIRE(asked.size() == 1);
    CHECK(asked[0].partitions == std::vector{topic_partition{"__consumer_offsets", 0}});
}

TEST_CASE_FIXTURE(watched_membership, "membership_watch: the ends of quiet claims' logs are asked "
                                      "for, and told apart from topics in trouble") {
    quiet = {t0};
    auto const ends = due(1s);
    REQUIRE(ends.size() == 1);
    CHECK(ends[0].kind == question::log_ends);
    CHECK(ends[0].partitions == quiet);
    reporter.forward({event_kind::topic_missing,
                      kgroup::severity::warning,
                      topic_partition{"gone", -1},
                      {},
                      "it does not exist"});
    auto const topics = due(11s);
    REQUIRE(topics.size() == 1);
    CHECK(topics[0].kind == question::topics);
    CHECK(topics[0].partitions == std::vector{topic_partition{"gone", 0}});
    CHECK(watch.take(kgroup::detail::client_ends{ends[0].id, {}}));
    CHECK(watch.take(kgroup::detail::client_ends{topics[0].id, {}}));
    CHECK_FALSE(watch.take(kgroup::detail::client_ends{topics[0].id, {}}));
}

TEST_CASE_FIXTURE(watched_membership, "membership_watch: an outage lasts until a broker answers, "
                                      "and brokers are asked meanwhile") {
    CHECK(watch.unreachable(start, 4, 7));
    CHECK_FALSE(watch.unreachable(start + 1s, 5, 8)); // it lasts already
    CHECK_FALSE(watch.commit_shows_broker(4, {}));    // it may be older
    CHECK(watch.commit_shows_broker(5, {}));
    CHECK_FALSE(watch.look_up_shows_broker(7, {}));
    CHECK_FALSE(watch.look_up_shows_broker(8, transport));
    CHECK(watch.look_up_shows_broker(8, loading));
    auto const asked = due(5s);
    REQUIRE(asked.size() == 1);
    CHECK(asked[0].kind == question::coordinator);
    CHECK(quiet_in_outage);
    reporter.forward(
        {event_kind::brokers_unreachable, kgroup::severity::error, std::nullopt, transport, ""});
    watch.answered(start + 6s, false);
    CHECK_FALSE(watch.outage());
    CHECK(kinds() == "brokers_unreachable brokers_reachable");
    // A new outage makes the answers to old questions worthless.
    CHECK(watch.unreachable(start + 7s, 0, 0));
    CHECK_FALSE(watch.take(coordinator(asked[0].id, {})));
}

TEST_CASE_FIXTURE(watched_membership, "membership_watch: a refused member is accepted when brokers "
                                      "answer and it has a token") {
    reporter.forward({event_kind::authentication_failed, kgroup::severity::error, std::nullopt,
                      std::make_error_code(std::errc::permission_denied), ""});
    watch.refused(start);
    watch.answered(start + 1s, false); // another broker may refuse it still
    CHECK(watch.refusal());
    watch.answered(start + 6s, true);
    CHECK(kinds() == "authentication_failed");
    watch.refused(start + 7s);
    watch.answered(start + 13s, false);
    CHECK(kinds() == "authentication_failed authentication_recovered");
}

} // namespace

} // namespace membership_watch_tests
