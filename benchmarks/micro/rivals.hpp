// SPDX-License-Identifier: MIT

// Other ways of keeping account of records that are done out of order: what kgroup::offset_tracker
// is measured against.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <set>
#include <vector>

namespace rivals {

/// A mutex around the set of what is done ahead of the rest: the way most hand-written consumers do
/// it.
class locked_set {
public:
    explicit locked_set(std::size_t) {}

    std::uint64_t deliver(std::int64_t offset) { return static_cast<std::uint64_t>(offset); }

    void ack(std::int64_t offset, std::uint64_t) {
        std::lock_guard const lock(mutex_);
        if (offset != next_) {
            ahead_.insert(offset);
            return;
        }
        ++next_;
        for (auto first = ahead_.begin(); first != ahead_.end() && *first == next_;
             first = ahead_.erase(first))
            ++next_;
    }

    std::int64_t settle() {
        std::lock_guard const lock(mutex_);
        return next_;
    }

private:
    std::mutex mutex_;
    std::int64_t next_ = 0;
    std::set<std::int64_t> ahead_;
};

/// A mutex around a doubly linked list of what is in flight, in the order of delivery: what is done
/// is unlinked, and the first one left is what may be committed. Constant time, no allocation once
/// it has grown.
class linked_deque {
public:
    explicit linked_deque(std::size_t window) : nodes_(window + 1) { nodes_[0] = {0, 0, -1}; }

    std::uint64_t deliver(std::int64_t offset) {
        std::lock_guard const lock(mutex_);
        std::size_t const index = 1 + static_cast<std::size_t>(offset) % (nodes_.size() - 1);
        nodes_[index] = {nodes_[0].previous, 0, offset};
        nodes_[nodes_[0].previous].next = index;
        nodes_[0].previous = index;
        end_ = offset + 1;
        return index;
    }

    void ack(std::int64_t, std::uint64_t index) {
        std::lock_guard const lock(mutex_);
        node const& done = nodes_[index];
        nodes_[done.previous].next = done.next;
        nodes_[done.next].previous = done.previous;
    }

    std::int64_t settle() {
        std::lock_guard const lock(mutex_);
        return nodes_[0].next == 0 ? end_ : nodes_[nodes_[0].next].offset;
    }

private:
    // The node at 0 is the list's head and tail.
    struct node {
        std::size_t previous;
        std::size_t next;
        std::int64_t offset;
    };

    std::mutex mutex_;
    std::int64_t end_ = 0;
    std::vector<node> nodes_;
};

} // namespace rivals
