// SPDX-License-Identifier: MIT

#include <kgroup/detail/fetch/api_versions.hpp>
#include <kgroup/detail/fetch/fetch_message.hpp>
#include <kgroup/detail/fetch/leader_epoch_message.hpp>
#include <kgroup/detail/fetch/list_offsets_message.hpp>
#include <kgroup/detail/fetch/metadata_message.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "golden.hpp"

namespace fetch_messages_tests {
namespace {

using namespace kgroup::detail::fetch;
using kgroup::tests::golden;

constexpr std::int32_t correlation = 0x01020304;
constexpr std::string_view client = "a client";
constexpr topic_uuid topic_id{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef,
                              0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88};
constexpr topic_uuid other_id{0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2};

std::string named(std::string_view message, int version) {
    return std::string{message} + "_" + std::to_string(version);
}

/// Reads the whole answer with `read`, and everything that is shorter: those are malformed.
template <typename Read>
void read_whole_and_cut(std::string const& bytes, Read read) {
    for (std::size_t size = 0; size != bytes.size(); ++size) {
        CAPTURE(size);
        // A copy of its own, so that a sanitizer sees what is read behind it.
        std::string const cut{bytes, 0, size};
        CHECK(read(std::string_view{cut}, correlation) == read_result::malformed);
    }
    CHECK(read(std::string_view{bytes}, correlation + 1) == read_result::wrong_correlation);
    CHECK(read(std::string_view{bytes}, correlation) == read_result::ok);
}

/// Reads answers in which one byte is another: whatever it gives, it ends, and within the bytes.
template <typename Read>
void read_bent(std::string const& bytes, Read read) {
    for (std::size_t place = 0; place != bytes.size(); ++place) {
        for (int const bits : {0x01, 0x80, 0xff}) {
            auto bent = bytes;
            bent[place] = static_cast<char>(bent[place] ^ bits);
            bent.shrink_to_fit();
            auto const result = read(std::string_view{bent}, correlation);
            CHECK((result == read_result::wrong_correlation) == (place < 4));
        }
    }
}

TEST_CASE("ApiVersions: requests and answers of every version are those of Kafka's own classes") {
    for (std::int16_t version = 0; version <= 3; ++version) {
        CAPTURE(version);
        std::string bytes;
        write_api_versions_request(bytes, version, correlation, client, "1.0");
        CHECK(bytes == golden(named("api_versions_request", version)));
        api_versions answer;
        auto const read = [&](std::string_view from, std::int32_t expected) {
            return read_api_versions_answer(from, version, expected, answer);
        };
        auto const answered = golden(named("api_versions_answer", version));
        read_bent(answered, read);
        read_whole_and_cut(answered, read);
        CHECK(answer.error == 0);
        CHECK(answer.throttle_ms == (version >= 1 ? 7 : 0));
        CHECK(answer.fetch == version_range{4, 17});
        CHECK(answer.metadata == version_range{0, 13});
        CHECK(answer.use(api::fetch) == 13);
        CHECK(answer.use(api::metadata) == 12);
        CHECK(answer.use(api::list_offsets) == std::nullopt);
    }
}

TEST_CASE("ApiVersions: a broker that does not know the version answers in its first") {
    api_versions answer;
    CHECK(read_api_versions_answer(golden("api_versions_refused_answer_0"), 3, correlation,
                                   answer) == read_result::ok);
    CHECK(answer.error == 35);
    CHECK(answer.itself == version_range{});
    // Brokers since 2.4 name their versions of ApiVersions itself.
    using namespace std::string_view_literals;
    auto const named_itself = "\1\2\3\4\0\x23\0\0\0\1\0\x12\0\0\0\2"sv;
    CHECK(read_api_versions_answer(named_itself, 3, correlation, answer) == read_result::ok);
    CHECK(answer.itself == version_range{0, 2});
    CHECK(answer.use(api::api_versions) == 2);
}

TEST_CASE("no version is used that one of both does not know") {
    CHECK(common_version({10, 13}, {4, 18}) == 13);
    CHECK(common_version({10, 13}, {0, 11}) == 11);
    CHECK(common_version({10, 13}, {0, 9}) == std::nullopt);
    CHECK(common_version({10, 13}, {14, 18}) == std::nullopt);
    CHECK(common_version({10, 13}, {}) == std::nullopt);
    CHECK(common_version({10, 13}, {12, 9}) == std::nullopt); // nonsense
}

TEST_CASE("Metadata: requests and answers of every version are those of Kafka's own classes") {
    for (std::int16_t version = 1; version <= 12; ++version) {
        CAPTURE(version);
        std::string_view const topics[] = {"orders", "payments"};
        std::string bytes;
        write_metadata_request(bytes, version, correlation, client, topics);
        CHECK(bytes == golden(named("metadata_request", version)));
        metadata_answer answer;
        auto const read = [&](std::string_view from, std::int32_t expected) {
            return read_metadata_answer(from, version, expected, answer);
        };
        auto const answered = golden(named("metadata_answer", version));
        read_bent(answered, read);
        read_whole_and_cut(answered, read);
        CHECK(answer.throttle_ms == (version >= 3 ? 9 : 0));
        REQUIRE(answer.brokers.size() == 2);
        CHECK(answer.brokers[0].id == 1);
        CHECK(answer.brokers[0].host == "one.example");
        CHECK(answer.brokers[0].port == 9092);
        CHECK(answer.brokers[1].host == "two.example");
        REQUIRE(answer.topics.size() == 2);
        CHECK(answer.topics[0].name == "orders");
        CHECK(answer.topics[0].error == 0);
        CHECK(answer.topics[0].id == (version >= 10 ? topic_id : topic_uuid{}));
        CHECK(answer.topics[1].name == "payments");
        CHECK(answer.topics[1].error == 3);
        CHECK(answer.partitions_of(answer.topics[1]).empty());
        auto const partitions = answer.partitions_of(answer.topics[0]);
        REQUIRE(partitions.size() == 2);
        CHECK(partitions[0].number == 3);
        CHECK(partitions[0].leader == 2);
        CHECK(partitions[0].leader_epoch == (version >= 7 ? 5 : -1));
        CHECK(partitions[1].number == 4);
        CHECK(partitions[1].error == 5);
        CHECK(partitions[1].leader == -1);
    }
}

TEST_CASE("Fetch: requests and answers of every version are those of Kafka's own classes") {
    for (std::int16_t version = 10; version <= 13; ++version) {
        CAPTURE(version);
        fetch_request::partition const of_orders[] = {
            {.number = 0,
             .current_leader_epoch = 7,
             .offset = 1234567890123,
             .last_fetched_epoch = 6,
             .max_bytes = 1048576},
            {.number = 2, .offset = 5, .max_bytes = 1048576}};
        fetch_request::partition const of_payments[] = {
            {.number = 1, .offset = 0, .max_bytes = 65536}};
        fetch_request::topic const topics[] = {{"orders", topic_id, of_orders},
                                               {"payments", other_id, of_payments}};
        fetch_request request;
        request.max_wait_ms = 500;
        request.max_bytes = 52428800;
        request.rack = "rack";
        request.topics = topics;
        std::string bytes;
        write_fetch_request(bytes, version, correlation, client, request);
        CHECK(bytes == golden(named("fetch_request", version)));

        fetch_answer answer;
        auto const read = [&](std::string_view from, std::int32_t expected) {
            return read_fetch_answer(from, version, expected, answer);
        };
        auto const answered = golden(named("fetch_answer", version));
        read_bent(answered, read);
        read_whole_and_cut(answered, read);
        CHECK(answer.throttle_ms == 11);
        CHECK(answer.error == 0);
        REQUIRE(answer.partitions.size() == 2);
        auto const& full = answer.partitions[0];
        CHECK(full.topic == (version >= 13 ? "" : "orders"));
        CHECK(full.topic_id == (version >= 13 ? topic_id : topic_uuid{}));
        CHECK(full.number == 0);
        CHECK(full.error == 0);
        CHECK(full.high_watermark == 300);
        CHECK(full.last_stable_offset == 200);
        CHECK(full.log_start == 100);
        CHECK(full.records == "records");
        CHECK(full.preferred_replica == (version >= 11 ? 4 : -1));
        REQUIRE(answer.aborted_of(full).size() == 2);
        CHECK(answer.aborted_of(full)[0] == aborted_transaction{77, 150});
        CHECK(answer.aborted_of(full)[1] == aborted_transaction{78, 120});
        CHECK_FALSE(full.diverging);
        CHECK_FALSE(full.current_leader);
        auto const& failed = answer.partitions[1];
        CHECK(failed.number == 2);
        CHECK(failed.error == 6);
        CHECK(failed.records.empty());
        CHECK(answer.aborted_of(failed).empty());
        REQUIRE(failed.diverging.has_value() == (version >= 12));
        if (version >= 12) {
            CHECK(failed.diverging->epoch == 3);
            CHECK(failed.diverging->end_offset == 90);
            REQUIRE(failed.current_leader);
            CHECK(failed.current_leader->id == 2);
            CHECK(failed.current_leader->epoch == 8);
        }
    }
}

TEST_CASE("ListOffsets: requests and answers of every version are those of Kafka's own classes") {
    for (std::int16_t version = 1; version <= 6; ++version) {
        CAPTURE(version);
        list_offsets_request::partition const partitions[] = {
            {.number = 0, .current_leader_epoch = 7, .timestamp = list_offsets_request::latest},
            {.number = 1, .timestamp = list_offsets_request::earliest}};
        list_offsets_request::topic const topics[] = {{"orders", partitions}};
        std::string bytes;
        write_list_offsets_request(bytes, version, correlation, client,
                                   {isolation::read_committed, topics});
        CHECK(bytes == golden(named("list_offsets_request", version)));
        list_offsets_answer answer;
        auto const read = [&](std::string_view from, std::int32_t expected) {
            return read_list_offsets_answer(from, version, expected, answer);
        };
        auto const answered = golden(named("list_offsets_answer", version));
        read_bent(answered, read);
        read_whole_and_cut(answered, read);
        CHECK(answer.throttle_ms == (version >= 2 ? 12 : 0));
        REQUIRE(answer.partitions.size() == 2);
        CHECK(answer.partitions[0].topic == "orders");
        CHECK(answer.partitions[0].offset == 4321);
        CHECK(answer.partitions[0].leader_epoch == (version >= 4 ? 6 : -1));
        CHECK(answer.partitions[1].number == 1);
        CHECK(answer.partitions[1].error == 6);
        CHECK(answer.partitions[1].offset == -1);
    }
}

TEST_CASE("OffsetForLeaderEpoch: requests and answers of every version are those of Kafka's own "
          "classes") {
    for (std::int16_t version = 2; version <= 4; ++version) {
        CAPTURE(version);
        leader_epoch_request::partition const partitions[] = {
            {.number = 3, .current_leader_epoch = 9, .leader_epoch = 8}};
        leader_epoch_request::topic const topics[] = {{"orders", partitions}};
        std::string bytes;
        write_leader_epoch_request(bytes, version, correlation, client, {topics});
        CHECK(bytes == golden(named("leader_epoch_request", version)));
        leader_epoch_answer answer;
        auto const read = [&](std::string_view from, std::int32_t expected) {
            return read_leader_epoch_answer(from, version, expected, answer);
        };
        auto const answered = golden(named("leader_epoch_answer", version));
        read_bent(answered, read);
        read_whole_and_cut(answered, read);
        CHECK(answer.throttle_ms == 13);
        REQUIRE(answer.partitions.size() == 1);
        CHECK(answer.partitions[0].topic == "orders");
        CHECK(answer.partitions[0].number == 3);
        CHECK(answer.partitions[0].leader_epoch == 8);
        CHECK(answer.partitions[0].end_offset == 555);
    }
}

TEST_CASE("the length of an answer is bounded before anything is allocated for it") {
    using namespace std::string_view_literals;
    CHECK(frame_size("\0\0\0\4"sv, 100) == 4);
    CHECK(frame_size("\0\0\0\x64"sv, 100) == 100);
    CHECK(frame_size("\0\0\0\x65"sv, 100) == std::nullopt);
    CHECK(frame_size("\0\0\0\3"sv, 100) == std::nullopt); // not even a correlation id
    CHECK(frame_size("\xff\xff\xff\xff"sv, 100) == std::nullopt);
    CHECK(frame_size("\0\0\0"sv, 100) == std::nullopt);
}

} // namespace
} // namespace fetch_messages_tests
