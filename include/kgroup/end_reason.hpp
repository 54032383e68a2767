// SPDX-License-Identifier: MIT

#pragma once

#include <string_view>

namespace kgroup {

/// Why a session, or one claim of it, has ended.
enum class end_reason {
    running, ///< it has not
    revoked, ///< a rebalance takes the partitions away; what is marked is committed before they go
    lost,    ///< the group has given the partitions away already; nothing can be committed any more
    stopped, ///< `stop()` was called or the run was cancelled
    claim_exited,   ///< a handler returned while its claim was live
    handler_failed, ///< `setup`, `consume_claim` or `cleanup` threw
    group_failed, ///< a fatal error of the group: fenced, not authorised, no committed offset, …
};

/// The reason's name, as in its enumerator.
constexpr std::string_view to_string(end_reason reason) noexcept {
    switch (reason) {
    case end_reason::running:
        return "running";
    case end_reason::revoked:
        return "revoked";
    case end_reason::lost:
        return "lost";
    case end_reason::stopped:
        return "stopped";
    case end_reason::claim_exited:
        return "claim_exited";
    case end_reason::handler_failed:
        return "handler_failed";
    case end_reason::group_failed:
        return "group_failed";
    }
    return "unknown";
}

} // namespace kgroup
