// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/fetch/known_brokers.hpp>

#include <chrono>
#include <cstddef>
#include <optional>

namespace kgroup::detail::fetch {

/// Whom to ask for metadata. Any broker that is known will do, one that is connected first; else
/// one after the other is tried, and in the end who is named in the configuration. Who does not
/// answer within a second is not waited for.
class metadata_candidates {
public:
    struct candidate {
        known_broker& to;
        bool ready; // false: it is to be connected to
    };

    /// @param ready `ready(known_broker const&)`: a request may be sent on its `control` lane.
    /// @return nullopt: nobody can be asked at this time.
    template <typename Ready>
    std::optional<candidate> next(known_brokers& brokers, time_point now, Ready ready) {
        auto const count = brokers.size();
        for (std::size_t i = 0; i != count; ++i) {
            auto const index = (newest_ + i) % count;
            auto& one = brokers.at(index);
            if (one.pauses.may_ask(now) && ready(one)) {
                newest_ = index;
                return candidate{one, true};
            }
        }
        if (now < next_try_) {
            return std::nullopt;
        }
        for (std::size_t i = 1; i <= count; ++i) {
            auto const index = (newest_ + i) % count;
            auto& one = brokers.at(index);
            if (!one.control().link && one.pauses.may_connect(now)) {
                newest_ = index;
                next_try_ = now + std::chrono::seconds{1};
                return candidate{one, false};
            }
        }
        return std::nullopt;
    }
    /// There was an answer, or a connection ended that one was awaited of: the next one is tried at
    /// once.
    void on_settled() noexcept { next_try_ = {}; }
    /// When the next one is tried; in the past: now.
    time_point next_try() const noexcept { return next_try_; }

private:
    std::size_t newest_ = 0; // the index of who was asked or tried last
    time_point next_try_{};
};

} // namespace kgroup::detail::fetch
