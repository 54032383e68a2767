// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/claim/partition_state.hpp>
#include <kgroup/detail/group/session_state.hpp>
#include <kgroup/end_reason.hpp>
#include <kgroup/error.hpp>
#include <kgroup/message.hpp>
#include <kgroup/session.hpp>
#include <kgroup/topic_partition.hpp>

#include <asio/awaitable.hpp>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace kgroup {

KGROUP_INLINE std::vector<topic_partition> session::claims() const {
    std::lock_guard const lock{state_->mutex};
    std::vector<topic_partition> result;
    for (auto const& [where, state] : state_->claims) {
        result.push_back(where);
    }
    return result;
}

KGROUP_INLINE std::string session::member_id() const {
    auto const group = group_.lock();
    return group ? group->member_id() : std::string{};
}

KGROUP_INLINE std::int32_t session::generation_id() const {
    auto const group = group_.lock();
    return group ? group->generation_id() : -1;
}

KGROUP_INLINE void session::mark_message(message const& done, std::string_view metadata) {
    auto const& record = *detail::record_access::of(done);
    mark(record.block->state(), record.offset + 1, metadata, record.epoch);
}

KGROUP_INLINE void session::mark_offset(topic_partition const& where, std::int64_t next,
                                        std::string_view metadata) {
    if (auto const state = state_->find(where)) {
        if (mark(*state, next, metadata, state->tracker().epoch()) == mark_result::accepted) {
            state->check_mark(next);
        }
    } else {
        refuse_unowned(where);
    }
}

KGROUP_INLINE void session::reset_offset(topic_partition const& where, std::int64_t next,
                                         std::string_view metadata) {
    if (auto const state = state_->find(where)) {
        if (auto const result = state->tracker().reset(next, metadata);
            result >= mark_result::refused_ended) {
            state->refuse(result);
        }
    } else {
        refuse_unowned(where);
    }
}

KGROUP_INLINE void session::start_at(topic_partition const& where, std::int64_t next) {
    std::unique_lock lock{state_->mutex};
    if (!state_->setting_up) {
        throw std::system_error{errc::not_in_setup, "start_at"};
    }
    auto const found = state_->claims.find(where);
    if (found == state_->claims.end()) {
        lock.unlock();
        return refuse_unowned(where);
    }
    auto const state = found->second;
    auto& tracker = state->tracker();
    auto const added = state_->chosen_starts.insert(where).second;
    auto result = tracker.mark(next, tracker.epoch());
    if (result == mark_result::ignored && tracker.marked() != next) {
        result = tracker.reset(next); // it was above
    }
    if (result >= mark_result::refused_ended && added) {
        state_->chosen_starts.erase(where);
    }
    lock.unlock();
    if (result >= mark_result::refused_ended) {
        state->refuse(result);
    }
}

KGROUP_INLINE asio::awaitable<std::vector<commit_result>> session::async_commit() {
    return commit(group_.lock(), state_);
}

KGROUP_INLINE end_reason session::end_reason() const noexcept {
    return state_->why.load(std::memory_order_acquire);
}

KGROUP_INLINE asio::awaitable<void> session::async_wait_stopping() { return wait_stopping(state_); }

KGROUP_INLINE mark_result session::mark(detail::partition_state& state, std::int64_t next,
                                        std::string_view metadata, std::uint32_t epoch) {
    auto const result = metadata.empty() ? state.tracker().mark(next, epoch)
                                         : state.tracker().mark(next, metadata, epoch);
    if (result >= mark_result::refused_ended) {
        state.refuse(result);
    }
    return result;
}

KGROUP_INLINE void session::refuse_unowned(topic_partition const& where) const {
    if (auto const observer = observer_.lock()) {
        observer->mark_refused(where, mark_result::refused_ended);
    }
}

KGROUP_INLINE asio::awaitable<std::vector<commit_result>>
session::commit(std::shared_ptr<detail::session_services> group,
                std::shared_ptr<detail::session_state const> state) {
    if (!group) {
        throw std::system_error{errc::session_ended};
    }
    co_return co_await group->commit_marked(std::move(state));
}

KGROUP_INLINE asio::awaitable<void>
session::wait_stopping(std::shared_ptr<detail::session_state> state) {
    co_await state->stopping.wait();
}

} // namespace kgroup
