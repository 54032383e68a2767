// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/end_reason.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace kgroup::tests {

/// What becomes of the records of a topic in the hands of a group, attempt by attempt, and where
/// that breaks the promise of `order::by_key`:
///
/// - within one ownership of a partition a key's attempts never overlap and ascend;
/// - over a rebalance a key may step back, to the first undone record of the claim at most, and
///   never jumps over one that is undone.
///
/// A loss, after which the next owner may begin while the old attempt still runs, is none of what
/// it is used for. It trusts what the handlers do, and nothing that the group says. Any thread.
class order_ledger {
public:
    class ownership;
    using key = std::uint32_t;

private:
    struct lane {
        std::vector<std::int64_t> offsets;
        bool running = false;
    };
    struct partition_log {
        explicit partition_log(std::vector<key> given) : keys(std::move(given)), done(keys.size()) {
            for (std::size_t offset = 0; offset != keys.size(); ++offset) {
                lanes[keys[offset]].offsets.push_back(static_cast<std::int64_t>(offset));
            }
        }

        mutable std::mutex mutex;
        std::vector<key> keys;
        std::vector<bool> done;
        std::unordered_map<key, lane> lanes;
        std::int64_t first_undone = 0; // by this owner, from where it began
        std::vector<bool> done_by_owner;
        bool owned = false;
    };

public:
    /// Of each partition, the keys of its records in the order of their offsets, from 0 on.
    explicit order_ledger(std::vector<std::vector<key>> keys) {
        for (auto& log : keys) {
            total_ += log.size();
            logs_.emplace_back(std::move(log));
        }
    }

    /// One partition in the hands of one owner.
    class ownership {
    public:
        ownership(order_ledger& ledger, std::int32_t partition, std::int64_t first)
            : ledger_(ledger),
              log_(ledger.logs_.at(static_cast<std::size_t>(partition))),
              partition_(partition),
              floor_(log_.first_undone) {
            std::lock_guard const lock{log_.mutex};
            if (std::exchange(log_.owned, true)) {
                violate("has a second owner", first);
            }
            log_.done_by_owner.assign(log_.keys.size(), false);
            if (first != floor_) {
                violate("is taken up where undone was " + std::to_string(floor_), first);
            }
        }

        /// An attempt begins.
        void begin(std::int64_t offset) {
            std::lock_guard const lock{log_.mutex};
            auto& lane = log_.lanes[key_of(offset)];
            if (std::exchange(lane.running, true)) {
                violate("overlaps with another attempt at its key", offset);
            }
            if (auto const wanted = next_of(key_of(offset)); offset != wanted) {
                violate("is begun where " + std::to_string(wanted) + " is next of its key", offset);
            }
            first_undone_[key_of(offset)] = offset;
        }

        /// The attempt has ended, and its record is done or not.
        void end(std::int64_t offset, bool done) {
            std::lock_guard const lock{log_.mutex};
            log_.lanes[key_of(offset)].running = false;
            if (done) {
                note_done(offset);
            }
        }

        /// The record was given up, and its dead letter is there.
        void letter_sent(std::int64_t offset) {
            std::lock_guard const lock{log_.mutex};
            note_done(offset);
        }

        /// The claim has ended, and all attempts with it.
        void over(kgroup::end_reason why) {
            std::lock_guard const lock{log_.mutex};
            log_.owned = false;
            for (auto const& [key, lane] : log_.lanes) {
                if (lane.running) {
                    violate("has an attempt at key " + std::to_string(key) + " at its end", -1);
                }
            }
            if (why == kgroup::end_reason::lost || why == kgroup::end_reason::group_failed) {
                violate("ends with " + std::string{to_string(why)}, -1);
            }
            for (auto offset = log_.first_undone; offset < size(); ++offset) {
                ledger_.above_hole_ += log_.done_by_owner[static_cast<std::size_t>(offset)] ? 1 : 0;
            }
            ++ledger_.handovers_;
        }

    private:
        key key_of(std::int64_t offset) const {
            return log_.keys.at(static_cast<std::size_t>(offset));
        }
        std::int64_t size() const { return static_cast<std::int64_t>(log_.done.size()); }
        void note_done(std::int64_t offset) {
            auto const at = static_cast<std::size_t>(offset);
            first_undone_[key_of(offset)] = offset + 1;
            log_.done_by_owner.at(at) = true;
            while (log_.first_undone < size() &&
                   log_.done_by_owner[static_cast<std::size_t>(log_.first_undone)]) {
                ++log_.first_undone;
                ++ledger_.in_order_;
            }
            if (log_.done[at]) {
                ++ledger_.again_;
                return;
            }
            log_.done[at] = true;
            ++ledger_.done_;
        }
        // The first of the key, from where this owner began, that it has not done.
        std::int64_t next_of(key key) const {
            auto const& offsets = log_.lanes.at(key).offsets;
            auto const found = first_undone_.find(key);
            auto const from = found == first_undone_.end() ? floor_ : found->second;
            auto const next = std::ranges::lower_bound(offsets, from);
            return next == offsets.end() ? -1 : *next;
        }
        void violate(std::string const& how, std::int64_t offset) {
            ledger_.violate("partition " + std::to_string(partition_) + ", offset " +
                            std::to_string(offset) + ": " + how);
        }

        order_ledger& ledger_;
        partition_log& log_;
        std::int32_t partition_;
        std::int64_t const floor_; // the first undone record at the handover
        std::unordered_map<key, std::int64_t> first_undone_; // by this owner, or behind the last
    };

    /// How many records are done, at least once.
    std::size_t done() const noexcept { return done_; }
    /// Nothing is to be done, nor done again: all may be committed.
    bool over() const noexcept { return in_order_ == total_; }
    /// How many times a record was done that had been done before.
    std::size_t again() const noexcept { return again_; }
    /// How many records stood done above an undone one at the handovers of their partitions, and so
    /// may be done again.
    std::size_t above_hole() const noexcept { return above_hole_; }
    std::size_t handovers() const noexcept { return handovers_; }
    /// The first of what breaks the promise; empty: nothing.
    std::string violations() const {
        std::lock_guard const lock{mutex_};
        return violations_;
    }
    /// The first records that are not done.
    std::string undone() const {
        std::string text;
        for (std::size_t partition = 0; partition != logs_.size(); ++partition) {
            std::lock_guard const lock{logs_[partition].mutex};
            auto const& log = logs_[partition];
            if (log.first_undone != static_cast<std::int64_t>(log.done.size())) {
                text += "partition " + std::to_string(partition) + ", offset " +
                        std::to_string(log.first_undone) + "\n";
            }
        }
        return text;
    }

private:
    void violate(std::string const& text) {
        std::lock_guard const lock{mutex_};
        if (++violation_count_ <= 20) {
            violations_ += text + "\n";
        }
    }

    std::deque<partition_log> logs_;
    std::size_t total_ = 0;
    std::atomic<std::size_t> done_{0};
    std::atomic<std::size_t> in_order_{0}; // below the first undone record of each partition
    std::atomic<std::size_t> again_{0};
    std::atomic<std::size_t> above_hole_{0};
    std::atomic<std::size_t> handovers_{0};
    mutable std::mutex mutex_;
    std::size_t violation_count_ = 0;
    std::string violations_;
};

} // namespace kgroup::tests
