// SPDX-License-Identifier: MIT

#include <kgroup/detail/events/event_line.hpp>
#include <kgroup/error.hpp>
#include <kgroup/print.hpp>

#include <doctest/doctest.h>

#include <string>

using kgroup::event;
using kgroup::event_kind;
using kgroup::line_of;
using kgroup::make_error_code;
using kgroup::severity;
using kgroup::detail::words_beside;

TEST_CASE("print: an event in one line, the error's message once and at the end") {
    auto const missing = make_error_code(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    event const told{event_kind::topic_missing,
                     severity::warning,
                     kgroup::topic_partition{"orders", -1},
                     missing,
                     "Subscribed topic not available: orders: Broker: Unknown topic or partition",
                     3};
    CHECK(line_of(told) == "topic_missing orders: Subscribed topic not available: orders: "
                           "Broker: Unknown topic or partition (UNKNOWN_TOPIC_OR_PART) (3 more)");
    CHECK(line_of({event_kind::claim_stalled,
                   severity::warning,
                   kgroup::topic_partition{"orders", 0},
                   {},
                   "waits"}) == "claim_stalled orders[0]: waits");
    CHECK(line_of({event_kind::session_ended, severity::info, {}, {}, "revoked"}) ==
          "session_ended: revoked");
    CHECK(line_of({event_kind::commit_failed, severity::warning, {}, missing, missing.message()}) ==
          "commit_failed: Broker: Unknown topic or partition (UNKNOWN_TOPIC_OR_PART)");
    CHECK(line_of({event_kind::client_log, severity::info, {}, {}, "a\x1b[31mb\nc\x7f"}) ==
          "client_log: a [31mb c ");
}

TEST_CASE("print: words beside an error have no part of its message left, wherever it stood") {
    auto const error = make_error_code(RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT);
    for (auto const* const text :
         {"JoinGroup failed: Broker: Invalid session timeout",
          "JoinGroup failed (Broker: Invalid session timeout)",
          "JoinGroup failed: Broker: Invalid session timeout (INVALID_SESSION_TIMEOUT)",
          "Broker: Invalid session timeout: JoinGroup failed",
          "Broker: Invalid session timeout (INVALID_SESSION_TIMEOUT); JoinGroup failed",
          "JoinGroup failed"}) {
        CHECK(words_beside(error, text) == "JoinGroup failed");
    }
    CHECK(words_beside(error, error.message()) == "");
    CHECK(words_beside({}, "Success") == "Success");
}
