// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/claim/partition_state.hpp>
#include <kgroup/detail/claim/record_block.hpp>
#include <kgroup/detail/claim/record_writer.hpp>
#include <kgroup/detail/fetch/batch_walk.hpp>
#include <kgroup/detail/fetch/claim_requests.hpp>
#include <kgroup/detail/fetch/codecs.hpp>
#include <kgroup/detail/fetch/fetch_errors.hpp>
#include <kgroup/detail/fetch/fetch_event_text.hpp>
#include <kgroup/detail/fetch/fetched_records.hpp>
#include <kgroup/detail/fetch/kept_batches.hpp>
#include <kgroup/detail/fetch/leader_epochs.hpp>
#include <kgroup/detail/fetch/partition_reader.hpp>
#include <kgroup/error.hpp>
#include <kgroup/event.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <list>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace kgroup::detail::fetch {

/// What was fetched of a partition and waits for its claim.
///
/// Answers come on the fetcher's strand, under a lock, and wake the claim. Their records are read
/// when the claim drains: views into the answer, or into what was decompressed for their batch. In
/// the same order come events that end the fetching, or after which what was fetched before is
/// void. Each counts at its place, when no record of this drain stands before it.
///
/// What cannot be read is asked for again. The fetcher may be far ahead then, or at an end: nothing
/// more is taken, and nothing that waits behind the place counts, until the fetcher begins there
/// again. It is not waited for where a truncation, another topic or a seek makes the place void.
class fetched_source final : public record_source, public fetch_sink {
public:
    struct settings {
        isolation level = isolation::read_committed;
        std::size_t largest_batch = 100'000'000; // decompressed: receive.message.max.bytes
    };

    /// @param requests of this claim's; asked by any thread.
    fetched_source(partition_state& state, settings const& chosen,
                   std::shared_ptr<claim_requests> requests)
        : state_(state),
          level_(chosen.level),
          requests_(std::move(requests)),
          reader_(chosen.largest_batch) {
        spare_.resize(reserve);
    }

    /// Reading begins, or goes on elsewhere: what was fetched with another ticket does not count.
    /// What was told of the log still does, for records of before may be marked.
    ///
    /// @param from an offset, or an end of the log.
    /// @param leader_epoch of the record before; -1: unknown.
    void restart(std::uint64_t ticket, std::int64_t from, std::int32_t leader_epoch) noexcept {
        std::list<item> dropped;
        std::lock_guard const lock{mutex_};
        ticket_.store(ticket, std::memory_order_relaxed);
        drop_if(dropped, [](item const& one) {
            return one.records || end_of_same_log(one.event) == no_cut;
        });
        cut_off();
        epochs_.restart(from, leader_epoch);
        wants_more_ = true;
        awaited_.reset();
    }

    // fetch_sink. On the fetcher's strand.

    void take(fetched_records records) noexcept override {
        std::lock_guard const lock{mutex_};
        if (closed_ || records.ticket != ticket_.load(std::memory_order_relaxed)) {
            return;
        }
        if (records.high_watermark >= 0) {
            low_.store(records.log_start, std::memory_order_relaxed);
            high_.store(records.high_watermark, std::memory_order_relaxed);
        }
        if (records.bytes.empty() || awaited_) {
            return;
        }
        auto const waiting = look_at_batches(records);
        if (!add_spare(reserve + 1)) {
            return ask_again({records.generation, records.position}, damage::no_memory);
        }
        auto& added = append();
        added.waiting = waiting;
        added.records.emplace(std::move(records));
        bytes_ += added.records->bytes.size();
        waiting_.fetch_add(waiting, std::memory_order_relaxed);
        if (wants_more_ && bytes_ >= requests_->share()) {
            wants_more_ = false;
            requests_->want(ticket_.load(std::memory_order_relaxed), false);
        }
        state_.notify();
    }

