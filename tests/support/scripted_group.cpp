// SPDX-License-Identifier: MIT

#include "support/scripted_group.hpp"

template class kgroup::detail::group_driver<kgroup::testing::fake_client>;
