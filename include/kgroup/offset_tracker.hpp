// SPDX-License-Identifier: MIT

#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kgroup {

/// What became of a mark or an acknowledgement. From `refused_ended` on: refusals.
enum class mark_result {
    accepted, ///< It counts.
    ignored,  ///< Nothing to do: not above what is marked, acknowledged already, or of an older
              ///< epoch.
    refused_ended, ///< The claim is not owned any more.
    refused_mode,  ///< The claim is acknowledged record by record and this was a mark, or vice
                   ///< versa.
    refused_range, ///< Not an offset a partition can have, or a record that was never delivered.
};

/// What to commit for a partition.
struct tracked_offset {
    /// The next offset to read; `offset_tracker::none` where there is none.
    std::int64_t next;

    /// The text to keep beside it.
    std::string metadata{};

    friend bool operator==(tracked_offset const&, tracked_offset const&) = default;
};

/// What a claim has done and what of it may be committed.
///
/// One tracker belongs to one claim of one session and is never used for another. It does no I/O. A
/// claim is either *marked* (cumulative: everything below an offset is done) or *acknowledged*
/// (each record on its own, in any order; what may be committed ends where the unbroken run of
/// acknowledged records, in the order of their delivery, ends). The first mark or acknowledgement
/// after the first delivery settles which; the other is refused from then on.
///
/// Offsets within a partition may have gaps, and may go backward (a topic that was created again, a
/// truncated log, a seek, a record delivered twice). From a backward step on a new *epoch* counts:
/// marks of earlier records are ignored, and what may be committed goes back to where delivery went
/// back to. Acknowledgements of earlier records are still awaited, so that a record in a handler's
/// hands is never passed over; they do not lift what may be committed above the place where
/// delivery went back to.
///
/// Where the log goes on without a record (control records, transactions that were aborted),
/// delivery says so
/// (`pass_over`), and what may be committed goes on behind it when all before it is done.
///
/// A claim that is acknowledged is bounded by how many records are delivered and not acknowledged
/// (`window_full`), wherever they stand: a record that stays behind while others are done is
/// remembered by itself, and holds up nothing but the commit.
///
/// Costs: `mark` without metadata is one compare-and-swap; `ack` is one compare-and-swap. Neither
/// waits for anybody nor allocates in steady state. `ack` takes memory (8 KiB for 1,024 records)
/// when more records are in flight than ever before; it takes a lock for a record that was left
/// behind, and a lock and some bytes for one that is `ack_window` or more ahead of those in the
/// ring, which happens where that many were delivered before the first acknowledgement, or without
/// asking `window_full()`. An epoch's memory is kept until the tracker goes.
///
/// Thread safety: three roles. *Delivery* (`deliver`, `pass_over`, `window_full`, `rebase`): one
/// thread at a time. *Committer* (`pending`, `committed(next)`, `forget_committed`, `look`,
/// `seal`): one thread at a time. Everything else: any thread. The roles may run at the same time.
class offset_tracker {
public:
    /// No offset.
    static constexpr std::int64_t none = -1;

    /// `ack_window`: how many records may be delivered and not acknowledged, in a claim that is
    /// acknowledged (at least 1). `committed`: what the group has committed already
    /// (any negative offset: nothing); marks at or below it are ignored. Throws `std::bad_alloc`.
    explicit offset_tracker(std::size_t ack_window = 65536, tracked_offset committed = {none, {}})
        : window_{(std::max<std::size_t>)(ack_window, 1)},
          directory_size_{std::bit_ceil((window_ - 1) / segment_size + 2)},
          first_{0, nullptr, to_word((std::max)(committed.next, none)), directory_size_},
          metadata_{committed.next < 0 ? tracked_offset{none, {}} : std::move(committed)},
          committed_{metadata_},
          confirmed_{committed_.next} {}

    offset_tracker(offset_tracker const&) = delete;
    offset_tracker& operator=(offset_tracker const&) = delete;

    /// Delivery: notes that the record at `offset` (>= 0) goes to the handler now. Returns its
    /// place in the order of delivery, to be carried by the record together with `epoch()` as it is
    /// after this call. An offset at or below the one before begins a new epoch as `rebase(offset)`
    /// does. Throws `std::bad_alloc` in that case only; nothing was delivered then.
    std::uint64_t deliver(std::int64_t offset) { return deliver(offset, offset, 1); }

    /// The same for `count` records (at least 1) whose offsets ascend, with gaps or without, from
    /// `first` to `last`: all in one epoch, and at places that follow one another. Returns that of
    /// the first.
    std::uint64_t deliver(std::int64_t first, std::int64_t last, std::size_t count) {
        if (first <= last_offset_) {
            rebase(first);
        }
        last_offset_ = last;
        std::uint64_t const sequence = delivered_.load(std::memory_order_relaxed);
        std::uint64_t const end = sequence + count;
        if ((sequence - 1) / segment_size != (end - 1) / segment_size &&
            mode_.load(std::memory_order_relaxed) == mode::acks) {
            // At each beginning of a segment: keeps the ring as short as what is in flight, rather
            // than as what is acknowledged between two commits.
            if (std::unique_lock const lock{mutex_, std::try_to_lock}; lock) {
                advance();
                leave_behind();
            }
        }
        delivered_.store(end, std::memory_order_relaxed);
        return sequence;
    }

