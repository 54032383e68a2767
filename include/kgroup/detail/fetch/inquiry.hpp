// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/fetch/answer_match.hpp>
#include <kgroup/detail/fetch/api.hpp>
#include <kgroup/detail/fetch/fetch_turns.hpp>
#include <kgroup/detail/fetch/fetched_partition.hpp>
#include <kgroup/detail/fetch/memory_shares.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <vector>

namespace kgroup::detail::fetch {

/// A request: which partitions it asks about, what it may bring, and until when.
struct inquiry {
    struct subject {
        std::shared_ptr<fetched_partition> partition;
        partition_question question;
    };

    /// About the cluster.
    explicit inquiry(api request) noexcept : key(request) {}
    /// About partitions. A fetch has them in the order of their turns, for a broker fills its
    /// answer in that order; other requests have those of a topic together.
    ///
    /// @param taken of `fetched_partition`s. They are outstanding whether this throws or not.
    /// @throws std::bad_alloc
    inquiry(api request, std::span<fetch_turns::turn const> taken) : key(request) {
        subjects.reserve(taken.size());
        for (auto const& turn : taken) {
            auto& partition = static_cast<fetched_partition&>(*turn.partition);
            subjects.push_back({partition.shared_from_this(), turn.question});
        }
        if (key != api::fetch) {
            std::sort(subjects.begin(), subjects.end(), [](auto const& left, auto const& right) {
                return left.partition->name().topic < right.partition->name().topic;
            });
        }
        for (auto const& [partition, question] : subjects) {
            auto const& name = partition->name();
            match_.add(name.topic, partition->topic_id(), name.partition);
        }
    }

    /// Whether the topics' ids are all known.
    bool knows_ids() const noexcept {
        return std::all_of(subjects.begin(), subjects.end(), [](auto const& asked) {
            return asked.partition->topic_id() != topic_uuid{};
        });
    }

    /// Whom a partition of the answer is about. Null: it was not asked, or is answered already.
    ///
    /// @param part of an answer of any kind; only those to a fetch have topics' ids.
    template <typename Part>
    subject const* take(Part const& part) noexcept {
        topic_uuid id{};
        if constexpr (requires { part.topic_id; }) {
            id = part.topic_id;
        }
        auto const index = match_.take(part.topic, id, part.number);
        return index ? &subjects[*index] : nullptr;
    }
    /// Calls `lost(subject const&)` for each that was not taken.
    template <typename Lost>
    void for_each_unanswered(Lost lost) const {
        match_.for_each_unanswered([&](std::size_t index) { lost(subjects[index]); });
    }

    api key;
    std::vector<subject> subjects;
    std::chrono::milliseconds wait{0};   // how long the broker may wait before it answers
    time_point ends{};                   // when it answers at the latest, as asked
    memory_shares::byte_limits limits{}; // of a fetch
    std::size_t promised = 0;            // bytes of memory, to the answer
    bool scarce = false;                 // memory was, when it was asked

private:
    answer_match match_;
};

} // namespace kgroup::detail::fetch
