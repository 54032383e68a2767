// expect: use of deleted function|call to deleted constructor|attempt to use a deleted function
// SPDX-License-Identifier: MIT

#include <kgroup/message.hpp>

kgroup::message keep(kgroup::message const& one) { return one; }
