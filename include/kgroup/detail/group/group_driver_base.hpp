// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/config.hpp>
#include <kgroup/end_reason.hpp>
#include <kgroup/event.hpp>
#include <kgroup/group_state.hpp>
#include <kgroup/handler.hpp>
#include <kgroup/offset_for_time.hpp>
#include <kgroup/topic_partition.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>

#include <chrono>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kgroup::detail {

class rdkafka_client;

/// What a consumer group asks of its run, whatever client that is for: the contracts are
/// `basic_consumer_group`'s.
class group_driver_base {
public:
    virtual ~group_driver_base() = default;

    /// Where `run` runs.
    virtual asio::any_io_executor const& strand() const noexcept = 0;
    virtual asio::any_io_executor const& executor() const noexcept = 0;

    /// Once. What it is called on lives until it has ended.
    virtual asio::awaitable<end_reason> run(std::shared_ptr<handler_binding> handler,
                                            bool once) = 0;

    // Any thread.

    virtual void stop() noexcept = 0;
    virtual void cancel() noexcept = 0;
    virtual void pause(std::span<topic_partition const> partitions) = 0;
    virtual void resume(std::span<topic_partition const> partitions) = 0;
    virtual void pause(std::string_view topic) = 0;
    virtual void resume(std::string_view topic) = 0;
    virtual void pause_all() = 0;
    virtual void resume_all() = 0;
    virtual void subscribe(std::vector<std::string> topics) = 0;
    virtual asio::awaitable<std::vector<offset_for_time>>
    offsets_for_times(std::vector<topic_partition> partitions,
                      std::chrono::system_clock::time_point time) = 0;
    virtual group_stats stats() const = 0;
    virtual group_state state() const = 0;
};

/// Defined with `group_driver`.
template <typename Client>
std::shared_ptr<group_driver_base> make_group_driver(asio::any_io_executor executor, config given);

#ifdef KGROUP_SEPARATE_COMPILATION
extern template std::shared_ptr<group_driver_base>
make_group_driver<rdkafka_client>(asio::any_io_executor executor, config given);
#endif

} // namespace kgroup::detail
