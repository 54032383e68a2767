// SPDX-License-Identifier: MIT

// Kafka's VerifiableConsumer in kgroup: a member of a group that tells its life on standard output,
// a JSON object a line, for system tests. Flags, names and meaning of the lines are those of
// org.apache.kafka.tools.VerifiableConsumer; see --help for what is more. SIGTERM and SIGINT end it
// in order, with status 0.

#include <kgroup/app.hpp>
#include <kgroup/kgroup.hpp>
#ifdef KGROUP_TESTS_WITH_DIRECT
#include <kgroup/app/direct_consumer_app.hpp>
#include <kgroup/direct.hpp>
#include <kgroup/direct_src.hpp> // what is compiled apart has no direct group
#endif

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/cancellation_state.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/error.hpp>
#include <asio/io_context.hpp>
#include <asio/redirect_error.hpp>
#include <asio/signal_set.hpp>
#include <asio/steady_timer.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <atomic>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>
#include <iostream>
#include <iterator>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace {

using json = nlohmann::ordered_json;
using std::chrono::milliseconds;
using steady = std::chrono::steady_clock;

enum class finishing { in_order, out_of_order };

/// A delay at the records of one offset.
struct incident {
    milliseconds time{0};
    std::int64_t offset = -1;
};

struct options {
    kgroup::config group;
    milliseconds commit_interval{0};
    bool commits_itself = true;
    bool verbose = false;
    bool event_log = false;
    bool app = false;
    bool direct = false;
    std::int64_t max_messages = -1;
    int threads = 1;
    finishing mode = finishing::in_order;
    std::pair<milliseconds, milliseconds> delay{0, 0};
    incident awaits;
    incident blocks;
    incident pauses;
};

/// The lines, from whatever thread, one at a time. Once the end is told nothing is told any more.
class teller {
public:
    void tell(std::string_view name, json const& fields = json::object()) {
        auto const now = std::chrono::system_clock::now().time_since_epoch();
        json line{{"timestamp", std::chrono::duration_cast<milliseconds>(now).count()},
                  {"name", name}};
        line.update(fields);
        auto const text = line.dump(-1, ' ', false, json::error_handler_t::replace) + '\n';
        std::lock_guard const lock{mutex_};
        if (!ended_) {
            ended_ = name == "shutdown_complete";
            std::fwrite(text.data(), 1, text.size(), stdout);
            std::fflush(stdout);
        }
    }

private:
    mutable std::mutex mutex_;
    bool ended_ = false;
};

json as_json(kgroup::topic_partition const& where) {
    return {{"topic", where.topic}, {"partition", where.partition}};
}

template <typename Partitions>
json as_json(Partitions const& partitions) {
    auto list = json::array();
    for (auto const& partition : partitions) {
        list.push_back(as_json(partition));
    }
    return {{"partitions", list}};
}

kgroup::topic_partition place_of(kgroup::claim const& claim) {
    return {claim.topic(), claim.partition()};
}

void tell_consumed(teller& out, kgroup::claim const& claim, std::size_t count, std::int64_t first,
                   std::int64_t last) {
    auto part = as_json(place_of(claim));
    part.update({{"count", count}, {"minOffset", first}, {"maxOffset", last}});
    out.tell("records_consumed", {{"count", count}, {"partitions", json::array({part})}});
}

void tell_record(teller& out, kgroup::message const& record) {
    json line{{"key", nullptr},
              {"value", nullptr},
              {"topic", record.topic()},
              {"partition", record.partition()},
              {"offset", record.offset()}};
    if (record.has_key()) {
        line["key"] = record.key();
    }
    if (record.has_value()) {
        line["value"] = record.value();
    }
    out.tell("record_data", line);
}

/// Records are told as consumed, and marked, some at a time: when there are so many, or the first
/// of them has waited so long.
constexpr std::size_t round_size = 100;
constexpr milliseconds round_time{100};

