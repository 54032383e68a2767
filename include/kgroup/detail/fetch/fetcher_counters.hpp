// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/fetch/api.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace kgroup::detail::fetch {

/// What the fetcher did. Any thread may look.
struct fetcher_counters {
    std::atomic<std::uint64_t> fetches{0};
    std::atomic<std::uint64_t> other_requests{0}; // metadata, offsets, epochs
    std::atomic<std::uint64_t> metadata_requests{0};
    std::atomic<std::uint64_t> answers{0};
    std::atomic<std::uint64_t> bytes{0};       // of answers
    std::atomic<std::uint64_t> connections{0}; // begun so far

    void on_connection() noexcept { add(connections, 1); }
    void on_request(api key) noexcept {
        add(key == api::fetch ? fetches : other_requests, 1);
        if (key == api::metadata) {
            add(metadata_requests, 1);
        }
    }
    void on_answer(std::size_t size) noexcept {
        add(answers, 1);
        add(bytes, size);
    }

private:
    static void add(std::atomic<std::uint64_t>& count, std::uint64_t more) noexcept {
        count.fetch_add(more, std::memory_order_relaxed);
    }
};

} // namespace kgroup::detail::fetch
