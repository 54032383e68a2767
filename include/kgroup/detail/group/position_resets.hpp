// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/topic_partition.hpp>

#include <cstdint>
#include <map>

namespace kgroup::detail {

/// Positions that the client has told to be reset, so that each is told once: it shows again in the
/// next record, which may come much later, and some show there only.
class position_resets {
public:
    /// The client has said so.
    void told(topic_partition const& where, std::int64_t from) {
        told_.insert_or_assign(where, from);
    }

    /// A record came in another place than the next, `from`. Whether that is news: what was being
    /// read when the client said so was at or behind the place at which the records stop.
    bool is_news(topic_partition const& where, std::int64_t from) {
        auto const found = told_.find(where);
        if (found == told_.end()) {
            return true;
        }
        auto const same = from <= found->second;
        told_.erase(found);
        return !same;
    }

    /// The partition is not owned any more.
    void forget(topic_partition const& where) { told_.erase(where); }

private:
    std::map<topic_partition, std::int64_t> told_;
};

} // namespace kgroup::detail