/// Whether marks still count.
bool ours(kgroup::claim const& claim) {
    return claim.end_reason() != kgroup::end_reason::lost &&
           claim.end_reason() != kgroup::end_reason::group_failed;
}

/// Records of a claim that are finished in order. They are told as consumed before they are marked.
class marked_round {
public:
    marked_round(teller& out, kgroup::claim& claim) : out_(out), claim_(claim) {}
    marked_round(marked_round const&) = delete;
    marked_round& operator=(marked_round const&) = delete;
    ~marked_round() { finish(); }

    void add(kgroup::message record) {
        if (count_++ == 0) {
            first_ = record.offset();
            due_ = steady::now() + round_time;
        }
        last_ = std::move(record);
        if (count_ == round_size) {
            finish();
        }
    }

    void finish() {
        if (count_ != 0) {
            tell_consumed(out_, claim_, std::exchange(count_, 0), first_, last_->offset());
            if (ours(claim_)) {
                claim_.mark(*last_);
            }
            last_.reset();
        }
    }

    /// When it has to be finished.
    std::optional<steady::time_point> due() const {
        return count_ == 0 ? std::nullopt : std::optional{due_};
    }

private:
    teller& out_;
    kgroup::claim& claim_;
    std::size_t count_ = 0;
    std::int64_t first_ = -1;
    steady::time_point due_;
    std::optional<kgroup::message> last_;
};

/// Records of a claim that are finished in any order, and acknowledged as they are: but for the
/// oldest one, which holds up what may be committed until the unbroken run that it begins is told
/// as consumed.
class acknowledged_round {
public:
    struct entry {
        explicit entry(kgroup::message message)
            : record(std::move(message)),
              offset(record->offset()) {}

        std::optional<kgroup::message> record; // until it is acknowledged
        std::int64_t offset;
        bool finished = false;
    };
    using place = std::list<entry>::iterator;

    acknowledged_round(teller& out, kgroup::claim& claim) : out_(out), claim_(claim) {}

    place begin(kgroup::message record) { return open_.emplace(open_.end(), std::move(record)); }

    void finish(place where) {
        where->finished = true;
        if (where == open_.begin()) {
            due_ = steady::now() + round_time;
        } else {
            acknowledge(*where);
        }
        if (run().first >= round_size) {
            tell();
        }
    }

    void tell() {
        auto const [size, end] = run();
        if (size != 0) {
            tell_consumed(out_, claim_, size, open_.front().offset, std::prev(end)->offset);
            acknowledge(open_.front());
            open_.erase(open_.begin(), end);
        }
    }

    /// When to look whether the oldest has to be told: it may be finished while a further record is
    /// waited for, and none may come.
    std::optional<steady::time_point> due() const {
        if (open_.empty()) {
            return std::nullopt;
        }
        return open_.front().finished ? due_ : steady::now() + round_time;
    }

private:
    void acknowledge(entry& taken) {
        if (ours(claim_)) {
            claim_.ack(*taken.record);
        }
        taken.record.reset();
    }

    // How many are finished from the oldest on without a gap, and where that ends.
    std::pair<std::size_t, std::list<entry>::const_iterator> run() const {
        auto end = open_.begin();
        std::size_t size = 0;
        while (end != open_.end() && end->finished) {
            ++end;
            ++size;
        }
        return {size, end};
    }

    teller& out_;
    kgroup::claim& claim_;
    std::list<entry> open_;
    steady::time_point due_;
};

/// Something that coroutines on one strand wait for. `notify` wakes all that wait at that moment.
class condition {
public:
    explicit condition(asio::any_io_executor const& executor)
        : timer_(executor, steady::time_point::max()) {}

    void notify() { timer_.cancel(); }

    template <typename Holds>
    asio::awaitable<void> wait(Holds holds) {
        while (!holds()) { // once cancelled, the next wait throws
            std::error_code ended;
            co_await timer_.async_wait(asio::redirect_error(asio::use_awaitable, ended));
        }
    }

private:
    asio::steady_timer timer_;
};

