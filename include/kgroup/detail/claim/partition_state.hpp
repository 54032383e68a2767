// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/asio/manual_reset_event.hpp>
#include <kgroup/detail/claim/claim_figures.hpp>
#include <kgroup/detail/claim/record_block.hpp>
#include <kgroup/detail/separate_compilation.hpp>
#include <kgroup/end_reason.hpp>
#include <kgroup/event.hpp>
#include <kgroup/observer.hpp>
#include <kgroup/offset_tracker.hpp>
#include <kgroup/topic_partition.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/cancellation_type.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace kgroup::detail {

class auto_reset_event;

/// Ends of a partition's log as far as the client knows them; -1: not known.
struct watermarks {
    std::int64_t low = -1;
    std::int64_t high = -1;
};

/// Whether the partition belongs to somebody else already.
constexpr bool is_loss(end_reason why) noexcept {
    return why == end_reason::lost || why == end_reason::group_failed;
}

/// Knows the client's objects behind the records of a block, and frees them.
class record_owner {
public:
    using header_sink = std::function<void(std::string_view, std::optional<std::string_view>)>;

    virtual ~record_owner() = default;
    virtual void free_records(record* first, std::size_t count) noexcept = 0;
    virtual std::int64_t timestamp(void* native) const noexcept = 0; // ms since the epoch; -1: none
    virtual void headers(void* native, header_sink const& sink) const = 0;
};

/// Where the records of one assigned partition come from: a client's model of its queue.
class record_source : public record_owner {
public:
    /// Moves waiting records into the block until it is full, holds `byte_limit` bytes, or no
    /// record waits. In the last case it reports where reading goes on
    /// (`partition_state::drained`), if it knows. After an error that ends the claim it gives no
    /// more records. Claim's strand.
    virtual void drain(record_block& into, std::size_t byte_limit) noexcept = 0;
    /// Called while nobody drains: removes entries that are not delivered, up to the first record,
    /// so that the position moves on and no record seems to wait. Claim's strand.
    virtual void look() noexcept {}
    /// How much waits, in records or other things that `drain` would take away. Any thread.
    virtual std::size_t waiting() const noexcept = 0;
    /// No wake-up comes after this returned. Waiting records are dropped. Idempotent; any thread
    /// but the client's own.
    virtual void close() noexcept = 0;
    virtual watermarks known_watermarks() const noexcept = 0;
    /// The epoch of the leader that wrote the record before `next`; -1: it is not known. Any
    /// thread.
    virtual std::int32_t leader_epoch_before(std::int64_t /*next*/) const noexcept { return -1; }
    /// Of what is random in the work on the records.
    virtual std::uint32_t seed() const;
};

/// Receives the events of a claim that happen outside the group's strand. Every call: any thread.
class claim_observer {
public:
    virtual ~claim_observer() = default;
    virtual void mark_refused(topic_partition const& where, mark_result why) noexcept = 0;
    virtual void position_moved(topic_partition const& where, std::int64_t from,
                                std::int64_t to) noexcept = 0;
    virtual void mark_beyond_end(topic_partition const& where, std::int64_t next,
                                 std::int64_t end) noexcept = 0;
    virtual void released_twice(topic_partition const& where) noexcept = 0;
    /// An event of an algorithm over the claim.
    virtual void report_of_claim(event told) noexcept = 0;
    virtual void partition_failed(topic_partition const& where, std::error_code ec,
                                  std::string_view text) noexcept = 0;
};

/// One partition for the time in which this member owns it: its queue, its marks, the strand its
/// handler runs on, and its records in memory. Shared by the claim, the committer, and every record
/// that is still held somewhere.
class partition_state : public std::enable_shared_from_this<partition_state> {
public:
    static constexpr std::size_t smallest_block = 16;
    static constexpr std::size_t largest_block = 512;
    /// How many records may be delivered and not acknowledged.
    static constexpr std::size_t default_ack_window = 65536;

