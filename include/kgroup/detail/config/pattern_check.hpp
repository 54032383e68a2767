// SPDX-License-Identifier: MIT

#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kgroup::detail {

/// What is wrong with a regular expression, and where.
struct pattern_flaw {
    std::size_t position; // in bytes, from 0
    std::string reason;
};

/// Judges a regular expression by RE2's rules, which are those of brokers that divide the
/// partitions (`group_protocol::consumer`). It is meant for what POSIX has accepted, because
/// librdkafka compiles it by POSIX before it sends it; what RE2 takes and POSIX refuses is none of
/// its business. In one pass and without recursion.
class pattern_check {
public:
    /// What brokers would refuse, if anything.
    static std::optional<pattern_flaw> flaw_of(std::string_view pattern) {
        pattern_check self{pattern};
        self.read();
        return std::move(self.flaw_);
    }

private:
    static constexpr unsigned most_repetitions = 1000;
    static constexpr std::size_t deepest =
        250; // groups within groups: a broker reads them by recursion

    // A group that is open. How often its costliest part is repeated by counts, which multiply.
    struct group {
        std::size_t position;
        unsigned repetitions = 1;
    };
    enum class previous { nothing, part, repetition };

    explicit pattern_check(std::string_view pattern) : pattern_(pattern) {}

    void read() {
        groups_.push_back({0});
        while (at_ < pattern_.size() && !flaw_) {
            auto const start = at_;
            switch (pattern_[at_]) {
            case '\\':
                escape();
                break;
            case '[':
                bracket();
                break;
            case '(':
                open();
                break;
            case ')':
                close();
                break;
            case '|':
                ++at_;
                before_ = previous::nothing;
                break;
            case '*':
            case '+':
            case '?':
                ++at_;
                repeat(start, std::nullopt);
                break;
            case '{':
                if (auto const read = read_counts()) {
                    repeat(start, read);
                } else {
                    literal();
                }
                break;
            default:
                literal();
            }
        }
        if (!flaw_ && groups_.size() > 1) {
            fail(groups_.back().position, "a group that is not closed");
        }
    }

    void fail(std::size_t position, std::string reason) {
        if (!flaw_) {
            flaw_ = pattern_flaw{position, std::move(reason)};
        }
    }

    void part(unsigned repetitions = 1) {
        before_ = previous::part;
        part_repetitions_ = repetitions;
        groups_.back().repetitions = (std::max)(groups_.back().repetitions, repetitions);
    }

    void literal() {
        ++at_;
        part();
    }

    // Groups.

    void open() {
        auto const start = at_++;
        if (groups_.size() > deepest) {
            return fail(start,
                        "more than " + std::to_string(deepest) + " groups within each other");
        }
        if (at_ < pattern_.size() && pattern_[at_] == '?') {
            ++at_;
            return open_special(start);
        }
        groups_.push_back({start});
        before_ = previous::nothing;
    }

    // (?flags) (?flags:…) (?P<name>…) (?<name>…)
    void open_special(std::size_t start) {
        constexpr std::string_view unknown{"a group of a kind that RE2 does not have"};
        auto const rest = pattern_.substr(at_);
        if (rest.starts_with("P<") ||
            (rest.starts_with("<") && !rest.starts_with("<=") && !rest.starts_with("<!"))) {
            auto const name = pattern_.find('<', at_) + 1;
            auto const end = pattern_.find('>', name);
            auto const named = pattern_.substr(name, end == pattern_.npos ? 0 : end - name);
            if (named.empty() || !std::all_of(named.begin(), named.end(), is_word)) {
                return fail(start,
                            "a group's name of other characters than letters, digits and '_'");
            }
            if (std::find(names_.begin(), names_.end(), named) != names_.end()) {
                return fail(start, "two groups of one name");
            }
            names_.push_back(named);
            at_ = end + 1;
            groups_.push_back({start});
            before_ = previous::nothing;
            return;
        }
        bool negative = false;
        bool flags = false;
        for (; at_ < pattern_.size(); ++at_) {
            switch (pattern_[at_]) {
            case 'i':
            case 'm':
            case 's':
            case 'U':
                flags = true;
                continue;
            case '-':
                if (negative) {
                    return fail(start, std::string{unknown});
                }
                negative = true;
                flags = false;
                continue;
            case ':':
            case ')':
                if (negative && !flags) {
                    return fail(start, std::string{unknown});
                }
                if (pattern_[at_++] == ':') {
                    groups_.push_back({start});
                    before_ = previous::nothing;
                } // flags alone are no part: a repetition behind them is one of what stands before
                  // them
                return;
            default:
                return fail(start, std::string{unknown});
            }
        }
        fail(start, "a group that is not closed");
    }