/// Commits of a session while it lives, one at a time, told as they are confirmed. On the session's
/// strand.
class committer : public std::enable_shared_from_this<committer> {
public:
    /// What is not owned any more when its commit is confirmed is not told.
    committer(asio::any_io_executor strand, kgroup::session& session, teller& out,
              milliseconds interval, std::function<bool(kgroup::topic_partition const&)> owned)
        : strand_(strand),
          session_(session),
          out_(out),
          interval_(interval),
          owned_(std::move(owned)),
          timer_(strand),
          changed_(strand) {}

    void start() { asio::co_spawn(strand_, repeat(shared_from_this()), asio::detached); }

    /// Ends when there will be no commit any more.
    asio::awaitable<void> stop() {
        ending_ = true;
        timer_.cancel();
        co_await changed_.wait([this] { return ended_; });
    }

    /// Ends when none is under way; from any strand.
    asio::awaitable<void> settle() {
        co_await asio::co_spawn(strand_, settled(shared_from_this()), asio::use_awaitable);
    }

private:
    // A coroutine with a parameter and not a lambda with a capture: g++ 12 destroys that of a
    // lambda within co_await twice.
    static asio::awaitable<void> settled(std::shared_ptr<committer> self) {
        co_await self->changed_.wait([&] { return !self->busy_; });
    }

    static asio::awaitable<void> repeat(std::shared_ptr<committer> self) {
        while (!self->ending_) {
            std::error_code ended;
            self->timer_.expires_after(self->interval_);
            co_await self->timer_.async_wait(asio::redirect_error(asio::use_awaitable, ended));
            if (!self->ending_) {
                self->busy_ = true;
                co_await self->commit();
                self->busy_ = false;
                self->changed_.notify();
            }
        }
        self->ended_ = true;
        self->changed_.notify();
    }

    asio::awaitable<void> commit() {
        try {
            tell(co_await session_.async_commit());
        } catch (std::system_error const& error) {
            out_.tell("offsets_committed",
                      {{"success", false}, {"error", error.what()}, {"offsets", json::array()}});
        }
    }

    void tell(std::vector<kgroup::commit_result> const& results) {
        auto done = json::array();
        auto failed = json::array();
        std::string error;
        for (auto const& result : results) {
            if (!owned_(result.where)) {
                continue;
            }
            auto entry = as_json(result.where);
            entry["offset"] = result.offset;
            if (result.status != kgroup::commit_status::committed) {
                failed.push_back(entry);
                error = result.error.message();
            } else if (auto& before = told_[result.where]; before != result.offset) {
                before = result.offset;
                done.push_back(entry);
            }
        }
        if (!done.empty()) {
            out_.tell("offsets_committed",
                      {{"success", true}, {"error", nullptr}, {"offsets", done}});
        }
        if (!failed.empty()) {
            out_.tell("offsets_committed",
                      {{"success", false}, {"error", error}, {"offsets", failed}});
        }
    }

    asio::any_io_executor strand_;
    kgroup::session& session_;
    teller& out_;
    milliseconds interval_;
    std::function<bool(kgroup::topic_partition const&)> owned_;
    asio::steady_timer timer_;
    condition changed_;
    std::map<kgroup::topic_partition, std::int64_t> told_;
    bool busy_ = false;
    bool ending_ = false;
    bool ended_ = false;
};

/// The member's work: it takes its time over a record, tells that it is handled, and marks or
/// acknowledges it.
class worker {
public:
    worker(options const& given, teller& out) : given_(given), out_(out) {}

    /// The group or the application that it works in: it pauses and resumes partitions there, and
    /// stops it when there have been enough messages.
    template <typename Owner>
    void works_in(Owner& owner) {
        pause_ = [&owner](auto const& where) { owner.pause({&where, 1}); };
        resume_ = [&owner](auto const& where) { owner.resume({&where, 1}); };
        stop_ = [&owner] { owner.stop(); };
    }

