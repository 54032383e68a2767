// SPDX-License-Identifier: MIT

#include <kgroup/detail/group/group_parts.hpp>

#include <asio/io_context.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

using namespace std::chrono_literals;

namespace group_parts_tests {

namespace {

using kgroup::event_kind;
using kgroup::kafka_errc;
using kgroup::topic_partition;
using kgroup::detail::clock;
using kgroup::detail::group_parts;
using kgroup::detail::session_machine;

topic_partition const t0{"t", 0};

class parts_of_group {
public:
    asio::io_context context;
    std::vector<kgroup::event> told;
    bool receiver_fails = false;
    group_parts group{context.get_executor(), given(),
                      [](std::optional<topic_partition> const&) { return std::string{"heard"}; }};

    void begin_session() {
        group.session.use(nullptr, {}, {});
        group.session.begin({t0}, clock::now());
    }
    std::string told_last() const { return told.empty() ? "" : told.back().text; }

private:
    kgroup::config given() {
        kgroup::config config;
        config.group_id = "g";
        config.topics = {"^orders-(.*", "t", "^audit"};
        config.close_timeout = 40s;
        config.on_event = [this](kgroup::event const& event) {
            told.push_back(event);
            if (receiver_fails) {
                throw std::runtime_error{"the log is full"};
            }
        };
        return config;
    }
};

} // namespace

TEST_CASE_FIXTURE(parts_of_group, "group_parts: a run that closes has the time to close, from the "
                                  "first call on") {
    using deadline = kgroup::detail::deadline_table::deadline;
    auto const now = clock::now();
    group.times = kgroup::detail::ending_times{{60s, 1s, 40s}};
    group.deadlines.set(deadline::step, now + 50s);
    group.begin_closing();
    CHECK(group.times.closing());
    auto const until = group.times.close_by();
    CHECK(group.deadlines.nearest({}) == group.times.handlers_until()); // the step's
    group.deadlines.clear(deadline::step);
    CHECK(group.deadlines.nearest({}) == until);
    group.begin_closing();
    CHECK(group.times.close_by() == until);
}

TEST_CASE_FIXTURE(parts_of_group, "group_parts: a failure of the run closes it in order") {
    group.fail(kafka_errc::topic_authorization_failed, "t[0]: no", session_machine::failed{});
    CHECK(group.outcome.failed());
    CHECK(group.outcome.words(false).find("t[0]: no") != std::string::npos);
    CHECK(group.times.closing());
    REQUIRE(group.inbox.size() == 1);
    CHECK(std::holds_alternative<session_machine::failed>(group.inbox.front()));
}

TEST_CASE_FIXTURE(parts_of_group,
                  "group_parts: a fatal error is told with what helps, and names the patterns that "
                  "it may be about") {
    group.fail_fatally(kafka_errc::invalid_regular_expression, "refused");
    REQUIRE(group.inbox.size() == 1);
    CHECK(std::holds_alternative<session_machine::fatal>(group.inbox.front()));
    REQUIRE(told.size() == 1);
    CHECK(told.back().kind == event_kind::client_error);
    CHECK(told_last().find("'^orders-(.*' '^audit'") != std::string::npos);
    CHECK(told_last().find("'t'") == std::string::npos);
}

TEST_CASE_FIXTURE(parts_of_group,
                  "group_parts: what is said of a partition concerns nobody without its claim") {
    group.partition_failed(t0, kafka_errc::fenced_instance_id, "fenced");
    CHECK(told.empty());
    CHECK_FALSE(group.outcome.failed());
}

TEST_CASE_FIXTURE(parts_of_group, "group_parts: a partition's error is told, and ends the run only "
                                  "where every member would meet it") {
    begin_session();
    group.partition_failed(t0, kafka_errc::leader_not_available, "away");
    REQUIRE(told.size() == 1);
    CHECK(told.back().kind == event_kind::partition_error);
    CHECK_FALSE(group.outcome.failed());
    group.partition_failed(t0, kafka_errc::fenced_instance_id, "fenced");
    CHECK(group.outcome.failed());
    CHECK(std::holds_alternative<session_machine::failed>(group.inbox.back()));
}

TEST_CASE_FIXTURE(parts_of_group, "group_parts: a topic that is found is not missing any more, for "
                                  "its claims and for whoever was told") {
    begin_session();
    auto const claim = group.session.find(t0);
    group.topics_missing.miss("t", {}, group.session.state().get());
    group.reporter.forward({event_kind::topic_missing, kgroup::severity::warning,
                            topic_partition{"t", -1},
                            make_error_code(kafka_errc::unknown_topic_or_partition), "missing"});
    CHECK(claim->topic_missing());
    group.topic_found("t");
    CHECK_FALSE(claim->topic_missing());
    CHECK(told.back().kind == event_kind::topic_found);
}

TEST_CASE_FIXTURE(parts_of_group,
                  "group_parts: a receiver of events that fails ends the run once") {
    receiver_fails = true;
    begin_session();
    group.partition_failed(t0, kafka_errc::leader_not_available, "away");
    CHECK(group.outcome.words(false) == "the log is full");
    CHECK(group.times.closing());
    REQUIRE(group.inbox.size() == 1);
    CHECK(std::holds_alternative<session_machine::failed>(group.inbox.front()));
}

} // namespace group_parts_tests
