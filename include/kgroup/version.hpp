// SPDX-License-Identifier: MIT

#pragma once

/// The version of kgroup, for the preprocessor: 10000 × major + 100 × minor + patch.
#define KGROUP_VERSION 200
/// The same in words. The one place where the number stands; the build files read it here.
#define KGROUP_VERSION_STRING "0.2.0"
