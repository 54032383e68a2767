// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/fetch/answer_memory.hpp>
#include <kgroup/detail/fetch/api.hpp>
#include <kgroup/detail/fetch/fetch_message.hpp>
#include <kgroup/detail/fetch/inquiry.hpp>
#include <kgroup/detail/fetch/leader_epoch_message.hpp>
#include <kgroup/detail/fetch/list_offsets_message.hpp>
#include <kgroup/detail/fetch/message_frame.hpp>
#include <kgroup/detail/fetch/metadata_message.hpp>
#include <kgroup/detail/fetch/partition_fetch.hpp>
#include <kgroup/detail/fetch/partition_table.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <string_view>
#include <utility>

namespace kgroup::detail::fetch {

/// Reads answers, and hands each part to the partition that it is about. An answer is read into
/// memory that is used again and again.
class answer_reader {
public:
    /// What an answer says of its broker.
    struct outcome {
        bool read = false; // false: it cannot be read, and nothing of it was taken
        std::chrono::milliseconds throttle{0}; // the broker answers nothing for so long
        std::size_t strays = 0;                // parts about partitions that were not asked about
        bool empty_poll = false;               // a fetch that brought nothing at all
        bool over_budget = false; // to be told: memory is used up, as it was not before
    };

    /// @param partitions outlives it.
    answer_reader(std::shared_ptr<answer_memory> memory, partition_table& partitions) noexcept
        : memory_(std::move(memory)),
          partitions_(partitions) {}

    /// Takes an answer. What of it is about partitions is done then, and what got no answer is
    /// lost; but what metadata says is in `cluster`, for whoever knows the brokers.
    ///
    /// @param version and `correlation` of the request.
    /// @throws std::bad_alloc
    outcome take(inquiry& asked, std::int16_t version, std::int32_t correlation,
                 std::shared_ptr<answer_bytes> const& bytes, time_point now) {
        header const expected{version, correlation};
        switch (asked.key) {
        case api::fetch:
            return take_fetched(asked, expected, bytes, now);
        case api::list_offsets:
            return take_offsets(asked, expected, bytes->view(), now);
        case api::leader_epoch:
            return take_epochs(asked, expected, bytes->view(), now);
        case api::metadata:
            return take_metadata(expected, bytes->view());
        case api::api_versions: // the connection's own
            break;
        }
        return {};
    }
    /// What the newest answer about metadata says, as long as its bytes live.
    metadata_answer const& cluster() const noexcept { return cluster_; }

private:
    struct header {
        std::int16_t version;
        std::int32_t correlation;
    };

    outcome take_fetched(inquiry& asked, header expected,
                         std::shared_ptr<answer_bytes> const& bytes, time_point now) {
        outcome result;
        if (read_fetch_answer(bytes->view(), expected.version, expected.correlation, fetched_) !=
            read_result::ok) {
            return result;
        }
        result.read = true;
        result.throttle = std::chrono::milliseconds{fetched_.throttle_ms};
        result.over_budget = goes_over_budget(bytes->counted(), asked.promised);
        partitions_.take_back_promise(asked);
        if (fetched_.error != 0) {
            partitions_.refuse(asked, fetched_.error, now);
            return result;
        }
        auto const with_records =
            std::count_if(fetched_.partitions.begin(), fetched_.partitions.end(),
                          [](auto const& part) { return !part.records.empty(); });
        bool news = false;
        auto const take_part = [&](inquiry::subject const& subject, auto const& part) {
            news = news || !part.records.empty() || part.error != 0 || part.diverging;
            // A small part does not keep all of a large answer, nor any part when memory is scarce.
            bool const copied =
                asked.scarce ? with_records > 1 : part.records.size() < bytes->counted() / 8;
            try {
                take_records(subject, part, bytes, copied, now);
            } catch (std::bad_alloc const&) {
                partitions_.lose(subject, now);
            }
            // Another broker is asked next: one that the leader prefers.
            news = news || subject.partition->target(now) != subject.question.broker;
        };
        result.strays = take_parts(asked, fetched_.partitions, now, take_part);
        result.empty_poll = !news;
        return result;
    }
    /// What there is to be had of memory comes first: what partition_fetch was told, is told.
    void take_records(inquiry::subject const& subject, fetch_answer::partition const& part,
                      std::shared_ptr<answer_bytes> bytes, bool copied, time_point now) {
        auto batches = part.records;
        if (copied && !batches.empty()) {
            bytes = memory_->copy(batches);
            if (!bytes) {
                throw std::bad_alloc{};
            }
            batches = bytes->view();
        }
        auto& partition = *subject.partition;
        auto const reaction =
            partition.take(subject.question, fetched_, part, batches, std::move(bytes), now);
        if (reaction.take) {
            partitions_.turns().served(partition);
        }
        partitions_.react(partition, reaction);
    }
    /// The first batch of an answer comes whole, however large it is.
    bool goes_over_budget(std::size_t came, std::size_t promised) noexcept {
        auto const used = memory_->used() - (std::min)(promised, memory_->used());
        bool const full = used > memory_->limit();
        bool const over = came > promised && full;
        bool const first = over && !over_budget_;
        over_budget_ = over || (over_budget_ && full);
        return first;
    }

