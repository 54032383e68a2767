#pragma once

#include <nlohmann/json.hpp>

#include <cstddef>
#include <iterator>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace kgroup::detail {

/// On which line of a JSON text each key and each element of a list stands: `a`, `a.b`, `a[0]`.
class json_lines : public nlohmann::json_sax<nlohmann::json> {
public:
    /// @param text is JSON.
    static std::map<std::string, std::size_t> of(std::string_view text) {
        json_lines self;
        nlohmann::json::sax_parse(counting_iterator{text.data(), &self.line_}, counting_iterator{text.data() + text.size(), nullptr}, &self);
        return std::move(self.found_);
    }

    bool null() override { return value(); }
    bool boolean(bool) override { return value(); }
    bool number_integer(number_integer_t) override { return value(); }
    bool number_unsigned(number_unsigned_t) override { return value(); }
    bool number_float(number_float_t, string_t const&) override { return value(); }
    bool string(string_t&) override { return value(); }
    bool binary(binary_t&) override { return value(); }
    bool start_object(std::size_t) override { return begin(false); }
    bool end_object() override { return end(); }
    bool start_array(std::size_t) override { return begin(true); }
    bool end_array() override { return end(); }
    bool key(string_t& name) override {
        auto& inside = open_.back();
        inside.path = inside.prefix.empty() ? name : inside.prefix + "." + name;
        found_.try_emplace(inside.path, line_);
        return true;
    }
    bool parse_error(std::size_t, std::string const&, nlohmann::detail::exception const&) override { return false; }

private:
    // Counts the lines that the parser has read; it never reads beyond the token it tells of but for one character.
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
        friend bool operator==(counting_iterator const& left, counting_iterator const& right) { return left.at_ == right.at_; }
        friend bool operator!=(counting_iterator const& left, counting_iterator const& right) { return left.at_ != right.at_; }

    private:
        char const* at_;
        std::size_t* line_;
    };

    struct container {
        bool list;
        std::string prefix;
        std::string path;      // of the value that comes now
        std::size_t index = 0; // in a list
    };

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
        found_.try_emplace(path, line_);
        return path;
    }
    bool value() {
        place();
        return true;
    }
    bool begin(bool list) {
        auto prefix = place();
        open_.push_back({list, std::move(prefix), {}, 0});
        return true;
    }
    bool end() {
        open_.pop_back();
        return true;
    }

    std::size_t line_ = 1;
    std::vector<container> open_;
    std::map<std::string, std::size_t> found_;
};

} // namespace kgroup::detail
