// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/produce/completion.hpp>
#include <kgroup/detail/produce/delivery_epochs.hpp>
#include <kgroup/detail/produce/record_storage.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace kgroup::detail {

enum class produce_kind { enqueue, send, flush, stop };

enum class produce_stage {
    spare,
    beginning,
    waits_for_room, // `stored` holds the record
    under_way,      // librdkafka knows it by its address
    waits,          // a flush or a stop
};

/// Something that somebody waits for at a producer.
struct produce_operation {
    produce_kind kind = produce_kind::enqueue;
    produce_stage stage = produce_stage::spare;
    std::uint64_t use = 0; // which one of this object it is
    completion done;       // empty: cancelled
    delivery_epochs::number epoch = 0;
    std::optional<std::int32_t> source_partition; // of a dead letter
    record_storage stored;
    delivery_epochs::flush flush;
};

/// How librdkafka knows a record: one that nobody waits for, by the number of its epoch only; one
/// that is awaited, by its operation.
struct record_tag {
    static void* of_epoch(delivery_epochs::number epoch) noexcept {
        return reinterpret_cast<void*>(epoch << 1 | 1);
    }
    /// Null: nobody waits for it.
    static produce_operation* operation(void* tag) noexcept {
        return is_epoch(tag) ? nullptr : static_cast<produce_operation*>(tag);
    }
    static delivery_epochs::number epoch(void* tag) noexcept {
        return is_epoch(tag) ? reinterpret_cast<std::uintptr_t>(tag) >> 1
                             : static_cast<produce_operation*>(tag)->epoch;
    }

private:
    static bool is_epoch(void* tag) noexcept {
        return (reinterpret_cast<std::uintptr_t>(tag) & 1) != 0; // operations are aligned
    }
};

/// Operations, used again. They live until the last of librdkafka's producers is gone.
class produce_operations {
public:
    produce_operation& take() {
        if (spare_.empty()) {
            auto made = std::make_unique<produce_operation>();
            spare_.reserve(all_.size() + 1); // has room for all
            all_.push_back(std::move(made));
            spare_.push_back(all_.back().get());
        }
        auto& taken = *spare_.back();
        spare_.pop_back();
        taken.stage = produce_stage::beginning;
        return taken;
    }
    void release(produce_operation& released) noexcept {
        released.done.drop();
        released.stage = produce_stage::spare;
        released.source_partition.reset();
        released.stored.shrink();
        ++released.use;
        spare_.push_back(&released);
    }

    std::size_t in_use() const noexcept { return all_.size() - spare_.size(); }
    std::vector<std::unique_ptr<produce_operation>> const& all() const noexcept { return all_; }

private:
    std::vector<std::unique_ptr<produce_operation>> all_;
    std::vector<produce_operation*> spare_;
};

} // namespace kgroup::detail
