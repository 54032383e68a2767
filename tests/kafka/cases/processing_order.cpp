// SPDX-License-Identifier: MIT

#include <kgroup/dead_letters.hpp>
#include <kgroup/detail/asio/scope_exit.hpp>
#include <kgroup/for_each.hpp>
#include <kgroup/producer.hpp>

#include <asio/awaitable.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/use_awaitable.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "kafka.hpp"
#include "member.hpp"
#include "order_ledger.hpp"
#include "producing.hpp"

// What `for_each` promises, over groups whose members come and go. KGROUP_TEST_RECORDS and
// KGROUP_TEST_CHANGES make the runs longer: 1,000,000 and 200, say, and 50 for dead letters.

namespace processing_order_tests {

namespace {

using namespace kgroup;
using namespace kgroup::tests;

std::size_t number_from(char const* variable, std::size_t otherwise) {
    auto const* const given = std::getenv(variable);
    return given ? std::strtoull(given, nullptr, 10) : otherwise;
}

constexpr std::int32_t partitions = 8;

/// A number that is as good as random, and the same again for the same.
std::uint64_t mix(std::uint64_t value) {
    value += 0x9e3779b97f4a7c15ULL;
    value = (value ^ (value >> 30U)) * 0xbf58476d1ce4e5b9ULL;
    value = (value ^ (value >> 27U)) * 0x94d049bb133111ebULL;
    return value ^ (value >> 31U);
}

/// The keys of each partition's records: of `count` keys the n-th is used 1/n as often as the
/// first.
std::vector<std::vector<order_ledger::key>> zipf(std::size_t records, std::size_t count) {
    std::vector<double> weights(count);
    for (std::size_t i = 0; i != count; ++i) {
        weights[i] = 1.0 / static_cast<double>(i + 1);
    }
    std::discrete_distribution<order_ledger::key> choose(weights.begin(), weights.end());
    std::mt19937 random{1};
    std::vector<std::vector<order_ledger::key>> keys(partitions);
    for (std::size_t i = 0; i != records; ++i) {
        auto const key = choose(random);
        keys[mix(key) % partitions].push_back(key);
    }
    return keys;
}

/// A topic that holds records of these keys.
std::string produce(kafka& brokers, std::vector<std::vector<order_ledger::key>> const& keys) {
    auto const topic = brokers.create_topic(partitions);
    for (std::size_t partition = 0; partition != keys.size(); ++partition) {
        std::vector<kafka_record> records;
        for (auto const key : keys[partition]) {
            records.push_back({.key = std::to_string(key), .value = std::string(50, 'x')});
        }
        brokers.produce(topic, static_cast<std::int32_t>(partition), records);
    }
    return topic;
}

/// How many letters of each record were begun: partition and offset.
class begun_letters {
public:
    using place = std::pair<std::int32_t, std::int64_t>;

    void add(place const& letter) {
        std::lock_guard const lock{mutex_};
        ++counts_[letter];
    }
    std::map<place, std::size_t> counts() const {
        std::lock_guard const lock{mutex_};
        return counts_;
    }

private:
    mutable std::mutex mutex_;
    std::map<place, std::size_t> counts_;
};

/// Notes the letters of a claim's, and tells the ledger when one is sent.
class noted_letters final : public detail::dead_letter_sender {
public:
    noted_letters(detail::dead_letter_sender& through, order_ledger::ownership& notes,
                  begun_letters& begun)
        : through_(through),
          notes_(notes),
          begun_(begun) {}

    asio::awaitable<void> send(message const& record, std::exception_ptr failure,
                               std::uint32_t attempts, std::exception_ptr first_failure) override {
        begun_.add({record.partition(), record.offset()});
        co_await through_.send(record, failure, attempts, first_failure);
        notes_.letter_sent(record.offset());
    }

private:
    detail::dead_letter_sender& through_;
    order_ledger::ownership& notes_;
    begun_letters& begun_;
};

/// A function that fails now and then, and at some records always.
class troubled_function {
public:
    troubled_function(order_ledger& ledger, bool with_poison)
        : ledger_(ledger),
          with_poison_(with_poison) {}

