// SPDX-License-Identifier: MIT

#include <kgroup/detail/fetch/request_writer.hpp>
#include <kgroup/topic_partition.hpp>

#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace fetch_request_writer_tests {
namespace {

using namespace kgroup::detail::fetch;
using namespace std::chrono_literals;
using kgroup::topic_partition;

constexpr topic_uuid orders_id{1};
constexpr topic_uuid payments_id{2};
constexpr std::int32_t correlation = 77;

struct scene {
    std::shared_ptr<answer_memory> memory = std::make_shared<answer_memory>(1 << 20);
    fetched_partitions partitions;
    std::vector<fetch_turns::turn> taken;
    fetcher_settings settings;
    time_point now{1h};

    scene() {
        settings.client_id = "a client";
        settings.rack = "a rack";
        settings.fetch_min_bytes = 5;
    }
    fetched_partition& add(topic_partition const& name, topic_uuid const& id, std::int64_t from,
                           std::int32_t epoch = -1) {
        auto& added = partitions[name];
        added = std::make_shared<fetched_partition>(name, fetch_settings{}, memory);
        added->on_metadata(1, 5, id);
        added->begin(1, from, epoch, nullptr);
        return *added;
    }
    void take(fetched_partition& partition) {
        taken.push_back({&partition, partition.ask(now, {}).value()});
    }
    request_writer writer() const { return request_writer{settings}; }
};

TEST_CASE("a fetch has topics in the order of the turns, and neighbours of one topic together") {
    scene group;
    group.take(group.add({"orders", 1}, orders_id, 10));
    group.take(group.add({"orders", 0}, orders_id, 20));
    group.take(group.add({"payments", 0}, payments_id, 30));
    group.take(group.add({"orders", 2}, orders_id, 40));
    inquiry const asked{api::fetch, group.taken};

    std::array const first{fetch_request::partition{1, 5, 10, -1, 2000},
                           fetch_request::partition{0, 5, 20, -1, 2000}};
    std::array const second{fetch_request::partition{0, 5, 30, -1, 2000}};
    std::array const third{fetch_request::partition{2, 5, 40, -1, 2000}};
    std::array const topics{fetch_request::topic{"orders", orders_id, first},
                            fetch_request::topic{"payments", payments_id, second},
                            fetch_request::topic{"orders", orders_id, third}};
    auto writer = group.writer();
    for (auto const version : std::vector<std::int16_t>{10, 11, 12, 13}) {
        CAPTURE(version);
        std::string expected;
        write_fetch_request(expected, version, correlation, "a client",
                            {.max_wait_ms = 250,
                             .min_bytes = 5,
                             .max_bytes = 9000,
                             .level = isolation::read_committed,
                             .rack = "a rack",
                             .topics = topics});
        CHECK(writer.fetch(asked, version, correlation, 250ms, {9000, 2000}) == expected);
    }
}

TEST_CASE("the isolation level is the group's") {
    scene group;
    group.settings.level = isolation::read_uncommitted;
    group.take(group.add({"orders", 0}, orders_id, 10));
    inquiry const asked{api::fetch, group.taken};
    std::array const partitions{fetch_request::partition{0, 5, 10, -1, 1}};
    std::array const topics{fetch_request::topic{"orders", orders_id, partitions}};
    std::string expected;
    write_fetch_request(expected, 13, correlation, "a client",
                        {.max_wait_ms = 1,
                         .min_bytes = 5,
                         .max_bytes = 1,
                         .level = isolation::read_uncommitted,
                         .rack = "a rack",
                         .topics = topics});
    CHECK(group.writer().fetch(asked, 13, correlation, 1ms, {1, 1}) == expected);
}

TEST_CASE("a topic whose id is not known is asked about by name, and with it all of the request") {
    scene group;
    group.take(group.add({"orders", 0}, orders_id, 0));
    CHECK(request_writer::fetch_version(13, inquiry{api::fetch, group.taken}) == 13);
    CHECK(request_writer::fetch_version(11, inquiry{api::fetch, group.taken}) == 11);
    group.take(group.add({"payments", 0}, {}, 0));
    CHECK(request_writer::fetch_version(13, inquiry{api::fetch, group.taken}) == 12);
    CHECK(request_writer::fetch_version(12, inquiry{api::fetch, group.taken}) == 12);
    CHECK(request_writer::fetch_version(10, inquiry{api::fetch, group.taken}) == 10);
}

TEST_CASE("the ends of logs are asked with a topic's partitions together") {
    scene group;
    group.take(group.add({"payments", 0}, payments_id, partition_fetch::earliest));
    group.take(group.add({"orders", 0}, orders_id, partition_fetch::latest));
    inquiry const asked{api::list_offsets, group.taken};
    std::array const first{list_offsets_request::partition{0, 5, list_offsets_request::latest}};
    std::array const second{list_offsets_request::partition{0, 5, list_offsets_request::earliest}};
    std::array const topics{list_offsets_request::topic{"orders", first},
                            list_offsets_request::topic{"payments", second}};
    auto writer = group.writer();
    for (auto const version : std::vector<std::int16_t>{1, 4, 6}) {
        CAPTURE(version);
        std::string expected;
        write_list_offsets_request(expected, version, correlation, "a client",
                                   {isolation::read_committed, topics});
        CHECK(writer.list_offsets(asked, version, correlation) == expected);
    }
}

TEST_CASE("the ends of epochs are asked with the epoch of the record before") {
    scene group;
    auto& partition = group.add({"orders", 4}, orders_id, 100, 3);
    group.taken.push_back({&partition, partition.ask(group.now, {.diverging = false}).value()});
    inquiry const asked{api::leader_epoch, group.taken};
    REQUIRE(asked.subjects.front().question.request == api::leader_epoch);
    std::array const partitions{leader_epoch_request::partition{4, 5, 3}};
    std::array const topics{leader_epoch_request::topic{"orders", partitions}};
    auto writer = group.writer();
    for (auto const version : std::vector<std::int16_t>{2, 3, 4}) {
        CAPTURE(version);
        std::string expected;
        write_leader_epoch_request(expected, version, correlation, "a client", {topics});
        CHECK(writer.leader_epochs(asked, version, correlation) == expected);
    }
}

TEST_CASE("metadata is asked of each topic once") {
    scene group;
    auto writer = group.writer();
    for (auto const& name : std::vector<topic_partition>{
             {"payments", 1}, {"orders", 0}, {"payments", 0}, {"orders", 7}}) {
        group.add(name, {}, 0);
    }
    std::array<std::string_view, 2> const topics{"orders", "payments"};
    std::string expected;
    write_metadata_request(expected, 12, correlation, "a client", topics);
    CHECK(writer.metadata(group.partitions, 12, correlation) == expected);
    CHECK(writer.metadata(group.partitions, 12, correlation) == expected); // nothing is left over
}

TEST_CASE("whatever is asked is written by its kind, in the version that it allows") {
    scene group;
    auto writer = group.writer();
    auto expected = group.writer();
    group.take(group.add({"orders", 0}, {}, 10));
    inquiry fetch{api::fetch, group.taken};
    fetch.wait = 250ms;
    fetch.limits = {9000, 2000};
    auto written = writer.write(fetch, group.partitions, 13, correlation);
    CHECK(written.version == 12); // by name
    CHECK(written.frame == expected.fetch(fetch, 12, correlation, 250ms, {9000, 2000}));

    group.taken.clear();
    group.take(group.add({"orders", 1}, orders_id, partition_fetch::latest));
    inquiry const offsets{api::list_offsets, group.taken};
    written = writer.write(offsets, group.partitions, 6, correlation);
    CHECK(written.version == 6);
    CHECK(written.frame == expected.list_offsets(offsets, 6, correlation));

    group.taken.clear();
    auto& partition = group.add({"orders", 2}, orders_id, 100, 3);
    group.taken.push_back({&partition, partition.ask(group.now, {.diverging = false}).value()});
    inquiry const epochs{api::leader_epoch, group.taken};
    written = writer.write(epochs, group.partitions, 4, correlation);
    CHECK(written.version == 4);
    CHECK(written.frame == expected.leader_epochs(epochs, 4, correlation));

    written = writer.write(inquiry{api::metadata}, group.partitions, 12, correlation);
    CHECK(written.version == 12);
    CHECK(written.frame == expected.metadata(group.partitions, 12, correlation));
}

TEST_CASE("nothing of a larger request is left in the next one") {
    scene group;
    auto writer = group.writer();
    group.take(group.add({"orders", 0}, orders_id, 0));
    auto const small = group.taken;
    group.take(group.add({"payments", 0}, payments_id, 0));
    std::string const alone{
        group.writer().fetch(inquiry{api::fetch, small}, 13, 1, 1ms, {100, 100})};
    writer.fetch(inquiry{api::fetch, group.taken}, 13, 1, 1ms, {100, 100});
    CHECK(writer.fetch(inquiry{api::fetch, small}, 13, 1, 1ms, {100, 100}) == alone);
}

} // namespace
} // namespace fetch_request_writer_tests
