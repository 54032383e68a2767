#include "support/scripted_group.hpp"

#include <kgroup/app.hpp>

#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/co_spawn.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <stdexcept>

// consumer_app: what it is told and how it complains, restarts, signals.

namespace {

using namespace kgroup::tests;
using kgroup::app_config;
using kgroup::claim;
using kgroup::consumer_app;
using kgroup::errc;
using kgroup::event;
using kgroup::event_kind;
using kgroup::offset_reset;
using kgroup::session;
using kgroup::testing::fake_client;
using request = fake_cluster::request;

/// Forwards to a handler that the test keeps.
struct forwarding_handler {
    scripted_handler* to;
    asio::awaitable<void> setup(session& in) { return to->setup(in); }
    asio::awaitable<void> consume_claim(session& in, claim& of) { return to->consume_claim(in, of); }
    asio::awaitable<void> cleanup(session& in) { return to->cleanup(in); }
};

/// An application over a scripted cluster, on one thread.
class scripted_app {
public:
    using app_type = consumer_app<forwarding_handler, fake_client>;

    scripted_handler handler;
    std::vector<event> events;
    run_outcome outcome;
    fake_cluster cluster;
    app_config settings;
    asio::io_context context;
    std::optional<app_type> app;

    scripted_app() {
        settings.group.brokers = cluster.brokers();
        settings.group.group_id = "group";
        settings.group.topics = {"t"};
        settings.group.initial_offset = offset_reset::earliest;
        settings.group.auto_commit_interval = 1min;
        settings.group.on_event = [this](event const& what) { events.push_back(what); };
    }
    ~scripted_app() {
        for (auto const& each : cluster.complaints()) {
            FAIL_CHECK(each);
        }
    }

    void run() {
        app.emplace(settings, forwarding_handler{&handler});
        asio::co_spawn(context, app->async_run(), asio::bind_cancellation_slot(cancel.slot(), [this](std::exception_ptr e) { outcome = {true, e}; }));
        settle();
    }
    void settle() { kgroup::testing::run_ready(context); }
    void advance(std::chrono::nanoseconds how_far) { kgroup::testing::advance(context, how_far); }

    /// How long the application says that it will wait, in ms.
    std::vector<long> pauses() const {
        std::vector<long> all;
        for (auto const& each : events) {
            if (each.kind == event_kind::run_restarted) {
                auto const at = each.text.find("; the next run begins in ");
                REQUIRE(at != std::string::npos);
                all.push_back(std::stol(each.text.substr(at + 25)));
            }
        }
        return all;
    }

    bool leaves() const {
        auto const trace = cluster.trace();
        return std::ranges::find(trace, "close") != trace.end();
    }

