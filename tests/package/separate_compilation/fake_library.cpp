// SPDX-License-Identifier: MIT

#include <kgroup/testing/src.hpp>