    void close() {
        if (groups_.size() == 1) {
            return fail(at_, "a ')' without '('");
        }
        ++at_;
        auto const inside = groups_.back().repetitions;
        groups_.pop_back();
        part(inside);
    }

    // Repetitions.

    struct counts {
        unsigned least;
        std::optional<unsigned> most; // none: unbounded
    };

    // `{n}`, `{n,}`, `{n,m}`; anything else is no repetition to RE2.
    std::optional<counts> read_counts() {
        auto at = at_ + 1;
        auto const least = read_number(at);
        if (!least || at >= pattern_.size()) {
            return std::nullopt;
        }
        counts found{*least, *least};
        if (pattern_[at] == ',') {
            ++at;
            found.most = read_number(at);
        }
        if (at >= pattern_.size() || pattern_[at] != '}') {
            return std::nullopt;
        }
        at_ = at + 1;
        return found;
    }

    std::optional<unsigned> read_number(std::size_t& at) const {
        auto const begin = at;
        unsigned value = 0;
        for (; at < pattern_.size() && pattern_[at] >= '0' && pattern_[at] <= '9'; ++at) {
            value = (std::min)(value * 10 + static_cast<unsigned>(pattern_[at] - '0'),
                               most_repetitions + 1);
        }
        return at == begin ? std::nullopt : std::optional{value};
    }

    void repeat(std::size_t start, std::optional<counts> const& counted) {
        if (before_ == previous::nothing) {
            return fail(start, "a repetition of nothing");
        }
        if (before_ == previous::repetition) {
            return fail(start,
                        "a repetition of a repetition (brackets around the inner one are right)");
        }
        if (at_ < pattern_.size() && pattern_[at_] == '?') {
            ++at_; // as few as possible
        }
        auto inside = part_repetitions_;
        if (counted) {
            auto const times = counted->most.value_or(counted->least);
            if (counted->least > most_repetitions || times > most_repetitions) {
                return fail(start, "more than 1000 repetitions");
            }
            inside = times == 0 ? 1 : inside * times;
            if (inside > most_repetitions) {
                return fail(start, "more than 1000 repetitions, together with those within");
            }
        }
        part(inside);
        before_ = previous::repetition;
    }

    // Escapes.

    // The character that an escape stands for; a class of characters: none, and `flaw_` unset.
    std::optional<unsigned> escape() {
        auto const start = at_++;
        if (at_ >= pattern_.size()) {
            fail(start, "a '\\' at the end");
            return std::nullopt;
        }
        auto const letter = pattern_[at_++];
        if (letter >= '1' && letter <= '9') {
            fail(start, "a reference back, '\\" + std::string{letter} + "'");
            return std::nullopt;
        }
        if (letter == '<' || letter == '>') { // RE2 takes them for the characters, POSIX for the
                                              // beginning and the end of a word
            fail(start, std::string{"'\\"} + letter +
                            "', which is the border of a word to POSIX only ('\\b' is right)");
            return std::nullopt;
        }
        if (!is_word(letter) || letter == '_') {
            if (static_cast<unsigned char>(letter) >= 0x80) {
                fail(start, "an escape that RE2 does not have");
                return std::nullopt;
            }
            part();
            return static_cast<unsigned char>(letter);
        }
        constexpr std::string_view letters{"aftnrv"};
        constexpr std::string_view values{"\a\f\t\n\r\v"};
        if (auto const found = letters.find(letter); found != letters.npos) {
            part();
            return static_cast<unsigned char>(values[found]);
        }
        switch (letter) {
        case '0': {
            unsigned value = 0;
            for (int digits = 0; digits != 2 && at_ < pattern_.size() && pattern_[at_] >= '0' &&
                                 pattern_[at_] <= '7';
                 ++digits) {
                value = value * 8 + static_cast<unsigned>(pattern_[at_++] - '0');
            }
            part();
            return value;
        }
        case 'x':
            return hexadecimal(start);
        case 'd':
        case 'D':
        case 's':
        case 'S':
        case 'w':
        case 'W':
        case 'p':
        case 'P':
            if (letter == 'p' || letter == 'P') {
                unicode_class(start);
            }
            part();
            return std::nullopt;
        case 'A':
        case 'z':
        case 'b':
        case 'B':
            if (in_bracket_) {
                break;
            }
            part();
            return std::nullopt;
        case 'Q':
            if (in_bracket_) {
                break;
            }
            quote();
            return std::nullopt;
        default:
            break;
        }
        fail(start, std::string{"an escape that RE2 does not have, '\\"} + letter + "'");
        return std::nullopt;
    }