    partition_state(topic_partition where, asio::any_io_executor const& executor,
                    tracked_offset committed, std::weak_ptr<claim_observer> observer);
    ~partition_state() {
        if (source_) {
            source_->close();
        }
    }
    partition_state(partition_state const&) = delete;
    partition_state& operator=(partition_state const&) = delete;

    topic_partition const& where() const noexcept { return where_; }
    std::string_view topic() const noexcept { return where_.topic; }
    std::int32_t partition() const noexcept { return where_.partition; }
    asio::any_io_executor const& strand() const noexcept;
    bool on_strand() const noexcept;
    offset_tracker& tracker() noexcept { return tracker_; }
    offset_tracker const& tracker() const noexcept { return tracker_; }
    /// What `for_each` counts.
    claim_figures& figures() noexcept { return figures_; }
    claim_figures const& figures() const noexcept { return figures_; }
    /// Before the handler starts.
    void observe(observed_claim by) noexcept { observed_ = std::move(by); }
    observed_claim const& observed() const noexcept { return observed_; }

    /// The offset at which the last owner stopped; -1: there was none.
    std::int64_t committed_before() const noexcept { return committed_before_; }
    /// The metadata that was committed with it.
    std::string const& committed_metadata() const noexcept { return metadata_; }

    /// Called once, before the handler starts. A negative offset leaves it to the client to find
    /// the start. `generation` is that of the group when the claim began; -1: not known.
    void start(std::shared_ptr<record_source> source, std::int64_t offset,
               std::int32_t generation = -1,
               std::chrono::milliseconds rebalance_deadline = {}) noexcept {
        source_ = std::move(source);
        generation_ = generation;
        rebalance_deadline_ = rebalance_deadline;
        start(offset);
    }
    /// Again, where it was not known then.
    void start(std::int64_t offset) noexcept {
        initial_offset_.store(std::max<std::int64_t>(offset, -1), std::memory_order_relaxed);
        position_.store(std::max<std::int64_t>(offset, -1), std::memory_order_relaxed);
    }
    /// What was committed, where it was not known when this was made; on the group's strand, before
    /// the handler starts. What `setup` has marked stays, if it is above.
    void adopt(tracked_offset committed) {
        committed_before_ = committed.next;
        metadata_ = committed.metadata;
        if (committed.next >= 0) {
            static_cast<void>(tracker_.mark(committed.next, committed.metadata, tracker_.epoch()));
            static_cast<void>(tracker_.pending());
            tracker_.committed(committed.next);
        }
    }
    record_source* source() const noexcept { return source_.get(); }
    std::int32_t generation() const noexcept { return generation_; }
    /// How long handlers have to end.
    std::chrono::milliseconds rebalance_deadline() const noexcept { return rebalance_deadline_; }

    // The gate. Any thread; the next receive sees it.

