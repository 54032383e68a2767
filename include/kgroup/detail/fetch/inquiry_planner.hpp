// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/fetch/answer_memory.hpp>
#include <kgroup/detail/fetch/api.hpp>
#include <kgroup/detail/fetch/fetch_turns.hpp>
#include <kgroup/detail/fetch/fetcher_settings.hpp>
#include <kgroup/detail/fetch/inquiry.hpp>
#include <kgroup/detail/fetch/known_brokers.hpp>
#include <kgroup/detail/fetch/memory_shares.hpp>
#include <kgroup/detail/fetch/metadata_schedule.hpp>
#include <kgroup/detail/fetch/partition_fetch.hpp>
#include <kgroup/detail/fetch/partition_table.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace kgroup::detail::fetch {

/// What is to be asked of which broker now: about which partitions, for how many bytes, and how
/// long the broker may wait.
class inquiry_planner {
public:
    /// @param partitions and `metadata` outlive it.
    inquiry_planner(fetcher_settings const& settings, std::shared_ptr<answer_memory> memory,
                    partition_table& partitions, metadata_schedule& metadata) noexcept
        : fetch_wait_max_(settings.fetch_wait_max),
          receive_max_(static_cast<std::size_t>(settings.receive_message_max_bytes)),
          most_at_a_time_((std::max)(std::size_t{8} << 20,
                                     static_cast<std::size_t>(settings.partition_max_bytes))),
          shares_(memory->limit(), static_cast<std::size_t>(settings.partition_max_bytes),
                  static_cast<std::size_t>(settings.fetch_max_bytes)),
          memory_(std::move(memory)),
          partitions_(partitions),
          metadata_(metadata) {}

    /// Finds out which partitions may be fetched, and notes at the brokers which of them have to be
    /// asked. To be called before what follows.
    void prepare(known_brokers& brokers, time_point now) noexcept {
        for (auto& [id, broker] : brokers.named()) {
            broker.has_fetches = broker.has_others = false;
        }
        scarce_ = shares_.scarce(memory_->used());
        bool refused = false;
        bool kept = false;
        memory_->await_release();
        for (auto const& [name, partition] : partitions_.all()) {
            bool const wants = partition->claim_wants();
            // A claim that has read all of it may wait for more before it lets go of messages.
            bool const all_read = partition->all_read();
            bool const room =
                all_read || shares_.room(partition->held(), partitions_.size(), scarce_);
            kept = kept || (wants && all_read && partition->held() != 0);
            partition->want(wants && room);
            refused = refused || (wants && !room);
            find_broker(*partition, brokers, now);
        }
        if (!refused) {
            memory_->forget_release();
        }
        look_at_kept(kept);
    }

    /// That claims hold more memory than there is, in words; null: nothing is to be told.
    char const* take_over_budget() noexcept { return std::exchange(tells_, nullptr); }

    /// A poll: about all that may be fetched from the broker. nullopt: there is nothing.
    ///
    /// @param to knows the abilities of the connection.
    /// @param other_ends see `known_broker::place_for_poll`.
    /// @throws std::bad_alloc; then the questions are lost.
    std::optional<inquiry> poll(known_broker const& to, std::optional<time_point> other_ends,
                                time_point now) {
        partitions_.turns().take_fetches(to.id, now, to.abilities, taken_);
        auto result = about_taken(api::fetch, now);
        if (!result) {
            return result;
        }
        auto& asked = *result;
        asked.wait = fetch_wait_max_;
        // What others may wait for: no other place for a poll is left, or those that are asked
        // about alone, one after the other, come first.
        if (other_ends || asked.subjects.front().question.alone) {
            asked.wait = partitions_.turns().max_wait(to.id, now, asked.wait);
            if (other_ends && *other_ends > now) {
                asked.wait = (std::min)(
                    asked.wait, std::chrono::ceil<std::chrono::milliseconds>(*other_ends - now));
            }
        }
        asked.ends = now + asked.wait;
        asked.scarce = scarce_;
        asked.limits =
            shares_.of_request(asked.subjects.size(), partitions_.size(), memory_->used(), scarce_);
        asked.limits.total =
            (std::min)({asked.limits.total, room_for_records(asked), most_at_a_time_});
        asked.limits.partition = (std::min)(asked.limits.partition, asked.limits.total);
        asked.promised = asked.limits.total;
        memory_->promise(asked.promised);
        return result;
    }
    /// What must not wait behind a poll. nullopt: there is nothing.
    ///
    /// @param key list_offsets or leader_epoch.
    /// @throws std::bad_alloc; then the questions are lost.
    std::optional<inquiry> others(api key, known_broker const& to, time_point now) {
        partitions_.turns().take_others(key, to.id, now, to.abilities, taken_);
        auto result = about_taken(key, now);
        if (result) {
            result->ends = now;
        }
        return result;
    }

private:
    void find_broker(fetched_partition& partition, known_brokers& brokers,
                     time_point now) noexcept {
        auto const target = partition.target(now);
        if (target < 0 || !partition.ready(now)) {
            if (partition.running() && target < 0) {
                metadata_.want();
            }
            return;
        }
        auto* const broker = brokers.find(target);
        if (!broker) {
            metadata_.want();
            partitions_.react(partition, partition.on_target_away(now));
            return;
        }
        if (target != partition.leader() && broker->away(now)) {
            partitions_.react(partition, partition.on_target_away(now)); // the leader has it, too
            return;
        }
        if (auto const question = partition.next(now, broker->abilities)) {
            (question->request == api::fetch ? broker->has_fetches : broker->has_others) = true;
        }
    }
    /// In the largest answer that is received, beside what stands around records.
    std::size_t room_for_records(inquiry const& asked) const noexcept {
        constexpr std::size_t least = 1024;
        constexpr std::size_t around = 64; // a partition's numbers; the same of the whole
        auto taken = around;
        for (auto const& one : asked.subjects) {
            taken += around + one.partition->name().topic.size();
        }
        return receive_max_ > taken + least ? receive_max_ - taken : least;
    }
    /// Told again only behind a time with much room: requests come and go around the limit.
    void look_at_kept(bool kept) noexcept {
        auto const used = memory_->used();
        bool const full = kept && used > memory_->limit();
        if ((full || memory_->exceeded()) && !std::exchange(over_budget_, true)) {
            tells_ = full ? "messages that are kept hold more than buffer_bytes"
                          : "what was decompressed holds more than is left of buffer_bytes";
        }
        if (used <= memory_->limit() / 2) {
            over_budget_ = false;
            memory_->forget_exceeded();
        }
    }
    /// What was taken is outstanding already.
    std::optional<inquiry> about_taken(api key, time_point now) {
        std::optional<inquiry> result;
        if (taken_.empty()) {
            return result;
        }
        try {
            result.emplace(key, taken_);
        } catch (...) {
            for (auto const& turn : taken_) {
                turn.partition->on_lost(turn.question.generation, now);
            }
            throw;
        }
        return result;
    }

    std::chrono::milliseconds fetch_wait_max_;
    std::size_t receive_max_;
    std::size_t most_at_a_time_; // more leaves the processor's cache before it is read
    memory_shares shares_;
    std::shared_ptr<answer_memory> memory_;
    partition_table& partitions_;
    metadata_schedule& metadata_;
    bool scarce_ = false;         // memory, since `prepare`
    bool over_budget_ = false;    // claims hold more than there is of it,
    char const* tells_ = nullptr; // which is to be told
    std::vector<fetch_turns::turn> taken_;
};

} // namespace kgroup::detail::fetch
