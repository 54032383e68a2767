// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/process/dead_letter_sender.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

namespace kgroup::detail {

/// Whether a claim is to say that a dead letter of its own has been under way for too long, and
/// that none is any more. Time is an argument.
class held_letter_watch {
public:
    enum class news { none, held, over };

    /// Of the letter that has been under way for longest; nullopt: there is none.
    using oldest_letter = std::optional<clock::time_point>;

    news look(oldest_letter began, clock::time_point now) noexcept {
        if (!began || now - *began < held_after) {
            next_ = began ? std::optional{*began + held_after} : std::nullopt;
            return std::exchange(held_, false) ? news::over : news::none;
        }
        if (held_ && next_ && now < *next_) {
            return news::none;
        }
        held_ = true;
        next_ = now + told_every;
        return news::held;
    }
    /// When to look again, though nothing has happened.
    std::optional<clock::time_point> next_look() const noexcept { return next_; }
    bool held() const noexcept { return held_; }

private:
    static constexpr auto held_after = std::chrono::seconds{10};
    static constexpr auto told_every = std::chrono::minutes{1};

    bool held_ = false;
    std::optional<clock::time_point> next_;
};

inline std::string held_letter_text(std::int64_t offset, letter_trouble const& trouble) {
    auto text = "the dead letter of offset " + std::to_string(offset) +
                " has not been acknowledged yet; its record waits";
    if (!trouble.text.empty()) {
        text += "; its producer says: " + trouble.text;
    } else if (!trouble.error) {
        text += "; its producer has not heard why";
    }
    return text;
}

} // namespace kgroup::detail