    bool open() const noexcept { return gate_.load(std::memory_order_acquire) == 0; }
    bool paused() const noexcept {
        return (gate_.load(std::memory_order_relaxed) & gate_paused) != 0;
    }
    bool ended() const noexcept {
        return (gate_.load(std::memory_order_acquire) & gate_ended) != 0;
    }
    void pause() noexcept { gate_.fetch_or(gate_paused, std::memory_order_acq_rel); }
    void resume() noexcept {
        gate_.fetch_and(~gate_paused, std::memory_order_acq_rel);
        notify();
    }
    /// A later reason replaces an earlier one when it is worse: a claim that was revoked may turn
    /// out to be lost. `finish_by`: until when the handler has time; a later one does not prolong
    /// it.
    void end(end_reason why, clock::time_point finish_by = clock::time_point{}) noexcept {
        if (!ended()) {
            finish_by_.store(finish_by.time_since_epoch().count(),
                             std::memory_order_relaxed); // the gate releases it
        }
        if (auto const before = why_ended(); before == end_reason::running || is_loss(why)) {
            why_.store(why, std::memory_order_release);
        }
        gate_.fetch_or(gate_ended, std::memory_order_acq_rel);
        notify();
        ended_.set();
    }
    end_reason why_ended() const noexcept { return why_.load(std::memory_order_acquire); }
    /// For what has ended. Group's strand, as `end`.
    void finish_no_later_than(clock::time_point until) noexcept {
        if (ended() &&
            finish_by_.load(std::memory_order_relaxed) > until.time_since_epoch().count()) {
            finish_by_.store(until.time_since_epoch().count(), std::memory_order_relaxed);
        }
    }
    /// nullopt: it has not ended. After a loss: now.
    std::optional<clock::time_point> finish_by() const noexcept {
        if (!ended()) {
            return std::nullopt;
        }
        clock::time_point const given{clock::duration{finish_by_.load(std::memory_order_relaxed)}};
        return is_loss(why_ended()) || given == clock::time_point{} ? clock::now() : given;
    }
    /// Waits until the claim has ended. Any executor. A wait may outlive everything else of the
    /// claim.
    static asio::awaitable<void> wait_ended(std::shared_ptr<partition_state> state);

    /// An algorithm over the claim has ended before the claim, and has not done all records that it
    /// took. Claim's strand.
    void leave_undone() noexcept { left_undone_ = true; }
    bool left_undone() const noexcept { return left_undone_; }

    // On the group's strand.

    /// The brokers reported that the topic does not exist, when its log was known up to `log_end`
    /// (-1: not known). If the topic is created again, an offset that is committed at the end would
    /// make the group skip its records.
    void miss_topic(std::int64_t log_end) noexcept {
        missing_topic_ = {true, log_end, delivered(), tracker_.epoch()};
    }
    void find_topic() noexcept { missing_topic_.missing = false; }
    bool topic_missing() const noexcept { return missing_topic_.missing; }
    /// Whether a record was delivered that was not in the log at that time. (The queue may have
    /// held older ones.)
    bool has_newer_record() const noexcept {
        return delivered() != missing_topic_.delivered &&
               (position() > missing_topic_.log_end || tracker_.epoch() != missing_topic_.epoch);
    }

    /// Another member, or another claim of this member, may own the partition: this claim commits
    /// nothing any more.
    void give_away() noexcept { given_away_ = true; }
    bool given_away() const noexcept { return given_away_ || is_loss(why_ended()); }

    // Waking.

    /// Wakes the handler: there may be something to do. Other work on the executor has its turn
    /// first. Any thread, the client's own included. Calls close together cost as much as one.
    void notify() noexcept;

    /// What a handler waits for.
    enum class wait_for { nothing, records, acks, its_turn, own_work };

    /// Waits for `notify`, as `auto_reset_event` does.
    asio::awaitable<bool> wait(clock::time_point deadline, wait_for cause);
    /// A receive gives the handler the end, so the handler is not cancelled for it. Claim's strand.
    void end_told() noexcept;
    /// A receive runs by itself, for a completion handler. It will give the end, so meanwhile the
    /// handler is not cancelled for it. Any thread.
    void begin_receive() noexcept;
    void end_receive() noexcept;
    /// It is cancelled now, if it was not given the end.
    void tell_kept() noexcept;
    void wait_over() noexcept { waits_for_.store(wait_for::nothing, std::memory_order_relaxed); }
    bool waiting() const noexcept {
        auto const cause = waits_for_.load(std::memory_order_relaxed);
        return cause == wait_for::records || cause == wait_for::acks;
    }
    /// Whether an algorithm over the claim watches over its own progress.
    bool has_own_work() const noexcept {
        return waits_for_.load(std::memory_order_relaxed) == wait_for::own_work;
    }
    bool waits_for_acks() const noexcept {
        return waits_for_.load(std::memory_order_relaxed) == wait_for::acks;
    }

