// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/scope_exit.hpp>
#include <kgroup/detail/group/event_line.hpp>
#include <kgroup/detail/produce/producer_engine.hpp>
#include <kgroup/detail/rdkafka/error.hpp>
#include <kgroup/detail/rdkafka/producer_settings.hpp>
#include <kgroup/detail/rdkafka/token.hpp>
#include <kgroup/error.hpp>
#include <kgroup/print.hpp>

#include <asio/async_result.hpp>
#include <asio/awaitable.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/co_spawn.hpp>
#include <asio/error.hpp>
#include <asio/execution/context.hpp>
#include <asio/execution_context.hpp>
#include <asio/query.hpp>
#include <asio/use_awaitable.hpp>

#include <algorithm>
#include <functional>
#include <new>
#include <string_view>
#include <tuple>

namespace kgroup::detail {

/// Who waits at a producer goes when the context goes, as with any other operation.
class producer_engine::all_of_context final : public asio::execution_context::service {
public:
    inline static asio::execution_context::id id;

    explicit all_of_context(asio::execution_context& in) : service(in) {}

    void add(std::weak_ptr<producer_engine> engine) {
        process_.renew();
        std::lock_guard const lock{mutex_};
        std::erase_if(engines_, [](auto const& each) { return each.expired(); });
        engines_.push_back(std::move(engine));
    }

private:
    void shutdown() override {
        if (!process_.is_this_one()) {
            return;
        }
        std::vector<std::weak_ptr<producer_engine>> all;
        {
            std::lock_guard const lock{mutex_};
            all.swap(engines_);
        }
        for (auto const& each : all) {
            if (auto const engine = each.lock()) {
                engine->abandon(true);
            }
        }
    }

