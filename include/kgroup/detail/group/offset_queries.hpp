// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/pending_answer.hpp>
#include <kgroup/detail/client/client.hpp>
#include <kgroup/offset_for_time.hpp>

#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <utility>
#include <vector>

namespace kgroup::detail {

/// Callers of `offsets_for_times` that wait for their answer.
class offset_queries {
public:
    using answer = pending_answer<std::vector<offset_for_time>>;

    /// The id of the request to send.
    std::uint64_t add(std::shared_ptr<answer> caller) {
        pending_.emplace(last_id_ + 1, std::move(caller));
        return ++last_id_;
    }

    void give(client_times& given) {
        if (auto const query = pending_.extract(given.id)) {
            query.mapped()->give(std::move(given.results));
        }
    }
    /// The request could not be sent.
    void fail(std::shared_ptr<answer> const& caller, std::exception_ptr failure) noexcept {
        std::erase_if(pending_, [&](auto const& query) { return query.second == caller; });
        caller->fail(std::move(failure));
    }
    void fail_all(std::exception_ptr const& failure) noexcept {
        for (auto const& query : std::exchange(pending_, {})) {
            query.second->fail(failure);
        }
    }

private:
    std::map<std::uint64_t, std::shared_ptr<answer>> pending_;
    std::uint64_t last_id_ = 0;
};

} // namespace kgroup::detail
