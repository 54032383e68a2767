// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/topic_partition.hpp>

#include <cstdint>
#include <optional>
#include <system_error>

namespace kgroup {

/// The first record of a partition that is not earlier than some time.
struct offset_for_time {
    topic_partition where;
    std::optional<std::int64_t>
        offset{}; ///< its offset; nullopt: the log holds none that late, or there was an error
    std::error_code error{}; ///< why it could not be found out
};

} // namespace kgroup