    /// Delivery: no record lies from `from`, the next offset behind what was taken to be delivered,
    /// up to `to`: a claim that is done up to `from` is done up to `to`. `from` is `none` when
    /// nothing was taken at all. Counts until delivery or a `reset` goes back. Takes a lock.
    void pass_over(std::int64_t from, std::int64_t to) noexcept {
        std::lock_guard const lock{mutex_};
        fold_gap();
        if (from < gap_begin_ || from > gap_end_) {
            gap_begin_ = from;
        }
        gap_end_ = to;
        fold_gap();
    }

    /// Any thread: how many records were delivered.
    std::uint64_t delivered() const noexcept { return delivered_.load(std::memory_order_relaxed); }

    /// Delivery: whether the next record has to wait until one of those delivered before is
    /// acknowledged, because `ack_window` of them are not. False for a claim that is marked, or
    /// neither marked nor acknowledged yet. After `true`, one later `window_opened()` says that it
    /// is time to go on.
    bool window_full() noexcept {
        if (mode_.load(std::memory_order_relaxed) != mode::acks || !may_be_full()) {
            return false;
        }
        std::lock_guard const lock{mutex_};
        if (waiting_.load(std::memory_order_relaxed) && acks_awaited_ != 0) {
            return true;
        }
        // Before the count: see ack().
        waiting_.store(true, std::memory_order_seq_cst);
        std::uint64_t const undone = count_undone();
        std::uint64_t const delivered = delivered_.load(std::memory_order_relaxed);
        count_again_at_ = delivered + (undone < window_ ? window_ - undone : 0);
        return wait_for_acks(undone);
    }

    /// Delivery: how many records may be delivered before `window_full()`, `wanted` at most; all of
    /// them in a claim that is marked, or neither marked nor acknowledged yet.
    std::uint64_t room(std::uint64_t wanted) noexcept {
        std::uint64_t const delivered = delivered_.load(std::memory_order_relaxed);
        if (mode_.load(std::memory_order_relaxed) != mode::acks ||
            delivered + wanted <= count_again_at_ ||
            delivered - head_.load(std::memory_order_relaxed) +
                    left_behind_count_.load(std::memory_order_relaxed) + wanted <=
                window_) {
            return wanted;
        }
        std::lock_guard const lock{mutex_};
        std::uint64_t const undone = count_undone();
        std::uint64_t const left = undone < window_ ? window_ - undone : 0;
        count_again_at_ = delivered + left;
        return (std::min)(wanted, left);
    }

    /// Any thread, to be called after each accepted `ack`: whether the caller has to wake the
    /// delivery side, which was told to wait by `window_full()` and may go on now. True once for
    /// each `window_full()` that was true.
    bool window_opened() noexcept {
        if (!waiting_.load(std::memory_order_seq_cst)) {
            return false;
        }
        std::lock_guard const lock{mutex_};
        if (!waiting_.load(std::memory_order_relaxed)) {
            return false;
        }
        if (acks_awaited_ > 1) { // it cannot be open before as many were acknowledged
            --acks_awaited_;
            return false;
        }
        return !wait_for_acks(count_undone());
    }

    /// Any thread: how many delivered records are not done. Of a claim that is marked it knows
    /// offsets only: then how many lie between the mark and `position`, the next offset to deliver,
    /// and not more than were delivered. Takes a lock, and looks at each record in flight.
    std::uint64_t undone(std::int64_t position) noexcept {
        switch (mode_.load(std::memory_order_relaxed)) {
        case mode::acks: {
            std::lock_guard const lock{mutex_};
            return count_undone();
        }
        case mode::marks: {
            std::int64_t const behind = position - (std::max<std::int64_t>)(marked(), 0);
            return (std::min)(delivered(),
                              static_cast<std::uint64_t>((std::max<std::int64_t>)(behind, 0)));
        }
        default:
            return delivered();
        }
    }

