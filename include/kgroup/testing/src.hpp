// SPDX-License-Identifier: MIT

#pragma once

/// `<kgroup/src.hpp>`, and what groups over a `fake_cluster` need besides: for one file of a test
/// program whose files define `KGROUP_SEPARATE_COMPILATION`.
#include <kgroup/src.hpp>
#include <kgroup/testing/fake_client.hpp>

#include <asio/any_io_executor.hpp>

#include <memory>

template std::shared_ptr<kgroup::detail::group_driver_base>
kgroup::detail::make_group_driver<kgroup::testing::fake_client>(asio::any_io_executor executor,
                                                                kgroup::config given);
