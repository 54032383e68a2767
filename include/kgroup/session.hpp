// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/async_operation.hpp>
#include <kgroup/detail/claim/partition_state.hpp>
#include <kgroup/detail/separate_compilation.hpp>
#include <kgroup/end_reason.hpp>
#include <kgroup/message.hpp>
#include <kgroup/topic_partition.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/async_result.hpp>
#include <asio/awaitable.hpp>
#include <asio/cancellation_state.hpp>
#include <asio/strand.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace kgroup {

/// The result of a commit for one partition.
enum class commit_status {
    committed,        ///< the group has it
    stale_generation, ///< a rebalance was going on or the member's generation is over; it stays
                      ///< marked
    lost,             ///< the partition is not owned any more; nothing will commit it
    retriable,        ///< not now; it stays marked and goes with the next commit
    failed,           ///< refused; `commit_result::error` says why
};

/// One partition's part of a commit.
struct commit_result {
    topic_partition where;
    std::int64_t offset = -1; ///< the next offset to read that was, or was to be, committed
    commit_status status = commit_status::committed;
    std::error_code error{}; ///< the broker's answer, where there is one
};

namespace detail {

struct session_state;

/// What a session needs of its group.
class session_services {
public:
    virtual ~session_services() = default;
    virtual std::string member_id() = 0;
    virtual std::int32_t generation_id() = 0;
    /// Commits what is marked in the claims of this session now. Any executor.
    virtual asio::awaitable<std::vector<commit_result>>
    commit_marked(std::shared_ptr<session_state const> state) = 0;
};

} // namespace detail

/// The time from an assignment until everything of it is revoked or lost, or the run ends. With a
/// cooperative protocol its set of claims and its generation change while it lives.
///
/// *Thread safety.* Safe from any thread.
///
/// *Lifetime.* It lives until the frames of the hooks and handlers that were given it are gone; a
/// reference must not be kept beyond. Once it has ended, marks are refused and counted, and
/// `async_commit` fails with `errc::session_ended`.
class session {
public:
    session(session const&) = delete;
    session& operator=(session const&) = delete;

    /// The partitions this member owns now, in order; also those whose handler starts later
    /// (`event_kind::start_delayed`).
    std::vector<topic_partition> claims() const;

    /// This member's id as the group's coordinator gave it; empty: not known.
    std::string member_id() const;

    /// The group's generation (with KIP-848: the member epoch) as of now; it changes during a
    /// cooperative session. -1: not known (librdkafka tells it from 2.8 on).
    std::int32_t generation_id() const;

    /// Everything up to and with this message is done: as `claim::mark`.
    void mark_message(message const& done, std::string_view metadata = {});

    /// Everything below `next` is done in this partition: `next` is the offset to read first when
    /// the group resumes, like Kafka's commit. No effect when `next` is not above the mark. In
    /// `setup`, it moves the start of the claim. A partition that is not claimed: refused, counted
    /// and reported. Beyond the end of the log, as far as that is known from the last fetch: it
    /// counts, as with any other client, and is reported as `event_kind::mark_beyond_end`.
    ///
    /// @throws std::bad_alloc when there is metadata; then nothing was marked.
    void mark_offset(topic_partition const& where, std::int64_t next,
                     std::string_view metadata = {});

    /// Moves the mark of this partition back to `next`, and the next commit writes it. That works
    /// when `next` equals the mark (to change the metadata), and when nothing is committed yet. No
    /// effect when `next` is above the mark. In `setup`, it moves the start of the claim; a claim
    /// that runs keeps reading where it is. A partition that is not claimed: refused, counted and
    /// reported.
    ///
    /// @throws std::bad_alloc; then nothing was changed.
    void reset_offset(topic_partition const& where, std::int64_t next,
                      std::string_view metadata = {});

