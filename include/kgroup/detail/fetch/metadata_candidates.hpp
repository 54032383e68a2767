// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/fetch/known_brokers.hpp>

#include <chrono>
#include <cstddef>
#include <optional>
#include <utility>

namespace kgroup::detail::fetch {

/// Whom to ask for metadata. Any broker that is known will do, one that is connected first; else
/// one after the other is tried, and in the end who is named in the configuration. Who does not
/// answer within a second is not waited for.
///
/// A broker may be behind for as long as nobody but it is asked: so each in its turn is, connected
/// or not, when it is time to hear another one.
class metadata_candidates {
public:
    struct candidate {
        known_broker& to;
        bool ready; // false: it is to be connected to
    };

    /// @param another who was asked last may be behind.
    /// @param ready `ready(known_broker const&)`: a request may be sent on its `control` lane.
    /// @return nullopt: nobody can be asked at this time.
    template <typename Ready>
    std::optional<candidate> next(known_brokers& brokers, bool another, time_point now,
                                  Ready ready) {
        auto const may_ask = [&](known_broker const& one) {
            return one.pauses.may_ask(now) && ready(one);
        };
        auto const may_connect = [&](known_broker const& one) {
            return now >= next_try_ && !one.control().link && one.pauses.may_connect(now);
        };
        auto const count = brokers.size();
        bool const tried = std::exchange(trying_, false);
        if (another && tried && newest_ < count) {
            if (auto& one = brokers.at(newest_); may_ask(one)) {
                return candidate{one, true};
            }
            if (now < next_try_) {
                trying_ = true;
                return std::nullopt;
            }
        }
        for (std::size_t i = 1; another && !tried && i <= count; ++i) {
            auto const index = (newest_ + i) % count;
            auto& one = brokers.at(index);
            if (one.id < 0) {
                continue; // one that is configured: not while there are others
            }
            if (may_ask(one)) {
                newest_ = index;
                return candidate{one, true};
            }
            if (may_connect(one)) {
                return try_to_connect(one, index, now);
            }
        }
        for (std::size_t i = 1; i <= count; ++i) {
            auto const index = (newest_ + i) % count;
            if (auto& one = brokers.at(index); may_ask(one)) {
                newest_ = tried ? newest_ : index; // the one behind who did not answer is next
                return candidate{one, true};
            }
        }
        for (std::size_t i = 1; i <= count; ++i) {
            auto const index = (newest_ + i) % count;
            if (auto& one = brokers.at(index); may_connect(one)) {
                return try_to_connect(one, index, now);
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
    candidate try_to_connect(known_broker& one, std::size_t index, time_point now) noexcept {
        newest_ = index;
        trying_ = true;
        next_try_ = now + std::chrono::seconds{1};
        return {one, false};
    }

    std::size_t newest_ = 0; // the index of who was asked or tried last
    bool trying_ = false;    // he is not asked yet
    time_point next_try_{};
};

} // namespace kgroup::detail::fetch
