// SPDX-License-Identifier: MIT

#pragma once

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kgroup::detail {

/// On which line of a JSON text each key and each element of a list stands (`a`, `a.b`, `a[0]`),
/// and the first thing that is wrong with the text itself: read in one pass, with memory in
/// proportion to the text and without recursion.
class json_lines : public nlohmann::json_sax<nlohmann::json> {
public:
    struct result {
        std::map<std::string, std::size_t> lines;
        std::size_t flaw_line = 0; // 0: there is none
        std::string flaw;          // begins with the key, if it is about one
    };

    /// @param left_alone keys of the outermost object whose values are none of our business, as
    /// long as they are JSON.
    static result of(std::string_view text, std::vector<std::string> const& left_alone = {}) {
        json_lines self{left_alone};
        nlohmann::json::sax_parse(counting_iterator{text.data(), &self.line_},
                                  counting_iterator{text.data() + text.size(), nullptr}, &self);
        return std::move(self.found_);
    }

    bool null() override { return value(); }
    bool boolean(bool) override { return value(); }
    bool number_integer(number_integer_t) override { return value(); }
    bool number_unsigned(number_unsigned_t) override { return value(); }
    bool number_float(number_float_t, string_t const&) override { return value(); }
    bool string(string_t& text) override {
        value();
        return text.find('\0') == text.npos || is_left_alone() || refuse_here("holds a NUL");
    }
    bool binary(binary_t&) override { return value(); }
    bool start_object(std::size_t) override { return begin(false); }
    bool end_object() override { return end(); }
    bool start_array(std::size_t) override { return begin(true); }
    bool end_array() override { return end(); }
    bool key(string_t& name) override {
        auto& inside = open_.back();
        inside.path = inside.prefix.empty() ? name : inside.prefix + "." + name;
        found_.lines.try_emplace(inside.path, line_);
        if (open_.size() == 1) {
            left_alone_now_ =
                std::find(left_alone_.begin(), left_alone_.end(), name) != left_alone_.end();
        }
        auto const [before, added] = inside.keys.try_emplace(name, line_);
        if (!added && (open_.size() == 1 || !is_left_alone())) {
            return refuse_here("stands twice, on line " + std::to_string(before->second) + ", too");
        }
        return name.find('\0') == name.npos || is_left_alone() || refuse_here("holds a NUL");
    }
    bool parse_error(std::size_t position, std::string const&,
                     nlohmann::detail::exception const& e) override {
        constexpr int number_out_of_range = 406;
        return e.id == number_out_of_range
                   ? refuse_here("is a number out of range")
                   : refuse("not JSON (byte " + std::to_string(position) + ")");
    }

private:
    // Counts the lines that the parser has read; it never reads beyond the token it tells of but
    // for one character.
    class counting_iterator {
    public:
        using iterator_category = std::input_iterator_tag;
        using value_type = char;
        using difference_type = std::ptrdiff_t;
        using pointer = char const*;
        using reference = char const&;

        counting_iterator(char const* at, std::size_t* line) : at_(at), line_(line) {}
        reference operator*() const { return *at_; }
        counting_iterator& operator++() {
            *line_ += *at_++ == '\n' ? 1u : 0u;
            return *this;
        }
        counting_iterator operator++(int) {
            auto const before = *this;
            ++*this;
            return before;
        }
        friend bool operator==(counting_iterator const& left, counting_iterator const& right) {
            return left.at_ == right.at_;
        }
        friend bool operator!=(counting_iterator const& left, counting_iterator const& right) {
            return left.at_ != right.at_;
        }

    private:
        char const* at_;
        std::size_t* line_;
    };

    static constexpr std::size_t deepest = 64;

    explicit json_lines(std::vector<std::string> const& left_alone) : left_alone_(left_alone) {}

    struct container {
        bool list;
        std::string prefix;
        std::string path;      // of the value that comes now
        std::size_t index = 0; // in a list
        std::map<std::string, std::size_t> keys{};
    };

    bool is_left_alone() const noexcept { return left_alone_now_; }
    bool refuse(std::string flaw) {
        found_.flaw_line = line_;
        found_.flaw = std::move(flaw);
        return false;
    }
    // About the value that has just come, or the key.
    bool refuse_here(std::string const& flaw) {
        if (open_.empty()) {
            return refuse(flaw);
        }
        auto const& inside = open_.back();
        auto const index = inside.index == 0 ? 0 : inside.index - 1;
        return refuse(
            "'" + (inside.list ? inside.prefix + "[" + std::to_string(index) + "]" : inside.path) +
            "' " + flaw);
    }

    // A value begins: where does it stand?
    std::string place() {
        if (open_.empty()) {
            return {};
        }
        auto& inside = open_.back();
        if (!inside.list) {
            return inside.path;
        }
        auto path = inside.prefix + "[" + std::to_string(inside.index++) + "]";
        found_.lines.try_emplace(path, line_);
        return path;
    }
    bool value() {
        place();
        return true;
    }
    bool begin(bool list) {
        auto prefix = place();
        if (open_.size() == deepest) {
            return refuse("more than " + std::to_string(deepest) +
                          " objects and lists within each other");
        }
        open_.push_back({list, std::move(prefix), {}});
        return true;
    }
    bool end() {
        open_.pop_back();
        return true;
    }

    std::size_t line_ = 1;
    std::vector<container> open_;
    std::vector<std::string> const& left_alone_;
    bool left_alone_now_ = false; // what is read stands under such a key
    result found_;
};

} // namespace kgroup::detail
