// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/app/consumer_app.hpp>
#include <kgroup/direct.hpp>

namespace kgroup {

template <>
inline constexpr bool detail::makes_groups<detail::fetch::direct_client> = true;

/// A `consumer_app` whose group fetches its records itself, as `direct_consumer_group` does. Needs
/// the targets `kgroup::app` and `kgroup::direct`.
template <typename Handler>
using direct_consumer_app = consumer_app<Handler, detail::fetch::direct_client>;

} // namespace kgroup
