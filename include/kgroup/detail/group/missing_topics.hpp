// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/claim/partition_state.hpp>
#include <kgroup/detail/group/session_state.hpp>
#include <kgroup/topic_partition.hpp>

#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <string>

namespace kgroup::detail {

/// Topics that do not exist any more, as far as known. The last commit keeps away from their
/// partitions: see `partition_state::miss_topic`. `session`: may be null.
class missing_topics {
public:
    /// `log_ends`: of its partitions, as far as they were known.
    void miss(std::string const& topic, std::map<topic_partition, std::int64_t> const& log_ends,
              session_state* session) {
        topics_.insert(topic);
        for_each_claim(session, [&](partition_state& claim) {
            if (claim.topic() == topic) {
                auto const end = log_ends.find(claim.where());
                claim.miss_topic(end == log_ends.end() ? -1 : end->second);
            }
        });
    }

    /// Something shows that there is such a topic.
    void find(std::string const& topic, session_state* session) {
        if (topics_.erase(topic) != 0) {
            for_each_claim(session, [&](partition_state& claim) {
                if (claim.topic() == topic) {
                    claim.find_topic();
                }
            });
        }
    }

    /// Those of which records have come since.
    std::set<std::string> read_again(session_state* session) const {
        std::set<std::string> found;
        if (!topics_.empty()) {
            for_each_claim(session, [&](partition_state& claim) {
                if (claim.topic_missing() && claim.has_newer_record()) {
                    found.emplace(claim.topic());
                }
            });
        }
        return found;
    }

private:
    template <typename Function>
    static void for_each_claim(session_state* session, Function function) {
        if (session) {
            std::lock_guard const lock{session->mutex};
            for (auto const& claim : session->claims) {
                function(*claim.second);
            }
        }
    }

    std::set<std::string> topics_;
};

} // namespace kgroup::detail
