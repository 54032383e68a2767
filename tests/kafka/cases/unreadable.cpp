// SPDX-License-Identifier: MIT

#include <kgroup/error.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "kafka.hpp"
#include "member.hpp"
#include "raw_producer.hpp"

// Batches that librdkafka cannot read, in a log of the embedded cluster, which keeps them as they
// come.

using namespace kgroup::tests;
using kgroup::errc;
using kgroup::event_kind;

namespace {

std::vector<std::string> ten() { return std::vector<std::string>(10, "value"); }

struct damage {
    std::string name;
    raw_batch batch;
    std::map<std::string, std::string> properties{};
};

std::vector<damage> damages() {
    return {{"lz4", {.values = ten(), .codec = 3}},
            {"gzip", {.values = ten(), .codec = 1}},
            {"snappy", {.values = ten(), .codec = 2}},
            {"a codec that is none", {.values = ten(), .codec = 7}},
            {"a checksum", {.values = ten(), .crc_error = 0xffff}, {{"check.crcs", "true"}}}};
}

/// At one librdkafka stays, inside of the other it reads on (until 2.13.1).
std::vector<damage> two_damages() { return {damages().front(), damages().back()}; }

/// What is received is marked; the end of the claim is what it returns at.
hooks mark_into(received& records) { return receive_into(records); }

} // namespace

TEST_CASE("unreadable: the run ends with the place, and neither delivers nor commits what lies "
          "behind it") {
    for (auto const& damage : damages()) {
        CAPTURE(damage.name);
        kafka brokers{kafka::kind::embedded};
        auto const topic = brokers.create_topic();
        brokers.produce_values(topic, 0, ten());
        raw_producer{brokers.brokers()}.produce(topic, 0, {damage.batch});
        brokers.produce_values(topic, 0, ten());
        auto given = brokers.member_of_new_group(topic);
        given.properties.insert(damage.properties.begin(), damage.properties.end());
        received records;
        member one{given, mark_into(records)};
        REQUIRE(one.ends_within(30s));
        CHECK(one.error() == errc::record_unreadable);
        CHECK_MESSAGE(one.what().find(topic + "[0]: offset 10 cannot be read") != std::string::npos,
                      one.what());
        CHECK(records.count() == 10);
        CHECK(brokers.committed(given.group_id, topic, 0) == 10);
        CHECK(one.count(event_kind::partition_error) == 1);
        CHECK(one.last(event_kind::partition_error)->error == errc::record_unreadable);
        CHECK(one.count(event_kind::unsafe_setting) == damage.properties.size());
    }
}

TEST_CASE("unreadable: a format that is not known, in one answer with good batches before and "
          "behind it") {
    if (direct) {
        return skip("the end of the mock's log is behind the first batch");
    }
    kafka brokers{kafka::kind::embedded};
    auto const topic = brokers.create_topic();
    raw_producer{brokers.brokers()}.produce(topic, 0,
                                            {{.values = ten()},
                                             {.values = ten(), .base_offset = 10, .magic = 9},
                                             {.values = ten(), .base_offset = 20}});
    auto const given = brokers.member_of_new_group(topic);
    received records;
    member one{given, mark_into(records)};
    REQUIRE(one.ends_within(30s));
    CHECK(one.error() == errc::record_unreadable);
    CHECK_MESSAGE(one.what().find(topic + "[0]: offset 10 cannot be read") != std::string::npos,
                  one.what());
    CHECK(records.count() == 10);
    CHECK(brokers.committed(given.group_id, topic, 0) == 10);
}

