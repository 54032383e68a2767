// SPDX-License-Identifier: MIT

#include <kgroup/src.hpp>
