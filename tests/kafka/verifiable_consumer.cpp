// Kafka's VerifiableConsumer, in kgroup: a member of a group that reports its life as JSON lines on standard output, so that a
// test can see whether what it says can be true. Flags, event names and fields are those of Kafka's own tool; `--help` lists them
// and what is added.

#include <kgroup/app_config.hpp>
#include <kgroup/kgroup.hpp>

#include <CLI/CLI.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/signal_set.hpp>
#include <asio/steady_timer.hpp>
#include <asio/thread_pool.hpp>
#include <nlohmann/json.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <iostream>
#include <map>
#include <mutex>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace {

using nlohmann::json;
using namespace std::chrono_literals;

// ---- what it is asked for

struct pause_at {
    std::chrono::milliseconds how_long{};
    std::int64_t offset = -1;
    std::atomic<bool> done{false};
};

struct options {
    std::string brokers;
    std::string topic;
    std::string group_id;
    std::string protocol = "classic";
    std::string instance_id;
    std::string reset_policy = "earliest";
    std::string strategies = "range";
    std::string mode = "mark";
    std::string delay = "0:0";
    std::string await_at;
    std::string block_at;
    std::int64_t max_messages = -1;
    std::int64_t session_timeout = 30000;
    unsigned threads = 1;
    bool auto_commit = false;
    bool verbose = false;
    bool event_log = false;
    std::vector<std::string> properties;
};

void parse(std::string const& text, pause_at& pause) {
    if (text.empty()) {
        return;
    }
    auto const at = text.find('@');
    if (at == std::string::npos) {
        throw std::invalid_argument{"MILLISECONDS@OFFSET was expected instead of '" + text + "'"};
    }
    pause.how_long = std::chrono::milliseconds{std::stol(text.substr(0, at))};
    pause.offset = std::stol(text.substr(at + 1));
}

// Java's class names, and ours.
std::string assignor_named(std::string const& name) {
    static std::map<std::string, std::string> const known{
        {"RangeAssignor", "range"},           {"range", "range"},
        {"RoundRobinAssignor", "roundrobin"}, {"roundrobin", "roundrobin"},
        {"CooperativeStickyAssignor", "cooperative_sticky"}, {"cooperative-sticky", "cooperative_sticky"},
        {"cooperative_sticky", "cooperative_sticky"}};
    auto const found = known.find(name.substr(name.rfind('.') + 1));
    if (found == known.end()) {
        throw std::invalid_argument{"--assignment-strategy: '" + name + "' is not known"};
    }
    return found->second;
}

kgroup::config make_config(options const& given) {
    json document{{"brokers", given.brokers},
                  {"group_id", given.group_id},
                  {"topics", {given.topic}},
                  {"initial_offset", given.reset_policy},
                  {"protocol", given.protocol},
                  {"properties", json::object()}};
    if (!given.auto_commit) {
        document["auto_commit_interval"] = 0; // it commits by itself, to report each commit
    }
    if (!given.instance_id.empty()) {
        document["group_instance_id"] = given.instance_id;
    }
    if (given.protocol == "classic") {
        document["properties"]["session.timeout.ms"] = given.session_timeout;
        std::istringstream names{given.strategies};
        for (std::string name; std::getline(names, name, ',');) {
            document["assignors"].push_back(assignor_named(name));
        }
    }
    for (auto const& each : given.properties) {
        auto const equals = each.find('=');
        if (equals == std::string::npos) {
            throw std::invalid_argument{"--property: NAME=VALUE was expected instead of '" + each + "'"};
        }
        auto const name = each.substr(0, equals);
        auto const value = each.substr(equals + 1);
        if (name.find('.') != std::string::npos) {
            document["properties"][name] = value;
        } else {
            auto const parsed = json::parse(value, nullptr, false);
            document[name] = parsed.is_discarded() ? json(value) : parsed;
        }
    }
    return kgroup::parse_app_config(document.dump(), "options").group;
}

// ---- what it says

class journal {
public:
    explicit journal(bool verbose) : verbose_(verbose) {}

    void say(std::string_view name, json fields = json::object()) {
        std::lock_guard const lock{mutex_};
        write(name, std::move(fields));
    }

