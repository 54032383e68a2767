#include "support/scripted_group.hpp"

template class kgroup::detail::group_run<kgroup::testing::fake_client>;