    /// One record in a thousand.
    bool is_poison(std::int32_t partition, std::int64_t offset) const {
        return with_poison_ && hash(partition, offset) % 1000 == 0;
    }

    hooks handler(for_each_options options) {
        return {.consume_claim = [this, options](session&, claim& claim) -> asio::awaitable<void> {
            order_ledger::ownership notes{ledger_, claim.partition(),
                                          (std::max)(claim.initial_offset(), std::int64_t{0})};
            auto given = options;
            std::optional<noted_letters> letters;
            if (options.dead_letters) {
                letters.emplace(*options.dead_letters, notes, begun_);
                given.dead_letters = &*letters;
            }
            auto const function = [&](message const& record) { return work(record, notes); };
            std::exception_ptr failure;
            try {
                co_await for_each(claim, given, function);
            } catch (...) {
                failure = std::current_exception();
            }
            notes.over(claim.end_reason());
            if (failure) {
                std::rethrow_exception(failure);
            }
        }};
    }

    std::size_t attempts() const noexcept { return attempts_; }
    std::map<begun_letters::place, std::size_t> letters_begun() const { return begun_.counts(); }

private:
    static std::uint64_t hash(std::int32_t partition, std::int64_t offset) {
        return mix(static_cast<std::uint64_t>(offset) * partitions +
                   static_cast<std::uint64_t>(partition));
    }

    asio::awaitable<void> work(message const& record, order_ledger::ownership& notes) {
        auto const offset = record.offset();
        auto const chance = mix(hash(record.partition(), offset) + ++attempts_);
        auto done = false;
        notes.begin(offset);
        detail::scope_exit const end{[&] { notes.end(offset, done); }};
        if (chance % 8 == 0) {
            co_await pause_for(std::chrono::milliseconds{1 + chance / 8 % 3});
        } else if (chance % 8 < 4) {
            co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable);
        }
        if (is_poison(record.partition(), offset)) {
            if (offset % 2 == 0) {
                throw permanent_failure{"poison"};
            }
            throw std::runtime_error{"poison"};
        }
        if (mix(chance) % 100 == 0) {
            throw std::runtime_error{"one in a hundred"};
        }
        done = true;
    }

    order_ledger& ledger_;
    bool with_poison_;
    begun_letters begun_;
    std::atomic<std::size_t> attempts_{0};
};

/// Members of one group, of which one comes or goes each time that some more records are done.
class changing_group {
public:
    changing_group(config given, hooks handler)
        : config_(std::move(given)),
          handler_(std::move(handler)) {
        join();
        join();
    }

    /// Until all is done. false: nothing was done for a while.
    bool run(order_ledger const& ledger, std::size_t records, std::size_t changes) {
        std::size_t changed = 0;
        auto progress = ledger.done() + ledger.again();
        auto since = std::chrono::steady_clock::now();
        while (!ledger.over()) {
            auto const now = std::chrono::steady_clock::now();
            if (auto const done = ledger.done() + ledger.again(); done != progress) {
                progress = done;
                since = now;
            } else if (now - since > 60s) {
                return false;
            }
            if (changed != changes && ledger.done() > records * (changed + 1) / (changes + 1)) {
                change(mix(changed++));
            }
            forget_ended();
            std::this_thread::sleep_for(2ms);
        }
        changes_ = changed;
        return true;
    }

    /// Stops all in order. What members said that they should not have.
    std::string end() {
        for (auto& member : members_) {
            member->stop();
        }
        std::string wrong;
        while (!members_.empty()) {
            leaving_.push_back(std::move(members_.back()));
            members_.pop_back();
        }
        for (auto& member : leaving_) {
            if (!member->ends_within(30s)) {
                wrong += "a member does not end\n";
            }
        }
        forget_ended();
        return wrong + wrong_;
    }

