// SPDX-License-Identifier: MIT

#include <kgroup/direct_src.hpp>
