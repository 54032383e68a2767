// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/claim.hpp>
#include <kgroup/config.hpp>
#include <kgroup/consumer_group.hpp>
#include <kgroup/event.hpp>
#include <kgroup/session.hpp>

#ifdef KGROUP_TESTS_DIRECT
#include <kgroup/direct.hpp>
#endif

#include <asio/awaitable.hpp>
#include <asio/io_context.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace kgroup::tests {

/// Whose promises are tested.
#ifdef KGROUP_TESTS_DIRECT
using tested_group = direct_consumer_group;
inline constexpr bool direct = true;
#else
using tested_group = consumer_group;
inline constexpr bool direct = false;
#endif

/// A handler that is slow.
asio::awaitable<void> pause_for(std::chrono::milliseconds time);

/// A handler in lambdas; the hooks that are not given do nothing.
struct hooks {
    std::function<asio::awaitable<void>(session&, claim&)> consume_claim{};
    std::function<asio::awaitable<void>(session&)> setup{};
    std::function<asio::awaitable<void>(session&)> cleanup{};
};

/// What was received, by whom it may concern: any thread.
class received {
public:
    void add(message const& one);
    std::size_t count() const;
    std::vector<owned_message> all() const;
    /// In the order in which they came.
    std::vector<std::int64_t> offsets(std::int32_t partition) const;
    std::set<std::int32_t> partitions() const;

private:
    mutable std::mutex mutex_;
    std::vector<owned_message> all_;
};

/// A handler that notes and marks everything.
hooks receive_into(received& to);

/// A member of a group, running on threads of its own from its making on; stopped and waited for at
/// its end.
class member {
public:
    member(config given, hooks handler, int threads = 1);
    ~member();
    member(member const&) = delete;
    member& operator=(member const&) = delete;

    void stop();
    /// Whether the run completes within the limit.
    bool ends_within(std::chrono::milliseconds limit);
    bool has_ended() const;
    /// How the run ended: the code and the words of what came out of it. Empty: it was stopped in
    /// order, or has not ended.
    std::error_code error() const;
    std::string what() const;

    std::vector<event> events() const;
    std::size_t count(event_kind kind) const;
    std::optional<event> last(event_kind kind) const;
    /// All texts of all events.
    std::string said() const;

    std::size_t claims() const { return stats().claims; }
    group_stats stats() const;
    tested_group& group();
    /// Of a direct group: librdkafka may read, too. Otherwise its end checks that it did not.
    void may_be_handed_over();
    void pause_all();
    void resume_all();
    asio::io_context& context();

    /// The context stops where it is and goes, with all that is suspended on it; the run never
    /// completes.
    void abandon();

private:
    struct running;
    std::unique_ptr<running> running_;
};

} // namespace kgroup::tests