    void tell(std::uint64_t ticket, fetch_event const& event) noexcept override {
        using kind = fetch_event::kind;
        std::list<item> dropped;
        std::lock_guard const lock{mutex_};
        if (closed_ || ticket != ticket_.load(std::memory_order_relaxed)) {
            return;
        }
        switch (event.type) {
        case kind::broker_error:
            return fail(event.code, "the broker answers");
        case kind::useless_answer:
            return report(event_kind::client_error, severity::warning, event);
        case kind::position_reset:
            return requests_->on_position_reset(event.from, event.to);
        case kind::topic_recreated:
            drop_all(dropped);
            want_if_room();
            break;
        default:
            break;
        }
        auto const end = end_of_same_log(event);
        epochs_.cut(end, event.leader_epoch);
        if (awaited_ && end <= awaited_->at) {
            awaited_.reset(); // of a log that is no more: the fetcher goes on below
        } else if (awaited_ && event.final()) {
            return; // it begins again
        }
        if (spare_.empty() && !add_spare(1)) { // the run ends, and nothing void is committed by it
            marked_until_ = (std::min)(marked_until_, end);
            cut_off();
            return fail(std::make_error_code(std::errc::not_enough_memory), event);
        }
        append().event = event;
        waiting_.fetch_add(1, std::memory_order_relaxed);
        cut_off();
        state_.notify();
    }

    void started_at(std::uint64_t, std::int64_t) noexcept override {}

    bool begins_again(std::uint64_t ticket, std::uint64_t generation,
                      std::int64_t at) noexcept override {
        std::lock_guard const lock{mutex_};
        if (closed_ || ticket != ticket_.load(std::memory_order_relaxed) ||
            awaited_ != finding{generation, at}) {
            return false;
        }
        awaited_.reset();
        return true;
    }

    // record_source.

    void drain(record_block& into, std::size_t byte_limit) noexcept override {
        auto const before = into.size();
        begin();
        {
            record_block::writer out{into};
            decoded_record record;
            while (!out.full() && (out.bytes() < byte_limit || out.size() == before) &&
                   next(record, out.size() == before)) {
                append(record, out);
            }
        }
        count_taken();
        tell_position();
        if (into.size() == before && waiting() != 0) {
            state_.notify();
        }
    }

    void look() noexcept override {
        begin();
        decoded_record record;
        if (!ahead_ && next(record, false)) {
            ahead_ = record;
        }
        tell_position();
    }

    std::size_t waiting() const noexcept override {
        return over_.load(std::memory_order_relaxed) ? 0 : waiting_.load(std::memory_order_relaxed);
    }

    void close() noexcept override {
        std::list<item> dropped;
        std::lock_guard const lock{mutex_};
        closed_ = true;
        over_.store(true, std::memory_order_relaxed);
        drop_all(dropped);
    }

    watermarks known_watermarks() const noexcept override {
        return {low_.load(std::memory_order_relaxed), high_.load(std::memory_order_relaxed)};
    }
    std::int32_t leader_epoch_before(std::int64_t next) const noexcept override {
        std::lock_guard const lock{mutex_};
        return epochs_.before(next);
    }

    void free_records(record* first, std::size_t count) noexcept override {
        for (std::size_t i = 0; i != count;) {
            auto const batch = record_place{first[i].native}.batch();
            auto const begin = i;
            do {
                ++i;
            } while (i != count && record_place{first[i].native}.batch() == batch);
            batches_.release(batch, static_cast<std::uint32_t>(i - begin));
        }
    }
    std::int64_t timestamp(void* native) const noexcept override {
        return (std::max<std::int64_t>)(batches_.timestamp(record_place{native}), -1);
    }
    void headers(void* native, header_sink const& sink) const override {
        batches_.headers(record_place{native}).for_each(sink);
    }

private:
    // One of the two.
    struct item {
        std::optional<fetched_records> records;
        fetch_event event{fetch_event::kind::useless_answer};
        std::size_t waiting = 1;
        std::uint64_t number = 0; // tells it from others
    };
    // Where something was found, in what was fetched with this generation.
    struct finding {
        std::uint64_t generation;
        std::int64_t at;
        friend bool operator==(finding const&, finding const&) = default;
    };
    using step = partition_reader::step;

    static constexpr std::size_t reserve = 2;       // places for events, whatever memory there is
    static constexpr std::size_t most_passed = 256; // batches at once, none of whose records come
    static constexpr std::size_t most_spare = 16;
    static constexpr auto no_cut = (std::numeric_limits<std::int64_t>::max)();

    // ---- The queue, under the lock