    outcome take_offsets(inquiry& asked, header expected, std::string_view bytes, time_point now) {
        outcome result;
        if (read_list_offsets_answer(bytes, expected.version, expected.correlation, listed_) !=
            read_result::ok) {
            return result;
        }
        result.read = true;
        result.throttle = std::chrono::milliseconds{listed_.throttle_ms};
        auto const take_part = [&](inquiry::subject const& subject, auto const& part) {
            auto& partition = *subject.partition;
            auto const generation = subject.question.generation;
            partitions_.react(partition, partition.on_listed(generation, part.error, part.offset,
                                                             part.leader_epoch, now));
            partition.tell_start(generation);
        };
        result.strays = take_parts(asked, listed_.partitions, now, take_part);
        return result;
    }
    outcome take_epochs(inquiry& asked, header expected, std::string_view bytes, time_point now) {
        outcome result;
        if (read_leader_epoch_answer(bytes, expected.version, expected.correlation, epochs_) !=
            read_result::ok) {
            return result;
        }
        result.read = true;
        result.throttle = std::chrono::milliseconds{epochs_.throttle_ms};
        auto const take_part = [&](inquiry::subject const& subject, auto const& part) {
            auto& partition = *subject.partition;
            partitions_.react(partition,
                              partition.on_epoch_end(subject.question.generation, part.error,
                                                     part.leader_epoch, part.end_offset, now));
        };
        result.strays = take_parts(asked, epochs_.partitions, now, take_part);
        return result;
    }
    outcome take_metadata(header expected, std::string_view bytes) {
        outcome result;
        if (read_metadata_answer(bytes, expected.version, expected.correlation, cluster_) ==
            read_result::ok) {
            result.read = true;
            result.throttle = std::chrono::milliseconds{cluster_.throttle_ms};
        }
        return result;
    }

    /// Calls `act(subject, part)` for each part of an answer that was asked for. What has none is
    /// lost.
    ///
    /// @return how many parts nobody asked for.
    template <typename Parts, typename Act>
    std::size_t take_parts(inquiry& asked, Parts const& parts, time_point now, Act act) {
        std::size_t strays = 0;
        for (auto const& part : parts) {
            if (auto const* const subject = asked.take(part)) {
                act(*subject, part);
            } else {
                ++strays;
            }
        }
        asked.for_each_unanswered([&](auto const& subject) { partitions_.lose(subject, now); });
        return strays;
    }

    std::shared_ptr<answer_memory> memory_;
    partition_table& partitions_;
    bool over_budget_ = false; // and it was told
    fetch_answer fetched_;
    list_offsets_answer listed_;
    leader_epoch_answer epochs_;
    metadata_answer cluster_;
};

} // namespace kgroup::detail::fetch
