// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/claim/partition_state.hpp>
#include <kgroup/detail/claim/record_block.hpp>
#include <kgroup/detail/claim/record_writer.hpp>
#include <kgroup/message.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace kgroup::detail {

/// A record in memory of its own, so that it no longer pins what was fetched with it. For everybody
/// else it is the same record: its message gives the same answers, and an acknowledgement counts
/// for it. All of it is one piece of memory, its key and its value at the end; headers, which few
/// records have, are apart.
class record_copy final : public record_owner {
public:
    /// Throws `std::bad_alloc`, and what `message::headers` throws.
    static message make(message const& original) {
        auto const key = original.key();
        auto const value = original.value();
        auto* const place = ::operator new (sizeof(record_copy) + key.size() + value.size(),
                                            std::align_val_t{alignof(record_copy)});
        auto* const copy = ::new (place) record_copy{};
        std::unique_ptr<record_copy, deletion> made{copy};
        auto const& record = *record_access::of(original);
        auto const& owner = record.block->from();
        owner.headers(
            record.native, [&](std::string_view name, std::optional<std::string_view> content) {
                made->headers_.push_back({std::string{name}, std::optional<std::string>{content}});
            });
        made->timestamp_ = owner.timestamp(record.native);
        return made.release()->fill(record, key, value); // it goes with the last hold
    }

    static bool is_copy(message const& record) noexcept {
        auto const& block = *record_access::of(record)->block;
        return &block.from() != block.owner()->source();
    }
    /// What the headers of a copy take, beside its key and its value.
    static std::size_t bytes_of_headers(message const& copy) noexcept {
        auto const& made = static_cast<record_copy const&>(record_access::of(copy)->block->from());
        std::size_t sum = 0;
        for (auto const& header : made.headers_) {
            sum += sizeof header + header.name.size() + (header.value ? header.value->size() : 0);
        }
        return sum;
    }

    void free_records(record*, std::size_t) noexcept override { deletion{}(this); }
    std::int64_t timestamp(void*) const noexcept override { return timestamp_; }
    void headers(void*, header_sink const& sink) const override {
        for (auto const& header : headers_) {
            sink(header.name,
                 header.value ? std::optional<std::string_view>{*header.value} : std::nullopt);
        }
    }

private:
    struct deletion {
        void operator()(record_copy* copy) const noexcept {
            copy->~record_copy();
            ::operator delete (static_cast<void*>(copy), std::align_val_t{alignof(record_copy)});
        }
    };

    record_copy() = default;
    ~record_copy() = default;

    message fill(record const& original, std::string_view key, std::string_view value) noexcept {
        auto* const bytes = reinterpret_cast<char*>(this + 1);
        std::copy(key.begin(), key.end(), bytes);
        std::copy(value.begin(), value.end(), bytes + key.size());
        block_.belongs_to(original.block->state());
        block_.set_fetched(original.block->fetched());
        {
            record_block::writer into{block_};
            into.append(this, original.key ? bytes : nullptr, key.size(),
                        original.value ? bytes + key.size() : nullptr, value.size(),
                        original.offset);
        }
        auto& copy = block_[0];
        copy.epoch = original.epoch;
        copy.acked.store(original.acked.load());
        block_.lend(original.block->owner(), *this, original.block->sequence_of(original));
        return record_access::take(copy);
    }

    std::vector<owned_message::owned_header> headers_;
    std::int64_t timestamp_ = -1;
    record_room room_;
    record_block block_{room_};
};

} // namespace kgroup::detail