    asio::cancellation_signal cancel;
};

TEST_CASE_FIXTURE(scripted_app, "an error begins the run again after a backoff that grows, with jitter, to a minute, and a long run resets") {
    handler.on_claim = [](auto&, auto&) -> asio::awaitable<void> {
        throw std::runtime_error{"the database\nis away"}; // in one line, when it is told
        co_return;
    };
    run();
    long around = 3000;
    for (std::size_t i = 0; i != 7; ++i) {
        CAPTURE(i);
        cluster.assign({t0});
        settle();
        REQUIRE(pauses().size() == i + 1);
        CHECK(pauses().back() >= around * 4 / 5);
        CHECK(pauses().back() <= around * 6 / 5);
        CHECK_FALSE(cluster.has_member());
        advance(std::chrono::milliseconds{pauses().back() - 1500});
        CHECK_FALSE(cluster.has_member());
        advance(1600ms);
        CHECK(cluster.has_member());
        around = std::min(around * 2, 60000l);
    }
    CHECK(events.back().kind != event_kind::client_error);
    advance(61s); // a run of more than a minute
    cluster.assign({t0});
    settle();
    CHECK(pauses().back() <= 3600);
    CHECK_FALSE(outcome.completed);
    app->stop();
    settle();
    CHECK(outcome.completed);
    CHECK_FALSE(outcome.failure);
    CHECK(events.back().text.find("the database is away; the next run begins in ") == 0);
}

TEST_CASE_FIXTURE(scripted_app, "a fatal error ends it with the reason") {
    run();
    cluster.assign({t0});
    settle();
    cluster.expel(kgroup::make_error_code(RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID), "somebody else is host-1");
    settle();
    REQUIRE(outcome.completed);
    CHECK(outcome.error() == kgroup::make_error_code(RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID));
    CHECK(outcome.what().find("somebody else is host-1") != std::string::npos);
    CHECK(pauses().empty());
}

TEST_CASE_FIXTURE(scripted_app, "so does an error of our own that another run cannot mend") {
    settings.group.initial_offset = offset_reset::none;
    run();
    cluster.assign({t0});
    settle();
    REQUIRE(outcome.completed);
    CHECK(outcome.error() == errc::no_committed_offset);
    CHECK(pauses().empty());
}

TEST_CASE_FIXTURE(scripted_app, "stop and cancellation, before, in, and between the runs") {
    bool cancelled = false;
    SUBCASE("stopped before it ran") {
        app.emplace(settings, forwarding_handler{&handler});
        app->stop();
        asio::co_spawn(context, app->async_run(), [this](std::exception_ptr e) { outcome = {true, e}; });
    }
    SUBCASE("stopped in a run: what is marked is committed") {
        cluster.add_records(t0, "one");
        run();
        cluster.assign({t0});
        settle();
        app->stop();
        settle();
        CHECK(cluster.committed(t0) == 1);
    }
    SUBCASE("between two") {
        handler.on_setup = [](auto&) -> asio::awaitable<void> {
            throw std::runtime_error{"away"};
            co_return;
        };
        run();
        cluster.assign({t0});
        settle();
        REQUIRE(pauses().size() == 1);
        SUBCASE("stopped") { app->stop(); }
        SUBCASE("cancelled") {
            cancel.emit(asio::cancellation_type::terminal);
            cancelled = true;
        }
    }
    SUBCASE("cancelled in a run") {
        run();
        cluster.assign({t0});
        settle();
        cancel.emit(asio::cancellation_type::terminal);
        cancelled = true;
    }
    settle();
    REQUIRE(outcome.completed);
    CHECK(outcome.error() == (cancelled ? std::error_code{asio::error::operation_aborted} : std::error_code{}));
    CHECK_FALSE(cluster.has_member());
}

TEST_CASE_FIXTURE(scripted_app, "a signal stops it in order: the handler finishes, what is marked is committed, the group is left") {
    cluster.add_records(t0, "one");
    run();
    cluster.assign({t0});
    settle();
    ::raise(SIGTERM);
    context.restart();
    context.run(); // until it has ended
    CHECK(outcome.completed);
    CHECK_FALSE(outcome.failure);
    CHECK(cluster.committed(t0) == 1);
    CHECK(handler.cleanups == 1);
    CHECK(leaves());
}

TEST_CASE("a second signal ends the process at once") {
    for (auto const number : {SIGTERM, SIGINT}) {
        auto const child = ::fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            std::signal(number, SIG_DFL);
            scripted_app one;
            one.cluster.hold(request::close); // it does not come to its end
            one.run();
            one.cluster.assign({t0});
            one.settle();
            ::raise(number);
            one.context.restart();
            while (!one.leaves() && one.context.run_one() != 0) {
            }
            ::raise(number);
            std::_Exit(0); // still here
        }
        int status = 0;
        REQUIRE(::waitpid(child, &status, 0) == child);
        REQUIRE(WIFSIGNALED(status));
        CHECK(WTERMSIG(status) == number);
    }
}

TEST_CASE_FIXTURE(scripted_app, "a group of its own: a suffix of eight characters, the same for all runs, another for each instance") {
    settings.group_id_consistent = false;
    app_type const one{settings, forwarding_handler{&handler}};
    app_type const other{settings, forwarding_handler{&handler}};
    CHECK(one.group_id().starts_with("group-"));
    CHECK(one.group_id().size() == 14);
    CHECK(one.group_id() != other.group_id());
    settings.group_id_consistent = true;
    CHECK(app_type{settings, forwarding_handler{&handler}}.group_id() == "group");
}

TEST_CASE_FIXTURE(scripted_app, "a configuration that cannot work is refused when the application is made") {
    settings.group.group_id.clear();
    CHECK_THROWS_WITH(app_type(settings, forwarding_handler{&handler}), doctest::Contains("group_id: must not be empty"));
}

