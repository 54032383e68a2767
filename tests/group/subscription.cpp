// SPDX-License-Identifier: MIT

#include <system_error>
#include <thread>

#include "support/scripted_group.hpp"

// consumer_group::subscribe: what reaches the cluster, and what is refused before.

namespace {

using namespace kgroup::tests;
using kgroup::errc;

std::string refusal(fake_group& group, std::vector<std::string> topics) {
    try {
        group.subscribe(std::move(topics));
    } catch (std::system_error const& e) {
        CHECK(e.code() == errc::invalid_config);
        return e.what();
    }
    return {};
}

TEST_CASE_FIXTURE(scripted_group, "subscribe: the group is told, and rebalances: a claim that is "
                                  "gone ends, one that stays has a new session") {
    kgroup::topic_partition const u0{"u", 0};
    cluster.add_records(t0, "one");
    run_over({t0});
    CHECK(cluster.topics() == lines{"t"});
    said();
    std::thread{[this] { group->subscribe({"t", "u"}); }}.join();
    settle();
    CHECK(said() == lines{"subscribe t u"});
    CHECK(cluster.topics() == lines{"t", "u"});
    cluster.revoke();
    cluster.add_records(u0, "two");
    cluster.assign({t0, u0});
    settle();
    CHECK(handler.received == lines{"t[0]@0 one", "u[0]@0 two"});
    CHECK(handler.setups == 2);
    stop();
    CHECK(cluster.committed(u0) == 1);
}

TEST_CASE_FIXTURE(scripted_group, "subscribe before the run replaces the configuration's topics, "
                                  "and while it is being stopped it has no effect") {
    group.emplace(context, settings);
    group->subscribe({"^u"});
    settle();
    group->async_run(handler, [this](std::exception_ptr e) { outcome = {true, e}; });
    cluster.assign({t0});
    settle();
    CHECK(cluster.topics() == lines{"^u"});
    cluster.hold(fake_cluster::request::close);
    group->stop();
    settle();
    group->subscribe({"v"});
    settle();
    CHECK(cluster.topics() == lines{"^u"});
    cluster.release(fake_cluster::request::close);
    settle();
    CHECK(outcome.completed);
    group->subscribe({"v"});
    settle();
}

TEST_CASE_FIXTURE(scripted_group, "subscribe: what cannot be subscribed to is refused at once, by "
                                  "the field, and changes nothing") {
    run_over({t0});
    said();
    auto const says = [](std::string const& text, std::string_view sentence) {
        return text.find(sentence) != std::string::npos;
    };
    CHECK(says(refusal(*group, {}), "topics: at least one is needed"));
    CHECK(says(refusal(*group, {"t", ""}), "topics: a name must not be empty"));
    CHECK(says(refusal(*group, {"t", "t"}), "topics: 't' is named twice"));
    CHECK(says(refusal(*group, {"or ders"}), "topics: 'or ders' is not a topic's name"));
    CHECK(says(refusal(*group, {"t", "^orders-[0-9"}),
               "topics: '^orders-[0-9' is not a regular expression (POSIX extended): "));
    settle();
    CHECK(said().empty());
    CHECK(refusal(*group, {"^orders-[0-9]{2,3}$"}) == "");
    settle();
    CHECK(said() == lines{"subscribe ^orders-[0-9]{2,3}$"});
    stop();
}

TEST_CASE_FIXTURE(scripted_group, "subscribe: internal topics are seen by a group that names one "
                                  "in its configuration, and by no other") {
    run_over({t0});
    said();
    CHECK(refusal(*group, {"t", "__consumer_offsets"})
              .find("'__consumer_offsets' is internal to Kafka") != std::string::npos);
    CHECK(refusal(*group, {"^__.*"}).find("'^__.*' is internal to Kafka") != std::string::npos);
    CHECK(refusal(*group, {"^.*", "_schemas"}) == "");
    settle();
    CHECK(said() == lines{"subscribe ^.* _schemas"});
    stop();
    settings.topics = {"t", "__consumer_offsets"};
    outcome = {};
    group.reset();
    run_over({t0});
    said();
    CHECK(refusal(*group, {"^__.*", "__transaction_state", "^t"}) == "");
    CHECK(refusal(*group, {"^.*"}).find("'^.*' might match internal topics") != std::string::npos);
    settle();
    CHECK(said() == lines{"subscribe ^__.* __transaction_state ^t"});
    stop();
}

TEST_CASE_FIXTURE(scripted_group, "a configuration that names an internal topic beside an "
                                  "expression that might match others is refused") {
    settings.topics = {"^.*", "__consumer_offsets"};
    CHECK_THROWS_WITH_AS(group.emplace(context, settings),
                         doctest::Contains("'^.*' might match internal topics"), std::system_error);
}

} // namespace
