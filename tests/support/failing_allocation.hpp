#pragma once

#include <cstddef>

namespace kgroup::tests {

/// How many allocations this thread has made by `new`.
std::size_t allocations() noexcept;

/// While it lives, one allocation of this thread by `new` fails: the `which`th, from 1.
class failing_allocation {
public:
    explicit failing_allocation(std::size_t which) noexcept;
    ~failing_allocation();
    failing_allocation(failing_allocation const&) = delete;
    failing_allocation& operator=(failing_allocation const&) = delete;

    /// Whether there were so many.
    static bool has_failed() noexcept;
};

} // namespace kgroup::tests