    std::mutex mutex_;
    std::vector<std::weak_ptr<producer_engine>> engines_;
    process_of_birth process_;
};

KGROUP_INLINE std::shared_ptr<producer_engine> producer_engine::make(asio::any_io_executor executor,
                                                                     producer_config given) {
    auto made = std::make_shared<producer_engine>(std::move(executor), std::move(given));
    made->wakeup_->engine = made.get();
    asio::use_service<all_of_context>(asio::query(made->executor_, asio::execution::context))
        .add(made);
    auto first = made->make_producing();
    std::lock_guard const lock{made->mutex_};
    made->current_ = std::move(first);
    return made;
}

KGROUP_INLINE producer_engine::producer_engine(asio::any_io_executor executor,
                                               producer_config given)
    : executor_(std::move(executor)),
      config_(std::move(given)),
      strand_(executor_),
      timer_(executor_) {}

KGROUP_INLINE producer_engine::~producer_engine() {
    if (process_.is_this_one()) {
        std::lock_guard const lock{wakeup_->mutex}; // who wakes it may be about to
        wakeup_->engine = nullptr;
    }
}

KGROUP_INLINE void producer_engine::wakeup::wake() noexcept {
    std::lock_guard const lock{mutex};
    if (engine) {
        engine->notify();
    }
}

// Any thread.

KGROUP_INLINE std::optional<producer_engine::enqueued>
producer_engine::try_enqueue(outgoing_record const& record) {
    constexpr std::uint32_t turn = 256;
    if (!process_.is_this_one()) {
        return enqueued{errc::producer_stopped};
    }
    std::lock_guard const lock{mutex_};
    auto const turn_is_over = ++enqueued_in_turn_ % turn == 0;
    if (auto const refused = why_refused()) {
        return enqueued{refused, turn_is_over};
    }
    if (!waiting_.empty()) {
        return std::nullopt;
    }
    auto const epoch = epochs_.add();
    auto const err = hand_over(record, reinterpret_cast<void*>(epoch << 1 | 1), false);
    if (err) {
        epochs_.withdraw(epoch);
    }
    if (err == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
        return std::nullopt;
    }
    return enqueued{make_error_code(err), turn_is_over};
}

KGROUP_INLINE asio::awaitable<produce_outcome>
producer_engine::record(produce_kind kind, outgoing_record given,
                        std::optional<std::int32_t> source_partition) {
    return asio::async_initiate<decltype(asio::use_awaitable), void(produce_outcome)>(
        [self = shared_from_this(), kind, given, source_partition](auto handler) {
            self->begin_record<call_with_outcome>(std::move(handler), kind, given,
                                                  source_partition);
        },
        asio::use_awaitable);
}

KGROUP_INLINE asio::awaitable<produce_outcome> producer_engine::wait(produce_kind kind) {
    return asio::async_initiate<decltype(asio::use_awaitable), void(produce_outcome)>(
        [self = shared_from_this(), kind](auto handler) {
            self->begin_wait<call_with_outcome>(std::move(handler), kind);
        },
        asio::use_awaitable);
}

KGROUP_INLINE void producer_engine::begin(produce_operation& begun, outgoing_record const* record) {
    auto const kind = begun.kind; // it may be over before the lock is left
    auto pends = false;
    {
        std::lock_guard const lock{mutex_};
        if (kind == produce_kind::flush) {
            epochs_.begin(begun.flush);
            begun.stage = produce_stage::waits;
            flushes_.push_back(&begun);
            end_flushes();
        } else if (kind == produce_kind::stop) {
            begun.stage = produce_stage::waits;
            stops_.push_back(&begun);
        } else if (auto const refused = why_refused()) {
            end(begun, {refused, {}, 0});
        } else {
            begun.epoch = epochs_.add();
            auto const err =
                waiting_.empty() ? give(begun, *record) : RD_KAFKA_RESP_ERR__QUEUE_FULL;
            if (err == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
                try {
                    begun.stored.assign(*record);
                    waiting_.push_back(&begun);
                    begun.stage = produce_stage::waits_for_room;
                } catch (...) {
                    epochs_.withdraw(begun.epoch);
                    end(begun, {std::make_error_code(std::errc::not_enough_memory), {}, 0});
                }
            } else if (err) {
                epochs_.withdraw(begun.epoch);
                end(begun, {make_error_code(err), {}, 0});
            }
        }
        pends = operations_->in_use() != 0 && !std::exchange(watched_, true);
    }
    if (kind == produce_kind::stop) {
        stop();
    } else if (pends) {
        notify();
    }
}

KGROUP_INLINE void producer_engine::cancel(produce_operation& cancelled, std::uint64_t use) {
    using enum produce_stage;
    std::lock_guard const lock{mutex_};
    if (gone_ || cancelled.use != use || !cancelled.done) {
        return;
    }
    produce_outcome const aborted{asio::error::operation_aborted, {}, 0};
    switch (cancelled.stage) {
    case waits_for_room:
        std::erase(waiting_, &cancelled);
        epochs_.withdraw(cancelled.epoch);
        end(cancelled, aborted);
        end_flushes();
        break;
    case under_way: // librdkafka knows it until the record is reported
        cancelled.done.complete(aborted);
        break;
    case waits:
        if (std::erase(flushes_, &cancelled) != 0) {
            epochs_.end(cancelled.flush, false);
        } else {
            std::erase(stops_, &cancelled);
        }
        end(cancelled, aborted);
        break;
    case spare:
    case beginning:
        break;
    }
}

KGROUP_INLINE void producer_engine::stop() {
    if (!process_.is_this_one()) {
        return;
    }
    {
        std::lock_guard const lock{mutex_};
        if (running_ == running::yes) {
            running_ = running::stopping;
            stop_by_ = clock::now() + config_.close_timeout;
            refuse_waiting(errc::producer_stopped);
        }
    }
    notify();
}

KGROUP_INLINE void producer_engine::abandon(bool drop) noexcept {
    if (!process_.is_this_one()) {
        return;
    }
    std::vector<std::shared_ptr<producing>> retired; // destroyed without the lock, as the next
    std::shared_ptr<producing> current;
    std::shared_ptr<auto_reset_event> token_place;
    std::size_t lost = 0;
    {
        std::lock_guard const lock{mutex_};
        if (std::exchange(gone_, true)) {
            return;
        }
        lost = outstanding();
        token_place = std::move(token_place_);
        enquiry_.reset();
        if (!serving_) { // else the strand does that
            retired.swap(retiring_);
            current.swap(current_);
        }
        for (auto const& each : operations_->all()) {
            if (drop) {
                continue;
            }
            try {
                each->done.complete({errc::producer_stopped, {}, 0});
            } catch (...) { // no memory: the handler is destroyed
                each->done.drop();
            }
        }
    }
    if (drop) { // without the lock: a coroutine that goes may own the producer
        for (auto const& each : operations_->all()) {
            each->done.drop();
        }
    } else {
        if (token_place) {
            token_place->cancel(asio::cancellation_type::terminal);
        }
        notify();
    }
    if (lost != 0) { // nobody of the user's can be told any more
        try {
            print(about(event_kind::delivery_failed, severity::error,
                        std::to_string(lost) + " records were not acknowledged when their producer "
                                               "was destroyed",
                        errc::producer_stopped));
        } catch (...) { // no memory
        }
    }
}

KGROUP_INLINE producer_stats producer_engine::stats() const {
    std::lock_guard const lock{mutex_};
    auto result = stats_;
    result.unacknowledged = outstanding();
    result.waiting = waiting_.size();
    return result;
}

KGROUP_INLINE producer_state producer_engine::state() const {
    producer_state state;
    auto const now = clock::now();
    state.at = std::chrono::system_clock::now();
    auto const shown = [&](clock::time_point when) {
        return state.at -
               std::chrono::duration_cast<std::chrono::system_clock::duration>(now - when);
    };
    {
        std::lock_guard const lock{mutex_};
        state.phase = running_ == running::yes        ? producer_phase::running
                      : running_ == running::stopping ? producer_phase::stopping
                                                      : producer_phase::stopped;
        state.stats = stats_;
        state.stats.unacknowledged = outstanding();
        state.stats.waiting = waiting_.size();
        state.bytes_unacknowledged = current_ ? current_->bytes : 0;
        for (auto const& retiring : retiring_) {
            state.bytes_unacknowledged += retiring->bytes;
        }
        state.last_error = last_error_;
        if (last_error_) {
            state.last_error_at = shown(last_error_at_);
        }
    }
    for (auto& lasting : conditions_.all()) {
        auto& told = lasting.newest;
        if (told.kind == event_kind::brokers_unreachable) {
            state.outage_since = shown(lasting.since);
        }
        state.conditions.push_back({told.kind, std::move(told.where), told.error,
                                    shown(lasting.since), one_line(std::move(told.text))});
    }
    return state;
}

KGROUP_INLINE void producer_engine::report(event told) {
    strand_.post_outside([self = shared_from_this(), told = std::move(told)]() mutable {
        auto& engine = *self;
        engine.strand_.dispatch([self = std::move(self), told = std::move(told)]() mutable {
            told_events one;
            one.push_back(std::move(told));
            self->tell(one);
        });
    });
}

// Under the lock.

KGROUP_INLINE std::error_code producer_engine::why_refused() const noexcept {
    return gone_ || running_ != running::yes ? make_error_code(errc::producer_stopped)
                                             : std::error_code{};
}

// `_QUEUE_FULL`: there is no room now, or no producer of librdkafka's.
/// A topic that does not exist has one error, whether the brokers have just said so or librdkafka
/// remembers it.
inline rd_kafka_resp_err_t delivery_error(rd_kafka_resp_err_t err) noexcept {
    return err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ? RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC : err;
}

KGROUP_INLINE rd_kafka_resp_err_t producer_engine::hand_over(outgoing_record const& record,
                                                             void* opaque, bool dead_letter) {
    if (!current_) {
        return RD_KAFKA_RESP_ERR__QUEUE_FULL;
    }
    auto const err =
        current_->handle->produce(record, opaque, dead_letter ? &choose_partition : nullptr);
    if (err == RD_KAFKA_RESP_ERR__FATAL) { // which is about to be told
        notify();
        return RD_KAFKA_RESP_ERR__QUEUE_FULL;
    }
    if (!err) {
        ++current_->outstanding;
        current_->bytes += record.key.value_or("").size() + record.value.value_or("").size();
    }
    return delivery_error(err);
}

// What begins or goes on here has its epoch.
KGROUP_INLINE rd_kafka_resp_err_t producer_engine::give(produce_operation& given,
                                                        outgoing_record const& record) {
    if (given.kind == produce_kind::enqueue) {
        auto const err = hand_over(record, reinterpret_cast<void*>(given.epoch << 1 | 1), false);
        if (!err) {
            end(given, {});
        }
        return err;
    }
    auto const err = hand_over(record, &given, given.source_partition.has_value());
    if (!err) {
        given.stage = produce_stage::under_way;
    }
    return err;
}

KGROUP_INLINE void producer_engine::end(produce_operation& ended, produce_outcome const& outcome) {
    ended.done.complete(outcome);
    operations_->release(ended);
}

KGROUP_INLINE void producer_engine::refuse_waiting(std::error_code why) {
    for (auto* const each : std::exchange(waiting_, {})) {
        epochs_.withdraw(each->epoch);
        end(*each, {why, {}, 0});
    }
    end_flushes();
}

KGROUP_INLINE void producer_engine::admit_waiting() {
    while (!waiting_.empty()) {
        auto& first = *waiting_.front();
        auto const epoch = first.epoch;
        auto const err = give(first, first.stored.record());
        if (err == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
            break;
        }
        waiting_.pop_front();
        if (err) {
            epochs_.withdraw(epoch);
            end(first, {make_error_code(err), {}, 0});
        }
    }
}

KGROUP_INLINE void producer_engine::end_flushes() {
    std::erase_if(flushes_, [this](produce_operation* waiting) {
        if (!epochs_.is_over(waiting->flush)) {
            return false;
        }
        auto const found = waiting->flush.found;
        epochs_.end(waiting->flush, true);
        end(*waiting, {found.first, {}, found.count});
        return true;
    });
}

KGROUP_INLINE std::size_t producer_engine::outstanding() const noexcept {
    auto sum = current_ ? current_->outstanding : 0;
    for (auto const& each : retiring_) {
        sum += each->outstanding;
    }
    return sum;
}

KGROUP_INLINE void producer_engine::settle(rd_kafka_message_t const& message, producing& by,
                                           told_events& told, failed_deliveries& failed) {
    auto error = make_error_code(delivery_error(message.err));
    if (error && by.cause) {
        error = by.cause;
    }
    --by.outstanding;
    by.bytes -= message.len + message.key_len;
    ++(error ? stats_.failed : stats_.acknowledged);
    auto const tag = reinterpret_cast<std::uintptr_t>(message._private);
    auto awaited = false;
    if ((tag & 1) != 0) {
        epochs_.settle(tag >> 1, error);
    } else {
        auto& sent = *static_cast<produce_operation*>(message._private);
        awaited = static_cast<bool>(sent.done);
        epochs_.settle(sent.epoch, awaited ? std::error_code{} : error);
        end(sent, {error, {message.partition, error ? -1 : message.offset}, 0});
    }
    if (!error) {
        return;
    }
    note_error(error);
    if (error == errc::producer_stopped) {
        ++lost_at_stop_; // told together
    } else if (!awaited) {
        if (failed.topic != message.rkt || failed.partition != message.partition ||
            failed.error != error) {
            tell_failed(failed, told);
            failed = {message.rkt, message.partition, error, 0};
        }
        ++failed.count;
    }
}

// Under the lock.
KGROUP_INLINE void producer_engine::note_error(std::error_code error) {
    last_error_ = error;
    last_error_at_ = clock::now();
}

KGROUP_INLINE void producer_engine::tell_failed(failed_deliveries& failed, told_events& told) {
    if (failed.count != 0) {
        auto what =
            about(event_kind::delivery_failed, severity::error,
                  failed.count == 1 ? "a record was not delivered"
                                    : std::to_string(failed.count) + " records were not delivered",
                  failed.error);
        what.where.emplace(failed.topic ? rd_kafka_topic_name(failed.topic) : "", failed.partition);
        told.push_back(std::move(what));
        failed.count = 0;
    }
}

// What was not reported will not be.
KGROUP_INLINE void producer_engine::finish_stop() {
    auto const unreported = outstanding();
    lost_at_stop_ += unreported;
    stats_.failed += unreported;
    running_ = running::stopped;
    for (auto const& each : operations_->all()) {
        if (each->stage == produce_stage::under_way) {
            each->done.complete({errc::producer_stopped, {}, 0}); // its place stays
        }
    }
    for (auto* const each : std::exchange(flushes_, {})) {
        epochs_.end(each->flush, true);
        end(*each, {errc::producer_stopped, {}, each->flush.found.count + unreported});
    }
}

KGROUP_INLINE std::optional<clock::time_point>
producer_engine::next_deadline(clock::time_point now) {
    using namespace std::chrono_literals;
    std::optional<clock::time_point> nearest;
    auto const consider = [&](std::optional<clock::time_point> time) {
        if (time && (!nearest || *time < *nearest)) {
            nearest = time;
        }
    };
    if (running_ == running::yes) {
        consider(replace_at_);
    } else if (running_ == running::stopping) {
        consider(purged_ ? stop_by_ + 1s : stop_by_);
    } else if (!stops_.empty()) {
        consider(stop_by_ + 2s);
    }
    if (running_ != running::stopped) {
        consider(tokens_.due());
        if (operations_->in_use() != 0 || !retiring_.empty()) {
            consider(now + 1s); // makes up for a wake-up that was lost
        }
    }
    return nearest;
}

// On the strand.

KGROUP_INLINE void producer_engine::notify() noexcept {
    if (notified_.exchange(true, std::memory_order_acq_rel)) {
        return;
    }
    try {
        if (auto self = weak_from_this().lock()) {
            strand_.post_outside([self = std::move(self)]() mutable {
                auto& engine = *self;
                engine.strand_.dispatch([self = std::move(self)] { self->serve(); });
            });
        }
    } catch (...) { // no memory: the look each second makes up for it
        notified_.store(false, std::memory_order_release);
    }
}

KGROUP_INLINE void producer_engine::serve() {
    if (!process_.is_this_one()) {
        return;
    }
    // Before the look: what comes from here on is told again.
    notified_.exchange(false, std::memory_order_acq_rel);
    std::vector<std::shared_ptr<producing>> all;
    {
        std::lock_guard const lock{mutex_};
        if (gone_) {
            timer_.cancel();
            return;
        }
        all = retiring_;
        if (current_) {
            all.push_back(current_);
        }
        serving_ = true;
    }
    told_events told;
    auto more = false;
    std::optional<clock::time_point> deadline;
    {
        scope_exit const left{[&] {
            all.clear();
            std::vector<std::shared_ptr<producing>> retired; // destroyed without the lock
            std::shared_ptr<producing> current;
            std::lock_guard const lock{mutex_};
            serving_ = false;
            if (gone_) { // meanwhile
                retired.swap(retiring_);
                current.swap(current_);
            }
        }};
        for (auto const& each : all) {
            more = poll(*each, told) || more;
        }
        all.clear();
        look_around(told);
        std::lock_guard const lock{mutex_};
        if (!gone_) {
            admit_waiting();
            end_flushes();
            deadline = next_deadline(clock::now());
            watched_ = deadline.has_value();
        }
    }
    arm(deadline);
    if (more) {
        notify();
    }
    tell(told);
}

// Returns whether there may be more.
KGROUP_INLINE bool producer_engine::poll(producing& from, told_events& told) {
    constexpr int turn = 64;
    auto* const queue = from.handle->queue();
    auto empty_looks = 0;
    for (auto taken = 0; taken != turn;) {
        rdkafka_event const event{rd_kafka_queue_poll(queue, 0)};
        if (!event) { // it may have served something of librdkafka's own
            if (rd_kafka_queue_length(queue) == 0 || ++empty_looks == 16) {
                return false;
            }
            continue;
        }
        ++taken;
        switch (rd_kafka_event_type(event.get())) {
        case RD_KAFKA_EVENT_DR:
            take_deliveries(event.get(), from, told);
            break;
        case RD_KAFKA_EVENT_ERROR:
            take_error(event.get(), from, told);
            break;
        case RD_KAFKA_EVENT_LOG:
            take_log(event.get(), told);
            break;
        case RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH:
            if (config_.connection.oauth_token_provider && tokens_.wanted()) {
                ask_for_token();
            }
            break;
        default:
            break;
        }
    }
    return true;
}

KGROUP_INLINE void producer_engine::take_deliveries(rd_kafka_event_t* event, producing& from,
                                                    told_events& told) {
    auto acknowledged = false;
    {
        failed_deliveries failed;
        std::lock_guard const lock{mutex_};
        while (auto const* const message = rd_kafka_event_message_next(event)) {
            acknowledged = acknowledged || !message->err;
            settle(*message, from, told, failed);
        }
        tell_failed(failed, told);
    }
    if (acknowledged) {
        acknowledged_by(from, told);
    }
}

KGROUP_INLINE void producer_engine::acknowledged_by(producing const& from, told_events& told) {
    end_outage(told);
    if (std::exchange(refused_, false) && !tokens_.fails()) {
        told.push_back(about(event_kind::authentication_recovered, severity::info,
                             "the brokers accept this producer"));
    }
    if (fails_ && from.number == handles_made_) {
        fails_ = false;
        backoff_ = {};
        told.push_back(about(event_kind::producer_recovered, severity::info,
                             "records are acknowledged again"));
    }
}

KGROUP_INLINE void producer_engine::ask_brokers(producing const& from) noexcept {
    try {
        auto asked = std::make_unique<broker_enquiry>(from.handle->share(),
                                                      [wakeup = wakeup_] { wakeup->wake(); });
        std::lock_guard const lock{mutex_};
        if (!gone_ && running_ != running::stopped) {
            enquiry_ = std::move(asked);
        }
    } catch (...) { // no thread, or no memory: then the next acknowledgement ends the outage
    }
}

KGROUP_INLINE void producer_engine::end_outage(told_events& told) {
    if (std::exchange(outage_, false)) {
        told.push_back(about(event_kind::brokers_reachable, severity::info,
                             "the brokers can be reached again"));
        std::lock_guard const lock{mutex_};
        enquiry_.reset();
    }
}

KGROUP_INLINE void producer_engine::take_error(rd_kafka_event_t* event, producing& from,
                                               told_events& told) {
    auto const err = rd_kafka_event_error(event);
    auto const* const words = rd_kafka_event_error_string(event);
    std::string text{words ? words : ""};
    if (err == RD_KAFKA_RESP_ERR__FATAL || rd_kafka_event_error_is_fatal(event)) {
        char why[512];
        auto const cause = rd_kafka_fatal_error(from.handle->get(), why, sizeof why);
        return cause ? replace(from, make_error_code(cause), why, told)
                     : replace(from, make_error_code(err), std::move(text), told);
    }
    auto const code = make_error_code(err);
    auto kind = event_kind::client_error;
    auto level = severity::warning;
    if (err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
        if (std::exchange(outage_, true)) {
            return;
        }
        ask_brokers(from);
        kind = event_kind::brokers_unreachable;
        level = severity::error;
    } else if (err == RD_KAFKA_RESP_ERR__AUTHENTICATION) {
        refused_ = true;
        kind = event_kind::authentication_failed;
        level = severity::error;
    } else if (err == RD_KAFKA_RESP_ERR__SSL) {
        level = severity::error;
    }
    told.push_back(about(kind, level, words_beside(code, std::move(text)), code));
}

KGROUP_INLINE void producer_engine::take_log(rd_kafka_event_t* event, told_events& told) {
    char const* facility = nullptr;
    char const* text = nullptr;
    int level = 0;
    if (rd_kafka_event_log(event, &facility, &text, &level) != 0 || level > log_level_) {
        return;
    }
    auto const how = level <= 3   ? severity::error
                     : level == 4 ? severity::warning
                     : level <= 6 ? severity::info
                                  : severity::debug;
    told.push_back(about(event_kind::client_log, how, std::string{facility} + ": " + text));
}

KGROUP_INLINE void producer_engine::replace(producing& failed, std::error_code cause,
                                            std::string why, told_events& told) {
    {
        std::lock_guard const lock{mutex_};
        if (current_.get() != &failed || running_ != running::yes) {
            return; // as of one that is replaced already
        }
        failed.cause = cause;
        retiring_.push_back(current_);
        current_.reset();
    }
    failed.handle->purge();
    replace_at_ = clock::now() + backoff_;
    fails_ = true;
    told.push_back(
        about(event_kind::producer_failed, severity::error,
              words_beside(cause, std::move(why)) +
                  "; what was under way has failed and may have been delivered; the "
                  "producer is replaced" +
                  (backoff_.count() == 0 ? std::string{}
                                         : " in " + std::to_string(backoff_.count()) + " ms"),
              cause));
    backoff_ = std::clamp(backoff_ * 2, std::chrono::milliseconds{1000},
                          std::chrono::milliseconds{30'000});
}

KGROUP_INLINE void producer_engine::try_replacement(clock::time_point now, told_events& told) {
    if (!replace_at_ || now < *replace_at_) {
        return;
    }
    replace_at_.reset();
    try {
        auto made = make_producing();
        std::lock_guard const lock{mutex_};
        if (running_ == running::yes) {
            current_ = std::move(made);
            ++stats_.replacements;
        }
    } catch (std::exception const& failure) { // no thread, or no memory
        replace_at_ = now + (std::max)(backoff_, std::chrono::milliseconds{1000});
        told.push_back(
            about(event_kind::producer_failed, severity::error,
                  std::string{"the producer cannot be replaced yet: "} + failure.what()));
    }
}

KGROUP_INLINE void producer_engine::look_around(told_events& told) {
    auto const now = clock::now();
    try_replacement(now, told);
    std::vector<std::shared_ptr<producing>> retired; // destroyed without the lock
    {
        std::lock_guard const lock{mutex_};
        auto const settled =
            std::partition(retiring_.begin(), retiring_.end(),
                           [](auto const& each) { return each->outstanding != 0; });
        retired.assign(settled, retiring_.end());
        retiring_.erase(settled, retiring_.end());
    }
    if (auto const due = tokens_.due(); due && *due <= now) {
        ask_for_token();
    }
    auto answered = false;
    {
        std::lock_guard const lock{mutex_};
        answered = enquiry_ && enquiry_->answered();
    }
    if (answered) {
        end_outage(told);
    }
    look_at_stop(now, told);
}

KGROUP_INLINE void producer_engine::look_at_stop(clock::time_point now, told_events& told) {
    using namespace std::chrono_literals;
    std::vector<std::shared_ptr<producing>> ended; // destroyed without the lock
    std::shared_ptr<auto_reset_event> token_place;
    std::lock_guard const lock{mutex_};
    if (running_ == running::stopping) {
        auto const left = outstanding();
        if (left != 0 && now >= stop_by_ && !std::exchange(purged_, true)) {
            for (auto const& each : retiring_) {
                each->cause = errc::producer_stopped;
            }
            if (current_) {
                current_->cause = errc::producer_stopped;
                current_->handle->purge();
            }
        }
        if (left == 0 || (purged_ && now >= stop_by_ + 1s)) {
            finish_stop();
            if (lost_at_stop_ != 0) {
                told.push_back(about(event_kind::delivery_failed, severity::error,
                                     std::to_string(lost_at_stop_) +
                                         " records were not acknowledged when the producer was "
                                         "stopped; they may have been delivered",
                                     errc::producer_stopped));
            }
            ended.swap(retiring_);
            ended.push_back(std::move(current_));
            enquiry_.reset();
            if ((token_place = std::move(token_place_))) {
                token_place->cancel(asio::cancellation_type::terminal);
            }
        }
    }
    if (running_ == running::stopped && (wakeup_->handles == 0 || now >= stop_by_ + 2s)) {
        for (auto* const each : std::exchange(stops_, {})) {
            end(*each, {{}, {}, lost_at_stop_});
        }
    }
}

KGROUP_INLINE void producer_engine::ask_for_token() {
    tokens_.begin();
    struct asking {
        // Owns the function: it may outlive the producer.
        static asio::awaitable<oauth_token>
        ask(std::function<asio::awaitable<oauth_token>()> provider) {
            co_return co_await provider();
        }
    };
    auto place = auto_reset_event::make(executor_);
    {
        std::lock_guard const lock{mutex_};
        token_place_ = place;
    }
    asio::co_spawn(
        place->strand(), asking::ask(config_.connection.oauth_token_provider),
        asio::bind_cancellation_slot(
            place->slot(),
            // Asio looks at the slot once more when the coroutine has ended.
            [weak = weak_from_this(), place](std::exception_ptr failure, oauth_token token) {
                if (auto const self = weak.lock()) {
                    self->strand_.dispatch([self, failure, token = std::move(token)] {
                        self->take_token(failure, token);
                    });
                }
            }));
}

KGROUP_INLINE void producer_engine::take_token(std::exception_ptr failure,
                                               oauth_token const& token) {
    std::shared_ptr<producing> to;
    {
        std::lock_guard const lock{mutex_};
        if (gone_ || running_ == running::stopped) {
            return;
        }
        to = current_;
    }
    auto flaw = flaw_of_call(failure, token);
    if (!flaw && to) {
        if (auto const error = set_token(to->handle->get(), token)) {
            flaw = refused_token(error);
        }
    }
    told_events told;
    if (flaw) {
        auto const retry_in = tokens_.fail(clock::now());
        told.push_back({event_kind::authentication_failed, severity::error, std::nullopt,
                        flaw->error, words_of_retry(flaw->reason, retry_in)});
    } else if (tokens_.succeed() && !refused_) {
        told.push_back(
            about(event_kind::authentication_recovered, severity::info, "a token has been given"));
    }
    arm(tokens_.due());
    tell(told);
}

KGROUP_INLINE void producer_engine::arm(std::optional<clock::time_point> deadline) {
    if (!deadline) {
        if (std::exchange(armed_, std::nullopt)) {
            timer_.cancel();
        }
        return;
    }
    if (armed_ && *armed_ <= *deadline) {
        return; // it looks again then
    }
    armed_ = deadline;
    timer_.expires_at(*deadline);
    timer_.async_wait([weak = weak_from_this()](std::error_code ec) {
        auto self = weak.lock();
        if (ec || !self) {
            return;
        }
        auto& engine = *self;
        engine.strand_.dispatch([self = std::move(self)] {
            self->armed_.reset();
            self->serve();
        });
    });
}

KGROUP_INLINE void producer_engine::tell(told_events& told) {
    for (auto& each : told) {
        auto const now = clock::now();
        auto const passes = filter_.passes(each, now);
        if (ended_by(each.kind)) {
            conditions_.note(each, passes, now);
        } else if (ends(each.kind)) {
            conditions_.end(each);
        }
        {
            std::lock_guard const lock{mutex_};
            if (each.error) {
                note_error(each.error);
            }
            if (gone_) {
                return;
            }
            stats_.events_dropped += passes ? 0 : 1;
        }
        if (!passes) {
            continue;
        }
        each.text = one_line(std::move(each.text));
        if (config_.on_event) {
            config_.on_event(each);
        } else {
            print(each, "producer");
        }
    }
}

KGROUP_INLINE event producer_engine::about(event_kind kind, severity level, std::string text,
                                           std::error_code error) {
    return {kind, level, std::nullopt, error, std::move(text)};
}

KGROUP_INLINE std::shared_ptr<producer_engine::producing> producer_engine::make_producing() {
    auto settings = producer_settings::make(config_);
    log_level_ = settings.log_level;
    auto made = std::make_shared<producing>();
    made->number = ++handles_made_;
    auto const arrived = [](rd_kafka_t*, void* to) { static_cast<wakeup*>(to)->wake(); };
    // What librdkafka knows by its address lives as long as librdkafka's producer.
    auto destroyed = [wakeup = wakeup_, operations = operations_] {
        --wakeup->handles;
        wakeup->wake();
    };
    made->handle = std::make_unique<producer_handle>(std::move(settings.conf), arrived,
                                                     wakeup_.get(), std::move(destroyed));
    ++wakeup_->handles;
    return made;
}

KGROUP_INLINE std::int32_t producer_engine::choose_partition(rd_kafka_topic_t const* topic,
                                                             void const* key, std::size_t key_size,
                                                             std::int32_t partitions, void*,
                                                             void* of_record) {
    if ((reinterpret_cast<std::uintptr_t>(of_record) & 1) == 0) {
        auto const& letter = *static_cast<produce_operation const*>(of_record);
        if (letter.source_partition) {
            return *letter.source_partition % partitions;
        }
    }
    return rd_kafka_msg_partitioner_murmur2_random(topic, key, key_size, partitions, nullptr,
                                                   of_record);
}

} // namespace kgroup::detail
