// SPDX-License-Identifier: MIT

#include <kgroup/detail/fetch/partition_fetch.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "made_batch.hpp"

namespace fetch_partition_fetch_tests {
namespace {

using namespace kgroup::detail::fetch;
using namespace kgroup::tests;
using namespace std::chrono_literals;
using kind = fetch_event::kind;

constexpr topic_uuid first_topic{1};
constexpr topic_uuid second_topic{2};

/// One partition, led by broker 1 in epoch 5, and a clock that the test moves.
struct scene {
    partition_fetch partition;
    time_point now{1h};
    broker_abilities abilities;

    explicit scene(reset_policy reset = reset_policy::earliest)
        : partition([reset] {
              fetch_settings settings;
              settings.reset = reset;
              return settings;
          }()) {
        partition.on_metadata(1, 5, first_topic);
    }

    partition_question asks() {
        auto const question = partition.ask(now, abilities);
        REQUIRE(question);
        CHECK_FALSE(partition.next(now, abilities)); // one at a time
        CHECK_FALSE(partition.ask(now, abilities));
        CHECK(partition.outstanding());
        return *question;
    }
    partition_question asks(api request) {
        auto const question = asks();
        REQUIRE(question.request == request);
        return question;
    }
    /// After whatever backoff.
    partition_question asks_later(api request) {
        if (auto const until = partition.held_back_until(now)) {
            now = *until;
        }
        return asks(request);
    }
    void asks_nothing() {
        CHECK_FALSE(partition.next(now, abilities));
        CHECK_FALSE(partition.ask(now, abilities));
    }

