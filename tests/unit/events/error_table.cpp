// SPDX-License-Identifier: MIT

#include <kgroup/detail/events/error_table.hpp>
#include <kgroup/error.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <map>
#include <set>
#include <string>

using kgroup::effect_of;
using kgroup::error_effect;
using kgroup::make_error_code;

namespace error_table_tests {

namespace {

std::error_code of_kafka(int code) { return {code, kgroup::kafka_category()}; }

/// Each code that does not heal, by its number: the oldest librdkafka has no names for the last
/// ones.
std::map<int, error_effect> const effects_that_end{
    {-150, error_effect::ends_run},         // _FATAL
    {-144, error_effect::ends_application}, // _FENCED
    {-165, error_effect::ends_application}, // _UNSUPPORTED_FEATURE
    {17, error_effect::ends_application},   // TOPIC_EXCEPTION
    {24, error_effect::ends_application},   // INVALID_GROUP_ID
    {26, error_effect::ends_application},   // INVALID_SESSION_TIMEOUT
    {30, error_effect::ends_application},   // GROUP_AUTHORIZATION_FAILED
    {31, error_effect::ends_application},   // CLUSTER_AUTHORIZATION_FAILED
    {35, error_effect::ends_application},   // UNSUPPORTED_VERSION
    {42, error_effect::ends_application},   // INVALID_REQUEST
    {69, error_effect::ends_run},           // GROUP_ID_NOT_FOUND
    {81, error_effect::ends_run},           // GROUP_MAX_SIZE_REACHED
    {82, error_effect::ends_application},   // FENCED_INSTANCE_ID
    {111, error_effect::ends_run},          // UNRELEASED_INSTANCE_ID
    {112, error_effect::ends_application},  // UNSUPPORTED_ASSIGNOR
    {128, error_effect::ends_application},  // INVALID_REGULAR_EXPRESSION
};

} // namespace

TEST_CASE("error_table: every code that this librdkafka knows, and those of newer ones, have their "
          "row or heal") {
    rd_kafka_err_desc const* all = nullptr;
    std::size_t count = 0;
    rd_kafka_get_err_descs(&all, &count);
    std::set<int> codes;
    for (std::size_t i = 0; i != count; ++i) {
        codes.insert(static_cast<int>(all[i].code));
    }
    REQUIRE(codes.size() > 150);
    for (int code = -200; code != 200; ++code) {
        codes.insert(code);
    }
    for (auto const code : codes) {
        CAPTURE(code);
        auto const row = effects_that_end.find(code);
        auto const effect = row == effects_that_end.end() ? error_effect::heals : row->second;
        CHECK(effect_of(of_kafka(code)) == effect);
        CHECK(kgroup::is_fatal(of_kafka(code)) == (effect != error_effect::heals));
        CHECK_FALSE((kgroup::is_fatal(of_kafka(code)) && kgroup::is_retriable(of_kafka(code))));
    }
}

TEST_CASE("error_table: what librdkafka calls fatal to a consumer is fatal") {
    for (auto const code :
         {69, 42, 81, 112, 35, -165, 111, 30, 82, 128}) { // rd_kafka_cgrp.c, up to 2.16
        CHECK_MESSAGE(kgroup::is_fatal(of_kafka(code)), code);
    }
}

TEST_CASE("error_table: a code has one row, and one that ends an application says which field to "
          "change") {
    std::set<kgroup::kafka_errc> seen;
    for (auto const& row : kgroup::detail::error_table) {
        CAPTURE(static_cast<int>(row.code));
        CHECK(seen.insert(row.code).second);
        if (row.effect == error_effect::ends_application) {
            CHECK(row.remedy.find(": ") != row.remedy.npos);
        }
    }
    CHECK(kgroup::detail::remedy_of(of_kafka(26)).find("'session.timeout.ms'") !=
          std::string::npos);
    CHECK(kgroup::detail::remedy_of(of_kafka(24)).starts_with("group_id: "));
    CHECK(kgroup::detail::remedy_of(of_kafka(23)).starts_with("assignors, protocol: "));
    CHECK(kgroup::detail::remedy_of(of_kafka(7)) == "");
    CHECK(kgroup::detail::remedy_of(std::make_error_code(std::errc::timed_out)) == "");
}

TEST_CASE("error_table: kgroup's own") {
    using kgroup::errc;
    for (auto const code :
         {errc::invalid_config, errc::unsupported_by_librdkafka, errc::no_committed_offset,
          errc::offset_out_of_range, errc::record_unreadable}) {
        CHECK(effect_of(code) == error_effect::ends_application);
    }
    for (auto const code :
         {errc::already_running, errc::handler_abandoned, errc::receive_in_progress,
          errc::session_ended, errc::commit_timed_out, errc::not_running}) {
        CHECK(effect_of(code) == error_effect::heals);
    }
    CHECK(effect_of({}) == error_effect::heals);
    CHECK(effect_of(std::make_error_code(std::errc::io_error)) == error_effect::heals);
}

} // namespace error_table_tests
