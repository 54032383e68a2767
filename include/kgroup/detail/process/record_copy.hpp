// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/claim/partition_state.hpp>
#include <kgroup/detail/claim/record_block.hpp>
#include <kgroup/detail/claim/record_writer.hpp>
#include <kgroup/message.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

namespace kgroup::detail {

/// A record in memory of its own, so that it no longer pins what was fetched with it. For everybody
/// else it is the same record: its message gives the same answers, and an acknowledgement counts
/// for it.
class record_copy final : public record_owner {
public:
    /// Throws `std::bad_alloc`, and what `message::headers` throws.
    static message make(message const& original) {
        auto made = std::unique_ptr<record_copy>{new record_copy{original.copy()}};
        auto const& record = *record_access::of(original);
        auto& copy = *made.release(); // it goes with the last hold
        return copy.fill(record);
    }

    void free_records(record*, std::size_t) noexcept override { delete this; }
    std::int64_t timestamp(void*) const noexcept override {
        using namespace std::chrono;
        return copied_.timestamp
                   ? duration_cast<milliseconds>(copied_.timestamp->time_since_epoch()).count()
                   : -1;
    }
    void headers(void*, header_sink const& sink) const override {
        for (auto const& header : copied_.headers) {
            sink(header.name,
                 header.value ? std::optional<std::string_view>{*header.value} : std::nullopt);
        }
    }

private:
    explicit record_copy(owned_message copied) : copied_(std::move(copied)) {}

    message fill(record const& original) noexcept {
        block_.belongs_to(original.block->state());
        block_.set_fetched(original.block->fetched());
        {
            record_block::writer into{block_};
            auto const bytes = [](std::optional<std::string> const& field) {
                return field ? field->data() : nullptr;
            };
            into.append(this, bytes(copied_.key), copied_.key ? copied_.key->size() : 0,
                        bytes(copied_.value), copied_.value ? copied_.value->size() : 0,
                        original.offset);
        }
        auto& copy = block_[0];
        copy.epoch = original.epoch;
        copy.acked.store(original.acked.load());
        block_.lend(original.block->owner(), *this, original.block->sequence_of(original));
        return record_access::take(copy);
    }

    owned_message copied_;
    record_block block_{1};
};

} // namespace kgroup::detail
