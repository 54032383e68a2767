// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/event.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <string>
#include <string_view>
#include <system_error>
#include <unordered_map>
#include <utility>

namespace kgroup::detail {

/// Lets the first of several equal events pass and counts the others, so that an outage is one line
/// and not ten a second.
///
/// It remembers a bounded number of places. When there are more at a time, the events of those that
/// find no room are equal when their kind and cause are: the limit holds for any number of places,
/// and every event that does not pass is counted in a later one.
class event_filter {
public:
    /// How many places are told apart within ten seconds.
    static constexpr std::size_t capacity = 20000;

    /// Whether to report it now; then `suppressed` is set.
    bool passes(event& event, clock::time_point now) {
        if (!repeats(event)) {
            return true;
        }
        auto const key = key_of(event);
        auto found = known_.find(key);
        if (found == known_.end()) {
            make_room(now);
            if (known_.size() == capacity) {
                return passes(crowd_[key.common], event, now);
            }
            found = known_.emplace(key, order_.insert(order_.end(), {key, {}})).first;
            if (auto const crowd = crowd_.find(key.common); crowd != crowd_.end()) {
                auto& counted = found->second->counted;
                counted.suppressed = std::exchange(crowd->second.suppressed, 0);
            }
        }
        if (!passes(found->second->counted, event, now)) {
            return false;
        }
        order_.splice(order_.end(), order_, found->second); // by the time of the last that passed
        return true;
    }

    /// How many places it remembers.
    std::size_t size() const noexcept { return known_.size(); }

private:
    static constexpr auto interval = std::chrono::seconds{10};

    struct count {
        clock::time_point next{}; // before this no other passes
        std::uint64_t suppressed = 0;
    };
    // What events have in common whatever their place.
    using common_key = std::pair<event_kind, std::error_code>;
    struct event_key {
        common_key common;
        std::string topic;
        std::int32_t partition;
        std::size_t text;

        friend bool operator==(event_key const&, event_key const&) = default;
    };
    struct key_hash {
        std::size_t operator()(event_key const& key) const noexcept {
            auto result = static_cast<std::size_t>(key.common.first);
            for (auto const part : {std::hash<std::error_code>{}(key.common.second),
                                    std::hash<std::string>{}(key.topic),
                                    std::hash<std::int32_t>{}(key.partition), key.text}) {
                result = (result ^ part) * 0x9e3779b97f4a7c15u;
                result ^= result >> 32;
            }
            return result;
        }
    };
    struct entry {
        event_key key;
        count counted;
    };

    static bool passes(count& counted, event& event, clock::time_point now) {
        if (now < counted.next) {
            ++counted.suppressed;
            return false;
        }
        counted.next = now + interval;
        event.suppressed = std::exchange(counted.suppressed, 0);
        return true;
    }

    // The oldest may be forgotten when its next event would pass anyhow. What it has counted is
    // told with another.
    void make_room(clock::time_point now) {
        while (known_.size() == capacity && order_.front().counted.next <= now) {
            auto const& oldest = order_.front();
            if (oldest.counted.suppressed != 0) {
                crowd_[oldest.key.common].suppressed += oldest.counted.suppressed;
            }
            known_.erase(oldest.key);
            order_.pop_front();
        }
    }

    static bool repeats(event const& event) noexcept {
        switch (event.kind) {
        case event_kind::claim_stalled:
        case event_kind::mark_refused:
        case event_kind::mark_beyond_end:
        case event_kind::late_message:
        case event_kind::wakeup_healed:
        case event_kind::commit_failed:
        case event_kind::offsets_unavailable:
        case event_kind::partition_error:
        case event_kind::authentication_failed:
        case event_kind::position_reset:
        case event_kind::topic_missing:
        case event_kind::delivery_failed:
        case event_kind::processing_held:
        case event_kind::client_error:
            return true;
        case event_kind::client_log:
            return event.level != severity::debug; // comes only if asked for
        default:
            return false;
        }
    }

    static event_key key_of(event const& event) {
        auto const by_text =
            event.kind == event_kind::client_log || event.kind == event_kind::topic_missing;
        auto const text = by_text ? std::string_view{event.text} : speaker(event.text);
        return {{event.kind, event.error},
                event.where ? event.where->topic : std::string{},
                event.where ? event.where->partition : -1,
                std::hash<std::string_view>{}(text)};
    }

    // The broker that librdkafka's texts begin with, as in "host:9092/1: Connect to … failed (after
    // 3 ms)". The rest of them may be another each time.
    static std::string_view speaker(std::string_view text) noexcept {
        auto const first = text.substr(0, text.find(": "));
        auto const is_name = first.size() != text.size() && first.find(' ') == first.npos;
        return is_name ? first : std::string_view{};
    }

    std::list<entry> order_;
    std::unordered_map<event_key, std::list<entry>::iterator, key_hash> known_;
    std::map<common_key, count> crowd_; // of those that found no room, or were forgotten
};

} // namespace kgroup::detail