    // Delivered, and about to be handled.
    void consume(kgroup::message const& message) {
        std::lock_guard const lock{mutex_};
        auto const [found, added] = consumed_.try_emplace({message.topic(), message.partition()}, range{0, message.offset(), 0});
        ++found->second.count;
        found->second.last = message.offset();
    }

    void handled(kgroup::message const& message) {
        if (!verbose_) {
            return;
        }
        auto const text = [](bool there, std::string_view bytes) { return there ? json(std::string{bytes}) : json(nullptr); };
        say("record_data", {{"topic", message.topic()},
                            {"partition", message.partition()},
                            {"offset", message.offset()},
                            {"key", text(message.has_key(), message.key())},
                            {"value", text(message.has_value(), message.value())}});
    }

    // What was committed was consumed before: that is said first.
    void committed(std::vector<kgroup::commit_result> const& results) {
        if (results.empty()) {
            return;
        }
        std::lock_guard const lock{mutex_};
        write_consumed();
        json done = json::array();
        std::error_code error;
        for (auto const& each : results) {
            auto const owned = committed_.find(each.where);
            if (owned == committed_.end()) {
                continue; // its handler has ended meanwhile, and has said so
            }
            if (each.error) {
                error = each.error;
            } else if (std::exchange(owned->second, each.offset) != each.offset) {
                done.push_back({{"topic", each.where.topic}, {"partition", each.where.partition}, {"offset", each.offset}});
            }
        }
        if (!done.empty()) {
            write("offsets_committed", {{"success", true}, {"error", nullptr}, {"offsets", done}});
        }
        if (error) {
            write("offsets_committed", {{"success", false}, {"error", error.message()}, {"offsets", json::array()}});
        }
    }

    // Of these, those that were not told yet.
    void assigned(std::vector<kgroup::topic_partition> const& claims) {
        std::lock_guard const lock{mutex_};
        json partitions = json::array();
        for (auto const& each : claims) {
            if (committed_.try_emplace(each, -1).second) {
                partitions.push_back({{"topic", each.topic}, {"partition", each.partition}});
            }
        }
        if (!partitions.empty() || claims.empty()) {
            write("partitions_assigned", {{"partitions", partitions}});
        }
    }

    void revoked(std::vector<kgroup::topic_partition> const& claims) {
        std::lock_guard const lock{mutex_};
        write_consumed();
        json partitions = json::array();
        for (auto const& each : claims) {
            if (committed_.erase(each) != 0) {
                partitions.push_back({{"topic", each.topic}, {"partition", each.partition}});
            }
        }
        write("partitions_revoked", {{"partitions", partitions}});
    }

private:
    struct range {
        std::int64_t count;
        std::int64_t first;
        std::int64_t last;
    };

    void write_consumed() {
        if (consumed_.empty()) {
            return;
        }
        json parts = json::array();
        std::int64_t count = 0;
        for (auto const& [where, what] : std::exchange(consumed_, {})) {
            count += what.count;
            parts.push_back({{"topic", where.topic},
                             {"partition", where.partition},
                             {"count", what.count},
                             {"minOffset", what.first},
                             {"maxOffset", what.last}});
        }
        write("records_consumed", {{"count", count}, {"partitions", parts}});
    }

    void write(std::string_view name, json fields) {
        auto const now = std::chrono::system_clock::now().time_since_epoch();
        fields["timestamp"] = std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
        fields["name"] = name;
        std::cout << fields.dump(-1, ' ', false, json::error_handler_t::replace) << '\n' << std::flush;
    }

    bool verbose_;
    std::mutex mutex_;
    std::map<kgroup::topic_partition, range> consumed_;         // and not told yet
    std::map<kgroup::topic_partition, std::int64_t> committed_; // of what is owned, as told
};

// ---- what it does

class member {
public:
    member(options const& given, journal& to)
        : acks_(given.mode == "ack"), commits_(!given.auto_commit), max_messages_(given.max_messages), journal_(to) {
        parse(given.await_at, await_);
        parse(given.block_at, block_);
        if (given.mode != "mark" && given.mode != "ack") {
            throw std::invalid_argument{"--mode: mark or ack was expected"};
        }
        auto const colon = given.delay.find(':');
        if (colon == std::string::npos) {
            throw std::invalid_argument{"--handler-delay-ms: MIN:MAX was expected"};
        }
        delay_ = {std::stod(given.delay.substr(0, colon)), std::stod(given.delay.substr(colon + 1))};
    }

