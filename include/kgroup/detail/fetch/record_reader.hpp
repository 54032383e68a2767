// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/fetch/batch_header.hpp>
#include <kgroup/detail/fetch/wire_reader.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace kgroup::detail::fetch {

/// The headers of a record, in their order. They were checked when the record was read.
class record_headers {
public:
    record_headers() = default;
    record_headers(std::string_view bytes, std::size_t count) noexcept
        : bytes_(bytes),
          count_(count) {}

    std::size_t size() const noexcept { return count_; }
    /// `take(name, value)`, each time; the value is an optional view.
    template <typename Take>
    void for_each(Take&& take) const {
        wire_reader reader{bytes_};
        for (auto left = count_; left != 0; --left) {
            auto const name = reader.view(static_cast<std::size_t>(reader.varint()));
            auto const size = reader.varint();
            std::optional<std::string_view> value;
            if (size >= 0) {
                value = reader.view(static_cast<std::size_t>(size));
            }
            take(name, value);
        }
    }

private:
    std::string_view bytes_;
    std::size_t count_ = 0;
};

/// The times of a batch's records.
struct batch_times {
    batch_times() = default;
    explicit batch_times(batch_header const& header) noexcept
        : base(header.log_append_time() ? header.max_timestamp : header.base_timestamp),
          same(header.log_append_time()) {}

    /// A difference of two times of any sign, which may wrap around in broken clocks.
    std::int64_t of(std::int64_t delta) const noexcept {
        return same ? base
                    : static_cast<std::int64_t>(static_cast<std::uint64_t>(base) +
                                                static_cast<std::uint64_t>(delta));
    }

    std::int64_t base = -1;
    bool same = true; // of all records: when the broker wrote them
};

/// A key or a value, or none: null is not empty. In words that a register holds, as it is written
/// and read once a record.
class record_field {
public:
    record_field() = default;
    explicit record_field(std::string_view bytes) noexcept
        : data_(bytes.data()),
          size_(bytes.size()) {}

    explicit operator bool() const noexcept { return data_ != nullptr; }
    std::string_view operator*() const noexcept { return {data_, size_}; }
    std::string_view value_or(std::string_view other) const noexcept {
        return data_ ? **this : other;
    }
    /// Null, or where it begins.
    char const* data() const noexcept { return data_; }
    std::size_t size() const noexcept { return size_; }

private:
    char const* data_ = nullptr;
    std::size_t size_ = 0;
};

/// A record of a log. The views point into the batch, or into what was decompressed.
struct decoded_record {
    std::int64_t offset = -1;
    std::int64_t timestamp = -1; // milliseconds since the epoch; -1: none
    char const* begin = nullptr; // of the record as it is encoded
    record_field key;
    record_field value;
    record_headers headers;
};

enum class next_record { record, end, damaged };

/// Reads the records of one batch, one a call. Everything is checked before it is given: lengths
/// against the bytes that are left, offsets against the header and the record before.
class record_reader {
public:
    record_reader() = default;
    /// @param records of the batch, decompressed.
    record_reader(batch_header const& header, std::string_view records) noexcept
        : in_(records),
          header_(header),
          times_(header),
          left_(header.count),
          last_delta_(-1) {}

    /// Why the last call gave `damaged`.
    damage wrong() const noexcept { return wrong_; }
    /// The offset of the record that cannot be read, or, where that is unknown, the first one that
    /// it can have: never below one that was given.
    std::int64_t next_offset() const noexcept { return header_.base_offset + last_delta_ + 1; }

    next_record next(decoded_record& into) noexcept {
        if (wrong_ != damage::none) {
            return next_record::damaged;
        }
        if (left_ == 0) {
            return in_.remaining() == 0 ? next_record::end : damaged(damage::bytes_left);
        }
        into.begin = in_.view(0).data();
        auto const size = in_.varint();
        wire_reader record{in_.view(static_cast<std::size_t>(size))}; // too large, if below 0
        if (in_.failed()) {
            return damaged(damage::record);
        }
        record.int8(); // attributes, none of which mean anything
        auto const timestamp_delta = record.varlong();
        auto const offset_delta = record.varint();
        into.key = field(record);
        into.value = field(record);
        auto const headers = record.varint();
        if (headers != 0) {
            if (!read_headers(record, headers, into.headers)) {
                return damaged(damage::record);
            }
        } else {
            into.headers = {};
        }
        if (record.failed() || record.remaining() != 0) {
            return damaged(damage::record);
        }
        if (offset_delta <= last_delta_ || offset_delta > header_.last_offset_delta) {
            return damaged(damage::offsets);
        }
        last_delta_ = offset_delta;
        into.offset = header_.base_offset + offset_delta;
        into.timestamp = times_.of(timestamp_delta);
        --left_;
        return next_record::record;
    }

private:
    next_record damaged(damage wrong) noexcept {
        wrong_ = wrong;
        return next_record::damaged;
    }
    static record_field field(wire_reader& record) noexcept {
        auto const size = record.varint();
        return size == -1 ? record_field{}
                          : record_field{record.view(static_cast<std::size_t>(size))};
    }
    static bool read_headers(wire_reader& record, std::int32_t count,
                             record_headers& into) noexcept {
        if (count < 0 || static_cast<std::size_t>(count) > record.remaining() / 2) {
            return false;
        }
        auto const all = record;
        for (auto left = count; left != 0; --left) {
            if (!field(record)) { // a name is not null
                return false;
            }
            field(record);
        }
        if (record.failed()) {
            return false;
        }
        auto from = all;
        into = {from.view(all.remaining() - record.remaining()), static_cast<std::size_t>(count)};
        return true;
    }

    wire_reader in_{std::string_view{}};
    batch_header header_;
    batch_times times_;
    std::int32_t left_ = 0;
    std::int32_t last_delta_ = -1;
    damage wrong_ = damage::none;
};

/// Of a record that was read before, by `decoded_record::begin`.
///
/// @param begin the bytes behind it are those that were checked then.
inline std::int64_t timestamp_of(char const* begin, batch_times const& times) noexcept {
    constexpr std::size_t longest = 5 + 1 + 10; // up to the end of the time
    wire_reader record{{begin, longest}};
    record.varint();
    record.int8();
    return times.of(record.varlong());
}
inline record_headers headers_of(char const* begin) noexcept {
    wire_reader size{{begin, 5}};
    auto const length = static_cast<std::size_t>(size.varint());
    wire_reader record{{size.view(0).data(), length}};
    record.int8();
    record.varlong();
    record.varint();
    for (int fields = 0; fields != 2; ++fields) { // key and value
        if (auto const bytes = record.varint(); bytes > 0) {
            record.view(static_cast<std::size_t>(bytes));
        }
    }
    auto const count = static_cast<std::size_t>(record.varint());
    return {record.view(record.remaining()), count};
}

} // namespace kgroup::detail::fetch
