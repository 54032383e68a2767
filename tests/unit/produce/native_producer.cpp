// SPDX-License-Identifier: MIT

#include <kgroup/detail/produce/native_producer.hpp>
#include <kgroup/error.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <memory>

namespace native_producer_tests {

namespace {

using kgroup::errc;
using kgroup::detail::native_producer;
using kgroup::detail::native_producers;

std::shared_ptr<native_producer> make(std::size_t outstanding, std::size_t bytes) {
    auto made = std::make_shared<native_producer>();
    made->outstanding = outstanding;
    made->bytes = bytes;
    return made;
}

TEST_CASE("native_producers: one that is replaced stays until it has reported all its records") {
    native_producers natives;
    CHECK_FALSE(natives.current());
    CHECK(natives.all().empty());
    auto const first = make(2, 20);
    natives.use(first);
    natives.retire_current(errc::producer_stopped);
    CHECK_FALSE(natives.current()); // until there is another
    CHECK(first->cause == errc::producer_stopped);
    CHECK(natives.any_retiring());
    auto const second = make(3, 300);
    natives.use(second);
    CHECK(natives.current() == second);
    CHECK(natives.all().size() == 2);
    CHECK(natives.outstanding() == 5);
    CHECK(natives.bytes() == 320);

    CHECK(natives.take_settled().empty());
    first->outstanding = 0;
    auto const settled = natives.take_settled();
    REQUIRE(settled.size() == 1);
    CHECK(settled.front() == first);
    CHECK_FALSE(natives.any_retiring());
    CHECK(natives.all().front() == second);
    second->outstanding = 0;
    CHECK(natives.take_settled().empty()); // it takes records
}

TEST_CASE("native_producers: what those that are replaced have left fails for the cause of the "
          "end") {
    native_producers natives;
    auto const replaced = make(1, 1);
    natives.use(replaced);
    natives.retire_current(make_error_code(errc::invalid_config));
    natives.give_up(errc::producer_stopped);
    CHECK(replaced->cause == errc::producer_stopped);
}

TEST_CASE("delivery_error: a topic that does not exist has one error") {
    CHECK(kgroup::detail::delivery_error(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) ==
          RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC);
    CHECK(kgroup::detail::delivery_error(RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC) ==
          RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC);
    CHECK(kgroup::detail::delivery_error(RD_KAFKA_RESP_ERR_NO_ERROR) == RD_KAFKA_RESP_ERR_NO_ERROR);
}

} // namespace

} // namespace native_producer_tests
