// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/fetch/broker_abilities.hpp>
#include <kgroup/detail/fetch/broker_address.hpp>
#include <kgroup/detail/fetch/broker_pauses.hpp>
#include <kgroup/detail/fetch/inquiry.hpp>
#include <kgroup/detail/fetch/partition_fetch.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>

namespace kgroup::detail::fetch {

class connection;

/// A place for a connection, and what is asked over it.
struct broker_lane {
    std::shared_ptr<connection> link; // null: there is none
    std::deque<inquiry> under_way;    // in the order of the answers
};

/// A broker, or an address of the configuration that stands for whoever answers there.
///
/// It has up to three connections. One poll at a time is under way on each of the first two: the
/// second is for partitions that become ready while the first one's poll waits for others. The
/// third is for what must not wait behind a poll.
struct known_broker {
    std::int32_t id = -1; // -1: one of the configuration
    broker_address address;
    broker_pauses pauses;
    broker_abilities abilities;
    std::array<broker_lane, 3> lanes;
    bool gone = false;        // metadata does not name it any more
    bool has_fetches = false; // something is to be fetched from it,
    bool has_others = false;  // or to be asked otherwise

    broker_lane& control() noexcept { return lanes[2]; }
    broker_lane const& control() const noexcept { return lanes[2]; }

    /// Whether it failed, and is not tried again yet.
    bool away(time_point now) const noexcept {
        return pauses.failing(now) &&
               std::none_of(lanes.begin(), lanes.end(),
                            [](auto const& lane) { return lane.link != nullptr; });
    }

    /// A poll that may be sent.
    struct poll_place {
        broker_lane& lane;
        std::optional<time_point> other_ends; // when the other poll ends that is under way
    };
    /// A partition that is ready is asked about at once; unless a poll is about to end, with whose
    /// partitions it can share a request.
    std::optional<poll_place> place_for_poll(time_point now) noexcept {
        if (!pauses.may_poll(now)) {
            return std::nullopt;
        }
        broker_lane* free = nullptr;
        std::optional<time_point> other_ends;
        for (std::size_t i = 0; i != polls; ++i) {
            auto& lane = lanes[i];
            if (!lane.under_way.empty()) {
                other_ends = lane.under_way.front().ends;
            } else if (!free) {
                free = &lane;
            }
        }
        bool const shares = other_ends && *other_ends - now < about && now - *other_ends < about;
        if (!free || shares) {
            return std::nullopt;
        }
        return poll_place{*free, other_ends};
    }

    /// When something may be asked that cannot be asked now; nullopt: no time brings that.
    std::optional<time_point> next_time(time_point now) const noexcept {
        auto result = pauses.next_time(now);
        if (!has_fetches) {
            return result;
        }
        for (auto const& lane : lanes) {
            if (lane.under_way.empty()) {
                continue;
            }
            auto const end = lane.under_way.front().ends + about;
            if (end > now && (!result || end < *result)) {
                result = end;
            }
        }
        return result;
    }

private:
    static constexpr std::size_t polls = 2;               // lanes for them
    static constexpr std::chrono::milliseconds about{10}; // around the end of a poll
};

} // namespace kgroup::detail::fetch