TEST_CASE(
    "unreadable: reading begins in the middle of the batch, and the place is where it begins") {
    kafka brokers{kafka::kind::embedded};
    auto const topic = brokers.create_topic();
    brokers.produce_values(topic, 0, ten());
    raw_producer{brokers.brokers()}.produce(topic, 0, {{.values = ten(), .codec = 3}});
    auto const given = brokers.member_of_new_group(topic);
    received records;
    auto handler = mark_into(records);
    handler.setup = [&](kgroup::session& session) -> asio::awaitable<void> {
        session.mark_offset({topic, 0}, 15);
        co_return;
    };
    member one{given, handler};
    REQUIRE(one.ends_within(30s));
    CHECK(one.error() == errc::record_unreadable);
    CHECK_MESSAGE(one.what().find(topic + "[0]: offset 15 cannot be read") != std::string::npos,
                  one.what());
    CHECK(records.count() == 0);
    CHECK(brokers.committed(given.group_id, topic, 0) == 15);
}

TEST_CASE("unreadable: a handler that is slow to end is given nothing that librdkafka finds behind "
          "the damage") {
    kafka brokers{kafka::kind::embedded};
    auto const topic = brokers.create_topic();
    brokers.produce_values(topic, 0, ten());
    raw_producer{brokers.brokers()}.produce(topic, 0, {{.values = ten(), .crc_error = 1}});
    brokers.produce_values(topic, 0, ten());
    auto given = brokers.member_of_new_group(topic);
    given.initial_offset =
        kgroup::offset_reset::latest; // where librdkafka goes when it has read nonsense
    given.properties["check.crcs"] = "true";
    std::atomic<int> turns{0};
    std::atomic<std::int64_t> highest{-1};
    member one{given,
               {.consume_claim = [&](kgroup::session& session,
                                     kgroup::claim& claim) -> asio::awaitable<void> {
                    while (!session.stopping()) { // it is: the error comes with one of these
                        while (auto const next = claim.messages().try_receive()) {
                            highest = next->offset();
                            claim.mark(*next);
                        }
                        co_await pause_for(10ms);
                    }
                    brokers.produce_values(topic, 0, ten());
                    for (; turns != 100; ++turns) {
                        while (auto const next = claim.messages().try_receive()) {
                            highest = next->offset();
                            claim.mark(*next);
                        }
                        co_await pause_for(10ms);
                    }
                },
                .setup = [&](kgroup::session& session) -> asio::awaitable<void> {
                    session.mark_offset({topic, 0}, 0);
                    co_return;
                }}};
    REQUIRE(one.ends_within(30s));
    CHECK(turns == 100);
    CHECK(one.error() == errc::record_unreadable);
    CHECK(highest == 9);
    CHECK(brokers.committed(given.group_id, topic, 0) == 10);
}

namespace {

/// A group of its own over a log of ten records, ten that cannot be read and ten behind them.
struct damaged_log {
    damaged_log(kafka& cluster, damage const& with)
        : brokers(cluster),
          topic(cluster.create_topic()),
          given(cluster.member_of_new_group(topic)),
          batch(with.batch) {
        given.properties.insert(with.properties.begin(), with.properties.end());
    }

    void write() {
        brokers.produce_values(topic, 0, ten());
        raw_producer{brokers.brokers()}.produce(topic, 0, {batch});
        brokers.produce_values(topic, 0, ten());
    }
    /// Whether more than the ten records wait for the only claim.
    bool is_fetched_by(member& one, std::size_t beside = 0) const {
        auto const claims = one.group().state().claims;
        return claims.size() == 1 && claims.front().records_waiting > 10 + beside;
    }
    std::optional<std::int64_t> committed() { return brokers.committed(given.group_id, topic, 0); }

