// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/config.hpp>
#include <kgroup/detail/claim/partition_state.hpp>
#include <kgroup/detail/client/rebalance.hpp>
#include <kgroup/event.hpp>
#include <kgroup/oauth_token.hpp>
#include <kgroup/offset_for_time.hpp>
#include <kgroup/topic_partition.hpp>

#include <chrono>
#include <concepts>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

namespace kgroup::detail {

/// An offset to commit: the next one to read, and what is kept beside it.
struct offset_commit {
    topic_partition where;
    std::int64_t offset = 0;
    std::string metadata{};
    std::int32_t leader_epoch = -1; ///< of the record before; -1: not known
};

/// Where a claim starts.
struct start_position {
    static constexpr std::int64_t log_end = -1; ///< librdkafka's and the protocol's own values
    static constexpr std::int64_t log_beginning = -2;
    static constexpr std::int64_t unknown =
        -1001; ///< not known yet: nothing is read until a `seek`

    topic_partition where;
    std::int64_t start = 0; ///< the offset to read first, or one of the above: the client finds out
    std::int64_t committed = -1; ///< the group's committed offset; -1: none
    std::string metadata{};      ///< what was committed beside it
    std::int32_t leader_epoch =
        -1; ///< of the record before `start`, which may be in the log no more; -1: not known
};

/// What a client has to tell, in the order in which it happened.
struct client_rebalance {
    std::variant<partitions_assigned, partitions_revoked> change;
};
/// What the group has committed for a partition.
struct committed_offset {
    topic_partition where;
    std::int64_t offset = -1;       ///< -1: nothing
    std::string metadata{};         ///< the text beside it
    std::error_code error{};        ///< it is not known; asking again may help
    std::int32_t leader_epoch = -1; ///< of the record before; -1: not known
};
struct client_offsets {
    std::uint64_t id;                        ///< of the `look_up`
    std::error_code error{};                 ///< of the request as a whole
    std::vector<committed_offset> offsets{}; ///< of what was asked for
    std::vector<committed_offset>
        lower{}; ///< of the other partitions of its topics, below the highest
};
/// A place in a partition's log.
struct log_place {
    topic_partition where;
    std::int64_t at =
        start_position::log_end; ///< `log_end`, `log_beginning`, or a time in ms since 1970
};
struct log_offset {
    topic_partition where;
    std::int64_t offset = -1; ///< of the place; -1: no record is as late
    std::error_code error{};  ///< it is not known; asking again may help
};
struct client_log_offsets {
    std::uint64_t id;                  ///< of the `find_in_logs`
    std::vector<log_offset> offsets{}; ///< one for each place
    std::map<std::string, std::int32_t>
        partition_counts{}; ///< of the topics that were asked for, as far as known
};
struct client_commit {
    struct result {
        topic_partition where;
        std::error_code error;
    };
    std::uint64_t id;      ///< of the `commit`
    std::error_code error; ///< of the request as a whole
    std::vector<result> results;
};
struct client_times {
    std::uint64_t id;                     ///< of the `offsets_for_times`
    std::vector<offset_for_time> results; ///< in the order of the question
};
struct client_ends {
    std::uint64_t id; ///< of the `find_ends`
    std::vector<offset_for_time>
        ends; ///< in the order of the question; an error: the leader has not answered
};
struct client_coordinator {
    std::uint64_t id;         ///< of the `ask_coordinator`
    std::error_code error;    ///< none, or one of Kafka's (positive): the coordinator has answered
    bool broker_known = true; ///< some broker of the cluster has answered some time
};
struct client_token_wanted {}; ///< for SASL/OAUTHBEARER: `set_token`, some time
struct client_position_reset { ///< the log did not hold the offset that was to be read next
    topic_partition where;
    std::int64_t from = 0;
    std::int64_t to =
        0; ///< the offset at which reading goes on, or one of the ends (`start_position`)
};
struct client_notice {
    kgroup::event event;
    std::map<topic_partition, std::int64_t>
        log_ends{}; ///< with `topic_missing`: of its partitions, as far as they were known
};
struct client_fatal {
    std::error_code error;
    std::string text;
};
using client_event =
    std::variant<client_rebalance, client_offsets, client_log_offsets, client_commit, client_times,
                 client_ends, client_coordinator, client_token_wanted, client_position_reset,
                 client_notice, client_fatal>;

/// The seam between a group and Kafka. Modelled by `rdkafka_client` and by `testing::fake_client`.
///
/// A group makes one from its configuration (which may throw `std::system_error`), calls `start`
/// once and then the other operations from its strand, one at a time; none of them blocks for
/// longer than a round trip inside the process.
///
/// | operation | meaning |
/// |---|---|
/// | `check_topics(topics)` | throws `std::system_error` when they cannot be subscribed to; any thread |
/// | `subscribe(topics)` | these instead of the configuration's: from now on, or from `start` on |
/// | `start(notify)` | connects; from now on `notify` is called, on any thread, when `poll` may have something |
/// | `poll()` | the next event, or nothing |
/// | `look_up(id, partitions, lower, timeout)` | committed offsets, `lower`: also of the partitions below these; answered by a `client_offsets` |
/// | `find_in_logs(id, places, topics, timeout)` | answered by a `client_log_offsets` |
/// | `assign(positions, cooperative)` | answers an assignment; what begins at `start_position::unknown` is held back |
/// | `unassign(partitions, cooperative)` | answers a revocation |
/// | `open(state)` | the queue of a partition, before it is assigned; wakes `state` when something arrives |
/// | `seek(positions)` | moves the positions of partitions that are assigned; what was held back is read from now on |
/// | `commit(id, offsets)` | answered by a `client_commit` |
/// | `offsets_for_times(id, partitions, time, timeout)` | answered by a `client_times` |
/// | `find_ends(id, partitions, timeout)` | asks the leaders, in one request each, up to which offset this member can read; answered by a `client_ends` |
/// | `ask_coordinator(id, partition, timeout)` | whether it is there: by the committed offset of some partition; answered by a `client_coordinator` |
/// | `listen(on)` | whether it follows its own debug log from now on; what it has heard is forgotten |
/// | `heard(partition)` | what that says of trouble with a partition, or (nullopt) with the membership: some lines in one, or empty |
/// | `set_token(token)` | for connections from now on; an error: it cannot be used |
/// | `close()` | leaves the group; revocations may come meanwhile |
/// | `closed()` | whether it has |
/// | `shut_down(done)` | ends the client and calls `done`, on any thread, and returns true; or returns false: messages are still held |
/// | `member_id()`, `generation_id()` | as the group knows this member; empty, -1: not known |
/// | `max_poll_interval()` | for how long the group tolerates that `poll` is not called |
/// | `rebalance_deadline()` | `config::rebalance_deadline`, or what it is if unset |
/// | `block_bytes()` | how much of a queue a claim takes at a time |
///
/// A client may have some besides:
///
/// | operation | meaning |
/// |---|---|
/// | `run_on(executor)` | before `start`: where it works itself, if it does |
/// | `count(stats)` | writes what it counts itself into the group's counters; any thread |
/// | `shares_buffer()` | whether its claims share `config::buffer_bytes`, however many there are |
template <typename T>
concept client = std::constructible_from<T, config const&> &&
    requires(T& self, std::function<void()> notify, std::uint64_t id,
             std::vector<topic_partition> partitions, std::vector<start_position> positions,
             std::vector<log_place> places, std::vector<offset_commit> offsets, bool cooperative,
             std::chrono::milliseconds timeout, std::shared_ptr<partition_state> state,
             std::vector<std::string> topics, std::chrono::system_clock::time_point time,
             oauth_token token) {
    std::as_const(self).check_topics(topics);
    self.subscribe(topics);
    self.start(notify);
    { self.poll() } -> std::same_as<std::optional<client_event>>;
    self.look_up(id, partitions, true, timeout);
    self.find_in_logs(id, places, topics, timeout);
    self.assign(positions, cooperative);
    self.unassign(partitions, cooperative);
    { self.open(state) } -> std::convertible_to<std::shared_ptr<record_source>>;
    self.seek(positions);
    self.commit(id, offsets);
    self.offsets_for_times(id, partitions, time, timeout);
    self.find_ends(id, partitions, timeout);
    self.ask_coordinator(id, partitions.front(), timeout);
    self.listen(true);
    {
        std::as_const(self).heard(std::optional{partitions.front()})
        } -> std::convertible_to<std::string>;
    { self.set_token(token) } -> std::same_as<std::error_code>;
    self.close();
    { self.closed() } -> std::same_as<bool>;
    { self.shut_down(notify) } -> std::same_as<bool>;
    { self.member_id() } -> std::convertible_to<std::string>;
    { self.generation_id() } -> std::convertible_to<std::int32_t>;
    { self.max_poll_interval() } -> std::convertible_to<std::chrono::milliseconds>;
    { self.rebalance_deadline() } -> std::convertible_to<std::chrono::milliseconds>;
    { self.block_bytes() } -> std::convertible_to<std::size_t>;
};

} // namespace kgroup::detail
