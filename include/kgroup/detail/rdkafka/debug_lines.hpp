// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/topic_partition.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace kgroup::detail {

/// Whether two lists, comma separated, have a name in common.
inline bool share_name(std::string_view one, std::string_view other) noexcept {
    auto const first = [](std::string_view& rest) {
        auto const name = rest.substr(0, rest.find(','));
        rest.remove_prefix((std::min)(name.size() + 1, rest.size()));
        return name;
    };
    for (auto names = one; !names.empty();) {
        auto const name = first(names);
        for (auto others = other; !others.empty();) {
            if (first(others) == name) {
                return true;
            }
        }
    }
    return false;
}

/// Lines of librdkafka's debug log, kept for a moment. An event that reports a lasting condition
/// shows them: they often say why it lasts.
///
/// Their meaning is not parsed. Lines that sound like trouble are kept. Of the lines that name the
/// subject, the newest of each facility is shown. The number of lines and their length are bounded.
class debug_lines {
public:
    static constexpr std::size_t capacity = 256;
    static constexpr std::size_t lines_shown = 3;
    static constexpr std::size_t longest_line = 240; // bytes

    /// `about_group`: it is about the membership, and not only about topics.
    void add(std::string_view facility, std::string_view text, bool about_group) {
        if (!sounds_like_trouble(text)) {
            return;
        }
        if (lines_.size() == capacity) {
            lines_.pop_front();
        }
        lines_.push_back({std::string{facility}, std::string{without_thread(text)}, about_group});
    }
    void clear() noexcept { lines_.clear(); }

    /// What was said of a partition, or of the group; empty: nothing.
    std::string about(std::optional<topic_partition> const& where) const {
        std::vector<line const*> chosen;
        for (auto entry = lines_.rbegin(); entry != lines_.rend() && chosen.size() != lines_shown;
             ++entry) {
            auto const known = std::ranges::any_of(
                chosen, [&](line const* other) { return other->facility == entry->facility; });
            if (!known && (where ? names(entry->text, *where) : entry->about_group)) {
                chosen.push_back(&*entry);
            }
        }
        std::string text;
        for (auto entry = chosen.rbegin(); entry != chosen.rend(); ++entry) {
            text.append(text.empty() ? "" : " | ")
                .append((*entry)->facility)
                .append(": ")
                .append(shortened((*entry)->text));
        }
        return text;
    }

private:
    struct line {
        std::string facility;
        std::string text;
        bool about_group;
    };

    static bool sounds_like_trouble(std::string_view text) noexcept {
        constexpr std::array marks{std::string_view{"rror"},        std::string_view{"fail"},
                                   std::string_view{"Broker: "},    std::string_view{"Local: "},
                                   std::string_view{"unavailable"}, std::string_view{" no "},
                                   std::string_view{"Leader -1"}};
        return std::ranges::any_of(
            marks, [&](std::string_view mark) { return text.find(mark) != text.npos; });
    }

    // "[thrd:main]: ", as every line begins.
    static std::string_view without_thread(std::string_view text) noexcept {
        auto const end = text.starts_with("[thrd:") ? text.find("]: ") : text.npos;
        return end == text.npos ? text : text.substr(end + 3);
    }

    // "orders [0]", or "Topic orders partition 0 Leader -1" of older versions.
    static bool names(std::string_view text, topic_partition const& where) {
        auto const number = std::to_string(where.partition);
        return has_word(text, where.topic + " [" + number + "]") ||
               has_word(text, where.topic + " partition " + number);
    }

    // It stands alone: not at the end of a longer name, and not as the begin of a longer number.
    static bool has_word(std::string_view text, std::string_view word) noexcept {
        for (auto at = text.find(word); at != text.npos; at = text.find(word, at + 1)) {
            auto const end = at + word.size();
            if ((at == 0 || text[at - 1] == ' ') &&
                (end == text.size() || text[end] < '0' || text[end] > '9')) {
                return true;
            }
        }
        return false;
    }

    static std::string shortened(std::string_view text) {
        if (text.size() <= longest_line) {
            return std::string{text};
        }
        auto end = longest_line - 3;
        while (end != 0 && (static_cast<unsigned char>(text[end]) & 0xc0u) == 0x80u) {
            --end; // in the middle of a character of UTF-8
        }
        return std::string{text.substr(0, end)} + "...";
    }

    std::deque<line> lines_;
};

} // namespace kgroup::detail
