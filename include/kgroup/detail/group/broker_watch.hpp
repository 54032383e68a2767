// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/group/outage_watch.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <system_error>
#include <utility>

namespace kgroup::detail {

/// Whether brokers answer, and whether they accept this member. Knows no clock.
class broker_watch {
public:
    /// What the answer of a broker ends.
    struct recovery {
        bool reachable = false;
        bool accepted = false;
    };

    /// None can be reached; `last_commit`, `last_look_up`: what was asked last before: its answer
    /// may be older. false: that lasts already.
    bool unreachable(clock::time_point now, std::uint64_t last_commit,
                     std::uint64_t last_look_up) noexcept {
        if (!outage_.begin(now)) {
            return false;
        }
        last_commit_ = last_commit;
        last_look_up_ = last_look_up;
        return true;
    }
    /// One has refused this member.
    void refused(clock::time_point now) noexcept {
        refusal_.begin(now);
        refused_at_ = now;
    }

    bool outage() const noexcept { return outage_.lasts(); }
    bool refusal() const noexcept { return refusal_.lasts(); }

    /// Whether a commit's answer shows that brokers answer now.
    bool answers_commit(std::uint64_t id, std::error_code const& error) const noexcept {
        return id > last_commit_ && is_answer_of_broker(error);
    }
    bool answers_look_up(std::uint64_t id, std::error_code const& error) const noexcept {
        return id > last_look_up_ && is_answer_of_broker(error);
    }
    /// A broker has answered.
    recovery answered(clock::time_point now) noexcept {
        recovery ended;
        ended.reachable = outage_.answered();
        // Another broker may refuse this member still: then it says so again, at each attempt.
        if (refusal_.lasts() && now - refused_at_ >= refusal_lasts) {
            ended.accepted = refusal_.answered();
        }
        return ended;
    }

    struct due_questions {
        bool outage = false;
        bool refusal = false;
    };
    /// Whether brokers are to be asked now, and for the sake of what.
    due_questions questions_due(clock::time_point now) noexcept {
        auto const outage = outage_.question_is_due(now);
        return {outage, refusal_.question_is_due(now)};
    }

private:
    static constexpr auto refusal_lasts = std::chrono::seconds{5};

    outage_watch outage_;
    outage_watch refusal_;
    clock::time_point refused_at_{};
    std::uint64_t last_commit_ = 0;
    std::uint64_t last_look_up_ = 0;
};

/// The questions to brokers that are under way, one of a kind at a time.
class broker_questions {
public:
    enum class kind : std::size_t { coordinator, log_ends, topics };

    bool open(kind asked) const noexcept { return at(asked) != 0; }
    /// It is asked now. Returns its id.
    std::uint64_t ask(kind asked) noexcept { return at(asked) = ++last_id_; }
    /// Whether that is the answer to it.
    bool answer(kind asked, std::uint64_t id) noexcept {
        auto const awaited = open(asked) && at(asked) == id;
        at(asked) = awaited ? 0 : at(asked);
        return awaited;
    }
    /// Nobody waits for an answer any more.
    void forget() noexcept { open_ = {}; }

private:
    std::uint64_t& at(kind asked) noexcept { return open_[static_cast<std::size_t>(asked)]; }
    std::uint64_t at(kind asked) const noexcept { return open_[static_cast<std::size_t>(asked)]; }

    std::array<std::uint64_t, 3> open_{}; // ids; 0: none
    std::uint64_t last_id_ = 0;
};

} // namespace kgroup::detail
