// SPDX-License-Identifier: MIT

#pragma once

#include <cstdint>

namespace kgroup {

/// Where a record that was sent stands, as the broker has acknowledged it.
struct delivery {
    std::int32_t partition = -1;
    std::int64_t offset = -1;
};

} // namespace kgroup
