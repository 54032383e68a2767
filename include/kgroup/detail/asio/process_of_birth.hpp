// SPDX-License-Identifier: MIT

#pragma once

#include <atomic>

#if __has_include(<unistd.h>) && __has_include(<pthread.h>)
#include <pthread.h>
#include <unistd.h>
#define KGROUP_DETAIL_FORKS
#endif

namespace kgroup::detail {

/// The process in which something was made. In a child that was forked since, the threads that
/// worked on it are not there, and a lock may be held for ever: what such a child destroys is left
/// as it is.
class process_of_birth {
public:
    bool is_this_one() const noexcept { return id_.load(std::memory_order_relaxed) == current(); }
    /// From here on it belongs to this one.
    void renew() noexcept { id_.store(current(), std::memory_order_relaxed); }

private:
#ifdef KGROUP_DETAIL_FORKS
    // Asked for at each fork, and not at each look, which would be a system call.
    static long current() noexcept {
        auto const id = id_of_process.load(std::memory_order_relaxed);
        return id != 0 ? id : first();
    }
    static long first() noexcept {
        [[maybe_unused]] static int const watching =
            pthread_atfork(nullptr, nullptr, [] { id_of_process = ::getpid(); });
        id_of_process = ::getpid();
        return id_of_process;
    }

    inline static constinit std::atomic<long> id_of_process{0};
#else
    static long current() noexcept { return 0; }
#endif

    std::atomic<long> id_{current()};
};

} // namespace kgroup::detail

#undef KGROUP_DETAIL_FORKS
