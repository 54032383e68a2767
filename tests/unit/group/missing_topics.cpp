// SPDX-License-Identifier: MIT

#include <kgroup/detail/group/missing_topics.hpp>

#include <asio/io_context.hpp>

#include <doctest/doctest.h>

#include <memory>
#include <set>
#include <string>

namespace missing_topics_tests {

namespace {

using kgroup::topic_partition;
using kgroup::detail::missing_topics;
using kgroup::detail::partition_state;
using kgroup::detail::session_state;

topic_partition const t0{"t", 0};
topic_partition const u0{"u", 0};

class topics_of_session {
public:
    asio::io_context context;
    session_state session;
    missing_topics missing;

    topics_of_session() {
        for (auto const& partition : {t0, u0}) {
            session.claims.emplace(partition,
                                   std::make_shared<partition_state>(
                                       partition, context.get_executor(), kgroup::tracked_offset{},
                                       std::weak_ptr<kgroup::detail::claim_observer>{}));
        }
    }
    bool is_missing(topic_partition const& partition) const {
        return session.find(partition)->topic_missing();
    }
};

TEST_CASE_FIXTURE(
    topics_of_session,
    "missing_topics: the claims of a topic that is missing know it until it is found") {
    missing.miss("t", {{t0, 5}}, &session);
    CHECK(is_missing(t0));
    CHECK_FALSE(is_missing(u0));
    missing.find("u", &session);
    CHECK(is_missing(t0));
    missing.find("t", &session);
    CHECK_FALSE(is_missing(t0));
}

TEST_CASE_FIXTURE(topics_of_session, "missing_topics: nothing that is read again is no sign") {
    missing.miss("t", {}, &session);
    CHECK(missing.read_again(&session).empty());
}

TEST_CASE_FIXTURE(topics_of_session, "missing_topics: without a session there are no claims") {
    missing.miss("t", {}, nullptr);
    CHECK(missing.read_again(nullptr).empty());
    missing.find("t", nullptr);
    CHECK_FALSE(is_missing(t0));
}

} // namespace

} // namespace missing_topics_tests
