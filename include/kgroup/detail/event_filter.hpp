#pragma once

#include <kgroup/detail/clock.hpp>
#include <kgroup/event.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <tuple>
#include <utility>

namespace kgroup::detail {

/// Lets the first of several equal events pass and counts the others, so that an outage is one line and not ten a second.
class event_filter {
public:
    /// Whether to report it now; then `suppressed` is set.
    bool passes(event& what, clock::time_point now) {
        using namespace std::chrono_literals;
        if (!repeats(what.kind)) {
            return true;
        }
        if (seen_.size() > 1000) {
            seen_.clear(); // a flood of different ones: forget, rather than grow
        }
        auto const [found, added] = seen_.try_emplace(key_of(what));
        auto& before = found->second;
        if (!added && now < before.last + 10s) {
            ++before.suppressed;
            return false;
        }
        before.last = now;
        what.suppressed = std::exchange(before.suppressed, 0);
        return true;
    }

private:
    using key = std::tuple<event_kind, std::string, std::int32_t, int, std::size_t>;
    struct entry {
        clock::time_point last{};
        std::uint64_t suppressed = 0;
    };

    static bool repeats(event_kind kind) noexcept {
        switch (kind) {
        case event_kind::claim_stalled:
        case event_kind::mark_refused:
        case event_kind::late_message:
        case event_kind::wakeup_healed:
        case event_kind::commit_failed:
        case event_kind::offsets_unavailable:
        case event_kind::partition_error:
        case event_kind::authentication_failed:
        case event_kind::position_reset:
        case event_kind::topic_missing:
        case event_kind::client_error:
        case event_kind::client_log: return true;
        default: return false;
        }
    }

    static key key_of(event const& what) {
        auto const by_text = what.kind == event_kind::client_log || what.kind == event_kind::topic_missing;
        return {what.kind, what.where ? what.where->topic : std::string{}, what.where ? what.where->partition : -1,
                what.error.value(), by_text ? std::hash<std::string>{}(what.text) : 0};
    }

    std::map<key, entry> seen_;
};

} // namespace kgroup::detail