    /// Delivery: the position was set to `offset` (>= 0), at or below records delivered already.
    /// Begins a new epoch. Throws `std::bad_alloc`; nothing changed then.
    void rebase(std::int64_t offset) {
        assert(offset >= 0);
        std::lock_guard const lock{mutex_};
        if (ended_.load(std::memory_order_relaxed)) {
            last_offset_ = offset - 1;
            return; // nothing counts any more
        }
        log_epoch* const old = current_.load(std::memory_order_relaxed);
        later_epochs_.push_back(
            std::make_unique<log_epoch>(old->number + 1, old, 0, directory_size_));
        log_epoch* const fresh = later_epochs_.back().get();
        last_offset_ = offset - 1;
        advance();
        fold_gap();
        forget_gap();
        // Closed first: no mark can reach the old epoch once its point was taken over.
        std::uint64_t const point = old->point.fetch_or(closed_bit, std::memory_order_acq_rel);
        fresh->point.store((std::min)(point, to_word(offset)), std::memory_order_relaxed);
        if (to_word(offset) < point) {
            metadata_.next = none; // or its text would come back with a mark at its offset
        }
        std::uint64_t const back_to = static_cast<std::uint64_t>(offset);
        for (log_epoch* log = left_behind_.empty() ? scanned_ : left_behind_.begin()->second.log;
             log != fresh; log = log->next == nullptr ? fresh : log->next) {
            log->limit = (std::min)(log->limit, back_to);
        }
        for (auto& [sequence, record] : left_behind_) {
            record.reached = (std::min)(record.reached, back_to);
        }
        reached_ = (std::min)(reached_, back_to);
        old->end = delivered_.load(std::memory_order_relaxed);
        old->next = fresh;
        current_.store(fresh,
                       std::memory_order_release); // pairs with the loads of find() and epoch()
    }

    /// Any thread: the epoch of records delivered now. From 0; one more with each backward step.
    std::uint32_t epoch() const noexcept {
        return current_.load(std::memory_order_acquire)->number;
    }

    /// Any thread: everything below `next` is done. Accepted if `next` is above what is marked,
    /// however far: there is no upper bound, also not that of what was delivered. `epoch`: that of
    /// the record, or `epoch()` for an offset given by hand. A mark that is accepted is in what
    /// `seal()` returns; one that comes later is `refused_ended`.
    mark_result mark(std::int64_t next, std::uint32_t epoch) noexcept {
        if (!in_range(next)) {
            return mark_result::refused_range;
        }
        // Before the first delivery it says where to start, which leaves open how the records will
        // be done.
        bool const at_start = mode_.load(std::memory_order_relaxed) == mode::open &&
                              delivered_.load(std::memory_order_relaxed) == 0;
        if (!at_start && !settle(mode::marks)) {
            return mark_result::refused_mode;
        }
        log_epoch* const log = find(epoch);
        return log == nullptr ? mark_result::ignored : raise(log->point, to_word(next));
    }

    /// As the other `mark`, with a text to be committed beside the offset, for as long as no higher
    /// one is marked. Offset and text change together. May wait for the committer's copying of a
    /// text. Throws `std::bad_alloc`; nothing changed then.
    mark_result mark(std::int64_t next, std::string_view metadata, std::uint32_t epoch) {
        if (metadata.empty()) {
            return mark(next, epoch);
        }
        std::string text{metadata};
        std::lock_guard const lock{mutex_};
        mark_result const result = mark(next, epoch);
        if (result == mark_result::accepted) {
            metadata_.next = next;
            metadata_.metadata = std::move(text);
        }
        return result;
    }

    /// Any thread: the record at `offset`, delivered as `sequence` in `epoch`, is done. A second
    /// acknowledgement of the same record has no effect. It is `ignored`, unless it meets the run
    /// of acknowledged records just passing by, or the first came more than `ack_window` ahead:
    /// then it may be `accepted`. What is accepted is counted by `seal()`; one that runs at the
    /// same time as `seal()` may be `refused_ended` although it was counted. Throws
    /// `std::bad_alloc`; nothing changed then.
    mark_result ack(std::int64_t offset, std::uint64_t sequence, std::uint32_t epoch) {
        if (!in_range(offset)) {
            return mark_result::refused_range;
        }
        if (!settle(mode::acks)) {
            return mark_result::refused_mode;
        }
        if (ended_.load(std::memory_order_relaxed)) {
            return mark_result::refused_ended;
        }
        // Pairs with advance() and leave_behind(): a segment that was passed has been moved on
        // before its entry's next round.
        std::uint64_t const head = head_.load(std::memory_order_acquire);
        std::uint64_t const next = static_cast<std::uint64_t>(offset) + 1;
        if (sequence < head) {
            return was_left_behind(sequence) ? ack_left_behind(sequence, next, false)
                                             : mark_result::ignored;
        }
        if (sequence - head >= window_) {
            return ack_early(sequence, next);
        }
        log_epoch* const log = find(epoch);
        if (log == nullptr) {
            return mark_result::ignored;
        }
        std::atomic<segment*>& entry = log->entry(sequence);
        segment* held = entry.load(std::memory_order_acquire);
        if (held == nullptr) {
            held = provide(entry);
        }
        std::atomic<std::uint64_t>& place = held->place(sequence);
        std::uint64_t seen = place.load(std::memory_order_acquire);
        bool written = false;
        while (seen < next && !written) {
            // seal(), window_full() and leave_behind() store what they do and scan then; here and
            // in window_opened() that is loaded after this write. In one order of all four, either
            // the scan sees the write or the load sees what was stored.
            written = place.compare_exchange_weak(seen, next, std::memory_order_seq_cst,
                                                  std::memory_order_acquire);
        }
        if (was_left_behind(sequence)) { // just now: its place may be another record's
            return ack_left_behind(sequence, next, written);
        }
        if (!written) {
            return mark_result::ignored;
        }
        bool const ended = ended_.load(std::memory_order_seq_cst);
        return ended ? mark_result::refused_ended : mark_result::accepted;
    }