    asio::awaitable<void> setup(kgroup::session& session) {
        own(session, session.claims());
        if (given_.commits_itself && given_.commit_interval > milliseconds{0}) {
            commits_ = std::make_shared<committer>(
                co_await asio::this_coro::executor, session, out_, given_.commit_interval,
                [this](kgroup::topic_partition const& where) { return owns(where); });
            commits_->start();
        }
    }

    asio::awaitable<void> consume_claim(kgroup::session& session, kgroup::claim& claim) {
        own(session, {place_of(claim)}); // with a cooperative protocol it may be new
        auto const commits = commits_;
        if (given_.mode == finishing::in_order) {
            co_await in_order(session, claim);
        } else {
            co_await out_of_order(session, claim);
        }
        if (!session.stopping()) { // else all that it owns goes at once, see cleanup
            if (commits) {
                co_await commits->settle();
            }
            disown({place_of(claim)});
        }
    }

    asio::awaitable<void> cleanup(kgroup::session&) {
        if (auto const commits = std::exchange(commits_, nullptr)) {
            co_await commits->stop();
        }
        std::vector<kgroup::topic_partition> rest;
        {
            std::lock_guard const lock{mutex_};
            rest.assign(owned_.begin(), owned_.end());
        }
        disown(rest);
    }

private:
    static constexpr std::size_t side_by_side = 8;

    // The next record, when nothing has to be told before.
    template <typename Round>
    asio::awaitable<std::optional<kgroup::message>> next(kgroup::claim& claim, Round const& round) {
        if (auto const due = round.due()) {
            co_return co_await claim.messages().async_receive_for(*due - steady::now());
        }
        co_return co_await claim.messages().async_receive();
    }

    asio::awaitable<void> in_order(kgroup::session& session, kgroup::claim& claim) {
        marked_round round{out_, claim};
        std::minstd_rand random{std::random_device{}()};
        asio::steady_timer timer{co_await asio::this_coro::executor};
        while (!claim.messages().ended()) {
            auto record = co_await next(claim, round);
            if (record && !take_ticket()) {
                round.finish();
                co_await session.async_wait_stopping();
                co_return;
            }
            if (record) {
                if (is_incident(*record)) {
                    round.finish();
                }
                co_await work(*record, timer, random);
                if (given_.verbose) {
                    tell_record(out_, *record);
                }
                if (record->offset() == given_.pauses.offset && !paused_.exchange(true)) {
                    pause(place_of(claim), timer.get_executor());
                }
                round.add(std::move(*record));
                use_ticket();
            }
            if (auto const due = round.due(); due && *due <= steady::now()) {
                round.finish();
            }
        }
    }

    asio::awaitable<void> out_of_order(kgroup::session& session, kgroup::claim& claim) {
        auto const executor = co_await asio::this_coro::executor;
        acknowledged_round round{out_, claim};
        condition changed{executor};
        std::size_t busy = 0;
        std::exception_ptr interrupted;
        try {
            while (!claim.messages().ended()) {
                auto record = co_await next(claim, round);
                if (record && !take_ticket()) {
                    co_await session.async_wait_stopping();
                    break;
                }
                if (record) {
                    ++busy;
                    asio::co_spawn(executor, finish(round, round.begin(std::move(*record))),
                                   [&](std::exception_ptr) {
                                       --busy;
                                       changed.notify();
                                   });
                    co_await changed.wait([&] { return busy < side_by_side; });
                }
                if (auto const due = round.due(); due && *due <= steady::now()) {
                    round.tell();
                }
            }
        } catch (...) {
            interrupted = std::current_exception();
        }
        // They hold on to what is here.
        co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
        co_await changed.wait([&] { return busy == 0; });
        round.tell();
        if (interrupted) {
            std::rethrow_exception(interrupted);
        }
    }

