// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/message.hpp>
#include <kgroup/outgoing_record.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace kgroup::detail {

/// A copy of a record that is to be sent, in memory that is used again.
class record_storage {
public:
    void assign(outgoing_record const& from) {
        bytes_.clear();
        bytes_.reserve(size_of(from)); // views into it must stay
        headers_.clear();
        headers_.reserve(from.headers.size());
        for (auto const& header : from.headers) {
            auto const name = append(header.name);
            headers_.push_back({name, append(header.value)});
        }
        record_ = from;
        record_.topic = append(from.topic);
        record_.key = append(from.key);
        record_.value = append(from.value);
        record_.headers = headers_;
    }
    /// Gives back what a large record has taken.
    void shrink() noexcept {
        constexpr std::size_t usual = 4096;
        if (bytes_.capacity() > usual) {
            bytes_ = {};
        }
    }
    /// Valid until the next `assign`.
    outgoing_record const& record() const noexcept { return record_; }

private:
    static std::size_t size_of(outgoing_record const& from) noexcept {
        auto size =
            from.topic.size() + from.key.value_or("").size() + from.value.value_or("").size();
        for (auto const& header : from.headers) {
            size += header.name.size() + header.value.value_or("").size();
        }
        return size;
    }
    std::string_view append(std::string_view text) {
        auto const begin = bytes_.size();
        bytes_.append(text);
        return std::string_view{bytes_}.substr(begin);
    }
    std::optional<std::string_view> append(std::optional<std::string_view> const& text) {
        return text ? std::optional{append(*text)} : std::nullopt;
    }

    std::string bytes_;
    std::vector<header> headers_;
    outgoing_record record_{};
};

} // namespace kgroup::detail