    void stops(std::function<void()> stop) { stop_ = std::move(stop); }

    asio::awaitable<void> setup(kgroup::session& session) {
        journal_.assigned(session.claims());
        co_return;
    }

    // What ends with the session is told at once, as what began with it was.
    asio::awaitable<void> cleanup(kgroup::session& session) {
        co_await commit(session);
        journal_.revoked(session.claims());
    }

    asio::awaitable<void> consume_claim(kgroup::session& session, kgroup::claim& claim) {
        std::vector<kgroup::topic_partition> const place{{claim.topic(), claim.partition()}};
        journal_.assigned(place);
        in_flight work{co_await asio::this_coro::executor};
        std::exception_ptr failure;
        try {
            while (!claim.messages().ended()) {
                if (auto message = co_await claim.messages().async_receive_for(commit_interval)) {
                    auto const number = ++messages_;
                    if (max_messages_ >= 0 && number > max_messages_) {
                        co_await session.async_wait_stopping(); // one too many: neither handled nor marked
                        break;
                    }
                    journal_.consume(*message);
                    if (acks_) {
                        co_await work.room();
                        ++work.count;
                        asio::co_spawn(work.changed.get_executor(), acknowledge(claim, std::move(*message), work), asio::detached);
                    } else {
                        co_await handle(*message);
                        claim.mark(*message);
                    }
                    if (number == max_messages_) {
                        stop_();
                    }
                }
                if (commit_is_due()) {
                    co_await commit(session);
                }
            }
        } catch (...) {
            failure = std::current_exception();
        }
        // Whatever ended it, what is in flight refers to the claim.
        co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
        co_await asio::this_coro::throw_if_cancelled(false);
        co_await work.none();
        if (!session.stopping()) {
            co_await commit(session);
            journal_.revoked(place);
        }
        if (failure) {
            std::rethrow_exception(failure);
        }
    }

private:
    static constexpr auto commit_interval = 250ms;
    static constexpr int most_in_flight = 8;

    // Of one claim, on its strand.
    struct in_flight {
        explicit in_flight(asio::any_io_executor on) : changed(std::move(on), asio::steady_timer::time_point::max()) {}

        asio::awaitable<void> until(int most) {
            while (count > most) {
                std::error_code ec;
                co_await changed.async_wait(asio::redirect_error(asio::use_awaitable, ec));
            }
        }
        asio::awaitable<void> room() { return until(most_in_flight - 1); }
        asio::awaitable<void> none() { return until(0); }

        int count = 0;
        asio::steady_timer changed;
    };

    asio::awaitable<void> acknowledge(kgroup::claim& claim, kgroup::message message, in_flight& work) {
        {
            auto const held = std::move(message);
            co_await handle(held);
            claim.ack(held);
        }
        --work.count;
        work.changed.cancel();
    }

    asio::awaitable<void> handle(kgroup::message const& message) {
        asio::steady_timer timer{co_await asio::this_coro::executor};
        if (delay_.second > 0) {
            thread_local std::mt19937_64 random{std::random_device{}()};
            std::uniform_real_distribution<> how_long{delay_.first, delay_.second};
            timer.expires_after(std::chrono::microseconds{static_cast<std::int64_t>(how_long(random) * 1000)});
            co_await timer.async_wait(asio::use_awaitable);
        }
        if (is_first(await_, message)) {
            timer.expires_after(await_.how_long);
            co_await timer.async_wait(asio::use_awaitable);
        }
        if (is_first(block_, message)) {
            std::this_thread::sleep_for(block_.how_long); // what a handler should not do, on purpose
        }
        journal_.handled(message);
    }

    // Once: after a loss the record comes again.
    static bool is_first(pause_at& pause, kgroup::message const& message) {
        return message.offset() == pause.offset && !pause.done.exchange(true);
    }

    // One claim commits for all.
    bool commit_is_due() {
        auto const now = std::chrono::steady_clock::now().time_since_epoch().count();
        auto next = next_commit_.load();
        return commits_ && now >= next &&
               next_commit_.compare_exchange_strong(next, now + std::chrono::steady_clock::duration{commit_interval}.count());
    }