    asio::awaitable<void> finish(acknowledged_round& round, acknowledged_round::place where) {
        thread_local std::minstd_rand random{std::random_device{}()};
        asio::steady_timer timer{co_await asio::this_coro::executor};
        co_await work(*where->record, timer, random);
        if (given_.verbose) {
            tell_record(out_, *where->record);
        }
        round.finish(where);
        use_ticket();
    }

    bool is_incident(kgroup::message const& record) const {
        return (record.offset() == given_.awaits.offset && !awaited_) ||
               (record.offset() == given_.blocks.offset && !blocked_);
    }

    asio::awaitable<void> work(kgroup::message const& record, asio::steady_timer& timer,
                               std::minstd_rand& random) {
        auto delay = std::chrono::microseconds{0};
        if (given_.delay.second > milliseconds{0}) {
            using microseconds = std::chrono::microseconds;
            std::uniform_int_distribution between{microseconds{given_.delay.first}.count(),
                                                  microseconds{given_.delay.second}.count()};
            delay = microseconds{between(random)};
        }
        if (record.offset() == given_.awaits.offset && !awaited_.exchange(true)) {
            delay = given_.awaits.time;
        }
        if (record.offset() == given_.blocks.offset && !blocked_.exchange(true)) {
            std::this_thread::sleep_for(given_.blocks.time);
        }
        if (delay.count() != 0) {
            timer.expires_after(delay);
            co_await timer.async_wait(asio::use_awaitable);
        }
    }

    // From the line on no record of the partition follows, until the one that says that it is
    // resumed.
    void pause(kgroup::topic_partition const& where, asio::any_io_executor const& executor) {
        pause_(where);
        out_.tell("partitions_paused", as_json(std::vector{where}));
        asio::co_spawn(executor, resume_later(where), asio::detached);
    }

    asio::awaitable<void> resume_later(kgroup::topic_partition where) {
        asio::steady_timer timer{co_await asio::this_coro::executor, given_.pauses.time};
        co_await timer.async_wait(asio::use_awaitable);
        out_.tell("partitions_resumed", as_json(std::vector{where}));
        resume_(where);
    }

    // As many are handled as there are tickets.
    bool take_ticket() { return given_.max_messages < 0 || taken_++ < given_.max_messages; }
    void use_ticket() {
        if (++used_ == given_.max_messages) {
            stop_();
        }
    }

    void own(kgroup::session const& session,
             std::vector<kgroup::topic_partition> const& partitions) {
        std::lock_guard const lock{mutex_};
        std::set<kgroup::topic_partition> added;
        for (auto const& partition : partitions) {
            if (owned_.insert(partition).second) {
                added.insert(partition);
            }
        }
        if (!added.empty()) {
            auto line = as_json(added);
            line.update(
                {{"memberId", session.member_id()}, {"generation", session.generation_id()}});
            out_.tell("partitions_assigned", line);
        }
    }

    bool owns(kgroup::topic_partition const& where) const {
        std::lock_guard const lock{mutex_};
        return owned_.contains(where);
    }

    void disown(std::vector<kgroup::topic_partition> const& partitions) {
        std::lock_guard const lock{mutex_};
        std::set<kgroup::topic_partition> removed;
        for (auto const& partition : partitions) {
            if (owned_.erase(partition) != 0) {
                removed.insert(partition);
            }
        }
        if (!removed.empty()) {
            out_.tell("partitions_revoked", as_json(removed));
        }
    }

    options const& given_;
    teller& out_;
    std::function<void(kgroup::topic_partition const&)> pause_;
    std::function<void(kgroup::topic_partition const&)> resume_;
    std::function<void()> stop_;
    std::shared_ptr<committer>
        commits_; // setup writes it before any claim, cleanup after all of them
    mutable std::mutex mutex_;
    std::set<kgroup::topic_partition> owned_; // under the mutex
    std::atomic<std::int64_t> taken_{0};
    std::atomic<std::int64_t> used_{0};
    std::atomic<bool> awaited_{
        false}; // each incident happens once, or the record would never be done
    std::atomic<bool> blocked_{false};
    std::atomic<bool> paused_{false};
};

