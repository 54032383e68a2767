// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/process/task.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace kgroup::detail {

/// Which keys are busy, and what waits behind each. A lane is a 64-bit hash of a key: a collision
/// merges two keys into one lane, which costs concurrency and not order. Only busy lanes take room,
/// so that a new key allocates nothing.
class key_lanes {
public:
    /// true: the lane was free and is `entering`'s now. false: `entering` waits in it.
    bool enter(task& entering) {
        if ((busy_ + 1) * 2 > table_.size()) {
            grow();
        }
        auto& found = slot_of(*entering.lane);
        if (!found.busy) {
            found.busy = true;
            found.hash = *entering.lane;
            ++busy_;
            return true;
        }
        found.waiting.push_back(entering);
        return false;
    }

    /// Whoever has the lane is through with it. Returns the next in it, which has the lane then;
    /// null: nobody waits and the lane is free.
    task* leave(std::uint64_t lane) noexcept {
        auto& found = slot_of(lane);
        if (auto* const next = found.waiting.pop_front()) {
            return next;
        }
        remove(static_cast<std::size_t>(&found - table_.data()));
        return nullptr;
    }

    /// Takes out everything that waits, of all lanes.
    task_list clear() noexcept {
        task_list waiting;
        for (auto& each : table_) {
            waiting.splice(each.waiting);
            each.busy = false;
        }
        busy_ = 0;
        return waiting;
    }

    /// How many lanes are busy.
    std::size_t size() const noexcept { return busy_; }

private:
    struct slot {
        std::uint64_t hash = 0;
        bool busy = false;
        task_list waiting;
    };

    std::size_t home(std::uint64_t hash) const noexcept {
        return static_cast<std::size_t>(hash) & (table_.size() - 1);
    }
    // That of the lane, or the free one where it belongs.
    slot& slot_of(std::uint64_t hash) noexcept {
        auto index = home(hash);
        while (table_[index].busy && table_[index].hash != hash) {
            index = (index + 1) & (table_.size() - 1);
        }
        return table_[index];
    }
    // Closes the gap, so that a search may end at the first free slot.
    void remove(std::size_t gap) noexcept {
        auto const mask = table_.size() - 1;
        table_[gap].busy = false;
        --busy_;
        for (auto index = (gap + 1) & mask; table_[index].busy; index = (index + 1) & mask) {
            if (((index - home(table_[index].hash)) & mask) >= ((index - gap) & mask)) {
                table_[gap] = std::exchange(table_[index], slot{});
                gap = index;
            }
        }
    }
    void grow() {
        std::vector<slot> smaller(table_.empty() ? 64 : table_.size() * 2);
        smaller.swap(table_);
        for (auto const& each : smaller) {
            if (each.busy) {
                slot_of(each.hash) = each;
            }
        }
    }

    std::vector<slot> table_; // a power of two, at most half of it busy
    std::size_t busy_ = 0;
};

} // namespace kgroup::detail