/// The words with which a text is refused; empty: it is not.
std::string refusal(std::string const& json) {
    try {
        kgroup::parse_app_config(json, "push.json");
    } catch (std::system_error const& e) {
        CHECK(e.code() == errc::invalid_config);
        return e.what();
    }
    return {};
}

TEST_CASE("app_config: what the four keys say") {
    auto const read = kgroup::parse_app_config(R"({"brokers_address": ["127.0.0.1:9092", "127.0.0.1:9093"], "consumer_group_id": "billing",
        "group_id_consistent": false, "topics": ["invoices", "^orders-.*"], "consumer": {"offset_initial": -2}})");
    CHECK(read.group.brokers == "127.0.0.1:9092,127.0.0.1:9093");
    CHECK(read.group.group_id == "billing");
    CHECK(read.group.topics == lines{"invoices", "^orders-.*"});
    CHECK(read.group.initial_offset == offset_reset::earliest);
    CHECK_FALSE(read.group_id_consistent);
    auto const newest = kgroup::parse_app_config(
        R"({"brokers_address": ["b"], "consumer_group_id": "g", "topics": ["t"], "consumer": {"offset_initial": -1}})");
    CHECK(newest.group.initial_offset == offset_reset::latest);
    CHECK(newest.group_id_consistent);
}

TEST_CASE("app_config: every field of config, under its own name") {
    auto const read = kgroup::parse_app_config(R"({"brokers": "b:1", "group_id": "g", "topics": ["t"], "initial_offset": "none",
        "initial_time": 1700000000123, "infer_new_partitions": false, "group_instance_id": "host-1", "protocol": "classic", "assignors": ["roundrobin", "range"],
        "auto_commit_interval": 0, "commit_at_end": false, "rebalance_deadline": 2000, "commit_timeout": 3000, "close_timeout": 4000,
        "buffer_bytes": 1048576, "expected_partitions": 8, "on_claim_exit": "keep_others",
        "properties": {"session.timeout.ms": 6000, "client.id": "me", "check.crcs": true}})").group;
    CHECK(read.brokers == "b:1");
    CHECK(read.group_id == "g");
    CHECK(read.initial_offset == offset_reset::none);
    CHECK(read.initial_time == std::chrono::system_clock::time_point{} + 1700000000123ms);
    CHECK_FALSE(read.infer_new_partitions);
    CHECK(read.group_instance_id == "host-1");
    CHECK(read.protocol == kgroup::group_protocol::classic);
    CHECK(read.assignors == std::vector{kgroup::assignor::roundrobin, kgroup::assignor::range});
    CHECK(read.auto_commit_interval == 0ms);
    CHECK_FALSE(read.commit_at_end);
    CHECK(read.rebalance_deadline == 2s);
    CHECK(read.commit_timeout == 3s);
    CHECK(read.close_timeout == 4s);
    CHECK(read.buffer_bytes == 1048576);
    CHECK(read.expected_partitions == 8);
    CHECK(read.on_claim_exit == kgroup::claim_exit::keep_others);
    CHECK(read.properties == std::map<std::string, std::string>{{"session.timeout.ms", "6000"}, {"client.id", "me"}, {"check.crcs", "true"}});
}

