// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/fetch/batch_header.hpp>
#include <kgroup/detail/fetch/fetched_records.hpp>
#include <kgroup/topic_partition.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

namespace kgroup::detail::fetch {

/// What other threads ask of the fetcher, until it looks. What is newer overrides what is older.
/// Only starting needs memory.
///
/// *Thread safety.* Any thread.
class partition_orders {
public:
    struct begin {
        std::uint64_t ticket = 0;
        std::int64_t from = 0;
        std::int32_t leader_epoch = -1;
        std::shared_ptr<fetch_sink> sink;
    };
    /// What a reader found.
    struct finding {
        std::uint64_t generation = 0;
        std::int64_t at = 0;
        damage wrong = damage::none; // none: an old format
    };
    /// To be carried out in the order of the members.
    struct order {
        topic_partition const* partition = nullptr;
        bool stop = false;
        std::optional<begin> start;
        bool more = true;
        std::optional<finding> found;
    };

    /// @throws std::bad_alloc
    void start(topic_partition const& partition, begin from) {
        std::optional<begin> overridden; // its sink ends outside of the lock
        std::lock_guard const lock{mutex_};
        auto const found = known_.try_emplace(partition).first;
        listed_.reserve(known_.size()); // so that whatever is asked from here on finds room
        auto& asked = found->second;
        asked.ticket = from.ticket;
        overridden = std::exchange(asked.pending.start, std::move(from));
        asked.pending.more = true;
        asked.pending.found.reset();
        list(*found);
    }
    void stop(topic_partition const& partition) noexcept {
        std::optional<begin> overridden;
        change(partition, std::nullopt, [&overridden](state& known) {
            known.pending.stop = true;
            overridden = std::exchange(known.pending.start, std::nullopt);
            known.pending.found.reset();
            known.ticket.reset();
        });
    }
    void want(topic_partition const& partition, std::uint64_t ticket, bool more) noexcept {
        change(partition, ticket, [more](state& known) { known.pending.more = more; });
    }
    void found(topic_partition const& partition, std::uint64_t ticket, finding trouble) noexcept {
        change(partition, ticket, [&trouble](state& known) { known.pending.found = trouble; });
    }

    /// Calls `carry_out(order&)` for each partition of which something was asked. If it throws, it
    /// is called again later. One thread.
    template <typename CarryOut>
    void take(CarryOut carry_out) {
        for (;;) {
            order next;
            {
                std::lock_guard const lock{mutex_};
                if (listed_.empty()) {
                    return;
                }
                auto* const newest = listed_.back();
                listed_.pop_back();
                auto& known = newest->second;
                known.listed = false;
                next.partition = &newest->first;
                next.stop = std::exchange(known.pending.stop, false);
                next.start = std::exchange(known.pending.start, std::nullopt);
                next.more = known.pending.more;
                next.found = std::exchange(known.pending.found, std::nullopt);
            }
            try {
                carry_out(next);
            } catch (...) {
                put_back(std::move(next));
                throw;
            }
            if (next.stop && !next.start) {
                forget(*next.partition);
            }
        }
    }

    /// Nothing is asked any more.
    void clear() noexcept {
        std::unordered_map<topic_partition, state> ended; // sinks end outside of the lock
        std::lock_guard const lock{mutex_};
        listed_.clear();
        known_.swap(ended);
    }

private:
    struct state {
        order pending;
        std::optional<std::uint64_t> ticket; // of the newest start
        bool listed = false;
    };
    using place = std::pair<topic_partition const, state>;

    template <typename Change>
    void change(topic_partition const& partition, std::optional<std::uint64_t> ticket,
                Change make) noexcept {
        std::lock_guard const lock{mutex_};
        auto const found = known_.find(partition);
        if (found == known_.end() || (ticket && found->second.ticket != ticket)) {
            return;
        }
        make(found->second);
        list(*found);
    }
    void list(place& added) noexcept {
        if (!std::exchange(added.second.listed, true)) {
            listed_.push_back(&added); // `start` made room
        }
    }
    void put_back(order&& failed) noexcept {
        std::lock_guard const lock{mutex_};
        auto const found = known_.find(*failed.partition);
        auto& pending = found->second.pending;
        // What was asked meanwhile is newer.
        if (!pending.start && !pending.stop) {
            pending.start = std::move(failed.start);
        }
        pending.stop = pending.stop || failed.stop;
        list(*found);
    }
    void forget(topic_partition const& partition) noexcept {
        std::lock_guard const lock{mutex_};
        auto const found = known_.find(partition);
        if (found != known_.end() && !found->second.listed && !found->second.ticket) {
            known_.erase(found);
        }
    }

    std::mutex mutex_;
    std::unordered_map<topic_partition, state> known_;
    std::vector<place*> listed_;
};

} // namespace kgroup::detail::fetch
