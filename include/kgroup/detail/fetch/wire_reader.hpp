// SPDX-License-Identifier: MIT

#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace kgroup::detail::fetch {

/// How a message writes its texts, arrays and structures. `compact` is that of the "flexible"
/// versions: lengths are unsigned varints of one more, and structures end with tagged fields.
enum class encoding : bool { classic, compact };

/// The id of a topic; all zero: none.
using topic_uuid = std::array<unsigned char, 16>;

/// Reads Kafka's types from bytes that nobody has vouched for. It never reads behind the end: what
/// does not fit, or is no value of its type, fails the reader, and a failed reader gives zeros and
/// empty views. So a message is read in one go, and `failed` is asked once, at its end.
///
/// The views it gives point into the bytes it was made with.
class wire_reader {
public:
    explicit wire_reader(std::string_view bytes, encoding format = encoding::classic) noexcept
        : next_(bytes.data()),
          end_(bytes.data() + bytes.size()),
          compact_(format == encoding::compact) {}

    bool failed() const noexcept { return failed_; }
    std::size_t remaining() const noexcept { return static_cast<std::size_t>(end_ - next_); }
    /// Fails the reader; for values that the caller knows to be impossible.
    void fail() noexcept {
        failed_ = true;
        next_ = end_;
    }

    std::int8_t int8() noexcept { return fixed<std::int8_t>(); }
    std::int16_t int16() noexcept { return fixed<std::int16_t>(); }
    std::int32_t int32() noexcept { return fixed<std::int32_t>(); }
    std::int64_t int64() noexcept { return fixed<std::int64_t>(); }
    std::uint32_t uint32() noexcept { return static_cast<std::uint32_t>(int32()); }
    bool boolean() noexcept { return int8() != 0; }
    topic_uuid uuid() noexcept {
        topic_uuid result{};
        auto const bytes = view(result.size());
        for (std::size_t i = 0; i != bytes.size(); ++i) {
            result[i] = static_cast<unsigned char>(bytes[i]);
        }
        return result;
    }

    /// At most 32 bits in five bytes.
    std::uint32_t unsigned_varint() noexcept {
        return static_cast<std::uint32_t>(varint_of(5, 0x0f));
    }
    /// Zigzag, 32 bits.
    std::int32_t varint() noexcept {
        auto const value = unsigned_varint();
        return static_cast<std::int32_t>((value >> 1) ^ (~(value & 1) + 1));
    }
    /// Zigzag, 64 bits.
    std::int64_t varlong() noexcept {
        auto const value = varint_of(10, 0x01);
        return static_cast<std::int64_t>((value >> 1) ^ (~(value & 1) + 1));
    }

    /// The next `size` bytes.
    std::string_view view(std::size_t size) noexcept {
        if (size > remaining()) [[unlikely]] {
            fail();
            return {};
        }
        std::string_view const result{next_, size};
        next_ += size;
        return result;
    }

    /// A text. A null one fails the reader.
    std::string_view text() noexcept {
        auto const result = nullable_text();
        if (!result) {
            fail();
        }
        return result.value_or(std::string_view{});
    }
    std::optional<std::string_view> nullable_text() noexcept {
        return sized(compact_ ? compact_size() : std::int64_t{int16()});
    }
    std::optional<std::string_view> nullable_bytes() noexcept {
        return sized(compact_ ? compact_size() : std::int64_t{int32()});
    }

    /// The number of elements of an array, each of which takes `smallest` bytes at least: more than
    /// can follow fails the reader, so that the number may be used to reserve memory. A null array
    /// counts as an empty one.
    std::size_t elements(std::size_t smallest) noexcept {
        auto const count = compact_ ? compact_size() : std::int64_t{int32()};
        if (count < -1 ||
            (count > 0 && static_cast<std::uint64_t>(count) > remaining() / smallest)) {
            fail();
            return 0;
        }
        return count < 0 ? 0 : static_cast<std::size_t>(count);
    }

    /// Ends a structure: passes over its tagged fields, of which there are none in the classic
    /// encoding.
    void end_structure() noexcept {
        end_structure([](std::uint32_t, wire_reader&) {});
    }
    /// The same; `take(tag, reader)` gets a reader of each field's own bytes. A reader that it
    /// fails, fails this one.
    template <typename Take>
    void end_structure(Take take) noexcept {
        if (!compact_) {
            return;
        }
        for (auto left = unsigned_varint(); left != 0 && !failed_; --left) {
            auto const tag = unsigned_varint();
            wire_reader field{view(unsigned_varint()), encoding::compact};
            if (!failed_) {
                take(tag, field);
                if (field.failed()) {
                    fail();
                }
            }
        }
    }

private:
    template <std::signed_integral T>
    T fixed() noexcept {
        if (remaining() < sizeof(T)) [[unlikely]] {
            fail();
            return 0;
        }
        std::uint64_t value = 0;
        for (std::size_t i = 0; i != sizeof(T); ++i) { // compilers make one load of it
            value = value << 8 | static_cast<unsigned char>(next_[i]);
        }
        next_ += sizeof(T);
        return static_cast<T>(value);
    }
    /// At most so many bytes; the last one holds no more bits than those of the mask.
    std::uint64_t varint_of(int bytes, unsigned char last) noexcept {
        // Most are lengths and differences, of one byte or two.
        if (remaining() >= 2) [[likely]] {
            auto const first = static_cast<unsigned char>(next_[0]);
            if (first < 0x80) {
                ++next_;
                return first;
            }
            auto const second = static_cast<unsigned char>(next_[1]);
            if (second < 0x80) {
                next_ += 2;
                return (first & 0x7fu) | std::uint32_t{second} << 7;
            }
        }
        auto const found = long_varint({next_, remaining()}, bytes, last);
        if (!found.behind) {
            fail();
            return 0;
        }
        next_ = found.behind;
        return found.value;
    }
    struct found_varint {
        std::uint64_t value;
        char const* behind; // null: it is none
    };
    // Of no reader: so one that is local to a function can stay in registers.
    static found_varint long_varint(std::string_view from, int bytes, unsigned char last) noexcept {
        std::uint64_t value = 0;
        auto const* next = from.data();
        auto const* const end = next + from.size();
        for (int i = 0; i != bytes && next != end; ++i) {
            auto const byte = static_cast<unsigned char>(*next++);
            if (i == bytes - 1 && byte > last) {
                break;
            }
            value |= std::uint64_t{byte & 0x7fu} << (7 * i);
            if (!(byte & 0x80)) {
                return {value, next};
            }
        }
        return {0, nullptr};
    }
    std::int64_t compact_size() noexcept { return std::int64_t{unsigned_varint()} - 1; }
    std::optional<std::string_view> sized(std::int64_t size) noexcept {
        if (size == -1) {
            return std::nullopt;
        }
        if (size < 0) {
            fail();
            return std::nullopt;
        }
        return view(static_cast<std::size_t>(size));
    }

    char const* next_;
    char const* end_;
    bool compact_;
    bool failed_ = false;
};

} // namespace kgroup::detail::fetch