    bool add_spare(std::size_t wanted) noexcept {
        try {
            while (spare_.size() < wanted) {
                spare_.emplace_back();
            }
            return true;
        } catch (std::bad_alloc const&) {
            return false;
        }
    }
    item& append() noexcept {
        auto& added = spare_.front();
        queue_.splice(queue_.end(), spare_, spare_.begin());
        added.records.reset();
        added.waiting = 1;
        added.number = ++last_number_;
        return added;
    }
    void remove_first() noexcept {
        queue_.front().records.reset();
        spare_.splice(spare_.end(), queue_, queue_.begin());
        while (spare_.size() > most_spare) {
            spare_.pop_back();
        }
    }
    void drop_all(std::list<item>& dropped) noexcept {
        drop_if(dropped, [](item const&) { return true; });
    }
    template <typename Condition>
    void drop_if(std::list<item>& dropped, Condition holds) noexcept {
        for (auto next = queue_.begin(); next != queue_.end();) {
            auto const one = next++;
            if (holds(*one)) {
                waiting_.fetch_sub(one->waiting, std::memory_order_relaxed);
                bytes_ -= one->records ? one->records->bytes.size() : 0;
                dropped.splice(dropped.end(), queue_, one);
            }
        }
        add_spare(reserve);
    }
    // The events that wait say what is of a log that is no more. That counts at once, and not when
    // the claim comes to them: it is not read, not even of what is being read, and what is marked
    // of it must not be committed meanwhile. An event that ends the fetching stands behind what was
    // fetched before, which is still read.
    void cut_off() noexcept {
        auto read_until = no_cut;
        auto marked_until = marked_until_;
        for (auto const& waiting : queue_) {
            if (!waiting.records) {
                auto const end = end_of_same_log(waiting.event);
                marked_until = (std::min)(marked_until, end);
                read_until = waiting.event.final() ? read_until : (std::min)(read_until, end);
            }
        }
        cut_.store(read_until, std::memory_order_relaxed);
        state_.void_above(marked_until);
    }
    static std::int64_t end_of_same_log(fetch_event const& event) noexcept {
        using kind = fetch_event::kind;
        switch (event.type) {
        case kind::truncated:
        case kind::truncated_no_reset:
            return event.to;
        case kind::topic_recreated:
        case kind::recreated_no_reset:
            return 0;
        default:
            return no_cut;
        }
    }
    // Behind the place nothing that waits counts, but for what is told of the log.
    //
    // Returns false if that makes the place itself void: then what follows it counts.
    bool drop_behind(std::int64_t at, std::list<item>& dropped) noexcept {
        bool counts = true;
        drop_if(dropped, [&counts, at](item const& one) {
            auto const end = one.records ? no_cut : end_of_same_log(one.event);
            counts = counts && end > at;
            return counts && (end == no_cut || one.event.final());
        });
        cut_off();
        return counts;
    }
    void ask_again(finding where, std::optional<damage> wrong) noexcept {
        awaited_ = where;
        auto const ticket = ticket_.load(std::memory_order_relaxed);
        if (wrong) {
            requests_->on_damaged(ticket, where.generation, where.at, *wrong);
        } else {
            requests_->on_old_format(ticket, where.generation, where.at);
        }
    }
    void want_if_room() noexcept {
        if (!wants_more_ && bytes_ <= requests_->share() / 2) {
            wants_more_ = true;
            requests_->want(ticket_.load(std::memory_order_relaxed), true);
        }
    }

    // Returns how many records it has, one at least.
    std::size_t look_at_batches(fetched_records const& records) noexcept {
        batch_walk walk{records.bytes, records.high_watermark};
        std::size_t count = 0;
        for (;;) {
            auto const found = walk.next();
            if (found.state != found_batch::kind::whole) {
                return (std::max<std::size_t>)(count, 1);
            }
            count += static_cast<std::size_t>(found.header.count);
            epochs_.add(found.header.base_offset, found.header.next_offset(),
                        believed_epoch(found.header.leader_epoch, records.leader_epoch));
        }
    }

    // ---- Reading, on the claim's strand

    void begin() noexcept {
        thread_local decompressor codecs; // one a thread: their states are large
        reader_.use(codecs);
        passed_ = 0;
    }