    /// Where the handler runs, and is cancelled.
    std::shared_ptr<auto_reset_event> const& place() const noexcept { return waiting_place_; }
    /// Cancels the handler; only `terminal` when it has been told the end already. Any thread.
    void cancel(asio::cancellation_type type) noexcept;
    /// The handler has not been told yet: there was no memory for it, if `notify` was called since.
    bool cancel_pending() const noexcept;

    // Delivery. Claim's strand; the figures may be read by any thread.

    std::int64_t initial_offset() const noexcept {
        return initial_offset_.load(std::memory_order_relaxed);
    }
    std::int64_t position() const noexcept { return position_.load(std::memory_order_relaxed); }
    std::uint64_t delivered() const noexcept { return tracker_.delivered(); }
    /// The next offset that is to come from the source, as far as that is another one: some records
    /// are collected and not delivered yet. Any thread.
    std::int64_t next_to_come() const noexcept {
        return (std::max)(position(), collected_until_.load(std::memory_order_relaxed));
    }
    /// Claim's strand.
    void collected_until(std::int64_t next) noexcept {
        collected_until_.store(next, std::memory_order_relaxed);
    }
    /// Delivers these, up to where an offset is not above the one before. Returns how many.
    std::size_t deliver(record* first, std::size_t count) {
        if (first->block->gaps()) [[unlikely]] {
            std::size_t ascending = 1;
            while (ascending != count && first[ascending].offset > first[ascending - 1].offset) {
                ++ascending;
            }
            count = ascending;
        }
        auto const& last = first[count - 1];
        tracker_.deliver(first->offset, last.offset, count);
        auto const epoch = tracker_.epoch();
        for (auto* record = first; record <= &last; ++record) {
            record->epoch = epoch;
        }
        if (initial_offset() < 0) {
            initial_offset_.store(first->offset, std::memory_order_relaxed);
        }
        position_.store(last.offset + 1, std::memory_order_relaxed);
        observed_.delivered(where_, first->offset, last.offset, count);
        return count;
    }

    /// For the source: nothing waits any more, and reading goes on at `next`. From `from`, which is
    /// behind the last record that was taken (-1: none was), there is no record, only what is not
    /// delivered: control records, and transactions that were aborted.
    void drained(std::int64_t from, std::int64_t next) noexcept {
        if (next <= (std::max)(from, position())) {
            return;
        }
        tracker_.pass_over(from, next);
        behind_taken_ = next;
        if (from < 0 || from == position()) {
            go_behind_taken();
        }
    }

    /// Called by the source: from `to` on, the log has other records than before. Deliveries and
    /// marks of the old records do not count any more.
    ///
    /// @throws std::bad_alloc; nothing changed then.
    void go_back(std::int64_t to) {
        if (to >= position()) {
            return;
        }
        tracker_.rebase(to);
        behind_taken_ = -1;
        collected_until_.store(-1, std::memory_order_relaxed);
        position_.store(to, std::memory_order_relaxed);
    }

    /// Called by the source, any thread: marks above `next` belong to a log that does not exist any
    /// more. They are not committed.
    void void_above(std::int64_t next) noexcept {
        void_above_.store(next, std::memory_order_relaxed);
    }
    bool is_void(std::int64_t next) const noexcept {
        return next > void_above_.load(std::memory_order_relaxed);
    }

    /// Not all of these are the records that were to come next: ordinary after compaction and
    /// transactions, unless what lies between is no longer, or not yet, in the log.
    void explain_gaps(record_block& block) {
        auto const next = position() < 0 ? block[0].offset : position();
        if (block[0].offset < next) {
            tracker_.rebase(block[0].offset); // also before the first record: what was committed is
                                              // of a log that is no more
        }
        explain_gaps(block, next);
    }
    /// The same for records behind others that are not delivered yet: `next` was to come.
    void explain_gaps(record_block& block, std::int64_t next) {
        auto const low = source_->known_watermarks().low;
        auto const observer = observer_.lock();
        for (std::size_t i = 0; i != block.size(); ++i) {
            auto const offset = block[i].offset;
            if (observer && (offset < next || (offset > next && low > next))) {
                observer->position_moved(where_, next, offset);
            }
            next = offset + 1;
        }
    }

