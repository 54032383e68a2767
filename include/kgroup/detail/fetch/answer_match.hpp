// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/fetch/wire_reader.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace kgroup::detail::fetch {

/// Finds the question that a partition of an answer belongs to. What was not asked, or is answered
/// a second time, belongs to none; what is left over got no answer.
class answer_match {
public:
    /// Forgets all. Keeps the memory.
    void clear() noexcept {
        asked_.clear();
        next_ = 0;
    }
    /// The next question, in the order of the request.
    ///
    /// @param topic outlives its question.
    /// @throws std::bad_alloc
    void add(std::string_view topic, topic_uuid const& id, std::int32_t number) {
        asked_.push_back({topic, id, number, false});
    }

    /// @param topic empty where the answer has ids.
    /// @param id all zero where it has names.
    /// @return the question, by when it was added; nullopt: it is to be ignored, and told.
    std::optional<std::size_t> take(std::string_view topic, topic_uuid const& id,
                                    std::int32_t number) noexcept {
        // Brokers answer in the order of the request: the next one is nearly always the first.
        for (std::size_t i = 0; i != asked_.size(); ++i) {
            auto const index = (next_ + i) % asked_.size();
            auto& asked = asked_[index];
            bool const same =
                topic.empty() ? asked.id == id && id != topic_uuid{} : asked.topic == topic;
            if (same && asked.number == number) {
                if (std::exchange(asked.answered, true)) {
                    return std::nullopt;
                }
                next_ = index + 1;
                return index;
            }
        }
        return std::nullopt;
    }

    /// Calls `lost(index)` for each question that was not answered.
    template <typename Lost>
    void for_each_unanswered(Lost lost) const {
        for (std::size_t i = 0; i != asked_.size(); ++i) {
            if (!asked_[i].answered) {
                lost(i);
            }
        }
    }

private:
    struct question {
        std::string_view topic;
        topic_uuid id;
        std::int32_t number;
        bool answered;
    };

    std::vector<question> asked_;
    std::size_t next_ = 0;
};

} // namespace kgroup::detail::fetch