    kafka& brokers;
    std::string topic;
    kgroup::config given;
    raw_batch batch;
};

std::vector<std::int64_t> offsets_between(std::int64_t first, std::int64_t end) {
    std::vector<std::int64_t> offsets;
    for (; first < end; ++first) {
        offsets.push_back(first);
    }
    return offsets;
}

struct pause_form {
    std::string name;
    std::function<void(tested_group&, kgroup::topic_partition const&)> pause;
    std::function<void(tested_group&, kgroup::topic_partition const&)> resume;
};

std::vector<pause_form> pause_forms() {
    return {{"by partition", [](auto& group, auto const& where) { group.pause({where}); },
             [](auto& group, auto const& where) { group.resume({where}); }},
            {"by topic", [](auto& group, auto const& where) { group.pause(where.topic); },
             [](auto& group, auto const& where) { group.resume(where.topic); }},
            {"all", [](auto& group, auto const&) { group.pause_all(); },
             [](auto& group, auto const&) { group.resume_all(); }}};
}

} // namespace

TEST_CASE("unreadable: a claim that is paused while the damage comes ends there when resumed") {
    struct paused_reader {
        paused_reader(kafka& brokers, damage const& damaged_by, pause_form with)
            : name(damaged_by.name + ", " + with.name),
              form(std::move(with)),
              log(brokers, damaged_by) {
            // Where librdkafka goes when it has read nonsense.
            log.given.initial_offset = kgroup::offset_reset::latest;
            one.emplace(log.given, mark_into(records));
        }

        std::string name;
        pause_form form;
        damaged_log log;
        received records{};
        std::optional<member> one{};
    };
    kafka brokers{kafka::kind::embedded};
    std::deque<paused_reader> readers; // side by side: joining is what takes long
    for (auto const& kind : two_damages()) {
        for (auto const& form : pause_forms()) {
            readers.emplace_back(brokers, kind, form);
        }
    }
    for (auto& reader : readers) {
        CAPTURE(reader.name);
        REQUIRE(eventually([&] { return reader.one->claims() == 1; }));
        reader.form.pause(reader.one->group(), {reader.log.topic, 0});
        reader.log.write();
    }
    for (auto& reader : readers) {
        CAPTURE(reader.name);
        REQUIRE(eventually([&] { return reader.log.is_fetched_by(*reader.one); }));
        brokers.produce_values(reader.log.topic, 0, ten());
    }
    for (auto& reader : readers) {
        CAPTURE(reader.name);
        if (reader.log.batch.crc_error != 0) { // more comes, or the damage again and again
            REQUIRE(eventually([&] {
                // librdkafka goes to the end of the log, which may be behind those before.
                brokers.produce_values(reader.log.topic, 0, {"later"});
                return reader.log.is_fetched_by(*reader.one, 10);
            }));
        }
        CHECK(reader.records.count() == 0);
        reader.form.resume(reader.one->group(), {reader.log.topic, 0});
        REQUIRE(reader.one->ends_within(30s));
        CHECK(reader.one->error() == errc::record_unreadable);
        CHECK(reader.records.offsets(0) == offsets_between(0, 10));
        CHECK(reader.log.committed() == 10);
    }
}

TEST_CASE("unreadable: pausing and resuming behind the damage lets nothing through") {
    kafka brokers{kafka::kind::embedded};
    for (auto const& kind : two_damages()) {
        CAPTURE(kind.name);
        damaged_log log{brokers, kind};
        log.write();
        received records;
        tested_group* group = nullptr;
        std::atomic<bool> group_is_known{false};
        std::atomic<int> turns{0};
        auto const take = [&](kgroup::claim& claim) {
            while (auto const next = claim.messages().try_receive()) {
                records.add(*next);
                claim.mark(*next);
            }
        };
        member one{log.given,
                   {.consume_claim = [&](kgroup::session& session,
                                         kgroup::claim& claim) -> asio::awaitable<void> {
                       while (!session.stopping() || !group_is_known) {
                           take(claim);
                           co_await pause_for(10ms);
                       }
                       for (auto const& form : pause_forms()) {
                           form.pause(*group, {log.topic, 0});
                           brokers.produce_values(log.topic, 0, ten());
                           take(claim);
                           form.resume(*group, {log.topic, 0});
                           for (int i = 0; i != 30; ++i, ++turns) {
                               take(claim);
                               co_await pause_for(10ms);
                           }
                       }
                   }}};
        group = &one.group();
        group_is_known = true;
        REQUIRE(one.ends_within(30s));
        CHECK(turns == 90);
        CHECK(one.error() == errc::record_unreadable);
        CHECK(records.offsets(0) == offsets_between(0, 10));
        CHECK(log.committed() == 10);
    }
}

