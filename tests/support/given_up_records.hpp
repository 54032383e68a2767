// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/event.hpp>
#include <kgroup/testing/fake_dead_letters.hpp>
#include <kgroup/topic_partition.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace kgroup::tests {

/// The records that `for_each` and `for_each_batch` have given up: those that they tell as skipped,
/// and those whose letters are sent.
class given_up_records {
public:
    /// What has come since the last look. Both only grow.
    void look(std::vector<event> const& events, testing::fake_dead_letters const& letters) {
        for (; events_seen_ != events.size(); ++events_seen_) {
            auto const& told = events[events_seen_];
            if (told.kind == event_kind::record_skipped) {
                offsets_[*told.where].insert(std::stoll(told.text.substr(told.text.find(' '))));
            }
        }
        for (; letters_seen_ != letters.sent().size(); ++letters_seen_) {
            auto const& written = letters.sent()[letters_seen_].record;
            offsets_[{written.topic, written.partition}].insert(written.offset);
        }
    }
    bool contains(topic_partition const& where, std::int64_t offset) {
        return offsets_[where].contains(offset);
    }

private:
    std::map<topic_partition, std::set<std::int64_t>> offsets_;
    std::size_t events_seen_ = 0;
    std::size_t letters_seen_ = 0;
};

} // namespace kgroup::tests
