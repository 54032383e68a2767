// SPDX-License-Identifier: MIT

#pragma once

#include <utility>

namespace kgroup::detail {

/// Runs something when the scope is left, however it is left.
template <typename Action>
class scope_exit {
public:
    explicit scope_exit(Action action) : action_(std::move(action)) {}
    scope_exit(scope_exit const&) = delete;
    scope_exit& operator=(scope_exit const&) = delete;
    ~scope_exit() { action_(); }

private:
    Action action_;
};

} // namespace kgroup::detail
