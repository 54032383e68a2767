// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/config.hpp>
#include <kgroup/detail/separate_compilation.hpp>
#include <kgroup/oauth_token.hpp>

#include <chrono>
#include <optional>
#include <system_error>

namespace kgroup::detail {

/// Deletes a group that has no members, with its offsets. Blocks for as long as `timeout` at most,
/// and somewhat longer to end the client that it makes for this.
std::error_code delete_group(config const& settings, std::optional<oauth_token> const& token,
                             std::chrono::milliseconds timeout);

} // namespace kgroup::detail

#ifndef KGROUP_SEPARATE_COMPILATION
#include <kgroup/detail/rdkafka/group_deletion.ipp>
#endif