    std::size_t changes() const noexcept { return changes_; }
    std::size_t failed_commits() const noexcept { return failed_commits_; }

private:
    void join() { members_.push_back(std::make_unique<member>(config_, handler_)); }
    void leave(std::size_t which) {
        members_[which]->stop();
        leaving_.push_back(std::move(members_[which]));
        members_.erase(members_.begin() + static_cast<std::ptrdiff_t>(which));
    }
    void change(std::uint64_t random) {
        if (members_.size() == 1 || (members_.size() < 5 && random % 2 == 0)) {
            join();
        } else {
            leave(random / 2 % members_.size());
        }
    }
    void forget_ended() {
        std::erase_if(leaving_, [&](auto const& member) {
            if (!member->has_ended()) {
                return false;
            }
            wrong_ += member->what();
            for (auto const& told : member->events()) {
                if (told.kind == event_kind::handler_failed ||
                    told.kind == event_kind::handler_cancelled ||
                    told.kind == event_kind::handler_abandoned ||
                    told.kind == event_kind::mark_refused || told.kind == event_kind::claims_lost ||
                    told.kind == event_kind::wakeup_healed ||
                    told.kind == event_kind::late_message) {
                    wrong_ += std::string{to_string(told.kind)} + ": " + told.text + "\n";
                }
                failed_commits_ += told.kind == event_kind::commit_failed ? 1 : 0;
            }
            return true;
        });
    }

    config config_;
    hooks handler_;
    std::vector<std::unique_ptr<member>> members_;
    std::vector<std::unique_ptr<member>> leaving_;
    std::string wrong_;
    std::size_t changes_ = 0;
    std::size_t failed_commits_ = 0;
};

config member_of_long_sessions(kafka& brokers, std::string const& topic) {
    auto given = brokers.member_of_new_group(topic);
    given.properties["session.timeout.ms"] = "30000"; // a busy machine is no failure of a member
    if (rd_kafka_version() >= 0x020a0000) {
        given.assignors = {assignor::cooperative_sticky};
    }
    return given;
}

void check_all_done(kafka& brokers, config const& given, order_ledger const& ledger,
                    changing_group& group) {
    auto const wrong = group.end();
    CHECK_MESSAGE(wrong.empty(), wrong);
    CHECK_MESSAGE(ledger.over(), ledger.undone());
    CHECK_MESSAGE(ledger.violations().empty(), ledger.violations());
    CHECK(ledger.again() == ledger.above_hole()); // that and no more
    for (std::int32_t partition = 0; partition != partitions; ++partition) {
        auto const end = brokers.log_end(given.topics.front(), partition);
        CHECK(brokers.committed(given.group_id, given.topics.front(), partition) == end);
    }
}

/// Records of 10,000 keys in a topic, as many as the environment says.
struct long_load {
    std::size_t records = number_from("KGROUP_TEST_RECORDS", sanitized ? 10'000 : 50'000);
    std::size_t changes = number_from("KGROUP_TEST_CHANGES", 10);
    kafka brokers{kafka::kind::real};
    std::vector<std::vector<order_ledger::key>> keys = zipf(records, 10'000);
    order_ledger ledger{keys};
    kgroup::config given = member_of_long_sessions(brokers, produce(brokers, keys));
};

TEST_CASE("processing: over joins and leaves, with failures, keys keep their order and nothing is "
          "lost") {
    if (!kafka::is_there()) {
        return;
    }
    long_load load;
    troubled_function function{load.ledger, false};
    changing_group group{
        load.given,
        function.handler({.order = order::by_key,
                          .in_flight = 100,
                          .retry = {.attempts = 100, .backoff = {.initial = 1ms, .max = 50ms}}})};
    CHECK(group.run(load.ledger, load.records, load.changes));
    check_all_done(load.brokers, load.given, load.ledger, group);
    MESSAGE(load.records, " records, ", function.attempts(), " attempts, ", group.changes(),
            " joins and leaves, ", load.ledger.handovers(), " handovers, ", load.ledger.again(),
            " records again of ", load.ledger.above_hole(), " above holes, ",
            group.failed_commits(), " failed commits");
    CHECK(group.changes() == load.changes);
}

/// Dead letters of all members, on a thread of their own.
class letter_office {
public:
    letter_office(kafka& brokers, std::string topic)
        : topic_(std::move(topic)),
          out_(context_, {.connection = {.brokers = brokers.brokers()}}),
          letters_(out_, {.topic = [this](message const&) { return topic_; }}),
          thread_([this] { context_.run(); }) {}
    ~letter_office() {
        guard_.reset();
        context_.stop();
        thread_.join();
    }
    letter_office(letter_office const&) = delete;
    letter_office& operator=(letter_office const&) = delete;

