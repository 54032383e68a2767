// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/topic_partition.hpp>

#include <set>

namespace kgroup::detail {

using partition_set = std::set<topic_partition>;

/// The group has given these partitions to this member. To be answered with `assign`.
struct partitions_assigned {
    partition_set partitions;
    bool cooperative = false;
};

/// They are to be given back, or, `lost`, are gone already. To be answered with `unassign`.
struct partitions_revoked {
    partition_set partitions;
    bool cooperative = false;
    bool lost = false;
};

} // namespace kgroup::detail