    /// Any thread: sets what is to be committed back to `next`, with its text. Accepted if `next`
    /// is at or below what is marked (acknowledged, committed at the start), or nothing is. Moves
    /// no position: later marks and acknowledgements count on from there, so that a mark above it
    /// holds again. Neither a mark nor an acknowledgement. Throws `std::bad_alloc`; nothing changed
    /// then.
    mark_result reset(std::int64_t next, std::string_view metadata = {}) {
        if (!in_range(next)) {
            return mark_result::refused_range;
        }
        std::string text{metadata};
        std::uint64_t const word = to_word(next);
        std::lock_guard const lock{mutex_};
        advance();
        fold_gap();
        std::atomic<std::uint64_t>& point = current_.load(std::memory_order_relaxed)->point;
        std::uint64_t seen = point.load(std::memory_order_relaxed);
        do {
            if ((seen & closed_bit) != 0) {
                return mark_result::refused_ended;
            }
            if (seen != 0 && seen < word) {
                return mark_result::ignored;
            }
        } while (!point.compare_exchange_weak(seen, word, std::memory_order_release,
                                              std::memory_order_relaxed));
        metadata_.next = next;
        metadata_.metadata = std::move(text);
        forget_gap(); // what was asked for is kept to the letter
        return mark_result::accepted;
    }

    /// Committer: what to commit now; `nullopt`: nothing that is not committed already. Lower than
    /// what was committed after a backward step or a `reset`. May be called after `seal()`, to try
    /// a commit again. Throws `std::bad_alloc`.
    std::optional<tracked_offset> pending() {
        std::lock_guard const lock{mutex_};
        advance();
        return uncommitted();
    }

    /// Committer: the broker confirmed `next`, as `pending()` or `seal()` returned it.
    void committed(std::int64_t next) noexcept {
        std::lock_guard const lock{mutex_};
        if (offered_.next == next) {
            committed_ = std::move(offered_);
            offered_ = {none, {}};
        } else {
            committed_ = {next, {}};
        }
        confirmed_.store(next, std::memory_order_relaxed);
    }

    /// Committer: what the broker has is not known any more, so that `pending()` returns what is
    /// marked, also if it was committed before.
    void forget_committed() noexcept {
        std::lock_guard const lock{mutex_};
        committed_ = {none, {}};
    }

    /// Any thread: the last offset that the broker confirmed (or had at the start), or `none`.
    std::int64_t committed() const noexcept { return confirmed_.load(std::memory_order_relaxed); }

    /// Any thread: the next offset to read as far as is marked, or, in a claim that is
    /// acknowledged, as far as the run of acknowledged records was known when last looked at (by
    /// `pending`, or by delivery now and then); or `none`. What was passed over counts when last
    /// looked at, too.
    std::int64_t marked() const noexcept {
        return to_offset(
            current_.load(std::memory_order_acquire)->point.load(std::memory_order_acquire));
    }

    /// Any thread: the place, in the order of delivery, of the first record that was not
    /// acknowledged when last looked at (`look`); `nullopt`: the claim is not acknowledged record
    /// by record.
    std::optional<std::uint64_t> done_until() const noexcept {
        return mode_.load(std::memory_order_relaxed) == mode::acks
                   ? std::optional{done_until_.load(std::memory_order_relaxed)}
                   : std::nullopt;
    }

    /// Any thread: of a claim that is acknowledged, how many records are not, when last looked at,
    /// or more: those that were acknowledged out of order are counted for as long as it takes less
    /// than `ack_window` of them.
    std::uint64_t in_flight() const noexcept {
        std::uint64_t const passed = head_.load(std::memory_order_acquire);
        return delivered_.load(std::memory_order_relaxed) - passed +
               left_behind_count_.load(std::memory_order_relaxed);
    }

    /// Committer: looks at what is acknowledged, for `marked()`, `done_until()` and `in_flight()`.
    void look() noexcept {
        if (mode_.load(std::memory_order_relaxed) != mode::acks) {
            return;
        }
        std::lock_guard const lock{mutex_};
        advance();
        done_until_.store(left_behind_.empty() ? head_.load(std::memory_order_relaxed)
                                               : left_behind_.begin()->first,
                          std::memory_order_relaxed);
    }

