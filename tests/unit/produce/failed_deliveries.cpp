// SPDX-License-Identifier: MIT

#include <kgroup/detail/produce/failed_deliveries.hpp>

#include <doctest/doctest.h>

#include <ostream>
#include <system_error>

namespace failed_deliveries_tests {

namespace {

using kgroup::event_kind;
using kgroup::topic_partition;
using kgroup::detail::failed_deliveries;
using kgroup::detail::producer_events;

auto const timed_out = std::make_error_code(std::errc::timed_out);
auto const refused = std::make_error_code(std::errc::permission_denied);

TEST_CASE("failed_deliveries: none, nothing is told") {
    producer_events told;
    failed_deliveries failed;
    failed.tell(told);
    CHECK(told.all().empty());
}

TEST_CASE("failed_deliveries: failures that are alike are one event with their number, told once") {
    producer_events told;
    failed_deliveries failed;
    for (auto count = 0; count != 3; ++count) {
        failed.add("orders", 2, timed_out, told);
    }
    CHECK(told.all().empty()); // there may be more
    failed.tell(told);
    failed.tell(told);
    REQUIRE(told.all().size() == 1);
    auto const& event = told.all().front();
    CHECK(event.kind == event_kind::delivery_failed);
    CHECK(event.where == topic_partition{"orders", 2});
    CHECK(event.error == timed_out);
    CHECK(event.text == "3 records were not delivered");
}

TEST_CASE("failed_deliveries: another topic, partition or error begins another event") {
    producer_events told;
    failed_deliveries failed;
    failed.add("orders", 0, timed_out, told);
    failed.add("orders", 1, timed_out, told);
    failed.add("orders", 1, refused, told);
    failed.add("payments", 1, refused, told);
    failed.add("payments", 1, refused, told);
    failed.tell(told);
    failed.add("payments", 1, refused, told); // like the one that was told
    failed.tell(told);
    REQUIRE(told.all().size() == 5);
    CHECK(told.all()[0].where == topic_partition{"orders", 0});
    CHECK(told.all()[0].text == "a record was not delivered");
    CHECK(told.all()[1].where == topic_partition{"orders", 1});
    CHECK(told.all()[1].error == timed_out);
    CHECK(told.all()[2].error == refused);
    CHECK(told.all()[3].where == topic_partition{"payments", 1});
    CHECK(told.all()[3].text == "2 records were not delivered");
    CHECK(told.all()[4].text == "a record was not delivered");
}

} // namespace

} // namespace failed_deliveries_tests