    // `in_front`: no record was taken before, so that events count.
    bool next(decoded_record& into, bool in_front) noexcept {
        if (reading_ && current_.ticket != ticket_.load(std::memory_order_relaxed)) {
            leave();
        }
        if (over_.load(std::memory_order_relaxed)) [[unlikely]] {
            if (reading_) {
                leave();
            }
            return false;
        }
        if (ahead_) {
            into = *std::exchange(ahead_, std::nullopt);
            if (into.offset < cut_.load(std::memory_order_relaxed)) {
                return true;
            }
            leave_cut();
        }
        for (;;) {
            if (!reading_ && !begin_next(in_front)) {
                return false;
            }
            switch (reader_.next(into)) {
            case step::record:
                if (into.offset < cut_.load(std::memory_order_relaxed)) [[likely]] {
                    return true;
                }
                leave_cut();
                break;
            case step::batch:
                keep_batch();
                break;
            case step::passed:
                position_ = reader_.position();
                leave_batch();
                if (++passed_ >= most_passed) {
                    return false;
                }
                break;
            case step::end:
                leave();
                break;
            case step::old_format:
                give_up(std::nullopt, reader_.position());
                break;
            case step::damaged:
                give_up(reader_.wrong(), reader_.position());
                break;
            }
        }
    }

    void append(decoded_record const& record, record_block::writer& out) noexcept {
        record_place const place{*batch_,
                                 static_cast<std::size_t>(record.begin - batches_.first(*batch_))};
        out.append(place.native(), record.key.data(), record.key.size(), record.value.data(),
                   record.value.size(), record.offset);
        ++taken_;
        behind_taken_ = record.offset + 1;
    }

    bool begin_next(bool in_front) noexcept {
        for (;;) {
            fetch_event event{fetch_event::kind::useless_answer};
            std::uint64_t ticket = 0;
            std::uint64_t number = 0;
            {
                std::lock_guard const lock{mutex_};
                if (queue_.empty()) {
                    return false;
                }
                auto& first = queue_.front();
                if (first.records) {
                    current_ = std::move(*first.records);
                    current_waiting_ = first.waiting;
                    remove_first();
                    reading_ = true;
                    break;
                }
                if (!in_front) {
                    return false;
                }
                event = first.event;
                number = first.number;
                ticket = ticket_.load(std::memory_order_relaxed);
            }
            if (!carry_out(ticket, number, event)) {
                return false;
            }
        }
        position_ = current_.position;
        try {
            reader_.start(current_.bytes, current_.position, current_.high_watermark, level_,
                          current_.aborted,
                          current_.memory ? &current_.memory->buffers() : nullptr);
        } catch (std::bad_alloc const&) {
            give_up(damage::no_memory, current_.position);
            return begin_next(in_front);
        }
        return true;
    }

    /// false: nothing more is to be read now.
    bool carry_out(std::uint64_t ticket, std::uint64_t number, fetch_event const& event) noexcept {
        using kind = fetch_event::kind;
        if (event.type == kind::truncated || event.type == kind::topic_recreated) {
            auto const recreated = event.type == kind::topic_recreated;
            auto const to = recreated ? std::int64_t{0} : event.to;
            try {
                state_.go_back(to);
            } catch (std::bad_alloc const&) {
                return false;
            }
            behind_taken_ = position_ = (std::min)(behind_taken_, to);
            report(recreated ? event_kind::topic_recreated : event_kind::log_truncated,
                   severity::error, event);
        }
        event_over(number, event);
        switch (event.type) {
        case kind::record_unreadable:
            fail(errc::record_unreadable, event);
            return false;
        case kind::out_of_range:
        case kind::truncated_no_reset:
        case kind::recreated_no_reset:
            fail(errc::offset_out_of_range, event);
            return false;
        case kind::old_format:
        case kind::unsupported:
            over_.store(true, std::memory_order_relaxed);
            requests_->hand_over(ticket, event);
            return false;
        case kind::failed:
            over_.store(true, std::memory_order_relaxed);
            fail(event.code, "the broker refuses to be asked");
            return false;
        default:
            return true;
        }
    }
    void event_over(std::uint64_t number, fetch_event const& event) noexcept {
        std::lock_guard const lock{mutex_};
        if (queue_.empty() || queue_.front().number != number) { // dropped meanwhile
            return;
        }
        remove_first();
        waiting_.fetch_sub(1, std::memory_order_relaxed);
        if (event.final()) {
            return; // what is void stays so
        }
        cut_off();
    }