    asio::awaitable<void> commit(kgroup::session& session) {
        if (!commits_) {
            co_return;
        }
        try {
            journal_.committed(co_await session.async_commit());
        } catch (std::system_error const& e) {
            journal_.say("offsets_committed", {{"success", false}, {"error", e.what()}, {"offsets", json::array()}});
        }
    }

    bool acks_;
    bool commits_;
    std::int64_t max_messages_;
    pause_at await_;
    pause_at block_;
    std::pair<double, double> delay_;
    journal& journal_;
    std::function<void()> stop_;
    std::atomic<std::int64_t> messages_{0};
    std::atomic<std::chrono::steady_clock::rep> next_commit_{0};
};

constexpr std::array level_names{"debug", "info", "warning", "error"};

int run(options const& given) {
    journal says{given.verbose};
    auto config = make_config(given);
    if (given.event_log) {
        config.on_event = [&says](kgroup::event const& what) {
            says.say("event", {{"kind", to_string(what.kind)},
                               {"level", level_names[static_cast<std::size_t>(what.level)]},
                               {"topic", what.where ? json(what.where->topic) : json(nullptr)},
                               {"partition", what.where ? json(what.where->partition) : json(nullptr)},
                               {"error", what.error ? json(what.error.message()) : json(nullptr)},
                               {"text", what.text}});
        };
    }
    member handler{given, says};
    asio::thread_pool pool{given.threads};
    kgroup::consumer_group group{pool, std::move(config)};
    handler.stops([&group] { group.stop(); });
    asio::signal_set signals{asio::make_strand(pool), SIGINT, SIGTERM};
    signals.async_wait([&](std::error_code, int) { group.stop(); });
    says.say("startup_complete");
    std::exception_ptr failure;
    group.async_run(handler, asio::bind_executor(signals.get_executor(), [&](std::exception_ptr e) {
        failure = std::move(e);
        signals.cancel();
    }));
    pool.join();
    if (failure) {
        std::rethrow_exception(failure);
    }
    says.say("shutdown_complete");
    return 0;
}

} // namespace

int main(int argc, char** argv) {
    options given;
    CLI::App app{"A member of a Kafka consumer group that reports its life as JSON lines."};
    app.add_option("--bootstrap-server", given.brokers, "HOST:PORT[,HOST:PORT…]")->required();
    app.add_option("--topic", given.topic)->required();
    app.add_option("--group-id", given.group_id)->required();
    app.add_option("--group-protocol", given.protocol, "classic or consumer")->transform(CLI::IsMember({"classic", "consumer"}, CLI::ignore_case));
    app.add_option("--group-instance-id", given.instance_id, "makes the member static");
    app.add_option("--max-messages", given.max_messages, "stop after so many; -1: never");
    app.add_option("--session-timeout", given.session_timeout, "milliseconds; classic only");
    app.add_option("--reset-policy", given.reset_policy, "earliest, latest or none");
    app.add_option("--assignment-strategy", given.strategies, "range, roundrobin or cooperative-sticky, or Java's class names, comma separated");
    app.add_flag("--enable-autocommit", given.auto_commit, "commit in the background instead of reporting each commit");
    app.add_flag("--verbose", given.verbose, "a record_data line for each record");
    app.add_option("--handler-delay-ms", given.delay, "MIN:MAX: what handling a record takes");
    app.add_option("--handler-await-ms", given.await_at, "N@OFFSET: the handler awaits so long at that offset");
    app.add_option("--handler-block-ms", given.block_at, "N@OFFSET: the handler blocks its thread so long at that offset");
    app.add_option("--mode", given.mode, "mark, or ack: several at once, finished out of order");
    app.add_option("--threads", given.threads, "of the pool")->check(CLI::PositiveNumber);
    app.add_flag("--event-log", given.event_log, "an event line for each of kgroup's events");
    app.add_option("--property", given.properties, "NAME=VALUE: a property of librdkafka's, or a field of kgroup::config; repeatable");
    CLI11_PARSE(app, argc, argv);
    try {
        return run(given);
    } catch (std::exception const& e) {
        std::cerr << e.what() << '\n';
        return 1;
    }
}