    dead_letters& letters() noexcept { return letters_; }
    std::string const& topic() const noexcept { return topic_; }

private:
    std::string topic_;
    asio::io_context context_;
    asio::executor_work_guard<asio::io_context::executor_type> guard_{context_.get_executor()};
    producer out_;
    dead_letters letters_;
    std::thread thread_;
};

/// How many letters of each record the topic holds.
std::map<begun_letters::place, std::size_t> read_letters(kafka& brokers, std::string const& topic) {
    std::map<begun_letters::place, std::size_t> found;
    for (std::int32_t partition = 0; partition != partitions; ++partition) {
        auto const count = static_cast<std::size_t>(brokers.log_end(topic, partition));
        auto const letters = read_partition(brokers.brokers(), topic, partition, count);
        CHECK(letters.size() == count);
        for (auto const& letter : letters) {
            std::map<std::string, std::string> headers;
            for (auto const& [name, value] : letter.headers) {
                headers[name] = value.value_or("");
            }
            auto const source = std::stoi(headers.at("__dlq.errors.partition"));
            CHECK(source == letter.partition);
            ++found[{source, std::stoll(headers.at("__dlq.errors.offset"))}];
        }
    }
    return found;
}

TEST_CASE("processing: over joins and leaves, with failures, the dead letters are the poison "
          "records, and the others are done in order") {
    if (!kafka::is_there()) {
        return;
    }
    long_load load;
    letter_office office{load.brokers, load.brokers.create_topic(partitions)};
    troubled_function function{load.ledger, true};
    changing_group group{
        load.given,
        function.handler({.order = order::by_key,
                          .in_flight = 100,
                          .retry = {.attempts = 6, .backoff = {.initial = 1ms, .max = 50ms}},
                          .dead_letters = &office.letters()})};
    CHECK(group.run(load.ledger, load.records, load.changes));
    check_all_done(load.brokers, load.given, load.ledger, group);
    auto const letters = read_letters(load.brokers, office.topic());
    auto const begun = function.letters_begun();
    std::size_t poison = 0;
    std::size_t missing = 0;
    for (std::int32_t partition = 0; partition != partitions; ++partition) {
        auto const end = load.brokers.log_end(load.given.topics.front(), partition);
        for (std::int64_t offset = 0; offset != end; ++offset) {
            if (function.is_poison(partition, offset)) {
                ++poison;
                missing += letters.contains({partition, offset}) ? 0U : 1U;
            }
        }
    }
    CHECK(poison > load.records / 2000);
    CHECK(missing == 0);
    CHECK(letters.size() == poison); // and no others
    std::size_t repeated = 0;
    for (auto const& [place, count] : letters) {
        // Once each time that its record was given up: the ledger explains why that was again.
        auto const found = begun.find(place);
        CHECK((found != begun.end() && count <= found->second));
        repeated += count - 1;
    }
    MESSAGE(load.records, " records, ", function.attempts(), " attempts, ", group.changes(),
            " joins and leaves, ", load.ledger.handovers(), " handovers, ", load.ledger.again(),
            " records again, ", poison, " poison, ", repeated, " letters again");
    CHECK(group.changes() == load.changes);
}

/// How a group of one bears a second member, and its leaving.
struct disturbance {
    std::size_t again = 0;
    std::size_t above_hole = 0;
    std::chrono::milliseconds standstill{0}; // the longest time in which nothing was done
    std::chrono::milliseconds ending{0};     // the longest from the end of a session to for_each's
};

disturbance disturb(kafka& brokers, std::string const& topic,
                    std::vector<std::vector<order_ledger::key>> const& keys, bool one_fails) {
    using std::chrono::steady_clock;
    constexpr order_ledger::key failing = 7;
    order_ledger ledger{keys};
    std::atomic<bool> heals{!one_fails};
    std::mutex mutex;
    disturbance found;
    auto last_done = steady_clock::now();
    auto const longest = [](auto& so_far, steady_clock::time_point since) {
        so_far = (std::max)(so_far, std::chrono::duration_cast<std::chrono::milliseconds>(
                                        steady_clock::now() - since));
    };
    for_each_options const options{
        .order = order::by_key,
        .in_flight = 20,
        .retry = {.attempts = 1'000'000,
                  .backoff = {.initial = 1500ms, .max = 1500ms, .jitter = 0}}};
    auto const consume = [&](session& session, claim& claim) -> asio::awaitable<void> {
        order_ledger::ownership notes{ledger, claim.partition(),
                                      (std::max)(claim.initial_offset(), std::int64_t{0})};
        auto const work = [&](message const& record) -> asio::awaitable<void> {
            auto done = false;
            notes.begin(record.offset());
            detail::scope_exit const end{[&] { notes.end(record.offset(), done); }};
            if (record.key() == std::to_string(failing) && !heals) {
                throw std::runtime_error{"this customer's system is down"};
            }
            co_await pause_for(20ms);
            done = true;
            std::lock_guard const lock{mutex};
            longest(found.standstill, std::exchange(last_done, steady_clock::now()));
        };
        auto const ended = std::make_shared<std::optional<steady_clock::time_point>>();
        session.async_wait_stopping([ended](std::error_code) { *ended = steady_clock::now(); });
        co_await for_each(claim, options, work);
        notes.over(claim.end_reason());
        if (*ended) {
            std::lock_guard const lock{mutex};
            longest(found.ending, **ended);
        }
    };
    auto given = brokers.member_of_new_group(topic);
    given.properties["session.timeout.ms"] = "30000";
    auto const reached = [&](std::size_t records) {
        return eventually([&] { return ledger.done() >= records; }, 60s);
    };
    {
        member first{given, {.consume_claim = consume}};
        REQUIRE(reached(4000));
        {
            member second{given, {.consume_claim = consume}};
            REQUIRE(reached(10000));
            second.stop();
            REQUIRE(second.ends_within(20s));
        }
        auto const all = one_fails ? 19'000U : 20'000U;
        REQUIRE(reached(all));
        heals = true;
        REQUIRE(eventually([&] { return ledger.over(); }, 60s));
        first.stop();
        REQUIRE(first.ends_within(20s));
    }
    CHECK_MESSAGE(ledger.violations().empty(), ledger.violations());
    found.again = ledger.again();
    found.above_hole = ledger.above_hole();
    return found;
}

TEST_CASE("processing: a customer that always fails does not hold up a rebalance, and only what "
          "was done above its record is done again") {
    if (sanitized) {
        return skip("compares times");
    }
    if (!kafka::is_there()) {
        return;
    }
    kafka brokers{kafka::kind::real};
    std::vector<std::vector<order_ledger::key>> keys(partitions);
    for (std::size_t i = 0; i != 20'000; ++i) {
        auto const customer = static_cast<order_ledger::key>(mix(i) % 200);
        keys[customer % partitions].push_back(customer);
    }
    auto const topic = produce(brokers, keys);
    auto const healthy = disturb(brokers, topic, keys, false);
    auto const ill = disturb(brokers, topic, keys, true);
    MESSAGE("ending ", ill.ending.count(), " ms, standstill ", ill.standstill.count(),
            " ms, without failures ", healthy.standstill.count(), " ms, again ", ill.again);
    CHECK(ill.ending < 1s); // the backoff of 1.5 s is not waited for
    CHECK(ill.standstill < healthy.standstill + 1s);
    CHECK(ill.again == ill.above_hole);
    CHECK(ill.again > 0);
    CHECK(healthy.again == healthy.above_hole);
}

} // namespace

} // namespace processing_order_tests
