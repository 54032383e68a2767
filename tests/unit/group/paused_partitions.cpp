// SPDX-License-Identifier: MIT

#include <kgroup/detail/group/paused_partitions.hpp>

#include <asio/io_context.hpp>

#include <doctest/doctest.h>

#include <array>
#include <memory>
#include <vector>

namespace paused_partitions_tests {

namespace {

using kgroup::topic_partition;
using kgroup::detail::partition_state;
using kgroup::detail::paused_partitions;

topic_partition const t0{"t", 0};
topic_partition const t1{"t", 1};
topic_partition const u0{"u", 0};

class paused_group {
public:
    asio::io_context context;
    paused_partitions paused;

    std::shared_ptr<partition_state> claim(topic_partition const& where) {
        auto state = std::make_shared<partition_state>(
            where, context.get_executor(), kgroup::tracked_offset{},
            std::weak_ptr<kgroup::detail::claim_observer>{});
        paused.attach(state);
        return state;
    }
};

TEST_CASE_FIXTURE(paused_group,
                  "a pause closes the gate of the claim, and of those that follow it") {
    paused.add(std::array{t0, t1, u0});
    auto const first = claim(t0);
    CHECK(first->open());
    SUBCASE("by partition") { paused.set(std::array{t0}, true); }
    SUBCASE("by topic") { paused.set("t", true); }
    SUBCASE("all") { paused.set_all(true); }
    CHECK_FALSE(first->open());
    auto const second = claim(t0);
    CHECK_FALSE(second->open());
    paused.set(std::array{t0}, false);
    CHECK(second->open());
    CHECK(claim(t0)->open());
}

TEST_CASE_FIXTURE(paused_group, "a topic is its partitions and no others") {
    topic_partition const longer{"tt", 0};
    topic_partition const negative{"t", -1};
    paused.add(std::array{t0, t1, u0, longer, negative});
    paused.set("t", true);
    CHECK_FALSE(claim(negative)->open());
    CHECK_FALSE(claim(t0)->open());
    CHECK_FALSE(claim(t1)->open());
    CHECK(claim(longer)->open());
    CHECK(claim(u0)->open());
}

TEST_CASE_FIXTURE(paused_group,
                  "what is not owned is passed over, and what comes back is not paused") {
    paused.set_all(true);
    paused.set(std::array{t0}, true);
    paused.add(std::array{t0, t1});
    CHECK(claim(t0)->open());
    paused.set_all(true);
    SUBCASE("what stays is") {
        paused.add(std::array{t0, u0});
        CHECK_FALSE(claim(t0)->open());
        CHECK(claim(u0)->open());
    }
    SUBCASE("taken") {
        paused.remove(std::array{t0});
        CHECK_FALSE(claim(t1)->open());
    }
    SUBCASE("all taken") { paused.remove_all(); }
    paused.remove(std::array{t0});
    paused.add(std::array{t0});
    CHECK(claim(t0)->open());
}

} // namespace

} // namespace paused_partitions_tests
