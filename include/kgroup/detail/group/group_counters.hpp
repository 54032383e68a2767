// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/group/session_machine.hpp>
#include <kgroup/detail/group/session_state.hpp>
#include <kgroup/event.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace kgroup::detail {

/// What `basic_consumer_group::stats` tells: the group's counters, and those of the session that is
/// under way.
///
/// Thread safety: safe.
class group_counters {
public:
    using counter = std::uint64_t group_stats::*;

    void add(counter counted, std::uint64_t number = 1) noexcept {
        std::lock_guard const lock{mutex_};
        totals_.*counted += number;
    }
    /// How many abandoned coroutines of the user's live on.
    void set_abandoned(std::size_t number) noexcept {
        std::lock_guard const lock{mutex_};
        totals_.abandoned_handlers = number;
    }
    /// A coroutine of the user's has ended after the run: nobody else is told.
    void ended_late(bool abandoned, bool failed, std::size_t late_messages) noexcept {
        std::lock_guard const lock{mutex_};
        totals_.abandoned_handlers -= abandoned ? 1 : 0;
        totals_.late_messages += late_messages;
        totals_.late_failures += failed ? 1 : 0;
    }

    void session_begins(std::shared_ptr<session_state> session) noexcept {
        std::lock_guard const lock{mutex_};
        session_ = std::move(session);
        ++totals_.sessions;
    }
    void session_ends() noexcept {
        std::lock_guard const lock{mutex_};
        session_.reset();
    }
    /// Takes claims out of the session. Their records are counted once, whenever somebody looks.
    std::vector<std::shared_ptr<partition_state>> retire(partition_set const& claims) {
        std::vector<std::shared_ptr<partition_state>> retired;
        retired.reserve(claims.size());
        std::lock_guard const lock{mutex_};
        std::lock_guard const session_lock{session_->mutex};
        for (auto const& partition : claims) {
            if (auto const found = session_->claims.find(partition);
                found != session_->claims.end()) {
                totals_.records_received += found->second->delivered();
                retired.push_back(std::move(found->second));
                session_->claims.erase(found);
            }
        }
        return retired;
    }

    /// Without the claims of the session that is under way.
    group_stats totals() const {
        std::lock_guard const lock{mutex_};
        return totals_;
    }
    group_stats snapshot() const {
        std::lock_guard const lock{mutex_};
        auto result = totals_;
        if (session_) {
            std::lock_guard const session_lock{session_->mutex};
            result.claims = session_->claims.size();
            for (auto const& claim : session_->claims) {
                result.records_received += claim.second->delivered();
            }
        }
        return result;
    }

private:
    mutable std::mutex mutex_; // before the session's, where both are taken
    group_stats totals_;
    std::shared_ptr<session_state> session_;
};

} // namespace kgroup::detail
