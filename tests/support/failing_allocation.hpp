// SPDX-License-Identifier: MIT

#pragma once

#include <cstddef>

namespace kgroup::tests {

/// How many allocations this thread has made by `new`.
std::size_t allocations() noexcept;

/// While it lives, one allocation of this thread by `new` fails: the `which`th, from 1. Those that
/// `passes_over` says so of, by their size and the size of the one before, are not counted.
class failing_allocation {
public:
    using exemption = bool (*)(std::size_t size, std::size_t before);

    explicit failing_allocation(std::size_t which, exemption passes_over = nullptr) noexcept;
    ~failing_allocation();
    failing_allocation(failing_allocation const&) = delete;
    failing_allocation& operator=(failing_allocation const&) = delete;

    /// Whether there were so many.
    static bool has_failed() noexcept;
};

/// While it lives, one allocation by `new` of all threads but this one fails: the `which`th,
/// from 1. One at a time.
class failing_elsewhere {
public:
    explicit failing_elsewhere(std::size_t which) noexcept;
    ~failing_elsewhere();
    failing_elsewhere(failing_elsewhere const&) = delete;
    failing_elsewhere& operator=(failing_elsewhere const&) = delete;

    /// Whether there have been so many.
    bool has_failed() const noexcept;
};

/// While it lives, no allocation of this thread fails, nor is any counted towards the one that
/// does.
class spared_allocations {
public:
    spared_allocations() noexcept;
    ~spared_allocations();
    spared_allocations(spared_allocations const&) = delete;
    spared_allocations& operator=(spared_allocations const&) = delete;

private:
    std::size_t left_;
};

} // namespace kgroup::tests
