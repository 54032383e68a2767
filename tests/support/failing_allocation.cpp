#include "support/failing_allocation.hpp"

#include <cstdlib>
#include <new>

namespace {

constinit thread_local std::size_t made = 0;
constinit thread_local std::size_t left = 0; // until the one that fails, itself included; 0: none fails
constinit thread_local bool failed = false;

} // namespace

// In place of the standard library's.

void* operator new(std::size_t size) {
    ++made;
    if (left != 0 && --left == 0) [[unlikely]] {
        failed = true;
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

failing_allocation::failing_allocation(std::size_t which) noexcept {
    left = which;
    failed = false;
}
failing_allocation::~failing_allocation() { left = 0; }

bool failing_allocation::has_failed() noexcept { return failed; }

} // namespace kgroup::tests
