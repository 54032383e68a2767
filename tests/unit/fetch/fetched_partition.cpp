// SPDX-License-Identifier: MIT

#include <kgroup/detail/fetch/fetched_partition.hpp>
#include <kgroup/topic_partition.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "made_batch.hpp"

namespace fetch_fetched_partition_tests {
namespace {

using namespace kgroup::detail::fetch;
using namespace kgroup::tests;
using namespace std::chrono_literals;
using kgroup::topic_partition;

constexpr topic_uuid orders_id{1};

/// Keeps what it is given and told.
struct recording_sink final : fetch_sink {
    void take(fetched_records records) noexcept override { taken.push_back(std::move(records)); }
    void tell(std::uint64_t ticket, fetch_event const& event) noexcept override {
        told.push_back(event);
        last_ticket = ticket;
    }
    void started_at(std::uint64_t ticket, std::int64_t offset) noexcept override {
        starts.push_back(offset);
        last_ticket = ticket;
    }

    std::vector<fetched_records> taken;
    std::vector<fetch_event> told;
    std::vector<std::int64_t> starts;
    std::uint64_t last_ticket = 0;
};

struct scene {
    std::shared_ptr<answer_memory> memory = std::make_shared<answer_memory>(1 << 20);
    std::shared_ptr<fetched_partition> partition = std::make_shared<fetched_partition>(
        topic_partition{"orders", 3}, fetch_settings{.reset = reset_policy::earliest}, memory);
    std::shared_ptr<recording_sink> sink = std::make_shared<recording_sink>();
    fetch_answer answer;
    time_point now{1h};

