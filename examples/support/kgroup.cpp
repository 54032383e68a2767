// SPDX-License-Identifier: MIT

// The library itself, compiled once for all examples.

#include <kgroup/src.hpp>