// The command line.

std::int64_t as_number(std::string_view text, std::string const& subject) {
    std::int64_t number = 0;
    auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || end != text.data() + text.size()) {
        throw CLI::ValidationError{subject, "'" + std::string{text} + "' is not a number"};
    }
    return number;
}

std::pair<std::string, std::string> split(std::string const& text, char at,
                                          std::string const& subject) {
    auto const place = text.find(at);
    if (place == std::string::npos) {
        throw CLI::ValidationError{subject, "'" + text + "' has no '" + at + "'"};
    }
    return {text.substr(0, place), text.substr(place + 1)};
}

std::pair<milliseconds, milliseconds> as_range(std::string const& text,
                                               std::string const& subject) {
    auto const [least, most] = split(text, ':', subject);
    std::pair const range{milliseconds{as_number(least, subject)},
                          milliseconds{as_number(most, subject)}};
    if (range.first < milliseconds{0} || range.first > range.second) {
        throw CLI::ValidationError{subject, "'" + text + "' is not MIN:MAX"};
    }
    return range;
}

incident as_incident(std::string const& text, std::string const& subject) {
    auto const [time, offset] = split(text, '@', subject);
    return {milliseconds{as_number(time, subject)}, as_number(offset, subject)};
}

std::vector<kgroup::assignor> as_assignors(std::string text) {
    static std::map<std::string, kgroup::assignor> const known{
        {"range", kgroup::assignor::range},
        {"org.apache.kafka.clients.consumer.RangeAssignor", kgroup::assignor::range},
        {"roundrobin", kgroup::assignor::roundrobin},
        {"org.apache.kafka.clients.consumer.RoundRobinAssignor", kgroup::assignor::roundrobin},
        {"cooperative-sticky", kgroup::assignor::cooperative_sticky},
        {"cooperative_sticky", kgroup::assignor::cooperative_sticky},
        {"org.apache.kafka.clients.consumer.CooperativeStickyAssignor",
         kgroup::assignor::cooperative_sticky},
    };
    std::vector<kgroup::assignor> chosen;
    for (auto const& name : CLI::detail::split(text, ',')) {
        auto const found = known.find(name);
        if (found == known.end()) {
            throw CLI::ValidationError{"--assignment-strategy",
                                       "'" + name + "' is not known to librdkafka"};
        }
        chosen.push_back(found->second);
    }
    return chosen;
}

/// A field of `kgroup::config`, or else a property of librdkafka.
void set_property(options& to, std::string const& text) {
    std::string const option = "--property";
    auto const [key, value] = split(text, '=', option);
    auto const time = [&, &number = value] { return milliseconds{as_number(number, option)}; };
    auto& group = to.group;
    if (key == "auto_commit_interval") {
        to.commit_interval = time();
    } else if (key == "commit_at_end") {
        group.commit_at_end = value == "true";
    } else if (key == "rebalance_deadline") {
        group.rebalance_deadline = time();
    } else if (key == "commit_timeout") {
        group.commit_timeout = time();
    } else if (key == "close_timeout") {
        group.close_timeout = time();
    } else if (key == "buffer_bytes") {
        group.buffer_bytes = static_cast<std::size_t>(as_number(value, option));
    } else if (key == "expected_partitions") {
        group.expected_partitions = static_cast<std::size_t>(as_number(value, option));
    } else if (key == "on_claim_exit") {
        group.on_claim_exit = value == "keep_others" ? kgroup::claim_exit::keep_others
                                                     : kgroup::claim_exit::end_session;
    } else {
        group.properties[key] = value;
    }
}

