// SPDX-License-Identifier: MIT

#include <kgroup/detail/metrics/error_type.hpp>
#include <kgroup/failure.hpp>
#include <kgroup/kafka_errc.hpp>

#include <doctest/doctest.h>

#include <exception>
#include <stdexcept>
#include <string>
#include <system_error>

namespace error_type_tests {

TEST_CASE("error_type: few words that one may count by") {
    using kgroup::detail::error_type;
    using kgroup::detail::error_words;
    auto const refused = std::make_exception_ptr(
        std::system_error{kgroup::make_error_code(kgroup::kafka_errc::topic_authorization_failed),
                          "the warehouse of customer 4711"});
    CHECK(error_type(refused) == "kafka:29"); // the rest differs each time
    CHECK(error_words(refused).starts_with("the warehouse of customer 4711"));
    CHECK(error_type(std::make_exception_ptr(std::runtime_error{"out of paper"})) ==
          "std::runtime_error");
    CHECK(error_type(std::make_exception_ptr(kgroup::permanent_failure{"no such shelf"})) ==
          "kgroup::permanent_failure");
    CHECK(error_words(std::make_exception_ptr(kgroup::permanent_failure{"no such shelf"})) ==
          "no such shelf");
    CHECK(error_type(std::make_exception_ptr(7)) == "_OTHER");
    CHECK(error_words(std::make_exception_ptr(7)).empty());
    CHECK(error_type(std::make_error_code(std::errc::timed_out)) ==
          "generic:" + std::to_string(static_cast<int>(std::errc::timed_out)));
}

} // namespace error_type_tests