    std::optional<unsigned> hexadecimal(std::size_t start) {
        auto const braces = at_ < pattern_.size() && pattern_[at_] == '{';
        at_ += braces ? 1 : 0;
        unsigned value = 0;
        int digits = 0;
        for (; at_ < pattern_.size() && is_hexadecimal(pattern_[at_]) &&
               (braces ? value <= 0x10ffff : digits != 2);
             ++at_, ++digits) {
            auto const digit = pattern_[at_];
            value = value * 16 +
                    static_cast<unsigned>(digit <= '9' ? digit - '0' : (digit | 0x20) - 'a' + 10);
        }
        auto const closed = !braces || (at_ < pattern_.size() && pattern_[at_] == '}');
        if (!closed || digits == 0 || (!braces && digits != 2) || value > 0x10ffff) {
            fail(start, "a character's number that is not one ('\\x')");
            return std::nullopt;
        }
        at_ += braces ? 1 : 0;
        part();
        return value;
    }

    // Behind `\p`: a category's letter. Names in braces are no POSIX.
    void unicode_class(std::size_t start) {
        constexpr std::string_view categories{"CLMNPSZ"};
        if (at_ < pattern_.size() && categories.find(pattern_[at_]) != categories.npos) {
            ++at_;
        } else {
            fail(start, "a class of characters that RE2 does not have ('\\p')");
        }
    }

    // `\Q…\E`: as it stands.
    void quote() {
        auto const end = pattern_.find("\\E", at_);
        auto const length = (end == pattern_.npos ? pattern_.size() : end) - at_;
        at_ = end == pattern_.npos ? pattern_.size() : end + 2;
        if (length != 0) {
            part();
        }
    }

    // Sets of characters in brackets.

    void bracket() {
        auto const start = at_++;
        in_bracket_ = true;
        if (at_ < pattern_.size() && pattern_[at_] == '^') {
            ++at_;
        }
        for (bool first = true; !flaw_; first = false) {
            if (at_ >= pattern_.size()) {
                fail(start, "a '[' that is not closed (in it, '\\' takes the meaning of the next "
                            "character away)");
                break;
            }
            if (pattern_[at_] == ']' && !first) {
                ++at_;
                break;
            }
            if (pattern_.substr(at_).starts_with("[:")) {
                if (auto const end = pattern_.find(":]", at_ + 2); end != pattern_.npos) {
                    named_class(end);
                    continue;
                }
            }
            range();
        }
        in_bracket_ = false;
        part();
    }

    void named_class(std::size_t end) {
        constexpr std::array<std::string_view, 14> known{
            "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph",
            "lower", "print", "punct", "space", "upper", "word",  "xdigit"};
        auto name = pattern_.substr(at_ + 2, end - at_ - 2);
        if (name.starts_with('^')) {
            name.remove_prefix(1);
        }
        if (std::find(known.begin(), known.end(), name) == known.end()) {
            fail(at_, "a class of characters that RE2 does not have");
        }
        at_ = end + 2;
    }

    void range() {
        auto const start = at_;
        auto const low = character();
        if (flaw_ || !low || at_ + 1 >= pattern_.size() || pattern_[at_] != '-' ||
            pattern_[at_ + 1] == ']') {
            return;
        }
        ++at_;
        auto const high = character();
        if (!flaw_ && (!high || *high < *low)) {
            fail(start, "a range of characters that has no end, or one before its beginning");
        }
    }

