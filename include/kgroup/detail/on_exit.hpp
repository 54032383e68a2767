#pragma once

#include <utility>

namespace kgroup::detail {

/// Runs something when the scope is left, however it is left.
template <typename Action>
class on_exit {
public:
    explicit on_exit(Action action) : action_(std::move(action)) {}
    on_exit(on_exit const&) = delete;
    on_exit& operator=(on_exit const&) = delete;
    ~on_exit() { action_(); }

private:
    Action action_;
};

} // namespace kgroup::detail
