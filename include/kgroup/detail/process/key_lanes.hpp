// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/process/task.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace kgroup::detail {

/// Which keys are busy, and which records wait behind each. A lane is a 64-bit hash of a key: a
/// collision merges two keys into one lane, which costs concurrency and not order. Only busy lanes
/// take room, so that a new key allocates nothing.
class key_lanes {
public:
    /// true: the lane was free and is `entering`'s now. false: `entering` waits in it.
    bool enter(task& entering) {
        if ((busy_ + 1) * 2 > table_.size()) {
            grow();
        }
        auto& found = slot_of(*entering.lane);
        auto const length = found.busy ? found.length + 1 : 1;
        if (length >= of_length_.size()) {
            of_length_.resize((std::max<std::size_t>)(of_length_.size() * 2, 64));
        }
        count_length(found.busy ? found.length : 0, length);
        found.length = length;
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
        count_length(found.length, found.length - 1);
        --found.length;
        if (auto* const next = found.waiting.pop_front()) {
            return next;
        }
        remove(static_cast<std::size_t>(&found - table_.data()));
        return nullptr;
    }

    /// Takes out everything that waits, of all lanes.
    task_list clear() noexcept {
        task_list waiting;
        for (auto& lane : table_) {
            waiting.splice(lane.waiting);
            lane.busy = false;
        }
        std::fill(of_length_.begin(), of_length_.end(), 0);
        longest_ = 0;
        busy_ = 0;
        return waiting;
    }

    /// How many lanes are busy.
    std::size_t size() const noexcept { return busy_; }
    /// The number of tasks in the longest lane, the running one included.
    std::size_t longest() const noexcept { return longest_; }

private:
    struct slot {
        std::uint64_t hash = 0;
        bool busy = false;
        std::size_t length = 0; // who has it, and those that wait; if it is busy
        task_list waiting;
    };

    // A lane has become longer or shorter by one, so the longest is never more than one step away.
    void count_length(std::size_t before, std::size_t now) noexcept {
        if (before != 0) {
            --of_length_[before];
        }
        if (now != 0) {
            ++of_length_[now];
        }
        if (now > longest_) {
            longest_ = now;
        } else if (before == longest_ && of_length_[before] == 0) {
            longest_ = now;
        }
    }
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
        for (auto const& lane : smaller) {
            if (lane.busy) {
                slot_of(lane.hash) = lane;
            }
        }
    }

    std::vector<slot> table_;            // a power of two, at most half of it busy
    std::vector<std::size_t> of_length_; // how many lanes have so many, by how many
    std::size_t longest_ = 0;
    std::size_t busy_ = 0;
};

} // namespace kgroup::detail
