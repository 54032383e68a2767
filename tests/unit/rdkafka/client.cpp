// SPDX-License-Identifier: MIT

#include <kgroup/config.hpp>
#include <kgroup/detail/client/client.hpp>
#include <kgroup/detail/rdkafka/broker_enquiry.hpp>
#include <kgroup/detail/rdkafka/client.hpp>
#include <kgroup/detail/rdkafka/group_deletion.hpp>
#include <kgroup/testing/embedded_cluster.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "support/failing_allocation.hpp"

// What is done on threads that nobody waits for: where there is no memory there, whoever has asked
// is answered all the same, and the process goes on.

namespace rdkafka_client_tests {

namespace {

using namespace std::chrono_literals;
using kgroup::topic_partition;
using kgroup::detail::rdkafka_client;
using kgroup::tests::failing_allocation;
using kgroup::tests::failing_elsewhere;

/// A client that has not joined yet, of a cluster with a topic "t" of three records.
struct asking_client {
    asking_client() {
        cluster.create_topic("t", 2);
        cluster.produce("t", 0, "a", "b", "c");
        client.emplace(settings());
        client->start([] {});
    }
    ~asking_client() {
        std::promise<void> gone;
        client->shut_down([&] { gone.set_value(); });
        client.reset();
        gone.get_future().wait();
    }

    kgroup::config settings() const {
        return {.brokers = cluster.brokers(),
                .group_id = "group",
                .topics = {"t"},
                .initial_offset = kgroup::offset_reset::earliest};
    }

    template <typename Answer>
    std::optional<Answer> answer() {
        for (auto const until = std::chrono::steady_clock::now() + 30s;
             std::chrono::steady_clock::now() < until;) {
            if (auto told = client->poll()) {
                if (auto* const found = std::get_if<Answer>(&*told)) {
                    return std::move(*found);
                }
            } else {
                std::this_thread::yield();
            }
        }
        return std::nullopt;
    }

