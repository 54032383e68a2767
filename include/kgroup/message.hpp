// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/claim/partition_state.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kgroup {

namespace detail {
struct record_access;
}

/// One header of a record. Names may repeat; a value may be null, which is not the same as empty.
struct header {
    std::string_view name;
    std::optional<std::string_view> value;
};

/// A record copied out of Kafka's buffers: to keep for as long as one likes, on any thread.
struct owned_message {
    struct owned_header {
        std::string name;
        std::optional<std::string> value;
    };
    std::string topic;
    std::int32_t partition = 0;
    std::int64_t offset = 0;
    std::optional<std::string> key;
    std::optional<std::string> value;
    std::optional<std::chrono::system_clock::time_point> timestamp;
    std::vector<owned_header> headers;
};

/// One record, as a claim's channel delivers it.
///
/// The views it gives out (`topic`, `key`, `value`, `headers`) point into the buffer that came from
/// the broker: nothing is copied, and they are valid for as long as the message lives.
///
/// *Lifetime.* Destroy a message before the `consume_claim` that received it returns; `copy()`
/// makes a copy to keep. A message that is kept longer does no harm: it keeps its buffer and the
/// connection's state alive. It is counted in `group_stats::late_messages` and reported once a
/// claim. The executor's context must outlive it. A message pins the records that were fetched
/// together with it, so hold few of them for long.
///
/// *Thread safety.* Distinct messages: safe, each may be moved to and destroyed on any thread. A
/// shared message: reading is safe, but for `headers()`, `header()` and `copy()`, which are not:
/// use them from one thread at a time.
class message {
public:
    /// Takes another's record; the other may only be destroyed or assigned to then.
    message(message&& other) noexcept : record_(std::exchange(other.record_, nullptr)) {}
    message& operator=(message&& other) noexcept {
        if (this != &other) {
            drop();
            record_ = std::exchange(other.record_, nullptr);
        }
        return *this;
    }
    message(message const&) = delete;
    message& operator=(message const&) = delete;
    ~message() { drop(); }

    /// The topic's name; valid for as long as the message.
    std::string_view topic() const noexcept { return record_->block->state().topic(); }
    /// The partition that the record was read from.
    std::int32_t partition() const noexcept { return record_->block->state().partition(); }
    /// The record's offset in its partition. Offsets ascend within a claim and may have gaps.
    std::int64_t offset() const noexcept { return record_->offset; }

    /// The record's key: any bytes, not NUL-terminated; empty when it is null or empty (see
    /// `has_key`).
    std::string_view key() const noexcept { return {record_->key, record_->key_size}; }
    /// The record's value: any bytes, not NUL-terminated; empty when it is null or empty (see
    /// `has_value`).
    std::string_view value() const noexcept { return {record_->value, record_->value_size}; }
    /// Whether the record has a key; an empty key is one.
    bool has_key() const noexcept { return record_->key != nullptr; }
    /// Whether the record has a value. A null value is a tombstone in a compacted topic.
    bool has_value() const noexcept { return record_->value != nullptr; }

    /// The record's timestamp, in milliseconds since the epoch: the producer's or the broker's, as
    /// the topic is configured. nullopt: the record has none.
    std::optional<std::chrono::system_clock::time_point> timestamp() const noexcept {
        auto const milliseconds = record_->block->from().timestamp(record_->native);
        if (milliseconds < 0) {
            return std::nullopt;
        }
        return std::chrono::system_clock::time_point{std::chrono::milliseconds{milliseconds}};
    }

    /// The record's headers in the order in which the producer set them; parsed by this call, which
    /// allocates. The views in it are valid for as long as the message.
    ///
    /// @throws std::system_error (category `kafka`) when the record's header block is malformed.
    std::vector<kgroup::header> headers() const {
        std::vector<kgroup::header> result;
        record_->block->from().headers(
            record_->native, [&](std::string_view name, std::optional<std::string_view> value) {
                result.push_back({name, value});
            });
        return result;
    }

    /// The value of the last header of this name: where names repeat it is the last that counts, as
    /// in Kafka's `lastHeader`. Builds no list; the view in it is valid for as long as the message.
    ///
    /// @return nullopt: there is no such header. A null value is an empty optional inside the
    /// other; `header("trace").value_or(std::nullopt)` takes both alike.
    /// @throws std::system_error as `headers`.
    std::optional<std::optional<std::string_view>> header(std::string_view name) const {
        std::optional<std::optional<std::string_view>> found;
        auto const take = [&](std::string_view other, std::optional<std::string_view> value) {
            if (other == name) {
                found = value;
            }
        };
        record_->block->from().headers(record_->native, std::ref(take));
        return found;
    }

    /// A copy of everything in the record, independent of the claim.
    ///
    /// @throws std::bad_alloc, and what `headers()` throws.
    owned_message copy() const {
        owned_message result;
        result.topic = topic();
        result.partition = partition();
        result.offset = offset();
        if (has_key()) {
            result.key.emplace(key());
        }
        if (has_value()) {
            result.value.emplace(value());
        }
        result.timestamp = timestamp();
        for (auto const& header : headers()) {
            auto& added = result.headers.emplace_back();
            added.name = header.name;
            if (header.value) {
                added.value.emplace(*header.value);
            }
        }
        return result;
    }

private:
    friend struct detail::record_access;
    explicit message(detail::record* record) noexcept : record_(record) {}

    void drop() noexcept {
        if (record_) {
            record_->block->give_up(*record_);
        }
    }

    detail::record* record_;
};

namespace detail {

/// The one door between messages and what the library keeps about their records.
struct record_access {
    /// The message of a record that is delivered by itself.
    static message take(record& record) noexcept {
        record.alone = true;
        return message{&record};
    }
    static record* of(message const& message) noexcept { return message.record_; }

    /// Puts the record's message into its place, for whoever receives it in a batch.
    static void lend(record& record) noexcept {
        static_assert(sizeof(message) == sizeof(record.lent));
        ::new (static_cast<void*>(record.lent)) message{&record};
    }
    static message& lent(record& record) noexcept {
        return *std::launder(reinterpret_cast<message*>(record.lent));
    }
    /// Destroys what stands in the place. true: it was the record's own message, and is left to be
    /// released with others.
    static bool leave_own(record& record) noexcept {
        auto& standing = lent(record);
        if (standing.record_ == &record) [[likely]] {
            return true;
        }
        standing.~message();
        return false;
    }
};

} // namespace detail

} // namespace kgroup