    void keep_batch() noexcept {
        auto decompressed = reader_.take_decompressed();
        auto const in_answer = decompressed.size() == 0;
        batch_ = batches_.keep(reader_.header(), reader_.records().data(),
                               in_answer ? current_.keep : nullptr, std::move(decompressed),
                               in_answer ? nullptr : current_.memory);
        if (!batch_) {
            give_up(damage::no_memory, reader_.position());
        }
    }
    void leave_batch() noexcept {
        if (!batch_) { // it was passed over
            return;
        }
        count_taken();
        batches_.release(*std::exchange(batch_, std::nullopt), 1);
    }
    // The reader's own hold keeps it meanwhile.
    void count_taken() noexcept {
        if (batch_ && taken_ != 0) {
            batches_.hold(*batch_, static_cast<std::uint32_t>(taken_));
            waiting_taken(taken_);
        }
        taken_ = 0;
    }
    void waiting_taken(std::size_t count) noexcept {
        auto const less = (std::min)(count, current_waiting_ - 1);
        current_waiting_ -= less;
        waiting_.fetch_sub(less, std::memory_order_relaxed);
    }

    // All of it was read, or does not count.
    void leave() noexcept {
        ahead_.reset();
        leave_batch();
        reading_ = false;
        auto const size = current_.bytes.size();
        current_.keep = nullptr;
        current_.unread = {};
        current_.memory = nullptr;
        waiting_.fetch_sub(std::exchange(current_waiting_, 0), std::memory_order_relaxed);
        std::lock_guard const lock{mutex_};
        bytes_ -= size;
        want_if_room();
    }
    // The rest of it is of a log that is no more.
    void leave_cut() noexcept {
        position_ = cut_.load(std::memory_order_relaxed);
        leave();
    }
    // What cannot be read here is for the fetcher to say. `wrong`: nothing, but the format is old.
    void give_up(std::optional<damage> wrong, std::int64_t at) noexcept {
        auto const ticket = current_.ticket;
        auto const generation = current_.generation;
        leave();
        std::list<item> dropped;
        std::lock_guard const lock{mutex_};
        if (ticket != ticket_.load(std::memory_order_relaxed)) {
            return; // reading goes on elsewhere
        }
        if (drop_behind(at, dropped)) {
            ask_again({generation, at}, wrong);
        }
        want_if_room();
    }

    // Behind the last record stands something that does not come.
    void tell_position() noexcept {
        if (position_ > behind_taken_) {
            state_.drained(behind_taken_, position_);
            behind_taken_ = position_;
        }
    }

    // ---- Telling

    void fail(std::error_code error, fetch_event const& event) noexcept {
        over_.store(true, std::memory_order_relaxed);
        try {
            state_.fail(error, to_text(event));
        } catch (std::bad_alloc const&) {
            state_.fail(error, {});
        }
    }
    void fail(std::int16_t code, char const* words) const noexcept {
        std::error_code const error{code, kafka_category()};
        try {
            state_.fail(error, std::string{words} + " " + std::string{rule_of(code).name});
        } catch (std::bad_alloc const&) {
            state_.fail(error, words);
        }
    }
    void report(event_kind kind, severity level, fetch_event const& event) const noexcept {
        try {
            state_.report({kind, level, state_.where(), {}, to_text(event)});
        } catch (std::bad_alloc const&) { // nobody can be told
        }
    }
    partition_state& state_; // which closes this before it goes
    isolation const level_;
    std::shared_ptr<claim_requests> const requests_;
    std::atomic<std::uint64_t> ticket_{0};
    std::atomic<std::size_t> waiting_{0};
    std::atomic<std::int64_t> cut_{no_cut}; // what stands from there on is of a log that is no more
    std::atomic<std::int64_t> low_{-1};
    std::atomic<std::int64_t> high_{-1};
    std::atomic<bool> over_{false}; // nothing is given any more

    mutable std::mutex mutex_; // of what follows
    std::list<item> queue_;
    std::list<item> spare_;
    std::uint64_t last_number_ = 0;
    std::size_t bytes_ = 0; // of what waits, and of what is being read
    bool wants_more_ = true;
    bool closed_ = false;
    std::optional<finding> awaited_;     // the fetcher is to begin there; until then nothing counts
    leader_epochs epochs_;               // of what was fetched
    std::int64_t marked_until_ = no_cut; // the end of the log by an event that is not in the queue

    // On the claim's strand.
    kept_batches batches_;
    partition_reader reader_;
    fetched_records current_;
    std::size_t current_waiting_ = 0;
    bool reading_ = false;
    std::optional<decoded_record> ahead_;
    std::optional<std::uint32_t> batch_; // that is being read
    std::size_t taken_ = 0;              // of it, and not counted there yet
    std::size_t passed_ = 0;             // batches, in this drain
    std::int64_t behind_taken_ = -1;     // the offset behind the last record
    std::int64_t position_ = -1;         // behind the last batch
};

} // namespace kgroup::detail::fetch