    /// The offset of the first record that is not done, or a lower one, if there is a gap before
    /// it. Any thread.
    std::int64_t first_undone() const noexcept {
        return (std::max)(tracker_.marked(), initial_offset());
    }

    // Blocks of records.

    void lend(record_block& block) noexcept {
        block.lend(shared_from_this(), *source_, delivered());
    }

    /// All that was taken is delivered. Claim's strand.
    void all_taken_delivered() noexcept { go_behind_taken(); }

    /// A block to fill with `capacity` records. `expected`: see `record_block::clear`. Claim's
    /// strand.
    record_block& take_block(std::size_t capacity, std::int64_t expected) {
        for (;;) {
            if (!spare_) {
                spare_ = returned_.exchange(
                    nullptr, std::memory_order_acquire); // pairs with give_back's release
            }
            if (!spare_) {
                break;
            }
            auto& block = *spare_;
            spare_ = std::exchange(block.next_free_, nullptr);
            if (block.capacity() >= capacity) {
                block.clear(expected, capacity);
                return block;
            }
            // A smaller one has had its time.
            std::erase_if(blocks_, [&](auto const& owned) { return owned.get() == &block; });
        }
        auto& block = *blocks_.emplace_back(std::make_unique<record_block>(capacity));
        block.belongs_to(*this);
        block.clear(expected, capacity);
        return block;
    }

    /// A block of records, as filled, is about to be delivered; or what is left of one never is.
    /// Claim's strand; the figures may be read by any thread.
    void take(record_block const& filled) noexcept {
        records_taken_.store(records_taken() + filled.size(), std::memory_order_relaxed);
        bytes_taken_.store(bytes_taken() + filled.bytes(), std::memory_order_relaxed);
        observed_.fetched(where_, filled.size(), filled.bytes());
    }
    void drop(std::size_t records) noexcept {
        records_taken_.store(records_taken() - records, std::memory_order_relaxed);
    }
    std::uint64_t records_taken() const noexcept {
        return records_taken_.load(std::memory_order_relaxed);
    }
    std::uint64_t bytes_taken() const noexcept {
        return bytes_taken_.load(std::memory_order_relaxed);
    }
    /// Taken and not delivered.
    std::size_t records_at_hand() const noexcept {
        auto const done = delivered(); // first: what is taken is not less
        auto const taken = records_taken();
        return taken > done ? static_cast<std::size_t>(taken - done) : 0;
    }

    /// Takes a block back whose records are gone. Any thread.
    void give_back(record_block& block) noexcept {
        auto* head = returned_.load(std::memory_order_relaxed);
        do {
            block.next_free_ = head;
        } while (!returned_.compare_exchange_weak(head, &block, std::memory_order_release,
                                                  std::memory_order_relaxed));
    }

    /// The number of records that messages and batches hold. Claim's strand; exact when the channel
    /// has released its own.
    std::size_t records_held() const noexcept {
        std::size_t held = 0;
        for (auto const& block : blocks_) {
            held += block->held();
        }
        return held;
    }

    // Telling. Any thread.

    /// A mark of `next` counts; it is told when the log is not known to go so far.
    void check_mark(std::int64_t next) const noexcept {
        auto const end = source_ ? source_->known_watermarks().high : -1;
        if (end < 0 || next <= end) {
            return;
        }
        if (auto const observer = observer_.lock()) {
            observer->mark_beyond_end(where_, next, end);
        }
    }
    void released_twice() const noexcept {
        if (auto const observer = observer_.lock()) {
            observer->released_twice(where_);
        }
    }
    void refuse(mark_result why) const noexcept {
        if (auto const observer = observer_.lock()) {
            observer->mark_refused(where_, why);
        }
    }
    void report(event told) const noexcept {
        if (auto const observer = observer_.lock()) {
            observer->report_of_claim(std::move(told));
        }
    }
    void fail(std::error_code ec, std::string_view text) const noexcept {
        if (auto const observer = observer_.lock()) {
            observer->partition_failed(where_, ec, text);
        }
    }

private:
    void go_behind_taken() noexcept {
        if (auto const next = std::exchange(behind_taken_, -1); next > position()) {
            position_.store(next, std::memory_order_relaxed);
        }
    }

