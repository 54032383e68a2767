// SPDX-License-Identifier: MIT

#include <kgroup/detail/fetch/fetcher_counters.hpp>

#include <doctest/doctest.h>

namespace fetcher_counters_tests {
namespace {

using namespace kgroup::detail::fetch;

TEST_CASE("fetcher_counters: metadata counts by itself, and with all that is no fetch") {
    fetcher_counters counters;
    counters.on_request(api::fetch);
    counters.on_request(api::fetch);
    counters.on_request(api::list_offsets);
    counters.on_request(api::leader_epoch);
    counters.on_request(api::metadata);
    CHECK(counters.fetches == 2);
    CHECK(counters.other_requests == 3);
    CHECK(counters.metadata_requests == 1);
    CHECK(counters.answers == 0);
}

TEST_CASE("fetcher_counters: answers count with their bytes") {
    fetcher_counters counters;
    counters.on_connection();
    counters.on_answer(100);
    counters.on_answer(11);
    CHECK(counters.connections == 1);
    CHECK(counters.answers == 2);
    CHECK(counters.bytes == 111);
}

} // namespace
} // namespace fetcher_counters_tests