    void begin(std::uint64_t ticket, std::int64_t from) {
        partition->on_metadata(1, 5, orders_id);
        partition->begin(ticket, from, -1, sink);
    }
    partition_question ask() { return partition->ask(now, {}).value(); }
    /// Answers a fetch.
    fetch_reaction take(partition_question const& question, std::string_view batches,
                        std::int64_t high_watermark) {
        auto bytes = memory->copy(batches);
        fetch_answer::partition part;
        part.high_watermark = high_watermark;
        part.last_stable_offset = high_watermark;
        part.log_start = 0;
        part.first_aborted = 0;
        part.aborted_count = answer.aborted.size();
        part.records = bytes->view();
        return partition->take(question, answer, part, part.records, bytes, now);
    }
    fetch_reaction list(partition_question const& question, std::int64_t offset) {
        return partition->on_listed(question.generation, 0, offset, -1, now);
    }
};

TEST_CASE("records are the sink's, and count until it lets go of them") {
    scene claim;
    claim.answer.aborted = {{7, 11}};
    claim.begin(4, 10);
    auto const question = claim.ask();
    auto const batches = plain_batch(10, 3).bytes();
    CHECK(claim.take(question, batches, 20).take);
    REQUIRE(claim.sink->taken.size() == 1);
    auto& records = claim.sink->taken.front();
    CHECK(records.ticket == 4);
    CHECK(records.generation == claim.partition->generation());
    CHECK(records.bytes == batches);
    CHECK(records.position == 10);
    CHECK(records.leader_epoch == 5);
    CHECK(records.next_offset == 13);
    CHECK(records.high_watermark == 20);
    CHECK(records.last_stable_offset == 20);
    CHECK(records.log_start == 0);
    CHECK(records.aborted.size() == 1);
    CHECK(records.memory != nullptr);
    CHECK(claim.partition->held() == batches.size());
    CHECK(claim.memory->used() != 0);
    CHECK_FALSE(claim.partition->all_read());
    records.unread = {};
    CHECK(claim.partition->all_read());
    CHECK(claim.partition->held() == batches.size());
    records.keep = nullptr;
    CHECK(claim.partition->held() == 0);
    CHECK(claim.memory->used() == 0);
}

TEST_CASE("watermarks without records are the sink's when they changed") {
    scene claim;
    claim.answer.aborted = {{7, 11}};
    claim.begin(1, 10);
    claim.take(claim.ask(), "", 10);
    REQUIRE(claim.sink->taken.size() == 1);
    CHECK(claim.sink->taken.front().bytes.empty());
    CHECK(claim.sink->taken.front().keep == nullptr);
    CHECK(claim.sink->taken.front().aborted.empty());
    CHECK(claim.sink->taken.front().next_offset == 10);
    claim.take(claim.ask(), "", 10);
    CHECK(claim.sink->taken.size() == 1);
    claim.take(claim.ask(), "", 12);
    REQUIRE(claim.sink->taken.size() == 2);
    CHECK(claim.sink->taken.back().high_watermark == 12);
    claim.begin(2, 10); // who begins knows none
    claim.take(claim.ask(), "", 12);
    CHECK(claim.sink->taken.size() == 3);
}

TEST_CASE("records of a question before a seek are nobody's") {
    scene claim;
    claim.begin(1, 10);
    auto const before = claim.ask();
    claim.begin(2, 50);
    auto const reaction = claim.take(before, plain_batch(10, 3).bytes(), 20);
    CHECK(!reaction.take);
    CHECK(claim.sink->taken.empty());
    CHECK(claim.partition->held() == 0);
    CHECK(claim.memory->used() == 0);
    CHECK(claim.ask().offset == 50);
}

TEST_CASE("records that bring nothing new are not the sink's, and not held") {
    scene claim;
    claim.begin(1, 10);
    auto const reaction = claim.take(claim.ask(), plain_batch(0, 3).bytes(), 20);
    CHECK(!reaction.take);
    REQUIRE(reaction.event);
    CHECK(reaction.event->type == fetch_event::kind::useless_answer);
    REQUIRE(claim.sink->taken.size() == 1); // the watermarks
    CHECK(claim.sink->taken.front().bytes.empty());
    CHECK(claim.sink->taken.front().next_offset == 10);
    CHECK(claim.partition->held() == 0);
}

TEST_CASE("where an end of the log was that a start named is told once") {
    scene claim;
    claim.begin(3, partition_fetch::latest);
    auto const question = claim.ask();
    claim.partition->tell_start(question.generation);
    CHECK(claim.sink->starts.empty()); // not found yet
    claim.list(question, 42);
    claim.partition->tell_start(question.generation + 1); // of another start
    CHECK(claim.sink->starts.empty());
    claim.partition->tell_start(question.generation);
    claim.partition->tell_start(question.generation);
    CHECK(claim.sink->starts == std::vector<std::int64_t>{42});
    CHECK(claim.sink->last_ticket == 3);

    claim.begin(4, 50); // by its offset: it is known
    claim.partition->tell_start(claim.partition->generation());
    CHECK(claim.sink->starts.size() == 1);
}

TEST_CASE("after a topic was made again, its start is told anew") {
    scene claim;
    claim.begin(3, 10);
    auto const reaction = claim.partition->on_metadata(1, 5, topic_uuid{2});
    REQUIRE(reaction.event);
    CHECK(reaction.event->type == fetch_event::kind::topic_recreated);
    claim.partition->tell(*reaction.event);
    REQUIRE(claim.sink->told.size() == 1);
    CHECK(claim.sink->last_ticket == 3);
    auto const question = claim.ask();
    claim.list(question, 0);
    claim.partition->tell_start(question.generation);
    CHECK(claim.sink->starts == std::vector<std::int64_t>{0});
}

TEST_CASE("an error of metadata is told once while it lasts") {
    scene claim;
    claim.partition->tell_metadata_error(3); // it does not run yet
    claim.begin(1, 10);
    claim.partition->tell_metadata_error(3);
    claim.partition->tell_metadata_error(3);
    REQUIRE(claim.sink->told.size() == 1);
    CHECK(claim.sink->told.front().type == fetch_event::kind::broker_error);
    CHECK(claim.sink->told.front().code == 3);
    CHECK(claim.sink->told.front().from == 10);
    claim.partition->tell_metadata_error(5); // no leader for a while: no news
    CHECK(claim.sink->told.size() == 1);
    claim.partition->tell_metadata_error(0);
    claim.partition->tell_metadata_error(3);
    CHECK(claim.sink->told.size() == 2);
    claim.begin(2, 10);
    claim.partition->tell_metadata_error(3); // a new start has not heard of it
    CHECK(claim.sink->told.size() == 3);
}

TEST_CASE("after the end nothing is told, and the sink is released") {
    scene claim;
    claim.begin(1, 10);
    auto const question = claim.ask();
    claim.partition->end();
    CHECK(claim.sink.use_count() == 1);
    CHECK(!claim.take(question, plain_batch(10, 1).bytes(), 20).take);
    claim.partition->tell({.type = fetch_event::kind::failed});
    claim.partition->tell_metadata_error(3);
    claim.partition->tell_start(claim.partition->generation());
    CHECK(claim.sink->taken.empty());
    CHECK(claim.sink->told.empty());
    CHECK(claim.partition->held() == 0);
}

TEST_CASE("an error of the whole answer is one of what was asked") {
    auto const refused = [](std::int64_t from, std::int32_t epoch, api request, std::int16_t code) {
        scene claim;
        claim.partition->on_metadata(1, 5, orders_id);
        claim.partition->begin(1, from, epoch, claim.sink);
        auto const question = claim.partition->ask(claim.now, {.diverging = false}).value();
        REQUIRE(question.request == request);
        auto const reaction = claim.partition->on_refused(question, code, claim.now);
        CHECK(!claim.partition->outstanding());
        CHECK(!reaction.take);
        REQUIRE(reaction.event);
        CHECK(reaction.event->code == code);
        return reaction.event->type;
    };
    for (auto const code : {std::int16_t{29}, std::int16_t{35}}) {
        CAPTURE(code);
        auto const type = code == 35 ? fetch_event::kind::unsupported // librdkafka reads
                                     : fetch_event::kind::broker_error;
        CHECK(refused(10, -1, api::fetch, code) == type);
        CHECK(refused(partition_fetch::latest, -1, api::list_offsets, code) == type);
        CHECK(refused(10, 3, api::leader_epoch, code) == type);
    }
}

} // namespace
} // namespace fetch_fetched_partition_tests
