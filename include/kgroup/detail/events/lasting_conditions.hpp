// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/event.hpp>
#include <kgroup/topic_partition.hpp>

#include <chrono>
#include <cstddef>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kgroup::detail {

/// What has begun and not ended: the conditions that events begin and end in pairs (`ended_by`,
/// `ends`).
///
/// Each begin that was told has one end that is told. A condition whose event the limit on repeated
/// events kept back is told later if it lasts; if it ends before, neither is told.
///
/// Thread safety: `all`: any thread. Everything else: the group's strand.
class lasting_conditions {
public:
    struct condition {
        event newest; // of the events that begin it: they repeat while it lasts
        clock::time_point since;
        clock::time_point last;
        bool told = false;
    };

    /// An event begins a condition, or repeats it; `told`: it is reported.
    void note(event const& begin, bool told, clock::time_point now) {
        std::lock_guard const lock{mutex_};
        auto const [found, began] =
            all_.try_emplace(place_of(begin), condition{begin, now, now, false});
        auto& known = found->second;
        known.last = now;
        if (!began) {
            known.newest = begin;
        }
        untold_ += began ? 1u : 0u;
        if (told && !std::exchange(known.told, true)) {
            --untold_;
        }
    }

    /// Ends what the event ends: at its place or, if it has none, at all. Returns what is to be
    /// told, an event a condition; nothing, if none lasts.
    std::vector<event> end(event const& by) {
        std::vector<event> told;
        auto const kind = ends(by.kind);
        if (!kind) {
            return told;
        }
        auto found = all_.lower_bound({*kind, by.where});
        while (found != all_.end() && found->first.first == *kind &&
               (!by.where || found->first.second == by.where)) {
            end(found++, by, told);
        }
        return told;
    }

    /// Ends the condition of this kind that names no place, if it was last told, or kept back,
    /// before `silent_since`: of such a condition nobody tells the end.
    std::vector<event> end_without_place(event_kind begin, clock::time_point silent_since,
                                         std::string_view text) {
        std::vector<event> told;
        if (auto const found = all_.find({begin, std::nullopt});
            found != all_.end() && found->second.last < silent_since) {
            end(found, {*ended_by(begin), severity::info, std::nullopt, {}, std::string{text}},
                told);
        }
        return told;
    }

    /// Ends all that concerns a partition, which is not owned any more.
    std::vector<event> end_of(topic_partition const& where, std::string const& text) {
        std::vector<event> told;
        for (auto kind = 0; !all_.empty() && kind <= static_cast<int>(event_kind::client_log);
             ++kind) {
            auto const begin = static_cast<event_kind>(kind);
            if (auto const found = all_.find({begin, where}); found != all_.end()) {
                end(found, {*ended_by(begin), severity::info, where, {}, text}, told);
            }
        }
        return told;
    }

    /// Conditions that were kept back and have lasted for so long by now.
    std::vector<event> kept_back(clock::time_point now, clock::duration for_so_long) const {
        std::vector<event> found;
        if (untold_ != 0) {
            for (auto const& [place, known] : all_) {
                if (!known.told && now - known.since >= for_so_long) {
                    found.push_back(known.newest);
                }
            }
        }
        return found;
    }

    bool lasts(event_kind begin) const {
        auto const found = all_.lower_bound({begin, std::nullopt});
        return found != all_.end() && found->first.first == begin;
    }
    bool lasts(event_kind begin, topic_partition const& where) const {
        return all_.contains({begin, where});
    }
    /// All of them. Any thread.
    std::vector<condition> all() const {
        std::vector<condition> found;
        std::lock_guard const lock{mutex_};
        found.reserve(all_.size());
        for (auto const& [place, known] : all_) {
            found.push_back(known);
        }
        return found;
    }
    /// The conditions of one kind, with their places.
    std::vector<condition> of(event_kind begin) const {
        std::vector<condition> found;
        for (auto entry = all_.lower_bound({begin, std::nullopt});
             entry != all_.end() && entry->first.first == begin; ++entry) {
            found.push_back(entry->second);
        }
        return found;
    }

private:
    using condition_place = std::pair<event_kind, std::optional<topic_partition>>;
    using conditions = std::map<condition_place, condition>;

    // Commits and logins fail as a whole: whom an event of theirs names is where it was noticed.
    static condition_place place_of(event const& begin) {
        auto const whole = begin.kind == event_kind::commit_failed ||
                           begin.kind == event_kind::authentication_failed;
        return {begin.kind, whole ? std::nullopt : begin.where};
    }

    void end(conditions::iterator which, event by, std::vector<event>& told) {
        by.where = which->first.second;
        if (which->second.told) {
            told.push_back(std::move(by));
        } else {
            --untold_;
        }
        std::lock_guard const lock{mutex_};
        all_.erase(which);
    }

    mutable std::mutex mutex_; // of the next, where it is changed or read elsewhere
    conditions all_;
    std::size_t untold_ = 0;
};

} // namespace kgroup::detail