char const* name_of(kgroup::severity level) {
    switch (level) {
    case kgroup::severity::debug:
        return "debug";
    case kgroup::severity::info:
        return "info";
    case kgroup::severity::warning:
        return "warning";
    case kgroup::severity::error:
        return "error";
    }
    return "unknown";
}

void tell_event(teller& out, kgroup::event const& event) {
    json line{{"kind", kgroup::to_string(event.kind)},
              {"level", name_of(event.level)},
              {"text", event.text}};
    if (event.where) {
        line.update(as_json(*event.where));
    }
    if (event.error) {
        line["error"] = event.error.message();
    }
    if (event.suppressed != 0) {
        line["suppressed"] = event.suppressed;
    }
    out.tell("event", line);
}

/// Throws `CLI::ParseError` for what the command line has wrong, and for --help.
options parse(CLI::App& app, int argc, char** argv) {
    options given;
    given.commit_interval = given.group.auto_commit_interval;
    std::string topic;
    std::string protocol = "classic";
    std::string reset = "earliest";
    std::string assignors = "range";
    std::string mode = "mark";
    std::string delay = "0:0";
    std::string awaits;
    std::string blocks;
    std::string pauses;
    std::vector<std::string> properties;
    std::int64_t session_timeout = 30000;
    bool autocommit = false;

    app.add_option("--bootstrap-server", given.group.brokers, "HOST:PORT,...")->required();
    app.add_option("--topic", topic, "the topic to consume, or several, comma separated")
        ->required();
    app.add_option("--group-id", given.group.group_id, "the group to join")->required();
    app.add_option("--group-protocol", protocol, "classic or consumer")
        ->check(CLI::IsMember({"classic", "consumer"}, CLI::ignore_case))
        ->capture_default_str();
    app.add_option("--group-instance-id", given.group.group_instance_id, "makes the member static");
    app.add_option("--max-messages", given.max_messages,
                   "how many to consume before it ends; -1: no limit")
        ->capture_default_str();
    app.add_option("--session-timeout", session_timeout,
                   "milliseconds; not with --group-protocol consumer")
        ->capture_default_str();
    app.add_option("--reset-policy", reset, "earliest, latest or none")
        ->check(CLI::IsMember({"earliest", "latest", "none"}))
        ->capture_default_str();
    app.add_option("--assignment-strategy", assignors,
                   "range, roundrobin or cooperative-sticky, or Java's classes; comma separated")
        ->capture_default_str();
    app.add_flag("--enable-autocommit", autocommit,
                 "let the library commit in the background; its commits are not told");
    app.add_flag("--verbose", given.verbose, "tell each record");
    app.add_option("--handler-delay-ms", delay, "MIN:MAX, how long a record takes")
        ->capture_default_str();
    app.add_option("--handler-await-ms", awaits,
                   "MS@OFFSET, the first record of that offset takes so long");
    app.add_option("--handler-block-ms", blocks, "MS@OFFSET, the same, and blocks its thread");
    app.add_option("--handler-pause-ms", pauses,
                   "MS@OFFSET, the first record of that offset pauses its partition so long; "
                   "--mode mark only");
    app.add_option("--mode", mode,
                   "mark: one record at a time; ack: up to eight of a partition side by side")
        ->check(CLI::IsMember({"mark", "ack"}))
        ->capture_default_str();
    auto* const threads = app.add_option("--threads", given.threads, "how many run the handlers")
                              ->check(CLI::Range(1, 1024))
                              ->capture_default_str();
    app.add_flag("--event-log", given.event_log, "tell each event of the group");
    app.add_flag("--app", given.app,
                 "run it in a consumer_app, which begins again after an error that may pass")
        ->excludes(threads);
#ifdef KGROUP_TESTS_WITH_DIRECT
    app.add_flag("--direct", given.direct,
                 "fetch records without librdkafka; it fails if one came by librdkafka");
#endif
    app.add_option(
           "--property", properties,
           "KEY=VALUE, a field of kgroup::config or a property of librdkafka; may be repeated")
        ->expected(1)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    app.parse(argc, argv);

    auto& group = given.group;
    group.topics = CLI::detail::split(topic, ',');
    group.initial_offset = reset == "earliest" ? kgroup::offset_reset::earliest
                           : reset == "latest" ? kgroup::offset_reset::latest
                                               : kgroup::offset_reset::none;
    if (CLI::detail::to_lower(protocol) == "consumer") {
        group.protocol = kgroup::group_protocol::consumer;
    } else {
        group.assignors = as_assignors(assignors);
        group.properties["session.timeout.ms"] = std::to_string(session_timeout);
    }
    given.delay = as_range(delay, "--handler-delay-ms");
    if (!awaits.empty()) {
        given.awaits = as_incident(awaits, "--handler-await-ms");
    }
    if (!blocks.empty()) {
        given.blocks = as_incident(blocks, "--handler-block-ms");
    }
    if (!pauses.empty()) {
        given.pauses = as_incident(pauses, "--handler-pause-ms");
    }
    given.mode = mode == "ack" ? finishing::out_of_order : finishing::in_order;
    if (!pauses.empty() && given.mode == finishing::out_of_order) {
        throw CLI::ValidationError{"--handler-pause-ms", "needs --mode mark"};
    }
    for (auto const& property : properties) {
        set_property(given, property);
    }
    given.commits_itself = !autocommit;
    group.auto_commit_interval = autocommit ? given.commit_interval : milliseconds{0};
    return given;
}