    /// Committer: the end of ownership. From now on marks, acknowledgements and resets are
    /// `refused_ended`. Returns what may still be committed, as `pending()` does. Throws
    /// `std::bad_alloc`; sealed all the same.
    std::optional<tracked_offset> seal() {
        std::lock_guard const lock{mutex_};
        // Before the scan: see ack().
        ended_.store(true, std::memory_order_seq_cst);
        advance();
        current_.load(std::memory_order_relaxed)
            ->point.fetch_or(closed_bit, std::memory_order_acq_rel);
        return uncommitted();
    }

private:
    static constexpr std::size_t segment_size = 1024;
    static constexpr std::size_t cache_line = 64;
    static constexpr std::uint64_t closed_bit = std::uint64_t{1} << 63;

    enum class mode : std::uint8_t { open, marks, acks };

    /// 1,024 places of the ring, for records whose sequences differ in their lower ten bits.
    ///
    /// A place holds the highest offset + 1 acknowledged in it; 0: none yet. Within an epoch
    /// offsets rise with sequences, and a record is only admitted to a place when all earlier ones
    /// with the same place have been passed. So a place acknowledges the record it stands for now
    /// if and only if it is above everything passed, and whatever a late second acknowledgement of
    /// a passed record writes, even into a segment that serves other records meanwhile, is not.
    /// That is why places need no clearing, segments can be used again without asking who still
    /// looks at them, and why each epoch has segments of its own.
    struct segment {
        std::array<std::atomic<std::uint64_t>, segment_size> places{};

        std::atomic<std::uint64_t>& place(std::uint64_t sequence) noexcept {
            return places[sequence % segment_size];
        }
    };

    struct log_epoch {
        log_epoch(std::uint32_t epoch, log_epoch* before, std::uint64_t start, std::size_t size)
            : point{start},
              number{epoch},
              previous{before},
              directory(size) {}

        ~log_epoch() {
            for (std::atomic<segment*>& entry : directory) {
                delete entry.load(std::memory_order_relaxed);
            }
        }

        log_epoch(log_epoch const&) = delete;
        log_epoch& operator=(log_epoch const&) = delete;

        std::atomic<segment*>& entry(std::uint64_t sequence) noexcept {
            return directory[sequence / segment_size & (directory.size() - 1)];
        }

        /// What may be committed. Lower 63 bits: next offset to read + 1; 0: none. `closed_bit`: no
        /// mark counts any more, because a newer epoch has begun or the claim has ended. Raised by
        /// marks or by advance(), lowered by reset().
        std::atomic<std::uint64_t> point;

        std::uint32_t const number;
        log_epoch* const previous;

        /// Null: nothing was acknowledged there yet. Set by whoever needs it, moved on by
        /// advance(). One segment more than the window needs: an entry is passed wholly before
        /// records of the next round are admitted to it.
        std::vector<std::atomic<segment*>> directory;

        // The rest under the tracker's mutex.

        /// The epoch after this one.
        log_epoch* next = nullptr;

        /// The sequence of the next epoch's first record.
        std::uint64_t end = (std::numeric_limits<std::uint64_t>::max)();

        /// The lowest offset that a later epoch went back to.
        std::uint64_t limit = (std::numeric_limits<std::uint64_t>::max)();
    };

    static bool in_range(std::int64_t offset) noexcept {
        // Two below the highest: room for the next offset, and for one more in `point`.
        return offset >= 0 && offset <= (std::numeric_limits<std::int64_t>::max)() - 2;
    }

    static std::uint64_t to_word(std::int64_t offset) noexcept {
        return static_cast<std::uint64_t>(offset) + 1;
    }

    static std::int64_t to_offset(std::uint64_t word) noexcept {
        return static_cast<std::int64_t>(word & ~closed_bit) - 1;
    }

    /// A record that was not acknowledged when those around it were, and that the ring has passed.
    struct record_behind {
        log_epoch* log;

        /// What may be committed when all before it is done. Of no meaning yet while the record
        /// delivered before it was left behind, too.
        std::uint64_t reached;
    };

    /// A look at the records of the ring, one after another.
    struct ring_cursor {
        log_epoch* log;
        std::uint64_t sequence;

        /// What is above acknowledges the record: see `passed_`.
        std::uint64_t passed;
    };

    bool settle(mode wanted) noexcept {
        mode seen = mode_.load(std::memory_order_relaxed);
        return seen == wanted ||
               (seen == mode::open &&
                (mode_.compare_exchange_strong(seen, wanted, std::memory_order_relaxed) ||
                 seen == wanted));
    }

    log_epoch* find(std::uint32_t epoch) noexcept {
        if (epoch == 0) {
            return &first_;
        }
        log_epoch* log = current_.load(std::memory_order_acquire);
        while (log != nullptr && log->number != epoch) {
            log = log->previous;
        }
        return log;
    }

