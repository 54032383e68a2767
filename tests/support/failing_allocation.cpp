// SPDX-License-Identifier: MIT

#include "support/failing_allocation.hpp"

#include <atomic>
#include <cstdlib>
#include <new>
#include <utility>

namespace {

constinit thread_local std::size_t made = 0;
constinit thread_local std::size_t left =
    0; // until the one that fails, itself included; 0: none fails
constinit thread_local bool failed = false;
constinit thread_local std::size_t newest = 0; // its size
constinit thread_local kgroup::tests::failing_allocation::exemption exempt = nullptr;

constinit thread_local bool injects = false;           // into all other threads
constinit std::atomic<std::size_t> left_elsewhere = 0; // as `left`, for these
constinit std::atomic<bool> failed_elsewhere = false;

bool fails_here() noexcept {
    auto here = injects ? 0 : left_elsewhere.load();
    while (here != 0 && !left_elsewhere.compare_exchange_weak(here, here - 1)) {
    }
    if (here == 1) {
        failed_elsewhere = true;
    }
    return here == 1;
}

} // namespace

// In place of the standard library's.

void* operator new(std::size_t size) {
    ++made;
    auto const before = std::exchange(newest, size);
    if (left != 0 && !(exempt && exempt(size, before)) && --left == 0) [[unlikely]] {
        failed = true;
        throw std::bad_alloc{};
    }
    if (left_elsewhere.load(std::memory_order_relaxed) != 0 && fails_here()) [[unlikely]] {
        throw std::bad_alloc{};
    }
    if (auto* const memory = std::malloc(size != 0 ? size : 1)) {
        return memory;
    }
    throw std::bad_alloc{};
}
void* operator new[](std::size_t size) { return operator new(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

namespace kgroup::tests {

std::size_t allocations() noexcept { return made; }

failing_allocation::failing_allocation(std::size_t which, exemption passes_over) noexcept {
    left = which;
    exempt = passes_over;
    failed = false;
}
failing_allocation::~failing_allocation() {
    left = 0;
    exempt = nullptr;
}

bool failing_allocation::has_failed() noexcept { return failed; }

failing_elsewhere::failing_elsewhere(std::size_t which) noexcept {
    injects = true;
    failed_elsewhere = false;
    left_elsewhere = which;
}
failing_elsewhere::~failing_elsewhere() {
    left_elsewhere = 0;
    injects = false;
}

bool failing_elsewhere::has_failed() const noexcept { return failed_elsewhere; }

spared_allocations::spared_allocations() noexcept : left_(std::exchange(left, 0)) {}
spared_allocations::~spared_allocations() { left = left_; }

} // namespace kgroup::tests