TEST_CASE("app_config: one error names line, key and what was expected, and shows no value") {
    struct bad {
        char const* line; // the third
        char const* sentence;
    };
    for (auto const& [line, sentence] : {
             bad{R"("topic": ["t"])", "push.json: line 3: 'topic' is not known"},
             bad{R"("topics": [])", "push.json: line 3: 'topics' a list of strings that is not empty was expected"},
             bad{R"("topics": "t")", "push.json: line 3: 'topics' a list of strings that is not empty was expected"},
             bad{R"("topics": ["t", 7])", "push.json: line 3: 'topics[1]' a string that is not empty was expected"},
             bad{R"("brokers_address": "b")", "push.json: line 3: 'brokers_address' a list of strings"},
             bad{R"("brokers_address": [""])", "push.json: line 3: 'brokers_address[0]' a string that is not empty was expected"},
             bad{R"("consumer_group_id": 7)", "push.json: line 3: 'consumer_group_id' a string that is not empty was expected"},
             bad{R"("group_id_consistent": "yes")", "push.json: line 3: 'group_id_consistent' true or false was expected"},
             bad{R"("consumer": -2)", "push.json: line 3: 'consumer' an object was expected"},
             bad{R"("consumer": {"offset_initial": 0})", "push.json: line 3: 'consumer.offset_initial' -1 (newest) or -2 (oldest) was expected"},
             bad{R"("consumer": {"offset_initial": "-1"})", "push.json: line 3: 'consumer.offset_initial' -1 (newest) or -2 (oldest) was expected"},
             bad{R"("consumer": {"offset": -1})", "push.json: line 3: 'consumer.offset' is not known"},
             bad{R"("consumer": {})", "'consumer.offset_initial' is missing: -1 (newest) or -2 (oldest) was expected"},
             bad{R"("commit_timeout": -1)", "push.json: line 3: 'commit_timeout' a number of milliseconds was expected"},
             bad{R"("initial_time": "yesterday")", "push.json: line 3: 'initial_time' a number of milliseconds was expected"},
             bad{R"("buffer_bytes": 1.5)", "push.json: line 3: 'buffer_bytes' a whole number from 0 on was expected"},
             bad{R"("protocol": "share")", R"(push.json: line 3: 'protocol' one of "classic", "consumer" was expected)"},
             bad{R"("assignors": ["range", "sticky"])", "push.json: line 3: 'assignors[1]' one of"},
             bad{R"("properties": {"sasl.password": ["hunter2"]})", "push.json: line 3: 'properties.sasl.password' a string"},
             bad{R"("on_event": 1)", "push.json: line 3: 'on_event' is not known"},
         }) {
        auto const key = std::string{line}.substr(0, std::string_view{line}.find(':'));
        std::string text = "{\n";
        for (auto const* const each : {R"("brokers_address": ["b"])", R"("consumer_group_id": "g")", R"("topics": ["t"])",
                                       R"("consumer": {"offset_initial": -2})"}) {
            if (!std::string_view{each}.starts_with(key)) {
                text += text.size() == 2 ? each : std::string{", "} + each;
            }
        }
        text += ",\n" + std::string{line} + "\n}\n";
        auto const said = refusal(text);
        CHECK_MESSAGE(said.find(sentence) != std::string::npos, "expected: ", sentence, "\nsaid: ", said);
        CHECK(said.find("hunter2") == std::string::npos);
    }
}

TEST_CASE("app_config: what is missing, and what is no JSON, is said, too") {
    CHECK(refusal("{}").find("'brokers_address' is missing") != std::string::npos);
    CHECK(refusal(R"({"brokers_address": ["b"]})").find("'consumer_group_id' is missing") != std::string::npos);
    CHECK(refusal(R"({"brokers_address": ["b"], "consumer_group_id": "g"})").find("'topics' is missing") != std::string::npos);
    CHECK(refusal(R"({"brokers_address": ["b"], "consumer_group_id": "g", "topics": ["t"]})").find("'consumer' is missing") != std::string::npos);
    CHECK(refusal("[]").find("push.json: line 1: an object was expected") != std::string::npos);
    CHECK(refusal("").find("not JSON") != std::string::npos);
    CHECK(refusal("{\n\"topics\": [\n\"t\",,\n]}").find("push.json: line 3: not JSON") != std::string::npos);
    CHECK(refusal("{\"brokers_address\": [\"b\"]").find("not JSON") != std::string::npos);
}

TEST_CASE("app_config: from a file, or what keeps it from being read") {
    CHECK_THROWS_WITH_AS(kgroup::load_app_config("no/such/file.json"), doctest::Contains("no/such/file.json"), std::system_error);
    auto const path = (std::filesystem::temp_directory_path() / ("kgroup-" + std::to_string(::getpid()) + ".json")).string();
    std::ofstream{path} << R"({"brokers_address": ["b"], "consumer_group_id": "g", "topics": ["t"], "consumer": {"offset_initial": 3}})";
    CHECK_THROWS_WITH_AS(kgroup::load_app_config(path), doctest::Contains((path + ": line 1: 'consumer.offset_initial'").c_str()), std::system_error);
    std::filesystem::remove(path);
}

} // namespace