    mark_result raise(std::atomic<std::uint64_t>& point, std::uint64_t word) noexcept {
        std::uint64_t seen = point.load(std::memory_order_acquire);
        while (seen < word) { // never while closed
            // Release: what the handler did happens before the commit of it (uncommitted()
            // acquires).
            if (point.compare_exchange_weak(seen, word, std::memory_order_release,
                                            std::memory_order_acquire)) {
                return mark_result::accepted;
            }
        }
        bool const ended = (seen & closed_bit) != 0 && ended_.load(std::memory_order_relaxed);
        return ended ? mark_result::refused_ended : mark_result::ignored;
    }

    bool may_be_full() const noexcept {
        std::uint64_t const delivered = delivered_.load(std::memory_order_relaxed);
        return delivered >= count_again_at_ &&
               delivered - head_.load(std::memory_order_relaxed) +
                       left_behind_count_.load(std::memory_order_relaxed) >=
                   window_;
    }

    /// Whether the ring went past it without an acknowledgement; it may have had one since.
    bool was_left_behind(std::uint64_t sequence) const noexcept {
        return sequence < left_behind_until_.load(std::memory_order_seq_cst);
    }

    mark_result ack_left_behind(std::uint64_t sequence, std::uint64_t next, bool written) noexcept {
        std::lock_guard const lock{mutex_};
        if (ended_.load(std::memory_order_relaxed)) {
            return mark_result::refused_ended;
        }
        return catch_up(sequence, next) || written ? mark_result::accepted : mark_result::ignored;
    }

    static segment* provide(std::atomic<segment*>& entry) {
        std::unique_ptr<segment> fresh = std::make_unique<segment>();
        segment* seen = nullptr;
        // Whoever finds it finds zeros. In one order with ended_ and waiting_, like what is written
        // into it.
        return entry.compare_exchange_strong(seen, fresh.get(), std::memory_order_seq_cst,
                                             std::memory_order_acquire)
                   ? fresh.release()
                   : seen;
    }

    mark_result ack_early(std::uint64_t sequence, std::uint64_t next) {
        std::lock_guard const lock{mutex_};
        if (ended_.load(std::memory_order_relaxed)) {
            return mark_result::refused_ended;
        }
        if (sequence >= delivered_.load(std::memory_order_relaxed)) {
            return mark_result::refused_range;
        }
        if (sequence < head_.load(std::memory_order_relaxed)) {
            return catch_up(sequence, next) ? mark_result::accepted : mark_result::ignored;
        }
        return early_.emplace(sequence, next).second ? mark_result::accepted : mark_result::ignored;
    }

    // From here on: under mutex_.

    void advance() noexcept {
        std::uint64_t const before = head_.load(std::memory_order_relaxed);
        std::uint64_t sequence = before;
        for (;;) {
            if (sequence == scanned_->end) {
                scanned_ = scanned_->next;
                passed_ = 0;
                continue;
            }
            segment* const held = scanned_->entry(sequence).load(std::memory_order_seq_cst);
            std::uint64_t next =
                held == nullptr ? 0 : held->place(sequence).load(std::memory_order_seq_cst);
            if (next <= passed_) {
                next = take_early(sequence);
            }
            if (next <= passed_) {
                break;
            }
            passed_ = next;
            reached_ = (std::min)(next, scanned_->limit);
            if (++sequence % segment_size == 0 && held != nullptr) {
                move_on(*scanned_, sequence - 1, held);
            }
        }
        if (sequence != before) {
            raise_to_reached();
            // Pairs with ack(): segments have been moved on before records are admitted to where
            // they were.
            head_.store(sequence, std::memory_order_release);
        }
    }

    void raise_to_reached() noexcept {
        if (left_behind_.empty()) {
            raise(current_.load(std::memory_order_relaxed)->point, reached_ + 1);
        }
    }

    /// The next offset behind the record at `at` if it is acknowledged; otherwise 0. For any record
    /// of the ring, also behind one that is not.
    std::uint64_t acknowledged(ring_cursor& at) const noexcept {
        while (at.sequence == at.log->end) {
            at.log = at.log->next;
            at.passed = 0;
        }
        std::uint64_t next = 0;
        if (at.sequence - head_.load(std::memory_order_relaxed) < window_) { // it has a place
            segment* const held = at.log->entry(at.sequence).load(std::memory_order_seq_cst);
            next = held == nullptr ? 0 : held->place(at.sequence).load(std::memory_order_seq_cst);
        }
        if (next <= at.passed && !early_.empty()) {
            auto const early = early_.find(at.sequence);
            next = early == early_.end() ? 0 : early->second;
        }
        return next <= at.passed ? 0 : next;
    }

    ring_cursor ring_begin() const noexcept {
        return {scanned_, head_.load(std::memory_order_relaxed), passed_};
    }

