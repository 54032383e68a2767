// SPDX-License-Identifier: MIT

#pragma once

#include <cstdint>

namespace kgroup::tests {

/// How many basic blocks have been run so far, of the files that are compiled with
/// -fsanitize-coverage=trace-pc: what an operation costs, whatever the machine and however busy it
/// is.
std::uint64_t steps() noexcept;

} // namespace kgroup::tests
