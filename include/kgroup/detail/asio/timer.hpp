// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/clock.hpp>

#include <asio/basic_waitable_timer.hpp>
#include <asio/wait_traits.hpp>

namespace kgroup::detail {

using timer = asio::basic_waitable_timer<clock>;

} // namespace kgroup::detail