    // gate_: 0 is open; otherwise these bits.
    static constexpr unsigned gate_paused = 1; // nothing is delivered, all is kept
    static constexpr unsigned gate_ended = 2;  // for good

    topic_partition where_;
    std::shared_ptr<auto_reset_event> waiting_place_;
    std::weak_ptr<claim_observer> observer_;
    std::shared_ptr<record_source> source_;
    std::int32_t generation_ = -1;
    std::chrono::milliseconds rebalance_deadline_{};
    std::int64_t committed_before_;
    std::string metadata_;
    struct {
        bool missing = false;
        std::int64_t log_end = -1;
        std::uint64_t delivered = 0;
        std::uint32_t epoch = 0;
    } missing_topic_; // when it was said
    bool given_away_ = false;
    bool left_undone_ = false;
    offset_tracker tracker_;
    claim_figures figures_;
    observed_claim observed_;
    std::vector<std::unique_ptr<record_block>> blocks_; // all of them, lent or not
    record_block* spare_ = nullptr;                     // the claim's own list
    std::atomic<record_block*> returned_{nullptr}; // pushed by any thread, taken whole by the claim
    std::atomic<std::int64_t> initial_offset_{-1};
    std::atomic<unsigned> gate_{0};
    std::atomic<end_reason> why_{end_reason::running};
    std::atomic<clock::rep> finish_by_{0};
    manual_reset_event ended_;
    std::atomic<wait_for> waits_for_{
        wait_for::nothing};                  // written on the strand, read by the watchdog
    std::atomic<std::int64_t> position_{-1}; // next offset to deliver; written on the strand
    std::atomic<std::uint64_t> records_taken_{0};
    std::atomic<std::uint64_t> bytes_taken_{0};
    std::atomic<std::int64_t> collected_until_{-1};
    std::atomic<std::int64_t> void_above_{(std::numeric_limits<std::int64_t>::max)()};
    std::int64_t behind_taken_ =
        -1; // where reading goes on when all that was taken is delivered; -1: at the next record
};

inline void record_block::release(holds given_up) noexcept {
    if (!state_->on_strand() || !at_hand_) { // in this order: at_hand_ is the strand's
        release_for_all(given_up.word());
    } else if ((given_up_ += given_up.word()) == all()) {
        settle();
    }
}

inline void record_block::give_up(record& record) noexcept {
    if (end_once(record.given_up)) {
        release({.messages = 1, .places = record.alone});
    }
}

inline bool record_block::end_once(std::atomic<bool>& over) noexcept {
    // No exchange: to destroy one message on two threads at once is undefined anyway.
    if (over.load(std::memory_order_relaxed)) [[unlikely]] {
        tell_released_twice();
        return false;
    }
    over.store(true, std::memory_order_relaxed);
    return true;
}

inline void record_block::tell_released_twice() noexcept { state_->released_twice(); }

inline void record_block::free_records() noexcept {
    // The records go first: the block may be filled again as soon as it is given back. The owner
    // goes last: it may be the state's last one.
    auto const owner = std::move(owner_);
    auto const pooled = from_ == owner->source();
    from_->free_records(records_, size_); // a copy goes with its records
    if (pooled) {
        owner->give_back(*this);
    }
}

} // namespace kgroup::detail

#ifndef KGROUP_SEPARATE_COMPILATION
#include <kgroup/detail/claim/partition_state.ipp>
#endif