    fetch_reaction fetched(partition_question const& question, std::string const& records,
                           fetch_answer::partition answer = {}) {
        answer.records = records;
        if (answer.high_watermark < 0) {
            answer.high_watermark = 1000;
        }
        return partition.on_fetched(question.generation, answer,
                                    scan_batches(records, question.offset, answer.high_watermark),
                                    now);
    }
    fetch_reaction failed(partition_question const& question, std::int16_t code) {
        switch (question.request) {
        case api::list_offsets:
            return partition.on_listed(question.generation, code, -1, -1, now);
        case api::leader_epoch:
            return partition.on_epoch_end(question.generation, code, -1, -1, now);
        default: {
            fetch_answer::partition answer;
            answer.error = code;
            return partition.on_fetched(question.generation, answer, batch_scan{}, now);
        }
        }
    }
    fetch_reaction listed(partition_question const& question, std::int64_t offset,
                          std::int32_t epoch = 5) {
        return partition.on_listed(question.generation, 0, offset, epoch, now);
    }
    fetch_reaction epoch_ends(partition_question const& question, std::int32_t epoch,
                              std::int64_t offset) {
        return partition.on_epoch_end(question.generation, 0, epoch, offset, now);
    }
};

std::string records(std::int64_t base, std::size_t count, std::int32_t epoch = 5) {
    auto batch = plain_batch(base, count);
    batch.leader_epoch = epoch;
    return batch.bytes();
}

bool tells(fetch_reaction const& reaction, kind what) {
    return reaction.event && reaction.event->type == what;
}

TEST_CASE("fetching goes on behind what was fetched, one question at a time") {
    scene on;
    on.asks_nothing(); // it has not begun
    on.partition.start(10);
    auto question = on.asks(api::fetch);
    CHECK(question.broker == 1);
    CHECK(question.offset == 10);
    CHECK(question.current_leader_epoch == 5);
    CHECK(question.last_fetched_epoch == -1);
    auto const reaction = on.fetched(question, records(10, 3, 4) + records(13, 2, 5));
    CHECK(reaction.take);
    CHECK_FALSE(reaction.event);
    CHECK(on.partition.position() == 15);
    CHECK(on.partition.high_watermark() == 1000);
    question = on.asks(api::fetch);
    CHECK(question.offset == 15);
    CHECK(question.last_fetched_epoch == 5);
    CHECK_FALSE(on.fetched(question, "").take); // nothing new
    CHECK(on.asks(api::fetch).offset == 15);    // at once: the broker has waited
}

TEST_CASE("without room nothing is fetched, other questions do not wait for it") {
    scene on;
    on.partition.want(false);
    on.partition.start(10);
    on.asks_nothing();
    on.partition.want(true);
    CHECK(on.asks(api::fetch).offset == 10);
    on.partition.want(false);
    on.partition.start(partition_fetch::latest);
    on.asks(api::list_offsets);
}

TEST_CASE("an end of the log is looked up before it is fetched from") {
    for (auto const end : {partition_fetch::earliest, partition_fetch::latest}) {
        scene on;
        on.partition.start(end);
        auto const question = on.asks(api::list_offsets);
        CHECK(question.timestamp == end);
        CHECK(question.current_leader_epoch == 5);
        CHECK_FALSE(on.listed(question, 42, 3).event);
        auto const fetch = on.asks(api::fetch);
        CHECK(fetch.offset == 42);
        CHECK(fetch.last_fetched_epoch == 3);
    }
}

TEST_CASE("answers of an older generation are dropped") {
    scene on;
    on.partition.start(10);
    auto const old = on.asks(api::fetch);
    on.partition.start(100); // a seek
    CHECK_FALSE(on.fetched(old, records(10, 3)).take);
    CHECK(on.partition.position() == 100);
    auto const question = on.asks(api::fetch);
    CHECK(question.offset == 100);
    CHECK_FALSE(on.fetched(old, records(10, 3)).take);
    CHECK_FALSE(on.failed(old, 1).event);
    on.partition.on_lost(old.generation, on.now);
    CHECK(on.partition.outstanding());
    CHECK_FALSE(on.partition.on_damaged(old.generation, 10, damage::checksum, on.now).event);
    CHECK_FALSE(on.partition.on_old_format(old.generation, 10).event);
    CHECK(on.fetched(question, records(100, 1)).take);
    on.partition.stop();
    on.asks_nothing();
    CHECK_FALSE(on.partition.running());
    CHECK_FALSE(on.fetched(question, records(101, 1)).take);
}

TEST_CASE("what a reader finds in what was fetched since the start counts, wherever the fetching "
          "got to meanwhile") {
    scene on{reset_policy::none};
    on.partition.start(10);
    auto const question = on.asks(api::fetch);
    on.fetched(question, records(10, 2, 4) + records(12, 2));
    bool ended = true;
    auto const finds = [&] {
        CHECK(on.partition.generation() != question.generation);
        CHECK(on.partition.running() != ended);
        SUBCASE("damage") {
            CHECK_FALSE(
                on.partition.on_damaged(question.generation, 12, damage::checksum, on.now).event);
            auto const again = on.asks_later(api::fetch);
            CHECK(again.offset == 12);
            CHECK(again.last_fetched_epoch == 4);
            CHECK(again.alone);
            on.fetched(again, records(12, 2));
            auto const end =
                on.partition.on_damaged(again.generation, 12, damage::checksum, on.now);
            CHECK(tells(end, kind::record_unreadable));
        }
        SUBCASE("no memory") {
            on.partition.on_damaged(question.generation, 12, damage::no_memory, on.now);
            CHECK(on.asks_later(api::fetch).offset == 12);
        }
        SUBCASE("an old format") {
            auto const end = on.partition.on_old_format(question.generation, 12);
            REQUIRE(tells(end, kind::old_format));
            CHECK(end.event->from == 12);
            on.asks_nothing();
        }
        SUBCASE("the topic was made again after the end") {
            auto const told = on.partition.on_metadata(1, 0, second_topic);
            CHECK(told.event.has_value() != ended);
            auto const end =
                on.partition.on_damaged(question.generation, 12, damage::checksum, on.now);
            CHECK(tells(end, kind::recreated_no_reset));
            on.asks_nothing();
        }
        on.partition.stop();
        on.partition.on_damaged(on.partition.generation(), 12, damage::checksum, on.now);
        on.asks_nothing();
    };
    SUBCASE("the broker could not read its log, once") {
        on.failed(on.asks(api::fetch), 2);
        ended = false;
        finds();
    }
    SUBCASE("it could not, for good") {
        on.failed(on.asks(api::fetch), 2);
        on.failed(on.asks_later(api::fetch), 2);
        finds();
    }
    SUBCASE("out of range") {
        on.failed(on.asks(api::fetch), 1);
        on.failed(on.asks(api::fetch), 1);
        on.listed(on.asks(api::list_offsets), 40);
        finds();
    }
    SUBCASE("truncated") {
        fetch_answer::partition diverging;
        diverging.diverging = {5, 13};
        on.fetched(on.asks(api::fetch), "", diverging);
        finds();
    }
    SUBCASE("nothing more is to be had of this broker") {
        on.failed(on.asks(api::fetch), 35);
        finds();
    }
}

TEST_CASE("a topic that was made again after the fetching had ended: what was found in the one "
          "before leads to its beginning") {
    scene on;
    on.partition.start(10);
    auto const question = on.asks(api::fetch);
    on.fetched(question, records(10, 4));
    on.failed(on.asks(api::fetch), 35);
    CHECK_FALSE(on.partition.on_metadata(1, 0, second_topic).event);
    on.asks_nothing();
    CHECK(tells(on.partition.on_damaged(question.generation, 12, damage::checksum, on.now),
                kind::topic_recreated));
    CHECK(on.asks(api::list_offsets).timestamp == partition_fetch::earliest);
}

TEST_CASE("damage in front of what the broker cannot read: both have their second chance, and no "
          "third") {
    scene on;
    on.partition.start(10);
    auto question = on.asks(api::fetch);
    for (int i = 0; i != 2; ++i) {
        on.fetched(question, records(10, 4));
        CHECK(tells(on.failed(on.asks_later(api::fetch), 2),
                    i == 0 ? kind::broker_error : kind::record_unreadable));
        auto const found =
            on.partition.on_damaged(question.generation, 12, damage::checksum, on.now);
        CHECK(tells(found, kind::record_unreadable) == (i == 1));
        if (i == 0) {
            question = on.asks_later(api::fetch);
            CHECK(question.offset == 12);
        }
    }
    on.asks_nothing();
}

TEST_CASE("an answer to another question, or a second one, is dropped") {
    scene on;
    on.partition.start(10);
    auto const question = on.asks(api::fetch);
    CHECK_FALSE(on.listed(question, 7).event);
    CHECK_FALSE(on.epoch_ends(question, 5, 0).event);
    CHECK(on.partition.outstanding());
    CHECK(on.fetched(question, records(10, 1)).take);
    CHECK_FALSE(on.fetched(question, records(11, 1)).take);
    CHECK(on.partition.position() == 11);
}

TEST_CASE("errors back off by the partition, longer each time, until something is of use") {
    scene on;
    on.partition.start(10);
    for (auto const delay : {100ms, 200ms, 400ms, 800ms, 1000ms, 1000ms}) {
        auto const reaction = on.failed(on.asks(api::fetch), 6);
        CHECK(reaction.refresh);
        CHECK_FALSE(reaction.event);
        on.asks_nothing();
        CHECK(on.partition.held_back_until(on.now) == on.now + delay);
        on.now += delay - 1ms;
        on.asks_nothing();
        on.now += 1ms;
    }
    on.fetched(on.asks(api::fetch), "");
    on.failed(on.asks(api::fetch), 6);
    CHECK(on.partition.held_back_until(on.now) == on.now + 100ms);
}

TEST_CASE("an error is told once while it lasts") {
    scene on;
    on.partition.start(10);
    auto const first = on.failed(on.asks_later(api::fetch), 29);
    REQUIRE(tells(first, kind::broker_error));
    CHECK(first.event->code == 29);
    CHECK_FALSE(first.event->final());
    CHECK_FALSE(on.failed(on.asks_later(api::fetch), 29).event);
    CHECK(tells(on.failed(on.asks_later(api::fetch), 999), kind::broker_error));
    on.fetched(on.asks_later(api::fetch), "");
    CHECK(tells(on.failed(on.asks_later(api::fetch), 29), kind::broker_error));
}

TEST_CASE("errors that alternate are told once each while they last, and not without end") {
    scene on;
    on.partition.start(10);
    std::size_t told = 0;
    for (int i = 0; i != 10; ++i) {
        for (std::int16_t const code : {std::int16_t{29}, std::int16_t{3}, std::int16_t{56}}) {
            told += on.failed(on.asks_later(api::fetch), code).event ? 1 : 0;
        }
    }
    CHECK(told == 3);
    for (std::int16_t code = 1000; code != 1100; ++code) { // a broker that makes them up
        told += on.failed(on.asks_later(api::fetch), code).event ? 1 : 0;
    }
    CHECK(told < 20);
    on.fetched(on.asks_later(api::fetch), "");
    CHECK(tells(on.failed(on.asks_later(api::fetch), 29), kind::broker_error));
}

TEST_CASE("errors that nothing helps against end it") {
    scene on;
    on.partition.start(10);
    auto reaction = on.failed(on.asks(api::fetch), 17);
    REQUIRE(tells(reaction, kind::failed));
    CHECK(reaction.event->final());
    CHECK(reaction.event->code == 17);
    CHECK_FALSE(on.partition.running());
    on.partition.start(partition_fetch::earliest);
    reaction = on.failed(on.asks(api::list_offsets), 35);
    REQUIRE(tells(reaction, kind::unsupported));
    on.asks_nothing();
}

TEST_CASE("a question that got no answer is asked again, after a while") {
    scene on;
    on.partition.start(10);
    auto const question = on.asks(api::fetch);
    CHECK(on.partition.on_lost(question.generation, on.now).refresh);
    on.asks_nothing();
    on.now += 100ms;
    CHECK(on.asks(api::fetch).offset == 10);
}

TEST_CASE("bytes that do not advance the position are ignored, backed off and told once") {
    scene on;
    on.partition.start(10);
    auto const first = on.fetched(on.asks_later(api::fetch), records(3, 2));
    CHECK_FALSE(first.take);
    CHECK(tells(first, kind::useless_answer));
    CHECK(on.partition.position() == 10);
    on.asks_nothing();
    CHECK_FALSE(on.fetched(on.asks_later(api::fetch), records(3, 2)).event);
    CHECK(on.partition.held_back_until(on.now) == on.now + 200ms);
}

TEST_CASE("bytes that do not advance the position are told behind other errors, too") {
    scene on;
    on.partition.start(10);
    on.failed(on.asks(api::fetch), 6);
    CHECK(tells(on.fetched(on.asks_later(api::fetch), records(3, 2)), kind::useless_answer));
    on.partition.on_lost(on.asks_later(api::fetch).generation, on.now);
    CHECK_FALSE(on.fetched(on.asks_later(api::fetch), records(3, 2)).event);
    on.fetched(on.asks_later(api::fetch), "");
    CHECK(tells(on.fetched(on.asks(api::fetch), records(3, 2)), kind::useless_answer));
}

TEST_CASE("without a leader nobody is asked, and metadata is") {
    scene on;
    on.partition.start(10);
    CHECK(on.partition.on_metadata(-1, 6, first_topic).refresh);
    on.asks_nothing();
    CHECK_FALSE(on.partition.on_metadata(2, 6, first_topic).refresh);
    CHECK(on.asks(api::fetch).broker == 2);
}

TEST_CASE("metadata of a broker that is behind is not believed") {
    scene on;
    on.partition.start(10);
    on.partition.on_metadata(2, 6, first_topic);
    on.partition.on_metadata(1, 5, first_topic);
    auto const question = on.asks(api::fetch);
    CHECK(question.broker == 2);
    CHECK(question.current_leader_epoch == 6);
    on.failed(question, 74);
    on.partition.on_metadata(3, -1, {}); // an old broker's has no epochs: it is all there is
    CHECK(on.asks_later(api::fetch).broker == 3);
}

TEST_CASE(
    "an earlier epoch is that of a topic that was made again, if topics have no ids and nothing "
    "else comes") {
    for (bool const has_ids : {false, true}) {
        CAPTURE(has_ids);
        scene on;
        on.partition = partition_fetch{fetch_settings{.reset = reset_policy::latest}};
        auto const id = has_ids ? first_topic : topic_uuid{};
        on.partition.on_metadata(1, 5, id);
        on.partition.start(10);
        on.fetched(on.asks(api::fetch), records(10, 5));
        for (int i = 0; i != 30; ++i) { // while it can be fetched from it is there
            on.failed(on.asks_later(api::fetch), 75);
            on.partition.on_metadata(2, 0, id);
            on.fetched(on.asks_later(api::fetch), "");
        }
        CHECK(on.partition.leader() == 1);
        for (int i = 0; i != 30; ++i) { // or others know of it
            on.partition.on_metadata(2, 0, id);
            on.partition.on_metadata(1, 5, id);
        }
        CHECK(on.partition.leader() == 1);
        int named = 0;
        for (; on.partition.leader() == 1 && named != 30; ++named) {
            on.failed(on.asks_later(api::fetch), 75); // UNKNOWN_LEADER_EPOCH
            on.partition.on_metadata(2, 0, id);
        }
        CHECK((named == 30) == has_ids);
        if (has_ids) {
            continue;
        }
        CHECK(named > 5);
        auto const question = on.asks_later(api::fetch);
        CHECK(question.broker == 2);
        CHECK(question.current_leader_epoch == 0);
        CHECK(tells(on.failed(question, 1), kind::topic_recreated));
    }
}

TEST_CASE("a fetch answer that names a newer leader is followed") {
    scene on;
    on.partition.start(10);
    fetch_answer::partition answer;
    answer.error = 6;
    answer.current_leader = {4, 9};
    CHECK(on.fetched(on.asks(api::fetch), "", answer).refresh);
    auto const question = on.asks_later(api::fetch);
    CHECK(question.broker == 4);
    CHECK(question.current_leader_epoch == 9);
    answer.current_leader = {1, 5};
    on.fetched(question, "", answer);
    CHECK(on.asks_later(api::fetch).broker == 4);
}

TEST_CASE("out of range: asked again without the epoch, then the log's ends, then a reset") {
    scene on;
    on.partition.start(10);
    on.fetched(on.asks(api::fetch), records(10, 2, 4) + records(12, 3));
    auto question = on.asks(api::fetch);
    CHECK(question.last_fetched_epoch == 5);
    CHECK_FALSE(on.failed(question, 1).event);
    question = on.asks(api::fetch); // the broker may know nothing of the epoch
    CHECK(question.last_fetched_epoch == -1);
    CHECK(question.current_leader_epoch == 5);
    CHECK(question.alone);
    CHECK_FALSE(on.failed(question, 1).event);
    question = on.asks(api::list_offsets);
    CHECK(question.timestamp == partition_fetch::earliest);

    SUBCASE("below the log") {
        auto const generation = on.partition.generation();
        CHECK_FALSE(on.listed(question, 40).event);
        CHECK(on.partition.generation() != generation);
        question = on.asks(api::list_offsets); // anew: it may have moved
        CHECK(question.timestamp == partition_fetch::earliest);
        auto const reset = on.listed(question, 41);
        REQUIRE(tells(reset, kind::position_reset));
        CHECK(reset.event->from == 15);
        CHECK(reset.event->to == 41);
        CHECK(on.asks(api::fetch).offset == 41);
    }
    SUBCASE("within the log: no reset, and no haste") {
        on.listed(question, 0);
        question = on.asks(api::list_offsets);
        CHECK(question.timestamp == partition_fetch::latest);
        CHECK_FALSE(on.listed(question, 15).event);
        on.asks_nothing();
        CHECK(on.asks_later(api::fetch).offset == 15);
    }
    SUBCASE("above the log: was it cut off? it was") {
        on.listed(question, 0);
        on.listed(on.asks(api::list_offsets), 12);
        question = on.asks(api::leader_epoch);
        CHECK(question.leader_epoch == 5);
        CHECK(question.current_leader_epoch == 5);
        auto const truncated = on.epoch_ends(question, 4, 12);
        REQUIRE(tells(truncated, kind::truncated));
        CHECK(truncated.event->from == 15);
        CHECK(truncated.event->to == 12);
        CHECK(on.asks(api::fetch).offset == 12);
    }
    SUBCASE("above the log, and the epoch is no help") {
        on.listed(question, 0);
        on.listed(on.asks(api::list_offsets), 12);
        CHECK_FALSE(on.epoch_ends(on.asks(api::leader_epoch), -1, -1).event);
        CHECK(tells(on.listed(on.asks(api::list_offsets), 0), kind::position_reset));
    }
    SUBCASE("an error between: the same is asked again") {
        CHECK(on.failed(question, 6).refresh);
        question = on.asks_later(api::list_offsets);
        CHECK(question.timestamp == partition_fetch::earliest);
    }
}

TEST_CASE("a broker that knows nothing of the epoch proves nothing: the log's ends do") {
    scene on{reset_policy::latest};
    auto const says_nothing = [&] {
        fetch_answer::partition diverging;
        diverging.diverging = {-1, -1};
        auto const reaction = on.abilities.diverging
                                  ? on.fetched(on.asks_later(api::fetch), "", diverging)
                                  : on.epoch_ends(on.asks_later(api::leader_epoch), -1, -1);
        CHECK_FALSE(reaction.event);
        CHECK(on.asks(api::list_offsets).timestamp == partition_fetch::earliest);
    };
    auto const run = [&] {
        on.partition.start(10, 3);
        says_nothing();
        auto const generation = on.partition.generation();
        SUBCASE("within the log") {
            CHECK_FALSE(on.partition.on_listed(generation, 0, 0, 5, on.now).event);
            CHECK_FALSE(on.listed(on.asks(api::list_offsets), 20).event);
            auto const question = on.asks_later(api::fetch);
            CHECK(question.offset == 10);
            CHECK(question.last_fetched_epoch == -1);
            CHECK(on.fetched(question, records(10, 5)).take);
            CHECK(on.asks(api::fetch).last_fetched_epoch == 5);
        }
        SUBCASE("below it") {
            on.partition.on_listed(generation, 0, 12, 5, on.now);
            CHECK(tells(on.listed(on.asks(api::list_offsets), 40), kind::position_reset));
        }
        SUBCASE("above it") {
            on.partition.on_listed(generation, 0, 0, 5, on.now);
            on.listed(on.asks(api::list_offsets), 8);
            CHECK(tells(on.listed(on.asks(api::list_offsets), 8), kind::position_reset));
        }
    };
    SUBCASE("the answer to a fetch") { run(); }
    SUBCASE("older brokers") {
        on.abilities.diverging = false;
        run();
    }
    SUBCASE("each time: less and less often") {
        on.partition.start(10, 3);
        for (auto const delay : {100ms, 200ms, 400ms, 800ms, 1000ms, 1000ms}) {
            says_nothing();
            on.partition.on_listed(on.partition.generation(), 0, 0, 5, on.now);
            on.listed(on.asks(api::list_offsets), 20);
            CHECK(on.partition.held_back_until(on.now) == on.now + delay);
        }
    }
}

TEST_CASE("out of range, of what is in the log, for ever: less and less often, and told once") {
    scene on;
    on.partition.start(10);
    std::size_t told = 0;
    for (auto const delay : {100ms, 200ms, 400ms, 800ms, 1000ms, 1000ms}) {
        CHECK_FALSE(on.failed(on.asks(api::fetch), 1).event);
        CHECK_FALSE(on.listed(on.asks(api::list_offsets), 0).event);
        auto const reaction = on.listed(on.asks(api::list_offsets), 20);
        if (reaction.event) {
            ++told;
            CHECK(reaction.event->type == kind::broker_error);
            CHECK(reaction.event->code == 1);
            CHECK(delay == 200ms); // once is none
        }
        CHECK(on.partition.held_back_until(on.now) == on.now + delay);
        on.now += delay;
    }
    CHECK(told == 1);
    CHECK(on.partition.position() == 10);
    CHECK(on.fetched(on.asks(api::fetch), records(10, 5)).take);
}

TEST_CASE("a log that is elsewhere each time is not run after without end") {
    scene on;
    on.partition.start(10);
    std::int64_t begins = 40;
    SUBCASE("it begins later") {
        for (auto const delay : {0ms, 100ms, 200ms, 400ms, 800ms, 1000ms}) {
            on.failed(on.asks(api::fetch), 1);
            if (on.partition.next(on.now, on.abilities)->request == api::fetch) { // confirmed
                on.failed(on.asks(api::fetch), 1);
            }
            on.listed(on.asks(api::list_offsets), begins);
            if (delay != 0ms) {
                on.asks_nothing();
                CHECK(on.partition.held_back_until(on.now) == on.now + delay);
                on.now += delay;
            }
            CHECK(tells(on.listed(on.asks(api::list_offsets), begins), kind::position_reset));
            begins += 10;
        }
    }
    SUBCASE("it diverges earlier") {
        on.fetched(on.asks(api::fetch), records(10, 90));
        fetch_answer::partition diverges;
        for (auto const delay : {0ms, 100ms, 200ms, 400ms, 800ms, 1000ms}) {
            diverges.diverging = {4, on.partition.position() - 1};
            CHECK(tells(on.fetched(on.asks(api::fetch), "", diverges), kind::truncated));
            if (delay != 0ms) {
                on.asks_nothing();
                CHECK(on.partition.held_back_until(on.now) == on.now + delay);
                on.now += delay;
            }
        }
    }
}

TEST_CASE("out of range, of a replica: the leader is asked, and nothing is reset") {
    scene on;
    on.partition.start(10);
    fetch_answer::partition prefers;
    prefers.preferred_replica = 7;
    on.fetched(on.asks(api::fetch), "", prefers);
    auto question = on.asks(api::fetch);
    CHECK(question.broker == 7);
    CHECK(question.last_fetched_epoch == -1);
    CHECK_FALSE(on.failed(question, 1).event);
    on.asks_nothing(); // or both would send it to each other without end
    question = on.asks_later(api::fetch);
    CHECK(question.broker == 1);
    CHECK(on.fetched(question, records(10, 2)).take);
}

TEST_CASE("a preferred replica is asked for a time, and not after an error") {
    scene on;
    on.partition.start(10);
    fetch_answer::partition prefers;
    prefers.preferred_replica = 7;
    on.fetched(on.asks(api::fetch), "", prefers);
    CHECK(on.partition.target(on.now) == 7);
    CHECK(on.partition.target(on.now + 300s) == 1);
    SUBCASE("an error") { on.failed(on.asks(api::fetch), 6); }
    SUBCASE("no answer") { on.partition.on_lost(on.asks(api::fetch).generation, on.now); }
    SUBCASE("another leader") {
        on.partition.on_metadata(2, 6, first_topic);
        CHECK(on.partition.target(on.now) == 2);
        return;
    }
    CHECK(on.partition.target(on.now) == 1);
}

TEST_CASE("out of range, and the policy is none: it ends") {
    scene on{reset_policy::none};
    on.partition.start(10);
    on.failed(on.asks(api::fetch), 1);
    auto const end = on.listed(on.asks(api::list_offsets), 40);
    REQUIRE(tells(end, kind::out_of_range));
    CHECK(end.event->final());
    CHECK(end.event->from == 10);
    on.asks_nothing();
}

TEST_CASE("out of range, and the policy is latest") {
    scene on{reset_policy::latest};
    on.partition.start(10);
    on.failed(on.asks(api::fetch), 1);
    on.listed(on.asks(api::list_offsets), 40);
    auto const question = on.asks(api::list_offsets);
    CHECK(question.timestamp == partition_fetch::latest);
    CHECK(on.listed(question, 90).event->to == 90);
}

TEST_CASE("a log that was replaced: the broker tells where it diverges") {
    scene on;
    on.partition.start(10);
    on.fetched(on.asks(api::fetch), records(10, 12, 4) + records(22, 8, 5));
    on.partition.on_metadata(2, 6, first_topic);
    auto const question = on.asks(api::fetch);
    CHECK(question.last_fetched_epoch == 5);
    fetch_answer::partition diverging;
    diverging.diverging = {4, 22};
    auto const reaction = on.fetched(question, "", diverging);
    CHECK_FALSE(reaction.take);
    REQUIRE(tells(reaction, kind::truncated));
    CHECK(reaction.event->from == 30);
    CHECK(reaction.event->to == 22);
    CHECK(on.partition.generation() != question.generation);
    auto const next = on.asks(api::fetch);
    CHECK(next.offset == 22);
    CHECK(next.last_fetched_epoch == 4);
}

TEST_CASE("a log that was replaced twice: what was read in an epoch that the leader never had is "
          "void") {
    auto const truncates_to = [](scene& on, std::int32_t epoch, std::int64_t end) {
        auto const question =
            on.asks_later(on.abilities.diverging ? api::fetch : api::leader_epoch);
        fetch_answer::partition diverging;
        diverging.diverging = {epoch, end};
        auto const reaction = on.abilities.diverging ? on.fetched(question, "", diverging)
                                                     : on.epoch_ends(question, epoch, end);
        REQUIRE(tells(reaction, kind::truncated));
        return *reaction.event;
    };
    auto const run = [&](scene on) {
        on.partition.start(10);
        SUBCASE("the leader's own records of before stand there") {
            on.fetched(on.asks(api::fetch), records(10, 15, 4));
            on.fetched(on.asks(api::fetch), records(25, 3, 5));
            on.fetched(on.asks(api::fetch), records(28, 2, 5));
            on.partition.on_metadata(2, 6, first_topic);
            auto const event = truncates_to(on, 4, 40);
            CHECK(event.from == 30);
            CHECK(event.to == 25);
            CHECK(event.leader_epoch == 4);
            auto const next = on.asks(api::fetch);
            CHECK(next.offset == 25);
            CHECK(on.fetched(next, records(25, 15, 4)).take);
        }
        SUBCASE("its records of before end within what is void") {
            on.fetched(on.asks(api::fetch), records(10, 15, 4) + records(25, 5, 5));
            on.partition.on_metadata(2, 6, first_topic);
            CHECK(truncates_to(on, 4, 28).to == 25);
        }
        SUBCASE("several epochs, in one answer, of which it had the first only") {
            on.fetched(on.asks(api::fetch), records(10, 5, 3) + records(15, 5, 4) +
                                                records(20, 5, 4) + records(25, 5, 5));
            on.partition.on_metadata(2, 6, first_topic);
            auto const event = truncates_to(on, 3, 40);
            CHECK(event.to == 15);
            CHECK(event.leader_epoch == 3);
        }
        SUBCASE("what stands before is of an earlier epoch than the leader names") {
            on.fetched(on.asks(api::fetch), records(10, 5, 2) + records(15, 15, 5));
            on.partition.on_metadata(2, 6, first_topic);
            auto const event = truncates_to(on, 4, 40);
            CHECK(event.to == 15);
            CHECK(event.leader_epoch == 2); // which it is asked about next
            if (on.abilities.diverging) {
                CHECK(on.asks(api::fetch).last_fetched_epoch == 2);
            } else {
                CHECK(on.asks(api::leader_epoch).leader_epoch == 2);
            }
        }
        SUBCASE("nothing was read yet: at least the record before") {
            on.partition.start(30, 5);
            CHECK(truncates_to(on, 4, 40).to == 29);
        }
        SUBCASE("damage does not make it forget") {
            on.fetched(on.asks(api::fetch), records(10, 15, 4) + records(25, 5, 5));
            on.partition.on_damaged(on.partition.generation(), 28, damage::checksum, on.now);
            on.partition.on_metadata(2, 6, first_topic);
            CHECK(truncates_to(on, 4, 40).to == 25);
        }
    };
    SUBCASE("the answer to a fetch tells") { run(scene{}); }
    SUBCASE("older brokers are asked") {
        scene on;
        on.abilities.diverging = false;
        run(on);
    }
}

TEST_CASE("a leader that wrote nothing: who began at the end of its log has read nothing of it") {
    for (bool const diverging : {true, false}) {
        CAPTURE(diverging);
        scene on;
        on.abilities.diverging = diverging;
        on.partition.start(partition_fetch::latest);
        on.listed(on.asks(api::list_offsets), 30, 5);
        on.partition.on_metadata(2, 6, first_topic);
        if (diverging) {
            fetch_answer::partition answer;
            answer.diverging = {4, 30};
            CHECK_FALSE(on.fetched(on.asks(api::fetch), "", answer).event);
        } else {
            CHECK_FALSE(on.epoch_ends(on.asks(api::leader_epoch), 4, 30).event);
        }
        CHECK(on.asks_later(api::fetch).offset == 30);
    }
}

TEST_CASE("who is asked by name may answer for a topic that was made again: the id decides") {
    for (auto const again : {false, true}) {
        scene on;
        on.abilities.topic_ids = false;
        on.partition.start(0);
        on.fetched(on.asks(api::fetch), records(0, 5));
        fetch_answer::partition diverging;
        diverging.diverging = {5, 3};
        auto const reaction = on.fetched(on.asks(api::fetch), "", diverging);
        CHECK_FALSE(reaction.event);
        CHECK(reaction.refresh);
        on.asks_nothing();
        auto waits = on.partition.on_metadata(-1, 5, first_topic);
        CHECK(waits.refresh);
        CHECK_FALSE(waits.event);
        waits = on.partition.on_metadata(1, 4, first_topic); // from a broker that is behind
        CHECK(waits.refresh);
        CHECK_FALSE(waits.event);
        waits = on.partition.on_metadata(1, 5, first_topic, false); // was asked before
        CHECK(waits.refresh);
        CHECK_FALSE(waits.event);
        auto const known = on.partition.on_metadata(1, 5, again ? second_topic : first_topic);
        CHECK_FALSE(known.refresh);
        if (again) {
            CHECK(tells(known, kind::topic_recreated));
            CHECK(on.asks(api::list_offsets).timestamp == partition_fetch::earliest);
        } else {
            REQUIRE(tells(known, kind::truncated));
            CHECK(known.event->from == 5);
            CHECK(known.event->to == 3);
            CHECK(on.asks(api::fetch).offset == 3);
        }
    }
}

TEST_CASE("a log that may have been cut off: a stop, and a start elsewhere, forget that") {
    scene on;
    on.abilities.topic_ids = false;
    on.partition.start(0);
    on.fetched(on.asks(api::fetch), records(0, 5));
    fetch_answer::partition diverging;
    diverging.diverging = {5, 3};
    on.fetched(on.asks(api::fetch), "", diverging);
    on.partition.start(4);
    CHECK_FALSE(on.partition.on_metadata(1, 5, first_topic).event);
    on.fetched(on.asks(api::fetch), "", diverging);
    on.partition.stop();
    auto const stopped = on.partition.on_metadata(1, 5, first_topic);
    CHECK_FALSE(stopped.event);
    CHECK_FALSE(stopped.refresh);
}

TEST_CASE("a log that was replaced: with older brokers it is asked, at each new leader") {
    scene on;
    on.abilities.diverging = false;
    on.partition.start(10, 3); // committed with its epoch
    auto question = on.asks(api::leader_epoch);
    CHECK(question.leader_epoch == 3);
    CHECK_FALSE(on.epoch_ends(question, 3, 50).event);
    on.fetched(on.asks(api::fetch), records(10, 20, 5));
    CHECK(on.asks(api::fetch).request == api::fetch); // the same leader: not again
    on.partition.on_lost(on.partition.generation(), on.now);
    on.partition.on_metadata(2, 6, first_topic);
    question = on.asks_later(api::leader_epoch);
    CHECK(question.leader_epoch == 5);
    CHECK(question.current_leader_epoch == 6);
    auto const truncated = on.epoch_ends(question, 5, 25);
    REQUIRE(tells(truncated, kind::truncated));
    CHECK(truncated.event->to == 25);
    CHECK(on.asks(api::fetch).offset == 25);
}

TEST_CASE("brokers without leader epochs are fetched from without checks") {
    scene on;
    on.partition = partition_fetch{fetch_settings{}};
    on.abilities = {.leader_epochs = false, .diverging = false};
    on.partition.on_metadata(1, -1, {});
    on.partition.start(10, 3);
    auto const question = on.asks(api::fetch);
    CHECK(question.current_leader_epoch == -1);
    CHECK(question.last_fetched_epoch == -1);
    CHECK(on.fetched(question, records(10, 1)).take);
}

TEST_CASE("an answer of the leader before does not spare the check with the next one") {
    scene on;
    on.abilities.diverging = false;
    on.partition.start(10);
    on.fetched(on.asks(api::fetch), records(10, 5));
    auto const question = on.asks(api::fetch);
    on.partition.on_metadata(2, 6, first_topic);
    CHECK(on.fetched(question, records(15, 5)).take);
    on.asks(api::leader_epoch);
}

TEST_CASE("a log that was replaced, and the policy is none: it ends") {
    scene on{reset_policy::none};
    on.partition.start(30, 4);
    fetch_answer::partition diverging;
    diverging.diverging = {4, 22};
    auto const end = on.fetched(on.asks(api::fetch), "", diverging);
    REQUIRE(tells(end, kind::truncated_no_reset));
    CHECK(end.event->to == 22);
    on.asks_nothing();
}

TEST_CASE("a topic that was made again is read from its beginning, whatever the policy") {
    for (auto const policy : {reset_policy::earliest, reset_policy::latest}) {
        scene on{policy};
        on.partition.start(500);
        auto const old = on.asks(api::fetch);
        auto const reaction = on.partition.on_metadata(3, 0, second_topic); // epochs begin anew
        REQUIRE(tells(reaction, kind::topic_recreated));
        CHECK(reaction.event->from == 500);
        CHECK_FALSE(on.fetched(old, records(500, 1)).take);
        auto const question = on.asks(api::list_offsets);
        CHECK(question.broker == 3);
        CHECK(question.current_leader_epoch == 0);
        CHECK(question.timestamp == partition_fetch::earliest);
        on.listed(question, 0, 0);
        CHECK(on.asks(api::fetch).offset == 0);
        CHECK_FALSE(on.partition.on_metadata(3, 0, second_topic).event);
    }
    scene none{reset_policy::none};
    none.partition.start(500);
    CHECK(tells(none.partition.on_metadata(3, 0, second_topic), kind::recreated_no_reset));
    none.asks_nothing();
}

TEST_CASE("a topic that was made again is not made again by a broker that is behind") {
    scene on;
    on.partition.start(500);
    CHECK(tells(on.partition.on_metadata(3, 0, second_topic), kind::topic_recreated));
    auto const behind = [&] {
        auto const reaction = on.partition.on_metadata(1, 5, first_topic);
        CHECK_FALSE(reaction.event);
        CHECK(reaction.refresh);
        CHECK(on.partition.leader() == 3);
    };
    behind();
    auto const question = on.asks(api::list_offsets);
    CHECK(question.broker == 3);
    on.listed(question, 0, 0);
    SUBCASE("however long, while the new one is read") {
        for (int i = 0; i != 30; ++i) {
            on.fetched(on.asks(api::fetch), "");
            behind();
        }
        CHECK_FALSE(on.partition.on_metadata(3, 0, second_topic).refresh);
    }
    SUBCASE("however often, while others name the new one") {
        for (int i = 0; i != 30; ++i) {
            behind();
            on.partition.on_metadata(3, 0, second_topic);
        }
    }
    SUBCASE("but it is the broker that named the new one, if nothing is to be had of that") {
        std::size_t named = 0;
        for (bool again = false; !again; ++named) {
            REQUIRE(named != 30);
            on.failed(on.asks_later(api::fetch), 100); // UNKNOWN_TOPIC_ID
            again = tells(on.partition.on_metadata(1, 5, first_topic), kind::topic_recreated);
        }
        CHECK(named > 5);
        CHECK(on.asks_later(api::list_offsets).broker == 1);
    }
    SUBCASE("nor once it has ended") {
        on.failed(on.asks(api::fetch), 35);
        CHECK_FALSE(on.partition.on_metadata(1, 5, first_topic).refresh);
    }
}

TEST_CASE(
    "a topic that was made again while nobody read it: what was committed is of an epoch that "
    "its leader has not reached") {
    for (bool const diverging : {true, false}) {
        CAPTURE(diverging);
        auto const answer = [&](scene& on) {
            on.abilities.diverging = diverging;
            on.partition.start(30, 9); // the leader is in epoch 5
            return diverging ? on.failed(on.asks(api::fetch), 1)
                             : on.epoch_ends(on.asks(api::leader_epoch), -1, -1);
        };
        scene on{reset_policy::latest};
        auto const reaction = answer(on);
        REQUIRE(tells(reaction, kind::topic_recreated));
        CHECK(reaction.event->from == 30);
        auto const question = on.asks(api::list_offsets);
        CHECK(question.timestamp == partition_fetch::earliest);
        on.listed(question, 0);
        CHECK(on.asks(api::fetch).last_fetched_epoch == 5);
        scene none{reset_policy::none};
        CHECK(tells(answer(none), kind::recreated_no_reset));
        none.asks_nothing();
    }
}

TEST_CASE("the epoch of a batch, which no checksum covers, is none above the leader's") {
    scene on;
    on.partition.start(10);
    SUBCASE("of all that came") { on.fetched(on.asks(api::fetch), records(10, 5, 1000)); }
    SUBCASE("of the last batch") {
        on.fetched(on.asks(api::fetch), records(10, 3, 5) + records(13, 2, 1000));
    }
    CHECK(on.asks(api::fetch).last_fetched_epoch == -1);
    on.partition.on_lost(on.partition.generation(), on.now);
    on.partition.on_metadata(1, 6, first_topic);
    auto const question = on.asks_later(api::fetch);
    CHECK(question.last_fetched_epoch == -1);
    CHECK_FALSE(on.failed(question, 1).event); // and not "made again"
    CHECK(on.asks(api::list_offsets).timestamp == partition_fetch::earliest);
}

TEST_CASE("the epoch of a batch is believed where the leader's is not known") {
    scene on;
    on.partition = partition_fetch{fetch_settings{}};
    on.partition.on_metadata(1, -1, {});
    on.partition.start(10);
    on.fetched(on.asks(api::fetch), records(10, 5, 7));
    on.partition.on_metadata(1, 7, {});
    on.partition.on_lost(on.partition.generation(), on.now);
    CHECK(on.asks(api::fetch).last_fetched_epoch == 7);
}

TEST_CASE("metadata that is behind makes no topic another one") {
    scene on;
    on.partition.start(30, 9);
    auto const reaction = on.failed(on.asks(api::fetch), 74); // FENCED_LEADER_EPOCH
    CHECK(reaction.refresh);
    CHECK_FALSE(reaction.event);
    on.partition.on_metadata(1, 9, first_topic);
    CHECK(on.fetched(on.asks_later(api::fetch), records(30, 1, 9)).take);
}

TEST_CASE("the ids of topics: unknown ones are transient, and none is no other") {
    scene on;
    on.partition.start(10);
    for (std::int16_t const code : {std::int16_t{100}, std::int16_t{103}}) {
        auto const reaction = on.failed(on.asks_later(api::fetch), code);
        CHECK(reaction.refresh);
        CHECK_FALSE(reaction.event);
    }
    CHECK_FALSE(on.partition.on_metadata(1, 5, {}).event);
    CHECK_FALSE(on.partition.on_metadata(1, 5, first_topic).event);
    CHECK(on.asks_later(api::fetch).offset == 10);
}

TEST_CASE("damage is fetched once more, alone and from the leader, and ends the claim then") {
    scene on;
    on.partition.start(10);
    fetch_answer::partition prefers;
    prefers.preferred_replica = 7;
    on.fetched(on.asks(api::fetch), "", prefers);
    auto question = on.asks(api::fetch);
    CHECK(question.broker == 7);
    on.fetched(question, records(10, 5));
    on.fetched(on.asks(api::fetch), records(15, 5)); // ahead of the reader
    CHECK_FALSE(
        on.partition.on_damaged(on.partition.generation(), 12, damage::checksum, on.now).event);
    CHECK(on.partition.position() == 12);
    question = on.asks_later(api::fetch);
    CHECK(question.offset == 12);
    CHECK(question.alone);
    CHECK(question.broker == 1);
    CHECK(on.fetched(question, records(10, 5)).take);

    SUBCASE("the same place again") {
        auto const end = on.partition.on_damaged(question.generation, 12, damage::record, on.now);
        REQUIRE(tells(end, kind::record_unreadable));
        CHECK(end.event->final());
        CHECK(end.event->from == 12);
        CHECK(end.event->wrong == damage::record);
        on.asks_nothing();
    }
    SUBCASE("another place has another chance") {
        CHECK_FALSE(on.partition.on_damaged(question.generation, 13, damage::record, on.now).event);
        CHECK(on.asks_later(api::fetch).offset == 13);
    }
    SUBCASE("it was in passing") {
        question = on.asks(api::fetch);
        CHECK(question.offset == 15);
        CHECK_FALSE(question.alone);
    }
}

TEST_CASE("what was damaged is asked about alone, of the leader, until an answer is right") {
    scene on;
    on.partition.start(10);
    fetch_answer::partition prefers;
    prefers.preferred_replica = 7;
    auto question = on.asks(api::fetch);
    on.fetched(question, "", prefers);
    SUBCASE("the broker could not read it") { on.failed(on.asks(api::fetch), 2); }
    SUBCASE("the answer was too large") {
        on.partition.on_too_large(on.asks(api::fetch).generation, on.now);
    }
    SUBCASE("its checksum was wrong") {
        on.partition.on_damaged(question.generation, 10, damage::checksum, on.now);
    }
    question = on.asks_later(api::fetch);
    CHECK(question.alone);
    CHECK(question.broker == 1);
    on.partition.on_lost(question.generation, on.now);
    question = on.asks_later(api::fetch);
    CHECK(question.alone);
    on.fetched(question, "", prefers); // nothing is there yet
    question = on.asks(api::fetch);
    CHECK_FALSE(question.alone);
    CHECK(question.broker == 7);
    CHECK(question.offset == 10);
}

TEST_CASE("no memory is no damage: it is fetched again, for as long as it takes") {
    scene on;
    on.partition.start(10);
    for (int i = 0; i != 5; ++i) {
        auto const question = on.asks_later(api::fetch);
        on.fetched(question, records(10, 5));
        CHECK_FALSE(
            on.partition.on_damaged(question.generation, 10, damage::no_memory, on.now).event);
        on.asks_nothing();
    }
}

TEST_CASE("behind what only the reader understands nothing is fetched") {
    scene on;
    on.partition.start(10);
    auto old_records = records(12, 2);
    old_records[16] = 1;
    auto question = on.asks(api::fetch);
    SUBCASE("an old format behind others") {
        CHECK(on.fetched(question, records(10, 2) + old_records).take);
        on.asks_nothing();
        auto const end = on.partition.on_old_format(question.generation, 12);
        REQUIRE(tells(end, kind::old_format));
        CHECK(end.event->from == 12);
        CHECK(end.event->final());
        CHECK_FALSE(on.partition.running());
    }
    SUBCASE("an old format in front") {
        CHECK(on.fetched(question, old_records).take);
        on.asks_nothing();
    }
    SUBCASE("damage of a header") {
        CHECK(on.fetched(question, records(10, 2) + records(10, 2)).take);
        on.asks_nothing();
        CHECK_FALSE(
            on.partition.on_damaged(question.generation, 12, damage::offsets, on.now).event);
        CHECK(on.asks_later(api::fetch).offset == 12);
    }
    SUBCASE("a batch that is not whole") {
        CHECK(on.fetched(question, records(10, 2).substr(0, 40)).take);
        on.asks_nothing();
    }
}

TEST_CASE("a broker that cannot read its log is damage too, and told") {
    scene on;
    on.partition.start(10);
    CHECK(tells(on.failed(on.asks(api::fetch), 2), kind::broker_error));
    auto const question = on.asks_later(api::fetch);
    CHECK(question.alone);
    auto const end = on.failed(question, 2);
    REQUIRE(tells(end, kind::record_unreadable));
    CHECK(end.event->from == 10);
}

TEST_CASE("a broker that could not read the end of its log, and can again, has another chance") {
    scene on;
    on.partition.start(10);
    on.failed(on.asks(api::fetch), 2);
    CHECK_FALSE(on.fetched(on.asks_later(api::fetch), "").event);
    CHECK(tells(on.failed(on.asks(api::fetch), 2), kind::broker_error));
    CHECK(tells(on.failed(on.asks_later(api::fetch), 2), kind::record_unreadable));
}

} // namespace
} // namespace fetch_partition_fetch_tests
