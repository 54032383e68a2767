// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/manual_reset_event.hpp>
#include <kgroup/detail/claim/partition_state.hpp>
#include <kgroup/end_reason.hpp>
#include <kgroup/topic_partition.hpp>

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <set>

namespace kgroup::detail {

/// What a session and its group share.
struct session_state {
    mutable std::mutex mutex;
    std::map<topic_partition, std::shared_ptr<partition_state>>
        claims;                              // under the mutex, like the next two
    bool setting_up = true;                  // `setup` runs
    std::set<topic_partition> chosen_starts; // by `session::start_at`
    std::atomic<end_reason> why{end_reason::running};
    manual_reset_event stopping;

    std::shared_ptr<partition_state> find(topic_partition const& where) const {
        std::lock_guard const lock{mutex};
        auto const found = claims.find(where);
        return found == claims.end() ? nullptr : found->second;
    }
};

} // namespace kgroup::detail
