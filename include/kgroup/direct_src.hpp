// SPDX-License-Identifier: MIT

#pragma once

/// What a `direct_consumer_group` needs besides `<kgroup/src.hpp>`: for one file of a program whose
/// files define `KGROUP_SEPARATE_COMPILATION`. Needs the target `kgroup::direct`.
#include <kgroup/detail/fetch/direct_client.hpp>
#include <kgroup/detail/group/group_driver.hpp>

#include <asio/any_io_executor.hpp>

#include <memory>

template std::shared_ptr<kgroup::detail::group_driver_base>
kgroup::detail::make_group_driver<kgroup::detail::fetch::direct_client>(
    asio::any_io_executor executor, kgroup::config given);
