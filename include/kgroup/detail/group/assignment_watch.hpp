#pragma once

#include <kgroup/detail/asio/clock.hpp>

#include <chrono>
#include <optional>

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

} // namespace kgroup::detail
