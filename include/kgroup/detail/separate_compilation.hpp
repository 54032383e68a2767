// SPDX-License-Identifier: MIT

#pragma once

// What is costly to compile stands in files of its own (`*.ipp`), included at the end of their
// headers; in a program that defines KGROUP_SEPARATE_COMPILATION, by <kgroup/src.hpp> only.
#ifdef KGROUP_SEPARATE_COMPILATION
#define KGROUP_INLINE
#else
#define KGROUP_INLINE inline
#endif
