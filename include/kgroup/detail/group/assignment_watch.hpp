// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/client/client.hpp>
#include <kgroup/detail/events/lasting_conditions.hpp>
#include <kgroup/detail/group/outage_watch.hpp>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace kgroup::detail {

/// The watch over a member that has no assignment: how long it waits, when to ask why, when to say
/// so.
class assignment_watch {
public:
    static constexpr auto ask_after = std::chrono::seconds{5};
    static constexpr auto tell_after = std::chrono::seconds{10};
    static constexpr auto tell_again_after = std::chrono::minutes{1};

    /// There is none from now on; no effect while one is awaited already.
    void begin(clock::time_point now) noexcept {
        if (!since_) {
            since_ = now;
            next_question_ = now + ask_after;
            next_telling_ = now + tell_after;
        }
    }
    /// One has come, which may be empty; or none is expected any more.
    void end() noexcept { since_.reset(); }

    std::optional<clock::time_point> since() const noexcept { return since_; }

    bool question_is_due(clock::time_point now) noexcept {
        if (!since_ || now < next_question_) {
            return false;
        }
        next_question_ = now + ask_after;
        return true;
    }
    /// Whether its reason is to be looked for.
    bool tells_soon(clock::time_point now) const noexcept {
        return since_ && now >= next_telling_ - ask_after;
    }
    bool telling_is_due(clock::time_point now) noexcept {
        if (!since_ || now < next_telling_) {
            return false;
        }
        next_telling_ = now + tell_again_after;
        return true;
    }

private:
    std::optional<clock::time_point> since_;
    clock::time_point next_question_{};
    clock::time_point next_telling_{};
};

/// What a member without an assignment waits for, in words.
///
/// `coordinator`: its last answer. `joined`: the group knows this member.
inline std::string
reason_of_wait(bool outage, std::optional<client_coordinator> const& coordinator, bool joined,
               std::vector<lasting_conditions::condition> const& missing_topics) {
    std::string text;
    if (outage || (coordinator && !coordinator->broker_known)) {
        text = "no broker has answered as one";
    } else if (coordinator && !is_answer_of_broker(coordinator->error)) {
        text = "the group's coordinator does not answer: " + coordinator->error.message();
    } else if (coordinator && coordinator->error) {
        text = "the group's coordinator answers: " + coordinator->error.message();
    } else if (!joined) {
        text = "the group's coordinator is there and has not let this member join";
    } else {
        text = "this member has joined, and waits for the other members";
    }
    for (auto const& missing : missing_topics) {
        text += missing.newest.where ? "; there is no topic " + missing.newest.where->topic
                                     : "; a topic is missing";
    }
    return text;
}

} // namespace kgroup::detail