    std::uint64_t count_undone() noexcept {
        advance();
        leave_behind();
        std::uint64_t undone = left_behind_.size();
        std::uint64_t const end = delivered_.load(std::memory_order_relaxed);
        for (ring_cursor at = ring_begin(); at.sequence < end; ++at.sequence) {
            undone += acknowledged(at) == 0 ? 1 : 0;
        }
        return undone;
    }

    bool wait_for_acks(std::uint64_t undone) noexcept {
        bool const full = undone >= window_;
        acks_awaited_ = full ? undone - window_ + 1 : 0;
        waiting_.store(full, std::memory_order_relaxed);
        return full;
    }

    /// Keeps the ring shorter than the window, so that records are admitted to it: what is not
    /// acknowledged of its older part is remembered by itself.
    void leave_behind() noexcept {
        std::uint64_t const longest = window_ - window_ / 4;
        std::uint64_t const delivered = delivered_.load(std::memory_order_relaxed);
        if (delivered - head_.load(std::memory_order_relaxed) <= longest) {
            return;
        }
        std::uint64_t const end = last_acknowledged_end(delivered - longest, delivered);
        if (end != head_.load(std::memory_order_relaxed)) {
            pass_all(end);
        }
    }

    /// Where the last acknowledged record before `wanted` ends; where there is none, the first one
    /// behind. The ring passes a record that is not acknowledged together with a later one that is:
    /// then whatever a late acknowledgement writes into a segment that serves other records
    /// meanwhile is not above `passed_`.
    std::uint64_t last_acknowledged_end(std::uint64_t wanted, std::uint64_t delivered) noexcept {
        ring_cursor at = ring_begin();
        std::uint64_t end = at.sequence;
        std::uint64_t const begin = at.sequence;
        for (; at.sequence != delivered && (at.sequence < wanted || end == begin); ++at.sequence) {
            if (acknowledged(at) != 0) {
                end = at.sequence + 1;
            }
        }
        return end;
    }

    void pass_all(std::uint64_t end) noexcept {
        std::uint64_t const begin = head_.load(std::memory_order_relaxed);
        log_epoch* const first_log = scanned_;
        std::uint64_t const passed_before = passed_;
        ring_cursor at = ring_begin();
        std::uint64_t reached = reached_;
        try {
            for (; at.sequence != end; ++at.sequence) {
                if (std::uint64_t const next = acknowledged(at)) {
                    at.passed = next;
                    reached = (std::min)(next, at.log->limit);
                } else {
                    left_behind_.emplace_hint(left_behind_.end(), at.sequence,
                                              record_behind{at.log, reached});
                }
            }
        } catch (...) { // no memory: the ring stays as long as it is
            left_behind_.erase(left_behind_.lower_bound(begin), left_behind_.end());
            return;
        }
        early_.erase(early_.begin(), early_.lower_bound(end));
        scanned_ = at.log;
        passed_ = at.passed;
        reached_ = reached;
        // Before the second look: see ack(). No place is another record's yet.
        left_behind_until_.store(end, std::memory_order_seq_cst);
        for (auto record = left_behind_.lower_bound(begin); record != left_behind_.end();) {
            auto const [sequence, behind] = *record++;
            ring_cursor again{behind.log, sequence, behind.log == first_log ? passed_before : 0};
            if (std::uint64_t const next = acknowledged(again)) {
                catch_up(sequence, next);
            }
        }
        left_behind_count_.store(left_behind_.size(), std::memory_order_relaxed);
        raise_to_reached();
        move_on(first_log, begin, end);
        // Pairs with ack(), as in advance().
        head_.store(end, std::memory_order_release);
    }

    /// One that was left behind is acknowledged. false: it was before, or was none.
    bool catch_up(std::uint64_t sequence, std::uint64_t next) noexcept {
        auto const found = left_behind_.find(sequence);
        if (found == left_behind_.end()) {
            return false;
        }
        bool const oldest = found == left_behind_.begin();
        std::uint64_t const reached = (std::min)(next, found->second.log->limit);
        auto const following = left_behind_.erase(found);
        if (following != left_behind_.end() && following->first == sequence + 1) {
            following->second.reached = reached;
        }
        left_behind_count_.store(left_behind_.size(), std::memory_order_relaxed);
        if (!oldest) {
            return true;
        }
        raise(current_.load(std::memory_order_relaxed)->point,
              (left_behind_.empty() ? reached_ : following->second.reached) + 1);
        return true;
    }

    std::uint64_t take_early(std::uint64_t sequence) noexcept {
        while (!early_.empty() && early_.begin()->first < sequence) {
            early_.erase(early_.begin()); // acknowledged again in the ring, meanwhile
        }
        if (early_.empty() || early_.begin()->first != sequence) {
            return 0;
        }
        std::uint64_t const next = early_.begin()->second;
        early_.erase(early_.begin());
        return next;
    }