    /// Call it in `setup`: the claim of this partition then starts at exactly this offset, whatever
    /// is committed or marked. A claim that waits for its start (`event_kind::start_delayed`) waits
    /// no longer. The offset counts as marked, and is committed with the next commit. Thread-safe.
    /// A partition that is not claimed (any more), and an offset that a partition cannot have:
    /// refused, counted and reported (`event_kind::mark_refused`).
    ///
    /// @param next the offset to read first.
    /// @throws std::system_error `errc::not_in_setup` when `setup` does not run: `consume_claim`
    /// begins where its claim begins, and a claim that a cooperative group adds later starts where
    /// it was committed. std::bad_alloc; nothing was changed then.
    void start_at(topic_partition const& where, std::int64_t next);

    /// Commits what is marked in all claims of this session, in one request. If the broker refuses
    /// some partitions, further requests find out which. Requests never overlap: callers that
    /// arrive while a request is under way share the next one.
    ///
    /// Completion signature: `void(std::error_code, std::vector<commit_result>)`: one result for
    /// each claim in which something is or was marked.
    ///
    /// Errors: `errc::commit_timed_out` when the broker has not answered the request within
    /// `config::commit_timeout`, `errc::session_ended`, and the category `kafka` when the request
    /// failed as a whole. The timeout starts when the request is sent, after any commit in flight.
    /// If some partitions were answered, only the rest report the error. What was not committed
    /// stays marked. A request that timed out may still take effect. Until it is answered, no newer
    /// request is sent for its partitions. A newer call waits for that answer within its own
    /// timeout. Then the newest marks are committed again.
    ///
    /// Cancellation: terminal and partial; the request may have been sent and take effect.
    asio::awaitable<std::vector<commit_result>> async_commit();

    /// The same with a completion token.
    template <asio::completion_token_for<void(std::error_code, std::vector<commit_result>)>
                  CompletionToken>
    auto async_commit(CompletionToken&& token) {
        return detail::async_operation(asio::make_strand(executor_),
                                       asio::enable_partial_cancellation(), async_commit(),
                                       std::forward<CompletionToken>(token));
    }

    /// Whether the session is coming to its end: handlers are to finish what they hold.
    bool stopping() const { return end_reason() != kgroup::end_reason::running; }

    /// Why the session is ending; `running` as long as it is not.
    kgroup::end_reason end_reason() const noexcept;

    /// Waits until the session is coming to its end; completes at once if it is. For a retry loop
    /// in a handler that must not outlast a rebalance. (A single claim may be taken away while the
    /// session lives: `claim::async_wait_ended`.)
    ///
    /// Errors: `asio::error::operation_aborted` when it is cancelled; otherwise only lack of
    /// memory. Cancellation: total.
    asio::awaitable<void> async_wait_stopping();

    /// The same with a completion token. Completion signature: `void(std::error_code)`.
    template <asio::completion_token_for<void(std::error_code)> CompletionToken>
    auto async_wait_stopping(CompletionToken&& token) {
        return detail::async_operation(asio::make_strand(executor_),
                                       asio::enable_total_cancellation(), async_wait_stopping(),
                                       std::forward<CompletionToken>(token));
    }

    /// For the library.
    session(std::shared_ptr<detail::session_state> state,
            std::weak_ptr<detail::session_services> group,
            std::weak_ptr<detail::claim_observer> observer, asio::any_io_executor executor)
        : state_(std::move(state)),
          group_(std::move(group)),
          observer_(std::move(observer)),
          executor_(std::move(executor)) {}

private:
    static mark_result mark(detail::partition_state& state, std::int64_t next,
                            std::string_view metadata, std::uint32_t epoch);
    void refuse_unowned(topic_partition const& where) const;
    static asio::awaitable<std::vector<commit_result>>
    commit(std::shared_ptr<detail::session_services> group,
           std::shared_ptr<detail::session_state const> state);
    static asio::awaitable<void> wait_stopping(std::shared_ptr<detail::session_state> state);

    std::shared_ptr<detail::session_state> state_;
    std::weak_ptr<detail::session_services> group_;
    std::weak_ptr<detail::claim_observer> observer_;
    asio::any_io_executor executor_;
};

} // namespace kgroup

#ifndef KGROUP_SEPARATE_COMPILATION
#include <kgroup/detail/group/session.ipp>
#endif