void check_way(options const& given, kgroup::group_stats const& stats) {
    if (given.direct && stats.records_handed_over != 0) {
        throw std::runtime_error{std::to_string(stats.records_handed_over) +
                                 " records came by librdkafka"};
    }
}

template <typename App>
int run_app(options const& given, teller& out) {
    App app{{.group = given.group}, std::in_place, given, out};
    app.handler().works_in(app);
    out.tell("startup_complete");
    auto const status = app.run();
    out.tell("shutdown_complete");
    check_way(given, app.stats());
    return status;
}

template <typename Group>
void run_group(options const& given, teller& out) {
    asio::io_context context{given.threads};
    Group group{context, given.group};
    worker handler{given, out};
    handler.works_in(group);

    asio::signal_set signals{context, SIGTERM, SIGINT};
    signals.async_wait([&](std::error_code, int) { group.stop(); });
    out.tell("startup_complete");

    std::exception_ptr failure;
    group.async_run(handler, [&](std::exception_ptr error) {
        failure = error;
        context.stop(); // a handler that was abandoned may wait for ever
    });
    {
        std::vector<std::jthread> others;
        for (int i = 1; i < given.threads; ++i) {
            others.emplace_back([&] { context.run(); });
        }
        context.run();
    }
    out.tell("shutdown_complete");
    if (failure) {
        std::rethrow_exception(failure);
    }
    check_way(given, group.stats());
}

template <typename Group, typename App>
int run(options const& given, teller& out) {
    if (given.app) {
        return run_app<App>(given, out);
    }
    run_group<Group>(given, out);
    return 0;
}

} // namespace

int main(int argc, char** argv) {
    CLI::App app{"A member of a consumer group that tells its life as JSON lines."};
    options given;
    try {
        given = parse(app, argc, argv);
    } catch (CLI::ParseError const& error) {
        return app.exit(error);
    }
    try {
        teller out;
        if (given.event_log) {
            given.group.on_event = [&out](kgroup::event const& told) { tell_event(out, told); };
        }
#ifdef KGROUP_TESTS_WITH_DIRECT
        if (given.direct) {
            return run<kgroup::direct_consumer_group, kgroup::direct_consumer_app<worker>>(given,
                                                                                           out);
        }
#endif
        return run<kgroup::consumer_group, kgroup::consumer_app<worker>>(given, out);
    } catch (std::exception const& error) {
        std::cerr << error.what() << '\n';
        return 1;
    }
}
