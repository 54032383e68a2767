// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/fetch/partition_fetch.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

namespace kgroup::detail::fetch {

/// Which partitions go into the next request to a broker, and in which order. A broker fills its
/// answer in the order of the request, up to the limit of its bytes: who got records goes to the
/// end, so that all progress.
///
/// Does not own the partitions: `remove` one before it ends.
class fetch_turns {
public:
    struct turn {
        partition_fetch* partition;
        partition_question question;
    };

    void add(partition_fetch& partition) { order_.push_back(&partition); }
    void remove(partition_fetch const& partition) noexcept { std::erase(order_, &partition); }
    /// The partition got records.
    void served(partition_fetch const& partition) noexcept {
        auto const found = std::find(order_.begin(), order_.end(), &partition);
        if (found != order_.end()) {
            std::rotate(found, found + 1, order_.end());
        }
    }

    /// Asks about all partitions of the broker that can be asked about now, in one request. One
    /// that is to be asked about alone comes first, in a request of its own.
    ///
    /// @param into is emptied. Empty then: there is nothing to fetch.
    /// @throws std::bad_alloc
    void take_fetches(std::int32_t broker, time_point now, broker_abilities abilities,
                      std::vector<turn>& into) {
        take(
            broker, now, abilities, into,
            [](partition_question const& question) {
                return question.request == api::fetch && question.alone;
            },
            1);
        if (!into.empty()) {
            return;
        }
        take(broker, now, abilities, into,
             [](partition_question const& question) { return question.request == api::fetch; });
    }
    /// Asks about those partitions of the broker that are to be asked `key` first, ListOffsets
    /// or OffsetForLeaderEpoch. These must not wait behind a fetch.
    ///
    /// @throws std::bad_alloc
    void take_others(api key, std::int32_t broker, time_point now, broker_abilities abilities,
                     std::vector<turn>& into) {
        take(broker, now, abilities, into,
             [key](partition_question const& question) { return question.request == key; });
    }

    /// How long a broker may wait for records: as long as is configured, but no longer than until a
    /// partition that is not in the request may be asked about again. There is one request at a
    /// time to a broker, and what becomes ready meanwhile waits for its answer.
    std::chrono::milliseconds max_wait(std::int32_t broker, time_point now,
                                       std::chrono::milliseconds configured) const noexcept {
        auto result = configured;
        for (auto const* const partition : order_) {
            if (!partition->running() || partition->outstanding() ||
                partition->target(now) != broker) {
                continue;
            }
            auto wait = longest_wait_beside;
            if (auto const until = partition->held_back_until(now)) {
                wait = std::chrono::ceil<std::chrono::milliseconds>(*until - now);
            }
            result = (std::min)(result, (std::max)(wait, std::chrono::milliseconds{1}));
        }
        return result;
    }
    /// When a partition that an error holds back may be asked about again, the earliest of all.
    std::optional<time_point> next_time(time_point now) const noexcept {
        std::optional<time_point> result;
        for (auto const* const partition : order_) {
            if (auto const until = partition->held_back_until(now)) {
                result = result ? (std::min)(*result, *until) : *until;
            }
        }
        return result;
    }

private:
    template <typename Fits>
    void take(std::int32_t broker, time_point now, broker_abilities abilities,
              std::vector<turn>& into, Fits fits,
              std::size_t most = (std::numeric_limits<std::size_t>::max)()) {
        into.clear();
        into.reserve(order_.size()); // so that none is outstanding that is not in there
        for (auto* const partition : order_) {
            if (into.size() == most) {
                return;
            }
            if (partition->target(now) != broker) {
                continue;
            }
            if (auto const question = partition->next(now, abilities);
                question && fits(*question)) {
                into.push_back({partition, *partition->ask(now, abilities)});
            }
        }
    }

    static constexpr std::chrono::milliseconds longest_wait_beside{50};

    std::vector<partition_fetch*> order_;
};

} // namespace kgroup::detail::fetch
