// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/fetch/wire_reader.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace kgroup::detail::fetch {

/// Appends Kafka's types to a string.
///
/// @throws std::bad_alloc, and std::length_error for what the protocol has no length for.
class wire_writer {
public:
    explicit wire_writer(std::string& into, encoding format = encoding::classic) noexcept
        : into_(into),
          compact_(format == encoding::compact) {}

    wire_writer& int8(std::int8_t value) { return fixed(value); }
    wire_writer& int16(std::int16_t value) { return fixed(value); }
    wire_writer& int32(std::int32_t value) { return fixed(value); }
    wire_writer& int64(std::int64_t value) { return fixed(value); }
    wire_writer& boolean(bool value) { return fixed(static_cast<std::int8_t>(value)); }
    wire_writer& uuid(topic_uuid const& value) {
        into_.append(value.begin(), value.end());
        return *this;
    }
    wire_writer& unsigned_varint(std::uint64_t value) {
        for (; value >= 0x80; value >>= 7) {
            into_ += static_cast<char>(value | 0x80);
        }
        into_ += static_cast<char>(value);
        return *this;
    }
    /// Zigzag.
    wire_writer& varint(std::int64_t value) {
        return unsigned_varint(static_cast<std::uint64_t>(value) << 1 ^
                               static_cast<std::uint64_t>(value >> 63));
    }
    wire_writer& raw(std::string_view bytes) {
        into_ += bytes;
        return *this;
    }

    wire_writer& text(std::string_view value) { return nullable_text(value); }
    wire_writer& nullable_text(std::optional<std::string_view> value) {
        size<std::int16_t>(value ? std::optional{value->size()} : std::nullopt);
        return raw(value.value_or(std::string_view{}));
    }
    wire_writer& nullable_bytes(std::optional<std::string_view> value) {
        size<std::int32_t>(value ? std::optional{value->size()} : std::nullopt);
        return raw(value.value_or(std::string_view{}));
    }
    /// The number of elements that follow.
    wire_writer& elements(std::size_t count) {
        size<std::int32_t>(count);
        return *this;
    }
    /// Ends a structure without tagged fields.
    wire_writer& end_structure() { return compact_ ? int8(0) : *this; }

private:
    template <std::signed_integral T>
    wire_writer& fixed(T value) {
        for (auto shift = 8 * sizeof(T); shift != 0; shift -= 8) {
            into_ += static_cast<char>(static_cast<std::uint64_t>(value) >> (shift - 8) & 0xff);
        }
        return *this;
    }
    template <std::signed_integral T>
    void size(std::optional<std::size_t> value) {
        if (value.value_or(0) > static_cast<std::size_t>((std::numeric_limits<T>::max)())) {
            throw std::length_error{"too long for Kafka's protocol"};
        }
        if (compact_) {
            unsigned_varint(value ? *value + 1 : 0);
        } else {
            fixed(value ? static_cast<T>(*value) : T{-1});
        }
    }

    std::string& into_;
    bool compact_;
};

} // namespace kgroup::detail::fetch
