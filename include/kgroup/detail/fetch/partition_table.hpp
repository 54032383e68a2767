// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/fetch/answer_memory.hpp>
#include <kgroup/detail/fetch/api.hpp>
#include <kgroup/detail/fetch/batch_header.hpp>
#include <kgroup/detail/fetch/fetch_turns.hpp>
#include <kgroup/detail/fetch/fetched_partition.hpp>
#include <kgroup/detail/fetch/inquiry.hpp>
#include <kgroup/detail/fetch/known_brokers.hpp>
#include <kgroup/detail/fetch/metadata_message.hpp>
#include <kgroup/detail/fetch/metadata_schedule.hpp>
#include <kgroup/detail/fetch/partition_fetch.hpp>
#include <kgroup/detail/fetch/partition_orders.hpp>
#include <kgroup/topic_partition.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

namespace kgroup::detail::fetch {

/// The partitions that are fetched: what is ordered of them, what becomes of questions that get no
/// answer, and what metadata says. Sees to it that metadata is asked when one of them needs it.
class partition_table {
public:
    /// @param chosen of each partition.
    /// @param metadata outlives it.
    partition_table(fetch_settings const& chosen, std::shared_ptr<answer_memory> memory,
                    metadata_schedule& metadata) noexcept
        : settings_(chosen),
          memory_(std::move(memory)),
          metadata_(metadata) {}

    fetched_partitions const& all() const noexcept { return partitions_; }
    std::size_t size() const noexcept { return partitions_.size(); }
    bool empty() const noexcept { return partitions_.empty(); }
    fetch_turns& turns() noexcept { return turns_; }
    fetch_turns const& turns() const noexcept { return turns_; }

    /// What another thread has asked.
    ///
    /// @throws std::bad_alloc; then it is to be carried out again.
    void carry_out(partition_orders::order& order, time_point now) {
        auto const place = partitions_.find(*order.partition);
        auto found = place == partitions_.end() ? nullptr : place->second;
        if (order.stop && found) {
            drop(*found);
            found = nullptr;
        }
        if (order.start) {
            begin(found, *order.partition, *order.start);
        }
        if (!found) {
            return;
        }
        found->claim_wants(order.more);
        if (order.found) {
            auto const& [generation, position, wrong] = *order.found;
            react(*found, found->on_found(generation, position, wrong, now));
        }
    }

    /// What follows from an answer, or from an event.
    void react(fetched_partition& partition, fetch_reaction const& reaction) noexcept {
        if (reaction.refresh) {
            metadata_.want();
        }
        if (reaction.event) {
            partition.tell(*reaction.event);
        }
    }
    /// The broker cannot be asked.
    void on_away(std::int32_t broker, time_point now) noexcept {
        for (auto const& [name, partition] : partitions_) {
            if (partition->target(now) == broker) {
                react(*partition, partition->on_target_away(now));
            }
        }
    }

    /// The question gets no answer.
    void lose(inquiry::subject const& subject, time_point now) noexcept {
        react(*subject.partition, subject.partition->on_lost(subject.question.generation, now));
    }
    /// No answer comes.
    void lose(inquiry& asked, time_point now) noexcept {
        take_back_promise(asked);
        if (asked.key == api::metadata) {
            metadata_.lost();
        }
        for (auto const& subject : asked.subjects) {
            lose(subject, now);
        }
        asked.subjects.clear();
    }
    /// The answer is larger than any that is received.
    void lose_too_large(inquiry& asked, time_point now) noexcept {
        if (asked.key != api::fetch) {
            lose(asked, now);
            return;
        }
        take_back_promise(asked);
        for (auto const& [partition, question] : asked.subjects) {
            react(*partition, partition->on_too_large(question.generation, now));
        }
        asked.subjects.clear();
    }
    /// The answer is an error, and nothing else.
    ///
    /// @param code not 0.
    void refuse(inquiry& asked, std::int16_t code, time_point now) noexcept {
        take_back_promise(asked);
        if (asked.key == api::metadata) {
            metadata_.lost();
        }
        for (auto const& [partition, question] : asked.subjects) {
            react(*partition, partition->on_refused(question, code, now));
        }
    }
    /// The answer came, or none comes: its memory is not promised any more.
    void take_back_promise(inquiry& asked) noexcept {
        memory_->take_back(std::exchange(asked.promised, 0));
    }

    /// What metadata says of them.
    ///
    /// @param brokers have taken those of the answer.
    /// @throws std::bad_alloc
    void on_metadata(metadata_answer const& answer, known_brokers const& brokers) {
        bool const newest = !metadata_.wanted();
        std::size_t found = 0;
        bool complete = true;
        for (auto const& topic : answer.topics) {
            for (auto const& part : answer.partitions_of(topic)) {
                auto const place = partitions_.find(topic_partition{topic.name, part.number});
                if (place == partitions_.end()) {
                    continue;
                }
                ++found;
                auto& partition = *place->second;
                partition.tell_metadata_error(topic.error != 0 ? topic.error : part.error);
                // With some errors there is a leader nevertheless.
                auto const leader = brokers.contains(part.leader) ? part.leader : -1;
                auto const reaction =
                    partition.on_metadata(leader, part.leader_epoch, topic.id, newest);
                complete = complete && !reaction.refresh;
                react(partition, reaction);
            }
            if (topic.error != 0 && topic.count == 0) {
                for (auto const& [name, partition] : partitions_) {
                    if (name.topic == topic.name) {
                        partition->tell_metadata_error(topic.error);
                    }
                }
            }
        }
        metadata_.answered(complete && found >= partitions_.size());
    }

    /// Fetches nothing any more, and tells nobody.
    void clear() noexcept {
        for (auto const& [name, partition] : partitions_) {
            turns_.remove(*partition);
        }
        partitions_.clear();
    }

private:
    void drop(fetched_partition& dropped) noexcept {
        dropped.end();
        turns_.remove(dropped);
        partitions_.erase(dropped.name());
    }
    void begin(std::shared_ptr<fetched_partition>& found, topic_partition const& name,
               partition_orders::begin& start) {
        if (!found) {
            auto added = std::make_shared<fetched_partition>(name, settings_, memory_);
            partitions_.emplace(name, added);
            try {
                turns_.add(*added);
            } catch (...) {
                partitions_.erase(name);
                throw;
            }
            found = std::move(added);
            metadata_.want();
        }
        found->begin(start.ticket, start.from, start.leader_epoch, std::move(start.sink));
        if (found->leader() < 0) {
            metadata_.want();
        }
    }

    fetch_settings settings_;
    std::shared_ptr<answer_memory> memory_;
    metadata_schedule& metadata_;
    fetched_partitions partitions_;
    fetch_turns turns_;
};

} // namespace kgroup::detail::fetch