    kgroup::testing::embedded_cluster cluster;
    std::optional<rdkafka_client> client;
};

/// Each allocation of the thread that finds the answer fails once. Returns how many there are.
template <typename Answer, typename Ask, typename IsWhole, typename IsRefused>
std::size_t allocations_of(Ask const& ask, IsWhole const& is_whole, IsRefused const& is_refused) {
    asking_client asking;
    for (std::size_t which = 1; which != 1000; ++which) {
        CAPTURE(which);
        failing_elsewhere const failing{which};
        ask(*asking.client, which);
        auto const answer = asking.answer<Answer>();
        REQUIRE(answer);
        CHECK(answer->id == which);
        if (!failing.has_failed()) {
            CHECK(is_whole(*answer));
            return which - 1;
        }
        CHECK(is_refused(*answer));
    }
    return 1000;
}

bool is_lack_of_memory(std::error_code ec) { return ec == std::errc::not_enough_memory; }

TEST_CASE("client: a look-up whose thread has no memory is answered with an error") {
    auto const ask = [](rdkafka_client& client, std::uint64_t id) {
        client.look_up(id, {{"t", 1}}, true, 10s);
    };
    auto const count = allocations_of<kgroup::detail::client_offsets>(
        ask,
        [](auto const& answer) {
            return !answer.error && answer.offsets.size() == 1 && answer.lower.size() == 1;
        },
        [](auto const& answer) { return is_lack_of_memory(answer.error); });
    CHECK(count > 2);
    CHECK(count < 1000);
}

TEST_CASE("client: a look into logs whose thread has no memory has found nothing") {
    auto const ask = [](rdkafka_client& client, std::uint64_t id) {
        client.find_in_logs(id, {{{"t", 0}}, {{"t", 1}}}, {"t"}, 10s);
    };
    auto const count = allocations_of<kgroup::detail::client_log_offsets>(
        ask,
        [](auto const& answer) {
            return answer.offsets.size() == 2 && answer.offsets[0].offset == 3 &&
                   !answer.offsets[1].error && answer.partition_counts.at("t") == 2;
        },
        [](auto const& answer) {
            return answer.offsets.size() == 2 && answer.offsets[0].error &&
                   answer.offsets[1].error && answer.partition_counts.empty();
        });
    CHECK(count > 2);
    CHECK(count < 1000);
}

TEST_CASE("client: a look at the ends of logs whose thread has no memory says so of each") {
    auto const ask = [](rdkafka_client& client, std::uint64_t id) {
        client.find_ends(id, {{"t", 0}, {"t", 1}}, 10s);
    };
    auto const count = allocations_of<kgroup::detail::client_ends>(
        ask,
        [](auto const& answer) { return answer.ends.size() == 2 && answer.ends[0].offset == 3; },
        [](auto const& answer) {
            return answer.ends.size() == 2 && is_lack_of_memory(answer.ends[0].error) &&
                   is_lack_of_memory(answer.ends[1].error);
        });
    CHECK(count > 2);
    CHECK(count < 1000);
}

TEST_CASE("client: offsets of a time and a look for the coordinator need no memory on the thread") {
    CHECK(allocations_of<kgroup::detail::client_times>(
              [](rdkafka_client& client, std::uint64_t id) {
                  client.offsets_for_times(id, {{"t", 0}}, {}, 10s);
              },
              [](auto const& answer) {
                  return answer.results.size() == 1 && !answer.results[0].error;
              },
              [](auto const&) { return false; }) == 0);
    CHECK(allocations_of<kgroup::detail::client_coordinator>(
              [](rdkafka_client& client, std::uint64_t id) {
                  client.ask_coordinator(id, {"t", 0}, 10s);
              },
              [](auto const& answer) { return !answer.error && answer.broker_known; },
              [](auto const&) { return false; }) == 0);
}

TEST_CASE("client: a question that finds no memory when it is asked is refused, or answered") {
    asking_client asking;
    auto refused = 0;
    auto failed = true;
    for (std::size_t which = 1; failed && which != 1000; ++which) {
        CAPTURE(which);
        auto answered = true;
        {
            failing_allocation const failing{which};
            try {
                asking.client->look_up(which, {{"t", 1}}, true, 10s);
            } catch (std::bad_alloc const&) {
                answered = false;
                ++refused;
            }
            failed = failing.has_failed();
        }
        if (answered) {
            auto const answer = asking.answer<kgroup::detail::client_offsets>();
            REQUIRE(answer);
            CHECK(answer->id == which);
            CHECK((failed ? is_lack_of_memory(answer->error) : !answer->error));
        }
    }
    CHECK(refused > 0);
    CHECK_FALSE(failed);
}

TEST_CASE(
    "broker_enquiry: without memory it is refused when it begins, and answers on its thread") {
    kgroup::testing::embedded_cluster cluster;
    auto const handle = [&] {
        kgroup::detail::rdkafka_conf conf{rd_kafka_conf_new()};
        char text[256];
        rd_kafka_conf_set(conf.get(), "bootstrap.servers", cluster.brokers().c_str(), text,
                          sizeof text);
        return std::make_shared<kgroup::detail::rdkafka_handle>(std::move(conf), std::nullopt);
    }();
    std::promise<void> answered;
    std::function<void()> const tell = [&] { answered.set_value(); };
    auto refused = 0;
    std::optional<kgroup::detail::broker_enquiry> enquiry;
    failing_elsewhere const elsewhere{1};
    for (std::size_t which = 1; !enquiry && which != 100; ++which) {
        failing_allocation const failing{which};
        try {
            enquiry.emplace(handle, tell);
        } catch (std::bad_alloc const&) {
            ++refused;
        }
    }
    CHECK(refused > 0);
    CHECK(answered.get_future().wait_for(30s) == std::future_status::ready);
    CHECK_FALSE(elsewhere.has_failed());
}

TEST_CASE("group_deletion: without memory it throws that, or is done") {
    kgroup::testing::embedded_cluster cluster;
    auto refused = 0;
    auto failed = true;
    kgroup::oauth_token const token{.value = "a", .principal = "b", .extensions = {{"c", "d"}}};
    for (std::size_t which = 1; failed && which != 100; ++which) {
        failing_allocation const failing{which};
        try {
            static_cast<void>(kgroup::detail::delete_group(
                {.brokers = cluster.brokers(), .group_id = "group"}, token, 100ms));
        } catch (std::bad_alloc const&) {
            ++refused;
        }
        failed = failing.has_failed();
    }
    CHECK(refused > 0);
    CHECK_FALSE(failed);
}

} // namespace

} // namespace rdkafka_client_tests