    // One character of a set; none: a class of them.
    std::optional<unsigned> character() {
        if (pattern_[at_] == '\\') {
            return escape();
        }
        return static_cast<unsigned char>(pattern_[at_++]);
    }

    static bool is_word(char c) noexcept {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '_';
    }
    static bool is_hexadecimal(char c) noexcept {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
    }

    std::string_view pattern_;
    std::size_t at_ = 0;
    std::vector<group> groups_;
    std::vector<std::string_view> names_;
    previous before_ = previous::nothing;
    unsigned part_repetitions_ = 1;
    bool in_bracket_ = false;
    std::optional<pattern_flaw> flaw_;
};

/// What a regular expression costs to compile by POSIX: the C library goes as deep as its groups
/// are, writes counted repetitions out, and looks at each of them from each other one if they may
/// be empty. Roughly.
class pattern_size {
public:
    /// What forbids to compile it, if anything.
    static std::optional<pattern_flaw> flaw_of(std::string_view pattern) {
        constexpr std::size_t deepest = 250;
        constexpr std::size_t largest = 10'000;
        std::vector<open_group> groups{{}};
        for (std::size_t at = 0; at < pattern.size(); ++at) {
            auto& inside = groups.back();
            switch (pattern[at]) {
            case '\\':
                ++at;
                inside.next({1, false});
                break;
            case '[':
                at = end_of_bracket(pattern, at);
                inside.next({1, false});
                break;
            case '(':
                if (groups.size() > deepest) {
                    return pattern_flaw{at, "more than " + std::to_string(deepest) +
                                                " groups within each other"};
                }
                groups.emplace_back();
                break;
            case ')':
                if (groups.size() > 1) {
                    auto const whole =
                        inside.whole(at != 0 && (pattern[at - 1] == '(' || pattern[at - 1] == '|'));
                    groups.pop_back();
                    groups.back().next(whole);
                }
                break;
            case '|':
                inside.empty =
                    inside.empty || at == 0 || pattern[at - 1] == '(' || pattern[at - 1] == '|';
                inside.next({1, false});
                break;
            case '*':
            case '+':
            case '?':
                inside.last = {inside.last.size + 1, true};
                break;
            case '{':
                inside.last = inside.last.repeated(skip_braces(pattern, at));
                break;
            default:
                inside.next({1, false});
            }
            if (groups.back().done.size + groups.back().last.size > largest) {
                return pattern_flaw{at, "too large when its repetitions are written out"};
            }
        }
        return std::nullopt;
    }

private:
    struct piece {
        std::size_t size = 0;
        bool empty = false; // it, or something in it, may be

        piece repeated(std::size_t times) const noexcept {
            times = (std::max<std::size_t>)(times, 1);
            return {size * times * (empty ? times : 1), true};
        }
    };
    struct open_group {
        piece done{};
        piece last{};
        bool empty = false;

        void next(piece newer) noexcept {
            done = {done.size + last.size, done.empty || last.empty};
            last = newer;
        }
        piece whole(bool ends_empty) const noexcept {
            return {done.size + last.size + 1, empty || ends_empty || done.empty || last.empty};
        }
    };

    // Both leave off at the last character that belongs to it.
    static std::size_t end_of_bracket(std::string_view pattern, std::size_t at) {
        auto const begin = at + (pattern.substr(at + 1).starts_with('^') ? 2 : 1);
        return (std::min)(pattern.find(']', begin + 1), pattern.size());
    }
    static std::size_t skip_braces(std::string_view pattern, std::size_t& at) {
        std::size_t most = 0;
        std::size_t value = 0;
        for (++at; at < pattern.size() &&
                   (pattern[at] == ',' || (pattern[at] >= '0' && pattern[at] <= '9'));
             ++at) {
            value = pattern[at] == ','
                        ? 0
                        : (std::min<std::size_t>)(value * 10 +
                                                      static_cast<std::size_t>(pattern[at] - '0'),
                                                  100'000);
            most = (std::max)(most, value);
        }
        at -= at < pattern.size() && pattern[at] == '}'
                  ? 0
                  : 1; // no end of a repetition: to be read as what it is
        return most;
    }
};

} // namespace kgroup::detail