namespace {

/// Where a session that begins anew starts in a damaged log, and what comes of it.
struct new_start {
    std::string name;
    std::optional<std::int64_t> offset; // as setup has it; unset: where the marks are, at 5
    std::vector<std::int64_t> received;
    std::int64_t committed;
    bool fails = true;
};

std::vector<new_start> new_starts() {
    return {{"where the marks are", std::nullopt, offsets_between(5, 10), 10},
            {"before them", 2, offsets_between(2, 10), 10},
            {"at the damage", 10, {}, 10},
            {"inside it", 15, {}, 15},
            {"behind it, as the user's who knows of it", 20, offsets_between(20, 30), 30, false}};
}

/// Its first session ends when it may, and has received nothing; the second reads.
class restarted_reader {
public:
    restarted_reader(kafka& brokers, damage const& kind, std::optional<std::int64_t> start)
        : log(brokers, kind),
          start_(start) {
        log.write();
        one.emplace(
            log.given,
            hooks{.consume_claim = [this](kgroup::session& session,
                                          kgroup::claim& claim) { return consume(session, claim); },
                  .setup = [this](kgroup::session& session) { return set_up(session); }});
    }

    damaged_log log;
    received records;
    std::atomic<int> sessions{0};
    std::atomic<bool> go_on{false};
    std::optional<member> one;

private:
    asio::awaitable<void> set_up(kgroup::session& session) {
        if (++sessions == 1) {
            session.start_at({log.topic, 0}, 0);
        } else if (start_) {
            session.start_at({log.topic, 0}, *start_);
        }
        co_return;
    }
    asio::awaitable<void> consume(kgroup::session& session, kgroup::claim& claim) {
        if (sessions == 1) {
            while (!go_on) {
                co_await pause_for(10ms);
            }
            session.mark_offset({log.topic, 0}, 5);
            co_return;
        }
        while (auto const next = co_await claim.messages().async_receive()) {
            records.add(*next);
            claim.mark(*next);
        }
    }

    std::optional<std::int64_t> start_;
};

} // namespace

TEST_CASE("unreadable: a session that begins anew while the damage is in the queue reads from its "
          "start up to the damage") {
    kafka brokers{kafka::kind::embedded};
    auto const kinds = two_damages();
    struct tried {
        damage const& kind;
        new_start expected;
        std::unique_ptr<restarted_reader> reader;
    };
    std::vector<tried> all;
    for (auto const& kind : kinds) {
        for (auto const& start : new_starts()) {
            auto reader = std::make_unique<restarted_reader>(brokers, kind, start.offset);
            all.push_back({kind, start, std::move(reader)});
        }
    }
    for (auto const& [kind, expected, reader] : all) {
        CAPTURE(kind.name);
        REQUIRE(eventually([&] { return reader->log.is_fetched_by(*reader->one); }));
        reader->go_on = true;
    }
    for (auto const& [kind, expected, reader] : all) {
        CAPTURE(kind.name);
        CAPTURE(expected.name);
        if (!expected.fails) {
            REQUIRE(
                eventually([&] { return reader->records.count() == expected.received.size(); }));
            reader->one->stop();
        }
        REQUIRE(reader->one->ends_within(30s));
        CHECK(reader->one->error() ==
              (expected.fails ? make_error_code(errc::record_unreadable) : std::error_code{}));
        CHECK(reader->sessions == 2);
        CHECK(reader->records.offsets(0) == expected.received);
        CHECK(reader->log.committed() == expected.committed);
    }
}