    /// The segments that end in between.
    void move_on(log_epoch* log, std::uint64_t begin, std::uint64_t end) noexcept {
        for (std::uint64_t last = begin | (segment_size - 1); last < end; last += segment_size) {
            while (last >= log->end) {
                log = log->next;
            }
            if (segment* const held = log->entry(last).load(std::memory_order_relaxed)) {
                move_on(*log, last, held);
            }
        }
    }

    void move_on(log_epoch& log, std::uint64_t sequence, segment* held) noexcept {
        for (std::size_t ahead = 1; ahead < directory_size_; ++ahead) {
            segment* seen = nullptr;
            std::atomic<segment*>& entry = log.entry(sequence + ahead * segment_size);
            if (entry.compare_exchange_strong(seen, held, std::memory_order_release,
                                              std::memory_order_relaxed)) {
                // Release: whoever finds nothing finds what was left behind, see ack().
                log.entry(sequence).store(nullptr, std::memory_order_release);
                return;
            }
        }
        // Every place ahead has one: it stays for when the ring comes round to it.
    }

    /// Moves what may be committed to the end of the gap if it lies in it, the text beside it
    /// included.
    void fold_gap() noexcept {
        std::atomic<std::uint64_t>& point = current_.load(std::memory_order_relaxed)->point;
        std::uint64_t seen = point.load(std::memory_order_acquire);
        while (to_offset(seen) >= gap_begin_ && to_offset(seen) < gap_end_) {
            std::uint64_t const end = to_word(gap_end_) | (seen & closed_bit);
            // Release: see raise().
            if (point.compare_exchange_weak(seen, end, std::memory_order_acq_rel,
                                            std::memory_order_acquire)) {
                if (to_offset(seen) != none && metadata_.next == to_offset(seen)) {
                    metadata_.next = gap_end_;
                }
                return;
            }
        }
    }

    void forget_gap() noexcept { gap_begin_ = gap_end_ = none; }

    std::optional<tracked_offset> uncommitted() {
        fold_gap();
        std::int64_t const next = marked();
        if (next == none) {
            return std::nullopt;
        }
        tracked_offset result{next, metadata_.next == next ? metadata_.metadata : std::string{}};
        if (result == committed_) {
            return std::nullopt;
        }
        offered_ = result;
        return result;
    }

    std::size_t const window_;
    std::size_t const directory_size_;

    /// In place, because it is the only one of nearly every claim.
    log_epoch first_;

    /// The newest epoch. Set under mutex_.
    std::atomic<log_epoch*> current_{&first_};

    /// `open` until the first mark or acknowledgement of something delivered, then what that was,
    /// for good.
    std::atomic<mode> mode_{mode::open};

    /// True from seal() on.
    std::atomic<bool> ended_{false};

    /// True from a window_full() that was true to the window_opened() that is. Set under mutex_.
    std::atomic<bool> waiting_{false};

    /// The sequence of the first record of the ring: those before are known to be acknowledged, or
    /// in left_behind_. Set under mutex_.
    std::atomic<std::uint64_t> head_{0};

    /// Behind the last record that was ever left behind. Set under mutex_.
    std::atomic<std::uint64_t> left_behind_until_{0};

    /// See done_until(). Set by the committer.
    std::atomic<std::uint64_t> done_until_{0};

    /// left_behind_.size(), for delivery.
    std::atomic<std::uint64_t> left_behind_count_{0};

    /// The sequence of the next record to be delivered. Set by delivery.
    alignas(cache_line) std::atomic<std::uint64_t> delivered_{0};

    /// The offset of the record delivered last. Delivery's own.
    std::int64_t last_offset_ = -1;

    /// Until so many are delivered the window is not full, whatever is acknowledged. Delivery's
    /// own.
    std::uint64_t count_again_at_ = 0;

    /// Of all that is not wait-free, and of everything below.
    alignas(cache_line) std::mutex mutex_;

    /// The epoch that head_ is in.
    log_epoch* scanned_ = &first_;

    /// The next offset after that of the record before head_, if that was of scanned_; otherwise 0.
    std::uint64_t passed_ = 0;

    /// What may be committed when all before head_ is done.
    std::uint64_t reached_ = 0;

    /// By sequence.
    std::map<std::uint64_t, record_behind> left_behind_;

    /// While waiting_: so many acknowledgements at least until the window opens.
    std::uint64_t acks_awaited_ = 0;

    /// What was passed over last: no record lies from the one up to the other.
    std::int64_t gap_begin_ = none;
    std::int64_t gap_end_ = none;

    /// Acknowledged beyond the window: sequence and next offset.
    std::map<std::uint64_t, std::uint64_t> early_;

    std::vector<std::unique_ptr<log_epoch>> later_epochs_;

    /// A text and the offset that it goes with; without meaning once another one is marked.
    tracked_offset metadata_;

    /// What pending() or seal() returned last.
    tracked_offset offered_{none, {}};

    tracked_offset committed_;

    /// committed_.next, for everybody to read.
    std::atomic<std::int64_t> confirmed_;
};

} // namespace kgroup
