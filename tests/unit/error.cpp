// SPDX-License-Identifier: MIT

#include <kgroup/error.hpp>

#include <doctest/doctest.h>

#include <ostream>
#include <set>
#include <string>
#include <system_error>

using kgroup::errc;

TEST_CASE("error: each value has a sentence of its own") {
    std::set<std::string> sentences;
    auto const last = static_cast<int>(errc::invalid_limits);
    for (int value = 1; value <= last; ++value) {
        auto const text = std::error_code{static_cast<errc>(value)}.message();
        CHECK(text.size() > 10);
        CHECK(text.find("unknown") == std::string::npos);
        sentences.insert(text);
    }
    CHECK(sentences.size() == static_cast<std::size_t>(last));
    CHECK(kgroup::error_category().message(last + 1) == "unknown error of kgroup");
    CHECK(std::string{kgroup::error_category().name()} == "kgroup");
}

TEST_CASE("error: errc is an error_code, and throws as one") {
    std::error_code const ec = errc::handler_abandoned;
    CHECK(ec == errc::handler_abandoned);
    CHECK(ec != errc::session_ended);
    CHECK(&ec.category() == &kgroup::error_category());
}

TEST_CASE("error: Kafka's codes keep librdkafka's words and name") {
    auto const ec = kgroup::make_error_code(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    CHECK(ec.value() == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    CHECK(ec.message() == "Broker: Topic authorization failed (TOPIC_AUTHORIZATION_FAILED)");
    CHECK(std::string{ec.category().name()} == "kafka");
    CHECK_FALSE(kgroup::make_error_code(RD_KAFKA_RESP_ERR_NO_ERROR));
    // Equal numbers of the two categories are not equal.
    CHECK(std::error_code{errc::invalid_config} !=
          std::error_code(static_cast<int>(errc::invalid_config), kgroup::kafka_category()));
}

TEST_CASE("error: what may be repeated, what is fatal, what is stale") {
    for (auto const code :
         {RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
          RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS, RD_KAFKA_RESP_ERR__TRANSPORT,
          RD_KAFKA_RESP_ERR__WAIT_COORD, RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT}) {
        auto const ec = kgroup::make_error_code(code);
        CHECK_MESSAGE(kgroup::is_retriable(ec), ec.message());
        CHECK_MESSAGE(!kgroup::is_fatal(ec), ec.message());
    }
    for (auto const code :
         {RD_KAFKA_RESP_ERR__FATAL, RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID,
          RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT,
          static_cast<rd_kafka_resp_err_t>(111)}) {
        auto const ec = kgroup::make_error_code(code);
        CHECK_MESSAGE(kgroup::is_fatal(ec), ec.message());
        CHECK_MESSAGE(!kgroup::is_retriable(ec), ec.message());
    }
    for (auto const code :
         {RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION, RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID,
          RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS, static_cast<rd_kafka_resp_err_t>(113)}) {
        CHECK(kgroup::is_stale(kgroup::make_error_code(code)));
    }
    CHECK(kgroup::is_retriable(errc::commit_timed_out));
    CHECK(kgroup::is_fatal(errc::no_committed_offset));
    CHECK(kgroup::is_fatal(errc::invalid_config));
    CHECK_FALSE(kgroup::is_fatal(errc::session_ended));
    CHECK_FALSE(kgroup::is_stale(errc::session_ended));
    for (auto const& ec : {std::error_code{}, std::make_error_code(std::errc::timed_out)}) {
        CHECK_FALSE(kgroup::is_fatal(ec));
        CHECK_FALSE(kgroup::is_retriable(ec));
        CHECK_FALSE(kgroup::is_stale(ec));
    }
}
